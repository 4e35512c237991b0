//! Every number of a summary against one that was found in another way, and what a study may lack.

mod common;
mod small;

use common::Folder;
use gradus_record::{Candidate, Outcome, Seconds, Tuned};
use gradus_report::{Kind, compare};
use gradus_stats::bootstrap::{RESAMPLES, Width, bca};
use serde_json::json;
use small::{Small, predictions, small};

const A: [f64; 8] = [85.1, 86.0, 84.7, 85.9, 86.3, 85.2, 84.9, 86.6];
const B: [f64; 8] = [86.2, 86.8, 85.9, 85.8, 87.5, 86.9, 85.3, 88.0];

fn two() -> Small {
    small(&[("a", &A), ("b", &B)])
}

#[track_caller]
fn near(x: impl Into<Option<f64>>, y: f64) {
    let x = x.into().unwrap();
    assert!((x - y).abs() <= 1e-10 * y.abs().max(1.0), "{x} and {y}");
}

/// By SciPy 1.17: `ttest_rel`, `wilcoxon`, NumPy's quantiles; powers by its noncentral t.
#[test]
fn numbers_agree_with_scipy() {
    let s = two().summary();
    let (a, c) = (s.arms[0].value.unwrap(), &s.comparisons[0]);
    near(a.mean, 85.5875);
    near(a.sd, 0.701910657725446);
    near(a.low, 85.00068800502666);
    near(a.high, 86.17431199497335);
    [a.q1, a.median, a.q3].into_iter().zip([85.05, 85.55, 86.075]).for_each(|(x, y)| near(x, y));
    assert_eq!((a.n, a.min, a.max, a.best, a.worst), (8, 84.7, 86.6, 86.6, 84.7));

    let t = &c.test;
    near(t.difference, 0.9625);
    near(t.sd, 0.578020019425927);
    near(t.p, 0.015625); // every sign vector counted
    assert_eq!((t.exact, t.family, t.p_holm), (Some(true), 1, t.p));
    let student = t.t.unwrap();
    near(student.t, 4.709804186837648);
    near(student.p, 0.002183369275678489);
    near(student.low, 0.47926317063911333);
    near(student.high, 1.4457368293608874);
    assert_eq!(student.df, 7.0);
    let wilcoxon = t.wilcoxon.unwrap();
    assert_eq!((wilcoxon.statistic, wilcoxon.p, wilcoxon.exact), (1.0, 0.015625, true));
    near(t.effect.unwrap().d_z, 1.6651672392868468);
    near(t.effect.unwrap().corrected, 1.4790063836959855);
    near(t.equivalence.unwrap().p, 0.9709695994996028);
    near(t.detectable, 0.6682111870315609);
    assert_eq!(t.rounds_needed, Some(6));
    let (low, high) = t.interval().unwrap();
    let differences: Vec<f64> = c.differences.iter().map(|(_, d)| *d).collect();
    let bca = bca(&differences, 0.95, Width::Expanded, RESAMPLES, 7).unwrap().unwrap();
    assert_eq!((low, high), (bca.low, bca.high), "drawn by the study's seed");
    assert_eq!(t.verdict, "better");
    assert!(t.sentence.starts_with("b is better than a by 0.96 points"), "{}", t.sentence);
}

#[test]
fn holm_goes_over_the_family() {
    let same = A.map(|x| x + if x > 85.5 { 0.1 } else { -0.1 });
    let s = small(&[("a", &A), ("b", &B), ("c", &same)]).summary();
    let [b, c] = [&s.comparisons[0].test, &s.comparisons[1].test];
    near(b.p, 0.015625);
    near(b.p_holm, 0.03125);
    assert_eq!((b.family, c.verdict, c.p, c.p_holm), (2, "equivalent", Some(1.0), Some(1.0)));
    assert_eq!(b.rounds_needed, Some(7));
    // Where a t test would need two rounds, the sign-flip test still needs seven to reach 0.025.
    let far: Vec<f64> = A.iter().zip(B).map(|(a, b)| a + 20.0 + 0.1 * b).collect();
    let s = small(&[("a", &A), ("b", &far), ("c", &same)]).summary();
    assert_eq!(s.comparisons[0].test.rounds_needed, Some(7));
    // By itself it is a family of one.
    let folder = Folder::new("small");
    let store = small(&[("a", &A), ("b", &B), ("c", &same)]).store(&folder);
    let alone = compare(&store, "a", "b").unwrap();
    assert_eq!((alone.test.p_holm, alone.differences.len()), (Some(0.015625), 8));
    // Any two, in either direction.
    let back = compare(&store, "b", "c").unwrap();
    assert_eq!((back.arm.as_str(), back.baseline.as_str(), back.test.verdict), ("c", "b", "worse"));
    let none = compare(&store, "a", "x").unwrap_err();
    assert_eq!((none.kind(), none.to_string().as_str()), (Kind::Arm, "there is no arm `x`; known: a, b, c"));
}

#[test]
fn the_values_at_the_best_epoch_and_every_other_metric() {
    let s = two().summary();
    near(s.arms[0].at_best.unwrap().mean, 85.8375);
    near(s.arms[0].best_epoch.unwrap().mean, 15.0 / 8.0);
    near(s.arms[0].metrics["test loss"].mean, 1.0 - 0.855875);
    let loss = s.arms[0].metrics["test loss"];
    assert!(loss.best == loss.min && loss.worst == loss.max, "a smaller loss is better");
    assert_eq!(s.metrics, ["test accuracy", "test loss"]);
    assert_eq!(s.arms[0].test_accuracy, s.arms[0].value);
    assert_eq!(s.arms[0].epochs.unwrap().mean, 3.0);
}

#[test]
fn smaller_may_be_better() {
    let mut made = two();
    (made.study.compare.metric, made.study.compare.larger_is_better) = ("test loss".into(), false);
    made.study.compare.margin = 0.0;
    let s = made.summary();
    assert_eq!((s.unit, s.margin, s.metrics[0].as_str()), ("", None, "test loss"));
    let c = &s.comparisons[0].test;
    near(c.difference, -0.009625);
    assert_eq!((c.verdict, c.equivalence), ("better", None));
    assert!(c.sentence.starts_with("b is better than a by 0.0096 ["), "{}", c.sentence);
}

#[test]
fn stuck_rounds_are_named() {
    let mut values = [86.0, 86.1, 85.9, 86.2, 85.8, 86.0, 86.1, 85.9, 86.0, 50.1, 86.2, 50.0];
    let s = small(&[("a", &values)]).summary();
    assert_eq!(s.arms[0].stuck, [9, 11]);
    assert_eq!(s.arms[0].notes, ["2 rounds of 12 stuck (rounds 9 and 11): mean and sd hide that"]);
    (values[9], values[11]) = (86.05, 85.95);
    assert!(small(&[("a", &values)]).summary().arms[0].notes.is_empty());
}

#[test]
fn what_is_left_out_is_counted_and_named() {
    let mut made = two();
    made.study.rounds = 9;
    made.diverge(0, 1);
    made.diverge(1, 1);
    made.at(1, 2).outcome = Outcome::Failed { cause: "no memory".into() };
    made.at(1, 3).metrics.insert("test accuracy".into(), f64::NAN);
    made.at(0, 4).metrics.shift_remove("test accuracy");
    made.at(0, 5).metrics.insert("test accuracy".into(), f64::INFINITY);
    made.lose(1, 6);
    let s = made.summary();
    let b = &s.arms[1];
    assert_eq!((b.rounds, b.diverged, b.failed, b.planned, b.values.len()), (5, 1, 1, 9, 4));
    assert_eq!(
        b.notes,
        [
            "1 round diverged (round 1)",
            "1 round failed and will be run again (round 2)",
            "1 round with a test accuracy of NaN left out (round 3)",
            "2 of 9 rounds not run yet",
        ]
    );
    let c = &s.comparisons[0];
    assert_eq!(c.differences.iter().map(|(r, _)| *r).collect::<Vec<_>>(), [0, 7]);
    near(c.differences[0].1, 86.2 - 85.1);
    near(c.test.difference, (1.1 + 1.4) / 2.0);
    assert_eq!(
        c.missing_sentence().unwrap(),
        "6 rounds are left out: b diverged in round 1, a diverged in round 1, b failed in round 2, b has a test accuracy of NaN in \
         round 3, a has no test accuracy in round 4, a has a test accuracy of inf in round 5 and b has not run round 6"
    );
    // The JSON is JSON: nothing that is no number stands in it.
    let text = serde_json::to_string(&s).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
}

#[test]
fn degenerate_studies() {
    // One round.
    let s = small(&[("a", &[85.0]), ("b", &[86.0])]).summary();
    let (a, c) = (s.arms[0].value.unwrap(), &s.comparisons[0].test);
    assert_eq!((a.sd, a.low, a.median), (None, None, 85.0));
    assert_eq!((c.difference, c.low, c.p, c.verdict), (Some(1.0), None, Some(1.0), "undecided"));
    // All equal.
    let s = small(&[("a", &[85.0; 6]), ("b", &[85.0; 6])]).summary();
    assert_eq!((s.comparisons[0].test.verdict, s.comparisons[0].test.rounds_needed), ("identical", None));
    assert_eq!(s.comparisons[0].test.sentence, "b and a are identical in 6 rounds");
    // One arm, no trial, no arm.
    let s = small(&[("a", &A)]).summary();
    assert!(s.comparisons.is_empty() && !s.protocol.contains("compared"));
    let s = small(&[("a", &A), ("b", &[])]).summary();
    let c = &s.comparisons[0];
    assert_eq!((s.arms[1].value, s.arms[1].notes[0].as_str()), (None, "not run yet"));
    assert_eq!((c.test.verdict, c.test.p, c.rounds, c.missing.len()), ("untested", None, 0, 8));
    assert_eq!(c.test.sentence, "b and a have no round in common: nothing can be said yet");
    let s = small(&[]).summary();
    assert!(s.arms.is_empty() && s.comparisons.is_empty());
    // All diverged.
    let mut made = two();
    (0..8).for_each(|r| made.diverge(1, r));
    let s = made.summary();
    assert_eq!((s.arms[1].rounds, s.arms[1].diverged, s.comparisons[0].test.verdict), (0, 8, "untested"));
    // A third arm is tested all the same, in a family of its own size.
    let mut made = small(&[("a", &A), ("b", &B), ("c", &B)]);
    (0..8).for_each(|r| made.diverge(1, r));
    let s = made.summary();
    assert_eq!((s.comparisons[1].test.family, s.comparisons[1].test.verdict), (1, "better"));
    // The baseline was removed.
    let mut made = two();
    made.study.compare.baseline = "gone".into();
    let s = made.summary();
    assert_eq!(s.notes, ["The baseline `gone` is not among the arms: there is nothing to compare."]);
    assert!(s.comparisons.is_empty());
}

#[test]
fn confounds_are_what_is_not_asked_about() {
    let said = |made: &Small| -> Vec<String> {
        made.summary().comparisons[0].confounds.iter().map(ToString::to_string).collect()
    };
    let mut made = two();
    assert_eq!(said(&made), [""; 0], "the networks alone differ");
    made.set(1, "/train/optimizer/lr", json!(0.03));
    made.arms[1].parameters = 12_345;
    assert_eq!(said(&made), ["train.optimizer.lr: 0.03 against 0.1", "parameters: 12,345 against 1,000"]);
    // The same network: the one setting that differs is what is asked about.
    let mut made = two();
    made.set(1, "/architecture/branches/net", json!("one"));
    made.set(1, "/train/batch", json!(1000));
    assert_eq!(said(&made), [""; 0]);
    // Two of them cannot be told apart.
    made.set(1, "/data/raw", json!(true));
    assert_eq!(said(&made), ["train.batch: 1000 against 50", "data.raw: true against false"]);
    // Epochs really trained, where they were not what was set.
    let mut made = two();
    (0..8).for_each(|r| made.at(1, r).epochs.truncate(2));
    assert_eq!(said(&made), ["epochs trained (mean): 2.0 against 3.0"]);
}

/// The ratio of geometric means by SciPy's `ttest_1samp` of logarithms.
#[test]
fn times_count_only_where_trials_ran_alone() {
    let mut made = two();
    let times = [1.0, 1.1, 0.9, 1.05, 1.2, 1.0, 1.0, 0.95];
    let ratios = [1.5, 1.4, 1.6, 1.5, 1.45, 1.55, 1.5, 1.52];
    for round in 0..8 {
        let seconds = |s: f64| Seconds { train: 0.75 * s, evaluate: 0.25 * s };
        made.at(0, round).seconds = seconds(times[round]);
        made.at(1, round).seconds = seconds(times[round] * ratios[round]);
    }
    let s = made.summary();
    assert!(!s.timing.comparable && s.comparisons[0].time.is_none());
    assert!(s.timing.sentence.contains("not known"));
    made.trials.iter_mut().for_each(|t| t.parallel = 1);
    let s = made.summary();
    let time = s.comparisons[0].time.as_ref().unwrap();
    near(time.ratio, 1.5014405314329713);
    near(time.low, 1.4518066947401347);
    near(time.high, 1.5527712315951503);
    assert!((time.p.unwrap() - 1.6477680215840662e-08).abs() <= 1e-16);
    assert_eq!((s.timing.comparable, time.verdict), (true, "slower"));
    assert_eq!(time.sentence, "b is slower than a: 1.50 times its seconds a round [1.45, 1.55] (8 rounds, p < 0.0001)");
    assert_eq!(s.comparisons[0].confounds[0].to_string(), "seconds a round: 1.54 against 1.02");
    near(s.arms[0].seconds_per_round.unwrap().mean, 1.025);
    near(s.arms[0].seconds_training.unwrap().mean, 0.76875);
    near(s.arms[0].seconds_evaluating.unwrap().mean, 0.25625);
    let folder = Folder::new("small");
    let back = compare(&made.store(&folder), "b", "a").unwrap().time.unwrap();
    near(back.ratio, 1.0 / 1.5014405314329713);
    assert_eq!(back.verdict, "faster");
    made.at(1, 4).parallel = 2;
    assert!(!made.summary().timing.comparable);
}

/// p by SciPy's `binomtest`.
#[test]
fn predictions_are_paired_by_round_and_sample() {
    let mut made = small(&[("a", &[85.0, 85.0]), ("b", &[86.0, 86.0])]);
    made.at(0, 0).predictions = Some(predictions(&[(5, true), (6, false), (7, true), (8, false)]));
    // Another order, a sample of its own, one that is missing.
    made.at(1, 0).predictions = Some(predictions(&[(8, true), (7, true), (6, true), (9, true)]));
    made.at(0, 1).predictions = Some(predictions(&[(1, true), (2, false)]));
    made.at(1, 1).predictions = Some(predictions(&[(1, false), (2, true)]));
    let m = made.summary().comparisons[0].mcnemar.clone().unwrap();
    assert_eq!((m.samples, m.arm_only, m.baseline_only, m.both), (5, 3, 1, 1));
    near(m.p, 0.625);
    assert_eq!(two().summary().comparisons[0].mcnemar, None);
}

#[test]
fn for_what_it_holds() {
    let digits = two().summary().population;
    assert!(digits.contains("pools of 6000 and 4000 images") && digits.contains("not for other digits"), "{digits}");
    assert!(digits.contains("new first weights and orders of samples"));
    let with = |change: fn(&mut Small)| {
        let mut made = two();
        change(&mut made);
        made.summary().population
    };
    let disk = with(|m| (0..2).for_each(|i| m.set(i, "/data/source", json!("disk"))));
    assert!(disk.contains("new draws of points"), "{disk}");
    let order = with(|m| (0..2).for_each(|i| m.set(i, "/train/shuffle", json!(false))));
    assert!(order.contains("with new first weights;"), "{order}");
    let fixed = with(|m| m.rounds.iter_mut().for_each(|r| r.data_hash = "the same".into()));
    assert!(fixed.starts_with("Every round has the same data") && fixed.contains("not for other samples"), "{fixed}");
}

#[test]
fn the_protocol_tells_what_was_done() {
    let mut made = two();
    made.set(1, "/train/optimizer/lr", json!(0.03));
    let s = made.summary();
    for part in [
        "2 arms were trained in 8 rounds.",
        "In each round 1,000 training (100 of them held out for validation) and 500 test pairs were drawn anew",
        "seed 7 by philox",
        "Training, a: 3 epochs of SGD (lr 0.1) in batches of 50, in a new order in each epoch; b: 3 epochs of SGD (lr 0.03)",
        "b was compared with a on paired differences",
        "sign-flip permutation test (exact)",
        "over 1 comparison",
        "within ±0.5 points",
        "Gradus 0.1.0 in single precision on a processor",
    ] {
        assert!(s.protocol.contains(part), "`{part}` in {}", s.protocol);
    }
    let lines = s.reproduction.lines();
    assert_eq!(lines[0], ("command", "gradus study run small --seed 7 --rounds 8".to_string()));
    assert!(lines.contains(&("data", "hash0 (round 0)".to_string())) && s.reproduction.data.len() == 8);
    // Records that say nothing are no error.
    made.arms.iter_mut().for_each(|a| a.resolved = Default::default());
    assert!(made.summary().protocol.contains("all arms: training"));
}

/// A matrix of two factors, with differences that are plain to see.
fn matrix() -> Small {
    let noise = [0.1, -0.1, 0.2, -0.2, 0.05, -0.05, 0.15, -0.15];
    let arm = |x: f64, seed: usize| -> Vec<f64> { (0..8).map(|r| x + A[r] + noise[(r + seed) % 8]).collect() };
    // depth 4 brings 1, lr 0.3 brings 2, both together 0.5 more.
    let arms = [("d4 lr3", 3.5, 0), ("d2 lr1", 0.0, 1), ("d2 lr3", 2.0, 3), ("d4 lr1", 1.0, 6)];
    let values: Vec<(&str, Vec<f64>)> = arms.iter().map(|(name, x, seed)| (*name, arm(*x, *seed))).collect();
    let mut made = small(&values.iter().map(|(n, v)| (*n, v.as_slice())).collect::<Vec<_>>());
    made.study.compare.baseline = "d2 lr1".into();
    for arm in &mut made.arms {
        let level = |key: &str, word: &str, one: &str, other: &str| {
            (key.to_string(), if arm.name.contains(word) { one } else { other }.to_string())
        };
        arm.factors = [level("depth", "d4", "4", "2"), level("train.optimizer.lr", "lr3", "0.3", "0.1")].into();
    }
    for i in [0, 2] {
        made.set(i, "/train/optimizer/lr", json!(0.3));
    }
    made
}

#[test]
fn factors_of_a_matrix() {
    let made = matrix();
    let s = made.summary();
    let names: Vec<&str> = s.contrasts.iter().map(|c| c.name.as_str()).collect();
    let (depth, lr) = ("depth: 4 against 2", "train.optimizer.lr: 0.3 against 0.1");
    assert_eq!(names, [depth, lr, "depth = 4 with train.optimizer.lr = 0.3"]);
    // By hand, from the values themselves.
    let value = |arm: usize, round: usize| made.trials[8 * arm + round].metrics["test accuracy"];
    for round in 0..8 {
        let [both, none, lr, depth] = [0, 1, 2, 3].map(|arm| value(arm, round));
        near(s.contrasts[0].differences[round].1, (both + depth) / 2.0 - (lr + none) / 2.0);
        near(s.contrasts[1].differences[round].1, (both + lr) / 2.0 - (depth + none) / 2.0);
        near(s.contrasts[2].differences[round].1, (both - lr) - (depth - none));
    }
    let c = &s.contrasts[2];
    assert_eq!((c.interaction, c.rounds, c.test.family), (true, 8, 3));
    assert!(
        s.contrasts[0].test.sentence.starts_with("depth = 4 is better than depth = 2 by 1.2"),
        "{}",
        s.contrasts[0].test.sentence
    );
    let together = "depth = 4 with train.optimizer.lr = 0.3";
    assert!(
        c.test.sentence.contains(together) && c.test.sentence.contains("what each brings alone"),
        "{}",
        c.test.sentence
    );
    // A factor is no confound.
    assert!(s.comparisons.iter().all(|c| c.confounds.is_empty()), "{:?}", s.comparisons);

    // Not complete, in arms or in rounds.
    let mut made = matrix();
    made.arms.pop();
    made.trials.retain(|t| t.key != "key3");
    let s = made.summary();
    assert!(s.contrasts.is_empty() && s.notes == ["The matrix is not complete: its factors are not tested."]);
    let mut made = matrix();
    (0..8).for_each(|round| made.diverge(round % 4, round));
    let s = made.summary();
    assert!(s.contrasts.is_empty() && s.notes[0].starts_with("No round is there"), "{:?}", s.notes);
    // The arm of the file is a factor too.
    let mut made = matrix();
    for arm in &mut made.arms {
        arm.made_from = Some(if arm.name.contains("d4") { "deep" } else { "flat" }.into());
        arm.factors.shift_remove("depth");
    }
    assert_eq!(made.summary().contrasts[0].name, "arm: deep against flat");
}

#[test]
fn what_was_tuned_for_both_is_no_confound() {
    let mut made = two();
    made.set(1, "/train/optimizer/lr", json!(0.3));
    let candidate = |lr: &str| Candidate {
        values: [("train.optimizer.lr".to_string(), lr.to_string())].into(),
        scores: vec![80.0],
        mean: 80.0,
    };
    let edges = vec!["train.optimizer.lr".to_string()];
    let tuned = Tuned { rounds: 3, validation: 200, metric: "validation accuracy".into(), ..Tuned::default() };
    made.arms[1].tuned =
        Some(Tuned { candidates: vec![candidate("0.1"), candidate("0.3")], chosen: 1, edges, ..tuned });
    assert_eq!(made.summary().comparisons[0].confounds.len(), 1, "one alone was tuned");
    made.arms[0].tuned = made.arms[1].tuned.clone();
    let s = made.summary();
    assert!(s.comparisons[0].confounds.is_empty());
    assert_eq!(
        s.arms[1].notes,
        [
            "train.optimizer.lr = 0.3 chosen from 2 candidates by validation accuracy in 3 rounds of their own",
            "a better train.optimizer.lr may lie beyond those that were offered",
        ]
    );
    let told = "all arms: the best of 2 candidates for train.optimizer.lr by the mean validation accuracy on 200 samples in 3 rounds";
    assert!(s.protocol.contains(told), "{}", s.protocol);
}
