//! The words of a study: for what its verdicts hold, how it was done, and what it takes to repeat it.

use gradus_record::{ArmRecord, Store, StudyRecord};
use gradus_stats::bootstrap::RESAMPLES;
use gradus_stats::sign_flip::DRAWS;
use serde::Serialize;

use super::arm::ArmSummary;
use super::comparison::Comparison;
use super::metric;
use super::settings::{Settings, samples, together};
use crate::error::Result;
use crate::words::{count, list, many};

/// What it takes to repeat a study.
#[derive(Clone, Debug, Serialize)]
pub struct Reproduction {
    /// The study's seed.
    pub seed: u64,
    /// The command; the name is that of a built-in study, or of a file with the text that the records hold.
    pub command: String,
    /// The version of the program.
    pub gradus: String,
    /// The version of the random numbers.
    pub rng: String,
    /// The processor.
    pub cpu: String,
    /// Its cores.
    pub cores: usize,
    /// The operating system.
    pub os: String,
    /// The instruction set of the kernels.
    pub instructions: String,
    /// When it was begun.
    pub created: String,
    /// A hash of the data of each round.
    pub data: Vec<(usize, String)>,
    /// The key of each arm: a hash of what it does.
    pub arms: Vec<(String, String)>,
}

impl Reproduction {
    /// Everything but the hashes of single rounds, as lines of what and its value.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let arms: Vec<String> = self.arms.iter().map(|(name, key)| format!("{name} {key}")).collect();
        let mut lines = vec![
            ("command", self.command.clone()),
            ("seed", self.seed.to_string()),
            ("version", format!("gradus {}, random numbers {}", self.gradus, self.rng)),
            ("machine", format!("{}, {}, {}, {}", self.cpu, many(self.cores, "core"), self.os, self.instructions)),
            ("begun", self.created.clone()),
            ("arms", arms.join(", ")),
        ];
        if let Some((round, hash)) = self.data.first() {
            let same = self.data.iter().all(|(_, h)| h == hash);
            let which = if same { "every round".to_string() } else { format!("round {round}") };
            lines.push(("data", format!("{hash} ({which})")));
        }
        lines
    }
}

/// The data of the rounds, as they were written down.
pub(super) struct Rounds {
    /// Round and hash.
    pub hashes: Vec<(usize, String)>,
    /// Where the samples come from.
    pub note: String,
}

impl Rounds {
    pub fn read(store: &Store) -> Result<Rounds> {
        let mut rounds = Rounds { hashes: Vec::new(), note: String::new() };
        store.each_round(|r| -> Result<()> {
            if rounds.note.is_empty() {
                rounds.note = r.note;
            }
            rounds.hashes.push((r.round, r.data_hash));
            Ok(())
        })?;
        Ok(rounds)
    }

    /// Whether all rounds have the same data: by their hashes, or by what was asked for where one round cannot tell.
    fn same(&self, settings: &Settings) -> bool {
        match self.hashes.as_slice() {
            [(_, first), _, ..] => self.hashes.iter().all(|(_, hash)| hash == first),
            _ => settings.data.seed.is_some(),
        }
    }
}

pub(super) fn reproduction(study: &StudyRecord, arms: &[ArmSummary], rounds: &Rounds) -> Reproduction {
    let (machine, versions) = (&study.machine, &study.versions);
    Reproduction {
        seed: study.seed,
        command: format!("gradus study run {} --seed {} --rounds {}", study.name, study.seed, study.rounds),
        gradus: versions.gradus.clone(),
        rng: versions.rng.clone(),
        cpu: machine.cpu.clone(),
        cores: machine.cores,
        os: machine.os.clone(),
        instructions: machine.instructions.clone(),
        created: study.created.clone(),
        data: rounds.hashes.clone(),
        arms: arms.iter().map(|a| (a.name.clone(), a.key.clone())).collect(),
    }
}

/// For what the verdicts hold.
pub(super) fn population(arms: &[ArmRecord], rounds: &Rounds) -> String {
    let Some(first) = arms.first() else { return "There is no arm yet.".into() };
    let settings = Settings::of(first);
    let shuffled = arms.iter().any(|a| Settings::of(a).train.shuffle == Some(true));
    let starts = if shuffled { "new first weights and orders of samples" } else { "new first weights" };
    if rounds.same(&settings) {
        return format!(
            "Every round has the same data: what is said holds for {starts} on these samples, and not for other samples."
        );
    }
    let (draws, others) = match settings.data.source.as_deref() {
        Some("disk") => ("new draws of points from the same square", "other tasks"),
        Some("mnist-pairs" | "mnist") => ("new draws from the same pools of digits", "other digits or other data"),
        Some("csv") => ("new splits of the same table", "other rows"),
        _ => ("new draws of the same data", "other data"),
    };
    let note = if rounds.note.is_empty() { String::new() } else { format!(" ({})", rounds.note) };
    format!("What is said holds for new rounds of this study: {draws}{note}, with {starts}; not for {others}.")
}

/// Design and protocol, ready for a paper.
pub(super) fn protocol(
    study: &StudyRecord,
    records: &[ArmRecord],
    arms: &[ArmSummary],
    comparisons: &[Comparison],
    rounds: &Rounds,
) -> String {
    let Some(first) = records.first() else { return "The study has no arm yet.".into() };
    let settings = Settings::of(first);
    let (compare, all) = (&study.compare, arms.len());
    let mut s: Vec<String> = Vec::new();
    let planned = arms.iter().map(|a| a.planned).max().unwrap_or(study.rounds);
    let (least, most) =
        (arms.iter().map(|a| a.rounds).min().unwrap_or(0), arms.iter().map(|a| a.rounds).max().unwrap_or(0));
    let so_far = match (least == planned, least == most) {
        (true, _) => String::new(),
        (_, true) => format!(", of which {most} came to their end"),
        _ => format!(", of which {least} to {most} came to their end in an arm"),
    };
    s.push(format!(
        "{} {} trained in {}{so_far}.",
        many(all, "arm"),
        if all == 1 { "was" } else { "were" },
        many(planned, "round")
    ));
    let what = samples(settings.data.source.as_deref());
    let note = if rounds.note.is_empty() { String::new() } else { format!(" ({})", rounds.note) };
    s.push(if rounds.same(&settings) {
        format!("Every round had the same {}{note}.", settings.data.sizes())
    } else {
        format!("In each round {} were drawn anew{note}.", settings.data.sizes())
    });
    s.push(if settings.data.raw == Some(true) {
        "Inputs were used as they are.".into()
    } else {
        format!("Inputs were normalised by mean and standard deviation of the round's training {what}.")
    });
    let share = if all > 1 {
        "The arms of a round shared its data, the first weights of parameters with the same name and shape, and the order of samples; \
         everything random"
    } else {
        "Everything random"
    };
    s.push(format!("{share} followed from (seed, round, purpose) with seed {} by {}.", study.seed, study.versions.rng));
    let training: Vec<(String, String)> =
        records.iter().map(|r| (r.name.clone(), Settings::of(r).train.sentence())).collect();
    s.push(format!("Training, {}.", together(&training)));
    s.extend(tuning(records));
    let part = compare.metric.split_whitespace().next().unwrap_or("test");
    let choice = if part == "test" { " No choice was made by it." } else { "" };
    s.push(format!("The {} of the trained network was measured.{choice}", compare.metric));
    if !comparisons.is_empty() {
        s.push(tests(study, comparisons));
    }
    let dtype = if settings.dtype.as_deref() == Some("f64") { "double" } else { "single" };
    s.push(format!(
        "It was run by Gradus {} in {dtype} precision on {} ({}, {}).",
        study.versions.gradus, study.machine.cpu, study.machine.os, study.machine.instructions
    ));
    s.join(" ")
}

/// How the arms' own values were chosen.
fn tuning(records: &[ArmRecord]) -> Option<String> {
    let arms: Vec<(String, String)> = records
        .iter()
        .filter_map(|r| {
            let tuned = r.tuned.as_ref()?;
            let keys: Vec<&String> = tuned.candidates.first()?.values.keys().collect();
            let text = format!(
                "the best of {} for {} by the mean {} on {} samples in {}",
                many(tuned.candidates.len(), "candidate"),
                list(&keys),
                tuned.metric,
                count(tuned.validation as u64),
                many(tuned.rounds, "round")
            );
            Some((r.name.clone(), text))
        })
        .collect();
    let all = together(&arms);
    (!arms.is_empty()).then(|| format!("Before that, values were chosen on rounds that were not used again, {all}."))
}

/// The procedures behind the verdicts.
fn tests(study: &StudyRecord, comparisons: &[Comparison]) -> String {
    let (compare, tested) = (&study.compare, comparisons.iter().filter(|c| !c.differences.is_empty()).count());
    let others: Vec<&str> = comparisons.iter().map(|c| c.arm.as_str()).collect();
    let others = if others.len() <= 6 { list(&others) } else { "Every other arm".into() };
    let mut text = format!(
        "{others} {} compared with {} on paired differences: ",
        if comparisons.len() == 1 { "was" } else { "were" },
        compare.baseline
    );
    let rounds = comparisons.iter().map(|c| c.rounds).max().unwrap_or(0);
    let flips = match comparisons.iter().filter_map(|c| c.test.exact).min() {
        Some(false) if rounds > 0 => format!("by {} random sign vectors", count(DRAWS as u64)),
        _ => "exact".into(),
    };
    text += &format!(
        "p values are those of the two-sided sign-flip permutation test ({flips}), adjusted by Holm's method over {}; intervals \
         are 95 % BCa bootstrap intervals of the mean difference ({} resamples, widened by Student's quantiles for few rounds).",
        many(tested, "comparison"),
        count(RESAMPLES as u64)
    );
    if compare.margin > 0.0 {
        let unit = metric::unit(&compare.metric);
        text += &format!(
            " Differences within ±{}{}{unit} were taken as not mattering (two one-sided t tests).",
            compare.margin,
            if unit.is_empty() { "" } else { " " }
        );
    }
    text + " An arm is called better or worse at an adjusted p of at most 0.05 whose interval excludes 0."
}
