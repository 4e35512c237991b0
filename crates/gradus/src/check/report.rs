//! What a gradient check found: a table a student can read.

use std::fmt;

use crate::layers::shape_text;

/// One array whose gradient was checked: the place where analysis and differences agree least.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Whose gradient: `left.0.weight`, `input x`, `all parameters`.
    pub what: String,
    /// How many derivatives of it were compared.
    pub checked: usize,
    /// The derivative that the backward pass gives, at the worst place.
    pub analytic: f64,
    /// The derivative by differences there.
    pub numeric: f64,
    /// |analytic − numeric| / (|analytic| + |numeric| + floor) there.
    pub error: f64,
    /// The index of the number in its array; none where the worst was a random direction over many numbers.
    pub at: Option<Vec<usize>>,
    /// 1 when the worst came from a fresh backward pass, 2 when from a second one that adds to the first.
    pub pass: usize,
    /// Whether the function is not smooth there (a kink or a tie lies within the step) however often it was redrawn:
    /// the differences mean little.
    pub kink: bool,
}

/// The result of a gradient check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// One row for each array.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether something was checked and every error is at most `tolerance`; a NaN does not pass.
    pub fn passed(&self, tolerance: f64) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|r| r.error <= tolerance)
    }

    /// The row with the largest error; a NaN is larger than any number.
    pub fn worst(&self) -> Option<&Row> {
        self.rows.iter().max_by(|a, b| badness(a.error).total_cmp(&badness(b.error)))
    }

    /// The largest error; infinite for a NaN, 0 when nothing was checked.
    pub fn error(&self) -> f64 {
        self.worst().map_or(0.0, |r| badness(r.error))
    }

    /// Adds the rows of another report, with `place` before their names.
    pub fn extend(&mut self, place: &str, other: Report) {
        let rows = other.rows.into_iter();
        self.rows.extend(rows.map(|r| Row { what: format!("{place}{}", r.what), ..r }));
    }
}

/// An error for comparing: NaN counts as infinite.
pub(super) fn badness(error: f64) -> f64 {
    if error.is_nan() { f64::INFINITY } else { error }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|r| r.what.chars().count()).max().unwrap_or(0).max(8);
        writeln!(
            f,
            "{:width$}  {:>7}  {:>14}  {:>14}  {:>8}",
            "gradient", "checked", "backward", "differences", "error"
        )?;
        for r in &self.rows {
            let (what, checked) = (&r.what, r.checked);
            write!(f, "{what:width$}  {checked:>7}  {:>14.7e}  {:>14.7e}  {:>8.1e}", r.analytic, r.numeric, r.error)?;
            if let Some(at) = &r.at {
                write!(f, "  at {}", shape_text(at))?;
            }
            if r.pass == 2 {
                write!(f, "  (second backward pass)")?;
            }
            if r.kink {
                write!(f, "  (a kink lies within the step)")?;
            }
            writeln!(f)?;
        }
        match self.worst() {
            Some(r) => write!(f, "worst relative error {:.1e}: {}", r.error, r.what),
            None => f.write_str("nothing has a gradient"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(what: &str, error: f64) -> Row {
        let at = Some(vec![1, 2]);
        Row { what: what.to_string(), checked: 6, analytic: 0.5, numeric: 0.25, error, at, pass: 2, kink: false }
    }

    #[test]
    fn nothing_and_nan_do_not_pass() {
        assert!(!Report::default().passed(1.0));
        assert!(Report { rows: vec![row("a", 1e-7)] }.passed(1e-6));
        for bad in [f64::NAN, -f64::NAN, f64::INFINITY, 2e-6] {
            let report = Report { rows: vec![row("a", 1e-7), row("b", bad), row("c", 1e-6)] };
            assert!(!report.passed(1e-6), "{report}");
            assert_eq!(report.worst().unwrap().what, "b");
        }
    }

    #[test]
    fn reads_as_a_table() {
        let text = Report { rows: vec![row("net.0.weight", 1.0 / 3.0)] }.to_string();
        let expected = "\
gradient      checked        backward     differences     error
net.0.weight        6    5.0000000e-1    2.5000000e-1    3.3e-1  at (1, 2)  (second backward pass)
worst relative error 3.3e-1: net.0.weight";
        assert_eq!(text, expected);
    }
}
