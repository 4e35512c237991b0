//! The plane: points, the true boundary, and where a network says which class.

use std::collections::BTreeMap;

use gradus_record::Grid;

use super::axis::{Scale, drawable, range};
use super::frame::{Entry, Sign, across, heading, legend, nothing};
use super::ink::Ink;
use super::scene::{Path, SMALL, Scene};
use super::{Plane, Plot};

const WIDTH: f64 = 400.0;
/// Shares of rounds beyond which the colour grows stronger.
const STEPS: [f32; 5] = [0.0, 0.1, 0.2, 0.3, 0.4];
/// Where a region is finer than this, it is drawn from fewer points.
const FINEST: usize = 160;
const MOST_POINTS: usize = 5000;

/// Draws points, the true boundary, and the decision region.
pub fn plane(plane: &Plane) -> Plot {
    let title = if plane.title.is_empty() { "Decision region".to_string() } else { plane.title.clone() };
    let n = plane.points.as_ref().map_or(0, |p| p.x.len().min(p.y.len()));
    let mut words = format!("{n} points of {} classes", plane.classes.len());
    if plane.field.is_some() {
        words +=
            if plane.share { ", and which class most rounds say where" } else { ", and which class is said where" };
    }
    let scene = draw(plane, &title);
    Plot::one(title, words, scene)
}

fn draw(plane: &Plane, title: &str) -> Scene {
    let field = plane.field.as_ref().filter(|g| usable(g)).map(coarser);
    let points: Vec<(f64, f64, usize)> = plane
        .points
        .iter()
        .flat_map(|p| {
            let labels = p.labels.iter().map(|l| *l as usize).chain(std::iter::repeat(0));
            p.x.iter().zip(&p.y).zip(labels).map(|((x, y), l)| (f64::from(*x), f64::from(*y), l))
        })
        .filter(|(x, y, _)| drawable(*x).is_some() && drawable(*y).is_some())
        .collect();
    let lines = || plane.boundary.iter().flatten().filter(|(x, y)| drawable(*x).is_some() && drawable(*y).is_some());
    let edges = |axis: usize| field.iter().flat_map(move |g| if axis == 0 { g.x } else { g.y });
    let xs = edges(0).chain(points.iter().map(|p| p.0)).chain(lines().map(|p| p.0));
    let ys = edges(1).chain(points.iter().map(|p| p.1)).chain(lines().map(|p| p.1));
    let (Some(xs), Some(ys)) = (range(xs), range(ys)) else { return nothing(WIDTH, title) };

    let mut scene = Scene::new(WIDTH, 0.0);
    let top = heading(&mut scene, title) + 4.0;
    let (left, end) = (44.0, WIDTH - 8.0);
    let (wide, tall) = (xs.1 / 2.0 - xs.0 / 2.0, ys.1 / 2.0 - ys.0 / 2.0);
    // A circle stays a circle, unless one side is much longer.
    let ratio = if wide > 0.0 && tall > 0.0 { (tall / wide).clamp(0.5, 1.5) } else { 1.0 };
    let bottom = top + (end - left) * ratio;
    let room = if field.is_some() { 0.0 } else { 0.02 };
    let x = Scale::over([xs.0, xs.1], room, left, end);
    let y = Scale::over([ys.0, ys.1], room, bottom, top);
    let at = |a: f64, b: f64| Some((x.at(a)?, y.at(b)?));

    if let Some(grid) = &field {
        region(&mut scene, grid, plane.share, &at);
    }
    for tick in y.ticks(5, false) {
        if let Some(place) = y.at(tick.value) {
            scene.text(left - 6.0, place + 4.0, tick.label).size(SMALL).muted().end();
            scene.line((left - 3.0, place), (left, place), Ink::Muted.stroke(1.0));
        }
    }
    let below = match field.is_some() {
        // Lines of a grid would be taken for boundaries.
        true => {
            let mut free = f64::NEG_INFINITY;
            for tick in x.ticks(4, false) {
                if let Some(place) = x.at(tick.value).filter(|p| *p >= free) {
                    scene.text(place.min(WIDTH - 14.0), bottom + 16.0, tick.label).size(SMALL).muted().middle();
                    scene.line((place, bottom), (place, bottom + 3.0), Ink::Muted.stroke(1.0));
                    free = place + 40.0;
                }
            }
            bottom + 20.0
        }
        false => across(&mut scene, &x, top, bottom, false),
    };
    scene.stroke(Path::rect(left, top, end - left, bottom - top), Ink::Muted.stroke(1.0));

    let mut boundary = Path::default();
    for line in &plane.boundary {
        let mut run = Vec::new();
        for (a, b) in line.iter().take(20_000) {
            match at(*a, *b) {
                Some(p) => run.push(p),
                None => boundary.add_line(std::mem::take(&mut run)),
            }
        }
        boundary.add_line(run);
    }
    let has_boundary = !boundary.0.is_empty();
    scene.stroke(boundary, Ink::Text.stroke(1.8).dashed(true));

    let mut entries = dots(&mut scene, plane, &points, &at);
    if has_boundary {
        let sign = Sign::Line { ink: Ink::Text, dashed: true, mark: None };
        entries.push(Entry { name: "true boundary".into(), sign });
    }
    if field.is_some() {
        let name = if plane.share { "half of the rounds" } else { "the network's boundary" };
        let sign = Sign::Line { ink: Ink::Text, dashed: false, mark: None };
        entries.push(Entry { name: name.into(), sign });
        for class in 0..2 {
            let said = name_of(plane, class);
            let sign = Sign::Area { ink: Ink::Series(class), opacity: if plane.share { 0.35 } else { 0.25 } };
            let name = if plane.share { format!("most say {said}") } else { format!("says {said}") };
            entries.push(Entry { name, sign });
        }
    }
    scene.height = legend(&mut scene, &entries, 8.0, below + 6.0) + 4.0;
    scene
}

fn name_of(plane: &Plane, class: usize) -> String {
    plane.classes.get(class).cloned().unwrap_or_else(|| format!("class {class}"))
}

/// The points of each class by a mark of its own; returns the legend.
fn dots(
    scene: &mut Scene,
    plane: &Plane,
    points: &[(f64, f64, usize)],
    at: &impl Fn(f64, f64) -> Option<(f64, f64)>,
) -> Vec<Entry> {
    let mut classes: BTreeMap<usize, Vec<(f64, f64)>> = BTreeMap::new();
    // A file of millions of points would show a grey square: every n-th is drawn.
    for (a, b, class) in points.iter().step_by(points.len().div_ceil(MOST_POINTS).max(1)) {
        classes.entry(*class).or_default().extend(at(*a, *b));
    }
    let radius = match points.len() {
        0..=300 => 3.0,
        301..=1000 => 2.4,
        _ => 1.7,
    };
    let mut entries = Vec::new();
    for (class, places) in classes {
        let ink = Ink::Series(class);
        let mut path = Path::default();
        let round = class % 5 == 0;
        for (x, y) in places {
            match round {
                true => path.add_line([(x, y), (x, y)]),
                false => path.add_mark(class, x, y, radius),
            }
        }
        // A rim of the page's colour keeps points apart from a region of their own colour.
        scene.stroke(path.clone(), Ink::Page.faint(0.85).stroke(if round { 2.0 * radius + 1.4 } else { 1.4 }));
        match round {
            true => scene.stroke(path, ink.stroke(2.0 * radius)),
            false => scene.fill(path, ink.paint()),
        }
        entries.push(Entry { name: name_of(plane, class), sign: Sign::Mark { ink, kind: class } });
        if entries.len() > 40 {
            break;
        }
    }
    entries
}

fn usable(grid: &Grid) -> bool {
    let corners = [grid.x[0], grid.x[1], grid.y[0], grid.y[1]].iter().all(|v| drawable(*v) == Some(*v));
    let filled = grid.width > 1 && grid.height > 1 && grid.width.checked_mul(grid.height) == Some(grid.values.len());
    corners && filled && grid.x[0] != grid.x[1] && grid.y[0] != grid.y[1]
}

/// The grid with no more points than a picture shows.
fn coarser(grid: &Grid) -> Grid {
    let (w, h) = (grid.width.min(FINEST), grid.height.min(FINEST));
    let pick = |i: usize, from: usize, to: usize| (i * (from - 1) + (to - 1) / 2) / (to - 1);
    let values = (0..h)
        .flat_map(|j| (0..w).map(move |i| (i, j)))
        .map(|(i, j)| grid.values[pick(j, grid.height, h) * grid.width + pick(i, grid.width, w)])
        .collect();
    Grid { width: w, height: h, values, ..grid.clone() }
}

/// Fills where each class is said. Regions lie on one another, so that steps leave no seams.
fn region(scene: &mut Scene, grid: &Grid, share: bool, at: &impl Fn(f64, f64) -> Option<(f64, f64)>) {
    let steps = if share { &STEPS[..] } else { &STEPS[..1] };
    for (class, sign) in [(0, -1.0), (1, 1.0)] {
        for step in steps {
            let mut path = Path::default();
            for points in contours(grid, |v| sign * v - step) {
                path.add_loop(points.into_iter().filter_map(|(a, b)| at(a, b)));
            }
            scene.fill(path, Ink::Series(class).faint(if share { 0.11 } else { 0.25 }));
        }
    }
    let mut path = Path::default();
    for points in contours(grid, |v| v) {
        outline(grid, points, at, &mut path);
    }
    scene.stroke(path, Ink::Text.faint(0.85).stroke(1.4));
}

/// Adds a contour, without the parts that run along the edge of the grid.
fn outline(grid: &Grid, mut points: Vec<(f64, f64)>, at: &impl Fn(f64, f64) -> Option<(f64, f64)>, path: &mut Path) {
    let edge = |p: (f64, f64), q: (f64, f64)| {
        grid.x.iter().any(|x| p.0 == *x && q.0 == *x) || grid.y.iter().any(|y| p.1 == *y && q.1 == *y)
    };
    if let Some(first) = points.first().copied() {
        points.push(first);
    }
    let mut run: Vec<(f64, f64)> = Vec::new();
    for pair in points.windows(2) {
        if edge(pair[0], pair[1]) {
            path.add_line(std::mem::take(&mut run));
            continue;
        }
        if run.is_empty() {
            run.extend(at(pair[0].0, pair[0].1));
        }
        run.extend(at(pair[1].0, pair[1].1));
    }
    path.add_line(run);
}

/// The closed lines around where `level` of a value is above 0 (marching squares on the grid and a rim of nothing).
fn contours(grid: &Grid, level: impl Fn(f32) -> f32) -> Vec<Vec<(f64, f64)>> {
    let (w, h) = (grid.width, grid.height);
    let step = |ends: [f64; 2], n: usize, i: f64| {
        // The rim lies on the edge itself.
        let share = (i / (n - 1) as f64).clamp(0.0, 1.0);
        ends[0] * (1.0 - share) + ends[1] * share
    };
    let value = |i: usize, j: usize| -> f32 {
        if i == 0 || j == 0 || i > w || j > h {
            return f32::NEG_INFINITY;
        }
        let v = level(grid.values[(j - 1) * w + i - 1]);
        if v.is_nan() { f32::NEG_INFINITY } else { v }
    };
    // Where the line crosses the side between two corners.
    let cross = |a: (usize, usize), b: (usize, usize)| -> (f64, f64) {
        let (u, v) = (value(a.0, a.1), value(b.0, b.1));
        let t = match (u.is_finite(), v.is_finite()) {
            (true, true) => f64::from(u) / (f64::from(u) - f64::from(v)),
            // Beside nothing, the line runs through the last number.
            (true, false) => 0.0,
            (false, true) => 1.0,
            (false, false) => 0.5,
        };
        let i = a.0 as f64 * (1.0 - t) + b.0 as f64 * t - 1.0;
        let j = a.1 as f64 * (1.0 - t) + b.1 as f64 * t - 1.0;
        (step(grid.x, w, i), step(grid.y, h, j))
    };
    // Pieces go from side to side with the region on their left; a side is named by its lower left corner.
    type Side = (usize, usize, bool);
    let mut next: BTreeMap<Side, Side> = BTreeMap::new();
    let corners = |s: Side| if s.2 { ((s.0, s.1), (s.0 + 1, s.1)) } else { ((s.0, s.1), (s.0, s.1 + 1)) };
    for j in 0..=h {
        for i in 0..=w {
            let inside = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)].map(|(i, j)| value(i, j) > 0.0);
            let (south, east) = ((i, j, true), (i + 1, j, false));
            let (north, west) = ((i, j + 1, true), (i, j, false));
            let sides = [south, east, north, west];
            // Going around, the region is left through one side and entered again through another.
            for k in 0..4 {
                let (a, b) = (inside[k], inside[(k + 1) % 4]);
                if a && !b {
                    // Leaving through side k: the line that enters the cell there goes on to the side where the region
                    // begins, searched backwards, so that two corners of the region across stay apart.
                    let to = (1..4).map(|m| (k + 4 - m) % 4).find(|m| !inside[*m] && inside[(*m + 1) % 4]);
                    if let Some(to) = to {
                        next.insert(sides[k], sides[to]);
                    }
                }
            }
        }
    }
    let mut loops = Vec::new();
    while let Some((start, _)) = next.first_key_value().map(|(a, b)| (*a, *b)) {
        let mut points = Vec::new();
        let mut side = start;
        while let Some(to) = next.remove(&side) {
            let (a, b) = corners(side);
            points.push(cross(a, b));
            side = to;
        }
        loops.push(points);
    }
    loops
}
