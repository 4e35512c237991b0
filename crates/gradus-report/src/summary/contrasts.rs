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

/// What an arm of a matrix has of each factor; the arm of the file that it was made from is one too.
fn levels(arm: &ArmSummary) -> impl Iterator<Item = (&str, &str)> {
    let from = arm.made_from.iter().map(|from| ("arm", from.as_str()));
    from.chain(arm.factors.iter().map(|(name, level)| (name.as_str(), level.as_str())))
}

/// The contrasts of the arms that a matrix made, and why there are none where one would expect some. The levels of the baseline
/// are the base, where it is one of these arms.
pub(super) fn contrasts(study: &StudyRecord, arms: &[ArmSummary]) -> Result<(Vec<Contrast>, Option<String>)> {
    let made: Vec<&ArmSummary> = arms.iter().filter(|a| !a.factors.is_empty()).collect();
    let base = made.iter().find(|a| a.name == study.compare.baseline);
    let mut factors: Vec<Factor> = Vec::new();
    for arm in base.into_iter().chain(&made) {
        for (name, level) in levels(arm) {
            let at = factors.iter().position(|f| f.name == name).unwrap_or_else(|| {
                factors.push(Factor { name: name.into(), levels: Vec::new() });
                factors.len() - 1
            });
            if !factors[at].levels.iter().any(|l| l == level) {
                factors[at].levels.push(level.into());
            }
        }
    }
    factors.retain(|f| f.levels.len() > 1);
    if factors.is_empty() {
        return Ok((Vec::new(), None));
    }
    // One arm for each combination, the levels of the last factor changing fastest.
    let combinations = factors.iter().try_fold(1usize, |n, f| n.checked_mul(f.levels.len())).unwrap_or(usize::MAX);
    let has = |arm: &ArmSummary, i: usize| {
        let mut stride = combinations;
        factors.iter().all(|f| {
            stride /= f.levels.len();
            levels(arm).any(|(name, level)| name == f.name && level == f.levels[i / stride % f.levels.len()])
        })
    };
    let columns: Vec<&[(usize, f64)]> = (0..combinations.min(made.len()))
        .filter_map(|i| made.iter().find(|arm| has(arm, i)).map(|arm| arm.values.as_slice()))
        .collect();
    if (columns.len(), made.len()) != (combinations, combinations) {
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
