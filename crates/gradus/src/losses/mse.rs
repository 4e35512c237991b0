//! `MSELoss`: the mean (or sum) of squared differences, over all elements of the batch.
//!
//! # Shapes
//! x and t (B, …), the loss one number. L = c·Σ (x − t)², dx = 2c·(x − t), with c = 1/(B·elements) for the mean, 1 for
//! the sum. Classes as target become one-hot vectors.

use super::{Loss, LossBack, Reduction, elementwise};
use crate::data::TargetInfo;
use crate::error::Result;
use crate::ops::Difference;
use crate::program::{Emit, Value};
use crate::spec::{Def, Spec};

/// The mean squared error.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MSELoss {
    /// Mean over all elements, or sum.
    pub reduction: Reduction,
}

impl MSELoss {
    /// The entry in [`super::LOSSES`].
    pub const DEF: Def<dyn Loss> = Def {
        name: "MSELoss",
        summary: "mean squared error",
        formula: "L = c·Σ (x − t)²;  dx = 2c·(x − t);  c = 1/(B·elements), or 1 for the sum",
        shapes: "x and t the same; classes become one-hot, two classes against one output 0 and 1",
        args: &[Reduction::ARG],
        make: |a| Ok(Box::new(MSELoss { reduction: Reduction::of(a) })),
    };

    /// The mean over all elements.
    pub fn new() -> MSELoss {
        MSELoss::default()
    }

    /// With this reduction.
    #[must_use]
    pub fn reduction(mut self, reduction: Reduction) -> MSELoss {
        self.reduction = reduction;
        self
    }
}

impl Loss for MSELoss {
    fn spec(&self) -> Spec {
        Spec::new("MSELoss").arg_unless("reduction", self.reduction.name(), "mean")
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn declare(&self, x: &[usize], target: &TargetInfo) -> Result<()> {
        elementwise("MSELoss", x, target)
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value, target: Value) -> (Value, LossBack) {
        let t = e.target_like(x, target);
        let reduction = self.reduction;
        let loss = e.difference(Difference::Squared, reduction, x, t);
        (loss, Box::new(move |e, weight| e.difference_grad(Difference::Squared, reduction, weight, x, t)))
    }
}
