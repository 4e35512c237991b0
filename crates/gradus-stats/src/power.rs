//! Power of the paired t test and of TOST: how many rounds it takes.
//!
//! The t test: P(|T'| ≥ t) for T' noncentral t with n − 1 degrees of freedom and δ = d_z √n, t the two-sided critical value. TOST: the
//! probability that both one-sided tests reject, given the spread S integrated over its distribution (Phillips 1990). No
//! normal approximation in either; the smallest sufficient n is found by bisection.

use crate::dist::noncentral::{self, over_spread};
use crate::dist::{normal, student};
use crate::error::{Error, Kind, Result, check_positive, check_share};

/// The most rounds that are spoken of; beyond, the answer is `None`.
pub const MOST_ROUNDS: u64 = 1_000_000;

fn check_mean(what: &str, x: f64) -> Result<()> {
    if x.is_finite() {
        return Ok(());
    }
    Err(Error::new(Kind::Argument, format_args!("{what} is {x}: it must be finite")))
}

fn check_rounds(n: u64) -> Result<()> {
    if (2..=MOST_ROUNDS).contains(&n) {
        return Ok(());
    }
    Err(Error::new(Kind::Count, format_args!("{n} rounds: a power needs from 2 to {MOST_ROUNDS}")))
}

/// The power of the two-sided paired t test at level `alpha` with `n` rounds, for a true mean of `d_z` standard deviations.
///
/// # Errors
/// If `n` is below 2 or above [`MOST_ROUNDS`], `d_z` is not finite, or `alpha` is not between 0 and 1.
pub fn t_test(n: u64, d_z: f64, alpha: f64) -> Result<f64> {
    check_rounds(n)?;
    check_mean("the effect size", d_z)?;
    check_share("alpha", alpha)?;
    Ok(t_test_checked(n, d_z, alpha))
}

fn t_test_checked(n: u64, d_z: f64, alpha: f64) -> f64 {
    let df = n as f64 - 1.0;
    let delta = d_z * (n as f64).sqrt();
    let t = student::critical(alpha, df);
    (noncentral::above(t, df, delta) + noncentral::above(t, df, -delta)).min(1.0)
}

/// The power of TOST at level `alpha` with `n` rounds, for a true mean difference and its standard deviation `sd`.
///
/// # Errors
/// If `n` is below 2 or above [`MOST_ROUNDS`], the mean is not finite, `sd` or `margin` is not positive, or `alpha` is not
/// between 0 and 1.
pub fn tost(n: u64, mean: f64, sd: f64, margin: f64, alpha: f64) -> Result<f64> {
    check_rounds(n)?;
    check_tost(mean, sd, margin, alpha)?;
    Ok(tost_checked(n, mean, sd, margin, alpha))
}

fn check_tost(mean: f64, sd: f64, margin: f64, alpha: f64) -> Result<()> {
    check_mean("the mean", mean)?;
    check_positive("the standard deviation", sd)?;
    check_positive("the margin", margin)?;
    check_share("alpha", alpha)
}

fn tost_checked(n: u64, mean: f64, sd: f64, margin: f64, alpha: f64) -> f64 {
    let df = n as f64 - 1.0;
    let t = if alpha < 0.5 { student::critical(2.0 * alpha, df) } else { -student::critical(2.0 - 2.0 * alpha, df) };
    let scale = (n as f64).sqrt() / sd;
    let (upper, lower) = ((margin - mean) * scale, (-margin - mean) * scale);
    let turns = [(upper - 9.0) / t, upper / t, (upper + 9.0) / t, (-lower - 9.0) / t, -lower / t, margin * scale / t];
    let inside = |s: f64| (normal::below(upper - t * s) - normal::below(lower + t * s)).max(0.0);
    over_spread(df, &turns, inside).clamp(0.0, 1.0)
}

/// The fewest rounds with which the two-sided paired t test has the given power (usually 0.8) for a true mean of `d_z`
/// standard deviations; `None` if that takes more than [`MOST_ROUNDS`].
///
/// # Errors
/// If `d_z` is not finite, or `alpha` or `power` is not between 0 and 1.
pub fn rounds_for_t_test(d_z: f64, alpha: f64, power: f64) -> Result<Option<u64>> {
    check_mean("the effect size", d_z)?;
    check_share("alpha", alpha)?;
    check_share("the power", power)?;
    let share = normal_sum(alpha, power) / d_z;
    Ok(fewest(share * share, |n| t_test_checked(n, d_z, alpha) >= power))
}

/// The fewest rounds with which TOST has the given power for a true mean difference and its standard deviation; `None` if
/// that takes more than [`MOST_ROUNDS`], as it does when the mean lies outside the margin.
///
/// # Errors
/// As [`tost`], and if `power` is not between 0 and 1.
pub fn rounds_for_tost(mean: f64, sd: f64, margin: f64, alpha: f64, power: f64) -> Result<Option<u64>> {
    check_tost(mean, sd, margin, alpha)?;
    check_share("the power", power)?;
    let share = normal_sum(2.0 * alpha.min(0.49), power) * sd / (margin - mean.abs()).max(1e-9 * sd);
    Ok(fewest(share * share, |n| tost_checked(n, mean, sd, margin, alpha) >= power))
}

/// The smallest true difference that the two-sided paired t test finds with the given power in `n` rounds, in the unit of
/// `sd`, the standard deviation of the differences.
///
/// # Errors
/// If `n` is below 2 or above [`MOST_ROUNDS`], `sd` is not positive, `alpha` or `power` is not between 0 and 1, or the power is not
/// above `alpha` (which no difference at all has already).
pub fn detectable(n: u64, sd: f64, alpha: f64, power: f64) -> Result<f64> {
    check_rounds(n)?;
    check_positive("the standard deviation", sd)?;
    check_share("alpha", alpha)?;
    check_share("the power", power)?;
    if power <= alpha {
        return Err(Error::new(Kind::Argument, format_args!("the power {power} must be above alpha {alpha}")));
    }
    // From the normal guess, a bracket; in it, false position that halves the weight of an end that stays (Illinois).
    let lack = |d_z: f64| t_test_checked(n, d_z, alpha) - power;
    let guess = normal_sum(alpha, power).max(0.1) / (n as f64).sqrt();
    let (mut low, mut high) = ((0.0, alpha - power), (guess, lack(guess)));
    while high.1 < 0.0 {
        low = high;
        high = (2.0 * high.0, lack(2.0 * high.0));
    }
    for _ in 0..200 {
        let middle = (low.0 * high.1 - high.0 * low.1) / (high.1 - low.1);
        let value = lack(middle);
        if value.abs() <= 1e-12 || high.0 - low.0 <= 1e-14 * high.0 {
            return Ok(middle * sd);
        }
        if value < 0.0 {
            low = (middle, value);
            high.1 *= 0.5;
        } else {
            high = (middle, value);
            low.1 *= 0.5;
        }
    }
    Ok(0.5 * (low.0 + high.0) * sd)
}

/// z of alpha/2 and z of the power: what a difference must measure in standard errors, nearly.
fn normal_sum(alpha: f64, power: f64) -> f64 {
    normal::quantile(power) - normal::quantile(0.5 * alpha)
}

/// The smallest n ≥ 2 that is enough, where being enough does not stop as n grows; `guess` is where to look first.
fn fewest(guess: f64, enough: impl Fn(u64) -> bool) -> Option<u64> {
    let guess = guess.clamp(2.0, MOST_ROUNDS as f64) as u64;
    let (mut low, mut high) = (1, MOST_ROUNDS + 1); // too few, and enough or out of reach
    let mut next = guess;
    let mut step = 1 + guess / 16;
    while high - low > 1 {
        if enough(next) {
            high = next
        } else {
            low = next
        }
        next = match (low < guess, high > MOST_ROUNDS) {
            (_, true) => (low + step).min(MOST_ROUNDS),
            (true, _) if low == 1 => high.saturating_sub(step).max(2),
            _ => low + (high - low) / 2,
        };
        if high - low > 1 && next <= low || next >= high {
            next = low + (high - low) / 2;
        }
        step *= 4;
    }
    (high <= MOST_ROUNDS).then_some(high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::equivalence;
    use crate::random::{Purpose, Stream};
    use crate::ttest::paired_t;

    #[test]
    fn rounds_and_differences_invert_the_power() {
        for d_z in [0.3, 0.5, 1.0, 2.5] {
            let n = rounds_for_t_test(d_z, 0.05, 0.8).unwrap().unwrap();
            assert!(t_test(n, d_z, 0.05).unwrap() >= 0.8);
            assert!(n == 2 || t_test(n - 1, d_z, 0.05).unwrap() < 0.8);
            let smallest = detectable(n, 3.0, 0.05, 0.8).unwrap() / 3.0;
            assert!(smallest <= d_z && (t_test(n, smallest, 0.05).unwrap() - 0.8).abs() <= 1e-9);
        }
        // The table of Cohen's d = 0.5, two-sided 5 %: 34 pairs.
        assert_eq!(rounds_for_t_test(0.5, 0.05, 0.8).unwrap(), Some(34));
        assert!((t_test(12, 0.0, 0.05).unwrap() - 0.05).abs() <= 1e-12, "without an effect the power is alpha");
        assert_eq!(rounds_for_t_test(0.0, 0.05, 0.8).unwrap(), None);
        assert_eq!(rounds_for_tost(1.0, 1.0, 0.5, 0.05, 0.8).unwrap(), None);
    }

    #[test]
    fn studies_reject_as_often_as_predicted() {
        let mut stream = Stream::new(21, Purpose::Test);
        let (n, studies) = (9, 4000);
        for (mean, margin) in [(0.6, 1.3), (0.0, 1.0), (1.1, 2.0)] {
            let (mut found, mut equivalent) = (0, 0);
            for _ in 0..studies {
                let d: Vec<f64> = (0..n).map(|_| mean + stream.normal()).collect();
                found += usize::from(paired_t(&d, 0.0, 0.95).unwrap().unwrap().p <= 0.05);
                equivalent += usize::from(equivalence::tost(&d, margin).unwrap().unwrap().p() <= 0.05);
            }
            for (count, power) in
                [(found, t_test(n, mean, 0.05).unwrap()), (equivalent, tost(n, mean, 1.0, margin, 0.05).unwrap())]
            {
                let rate = count as f64 / f64::from(studies);
                let error = (power * (1.0 - power) / f64::from(studies)).sqrt();
                assert!((rate - power).abs() <= 4.0 * error, "{mean}: {rate} for {power}");
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(t_test(1, 0.5, 0.05).is_err() && t_test(5, f64::NAN, 0.05).is_err() && t_test(5, 0.5, 1.0).is_err());
        assert!(tost(5, 0.0, 0.0, 1.0, 0.05).is_err() && tost(5, 0.0, 1.0, -1.0, 0.05).is_err());
        assert!(detectable(5, 1.0, 0.05, 0.05).is_err() && rounds_for_t_test(0.5, 0.05, f64::NAN).is_err());
    }
}
