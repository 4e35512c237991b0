//! The standard normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

/// The density, exp(−z²/2)/√(2π).
pub fn density(z: f64) -> f64 {
    libm::exp(-0.5 * z * z) / TAU.sqrt()
}

/// P(Z ≤ z) = ½ erfc(−z/√2).
pub fn below(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// P(Z ≥ z) = ½ erfc(z/√2).
pub fn above(z: f64) -> f64 {
    0.5 * libm::erfc(z * FRAC_1_SQRT_2)
}

/// The z with P(Z ≤ z) = p; −∞ at 0 and ∞ at 1.
///
/// The rational start of Abramowitz and Stegun 26.2.23 and three of Halley's steps, which reach the last digits.
///
/// # Panics
/// If `p` is not in [0, 1].
pub fn quantile(p: f64) -> f64 {
    assert!((0.0..=1.0).contains(&p), "a probability of {p}");
    match p.total_cmp(&0.5) {
        std::cmp::Ordering::Less => -above_quantile(p),
        std::cmp::Ordering::Equal => 0.0,
        std::cmp::Ordering::Greater => above_quantile(1.0 - p),
    }
}

/// The z ≥ 0 with P(Z ≥ z) = q, q ≤ ½.
fn above_quantile(q: f64) -> f64 {
    if q == 0.0 {
        return f64::INFINITY;
    }
    let t = (-2.0 * libm::log(q)).sqrt();
    let mut z =
        t - (2.515_517 + t * (0.802_853 + t * 0.010_328)) / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)));
    for _ in 0..3 {
        let u = (above(z) - q) / density(z);
        z += u / (1.0 - 0.5 * u * z);
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_invert_and_match_tables() {
        // SciPy's norm.ppf.
        for (p, z) in [
            (0.975, 1.959_963_984_540_054),
            (0.95, 1.644_853_626_951_472_2),
            (0.8, 0.841_621_233_572_914_3),
            (1e-10, -6.361_340_902_404_056),
            (1e-300, -37.047_096_299_361_2),
        ] {
            assert!((quantile(p) - z).abs() <= 2e-14 * z.abs(), "{p}: {} for {z}", quantile(p));
        }
        assert_eq!(quantile(0.5), 0.0);
        assert_eq!((quantile(0.0), quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
        for i in 1..200 {
            let p = f64::from(i) / 200.0;
            assert!((below(quantile(p)) - p).abs() <= 1e-15);
            assert!((above(quantile(p)) - (1.0 - p)).abs() <= 1e-15);
        }
    }
}
