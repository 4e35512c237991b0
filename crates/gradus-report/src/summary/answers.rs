//! Which test samples an arm got right, for McNemar's test.

use std::collections::{BTreeMap, HashMap};

use gradus_record::{ArmRecord, TrialRecord};
use gradus_stats::mcnemar::mcnemar;
use serde::Serialize;

/// McNemar's test on the predictions of all common rounds together. Rounds may share test samples, which makes p too small: the
/// paired rounds are the test to trust.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// Predictions that both have: by round and sample.
    pub samples: u64,
    /// Those that the arm alone got right.
    pub arm_only: u64,
    /// Those that the baseline alone got right.
    pub baseline_only: u64,
    /// Those that both got right.
    pub both: u64,
    /// The exact two-sided p value.
    pub p: f64,
    /// The mid-p value, two-sided.
    pub mid_p: f64,
}

/// The answers of an arm to its main question.
#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<usize, Round>);

#[derive(Debug)]
struct Round {
    target: String,
    ids: Vec<u32>,
    labels: Vec<u32>,
    right: Vec<bool>,
}

impl Answers {
    /// Takes the predictions of the main loss, the first one of the arm.
    pub fn add(&mut self, trial: &TrialRecord, arm: &ArmRecord) {
        let Some(predictions) = &trial.predictions else { return };
        let main = arm.drawing.losses.first().map(|l| &l.name);
        let of = main.and_then(|name| predictions.of.get(name)).or_else(|| predictions.of.values().next());
        let Some(of) = of else { return };
        let right = of.labels.iter().zip(&of.predicted).map(|(a, b)| a == b).collect();
        let (ids, labels) = (predictions.sample_ids.clone(), of.labels.clone());
        self.0.insert(trial.round, Round { target: of.target.clone(), ids, labels, right });
    }

    /// The test between this arm and the baseline; `None` where no sample of a common round has the same label in both.
    pub fn mcnemar(&self, baseline: &Answers) -> Option<McNemar> {
        let mut table = [[0u64; 2]; 2]; // by whether the baseline, then the arm, is right
        for (round, ours) in &self.0 {
            let Some(theirs) = baseline.0.get(round).filter(|t| t.target == ours.target) else { continue };
            let place: HashMap<u32, usize> = theirs.ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
            for (i, id) in ours.ids.iter().enumerate() {
                let Some(&j) = place.get(id) else { continue };
                if theirs.labels[j] == ours.labels[i] {
                    table[usize::from(theirs.right[j])][usize::from(ours.right[i])] += 1;
                }
            }
        }
        let samples = table.iter().flatten().sum();
        let test = mcnemar(table[1][0], table[0][1]);
        (samples > 0).then_some(McNemar {
            samples,
            arm_only: test.second_only,
            baseline_only: test.first_only,
            both: table[1][1],
            p: test.p,
            mid_p: test.mid_p,
        })
    }
}
