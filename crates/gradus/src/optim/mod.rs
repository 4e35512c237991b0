//! Optimisers: one file each. An optimiser turns a gradient into a step of a parameter, number by number.
//!
//! To add one: a new file beside the others, its `DEF`, one line in [`OPTIMIZERS`].

use std::fmt::Debug;

use crate::exec::cpu::Machine;
use crate::spec::{Def, Spec};

mod adagrad;
mod adam;
mod rmsprop;
mod sgd;

pub use adagrad::Adagrad;
pub use adam::{Adam, AdamRule, AdamW};
pub use rmsprop::RMSprop;
pub use sgd::SGD;

use gradus_kernels::optim::Sgd;

/// Every optimiser that can be named in a file.
pub static OPTIMIZERS: &[&Def<dyn Optimizer>] = &[&SGD::DEF, &Adam::DEF, &AdamW::DEF, &RMSprop::DEF, &Adagrad::DEF];

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

    /// The step as plain gradient descent in f32, where it is that and keeps no state: a gradient need not be stored then.
    fn as_sgd(&self, _: &Update) -> Option<Sgd> {
        None
    }

    /// The same in f32, in one pass; `states` holds the state arrays one after another.
    fn update(&self, machine: &Machine, u: &Update, p: &mut [f32], g: &[f32], states: &mut [f32]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::find;

    /// What becomes of the parameter `p` given these gradients, by the definition. The f32 kernel must agree, on the first
    /// and last of many numbers.
    pub(super) fn steps(optimizer: &dyn Optimizer, p: f64, grads: &[f64]) -> Vec<f64> {
        let machine = Machine::new(1);
        let (count, n) = (optimizer.states().len(), 37);
        let (mut exact, mut states) = ([p], vec![[0.0]; count]);
        let (mut fast, mut fast_states) = (vec![p as f32; n], vec![0.0; count * n]);
        let mut powers = [1.0; 2];
        let mut after = Vec::new();
        for (i, g) in grads.iter().enumerate() {
            for (power, beta) in powers.iter_mut().zip(optimizer.betas()) {
                *power *= beta;
            }
            let u = Update { lr: optimizer.lr(), t: i as u64 + 1, powers };
            let mut views: Vec<&mut [f64]> = states.iter_mut().map(|s| &mut s[..]).collect();
            optimizer.define(&u, &mut exact, &[*g], &mut views);
            optimizer.update(&machine, &u, &mut fast, &vec![*g as f32; n], &mut fast_states);
            for p in [fast[0], fast[n - 1]] {
                assert!((f64::from(p) - exact[0]).abs() <= 2e-6, "{optimizer:?} at step {}: {p} {}", i + 1, exact[0]);
            }
            after.push(exact[0]);
        }
        after
    }

    pub(super) fn near(found: &[f64], want: &[f64]) {
        assert_eq!(found.len(), want.len());
        assert!(found.iter().zip(want).all(|(a, b)| (a - b).abs() <= 1e-7), "{found:?} {want:?}");
    }

    /// The error of an optimiser that is written like this.
    pub(super) fn refused(spec: Spec) -> String {
        find(OPTIMIZERS, "optimizer", &spec.name).unwrap().build(&spec).unwrap_err().to_string()
    }

    #[test]
    fn every_optimizer_is_written_as_it_is_read() {
        for def in OPTIMIZERS {
            let made = def.build(&Spec::new(def.name).arg("lr", 0.25)).unwrap();
            assert_eq!(made.spec().to_string(), format!("{} lr=0.25", def.name));
            assert_eq!(made.lr(), 0.25);
            // Whatever the arguments, what is kept differs in number only.
            let json = serde_json::to_string(&made.spec()).unwrap();
            let again = def.build(&serde_json::from_str(&json).unwrap()).unwrap();
            assert_eq!(again.spec(), made.spec());
        }
    }

    #[test]
    fn no_gradient_moves_nothing() {
        for def in OPTIMIZERS.iter().filter(|d| d.name != "AdamW") {
            let made = def.build(&Spec::new(def.name).arg("lr", 0.25)).unwrap();
            assert_eq!(steps(&*made, 1.5, &[0.0; 3]), [1.5; 3]);
        }
    }
}
