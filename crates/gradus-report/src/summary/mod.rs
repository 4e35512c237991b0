//! What follows from the records of a study: numbers for each arm, a verdict for each comparison with the baseline, and the words
//! that belong to them.

mod answers;
mod arm;
mod comparison;
mod confounds;
mod contrasts;
pub(crate) mod metric;
mod protocol;
mod settings;
mod spread;

use gradus_record::{ArmRecord, Store};
use serde::Serialize;

pub use answers::McNemar;
pub use arm::{ArmSummary, LeftOut};
pub use comparison::{Comparison, Effect, Equivalence, Missing, TTest, Test, TimeRatio, Wilcoxon};
pub use confounds::Confound;
pub use contrasts::Contrast;
pub use protocol::Reproduction;
pub use spread::{CONFIDENCE, Spread};

use crate::error::{Error, Kind, Result};
use crate::words::decimals;
use answers::Answers;
use comparison::Compared;
use protocol::Rounds;

/// A study in numbers and sentences.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The study's name.
    pub study: String,
    /// Its title.
    pub title: String,
    /// More about it.
    pub description: Option<String>,
    /// What is measured: `test accuracy`.
    pub metric: String,
    /// The unit of its values and differences: `points`, or nothing.
    pub unit: &'static str,
    /// Whether a larger value is a better one.
    pub larger_is_better: bool,
    /// A difference up to which nothing is won or lost.
    pub margin: Option<f64>,
    /// The arm the others are compared with.
    pub baseline: String,
    /// Rounds that are planned.
    pub rounds: usize,
    /// Every metric that trials have, the study's first.
    pub metrics: Vec<String>,
    /// Every arm of the file, in its order.
    pub arms: Vec<ArmSummary>,
    /// Every other arm against the baseline.
    pub comparisons: Vec<Comparison>,
    /// What each factor of a matrix does, and what two do together.
    pub contrasts: Vec<Contrast>,
    /// Whether times can be compared.
    pub timing: Timing,
    /// For what the verdicts hold, in a sentence.
    pub population: String,
    /// Design and protocol, as a paragraph ready for a paper.
    pub protocol: String,
    /// What it takes to repeat it.
    pub reproduction: Reproduction,
    /// What has to be known beside all that, in sentences.
    pub notes: Vec<String>,
}

/// Whether times of arms can be compared.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// Whether every trial ran alone.
    pub comparable: bool,
    /// In words.
    pub sentence: String,
}

impl Summary {
    /// Decimals of the study's metric: two for points, else so many that the smallest spread has two digits.
    pub fn decimals(&self) -> usize {
        self.decimals_of(&self.metric)
    }

    /// Decimals of any metric.
    pub fn decimals_of(&self, metric: &str) -> usize {
        if metric::unit(metric) == "points" {
            return 2;
        }
        let spreads = self.arms.iter().filter_map(|a| a.metrics.get(metric)?.sd).filter(|sd| *sd > 0.0);
        spreads.reduce(f64::min).map_or(4, |sd| decimals(sd).clamp(1, 9))
    }
}

/// Reads the store and says what follows.
///
/// # Errors
/// When the store cannot be read.
pub fn summary(store: &Store) -> Result<Summary> {
    let study = store.study()?;
    let arms: Vec<ArmRecord> = store.arms()?.into_iter().filter(|a| a.active).collect();
    let base = arms.iter().position(|a| a.name == study.compare.baseline);
    let mut notes = Vec::new();
    if base.is_none() && !arms.is_empty() {
        notes.push(format!(
            "The baseline `{}` is not among the arms: there is nothing to compare.",
            study.compare.baseline
        ));
    }

    // The baseline first: what the others predicted is compared with its predictions and put away.
    let baseline = base.map(|i| arm::read(store, &study, &arms[i])).transpose()?;
    let (mut readings, mut predictions) = (Vec::new(), Vec::new());
    for (_, record) in arms.iter().enumerate().filter(|(i, _)| Some(*i) != base) {
        let mut reading = arm::read(store, &study, record)?;
        predictions.push(baseline.as_ref().and_then(|b| reading.answers.mcnemar(&b.answers)));
        reading.answers = Answers::default();
        readings.push(reading);
    }
    if let (Some(i), Some(baseline)) = (base, baseline) {
        readings.insert(i, baseline);
        predictions.insert(i, None);
    }
    let timing = timing(readings.iter().map(|r| r.parallel));
    let comparisons = match base {
        None => Vec::new(),
        Some(b) => {
            let others = arms.iter().zip(&readings).zip(predictions).enumerate().filter(|(i, _)| *i != b);
            let compared = others.map(|(_, ((record, reading), mcnemar))| Compared { record, reading, mcnemar });
            comparison::compare(&study, (&arms[b], &readings[b]), compared.collect(), timing.comparable)?
        }
    };
    let records = arms;
    let arms: Vec<ArmSummary> = readings.into_iter().map(|r| r.summary).collect();
    let mut metrics = vec![study.compare.metric.clone()];
    for name in arms.iter().flat_map(|a| a.metrics.keys()) {
        if !metrics.contains(name) {
            metrics.push(name.clone());
        }
    }
    let (contrasts, why_none) = contrasts::contrasts(&study, &arms)?;
    notes.extend(why_none);
    let rounds = Rounds::read(store)?;
    Ok(Summary {
        unit: metric::unit(&study.compare.metric),
        larger_is_better: study.compare.larger_is_better,
        margin: Some(study.compare.margin).filter(|m| *m > 0.0 && m.is_finite()),
        rounds: arms.iter().map(|a| a.planned).max().unwrap_or(study.rounds),
        metrics,
        contrasts,
        timing,
        population: protocol::population(&records, &rounds),
        protocol: protocol::protocol(&study, &records, &arms, &comparisons, &rounds),
        reproduction: protocol::reproduction(&study, &arms, &rounds),
        comparisons,
        notes,
        arms,
        study: study.name,
        title: study.title,
        description: study.description,
        metric: study.compare.metric,
        baseline: study.compare.baseline,
    })
}

/// Arm `b` against arm `a`, by themselves.
///
/// # Errors
/// When there is no such arm, or the store cannot be read.
pub fn compare(store: &Store, a: &str, b: &str) -> Result<Comparison> {
    let study = store.study()?;
    let all: Vec<ArmRecord> = store.arms()?.into_iter().filter(|arm| arm.active).collect();
    let find = |name: &str| {
        let known: Vec<&str> = all.iter().map(|arm| arm.name.as_str()).collect();
        let none = || Error::new(Kind::Arm, format_args!("there is no arm `{name}`; known: {}", known.join(", ")));
        all.iter().find(|arm| arm.name == name).ok_or_else(none)
    };
    let (a, b) = (find(a)?, find(b)?);
    let (base, arm) = (arm::read(store, &study, a)?, arm::read(store, &study, b)?);
    let comparable = timing([base.parallel, arm.parallel].into_iter()).comparable;
    let mcnemar = arm.answers.mcnemar(&base.answers);
    let compared = Compared { record: b, reading: &arm, mcnemar };
    let mut list = comparison::compare(&study, (a, &base), vec![compared], comparable)?;
    Ok(list.remove(0))
}

/// Whether times can be compared, given the fewest and the most trials that ran at a time in each arm.
fn timing(parallel: impl Iterator<Item = Option<(usize, usize)>>) -> Timing {
    let all = parallel.flatten().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let sentence = match all {
        None => "No trial has run yet.",
        Some((1, 1)) => "Every trial ran alone, so times can be compared.",
        Some((0, _)) => {
            "How many trials ran at a time is not known, so times give no verdict; with --threads 1 they do."
        }
        Some(_) => "Several trials ran at a time, so times give no verdict; with --threads 1 they do.",
    };
    Timing { comparable: all == Some((1, 1)), sentence: sentence.into() }
}
