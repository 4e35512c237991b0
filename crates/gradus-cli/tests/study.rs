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
    assert!(shown.contains("9 trials to run; expected: ") && shown.contains("95 % interval"), "{shown}");
    assert!(shown.contains("report in runs/disk/report.html\nrecords in runs/disk/study.sqlite\n"), "{shown}");
    let page = std::fs::read_to_string(here.join("runs/disk/report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("mixed"), "{}", &page[..200]);

    let again = gradus(&here, &[SHORT, &["--json", "--threads", "1"]].concat());
    let document: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(document["arms"].as_array().unwrap().len(), 3);
    assert_eq!(document["comparisons"].as_array().unwrap().len(), 2);
    assert_eq!(document["report"], "runs/disk/report.html");
    assert!(text(&again.stderr).contains("0 trials to run, 9 there already\n"));
    let status = gradus(&here, &["study", "status", "runs/disk", "--json"]);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&status.stdout).unwrap()["arms"], document["arms"]);

    let markdown = text(&gradus(&here, &["study", "report", "runs/disk", "--markdown"]).stdout);
    assert!(markdown.starts_with("# Inside the circle") && markdown.contains("\n| tanh | 3 |"), "{markdown}");
    let latex = text(&gradus(&here, &["study", "report", "runs/disk", "--latex"]).stdout);
    assert!(latex.contains("\\toprule") && latex.contains("\n  tanh & 3 &"), "{latex}");
    assert_eq!(gradus(&here, &["study", "report", "runs/disk", "--latex", "--to", "x"]).status.code(), Some(2));

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

/// The result of a trial, without what has nothing to do with it.
fn result(folder: &Path, out: &str, arm: &str, round: usize) -> serde_json::Value {
    let shown = gradus(folder, &["study", "show", out, arm, &round.to_string()]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let mut trial: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    for key in ["seconds", "order", "parallel"] {
        trial[key] = serde_json::Value::Null;
    }
    trial
}

#[test]
fn a_report_is_written_in_every_form() {
    let here = folder("study-report");
    gradus(&here, &[SHORT, &["--no-report"]].concat());
    assert!(!here.join("runs/disk/report.html").exists());
    let report = |args: &[&str]| {
        let ran = gradus(&here, &[&["study", "report", "runs/disk"], args].concat());
        assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
        text(&ran.stdout)
    };
    assert_eq!(report(&["--to", "page.html"]), "report in page.html\n");
    assert!(here.join("page.html").exists());
    assert!(report(&["--markdown"]).contains("| arm |"));
    assert!(report(&["--latex"]).contains("\\toprule"));
    assert!(report(&["--figures", "figures"]).contains(" files in figures\n"));
    for (ending, start) in [("svg", &b"<svg"[..]), ("png", b"\x89PNG"), ("pdf", b"%PDF")] {
        let file = std::fs::read(here.join("figures").join(format!("differences.{ending}"))).unwrap();
        assert!(file.windows(start.len()).take(200).any(|w| w == start), "{ending}");
    }
    let refused = gradus(&here, &["study", "report", "runs/disk", "--to", "page.html/x"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("page.html/x"), "{}", text(&refused.stderr));
}

#[test]
fn rounds_are_added_and_files_joined() {
    let here = folder("study-more");
    gradus(&here, SHORT);
    let more = gradus(&here, &["study", "add-rounds", "runs/disk", "2", "--threads", "1"]);
    assert!(
        text(&more.stdout).contains("6 trials to run, 9 there already"),
        "{}{}",
        text(&more.stdout),
        text(&more.stderr)
    );

    // All five at once, on another machine, in two parts.
    let long = [&SHORT[..SHORT.len() - 1], &["5", "--out"]].concat();
    let part = gradus(&here, &[&long[..], &["part1", "--arm", "relu"]].concat());
    // Of the other arms nothing is shown, and nobody waits for them.
    let shown = text(&part.stdout);
    let begun = &shown[..shown.find("trials to run").unwrap()];
    assert!(begun.contains("relu") && !begun.contains("tanh"), "{shown}");
    gradus(&here, &[&long[..], &["part2", "--arm", "tanh", "--arm", "mixed"]].concat());
    let merged = gradus(&here, &["study", "merge", "whole", "part1", "part2", "runs/disk"]);
    let said = text(&merged.stdout);
    assert_eq!(merged.status.code(), Some(0), "{said}{}", text(&merged.stderr));
    assert!(said.contains("part1: 3 arms and 5 trials added\npart2: 0 arms and 10 trials added\n"), "{said}");
    assert!(said.contains("runs/disk: 0 arms and 0 trials added, 15 trials both have\n"), "{said}");
    for round in 0..5 {
        assert_eq!(result(&here, "whole", "tanh", round), result(&here, "runs/disk", "tanh", round));
    }
    // The folder itself goes on, and has nothing to do.
    let on = gradus(&here, &["study", "run", "whole", "--json"]);
    assert!(text(&on.stderr).contains("0 trials to run, 15 there already"), "{}", text(&on.stderr));
    gradus(
        &here,
        &["study", "run", "disk", "--rounds", "1", "--seed", "9", "--out", "other", "--set", "train.epochs=1"],
    );
    let refused = gradus(&here, &["study", "merge", "whole", "other"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("seed"), "{}", text(&refused.stderr));
}

#[test]
fn threads_change_no_bit() {
    let here = folder("study-threads");
    let pairs =
        ["study", "run", "pairs", "--rounds", "2", "--set", "train.epochs=1", "--set", "data.train=100", "--quiet"];
    for (out, threads) in [("one", "1"), ("two", "2"), ("again", "2")] {
        let ran = gradus(&here, &[&pairs[..], &["--out", out, "--threads", threads]].concat());
        assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    }
    let document = text(&gradus(&here, &["study", "status", "one", "--json"]).stdout);
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let arms = document["arms"].as_array().unwrap();
    assert!(arms.len() > 1);
    for arm in arms.iter().map(|a| a["name"].as_str().unwrap()) {
        for round in 0..2 {
            let one = result(&here, "one", arm, round);
            assert!(one["parameters_hash"].is_string());
            assert_eq!(one, result(&here, "two", arm, round));
            assert_eq!(one, result(&here, "again", arm, round));
        }
    }
}

#[cfg(unix)]
#[test]
fn a_second_process_is_told_who_runs_it() {
    let here = folder("study-twice");
    let args = ["study", "run", "disk", "--rounds", "200", "--threads", "1", "--weights"];
    let mut first = start(&here, &args);
    while !here.join("runs/disk/study.sqlite").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut second = gradus(&here, &args);
    for _ in 0..100 {
        // The file is there a moment before its lock says whose it is.
        if second.status.code() != Some(130) && text(&second.stderr).contains(&first.id().to_string()) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        second = gradus(&here, &args);
    }
    let said = text(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains(&first.id().to_string()), "{said}");
    assert_eq!(gradus(&here, &["study", "status", "runs/disk"]).status.code(), Some(0));

    // Asked to stop, it writes what is finished, says how to go on, and ends.
    let asked = std::time::Instant::now();
    Command::new("kill").args(["-INT", &first.id().to_string()]).status().unwrap();
    let status = first.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(asked.elapsed().as_secs() < 30); // two seconds on a machine that has nothing else to do
    let mut said = String::new();
    std::io::Read::read_to_string(&mut first.stderr.take().unwrap(), &mut said).unwrap();
    assert!(
        said.contains("Go on with\n  gradus study run disk --out runs/disk --rounds 200 --threads 1 --weights\n"),
        "{said}"
    );
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let here = folder("study-read-only");
    let closed = here.join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(closed.join("x"), "").is_ok() {
        return println!("passed over: this user may write everywhere");
    }
    let ran = gradus(&here, &[SHORT, &["--out", "closed/runs"]].concat());
    assert_eq!(ran.status.code(), Some(2));
    assert!(text(&ran.stderr).contains("closed"), "{}", text(&ran.stderr));
}

#[cfg(unix)]
fn start(folder: &Path, args: &[&str]) -> std::process::Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gradus"));
    command.current_dir(folder).args(args).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    command.spawn().unwrap()
}

/// Kills it at 20 moments, more where `GRADUS_KILLS` asks for more.
#[cfg(unix)]
#[test]
fn a_killed_study_loses_no_finished_trial() {
    let (whole, parts) = (folder("study-whole"), folder("study-parts"));
    let args = ["study", "run", "disk", "--set", "train.epochs=20", "--rounds", "5", "--threads", "2"];
    let begun = std::time::Instant::now();
    gradus(&whole, &args);
    let took = begun.elapsed();
    let kills = std::env::var("GRADUS_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let mut before = 0;
    for kill in 0..kills {
        let mut child = start(&parts, &args);
        // Moments spread as a golden section spreads them, from the first instruction on.
        std::thread::sleep(took.mul_f64((f64::from(kill) * 0.618_034).fract() * 0.5));
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        if parts.join("runs/disk/study.sqlite").exists() {
            let status = gradus(&parts, &["study", "export", "runs/disk"]);
            assert_eq!(status.status.code(), Some(0), "after kill {kill}: {}", text(&status.stderr));
            let there = text(&status.stdout).lines().count().saturating_sub(1);
            assert!(there >= before, "kill {kill} lost a trial: {there} of {before}");
            before = there;
        }
    }
    println!("{kills} kills, {before} trials were there before the last run");
    let last = gradus(&parts, &args);
    assert_eq!(last.status.code(), Some(0), "{}", text(&last.stderr));
    for arm in ["relu", "tanh", "mixed"] {
        for round in 0..5 {
            let (one, other) = (result(&whole, "runs/disk", arm, round), result(&parts, "runs/disk", arm, round));
            assert_eq!(one, other, "{arm}, round {round}");
        }
    }
}
