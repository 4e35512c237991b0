//! The interval of a proportion from counts, such as the error of one model on a test set (Wilson 1927).
//!
//! (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n) with p = k/n and z the normal quantile. It never leaves [0, 1] and is of
//! use at k = 0. It speaks of other samples for *this* model; the spread between rounds is another matter.

use crate::Interval;
use crate::dist::normal;
use crate::error::{Error, Kind, Result, check_share};

/// Wilson's interval for `k` of `n`, as shares in [0, 1].
///
/// # Errors
/// If `n` is 0, `k` is larger than `n`, or the confidence is not between 0 and 1.
pub fn wilson(k: u64, n: u64, confidence: f64) -> Result<Interval> {
    check_share("the confidence", confidence)?;
    if n == 0 || k > n {
        return Err(Error::new(Kind::Count, format_args!("{k} of {n}: there is no such proportion")));
    }
    let z = -normal::quantile(0.5 * (1.0 - confidence));
    let (count, hits, misses) = (n as f64, k as f64, (n - k) as f64);
    let square = z * z;
    // Multiplied out by n, so that k = 0 and k = n give 0 and 1 exactly.
    let half = z * (hits * misses / count + 0.25 * square).sqrt();
    let (middle, whole) = (hits + 0.5 * square, count + square);
    let low = if k == 0 { 0.0 } else { ((middle - half) / whole).max(0.0) };
    let high = if k == n { 1.0 } else { ((middle + half) / whole).min(1.0) };
    Ok(Interval { low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_symmetry_and_refusals() {
        let none = wilson(0, 20, 0.95).unwrap();
        assert_eq!(none.low, 0.0);
        // z²/(n + z²)
        assert!((none.high - 3.841_458_820_694_124 / 23.841_458_820_694_124).abs() <= 1e-14);
        assert_eq!(wilson(20, 20, 0.95).unwrap().high, 1.0);
        let (a, b) = (wilson(3, 17, 0.9).unwrap(), wilson(14, 17, 0.9).unwrap());
        assert!((a.low - (1.0 - b.high)).abs() <= 1e-15 && (a.high - (1.0 - b.low)).abs() <= 1e-15);
        assert!(wilson(0, 0, 0.95).is_err() && wilson(3, 2, 0.95).is_err() && wilson(1, 2, f64::NAN).is_err());
    }
}
