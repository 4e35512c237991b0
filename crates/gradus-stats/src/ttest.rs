//! Student's t test of paired differences.
//!
//! t = m/(s/√n) with n − 1 degrees of freedom (Student 1908). It takes the differences as normal; with a dozen rounds or
//! more it is robust, and stands beside the sign-flip test.

use crate::Interval;
use crate::describe::mean_interval;
use crate::dist::student;
use crate::error::{Error, Kind, Result, check, check_share};
use crate::moments::Moments;

/// The result of the test.
#[derive(Clone, Debug, PartialEq)]
pub struct TTest {
    /// m/(s/√n).
    pub t: f64,
    /// n − 1.
    pub df: f64,
    /// The two-sided p value.
    pub p: f64,
    /// The interval of the mean difference.
    pub interval: Interval,
}

/// The two-sided paired t test of mean `null`. `None` for one difference and for equal ones, where t is not defined.
///
/// # Errors
/// If there are no differences, one is not a usable number, or the confidence is not between 0 and 1.
pub fn paired_t(differences: &[f64], null: f64, confidence: f64) -> Result<Option<TTest>> {
    check("difference", differences)?;
    check_share("the confidence", confidence)?;
    if !null.is_finite() {
        return Err(Error::new(Kind::Argument, format_args!("the mean to test is {null}: it must be finite")));
    }
    let moments = Moments::of_checked(differences);
    let (Some(error), Some(interval)) = (moments.standard_error(), mean_interval(&moments, confidence)) else {
        return Ok(None);
    };
    if error == 0.0 {
        return Ok(None);
    }
    let (t, df) = ((moments.mean - null) / error, moments.n as f64 - 1.0);
    Ok(Some(TTest { t, df, p: student::two_sided(t, df), interval }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand_and_undefined() {
        // m = 2, s = 1, n = 3: t = 2√3; P(|T₂| ≥ t) = 1 − t/√(2 + t²).
        let test = paired_t(&[1.0, 2.0, 3.0], 0.0, 0.95).unwrap().unwrap();
        let t = 12f64.sqrt();
        assert!((test.t - t).abs() <= 1e-14 && test.df == 2.0);
        assert!((test.p - (1.0 - t / 14f64.sqrt())).abs() <= 1e-14);
        assert!(test.interval.contains(0.0), "p is above 0.05");
        assert_eq!(paired_t(&[1.0], 0.0, 0.95).unwrap(), None);
        assert_eq!(paired_t(&[1.0, 1.0], 0.0, 0.95).unwrap(), None);
        assert!(paired_t(&[1.0, 2.0], f64::NAN, 0.95).is_err());
    }
}
