//! A summary as Markdown: verdicts, tables, protocol.

use std::fmt::Write;

use crate::summary::Summary;
use crate::tables::{self, Table};
use crate::words::capital;

/// The whole summary.
pub fn summary(s: &Summary) -> String {
    let mut text = format!("# {}\n\n", escape(if s.title.is_empty() { &s.study } else { &s.title }));
    if let Some(description) = &s.description {
        let _ = write!(text, "{}\n\n", escape(description));
    }
    for c in &s.comparisons {
        let confounds = c.confounds_sentence().map_or(String::new(), |words| format!("{}.\n  ", escape(&words)));
        let _ = writeln!(text, "- {confounds}**{}**.", escape(&c.test.sentence));
        for more in c.time.iter().map(|t| t.sentence.clone()).chain(c.missing_sentence()) {
            let _ = writeln!(text, "  {}.", escape(&capital(&more)));
        }
    }
    if !s.comparisons.is_empty() {
        let _ = writeln!(text, "\n{}\n", escape(&s.population));
    }
    table(&mut text, "Arms", &tables::arms(s));
    let notes: Vec<String> =
        s.arms.iter().flat_map(|a| a.notes.iter().map(|note| format!("{}: {note}", a.name))).collect();
    for note in notes.iter().chain(&s.notes).chain([&s.timing.sentence]) {
        let _ = writeln!(text, "- {}", escape(note));
    }
    text.push('\n');
    table(&mut text, "Comparisons", &tables::comparisons(s));
    table(&mut text, "Factors", &tables::contrasts(s));
    for c in &s.contrasts {
        let _ = writeln!(text, "- {}", escape(&c.test.sentence));
    }
    if !s.contrasts.is_empty() {
        text.push('\n');
    }
    table(&mut text, "Predictions", &tables::mcnemar(s));
    table(&mut text, "Times", &tables::seconds(s));
    table(&mut text, "", &tables::times(s));
    for (i, t) in tables::metrics(s).iter().enumerate() {
        table(&mut text, if i == 0 { "Metrics" } else { "" }, t);
    }
    let _ = write!(text, "## Protocol\n\n{}\n\n## Reproduction\n\n", escape(&s.protocol));
    for (what, value) in s.reproduction.lines() {
        let _ = writeln!(text, "- {what}: {}", escape(&value));
    }
    text
}

/// A table under its heading; nothing where it has no rows.
fn table(text: &mut String, heading: &str, t: &Table) {
    if t.rows.is_empty() {
        return;
    }
    if !heading.is_empty() {
        let _ = write!(text, "## {heading}\n\n");
    }
    let _ = write!(text, "{}:\n\n", escape(&t.title));
    let row = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
    *text += &row(&mut t.columns.iter().map(|c| escape(&c.head)));
    *text += &row(&mut t.columns.iter().map(|c| if c.words { ":--" } else { "--:" }.to_string()));
    for cells in &t.rows {
        *text += &row(&mut cells.iter().map(|c| escape(c)));
    }
    text.push('\n');
}

/// Text that stays text, on one line.
pub fn escape(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' | '$' => {
                safe.push('\\');
                safe.push(c);
            }
            c if c.is_whitespace() || c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}
