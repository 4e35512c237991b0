//! Wilcoxon's signed-rank test (Wilcoxon 1945) of paired differences.
//!
//! Differences of 0 are dropped (`zero_method='wilcox'`), the others ranked by magnitude, ties by their mean rank; W⁺ is the sum of
//! the ranks of positive ones. Magnitudes within 1e-12 of the largest one count as equal, and those below it as 0, so
//! that differences of decimal numbers tie as they should.
//!
//! [`Method::Auto`] follows SciPy 1.17: exact for n ≤ 50 without ties and zeros; exact with them for n ≤ 13 (SciPy enumerates
//! the sign vectors); else the normal approximation with tie correction and without continuity correction. [`Method::Exact`] counts
//! the sign vectors at any n, ties included, by adding one doubled rank at a time.

use crate::dist::normal;
use crate::error::{Result, check};

/// How the p value is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As SciPy's `method='auto'`.
    Auto,
    /// From the distribution of W⁺ over all sign vectors, given the ranks.
    Exact,
    /// z = (W⁺ − μ)/σ, μ = n(n + 1)/4, σ² = (n(n + 1)(2n + 1) − Σ(t³ − t)/2)/24 over ties of t.
    Normal,
}

/// The result of the test.
#[derive(Clone, Debug, PartialEq)]
pub struct Wilcoxon {
    /// The smaller of W⁺ and W⁻, as SciPy reports it.
    pub statistic: f64,
    /// W⁺.
    pub positive: f64,
    /// The two-sided p value.
    pub p: f64,
    /// How it was found: `Exact` or `Normal`.
    pub method: Method,
    /// How many differences are not 0.
    pub nonzero: usize,
}

/// The two-sided signed-rank test. `None` if every difference is 0.
///
/// # Errors
/// If there are no differences or one is not a usable number.
pub fn wilcoxon(differences: &[f64], method: Method) -> Result<Option<Wilcoxon>> {
    check("difference", differences)?;
    let largest = differences.iter().map(|d| d.abs()).fold(0.0, f64::max);
    if largest == 0.0 {
        return Ok(None);
    }
    let tie = 1e-12 * largest;
    let mut values: Vec<f64> = differences.iter().copied().filter(|d| d.abs() > tie).collect();
    values.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let n = values.len();

    // Twice the ranks are whole numbers: a tie of places i + 1 ..= j has the mean rank (i + 1 + j)/2.
    let mut ranks = Vec::with_capacity(n);
    let (mut positive, mut tied) = (0usize, 0.0);
    while ranks.len() < n {
        let i = ranks.len();
        let mut j = i + 1;
        while j < n && values[j].abs() - values[i].abs() <= tie {
            j += 1;
        }
        ranks.resize(j, i + 1 + j);
        positive += (i + 1 + j) * values[i..j].iter().filter(|d| **d > 0.0).count();
        let t = (j - i) as f64;
        tied += t * t * t - t;
    }
    let all = n * (n + 1);

    let plain = n == differences.len() && tied == 0.0;
    let limit = if plain { 50 } else { 13 };
    let exact = method == Method::Exact || (method == Method::Auto && differences.len() <= limit);
    let p = if exact {
        exact_p(&ranks, positive)
    } else {
        let count = n as f64;
        let variance = (count * (count + 1.0) * (2.0 * count + 1.0) - 0.5 * tied) / 24.0;
        let z = (0.5 * positive as f64 - 0.25 * count * (count + 1.0)) / variance.sqrt();
        (2.0 * normal::above(z.abs())).min(1.0)
    };
    Ok(Some(Wilcoxon {
        statistic: 0.5 * positive.min(all - positive) as f64,
        positive: 0.5 * positive as f64,
        p,
        method: if exact { Method::Exact } else { Method::Normal },
        nonzero: n,
    }))
}

/// 2 P(W ≤ min(W⁺, W⁻)), at most 1, where each (doubled) rank is in W with probability ½.
fn exact_p(ranks: &[usize], positive: usize) -> f64 {
    let all: usize = ranks.iter().sum();
    let end = positive.min(all - positive);
    // Only sums up to the end matter.
    let mut probability = vec![0.0; end + 1];
    probability[0] = 1.0;
    for &rank in ranks {
        for sum in (0..=end).rev() {
            let with = if sum >= rank { probability[sum - rank] } else { 0.0 };
            probability[sum] = 0.5 * (probability[sum] + with);
        }
    }
    (2.0 * probability.iter().sum::<f64>()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(differences: &[f64], method: Method) -> f64 {
        wilcoxon(differences, method).unwrap().unwrap().p
    }

    #[test]
    fn small_cases_by_hand() {
        // All positive: only the sign vector itself and its mirror are as far.
        assert_eq!(p(&[1.0, 2.0, 3.0, 4.0, 5.0], Method::Auto), 2.0 / 32.0);
        // W⁻ = 1: {}, {1} below, and their mirrors.
        assert_eq!(p(&[-1.0, 2.0, 3.0, 4.0, 5.0], Method::Auto), 4.0 / 32.0);
        let w = wilcoxon(&[-1.0, 2.0, 0.0, 3.0], Method::Auto).unwrap().unwrap();
        assert_eq!((w.statistic, w.positive, w.nonzero), (1.0, 5.0, 3));
        assert_eq!(wilcoxon(&[0.0, 0.0], Method::Auto).unwrap(), None);
        assert_eq!(p(&[1.0, -1.0], Method::Exact), 1.0);
        assert!(wilcoxon(&[f64::NAN], Method::Auto).is_err());
    }

    #[test]
    fn decimal_differences_tie() {
        let d = [97.3 - 97.1, 12.4 - 12.2, 55.6 - 55.8, 91.0 - 90.7];
        assert!(d[0] != d[1]);
        let w = wilcoxon(&d, Method::Auto).unwrap().unwrap();
        assert_eq!((w.positive, w.statistic), (8.0, 2.0));
    }

    #[test]
    fn the_rule_of_auto() {
        let method = |d: &[f64]| wilcoxon(d, Method::Auto).unwrap().unwrap().method;
        let plain: Vec<f64> = (1..=51).map(f64::from).collect();
        assert_eq!(method(&plain[..50]), Method::Exact);
        assert_eq!(method(&plain), Method::Normal);
        let mut tied = plain.clone();
        tied[1] = 1.0;
        assert_eq!(method(&tied[..13]), Method::Exact);
        assert_eq!(method(&tied[..14]), Method::Normal);
        tied[0] = 0.0;
        tied[1] = 0.5;
        assert_eq!((method(&tied[..13]), method(&tied[..14])), (Method::Exact, Method::Normal));
    }
}
