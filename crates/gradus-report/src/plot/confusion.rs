//! How often each class was taken for which.

use super::axis::fixed;
use super::font;
use super::frame::{heading, nothing};
use super::ink::Ink;
use super::scene::{Path, SMALL, Scene, Shape};
use super::{Confusion, NARROW, Plot};

/// More classes than this are drawn without numbers.
const NUMBERED: usize = 15;

/// Draws how often each class was taken for which: rows are true classes.
pub fn confusion(confusion: &Confusion) -> Plot {
    let title = if confusion.title.is_empty() { "Confusion matrix".to_string() } else { confusion.title.clone() };
    let words: Vec<String> = confusion
        .counts
        .iter()
        .take(50)
        .enumerate()
        .map(|(i, row)| {
            let right = row.get(i).copied().unwrap_or(0);
            format!("{}: {right} of {} right", class(confusion, i), total(row))
        })
        .collect();
    Plot::both(title.clone(), words.join(". "), |width| draw(confusion, &title, width))
}

fn class(confusion: &Confusion, i: usize) -> String {
    match confusion.classes.get(i) {
        Some(name) => name.clone(),
        None if i == confusion.classes.len() && i > 0 => "no number".into(),
        None => i.to_string(),
    }
}

fn total(row: &[u64]) -> u64 {
    row.iter().fold(0, |a, b| a.saturating_add(*b))
}

/// `97 %`; what is not all and not nothing never looks like it.
fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p > 0.0 && p < 0.1 => "<0.1%".into(),
        p if p > 99.9 && p < 100.0 => ">99.9%".into(),
        p if p == 0.0 || p == 100.0 => format!("{}%", fixed(p, 0)),
        p => format!("{}%", fixed(p, 1)),
    }
}

fn draw(confusion: &Confusion, title: &str, width: f64) -> Scene {
    let rows = confusion.counts.len();
    let columns = confusion.counts.iter().map(Vec::len).max().unwrap_or(0);
    if rows == 0 || columns == 0 {
        return nothing(width, title);
    }
    let numbered = rows.max(columns) <= NUMBERED;
    let names: Vec<String> = (0..rows.max(columns)).map(|i| class(confusion, i)).collect();
    let widest = names.iter().map(|n| font::width(n, SMALL, false)).fold(0.0, f64::max);
    let left = (widest + 14.0).clamp(20.0, if width > NARROW { 160.0 } else { 92.0 }) + 20.0;
    let cell = ((width - left - 8.0) / columns as f64).min(if rows <= 3 { 84.0 } else { 60.0 });
    // What is narrower than the page is as wide as it is, so that it stays readable beside others.
    let width = width.min((left + cell * columns as f64 + 8.0).max(300.0));
    let mut scene = Scene::new(width, 0.0);
    let mut top = heading(&mut scene, title);
    // Names stand upright where they are wider than their column.
    let upright = widest > cell - 4.0;
    let tallest = if upright { widest.min(110.0) + 8.0 } else { 18.0 };
    let small = (cell * 0.9).min(SMALL);
    // Where rows are thinner than letters, some of the names are left out.
    let every = (11.0 / cell).ceil().max(1.0) as usize;
    scene.text(left + cell * columns as f64 / 2.0, top + 12.0, "said").size(SMALL).muted().middle();
    top += 18.0 + tallest;
    scene.text(14.0, top + cell * rows as f64 / 2.0, "true").size(SMALL).muted().middle().upwards();
    for (j, name) in names.iter().enumerate().take(columns).step_by(every) {
        let x = left + cell * (j as f64 + 0.5);
        if upright {
            scene.fitted(x + small / 3.0, top - 6.0, name, small.max(9.0), false, 110.0).upwards();
        } else {
            scene.text(x, top - 6.0, name.clone()).size(SMALL).middle();
        }
    }
    for (i, row) in confusion.counts.iter().enumerate() {
        let y = top + cell * i as f64;
        if i % every == 0 {
            scene.fitted(left - 7.0, y + cell / 2.0 + 4.0, &names[i], small.max(9.0), false, left - 30.0).end();
        }
        let sum = total(row);
        for (j, count) in row.iter().enumerate() {
            let x = left + cell * j as f64;
            let share = if sum == 0 { 0.0 } else { *count as f64 / sum as f64 };
            let ink = if i == j { Ink::Series(0) } else { Ink::Series(1) };
            let speaks = rows * columns <= 400;
            let title = (speaks && *count > 0)
                .then(|| format!("true {}, said {}: {count} of {sum} ({})", names[i], names[j], percent(share)));
            // Rare mistakes must be seen: the colour of the first one is not faint.
            let opacity = if *count == 0 { 0.0 } else { 0.08 + 0.47 * share.sqrt() };
            let gap = if cell > 20.0 { 1.0 } else { 0.3 };
            let path = Path::rect(x + gap, y + gap, cell - 2.0 * gap, cell - 2.0 * gap);
            let fill = if *count == 0 { Ink::Surface.paint() } else { ink.faint(opacity) };
            if *count > 0 || cell > 12.0 {
                scene.shape(Shape { path, fill: Some(fill), stroke: None, title });
            }
            if !numbered || cell < 17.0 {
                continue;
            }
            let (x, y) = (x + cell / 2.0, y + cell / 2.0);
            let text = percent(share);
            let both = cell >= 38.0 && *count > 0;
            let size = fitting(&count.to_string(), cell - 5.0, SMALL);
            let text_ink = if *count == 0 { Ink::Muted } else { Ink::Text };
            let line =
                scene.text(x, y + if both { -1.0 } else { 4.0 }, count.to_string()).size(size).middle().ink(text_ink);
            if i == j {
                line.bold();
            }
            if both {
                let size = fitting(&text, cell - 5.0, SMALL - 1.0);
                scene.text(x, y + 13.0, text).size(size).middle();
            }
        }
    }
    scene.height = top + cell * rows as f64 + 8.0;
    scene
}

/// The size in which a text fits.
fn fitting(text: &str, room: f64, most: f64) -> f64 {
    (most * room / font::width(text, most, true)).min(most)
}
