//! Learning curves: means over rounds, their bands, and a thin line for some rounds.

use gradus_record::{ArmRecord, StudyRecord, TrialRecord};
use gradus_stats::dist::student;
use indexmap::IndexMap;

use super::evenly;
use crate::plot::{Curves, Line};

/// Places along a curve; longer trainings are thinned.
const MOST_POINTS: usize = 200;

/// Rounds of an arm that are drawn as thin lines.
const MOST_LINES: usize = 30;

/// Numbers in all thin lines of a chart.
const MOST_NUMBERS: usize = 12_000;

/// What the band round a mean shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Band {
    /// One standard deviation of the rounds to each side, as in the reports.
    #[default]
    Deviation,
    /// The 95 % interval of the mean.
    Interval,
}

/// A learning curve for each arm.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// What is drawn: `test accuracy`.
    pub title: String,
    /// `epoch` or `step`.
    pub x_label: String,
    /// What runs up.
    pub y_label: String,
    /// Whether the second axis is better logarithmic.
    pub log_y: bool,
    /// Whether places were left out or joined.
    pub thinned: bool,
    /// The arms that have it.
    pub lines: Vec<ChartLine>,
}

/// The curve of an arm.
#[derive(Clone, Debug, Default)]
pub struct ChartLine {
    /// The arm.
    pub name: String,
    /// Its colour: its place in the list of arms.
    pub colour: usize,
    /// Epochs or steps.
    pub x: Vec<f64>,
    /// Mean over the rounds that came so far.
    pub mean: Vec<f64>,
    /// Their standard deviation, with n − 1; 0 for one round.
    pub sd: Vec<f64>,
    /// Half the width of the mean's 95 % interval.
    pub half: Vec<f64>,
    /// Some rounds by themselves, at the same places; NaN where a round has no value.
    pub rounds: Vec<(usize, Vec<f64>)>,
    /// How many rounds the mean is of.
    pub of: usize,
}

impl Chart {
    /// As a plot takes it.
    pub fn curves(&self, band: Band) -> Curves {
        let line = |line: &ChartLine| {
            let width = if band == Band::Interval { &line.half } else { &line.sd };
            let edge = |sign: f64| line.mean.iter().zip(width).map(|(m, w)| m + sign * w).collect();
            Line {
                name: line.name.clone(),
                colour: line.colour,
                dashed: false,
                x: line.x.clone(),
                mean: line.mean.clone(),
                band: (line.of > 1).then(|| (edge(-1.0), edge(1.0))),
                rounds: line.rounds.iter().map(|(_, values)| values.clone()).collect(),
            }
        };
        Curves {
            title: self.title.clone(),
            x_label: self.x_label.clone(),
            y_label: self.y_label.clone(),
            log_y: self.log_y,
            lines: self.lines.iter().map(line).collect(),
        }
    }
}

/// Everything that is known of one arm's curve while trials go by.
#[derive(Default)]
struct Sums {
    /// By bucket: place, count, mean and sum of squares about it.
    buckets: Vec<Option<(f64, f64, f64, f64)>>,
    rounds: Vec<(usize, Vec<f64>)>,
    of: usize,
}

impl Sums {
    fn add(&mut self, round: Option<usize>, values: &[Option<(f64, f64)>]) {
        if values.iter().all(Option::is_none) {
            return;
        }
        self.of += 1;
        if self.buckets.len() < values.len() {
            self.buckets.resize(values.len(), None);
        }
        for (bucket, value) in self.buckets.iter_mut().zip(values) {
            let Some((x, y)) = *value else { continue };
            let (_, n, mean, squares) = bucket.unwrap_or((x, 0.0, 0.0, 0.0));
            let (n, delta) = (n + 1.0, y - mean);
            let mean = mean + delta / n;
            *bucket = Some((x, n, mean, squares + delta * (y - mean)));
        }
        if let Some(round) = round {
            self.rounds.push((round, values.iter().map(|v| v.map_or(f64::NAN, |(_, y)| y)).collect()));
        }
    }

    fn line(self, name: &str, colour: usize) -> ChartLine {
        let mut line = ChartLine { name: name.to_string(), colour, of: self.of, ..ChartLine::default() };
        line.rounds = self.rounds.iter().map(|(round, _)| (*round, Vec::new())).collect();
        for (i, bucket) in self.buckets.iter().enumerate() {
            let Some((x, n, mean, squares)) = *bucket else { continue };
            let sd = if n > 1.0 { (squares / (n - 1.0)).sqrt() } else { 0.0 };
            line.x.push(x);
            line.mean.push(mean);
            line.sd.push(sd);
            line.half.push(if sd > 0.0 { student::critical(0.05, n - 1.0) * sd / n.sqrt() } else { 0.0 });
            for ((_, thin), (_, values)) in line.rounds.iter_mut().zip(&self.rounds) {
                thin.push(values.get(i).copied().unwrap_or(f64::NAN));
            }
        }
        line
    }
}

/// The order of charts: the metric on each part, the total loss, losses of parts, losses by name.
const TOTAL: usize = 10;
const PARTS: usize = 20;
const NAMED: usize = 30;

/// A chart while trials go by.
struct Growing {
    chart: Chart,
    /// By arm that is shown.
    sums: Vec<Option<Sums>>,
}

/// All charts while trials go by.
pub(super) struct Charts {
    x_label: &'static str,
    /// The metric without its part, and the parts in the order they are drawn.
    metric: String,
    parts: Vec<&'static str>,
    /// Names and colours of the arms that are shown.
    arms: Vec<(String, usize)>,
    /// By their order and title.
    charts: IndexMap<(usize, String), Growing>,
    /// Of the arm that is read: rounds drawn as lines, and how many epochs or steps share a place.
    lines: Vec<usize>,
    stride: usize,
}

impl Charts {
    pub(super) fn new(study: &StudyRecord, shown: &[usize], x_label: &'static str) -> Charts {
        let (part, metric) = study.compare.metric.split_once(' ').unwrap_or(("test", &study.compare.metric));
        let mut parts = vec!["test", "validation", "train"];
        parts.sort_by_key(|p| *p != part); // the part that is compared first
        let arms = shown.iter().map(|i| (String::new(), *i)).collect();
        let (metric, charts) = (metric.to_string(), IndexMap::new());
        Charts { x_label, metric, parts, arms, charts, lines: Vec::new(), stride: 1 }
    }

    /// The trials of an arm are about to come; `planned` epochs, or 0 for steps, of which the first trial says how many.
    pub(super) fn begin(&mut self, line: usize, arm: &ArmRecord, rounds: &[(usize, f64)], planned: usize) {
        self.arms[line].0 = arm.name.clone();
        self.stride = planned.div_ceil(MOST_POINTS);
        let points = if planned == 0 { MOST_POINTS } else { planned.min(MOST_POINTS) };
        let most = (MOST_NUMBERS / (points * self.arms.len())).clamp(3, MOST_LINES);
        self.lines = evenly(rounds.len(), most).into_iter().map(|i| rounds[i].0).collect();
    }

    pub(super) fn epochs(&mut self, line: usize, trial: &TrialRecord) {
        let (metric, parts) = (self.metric.clone(), self.parts.clone());
        for (order, part) in parts.into_iter().enumerate() {
            let values = |name: &str| -> Vec<(usize, Option<f64>)> {
                let of = |e: &gradus_record::EpochRecord| match part {
                    "test" => e.test.as_ref().and_then(|m| m.get(name)).copied(),
                    "validation" => e.validation.as_ref().and_then(|m| m.get(name)).copied(),
                    _ => e.train.as_ref().and_then(|m| m.get(name)).copied(),
                };
                trial.epochs.iter().map(|e| (e.epoch, of(e))).collect()
            };
            self.see(line, trial.round, (order, format!("{part} {metric}")), &metric, &values(&metric));
            if metric != "loss" && part != "train" {
                self.see(line, trial.round, (PARTS + order, format!("{part} loss")), "loss", &values("loss"));
            }
        }
        let total: Vec<_> = trial.epochs.iter().map(|e| (e.epoch, Some(e.loss))).collect();
        self.see(line, trial.round, (TOTAL, "total loss while training".into()), "weighted sum of losses", &total);
        let names: Vec<&String> = trial.epochs.first().map_or(Vec::new(), |e| e.losses.keys().collect());
        for (i, name) in names.into_iter().enumerate() {
            let values: Vec<_> = trial.epochs.iter().map(|e| (e.epoch, e.losses.get(name).copied())).collect();
            self.see(line, trial.round, (NAMED + i, format!("loss of {name} while training")), "loss", &values);
        }
    }

    pub(super) fn steps(&mut self, line: usize, trial: &TrialRecord) {
        let Some(steps) = &trial.steps else { return };
        for (i, (name, losses)) in steps.losses.iter().enumerate() {
            self.stride = self.stride.max(losses.len().div_ceil(MOST_POINTS));
            // Steps are noisy: a place is the mean of those that share it.
            let place = |(k, chunk): (usize, &[f64])| {
                let mean = chunk.iter().sum::<f64>() / chunk.len() as f64;
                ((k * self.stride) + chunk.len().div_ceil(2), Some(mean))
            };
            let values: Vec<_> = losses.chunks(self.stride).enumerate().map(place).collect();
            self.see(line, trial.round, (i, format!("loss of {name}, step by step")), "loss", &values);
        }
    }

    /// A curve of a trial. Of epochs that share a place the last one with a value counts.
    fn see(&mut self, line: usize, round: usize, key: (usize, String), y: &str, values: &[(usize, Option<f64>)]) {
        let mut buckets: Vec<Option<(f64, f64)>> = Vec::new();
        for (x, value) in values {
            let at = x.saturating_sub(1) / self.stride.max(1);
            if at >= 4 * MOST_POINTS {
                break; // more epochs than the arm says it trains
            }
            if buckets.len() <= at {
                buckets.resize(at + 1, None);
            }
            if let Some(value) = value.filter(|v| v.is_finite()) {
                buckets[at] = Some((*x as f64, value));
            }
        }
        if buckets.iter().all(Option::is_none) {
            return;
        }
        let thin = self.lines.contains(&round).then_some(round);
        let (arms, stride, x_label) = (self.arms.len(), self.stride, self.x_label);
        let growing = self.charts.entry(key.clone()).or_insert_with(|| Growing {
            chart: Chart { title: key.1, x_label: x_label.into(), y_label: y.to_string(), ..Chart::default() },
            sums: (0..arms).map(|_| None).collect(),
        });
        growing.chart.thinned |= stride > 1;
        growing.sums[line].get_or_insert_default().add(thin, &buckets);
    }

    /// The charts, in their order.
    pub(super) fn end(mut self) -> Vec<Chart> {
        self.charts.sort_by(|a, _, b, _| a.0.cmp(&b.0));
        // An arm with one loss has it as its total: named losses are worth drawing where some arm has two.
        let named = self.charts.keys().filter(|(order, _)| *order >= NAMED).count();
        let arms = &self.arms;
        let charts = self.charts.into_iter().filter(|((order, _), _)| *order < NAMED || named > 1);
        charts
            .map(|(_, growing)| {
                let mut chart = growing.chart;
                let lines = growing.sums.into_iter().zip(arms);
                chart.lines = lines.filter_map(|(sums, (name, colour))| Some(sums?.line(name, *colour))).collect();
                chart.log_y = logarithmic(&chart);
                chart
            })
            .collect()
    }
}

/// Losses that fall by more than a factor of a hundred are seen on a logarithmic axis alone.
fn logarithmic(chart: &Chart) -> bool {
    let means = || chart.lines.iter().flat_map(|l| l.mean.iter().copied());
    let (low, high) = means().fold((f64::INFINITY, 0.0f64), |(l, h), y| (l.min(y), h.max(y)));
    chart.y_label.contains("loss") && low > 0.0 && high / low > 100.0
}

#[cfg(test)]
mod tests {
    use gradus_record::{EpochRecord, Steps};

    use super::*;

    fn arm() -> ArmRecord {
        ArmRecord { name: "a".into(), ..ArmRecord::default() }
    }

    fn trial(round: usize, accuracies: &[f64]) -> TrialRecord {
        let epoch = |(i, a): (usize, &f64)| EpochRecord {
            epoch: i + 1,
            loss: 1.0 / (i + 1) as f64,
            losses: [("target".to_string(), 0.5)].into(),
            test: Some([("accuracy".to_string(), *a)].into()),
            ..EpochRecord::default()
        };
        TrialRecord { round, epochs: accuracies.iter().enumerate().map(epoch).collect(), ..TrialRecord::default() }
    }

    fn charts(metric: &str, trials: &[TrialRecord], planned: usize) -> Vec<Chart> {
        let mut study = StudyRecord::default();
        study.compare.metric = metric.into();
        let mut charts = Charts::new(&study, &[0], "epoch");
        let rounds: Vec<(usize, f64)> = trials.iter().map(|t| (t.round, 0.0)).collect();
        charts.begin(0, &arm(), &rounds, planned);
        trials.iter().for_each(|t| charts.epochs(0, t));
        charts.end()
    }

    #[test]
    fn mean_and_both_bands() {
        let trials = [trial(0, &[50.0, 70.0]), trial(1, &[60.0, 90.0]), trial(2, &[70.0])];
        let charts = charts("test accuracy", &trials, 2);
        let titles: Vec<&str> = charts.iter().map(|c| c.title.as_str()).collect();
        assert_eq!(titles, ["test accuracy", "total loss while training"]); // the only loss is the total
        let line = &charts[0].lines[0];
        assert_eq!((&line.x, &line.mean, line.of), (&vec![1.0, 2.0], &vec![60.0, 80.0], 3));
        assert!((line.sd[0] - 10.0).abs() < 1e-12 && (line.sd[1] - 200f64.sqrt()).abs() < 1e-12);
        // t(2) = 4.302653, t(1) = 12.706205
        assert!((line.half[0] - 4.302652729749 * 10.0 / 3f64.sqrt()).abs() < 1e-8, "{}", line.half[0]);
        assert!((line.half[1] - 12.706204736432 * 10.0).abs() < 1e-8);
        assert!(line.rounds[2].1[1].is_nan() && line.rounds[1].1 == [60.0, 90.0]);
        let band = |band| charts[0].curves(band).lines[0].band.clone().unwrap();
        assert!((band(Band::Deviation).0[0] - 50.0).abs() < 1e-12);
        assert!((band(Band::Interval).1[0] - 60.0 - line.half[0]).abs() < 1e-12);
    }

    #[test]
    fn long_trainings_are_thinned_and_many_rounds_too() {
        let long: Vec<f64> = (1..=1000).map(f64::from).collect();
        let trials: Vec<TrialRecord> = (0..100).map(|round| trial(round, &long)).collect();
        let charts = charts("test accuracy", &trials, 1000);
        let line = &charts[0].lines[0];
        assert!(charts[0].thinned);
        assert_eq!((line.x.len(), line.x[0], line.x[199], line.of), (200, 5.0, 1000.0, 100));
        assert_eq!(line.mean, line.x);
        assert_eq!((line.rounds.len(), line.rounds[0].0, line.rounds[29].0), (30, 0, 99));
    }

    #[test]
    fn numbers_that_are_none_are_left_out() {
        let charts = charts("test accuracy", &[trial(0, &[f64::NAN, 4.0]), trial(1, &[f64::INFINITY, 6.0])], 2);
        assert_eq!((&charts[0].lines[0].x, &charts[0].lines[0].mean), (&vec![2.0], &vec![5.0]));
    }

    #[test]
    fn steps_are_joined() {
        let mut charts = Charts::new(&StudyRecord::default(), &[0], "step");
        charts.begin(0, &arm(), &[(0, 0.0)], 0);
        let losses = (0..1000).map(f64::from).collect();
        let steps = Some(Steps { losses: [("target".to_string(), losses)].into() });
        charts.steps(0, &TrialRecord { steps, ..TrialRecord::default() });
        let charts = charts.end();
        let line = &charts[0].lines[0];
        assert_eq!((charts.len(), line.x.len(), line.x[0], line.mean[0], line.mean[199]), (1, 200, 3.0, 2.0, 997.0));
    }
}
