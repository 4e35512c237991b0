//! A folder that goes away, and a study with a bit of everything whose every word is chosen by the test.

#![allow(dead_code)] // each test file uses its part

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use gradus_record::{
    ArmRecord, Best, Candidate, Compare, Document, Drawing, DrawnBranch, DrawnLayer, DrawnLoss, EpochRecord, Grid,
    Machine, Outcome, PointSet, Points, Port, Predicted, Predictions, RoundRecord, Samples, Seconds, Steps, Store,
    StudyRecord, TrialRecord, Tuned, Versions,
};

/// An empty folder that goes away with its value.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gradus-report-{name}-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A number in [0, 1) that looks random and is the same every time.
fn unit(a: usize, b: usize, c: usize) -> f64 {
    let mut x = (a as u64) << 40 ^ (b as u64) << 20 ^ c as u64;
    for _ in 0..3 {
        x = (x ^ x >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    }
    (x >> 11) as f64 / (1u64 << 53) as f64
}

/// A study in `folder`; `word` makes every text of it from what it is for.
pub fn study(folder: &Folder, arms: usize, rounds: usize, word: impl Fn(&str) -> String) -> Store {
    let record = StudyRecord {
        name: word("name"),
        title: word("title"),
        description: Some(word("description")),
        seed: 7,
        rounds,
        text: word("text"),
        machine: Machine { cpu: word("cpu"), cores: 2, os: word("os"), instructions: word("instructions") },
        versions: Versions { gradus: word("version"), rng: word("rng") },
        created: word("created"),
        compare: Compare {
            baseline: word("arm 0"),
            metric: "test accuracy".into(),
            margin: 0.5,
            larger_is_better: true,
        },
        ..StudyRecord::default()
    };
    let mut store = Store::create(&folder.0, &record).unwrap();
    let arms: Vec<ArmRecord> = (0..arms).map(|i| arm(i, &word)).collect();
    store.set_arms(&arms).unwrap();
    for i in 0..rounds {
        store.put_round(&round(i, &word)).unwrap();
        for arm in &arms {
            store.insert_trial(&trial(arm, i, &word)).unwrap();
        }
    }
    store
}

fn arm(i: usize, word: &impl Fn(&str) -> String) -> ArmRecord {
    let layer = |n: usize| DrawnLayer {
        path: word("path"),
        text: word("layer"),
        output: vec![16, 12 - n, 12 - n],
        parameters: 160,
    };
    let branch = |name: &str, from: &str| DrawnBranch {
        name: word(name),
        from: vec![word(from)],
        join: "concat".into(),
        shares: None,
        layers: (0..2 + i % 2).map(layer).collect(),
    };
    let resolved = serde_json::json!({ "data": { "source": "disk" }, "train": { "epochs": 5, "note": word("note") } });
    ArmRecord {
        key: format!("{i:016x}"),
        name: word(&format!("arm {i}")),
        position: i,
        resolved: Document::from(resolved),
        parameters: 1000 + i as u64 % 2,
        flops_forward: 1 << 20,
        flops_training: 3 << 20,
        tuned: (i == 0).then(|| Tuned {
            rounds: 3,
            validation: 200,
            metric: "validation accuracy".into(),
            candidates: ["0.1", "0.3"]
                .map(|rate| Candidate {
                    values: [(word("key"), word(rate))].into(),
                    scores: vec![90.0, f64::NAN],
                    mean: if rate == "0.1" { 90.0 } else { f64::NAN },
                })
                .into(),
            chosen: 0,
            edges: vec![word("key")],
        }),
        drawing: Drawing {
            inputs: vec![Port { name: word("input"), shape: vec![2, 14, 14] }],
            branches: vec![branch("tower", "input"), branch("head", "tower")],
            losses: vec![DrawnLoss {
                name: word("loss"),
                of: word("head"),
                target: Some(word("target")),
                kind: word("kind"),
                weight: 1.0,
            }],
            outputs: vec![Port { name: word("head"), shape: vec![2] }],
        },
        ..ArmRecord::default()
    }
}

fn round(i: usize, word: &impl Fn(&str) -> String) -> RoundRecord {
    let set = |n: usize| PointSet {
        x: (0..n).map(|k| unit(i, k, 1) as f32).collect(),
        y: (0..n).map(|k| unit(i, k, 2) as f32).collect(),
        labels: (0..n).map(|k| k as u32 % 2).collect(),
    };
    RoundRecord {
        round: i,
        data_hash: word("hash"),
        note: word("data"),
        points: Some(Points { train: set(20), test: set(20) }),
        samples: (i == 0).then(|| Samples {
            input: word("input"),
            shape: vec![2, 3, 3],
            ids: vec![0, 2, 1, 3, 5, 4], // 5 and 4 are there because they were missed
            target: word("target"),
            classes: vec![word("no"), word("yes")],
            labels: vec![0, 0, 1, 1, 1, 0],
            pixels: (0..108).collect(),
        }),
        ..RoundRecord::default()
    }
}

/// Arm 1 diverges in round 1.
fn trial(arm: &ArmRecord, i: usize, word: &impl Fn(&str) -> String) -> TrialRecord {
    let a = arm.position;
    let score = |epoch: usize| 80.0 + a as f64 % 5.0 + epoch as f64 + unit(a, i, epoch);
    let epochs = (1..=5).map(|epoch| EpochRecord {
        epoch,
        lr: 0.1,
        loss: 1.0 / epoch as f64,
        losses: [(word("loss"), 0.5 / epoch as f64), (word("aux"), 0.5)].into(),
        train: Some([("accuracy".to_string(), score(epoch) + 2.0)].into()),
        validation: Some([("accuracy".to_string(), score(epoch) - 1.0)].into()),
        test: Some([("accuracy".to_string(), score(epoch)), ("loss".to_string(), 0.3)].into()),
        clipped: (0, 0),
    });
    let labels: Vec<u32> = (0..20).map(|k| k % 2).collect();
    let predicted = (0..20).map(|k| (k + u32::from(unit(a, i, k as usize) < 0.3)) % 2).collect();
    let values = (0..64).map(|k| unit(a, i, k) as f32 - 0.5).collect();
    TrialRecord {
        key: arm.key.clone(),
        arm: arm.name.clone(),
        round: i,
        outcome: match (a, i) {
            (1, 1) => Outcome::Diverged { epoch: 2, cause: word("cause") },
            _ => Outcome::Done,
        },
        epochs: epochs.collect(),
        steps: Some(Steps { losses: [(word("loss"), (0..50).map(|k| unit(a, i, k)).collect())].into() }),
        metrics: [("test accuracy".to_string(), score(5)), ("test loss".to_string(), 0.3)].into(),
        best: Some(Best { epoch: 4, metrics: [("test accuracy".to_string(), score(4))].into() }),
        warnings: vec![word("warning")],
        seconds: Seconds { train: 0.25, evaluate: 0.125 },
        predictions: Some(Predictions {
            sample_ids: (0..20).collect(),
            of: [(
                word("loss"),
                Predicted { target: word("target"), classes: vec![word("no"), word("yes")], labels, predicted },
            )]
            .into(),
        }),
        grid: Some(Grid { width: 8, height: 8, x: [0.0, 1.0], y: [0.0, 1.0], values }),
        threads: 1,
        order: i,
        ..TrialRecord::default()
    }
}
