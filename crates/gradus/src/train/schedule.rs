//! Schedules: how the learning rate changes from epoch to epoch. Names and formulas are `torch.optim.lr_scheduler`'s.

use std::fmt::Debug;

use crate::fail;
use crate::spec::{ArgDef, ArgKind, Args, Def, Spec, optional, required};

/// Every schedule that can be named in a file.
pub static SCHEDULES: &[&Def<dyn Schedule>] =
    &[&ConstantLR::DEF, &StepLR::DEF, &CosineAnnealingLR::DEF, &LinearLR::DEF];

/// A learning rate for each epoch.
pub trait Schedule: Debug + Send + Sync {
    /// The schedule as written.
    fn spec(&self) -> Spec;

    /// The learning rate of `epoch` (from 0 on) of `epochs`, where `base` is the optimiser's.
    fn lr(&self, base: f64, epoch: usize, epochs: usize) -> f64;
}

const WARMUP: ArgDef =
    optional("warmup", ArgKind::Natural, "0", "epochs at the start over which the rate grows linearly to its value");

/// The factor of a warm-up of `warmup` epochs: (epoch + 1)/(warmup + 1), then 1.
fn warm(warmup: usize, epoch: usize) -> f64 {
    if epoch < warmup { (epoch + 1) as f64 / (warmup + 1) as f64 } else { 1.0 }
}

/// Always the same, after a warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConstantLR {
    /// Epochs of warm-up.
    pub warmup: usize,
}

impl ConstantLR {
    /// The entry in [`SCHEDULES`].
    pub const DEF: Def<dyn Schedule> = Def {
        name: "ConstantLR",
        summary: "always the same, after a warm-up if asked",
        formula: "lr",
        shapes: "",
        args: &[WARMUP],
        make: |a| Ok(Box::new(ConstantLR { warmup: a.count("warmup") })),
    };
}

impl Schedule for ConstantLR {
    fn spec(&self) -> Spec {
        Spec::new("ConstantLR").arg_unless("warmup", self.warmup, 0usize)
    }

    fn lr(&self, base: f64, epoch: usize, _: usize) -> f64 {
        base * warm(self.warmup, epoch)
    }
}

/// Times `gamma` every `step_size` epochs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepLR {
    /// Epochs between two steps.
    pub step_size: usize,
    /// The factor.
    pub gamma: f64,
    /// Epochs of warm-up.
    pub warmup: usize,
}

impl StepLR {
    /// The entry in [`SCHEDULES`].
    pub const DEF: Def<dyn Schedule> = Def {
        name: "StepLR",
        summary: "times gamma every step_size epochs",
        formula: "lr·gamma^⌊epoch / step_size⌋",
        shapes: "",
        args: &[
            required("step_size", ArgKind::Count, "epochs between two steps"),
            optional("gamma", ArgKind::Number, "0.1", "the factor"),
            WARMUP,
        ],
        make: |a| {
            Ok(Box::new(StepLR {
                step_size: a.count("step_size"),
                gamma: positive(a, "gamma")?,
                warmup: a.count("warmup"),
            }))
        },
    };
}

impl Schedule for StepLR {
    fn spec(&self) -> Spec {
        Spec::new("StepLR").arg("step_size", self.step_size).arg_unless("gamma", self.gamma, 0.1).arg_unless(
            "warmup",
            self.warmup,
            0usize,
        )
    }

    fn lr(&self, base: f64, epoch: usize, _: usize) -> f64 {
        let steps = epoch / self.step_size;
        (0..steps).fold(base, |lr, _| lr * self.gamma) * warm(self.warmup, epoch)
    }
}

/// Down along half a cosine, to `eta_min` at epoch `T_max` (from 0 on): left out, that is the one after the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineAnnealingLR {
    /// Epochs of the half cosine; all of them when `None`.
    pub t_max: Option<usize>,
    /// The lowest rate.
    pub eta_min: f64,
    /// Epochs of warm-up, before the cosine.
    pub warmup: usize,
}

impl CosineAnnealingLR {
    /// The entry in [`SCHEDULES`].
    pub const DEF: Def<dyn Schedule> = Def {
        name: "CosineAnnealingLR",
        summary: "down along half a cosine",
        formula: "eta_min + (lr − eta_min)·(1 + cos(π·epoch / T_max)) / 2",
        shapes: "",
        args: &[
            optional("T_max", ArgKind::Count, "", "epochs of the half cosine; left out: all epochs after the warm-up"),
            optional("eta_min", ArgKind::Number, "0.0", "the lowest rate"),
            WARMUP,
        ],
        make: |a| {
            let t_max = a.has("T_max").then(|| a.count("T_max"));
            if a.number("eta_min") < 0.0 {
                fail!(Argument, "CosineAnnealingLR: `eta_min` is not negative");
            }
            Ok(Box::new(CosineAnnealingLR { t_max, eta_min: a.number("eta_min"), warmup: a.count("warmup") }))
        },
    };
}

impl Schedule for CosineAnnealingLR {
    fn spec(&self) -> Spec {
        let spec = Spec::new("CosineAnnealingLR");
        let spec = match self.t_max {
            Some(t) => spec.arg("T_max", t),
            None => spec,
        };
        spec.arg_unless("eta_min", self.eta_min, 0.0).arg_unless("warmup", self.warmup, 0usize)
    }

    fn lr(&self, base: f64, epoch: usize, epochs: usize) -> f64 {
        if epoch < self.warmup {
            return base * warm(self.warmup, epoch);
        }
        let t_max = self.t_max.unwrap_or(epochs.saturating_sub(self.warmup).max(1)) as f64;
        let t = (epoch - self.warmup) as f64;
        self.eta_min + (base - self.eta_min) * (1.0 + libm::cos(std::f64::consts::PI * t / t_max)) / 2.0
    }
}

/// From one factor to another in a straight line, then at the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearLR {
    /// The factor at the first epoch.
    pub start_factor: f64,
    /// The factor at the end.
    pub end_factor: f64,
    /// Epochs from one to the other.
    pub total_iters: usize,
}

impl LinearLR {
    /// The entry in [`SCHEDULES`].
    pub const DEF: Def<dyn Schedule> = Def {
        name: "LinearLR",
        summary: "from one factor to another in a straight line",
        formula: "lr·(start + (end − start)·min(epoch / total_iters, 1))",
        shapes: "",
        args: &[
            optional("start_factor", ArgKind::Number, "0.3333333333333333", "the factor at the first epoch"),
            optional("end_factor", ArgKind::Number, "1.0", "the factor at the end"),
            optional("total_iters", ArgKind::Count, "5", "epochs from one to the other"),
        ],
        make: |a| {
            Ok(Box::new(LinearLR {
                start_factor: positive(a, "start_factor")?,
                end_factor: positive(a, "end_factor")?,
                total_iters: a.count("total_iters"),
            }))
        },
    };
}

impl Schedule for LinearLR {
    fn spec(&self) -> Spec {
        Spec::new("LinearLR")
            .arg_unless("start_factor", self.start_factor, 1.0 / 3.0)
            .arg_unless("end_factor", self.end_factor, 1.0)
            .arg_unless("total_iters", self.total_iters, 5usize)
    }

    fn lr(&self, base: f64, epoch: usize, _: usize) -> f64 {
        let part = (epoch as f64 / self.total_iters as f64).min(1.0);
        base * (self.start_factor + (self.end_factor - self.start_factor) * part)
    }
}

fn positive(a: &Args, name: &str) -> crate::Result<f64> {
    let x = a.number(name);
    if x <= 0.0 {
        fail!(Argument, "`{name}` must be above 0, found {x}");
    }
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_up_grows_and_a_cosine_falls() {
        let cosine = CosineAnnealingLR { t_max: None, eta_min: 0.01, warmup: 3 };
        let lr: Vec<f64> = (0..10).map(|e| cosine.lr(0.1, e, 10)).collect();
        assert_eq!(lr[..4], [0.025, 0.05, 0.07500000000000001, 0.1]);
        assert!(lr[3..].windows(2).all(|w| w[1] < w[0]) && lr[9] >= 0.01);
    }

    #[test]
    fn steps_multiply() {
        let step = StepLR { step_size: 2, gamma: 0.5, warmup: 0 };
        assert_eq!((0..5).map(|e| step.lr(1.0, e, 5)).collect::<Vec<_>>(), [1.0, 1.0, 0.5, 0.5, 0.25]);
    }
}
