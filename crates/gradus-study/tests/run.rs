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
        let task = Task { seed: study.seed, arm, key: &key, round: 1, record: study.record };
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

const PAIRS: &str = r#"
rounds = 4
seed = 9
[data]
source = "mnist-pairs"
train = 30
test = 20
[train]
epochs = 2
batch = 10
optimizer = "SGD lr=0.05"
[arm.one]
net = { from = "pair", layers = ["Flatten", "Linear 8", "Tanh", "Linear 2"] }
loss.target = { of = "net", target = "larger", kind = "CrossEntropyLoss" }
[arm.two]
base = "one"
train.batch = 7
"#;

#[test]
fn what_is_recorded_changes_no_result() {
    let (plain, all, none) = (folder("plain"), folder("all"), folder("none"));
    go(PAIRS, &plain, 2);
    go(&format!("{PAIRS}[record]\nsteps = true\nweights = true"), &all, 2);
    go(&format!("{PAIRS}[record]\npredictions = false\nsamples = false"), &none, 2);
    assert_eq!(results(&plain), results(&all));
    assert_eq!(results(&plain), results(&none));
    let trial = |out| {
        let store = Store::open_read(out).unwrap();
        let key = store.arms().unwrap()[1].key.clone();
        (store.trial(&key, 2).unwrap().unwrap(), store.round(2).unwrap().unwrap())
    };
    let (p, (a, round), (n, no_samples)) = (trial(&plain).0, trial(&all), trial(&none));
    assert!(p.steps.is_none() && p.weights.is_none() && p.predictions.is_some());
    let steps = &a.steps.as_ref().unwrap().losses["target"];
    assert_eq!(steps.len(), 2 * 5, "batches of 7 of 30 samples");
    let mean = steps[..5].iter().zip([7.0, 7.0, 7.0, 7.0, 2.0]).map(|(x, n)| x * n).sum::<f64>() / 30.0;
    assert!((mean - a.epochs[0].losses["target"]).abs() <= 1e-12);
    assert!(gradus::Model::from_bytes(a.weights.as_ref().unwrap()).is_ok());
    assert!(n.predictions.is_none() && no_samples.samples.is_none());
    // Images of each class, then what was missed, the same for any number of threads.
    let samples = round.samples.unwrap();
    assert!(samples.shape == [2, 14, 14] && samples.target == "larger" && samples.ids.len() > 8, "{:?}", samples.ids);
    let one = folder("one-thread");
    go(PAIRS, &one, 1);
    let rounds = |out| Store::open_read(out).unwrap().rounds().unwrap();
    assert_eq!(rounds(&one), rounds(&plain));
    assert!(rounds(&one)[3].samples.is_none(), "of the first rounds");
}

#[test]
fn data_that_changed_are_noticed() {
    let out = folder("data");
    go(TEXT, &out, 2);
    let before = Store::open_read(&out).unwrap().rounds().unwrap();
    // Asked for in another way, all is drawn and trained anew; and back.
    let ended = go(&TEXT.replace("train = 60", "train = 50"), &out, 2);
    assert_eq!(ended.run, 6);
    let between = Store::open_read(&out).unwrap().rounds().unwrap();
    assert!(between.len() == 3 && between.iter().zip(&before).all(|(a, b)| a.data_hash != b.data_hash));
    assert_eq!(go(TEXT, &out, 2).run, 0);
    assert_eq!(Store::open_read(&out).unwrap().rounds().unwrap(), before);

    let file = out.join("table.csv");
    let table = |n: u32| (0..40).map(|i| format!("{i},{},{}\n", i * n % 7, i % 2)).collect::<String>();
    std::fs::write(&file, format!("a,b,y\n{}", table(3))).unwrap();
    let text = TEXT
        .replace("source = \"disk\"\ntrain = 60\ntest = 40", &format!("source = \"csv\"\nfile = {file:?}"))
        .replace("points", "x")
        .replace("target = \"inside\"", "target = \"y\"");
    let tables = folder("data-tables");
    go(&text, &tables, 2);
    assert_eq!(go(&text, &tables, 2).run, 0);
    std::fs::write(&file, format!("a,b,y\n{}", table(4))).unwrap();
    let options = Options { out: tables, threads: 1, arms: Vec::new(), weights: false };
    let e = run(&study(&text), &options, &AtomicBool::new(false), |_| ()).unwrap_err();
    assert!(e.to_string().contains("round 0 was drawn from other data"), "{e}");
}
