//! Statistics of paired rounds: numbers in, numbers out.
//!
//! Two arms of a study run the same rounds (same data, same first weights), so the question "is B better than A?" is
//! answered from the differences b − a, one per round. [`paired::compare`] runs every procedure on them and
//! [`paired::Comparison::verdict`] says in words what follows. [`paired::compare_family`] does so for several arms, with
//! Holm's correction over the family.
//!
//! ```
//! use gradus_stats::paired::{Question, compare_family};
//!
//! let question = Question { margin: Some(0.5), ..Question::default() };
//! let deeper = [1.2, 0.9, 1.6, 1.1, 0.7, 1.4, 1.3, 0.8, 1.0, 1.5];      // points over the baseline, ten rounds
//! let wider = [0.1, -0.2, 0.0, 0.1, -0.1, 0.2, -0.1, 0.0, 0.1, -0.1];
//! let answers = compare_family(&[&deeper, &wider], &question)?;
//! assert!(answers[0].verdict.sentence("deeper", "base", "points").starts_with("deeper is better than base by 1.15"));
//! assert!(answers[1].verdict.sentence("wider", "base", "points").starts_with("no difference that matters"));
//! # Ok::<(), gradus_stats::Error>(())
//! ```
//!
//! Rules that hold everywhere:
//!
//! * Input is finite or refused, with an [`Error`] that says where. No NaN comes out; what is not defined is an `Option`.
//! * Values of a magnitude above 1e150 are refused, since their squares are not numbers any more.
//! * The same input and seed give the same bits on every machine: Philox4x32-10 for resampling, the `libm` crate for
//!   logarithms and the like, sums in the order of the input.
//! * Nothing is tested more than the rounds allow: a p value speaks of new rounds of the same study (the same pool of
//!   samples), not of other data.

pub mod align;
pub mod bootstrap;
pub mod describe;
pub mod dist;
pub mod effect;
pub mod equivalence;
mod error;
pub mod factorial;
pub mod holm;
pub mod mcnemar;
pub mod moments;
pub mod paired;
pub mod power;
pub mod proportion;
mod random;
pub mod sign_flip;
pub mod stuck;
pub mod times;
pub mod ttest;
pub mod verdict;
pub mod wilcoxon;

pub use error::{Error, Kind, Result};

/// An interval, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end; never below `low`.
    pub high: f64,
}

impl Interval {
    /// Whether `x` lies in it.
    pub fn contains(&self, x: f64) -> bool {
        self.low <= x && x <= self.high
    }

    /// The interval of −x.
    #[must_use]
    pub fn negated(&self) -> Self {
        Self { low: -self.high, high: -self.low }
    }
}
