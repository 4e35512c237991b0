//! What goes to the terminal: text, tables, numbers.

use std::io::{self, IsTerminal, Write};

use gradus::Registry;
use gradus::layers::Layer;
use gradus::losses::Loss;
use gradus::spec::{ArgDef, Spec};
pub use gradus_report::text::{Align, table};
pub use gradus_report::words::{count, many};
use serde::Serialize;

use crate::failure::Outcome;

/// Writes text to standard output.
pub fn text(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes one JSON document to standard output.
pub fn json(value: &impl Serialize) -> Outcome {
    let mut document = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    document.push('\n');
    text(&document)
}

/// Writes text to standard error. Nobody may be there to read it.
pub fn to_people(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether standard error takes colours.
pub fn colour() -> bool {
    let unset = |name| std::env::var_os(name).is_none_or(|v| v.is_empty());
    io::stderr().is_terminal() && unset("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// Characters in a line of the terminal; no end where standard output is none.
pub fn width() -> usize {
    terminal_size::terminal_size_of(io::stdout()).map_or(usize::MAX, |(width, _)| usize::from(width.0))
}

/// Characters in a line and lines of the terminal that standard error goes to.
pub fn terminal() -> (usize, usize) {
    let size = terminal_size::terminal_size_of(io::stderr());
    size.map_or((80, 24), |(width, height)| (usize::from(width.0).max(20), usize::from(height.0)))
}

/// `error: …`
pub fn error(message: &str) {
    labelled("error", "31", message);
}

/// `warning: …`
pub fn warning(message: &str) {
    labelled("warning", "33", message);
}

/// `note: …`
pub fn note(message: &str) {
    labelled("note", "36", message);
}

fn labelled(label: &str, code: &str, message: &str) {
    if colour() {
        to_people(&format!("\x1b[1;{code}m{label}\x1b[0m: {message}\n"));
    } else {
        to_people(&format!("{label}: {message}\n"));
    }
}

/// The same, two blanks before each line.
pub fn indented(text: &str) -> String {
    text.lines().map(|l| if l.is_empty() { "\n".to_string() } else { format!("  {l}\n") }).collect()
}

/// Four digits that count: `0.02341`, `12.34`, `1.2e-7`.
pub fn number(x: f64) -> String {
    if x == 0.0 || !x.is_finite() {
        return format!("{x}");
    }
    // An exponent that is out of all range is printed by its own form.
    let digits = 3 - x.abs().log10().floor().clamp(-300.0, 300.0) as i32;
    match digits {
        0..=7 => format!("{x:.*}", digits as usize),
        -3..=-1 => format!("{x:.0}"),
        _ => format!("{x:.3e}"),
    }
}

/// A layer as one would write it.
pub fn layer(layer: &dyn Layer) -> String {
    let spec = layer.spec();
    written(&spec, Registry::new().layers().iter().find(|d| d.name == spec.name).map_or(&[], |d| d.args))
}

/// A loss as one would write it.
pub fn loss(loss: &dyn Loss) -> String {
    let spec = loss.spec();
    written(&spec, Registry::new().losses().iter().find(|d| d.name == spec.name).map_or(&[], |d| d.args))
}

/// `Conv2d 16 3 stride=2`: what must be given without a name, the rest with.
fn written(spec: &Spec, args: &[ArgDef]) -> String {
    let mut text = spec.label.as_ref().map_or(String::new(), |label| format!("{label}: "));
    text += &spec.name;
    let needed = args.iter().take_while(|a| a.default.is_none()).map(|a| a.name);
    let first: Vec<&str> = needed.take_while(|name| spec.args.contains_key(*name)).collect();
    for name in &first {
        text += &format!(" {}", spec.args[*name]);
    }
    for (name, value) in spec.args.iter().filter(|(name, _)| !first.contains(&name.as_str())) {
        text += &format!(" {name}={value}");
    }
    text
}

/// Bytes in the largest unit that leaves a number from 1 on: `3.2 KiB`.
pub fn bytes(n: u64) -> String {
    scaled(n, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// Operations likewise: `3.2 M`.
pub fn operations(n: u64) -> String {
    scaled(n, 1000.0, &["", "k", "M", "G", "T", "P"])
}

fn scaled(n: u64, by: f64, units: &[&str]) -> String {
    let (mut x, mut unit) = (n as f64, 0);
    while x >= by && unit + 1 < units.len() {
        x /= by;
        unit += 1;
    }
    let digits = if unit == 0 || x >= 100.0 { 0 } else { 1 };
    format!("{x:.digits$} {}", units[unit]).trim_end().to_string()
}

/// A time as people say it: `0.4 s`, `3 min 20 s`, `2 h 5 min`.
pub fn seconds(s: f64) -> String {
    let whole = s.round() as u64;
    match whole {
        0..=9 if s != s.round() => format!("{s:.1} s"),
        0..=99 => format!("{whole} s"),
        100..=5999 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A word that the shell takes as it is.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 0.023_411, 12.344, 1234.4, 98765.0, 1.2e-7, -0.5].map(number),
            ["0", "0.02341", "12.34", "1234", "98765", "1.200e-7", "-0.5000"]
        );
        assert_eq!([f64::NAN, f64::INFINITY, f64::MIN_POSITIVE].map(number), ["NaN", "inf", "2.225e-308"]);
        assert_eq!([0u64, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1023, 1024, 1 << 30].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.0 GiB"]);
        assert_eq!([999, 1_500, 2_000_000].map(operations), ["999", "1.5 k", "2.0 M"]);
        assert_eq!([0.42, 12.3, 200.0, 7500.0].map(seconds), ["0.4 s", "12 s", "3 min 20 s", "2 h 5 min"]);
        assert_eq!((many(1, "sample"), many(2000, "sample")), ("1 sample".into(), "2,000 samples".into()));
    }

    #[test]
    fn a_table_is_straight() {
        let rows = [["name", "n"], ["é", "10"]].map(|r| r.map(String::from).to_vec());
        assert_eq!(table(&[Align::Left, Align::Right], &rows), "name   n\né     10\n");
    }

    #[test]
    fn layers_are_written_as_in_a_file() {
        let registry = Registry::new();
        for text in ["Conv2d 16 3 padding=1", "Conv2d 16 3 stride=2x1 bias=false", "Linear 8 bias=false", "ReLU"] {
            assert_eq!(layer(&*registry.make_layer(&registry.parse_layer(text).unwrap()).unwrap()), text);
        }
        let sum = Spec::new("L1Loss").arg("reduction", "sum");
        assert_eq!(loss(&*registry.make_loss(&sum).unwrap()), "L1Loss reduction=sum");
    }

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("train.lr=0.1"), "train.lr=0.1");
        assert_eq!(quoted("a 'b'"), r"'a '\''b'\'''");
    }
}
