//! Targets as numbers: labels as one-hot vectors (smoothed where asked), or 0 and 1 for two classes; distributions smoothed.
//!
//! Order on the CPU: labels need no arithmetic but the two constants; a smoothed distribution one product and one sum.

use gradus_kernels::loss::one_hot;

use super::{Case, Cost, Kind, Op};
use crate::exec::cpu::Lower;
use crate::program::{Emit, Value};

impl Emit<'_> {
    /// The target as numbers of the shape of `x`: itself, or labels as one-hot vectors, or labels 0 and 1 as one number.
    pub fn target_like(&mut self, x: Value, target: Value) -> Value {
        self.target_smoothed(x, target, 0.0)
    }

    /// As [`Emit::target_like`], with `smoothing` of the weight spread evenly over all classes: (1 − s)·t + s/K.
    pub fn target_smoothed(&mut self, x: Value, target: Value, smoothing: f64) -> Value {
        let dims = self.dims(x).to_vec();
        let labels = self.info(target).ints;
        if !labels && smoothing == 0.0 {
            // A target of one number per sample and an output of one number are the same thing.
            return target;
        }
        let t = self.batched(&self.name("target"), &dims);
        let (keep, off) = if dims == [1] { (1.0, 0.0) } else { (1.0 - smoothing, smoothing / dims[0] as f64) };
        if labels {
            self.op(OneHot { on: keep + off, off }, &[target], &[t]);
        } else {
            self.op(Smooth { keep, off }, &[target], &[t]);
        }
        t
    }
}

#[derive(Debug)]
struct OneHot {
    on: f64,
    off: f64,
}

impl Op for OneHot {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        if self.off == 0.0 {
            return format!("{} = one_hot({})", w[0], r[0]);
        }
        format!("{} = one_hot({}, {} and {})", w[0], r[0], self.on, self.off)
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(0)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        one_hot_rows(r[0], case.writes[0].dims[0], self.on, self.off, &mut w[0]);
    }

    fn kind(&self) -> Kind {
        Kind::OneHot { on: self.on, off: self.off }
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (labels, t) = (l.read(0), l.write(0));
        let (n, ld) = (t.layout.n, t.layout.ld);
        let (on, off) = (self.on as f32, self.off as f32);
        l.kernel([], [t.span], [labels.ints], [], move |run, s| {
            let labels = &s.int_read[0][..run.batch()];
            if n == 1 {
                for (row, label) in s.write[0].chunks_exact_mut(ld).zip(labels) {
                    row[0] = if *label == 1 { on } else { off };
                }
            } else {
                one_hot(run.cpu, labels.len(), n, ld, labels, on, off, s.write[0]);
            }
        });
    }
}

/// Labels as rows of `n` numbers.
pub(super) fn one_hot_rows(labels: &[f64], n: usize, on: f64, off: f64, t: &mut [f64]) {
    for (row, label) in t.chunks_exact_mut(n).zip(labels) {
        for (j, t) in row.iter_mut().enumerate() {
            let here = if n == 1 { *label == 1.0 } else { *label == j as f64 };
            *t = if here { on } else { off };
        }
    }
}

#[derive(Debug)]
struct Smooth {
    keep: f64,
    off: f64,
}

impl Op for Smooth {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = {}·{} + {}", w[0], self.keep, r[0], self.off)
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(2)
    }

    fn define(&self, _: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        for (smooth, t) in w[0].iter_mut().zip(r[0]) {
            *smooth = self.keep * t + self.off;
        }
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (t, smooth) = (l.read(0), l.write(0));
        let size = smooth.layout.sample();
        let (keep, off) = (self.keep as f32, self.off as f32);
        l.kernel([t.span], [smooth.span], [], [], move |run, s| {
            for (smooth, t) in s.write[0].iter_mut().zip(s.read[0]).take(run.batch() * size) {
                *smooth = keep * t + off;
            }
        });
    }
}
