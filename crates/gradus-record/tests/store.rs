//! What is written is read again, to the bit; what does not fit is refused.

mod common;

use common::{Folder, arm, everything, filled, round, study, trial, tuning};
use gradus_record::{
    ArmRecord, Error, FILE, Filter, Kind, Outcome, Parts, Predictions, RoundRecord, Store, StudyRecord, TrialRecord,
    TuningTrial,
};

/// By their debugging text, since a diverged trial holds NaN.
fn same(a: &TrialRecord, b: &TrialRecord) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

#[test]
fn everything_reads_back() {
    let folder = Folder::new("back");
    drop(filled(&folder.0, 3, 10));
    for store in [Store::open(&folder.0).unwrap(), Store::open_read(&folder.0).unwrap()] {
        assert_eq!(store.study().unwrap(), study());
        assert_eq!(store.arms().unwrap(), [arm(0), arm(1), arm(2)]);
        assert_eq!(store.rounds().unwrap(), (0..10).map(round).collect::<Vec<_>>());
        assert_eq!(store.round(4).unwrap(), Some(round(4)));
        assert_eq!(store.round(10).unwrap(), None);
        assert_eq!(store.events().unwrap()[0].text, "started");
        for i in 0..3 {
            let arm = arm(i);
            assert_eq!(store.finished(&arm.key).unwrap(), (0..10).collect::<Vec<_>>());
            for r in 0..10 {
                let (found, written) = (store.trial(&arm.key, r).unwrap().unwrap(), trial(&arm, r));
                assert!(same(&found, &written), "{found:?}\n{written:?}");
                assert!(found.same_result(&written) && found.result_bytes() == written.result_bytes());
                // The bits, where they are numbers.
                for (a, b) in found.epochs.iter().zip(&written.epochs) {
                    assert!(a.loss.to_bits() == b.loss.to_bits() && a.lr.to_bits() == b.lr.to_bits());
                }
            }
            assert!(store.trial(&arm.key, 10).unwrap().is_none());
        }
        assert!(store.trial("no such key", 0).unwrap().is_none());
        assert!(store.finished("no such key").unwrap().is_empty());
        store.check().unwrap();
    }
}

#[test]
fn trials_are_read_by_arm_and_round_with_the_parts_asked_for() {
    let folder = Folder::new("filter");
    let mut store = filled(&folder.0, 3, 10);
    let names = |store: &Store, filter: &Filter| -> Vec<(String, usize)> {
        store.trials(filter).unwrap().into_iter().map(|t| (t.arm, t.round)).collect()
    };
    let all: Vec<(String, usize)> = (1..=3).flat_map(|a| (0..10).map(move |r| (format!("net{a}"), r))).collect();
    assert_eq!(names(&store, &Filter::default()), all);
    let some = Filter { rounds: Some(3..=4), ..Filter::arm(&arm(1).key) };
    assert_eq!(names(&store, &some), [("net2".into(), 3), ("net2".into(), 4)]);
    assert_eq!(names(&store, &Filter { rounds: Some(10..=usize::MAX), ..Filter::default() }), []);
    #[expect(clippy::reversed_empty_ranges)]
    let none = Filter { rounds: Some(4..=3), ..Filter::default() };
    assert_eq!(names(&store, &none), []);

    store.set_arms(&[ArmRecord { position: 0, ..arm(2) }, ArmRecord { position: 1, ..arm(0) }]).unwrap();
    let now: Vec<String> = store.trials(&Filter::default()).unwrap().into_iter().map(|t| t.arm).collect();
    assert_eq!(now, [vec!["net3"; 10], vec!["net1"; 10]].concat());
    assert_eq!(store.trials(&Filter { removed: true, ..Filter::default() }).unwrap().len(), 30);

    store
        .each_trial(&Filter::default(), Parts::EPOCHS, |t| {
            assert!(t.epochs.len() == 5 && t.steps.is_none() && t.predictions.is_none() && t.weights.is_none());
            Ok::<_, Error>(())
        })
        .unwrap();
    let mut seen = 0;
    let stopped = store.each_summary(&Filter::default(), |_| {
        seen += 1;
        if seen == 4 { Err(Error::new(Kind::Argument, "enough")) } else { Ok(()) }
    });
    assert_eq!((stopped.unwrap_err().to_string().as_str(), seen), ("enough", 4));
    assert_eq!(store.trials(&Filter::arm(&arm(1).key)).unwrap()[3], trial(&arm(1), 3).summary());
}

#[test]
fn arms_come_and_go_and_trials_stay() {
    let folder = Folder::new("arms");
    let mut store = filled(&folder.0, 2, 3);
    // The second is gone, the first has another name, and a new one has the second's name.
    let renamed = ArmRecord { name: "first".into(), position: 1, ..arm(0) };
    let new = ArmRecord { key: "new".into(), position: 0, name: "net2".into(), ..arm(5) };
    store.set_arms(&[new.clone(), renamed.clone()]).unwrap();
    let removed = ArmRecord { active: false, ..arm(1) };
    assert_eq!(store.arms().unwrap(), [new.clone(), renamed, removed.clone()]);
    assert_eq!(store.trial(&arm(0).key, 2).unwrap().unwrap().arm, "first");
    assert_eq!(store.finished(&arm(1).key).unwrap(), [0, 1, 2]);
    assert!(store.finished("new").unwrap().is_empty());
    store.insert_trial(&trial(&new, 0)).unwrap();
    // And back again.
    store.set_arms(&[arm(0), arm(1)]).unwrap();
    assert_eq!(store.arms().unwrap(), [arm(0), arm(1), ArmRecord { active: false, ..new }]);
    assert_eq!(store.trials(&Filter::default()).unwrap().len(), 6);
    store.check().unwrap();

    let refused = |store: &mut Store, arms: &[ArmRecord]| store.set_arms(arms).unwrap_err();
    assert_eq!(refused(&mut store, &[arm(0), arm(0)]).kind(), Kind::Argument);
    let twin = ArmRecord { key: "x".into(), ..arm(0) };
    assert!(refused(&mut store, &[arm(0), twin]).to_string().contains("`net1` and `net1`"));
    assert_eq!(refused(&mut store, &[ArmRecord { key: String::new(), ..arm(0) }]).kind(), Kind::Argument);
}

#[test]
fn a_study_grows_and_keeps_its_seed() {
    let folder = Folder::new("grows");
    let mut store = filled(&folder.0, 1, 1);
    assert_eq!(store.add_rounds(20).unwrap(), 50);
    assert_eq!(store.study().unwrap(), StudyRecord { rounds: 50, ..study() });
    let changed =
        StudyRecord { text: "another".into(), rounds: 60, name: "x".into(), created: "now".into(), ..study() };
    store.set_study(&changed).unwrap();
    assert_eq!(store.study().unwrap(), StudyRecord { text: "another".into(), rounds: 60, ..study() });
    let other = store.set_study(&StudyRecord { seed: 1, ..study() }).unwrap_err();
    assert!(other.kind() == Kind::Conflict && other.to_string().contains("not 1"), "{other}");
    assert_eq!(store.add_rounds(usize::MAX).unwrap_err().kind(), Kind::Argument);
    store.put_round(&round(0)).unwrap();
    let drifted = RoundRecord { data_hash: "other".into(), ..round(0) };
    let refused = store.put_round(&drifted).unwrap_err();
    assert!(refused.kind() == Kind::Conflict && refused.to_string().contains("round 0"), "{refused}");
    let mut wrong = round(2);
    wrong.points.as_mut().unwrap().train.x.pop();
    assert!(store.put_round(&wrong).unwrap_err().to_string().contains("39 first and 40 second"));
    for text in ["interrupted", "resumed \"by\" hand"] {
        store.add_event(text).unwrap();
    }
    let log: Vec<String> = store.events().unwrap().into_iter().map(|e| e.text).collect();
    assert_eq!(log, ["started", "interrupted", "resumed \"by\" hand"]);
    store.check().unwrap();
}

#[test]
fn a_trial_is_written_once() {
    let folder = Folder::new("once");
    let mut store = filled(&folder.0, 1, 1);
    let mut again = trial(&arm(0), 0);
    again.seconds.train = 9.0;
    again.order = 77;
    store.insert_trial(&again).unwrap(); // the same result: the first stays
    assert!(same(&store.trial(&again.key, 0).unwrap().unwrap(), &trial(&arm(0), 0)));
    again.metrics.insert("test loss".into(), 1.0);
    let refused = store.insert_trial(&again).unwrap_err();
    let text = refused.to_string();
    assert!(refused.kind() == Kind::Conflict && text.contains("arm `net1` in round 0"), "{refused}");
    assert!(text.contains("`test loss`") && text.contains("and 1)"), "{refused}");

    // One that failed is no result: it is run again.
    let failed = TrialRecord {
        outcome: Outcome::Failed { cause: "no memory".into() },
        round: 1,
        key: arm(0).key,
        arm: arm(0).name,
        ..TrialRecord::default()
    };
    store.insert_trial(&failed).unwrap();
    store.insert_trial(&failed).unwrap();
    assert_eq!(store.finished(&arm(0).key).unwrap(), [0]);
    assert_eq!(store.trials(&Filter::default()).unwrap().len(), 2);
    store.insert_trial(&trial(&arm(0), 1)).unwrap();
    assert_eq!(store.finished(&arm(0).key).unwrap(), [0, 1]);
    store.insert_trial(&failed).unwrap(); // and cannot undo one
    assert!(same(&store.trial(&arm(0).key, 1).unwrap().unwrap(), &trial(&arm(0), 1)));
    store.check().unwrap();

    let mut kind = |t: &TrialRecord, text: &str| {
        let e = store.insert_trial(t).unwrap_err();
        assert!(e.kind() == Kind::Argument && e.to_string().contains(text), "{e}");
    };
    kind(&trial(&arm(4), 0), "no such arm");
    kind(&TrialRecord { arm: "other".into(), ..trial(&arm(0), 2) }, "called `net1`");
    kind(&TrialRecord { round: usize::MAX, ..trial(&arm(0), 2) }, "no such round");
    let mut short = trial(&arm(0), 2);
    short.predictions = Some(Predictions { sample_ids: vec![1], ..short.predictions.unwrap() });
    kind(&short, "1 samples, 50 labels");
}

#[test]
fn a_reader_does_not_write_and_needs_no_lock() {
    let folder = Folder::new("reader");
    let writer = filled(&folder.0, 1, 2);
    let mut reader = Store::open_read(&folder.0).unwrap();
    assert_eq!(reader.trials(&Filter::default()).unwrap().len(), 2);
    assert_eq!(reader.add_rounds(1).unwrap_err().kind(), Kind::ReadOnly);
    assert_eq!(reader.insert_trial(&trial(&arm(0), 2)).unwrap_err().kind(), Kind::ReadOnly);
    assert_eq!(reader.set_arms(&[]).unwrap_err().kind(), Kind::ReadOnly);
    let refused = Store::open(&folder.0).unwrap_err();
    assert!(refused.to_string().contains(&format!("process {} on", std::process::id())), "{refused}");
    assert_eq!(Store::holder(&folder.0).unwrap().unwrap().pid, std::process::id());
    drop(writer);
    assert_eq!(Store::holder(&folder.0).unwrap(), None);
    drop(Store::open(&folder.0).unwrap());
    assert_eq!(Store::create(&folder.0, &study()).unwrap_err().kind(), Kind::Exists);
    let names: Vec<_> = std::fs::read_dir(&folder.0).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn what_a_killed_process_left_half_made_is_no_hindrance() {
    let folder = Folder::new("half-made");
    for name in ["study.sqlite.new", "study.sqlite.new-journal", "study.lock"] {
        std::fs::write(folder.0.join(name), "half of something").unwrap();
    }
    assert_eq!(Store::open(&folder.0).unwrap_err().kind(), Kind::Missing);
    drop(filled(&folder.0, 1, 1));
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 2);
    Store::open(&folder.0).unwrap().check().unwrap();
}

#[test]
fn a_reader_sees_a_growing_study() {
    let folder = Folder::new("growing");
    let mut writer = filled(&folder.0, 2, 1);
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            for i in 1..40 {
                writer.put_round(&round(i)).unwrap();
                writer.insert_trial(&trial(&arm(0), i)).unwrap();
                writer.insert_trial(&trial(&arm(1), i)).unwrap();
                writer.add_event("more").unwrap();
            }
        });
        let mut last = 0;
        while !thread.is_finished() {
            let reader = Store::open_read(&folder.0).unwrap();
            everything(&reader).unwrap();
            let now = reader.trials(&Filter::default()).unwrap().len();
            assert!(now >= last);
            last = now;
        }
    });
    assert_eq!(Store::open_read(&folder.0).unwrap().trials(&Filter::default()).unwrap().len(), 80);
}

#[test]
fn files_of_several_machines_are_joined() {
    let (a, b, c) = (Folder::new("merge"), Folder::new("merge"), Folder::new("merge"));
    let mut ours = filled(&a.0, 2, 4);
    let mut theirs = Store::create(&b.0, &StudyRecord { rounds: 40, created: "later".into(), ..study() }).unwrap();
    theirs.set_arms(&[arm(1), arm(2)]).unwrap(); // one arm of both, one that is new
    for i in 2..7 {
        theirs.put_round(&round(i)).unwrap();
        for j in 1..3 {
            let mut t = trial(&arm(j), i);
            t.seconds.train += 1.0;
            t.weights = None;
            theirs.insert_trial(&t).unwrap();
        }
    }
    let merged = ours.merge(&theirs).unwrap();
    assert_eq!((merged.arms, merged.rounds, merged.trials, merged.same), (1, 3, 8, 2));
    assert_eq!(ours.study().unwrap(), StudyRecord { rounds: 40, ..study() });
    assert_eq!(ours.arms().unwrap(), [arm(0), arm(1), arm(2)]);
    assert_eq!(ours.finished(&arm(1).key).unwrap(), (0..7).collect::<Vec<_>>());
    assert_eq!(ours.finished(&arm(2).key).unwrap(), (2..7).collect::<Vec<_>>());
    assert!(ours.trial(&arm(1).key, 3).unwrap().unwrap().same_result(&trial(&arm(1), 3)));
    assert_eq!(ours.rounds().unwrap().len(), 7);
    let again = ours.merge(&theirs).unwrap();
    assert_eq!((again.arms, again.rounds, again.trials, again.same), (0, 0, 0, 10));
    ours.check().unwrap();

    // What is refused leaves everything as it was.
    let before = everything(&ours).unwrap();
    let mut other = Store::create(&c.0, &study()).unwrap();
    other.set_arms(&[arm(0), arm(1)]).unwrap();
    other.insert_trial(&trial(&arm(0), 9)).unwrap();
    let mut changed = trial(&arm(1), 2);
    changed.metrics.insert("test accuracy".into(), 0.0);
    other.insert_trial(&changed).unwrap();
    let refused = ours.merge(&other).unwrap_err();
    assert!(refused.kind() == Kind::Conflict && refused.to_string().contains("arm `net2` in round 2"), "{refused}");
    assert_eq!(everything(&ours).unwrap(), before);
    for (change, what) in [
        (StudyRecord { seed: 3, ..study() }, "seeds"),
        (StudyRecord { versions: Default::default(), ..study() }, "random numbers"),
        (StudyRecord { compare: Default::default(), ..study() }, "compare"),
    ] {
        let d = Folder::new("merge");
        let stranger = Store::create(&d.0, &change).unwrap();
        assert!(ours.merge(&stranger).unwrap_err().to_string().contains(what));
    }
    let d = Folder::new("merge");
    let mut stranger = Store::create(&d.0, &study()).unwrap();
    stranger.set_arms(&[ArmRecord { key: "other".into(), ..arm(0) }]).unwrap();
    assert!(ours.merge(&stranger).unwrap_err().to_string().contains("`net1` is not the same"));
    stranger.set_arms(&[]).unwrap();
    stranger.put_round(&RoundRecord { data_hash: "x".into(), ..round(0) }).unwrap();
    assert!(ours.merge(&stranger).unwrap_err().to_string().contains("round 0"));
    assert!(ours.merge(&Store::open_read(&a.0).unwrap()).unwrap_err().to_string().contains("one file"));
    assert_eq!(everything(&ours).unwrap(), before);
}

#[test]
fn a_failed_trial_is_replaced_by_a_merge() {
    let (a, b) = (Folder::new("merge-failed"), Folder::new("merge-failed"));
    let failed = |r| TrialRecord {
        outcome: Outcome::Failed { cause: format!("no memory {r}") },
        ..TrialRecord { round: r, key: arm(0).key, arm: arm(0).name, ..TrialRecord::default() }
    };
    let mut ours = filled(&a.0, 1, 1);
    ours.insert_trial(&failed(1)).unwrap();
    let mut theirs = filled(&b.0, 1, 0);
    theirs.insert_trial(&failed(0)).unwrap();
    theirs.insert_trial(&trial(&arm(0), 1)).unwrap();
    let merged = ours.merge(&theirs).unwrap();
    assert_eq!((merged.trials, merged.same), (1, 1));
    assert_eq!(ours.finished(&arm(0).key).unwrap(), [0, 1]);
    ours.check().unwrap();
}

#[test]
fn a_store_goes_to_another_thread() {
    fn send<T: Send>() {}
    send::<Store>();
}

/// The whole record as JSON, for `export`: it reads back too.
#[test]
fn records_are_json() {
    let t = trial(&arm(0), 0);
    let text = serde_json::to_string(&t).unwrap();
    assert_eq!(serde_json::from_str::<TrialRecord>(&text).unwrap(), t);
    let diverged = trial(&arm(0), 3);
    let text = serde_json::to_string(&diverged).unwrap();
    assert!(text.contains("\"NaN\"") && text.contains("\"-inf\""));
    assert!(same(&serde_json::from_str(&text).unwrap(), &diverged));
    for i in 0..3 {
        assert_eq!(serde_json::from_str::<RoundRecord>(&serde_json::to_string(&round(i)).unwrap()).unwrap(), round(i));
    }
    assert_eq!(serde_json::from_str::<ArmRecord>(&serde_json::to_string(&arm(1)).unwrap()).unwrap(), arm(1));
    assert_eq!(serde_json::from_str::<StudyRecord>(&serde_json::to_string(&study()).unwrap()).unwrap(), study());
}

#[test]
fn tuning_rounds_lie_apart() {
    let (a, b) = (Folder::new("tuning"), Folder::new("tuning"));
    let mut store = filled(&a.0, 2, 1);
    let (first, all) = (tuning(0, 0), 4);
    assert_eq!(store.tuning().unwrap(), [tuning(0, 0), tuning(0, 1), tuning(1, 0), tuning(1, 1)]);
    assert_eq!(store.trials(&Filter::default()).unwrap().len(), 2, "they are no trials");
    let mut again = TuningTrial { arm: "renamed".into(), ..first.clone() };
    again.seconds.train = 9.0;
    store.insert_tuning(&again).unwrap();
    assert_eq!((store.tuning().unwrap().len(), &store.tuning().unwrap()[0]), (all, &first), "the first stays");
    again.metrics["validation accuracy"] = 0.0;
    let refused = store.insert_tuning(&again).unwrap_err();
    assert!(refused.kind() == Kind::Conflict && refused.to_string().contains("a metric differs"), "{refused}");
    // One that failed is tried again, and undoes none.
    let failed = |t: &TuningTrial| TuningTrial { outcome: Outcome::Failed { cause: "no memory".into() }, ..t.clone() };
    store.insert_tuning(&failed(&tuning(0, 2))).unwrap();
    store.insert_tuning(&failed(&first)).unwrap();
    store.insert_tuning(&tuning(0, 2)).unwrap();
    assert_eq!(store.tuning().unwrap()[..3], [tuning(0, 0), tuning(0, 1), tuning(0, 2)]);
    assert_eq!(store.insert_tuning(&TuningTrial::default()).unwrap_err().kind(), Kind::Argument);

    let mut theirs = filled(&b.0, 2, 0);
    theirs.insert_tuning(&tuning(1, 2)).unwrap();
    assert_eq!(store.merge(&theirs).unwrap().tuning, 1);
    assert_eq!(store.merge(&theirs).unwrap().tuning, 0);
    assert_eq!(store.tuning().unwrap().len(), 6);
    store.check().unwrap();
    theirs.insert_tuning(&TuningTrial { parameters_hash: None, ..tuning(1, 3) }).unwrap();
    store.insert_tuning(&tuning(1, 3)).unwrap();
    assert_eq!(store.merge(&theirs).unwrap_err().kind(), Kind::Conflict);
}

#[test]
fn a_round_is_replaced_whole() {
    let folder = Folder::new("replaced");
    let mut store = filled(&folder.0, 1, 3);
    let new = RoundRecord { data_hash: "another".into(), points: None, samples: round(1).samples, ..round(0) };
    store.replace_round(&new).unwrap();
    store.replace_round(&RoundRecord { round: 7, ..new.clone() }).unwrap();
    assert_eq!(store.rounds().unwrap(), [new.clone(), round(1), round(2), RoundRecord { round: 7, ..new }]);
    store.check().unwrap();
}

/// What a trial will take is told before it is there.
#[test]
fn bytes_of_a_trial_are_foreseen() {
    let folder = Folder::new("bytes");
    let mut store = filled(&folder.0, 1, 0);
    let size = || std::fs::metadata(folder.0.join(FILE)).unwrap().len();
    let (before, mut foreseen) = (size(), 0);
    for i in 0..200 {
        let mut t = trial(&arm(0), i);
        t.weights = (i % 2 == 0).then(|| vec![7; 100 * i]);
        foreseen += t.stored_bytes();
        store.insert_trial(&t).unwrap();
    }
    let ratio = (size() - before) as f64 / foreseen as f64;
    assert!((0.8..1.3).contains(&ratio), "{ratio}");
}
