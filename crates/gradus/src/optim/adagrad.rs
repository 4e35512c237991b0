//! `Adagrad`: gradients divided by the root of the sum of their squares so far.
//!
//! s += g², p −= lr/(1 + (t − 1)·lr_decay)·g/(√s + eps). Sources: Duchi et al. 2011; `torch.optim.Adagrad`.

use gradus_kernels::optim::adagrad;

use super::{Optimizer, Update};
use crate::exec::cpu::Machine;
use crate::fail;
use crate::spec::{ArgKind, Def, Spec, optional};

/// Gradients divided by the root of the sum of their squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adagrad {
    /// Learning rate.
    pub lr: f64,
    /// How fast the learning rate falls from step to step.
    pub lr_decay: f64,
    /// Times the parameter, added to its gradient.
    pub weight_decay: f64,
    /// Added to the root.
    pub eps: f64,
}

impl Adagrad {
    /// The entry in [`super::OPTIMIZERS`].
    pub const DEF: Def<dyn Optimizer> = Def {
        name: "Adagrad",
        summary: "gradients divided by the root of the sum of their squares",
        formula: "g += weight_decay·p;  s += g²;  p −= lr/(1 + (t − 1)·lr_decay)·g/(√s + eps)",
        shapes: "number by number",
        args: &[
            optional("lr", ArgKind::Number, "0.01", "learning rate"),
            optional("lr_decay", ArgKind::Number, "0.0", "how fast the learning rate falls from step to step"),
            optional("weight_decay", ArgKind::Number, "0.0", "times the parameter, added to its gradient"),
            optional("eps", ArgKind::Number, "1e-10", "added to the root"),
        ],
        make: |a| {
            let adagrad = Adagrad {
                lr: a.number("lr"),
                lr_decay: a.number("lr_decay"),
                weight_decay: a.number("weight_decay"),
                eps: a.number("eps"),
            };
            if adagrad.lr < 0.0 || adagrad.lr_decay < 0.0 || adagrad.weight_decay < 0.0 {
                fail!(Argument, "Adagrad: lr, lr_decay and weight_decay are not negative");
            }
            // A parameter whose gradient is always 0 would become 0/0.
            if adagrad.eps as f32 <= 0.0 {
                fail!(Argument, "Adagrad: eps is above 0, found {:?}", adagrad.eps);
            }
            Ok(Box::new(adagrad))
        },
    };

    /// With torch's defaults: eps 1e-10, no decay.
    pub fn new(lr: f64) -> Adagrad {
        Adagrad { lr, lr_decay: 0.0, weight_decay: 0.0, eps: 1e-10 }
    }

    /// The learning rate of a step.
    fn decayed(&self, u: &Update) -> f64 {
        u.lr / (1.0 + (u.t - 1) as f64 * self.lr_decay)
    }
}

impl Optimizer for Adagrad {
    fn spec(&self) -> Spec {
        Spec::new("Adagrad")
            .arg("lr", self.lr)
            .arg_unless("lr_decay", self.lr_decay, 0.0)
            .arg_unless("weight_decay", self.weight_decay, 0.0)
            .arg_unless("eps", self.eps, 1e-10)
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn states(&self) -> &'static [&'static str] {
        &["sum"]
    }

    fn define(&self, u: &Update, p: &mut [f64], g: &[f64], states: &mut [&mut [f64]]) {
        let [sum] = states else { unreachable!("one state") };
        for i in 0..p.len() {
            let g = g[i] + self.weight_decay * p[i];
            sum[i] += g * g;
            p[i] -= self.decayed(u) * g / (sum[i].sqrt() + self.eps);
        }
    }

    fn update(&self, machine: &Machine, u: &Update, p: &mut [f32], g: &[f32], states: &mut [f32]) {
        adagrad(machine, self.decayed(u) as f32, self.weight_decay as f32, self.eps as f32, p, g, states);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, refused, steps};
    use super::*;

    #[test]
    fn worked_by_hand() {
        // s = 9, then 25.
        near(&steps(&Adagrad::new(0.1), 1.0, &[3.0, 4.0]), &[0.9, 0.9 - 0.1 * 0.8]);
        // The second step at half the rate.
        near(&steps(&Adagrad { lr_decay: 1.0, ..Adagrad::new(0.1) }, 1.0, &[3.0, 4.0]), &[0.9, 0.9 - 0.05 * 0.8]);
        near(&steps(&Adagrad { weight_decay: 0.5, ..Adagrad::new(0.1) }, 2.0, &[0.0]), &[1.9]);
    }

    #[test]
    fn wrong_arguments_are_named() {
        assert!(refused(Spec::new("Adagrad").arg("eps", 0.0)).contains("eps is above 0"));
        assert!(refused(Spec::new("Adagrad").arg("lr_decay", -1.0)).contains("not negative"));
    }
}
