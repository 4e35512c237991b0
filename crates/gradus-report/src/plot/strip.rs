//! Every round of every arm as a dot, stuck ones by another mark.

use super::axis::{Scale, decimals, drawable, fixed, range, significant};
use super::dots::stack;
use super::font;
use super::forest::whisker;
use super::frame::{across, heading, nothing, wide};
use super::ink::Ink;
use super::scene::{Path, SMALL, Scene, Shape};
use super::{Plot, Strip, StripRow};

const SPEAKING: usize = 1500;
const RADIUS: f64 = 3.0;

/// Draws every round of every arm as a dot.
pub fn strip(strip: &Strip) -> Plot {
    let title =
        if strip.x_label.is_empty() { "Every round".to_string() } else { format!("Every round: {}", strip.x_label) };
    let words: Vec<String> = strip
        .rows
        .iter()
        .take(50)
        .map(|r| format!("{}: {} over {} rounds{}", r.name, numbers(r), r.values.len(), stuck(r)))
        .collect();
    Plot::both(title.clone(), words.join(". "), |width| draw(strip, &title, width))
}

fn numbers(row: &StripRow) -> String {
    let values = row.values.iter().filter_map(|(_, v)| drawable(*v));
    if drawable(row.mean).is_none() {
        return "no number".into();
    }
    let spread = match row.interval {
        Some((low, high)) if high > low => high / 2.0 - low / 2.0,
        _ => range(values).map_or(0.0, |(low, high)| high / 2.0 - low / 2.0),
    };
    let d = decimals(spread);
    let number = |v: f64| if v.abs() >= 1e6 { significant(v, 3) } else { fixed(v, d) };
    match row.interval {
        Some((low, high)) => format!("{} [{}, {}]", number(row.mean), number(low), number(high)),
        None => number(row.mean),
    }
}

fn stuck(row: &StripRow) -> String {
    match row.stuck.len() {
        0 => String::new(),
        n => format!(", {n} stuck"),
    }
}

fn draw(strip: &Strip, title: &str, width: f64) -> Scene {
    let values = || strip.rows.iter().flat_map(|r| r.values.iter().map(|(_, v)| *v)).filter_map(drawable);
    if values().next().is_none() {
        return nothing(width, title);
    }
    let wide = wide(width);
    let mut scene = Scene::new(width, 0.0);
    let top = heading(&mut scene, title) + 4.0;
    let said: Vec<String> = strip.rows.iter().map(|r| numbers(r) + &stuck(r)).collect();
    let widest =
        |texts: &mut dyn Iterator<Item = &String>, bold| texts.map(|t| font::width(t, SMALL, bold)).fold(0.0, f64::max);
    let names = (widest(&mut strip.rows.iter().map(|r| &r.name), true) + 18.0).clamp(40.0, 180.0);
    let right = (widest(&mut said.iter(), false) + 18.0).clamp(60.0, 215.0);
    let (left, end, tall) = if wide { (names, width - right, 52.0) } else { (14.0, width - 14.0, 72.0) };
    let intervals = strip.rows.iter().filter_map(|r| r.interval).flat_map(|(low, high)| [low, high]);
    let scale = Scale::over(values().chain(strip.rows.iter().map(|r| r.mean)).chain(intervals), 0.03, left, end);
    let bottom = top + tall * strip.rows.len() as f64 + 4.0;
    let below = across(&mut scene, &scale, top, bottom, false);
    let speaking = values().count() <= SPEAKING;
    for (i, row) in strip.rows.iter().enumerate() {
        let y = top + tall * i as f64;
        let middle = y + if wide { 22.0 } else { 42.0 };
        if i > 0 {
            scene.line((4.0, y), (width - 4.0, y), Ink::Grid.stroke(0.7));
        }
        if wide {
            scene.fitted(4.0, middle + 4.0, &row.name, SMALL, true, names - 14.0);
            scene.fitted(width - 4.0, middle + 4.0, &said[i], SMALL, false, right - 8.0).end();
        } else {
            // No line runs through words.
            scene.fill(Path::rect(0.0, y + 3.0, width, 20.0), Ink::Page.paint());
            let room = font::width(&said[i], SMALL, false).min(width * 0.6);
            scene.fitted(4.0, y + 17.0, &row.name, SMALL, true, width - room - 20.0);
            scene.fitted(width - 4.0, y + 17.0, &said[i], SMALL, false, room + 0.5).end();
        }
        rounds(&mut scene, &scale, row, middle, speaking);
        whisker(&mut scene, &scale, row.mean, row.interval, middle + 19.0, Ink::Text, 0);
    }
    scene
        .text((left + end) / 2.0, below + 14.0, font::fit(&strip.x_label, SMALL, false, end - left))
        .size(SMALL)
        .muted()
        .middle();
    let mut foot = below + 20.0;
    let mut note = "Below the dots: mean and interval.".to_string();
    if strip.rows.iter().any(|r| !r.stuck.is_empty()) {
        note += " Open squares with round numbers: stuck.";
    }
    for line in font::wrap(&note, SMALL, false, width - 8.0) {
        foot += 17.0;
        scene.text(4.0, foot, line).size(SMALL).muted();
    }
    scene.height = foot + 8.0;
    scene
}

fn rounds(scene: &mut Scene, scale: &Scale, row: &StripRow, y: f64, speaking: bool) {
    let ink = Ink::Series(row.colour);
    let mut seen: Vec<(usize, f64, f64)> =
        row.values.iter().filter_map(|(round, v)| Some((*round, *v, scale.at(*v)?))).collect();
    seen.sort_by(|a, b| a.2.total_cmp(&b.2).then(a.0.cmp(&b.0)));
    let xs: Vec<f64> = seen.iter().map(|s| s.2).collect();
    let offsets = stack(&xs, RADIUS * 0.85, 12.0);
    let mut many = Path::default();
    // Stuck rounds beside each other are named together.
    let mut named: Vec<(f64, f64, Vec<usize>)> = Vec::new();
    for ((round, value, x), offset) in seen.iter().zip(&offsets) {
        let is_stuck = row.stuck.contains(round);
        let title = speaking.then(|| format!("round {round}: {}", significant(*value, 5)));
        if is_stuck {
            let path = Path::mark(2, *x, y + offset, RADIUS + 0.4);
            let (fill, stroke) = (Some(Ink::Page.paint()), Some(Ink::Worse.stroke(1.7)));
            scene.shape(Shape { path, fill, stroke, title });
            match named.last_mut() {
                Some((_, to, rounds)) if x - *to < 34.0 => {
                    *to = *x;
                    rounds.push(*round);
                }
                _ => named.push((*x, *x, vec![*round])),
            }
        } else if speaking {
            let path = Path::mark(0, *x, y + offset, RADIUS);
            scene.shape(Shape { path, fill: Some(ink.faint(0.65)), title, ..Shape::default() });
        } else {
            many.add_line([(*x, y + offset), (*x, y + offset)]);
        }
    }
    scene.stroke(many, ink.faint(0.65).stroke(2.0 * RADIUS));
    for (from, to, mut rounds) in named {
        rounds.sort_unstable();
        let rounds: Vec<String> = rounds.iter().map(usize::to_string).collect();
        let all = rounds.join(", ");
        let shown = match rounds.len() {
            n if n > 6 => format!("{} … ({n})", rounds[..4].join(", ")),
            _ => all.clone(),
        };
        let half = font::width(&shown, SMALL - 1.0, false) / 2.0;
        let (left, right) = scale.ends();
        let x = ((from + to) / 2.0)
            .clamp((left - 8.0 + half).min((left + right) / 2.0), (right + 8.0 - half).max((left + right) / 2.0));
        let text = scene.text(x, y + 23.0, shown.clone()).size(SMALL - 1.0).ink(Ink::Worse).middle();
        text.title = (shown != all).then_some(all);
    }
}
