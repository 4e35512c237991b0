//! Mean and standard deviation.
//!
//! Two passes, and the mean with its rounding error taken back: m = Σx/n, then m += Σ(x − m)/n; s² = Σ(x − m)²/(n − 1). (Chan,
//! Golub and LeVeque 1983 correct the square instead, which comes to the same.)

use crate::error::{Result, check};

/// How many values, their mean and their spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// How many values.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// The sample standard deviation (n − 1); `None` for one value. Exactly 0 if and only if all values are equal.
    pub sd: Option<f64>,
}

impl Moments {
    /// The moments of `values`.
    ///
    /// # Errors
    /// If there are none, or one is not a usable number.
    pub fn of(values: &[f64]) -> Result<Self> {
        check("value", values)?;
        Ok(Self::of_checked(values))
    }

    pub(crate) fn of_checked(values: &[f64]) -> Self {
        let n = values.len();
        let count = n as f64;
        if values.iter().all(|&x| x == values[0]) {
            return Self { n, mean: values[0], sd: (n > 1).then_some(0.0) };
        }
        let first = values.iter().sum::<f64>() / count;
        let mean = first + values.iter().map(|x| x - first).sum::<f64>() / count;
        // Tiny deviations are measured in their own unit, so that their squares are not lost.
        let widest = values.iter().map(|x| (x - mean).abs()).fold(0.0, f64::max);
        let unit = if widest < 1e-140 { widest } else { 1.0 };
        let square = |x: &f64| {
            let d = (x - mean) / unit;
            d * d
        };
        let variance = values.iter().map(square).sum::<f64>() / (count - 1.0);
        Self { n, mean, sd: Some(unit * variance.sqrt()) }
    }

    /// The standard error of the mean, s/√n.
    pub fn standard_error(&self) -> Option<f64> {
        self.sd.map(|sd| sd / (self.n as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand_and_at_the_edges() {
        let m = Moments::of(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!((m.n, m.mean), (4, 2.5));
        assert!((m.sd.unwrap() - (5.0f64 / 3.0).sqrt()).abs() <= 1e-15);
        assert_eq!(Moments::of(&[0.1; 3]).unwrap(), Moments { n: 3, mean: 0.1, sd: Some(0.0) });
        assert_eq!(Moments::of(&[0.1]).unwrap().sd, None);
        assert!(Moments::of(&[1e150, -1e150]).unwrap().sd.unwrap().is_finite());
        let tiny = Moments::of(&[0.0, 1e-200]).unwrap().sd.unwrap();
        assert!((tiny / 1e-200 - 0.5f64.sqrt()).abs() <= 1e-14);
    }
}
