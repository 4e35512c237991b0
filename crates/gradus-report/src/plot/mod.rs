//! Plots: plain numbers in, a picture out.
//!
//! Every function takes plain numbers and returns a [`Plot`], which is written as SVG in a page's colours, or as an SVG,
//! PNG or PDF file. A function lays shapes and words out once (a `Scene`), so all of them show the same.
//! Nothing here panics, whatever the numbers are: what is no number is left out, and a plot of nothing says so.

mod architecture;
mod axis;
mod confusion;
mod curves;
mod dots;
mod font;
mod forest;
mod frame;
mod ink;
mod pdf;
mod plane;
mod png;
mod scene;
mod strip;
mod svg;

use gradus_record::{Grid, PointSet};

pub use architecture::architecture;
pub use confusion::confusion;
pub use curves::curves;
pub use forest::forest;
pub use ink::{COLOURS, colour, css};
pub use plane::plane;
pub use strip::strip;

use scene::Scene;

/// The width of a plot in a file or on a desk, and on a phone.
const WIDE: f64 = 720.0;
const NARROW: f64 = 380.0;

/// A finished picture.
#[derive(Clone, Debug)]
pub struct Plot {
    title: String,
    description: String,
    wide: Scene,
    /// The same for a narrow page, where it is laid out otherwise.
    narrow: Option<Scene>,
}

impl Plot {
    /// A picture that is laid out anew for a phone.
    fn both(title: impl Into<String>, description: impl Into<String>, draw: impl Fn(f64) -> Scene) -> Plot {
        let (title, description) = (title.into(), description.into());
        Plot { title, description, wide: draw(WIDE), narrow: Some(draw(NARROW)) }
    }

    /// A picture that fits everywhere.
    fn one(title: impl Into<String>, description: impl Into<String>, scene: Scene) -> Plot {
        Plot { title: title.into(), description: description.into(), wide: scene, narrow: None }
    }

    /// What is shown, in a line.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What is shown, in words for those who do not see it.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The picture as a part of an HTML page: a `<div class="plot">` whose colours and form follow the page's [`css`].
    pub fn inline(&self) -> String {
        let write = |scene, class| svg::write(scene, &self.title, &self.description, svg::Place::Page { class });
        let inside = match &self.narrow {
            Some(narrow) => write(&self.wide, "wide") + &write(narrow, "narrow"),
            None => write(&self.wide, "any"),
        };
        format!("<div class=\"plot\">\n{inside}</div>\n")
    }

    /// The picture as an SVG file, in light colours.
    pub fn svg(&self) -> String {
        svg::write(&self.wide, &self.title, &self.description, svg::Place::File)
    }

    /// The picture as a PNG file, with so many dots to a unit: 2 is sharp on most screens, 4 in print.
    pub fn png(&self, scale: f64) -> Vec<u8> {
        png::write(&self.wide, scale)
    }

    /// The picture as a PDF file of one page, with lines and words, not dots.
    pub fn pdf(&self) -> Vec<u8> {
        pdf::write(&self.wide, &self.title)
    }
}

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
    /// Whether the field is such a share: then the colour is the stronger, the more rounds agree.
    pub share: bool,
}
