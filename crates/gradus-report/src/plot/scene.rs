//! What a picture is made of: shapes and words at places, in colours by meaning. Three writers turn it into files.

use super::font;
use super::ink::Ink;

/// The size of the words.
pub(super) const SIZE: f64 = 13.0;
/// The size of words that matter less.
pub(super) const SMALL: f64 = 12.0;

/// A picture.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub width: f64,
    pub height: f64,
    pub items: Vec<Item>,
}

/// A thing in it.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Shape(Shape),
    Text(Text),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    pub path: Path,
    pub fill: Option<Paint>,
    pub stroke: Option<Stroke>,
    /// Shown when a reader points at it.
    pub title: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Paint {
    pub ink: Ink,
    pub opacity: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stroke {
    pub paint: Paint,
    pub width: f64,
    /// The lengths of a dash and of a gap.
    pub dash: Option<(f64, f64)>,
}

#[derive(Clone, Debug)]
pub(super) struct Text {
    pub x: f64,
    /// The base line.
    pub y: f64,
    pub text: String,
    pub size: f64,
    pub bold: bool,
    pub ink: Ink,
    pub anchor: Anchor,
    /// Whether it runs from the bottom up.
    pub upwards: bool,
    pub title: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Lines and curves; parts of a region that lie on one another add up, corners and ends are round.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Path(pub Vec<Segment>);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Segment {
    Move(f64, f64),
    Line(f64, f64),
    Cubic(f64, f64, f64, f64, f64, f64),
    Close,
}

impl Ink {
    pub(super) fn paint(self) -> Paint {
        self.faint(1.0)
    }

    pub(super) fn faint(self, opacity: f64) -> Paint {
        Paint { ink: self, opacity }
    }

    pub(super) fn stroke(self, width: f64) -> Stroke {
        self.paint().stroke(width)
    }
}

impl Paint {
    pub(super) fn stroke(self, width: f64) -> Stroke {
        Stroke { paint: self, width, dash: None }
    }
}

impl Stroke {
    pub(super) fn dashed(self, dash: bool) -> Stroke {
        Stroke { dash: dash.then_some((5.0, 4.0)), ..self }
    }
}

impl Path {
    pub(super) fn line(points: impl IntoIterator<Item = (f64, f64)>) -> Path {
        let mut path = Path::default();
        path.add_line(points);
        path
    }

    pub(super) fn add_line(&mut self, points: impl IntoIterator<Item = (f64, f64)>) {
        for (i, (x, y)) in points.into_iter().enumerate() {
            self.0.push(if i == 0 { Segment::Move(x, y) } else { Segment::Line(x, y) });
        }
    }

    pub(super) fn add_loop(&mut self, points: impl IntoIterator<Item = (f64, f64)>) {
        self.add_line(points);
        self.0.push(Segment::Close);
    }

    pub(super) fn rect(x: f64, y: f64, w: f64, h: f64) -> Path {
        let mut path = Path::default();
        path.add_loop([(x, y), (x + w, y), (x + w, y + h), (x, y + h)]);
        path
    }

    /// A rectangle with round corners.
    pub(super) fn card(x: f64, y: f64, w: f64, h: f64, r: f64) -> Path {
        let (r, k) = (r.min(w / 2.0).min(h / 2.0), 0.4477 * r.min(w / 2.0).min(h / 2.0));
        use Segment::{Close, Cubic, Line, Move};
        Path(vec![
            Move(x + r, y),
            Line(x + w - r, y),
            Cubic(x + w - k, y, x + w, y + k, x + w, y + r),
            Line(x + w, y + h - r),
            Cubic(x + w, y + h - k, x + w - k, y + h, x + w - r, y + h),
            Line(x + r, y + h),
            Cubic(x + k, y + h, x, y + h - k, x, y + h - r),
            Line(x, y + r),
            Cubic(x, y + k, x + k, y, x + r, y),
            Close,
        ])
    }

    /// The mark of a series: shapes that are told apart without colour.
    pub(super) fn add_mark(&mut self, kind: usize, x: f64, y: f64, r: f64) {
        match kind % 5 {
            0 => {
                let k = 0.5523 * r;
                self.0.push(Segment::Move(x - r, y));
                self.0.push(Segment::Cubic(x - r, y - k, x - k, y - r, x, y - r));
                self.0.push(Segment::Cubic(x + k, y - r, x + r, y - k, x + r, y));
                self.0.push(Segment::Cubic(x + r, y + k, x + k, y + r, x, y + r));
                self.0.push(Segment::Cubic(x - k, y + r, x - r, y + k, x - r, y));
                self.0.push(Segment::Close);
            }
            1 => self.add_loop([(x, y - 1.2 * r), (x + 1.1 * r, y + 0.8 * r), (x - 1.1 * r, y + 0.8 * r)]),
            2 => self.add_loop(
                [(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]
                    .map(|(a, b)| (x + 0.88 * (a - x), y + 0.88 * (b - y))),
            ),
            3 => self.add_loop([(x, y - 1.3 * r), (x + 1.3 * r, y), (x, y + 1.3 * r), (x - 1.3 * r, y)]),
            _ => self.add_loop([(x, y + 1.2 * r), (x + 1.1 * r, y - 0.8 * r), (x - 1.1 * r, y - 0.8 * r)]),
        }
    }

    pub(super) fn mark(kind: usize, x: f64, y: f64, r: f64) -> Path {
        let mut path = Path::default();
        path.add_mark(kind, x, y, r);
        path
    }
}

impl Scene {
    pub(super) fn new(width: f64, height: f64) -> Scene {
        Scene { width, height, items: Vec::new() }
    }

    pub(super) fn shape(&mut self, shape: Shape) {
        if !shape.path.0.is_empty() {
            self.items.push(Item::Shape(shape));
        }
    }

    pub(super) fn fill(&mut self, path: Path, paint: Paint) {
        self.shape(Shape { path, fill: Some(paint), ..Shape::default() });
    }

    pub(super) fn stroke(&mut self, path: Path, stroke: Stroke) {
        self.shape(Shape { path, stroke: Some(stroke), ..Shape::default() });
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: Stroke) {
        self.stroke(Path::line([from, to]), stroke);
    }

    /// Writes a text; what is changed of it afterwards is in the words that follow.
    pub(super) fn text(&mut self, x: f64, y: f64, text: impl Into<String>) -> &mut Text {
        let text = text.into();
        let item = Text {
            x,
            y,
            text,
            size: SIZE,
            bold: false,
            ink: Ink::Text,
            anchor: Anchor::Start,
            upwards: false,
            title: None,
        };
        self.items.push(Item::Text(item));
        match self.items.last_mut() {
            Some(Item::Text(text)) => text,
            _ => unreachable!("it was just pushed"),
        }
    }

    /// Writes a text that may not fit; what is left out is shown when a reader points at it.
    pub(super) fn fitted(&mut self, x: f64, y: f64, text: &str, size: f64, bold: bool, room: f64) -> &mut Text {
        let short = font::fit(text, size, bold, room);
        let title = (short != text).then(|| text.to_string());
        let written = self.text(x, y, short);
        (written.size, written.bold, written.title) = (size, bold, title);
        written
    }
}

impl Text {
    pub(super) fn ink(&mut self, ink: Ink) -> &mut Text {
        self.ink = ink;
        self
    }

    pub(super) fn muted(&mut self) -> &mut Text {
        self.ink(Ink::Muted)
    }

    pub(super) fn size(&mut self, size: f64) -> &mut Text {
        self.size = size;
        self
    }

    pub(super) fn bold(&mut self) -> &mut Text {
        self.bold = true;
        self
    }

    pub(super) fn middle(&mut self) -> &mut Text {
        self.anchor = Anchor::Middle;
        self
    }

    pub(super) fn end(&mut self) -> &mut Text {
        self.anchor = Anchor::End;
        self
    }

    pub(super) fn upwards(&mut self) -> &mut Text {
        self.upwards = true;
        self
    }
}
