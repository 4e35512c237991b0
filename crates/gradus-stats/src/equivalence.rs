//! Equivalence: is the difference smaller than what matters?
//!
//! Two one-sided paired t tests (TOST; Schuirmann 1987): p = max of P for "mean ≤ −margin" and "mean ≥ margin". p ≤ alpha rejects
//! both, so the mean lies within ±margin. An interval of confidence 1 − 2 alpha inside ±margin says the same; the verdict
//! asks its wider interval of 1 − alpha to lie inside as well, so that it agrees with what is printed.

use crate::dist::student;
use crate::error::{Result, check, check_positive};
use crate::moments::Moments;

/// The result of the two tests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equivalence {
    /// The difference that matters.
    pub margin: f64,
    /// p of the test that the mean is −margin or less.
    pub p_lower: f64,
    /// p of the test that the mean is margin or more.
    pub p_upper: f64,
}

impl Equivalence {
    /// The p value of equivalence: the larger one.
    pub fn p(&self) -> f64 {
        self.p_lower.max(self.p_upper)
    }
}

/// TOST of mean within ±`margin`. `None` for one difference and for equal ones, where t is not defined.
///
/// # Errors
/// If there are no differences, one is not a usable number, or the margin is not positive.
pub fn tost(differences: &[f64], margin: f64) -> Result<Option<Equivalence>> {
    check("difference", differences)?;
    check_positive("the margin", margin)?;
    let moments = Moments::of_checked(differences);
    let Some(error) = moments.standard_error().filter(|e| *e > 0.0) else { return Ok(None) };
    let df = moments.n as f64 - 1.0;
    Ok(Some(Equivalence {
        margin,
        p_lower: student::above((moments.mean + margin) / error, df),
        p_upper: student::below((moments.mean - margin) / error, df),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_outside_and_undefined() {
        let near = [0.1, -0.1, 0.05, -0.05, 0.0, 0.02];
        let e = tost(&near, 0.5).unwrap().unwrap();
        assert!(e.p() <= 1e-3 && e.p() >= e.p_lower && e.p() >= e.p_upper);
        // At its own edge the mean rejects one side with p = ½.
        let shifted = near.map(|d| d + 0.5 - near.iter().sum::<f64>() / 6.0);
        let e = tost(&shifted, 0.5).unwrap().unwrap();
        assert!((e.p_upper - 0.5).abs() <= 1e-12 && e.p_lower <= 1e-5);
        assert_eq!(tost(&[1.0], 0.5).unwrap(), None);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(tost(&near, bad).is_err());
        }
    }
}
