//! The cross entropy of softmax(x) against a distribution t, and its gradient: L = c·Σ t·(log Σ eˣ − x),
//! dx = cw·(softmax(x)·Σ t − t), with c = 1/B for the mean and 1 for the sum, w the weight of the loss. The bracket, the excess of
//! the softmax over t, comes out of the loss.
//!
//! Order on the CPU: a row's sums are those of `gradus_kernels::softmax` (sixteen chains over every sixteenth number,
//! folded by halves); then the fixed tree of `gradus_kernels::reduce` over the rows, then one product with c.

use gradus_kernels::loss::{self, Targets};
use gradus_kernels::reduce;

use super::one_hot::one_hot_rows;
use super::{Case, Cost, Kind, LossKind, Op};
use crate::exec::cpu::{Lower, Run};
use crate::losses::Reduction;
use crate::program::{Emit, Value};

impl Emit<'_> {
    /// The cross entropy of the logits x (B, K) against the distributions t (B, K): one number; and
    /// softmax(x)·Σ t − t, which its gradient needs.
    pub fn cross_entropy(&mut self, reduction: Reduction, x: Value, t: Value) -> (Value, Value) {
        let y = self.single(&self.name(""), &[]);
        let excess = self.batched_like(&self.name("excess"), x);
        self.op(CrossEntropy { reduction, gradient: None, labels: None }, &[x, t], &[y, excess]);
        (y, excess)
    }

    /// The gradient of [`Emit::cross_entropy`] times `weight`.
    pub fn cross_entropy_grad(&mut self, reduction: Reduction, weight: f64, excess: Value) -> Value {
        let dx = self.batched_like(&self.name(""), excess);
        self.op(Grad { reduction, weight }, &[excess], &[dx]);
        dx
    }
}

#[derive(Debug)]
struct CrossEntropy {
    reduction: Reduction,
    /// The weight of the gradient that it writes instead of the excess.
    gradient: Option<f64>,
    /// The numbers that are wanted at a label and elsewhere, if it reads labels.
    labels: Option<[f64; 2]>,
}

impl Op for CrossEntropy {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let ([x, t], name) = (r, self.reduction.name()) else { unreachable!("two operands") };
        let one_hot = format!("one_hot({t})");
        let t = if self.labels.is_some() { &one_hot } else { *t };
        let factor = self.gradient.map_or(String::new(), |weight| self.reduction.factor_text(weight, "B"));
        format!("{} = {name} cross_entropy({x}, {t});  {} = {factor}(softmax({x})·Σ {t} − {t})", w[0], w[1])
    }

    fn cost(&self, case: &Case) -> Cost {
        Cost { flops: 26 * case.read_len(0) as u64, bytes: case.bytes() }
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let n = case.reads[0].dims[0];
        let factor = self.gradient.map_or(1.0, |weight| weight * self.reduction.factor(case.batch()));
        let mut sum = 0.0;
        let mut t = r[1].to_vec();
        if let Some([on, off]) = self.labels {
            t = vec![0.0; r[0].len()];
            one_hot_rows(r[1], n, on, off, &mut t);
        }
        for ((x, t), excess) in r[0].chunks_exact(n).zip(t.chunks_exact(n)).zip(w[1].chunks_exact_mut(n)) {
            let (log_sum, total) = (super::softmax::row(x, excess), t.iter().sum::<f64>());
            excess.iter_mut().zip(t).for_each(|(p, t)| *p = factor * (*p * total - t));
            // A class that cannot be (−∞) costs nothing where nothing is wanted of it.
            sum += x.iter().zip(t).filter(|(_, t)| **t != 0.0).map(|(x, t)| t * (log_sum - x)).sum::<f64>();
        }
        w[0][0] = sum * self.reduction.factor(case.batch());
    }

    fn scratch(&self, case: &Case) -> usize {
        case.whole()
    }

    fn keeps_scratch(&self) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, t, y, excess, rows) = (l.read(0), l.read(1), l.write(0), l.write(1), l.scratch());
        let (n, ld, reduction, gradient) = (x.layout.n, x.layout.ld, self.reduction, self.gradient);
        let loss = move |run: &Run<'_>, x: &[f32], t: Targets<'_>, [rows, y, excess]: [&mut [f32]; 3]| {
            let (from, to) = (run.step.before, run.step.before + run.batch());
            let factor = gradient.map_or(1.0, |weight| (weight * reduction.factor(run.whole())) as f32);
            loss::cross_entropy(run.cpu, run.batch(), n, ld, x, t, factor, excess, &mut rows[from..to]);
            y[0] = reduce::sum(run.cpu, &rows[..to]) * reduction.factor(run.whole()) as f32;
        };
        match self.labels.map(|numbers| numbers.map(|x| x as f32)) {
            None => l.kernel([x.span, t.span], [rows, y.span, excess.span], [], [], move |run, s| {
                loss(run, s.read[0], Targets::Numbers(s.read[1]), s.write);
            }),
            Some([on, off]) => l.kernel([x.span], [rows, y.span, excess.span], [t.ints], [], move |run, s| {
                loss(run, s.read[0], Targets::Labels { labels: s.int_read[0], on, off }, s.write);
            }),
        }
    }

    fn with_gradient(&self, gradient: Kind, _: &Case) -> Option<Box<dyn Op>> {
        let Kind::LossGrad { loss: LossKind::CrossEntropy, reduction, weight } = gradient else { return None };
        let alone = self.gradient.is_none() && reduction == self.reduction;
        alone.then(|| Box::new(CrossEntropy { gradient: Some(weight), ..*self }) as Box<dyn Op>)
    }

    fn of_labels(&self, on: f64, off: f64) -> Option<Box<dyn Op>> {
        self.labels.is_none().then(|| Box::new(CrossEntropy { labels: Some([on, off]), ..*self }) as Box<dyn Op>)
    }
}

#[derive(Debug)]
struct Grad {
    reduction: Reduction,
    weight: f64,
}

impl Op for Grad {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = {}{}", w[0], self.reduction.factor_text(self.weight, "B"), r[0])
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(1)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let factor = self.weight * self.reduction.factor(case.batch());
        w[0].iter_mut().zip(r[0]).for_each(|(dx, excess)| *dx = factor * excess);
    }

    fn kind(&self) -> Kind {
        Kind::LossGrad { loss: LossKind::CrossEntropy, reduction: self.reduction, weight: self.weight }
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (excess, dx) = (l.read(0), l.write(0));
        let (n, ld, reduction, weight) = (excess.layout.n, excess.layout.ld, self.reduction, self.weight);
        l.kernel([excess.span], [dx.span], [], [], move |run, s| {
            let factor = (weight * reduction.factor(run.whole())) as f32;
            loss::cross_entropy_grad(run.cpu, run.batch(), n, ld, s.read[0], factor, s.write[0]);
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::losses::testing::{run, values};
    use crate::losses::{CrossEntropyLoss, Reduction};

    #[test]
    fn the_cpu_agrees_with_the_definition() {
        for n in [2, 10, 16, 17, 100] {
            let x: Vec<f64> = (0..3 * n).map(|i| f64::from((7 * i + 3) as u32 % 11) - 5.0).collect();
            // Rows that add up to 1, to 0 and to more.
            let t: Vec<f32> = (0..3 * n).map(|i| [1.0 / n as f32, 0.0, (i % 3) as f32][i / n]).collect();
            for reduction in [Reduction::Mean, Reduction::Sum] {
                run(CrossEntropyLoss::new().reduction(reduction), &[3, n], &x, &values(&[3, n], &t));
            }
        }
    }
}
