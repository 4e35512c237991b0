//! Every procedure against SciPy, statsmodels and NIST. `golden/README.md` says where the numbers come from.

use std::path::Path;

use gradus_stats::bootstrap::{Width, bca};
use gradus_stats::describe::{describe, quantile};
use gradus_stats::dist::{binomial, noncentral, normal, student};
use gradus_stats::effect::effect;
use gradus_stats::equivalence::tost;
use gradus_stats::factorial::{Effect, Factor, contrasts};
use gradus_stats::holm::holm;
use gradus_stats::mcnemar::mcnemar;
use gradus_stats::moments::Moments;
use gradus_stats::power;
use gradus_stats::proportion::wilson;
use gradus_stats::sign_flip::sign_flip;
use gradus_stats::times::{median, ratio};
use gradus_stats::ttest::paired_t;
use gradus_stats::wilcoxon::{Method, wilcoxon};
use serde_json::Value;

/// How near an exact procedure comes, relative to the value.
const EXACT: f64 = 1e-12;

fn cases(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file: Value = serde_json::from_str(&text).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn f(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn u(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a count"))
}

fn list(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(f).collect()
}

/// Relative to the value, with a floor far below anything that is reported.
fn near(what: &str, got: f64, want: f64, tolerance: f64) {
    let error = (got - want).abs();
    assert!(error <= tolerance * want.abs() + 1e-290, "{what}: {got:e} for {want:e}, off by {:e}", error / want.abs());
}

/// Absolute, for values whose own rounding is as large.
fn within(what: &str, got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance, "{what}: {got:e} for {want:e}");
}

#[test]
fn data_sets() {
    let sets = cases("data_sets.json");
    assert!(sets.len() >= 40);
    let (mut with_sign_flip, mut with_wilcoxon, mut with_t) = (0, 0, 0);
    for case in sets {
        let name = case["name"].as_str().unwrap();
        let values = list(&case["values"]);
        // What a value itself is worth in the last digits; the mean of "large offset" has no more.
        let size = values.iter().map(|x| x.abs()).fold(0.0, f64::max);
        let is = |what: &str, got: f64, want: &Value| near(&format!("{name}: {what}"), got, f(want), EXACT);

        let (s, want) = (describe(&values, 0.95).unwrap(), &case["describe"]);
        within(name, s.mean, f(&want["mean"]), 1e-15 * size);
        for (what, got) in [("min", s.min), ("q1", s.q1), ("median", s.median), ("q3", s.q3), ("max", s.max)] {
            within(name, got, f(&want[what]), 1e-15 * size);
        }
        for (i, want) in list(&want["deciles"]).into_iter().enumerate() {
            within(name, quantile(&values, (i + 1) as f64 / 10.0).unwrap(), want, 1e-15 * size);
        }

        let test = paired_t(&values, 0.0, 0.95).unwrap();
        assert_eq!(test.is_some(), case["t"].is_object(), "{name}");
        if let Some(test) = test {
            with_t += 1;
            is("sd", s.sd.unwrap(), &want["sd"]);
            let want = &case["t"];
            is("t", test.t, &want["t"]);
            is("df", test.df, &want["df"]);
            is("p of t", test.p, &want["p"]);
            let width = f(&want["high"]) - f(&want["low"]);
            for (got, want) in [(test.interval.low, &want["low"]), (test.interval.high, &want["high"])] {
                within(name, got, f(want), EXACT * width);
            }
            assert_eq!(s.interval, Some(test.interval));
            let (null, want) = (paired_t(&values, 0.3, 0.99).unwrap().unwrap(), &case["t_null"]);
            is("t of 0.3", null.t, &want["t"]);
            is("p of 0.3", null.p, &want["p"]);
            within(name, null.interval.low, f(&want["low_99"]), EXACT * 4.0 * width);
            within(name, null.interval.high, f(&want["high_99"]), EXACT * 4.0 * width);
            let (got, want) = (effect(&values).unwrap().unwrap(), &case["effect"]);
            is("d_z", got.d_z, &want["d_z"]);
            assert_eq!(got.corrected.is_some(), want["corrected"].is_f64(), "{name}");
            if let Some(g) = got.corrected {
                is("corrected", g, &want["corrected"]);
            }
            let want = &case["tost"];
            let got = tost(&values, f(&want["margin"])).unwrap().unwrap();
            is("p_lower", got.p_lower, &want["p_lower"]);
            is("p_upper", got.p_upper, &want["p_upper"]);
        }

        if case["sign_flip"].is_f64() {
            let got = sign_flip(&values, 1, 0).unwrap();
            assert!(got.exact);
            is("sign flip", got.p, &case["sign_flip"]);
            with_sign_flip += 1;
        }

        let want = &case["wilcoxon"];
        assert_eq!(wilcoxon(&values, Method::Auto).unwrap().is_some(), want.is_object(), "{name}");
        if want.is_object() {
            with_wilcoxon += 1;
            for (method, key) in [(Method::Auto, "auto"), (Method::Exact, "exact"), (Method::Normal, "normal")] {
                let got = wilcoxon(&values, method).unwrap().unwrap();
                is(key, got.p, &want[key]);
                assert_eq!(got.statistic, f(&want["statistic"]), "{name}");
            }
        }

        let got = median(&values, 0.95).unwrap().interval;
        let want = case["median_interval"].as_array().map(|_| list(&case["median_interval"]));
        assert_eq!(got.map(|i| vec![i.low, i.high]), want, "{name}");
    }
    assert!(with_sign_flip >= 30 && with_wilcoxon >= 40 && with_t >= 40);
}

#[test]
fn bootstrap_within_monte_carlo_error() {
    let mut worst = 0.0f64;
    for case in cases("bootstrap.json") {
        let name = case["name"].as_str().unwrap();
        let (values, resamples) = (list(&case["values"]), u(&case["resamples"]) as usize);
        // The mean of several seeds, as SciPy's figure is, so that a small bias shows.
        const SEEDS: u64 = 10;
        let (mut low, mut high) = (0.0, 0.0);
        for seed in 0..SEEDS {
            let i = bca(&values, f(&case["confidence"]), Width::Plain, resamples, seed).unwrap().unwrap();
            low += i.low / SEEDS as f64;
            high += i.high / SEEDS as f64;
        }
        let share = (1.0 / SEEDS as f64 + 1.0 / f(&case["seeds"])).sqrt();
        for (end, got) in [("low", low), ("high", high)] {
            // An end that never moves has no error but rounding.
            let error = f(&case[format!("{end}_sd")]) * share + 1e-13;
            let off = (got - f(&case[end])).abs() / error;
            assert!(off <= 4.5, "{name}: {end} is {got} for {}, {off} standard errors", case[end]);
            worst = worst.max(off);
        }
    }
    assert!(worst > 0.0);
}

#[test]
fn distributions() {
    for case in cases("distributions.json") {
        let (what, want) = (case["what"].as_str().unwrap(), f(&case["value"]));
        let text = case.to_string();
        match what {
            "t two-sided" => near(&text, student::two_sided(f(&case["t"]), f(&case["df"])), want, 1e-12),
            "t critical" => near(&text, student::critical(f(&case["alpha"]), f(&case["df"])), want, 1e-12),
            "normal quantile" => near(&text, normal::quantile(f(&case["p"])), want, 1e-13),
            "binomial below" => near(&text, binomial::below(u(&case["k"]), u(&case["n"])), want, 1e-11),
            "noncentral t above" => {
                within(&text, noncentral::above(f(&case["t"]), f(&case["df"]), f(&case["delta"])), want, 1e-11);
            }
            _ => panic!("{what}"),
        }
    }
}

#[test]
fn power_and_rounds() {
    for case in cases("power.json") {
        let text = case.to_string();
        let (alpha, want) = (f(&case["alpha"]), &case["value"]);
        match case["what"].as_str().unwrap() {
            "power" => within(&text, power::t_test(u(&case["n"]), f(&case["d_z"]), alpha).unwrap(), f(want), 1e-10),
            "rounds" => {
                let got = power::rounds_for_t_test(f(&case["d_z"]), alpha, f(&case["power"])).unwrap();
                assert_eq!(got, Some(u(want)), "{text}");
            }
            "detectable" => {
                near(&text, power::detectable(u(&case["n"]), 1.0, alpha, f(&case["power"])).unwrap(), f(want), 1e-8);
            }
            "tost" => {
                let got = power::tost(u(&case["n"]), f(&case["mean"]), f(&case["sd"]), f(&case["margin"]), alpha);
                within(&text, got.unwrap(), f(want), 1e-10);
            }
            what => panic!("{what}"),
        }
    }
}

#[test]
fn counts_families_and_times() {
    for case in cases("counts.json") {
        let text = case.to_string();
        match case["what"].as_str().unwrap() {
            "mcnemar" => {
                let got = mcnemar(u(&case["b"]), u(&case["c"]));
                near(&text, got.p, f(&case["p"]), EXACT);
                near(&text, got.mid_p, f(&case["mid_p"]), EXACT);
            }
            "wilson" => {
                let got = wilson(u(&case["k"]), u(&case["n"]), f(&case["confidence"])).unwrap();
                within(&text, got.low, f(&case["low"]), 1e-14);
                within(&text, got.high, f(&case["high"]), 1e-14);
            }
            "holm" => {
                let got = holm(&list(&case["p"])).unwrap();
                for (got, want) in got.iter().zip(list(&case["adjusted"])) {
                    near(&text, *got, want, 1e-14);
                }
            }
            "ratio" => {
                let got = ratio(&list(&case["a"]), &list(&case["b"]), 0.95).unwrap();
                near(&text, got.ratio, f(&case["ratio"]), 1e-12);
                near(&text, got.interval.unwrap().low, f(&case["low"]), EXACT);
                near(&text, got.interval.unwrap().high, f(&case["high"]), EXACT);
                near(&text, got.p.unwrap(), f(&case["p"]), EXACT);
            }
            what => panic!("{what}"),
        }
    }
}

/// t² of a contrast of two levels is the F of the within-subject analysis of variance.
#[test]
fn factorial_contrasts() {
    for case in cases("factors.json") {
        let names: Vec<&str> = case["factors"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
        let factors: Vec<Factor> =
            names.iter().map(|n| Factor { name: (*n).into(), levels: vec!["0".into(), "1".into()] }).collect();
        let arms: Vec<Vec<f64>> = case["arms"].as_array().unwrap().iter().map(list).collect();
        let all = contrasts(&factors, &arms).unwrap();
        assert_eq!(all.len(), case["effects"].as_object().unwrap().len());
        for contrast in all {
            let key = match contrast.effect {
                Effect::Main { factor, .. } => names[factor].to_string(),
                Effect::Interaction { first, second } => format!("{}:{}", names[first.0], names[second.0]),
            };
            let (test, want) = (paired_t(&contrast.differences, 0.0, 0.95).unwrap().unwrap(), &case["effects"][&key]);
            near(&key, test.t * test.t, f(&want["F"]), EXACT);
            near(&key, test.p, f(&want["p"]), EXACT);
        }
    }
}

/// Correct digits against NIST's certified values: at least NumPy's, and at least what rounding of the data leaves.
#[test]
fn nist_certified_values() {
    let digits = |got: f64, want: f64| {
        if got == want { 15.0 } else { (-((got - want) / want).abs().log10()).min(15.0) }
    };
    let cases = cases("nist.json");
    assert_eq!(cases.len(), 8);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let m = Moments::of(&list(&case["values"])).unwrap();
        let numpys = list(&case["numpy_digits"]);
        let (mean, sd) = (digits(m.mean, f(&case["mean"])), digits(m.sd.unwrap(), f(&case["sd"])));
        println!("{name}: mean {mean:.1} digits, sd {sd:.1}; NumPy {numpys:?}");
        assert!(
            mean >= 14.0 && sd >= numpys[1].min(14.0) - 0.1 && mean >= numpys[0].min(14.0),
            "{name}: {mean} {sd} {numpys:?}"
        );
    }
}
