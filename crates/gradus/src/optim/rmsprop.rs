//! `RMSprop`: gradients divided by the root of their running mean square.
//!
//! s = α·s + (1 − α)·g², p −= lr·g/(√s + eps). Centered: the running variance s − ḡ² under the root, with
//! ḡ += (1 − α)·(g − ḡ). With momentum μ: b = μ·b + g/(√s + eps), p −= lr·b. Source: `torch.optim.RMSprop`.

use gradus_kernels::optim::{RmsProp, rmsprop};

use super::{Optimizer, Update};
use crate::exec::cpu::Machine;
use crate::fail;
use crate::spec::{ArgKind, Def, Spec, optional};

/// Gradients divided by the root of their running mean square.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RMSprop {
    /// Learning rate.
    pub lr: f64,
    /// How much stays of the running mean square.
    pub alpha: f64,
    /// Added to the root.
    pub eps: f64,
    /// Times the parameter, added to its gradient.
    pub weight_decay: f64,
    /// μ; 0 for no buffer.
    pub momentum: f64,
    /// Divide by the running standard deviation.
    pub centered: bool,
}

impl RMSprop {
    /// The entry in [`super::OPTIMIZERS`].
    pub const DEF: Def<dyn Optimizer> = Def {
        name: "RMSprop",
        summary: "gradients divided by the root of their running mean square",
        formula: "g += weight_decay·p;  s = alpha·s + (1 − alpha)·g²;  b = momentum·b + g/(√s + eps);  p −= lr·b",
        shapes: "number by number",
        args: &[
            optional("lr", ArgKind::Number, "0.01", "learning rate"),
            optional("alpha", ArgKind::Number, "0.99", "how much stays of the running mean square"),
            optional("eps", ArgKind::Number, "1e-8", "added to the root"),
            optional("weight_decay", ArgKind::Number, "0.0", "times the parameter, added to its gradient"),
            optional("momentum", ArgKind::Number, "0.0", "momentum factor"),
            optional("centered", ArgKind::Flag, "false", "divide by the running standard deviation"),
        ],
        make: |a| {
            let rmsprop = RMSprop {
                lr: a.number("lr"),
                alpha: a.number("alpha"),
                eps: a.number("eps"),
                weight_decay: a.number("weight_decay"),
                momentum: a.number("momentum"),
                centered: a.flag("centered"),
            };
            if rmsprop.lr < 0.0 || rmsprop.weight_decay < 0.0 || rmsprop.momentum < 0.0 {
                fail!(Argument, "RMSprop: lr, weight_decay and momentum are not negative");
            }
            // A parameter whose gradient is always 0 would become 0/0.
            if rmsprop.eps as f32 <= 0.0 {
                fail!(Argument, "RMSprop: eps is above 0, found {:?}", rmsprop.eps);
            }
            if !(0.0..1.0).contains(&(rmsprop.alpha as f32)) {
                fail!(Argument, "RMSprop: alpha is a number from 0 to below 1, found {}", rmsprop.alpha);
            }
            Ok(Box::new(rmsprop))
        },
    };

    /// With torch's defaults: alpha 0.99, eps 1e-8, neither momentum nor weight decay, not centered.
    pub fn new(lr: f64) -> RMSprop {
        RMSprop { lr, alpha: 0.99, eps: 1e-8, weight_decay: 0.0, momentum: 0.0, centered: false }
    }
}

impl Optimizer for RMSprop {
    fn spec(&self) -> Spec {
        Spec::new("RMSprop")
            .arg("lr", self.lr)
            .arg_unless("alpha", self.alpha, 0.99)
            .arg_unless("eps", self.eps, 1e-8)
            .arg_unless("weight_decay", self.weight_decay, 0.0)
            .arg_unless("momentum", self.momentum, 0.0)
            .arg_unless("centered", self.centered, false)
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn states(&self) -> &'static [&'static str] {
        match (self.centered, self.momentum != 0.0) {
            (false, false) => &["square_avg"],
            (false, true) => &["square_avg", "momentum_buffer"],
            (true, false) => &["square_avg", "grad_avg"],
            (true, true) => &["square_avg", "grad_avg", "momentum_buffer"],
        }
    }

    fn define(&self, u: &Update, p: &mut [f64], g: &[f64], states: &mut [&mut [f64]]) {
        let (square_avg, rest) = states.split_first_mut().expect("one state at least");
        let (grad_avg, buffer) = rest.split_at_mut(usize::from(self.centered));
        for i in 0..p.len() {
            let g = g[i] + self.weight_decay * p[i];
            square_avg[i] = self.alpha * square_avg[i] + (1.0 - self.alpha) * g * g;
            let mut square = square_avg[i];
            if let [mean] = grad_avg {
                mean[i] += (1.0 - self.alpha) * (g - mean[i]);
                // Rounding can take a variance of 0 below it.
                square = (square - mean[i] * mean[i]).max(0.0);
            }
            let mut step = g / (square.sqrt() + self.eps);
            if let [buffer] = buffer {
                buffer[i] = self.momentum * buffer[i] + step;
                step = buffer[i];
            }
            p[i] -= u.lr * step;
        }
    }

    fn update(&self, machine: &Machine, u: &Update, p: &mut [f32], g: &[f32], states: &mut [f32]) {
        let step = RmsProp {
            lr: u.lr as f32,
            alpha: self.alpha as f32,
            eps: self.eps as f32,
            weight_decay: self.weight_decay as f32,
            momentum: self.momentum as f32,
            centered: self.centered,
        };
        let (square_avg, rest) = states.split_at_mut(p.len());
        let (grad_avg, buffer) = rest.split_at_mut(if self.centered { p.len() } else { 0 });
        rmsprop(machine, &step, p, g, square_avg, Some(grad_avg), Some(buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, refused, steps};
    use super::*;

    #[test]
    fn worked_by_hand() {
        let plain = RMSprop { alpha: 0.75, ..RMSprop::new(0.1) };
        // s = 0.25, then 0.1875 + 0.25.
        near(&steps(&plain, 1.0, &[1.0, -1.0]), &[0.8, 0.8 + 0.1 / 0.4375f64.sqrt()]);
        // The same steps, in a buffer that keeps half: 2, then 1 − 1/√0.4375.
        let momentum = RMSprop { momentum: 0.5, ..plain };
        near(&steps(&momentum, 1.0, &[1.0, -1.0]), &[0.8, 0.8 - 0.1 * (1.0 - 1.0 / 0.4375f64.sqrt())]);
        // Mean 0.25: variance 0.25 − 0.0625.
        near(&steps(&RMSprop { centered: true, ..plain }, 1.0, &[1.0]), &[1.0 - 0.1 / 0.1875f64.sqrt()]);
        // A gradient of 0 and 0.5·1 of decay: s = 0.0625.
        near(&steps(&RMSprop { weight_decay: 0.5, ..plain }, 1.0, &[0.0]), &[0.8]);
    }

    #[test]
    fn wrong_arguments_are_named() {
        let rmsprop = || Spec::new("RMSprop");
        assert!(refused(rmsprop().arg("alpha", 1.0)).contains("alpha is a number from 0 to below 1, found 1"));
        assert!(refused(rmsprop().arg("eps", 0.0)).contains("eps is above 0"));
        assert!(refused(rmsprop().arg("momentum", -0.5)).contains("not negative"));
    }
}
