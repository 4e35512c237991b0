//! Student's t distribution with ν degrees of freedom (any positive number).
//!
//! P(|T| ≥ t) = I_x(ν/2, ½) with x = ν/(ν + t²) (DLMF 8.17, Abramowitz and Stegun 26.7.1).

use super::beta::{beta_power, incomplete_beta};
use super::normal;

/// x and 1 − x.
fn split(t: f64, df: f64) -> (f64, f64) {
    let square = t * t;
    if square.is_infinite() { (0.0, 1.0) } else { (df / (df + square), square / (df + square)) }
}

/// P(|T| ≥ |t|).
pub fn two_sided(t: f64, df: f64) -> f64 {
    let (x, y) = split(t, df);
    incomplete_beta(0.5 * df, 0.5, x, y).0
}

/// P(T ≥ t).
pub fn above(t: f64, df: f64) -> f64 {
    let both = 0.5 * two_sided(t, df);
    if t >= 0.0 { both } else { 1.0 - both }
}

/// P(T ≤ t).
pub fn below(t: f64, df: f64) -> f64 {
    above(-t, df)
}

/// The t ≥ 0 with P(|T| ≥ t) = alpha: 2.228… for alpha 0.05 and 10 degrees of freedom.
///
/// Newton's steps on ln P against ln t, kept inside a bracket.
///
/// # Panics
/// If `alpha` is not in (0, 1] or `df` is not positive.
pub fn critical(alpha: f64, df: f64) -> f64 {
    assert!(alpha > 0.0 && alpha <= 1.0 && df > 0.0, "alpha {alpha}, {df} degrees of freedom");
    if alpha == 1.0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut t = normal::quantile(1.0 - 0.5 * alpha).clamp(1e-300, 40.0);
    for _ in 0..2000 {
        let (x, y) = split(t, df);
        let p = incomplete_beta(0.5 * df, 0.5, x, y).0;
        if p > alpha {
            low = t;
        } else if p < alpha {
            high = t;
        } else {
            return t;
        }
        // d ln P / d ln t = −2 x^{ν/2} y^{1/2} / (B P)
        let step = (libm::log(p) - libm::log(alpha)) * p / (2.0 * beta_power(0.5 * df, 0.5, x, y));
        let newton = t * libm::exp(step.clamp(-2.0, 2.0));
        let next = if newton > low && newton < high {
            newton
        } else if high.is_finite() {
            0.5 * (low + high)
        } else {
            2.0 * t
        };
        if (next - t).abs() <= 1e-16 * t || next == low || next == high {
            return next;
        }
        t = next;
    }
    t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_forms_of_one_and_two_degrees() {
        for t in [0.0, 1e-8, 0.3, 1.0, 4.0, 1e3, 1e8f64] {
            let cauchy = 2.0 / std::f64::consts::PI * (1.0 / t).atan();
            assert!((two_sided(t, 1.0) - cauchy).abs() <= 1e-14 * cauchy);
            let two = 1.0 - t / (2.0 + t * t).sqrt();
            assert!((two_sided(t, 2.0) - two).abs() <= 1e-14, "{t}");
            assert!((above(t, 3.0) + below(t, 3.0) - 1.0).abs() <= 1e-15);
        }
        assert_eq!(two_sided(f64::INFINITY, 5.0), 0.0);
        assert_eq!(two_sided(0.0, 5.0), 1.0);
    }

    #[test]
    fn critical_values_match_tables_and_invert() {
        // SciPy's t.ppf(1 − alpha/2, df).
        for (alpha, df, t) in [
            (0.05, 1.0, 12.706_204_736_174_707),
            (0.05, 10.0, 2.228_138_851_986_275),
            (0.001, 29.0, 3.659_405_019_466_332_4),
            (1e-10, 3.0, 2_804.293_825_339_525_5),
        ] {
            assert!((critical(alpha, df) - t).abs() <= 1e-13 * t, "{alpha} {df}: {}", critical(alpha, df));
        }
        for df in [1.0, 2.0, 4.0, 11.0, 59.0, 1e3, 1e6] {
            for alpha in [0.999_999, 0.9, 0.5, 0.05, 1e-4, 1e-12] {
                let back = two_sided(critical(alpha, df), df);
                assert!((back - alpha).abs() <= 1e-11 * alpha, "{df} {alpha} {back}");
            }
        }
    }
}
