//! What other processes do to a study: being killed at any moment, writing at the same time.
//!
//! This program starts itself again as the process that is killed: the test `child` does nothing unless it is asked to.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Folder, Random, arm, filled, study, trial};
use gradus_record::{Error, FILE, Filter, Kind, Parts, Store};

const DO: &str = "GRADUS_RECORD_CHILD";
const IN: &str = "GRADUS_RECORD_DIR";

/// What the other process does: says what it has written, line by line.
#[test]
fn child() {
    let (Ok(what), Ok(dir)) = (std::env::var(DO), std::env::var(IN)) else { return };
    let dir = Path::new(&dir);
    let open = || match Store::open(dir) {
        Err(e) if e.kind() == Kind::Missing => Store::create(dir, &study()),
        other => other,
    };
    let mut store = match open() {
        Ok(store) => store,
        Err(e) => return println!("\nrefused {:?} {e}", e.kind()),
    };
    let steps = || -> Result<(), Error> {
        match what.as_str() {
            // Trials without end.
            "write" => {
                store.set_arms(&[arm(0), arm(1)])?;
                for round in store.finished(&arm(1).key)?.len().. {
                    for i in 0..2 {
                        store.insert_trial(&trial(&arm(i), round))?;
                        println!("\nwritten {i} {round}");
                    }
                }
            }
            // One trial more.
            "once" => {
                let round = store.finished(&arm(0).key)?.len();
                store.insert_trial(&trial(&arm(0), round))?;
                println!("\nwritten 0 {round}");
            }
            "hold" => {
                println!("\nholding");
                sleep(Duration::from_secs(60));
            }
            other => panic!("{other}"),
        }
        Ok(())
    };
    let mut steps = steps;
    if let Err(e) = steps() {
        println!("\nrefused {:?} {e}", e.kind());
    }
}

/// This program as the other process, behind `before` (a tracer).
fn start(before: &[String], what: &str, dir: &Path) -> Child {
    let this = std::env::current_exe().unwrap();
    let mut command = match before {
        [] => Command::new(this),
        [program, arguments @ ..] => {
            let mut c = Command::new(program);
            c.args(arguments).arg(this);
            c
        }
    };
    let command = command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
    command.env(DO, what).env(IN, dir).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// What a process that ended had said.
fn lines(child: &mut Child) -> Vec<String> {
    BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).filter(|l| !l.is_empty()).collect()
}

/// The trials of `lines`, by arm and round.
fn written(lines: &[String]) -> impl Iterator<Item = (usize, usize)> {
    lines
        .iter()
        .filter_map(|l| l.strip_prefix("written ")?.split_once(' '))
        .map(|(a, r)| (a.parse().unwrap(), r.parse().unwrap()))
}

/// That the study is whole and every trial in it is right; how many there are.
fn whole(store: &Store) -> usize {
    store.check().unwrap();
    let mut n = 0;
    store
        .each_trial(&Filter::default(), Parts::ALL, |t| {
            let written = trial(&arm(t.key.as_str().ends_with('1').into()), t.round);
            assert_eq!(format!("{t:?}"), format!("{written:?}"));
            n += 1;
            Ok::<_, Error>(())
        })
        .unwrap();
    n
}

#[test]
fn a_killed_process_loses_nothing_that_it_said_was_written() {
    let folder = Folder::new("killed");
    let mut random = Random(2021);
    let mut said = BTreeSet::new(); // what is there already is said to be written again
    for kill in 0..20 {
        let mut child = start(&[], "write", &folder.0);
        // Some while it begins, most while it writes.
        sleep(Duration::from_micros(random.below(if kill % 4 == 0 { 15_000 } else { 150_000 })));
        child.kill().unwrap();
        said.extend(written(&lines(&mut child)));
        child.wait().unwrap();
        // A reader undoes an interrupted write as well as a writer does.
        let store = if kill % 2 == 0 { Store::open(&folder.0) } else { Store::open_read(&folder.0) };
        let store = match store {
            Err(e) if e.kind() == Kind::Missing && said.is_empty() => continue,
            store => store.unwrap(),
        };
        let n = whole(&store);
        for (i, round) in &said {
            let there = store.trial(&arm(*i).key, *round).unwrap();
            assert!(there.is_some(), "kill {kill}: trial {i} of round {round} was lost");
        }
        assert!(n >= said.len() && n <= said.len() + kill + 1, "{n} trials, {} were said to be written", said.len());
    }
    println!("{} trials were written between 20 kills", said.len());
    assert!(said.len() > 20, "{}", said.len());
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let folder = Folder::new("second");
    drop(filled(&folder.0, 2, 1));
    let mut first = start(&[], "hold", &folder.0);
    let out = BufReader::new(first.stdout.take().unwrap());
    assert!(out.lines().map_while(Result::ok).any(|l| l == "holding"));
    let refused = Store::open(&folder.0).unwrap_err();
    assert_eq!(refused.kind(), Kind::Locked);
    let text = refused.to_string();
    assert!(text.contains(&format!("process {} on ", first.id())) && text.contains("--exact child"), "{text}");
    assert_eq!(Store::holder(&folder.0).unwrap().unwrap().pid, first.id());
    assert_eq!(Store::create(&folder.0, &study()).unwrap_err().kind(), Kind::Locked);
    assert_eq!(whole(&Store::open_read(&folder.0).unwrap()), 2);
    // The lock goes with the process, though what it wrote into the file stays.
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(Store::holder(&folder.0).unwrap(), None);
    assert_eq!(whole(&Store::open(&folder.0).unwrap()), 2);
}

#[test]
fn two_writers_at_once() {
    let folder = Folder::new("race");
    let (mut said, mut refused) = (BTreeSet::new(), 0);
    for race in 0..10 {
        let mut both = [start(&[], "write", &folder.0), start(&[], "write", &folder.0)];
        sleep(Duration::from_millis(if race == 0 { 600 } else { 350 }));
        for child in &mut both {
            let _ = child.kill();
        }
        let mut wrote = 0;
        for child in &mut both {
            let lines = lines(child);
            child.wait().unwrap();
            wrote += usize::from(written(&lines).next().is_some());
            said.extend(written(&lines));
            let no = lines.iter().filter(|l| l.starts_with("refused")).inspect(|l| {
                assert!(l.starts_with("refused Locked") && l.contains("process"), "{l}");
            });
            refused += no.count();
        }
        assert!(wrote <= 1, "both wrote");
        if let Ok(store) = Store::open(&folder.0) {
            assert!(whole(&store) >= said.len());
        }
    }
    println!("{refused} of 10 second writers were refused, {} trials were written", said.len());
    assert!(refused > 0 && !said.is_empty());
}

/// A process that dies, and a disk that fails, at every single call that writes.
#[test]
fn every_call_of_a_write_may_be_the_last() {
    let tracer = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    if !tracer.is_ok_and(|s| s.success()) {
        println!("passed over: there is no strace here, or it may not trace");
        return;
    }
    let good = Folder::new("calls-good");
    drop(filled(&good.0, 2, 2));
    let mut points = 0;
    for fault in ["signal=KILL", "error=EIO", "error=ENOSPC"] {
        for call in ["pwrite64", "fdatasync", "fsync", "unlink", "openat", "ftruncate"] {
            // Of the calls that open files only those of the study's folder, and errors of opening are no faults of a disk.
            if call == "openat" && fault != "signal=KILL" {
                continue;
            }
            for n in 1.. {
                let folder = Folder::new("calls");
                for name in [FILE, "study.lock"] {
                    std::fs::copy(good.0.join(name), folder.0.join(name)).unwrap();
                }
                let mut before = ["strace", "-f", "-o"].map(String::from).to_vec();
                let trace = good.0.join("trace");
                before.push(trace.display().to_string());
                for name in [FILE.to_string(), format!("{FILE}-journal"), String::new()] {
                    before.extend(["-P".into(), folder.0.join(name).display().to_string()]);
                }
                before.extend(["-e".into(), format!("inject={call}:{fault}:when={n}")]);
                let mut child = start(&before, "once", &folder.0);
                let lines = lines(&mut child);
                child.wait().unwrap();
                let trace = std::fs::read_to_string(trace).unwrap();
                if !trace.contains("INJECTED") && !trace.contains("killed by") {
                    assert!(lines.iter().any(|l| l.starts_with("written")), "{lines:?}");
                    break; // a write has no more such calls
                }
                let said = written(&lines).count();
                let refused = lines.iter().find(|l| l.starts_with("refused"));
                let mut store = Store::open(&folder.0).unwrap();
                let there = whole(&store);
                let what = format!("{fault} at {call} {n}: {lines:?}");
                assert!((4..=5).contains(&there) && there >= 4 + said, "{what}");
                let full = fault == "error=ENOSPC" && call == "pwrite64";
                assert!(!full || refused.is_none_or(|l| l.starts_with("refused Full")), "{what}");
                let round = store.finished(&arm(0).key).unwrap().len();
                store.insert_trial(&trial(&arm(0), round)).unwrap();
                assert_eq!(whole(&store), there + 1, "{what}");
                points += 1;
                assert!(n < 60, "{what}");
            }
        }
    }
    println!("{points} places to fail");
    assert!(points > 20);
}

/// Nothing waits for long.
#[test]
fn a_refusal_comes_at_once() {
    let folder = Folder::new("at-once");
    let _store = filled(&folder.0, 1, 1);
    let start = Instant::now();
    assert_eq!(Store::open(&folder.0).unwrap_err().kind(), Kind::Locked);
    assert!(start.elapsed() < Duration::from_secs(2));
}
