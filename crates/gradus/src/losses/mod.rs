//! Losses: one file each. A loss compares a value with a target and gives one number.
//!
//! To add one: a new file beside the others, its `DEF`, one line in [`LOSSES`].

use std::fmt::Debug;

use crate::data::TargetInfo;
use crate::error::Result;
use crate::fail;
use crate::layers::shape_text;
use crate::program::{Emit, Value};
use crate::spec::{ArgDef, ArgKind, Args, Def, Spec, optional};

mod cross_entropy;
mod l1;
mod mse;
#[cfg(test)]
pub(crate) mod testing;

pub use cross_entropy::CrossEntropyLoss;
pub use l1::L1Loss;
pub use mse::MSELoss;

/// Every loss that can be named in a file.
pub static LOSSES: &[&Def<dyn Loss>] = &[&MSELoss::DEF, &L1Loss::DEF, &CrossEntropyLoss::DEF];

/// The backward pass of a loss: given the factor it has in the sum of losses, emits and returns the gradient of its input.
pub type LossBack = Box<dyn FnOnce(&mut Emit<'_>, f64) -> Value>;

/// A loss: a value and a target in, one number out.
pub trait Loss: Debug + Send + Sync {
    /// The loss as written.
    fn spec(&self) -> Spec;

    /// Whether it is a mean or a sum over the batch: epoch figures of a sum are divided by the samples.
    fn reduction(&self) -> Reduction;

    /// Checks that samples of shape `x` can be compared with `target`.
    ///
    /// # Errors
    /// [`Kind::Shape`](crate::error::Kind::Shape) when they cannot, with both.
    fn declare(&self, x: &[usize], target: &TargetInfo) -> Result<()>;

    /// Emits the loss of `x` against `target` (a [`Emit::target_like`] of it); returns the number and the backward pass.
    fn emit(&self, e: &mut Emit<'_>, x: Value, target: Value) -> (Value, LossBack);
}

/// Whether a loss is the mean or the sum over a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// The mean over everything that is summed.
    #[default]
    Mean,
    /// The sum.
    Sum,
}

impl Reduction {
    pub(crate) const ARG: ArgDef = optional(
        "reduction",
        ArgKind::Choice(&["mean", "sum"]),
        "mean",
        "mean over the batch (and the elements), or their sum",
    );

    pub(crate) fn of(args: &Args) -> Reduction {
        if args.text("reduction") == "sum" { Reduction::Sum } else { Reduction::Mean }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Reduction::Mean => "mean",
            Reduction::Sum => "sum",
        }
    }

    /// The factor on a sum of `terms` terms.
    pub fn factor(self, terms: usize) -> f64 {
        match self {
            Reduction::Mean => 1.0 / terms as f64,
            Reduction::Sum => 1.0,
        }
    }

    /// `weight` times the factor on a sum of `terms` terms, as `gradus explain` prints it before a product.
    pub(crate) fn factor_text(self, weight: f64, terms: &str) -> String {
        let weight = if weight == 1.0 { String::new() } else { format!("{weight}·") };
        match self {
            Reduction::Mean => format!("{weight}1/{terms}·"),
            Reduction::Sum => weight,
        }
    }
}

/// The check of losses that compare number by number: values of the same shape, or classes that become one-hot vectors
/// (0 and 1 where two classes meet one output).
pub(crate) fn elementwise(name: &str, x: &[usize], target: &TargetInfo) -> Result<()> {
    match target {
        TargetInfo::Values { shape } if shape == x || (shape.is_empty() && x == [1]) => Ok(()),
        TargetInfo::Values { shape } => {
            fail!(
                Shape,
                "{name} compares number by number: the output is {}, the target {}",
                shape_text(x),
                shape_text(shape)
            )
        }
        TargetInfo::Classes { names, per_sample: None } => {
            if x == [names.len()] || (x == [1] && names.len() == 2) {
                return Ok(());
            }
            fail!(
                Shape,
                "{name} against {} classes wants {} outputs (one-hot), found {}",
                names.len(),
                names.len(),
                shape_text(x)
            )
        }
        TargetInfo::Classes { per_sample, .. } => one_label(*per_sample),
    }
}

/// The check of losses that want one label per sample.
pub(crate) fn one_label(per_sample: Option<usize>) -> Result<()> {
    match per_sample {
        None => Ok(()),
        Some(k) => fail!(Shape, "the target has {k} labels per sample: choose one, as in `target[0]`"),
    }
}
