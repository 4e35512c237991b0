//! Running studies: the same bits in every way, nothing run twice, nothing lost.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use gradus_record::{Filter, Outcome, Parts, Store};
use gradus_study::run::{Count, Ended, Event, Options, Task, add_rounds, resume, run, trial};
use gradus_study::{Overrides, Record, Study};

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

fn options(out: &std::path::Path, threads: usize) -> Options {
    Options { out: out.to_path_buf(), threads, arms: Vec::new(), weights: false }
}

fn go(text: &str, out: &std::path::Path, threads: usize) -> Ended {
    run(&study(text), &options(out, threads), &AtomicBool::new(false), |_| ()).unwrap()
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
    assert_eq!(go(TEXT, &one, 1), Ended { run: 6, ..Ended::default() });
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
        let ended = run(&study(TEXT), &options(&parts, 2), &stop, |event| {
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
        let key = gradus_study::run::key(arm);
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
    let other = run(&study(&TEXT.replace("seed = 5", "seed = 6")), &options(&out, 1), &AtomicBool::new(false), |_| ());
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
optimizer = "SGD lr=0.05 weight_decay=0.01"
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
    let e = run(&study(&text), &options(&tables, 1), &AtomicBool::new(false), |_| ()).unwrap_err();
    assert!(e.to_string().contains("round 0 was drawn from other data"), "{e}");
}

const TUNED: &str = r#"
[matrix]
arms = ["two"]
train.batch = [7, 15]
[tune]
rounds = 2
train.optimizer.lr = [0.02, 0.2, 1e30]
"#;

/// Everything of a store that no machine, clock or number of threads may change.
fn bits(out: &std::path::Path) -> String {
    let store = Store::open_read(out).unwrap();
    store.check().unwrap();
    let mut all = format!("{:?}\n{:?}\n", store.arms().unwrap(), store.rounds().unwrap());
    for t in store.tuning().unwrap() {
        all += &format!("{} {} {:?} {:?} {:?}\n", t.key, t.round, t.values, t.metrics, t.parameters_hash);
    }
    let parts = |t: gradus_record::TrialRecord| {
        all += &format!("{} {} {:?} {:?} {:?}\n", t.arm, t.round, t.result_bytes(), t.predictions, t.grid);
        Ok::<_, gradus_record::Error>(())
    };
    store.each_trial(&Filter { removed: true, ..Filter::default() }, Parts::ALL, parts).unwrap();
    all
}

#[test]
fn a_tuned_matrix_has_the_same_bits_in_every_way() {
    let text = format!("{PAIRS}{TUNED}");
    let (one, two, parts) = (folder("tuned-one"), folder("tuned-two"), folder("tuned-parts"));
    let ended = go(&text, &one, 1);
    assert_eq!((ended.tuning, ended.run, ended.failed, ended.interrupted), (3 * 3 * 2, 3 * 4, 0, false));
    go(&text, &two, 2);
    assert!(bits(&one) == bits(&two));
    assert_eq!(go(&text, &one, 2), Ended::default(), "nothing runs twice");
    // Stopped again and again, in the tuning rounds and after them.
    let mut times = 0;
    loop {
        let stop = AtomicBool::new(false);
        let mut seen = 0;
        let ended = run(&study(&text), &options(&parts, 2), &stop, |event| {
            seen += usize::from(matches!(event, Event::Tuning { .. } | Event::Trial { .. }));
            stop.store(seen >= 2, Ordering::Relaxed);
        });
        times += 1;
        if !ended.unwrap().interrupted {
            break;
        }
    }
    assert!(times > 2);
    assert!(bits(&one) == bits(&parts));
}

#[test]
fn tuning_is_written_down_with_what_it_chose() {
    let out = folder("tuning");
    let mut said = Vec::new();
    run(&study(&format!("{PAIRS}{TUNED}")), &options(&out, 2), &AtomicBool::new(false), |event| match event {
        Event::Begin { arms, tuning, trials, expected } => {
            assert!(
                arms.len() == 3 && tuning == Count { done: 0, total: 18 } && trials == Count { done: 0, total: 12 }
            );
            assert!(expected.seconds > 0.0 && expected.seconds < 1000.0 && expected.bytes > 1000, "{expected:?}");
            said.push("begin".to_string());
        }
        Event::Tuned { arm } => said.push(arm.name.clone()),
        _ => {}
    })
    .unwrap();
    assert_eq!(said, ["begin", "one", "two batch=7", "two batch=15"]);
    let store = Store::open_read(&out).unwrap();
    let arms = store.arms().unwrap();
    assert_eq!((arms[1].made_from.as_deref(), arms[1].factors["train.batch"].as_str()), (Some("two"), "7"));
    for arm in &arms {
        let tuned = arm.tuned.as_ref().unwrap();
        assert_eq!((tuned.candidates.len(), tuned.rounds, tuned.validation), (3, 2, 6), "a fifth of 30");
        assert!(tuned.candidates[2].mean.is_nan() && tuned.chosen < 2);
        let means: Vec<f64> = tuned.candidates[..2].iter().map(|c| c.mean).collect();
        assert!(means[tuned.chosen] >= means[1 - tuned.chosen]);
        let lr = &tuned.candidates[tuned.chosen].values["train.optimizer.lr"];
        assert_eq!(arm.resolved.value()["train"]["optimizer"]["lr"].to_string(), *lr);
        assert_eq!(tuned.edges.is_empty(), tuned.chosen == 1);
    }
    // They are judged on samples that no trial is tested on, and are no trials.
    assert_eq!(store.trials(&Filter::default()).unwrap().len(), 12);
    assert!(store.tuning().unwrap().iter().all(|t| t.metrics.keys().all(|name| name.starts_with("validation "))));
    let log: Vec<String> = store.events().unwrap().into_iter().map(|e| e.text).collect();
    assert!(
        log[0] == "begun: 30 trials to run"
            && log.iter().any(|l| l.starts_with("tuned arm `one`: train.optimizer.lr = ")),
        "{log:?}"
    );
    assert_eq!(log.last().unwrap(), "ended: 12 trials run, 18 of tuning rounds");
    // The chosen arm is replayed as any other.
    let arm: gradus_study::ArmSettings = arms[2].resolved.read().unwrap();
    let task = Task { seed: gradus::rng::Seed(9), arm: &arm, key: &arms[2].key, round: 3, record: Record::default() };
    let again = trial(&task, &AtomicBool::new(false)).unwrap().unwrap();
    assert_eq!(store.trial(&arms[2].key, 3).unwrap().unwrap().difference(&again), None);

    // An arm that is as published beside one that is tuned to just that.
    let twin = format!("{PAIRS}[arm.as_published]\nbase = \"one\"\ntune = false\ntrain.optimizer.lr = 0.2\n[tune]\ntrain.optimizer.lr = [0.2, 1e30]")
        .replace("[arm.two]", "[arm.as_two]");
    let out = folder("twin");
    go(&twin.replace("base = \"one\"\ntrain.batch = 7", "base = \"one\"\ntune = false\ntrain.batch = 7"), &out, 2);
    let store = Store::open_read(&out).unwrap();
    let arms = store.arms().unwrap();
    assert!(arms[0].key != arms[2].key && arms[2].tuned.is_none());
    let settings: Vec<gradus_study::ArmSettings> = arms.iter().map(|a| a.resolved.read().unwrap()).collect();
    assert!(settings[0].same_as(&settings[2]));

    let all = format!("{PAIRS}[tune]\ntrain.optimizer.lr = [1e29, 1e30]");
    let e = run(&study(&all), &options(&folder("lost"), 2), &AtomicBool::new(false), |_| ()).unwrap_err();
    assert!(e.to_string().contains("training diverged with every value"), "{e}");
}

#[test]
fn an_edited_study_keeps_what_it_can() {
    let out = folder("edited");
    go(TEXT, &out, 2);
    let names = || -> Vec<String> {
        let arms = Store::open_read(&out).unwrap().arms().unwrap();
        arms.into_iter().filter(|a| a.active).map(|a| a.name).collect()
    };
    let log = || Store::open_read(&out).unwrap().events().unwrap().into_iter().map(|e| e.text).collect::<Vec<_>>();
    let study_now = || Store::open_read(&out).unwrap().study().unwrap();
    assert_eq!(log(), ["begun: 6 trials to run", "arm `a` added", "arm `b` added", "ended: 6 trials run"]);
    // Fewer rounds: nothing is run, and nothing is lost.
    let fewer = TEXT.replace("rounds = 3", "rounds = 2");
    assert_eq!(go(&fewer, &out, 2).run, 0);
    assert_eq!((results(&out).len(), study_now().rounds, study_now().text), (6, 2, fewer));
    assert_eq!(go(TEXT, &out, 2).run, 0);
    assert_eq!(log().len(), 4, "nothing happened that is worth a line");
    // An arm more, one renamed, one gone.
    let third = format!("{TEXT}[arm.c]\nbase = \"a\"\ntrain.batch = 5\n");
    assert_eq!(go(&third, &out, 2).run, 3);
    let renamed = TEXT.replace("[arm.b]", "[arm.bb]");
    assert_eq!(go(&renamed, &out, 2).run, 0);
    assert_eq!(names(), ["a", "bb"]);
    assert!(log().contains(&"arm `b` is called `bb` now".to_string()), "{:?}", log());
    assert!(log().contains(&"arm `c` removed; its trials are kept".to_string()), "{:?}", log());
    assert_eq!(results(&out).len(), 6, "the third is out of it");
    let changed = TEXT.replace("lr = 0.3", "lr = 0.2");
    assert_eq!(go(&changed, &out, 2).run, 3);
    assert!(log().contains(&"arm `b` added".to_string()), "{:?}", log());
    assert_eq!(go(&changed.replace("lr = 0.2", "lr = 0.25"), &out, 2).run, 3);
    assert!(log().contains(&"arm `b` changed".to_string()), "{:?}", log());
    assert_eq!(go(&third, &out, 2).run, 0, "back to where it was");
    assert_eq!(names(), ["a", "b", "c"]);
    assert!(study_now().resolved.value()["arms"]["c"].is_object());
}

#[test]
fn records_alone_are_enough_to_go_on() {
    let (out, whole) = (folder("alone-on"), folder("alone-whole"));
    let text = format!("{PAIRS}{TUNED}");
    // With what the command line changed, which stands in no text.
    let mut changed = study(&text);
    changed.rounds = 1;
    changed.arms["one"].train.epochs = 1;
    run(&changed, &options(&out, 2), &AtomicBool::new(false), |_| ()).unwrap();
    let again = resume(&out).unwrap();
    assert_eq!((again.rounds, again.arms["one"].train.epochs, &again.text), (1, 1, &changed.text));
    assert_eq!(run(&again, &options(&out, 2), &AtomicBool::new(false), |_| ()).unwrap(), Ended::default());
    let more = add_rounds(&out, 2).unwrap();
    assert_eq!(run(&more, &options(&out, 2), &AtomicBool::new(false), |_| ()).unwrap().run, 6);
    changed.rounds = 3;
    run(&changed, &options(&whole, 1), &AtomicBool::new(false), |_| ()).unwrap();
    assert!(bits(&out) == bits(&whole));
    assert_eq!(Store::open_read(&out).unwrap().study().unwrap().rounds, 3);
    assert!(add_rounds(&out, usize::MAX).unwrap_err().to_string().contains("at most 1000000"));
    assert!(resume(&folder("nothing")).is_err());
}

#[test]
fn one_arm_alone_is_tuned_alone() {
    let (out, whole) = (folder("one-arm"), folder("all-arms"));
    let text = format!("{PAIRS}{TUNED}");
    let some = Options { arms: vec!["two batch=7".into()], ..options(&out, 2) };
    let ended = run(&study(&text), &some, &AtomicBool::new(false), |_| ()).unwrap();
    assert_eq!((ended.tuning, ended.run), (6, 4));
    let arms = Store::open_read(&out).unwrap().arms().unwrap();
    assert_eq!(arms.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["two batch=7"]);
    assert_eq!(go(&text, &out, 2).run, 8);
    go(&text, &whole, 2);
    assert!(bits(&out) == bits(&whole));
}

#[test]
fn what_a_study_takes_is_foreseen_without_changing_it() {
    let out = folder("foreseen");
    let text = PAIRS.replace("test = 20", "test = 400").replace("rounds = 4", "rounds = 12")
        + "[record]\nsteps = true\nweights = true\nsamples = false";
    let mut bytes = 0;
    run(&study(&text), &options(&out, 2), &AtomicBool::new(false), |event| {
        if let Event::Begin { expected, .. } = event {
            bytes = expected.bytes;
        }
    })
    .unwrap();
    let size = std::fs::metadata(out.join(gradus_record::FILE)).unwrap().len();
    assert!(size < 2 * bytes && bytes < 2 * size, "{size} bytes, {bytes} foreseen");
    // Nothing to run takes nothing.
    run(&study(&text), &options(&out, 2), &AtomicBool::new(false), |event| {
        if let Event::Begin { expected, .. } = event {
            assert_eq!((expected.seconds, expected.bytes), (0.0, 0));
        }
    })
    .unwrap();
}

/// Ctrl-C in the middle of an epoch that takes minutes.
#[test]
fn a_run_stops_within_an_epoch() {
    let text = PAIRS.replace("epochs = 2", "epochs = 4000000").replace("train = 30", "train = 800");
    let (out, stop) = (folder("stops"), AtomicBool::new(false));
    let ended = std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&study(&text), &options(&out, 2), &stop, |_| ()).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        running.join().unwrap()
    });
    assert_eq!(ended, Ended { interrupted: true, ..Ended::default() });
    let store = Store::open_read(&out).unwrap();
    assert!(store.trials(&Filter::default()).unwrap().is_empty(), "a trial that was cut off is none");
    assert_eq!(store.events().unwrap().last().unwrap().text, "interrupted: 0 trials run");
}
