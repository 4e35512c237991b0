//! Optimisers: one file each. An optimiser turns a gradient into a step of a parameter, number by number.
//!
//! To add one: a new file beside the others, its `DEF`, one line in [`OPTIMIZERS`].

use std::fmt::Debug;

use crate::exec::cpu::Machine;
use crate::spec::{Def, Spec};

mod sgd;

pub use sgd::SGD;

/// Every optimiser that can be named in a file.
pub static OPTIMIZERS: &[&Def<dyn Optimizer>] = &[&SGD::DEF];

/// What an optimiser needs to know of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// The learning rate of this step.
    pub lr: f64,
    /// Which step it is, from 1 on.
    pub t: u64,
    /// β₁ᵗ and β₂ᵗ, by repeated product.
    pub powers: [f64; 2],
}

/// A rule that turns gradients into steps.
pub trait Optimizer: Debug + Send + Sync {
    /// The optimiser as written.
    fn spec(&self) -> Spec;

    /// Its learning rate, before any schedule.
    fn lr(&self) -> f64;

    /// The numbers it keeps for every parameter, by torch's names. They start at 0.
    fn states(&self) -> &'static [&'static str];

    /// β₁ and β₂, whose powers [`Update`] carries.
    fn betas(&self) -> [f64; 2] {
        [1.0, 1.0]
    }

    /// The definition, in f64: `p`, `g` and every state have the same length.
    fn define(&self, u: &Update, p: &mut [f64], g: &[f64], states: &mut [&mut [f64]]);

    /// The same in f32, in one pass; `states` holds the state arrays one after another.
    fn update(&self, machine: &Machine, u: &Update, p: &mut [f32], g: &[f32], states: &mut [f32]);
}
