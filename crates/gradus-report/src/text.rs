//! A summary for the terminal.

use crate::summary::{ArmSummary, Comparison, Spread, Summary};
use crate::words::{count, fixed, many};

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

/// Verdicts with what may be behind them, then a line for each arm.
pub fn summary(s: &Summary) -> String {
    let mut text: String = s.comparisons.iter().map(comparison).collect();
    if !text.is_empty() {
        text.push('\n');
    }
    let mut rows =
        vec![["arm", "rounds", &s.metric, "sd", "95 % interval", "parameters", "s/round"].map(String::from).to_vec()];
    let of = |x: Option<&Spread>, f: &dyn Fn(&Spread) -> Option<String>| x.and_then(f).unwrap_or_default();
    for a in &s.arms {
        let v = a.value.as_ref();
        rows.push(vec![
            a.name.clone(),
            a.rounds.to_string(),
            of(v, &|m| Some(fixed(m.mean, 2))),
            of(v, &|m| m.sd.map(|sd| fixed(sd, 2))),
            of(v, &|m| m.interval().map(|(low, high)| format!("[{}, {}]", fixed(low, 2), fixed(high, 2)))),
            count(a.parameters),
            of(a.seconds_per_round.as_ref(), &|m| Some(fixed(m.mean, 2))),
        ]);
    }
    use Align::{Left, Right};
    text += &table(&[Left, Right, Right, Right, Right, Right, Right], &rows);
    text + &s.arms.iter().map(notes).collect::<String>()
}

fn notes(a: &ArmSummary) -> String {
    a.notes.iter().map(|note| format!("{}: {note}\n", a.name)).collect()
}

/// A verdict, under what may be behind it.
pub fn comparison(c: &Comparison) -> String {
    let mut text = String::new();
    if !c.confounds.is_empty() {
        let list: Vec<String> = c.confounds.iter().map(ToString::to_string).collect();
        text += &format!("{} and {} differ in more than their networks: {}\n", c.arm, c.baseline, list.join("; "));
    }
    text += &format!("{}.\n", c.test.sentence);
    if !c.missing.is_empty() {
        text += &format!("  {} of only one of the two are left out\n", many(c.missing.len(), "round"));
    }
    text
}
