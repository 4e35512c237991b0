//! What each factor of a matrix does, and what two do together.

use gradus_record::StudyRecord;
use gradus_stats::align::align;
use gradus_stats::factorial::{self, Factor};
use serde::Serialize;

use super::arm::ArmSummary;
use super::comparison::{Test, family};
use super::metric;
use crate::error::Result;

/// A contrast of a matrix: a level of a factor against its base, or two levels together.
#[derive(Clone, Debug, Serialize)]
pub struct Contrast {
    /// In words: `lr: 0.03 against 0.01`, `lr = 0.03 with depth = 4`.
    pub name: String,
    /// Whether it is of two factors together, beyond what each does alone.
    pub interaction: bool,
    /// Rounds that every arm of the matrix has.
    pub rounds: usize,
    /// Their values in those rounds.
    pub differences: Vec<(usize, f64)>,
    /// What follows, in a family of all contrasts.
    #[serde(flatten)]
    pub test: Test,
}

/// The contrasts of the arms that a matrix made, and why there are none where one would expect some. The levels of the baseline
/// are the base, where it is one of these arms.
pub(super) fn contrasts(study: &StudyRecord, arms: &[ArmSummary]) -> Result<(Vec<Contrast>, Option<String>)> {
    let made: Vec<&ArmSummary> = arms.iter().filter(|a| !a.factors.is_empty()).collect();
    let base = made.iter().find(|a| a.name == study.compare.baseline);
    let mut factors: Vec<Factor> = Vec::new();
    for arm in base.into_iter().chain(&made) {
        for (name, level) in &arm.factors {
            let at = factors.iter().position(|f| f.name == *name).unwrap_or_else(|| {
                factors.push(Factor { name: name.clone(), levels: Vec::new() });
                factors.len() - 1
            });
            if !factors[at].levels.contains(level) {
                factors[at].levels.push(level.clone());
            }
        }
    }
    factors.retain(|f| f.levels.len() > 1);
    if factors.is_empty() {
        return Ok((Vec::new(), None));
    }
    let combinations = factors.iter().try_fold(1usize, |n, f| n.checked_mul(f.levels.len()));
    let mut columns: Vec<&[(usize, f64)]> = Vec::new();
    if combinations == Some(made.len()) {
        for i in 0..made.len() {
            let mut stride = made.len();
            let has = |arm: &&&ArmSummary| {
                stride = made.len();
                factors.iter().all(|f| {
                    stride /= f.levels.len();
                    arm.factors.get(&f.name) == Some(&f.levels[i / stride % f.levels.len()])
                })
            };
            columns.extend(made.iter().find(has).map(|a| a.values.as_slice()));
        }
    }
    if columns.len() != made.len() || combinations != Some(made.len()) {
        return Ok((Vec::new(), Some("The matrix is not complete: its factors are not tested.".into())));
    }
    let aligned = align(&columns)?;
    if aligned.labels.is_empty() {
        return Ok((
            Vec::new(),
            Some("No round is there in all arms of the matrix: its factors are not tested.".into()),
        ));
    }
    let list = factorial::contrasts(&factors, &aligned.arms)?;
    let differences: Vec<Vec<(usize, f64)>> =
        list.iter().map(|c| aligned.labels.iter().copied().zip(c.differences.iter().copied()).collect()).collect();
    let unit = metric::unit(&study.compare.metric);
    let level =
        |(factor, level): (usize, usize)| format!("{} = {}", factors[factor].name, factors[factor].levels[level]);
    let tests = family(study, &differences, |i, verdict| {
        let (b, a) = match list[i].effect {
            factorial::Effect::Main { factor, level: at } => (level((factor, at)), level((factor, 0))),
            factorial::Effect::Interaction { .. } => (list[i].name.clone(), "what each brings alone".into()),
        };
        verdict.map_or(String::new(), |v| v.sentence(&b, &a, unit))
    })?;
    let all = list.into_iter().zip(differences).zip(tests).map(|((c, differences), test)| Contrast {
        name: c.name,
        interaction: matches!(c.effect, factorial::Effect::Interaction { .. }),
        rounds: differences.len(),
        differences,
        test,
    });
    Ok((all.collect(), None))
}
