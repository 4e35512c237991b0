//! `Adam` and `AdamW`: steps of the size of the learning rate, whatever the scale of the gradients.
//!
//! m += (1 − β₁)·(g − m), v = β₂·v + (1 − β₂)·g², p −= lr·m̂/(√v̂ + eps) with m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ). Weight
//! decay is added to the gradient (Adam), or shrinks the parameter beforehand, p −= lr·weight_decay·p (AdamW).
//! Sources: Kingma and Ba 2015, Loshchilov and Hutter 2019; `torch.optim.Adam` and `AdamW`.

use gradus_kernels::optim::adam;

use super::{Optimizer, Update};
use crate::exec::cpu::Machine;
use crate::fail;
use crate::spec::{ArgKind, Def, Spec, optional};

/// [`AdamRule`] whose weight decay is part of the gradient.
pub type Adam = AdamRule<false>;
/// [`AdamRule`] whose weight decay shrinks the parameter itself.
pub type AdamW = AdamRule<true>;

/// Adam, with its weight decay decoupled from the gradient where `DECOUPLED`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamRule<const DECOUPLED: bool> {
    /// Learning rate.
    pub lr: f64,
    /// How much stays of the running means of the gradient and of its square.
    pub betas: [f64; 2],
    /// Added to the root of the mean square.
    pub eps: f64,
    /// Times the parameter: added to the gradient, or times lr taken off the parameter.
    pub weight_decay: f64,
}

const BETAS: [f64; 2] = [0.9, 0.999];

impl<const DECOUPLED: bool> AdamRule<DECOUPLED> {
    const NAME: &str = if DECOUPLED { "AdamW" } else { "Adam" };
    const WEIGHT_DECAY: f64 = if DECOUPLED { 0.01 } else { 0.0 };

    /// The entry in [`super::OPTIMIZERS`].
    pub const DEF: Def<dyn Optimizer> = Def {
        name: Self::NAME,
        summary: if DECOUPLED {
            "Adam with decoupled weight decay"
        } else {
            "steps by the running mean and square of the gradient"
        },
        formula: if DECOUPLED {
            "p −= lr·weight_decay·p;  m += (1 − β₁)·(g − m);  v = β₂·v + (1 − β₂)·g²;  p −= lr·m̂/(√v̂ + eps)"
        } else {
            "g += weight_decay·p;  m += (1 − β₁)·(g − m);  v = β₂·v + (1 − β₂)·g²;  p −= lr·m̂/(√v̂ + eps)"
        },
        shapes: "number by number",
        args: &[
            optional("lr", ArgKind::Number, "0.001", "learning rate"),
            optional("betas", ArgKind::NumberPair, "[0.9,0.999]", "how much stays of the running mean and square"),
            optional("eps", ArgKind::Number, "1e-8", "added to the root of the mean square"),
            if DECOUPLED {
                optional("weight_decay", ArgKind::Number, "0.01", "times lr and the parameter, taken off the parameter")
            } else {
                optional("weight_decay", ArgKind::Number, "0.0", "times the parameter, added to its gradient")
            },
        ],
        make: |a| {
            let adam = Self {
                lr: a.number("lr"),
                betas: a.number_pair("betas"),
                eps: a.number("eps"),
                weight_decay: a.number("weight_decay"),
            };
            if adam.lr < 0.0 || adam.weight_decay < 0.0 {
                fail!(Argument, "{}: lr and weight_decay are not negative", Self::NAME);
            }
            // A parameter whose gradient is always 0 would become 0/0.
            if adam.eps as f32 <= 0.0 {
                fail!(Argument, "{}: eps is above 0, found {:?}", Self::NAME, adam.eps);
            }
            if !adam.betas.iter().all(|beta| (0.0..1.0).contains(&(*beta as f32))) {
                fail!(Argument, "{}: betas are numbers from 0 to below 1, found {:?}", Self::NAME, adam.betas);
            }
            Ok(Box::new(adam))
        },
    };

    /// With torch's defaults: betas 0.9 and 0.999, eps 1e-8, weight decay 0 (Adam) or 0.01 (AdamW).
    pub fn new(lr: f64) -> Self {
        AdamRule { lr, betas: BETAS, eps: 1e-8, weight_decay: Self::WEIGHT_DECAY }
    }

    /// With weight decay.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }
}

impl<const DECOUPLED: bool> Optimizer for AdamRule<DECOUPLED> {
    fn spec(&self) -> Spec {
        Spec::new(Self::NAME)
            .arg("lr", self.lr)
            .arg_unless("betas", self.betas, BETAS)
            .arg_unless("eps", self.eps, 1e-8)
            .arg_unless("weight_decay", self.weight_decay, Self::WEIGHT_DECAY)
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn states(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn betas(&self) -> [f64; 2] {
        self.betas
    }

    fn define(&self, u: &Update, p: &mut [f64], g: &[f64], states: &mut [&mut [f64]]) {
        let [m, v] = states else { unreachable!("two states") };
        for i in 0..p.len() {
            let decay = self.weight_decay * p[i];
            let g = if DECOUPLED { g[i] } else { g[i] + decay };
            if DECOUPLED {
                p[i] -= u.lr * decay;
            }
            m[i] += (1.0 - self.betas[0]) * (g - m[i]);
            v[i] = self.betas[1] * v[i] + (1.0 - self.betas[1]) * g * g;
            let (mean, square) = (m[i] / (1.0 - u.powers[0]), v[i] / (1.0 - u.powers[1]));
            p[i] -= u.lr * mean / (square.sqrt() + self.eps);
        }
    }

    fn update(&self, machine: &Machine, u: &Update, p: &mut [f32], g: &[f32], states: &mut [f32]) {
        let step = gradus_kernels::optim::Adam {
            lr: u.lr as f32,
            new1: (1.0 - self.betas[0]) as f32,
            beta2: self.betas[1] as f32,
            new2: (1.0 - self.betas[1]) as f32,
            eps: self.eps as f32,
            weight_decay: self.weight_decay as f32,
            decoupled: DECOUPLED,
            correction1: (1.0 - u.powers[0]) as f32,
            correction2: (1.0 - u.powers[1]) as f32,
        };
        let (m, v) = states.split_at_mut(p.len());
        adam(machine, &step, p, g, m, v);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, refused, steps};
    use super::*;

    #[test]
    fn worked_by_hand() {
        // The first step is lr against the sign of the gradient. After −1: m̂ = (0.9·0.05 − 0.1)/0.19,
        // v̂ = (0.999·0.00025 + 0.001)/0.001999.
        let second = 0.1 * (-0.055 / 0.19) / (0.00124975f64 / 0.001999).sqrt();
        near(&steps(&Adam::new(0.1), 1.0, &[0.5, -1.0]), &[0.9, 0.9 - second]);
        near(&steps(&Adam::new(0.1).weight_decay(0.5), 1.0, &[0.5]), &[0.9]);
        near(&steps(&AdamW::new(0.1), 1.0, &[0.5]), &[0.999 - 0.1]);
        near(&steps(&AdamW::new(0.1).weight_decay(0.5), 1.0, &[0.0]), &[0.95]);
    }

    #[test]
    fn wrong_arguments_are_named() {
        let adam = || Spec::new("Adam");
        assert!(refused(adam().arg("betas", [0.9, 1.0])).contains("betas are numbers from 0 to below 1"));
        assert!(refused(adam().arg("betas", 0.9)).contains("two numbers"));
        assert!(refused(adam().arg("eps", 0.0)).contains("Adam: eps is above 0"));
        assert!(refused(Spec::new("AdamW").arg("lr", -1.0)).contains("AdamW: lr and weight_decay are not negative"));
        let spec = AdamRule::<false> { betas: [0.5, 0.75], ..Adam::new(0.1) }.spec();
        assert_eq!(spec.to_string(), "Adam lr=0.1 betas=[0.5,0.75]");
    }
}
