//! An arm against another, on the rounds that both have.

use std::collections::{BTreeMap, BTreeSet};

use gradus_record::{ArmRecord, StudyRecord};
use gradus_stats::holm::holm;
use gradus_stats::paired::{self, Answer, POWER, Question, compare_family};
use gradus_stats::power::rounds_for_t_test;
use gradus_stats::sign_flip::smallest_p;
use gradus_stats::times;
use gradus_stats::verdict::Verdict;
use gradus_stats::wilcoxon::Method;
use indexmap::IndexMap;
use serde::Serialize;

use super::answers::McNemar;
use super::arm::{ArmSummary, Reading};
use super::confounds::{Confound, confounds};
use super::metric;
use super::spread::CONFIDENCE;
use crate::error::Result;
use crate::words::{self, many, p_value};

/// An arm against the baseline.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The arm.
    pub arm: String,
    /// What it is compared with.
    pub baseline: String,
    /// Rounds that both have.
    pub rounds: usize,
    /// Rounds that one of them has and the other lacks, or that both lost.
    pub missing: Vec<Missing>,
    /// The paired differences, arm − baseline, by round.
    pub differences: Vec<(usize, f64)>,
    /// What follows from them.
    #[serde(flatten)]
    pub test: Test,
    /// McNemar's test on pooled predictions of the main loss, where there are any.
    pub mcnemar: Option<McNemar>,
    /// How long the arm takes, where times can be compared.
    pub time: Option<TimeRatio>,
    /// What differs between the two arms besides what is asked about, and may be the reason.
    pub confounds: Vec<Confound>,
}

impl Comparison {
    /// What may be behind the verdict: `net2 and net1 also differ in parameters: 72,546 against 77,346`; `None` where nothing is
    /// known.
    pub fn confounds_sentence(&self) -> Option<String> {
        let list: Vec<String> = self.confounds.iter().map(ToString::to_string).collect();
        (!list.is_empty()).then(|| format!("{} and {} also differ in {}", self.arm, self.baseline, list.join("; ")))
    }

    /// Which rounds are left out and why: `2 rounds are left out: net2 diverged in rounds 3 and 7`; `None` where none is.
    pub fn missing_sentence(&self) -> Option<String> {
        let mut reasons: IndexMap<(&str, &str), Vec<usize>> = IndexMap::new();
        for m in &self.missing {
            reasons.entry((&m.arm, &m.why)).or_default().push(m.round);
        }
        let parts: Vec<String> = reasons
            .iter()
            .map(|((arm, why), list)| match *why {
                "not run" => format!("{arm} has not run {}", words::rounds(list)),
                "diverged" | "failed" => format!("{arm} {why} in {}", words::rounds(list)),
                why => format!("{arm} has {why} in {}", words::rounds(list)),
            })
            .collect();
        let n = self.missing.iter().map(|m| m.round).collect::<BTreeSet<_>>().len();
        let are = if n == 1 { "is" } else { "are" };
        (n > 0).then(|| format!("{} {are} left out: {}", many(n, "round"), words::list(&parts)))
    }
}

/// What paired differences say: every procedure, and the verdict. What a procedure does not define is `None`.
#[derive(Clone, Debug, Serialize)]
pub struct Test {
    /// The mean difference; `None` where there is no round.
    pub difference: Option<f64>,
    /// The standard deviation of the differences.
    pub sd: Option<f64>,
    /// The lower end of the 95 % interval of the mean difference (BCa bootstrap, widened for few rounds).
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// The p value of the sign-flip test.
    pub p: Option<f64>,
    /// The same after Holm's correction over the family.
    pub p_holm: Option<f64>,
    /// How many comparisons are in the family.
    pub family: usize,
    /// Whether every sign vector was counted, rather than some drawn.
    pub exact: Option<bool>,
    /// The paired t test.
    pub t: Option<TTest>,
    /// Wilcoxon's signed-rank test.
    pub wilcoxon: Option<Wilcoxon>,
    /// The effect size.
    pub effect: Option<Effect>,
    /// Equivalence within the margin.
    pub equivalence: Option<Equivalence>,
    /// The true difference that as many rounds find with 80 % power, by the t test alone.
    pub detectable: Option<f64>,
    /// Rounds in all with which the paired t test, at its level in the family, finds the difference seen with 80 % power, and not
    /// fewer than the sign-flip test needs to reach that level; `None` beyond a million.
    pub rounds_needed: Option<u64>,
    /// `better`, `worse`, `equivalent`, `identical`, `undecided`, or `untested` where there is no common round.
    pub verdict: &'static str,
    /// The verdict in words, without a full stop.
    pub sentence: String,
}

/// A round that is not among the pairs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The round.
    pub round: usize,
    /// The arm that lacks it.
    pub arm: String,
    /// Why: `not run`, `diverged`, `failed`, `a test accuracy of NaN`, `no test accuracy`.
    pub why: String,
}

/// The paired t test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TTest {
    /// The mean in standard errors.
    pub t: f64,
    /// Degrees of freedom.
    pub df: f64,
    /// The two-sided p value.
    pub p: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Wilcoxon's signed-rank test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Wilcoxon {
    /// The smaller sum of ranks.
    pub statistic: f64,
    /// The two-sided p value.
    pub p: f64,
    /// Whether it is exact.
    pub exact: bool,
}

/// The effect size, in standard deviations of the differences.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// Cohen's d_z.
    pub d_z: f64,
    /// The same without its bias for few rounds.
    pub corrected: Option<f64>,
}

/// Two one-sided tests that the difference is within the margin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Equivalence {
    /// The difference that matters.
    pub margin: f64,
    /// The p value of equivalence.
    pub p: f64,
}

/// Time of an arm over that of the baseline, on the rounds that both have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimeRatio {
    /// The ratio of geometric means: below 1, the arm is faster.
    pub ratio: f64,
    /// The lower end of its 95 % interval.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// Two-sided p of ratio 1.
    pub p: Option<f64>,
    /// The same after Holm's correction over the family.
    pub p_holm: Option<f64>,
    /// `faster`, `slower` or `undecided`.
    pub verdict: &'static str,
    /// In words, without a full stop.
    pub sentence: String,
}

/// An arm that is compared: its record, what was read of it, and its predictions against the baseline's.
pub(super) struct Compared<'a> {
    pub record: &'a ArmRecord,
    pub reading: &'a Reading,
    pub mcnemar: Option<McNemar>,
}

/// Every one of `arms` against `base`, as one family.
pub(super) fn compare(
    study: &StudyRecord,
    base: (&ArmRecord, &Reading),
    arms: Vec<Compared<'_>>,
    times_count: bool,
) -> Result<Vec<Comparison>> {
    let (base_record, base_reading) = base;
    let base_summary = &base_reading.summary;
    let differences: Vec<Vec<(usize, f64)>> =
        arms.iter().map(|a| differences(&a.reading.summary.values, &base_summary.values)).collect();
    let names: Vec<(String, String)> =
        arms.iter().map(|a| (a.reading.summary.name.clone(), base_summary.name.clone())).collect();
    let tests = family(study, &differences, |i, verdict| {
        let (arm, base) = &names[i];
        match verdict {
            Some(verdict) => verdict.sentence(arm, base, metric::unit(&study.compare.metric)),
            None => format!("{arm} and {base} have no round in common: nothing can be said yet"),
        }
    })?;
    let mut list = Vec::new();
    for ((arm, differences), test) in arms.into_iter().zip(differences).zip(tests) {
        let summary = &arm.reading.summary;
        let time = if times_count { time(base_reading, arm.reading)? } else { None };
        list.push(Comparison {
            arm: summary.name.clone(),
            baseline: base_summary.name.clone(),
            rounds: differences.len(),
            missing: missing(&differences, summary, base_summary),
            differences,
            test,
            mcnemar: arm.mcnemar,
            confounds: confounds((arm.record, summary), (base_record, base_summary), time.as_ref()),
            time,
        });
    }
    judge_times(&mut list)?;
    Ok(list)
}

/// The differences a − b of common rounds.
fn differences(a: &[(usize, f64)], b: &[(usize, f64)]) -> Vec<(usize, f64)> {
    let b: BTreeMap<usize, f64> = b.iter().copied().collect();
    a.iter().filter_map(|(round, x)| Some((*round, x - b.get(round)?))).collect()
}

/// Tests lists of differences as one family; `say` makes the sentence of a verdict, or of no verdict.
pub(super) fn family(
    study: &StudyRecord,
    lists: &[Vec<(usize, f64)>],
    say: impl Fn(usize, Option<&Verdict>) -> String,
) -> Result<Vec<Test>> {
    let compare = &study.compare;
    let margin = Some(compare.margin).filter(|m| *m > 0.0 && m.is_finite());
    let question =
        Question { larger_is_better: compare.larger_is_better, margin, seed: study.seed, ..Question::default() };
    let values: Vec<Vec<f64>> = lists.iter().map(|l| l.iter().map(|(_, d)| *d).collect()).collect();
    let tested: Vec<&[f64]> = values.iter().filter(|v| !v.is_empty()).map(Vec::as_slice).collect();
    let size = tested.len();
    let mut answers = if size == 0 { Vec::new() } else { compare_family(&tested, &question)? }.into_iter();
    let tests = lists.iter().enumerate().map(|(i, list)| {
        // Lists without a round are not in the family.
        match if list.is_empty() { None } else { answers.next() } {
            Some(answer) => Test::of(&answer, size, say(i, Some(&answer.verdict))),
            None => Test::untested(size, say(i, None)),
        }
    });
    Ok(tests.collect())
}

impl Test {
    fn of(answer: &Answer, family: usize, sentence: String) -> Test {
        let c: &paired::Comparison = &answer.comparison;
        let needed = c.effect.and_then(|e| {
            let (d_z, alpha) = (e.d_z.clamp(-1e6, 1e6), c.question.alpha / family as f64);
            let least = (1..=1000).find(|n| smallest_p(*n) <= alpha).unwrap_or(1000) as u64;
            rounds_for_t_test(d_z, alpha, POWER).ok().flatten().map(|n| n.max(least))
        });
        Test {
            difference: Some(c.summary.mean),
            sd: c.summary.sd,
            low: c.interval.map(|i| i.low),
            high: c.interval.map(|i| i.high),
            p: Some(c.sign_flip.p),
            p_holm: Some(answer.p_holm),
            family,
            exact: Some(c.sign_flip.exact),
            t: c.t.as_ref().map(|t| TTest { t: t.t, df: t.df, p: t.p, low: t.interval.low, high: t.interval.high }),
            wilcoxon: c.wilcoxon.as_ref().map(|w| Wilcoxon {
                statistic: w.statistic,
                p: w.p,
                exact: w.method == Method::Exact,
            }),
            effect: c.effect.map(|e| Effect { d_z: e.d_z, corrected: e.corrected }),
            equivalence: c.equivalence.map(|e| Equivalence { margin: e.margin, p: e.p() }),
            detectable: c.detectable,
            rounds_needed: needed,
            verdict: answer.verdict.word(),
            sentence,
        }
    }

    fn untested(family: usize, sentence: String) -> Test {
        Test {
            difference: None,
            sd: None,
            low: None,
            high: None,
            p: None,
            p_holm: None,
            family,
            exact: None,
            t: None,
            wilcoxon: None,
            effect: None,
            equivalence: None,
            detectable: None,
            rounds_needed: None,
            verdict: "untested",
            sentence,
        }
    }

    /// Both ends of the interval of the mean difference.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.low.zip(self.high)
    }
}

/// The rounds of either arm that are no pair, with who lacks them and why.
fn missing(pairs: &[(usize, f64)], arm: &ArmSummary, base: &ArmSummary) -> Vec<Missing> {
    let paired: BTreeSet<usize> = pairs.iter().map(|(round, _)| *round).collect();
    let seen = |a: &ArmSummary| -> BTreeMap<usize, Option<String>> {
        let values = a.values.iter().map(|(round, _)| (*round, None));
        values.chain(a.left_out.iter().map(|l| (l.round, Some(l.why.clone())))).collect()
    };
    let (ours, theirs) = (seen(arm), seen(base));
    let rounds: BTreeSet<usize> = ours.keys().chain(theirs.keys()).copied().collect();
    let mut list = Vec::new();
    for round in rounds.difference(&paired) {
        for (summary, seen) in [(arm, &ours), (base, &theirs)] {
            let why = match seen.get(round) {
                Some(None) => continue,
                Some(Some(why)) => why.clone(),
                None => "not run".into(),
            };
            list.push(Missing { round: *round, arm: summary.name.clone(), why });
        }
    }
    list
}

/// The ratio of times on the rounds that both have; its verdict is made in the family.
fn time(base: &Reading, arm: &Reading) -> Result<Option<TimeRatio>> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for (round, ours) in &arm.seconds {
        if let Some(theirs) = base.seconds.get(round).filter(|t| **t > 0.0 && *ours > 0.0) {
            a.push(*theirs);
            b.push(*ours);
        }
    }
    if a.is_empty() {
        return Ok(None);
    }
    let r = times::ratio(&a, &b, CONFIDENCE)?;
    Ok(Some(TimeRatio {
        ratio: r.ratio,
        low: r.interval.map(|i| i.low),
        high: r.interval.map(|i| i.high),
        p: r.p,
        p_holm: None,
        verdict: "undecided",
        sentence: String::new(),
    }))
}

/// Verdicts on time, with Holm's correction over all of them.
fn judge_times(list: &mut [Comparison]) -> Result<()> {
    let p: Vec<f64> = list.iter().filter_map(|c| c.time.as_ref()?.p).collect();
    let mut adjusted = if p.is_empty() { Vec::new() } else { holm(&p)? }.into_iter();
    for c in list {
        let Some(time) = &mut c.time else { continue };
        time.p_holm = time.p.and_then(|_| adjusted.next());
        let outside = time.low.zip(time.high).is_some_and(|(low, high)| high < 1.0 || 1.0 < low);
        let sure = outside && time.p_holm.is_some_and(|p| p <= 1.0 - CONFIDENCE);
        time.verdict = match (sure, time.ratio < 1.0) {
            (true, true) => "faster",
            (true, false) => "slower",
            (false, _) => "undecided",
        };
        let interval = time
            .low
            .zip(time.high)
            .map_or(String::new(), |(low, high)| format!(" [{}, {}]", words::times(low), words::times(high)));
        let p = time.p_holm.map_or(String::new(), |p| format!(", {}", p_value(p)));
        let tail = format!("({}{p})", many(c.rounds, "round"));
        let (arm, base, ratio) = (&c.arm, &c.baseline, words::times(time.ratio));
        time.sentence = match time.verdict {
            "undecided" => {
                format!("no difference in time was found between {arm} and {base}: {ratio} times{interval} {tail}")
            }
            word => format!("{arm} is {word} than {base}: {ratio} times its seconds a round{interval} {tail}"),
        };
    }
    Ok(())
}
