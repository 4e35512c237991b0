//! Times: skewed, positive, and compared as ratios.
//!
//! One arm: the median, and the interval between order statistics x₍ₖ₎ and x₍ₙ₊₁₋ₖ₎ for the largest k with 2 P(Bin(n, ½) ≤ k − 1) ≤ 1 −
//! confidence (Thompson 1936). It assumes nothing about the distribution. Two arms: the ratio of geometric means on paired
//! rounds, exp of the mean of ln b − ln a with its t interval.

use crate::Interval;
use crate::dist::binomial;
use crate::error::{Error, Kind, Result, check, check_share};
use crate::moments::Moments;
use crate::ttest::paired_t;

/// A median and its interval, in the unit of the times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Median {
    /// The median.
    pub median: f64,
    /// The interval; `None` where even the whole range has too little confidence (fewer than 6 values for 95 %).
    pub interval: Option<Interval>,
    /// The confidence that the interval really has: at least the one asked for; 0 without one.
    pub confidence: f64,
}

/// The median of `values` with a distribution-free interval.
///
/// # Errors
/// If there are no values, one is not a usable number, or the confidence is not between 0 and 1.
pub fn median(values: &[f64], confidence: f64) -> Result<Median> {
    check("time", values)?;
    check_share("the confidence", confidence)?;
    let sorted = crate::describe::sorted(values);
    let n = sorted.len() as u64;
    // P(Bin ≤ k − 1) for growing k, until it is too much.
    let mut best = None;
    for k in 1..=n / 2 {
        let outside = 2.0 * binomial::below(k - 1, n);
        // A level that is met exactly may be off by a rounding.
        if outside > (1.0 - confidence) * (1.0 + 1e-12) {
            break;
        }
        best = Some((k as usize, 1.0 - outside));
    }
    let interval = best.map(|(k, _)| Interval { low: sorted[k - 1], high: sorted[sorted.len() - k] });
    Ok(Median {
        median: crate::describe::quantile_of_sorted(&sorted, 0.5),
        interval,
        confidence: best.map_or(0.0, |(_, c)| c),
    })
}

/// The ratio of two arms' times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Geometric mean of b over that of a: below 1, b is faster.
    pub ratio: f64,
    /// Its interval; `None` for one round.
    pub interval: Option<Interval>,
    /// Two-sided p of ratio 1; `None` for one round and where all ratios are equal.
    pub p: Option<f64>,
}

/// The ratio b/a of geometric means on paired rounds.
///
/// # Errors
/// If the lists differ in length or are empty, a time is not positive and finite, or the confidence is not between 0 and 1.
pub fn ratio(a: &[f64], b: &[f64], confidence: f64) -> Result<Ratio> {
    if a.len() != b.len() {
        return Err(Error::new(Kind::Count, format_args!("{} and {} times: pairs are needed", a.len(), b.len())));
    }
    for (arm, times) in [("a", a), ("b", b)] {
        check("time", times).map_err(|e| e.at(format_args!("arm {arm}")))?;
        if let Some(i) = times.iter().position(|t| *t <= 0.0) {
            let sentence = format!("arm {arm}: time {} of {} is {}: times are positive", i + 1, times.len(), times[i]);
            return Err(Error::new(Kind::Value, sentence));
        }
    }
    let logs: Vec<f64> = a.iter().zip(b).map(|(a, b)| libm::log(*b) - libm::log(*a)).collect();
    let moments = Moments::of_checked(&logs);
    let ratio = libm::exp(moments.mean);
    let test = paired_t(&logs, 0.0, confidence)?;
    let interval = match &test {
        Some(test) => Some(Interval { low: libm::exp(test.interval.low), high: libm::exp(test.interval.high) }),
        None => moments.sd.map(|_| Interval { low: ratio, high: ratio }),
    };
    Ok(Ratio { ratio, interval, p: test.map(|t| t.p) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_statistics_by_hand() {
        let times: Vec<f64> = (1..=10).map(f64::from).collect();
        // 2 P(Bin(10) ≤ 1) = 22/1024 is within 5 %, 2 P(≤ 2) = 112/1024 is not.
        let m = median(&times, 0.95).unwrap();
        assert_eq!((m.median, m.interval), (5.5, Some(Interval { low: 2.0, high: 9.0 })));
        assert!((m.confidence - (1.0 - 22.0 / 1024.0)).abs() <= 1e-14);
        assert_eq!(median(&times[..5], 0.95).unwrap().interval, None);
        assert_eq!(median(&times[..6], 0.95).unwrap().interval, Some(Interval { low: 1.0, high: 6.0 }));
        // 2/2⁵ exactly.
        assert!(median(&times[..5], 0.9375).unwrap().interval.is_some());
    }

    #[test]
    fn ratios() {
        let r = ratio(&[1.0, 2.0, 4.0], &[2.0, 4.0, 8.0], 0.95).unwrap();
        assert!((r.ratio - 2.0).abs() <= 1e-15);
        let r = ratio(&[1.0, 1.0], &[2.0, 8.0], 0.95).unwrap();
        assert!((r.ratio - 4.0).abs() <= 1e-14);
        let interval = r.interval.unwrap();
        assert!((interval.low * interval.high - 16.0).abs() <= 1e-9, "symmetric on the log scale");
        assert!(ratio(&[1.0], &[2.0], 0.95).unwrap().interval.is_none());
        let zero = ratio(&[1.0, 0.0], &[1.0, 1.0], 0.95).unwrap_err();
        assert_eq!(zero.to_string(), "arm a: time 2 of 2 is 0: times are positive");
        assert!(ratio(&[1.0], &[1.0, 2.0], 0.95).is_err() && ratio(&[1.0], &[f64::NAN], 0.95).is_err());
    }
}
