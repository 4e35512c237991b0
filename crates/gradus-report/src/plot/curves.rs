//! Lines over epochs or steps: means, bands, and a thin line for every round.

use super::axis::{Scale, drawable, range, significant};
use super::font;
use super::frame::{Entry, Sign, across, heading, legend, nothing, wide};
use super::ink::Ink;
use super::scene::{Path, SMALL, Scene, Shape};
use super::{COLOURS, Curves, Line, Plot};

/// About how many points all thin lines together may have.
const POINTS: usize = 12_000;

/// Draws lines over epochs or steps.
pub fn curves(curves: &Curves) -> Plot {
    let words: Vec<String> = curves
        .lines
        .iter()
        .take(50)
        .filter_map(|line| {
            let (x, y) = line.x.iter().zip(&line.mean).rfind(|(x, y)| x.is_finite() && y.is_finite())?;
            Some(format!("{}: {} at {} {}", line.name, significant(*y, 4), curves.x_label, significant(*x, 6)))
        })
        .collect();
    Plot::both(title(curves), words.join(". "), |width| draw(curves, width))
}

fn title(curves: &Curves) -> String {
    if curves.title.is_empty() { format!("{} over {}s", curves.y_label, curves.x_label) } else { curves.title.clone() }
}

/// The values of a line, those of its band and its rounds.
fn values(line: &Line) -> impl Iterator<Item = f64> + '_ {
    let n = line.x.len();
    let band = line.band.iter().flat_map(move |(low, high)| low.iter().take(n).chain(high.iter().take(n)));
    line.mean.iter().take(n).chain(band).chain(line.rounds.iter().flat_map(move |r| r.iter().take(n))).copied()
}

fn draw(curves: &Curves, width: f64) -> Scene {
    let usable = |v: f64| drawable(v).filter(|v| !curves.log_y || *v > 0.0);
    let ys: Vec<f64> = curves.lines.iter().flat_map(values).filter_map(usable).collect();
    let xs = || curves.lines.iter().flat_map(|l| &l.x).copied().filter_map(drawable);
    let Some((first, last)) = range(xs()).filter(|_| !ys.is_empty()) else {
        return nothing(width, &title(curves));
    };
    let mut scene = Scene::new(width, 0.0);
    let mut top = heading(&mut scene, &title(curves));
    let label = if curves.log_y { format!("{} (logarithmic)", curves.y_label) } else { curves.y_label.clone() };
    if !curves.y_label.is_empty() {
        scene.fitted(4.0, top + 13.0, &label, SMALL, false, width - 8.0).muted();
        top += 20.0;
    }
    top += 8.0;
    let tall = if wide(width) { 300.0 } else { 230.0 };
    let (above, bottom) = (top, top + tall);
    let y_scale = match curves.log_y {
        true => Scale::log_over(ys.iter().copied(), bottom, above),
        false => Scale::over(ys.iter().copied(), 0.03, bottom, above),
    };
    let ticks = y_scale.ticks(if wide(width) { 6 } else { 5 }, false);
    let left = ticks.iter().map(|t| font::width(&t.label, SMALL, false)).fold(0.0, f64::max).min(width / 3.0) + 12.0;
    let end = width - 14.0;
    // Epochs are whole; one alone stands in the middle.
    let whole = xs().all(|x| x.fract() == 0.0);
    let x_scale = match first == last {
        true if whole && first.abs() < 1e9 => Scale::over([first - 1.0, first + 1.0], 0.0, left, end),
        _ => Scale::over([first, last], 0.0, left, end),
    };
    let mut grid = Path::default();
    for tick in ticks {
        let Some(y) = y_scale.at(tick.value) else { continue };
        grid.add_line([(left, y), (end, y)]);
        scene.text(left - 7.0, y + 4.0, tick.label).size(SMALL).muted().end();
    }
    scene.stroke(grid, Ink::Grid.stroke(1.0));
    let below = across(&mut scene, &x_scale, above, bottom, whole);
    scene
        .text((left + end) / 2.0, below + 12.0, font::fit(&curves.x_label, SMALL, false, end - left))
        .size(SMALL)
        .muted()
        .middle();

    let rounds: usize = curves.lines.iter().map(|l| l.rounds.len()).sum();
    let columns = (POINTS / (4 * rounds.max(1))).clamp(6, (end - left) as usize);
    let main = (POINTS / curves.lines.len().max(1)).clamp(6, (end - left) as usize);
    let place = Places { x: &x_scale, y: &y_scale, left, end };
    for line in &curves.lines {
        if let Some((low, high)) = &line.band {
            let mut path = Path::default();
            place.band(line, low, high, main, &mut path);
            scene.fill(path, Ink::Series(line.colour).faint(0.14));
        }
    }
    for line in &curves.lines {
        let mut path = Path::default();
        for round in &line.rounds {
            place.line(&line.x, round, columns, &mut path);
        }
        let faint = if line.rounds.len() > 12 { 0.2 } else { 0.32 };
        scene.stroke(path, Ink::Series(line.colour).faint(faint).stroke(0.8).dashed(line.dashed && columns > 50));
    }
    for (i, line) in curves.lines.iter().enumerate() {
        let mut path = Path::default();
        place.line(&line.x, &line.mean, main, &mut path);
        let dots = path.clone();
        let ink = Ink::Series(line.colour);
        // Where points stand closer than the eye tells apart, a bold line would be a bar.
        let dense = line.x.len() as f64 > end - left;
        scene.stroke(path, ink.stroke(if dense { 1.0 } else { 2.0 }).dashed(line.dashed && !dense));
        // A point that has no neighbour is no line: it is a dot.
        let mut alone = Path::default();
        for run in runs(&dots) {
            if let [only] = run[..] {
                alone.add_mark(0, only.0, only.1, 3.5);
            }
        }
        let fill = if line.dashed { Ink::Page } else { ink };
        scene.shape(Shape { path: alone, fill: Some(fill.paint()), stroke: Some(ink.stroke(1.6)), title: None });
        if let Some(kind) = mark(line) {
            let mut marks = Path::default();
            let at = place.seen(&line.x, &line.mean);
            let every = (at.len() / 6).max(1);
            for (x, y) in at.into_iter().skip(i % every).step_by(every) {
                marks.add_mark(kind, x, y, 3.5);
            }
            scene.fill(marks, ink.paint());
        }
    }
    let entries: Vec<Entry> = curves
        .lines
        .iter()
        .map(|l| {
            let sign = Sign::Line { ink: Ink::Series(l.colour), dashed: l.dashed, mark: mark(l) };
            Entry { name: l.name.clone(), sign }
        })
        .collect();
    scene.height = legend(&mut scene, &entries, 4.0, below + 22.0) + 4.0;
    scene
}

/// The marks of a line whose colour was taken already.
fn mark(line: &Line) -> Option<usize> {
    (line.colour >= COLOURS).then_some(line.colour / COLOURS)
}

/// The points of each piece of a path.
fn runs(path: &Path) -> Vec<Vec<(f64, f64)>> {
    use super::scene::Segment::{Line, Move};
    let mut runs: Vec<Vec<(f64, f64)>> = Vec::new();
    for segment in &path.0 {
        match *segment {
            Move(x, y) => runs.push(vec![(x, y)]),
            Line(x, y) => {
                if let Some(run) = runs.last_mut() {
                    run.push((x, y));
                }
            }
            _ => {}
        }
    }
    runs
}

struct Places<'a> {
    x: &'a Scale,
    y: &'a Scale,
    left: f64,
    end: f64,
}

impl Places<'_> {
    /// Every point that can be seen.
    fn seen(&self, xs: &[f64], ys: &[f64]) -> Vec<(f64, f64)> {
        xs.iter().zip(ys).filter_map(|(x, y)| Some((self.x.at(*x)?, self.y.at(*y)?))).collect()
    }

    fn column(&self, x: f64, columns: usize) -> usize {
        (((x - self.left) / (self.end - self.left)) * columns as f64) as usize
    }

    /// Adds a line with a gap at every NaN. Where a column holds more points than can be seen, its first, least, greatest
    /// and last stay: no spike is lost.
    fn line(&self, xs: &[f64], ys: &[f64], columns: usize, path: &mut Path) {
        let mut run: Vec<(f64, f64)> = Vec::new();
        for (x, y) in xs.iter().zip(ys) {
            match (self.x.at(*x), self.y.at(*y)) {
                (Some(x), Some(y)) => run.push((x, y)),
                (_, _) => self.end_run(&mut run, columns, path),
            }
        }
        self.end_run(&mut run, columns, path);
    }

    fn end_run(&self, run: &mut Vec<(f64, f64)>, columns: usize, path: &mut Path) {
        let points = std::mem::take(run);
        if points.len() <= 2 * columns {
            path.add_line(points);
            return;
        }
        let mut kept = Vec::new();
        for column in points.chunk_by(|a, b| self.column(a.0, columns) == self.column(b.0, columns)) {
            let by = |i: &usize, j: &usize| column[*i].1.total_cmp(&column[*j].1);
            let least = (0..column.len()).min_by(by).unwrap_or(0);
            let greatest = (0..column.len()).max_by(by).unwrap_or(0);
            let mut keep = vec![0, least, greatest, column.len() - 1];
            keep.sort_unstable();
            keep.dedup();
            kept.extend(keep.into_iter().map(|i| column[i]));
        }
        path.add_line(kept);
    }

    /// Adds the region between two edges, one piece for every stretch without NaN.
    fn band(&self, line: &Line, low: &[f64], high: &[f64], columns: usize, path: &mut Path) {
        let mut run: Vec<(f64, f64, f64)> = Vec::new();
        let mut end = |run: &mut Vec<(f64, f64, f64)>| {
            let mut points = std::mem::take(run);
            if points.len() > 2 * columns {
                points = points
                    .chunk_by(|a, b| self.column(a.0, columns) == self.column(b.0, columns))
                    .map(|c| c.iter().fold(c[0], |m, p| (m.0, m.1.max(p.1), m.2.min(p.2))))
                    .collect();
            }
            if points.len() > 1 {
                path.add_loop(points.iter().map(|p| (p.0, p.1)).chain(points.iter().rev().map(|p| (p.0, p.2))));
            } else if let [(x, a, b)] = points[..] {
                // One epoch: a bar.
                path.add_loop([(x - 5.0, a), (x + 5.0, a), (x + 5.0, b), (x - 5.0, b)]);
            }
        };
        let floor = self.y.ends().0;
        for (x, (low, high)) in line.x.iter().zip(low.iter().zip(high)) {
            // An edge below zero has no logarithm: there the band reaches the floor.
            let low = if low.is_finite() { self.y.at(*low).or(Some(floor)) } else { None };
            match (self.x.at(*x), low, self.y.at(*high)) {
                (Some(x), Some(low), Some(high)) => run.push((x, low, high)),
                _ => end(&mut run),
            }
        }
        end(&mut run);
    }
}
