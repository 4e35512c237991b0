//! A trial: one arm trained in one round, and what came of it.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::bytes::Writer;
use crate::epoch::EpochRecord;
use crate::grid::Grid;
use crate::predictions::Predictions;
use crate::steps::Steps;

/// How a trial ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase", deny_unknown_fields)]
pub enum Outcome {
    /// It was trained to its end.
    #[default]
    Done,
    /// A loss or a parameter was no finite number any more. It is a result: it would be so again.
    Diverged {
        /// In which epoch, from 1 on.
        epoch: usize,
        /// Where and how.
        cause: String,
    },
    /// Something else stopped it (no memory, a file that vanished). It is no result: the trial is run again.
    Failed {
        /// What.
        cause: String,
    },
}

impl Outcome {
    /// `done`, `diverged` or `failed`.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Diverged { .. } => "diverged",
            Outcome::Failed { .. } => "failed",
        }
    }

    /// Whether the trial need not be run again.
    pub fn is_final(&self) -> bool {
        !matches!(self, Outcome::Failed { .. })
    }
}

/// The best epoch, by the validation samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Which one, from 1 on.
    pub epoch: usize,
    /// The metrics after it, by their whole names.
    #[serde(with = "crate::number::map")]
    pub metrics: IndexMap<String, f64>,
}

/// How long a trial took. No part of its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seconds {
    /// Training.
    #[serde(with = "crate::number::one")]
    pub train: f64,
    /// Evaluating.
    #[serde(with = "crate::number::one")]
    pub evaluate: f64,
}

/// A trial with everything that was recorded of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialRecord {
    /// The arm's key.
    pub key: String,
    /// The arm's name; when read, the one it has now.
    pub arm: String,
    /// Which round, from 0 on.
    pub round: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// Every epoch.
    pub epochs: Vec<EpochRecord>,
    /// Losses by step, where the study asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
    /// Final metrics by their whole names: `test accuracy`.
    #[serde(with = "crate::number::map")]
    pub metrics: IndexMap<String, f64>,
    /// The best epoch, where there are validation samples.
    pub best: Option<Best>,
    /// Why training ended before its last epoch, if it did.
    pub stopped: Option<String>,
    /// What looked wrong on the way.
    pub warnings: Vec<String>,
    /// How long it took.
    pub seconds: Seconds,
    /// What it said about every test sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictions: Option<Predictions>,
    /// What it says all over the plane, for data of two inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<Grid>,
    /// The trained network as a model file, where the study asks for it.
    #[serde(default, with = "crate::number::maybe_bytes", skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<u8>>,
    /// A hash of the trained parameters, in hexadecimal: equal when all their bits are. `None` where there are none.
    pub parameters_hash: Option<String>,
    /// Threads that trained it.
    pub threads: usize,
    /// Trials that ran at a time while it did, itself among them; 0 where that is not known.
    #[serde(default)]
    pub parallel: usize,
    /// The how-manieth trial to end, from 0 on.
    pub order: usize,
}

/// A trial without what is long: enough for tables and tests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialSummary {
    /// The arm's key.
    pub key: String,
    /// The arm's name.
    pub arm: String,
    /// Which round, from 0 on.
    pub round: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// Final metrics by their whole names: `test accuracy`.
    #[serde(with = "crate::number::map")]
    pub metrics: IndexMap<String, f64>,
    /// The best epoch, where there are validation samples.
    pub best: Option<Best>,
    /// Why training ended before its last epoch, if it did.
    pub stopped: Option<String>,
    /// What looked wrong on the way.
    pub warnings: Vec<String>,
    /// How long it took.
    pub seconds: Seconds,
    /// A hash of the trained parameters, in hexadecimal.
    pub parameters_hash: Option<String>,
    /// Threads that trained it.
    pub threads: usize,
    /// Trials that ran at a time while it did, itself among them; 0 where that is not known.
    #[serde(default)]
    pub parallel: usize,
    /// The how-manieth trial to end, from 0 on.
    pub order: usize,
}

/// A part of a result: what it is, and its canonical bytes.
type Section = (String, Vec<u8>);

impl TrialRecord {
    /// The trial without what is long.
    pub fn summary(&self) -> TrialSummary {
        TrialSummary {
            key: self.key.clone(),
            arm: self.arm.clone(),
            round: self.round,
            outcome: self.outcome.clone(),
            metrics: self.metrics.clone(),
            best: self.best.clone(),
            stopped: self.stopped.clone(),
            warnings: self.warnings.clone(),
            seconds: self.seconds,
            parameters_hash: self.parameters_hash.clone(),
            threads: self.threads,
            parallel: self.parallel,
            order: self.order,
        }
    }

    /// A trial of which only the summary is known.
    pub(crate) fn of(s: TrialSummary) -> TrialRecord {
        TrialRecord {
            key: s.key,
            arm: s.arm,
            round: s.round,
            outcome: s.outcome,
            metrics: s.metrics,
            best: s.best,
            stopped: s.stopped,
            warnings: s.warnings,
            seconds: s.seconds,
            parameters_hash: s.parameters_hash,
            threads: s.threads,
            parallel: s.parallel,
            order: s.order,
            ..TrialRecord::default()
        }
    }

    /// Whether both are the same trial with the same result, to the bit. Times, threads, order and the arm's name are no part
    /// of it; steps, predictions, grid and weights count where both have them.
    pub fn same_result(&self, other: &TrialRecord) -> bool {
        self.difference(other).is_none()
    }

    /// What differs first between two results, in words: ``the metric `test accuracy` (97.5 and 97.25)``.
    pub fn difference(&self, other: &TrialRecord) -> Option<String> {
        let optional = |a: Option<Vec<u8>>, b: Option<Vec<u8>>, what: &str| {
            (a.is_some() && b.is_some() && a != b).then(|| what.to_string())
        };
        let (ours, theirs) = (self.sections(), other.sections());
        let mut pairs = ours.iter().zip(&theirs);
        if let Some(((what, _), _)) = pairs.find(|(a, b)| a != b) {
            let name = what.strip_prefix("the metric `").and_then(|w| w.strip_suffix('`'));
            let values = name.and_then(|n| Some((self.metrics.get(n)?, other.metrics.get(n)?)));
            return Some(values.map_or(what.clone(), |(a, b)| format!("{what} ({a} and {b})")));
        }
        if ours.len() != theirs.len() {
            return Some("the metrics".into());
        }
        optional(self.steps.as_ref().map(Steps::encode), other.steps.as_ref().map(Steps::encode), "the loss of a step")
            .or_else(|| {
                let (a, b) = (self.predictions.as_ref(), other.predictions.as_ref());
                optional(a.map(Predictions::encode), b.map(Predictions::encode), "a prediction")
            })
            .or_else(|| {
                optional(self.grid.as_ref().map(Grid::encode), other.grid.as_ref().map(Grid::encode), "the grid")
            })
            .or_else(|| optional(self.weights.clone(), other.weights.clone(), "the weights"))
    }

    /// The result in a canonical form, equal when results are: outcome, hash of the parameters, epochs, metrics, best epoch,
    /// why it stopped, warnings. Without times, threads, order and the arm's name, and without the parts that a study
    /// records on demand (steps, predictions, grid, weights), so that recording more changes no result.
    pub fn result_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        for (what, bytes) in self.sections() {
            w.text(&what);
            w.raw(&bytes);
        }
        w.bytes
    }

    fn sections(&self) -> Vec<Section> {
        fn section(what: impl Into<String>, write: impl FnOnce(&mut Writer)) -> Section {
            let mut w = Writer::default();
            write(&mut w);
            (what.into(), w.bytes)
        }
        fn map(w: &mut Writer, map: &IndexMap<String, f64>) {
            let mut names: Vec<&String> = map.keys().collect();
            names.sort_unstable();
            w.count(names.len());
            for name in names {
                w.text(name);
                w.f64(map[name]);
            }
        }
        let mut all = vec![
            section("the arm", |w| w.text(&self.key)),
            section("the round", |w| w.count(self.round)),
            section("the outcome", |w| {
                w.text(self.outcome.name());
                match &self.outcome {
                    Outcome::Done => {}
                    Outcome::Diverged { epoch, cause } => {
                        w.count(*epoch);
                        w.text(cause);
                    }
                    Outcome::Failed { cause } => w.text(cause),
                }
            }),
        ];
        for e in &self.epochs {
            all.push(section(format!("epoch {}", e.epoch), |w| {
                w.f64(e.lr);
                w.f64(e.loss);
                map(w, &e.losses);
                for part in [&e.train, &e.validation, &e.test] {
                    map(w, part.as_ref().unwrap_or(&IndexMap::new()));
                }
                w.count(e.clipped.0);
                w.count(e.clipped.1);
            }));
        }
        let mut metrics: Vec<_> = self.metrics.iter().collect();
        metrics.sort_unstable_by_key(|(name, _)| *name);
        all.extend(metrics.into_iter().map(|(name, x)| section(format!("the metric `{name}`"), |w| w.f64(*x))));
        all.push(section("the best epoch", |w| {
            w.count(self.best.as_ref().map_or(0, |b| b.epoch));
            map(w, self.best.as_ref().map_or(&IndexMap::new(), |b| &b.metrics));
        }));
        all.push(section("why training stopped", |w| w.texts(self.stopped.as_slice())));
        all.push(section("the warnings", |w| w.texts(&self.warnings)));
        all.push(section("the parameters' bits", |w| w.texts(self.parameters_hash.as_slice())));
        all
    }

    /// What is wrong with it, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.key.is_empty() {
            return Err("it has no key".into());
        }
        self.predictions.as_ref().map_or(Ok(()), Predictions::check)?;
        self.grid.as_ref().map_or(Ok(()), Grid::check)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictions::Predicted;

    fn trial() -> TrialRecord {
        let map = |names: &[&str]| names.iter().map(|n| ((*n).to_string(), 0.5)).collect();
        TrialRecord {
            key: "k".into(),
            arm: "net1".into(),
            round: 3,
            epochs: (1..=2)
                .map(|epoch| EpochRecord {
                    epoch,
                    losses: map(&["a", "b"]),
                    test: Some(map(&["loss"])),
                    ..Default::default()
                })
                .collect(),
            steps: Some(Steps { losses: [("a".to_string(), vec![1.0, 2.0])].into() }),
            metrics: map(&["test accuracy", "test loss"]),
            best: Some(Best { epoch: 2, metrics: map(&["validation loss"]) }),
            warnings: vec!["w".into()],
            predictions: Some(Predictions {
                sample_ids: vec![1],
                of: [("a".to_string(), Predicted { labels: vec![1], predicted: vec![0], ..Default::default() })].into(),
            }),
            grid: Some(Grid { width: 1, height: 1, values: vec![1.0], ..Grid::default() }),
            weights: Some(vec![1, 2]),
            parameters_hash: Some("ff".into()),
            ..TrialRecord::default()
        }
    }

    #[test]
    fn times_and_places_are_no_result() {
        let (a, mut b) = (trial(), trial());
        b.seconds = Seconds { train: 1.0, evaluate: 2.0 };
        (b.threads, b.parallel, b.order, b.arm) = (2, 2, 9, "renamed".into());
        b.metrics.swap_indices(0, 1); // the order of names neither
        (b.steps, b.predictions, b.grid, b.weights) = (None, None, None, None); // nor what was not asked for
        b.epochs[0].train = Some(IndexMap::new());
        assert!(a.same_result(&b) && b.same_result(&a));
        assert_eq!(a.result_bytes(), b.result_bytes());
    }

    #[test]
    fn everything_else_is() {
        type Change = fn(&mut TrialRecord);
        let core: &[(&str, Change)] = &[
            ("the arm", |t| t.key = "x".into()),
            ("the round", |t| t.round = 4),
            ("the outcome", |t| t.outcome = Outcome::Diverged { epoch: 1, cause: String::new() }),
            ("the outcome", |t| t.outcome = Outcome::Failed { cause: String::new() }),
            ("epoch 1", |t| t.epochs[0].lr = -0.0),
            ("epoch 2", |t| t.epochs[1].loss = f64::NAN),
            ("epoch 2", |t| t.epochs[1].losses["a"] = 0.5f64.next_up()),
            ("epoch 1", |t| t.epochs[0].train = t.epochs[0].test.clone()),
            ("epoch 1", |t| t.epochs[0].test = None),
            ("epoch 2", |t| t.epochs[1].clipped = (0, 1)),
            ("epoch 2", |t| _ = t.epochs.pop()),
            ("the metric `test loss` (0.5 and 0.25)", |t| t.metrics["test loss"] = 0.25),
            ("the metric `test loss`", |t| _ = t.metrics.shift_remove("test loss")),
            ("the metrics", |t| _ = t.metrics.insert("z".into(), 1.0)),
            ("the best epoch", |t| t.best = None),
            ("the best epoch", |t| t.best.as_mut().unwrap().metrics["validation loss"] = 0.0),
            ("why training stopped", |t| t.stopped = Some(String::new())),
            ("the warnings", |t| t.warnings.clear()),
            ("the parameters' bits", |t| t.parameters_hash = None),
        ];
        let parts: &[(&str, Change)] = &[
            ("the loss of a step", |t| t.steps.as_mut().unwrap().losses["a"][1] = 2.0f64.next_down()),
            ("a prediction", |t| t.predictions.as_mut().unwrap().of["a"].predicted[0] = 1),
            ("the grid", |t| t.grid.as_mut().unwrap().values[0] = -1.0),
            ("the weights", |t| t.weights.as_mut().unwrap()[1] = 0),
        ];
        for (i, (what, change)) in core.iter().chain(parts).enumerate() {
            let (a, mut b) = (trial(), trial());
            change(&mut b);
            let (there, back) = (a.difference(&b), b.difference(&a));
            assert!(there.is_some() && back.is_some(), "{what}");
            if *what != "epoch 2" && !what.starts_with("the metric") {
                assert_eq!((there.as_deref(), back.as_deref()), (Some(*what), Some(*what)));
            } else if what.contains("0.25") {
                assert_eq!(there.as_deref(), Some(*what));
            }
            assert_eq!(a.result_bytes() == b.result_bytes(), i >= core.len(), "{what}");
        }
    }

    #[test]
    fn all_nan_are_one() {
        let (mut a, mut b) = (trial(), trial());
        a.epochs[0].loss = f64::NAN;
        b.epochs[0].loss = -f64::NAN;
        assert!(a.same_result(&b) && a.result_bytes() == b.result_bytes());
    }
}
