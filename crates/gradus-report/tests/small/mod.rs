//! Small studies whose every number is chosen by the test.

#![allow(dead_code)] // each test file uses its part

use gradus_record::{
    ArmRecord, Best, Compare, Document, Drawing, DrawnLoss, EpochRecord, Machine, Outcome, Predicted, Predictions,
    RoundRecord, Seconds, Store, StudyRecord, TrialRecord, Versions,
};
use gradus_report::Summary;
use serde_json::{Value, json};

use crate::common::Folder;

/// A study before it is written down.
pub struct Small {
    pub study: StudyRecord,
    pub arms: Vec<ArmRecord>,
    pub rounds: Vec<RoundRecord>,
    pub trials: Vec<TrialRecord>,
}

/// The settings of an arm: those of pairs of digits.
pub fn settings(network: &str) -> Value {
    json!({
        "name": "", "architecture": { "branches": { "net": network } },
        "train": { "epochs": 3, "batch": 50, "shuffle": true, "optimizer": { "name": "SGD", "lr": 0.1 }, "accumulate": 1 },
        "data": { "source": "mnist-pairs", "train": 1000, "test": 500, "validation": 100, "raw": false },
        "dtype": "f32",
    })
}

/// A study of the test accuracy; arms by name with their values round by round, the first one the baseline.
pub fn small(arms: &[(&str, &[f64])]) -> Small {
    let rounds = arms.iter().map(|(_, v)| v.len()).max().unwrap_or(0);
    let study = StudyRecord {
        name: "small".into(),
        title: "A small study".into(),
        seed: 7,
        rounds,
        machine: Machine { cpu: "a processor".into(), cores: 2, os: "linux".into(), instructions: "AVX2".into() },
        versions: Versions { gradus: "0.1.0".into(), rng: "philox".into() },
        created: "2026-11-21 13:05:59 UTC".into(),
        compare: Compare {
            baseline: arms.first().map_or(String::new(), |(name, _)| (*name).into()),
            metric: "test accuracy".into(),
            margin: 0.5,
            larger_is_better: true,
        },
        ..StudyRecord::default()
    };
    let record = |(i, (name, _)): (usize, &(&str, &[f64]))| ArmRecord {
        key: format!("key{i}"),
        name: (*name).into(),
        position: i,
        resolved: Document::of(&settings(if i == 0 { "one" } else { "other" })).unwrap(),
        parameters: 1000,
        drawing: Drawing {
            losses: vec![DrawnLoss { name: "target".into(), ..DrawnLoss::default() }],
            ..Drawing::default()
        },
        ..ArmRecord::default()
    };
    let round = |round: usize| RoundRecord {
        round,
        data_hash: format!("hash{round}"),
        note: "pairs drawn from pools of 6000 and 4000 images".into(),
        ..RoundRecord::default()
    };
    let mut trials = Vec::new();
    for (i, (_, values)) in arms.iter().enumerate() {
        for (round, value) in values.iter().enumerate() {
            trials.push(trial(i, round, *value));
        }
    }
    Small {
        study,
        arms: arms.iter().enumerate().map(record).collect(),
        rounds: (0..rounds).map(round).collect(),
        trials,
    }
}

pub fn trial(arm: usize, round: usize, value: f64) -> TrialRecord {
    let metrics = |a: f64| [("test accuracy".to_string(), a), ("test loss".to_string(), 1.0 - a / 100.0)].into();
    TrialRecord {
        key: format!("key{arm}"),
        round,
        metrics: metrics(value),
        best: Some(Best { epoch: 1 + round % 3, metrics: metrics(value + 0.25) }),
        epochs: (1..=3).map(|epoch| EpochRecord { epoch, ..EpochRecord::default() }).collect(),
        seconds: Seconds { train: 1.0, evaluate: 0.5 },
        ..TrialRecord::default()
    }
}

/// Predictions of samples with label 1, right or not, by id.
pub fn predictions(right: &[(u32, bool)]) -> Predictions {
    let labels = vec![1; right.len()];
    let predicted = right.iter().map(|(_, r)| u32::from(*r)).collect();
    let of = Predicted { target: "larger".into(), classes: vec!["no".into(), "yes".into()], labels, predicted };
    Predictions { sample_ids: right.iter().map(|(id, _)| *id).collect(), of: [("target".to_string(), of)].into() }
}

impl Small {
    /// The trial of an arm in a round.
    pub fn at(&mut self, arm: usize, round: usize) -> &mut TrialRecord {
        let key = format!("key{arm}");
        self.trials.iter_mut().find(|t| t.key == key && t.round == round).unwrap()
    }

    pub fn lose(&mut self, arm: usize, round: usize) {
        self.trials.retain(|t| t.key != format!("key{arm}") || t.round != round);
    }

    /// Changes a setting of an arm: `/train/optimizer/lr`.
    pub fn set(&mut self, arm: usize, pointer: &str, value: Value) {
        let mut all = self.arms[arm].resolved.value();
        *all.pointer_mut(pointer).unwrap() = value;
        self.arms[arm].resolved = Document::of(&all).unwrap();
    }

    pub fn diverge(&mut self, arm: usize, round: usize) {
        self.at(arm, round).outcome = Outcome::Diverged { epoch: 2, cause: "a loss of NaN".into() };
    }

    pub fn store(&self, folder: &Folder) -> Store {
        let mut store = Store::create(&folder.0, &self.study).unwrap();
        store.set_arms(&self.arms).unwrap();
        for round in &self.rounds {
            store.put_round(round).unwrap();
        }
        for trial in &self.trials {
            let arm = self.arms.iter().find(|a| a.key == trial.key).unwrap().name.clone();
            store.insert_trial(&TrialRecord { arm, ..trial.clone() }).unwrap();
        }
        store
    }

    pub fn summary(&self) -> Summary {
        let folder = Folder::new("small");
        gradus_report::summary(&self.store(&folder)).unwrap()
    }
}
