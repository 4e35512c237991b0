//! Losses of a difference, number by number, and their gradients.
//!
//! Squared: L = c·Σ (x − t)², dx = 2cw·(x − t). Absolute: L = c·Σ |x − t|, dx = cw·sign(x − t), sign 0 = 0. c is 1 for the
//! sum and 1/(B·elements) for the mean, w the weight of the loss.
//!
//! Order on the CPU: for each row (a sample's features, or a pixel's channels) the sums of `gradus_kernels::softmax` (sixteen
//! chains over every sixteenth number, folded by halves); then the fixed tree of `gradus_kernels::reduce` over the rows, then
//! one product with c.

use gradus_kernels::loss::{self, Targets};
use gradus_kernels::reduce;

use super::one_hot::one_hot_rows;
use super::{Case, Cost, Kind, LossKind, Op};
use crate::exec::cpu::{Lower, Run, layout};
use crate::losses::Reduction;
use crate::program::{Emit, Value};

/// What is summed over the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// (x − t)².
    Squared,
    /// |x − t|.
    Absolute,
}

impl Emit<'_> {
    /// The loss of `x` against `t`, of the same shape: one number.
    pub fn difference(&mut self, kind: Difference, reduction: Reduction, x: Value, t: Value) -> Value {
        let y = self.single(&self.name(""), &[]);
        self.op(Loss { kind, reduction }, &[x, t], &[y]);
        y
    }

    /// The gradient of [`Emit::difference`] times `weight`.
    pub fn difference_grad(
        &mut self,
        kind: Difference,
        reduction: Reduction,
        weight: f64,
        x: Value,
        t: Value,
    ) -> Value {
        let dx = self.batched_like(&self.name(""), x);
        self.op(Grad { kind, reduction, weight }, &[x, t], &[dx]);
        dx
    }
}

#[derive(Debug)]
struct Loss {
    kind: Difference,
    reduction: Reduction,
}

impl Op for Loss {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let inner = format!("{} − {}", r[0], r[1]);
        let inner = if self.kind == Difference::Squared { format!("({inner})²") } else { format!("|{inner}|") };
        format!("{} = {} {inner}", w[0], self.reduction.name())
    }

    fn cost(&self, case: &Case) -> Cost {
        Cost { flops: 3 * case.read_len(0) as u64, bytes: case.bytes() }
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let sum: f64 = r[0]
            .iter()
            .zip(r[1])
            .map(|(x, t)| if self.kind == Difference::Squared { (x - t) * (x - t) } else { (x - t).abs() })
            .sum();
        w[0][0] = sum * self.reduction.factor(case.read_len(0));
    }

    fn scratch(&self, case: &Case) -> usize {
        layout(case.reads[0]).group * case.whole()
    }

    fn keeps_scratch(&self) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, t, y, rows) = (l.read(0), l.read(1), l.write(0), l.scratch());
        let (group, n, ld) = (x.layout.group, x.layout.n, x.layout.ld);
        let (kind, reduction) = (self.kind, self.reduction);
        l.kernel([x.span, t.span], [rows, y.span], [], [], move |run, s| {
            let count = run.batch() * group;
            let [rows, y] = s.write;
            let before = run.step.before * group;
            let here = &mut rows[before..before + count];
            match kind {
                Difference::Squared => loss::squared_error(run.cpu, count, n, ld, s.read[0], s.read[1], here),
                Difference::Absolute => loss::absolute_error(run.cpu, count, n, ld, s.read[0], s.read[1], here),
            }
            y[0] = reduce::sum(run.cpu, &rows[..before + count]) * reduction.factor(run.whole() * group * n) as f32;
        });
    }

    fn with_gradient(&self, gradient: Kind, case: &Case) -> Option<Box<dyn Op>> {
        let Kind::LossGrad { loss, reduction, weight } = gradient else { return None };
        let (kind, narrow) = (self.kind, layout(case.reads[0]).n <= loss::NARROW);
        let mine = loss == LossKind::Difference(kind) && reduction == self.reduction;
        (mine && narrow).then(|| Box::new(Both { kind, reduction, weight, labels: None }) as Box<dyn Op>)
    }
}

/// A loss and its gradient, of few numbers in a row, and of labels if they are these.
#[derive(Debug)]
struct Both {
    kind: Difference,
    reduction: Reduction,
    weight: f64,
    /// The numbers that are wanted at a label and elsewhere.
    labels: Option<[f64; 2]>,
}

impl Both {
    /// The loss and the gradient, each for itself.
    fn parts(&self) -> (Loss, Grad) {
        let Both { kind, reduction, weight, .. } = *self;
        (Loss { kind, reduction }, Grad { kind, reduction, weight })
    }
}

impl Op for Both {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let ((loss, grad), one_hot) = (self.parts(), format!("one_hot({})", r[1]));
        let r = [r[0], if self.labels.is_some() { &one_hot } else { r[1] }];
        format!("{};  {}", loss.line(&r, &w[..1]), grad.line(&r, &w[1..]))
    }

    fn cost(&self, case: &Case) -> Cost {
        Cost { flops: 5 * case.read_len(0) as u64, bytes: case.bytes() }
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let mut t = vec![0.0; r[0].len()];
        match self.labels {
            Some([on, off]) => one_hot_rows(r[1], case.reads[0].dims[0], on, off, &mut t),
            None => t.copy_from_slice(r[1]),
        }
        let ((loss, grad), (y, dx)) = (self.parts(), w.split_at_mut(1));
        loss.define(case, &[r[0], &t], y);
        grad.define(case, &[r[0], &t], dx);
    }

    fn scratch(&self, case: &Case) -> usize {
        self.parts().0.scratch(case)
    }

    fn keeps_scratch(&self) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, t, y, dx, rows) = (l.read(0), l.read(1), l.write(0), l.write(1), l.scratch());
        let (group, n, ld) = (x.layout.group, x.layout.n, x.layout.ld);
        let Both { kind, reduction, weight, labels } = *self;
        let both = match kind {
            Difference::Squared => loss::narrow_error_and_grad::<true>,
            Difference::Absolute => loss::narrow_error_and_grad::<false>,
        };
        let sum = move |run: &Run<'_>, x: &[f32], t: Targets<'_>, [rows, y, dx]: [&mut [f32]; 3]| {
            let (before, count) = (run.step.before * group, run.batch() * group);
            let factor = reduction.factor(run.whole() * group * n);
            both(run.cpu, count, n, ld, x, t, (weight * factor) as f32, &mut rows[before..before + count], dx);
            y[0] = reduce::sum(run.cpu, &rows[..before + count]) * factor as f32;
        };
        match labels.map(|numbers| numbers.map(|x| x as f32)) {
            None => l.kernel([x.span, t.span], [rows, y.span, dx.span], [], [], move |run, s| {
                sum(run, s.read[0], Targets::Numbers(s.read[1]), s.write);
            }),
            Some([on, off]) => l.kernel([x.span], [rows, y.span, dx.span], [t.ints], [], move |run, s| {
                sum(run, s.read[0], Targets::Labels { labels: s.int_read[0], on, off }, s.write);
            }),
        }
    }

    fn of_labels(&self, on: f64, off: f64) -> Option<Box<dyn Op>> {
        self.labels.is_none().then(|| Box::new(Both { labels: Some([on, off]), ..*self }) as Box<dyn Op>)
    }
}

#[derive(Debug)]
struct Grad {
    kind: Difference,
    reduction: Reduction,
    weight: f64,
}

impl Op for Grad {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let factor = self.reduction.factor_text(self.weight, "N");
        match self.kind {
            Difference::Squared => format!("{} = {factor}2·({} − {})", w[0], r[0], r[1]),
            Difference::Absolute => format!("{} = {factor}sign({} − {})", w[0], r[0], r[1]),
        }
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(2)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let factor = self.weight * self.reduction.factor(case.read_len(0));
        for (i, dx) in w[0].iter_mut().enumerate() {
            let d = r[0][i] - r[1][i];
            *dx = factor
                * match self.kind {
                    Difference::Squared => 2.0 * d,
                    Difference::Absolute if d == 0.0 => 0.0,
                    Difference::Absolute => d.signum(),
                };
        }
    }

    fn kind(&self) -> Kind {
        let Grad { kind, reduction, weight } = *self;
        Kind::LossGrad { loss: LossKind::Difference(kind), reduction, weight }
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, t, dx) = (l.read(0), l.read(1), l.write(0));
        let (group, n, ld) = (x.layout.group, x.layout.n, x.layout.ld);
        let (kind, reduction, weight) = (self.kind, self.reduction, self.weight);
        l.kernel([x.span, t.span], [dx.span], [], [], move |run, s| {
            let rows = run.batch() * group;
            let factor = (weight * reduction.factor(run.whole() * group * n)) as f32;
            let grad = match kind {
                Difference::Squared => loss::squared_error_grad,
                Difference::Absolute => loss::absolute_error_grad,
            };
            grad(run.cpu, rows, n, ld, s.read[0], s.read[1], factor, s.write[0]);
        });
    }
}
