//! `gradus study`, as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn gradus(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gradus")).current_dir(folder).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A short study of the disk.
const SHORT: &[&str] = &["study", "run", "disk", "--set", "train.epochs=2", "--set", "data.train=60", "--rounds", "3"];

#[test]
fn a_study_runs_and_is_read_again() {
    let here = folder("study-run");
    let run = gradus(&here, SHORT);
    let shown = text(&run.stdout);
    assert_eq!(run.status.code(), Some(0), "{shown}{}", text(&run.stderr));
    assert!(shown.contains("9 trials to run") && shown.contains("95 % interval"), "{shown}");
    assert!(shown.contains("runs/disk/study.sqlite"), "{shown}");

    let again = gradus(&here, &[SHORT, &["--json", "--threads", "1"]].concat());
    let document: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(document["arms"].as_array().unwrap().len(), 3);
    assert_eq!(document["comparisons"].as_array().unwrap().len(), 2);
    assert!(text(&again.stderr).contains("0 trials to run, 9 there already"));
    let status = gradus(&here, &["study", "status", "runs/disk", "--json"]);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&status.stdout).unwrap()["arms"], document["arms"]);

    let markdown = text(&gradus(&here, &["study", "status", "runs/disk", "--markdown"]).stdout);
    assert!(markdown.starts_with("# Inside the circle") && markdown.contains("\n| tanh | 3 |"), "{markdown}");
    let latex = text(&gradus(&here, &["study", "status", "runs/disk", "--latex"]).stdout);
    assert!(latex.contains("\\toprule") && latex.contains("\n  tanh & 3 &"), "{latex}");
    assert_eq!(gradus(&here, &["study", "status", "runs/disk", "--latex", "--json"]).status.code(), Some(2));

    let replay = gradus(&here, &["study", "replay", "runs/disk", "tanh", "2"]);
    assert_eq!((replay.status.code(), text(&replay.stdout).as_str()), (Some(0), "tanh, round 2: the same bits\n"));
    let export = text(&gradus(&here, &["study", "export", "runs/disk"]).stdout);
    assert_eq!(export.lines().count(), 10, "{export}");
    assert!(export.starts_with("arm,round,outcome,"), "{export}");
    let compare = gradus(&here, &["study", "compare", "runs/disk", "relu", "tanh"]);
    assert!(text(&compare.stdout).contains("3 rounds"), "{}", text(&compare.stdout));
}

#[test]
fn what_is_not_there_is_named() {
    let here = folder("study-errors");
    let error = |args: &[&str]| {
        let output = gradus(&here, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty());
        text(&output.stderr)
    };
    assert!(error(&["study", "status", "nowhere"]).contains("nowhere"));
    assert!(error(&["study", "run", "dsik"]).contains("disk"));
    assert!(error(&[SHORT, &["--arm", "rleu"]].concat()).contains("relu"));
    assert!(error(&[SHORT, &["--threads", "0"]].concat()).contains("0 threads"));
    gradus(&here, SHORT);
    assert!(error(&["study", "replay", "runs/disk", "tnah", "0"]).contains("did you mean `tanh`"));
    assert!(error(&["study", "show", "runs/disk", "tanh", "7"]).contains("no round 7"));
    assert!(error(&["study", "compare", "runs/disk", "relu", "x"]).contains("no arm `x`"));
}

#[cfg(unix)]
#[test]
fn a_killed_study_loses_no_finished_trial() {
    let (whole, parts) = (folder("study-whole"), folder("study-parts"));
    let args = ["study", "run", "disk", "--set", "train.epochs=20", "--rounds", "4", "--threads", "2"];
    gradus(&whole, &args);
    for wait in [30, 45, 60, 75, 90, 110, 130, 150, 40, 55] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gradus"))
            .current_dir(&parts)
            .args(args)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
    }
    let last = gradus(&parts, &args);
    assert_eq!(last.status.code(), Some(0), "{}", text(&last.stderr));
    let result = |folder: &Path, arm: &str, round: &str| {
        let shown = gradus(folder, &["study", "show", "runs/disk", arm, round]).stdout;
        let mut trial: serde_json::Value = serde_json::from_slice(&shown).unwrap();
        for key in ["seconds", "order"] {
            trial[key] = serde_json::Value::Null;
        }
        trial
    };
    for arm in ["relu", "tanh", "mixed"] {
        for round in ["0", "1", "2", "3"] {
            assert_eq!(result(&whole, arm, round), result(&parts, arm, round), "{arm}, round {round}");
        }
    }
}
