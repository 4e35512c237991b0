//! Holm's step-down correction for a family of tests (Holm 1979).
//!
//! The i-th smallest of m p values (i from 1) times m − i + 1, made monotone by the largest before it, at most 1. Rejecting
//! where the adjusted p ≤ alpha keeps the chance of any false rejection in the family at or below alpha, whatever the dependence.

use crate::error::{Error, Kind, Result};

/// The adjusted p values, in the order given.
///
/// # Errors
/// If a p value is not in [0, 1].
pub fn holm(p: &[f64]) -> Result<Vec<f64>> {
    if let Some(i) = p.iter().position(|p| !(0.0..=1.0).contains(p)) {
        let (at, m) = (i + 1, p.len());
        return Err(Error::new(Kind::Value, format_args!("p value {at} of {m} is {}: it must lie in [0, 1]", p[i])));
    }
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest = 0.0f64;
    for (done, &i) in order.iter().enumerate() {
        largest = largest.max((p.len() - done) as f64 * p[i]).min(1.0);
        adjusted[i] = largest;
    }
    Ok(adjusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_down_and_stays_monotone() {
        // 4 × 0.01; 3 × 0.02; 2 × 0.025 is less, so 0.06; 1 × 0.9.
        let got = holm(&[0.9, 0.01, 0.025, 0.02]).unwrap();
        for (got, want) in got.iter().zip([0.9, 0.04, 0.06, 0.06]) {
            assert!((got - want).abs() <= 1e-15);
        }
        assert_eq!(holm(&[0.6, 0.7]).unwrap(), [1.0, 1.0]);
        assert_eq!(holm(&[0.02, 0.02]).unwrap(), [0.04, 0.04]);
        assert_eq!(holm(&[]).unwrap(), [0.0; 0]);
        for bad in [f64::NAN, -0.1, 1.1] {
            assert!(holm(&[0.5, bad]).unwrap_err().to_string().starts_with("p value 2 of 2 is"));
        }
    }

    #[test]
    fn the_order_given_does_not_matter() {
        let p = [0.03, 0.2, 0.001, 0.03, 0.5];
        let straight = holm(&p).unwrap();
        let mut back: Vec<f64> = p.iter().rev().copied().collect();
        back = holm(&back).unwrap();
        back.reverse();
        assert_eq!(straight, back);
    }
}
