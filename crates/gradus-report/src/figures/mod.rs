//! What is drawn of a study: records in, plain numbers for plots and page out.
//!
//! Trials are read one after the other and only sums and a bounded number of lines are kept, so that a study of any size can
//! be drawn. What is left out is said in [`Figures::shown`] and on each figure.

mod chart;
mod confusion;
mod gallery;
mod plane;

pub use chart::{Band, Chart, ChartLine};
pub use confusion::ArmConfusions;
pub use gallery::{Gallery, Group, Missed, Picture, Said};
pub use plane::{ArmPlanes, boundary};

use gradus_record::{ArmRecord, Error, Filter, Outcome, Parts, Result, RoundRecord, Store, StudyRecord};

use crate::plot::Plane;

/// Arms whose curves, confusions and decision regions are drawn.
pub const MOST_ARMS: usize = 8;

/// The rounds of an arm, as far as drawing it needs them.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    /// Its place in the list of arms.
    pub arm: usize,
    /// Round and value of the study's metric, in the order of rounds.
    pub values: Vec<(usize, f64)>,
    /// Rounds that stand out as stuck.
    pub stuck: Vec<usize>,
}

/// What is drawn of a study.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The arms that are drawn, by their places in the list of arms: all, or the baseline with the best and the worst.
    pub shown: Vec<usize>,
    /// Learning curves: the study's metric on each part, then losses.
    pub charts: Vec<Chart>,
    /// Losses by step.
    pub steps: Vec<Chart>,
    /// Samples of each class, and those that most arms missed.
    pub gallery: Option<Gallery>,
    /// How often each class was taken for which, summed over rounds.
    pub confusions: Vec<ArmConfusions>,
    /// The data of the first round, where they are points of the plane.
    pub points: Option<Plane>,
    /// Where each arm says which class.
    pub planes: Vec<ArmPlanes>,
}

impl Figures {
    /// Reads what is drawn of a study; `rounds` has an entry for each arm of `arms`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(store: &Store, study: &StudyRecord, arms: &[ArmRecord], rounds: &[Rounds]) -> Result<Figures> {
        let shown = shown(study, arms, rounds);
        let first = first_rounds(store)?;
        let mut charts = chart::Charts::new(study, &shown, "epoch");
        let mut steps = chart::Charts::new(study, &shown, "step");
        let (mut confusions, mut planes) = (Vec::<ArmConfusions>::new(), Vec::new());
        for (line, i) in shown.iter().copied().enumerate() {
            let arm = &arms[i];
            let planned = arm.resolved.value()["train"]["epochs"].as_u64().unwrap_or(1);
            charts.begin(line, arm, &rounds[i].values, planned as usize);
            steps.begin(line, arm, &rounds[i].values, 0);
            let mut confusion = ArmConfusions::of(arm);
            let mut regions = plane::Regions::new(study, arm, &rounds[i], first.points.as_ref());
            let parts = Parts { epochs: true, steps: true, predictions: true, grid: true, weights: false };
            store.each_trial(&Filter::arm(&arm.key), parts, |trial| {
                if trial.outcome == Outcome::Done {
                    charts.epochs(line, &trial);
                    steps.steps(line, &trial);
                    trial.predictions.iter().for_each(|p| confusion.add(p));
                    trial.grid.iter().for_each(|g| regions.add(trial.round, g));
                }
                Ok::<_, Error>(())
            })?;
            planes.extend(regions.end(confusion.classes()));
            confusions.extend((!confusion.of.is_empty()).then_some(confusion));
        }
        let points = first.points.as_ref().map(|(round, points)| Plane {
            title: format!("test points of round {round}"),
            points: Some(points.clone()),
            classes: confusions.first().map_or(Vec::new(), |c| c.classes().to_vec()),
            boundary: arms.first().map_or(Vec::new(), boundary),
            ..Plane::default()
        });
        let gallery = match &first.samples {
            Some(record) => gallery::read(store, study, arms, record)?,
            None => None,
        };
        Ok(Figures { shown, charts: charts.end(), steps: steps.end(), gallery, confusions, points, planes })
    }
}

/// The baseline with the best arms and the worst one, in the order of the file; all arms where they are few.
fn shown(study: &StudyRecord, arms: &[ArmRecord], rounds: &[Rounds]) -> Vec<usize> {
    if arms.len() <= MOST_ARMS {
        return (0..arms.len()).collect();
    }
    let mean = |i: &usize| {
        let values = &rounds[*i].values;
        let sum: f64 = values.iter().map(|(_, v)| v).sum();
        let mean = sum / values.len() as f64;
        if study.compare.larger_is_better { -mean } else { mean }
    };
    let mut ranked: Vec<usize> = (0..arms.len()).filter(|i| !rounds[*i].values.is_empty()).collect();
    ranked.sort_by(|a, b| mean(a).total_cmp(&mean(b)));
    let mut chosen: Vec<usize> = arms.iter().position(|a| a.name == study.compare.baseline).into_iter().collect();
    for i in ranked.last().into_iter().chain(&ranked) {
        if chosen.len() < MOST_ARMS && !chosen.contains(i) {
            chosen.push(*i);
        }
    }
    chosen.sort_unstable();
    chosen
}

/// At most `most` of `n` things, evenly chosen, first and last among them.
pub fn evenly(n: usize, most: usize) -> Vec<usize> {
    if n <= most || most < 2 {
        return (0..n.min(most)).collect();
    }
    (0..most).map(|i| i * (n - 1) / (most - 1)).collect()
}

/// The data of the first rounds that have any.
#[derive(Default)]
struct First {
    points: Option<(usize, gradus_record::PointSet)>,
    samples: Option<RoundRecord>,
}

fn first_rounds(store: &Store) -> Result<First> {
    let mut first = First::default();
    store.each_round(|mut round| {
        if let (None, Some(points)) = (&first.points, &mut round.points) {
            first.points = Some((round.round, std::mem::take(&mut points.test)));
        }
        if first.samples.is_none() && round.samples.is_some() {
            first.samples = Some(round);
        }
        Ok::<_, Error>(())
    })?;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evenly_keeps_both_ends() {
        assert_eq!(evenly(5, 30), [0, 1, 2, 3, 4]);
        assert_eq!(evenly(100, 4), [0, 33, 66, 99]);
        assert_eq!(evenly(3, 1), [0]);
        assert_eq!(evenly(0, 4), [0; 0]);
    }

    #[test]
    fn of_many_arms_the_baseline_the_best_and_the_worst_are_shown() {
        let arms: Vec<ArmRecord> = (0..20).map(|i| ArmRecord { name: format!("a{i}"), ..Default::default() }).collect();
        // Arm 19 has no rounds yet; arm 3 is best, 17 worst.
        let rounds: Vec<Rounds> = (0..20)
            .map(|i| Rounds {
                arm: i,
                values: if i == 19 { vec![] } else { vec![(0, (7 * (i as i64 - 3)).rem_euclid(19) as f64)] },
                stuck: vec![],
            })
            .collect();
        let mut study = StudyRecord::default();
        study.compare.baseline = "a5".into();
        let mut by_value: Vec<usize> = (0..19).collect();
        by_value.sort_by(|a, b| rounds[*a].values[0].1.total_cmp(&rounds[*b].values[0].1));
        let shown = shown(&study, &arms, &rounds);
        assert_eq!(shown.len(), MOST_ARMS);
        assert!(shown.is_sorted() && shown.contains(&5) && shown.contains(&3) && shown.contains(&by_value[18]));
        assert!(by_value[..5].iter().all(|i| shown.contains(i)) && !shown.contains(&19));
    }
}
