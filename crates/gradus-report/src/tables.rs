//! The tables of a summary, as plain words; how they are set belongs to text, Markdown and LaTeX.

use crate::summary::{ArmSummary, Comparison, Spread, Summary, Test};
use crate::words::{count, decimals, fixed, signed};

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// What it is.
    pub title: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows; as many words as columns.
    pub rows: Vec<Vec<String>>,
}

/// A column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// What stands above it.
    pub head: String,
    /// Whether it is of words; else of numbers.
    pub words: bool,
    /// Where the room does not suffice, columns of the highest number go first; 0 never goes.
    pub spare: u8,
}

impl Table {
    fn new(title: impl Into<String>) -> Table {
        Table { title: title.into(), columns: Vec::new(), rows: Vec::new() }
    }

    /// A column with a word for each row.
    fn column(&mut self, head: &str, spare: u8, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        self.rows.resize_with(cells.len(), Vec::new);
        self.rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
        self.columns.push(Column { head: head.into(), words: self.columns.is_empty(), spare });
    }

    /// Without the column at that place.
    pub(crate) fn drop_column(&mut self, at: usize) {
        self.columns.remove(at);
        self.rows.iter_mut().for_each(|row| drop(row.remove(at)));
    }
}

fn or_blank(x: Option<String>) -> String {
    x.unwrap_or_default()
}

/// `85.76 ± 1.33`.
fn mean_sd(s: &Spread, decimals: usize) -> String {
    let sd = s.sd.map_or(String::new(), |sd| format!(" ± {}", fixed(sd, decimals)));
    format!("{}{sd}", fixed(s.mean, decimals))
}

fn interval(ends: Option<(f64, f64)>, decimals: usize) -> String {
    ends.map_or(String::new(), |(low, high)| format!("[{}, {}]", fixed(low, decimals), fixed(high, decimals)))
}

/// `0.0123`, `< 0.0001`.
fn p(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".into() } else { fixed(p, 4) }
}

/// A line for each arm.
pub(crate) fn arms(s: &Summary) -> Table {
    let mut t = Table::new(metric(s));
    let d = s.decimals();
    let value = |f: &dyn Fn(&Spread) -> String| -> Vec<String> {
        s.arms.iter().map(|a| or_blank(a.value.as_ref().map(f))).collect()
    };
    t.column("arm", 0, s.arms.iter().map(|a| a.name.clone()));
    t.column("n", 0, s.arms.iter().map(|a| a.values.len().to_string()));
    t.column("mean ± sd", 0, value(&|v| mean_sd(v, d)));
    t.column("95 % interval", 0, value(&|v| interval(v.interval(), d)));
    t.column("median", 2, value(&|v| fixed(v.median, d)));
    t.column("quartiles", 6, value(&|v| format!("{} to {}", fixed(v.q1, d), fixed(v.q3, d))));
    t.column("best", 5, value(&|v| fixed(v.best, d)));
    t.column("worst", 5, value(&|v| fixed(v.worst, d)));
    if s.arms.iter().any(|a| !a.stuck.is_empty()) {
        t.column("stuck", 1, s.arms.iter().map(|a| a.stuck.len().to_string()));
    }
    if s.arms.iter().any(|a| a.diverged > 0) {
        t.column("diverged", 1, s.arms.iter().map(|a| a.diverged.to_string()));
    }
    if s.arms.iter().any(|a| a.at_best.is_some()) {
        t.column("at best epoch", 4, s.arms.iter().map(|a| or_blank(a.at_best.as_ref().map(|v| mean_sd(v, d)))));
    }
    t.column("parameters", 3, s.arms.iter().map(|a| count(a.parameters)));
    let digits = seconds_decimals(s);
    let mean = |s: Option<&Spread>| or_blank(s.map(|s| fixed(s.mean, digits)));
    t.column("s/round", 2, s.arms.iter().map(|a| mean(a.seconds_per_round.as_ref())));
    t.column("training", 4, s.arms.iter().map(|a| mean(a.seconds_training.as_ref())));
    t
}

/// `test accuracy (points)`.
pub(crate) fn metric(s: &Summary) -> String {
    if s.unit.is_empty() { s.metric.clone() } else { format!("{} ({})", s.metric, s.unit) }
}

/// What tests say, one row each.
fn tests(t: &mut Table, tests: &[&Test], d: usize) {
    let of = |f: &dyn Fn(&Test) -> Option<String>| -> Vec<String> { tests.iter().map(|t| or_blank(f(t))).collect() };
    t.column("difference", 0, of(&|t| t.difference.map(|x| signed(x, d))));
    t.column("95 % interval", 0, of(&|t| Some(interval(t.interval(), d))));
    t.column("p", 0, of(&|t| t.p.map(p)));
    t.column("p (Holm)", 0, of(&|t| t.p_holm.map(p)));
    t.column("p (t)", 0, of(&|t| t.t.map(|t| p(t.p))));
    t.column("p (Wilcoxon)", 0, of(&|t| t.wilcoxon.map(|w| p(w.p))));
    if tests.iter().any(|t| t.equivalence.is_some()) {
        t.column("p (equivalence)", 0, of(&|t| t.equivalence.map(|e| p(e.p))));
    }
    t.column("d_z", 0, of(&|t| t.effect.map(|e| fixed(e.d_z, 2))));
    t.column("rounds for 80 %", 0, of(&|t| t.rounds_needed.map(count)));
    t.column("verdict", 0, of(&|t| Some(t.verdict.into())));
}

/// A line for each comparison.
pub(crate) fn comparisons(s: &Summary) -> Table {
    let mut t = Table::new(format!("Paired differences with {}, {}", s.baseline, metric(s)));
    t.column("arm", 0, s.comparisons.iter().map(|c| c.arm.clone()));
    t.column("n", 0, s.comparisons.iter().map(|c| c.rounds.to_string()));
    tests(&mut t, &s.comparisons.iter().map(|c| &c.test).collect::<Vec<_>>(), s.decimals());
    t
}

/// A line for each contrast of a matrix.
pub(crate) fn contrasts(s: &Summary) -> Table {
    let mut t = Table::new(format!("Factors of the matrix, {}", metric(s)));
    t.column("contrast", 0, s.contrasts.iter().map(|c| c.name.clone()));
    t.column("n", 0, s.contrasts.iter().map(|c| c.rounds.to_string()));
    tests(&mut t, &s.contrasts.iter().map(|c| &c.test).collect::<Vec<_>>(), s.decimals());
    t
}

/// A line for each comparison with pooled predictions.
pub(crate) fn mcnemar(s: &Summary) -> Table {
    let mut t = Table::new(
        "Predictions of all rounds together (McNemar; samples may be in several rounds, so p is a lower bound)",
    );
    let all: Vec<_> = s.comparisons.iter().filter_map(|c| Some((c, c.mcnemar.as_ref()?))).collect();
    t.column("arm", 0, all.iter().map(|(c, _)| c.arm.clone()));
    t.column("predictions", 0, all.iter().map(|(_, m)| count(m.samples)));
    t.column("the arm alone is right", 0, all.iter().map(|(_, m)| count(m.arm_only)));
    t.column(&format!("{} alone is right", s.baseline), 0, all.iter().map(|(_, m)| count(m.baseline_only)));
    t.column("p", 0, all.iter().map(|(_, m)| p(m.p)));
    t
}

/// Decimals that show three digits of the shortest mean time.
fn seconds_decimals(s: &Summary) -> usize {
    let means = s.arms.iter().filter_map(|a| Some(a.seconds_training.as_ref()?.mean)).filter(|m| *m > 0.0);
    means.reduce(f64::min).map_or(2, |m| (decimals(m) + 1).min(6))
}

/// A part of an arm's time.
type Part = fn(&ArmSummary) -> Option<&Spread>;

/// Seconds of each arm.
pub(crate) fn seconds(s: &Summary) -> Table {
    let mut t = Table::new("Seconds a round");
    let d = seconds_decimals(s);
    t.column("arm", 0, s.arms.iter().map(|a| a.name.clone()));
    let parts: [(&str, Part); 3] = [
        ("all", |a| a.seconds_per_round.as_ref()),
        ("training", |a| a.seconds_training.as_ref()),
        ("evaluating", |a| a.seconds_evaluating.as_ref()),
    ];
    for (name, of) in parts {
        t.column(name, 0, s.arms.iter().map(|a| or_blank(of(a).map(|v| mean_sd(v, d)))));
        t.column("95 % interval", 0, s.arms.iter().map(|a| or_blank(of(a).map(|v| interval(v.interval(), d)))));
    }
    t.column("epochs", 0, s.arms.iter().map(|a| or_blank(a.epochs.as_ref().map(|e| fixed(e.mean, 1)))));
    t
}

/// A line for each comparison with times.
pub(crate) fn times(s: &Summary) -> Table {
    let mut t = Table::new(format!("Seconds a round, as a multiple of {}", s.baseline));
    let all: Vec<_> = s.comparisons.iter().filter_map(|c: &Comparison| Some((c, c.time.as_ref()?))).collect();
    t.column("arm", 0, all.iter().map(|(c, _)| c.arm.clone()));
    t.column("ratio", 0, all.iter().map(|(_, r)| fixed(r.ratio, 3)));
    t.column("95 % interval", 0, all.iter().map(|(_, r)| interval(r.low.zip(r.high), 3)));
    t.column("p (Holm)", 0, all.iter().map(|(_, r)| or_blank(r.p_holm.map(p))));
    t.column("verdict", 0, all.iter().map(|(_, r)| r.verdict.into()));
    t
}

/// Arms that stand side by side in a table of metrics.
const ABREAST: usize = 5;

/// Every metric, mean ± sd, a few arms to a table.
pub(crate) fn metrics(s: &Summary) -> Vec<Table> {
    let table = |arms: &[ArmSummary]| {
        let mut t = Table::new("Every metric, mean ± sd over rounds");
        t.column("metric", 0, s.metrics.iter().cloned());
        for arm in arms {
            let cell = |m: &String| or_blank(arm.metrics.get(m).map(|v| mean_sd(v, s.decimals_of(m))));
            t.column(&arm.name, 0, s.metrics.iter().map(cell));
        }
        t
    };
    s.arms.chunks(ABREAST).map(table).collect()
}
