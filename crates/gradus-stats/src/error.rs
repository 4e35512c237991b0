//! The one error type of the crate: a kind for programs and a sentence for people that says where.

use std::fmt::{self, Display};

/// What was wrong, for programs that branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A setting makes no sense (a confidence of 1, a negative margin).
    Argument,
    /// A value is NaN, infinite, or too large to square.
    Value,
    /// There are too few values, or lists that belong together differ in length.
    Count,
    /// A label is given twice.
    Label,
}

/// A refused input: [`Kind`], and a sentence that names the place and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
}

/// The result of a call that takes a user's numbers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// The kind, for programs.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The same error with the place before its sentence.
    #[must_use]
    pub fn at(self, place: impl Display) -> Self {
        Self { kind: self.kind, message: format!("{place}: {}", self.message) }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The largest magnitude that is taken: its square, times any count, is still a number.
pub(crate) const LARGEST: f64 = 1e150;

/// Why `x` is refused, if it is.
pub(crate) fn refusal(x: f64) -> Option<String> {
    if x.is_nan() {
        Some("NaN, which no comparison can use".into())
    } else if x.is_infinite() {
        Some(format!("{x}, which is not finite"))
    } else if x.abs() > LARGEST {
        Some(format!("{x:e}, of a magnitude above 1e150"))
    } else {
        None
    }
}

/// Refuses an empty list and values that are not usable numbers; `what` names one of them in the error.
pub(crate) fn check(what: &str, values: &[f64]) -> Result<()> {
    if values.is_empty() {
        return Err(Error::new(Kind::Count, format_args!("there is no {what}: at least one is needed")));
    }
    for (i, &x) in values.iter().enumerate() {
        if let Some(why) = refusal(x) {
            let n = values.len();
            return Err(Error::new(Kind::Value, format_args!("{what} {} of {n} is {why}", i + 1)));
        }
    }
    Ok(())
}

/// Refuses a number that is not strictly between 0 and 1.
pub(crate) fn check_share(what: &str, x: f64) -> Result<()> {
    if x > 0.0 && x < 1.0 {
        return Ok(());
    }
    Err(Error::new(Kind::Argument, format_args!("{what} is {x}: it must lie between 0 and 1")))
}

/// Refuses a number that is not positive and finite.
pub(crate) fn check_positive(what: &str, x: f64) -> Result<()> {
    if x > 0.0 && x <= LARGEST {
        return Ok(());
    }
    Err(Error::new(Kind::Argument, format_args!("{what} is {x}: it must be positive and at most 1e150")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_where() {
        let error = check("difference", &[1.0, f64::NAN]).unwrap_err();
        assert_eq!(error.kind(), Kind::Value);
        assert_eq!(error.to_string(), "difference 2 of 2 is NaN, which no comparison can use");
        assert_eq!(error.at("arm b").to_string(), "arm b: difference 2 of 2 is NaN, which no comparison can use");
        for bad in [f64::INFINITY, f64::NEG_INFINITY, 2e150, -2e150] {
            assert_eq!(check("value", &[bad]).unwrap_err().kind(), Kind::Value);
        }
        assert_eq!(check("value", &[]).unwrap_err().kind(), Kind::Count);
        for bad in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(check_share("alpha", bad).is_err());
            assert!(bad == 1.0 || check_positive("margin", bad).is_err());
        }
    }
}
