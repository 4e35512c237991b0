//! The binomial distribution with p = ½: heads in n fair tosses.

use super::beta::{beta_power, incomplete_beta};

/// P(X ≤ k) = I_½(n − k, k + 1).
pub fn below(k: u64, n: u64) -> f64 {
    if k >= n { 1.0 } else { incomplete_beta((n - k) as f64, k as f64 + 1.0, 0.5, 0.5).0 }
}

/// P(X = k) = C(n, k)/2ⁿ.
pub fn exactly(k: u64, n: u64) -> f64 {
    if k > n {
        return 0.0;
    }
    // x^(k+1) y^(n−k+1) / B(k + 1, n − k + 1) = (n + 1) C(n, k) / 2^(n+2)
    4.0 * beta_power(k as f64 + 1.0, (n - k) as f64 + 1.0, 0.5, 0.5) / (n as f64 + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_counts_by_hand_and_large_ones_add_up() {
        for n in 0..=30u64 {
            let (mut choose, mut sum) = (1.0, 0.0);
            for k in 0..=n {
                let p = choose / 2f64.powi(n as i32);
                sum += p;
                assert!((exactly(k, n) - p).abs() <= 1e-13 * p, "{k} of {n}");
                assert!((below(k, n) - sum).abs() <= 1e-13 * sum);
                choose = choose * (n - k) as f64 / (k + 1) as f64;
            }
        }
        let (n, k) = (100_000, 49_700);
        assert!((below(k, n) - below(k - 1, n) - exactly(k, n)).abs() <= 1e-13);
        assert_eq!(below(3, 2), 1.0);
    }
}
