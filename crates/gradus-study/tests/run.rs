//! Running studies: the same bits in every way, nothing run twice, nothing lost.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use gradus_record::{Filter, Outcome, Store};
use gradus_study::run::{Ended, Event, Options, Task, run, trial};
use gradus_study::{Overrides, Study};

const TEXT: &str = r#"
title = "A small study"
rounds = 3
seed = 5
[data]
source = "disk"
train = 60
test = 40
[train]
epochs = 3
batch = 20
optimizer = "SGD lr=0.1"
[arm.a]
net = { from = "points", layers = ["Linear 8", "Tanh", "Linear 2"] }
loss.inside = { of = "net", target = "inside", kind = "MSELoss" }
[arm.b]
base = "a"
train.optimizer.lr = 0.3
"#;

fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    path
}

fn study(text: &str) -> Study {
    Study::parse(text, "small.toml", &Overrides::new()).unwrap()
}

fn go(text: &str, out: &std::path::Path, threads: usize) -> Ended {
    let options = Options { out: out.to_path_buf(), threads, arms: Vec::new(), weights: false };
    run(&study(text), &options, &AtomicBool::new(false), |_| ()).unwrap()
}

/// Arm, round and what a trial resulted in, of every trial of the arms in the file.
fn results(out: &std::path::Path) -> Vec<(String, usize, Vec<u8>)> {
    let store = Store::open_read(out).unwrap();
    let mut all = Vec::new();
    for t in store.trials(&Filter::default()).unwrap() {
        let whole = store.trial(&t.key, t.round).unwrap().unwrap();
        all.push((t.arm, t.round, whole.result_bytes()));
    }
    all.sort();
    all
}

#[test]
fn threads_change_no_bit_and_nothing_runs_twice() {
    let (one, two) = (folder("one"), folder("two"));
    assert_eq!(go(TEXT, &one, 1), Ended { run: 6, failed: 0, interrupted: false });
    assert_eq!(go(TEXT, &two, 3).run, 6);
    assert_eq!(results(&one), results(&two));
    assert_eq!(results(&one).len(), 6);
    assert_eq!(go(TEXT, &one, 2).run, 0, "all is there");
    // One more round runs two trials; a changed arm runs anew, the other one stays.
    let more = TEXT.replace("rounds = 3", "rounds = 4");
    assert_eq!(go(&more, &one, 2).run, 2);
    let changed = more.replace("lr = 0.3", "lr = 0.2");
    assert_eq!(go(&changed, &one, 2).run, 4);
    assert_eq!(results(&one).iter().filter(|(arm, ..)| arm == "b").count(), 4);
    // What was changed back is still there.
    assert_eq!(go(&more, &one, 2).run, 0);
}

#[test]
fn a_stopped_study_goes_on_with_the_same_bits() {
    let (whole, parts) = (folder("whole"), folder("parts"));
    go(TEXT, &whole, 1);
    loop {
        let stop = AtomicBool::new(false);
        let options = Options { out: parts.clone(), threads: 2, arms: Vec::new(), weights: false };
        let ended = run(&study(TEXT), &options, &stop, |event| {
            if matches!(event, Event::Trial { .. }) {
                stop.store(true, Ordering::Relaxed);
            }
        });
        if !ended.unwrap().interrupted {
            break;
        }
    }
    assert_eq!(results(&whole), results(&parts));
}

#[test]
fn a_trial_alone_is_the_trial_of_the_study() {
    let out = folder("alone");
    go(TEXT, &out, 2);
    let (study, store) = (study(TEXT), Store::open_read(&out).unwrap());
    for (name, arm) in &study.arms {
        let key = gradus_study::run::key(arm).unwrap();
        let task = Task { seed: study.seed, arm, key: &key, round: 1, weights: false };
        let again = trial(&task, &AtomicBool::new(false)).unwrap().unwrap();
        let old = store.trial(&key, 1).unwrap().unwrap();
        assert_eq!(old.difference(&again), None, "{name}");
        assert!(old.grid.is_some() && old.predictions.is_some() && old.epochs.len() == 3);
    }
    assert!(store.round(1).unwrap().unwrap().points.is_some());
}

#[test]
fn a_diverged_trial_is_recorded_and_the_others_go_on() {
    let out = folder("diverged");
    let ended = go(&TEXT.replace("lr = 0.3", "lr = 1e30"), &out, 2);
    assert_eq!((ended.run, ended.failed, ended.interrupted), (6, 3, false));
    let store = Store::open_read(&out).unwrap();
    let trials = store.trials(&Filter::default()).unwrap();
    let lost = trials
        .iter()
        .filter(|t| matches!(&t.outcome, Outcome::Diverged { cause, .. } if cause.contains("diverged at epoch")));
    assert_eq!(lost.count(), 3);
    assert_eq!(go(&TEXT.replace("lr = 0.3", "lr = 1e30"), &out, 2).run, 0, "it would diverge again");
}

#[test]
fn another_seed_wants_another_folder() {
    let out = folder("seed");
    go(TEXT, &out, 1);
    let options = Options { out, threads: 1, arms: Vec::new(), weights: false };
    let other = run(&study(&TEXT.replace("seed = 5", "seed = 6")), &options, &AtomicBool::new(false), |_| ());
    assert!(other.unwrap_err().to_string().contains("seed 5, this one has seed 6"));
}
