//! McNemar's test on predictions for the same samples (McNemar 1947; mid-p: Fagerland, Lydersen, Laake 2013).
//!
//! Only samples count that exactly one of the two arms got right: b where the first alone did, c where the second alone did.
//! Without a difference b is binomial(b + c, ½). Exact: p = 2 P(X ≤ min(b, c)), at most 1; mid-p: less P(X = min(b, c)),
//! which is nearer to its level and on average not above it.
//!
//! Predictions pooled over rounds that share test samples are not independent; then p is too small, and the paired rounds
//! are the test to trust.

use crate::dist::binomial;

/// The result of the test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct McNemar {
    /// Samples that the first arm alone got right.
    pub first_only: u64,
    /// Samples that the second arm alone got right.
    pub second_only: u64,
    /// The exact two-sided p value.
    pub p: f64,
    /// The mid-p value, two-sided.
    pub mid_p: f64,
}

/// McNemar's test; both p values are 1 where no sample tells the arms apart.
pub fn mcnemar(first_only: u64, second_only: u64) -> McNemar {
    let n = first_only.saturating_add(second_only);
    let fewer = first_only.min(second_only);
    let (p, mid_p) = if n == 0 {
        (1.0, 1.0)
    } else {
        let tails = 2.0 * binomial::below(fewer, n);
        (tails.min(1.0), (tails - binomial::exactly(fewer, n)).min(1.0))
    };
    McNemar { first_only, second_only, p, mid_p }
}

/// The counts from what each arm got right, sample by sample: (first alone, second alone).
///
/// # Panics
/// If the lists differ in length.
pub fn discordant(first: &[bool], second: &[bool]) -> (u64, u64) {
    assert_eq!(first.len(), second.len(), "predictions for the same samples");
    let alone = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| **a && !**b).count() as u64;
    (alone(first, second), alone(second, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let none = mcnemar(0, 0);
        assert_eq!((none.p, none.mid_p), (1.0, 1.0));
        let even = mcnemar(4, 4);
        assert_eq!(even.p, 1.0);
        assert!((even.mid_p - 1.0).abs() <= 1e-14);
        // 2 (1 + 6)/2⁶ and less 6/2⁶
        let test = mcnemar(5, 1);
        assert!((test.p - 14.0 / 64.0).abs() <= 1e-15 && (test.mid_p - 8.0 / 64.0).abs() <= 1e-15);
        assert_eq!(mcnemar(1, 5).p, test.p);
        assert_eq!(discordant(&[true, true, false, false], &[true, false, true, false]), (1, 1));
    }
}
