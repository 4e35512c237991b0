//! How an arm came by values of its own: candidates tried on rounds that are not used again, and the one that was chosen.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::trial::{Outcome, Seconds};

/// A candidate trained in a tuning round and judged on validation samples. It is no trial: it never sees a test sample, and its
/// round is none of the study's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuningTrial {
    /// What it is: a hash of the resolved candidate and of how it is judged, made by the caller.
    pub key: String,
    /// The arm it is a candidate of, as it was called then.
    pub arm: String,
    /// What was tried, by key: `train.optimizer.lr`.
    pub values: IndexMap<String, String>,
    /// Which tuning round, from 0 on.
    pub round: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// Its metrics on the validation samples by their whole names: `validation accuracy`.
    #[serde(with = "crate::number::map")]
    pub metrics: IndexMap<String, f64>,
    /// A hash of the trained parameters, in hexadecimal.
    pub parameters_hash: Option<String>,
    /// How long it took.
    pub seconds: Seconds,
}

impl TuningTrial {
    /// What differs first between two results, in words. Times and the arm's name are no part of a result.
    pub fn difference(&self, other: &TuningTrial) -> Option<String> {
        let bits = |t: &TuningTrial| -> Vec<(String, u64)> {
            // All NaN are one.
            let bits = |x: f64| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() };
            t.metrics.iter().map(|(name, x)| (name.clone(), bits(*x))).collect()
        };
        let parts = [
            ("the candidate", (&self.key, &self.values, self.round) != (&other.key, &other.values, other.round)),
            ("the outcome", self.outcome != other.outcome),
            ("a metric", bits(self) != bits(other)),
            ("the parameters' bits", self.parameters_hash != other.parameters_hash),
        ];
        parts.into_iter().find(|(_, differs)| *differs).map(|(what, _)| what.to_string())
    }
}

/// How an arm's values were chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    /// Tuning rounds that every candidate was tried in.
    pub rounds: usize,
    /// Validation samples of a tuning round.
    pub validation: usize,
    /// What was measured on them: `validation accuracy`.
    pub metric: String,
    /// Every candidate, in the order in which they were offered.
    pub candidates: Vec<Candidate>,
    /// Which of them was chosen: the best mean, the first of equal ones; one that diverged never, unless all did.
    pub chosen: usize,
    /// Keys whose chosen value is the least or the greatest of the numbers that were offered: a better one may lie beyond.
    pub edges: Vec<String>,
}

/// A candidate and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// What was tried, by key: `train.optimizer.lr`.
    pub values: IndexMap<String, String>,
    /// The metric in each tuning round; NaN where training diverged.
    #[serde(with = "crate::number::list")]
    pub scores: Vec<f64>,
    /// Their mean; NaN where one diverged.
    #[serde(with = "crate::number::one")]
    pub mean: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_names_are_no_result() {
        let a = TuningTrial {
            key: "k".into(),
            metrics: [("validation loss".to_string(), f64::NAN)].into(),
            ..TuningTrial::default()
        };
        let same = TuningTrial { arm: "renamed".into(), seconds: Seconds { train: 1.0, evaluate: 1.0 }, ..a.clone() };
        assert_eq!(a.difference(&same), None);
        let metrics = [("validation loss".to_string(), 1.0)].into();
        assert_eq!(a.difference(&TuningTrial { metrics, ..a.clone() }).as_deref(), Some("a metric"));
        assert_eq!(a.difference(&TuningTrial { round: 1, ..a.clone() }).as_deref(), Some("the candidate"));
        let hash = Some("f".to_string());
        let other = TuningTrial { parameters_hash: hash, ..a.clone() };
        assert_eq!(a.difference(&other).as_deref(), Some("the parameters' bits"));
        let failed = TuningTrial { outcome: Outcome::Failed { cause: String::new() }, ..a.clone() };
        assert_eq!(a.difference(&failed).as_deref(), Some("the outcome"));
    }
}
