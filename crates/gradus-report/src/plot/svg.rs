//! A scene as SVG: in a page's colours, or by itself.

use std::fmt::Write;

use super::ink::Ink;
use super::scene::{Anchor, Item, Paint, Path, Scene, Segment, Shape, Stroke, Text};

/// The letters of a page: those the widths were made for first.
const FAMILY: &str = "Roboto,'Helvetica Neue',Arial,'Liberation Sans',system-ui,sans-serif";

/// Where the picture will stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// In an HTML page, with the class it is shown by.
    Page { class: &'a str },
    /// In a file of its own.
    File,
}

pub(super) fn write(scene: &Scene, title: &str, description: &str, place: Place) -> String {
    let (w, h) = (number(scene.width), number(scene.height));
    let mut out = String::new();
    let _ = match place {
        Place::Page { class } => write!(
            out,
            "<svg class=\"{class}\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" aria-label=\"{}\"",
            escape(title)
        ),
        Place::File => write!(
            out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\""
        ),
    };
    let _ = write!(
        out,
        " font-family=\"{FAMILY}\" font-size=\"13\" fill=\"none\" stroke-linecap=\"round\" stroke-linejoin=\"round\">"
    );
    if place == Place::File {
        let _ = write!(out, "<title>{}</title>", escape(title));
    }
    let _ = write!(out, "<desc>{}</desc>", escape(description));
    if place == Place::File {
        let _ = write!(out, "<path d=\"M0 0h{w}v{h}h-{w}z\" fill=\"{}\"/>", Ink::Page.light());
    }
    for item in &scene.items {
        out.push('\n');
        match item {
            Item::Shape(shape) => write_shape(&mut out, shape, place),
            Item::Text(text) => write_text(&mut out, text, place),
        }
    }
    out.push_str("\n</svg>\n");
    out
}

fn write_shape(out: &mut String, shape: &Shape, place: Place) {
    let _ = write!(out, "<path d=\"{}\"", path(&shape.path));
    if let Some(fill) = &shape.fill {
        let _ = write!(out, " fill=\"{}\"", colour(fill.ink, place));
        opacity(out, "fill", fill);
    }
    if let Some(Stroke { paint, width, dash }) = &shape.stroke {
        let _ = write!(out, " stroke=\"{}\" stroke-width=\"{}\"", colour(paint.ink, place), number(*width));
        opacity(out, "stroke", paint);
        if let Some((on, off)) = dash {
            let _ = write!(out, " stroke-dasharray=\"{} {}\"", number(*on), number(*off));
        }
    }
    match &shape.title {
        Some(title) => {
            let _ = write!(out, "><title>{}</title></path>", escape(title));
        }
        None => out.push_str("/>"),
    }
}

fn write_text(out: &mut String, text: &Text, place: Place) {
    let (x, y) = (number(text.x), number(text.y));
    let _ = match text.upwards {
        false => write!(out, "<text x=\"{x}\" y=\"{y}\""),
        true => write!(out, "<text transform=\"translate({x} {y}) rotate(-90)\""),
    };
    let _ = write!(out, " fill=\"{}\"", colour(text.ink, place));
    if text.size != 13.0 {
        let _ = write!(out, " font-size=\"{}\"", number(text.size));
    }
    if text.bold {
        out.push_str(" font-weight=\"700\"");
    }
    match text.anchor {
        Anchor::Start => {}
        Anchor::Middle => out.push_str(" text-anchor=\"middle\""),
        Anchor::End => out.push_str(" text-anchor=\"end\""),
    }
    out.push('>');
    out.push_str(&escape(&text.text));
    if let Some(title) = &text.title {
        let _ = write!(out, "<title>{}</title>", escape(title));
    }
    out.push_str("</text>");
}

fn colour(ink: Ink, place: Place) -> String {
    match place {
        Place::Page { .. } => format!("var({},{})", ink.property(), ink.light()),
        Place::File => ink.light().to_string(),
    }
}

fn opacity(out: &mut String, of: &str, paint: &Paint) {
    if paint.opacity < 1.0 {
        let _ = write!(out, " {of}-opacity=\"{}\"", number(paint.opacity));
    }
}

/// Steps from point to point in tenths, so that long lines stay short texts.
fn path(path: &Path) -> String {
    let tenths = |v: f64| (v * 10.0).round() as i64;
    let mut out = String::new();
    let (mut x, mut y) = (0, 0);
    let mut start = (0, 0);
    let mut last = ' ';
    let mut step = |out: &mut String, command: char, values: &[i64]| {
        if last != command || command == 'M' {
            out.push(command);
        } else if values[0] >= 0 {
            out.push(' ');
        }
        last = command;
        for (i, v) in values.iter().enumerate() {
            if i > 0 && *v >= 0 {
                out.push(' ');
            }
            if *v < 0 {
                out.push('-');
            }
            let (whole, tenth) = (v.unsigned_abs() / 10, v.unsigned_abs() % 10);
            let _ = match (whole, tenth) {
                (w, 0) => write!(out, "{w}"),
                (0, t) => write!(out, ".{t}"),
                (w, t) => write!(out, "{w}.{t}"),
            };
        }
    };
    for segment in &path.0 {
        match *segment {
            Segment::Move(a, b) => {
                (x, y) = (tenths(a), tenths(b));
                start = (x, y);
                step(&mut out, 'M', &[x, y]);
            }
            Segment::Line(a, b) => {
                let (a, b) = (tenths(a), tenths(b));
                step(&mut out, 'l', &[a - x, b - y]);
                (x, y) = (a, b);
            }
            Segment::Cubic(a, b, c, d, e, f) => {
                let p = [a, b, c, d, e, f].map(tenths);
                step(&mut out, 'c', &[p[0] - x, p[1] - y, p[2] - x, p[3] - y, p[4] - x, p[5] - y]);
                (x, y) = (p[4], p[5]);
            }
            Segment::Close => {
                out.push('z');
                (x, y) = start;
            }
        }
    }
    out
}

/// A number with two decimals at most.
pub(super) fn number(v: f64) -> String {
    let v = (v * 100.0).round() / 100.0;
    if v == 0.0 { "0".to_string() } else { format!("{v}") }
}

/// Text as XML allows it: marks escaped, signs that no XML may hold replaced.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_short_and_lose_no_more_than_a_rounding() {
        let points = (0..100).map(|i| (f64::from(i) * 1.04, 0.04 * f64::from(i)));
        // Every step alone would be rounded down to one; their sum must not be.
        let text = path(&Path::line(points));
        let xs = text.trim_start_matches("M0 0l").replace('-', " -");
        let sum: f64 = xs.split_whitespace().step_by(2).map(|x| x.parse::<f64>().unwrap()).sum();
        assert!((sum - 99.0 * 1.04).abs() <= 0.051, "{sum}");
        assert_eq!(path(&Path::rect(1.0, 2.0, 3.25, 4.0)), "M1 2l3.3 0 0 4-3.3 0z");
    }

    #[test]
    fn no_text_breaks_the_markup() {
        assert_eq!(escape("a<b>&\"'\u{1}\n😀"), "a&lt;b&gt;&amp;&quot;&#39;\u{fffd} 😀");
        assert_eq!((number(-0.001), number(1.005), number(2.0)), ("0".into(), "1".into(), "2".into()));
    }
}
