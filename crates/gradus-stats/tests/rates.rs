//! Error rates over thousands of synthetic studies: no procedure finds more than alpha where there is nothing, Holm keeps the
//! family at alpha, and what is there is found as often as predicted. The streams are keyed, so the figures never change.

use gradus_kernels::philox::philox4x32_10;
use gradus_stats::bootstrap::{Width, bca};
use gradus_stats::equivalence::tost;
use gradus_stats::holm::holm;
use gradus_stats::paired::{Question, compare_family};
use gradus_stats::power;
use gradus_stats::sign_flip::sign_flip;
use gradus_stats::ttest::paired_t;
use gradus_stats::verdict::Verdict;
use gradus_stats::wilcoxon::{Method, wilcoxon};

const STUDIES: usize = 1000;
const ROUNDS: usize = 12;
const ARMS: usize = 4;
const ALPHA: f64 = 0.05;
/// Fewer than the default, for time; the level of the interval does not depend on it much.
const RESAMPLES: usize = 1000;

/// Standard normal value number `i` of the stream.
fn normal(stream: u32, i: u32) -> f64 {
    let words = philox4x32_10([0x6161, stream], [i, 0, 0, 0]);
    let unit =
        |high: u32, low: u32| (f64::from(high) * 4_294_967_296.0 + f64::from(low) + 0.5) / 18_446_744_073_709_551_616.0;
    let (u, v) = (unit(words[0], words[1]), unit(words[2], words[3]));
    (-2.0 * libm::log(u)).sqrt() * libm::cos(std::f64::consts::TAU * v)
}

/// The differences of arms 1, 2, 3 from arm 0 in one study: a round has something in common (which cancels), each arm its
/// own noise; arm 1 has `shift` more.
fn study(stream: u32, index: usize, shift: f64) -> Vec<Vec<f64>> {
    let value = |arm: usize, round: usize| {
        let at = ((index * ROUNDS + round) * (ARMS + 1)) as u32;
        90.0 + 3.0 * normal(stream, at) + normal(stream, at + 1 + arm as u32) + if arm == 1 { shift } else { 0.0 }
    };
    (1..ARMS).map(|arm| (0..ROUNDS).map(|round| value(arm, round) - value(0, round)).collect()).collect()
}

/// Whether `count` of `n` is a rate of `p` to 3.3 standard deviations: 0.1 % of right procedures fall outside.
fn in_band(what: &str, count: usize, n: usize, p: f64) {
    let (mean, sd) = (n as f64 * p, (n as f64 * p * (1.0 - p)).sqrt());
    println!("{what}: {count} of {n}, {:.2} % for {:.2} %", 100.0 * count as f64 / n as f64, 100.0 * p);
    assert!((count as f64 - mean).abs() <= 3.3 * sd, "{what}: {count} of {n} for {p}");
}

/// Whether `count` of `n` is a rate of at most `p`.
fn at_most(what: &str, count: usize, n: usize, p: f64) {
    println!("{what}: {count} of {n}, {:.2} % for at most {:.2} %", 100.0 * count as f64 / n as f64, 100.0 * p);
    assert!(count as f64 <= n as f64 * p + 3.3 * (n as f64 * p * (1.0 - p)).sqrt(), "{what}: {count} of {n}");
}

#[test]
fn the_same_arm_four_times() {
    let names = ["sign flip", "t", "Wilcoxon", "expanded BCa", "plain BCa"];
    let mut found = [[0; 5]; ARMS - 1];
    let mut family = [0; 3];
    let mut spoken = 0;
    let question = Question { resamples: RESAMPLES, ..Question::default() };
    for index in 0..STUDIES {
        let differences = study(1, index, 0.0);
        let mut p = [const { Vec::new() }; 3];
        for (arm, d) in differences.iter().enumerate() {
            let seed = (index * ARMS + arm) as u64;
            let plain = bca(d, 1.0 - ALPHA, Width::Plain, RESAMPLES, seed).unwrap().unwrap();
            let ps = [
                sign_flip(d, 1, 0).unwrap().p,
                paired_t(d, 0.0, 0.95).unwrap().unwrap().p,
                wilcoxon(d, Method::Auto).unwrap().unwrap().p,
            ];
            for (i, value) in ps.into_iter().enumerate() {
                found[arm][i] += usize::from(value <= ALPHA);
                p[i].push(value);
            }
            found[arm][4] += usize::from(!plain.contains(0.0));
        }
        for (count, p) in family.iter_mut().zip(&p) {
            *count += usize::from(holm(p).unwrap().iter().any(|p| *p <= ALPHA));
        }
        let slices: Vec<&[f64]> = differences.iter().map(Vec::as_slice).collect();
        let answers = compare_family(&slices, &question).unwrap();
        for (counts, answer) in found.iter_mut().zip(&answers) {
            counts[3] += usize::from(!answer.comparison.interval.unwrap().contains(0.0));
        }
        spoken += usize::from(answers.iter().any(|a| matches!(a.verdict, Verdict::Better(_) | Verdict::Worse(_))));
    }
    for (arm, counts) in found.iter().enumerate() {
        for (i, name) in names.iter().enumerate() {
            // What is attainable: the sign-flip test 2·102/4096, Wilcoxon's P(W ≤ 13) of 12 ranks.
            let level = [204.0 / 4096.0, ALPHA, 174.0 / 4096.0, ALPHA, ALPHA][i];
            let what = format!("arm {} by {name}", arm + 1);
            if i < 4 {
                in_band(&what, counts[i], STUDIES, level);
            } else {
                // Plain BCa is known to be short for few rounds: twice alpha here, which is why it is not the default.
                at_most(&what, counts[i], STUDIES, 0.10);
            }
        }
    }
    for (count, name) in family.iter().zip(names) {
        at_most(&format!("any of the family by {name} after Holm"), *count, STUDIES, ALPHA);
    }
    at_most("any verdict of better or worse", spoken, STUDIES, ALPHA);
    let plain: usize = found.iter().map(|c| c[4]).sum();
    let expanded: usize = found.iter().map(|c| c[3]).sum();
    assert!(plain > expanded, "plain intervals are shorter");
}

#[test]
fn what_is_there_is_found_as_often_as_predicted() {
    // The differences have the variance 2.
    let shift = 1.5;
    let d_z = shift / 2f64.sqrt();
    let (mut t, mut flip, mut equivalent) = (0, 0, 0);
    for index in 0..STUDIES {
        let d = &study(2, index, shift)[0];
        t += usize::from(paired_t(d, 0.0, 0.95).unwrap().unwrap().p <= ALPHA);
        flip += usize::from(sign_flip(d, 1, 0).unwrap().p <= ALPHA);
        let none = &study(2, index, shift)[1];
        equivalent += usize::from(tost(none, 1.5).unwrap().unwrap().p() <= ALPHA);
    }
    let power = power::t_test(ROUNDS as u64, d_z, ALPHA).unwrap();
    in_band("power of t", t, STUDIES, power);
    // For normal differences the sign-flip test is as strong, but for the steps of its p.
    in_band("power of the sign flip", flip, STUDIES, power);
    let power = power::tost(ROUNDS as u64, 0.0, 2f64.sqrt(), 1.5, ALPHA).unwrap();
    in_band("power of TOST", equivalent, STUDIES, power);
    let planned = power::rounds_for_t_test(d_z, ALPHA, 0.8).unwrap().unwrap();
    assert!(planned <= ROUNDS as u64, "{planned}");
}

#[test]
fn a_difference_at_the_margin_is_rarely_called_equivalent() {
    let margin = 1.0;
    let (mut declared, mut better) = (0, 0);
    let question = Question { margin: Some(margin), resamples: RESAMPLES, ..Question::default() };
    for index in 0..STUDIES {
        // A true difference of the margin, small noise, so that equivalence could be declared.
        let d: Vec<f64> = study(3, index, 0.0)[0].iter().map(|d| margin + 0.3 * d).collect();
        declared += usize::from(tost(&d, margin).unwrap().unwrap().p() <= ALPHA);
        let answer = &compare_family(&[&d], &question).unwrap()[0];
        better += usize::from(matches!(answer.verdict, Verdict::NoDifferenceThatMatters { .. }));
    }
    in_band("TOST at its margin", declared, STUDIES, ALPHA);
    at_most("verdict of equivalence at the margin", better, STUDIES, ALPHA);
}
