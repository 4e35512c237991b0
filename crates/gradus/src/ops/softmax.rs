//! Softmax over a vector, and its gradient from the output: y = eˣ / Σ eˣ, dx = y·(dy − Σ dy·y).
//!
//! Order on the CPU: x less its largest, then the sums of `gradus_kernels::softmax`: sixteen chains over every sixteenth
//! number, folded by halves.

use gradus_kernels::softmax;

use super::{Case, Cost, Op};
use crate::exec::cpu::Lower;
use crate::program::{Emit, Value};

impl Emit<'_> {
    /// y = softmax(x) over the features: (B, F) → (B, F).
    pub fn softmax(&mut self, x: Value) -> Value {
        let y = self.batched_like(&self.name(""), x);
        self.op(Softmax, &[x], &[y]);
        y
    }

    /// dx = y·(dy − Σ dy·y), from the output y.
    pub fn softmax_grad(&mut self, y: Value, dy: Value) -> Value {
        let dx = self.batched_like(&self.name(""), y);
        self.op(Grad, &[y, dy], &[dx]);
        dx
    }
}

/// The softmax of one row, in f64, and the logarithm of Σ e^(x − max).
pub(super) fn row(x: &[f64], y: &mut [f64]) -> f64 {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
    for (y, x) in y.iter_mut().zip(x) {
        *y = (x - max).exp() / sum;
    }
    max + sum.ln()
}

#[derive(Debug)]
struct Softmax;

impl Op for Softmax {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = softmax({})", w[0], r[0])
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(20)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let n = case.reads[0].dims[0];
        for (x, y) in r[0].chunks_exact(n).zip(w[0].chunks_exact_mut(n)) {
            row(x, y);
        }
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, y) = (l.read(0), l.write(0));
        let (n, ld) = (x.layout.n, x.layout.ld);
        l.kernel([x.span], [y.span], [], [], move |run, s| {
            softmax::softmax(run.cpu, run.batch(), n, ld, s.read[0], s.write[0]);
        });
    }
}

#[derive(Debug)]
struct Grad;

impl Op for Grad {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{0} = {1} ∗ ({2} − Σ {2}·{1})", w[0], r[0], r[1])
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(4)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let n = case.reads[0].dims[0];
        for ((y, dy), dx) in r[0].chunks_exact(n).zip(r[1].chunks_exact(n)).zip(w[0].chunks_exact_mut(n)) {
            let sum: f64 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
            for (i, dx) in dx.iter_mut().enumerate() {
                *dx = y[i] * (dy[i] - sum);
            }
        }
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (y, dy, dx) = (l.read(0), l.read(1), l.write(0));
        let (n, ld) = (y.layout.n, y.layout.ld);
        l.kernel([y.span, dy.span], [dx.span], [], [], move |run, s| {
            softmax::softmax_grad(run.cpu, run.batch(), n, ld, s.read[0], s.read[1], s.write[0]);
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::testing::agree;

    #[test]
    fn the_cpu_agrees_with_the_definition() {
        for n in [1, 2, 10, 16, 17, 100] {
            agree(&["Softmax"], &[n]);
        }
    }
}
