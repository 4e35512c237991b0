//! The sign-flip permutation test of paired differences (Fisher 1935).
//!
//! If the arms are exchangeable within a round, each difference could as well have had the other sign. p is the share of all
//! 2ⁿ sign vectors whose sum is at least as far from 0 as the one seen. It assumes nothing about the shape of the
//! distribution, and its error is never above alpha.
//!
//! Up to [`EXACT_UP_TO`] differences other than 0 all vectors are counted, by meeting in the middle: the sums of either half
//! are 2^(n/2) sorted numbers, and pairs of them are counted in one walk. Above, `m` random vectors: p = (k + 1)/(m + 1)
//! (Phipson and Smyth 2010), with the standard error √(p (1 − p)/m). Sums that differ by less than their rounding (64 ε Σ|d|)
//! count as equal, so that differences of decimal numbers tie as they should.

use crate::error::{Error, Kind, Result, check};
use crate::random::{Purpose, Stream};

/// Up to how many differences other than 0 the p value is exact.
pub const EXACT_UP_TO: usize = 40;

/// How many random sign vectors are drawn above that, unless the caller says otherwise.
pub const DRAWS: usize = 99_999;

/// The result of the test.
#[derive(Clone, Debug, PartialEq)]
pub struct SignFlip {
    /// The two-sided p value.
    pub p: f64,
    /// Whether every sign vector was counted.
    pub exact: bool,
    /// The Monte Carlo standard error of `p`; 0 when exact.
    pub standard_error: f64,
    /// How many differences are not 0.
    pub nonzero: usize,
}

/// The two-sided sign-flip test of mean 0. Zeros change nothing and are set aside; without others p is 1.
///
/// # Errors
/// If there are no differences or one is not a usable number.
pub fn sign_flip(differences: &[f64], draws: usize, seed: u64) -> Result<SignFlip> {
    check("difference", differences)?;
    let values: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    let nonzero = values.len();
    if nonzero <= EXACT_UP_TO {
        return Ok(SignFlip { p: exact(&values), exact: true, standard_error: 0.0, nonzero });
    }
    if draws == 0 {
        return Err(Error::new(Kind::Argument, "0 random sign vectors: at least one is needed"));
    }
    let p = monte_carlo(&values, draws, seed);
    let standard_error = (p * (1.0 - p) / draws as f64).sqrt();
    Ok(SignFlip { p, exact: false, standard_error, nonzero })
}

/// The smallest two-sided p value that n differences can give: 2/2ⁿ, at most 1.
pub fn smallest_p(n: usize) -> f64 {
    libm::scalbn(1.0, 1 - i32::try_from(n.clamp(1, 1074)).expect("clamped"))
}

/// The sum that counts as "as far": the one seen, less the rounding of sums.
fn threshold(values: &[f64]) -> f64 {
    let size: f64 = values.iter().map(|d| d.abs()).sum();
    values.iter().sum::<f64>().abs() - 64.0 * f64::EPSILON * size
}

fn exact(values: &[f64]) -> f64 {
    let threshold = threshold(values);
    if threshold <= 0.0 {
        return 1.0;
    }
    let (left, right) = values.split_at(values.len() / 2);
    let (left, right) = (sums(left), sums(right));
    // As the left sum grows, ever more right sums suffice.
    let mut first = right.len();
    let mut count = 0u64;
    for sum in left {
        while first > 0 && sum + right[first - 1] >= threshold {
            first -= 1;
        }
        count += (right.len() - first) as u64;
    }
    // As many lie at the other end.
    2.0 * count as f64 * libm::scalbn(1.0, -(values.len() as i32))
}

/// All sums ±v₁ ± v₂ …, ascending: each value merges two shifted copies of the list before.
fn sums(values: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    for v in values.iter().map(|v| v.abs()) {
        let mut next = Vec::with_capacity(2 * sums.len());
        let mut high = 0;
        for &low in &sums {
            while high < sums.len() && sums[high] + v < low - v {
                next.push(sums[high] + v);
                high += 1;
            }
            next.push(low - v);
        }
        next.extend(sums[high..].iter().map(|s| s + v));
        sums = next;
    }
    sums
}

fn monte_carlo(values: &[f64], draws: usize, seed: u64) -> f64 {
    let threshold = threshold(values);
    let mut stream = Stream::new(seed, Purpose::SignFlip);
    let mut far = 0u64;
    for _ in 0..draws {
        let mut sum = 0.0;
        for part in values.chunks(32) {
            let mut bits = stream.next();
            for &d in part {
                sum += f64::from_bits(d.to_bits() ^ (u64::from(bits & 1) << 63));
                bits >>= 1;
            }
        }
        far += u64::from(sum.abs() >= threshold);
    }
    (far + 1) as f64 / (draws + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition, in whole numbers.
    fn brute(values: &[i64]) -> f64 {
        let seen: i64 = values.iter().sum::<i64>().abs();
        let far = (0..1u32 << values.len())
            .filter(|signs| {
                let sum: i64 = values.iter().enumerate().map(|(i, v)| if signs >> i & 1 == 1 { -v } else { *v }).sum();
                sum.abs() >= seen
            })
            .count();
        far as f64 / f64::from(1u32 << values.len())
    }

    #[test]
    fn exact_is_the_count_of_all_sign_vectors() {
        let mut stream = Stream::new(5, Purpose::Test);
        for n in 1..=14 {
            for _ in 0..8 {
                let whole: Vec<i64> = (0..n).map(|_| stream.below(41) as i64 - 17).collect();
                // Tenths are not exact in binary: ties must be seen all the same.
                let tenths: Vec<f64> = whole.iter().map(|v| *v as f64 * 0.1).collect();
                let got = sign_flip(&tenths, DRAWS, 0).unwrap();
                assert_eq!(got.p, brute(&whole), "{whole:?}");
            }
        }
    }

    #[test]
    fn monte_carlo_agrees_with_the_count() {
        let values: Vec<f64> = (0..18).map(|i| f64::from(i) * 0.37 - 2.0).collect();
        let p = exact(&values);
        let drawn = monte_carlo(&values, DRAWS, 11);
        assert!((drawn - p).abs() <= 5.0 * (p * (1.0 - p) / DRAWS as f64).sqrt(), "{drawn} {p}");
        assert_eq!(drawn, monte_carlo(&values, DRAWS, 11));
    }

    #[test]
    fn degenerate_cases() {
        assert_eq!(sign_flip(&[0.0, 0.0], 1, 0).unwrap().p, 1.0);
        assert_eq!(sign_flip(&[1.0, -1.0], 1, 0).unwrap().p, 1.0);
        assert_eq!(sign_flip(&[3.0], 1, 0).unwrap().p, 1.0);
        let with_zeros = sign_flip(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 6.0], 1, 0).unwrap();
        assert_eq!((with_zeros.p, with_zeros.nonzero), (2.0 / 64.0, 6));
        assert!(sign_flip(&[f64::NAN], 1, 0).is_err() && sign_flip(&[1.0; 41], 0, 0).is_err());
        assert_eq!((smallest_p(6), smallest_p(1), smallest_p(0)), (2.0 / 64.0, 1.0, 1.0));
    }

    #[test]
    fn forty_are_counted_and_forty_one_are_drawn() {
        let all: Vec<f64> = (0..41).map(|i| 1.0 + f64::from(i % 3)).collect();
        assert_eq!(sign_flip(&all[..40], DRAWS, 0).unwrap().p, smallest_p(40));
        let drawn = sign_flip(&all, DRAWS, 0).unwrap();
        assert_eq!((drawn.exact, drawn.p), (false, 1e-5));
        assert!(drawn.standard_error > 0.0);
    }
}
