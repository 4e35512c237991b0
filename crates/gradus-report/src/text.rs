//! A summary for the terminal.

use crate::summary::{Comparison, Summary};
use crate::tables;

/// Which side of a column is straight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows in columns, two spaces apart; no blanks at the ends of lines.
pub fn table(columns: &[Align], rows: &[Vec<String>]) -> String {
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|w| w.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((word, align), width) in row.iter().zip(columns).zip(&widths) {
            let blanks = " ".repeat(width - word.chars().count());
            match align {
                Align::Left => line += &format!("{word}{blanks}  "),
                Align::Right => line += &format!("{blanks}{word}  "),
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Verdicts with what may be behind them, then a line for each arm, in lines of at most `width` characters where that is
/// possible: columns that matter less are left out.
pub fn summary(s: &Summary, width: usize) -> String {
    let mut text = String::new();
    for c in &s.comparisons {
        text += &comparison(c);
    }
    for c in &s.contrasts {
        text += &format!("{}: {}.\n", if c.interaction { "together" } else { "factor" }, c.test.sentence);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text += &format!("{}:\n{}", tables::metric(s), fitted(tables::arms(s), width));
    for a in &s.arms {
        a.notes.iter().for_each(|note| text += &format!("{}: {note}\n", a.name));
    }
    for note in s.notes.iter().chain([&s.timing.sentence, &s.population]) {
        text += &format!("{note}\n");
    }
    text
}

/// A table without the columns for which there is no room.
fn fitted(mut t: tables::Table, width: usize) -> String {
    loop {
        let align = |c: &tables::Column| if c.words { Align::Left } else { Align::Right };
        let columns: Vec<Align> = t.columns.iter().map(align).collect();
        let head = t.columns.iter().map(|c| c.head.clone()).collect();
        let rows: Vec<Vec<String>> = [head].into_iter().chain(t.rows.iter().cloned()).collect();
        let text = table(&columns, &rows);
        let spare = (0..t.columns.len()).filter(|i| t.columns[*i].spare > 0).max_by_key(|i| t.columns[*i].spare);
        match spare {
            Some(i) if text.lines().any(|line| line.chars().count() > width) => t.drop_column(i),
            _ => return text,
        }
    }
}

/// A verdict, under what may be behind it.
pub fn comparison(c: &Comparison) -> String {
    let mut text = String::new();
    if let Some(confounds) = c.confounds_sentence() {
        text += &format!("{confounds}\n");
    }
    text += &format!("{}.\n", c.test.sentence);
    if let Some(time) = c.time.as_ref().filter(|t| t.verdict != "undecided") {
        text += &format!("  {}\n", time.sentence);
    }
    if let Some(missing) = c.missing_sentence() {
        text += &format!("  {missing}\n");
    }
    text
}
