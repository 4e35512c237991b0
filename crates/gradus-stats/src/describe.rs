//! What one arm gave: place, spread and range of its rounds.

use crate::Interval;
use crate::dist::student;
use crate::error::{Result, check, check_share};
use crate::moments::Moments;

/// The summary of one arm, in the unit of its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// How many rounds.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// The sample standard deviation (n − 1); `None` for one round.
    pub sd: Option<f64>,
    /// The t interval of the mean, mean ± t s/√n; `None` for one round.
    pub interval: Option<Interval>,
    /// The smallest.
    pub min: f64,
    /// The lower quartile ([`quantile`]).
    pub q1: f64,
    /// The median.
    pub median: f64,
    /// The upper quartile.
    pub q3: f64,
    /// The largest.
    pub max: f64,
}

/// The summary of `values` with an interval of the given confidence (usually 0.95).
///
/// # Errors
/// If there are no values, one is not a usable number, or the confidence is not between 0 and 1.
pub fn describe(values: &[f64], confidence: f64) -> Result<Summary> {
    check("value", values)?;
    check_share("the confidence", confidence)?;
    let moments = Moments::of_checked(values);
    let sorted = sorted(values);
    Ok(Summary {
        n: moments.n,
        mean: moments.mean,
        sd: moments.sd,
        interval: mean_interval(&moments, confidence),
        min: sorted[0],
        q1: quantile_of_sorted(&sorted, 0.25),
        median: quantile_of_sorted(&sorted, 0.5),
        q3: quantile_of_sorted(&sorted, 0.75),
        max: sorted[sorted.len() - 1],
    })
}

/// mean ± t s/√n with the t of ν = n − 1.
pub(crate) fn mean_interval(moments: &Moments, confidence: f64) -> Option<Interval> {
    let error = moments.standard_error()?;
    let half = if error == 0.0 { 0.0 } else { student::critical(1.0 - confidence, moments.n as f64 - 1.0) * error };
    Some(Interval { low: moments.mean - half, high: moments.mean + half })
}

/// The `p` quantile, linear between order statistics: position (n − 1) p (Hyndman and Fan 1996, type 7; the default of
/// NumPy, SciPy and R).
///
/// # Errors
/// If there are no values, one is not a usable number, or `p` is not in [0, 1].
pub fn quantile(values: &[f64], p: f64) -> Result<f64> {
    check("value", values)?;
    if p != 0.0 && p != 1.0 {
        check_share("the quantile", p)?;
    }
    Ok(quantile_of_sorted(&sorted(values), p))
}

pub(crate) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

pub(crate) fn quantile_of_sorted(sorted: &[f64], p: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * p;
    let i = (place.floor() as usize).min(sorted.len() - 1);
    let next = sorted[(i + 1).min(sorted.len() - 1)];
    sorted[i] + (next - sorted[i]) * (place - i as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_rounds_by_hand() {
        let s = describe(&[3.0, 1.0, 2.0, 5.0, 4.0], 0.95).unwrap();
        assert_eq!((s.min, s.q1, s.median, s.q3, s.max), (1.0, 2.0, 3.0, 4.0, 5.0));
        let half = 2.776_445_105_197_793 * 2.5f64.sqrt() / 5f64.sqrt();
        assert!((s.interval.unwrap().high - 3.0 - half).abs() <= 1e-13);
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.25).unwrap(), 1.75);
    }

    #[test]
    fn edges() {
        let one = describe(&[7.0], 0.95).unwrap();
        assert_eq!((one.mean, one.q1, one.median, one.sd, one.interval), (7.0, 7.0, 7.0, None, None));
        let equal = describe(&[0.1; 4], 0.95).unwrap();
        assert_eq!(equal.interval, Some(Interval { low: 0.1, high: 0.1 }));
        assert!(describe(&[], 0.95).is_err() && describe(&[1.0], 1.0).is_err());
        assert_eq!(quantile(&[2.0, 1.0], 1.0).unwrap(), 2.0);
        assert!(quantile(&[1.0], f64::NAN).is_err());
    }
}
