//! Paired differences with the baseline: every round as a dot, their mean, and its interval.

use super::axis::{Scale, decimals, drawable, range, signed};
use super::dots::stack;
use super::font;
use super::frame::{across, heading, nothing, wide};
use super::ink::Ink;
use super::scene::{Path, SMALL, Scene, Shape};
use super::{Forest, ForestRow, Plot};

/// More dots than this are drawn without words of their own.
const SPEAKING: usize = 1500;
const RADIUS: f64 = 2.6;

/// Draws paired differences with the baseline, one row an arm.
pub fn forest(forest: &Forest) -> Plot {
    let title = title(forest);
    let words: Vec<String> =
        forest.rows.iter().take(50).map(|r| format!("{}: {}", r.name, numbers(forest, r))).collect();
    Plot::both(title, words.join(". "), |width| draw(forest, width))
}

fn title(forest: &Forest) -> String {
    let unit = if forest.unit.is_empty() { String::new() } else { format!(" ({})", forest.unit) };
    let metric = if forest.metric.is_empty() { "the metric" } else { &forest.metric };
    match forest.baseline.as_str() {
        "" => format!("Difference in {metric}{unit}"),
        baseline => format!("Difference in {metric} from {baseline}{unit}"),
    }
}

/// `+1.53 [0.90, 2.11] better`.
fn numbers(forest: &Forest, row: &ForestRow) -> String {
    if row.verdict == "identical" {
        return "identical".into();
    }
    if drawable(row.mean).is_none() {
        return if row.verdict.is_empty() { "no number".into() } else { row.verdict.clone() };
    }
    let spread = row.interval.map_or(row.mean.abs(), |(low, high)| high / 2.0 - low / 2.0);
    let d = decimals(if spread == 0.0 { forest.margin.unwrap_or(1.0) } else { spread });
    let mut text = number(row.mean, d);
    if let Some((low, high)) = row.interval {
        text += &format!(" [{}, {}]", number(low, d), number(high, d));
    } else if row.differences.len() == 1 {
        text += " (one round)";
    }
    format!("{text} {}", row.verdict).trim_end().to_string()
}

fn number(v: f64, decimals: usize) -> String {
    if v.abs() >= 1e6 { super::axis::significant(v, 3) } else { signed(v, decimals) }
}

/// The axis, and whether some rounds lie beyond it: a few that lie far off must not press all others together.
fn axis(forest: &Forest, start: f64, end: f64) -> Scale {
    let margin = forest.margin.filter(|m| m.is_finite()).unwrap_or(0.0);
    let rows = || forest.rows.iter();
    let means = rows().map(|r| r.mean).chain(rows().filter_map(|r| r.interval).flat_map(|(low, high)| [low, high]));
    let core: Vec<f64> = means.chain([0.0, margin, -margin]).filter_map(drawable).collect();
    let mut all: Vec<f64> = rows().flat_map(|r| &r.differences).copied().filter_map(drawable).collect();
    all.sort_by(f64::total_cmp);
    let tail = all.len() / 20;
    let most = range(core.iter().chain(&all[tail..all.len() - tail]).copied());
    let (low, high) = most.unwrap_or((0.0, 1.0));
    let (first, last) = range(core.iter().chain(&all).copied()).unwrap_or((low, high));
    let far = last / 2.0 - first / 2.0 > 3.0 * (high / 2.0 - low / 2.0) && high > low;
    let ends = if far { [low, high] } else { [first, last] };
    Scale::over(ends, if far { 0.12 } else { 0.05 }, start, end)
}

fn draw(forest: &Forest, width: f64) -> Scene {
    if forest.rows.is_empty() {
        return nothing(width, &title(forest));
    }
    let wide = wide(width);
    let mut scene = Scene::new(width, 0.0);
    let top = heading(&mut scene, &title(forest)) + 4.0;
    let widest = |texts: &mut dyn Iterator<Item = String>, bold: bool| {
        texts.map(|t| font::width(&t, SMALL, bold)).fold(0.0, f64::max)
    };
    let said: Vec<String> = forest.rows.iter().map(|r| numbers(forest, r)).collect();
    let names = (widest(&mut forest.rows.iter().map(|r| r.name.clone()), true) + 16.0).clamp(40.0, 180.0);
    let right = (widest(&mut said.iter().cloned(), true) + 12.0).clamp(60.0, 235.0);
    let (left, end, tall) = if wide { (names, width - right, 36.0) } else { (12.0, width - 12.0, 54.0) };
    let scale = axis(forest, left, end);
    let bottom = top + tall * forest.rows.len() as f64 + 4.0;

    let margin = forest.margin.filter(|m| m.is_finite() && *m > 0.0);
    if let Some((Some(a), Some(b))) = margin.map(|m| (scale.at(-m), scale.at(m))) {
        scene.shape(Shape {
            path: Path::rect(a, top, b - a, bottom - top),
            fill: Some(Ink::Muted.faint(0.13)),
            title: margin.map(|m| format!("±{}: differences that do not matter", plain(m))),
            ..Shape::default()
        });
    }
    let mut below = across(&mut scene, &scale, top, bottom, false);
    if let Some(zero) = scale.at(0.0) {
        scene.line((zero, top), (zero, bottom), Ink::Text.stroke(1.3));
    }
    let dots: usize = forest.rows.iter().map(|r| r.differences.len()).sum();
    let mut beyond = 0;
    for (i, row) in forest.rows.iter().enumerate() {
        let y = top + tall * i as f64;
        let middle = y + if wide { tall / 2.0 } else { 36.0 };
        let verdict = match row.verdict.as_str() {
            "better" => Ink::Better,
            "worse" => Ink::Worse,
            _ => Ink::Text,
        };
        if wide {
            scene.fitted(4.0, middle + 4.0, &row.name, SMALL, true, names - 12.0);
            scene.fitted(width - 4.0, middle + 4.0, &said[i], SMALL, true, right - 8.0).end().ink(verdict);
        } else {
            // No line runs through words.
            scene.fill(Path::rect(0.0, y + 3.0, width, 20.0), Ink::Page.paint());
            let room = font::width(&said[i], SMALL, true).min(width * 0.62);
            scene.fitted(4.0, y + 17.0, &row.name, SMALL, true, width - room - 20.0);
            scene.fitted(width - 4.0, y + 17.0, &said[i], SMALL, true, room + 0.5).end().ink(verdict);
        }
        beyond += rounds(&mut scene, &scale, row, middle, dots <= SPEAKING);
        whisker(&mut scene, &scale, row.mean, row.interval, middle, Ink::Series(row.colour), row.colour);
    }
    let (better, worse) = ("better →", "← worse");
    let (better, worse) = if forest.larger_is_better { (better, worse) } else { ("worse →", "← better") };
    let inks = if forest.larger_is_better { (Ink::Better, Ink::Worse) } else { (Ink::Worse, Ink::Better) };
    scene.text(left, below + 14.0, worse).size(SMALL).ink(inks.1);
    scene.text(end, below + 14.0, better).size(SMALL).ink(inks.0).end();
    below += 20.0;
    let mut notes = Vec::new();
    if let Some(margin) = margin {
        notes.push(format!("Grey band: differences up to {} do not matter.", plain(margin)));
    }
    if beyond > 0 {
        let rounds = if beyond == 1 { "round lies" } else { "rounds lie" };
        notes.push(format!("Triangles at the edge: {beyond} {rounds} beyond it."));
    }
    for line in font::wrap(&notes.join(" "), SMALL, false, width - 8.0) {
        below += 17.0;
        scene.text(4.0, below, line).size(SMALL).muted();
    }
    scene.height = below + 8.0;
    scene
}

fn plain(v: f64) -> String {
    super::axis::significant(v, 3)
}

/// Every round's difference; returns how many lie beyond the axis.
fn rounds(scene: &mut Scene, scale: &Scale, row: &ForestRow, y: f64, speaking: bool) -> usize {
    let ink = Ink::Series(row.colour);
    let inside = scale.inside();
    let (seen, far): (Vec<f64>, Vec<f64>) =
        row.differences.iter().copied().filter_map(drawable).partition(|d| inside(*d));
    let xs: Vec<f64> = seen.iter().filter_map(|d| scale.at(*d)).collect();
    let offsets = stack(&xs, RADIUS * 0.9, 12.0);
    let mut path = Path::default();
    for ((value, x), offset) in seen.iter().zip(&xs).zip(&offsets) {
        if speaking {
            let path = Path::mark(0, *x, y + offset, RADIUS);
            let title = Some(number(*value, 2.max(decimals(*value))));
            scene.shape(Shape { path, fill: Some(ink.faint(0.4)), title, ..Shape::default() });
        } else {
            path.add_line([(*x, y + offset), (*x, y + offset)]);
        }
    }
    scene.stroke(path, ink.faint(0.4).stroke(2.0 * RADIUS));
    let (left, right) = scale.ends();
    for side in [-1.0, 1.0] {
        let here: Vec<String> =
            far.iter().filter(|d| (**d > 0.0) == (side > 0.0)).map(|d| number(*d, 2.max(decimals(*d)))).collect();
        if here.is_empty() {
            continue;
        }
        let x = if side > 0.0 { right } else { left };
        let mut path = Path::default();
        path.add_loop([(x, y), (x - 7.0 * side, y - 5.0), (x - 7.0 * side, y + 5.0)]);
        let title = Some(here.into_iter().take(20).collect::<Vec<_>>().join(", "));
        scene.shape(Shape { path, fill: Some(ink.faint(0.8)), title, ..Shape::default() });
    }
    far.len()
}

/// A mean and its interval.
pub(super) fn whisker(
    scene: &mut Scene,
    scale: &Scale,
    mean: f64,
    interval: Option<(f64, f64)>,
    y: f64,
    ink: Ink,
    mark: usize,
) {
    let Some(x) = scale.at(mean) else { return };
    if let Some((Some(a), Some(b))) = interval.map(|(low, high)| (scale.at(low), scale.at(high))) {
        let mut path = Path::line([(a, y), (b, y)]);
        path.add_line([(a, y - 4.5), (a, y + 4.5)]);
        path.add_line([(b, y - 4.5), (b, y + 4.5)]);
        scene.stroke(path.clone(), Ink::Page.faint(0.8).stroke(5.0));
        scene.stroke(path, ink.stroke(2.2));
    }
    // A short interval is not hidden behind its mean.
    let short = interval.is_some_and(|(low, high)| match (scale.at(low), scale.at(high)) {
        (Some(a), Some(b)) => b - a < 22.0,
        _ => false,
    });
    let (radius, rim) = if short { (2.4, 0.0) } else { (4.2, 1.4) };
    // Marks repeat later than colours do, so that two arms of one colour differ.
    let path = Path::mark(mark / super::COLOURS + 3, x, y, radius);
    scene.shape(Shape { path, fill: Some(ink.paint()), stroke: Some(Ink::Page.stroke(rim)), title: None });
}
