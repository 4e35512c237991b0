//! A number over rounds.

use gradus_stats::describe::describe;
use serde::Serialize;

use crate::error::Result;

/// The confidence of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// Place and spread of a number over rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Over how many rounds.
    pub n: usize,
    /// The mean.
    pub mean: f64,
    /// The standard deviation, with n − 1; `None` for one round.
    pub sd: Option<f64>,
    /// The lower end of the 95 % interval of the mean; `None` for one round.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// The smallest.
    pub min: f64,
    /// The lower quartile.
    pub q1: f64,
    /// The median.
    pub median: f64,
    /// The upper quartile.
    pub q3: f64,
    /// The largest.
    pub max: f64,
    /// The better one of the smallest and the largest.
    pub best: f64,
    /// The worse one.
    pub worst: f64,
}

impl Spread {
    /// Of finite values; `None` where there are none.
    ///
    /// # Errors
    /// When a value is not finite.
    pub fn of(values: &[f64], larger_is_better: bool) -> Result<Option<Spread>> {
        if values.is_empty() {
            return Ok(None);
        }
        let s = describe(values, CONFIDENCE)?;
        let (best, worst) = if larger_is_better { (s.max, s.min) } else { (s.min, s.max) };
        Ok(Some(Spread {
            n: s.n,
            mean: s.mean,
            sd: s.sd,
            low: s.interval.map(|i| i.low),
            high: s.interval.map(|i| i.high),
            min: s.min,
            q1: s.q1,
            median: s.median,
            q3: s.q3,
            max: s.max,
            best,
            worst,
        }))
    }

    /// Both ends of the interval of the mean.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.low.zip(self.high)
    }
}
