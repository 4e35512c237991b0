//! The noncentral t distribution T = (Z + δ)/S, S² a χ² over its ν degrees of freedom: the distribution of the t statistic
//! when there is a difference.
//!
//! P(T ≥ t) = ∫ P(Z ≥ t s − δ) f(s) ds over the density f of S, by Gauss–Legendre of 16 points on pieces that
//! follow both factors. The part of S that is cut off has a probability below 1e-19.

use super::beta::stirling_error;
use super::normal;

/// P(T ≥ t) with ν = `df` and noncentrality δ = `delta`.
pub fn above(t: f64, df: f64, delta: f64) -> f64 {
    let turn = [(delta - 9.0) / t, delta / t, (delta + 9.0) / t];
    over_spread(df, &turn, |s| normal::above(t * s - delta)).clamp(0.0, 1.0)
}

/// ∫ f(s) g(s) ds for the density f of S = √(χ²_ν/ν); `turns` are places where `g` changes quickly.
pub(crate) fn over_spread(df: f64, turns: &[f64], g: impl Fn(f64) -> f64) -> f64 {
    let reach = 9.5 / df.sqrt();
    let (low, high) = ((1.0 - reach).max(0.0), 1.0 + reach);
    let mut ends: Vec<f64> = turns.iter().copied().filter(|s| *s > low && *s < high).collect();
    ends.extend([low, high, 1.0]);
    ends.sort_by(f64::total_cmp);
    // ln of 2 (ν/2)^{ν/2}/Γ(ν/2) e^{−ν/2}
    let head = 0.5 * libm::log(df / std::f64::consts::PI) - stirling_error(0.5 * df);
    let density = |s: f64| {
        let u = s - 1.0;
        libm::exp(head + df * (libm::log(s) - u - 0.5 * u * u)) / s
    };
    let rule = legendre();
    let mut sum = 0.0;
    for pair in ends.windows(2) {
        const PIECES: i32 = 6;
        let half = 0.5 * (pair[1] - pair[0]) / f64::from(PIECES);
        for piece in 0..PIECES {
            let middle = pair[0] + half * f64::from(2 * piece + 1);
            for (x, weight) in rule {
                for s in [middle - half * x, middle + half * x] {
                    sum += weight * half * density(s) * g(s);
                }
            }
        }
    }
    sum
}

/// The positive nodes and weights of Gauss–Legendre with 16 points, by Newton's method on the polynomial.
fn legendre() -> [(f64, f64); 8] {
    std::array::from_fn(|i| {
        let mut x = libm::cos(std::f64::consts::PI * (i as f64 + 0.75) / 16.5);
        loop {
            let (mut before, mut p) = (1.0, x);
            for k in 2..=16 {
                let k = f64::from(k);
                (before, p) = (p, ((2.0 * k - 1.0) * x * p - (k - 1.0) * before) / k);
            }
            let slope = 16.0 * (x * p - before) / (x * x - 1.0);
            let step = p / slope;
            x -= step;
            if step.abs() <= 1e-15 {
                return (x, 2.0 / ((1.0 - x * x) * slope * slope));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::student;

    #[test]
    fn without_a_difference_it_is_student() {
        for df in [1.0, 2.0, 5.0, 29.0, 1e3, 1e5] {
            for t in [0.01, 0.5, 2.0, 12.0, 600.0] {
                let want = student::above(t, df);
                assert!((above(t, df, 0.0) - want).abs() <= 1e-12, "{df} {t}: {} {want}", above(t, df, 0.0));
            }
        }
    }

    #[test]
    fn mirrored() {
        for (t, df, delta) in [(2.0, 5.0, 1.5), (3.0, 40.0, 2.5), (12.7, 1.0, 4.0)] {
            assert!((above(t, df, delta) + above(-t, df, -delta) - 1.0).abs() <= 1e-12);
        }
    }
}
