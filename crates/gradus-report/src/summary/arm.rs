//! An arm over its rounds.

use std::collections::BTreeMap;

use gradus_record::{ArmRecord, Filter, Outcome, Parts, Store, StudyRecord, TrialRecord};
use gradus_stats::stuck::stuck;
use indexmap::IndexMap;
use serde::Serialize;

use super::answers::Answers;
use super::metric;
use super::spread::Spread;
use crate::error::Result;
use crate::words::{list, many, rounds};

/// An arm over its rounds.
#[derive(Clone, Debug, Serialize)]
pub struct ArmSummary {
    /// Its name.
    pub name: String,
    /// Its key in the store.
    pub key: String,
    /// The arm of the file that a matrix made it from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_from: Option<String>,
    /// What it has of the matrix, by factor; empty without one.
    pub factors: IndexMap<String, String>,
    /// Rounds that came to their end.
    pub rounds: usize,
    /// Rounds that are planned.
    pub planned: usize,
    /// Rounds that diverged.
    pub diverged: usize,
    /// Rounds that failed, and will be run again.
    pub failed: usize,
    /// How many numbers training changes.
    pub parameters: u64,
    /// Floating-point operations of a prediction, per sample.
    pub flops_forward: u64,
    /// Floating-point operations of a training step, per sample.
    pub flops_training: u64,
    /// The study's metric after training; `None` before the first round.
    pub value: Option<Spread>,
    /// The same of each round; values that are no usable numbers are left out.
    pub values: Vec<(usize, f64)>,
    /// The study's metric at the epoch with the lowest validation loss, where there are validation samples.
    pub at_best: Option<Spread>,
    /// That epoch.
    pub best_epoch: Option<Spread>,
    /// The test accuracy, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<Spread>,
    /// Every metric by name, the study's first.
    pub metrics: IndexMap<String, Spread>,
    /// Epochs that were trained.
    pub epochs: Option<Spread>,
    /// Seconds a round takes: training and evaluating.
    pub seconds_per_round: Option<Spread>,
    /// Seconds of training alone.
    pub seconds_training: Option<Spread>,
    /// Seconds of evaluating alone.
    pub seconds_evaluating: Option<Spread>,
    /// Rounds whose value lies far on the worse side of a wide gap: a mean and a spread would hide them.
    pub stuck: Vec<usize>,
    /// Rounds that were run and are not among the values, with the reason.
    pub left_out: Vec<LeftOut>,
    /// Warnings of its trials, and in how many rounds.
    pub warnings: IndexMap<String, usize>,
    /// What has to be known beside the numbers, in sentences.
    pub notes: Vec<String>,
}

/// A round that is not among an arm's values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The round.
    pub round: usize,
    /// Why: `diverged`, `failed`, `a test accuracy of NaN`, `no test accuracy`.
    pub why: String,
}

/// An arm as it was read: the summary, and what comparisons need of its rounds.
pub(super) struct Reading {
    pub summary: ArmSummary,
    /// Seconds of each finished round.
    pub seconds: BTreeMap<usize, f64>,
    /// Which test samples it got right.
    pub answers: Answers,
    /// The fewest and the most trials that ran at a time while one of its own did; 0 where that is not known.
    pub parallel: Option<(usize, usize)>,
}

/// Whether statistics can use a number: NaN passes no comparison, and the square of a huge one is no number any more.
fn usable(x: f64) -> bool {
    x.abs() <= 1e150
}

/// Reads the trials of an arm.
pub(super) fn read(store: &Store, study: &StudyRecord, arm: &ArmRecord) -> Result<Reading> {
    let metric = &study.compare.metric;
    let mut columns: IndexMap<String, Vec<f64>> = [(metric.clone(), Vec::new())].into();
    let (mut values, mut left_out, mut warnings) = (Vec::new(), Vec::new(), IndexMap::new());
    let (mut done, mut diverged, mut failed, mut last) = (0, 0, 0, 0);
    let (mut at_best, mut best_epoch, mut epochs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut training, mut evaluating, mut seconds) = (Vec::new(), Vec::new(), BTreeMap::new());
    let (mut answers, mut parallel) = (Answers::default(), None);
    let parts = Parts { predictions: true, ..Parts::EPOCHS };
    store.each_trial(&Filter::arm(&arm.key), parts, |t: TrialRecord| -> Result<()> {
        last = last.max(t.round + 1);
        for warning in &t.warnings {
            *warnings.entry(warning.clone()).or_insert(0) += 1;
        }
        let out = |why: String| LeftOut { round: t.round, why };
        match &t.outcome {
            Outcome::Done => done += 1,
            Outcome::Diverged { .. } => {
                diverged += 1;
                left_out.push(out("diverged".into()));
                return Ok(());
            }
            Outcome::Failed { .. } => {
                failed += 1;
                left_out.push(out("failed".into()));
                return Ok(());
            }
        }
        match t.metrics.get(metric) {
            Some(x) if usable(*x) => values.push((t.round, *x)),
            Some(x) => left_out.push(out(format!("a {metric} of {x}"))),
            None => left_out.push(out(format!("no {metric}"))),
        }
        for (name, x) in t.metrics.iter().filter(|(_, x)| usable(**x)) {
            columns.entry(name.clone()).or_default().push(*x);
        }
        if let Some(best) = &t.best {
            best_epoch.push(best.epoch as f64);
            at_best.extend(best.metrics.get(metric).copied().filter(|x| usable(*x)));
        }
        epochs.push(t.epochs.len() as f64);
        if usable(t.seconds.train) && usable(t.seconds.evaluate) {
            training.push(t.seconds.train);
            evaluating.push(t.seconds.evaluate);
            seconds.insert(t.round, t.seconds.train + t.seconds.evaluate);
        }
        parallel = Some(parallel.map_or((t.parallel, t.parallel), |(low, high): (usize, usize)| {
            (low.min(t.parallel), high.max(t.parallel))
        }));
        answers.add(&t, arm);
        Ok(())
    })?;

    let numbers: Vec<f64> = values.iter().map(|(_, x)| *x).collect();
    let better = study.compare.larger_is_better;
    let groups = if numbers.is_empty() { None } else { stuck(&numbers, better, study.compare.margin.max(0.0))? };
    let stuck: Vec<usize> = groups.iter().flat_map(|g| g.stuck.iter().map(|i| values[*i].0)).collect();
    let mut metrics = IndexMap::new();
    for (name, column) in &columns {
        let better = if name == metric { better } else { metric::larger_is_better(name) };
        metrics.extend(Spread::of(column, better)?.map(|s| (name.clone(), s)));
    }
    let total: Vec<f64> = seconds.values().copied().collect();
    let mut summary = ArmSummary {
        name: arm.name.clone(),
        key: arm.key.clone(),
        made_from: arm.made_from.clone(),
        factors: arm.factors.clone(),
        rounds: done,
        planned: study.rounds.max(last),
        diverged,
        failed,
        parameters: arm.parameters,
        flops_forward: arm.flops_forward,
        flops_training: arm.flops_training,
        value: metrics.get(metric).copied(),
        values,
        at_best: Spread::of(&at_best, better)?,
        best_epoch: Spread::of(&best_epoch, false)?,
        test_accuracy: metrics.get("test accuracy").copied(),
        metrics,
        epochs: Spread::of(&epochs, false)?,
        seconds_per_round: Spread::of(&total, false)?,
        seconds_training: Spread::of(&training, false)?,
        seconds_evaluating: Spread::of(&evaluating, false)?,
        stuck,
        left_out,
        warnings,
        notes: tuning(arm),
    };
    let more = notes(&summary);
    summary.notes.extend(more);
    Ok(Reading { summary, seconds, answers, parallel })
}

/// How an arm's own values were chosen.
fn tuning(arm: &ArmRecord) -> Vec<String> {
    let Some(tuned) = &arm.tuned else { return Vec::new() };
    let mut notes = Vec::new();
    if let Some(chosen) = tuned.candidates.get(tuned.chosen) {
        let values: Vec<String> = chosen.values.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        notes.push(format!(
            "{} chosen from {} by {} in {} of their own",
            list(&values),
            many(tuned.candidates.len(), "candidate"),
            tuned.metric,
            many(tuned.rounds, "round")
        ));
    }
    if !tuned.edges.is_empty() {
        notes.push(format!("a better {} may lie beyond those that were offered", list(&tuned.edges)));
    }
    notes
}

/// What has to be known of an arm beside its numbers.
fn notes(a: &ArmSummary) -> Vec<String> {
    let mut notes = Vec::new();
    if !a.stuck.is_empty() {
        notes.push(format!(
            "{} of {} stuck ({}): mean and sd hide that",
            many(a.stuck.len(), "round"),
            a.values.len(),
            rounds(&a.stuck)
        ));
    }
    // The same reasons together, in the order of their first round.
    let mut reasons: IndexMap<&str, Vec<usize>> = IndexMap::new();
    for out in &a.left_out {
        reasons.entry(&out.why).or_default().push(out.round);
    }
    for (why, list) in &reasons {
        let what = match *why {
            "diverged" => "diverged".to_string(),
            "failed" => "failed and will be run again".to_string(),
            why => format!("with {why} left out"),
        };
        notes.push(format!("{} {what} ({})", many(list.len(), "round"), rounds(list)));
    }
    let there = a.rounds + a.diverged + a.failed;
    if there == 0 {
        notes.push("not run yet".into());
    } else if there < a.planned {
        notes.push(format!("{} of {} not run yet", a.planned - there, many(a.planned, "round")));
    }
    notes
}
