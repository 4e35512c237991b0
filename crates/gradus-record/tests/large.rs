//! A study of 10⁵ trials: how long it takes, and how much memory. `cargo test --release … --test large -- --ignored --nocapture`

mod common;

use std::time::Instant;

use common::{Folder, Random, arm, filled, study, trial};
use gradus_record::{EpochRecord, Error, FILE, Filter, Parts, Predicted, Predictions, Store, TrialRecord};

/// A trial of `pairs`: 25 epochs, 1,000 test samples.
fn usual(key: &str, name: &str, round: usize) -> TrialRecord {
    let mut r = Random(round as u64);
    let mut metric = |names: &[&str]| names.iter().map(|n| ((*n).to_string(), r.unit())).collect();
    let epochs = (1..=25)
        .map(|epoch| EpochRecord {
            epoch,
            lr: 0.1,
            losses: metric(&["target", "aux"]),
            test: Some(metric(&["accuracy", "loss"])),
            ..EpochRecord::default()
        })
        .collect();
    let names = ["test accuracy", "test loss", "test error", "train accuracy", "train loss", "train error"];
    TrialRecord {
        key: key.into(),
        arm: name.into(),
        round,
        epochs,
        metrics: metric(&names),
        predictions: Some(Predictions {
            sample_ids: (0..1000).collect(),
            of: [(
                "target".to_string(),
                Predicted {
                    target: "larger".into(),
                    classes: vec!["first is smaller".into(), "first is larger".into()],
                    labels: (0..1000).map(|_| r.below(2) as u32).collect(),
                    predicted: (0..1000).map(|_| r.below(2) as u32).collect(),
                },
            )]
            .into(),
        }),
        ..TrialRecord::default()
    }
}

fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0) / 1024
}

#[test]
#[ignore = "writes hundreds of megabytes"]
fn a_large_study() {
    let folder = Folder::new("large");
    let mut store = Store::create(&folder.0, &study()).unwrap();
    let arms: Vec<_> = (0..10).map(arm).collect();
    store.set_arms(&arms).unwrap();
    let trials = 100_000;
    let start = Instant::now();
    for i in 0..trials {
        let arm = &arms[i % 10];
        store.insert_trial(&usual(&arm.key, &arm.name, i / 10)).unwrap();
    }
    let seconds = start.elapsed().as_secs_f64();
    let size = std::fs::metadata(folder.0.join(FILE)).unwrap().len();
    println!(
        "{trials} trials written in {seconds:.1} s, {:.2} ms each; {} bytes each",
        1e3 * seconds / 1e5,
        size / 100_000
    );
    drop(store);

    let start = Instant::now();
    let store = Store::open_read(&folder.0).unwrap();
    println!("opened in {:.1} ms, {} MB of memory so far", 1e3 * start.elapsed().as_secs_f64(), memory());
    let start = Instant::now();
    let mut sum = 0.0;
    let each = |t: gradus_record::TrialSummary| {
        sum += t.metrics["test accuracy"];
        Ok::<_, Error>(())
    };
    store.each_summary(&Filter::default(), each).unwrap();
    println!("summaries in {:.2} s, at most {} MB of memory", start.elapsed().as_secs_f64(), memory());
    for (what, parts) in [("epochs", Parts::EPOCHS), ("everything", Parts::ALL)] {
        let start = Instant::now();
        let mut n = 0;
        store
            .each_trial(&Filter::default(), parts, |t| {
                n += t.epochs.len();
                Ok::<_, Error>(())
            })
            .unwrap();
        println!("{what} in {:.2} s ({n} epochs), at most {} MB of memory", start.elapsed().as_secs_f64(), memory());
    }
    let start = Instant::now();
    assert_eq!(store.trials(&Filter::default()).unwrap().len(), trials);
    println!("summaries in a list in {:.2} s, at most {} MB", start.elapsed().as_secs_f64(), memory());
    let start = Instant::now();
    store.check().unwrap();
    println!("checked in {:.2} s", start.elapsed().as_secs_f64());
}

#[test]
#[ignore = "a measurement"]
fn one_trial_at_a_time() {
    let folder = Folder::new("speed");
    let mut store = filled(&folder.0, 1, 1);
    let start = Instant::now();
    for round in 1..=300 {
        store.insert_trial(&trial(&arm(0), round)).unwrap();
    }
    println!("{:.2} ms a trial", 1e3 * start.elapsed().as_secs_f64() / 300.0);
}
