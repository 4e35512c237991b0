//! A scene as PNG.

use tiny_skia::{Color, FillRule, LineCap, LineJoin, Paint, PathBuilder, Pixmap, Stroke, StrokeDash, Transform};
use ttf_parser::OutlineBuilder;

use super::font;
use super::ink::Ink;
use super::scene::{Anchor, Item, Path, Scene, Segment, Text};

/// The most dots a picture may have: more would not be looked at, and would fill the memory.
const MOST: f64 = 4e7;

pub(super) fn write(scene: &Scene, scale: f64) -> Vec<u8> {
    let scale = if scale.is_finite() { scale } else { 1.0 };
    let scale = scale.clamp(0.05, (MOST / (scene.width * scene.height)).sqrt());
    let side = |v: f64| (v * scale).ceil().max(1.0) as u32;
    let Some(mut map) = Pixmap::new(side(scene.width), side(scene.height)) else { return Vec::new() };
    let [r, g, b] = Ink::Page.rgb();
    map.fill(Color::from_rgba8(r, g, b, 255));
    let view = Transform::from_scale(scale as f32, scale as f32);
    for item in &scene.items {
        match item {
            Item::Shape(shape) => {
                let Some(path) = outline(&shape.path) else { continue };
                if let Some(fill) = &shape.fill {
                    map.fill_path(&path, &paint(fill.ink, fill.opacity), FillRule::Winding, view, None);
                }
                if let Some(stroke) = &shape.stroke {
                    let pen = Stroke {
                        width: stroke.width as f32,
                        line_cap: LineCap::Round,
                        line_join: LineJoin::Round,
                        dash: stroke.dash.and_then(|(on, off)| StrokeDash::new(vec![on as f32, off as f32], 0.0)),
                        ..Stroke::default()
                    };
                    map.stroke_path(&path, &paint(stroke.paint.ink, stroke.paint.opacity), &pen, view, None);
                }
            }
            Item::Text(text) => {
                if let Some(path) = letters(text) {
                    map.fill_path(&path, &paint(text.ink, 1.0), FillRule::Winding, view, None);
                }
            }
        }
    }
    map.encode_png().unwrap_or_default()
}

fn paint(ink: Ink, opacity: f64) -> Paint<'static> {
    let [r, g, b] = ink.rgb();
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color_rgba8(r, g, b, (opacity.clamp(0.0, 1.0) * 255.0).round() as u8);
    paint
}

fn outline(path: &Path) -> Option<tiny_skia::Path> {
    let mut pen = PathBuilder::new();
    let f = |v: f64| v as f32;
    for segment in &path.0 {
        match *segment {
            Segment::Move(x, y) => pen.move_to(f(x), f(y)),
            Segment::Line(x, y) => pen.line_to(f(x), f(y)),
            Segment::Cubic(a, b, c, d, x, y) => pen.cubic_to(f(a), f(b), f(c), f(d), f(x), f(y)),
            Segment::Close => pen.close(),
        }
    }
    pen.finish()
}

/// Where a text begins, and its direction.
pub(super) fn start(text: &Text) -> (f64, f64) {
    let back = match text.anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => font::exact_width(&text.text, text.size, text.bold) / 2.0,
        Anchor::End => font::exact_width(&text.text, text.size, text.bold),
    };
    if text.upwards { (text.x, text.y + back) } else { (text.x - back, text.y) }
}

fn letters(text: &Text) -> Option<tiny_skia::Path> {
    struct Pen {
        path: PathBuilder,
        to: Transform,
    }
    impl Pen {
        fn at(&self, x: f32, y: f32) -> (f32, f32) {
            let t = &self.to;
            (t.sx * x + t.kx * y + t.tx, t.ky * x + t.sy * y + t.ty)
        }
    }
    impl OutlineBuilder for Pen {
        fn move_to(&mut self, x: f32, y: f32) {
            let (x, y) = self.at(x, y);
            self.path.move_to(x, y);
        }
        fn line_to(&mut self, x: f32, y: f32) {
            let (x, y) = self.at(x, y);
            self.path.line_to(x, y);
        }
        fn quad_to(&mut self, a: f32, b: f32, x: f32, y: f32) {
            let ((a, b), (x, y)) = (self.at(a, b), self.at(x, y));
            self.path.quad_to(a, b, x, y);
        }
        fn curve_to(&mut self, a: f32, b: f32, c: f32, d: f32, x: f32, y: f32) {
            let ((a, b), (c, d), (x, y)) = (self.at(a, b), self.at(c, d), self.at(x, y));
            self.path.cubic_to(a, b, c, d, x, y);
        }
        fn close(&mut self) {
            self.path.close();
        }
    }
    let face = font::face(text.bold);
    let unit = text.size / f64::from(face.units_per_em());
    let (mut x, mut y) = start(text);
    let mut pen = Pen { path: PathBuilder::new(), to: Transform::identity() };
    for letter in text.text.chars() {
        let glyph = font::glyph(text.bold, letter);
        let (s, tx, ty) = (unit as f32, x as f32, y as f32);
        pen.to = match text.upwards {
            false => Transform::from_row(s, 0.0, 0.0, -s, tx, ty),
            true => Transform::from_row(0.0, -s, -s, 0.0, tx, ty),
        };
        face.outline_glyph(glyph, &mut pen);
        let on = font::advance(text.bold, glyph) * unit;
        if text.upwards { y -= on } else { x += on }
    }
    pen.path.finish()
}
