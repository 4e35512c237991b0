//! Factorial contrasts of a matrix of arms: what each factor does, and what two do together.
//!
//! Every contrast is one number per round, made from all arms of that round, so it is tested like paired differences
//! ([`crate::paired::compare`]). The first level of each factor is its base.
//!
//! * Main effect of level x of factor A: mean of the arms with x − mean of the arms with A's base, over all levels of the
//!   other factors.
//! * Interaction of x of A and y of B: (xy − base·y) − (x·base − base·base), each averaged over the other factors: how much more
//!   x brings where y is in place. (Some texts halve it.)
//!
//! For two levels each, t² is the F of the within-subject analysis of variance.

use crate::error::{Error, Kind, Result, refusal};

/// A factor: a setting that the arms differ in, and its levels. The first level is the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    /// Its name, such as `train.optimizer.lr`.
    pub name: String,
    /// Its levels, as written; at least two.
    pub levels: Vec<String>,
}

/// What a contrast contrasts: positions of factors and of their levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A level of a factor against its base.
    Main {
        /// The factor.
        factor: usize,
        /// The level, from 1.
        level: usize,
    },
    /// Two levels of two factors together, beyond what each does alone.
    Interaction {
        /// The first factor and its level.
        first: (usize, usize),
        /// The second factor and its level.
        second: (usize, usize),
    },
}

/// A contrast, round by round.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    /// What it contrasts.
    pub effect: Effect,
    /// In words: `lr: 0.03 against 0.01`, `lr = 0.03 with depth = 4`.
    pub name: String,
    /// Its value in each round, in the unit of the arms' values.
    pub differences: Vec<f64>,
}

/// All main effects, then all two-way interactions. `arms` holds the values of each combination, the levels of the last
/// factor changing fastest; every arm has the same rounds in the same order ([`crate::align::align`] sees to that).
///
/// # Errors
/// If a factor has fewer than two levels, there is not one arm for each combination, arms differ in their number of rounds or
/// have none, or a value is not a usable number.
pub fn contrasts(factors: &[Factor], arms: &[Vec<f64>]) -> Result<Vec<Contrast>> {
    if let Some(factor) = factors.iter().find(|f| f.levels.len() < 2) {
        let sentence = format!("factor {} has fewer than two levels: there is nothing to contrast", factor.name);
        return Err(Error::new(Kind::Argument, sentence));
    }
    let combinations = factors.iter().try_fold(1usize, |n, f| n.checked_mul(f.levels.len()));
    if factors.is_empty() || combinations != Some(arms.len()) {
        let (levels, n): (Vec<String>, _) = (factors.iter().map(|f| f.levels.len().to_string()).collect(), arms.len());
        let sentence = format!("{n} arms for {} levels: every combination is needed once", levels.join(" × "));
        return Err(Error::new(Kind::Count, sentence));
    }
    let rounds = arms[0].len();
    for (i, arm) in arms.iter().enumerate() {
        let place = || format!("arm {} ({})", i + 1, name_of(factors, i));
        if arm.len() != rounds || rounds == 0 {
            let sentence = format!("{} rounds where the first arm has {rounds}, and at least one is needed", arm.len());
            return Err(Error::new(Kind::Count, sentence).at(place()));
        }
        if let Some((round, why)) = arm.iter().enumerate().find_map(|(round, x)| Some((round, refusal(*x)?))) {
            return Err(Error::new(Kind::Value, format_args!("the value of round {} is {why}", round + 1)).at(place()));
        }
    }

    // The mean over the arms that have the given levels, round by round.
    let mean = |wanted: &[(usize, usize)]| -> Vec<f64> {
        let chosen: Vec<&Vec<f64>> = (0..arms.len())
            .filter(|&arm| wanted.iter().all(|&(factor, level)| level_of(factors, arm, factor) == level))
            .map(|arm| &arms[arm])
            .collect();
        (0..rounds).map(|r| chosen.iter().map(|arm| arm[r]).sum::<f64>() / chosen.len() as f64).collect()
    };
    let minus = |a: Vec<f64>, b: Vec<f64>| -> Vec<f64> { a.iter().zip(&b).map(|(a, b)| a - b).collect() };

    let mut all = Vec::new();
    for (a, factor) in factors.iter().enumerate() {
        for x in 1..factor.levels.len() {
            all.push(Contrast {
                effect: Effect::Main { factor: a, level: x },
                name: format!("{}: {} against {}", factor.name, factor.levels[x], factor.levels[0]),
                differences: minus(mean(&[(a, x)]), mean(&[(a, 0)])),
            });
        }
    }
    for (a, first) in factors.iter().enumerate() {
        for (b, second) in factors.iter().enumerate().skip(a + 1) {
            for x in 1..first.levels.len() {
                for y in 1..second.levels.len() {
                    let with = minus(mean(&[(a, x), (b, y)]), mean(&[(a, 0), (b, y)]));
                    let without = minus(mean(&[(a, x), (b, 0)]), mean(&[(a, 0), (b, 0)]));
                    let (m, n) = (&first.levels[x], &second.levels[y]);
                    all.push(Contrast {
                        effect: Effect::Interaction { first: (a, x), second: (b, y) },
                        name: format!("{} = {m} with {} = {n}", first.name, second.name),
                        differences: minus(with, without),
                    });
                }
            }
        }
    }
    Ok(all)
}

/// The level that `factor` has in `arm`.
fn level_of(factors: &[Factor], arm: usize, factor: usize) -> usize {
    let stride: usize = factors[factor + 1..].iter().map(|f| f.levels.len()).product();
    arm / stride % factors[factor].levels.len()
}

fn name_of(factors: &[Factor], arm: usize) -> String {
    let parts: Vec<String> = factors
        .iter()
        .enumerate()
        .map(|(i, f)| format!("{} = {}", f.name, f.levels[level_of(factors, arm, i)]))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor(name: &str, levels: &[&str]) -> Factor {
        Factor { name: name.into(), levels: levels.iter().map(|l| (*l).into()).collect() }
    }

    #[test]
    fn two_by_two_by_hand() {
        let factors = [factor("share", &["no", "yes"]), factor("aux", &["no", "yes"])];
        // no/no, no/yes, yes/no, yes/yes in two rounds.
        let arms = [vec![1.0, 2.0], vec![2.0, 2.0], vec![4.0, 3.0], vec![9.0, 5.0]];
        let all = contrasts(&factors, &arms).unwrap();
        let values: Vec<_> = all.iter().map(|c| (c.name.as_str(), c.differences.clone())).collect();
        assert_eq!(
            values,
            [
                ("share: yes against no", vec![5.0, 2.0]),
                ("aux: yes against no", vec![3.0, 1.0]),
                ("share = yes with aux = yes", vec![4.0, 2.0]),
            ]
        );
    }

    #[test]
    fn additive_effects_are_found_and_do_not_interact() {
        let factors = [factor("a", &["0", "1", "2"]), factor("b", &["0", "1"]), factor("c", &["0", "1"])];
        let (in_a, in_b, in_c) = ([0.0, 3.0, 7.0], [0.0, -2.0], [0.0, 0.5]);
        let arms: Vec<Vec<f64>> =
            (0..12).map(|i| vec![10.0 + in_a[i / 4] + in_b[i / 2 % 2] + in_c[i % 2]; 3]).collect();
        let all = contrasts(&factors, &arms).unwrap();
        let mains: Vec<f64> = all[..4].iter().map(|c| c.differences[1]).collect();
        assert_eq!(mains, [3.0, 7.0, -2.0, 0.5]);
        assert_eq!(all.len(), 4 + 2 + 2 + 1);
        assert!(all[4..].iter().all(|c| c.differences.iter().all(|d| *d == 0.0)));
        assert_eq!(all[5].effect, Effect::Interaction { first: (0, 2), second: (1, 1) });
    }

    #[test]
    fn what_is_missing_is_named() {
        let factors = [factor("a", &["0", "1"]), factor("b", &["x", "y"])];
        let full = vec![vec![1.0]; 4];
        assert!(contrasts(&factors, &full[..3]).unwrap_err().to_string().contains("3 arms for 2 × 2 levels"));
        let mut short = full.clone();
        short[2].clear();
        assert!(contrasts(&factors, &short).unwrap_err().to_string().starts_with("arm 3 (a = 1, b = x): 0 rounds"));
        let mut nan = full.clone();
        nan[3][0] = f64::NAN;
        let error = contrasts(&factors, &nan).unwrap_err().to_string();
        assert!(error.starts_with("arm 4 (a = 1, b = y): the value of round 1 is NaN"), "{error}");
        assert!(contrasts(&[factor("a", &["0"])], &full[..1]).is_err() && contrasts(&[], &full[..1]).is_err());
    }
}
