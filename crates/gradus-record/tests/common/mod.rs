//! A folder that goes away, and records with a bit of everything.

#![allow(dead_code)] // each test file uses its part

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use gradus_record::{
    ArmRecord, Best, Candidate, Compare, Document, Drawing, DrawnBranch, DrawnLayer, DrawnLoss, EpochRecord, Grid,
    Machine, NO_CLASS, Outcome, PointSet, Points, Port, Predicted, Predictions, RoundRecord, Samples, Seconds, Steps,
    Store, StudyRecord, TrialRecord, Tuned, TuningTrial, Versions,
};

/// An empty folder that goes away with its value.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gradus-record-{name}-{}-{count}", std::process::id()));
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

/// Numbers that look random and are the same every time.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 11
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn unit(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 53) as f64
    }
}

pub fn study() -> StudyRecord {
    StudyRecord {
        format: gradus_record::FORMAT,
        name: "pairs".into(),
        title: "Comparing two digits".into(),
        description: Some("do \"shared\" weights help? größer".into()),
        seed: u64::MAX - 1,
        rounds: 30,
        text: "rounds = 30\n[arm.net1]\n".into(),
        resolved: serde_json::json!({ "rounds": 30, "arms": ["net1"] }).into(),
        machine: Machine { cpu: "a processor".into(), cores: 2, os: "linux".into(), instructions: "avx2".into() },
        versions: Versions { gradus: "0.1.0".into(), rng: "philox4x32-10 v1".into() },
        created: "2026-11-21 13:05:59 UTC".into(),
        compare: Compare {
            baseline: "net1".into(),
            metric: "test accuracy".into(),
            margin: 0.5,
            larger_is_better: true,
        },
    }
}

pub fn arm(i: usize) -> ArmRecord {
    let layer = |n: usize| DrawnLayer {
        path: format!("left.{n}"),
        text: "Conv2d 16 3".into(),
        output: vec![16, 12, 12],
        parameters: 160,
    };
    ArmRecord {
        key: format!("{:016x}", 0x5f3a_0000_u64 + i as u64),
        name: format!("net{}", i + 1),
        position: i,
        active: true,
        made_from: (i == 1).then(|| "net".into()),
        factors: if i == 1 { [("train.batch".to_string(), "20".to_string())].into() } else { Default::default() },
        tuned: (i == 2).then(tuned),
        resolved: Document::of(&[("z", i), ("a", 1)]).unwrap(),
        parameters: 12_345 + i as u64,
        flops_forward: 1 << 40,
        flops_training: 3 << 40,
        drawing: Drawing {
            inputs: vec![Port { name: "pair".into(), shape: vec![2, 14, 14] }],
            branches: vec![DrawnBranch {
                name: "left".into(),
                from: vec!["pair[0]".into()],
                join: "concat".into(),
                shares: (i == 1).then(|| "right".into()),
                layers: (0..3).map(layer).collect(),
            }],
            losses: vec![DrawnLoss {
                name: "target".into(),
                of: "left".into(),
                target: Some("larger".into()),
                kind: "CrossEntropyLoss".into(),
                weight: 0.5,
            }],
            outputs: vec![Port { name: "left".into(), shape: vec![2] }],
        },
    }
}

fn tuned() -> Tuned {
    let candidate = |lr: &str, scores: [f64; 2], mean| Candidate {
        values: [("train.optimizer.lr".to_string(), lr.to_string())].into(),
        scores: scores.into(),
        mean,
    };
    Tuned {
        rounds: 2,
        validation: 200,
        metric: "validation accuracy".into(),
        candidates: vec![candidate("0.1", [90.0, 91.0], 90.5), candidate("1.0", [89.0, f64::INFINITY], f64::INFINITY)],
        chosen: 0,
        edges: vec!["train.optimizer.lr".into()],
    }
}

/// A tuning trial of an arm, which depends on both numbers alone.
pub fn tuning(i: usize, round: usize) -> TuningTrial {
    let mut r = Random((i as u64) << 40 | round as u64);
    TuningTrial {
        key: format!("candidate {i}"),
        arm: arm(i).name,
        values: [("train.optimizer.lr".to_string(), format!("0.{i}"))].into(),
        round,
        metrics: [("validation accuracy".to_string(), 100.0 * r.unit())].into(),
        parameters_hash: Some(format!("{:016x}", r.next())),
        seconds: Seconds { train: 0.5, evaluate: 0.25 },
        ..TuningTrial::default()
    }
}

pub fn round(i: usize) -> RoundRecord {
    let mut r = Random(i as u64 + 99);
    let mut set = |n: usize| PointSet {
        x: (0..n).map(|_| r.unit() as f32).collect(),
        y: (0..n).map(|_| r.unit() as f32).collect(),
        labels: (0..n).map(|_| r.below(2) as u32).collect(),
    };
    RoundRecord {
        round: i,
        data_hash: format!("{i:064x}"),
        data: serde_json::json!({ "source": "pairs" }).into(),
        normalisation: Some(serde_json::json!({ "inputs": { "pair": { "mean": [0.1307], "sd": [0.3081] } } }).into()),
        note: "pairs drawn without replacement".into(),
        points: i.is_multiple_of(2).then(|| Points { train: set(40), test: set(20) }),
        samples: (i % 3 == 1).then(|| Samples {
            input: "pair".into(),
            shape: vec![2, 3, 3],
            ids: vec![5, 9, 2],
            target: "larger".into(),
            classes: vec!["no".into(), "yes".into()],
            labels: vec![0, 1, 1],
            pixels: (0..54).collect(),
        }),
    }
}

/// A trial that depends on its arm and round alone; some diverge, some hold every optional part.
pub fn trial(arm: &ArmRecord, round: usize) -> TrialRecord {
    let mut r = Random(((arm.position as u64) << 32) + round as u64);
    let diverged = round % 7 == 3;
    let metric = |names: &[&str], r: &mut Random| names.iter().map(|n| ((*n).to_string(), 100.0 * r.unit())).collect();
    let mut epochs: Vec<EpochRecord> = (1..=5)
        .map(|epoch| EpochRecord {
            epoch,
            lr: 0.1 / epoch as f64,
            loss: r.unit(),
            losses: metric(&["target", "aux"], &mut r),
            train: None,
            validation: Some(metric(&["accuracy", "loss"], &mut r)),
            test: (epoch % 2 == 1).then(|| metric(&["accuracy", "loss", "loss of aux"], &mut r)),
            clipped: (0, 20),
        })
        .collect();
    if diverged {
        epochs[4].loss = f64::NAN;
        epochs[4].losses.insert("aux".into(), f64::NEG_INFINITY);
        epochs[3].loss = f64::INFINITY;
    }
    let labels: Vec<u32> = (0..50).map(|_| r.below(2) as u32).collect();
    let predicted = labels.iter().map(|l| if r.below(20) == 0 { NO_CLASS } else { *l }).collect();
    TrialRecord {
        key: arm.key.clone(),
        arm: arm.name.clone(),
        round,
        outcome: if diverged {
            Outcome::Diverged { epoch: 5, cause: "`left.0.weight` holds a number that is not finite".into() }
        } else {
            Outcome::Done
        },
        metrics: metric(&["test accuracy", "test loss", "train loss"], &mut r),
        best: Some(Best { epoch: 4, metrics: metric(&["validation loss", "test accuracy"], &mut r) }),
        stopped: (round % 5 == 4).then(|| "no better validation loss since epoch 2".into()),
        warnings: if round.is_multiple_of(4) { vec!["half of `left` is dead".into()] } else { vec![] },
        seconds: Seconds { train: r.unit(), evaluate: r.unit() },
        steps: round
            .is_multiple_of(2)
            .then(|| Steps { losses: [("target".to_string(), (0..100).map(|_| r.unit()).collect())].into() }),
        predictions: Some(Predictions {
            sample_ids: (0..50).map(|i| 3 * i).collect(),
            of: [(
                "target".to_string(),
                Predicted { target: "larger".into(), classes: vec!["no".into(), "yes".into()], labels, predicted },
            )]
            .into(),
        }),
        grid: (round % 3 == 1).then(|| Grid {
            width: 8,
            height: 4,
            x: [0.0, 1.0],
            y: [-1.0, 1.0],
            values: (0..32).map(|_| r.unit() as f32 - 0.5).collect(),
        }),
        weights: round.is_multiple_of(3).then(|| (0..700).map(|_| r.next() as u8).collect()),
        parameters_hash: (!diverged).then(|| format!("{:016x}", r.next())),
        threads: 1,
        parallel: 1 + round % 3,
        order: round,
        epochs,
    }
}

/// A store with `arms` arms and `rounds` rounds, all trials done.
pub fn filled(dir: &Path, arms: usize, rounds: usize) -> Store {
    let mut store = Store::create(dir, &study()).unwrap();
    let all: Vec<_> = (0..arms).map(arm).collect();
    store.set_arms(&all).unwrap();
    for i in 0..rounds {
        store.put_round(&round(i)).unwrap();
        for a in &all {
            store.insert_trial(&trial(a, i)).unwrap();
        }
    }
    for round in 0..2 {
        (0..arms).for_each(|i| store.insert_tuning(&tuning(i, round)).unwrap());
    }
    store.add_event("started").unwrap();
    store
}

/// Everything that a store holds, as text to be compared; NaN is as good as itself there.
pub fn everything(store: &Store) -> gradus_record::Result<String> {
    let mut all = format!("{:?}\n{:?}\n{:?}\n{:?}\n", store.study()?, store.arms()?, store.events()?, store.tuning()?);
    store.each_round(|r| {
        all += &format!("{r:?}\n");
        Ok::<_, gradus_record::Error>(())
    })?;
    let filter = gradus_record::Filter { removed: true, ..Default::default() };
    store.each_trial(&filter, gradus_record::Parts::ALL, |t| {
        all += &format!("{t:?}\n");
        Ok::<_, gradus_record::Error>(())
    })?;
    Ok(all)
}
