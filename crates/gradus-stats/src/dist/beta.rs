//! The gamma and beta functions.

/// ½ ln 2π.
const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;

/// δ(x) = ln Γ(x) − ((x − ½) ln x − x + ½ ln 2π), x > 0: Stirling's series from 15 on, δ(x) = δ(x + 1) + (x + ½) ln(1 + 1/x) − 1
/// below (Loader 2000 uses it to keep binomial probabilities exact for large counts).
pub(super) fn stirling_error(mut x: f64) -> f64 {
    let mut below = 0.0;
    while x < 15.0 {
        below += (x + 0.5) * libm::log1p(1.0 / x) - 1.0;
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    below + (1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y / 1188.0)))) / x
}

/// ln Γ(x), x > 0.
pub(crate) fn ln_gamma(x: f64) -> f64 {
    (x - 0.5) * libm::log(x) - x + HALF_LN_TAU + stirling_error(x)
}

/// a ln(ratio) where ratio = 1 + excess; precise near 1 and near 0.
fn ln_ratio(ratio: f64, excess: f64) -> f64 {
    if excess.abs() < 0.5 { libm::log1p(excess) } else { libm::log(ratio) }
}

/// x^a y^b / B(a, b) for x + y = 1.
pub(super) fn beta_power(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let n = a + b;
    let lean = x * b - a * y; // x·n − a
    let exponent = a * ln_ratio(x * n / a, lean / a) + b * ln_ratio(y * n / b, -lean / b) + 0.5 * libm::log(a / n * b)
        - HALF_LN_TAU
        - stirling_error(a)
        - stirling_error(b)
        + stirling_error(n);
    libm::exp(exponent)
}

/// The regularised incomplete beta function I_x(a, b) and its complement, for x + y = 1 (both given, for precision).
///
/// The even part of the continued fraction (Didonato and Morris 1992, eq. 9) by the modified Lentz method, on the side of
/// the mean a/(a + b) where its terms do not cancel.
pub(super) fn incomplete_beta(a: f64, b: f64, x: f64, y: f64) -> (f64, f64) {
    if x <= 0.0 {
        return (0.0, 1.0);
    }
    if y <= 0.0 {
        return (1.0, 0.0);
    }
    if a * y >= b * x {
        let lower = tail(a, b, x, y);
        (lower, 1.0 - lower)
    } else {
        let upper = tail(b, a, y, x);
        (1.0 - upper, upper)
    }
}

/// I_x(a, b) for x ≤ a/(a + b).
fn tail(a: f64, b: f64, x: f64, y: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |v: f64| if v.abs() < TINY { TINY } else { v };
    let lean = a * y - b * x;
    let denominator = |m: f64| {
        m + m * (b - m) * x / (a + 2.0 * m - 1.0) + (a + m) * (lean + 1.0 + m * (1.0 + y)) / (a + 2.0 * m + 1.0)
    };
    let mut fraction = away(a * (lean + 1.0) / (a + 1.0));
    let (mut c, mut d) = (fraction, 0.0);
    for m in 1..100_000 {
        let m = f64::from(m);
        let base = a + 2.0 * m - 1.0;
        let numerator = (a + m - 1.0) / base * ((a + b + m - 1.0) / base) * m * (b - m) * x * x;
        let denominator = denominator(m);
        d = 1.0 / away(denominator + numerator * d);
        c = away(denominator + numerator / c);
        fraction *= c * d;
        if (c * d - 1.0).abs() <= f64::EPSILON {
            break;
        }
    }
    (beta_power(a, b, x, y) / fraction).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() <= tolerance * want.abs(), "{got} for {want}");
    }

    #[test]
    fn gamma_at_known_places() {
        near(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln(), 1e-14);
        near(ln_gamma(10.0), 362_880f64.ln(), 1e-14);
        near(ln_gamma(101.0), (1..=100).map(|k| f64::from(k).ln()).sum(), 1e-14);
    }

    #[test]
    fn beta_of_whole_numbers_is_a_binomial_tail() {
        // I_x(k, n − k + 1) = P(Bin(n, x) ≥ k), summed here term by term.
        for (n, k, x) in [(7, 3, 0.2f64), (20, 15, 0.5), (40, 2, 0.01), (60, 30, 0.6)] {
            let mut choose = 1.0;
            let mut tail = 0.0;
            for i in 0..=n {
                if i >= k {
                    tail += choose * x.powi(i) * (1.0 - x).powi(n - i);
                }
                choose *= f64::from(n - i) / f64::from(i + 1);
            }
            let (lower, upper) = incomplete_beta(f64::from(k), f64::from(n - k + 1), x, 1.0 - x);
            near(lower, tail, 1e-13);
            near(upper, 1.0 - tail, 1e-11);
        }
    }
}
