//! What plots have in common: axes, headings, legends, and the picture of nothing.

use super::axis::Scale;
use super::font;
use super::ink::Ink;
use super::scene::{Path, SIZE, SMALL, Scene};

/// Whether a picture of this width is read on a desk.
pub(super) fn wide(width: f64) -> bool {
    width >= 540.0
}

/// A picture that says that there is none.
pub(super) fn nothing(width: f64, title: &str) -> Scene {
    let mut scene = Scene::new(width, 90.0);
    scene.stroke(Path::card(1.0, 1.0, width - 2.0, 88.0, 6.0), Ink::Grid.stroke(1.0));
    if !title.is_empty() {
        scene.fitted(width / 2.0, 38.0, title, SIZE, true, width - 24.0).middle();
    }
    scene.text(width / 2.0, 60.0, "nothing to show").middle().muted();
    scene
}

/// Writes a heading in as many lines as it needs (three at most); returns where it ends.
pub(super) fn heading(scene: &mut Scene, text: &str) -> f64 {
    let mut y = 4.0;
    for line in font::wrap(text, SIZE + 1.0, true, scene.width - 8.0).into_iter().take(3) {
        y += 18.0;
        scene.text(4.0, y - 4.0, line).bold().size(SIZE + 1.0);
    }
    if y > 4.0 { y + 4.0 } else { y }
}

/// Vertical lines from `top` to `bottom` with numbers below; returns where these end.
pub(super) fn across(scene: &mut Scene, scale: &Scale, top: f64, bottom: f64, whole: bool) -> f64 {
    let (left, right) = scale.ends();
    let n = ((right - left) / 80.0).clamp(2.0, 8.0) as usize;
    let mut grid = Path::default();
    let mut free = f64::NEG_INFINITY;
    for tick in scale.ticks(n, whole) {
        let Some(x) = scale.at(tick.value) else { continue };
        grid.add_line([(x, top), (x, bottom)]);
        let half = font::width(&tick.label, SMALL, false) / 2.0;
        let at = x.clamp(half.min(scene.width / 2.0), (scene.width - half).max(scene.width / 2.0));
        if at - half >= free {
            scene.text(at, bottom + 16.0, tick.label).size(SMALL).muted().middle();
            free = at + half + 6.0;
        }
    }
    scene.stroke(grid, Ink::Grid.stroke(1.0));
    scene.line((left, bottom), (right, bottom), Ink::Muted.stroke(1.0));
    bottom + 20.0
}

/// An entry of a legend.
pub(super) struct Entry {
    pub name: String,
    pub sign: Sign,
}

/// What stands before its name.
pub(super) enum Sign {
    Line { ink: Ink, dashed: bool, mark: Option<usize> },
    Mark { ink: Ink, kind: usize },
    Area { ink: Ink, opacity: f64 },
}

/// Writes entries in lines from left to right; returns where they end.
pub(super) fn legend(scene: &mut Scene, entries: &[Entry], left: f64, top: f64) -> f64 {
    let room = scene.width - left - 4.0;
    let (mut x, mut y) = (left, top);
    for entry in entries {
        let wanted = font::width(&entry.name, SMALL, false).min(room - 32.0);
        if x > left && x + 30.0 + wanted > left + room {
            (x, y) = (left, y + 19.0);
        }
        let middle = y + 9.0;
        match entry.sign {
            Sign::Line { ink, dashed, mark } => {
                scene.line((x + 1.0, middle), (x + 23.0, middle), ink.stroke(2.0).dashed(dashed));
                if let Some(kind) = mark {
                    scene.fill(Path::mark(kind, x + 12.0, middle, 3.5), ink.paint());
                }
            }
            Sign::Mark { ink, kind } => scene.fill(Path::mark(kind, x + 16.0, middle, 4.0), ink.paint()),
            Sign::Area { ink, opacity } => scene.fill(Path::rect(x + 4.0, y + 3.0, 19.0, 12.0), ink.faint(opacity)),
        }
        scene.fitted(x + 29.0, y + 13.0, &entry.name, SMALL, false, wanted + 0.5);
        x += 29.0 + wanted + 18.0;
    }
    if entries.is_empty() { top } else { y + 21.0 }
}
