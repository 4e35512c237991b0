//! `SGD`: p −= lr·(g + weight_decay·p), with momentum as in torch.
//!
//! With momentum μ: b = μ·b + (1 − dampening)·g (b = g on the first step), and p −= lr·b, or p −= lr·(g + μ·b) with
//! Nesterov's. Source: `torch.optim.SGD`.

use gradus_kernels::optim::{Momentum, Sgd, sgd, sgd_momentum};

use super::{Optimizer, Update};
use crate::exec::cpu::Machine;
use crate::fail;
use crate::spec::{ArgKind, Def, Spec, optional};

/// Gradient descent, with momentum if asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SGD {
    /// Learning rate.
    pub lr: f64,
    /// μ.
    pub momentum: f64,
    /// Share of the gradient that is kept out of the buffer.
    pub dampening: f64,
    /// Added to the gradient, times the parameter.
    pub weight_decay: f64,
    /// Nesterov's momentum.
    pub nesterov: bool,
}

impl SGD {
    /// The entry in [`super::OPTIMIZERS`].
    pub const DEF: Def<dyn Optimizer> = Def {
        name: "SGD",
        summary: "gradient descent, with momentum if asked",
        formula: "g += weight_decay·p;  b = momentum·b + (1 − dampening)·g;  p −= lr·b  (nesterov: lr·(g + momentum·b))",
        shapes: "number by number",
        args: &[
            optional("lr", ArgKind::Number, "0.001", "learning rate"),
            optional("momentum", ArgKind::Number, "0.0", "momentum factor"),
            optional("dampening", ArgKind::Number, "0.0", "share of the gradient kept out of the momentum buffer"),
            optional("weight_decay", ArgKind::Number, "0.0", "times the parameter, added to its gradient"),
            optional("nesterov", ArgKind::Flag, "false", "Nesterov's momentum"),
        ],
        make: |a| {
            let sgd = SGD {
                lr: a.number("lr"),
                momentum: a.number("momentum"),
                dampening: a.number("dampening"),
                weight_decay: a.number("weight_decay"),
                nesterov: a.flag("nesterov"),
            };
            if sgd.lr < 0.0 || sgd.momentum < 0.0 || sgd.weight_decay < 0.0 {
                fail!(Argument, "SGD: lr, momentum and weight_decay are not negative");
            }
            if sgd.nesterov && (sgd.momentum == 0.0 || sgd.dampening != 0.0) {
                fail!(Argument, "SGD: nesterov needs a momentum and no dampening");
            }
            Ok(Box::new(sgd))
        },
    };

    /// Plain gradient descent.
    pub fn new(lr: f64) -> SGD {
        SGD { lr, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false }
    }

    /// With momentum.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> SGD {
        self.momentum = momentum;
        self
    }
}

impl Optimizer for SGD {
    fn spec(&self) -> Spec {
        Spec::new("SGD")
            .arg("lr", self.lr)
            .arg_unless("momentum", self.momentum, 0.0)
            .arg_unless("dampening", self.dampening, 0.0)
            .arg_unless("weight_decay", self.weight_decay, 0.0)
            .arg_unless("nesterov", self.nesterov, false)
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn states(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum_buffer"] }
    }

    fn define(&self, u: &Update, p: &mut [f64], g: &[f64], states: &mut [&mut [f64]]) {
        for i in 0..p.len() {
            let mut g = g[i] + self.weight_decay * p[i];
            if let [buffer] = states {
                buffer[i] = if u.t == 1 { g } else { self.momentum * buffer[i] + (1.0 - self.dampening) * g };
                g = if self.nesterov { g + self.momentum * buffer[i] } else { buffer[i] };
            }
            p[i] -= u.lr * g;
        }
    }

    fn as_sgd(&self, u: &Update) -> Option<Sgd> {
        (self.momentum == 0.0).then_some(Sgd { lr: u.lr as f32, weight_decay: self.weight_decay as f32 })
    }

    fn update(&self, machine: &Machine, u: &Update, p: &mut [f32], g: &[f32], states: &mut [f32]) {
        if let Some(step) = self.as_sgd(u) {
            return sgd(machine, &step, p, g);
        }
        let step = Momentum {
            lr: u.lr as f32,
            momentum: self.momentum as f32,
            dampening: self.dampening as f32,
            weight_decay: self.weight_decay as f32,
            nesterov: self.nesterov,
            first: u.t == 1,
        };
        sgd_momentum(machine, &step, p, g, states);
    }
}
