//! Labels as numbers: a one-hot vector (smoothed where asked), or 0 and 1 for two classes.
//!
//! Exact on every executor: no arithmetic but the two constants.

use gradus_kernels::loss::one_hot;

use super::{Case, Cost, Op};
use crate::exec::cpu::Lower;
use crate::program::{Emit, Value};

impl Emit<'_> {
    /// The target as numbers of the shape of `x`: itself, or labels as one-hot vectors, or labels 0 and 1 as one number.
    pub fn target_like(&mut self, x: Value, target: Value) -> Value {
        self.target_smoothed(x, target, 0.0)
    }

    /// As [`Emit::target_like`], with `smoothing` of a label's weight spread evenly over all classes.
    pub fn target_smoothed(&mut self, x: Value, target: Value, smoothing: f64) -> Value {
        let dims = self.dims(x).to_vec();
        if !self.info(target).ints {
            // A target of one number per sample and an output of one number are the same thing.
            return target;
        }
        let t = self.batched(&self.name("target"), &dims);
        let classes = dims[0];
        let (on, off) = if classes == 1 { (1.0, 0.0) } else { (1.0 - smoothing + smoothing / classes as f64, smoothing / classes as f64) };
        self.op(OneHot { on, off }, &[target], &[t]);
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
        let n = case.writes[0].dims[0];
        for s in 0..case.batch() {
            let label = r[0][s] as usize;
            for j in 0..n {
                let here = if n == 1 { label == 1 } else { label == j };
                w[0][s * n + j] = if here { self.on } else { self.off };
            }
        }
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
