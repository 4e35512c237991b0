//! A summary for the terminal.

use crate::summary::{Comparison, Summary};
use crate::tables::{self, Table};

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
    let mut text: String = s.comparisons.iter().map(comparison).collect();
    for c in &s.contrasts {
        line(&mut text, &format!("{}.", c.test.sentence));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    line(&mut text, &format!("{}:", tables::metric(s)));
    text += &fitted(tables::arms(s), width);
    for a in &s.arms {
        a.notes.iter().for_each(|note| line(&mut text, &format!("{}: {note}", a.name)));
    }
    s.notes.iter().chain([&s.timing.sentence, &s.population]).for_each(|note| line(&mut text, note));
    text
}

/// A verdict, under what may be behind it.
pub fn comparison(c: &Comparison) -> String {
    let mut text = String::new();
    c.confounds_sentence().iter().for_each(|words| line(&mut text, words));
    line(&mut text, &format!("{}.", c.test.sentence));
    let time = c.time.as_ref().filter(|t| t.verdict != "undecided").map(|t| t.sentence.clone());
    time.into_iter().chain(c.missing_sentence()).for_each(|words| line(&mut text, &format!("  {words}")));
    text
}

/// Adds a line.
fn line(text: &mut String, words: &str) {
    *text += &plain(words);
    text.push('\n');
}

/// Without characters that do something to a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A table without the columns for which there is no room.
fn fitted(mut t: Table, width: usize) -> String {
    loop {
        let columns: Vec<Align> = t.columns.iter().map(|c| if c.words { Align::Left } else { Align::Right }).collect();
        let head = t.columns.iter().map(|c| plain(&c.head)).collect();
        let rows = t.rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect());
        let text = table(&columns, &[head].into_iter().chain(rows).collect::<Vec<_>>());
        let spare = (0..t.columns.len()).filter(|i| t.columns[*i].spare > 0).max_by_key(|i| t.columns[*i].spare);
        match spare {
            Some(i) if text.lines().any(|line| line.chars().count() > width) => t.drop_column(i),
            _ => return text,
        }
    }
}
