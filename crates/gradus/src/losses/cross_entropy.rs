//! `CrossEntropyLoss`: softmax over the classes, and the cross entropy against the target.
//!
//! # Shapes
//! x (B, K) logits, t (B) classes or (B, K) distributions, the loss one number. With classes as one-hot vectors and
//! t′ = (1 − s)·t + s/K (label smoothing s): L = −c·Σ t′·log softmax(x), dx = c·(softmax(x)·Σ t′ − t′), c = 1/B for the
//! mean, 1 for the sum. Kept for the backward pass: softmax(x) and t′. As torch: the mean divides by the batch, also for
//! distributions.

use super::{Loss, LossBack, Reduction, one_label};
use crate::data::TargetInfo;
use crate::error::Result;
use crate::fail;
use crate::layers::shape_text;
use crate::program::{Emit, Value};
use crate::spec::{ArgKind, Def, Spec, optional};

/// The cross entropy of logits against classes or distributions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropyLoss {
    /// Mean over the batch, or sum.
    pub reduction: Reduction,
    /// How much of a target's weight is spread evenly over all classes, 0 to 1.
    pub label_smoothing: f64,
}

impl CrossEntropyLoss {
    /// The entry in [`super::LOSSES`].
    pub const DEF: Def<dyn Loss> = Def {
        name: "CrossEntropyLoss",
        summary: "softmax and the cross entropy against classes or distributions",
        formula: "L = −c·Σ t·log softmax(x);  dx = c·(softmax(x) − t);  c = 1/B, or 1 for the sum",
        shapes: "x (K) logits, K ≥ 2; t one of K classes, or (K)",
        args: &[
            Reduction::ARG,
            optional("label_smoothing", ArgKind::Number, "0.0", "weight spread evenly over all classes, 0 to 1"),
        ],
        make: |a| {
            let (reduction, label_smoothing) = (Reduction::of(a), a.number("label_smoothing"));
            Ok(Box::new(CrossEntropyLoss { reduction, label_smoothing }))
        },
    };

    /// The mean over the batch, without smoothing.
    pub fn new() -> CrossEntropyLoss {
        CrossEntropyLoss::default()
    }

    /// With this reduction.
    #[must_use]
    pub fn reduction(mut self, reduction: Reduction) -> CrossEntropyLoss {
        self.reduction = reduction;
        self
    }

    /// With this much of a target's weight spread evenly over all classes.
    #[must_use]
    pub fn label_smoothing(mut self, label_smoothing: f64) -> CrossEntropyLoss {
        self.label_smoothing = label_smoothing;
        self
    }
}

impl Loss for CrossEntropyLoss {
    fn spec(&self) -> Spec {
        Spec::new("CrossEntropyLoss").arg_unless("reduction", self.reduction.name(), "mean").arg_unless(
            "label_smoothing",
            self.label_smoothing,
            0.0,
        )
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn declare(&self, x: &[usize], target: &TargetInfo) -> Result<()> {
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            fail!(Argument, "CrossEntropyLoss: a label_smoothing of {} is not between 0 and 1", self.label_smoothing);
        }
        let &[k] = x else {
            fail!(Shape, "CrossEntropyLoss wants vectors of logits, found {}; put `Flatten` before it", shape_text(x));
        };
        if k < 2 {
            fail!(Shape, "CrossEntropyLoss wants a logit for each of at least 2 classes, found one output");
        }
        match target {
            TargetInfo::Values { shape } if shape == x => Ok(()),
            TargetInfo::Values { shape } => {
                let (x, t) = (shape_text(x), shape_text(shape));
                fail!(
                    Shape,
                    "CrossEntropyLoss against distributions wants as many of them as logits: {x}, the target is {t}"
                )
            }
            TargetInfo::Classes { names, per_sample } => {
                one_label(*per_sample)?;
                if names.len() != k {
                    fail!(
                        Shape,
                        "CrossEntropyLoss against {} classes wants as many logits, found {}",
                        names.len(),
                        shape_text(x)
                    );
                }
                Ok(())
            }
        }
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value, target: Value) -> (Value, LossBack) {
        let t = e.target_smoothed(x, target, self.label_smoothing);
        let reduction = self.reduction;
        let (loss, excess) = e.cross_entropy(reduction, x, t);
        (loss, Box::new(move |e, weight| e.cross_entropy_grad(reduction, weight, excess)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::near;
    use crate::losses::testing::{classes, refuses, run, values};

    #[test]
    fn a_value_worked_by_hand() {
        // softmax(0, ln 3) = (1/4, 3/4).
        let (x, labels) = ([0.0, 3f64.ln(), 0.0, 3f64.ln()], classes(2, &[0, 1]));
        let (loss, dx) = run(CrossEntropyLoss::new(), &[2, 2], &x, &labels);
        near(&[loss], &[(4f64.ln() + (4f64 / 3.0).ln()) / 2.0]);
        near(&dx, &[-0.375, 0.375, 0.125, -0.125]);
        let (loss, dx) = run(CrossEntropyLoss::new().reduction(Reduction::Sum), &[2, 2], &x, &labels);
        near(&[loss], &[4f64.ln() + (4f64 / 3.0).ln()]);
        near(&dx, &[-0.75, 0.75, 0.25, -0.25]);
    }

    #[test]
    fn smoothing_spreads_weight_for_classes_and_distributions() {
        let x = [0.0, 3f64.ln()];
        for target in [classes(2, &[1]), values(&[1, 2], &[0.0, 1.0])] {
            let (loss, dx) = run(CrossEntropyLoss::new().label_smoothing(0.5), &[1, 2], &x, &target);
            near(&[loss], &[0.25 * 4f64.ln() + 0.75 * (4f64 / 3.0).ln()]);
            near(&dx, &[0.0, 0.0]);
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let values = |shape: &[usize]| TargetInfo::Values { shape: shape.to_vec() };
        let names = |n: usize| (0..n).map(|i| i.to_string()).collect();
        let classes = |n| TargetInfo::Classes { names: names(n), per_sample: None };
        let loss = CrossEntropyLoss::new;
        refuses(loss(), &[3, 2, 2], &classes(3), "CrossEntropyLoss wants vectors of logits, found (3, 2, 2)");
        refuses(loss(), &[1], &classes(2), "CrossEntropyLoss wants a logit for each of at least 2 classes");
        refuses(loss(), &[3], &classes(2), "CrossEntropyLoss against 2 classes wants as many logits, found (3)");
        refuses(
            loss(),
            &[3],
            &values(&[2]),
            "CrossEntropyLoss against distributions wants as many of them as logits: (3)",
        );
        let two = TargetInfo::Classes { names: names(3), per_sample: Some(2) };
        refuses(loss(), &[3], &two, "the target has 2 labels per sample: choose one");
        let text = "CrossEntropyLoss: a label_smoothing of 1.5 is not between 0 and 1";
        refuses(loss().label_smoothing(1.5), &[3], &classes(3), text);
    }

    #[test]
    fn it_prints_what_was_written() {
        assert_eq!(CrossEntropyLoss::new().spec().to_string(), "CrossEntropyLoss");
        let loss = CrossEntropyLoss::new().reduction(Reduction::Sum).label_smoothing(0.1);
        assert_eq!(loss.spec().to_string(), "CrossEntropyLoss reduction=sum label_smoothing=0.1");
    }
}
