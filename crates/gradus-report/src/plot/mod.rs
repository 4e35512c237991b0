//! Plots: plain numbers in, a picture out.

use gradus_record::{Grid, PointSet};

/// Paired differences with the baseline, one row an arm.
#[derive(Clone, Debug, Default)]
pub struct Forest {
    /// What is measured: `test accuracy`.
    pub metric: String,
    /// Its unit: `points`, or nothing.
    pub unit: String,
    /// The arm the others are compared with.
    pub baseline: String,
    /// The half width of the band in which a difference does not matter.
    pub margin: Option<f64>,
    /// Whether right of zero is better.
    pub larger_is_better: bool,
    /// The rows, from the top.
    pub rows: Vec<ForestRow>,
}

/// An arm against the baseline.
#[derive(Clone, Debug, Default)]
pub struct ForestRow {
    /// The arm.
    pub name: String,
    /// `better`, `worse`, `equivalent`, `identical` or `undecided`.
    pub verdict: String,
    /// The mean difference.
    pub mean: f64,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
    /// The difference of every round.
    pub differences: Vec<f64>,
    /// The arm's colour.
    pub colour: usize,
}

/// Lines over epochs or steps, with bands.
#[derive(Clone, Debug, Default)]
pub struct Curves {
    /// What is drawn.
    pub title: String,
    /// What runs to the right: `epoch`.
    pub x_label: String,
    /// What runs up.
    pub y_label: String,
    /// Whether the second axis is logarithmic.
    pub log_y: bool,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line with its band, and a thin line for every round.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// What the legend says.
    pub name: String,
    /// The arm's colour.
    pub colour: usize,
    /// Whether it is dashed (training samples beside test samples).
    pub dashed: bool,
    /// Where: epochs or steps.
    pub x: Vec<f64>,
    /// The mean over rounds; NaN leaves a gap.
    pub mean: Vec<f64>,
    /// The band's lower and upper edge, if there is one.
    pub band: Option<(Vec<f64>, Vec<f64>)>,
    /// Every round by itself.
    pub rounds: Vec<Vec<f64>>,
}

/// Every round of every arm as a dot.
#[derive(Clone, Debug, Default)]
pub struct Strip {
    /// What is measured, with its unit.
    pub x_label: String,
    /// The rows, from the top.
    pub rows: Vec<StripRow>,
}

/// The rounds of an arm.
#[derive(Clone, Debug, Default)]
pub struct StripRow {
    /// The arm.
    pub name: String,
    /// Its colour.
    pub colour: usize,
    /// Round and value.
    pub values: Vec<(usize, f64)>,
    /// Rounds that stand out as stuck.
    pub stuck: Vec<usize>,
    /// Mean.
    pub mean: f64,
    /// The interval of the mean.
    pub interval: Option<(f64, f64)>,
}

/// How often each class was taken for which.
#[derive(Clone, Debug, Default)]
pub struct Confusion {
    /// What is drawn.
    pub title: String,
    /// The classes.
    pub classes: Vec<String>,
    /// Rows are true classes, columns predicted ones; one more column where an output was no number.
    pub counts: Vec<Vec<u64>>,
}

/// The unit square (or another part of the plane): points, the true boundary, and where a network says which class.
#[derive(Clone, Debug, Default)]
pub struct Plane {
    /// What is drawn.
    pub title: String,
    /// The points.
    pub points: Option<PointSet>,
    /// The classes' names.
    pub classes: Vec<String>,
    /// The true boundary as closed or open polylines.
    pub boundary: Vec<Vec<(f64, f64)>>,
    /// Where it says which class: above 0 the second one. For a mean over rounds, the share of rounds minus one half.
    pub field: Option<Grid>,
}
