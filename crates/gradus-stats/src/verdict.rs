//! A verdict, and the sentence that says it. How it is reached stands in [`crate::paired`].

use crate::Interval;

/// The numbers behind a verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// How many paired rounds.
    pub rounds: usize,
    /// The mean difference b − a.
    pub difference: f64,
    /// Its interval; `None` for one round.
    pub interval: Option<Interval>,
    /// The p value that decided: sign-flip, after Holm in a family.
    pub p: f64,
}

/// How many more rounds would tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// About so many, if mean and spread stay as they are.
    About(u64),
    /// At least so many: the spread is not known yet.
    AtLeast(u64),
    /// More than a million.
    TooMany,
}

/// What follows from a comparison of b with a.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every difference is 0.
    Identical {
        /// How many paired rounds.
        rounds: usize,
    },
    /// b is better.
    Better(Finding),
    /// b is worse.
    Worse(Finding),
    /// The difference is surely within the margin.
    NoDifferenceThatMatters {
        /// The numbers.
        finding: Finding,
        /// The margin.
        margin: f64,
        /// Whether it is surely not 0, all the same.
        significant: bool,
    },
    /// None of these.
    Undecided {
        /// The numbers.
        finding: Finding,
        /// How many more rounds would tell.
        more: More,
    },
}

impl Verdict {
    /// One word for programs: `identical`, `better`, `worse`, `equivalent`, `undecided`.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Identical { .. } => "identical",
            Verdict::Better(_) => "better",
            Verdict::Worse(_) => "worse",
            Verdict::NoDifferenceThatMatters { .. } => "equivalent",
            Verdict::Undecided { .. } => "undecided",
        }
    }

    /// The verdict in words, without a full stop: `net2 is better than net1 by 1.15 points [0.94, 1.36] (30 rounds, p < 0.0001)`.
    /// `b` and `a` name the arms, `unit` the differences (may be empty). Better and worse give the size of the difference in
    /// that direction; the others give b − a with its sign.
    pub fn sentence(&self, b: &str, a: &str, unit: &str) -> String {
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        match self {
            Verdict::Identical { rounds } => format!("{b} and {a} are identical in {}", count(*rounds as u64, "round")),
            Verdict::Better(f) | Verdict::Worse(f) => {
                let (size, interval) = if f.difference < 0.0 {
                    (-f.difference, f.interval.map(|i| i.negated()))
                } else {
                    (f.difference, f.interval)
                };
                let numbers = numbers(size, interval, &unit, false);
                format!(
                    "{b} is {} than {a} by {numbers} ({}, {})",
                    self.word(),
                    count(f.rounds as u64, "round"),
                    p_value(f.p)
                )
            }
            Verdict::NoDifferenceThatMatters { finding: f, margin, significant } => {
                let numbers = numbers(f.difference, f.interval, &unit, true);
                let rounds = count(f.rounds as u64, "round");
                let though = if *significant { format!("; it is not 0 ({})", p_value(f.p)) } else { String::new() };
                format!(
                    "no difference that matters between {b} and {a}: {numbers}, within ±{margin} ({rounds}){though}"
                )
            }
            Verdict::Undecided { finding: f, more } => {
                let numbers = numbers(f.difference, f.interval, &unit, true);
                let more = match more {
                    More::About(n) => format!("about {}", count(*n, "more round")),
                    More::AtLeast(n) => format!("at least {}", count(*n, "more round")),
                    More::TooMany => "more rounds than anyone can run".into(),
                };
                let rounds = count(f.rounds as u64, "round");
                format!("undecided between {b} and {a}: {numbers} ({rounds}, {}); {more} would tell", p_value(f.p))
            }
        }
    }
}

fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn p_value(p: f64) -> String {
    if p < 0.0001 { "p < 0.0001".into() } else { format!("p = {p:.4}") }
}

/// The difference and its interval, with two digits of the interval's half width (three of the difference without one).
fn numbers(difference: f64, interval: Option<Interval>, unit: &str, signed: bool) -> String {
    let half = interval.map_or(0.0, |i| 0.5 * (i.high - i.low));
    let (size, digits) = if half > 0.0 { (half, 2) } else { (difference.abs(), 3) };
    let power = if size > 0.0 { libm::floor(libm::log10(size)) as i32 } else { 0 };
    let decimals = digits - 1 - power;
    let write = |x: f64, signed: bool| {
        let text = if decimals > 9 || difference.abs() >= 1e12 || half >= 1e12 {
            format!("{x:.2e}")
        } else {
            format!("{x:.*}", decimals.max(0) as usize)
        };
        let zero = text.bytes().all(|c| matches!(c, b'-' | b'0' | b'.'));
        let text = if zero { text.trim_start_matches('-').to_string() } else { text };
        if signed && x > 0.0 && !zero { format!("+{text}") } else { text }
    };
    let head = format!("{}{unit}", write(difference, signed));
    match interval {
        Some(i) => format!("{head} [{}, {}]", write(i.low, false), write(i.high, false)),
        None => head,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(difference: f64, low: f64, high: f64, p: f64) -> Finding {
        Finding { rounds: 30, difference, interval: Some(Interval { low, high }), p }
    }

    #[test]
    fn sentences() {
        let say = |v: Verdict| v.sentence("net2", "net1", "points");
        assert_eq!(
            say(Verdict::Better(finding(1.1512, 0.9412, 1.3612, 1e-9))),
            "net2 is better than net1 by 1.15 points [0.94, 1.36] (30 rounds, p < 0.0001)"
        );
        assert_eq!(
            say(Verdict::Worse(finding(-12.34, -15.0, -9.0, 0.0123))),
            "net2 is worse than net1 by 12.3 points [9.0, 15.0] (30 rounds, p = 0.0123)"
        );
        assert_eq!(
            say(Verdict::NoDifferenceThatMatters {
                finding: finding(-0.0001, -0.1, 0.1, 0.9),
                margin: 0.5,
                significant: false
            }),
            "no difference that matters between net2 and net1: 0.00 points [-0.10, 0.10], within ±0.5 (30 rounds)"
        );
        assert_eq!(
            say(Verdict::Undecided { finding: finding(0.3, -0.2, 0.8, 0.21), more: More::About(41) }),
            "undecided between net2 and net1: +0.30 points [-0.20, 0.80] (30 rounds, p = 0.2100); about 41 more rounds would tell"
        );
        let one = Finding { rounds: 1, difference: 0.25, interval: None, p: 1.0 };
        assert_eq!(
            say(Verdict::Undecided { finding: one, more: More::AtLeast(1) }),
            "undecided between net2 and net1: +0.250 points (1 round, p = 1.0000); at least 1 more round would tell"
        );
        assert_eq!(say(Verdict::Identical { rounds: 12 }), "net2 and net1 are identical in 12 rounds");
    }

    #[test]
    fn numbers_of_any_size_can_be_read() {
        assert_eq!(
            numbers(2e-14, Some(Interval { low: 1e-14, high: 3e-14 }), "", true),
            "+2.00e-14 [1.00e-14, 3.00e-14]"
        );
        assert_eq!(
            numbers(12345.6, Some(Interval { low: 12000.0, high: 12700.0 }), " s", false),
            "12346 s [12000, 12700]"
        );
        assert_eq!(numbers(3.0, Some(Interval { low: 3.0, high: 3.0 }), "", true), "+3.00 [3.00, 3.00]");
    }
}
