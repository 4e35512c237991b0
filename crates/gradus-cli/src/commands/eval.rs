//! `gradus eval`.

use clap::Args;
use gradus::metrics::{Evaluation, Score};

use crate::failure::Outcome;
use crate::print::{self, Align, number};

/// To come
#[derive(Args, Debug)]
pub struct Eval {}

impl Eval {
    /// Does it.
    pub fn run(&self) -> Outcome {
        Ok(())
    }
}

/// A table of scores, a column for each part of the data; by loss where there are several.
pub fn score_table(results: &[(&str, Evaluation)]) -> String {
    let mut rows =
        vec![std::iter::once("").chain(results.iter().map(|(part, _)| *part)).map(String::from).collect::<Vec<_>>()];
    let mut row = |label: String, score: Score, of: Option<&str>| {
        let cells = results.iter().map(|(_, e)| match (e.get(score, of), score) {
            (None, _) => String::new(),
            (Some(x), Score::Accuracy | Score::Error) => format!("{x:.2} %"),
            (Some(x), _) => number(x),
        });
        let cells: Vec<String> = std::iter::once(label).chain(cells).collect();
        if cells[1..].iter().any(|c| !c.is_empty()) {
            rows.push(cells);
        }
    };
    let losses: Vec<&String> = results.first().map(|(_, e)| e.of.keys().collect()).unwrap_or_default();
    for name in &losses {
        for (label, score) in Score::ALL {
            let label = if losses.len() > 1 { format!("{name} {label}") } else { (*label).to_string() };
            row(label, *score, Some(name));
        }
    }
    if losses.len() > 1 {
        row("loss, weighted sum".into(), Score::Loss, None);
    }
    let mut columns = vec![Align::Left];
    columns.resize(results.len() + 1, Align::Right);
    print::table(&columns, &rows)
}
