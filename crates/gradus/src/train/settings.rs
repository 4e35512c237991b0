//! How a network is trained, as data: what `[train]` of a study file says and a model file stores.

use serde::{Deserialize, Serialize};

use crate::data::augment::transform;
use crate::error::Result;
use crate::fail;
use crate::optim::{OPTIMIZERS, Optimizer};
use crate::spec::{Spec, find};

use super::schedule::{SCHEDULES, Schedule};

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Passes over the training set.
    pub epochs: usize,
    /// Samples in a batch; the last one of an epoch may be shorter.
    pub batch: usize,
    /// Whether each epoch has an order of its own, keyed by the seed and the epoch.
    pub shuffle: bool,
    /// Random changes of training samples, in order: see [`augment`](crate::data::augment).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub augment: Vec<Spec>,
    /// The optimiser with its arguments.
    pub optimizer: Spec,
    /// How the learning rate changes from epoch to epoch; constant when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Spec>,
    /// Batches whose gradients are averaged before an update.
    pub accumulate: usize,
    /// Largest Euclidean norm of all gradients together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Largest absolute value of an entry of a gradient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_value: Option<f64>,
    /// Epochs without a better validation loss after which training stops; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Which parameters are the result.
    pub keep: Keep,
}

/// Which parameters training ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Those after the last epoch.
    #[default]
    Last,
    /// Those of the epoch with the lowest validation loss.
    Best,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            epochs: 10,
            batch: 50,
            shuffle: true,
            augment: Vec::new(),
            optimizer: Spec::new("SGD").arg("lr", 0.01),
            schedule: None,
            accumulate: 1,
            clip_norm: None,
            clip_value: None,
            patience: None,
            keep: Keep::Last,
        }
    }
}

impl Settings {
    /// Checks every value that a file may get wrong.
    ///
    /// # Errors
    /// [`Kind::Argument`](crate::error::Kind::Argument), naming the key.
    pub fn check(&self) -> Result<()> {
        for (key, value) in [("epochs", self.epochs), ("batch", self.batch), ("accumulate", self.accumulate)] {
            if value == 0 || value > u32::MAX as usize {
                fail!(Argument, "`{key}` must be a whole number from 1 on, found {value}");
            }
        }
        for (key, value) in [("clip_norm", self.clip_norm), ("clip_value", self.clip_value)] {
            if value.is_some_and(|v| !(v.is_finite() && v > 0.0)) {
                fail!(Argument, "`{key}` must be a finite number above 0");
            }
        }
        if self.patience == Some(0) {
            fail!(Argument, "`patience` must be a whole number from 1 on");
        }
        self.make_optimizer()?;
        self.make_schedule()?;
        self.augment.iter().try_for_each(|spec| transform(spec).map(drop))
    }

    /// The optimiser.
    ///
    /// # Errors
    /// When there is none of that name, or its arguments do not fit.
    pub fn make_optimizer(&self) -> Result<Box<dyn Optimizer>> {
        find(OPTIMIZERS, "optimizer", &self.optimizer.name)?.build(&self.optimizer)
    }

    /// The schedule, if there is one.
    ///
    /// # Errors
    /// When there is none of that name, or its arguments do not fit.
    pub fn make_schedule(&self) -> Result<Option<Box<dyn Schedule>>> {
        self.schedule.as_ref().map(|s| find(SCHEDULES, "schedule", &s.name)?.build(s)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_named() {
        let base = Settings::default;
        for x in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            for wrong in [Settings { clip_norm: Some(x), ..base() }, Settings { clip_value: Some(x), ..base() }] {
                assert!(wrong.check().unwrap_err().to_string().contains("must be a finite number above 0"), "{x}");
            }
            let wrong = Settings { optimizer: Spec::new("SGD").arg("lr", x), ..base() };
            assert_eq!(wrong.check().is_err(), x != 0.0, "{x}");
        }
        for wrong in [
            Settings { epochs: 0, ..base() },
            Settings { batch: 0, ..base() },
            Settings { accumulate: 0, ..base() },
            Settings { patience: Some(0), ..base() },
        ] {
            assert!(wrong.check().unwrap_err().to_string().contains("a whole number from 1 on"));
        }
    }
}
