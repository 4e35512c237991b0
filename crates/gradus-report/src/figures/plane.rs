//! Data that are points of the plane: where an arm says which class, over all rounds and in single ones.

use std::f64::consts::PI;

use gradus_record::{ArmRecord, Grid, PointSet, StudyRecord};

use super::{Rounds, evenly};
use crate::plot::Plane;

/// Points drawn in a single round's region.
const MOST_POINTS: usize = 300;

/// The decision regions of an arm.
#[derive(Clone, Debug, Default)]
pub struct ArmPlanes {
    /// The arm.
    pub arm: String,
    /// The share of rounds that say the second class, then single rounds.
    pub planes: Vec<Plane>,
}

/// The true boundary between the classes, where the arm's data have one that is known: the disk's.
pub fn boundary(arm: &ArmRecord) -> Vec<Vec<(f64, f64)>> {
    let data = &arm.resolved.value()["data"];
    if data["source"] != "disk" {
        return Vec::new();
    }
    if data["square"] == true {
        return vec![vec![(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9), (0.1, 0.1)]];
    }
    let radius = 1.0 / (2.0 * PI).sqrt();
    let at = |i: i32| PI * f64::from(i) / 60.0;
    vec![(0..=120).map(|i| (0.5 + radius * at(i).cos(), 0.5 + radius * at(i).sin())).collect()]
}

/// The regions of an arm while trials go by.
pub(super) struct Regions {
    arm: String,
    boundary: Vec<Vec<(f64, f64)>>,
    points: Option<PointSet>,
    /// Rounds that are drawn by themselves, and what is said of each.
    singles: Vec<(usize, String)>,
    mean: Option<Grid>,
    rounds: usize,
    planes: Vec<(usize, Plane)>,
}

impl Regions {
    pub(super) fn new(
        study: &StudyRecord,
        arm: &ArmRecord,
        rounds: &Rounds,
        points: Option<&(usize, PointSet)>,
    ) -> Self {
        let by = |a: &&(usize, f64), b: &&(usize, f64)| a.1.total_cmp(&b.1);
        let (low, high) = (rounds.values.iter().min_by(by), rounds.values.iter().max_by(by));
        let (best, worst) = if study.compare.larger_is_better { (high, low) } else { (low, high) };
        let mut singles: Vec<(usize, String)> = Vec::new();
        let named = [(rounds.values.first(), "the first"), (best, "the best"), (worst, "the worst")];
        for ((round, value), what) in named.into_iter().filter_map(|(r, what)| Some((r?, what))) {
            let stuck = if rounds.stuck.contains(round) { ", stuck" } else { "" };
            match singles.iter_mut().find(|(r, _)| r == round) {
                Some((_, text)) => *text = text.replacen(':', &format!(" and {what}:"), 1),
                None => singles.push((*round, format!("round {round}, {what}: {value:.2}{stuck}"))),
            }
        }
        Regions {
            arm: arm.name.clone(),
            boundary: boundary(arm),
            points: points.map(|(_, p)| thinned(p)),
            singles,
            mean: None,
            rounds: 0,
            planes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, round: usize, grid: &Grid) {
        let mean = self.mean.get_or_insert_with(|| Grid { values: vec![0.0; grid.values.len()], ..grid.clone() });
        if mean.values.len() != grid.values.len() {
            return; // a round of other data cannot be averaged
        }
        self.rounds += 1;
        for (sum, value) in mean.values.iter_mut().zip(&grid.values) {
            *sum += f32::from(*value > 0.0);
        }
        if let Some(at) = self.singles.iter().position(|(r, _)| *r == round) {
            let plane = Plane { title: self.singles[at].1.clone(), field: Some(grid.clone()), ..self.plane() };
            self.planes.push((at, plane));
        }
    }

    fn plane(&self) -> Plane {
        Plane { boundary: self.boundary.clone(), ..Plane::default() }
    }

    pub(super) fn end(mut self, classes: &[String]) -> Option<ArmPlanes> {
        let mut mean = self.mean.take()?;
        let rounds = self.rounds as f32;
        mean.values.iter_mut().for_each(|v| *v = *v / rounds - 0.5);
        let mut planes = Vec::new();
        if self.rounds > 1 {
            let second = classes.get(1).map_or("the second class", String::as_str);
            let title = format!("all {} rounds: the share that says {second}", self.rounds);
            planes.push(Plane { title, field: Some(mean), share: true, ..self.plane() });
        }
        self.planes.sort_by_key(|(at, _)| *at);
        // Points of another round are those of no picture but the first.
        let points = self.points.take();
        for (at, mut plane) in self.planes {
            plane.points = points.clone().filter(|_| at == 0);
            planes.push(plane);
        }
        planes.iter_mut().for_each(|p| p.classes = classes.to_vec());
        Some(ArmPlanes { arm: self.arm, planes })
    }
}

fn thinned(points: &PointSet) -> PointSet {
    let mut few = PointSet::default();
    for i in evenly(points.x.len(), MOST_POINTS) {
        few.x.push(points.x[i]);
        few.y.push(points.y[i]);
        few.labels.push(points.labels[i]);
    }
    few
}

#[cfg(test)]
mod tests {
    use gradus_record::Document;

    use super::*;

    fn arm(data: &serde_json::Value) -> ArmRecord {
        let resolved = Document::from(serde_json::json!({ "data": data }));
        ArmRecord { name: "a".into(), resolved, ..ArmRecord::default() }
    }

    #[test]
    fn the_disk_has_half_the_area() {
        let circle = &boundary(&arm(&serde_json::json!({ "source": "disk" })))[0];
        let area: f64 = circle.windows(2).map(|w| (w[0].0 * w[1].1 - w[1].0 * w[0].1) / 2.0).sum();
        assert!((area - 0.5).abs() < 1e-3, "{area}");
        assert_eq!(boundary(&arm(&serde_json::json!({ "source": "disk", "square": true })))[0].len(), 5);
        assert!(boundary(&arm(&serde_json::json!({ "source": "csv" }))).is_empty());
    }

    #[test]
    fn a_mean_is_a_share_of_rounds() {
        let grid = |values: [f32; 2]| Grid { width: 2, height: 1, values: values.to_vec(), ..Grid::default() };
        let rounds = Rounds { arm: 0, values: vec![(0, 5.0), (1, 9.0), (2, 5.0), (3, 1.0)], stuck: vec![3] };
        let mut study = StudyRecord::default();
        study.compare.larger_is_better = true;
        let mut regions = Regions::new(&study, &arm(&serde_json::json!({})), &rounds, None);
        for (round, values) in [[3.0, -1.0], [0.1, 5.0], [-0.1, f32::NAN], [1e-3, 0.0]].into_iter().enumerate() {
            regions.add(round, &grid(values));
        }
        let planes = regions.end(&["no".into(), "yes".into()]).unwrap().planes;
        assert_eq!(planes[0].field.as_ref().unwrap().values, [0.25, -0.25]);
        assert_eq!((planes[0].title.as_str(), planes[3].classes.len()), ("all 4 rounds: the share that says yes", 2));
        let titles: Vec<&str> = planes[1..].iter().map(|p| p.title.as_str()).collect();
        assert_eq!(titles, ["round 0, the first: 5.00", "round 1, the best: 9.00", "round 3, the worst: 1.00, stuck"]);
    }
}
