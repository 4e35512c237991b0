//! `L1Loss`: the mean (or sum) of absolute differences, over all elements of the batch.
//!
//! # Shapes
//! x and t (B, …), the loss one number. L = c·Σ |x − t|, dx = c·sign(x − t) with sign 0 = 0, and c = 1/(B·elements) for
//! the mean, 1 for the sum. Classes as target become one-hot vectors.

use super::{Loss, LossBack, Reduction, elementwise};
use crate::data::TargetInfo;
use crate::error::Result;
use crate::ops::Difference;
use crate::program::{Emit, Value};
use crate::spec::{Def, Spec};

/// The mean absolute error.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct L1Loss {
    /// Mean over all elements, or sum.
    pub reduction: Reduction,
}

impl L1Loss {
    /// The entry in [`super::LOSSES`].
    pub const DEF: Def<dyn Loss> = Def {
        name: "L1Loss",
        summary: "mean absolute error",
        formula: "L = c·Σ |x − t|;  dx = c·sign(x − t);  c = 1/(B·elements), or 1 for the sum",
        shapes: "x and t the same; classes become one-hot, two classes against one output 0 and 1",
        args: &[Reduction::ARG],
        make: |a| Ok(Box::new(L1Loss { reduction: Reduction::of(a) })),
    };

    /// The mean over all elements.
    pub fn new() -> L1Loss {
        L1Loss::default()
    }

    /// With this reduction.
    #[must_use]
    pub fn reduction(mut self, reduction: Reduction) -> L1Loss {
        self.reduction = reduction;
        self
    }
}

impl Loss for L1Loss {
    fn spec(&self) -> Spec {
        Spec::new("L1Loss").arg_unless("reduction", self.reduction.name(), "mean")
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn declare(&self, x: &[usize], target: &TargetInfo) -> Result<()> {
        elementwise("L1Loss", x, target)
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value, target: Value) -> (Value, LossBack) {
        let t = e.target_like(x, target);
        let reduction = self.reduction;
        let loss = e.difference(Difference::Absolute, reduction, x, t);
        (loss, Box::new(move |e, weight| e.difference_grad(Difference::Absolute, reduction, weight, x, t)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::testing::{refuses, run, values};

    #[test]
    fn a_value_worked_by_hand() {
        let (x, t) = ([1.0, -2.0, 0.5, 4.0], values(&[2, 2], &[3.0, -3.0, 0.5, 0.0]));
        assert_eq!(run(L1Loss::new(), &[2, 2], &x, &t), (1.75, vec![-0.25, 0.25, 0.0, 0.25]));
        let sum = L1Loss::new().reduction(Reduction::Sum);
        assert_eq!(run(sum, &[2, 2], &x, &t), (7.0, vec![-1.0, 1.0, 0.0, 1.0]));
    }

    #[test]
    fn another_shape_is_refused() {
        let target = TargetInfo::Values { shape: vec![3] };
        refuses(L1Loss::new(), &[2], &target, "L1Loss compares number by number: the output is (2), the target (3)");
    }

    #[test]
    fn it_prints_what_was_written() {
        assert_eq!(L1Loss::new().reduction(Reduction::Sum).spec().to_string(), "L1Loss reduction=sum");
    }
}
