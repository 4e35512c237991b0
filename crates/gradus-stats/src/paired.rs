//! Is B better than A? All procedures on the differences b − a of paired rounds, and the verdict.
//!
//! **How the verdict is reached**, in this order:
//!
//! 1. *Identical*: every difference is 0.
//! 2. *No difference that matters*, where a margin is given: the interval lies inside ±margin and TOST rejects at alpha. So a
//!    difference that is surely there and surely small gets this verdict.
//! 3. *Better* or *worse*: the sign-flip p (after Holm in a family) ≤ alpha, and the interval excludes 0. Both are asked, so the
//!    sentence never contradicts itself; the sign-flip test alone already keeps the error at or below alpha.
//! 4. *Undecided*, with about how many more rounds would tell: so many that the paired t test at alpha over the size of the
//!    family finds the difference seen with 80 % power, or, if the difference is inside the margin, that TOST at alpha/2 shows it
//!    with 80 % power, whichever is sooner; and never fewer than the sign-flip test needs to reach its level at all. It takes
//!    the mean and sd seen for the true ones, so it is a guide to planning and no test.
//!
//! The interval is BCa, by default expanded for few rounds ([`crate::bootstrap::Width`]).

use crate::Interval;
use crate::bootstrap::{self, Width, bca};
use crate::describe::{Summary, describe};
use crate::effect::{Effect, effect};
use crate::equivalence::{Equivalence, tost};
use crate::error::{Error, Kind, Result, check, check_positive, check_share};
use crate::holm::holm;
use crate::power;
use crate::sign_flip::{self, SignFlip, sign_flip, smallest_p};
use crate::ttest::{TTest, paired_t};
use crate::verdict::{Finding, More, Verdict};
use crate::wilcoxon::{Method, Wilcoxon, wilcoxon};

/// The power that rounds are planned for.
pub const POWER: f64 = 0.8;

/// What is asked of the differences.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Whether a larger value is a better one (accuracy) or a worse one (error, loss).
    pub larger_is_better: bool,
    /// The level of the tests; intervals have the confidence 1 − alpha. 0.05 by default.
    pub alpha: f64,
    /// A difference up to which nothing is won or lost, in the unit of the differences.
    pub margin: Option<f64>,
    /// The kind of bootstrap interval.
    pub width: Width,
    /// Resamples of the bootstrap.
    pub resamples: usize,
    /// Random sign vectors, where there are too many to count.
    pub draws: usize,
    /// The seed of resampling.
    pub seed: u64,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            larger_is_better: true,
            alpha: 0.05,
            margin: None,
            width: Width::Expanded,
            resamples: bootstrap::RESAMPLES,
            draws: sign_flip::DRAWS,
            seed: 0,
        }
    }
}

/// Every procedure on one list of differences. What a procedure does not define is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// What was asked.
    pub question: Question,
    /// The differences: number, mean, spread, t interval of the mean, quartiles, range.
    pub summary: Summary,
    /// The BCa interval of the mean difference; `None` for one round.
    pub interval: Option<Interval>,
    /// The sign-flip test.
    pub sign_flip: SignFlip,
    /// The paired t test; `None` for one round or equal differences.
    pub t: Option<TTest>,
    /// The signed-rank test; `None` if all differences are 0.
    pub wilcoxon: Option<Wilcoxon>,
    /// The effect size; `None` for one round or equal differences.
    pub effect: Option<Effect>,
    /// Equivalence within the margin; `None` without one, for one round or equal differences.
    pub equivalence: Option<Equivalence>,
    /// The true difference that as many rounds find with 80 % power; `None` for one round or equal differences.
    pub detectable: Option<f64>,
}

/// Runs every procedure on the differences b − a, one per round.
///
/// # Errors
/// If there are no differences, one is not a usable number (the message says which, from 1), or the question makes no sense.
pub fn compare(differences: &[f64], question: &Question) -> Result<Comparison> {
    check("difference", differences)?;
    check_share("alpha", question.alpha)?;
    let q = question;
    if let Some(margin) = q.margin {
        check_positive("the margin", margin)?;
    }
    let confidence = 1.0 - q.alpha;
    let summary = describe(differences, confidence)?;
    let n = summary.n as u64;
    let spread = summary.sd.filter(|sd| *sd > 0.0 && n <= power::MOST_ROUNDS && POWER > q.alpha);
    Ok(Comparison {
        question: q.clone(),
        interval: bca(differences, confidence, q.width, q.resamples, q.seed)?,
        sign_flip: sign_flip(differences, q.draws, q.seed)?,
        t: paired_t(differences, 0.0, confidence)?,
        wilcoxon: wilcoxon(differences, Method::Auto)?,
        effect: effect(differences)?,
        equivalence: q.margin.map(|margin| tost(differences, margin)).transpose()?.flatten(),
        detectable: spread.map(|sd| power::detectable(n, sd, q.alpha, POWER)).transpose()?,
        summary,
    })
}

impl Comparison {
    /// The verdict of this comparison alone.
    pub fn verdict(&self) -> Verdict {
        self.judge(self.sign_flip.p, 1)
    }

    /// The verdict within a family of `family` comparisons, given its adjusted p value ([`holm`] of their sign-flip p values).
    ///
    /// # Errors
    /// If `p_adjusted` is not in [0, 1], or less than the p value it was made from, or the family is empty.
    pub fn verdict_in_family(&self, p_adjusted: f64, family: usize) -> Result<Verdict> {
        if !(self.sign_flip.p <= p_adjusted && p_adjusted <= 1.0) || family == 0 {
            let p = self.sign_flip.p;
            let sentence = format!("an adjusted p of {p_adjusted} for {p} in a family of {family}");
            return Err(Error::new(Kind::Argument, sentence));
        }
        Ok(self.judge(p_adjusted, family))
    }

    fn judge(&self, p: f64, family: usize) -> Verdict {
        let (q, s) = (&self.question, &self.summary);
        if s.min == 0.0 && s.max == 0.0 {
            return Verdict::Identical { rounds: s.n };
        }
        let finding = Finding { rounds: s.n, difference: s.mean, interval: self.interval, p };
        let significant = p <= q.alpha && self.interval.is_some_and(|i| !i.contains(0.0));
        if let Some(margin) = q.margin {
            let inside = self.interval.is_some_and(|i| -margin < i.low && i.high < margin);
            // Equal differences have no t; as many as could be significant show as much.
            let shown = match &self.equivalence {
                Some(e) => e.p() <= q.alpha,
                None => smallest_p(s.n) <= q.alpha,
            };
            if inside && shown {
                return Verdict::NoDifferenceThatMatters { finding, margin, significant };
            }
        }
        if significant {
            return if (s.mean > 0.0) == q.larger_is_better {
                Verdict::Better(finding)
            } else {
                Verdict::Worse(finding)
            };
        }
        Verdict::Undecided { finding, more: self.more(family) }
    }

    /// How many more rounds would tell.
    fn more(&self, family: usize) -> More {
        let (q, s) = (&self.question, &self.summary);
        let n = s.n as u64;
        let alpha = q.alpha / family as f64;
        // The sign-flip test needs so many rounds that are not 0, at the share of them that was seen.
        let nonzero = (1..=1074).find(|k| smallest_p(*k) <= alpha).unwrap_or(1074) as u64;
        let least = (nonzero * n).div_ceil(self.sign_flip.nonzero.max(1) as u64);
        let Some(sd) = s.sd.filter(|sd| *sd > 0.0) else { return More::AtLeast(least.saturating_sub(n).max(1)) };
        // The settings were checked; a mean too many sd away for the arithmetic needs the fewest rounds there are.
        let d_z = (s.mean / sd).clamp(-1e6, 1e6);
        let by_difference = power::rounds_for_t_test(d_z, alpha, POWER).ok().flatten();
        let by_margin = q
            .margin
            .filter(|m| s.mean.abs() < *m)
            .and_then(|m| power::rounds_for_tost(s.mean, sd, m, 0.5 * q.alpha, POWER).ok().flatten());
        let by_difference = by_difference.map(|rounds| rounds.max(least));
        match by_difference.into_iter().chain(by_margin).min() {
            Some(rounds) => More::About(rounds.saturating_sub(n).max(1)),
            None => More::TooMany,
        }
    }
}

/// One comparison of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Every procedure.
    pub comparison: Comparison,
    /// The sign-flip p value after Holm over the family.
    pub p_holm: f64,
    /// What follows.
    pub verdict: Verdict,
}

/// Compares several arms (or contrasts) with one question, with Holm's correction over all of them.
///
/// # Errors
/// As [`compare`], with the position in the family (from 1).
pub fn compare_family(family: &[&[f64]], question: &Question) -> Result<Vec<Answer>> {
    let comparisons = family
        .iter()
        .enumerate()
        .map(|(i, d)| compare(d, question).map_err(|e| e.at(format_args!("comparison {}", i + 1))))
        .collect::<Result<Vec<_>>>()?;
    let adjusted = holm(&comparisons.iter().map(|c| c.sign_flip.p).collect::<Vec<_>>())?;
    comparisons
        .into_iter()
        .zip(adjusted)
        .map(|(comparison, p_holm)| {
            let verdict = comparison.verdict_in_family(p_holm, family.len())?;
            Ok(Answer { comparison, p_holm, verdict })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(differences: &[f64], margin: Option<f64>) -> Verdict {
        compare(differences, &Question { margin, ..Question::default() }).unwrap().verdict()
    }

    const UP: [f64; 8] = [1.2, 0.9, 1.6, 1.1, 0.7, 1.4, 1.3, 0.8];

    #[test]
    fn every_verdict() {
        assert_eq!(verdict(&[0.0; 3], Some(0.5)), Verdict::Identical { rounds: 3 });
        assert!(matches!(verdict(&UP, Some(0.5)), Verdict::Better(f) if f.p == 2.0 / 256.0 && f.difference > 1.1));
        assert!(matches!(verdict(&UP.map(|d| -d), None), Verdict::Worse(_)));
        let small = UP.map(|d| 0.1 * d);
        assert!(matches!(
            verdict(&small, Some(0.5)),
            Verdict::NoDifferenceThatMatters { significant: true, margin: 0.5, .. }
        ));
        assert!(matches!(verdict(&small, None), Verdict::Better(_)));
        let mixed = [1.0, -0.8, 0.3, -0.4, 0.9, 0.1];
        assert!(matches!(verdict(&mixed, None), Verdict::Undecided { more: More::About(n), .. } if n > 20));
    }

    #[test]
    fn errors_make_smaller_better() {
        let question = Question { larger_is_better: false, ..Question::default() };
        assert!(matches!(compare(&UP, &question).unwrap().verdict(), Verdict::Worse(_)));
        assert!(matches!(compare(&UP.map(|d| -d), &question).unwrap().verdict(), Verdict::Better(_)));
    }

    #[test]
    fn too_few_rounds_to_say_anything() {
        // 2/2⁵ > 0.05: five rounds cannot be significant, six can.
        assert!(matches!(verdict(&UP[..5], None), Verdict::Undecided { more: More::About(1), .. }));
        assert!(matches!(verdict(&[1.0], None), Verdict::Undecided { more: More::AtLeast(5), .. }));
        assert!(matches!(verdict(&[1.0; 3], None), Verdict::Undecided { more: More::AtLeast(3), .. }));
        assert!(matches!(verdict(&[1.0; 6], None), Verdict::Better(_)));
        assert!(matches!(verdict(&[0.1; 6], Some(0.5)), Verdict::NoDifferenceThatMatters { .. }));
        assert!(matches!(verdict(&[0.1; 5], Some(0.5)), Verdict::Undecided { .. }));
        // Three rounds would do for the t test; the sign-flip test needs six.
        assert!(matches!(verdict(&[1.0, 1.01, 0.99], None), Verdict::Undecided { more: More::About(3), .. }));
        // Two of eight differ: it takes 24 rounds to see six that do.
        let rare = [0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 5.0, 0.0];
        assert!(matches!(verdict(&rare, None), Verdict::Undecided { more: More::About(n), .. } if n >= 16));
    }

    #[test]
    fn the_sentence_and_the_tests_agree() {
        // TOST at alpha alone would do, but the printed interval reaches beyond the margin.
        let d = [0.3, -0.2, 0.5, 0.1, 0.4, -0.1, 0.2, 0.3, 0.0, 0.25];
        let high = compare(&d, &Question::default()).unwrap().interval.unwrap().high;
        let question = Question { margin: Some(0.97 * high), ..Question::default() };
        let c = compare(&d, &question).unwrap();
        assert!(c.equivalence.unwrap().p() <= 0.05 && c.interval.unwrap().high > 0.97 * high);
        assert!(!matches!(c.verdict(), Verdict::NoDifferenceThatMatters { .. }));
        // The sign-flip test alone would do, but the printed interval includes 0.
        let c = compare(&[3.5, 1.5, 2.5, 4.0, -3.0, 3.5, 4.5, 2.5], &Question::default()).unwrap();
        assert!(c.sign_flip.p <= 0.05 && c.interval.unwrap().contains(0.0));
        assert!(matches!(c.verdict(), Verdict::Undecided { .. }));
        // In a larger family, more rounds.
        let mixed = [1.0, -0.8, 0.3, -0.4, 0.9, 0.1];
        let c = compare(&mixed, &Question::default()).unwrap();
        let rounds = |family| match c.verdict_in_family(1.0, family).unwrap() {
            Verdict::Undecided { more: More::About(n), .. } => n,
            other => panic!("{other:?}"),
        };
        assert!(rounds(10) > rounds(2) && rounds(2) > rounds(1));
    }

    #[test]
    fn a_mean_that_happens_to_be_zero_is_not_identity() {
        let d = [1.0, -1.0, 2.0, -2.0, 0.0];
        assert!(matches!(verdict(&d, None), Verdict::Undecided { more: More::TooMany, .. }));
        assert!(matches!(verdict(&d, Some(0.5)), Verdict::Undecided { more: More::About(_), .. }));
    }

    #[test]
    fn a_family_is_harder() {
        let six = &UP[..6];
        let question = Question::default();
        assert!(matches!(compare(six, &question).unwrap().verdict(), Verdict::Better(_)));
        let answers = compare_family(&[six, &[0.0; 6]], &question).unwrap();
        assert_eq!(answers[0].p_holm, 4.0 / 64.0);
        assert!(matches!(answers[0].verdict, Verdict::Undecided { more: More::About(1), .. }));
        let error = compare_family(&[six, &[1.0, f64::NAN]], &question).unwrap_err();
        assert!(error.to_string().starts_with("comparison 2: difference 2 of 2 is NaN"), "{error}");
        assert!(compare_family(&[], &question).unwrap().is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        let bad = |change: fn(&mut Question)| {
            let mut question = Question::default();
            change(&mut question);
            compare(&UP, &question).is_err()
        };
        assert!(bad(|q| q.alpha = f64::NAN) && bad(|q| q.alpha = 0.0) && bad(|q| q.margin = Some(f64::NAN)));
        assert!(bad(|q| q.margin = Some(0.0)) && bad(|q| q.resamples = 0));
        assert!(compare(&[], &Question::default()).is_err());
        let comparison = compare(&UP, &Question::default()).unwrap();
        for p in [f64::NAN, 0.0, 1.5] {
            assert!(comparison.verdict_in_family(p, 2).is_err());
        }
        assert!(comparison.verdict_in_family(1.0, 0).is_err());
    }

    #[test]
    fn the_ends_of_the_range_are_survived() {
        for scale in [1e-300, 1e-160, 1e150 / 1.6] {
            let c = compare(&UP.map(|d| d * scale), &Question::default()).unwrap();
            assert!(
                (c.effect.unwrap().d_z - compare(&UP, &Question::default()).unwrap().effect.unwrap().d_z).abs() <= 1e-9
            );
            assert!(matches!(c.verdict(), Verdict::Better(_)), "{scale}");
        }
    }
}
