//! What follows from the records of a study: a line for each arm, and a verdict for each comparison with the baseline.

use gradus::error::{Error, Kind, Result};
use gradus_record::{ArmRecord, Filter, Outcome, Store, TrialSummary};
use gradus_stats::align::align;
use gradus_stats::describe::{Summary as Spread, describe};
use gradus_stats::paired::{Answer, Question, compare_family};
use gradus_stats::stuck::stuck;
use serde::Serialize;

use super::engine::stored;
use super::records::counted;

/// A study in numbers and sentences.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The study's name.
    pub study: String,
    /// Its title.
    pub title: String,
    /// What is measured: `test accuracy`.
    pub metric: String,
    /// The arm the others are compared with.
    pub baseline: String,
    /// Every arm of the file, in its order.
    pub arms: Vec<ArmSummary>,
    /// Every other arm against the baseline.
    pub comparisons: Vec<Comparison>,
}

/// Mean and spread over rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// The standard deviation, with n − 1; `None` for one round.
    pub sd: Option<f64>,
    /// The lower end of the 95 % interval of the mean.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// The median.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl From<Spread> for Mean {
    fn from(s: Spread) -> Mean {
        let (low, high) = (s.interval.map(|i| i.low), s.interval.map(|i| i.high));
        Mean { mean: s.mean, sd: s.sd, low, high, median: s.median, min: s.min, max: s.max }
    }
}

/// An arm over its rounds.
#[derive(Clone, Debug, Serialize)]
pub struct ArmSummary {
    /// Its name.
    pub name: String,
    /// Its key in the store.
    pub key: String,
    /// Rounds that came to their end.
    pub rounds: usize,
    /// Rounds that diverged.
    pub diverged: usize,
    /// How many numbers training changes.
    pub parameters: u64,
    /// The metric of the study; `None` before the first round.
    pub value: Option<Mean>,
    /// The same where the metric is the test accuracy, under the name that scripts look for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<Mean>,
    /// Seconds a round trains and evaluates.
    pub seconds_per_round: Option<Mean>,
    /// Rounds whose value lies far on the worse side of a wide gap: a mean and a spread would hide them.
    pub stuck: Vec<usize>,
}

/// An arm against the baseline.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The arm.
    pub arm: String,
    /// What it is compared with.
    pub baseline: String,
    /// Rounds that both have.
    pub rounds: usize,
    /// Rounds that one of them lacks.
    pub missing: Vec<usize>,
    /// The mean paired difference, arm − baseline.
    pub difference: f64,
    /// The lower end of its 95 % interval (BCa bootstrap).
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// The p value of the sign-flip test.
    pub p: f64,
    /// The same after Holm's correction over all comparisons.
    pub p_holm: f64,
    /// `better`, `worse`, `equivalent`, `identical` or `undecided`.
    pub verdict: &'static str,
    /// The verdict in words.
    pub sentence: String,
    /// What differs between the two arms beside their networks, and may be the reason.
    pub confounds: Vec<String>,
}

/// Reads the store and says what follows.
///
/// # Errors
/// When the store cannot be read.
pub fn summary(store: &Store) -> Result<Summary> {
    let study = store.study().map_err(stored)?;
    let arms: Vec<ArmRecord> = store.arms().map_err(stored)?.into_iter().filter(|a| a.active).collect();
    let compare = &study.compare;
    let mut values: Vec<Vec<(usize, f64)>> = Vec::new();
    let mut lines = Vec::new();
    for arm in &arms {
        let trials = store.trials(&Filter::arm(&arm.key)).map_err(stored)?;
        let done: Vec<&TrialSummary> = trials.iter().filter(|t| t.outcome == Outcome::Done).collect();
        let measured = measured(store, arm, &compare.metric)?;
        let numbers: Vec<f64> = measured.iter().map(|(_, v)| *v).collect();
        let seconds: Vec<f64> = done.iter().map(|t| t.seconds.train + t.seconds.evaluate).collect();
        let mean = |v: &[f64]| {
            if v.is_empty() { Ok(None) } else { describe(v, 0.95).map(|s| Some(Mean::from(s))).map_err(counted) }
        };
        let value = mean(&numbers)?;
        let groups = if numbers.is_empty() {
            None
        } else {
            stuck(&numbers, compare.larger_is_better, compare.margin).map_err(counted)?
        };
        lines.push(ArmSummary {
            name: arm.name.clone(),
            key: arm.key.clone(),
            rounds: done.len(),
            diverged: trials.iter().filter(|t| matches!(t.outcome, Outcome::Diverged { .. })).count(),
            parameters: arm.parameters,
            value,
            test_accuracy: value.filter(|_| compare.metric == "test accuracy"),
            seconds_per_round: mean(&seconds)?,
            stuck: groups.map_or(Vec::new(), |g| g.stuck.iter().map(|i| measured[*i].0).collect()),
        });
        values.push(measured);
    }
    let comparisons = comparisons(&study, &arms, &values)?;
    Ok(Summary {
        study: study.name,
        title: study.title,
        metric: compare.metric.clone(),
        baseline: compare.baseline.clone(),
        arms: lines,
        comparisons,
    })
}

/// One arm against another, by itself.
///
/// # Errors
/// When there is no such arm, or the store cannot be read.
pub fn compare(store: &Store, a: &str, b: &str) -> Result<Comparison> {
    let mut study = store.study().map_err(stored)?;
    study.compare.baseline = a.to_string();
    let all: Vec<ArmRecord> = store.arms().map_err(stored)?.into_iter().filter(|arm| arm.active).collect();
    let mut arms = Vec::new();
    for name in [a, b] {
        let known: Vec<&str> = all.iter().map(|arm| arm.name.as_str()).collect();
        match all.iter().find(|arm| arm.name == name) {
            Some(arm) => arms.push(arm.clone()),
            None => {
                return Err(Error::new(
                    Kind::Name,
                    format!("there is no arm `{name}`{}", gradus::spec::suggest(name, &known)),
                ));
            }
        }
    }
    let values = arms.iter().map(|arm| measured(store, arm, &study.compare.metric)).collect::<Result<Vec<_>>>()?;
    let none = || Error::new(Kind::Data, format!("`{a}` and `{b}` have no round in common"));
    comparisons(&study, &arms, &values)?.pop().ok_or_else(none)
}

/// The metric of every round of an arm that came to its end.
fn measured(store: &Store, arm: &ArmRecord, metric: &str) -> Result<Vec<(usize, f64)>> {
    let trials = store.trials(&Filter::arm(&arm.key)).map_err(stored)?;
    let done = trials.iter().filter(|t| t.outcome == Outcome::Done);
    done.map(|t| match t.metrics.get(metric) {
        Some(value) => Ok((t.round, *value)),
        None => {
            let known: Vec<&str> = t.metrics.keys().map(String::as_str).collect();
            Err(Error::new(
                Kind::Config,
                format!("arm `{}` has no `{metric}`{}", arm.name, gradus::spec::suggest(metric, &known)),
            ))
        }
    })
    .collect()
}

fn comparisons(
    study: &gradus_record::StudyRecord,
    arms: &[ArmRecord],
    values: &[Vec<(usize, f64)>],
) -> Result<Vec<Comparison>> {
    let compare = &study.compare;
    let Some(base) = arms.iter().position(|a| a.name == compare.baseline) else { return Ok(Vec::new()) };
    let mut pairs = Vec::new();
    for (i, arm) in arms.iter().enumerate().filter(|(i, _)| *i != base) {
        let aligned = align(&[&values[base], &values[i]]).map_err(counted)?;
        let differences = aligned.differences(0, 1);
        if !differences.is_empty() {
            pairs.push((arm, differences, aligned.missing.iter().map(|m| m.label).collect::<Vec<usize>>()));
        }
    }
    let family: Vec<&[f64]> = pairs.iter().map(|(_, d, _)| d.as_slice()).collect();
    let margin = (compare.margin > 0.0).then_some(compare.margin);
    let question =
        Question { larger_is_better: compare.larger_is_better, margin, seed: study.seed, ..Question::default() };
    let answers: Vec<Answer> =
        if family.is_empty() { Vec::new() } else { compare_family(&family, &question).map_err(counted)? };
    let unit = if compare.metric.contains("accuracy") || compare.metric.contains("error") { "points" } else { "" };
    let list = pairs.into_iter().zip(answers).map(|((arm, differences, missing), answer)| Comparison {
        arm: arm.name.clone(),
        baseline: compare.baseline.clone(),
        rounds: differences.len(),
        missing,
        difference: answer.comparison.summary.mean,
        low: answer.comparison.interval.map(|i| i.low),
        high: answer.comparison.interval.map(|i| i.high),
        p: answer.comparison.sign_flip.p,
        p_holm: answer.p_holm,
        verdict: answer.verdict.word(),
        sentence: answer.verdict.sentence(&arm.name, &compare.baseline, unit),
        confounds: confounds(arm, &arms[base]),
    });
    Ok(list.collect())
}

/// What differs between two arms beside their networks: training, data, and how many parameters they have.
fn confounds(arm: &ArmRecord, base: &ArmRecord) -> Vec<String> {
    let (a, b) = (arm.resolved.value(), base.resolved.value());
    let mut list = Vec::new();
    for part in ["train", "data", "dtype"] {
        differences(part, &a[part], &b[part], &mut list);
    }
    if arm.parameters != base.parameters {
        list.push(format!("parameters: {} against {}", arm.parameters, base.parameters));
    }
    list
}

fn differences(path: &str, a: &serde_json::Value, b: &serde_json::Value, list: &mut Vec<String>) {
    if let (Some(x), Some(y)) = (a.as_object(), b.as_object()) {
        let mut keys: Vec<&String> = x.keys().chain(y.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let null = serde_json::Value::Null;
            differences(&format!("{path}.{key}"), x.get(key).unwrap_or(&null), y.get(key).unwrap_or(&null), list);
        }
    } else if a != b {
        let text = |v: &serde_json::Value| if v.is_null() { "none".to_string() } else { v.to_string() };
        list.push(format!("{path}: {} against {}", text(a), text(b)));
    }
}
