//! Real studies in which there is nothing to find: one arm under several salts, on the disk. Verdicts of "better" and "worse"
//! come no more often than they may; and what is there is found. Everything is keyed, so the figures never change.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gradus::rng::Seed;
use gradus_stats::paired::{Question, compare_family};
use gradus_stats::verdict::Verdict;
use gradus_study::run::{Task, trial};
use gradus_study::{Overrides, Record, Study};

const STUDIES: usize = 200;
const ROUNDS: usize = 12;
const ALPHA: f64 = 0.05;

const TEXT: &str = r#"
[data]
source = "disk"
train = 100
test = 200

[train]
epochs = 6
batch = 20
optimizer = "Adam lr=0.02"

[arm.a]
net = { from = "points", layers = ["Linear 10", "Tanh", "Linear 2"] }
loss.inside = { of = "net", target = "inside", kind = "CrossEntropyLoss" }
[arm.b]
base = "a"
salt = 1
[arm.c]
base = "a"
salt = 2
[arm.longer]
base = "a"
salt = 3
train.epochs = 12
"#;

/// The test accuracy of every arm in every round of a study.
fn accuracies(study: &Study, seed: u64) -> Vec<Vec<f64>> {
    let record = Record { steps: false, weights: false, predictions: false, grid: false, samples: false };
    let one = |arm, round| {
        let task = Task { seed: Seed(seed), arm, key: "", round, record };
        let trial = trial(&task, &AtomicBool::new(false)).unwrap().unwrap();
        trial.metrics["test accuracy"]
    };
    study.arms.values().map(|arm| (0..ROUNDS).map(|round| one(arm, round)).collect()).collect()
}

/// Studies, and in how many of them something happened.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// The first comparison alone, by the sign-flip test.
    first: usize,
    /// Any of those with nothing to find, after Holm.
    any: usize,
    /// A verdict of better or worse where there is nothing to find.
    spoken: usize,
    /// The arm that is trained longer, better after Holm.
    longer: usize,
    /// Rounds in which arms that differ in their salt gave the same: nothing would be tested if all did.
    same: usize,
}

fn study(accuracies: &[Vec<f64>]) -> Found {
    let difference = |arm: &Vec<f64>| arm.iter().zip(&accuracies[0]).map(|(x, base)| x - base).collect::<Vec<f64>>();
    let differences: Vec<Vec<f64>> = accuracies[1..].iter().map(difference).collect();
    let question = Question { resamples: 1000, ..Question::default() };
    let ask =
        |list: &[Vec<f64>]| compare_family(&list.iter().map(Vec::as_slice).collect::<Vec<_>>(), &question).unwrap();
    let (nothing, all) = (ask(&differences[..2]), ask(&differences));
    let spoken = |v: &Verdict| matches!(v, Verdict::Better(_) | Verdict::Worse(_));
    Found {
        first: usize::from(nothing[0].comparison.sign_flip.p <= ALPHA),
        any: usize::from(nothing.iter().any(|a| a.p_holm <= ALPHA)),
        spoken: usize::from(nothing.iter().any(|a| spoken(&a.verdict))),
        longer: usize::from(matches!(all[2].verdict, Verdict::Better(_))),
        same: differences[0].iter().filter(|d| **d == 0.0).count(),
    }
}

#[test]
fn the_same_arm_under_other_salts_is_not_better() {
    let text = Study::parse(TEXT, "a_a.toml", &Overrides::default()).unwrap();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= STUDIES {
                return found;
            }
            found.push(study(&accuracies(&text, i as u64)));
        }
    };
    let all: Vec<Found> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..2).map(|_| s.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    let count = |of: fn(&Found) -> usize| all.iter().map(of).sum::<usize>();
    // 3.3 standard deviations: one right procedure of a thousand falls outside.
    let most = STUDIES as f64 * ALPHA + 3.3 * (STUDIES as f64 * ALPHA * (1.0 - ALPHA)).sqrt();
    for (what, n) in [
        ("sign flip, one comparison", count(|f| f.first)),
        ("any of two after Holm", count(|f| f.any)),
        ("any verdict of better or worse", count(|f| f.spoken)),
    ] {
        println!("{what}: {n} of {STUDIES}");
        assert!(n as f64 <= most, "{what}: {n} of {STUDIES} studies with nothing to find");
    }
    let (first, longer, same) = (count(|f| f.first), count(|f| f.longer), count(|f| f.same));
    println!("twice the epochs found better: {longer} of {STUDIES}; equal rounds: {same} of {}", STUDIES * ROUNDS);
    assert!(first > 0, "a level of 5 % that is never reached");
    assert!(longer * 20 >= STUDIES * 17, "twice the epochs were found better in {longer} of {STUDIES}");
    assert!(same * 10 < STUDIES * ROUNDS, "a salt changes nothing in {same} rounds");
}
