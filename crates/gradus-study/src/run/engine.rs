//! Runs a study: every arm in every round, in parallel, each finished trial written down at once.
//!
//! Trials are taken round by round, arm by arm, one thread each, so that a slow moment of the machine hits all arms of a
//! round alike. A trial depends on (study seed, round, arm) alone: no number of threads and no order changes a bit of it.
//! The state is the store: whatever is in it is not run again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use gradus::error::{Error, Kind, Result};
use gradus_record::{ArmRecord, Document, Filter, Outcome, Parts, RoundRecord, Store, TrialRecord};

use super::trial::{self, Task, round_seed};
use super::{arms, pool, records, samples};
use crate::{ArmSettings, DataSettings, Record, Study};

/// How a study is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of its store.
    pub out: PathBuf,
    /// Trials that run at a time.
    pub threads: usize,
    /// Only these arms; all when empty.
    pub arms: Vec<String>,
    /// Whether trained weights are written down, also where the study does not ask for them.
    pub weights: bool,
}

/// What happens while a study runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// It is about to begin: all arms, and how many trials are there already of how many.
    Begin {
        /// The arms.
        arms: &'a [ArmRecord],
        /// Trials in the store.
        done: usize,
        /// Trials in all.
        total: usize,
    },
    /// A trial is finished and written down.
    Trial {
        /// It.
        trial: &'a TrialRecord,
        /// Trials in the store.
        done: usize,
        /// Trials in all.
        total: usize,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Trials run now.
    pub run: usize,
    /// Trials of the active arms in the store that did not come to an end.
    pub failed: usize,
    /// Whether it was stopped before all were done.
    pub interrupted: bool,
}

/// Runs what is missing.
///
/// # Errors
/// When the store cannot be used, is of another study, or an arm cannot be run at all.
pub fn run(study: &Study, options: &Options, stop: &AtomicBool, mut see: impl FnMut(Event<'_>)) -> Result<Ended> {
    if options.threads == 0 || options.threads > 1024 {
        return Err(Error::new(Kind::Argument, format!("{} threads: 1 to 1024 are possible", options.threads)));
    }
    let mut store = open(study, &options.out)?;
    let records: Vec<ArmRecord> =
        study.arms.values().enumerate().map(|(i, a)| arms::record(a, i)).collect::<Result<_>>()?;
    store.set_arms(&records).map_err(stored)?;
    let wanted: Vec<(&ArmSettings, &ArmRecord)> = study
        .arms
        .values()
        .zip(&records)
        .filter(|(a, _)| options.arms.is_empty() || options.arms.contains(&a.name))
        .collect();

    check_rounds(&mut store, study)?;
    let record_of = Record { weights: study.record.weights || options.weights, ..study.record };
    let mut tasks = Vec::new();
    for round in 0..study.rounds {
        for (arm, record) in &wanted {
            tasks.push(Task { seed: study.seed, arm, key: &record.key, round, record: record_of });
        }
    }
    let total = tasks.len();
    let mut there = HashSet::new();
    for (_, record) in &wanted {
        there.extend(store.finished(&record.key).map_err(stored)?.into_iter().map(|round| (record.key.clone(), round)));
    }
    tasks.retain(|t| !there.contains(&(t.key.to_string(), t.round)));
    let mut done = total - tasks.len();
    see(Event::Begin { arms: &records, done, total });

    let mut ended = Ended::default();
    let mut fresh: HashSet<usize> = HashSet::new();
    let work = |task: &Task<'_>, stop: &AtomicBool| {
        trial::run(task, stop).map_err(|e| e.at(format!("arm `{}`, round {}", task.arm.name, task.round)))
    };
    pool::each(options.threads, &tasks, stop, work, |mut trial: TrialRecord| {
        if fresh.insert(trial.round) {
            put_round(&mut store, study, trial.round)?;
        }
        (trial.order, trial.parallel) = (done, options.threads.min(tasks.len()));
        store.insert_trial(&trial).map_err(stored)?;
        (done, ended.run) = (done + 1, ended.run + 1);
        see(Event::Trial { trial: &trial, done, total });
        Ok(())
    })?;
    ended.interrupted = done < total;
    for (_, record) in &wanted {
        let all = store.trials(&gradus_record::Filter::arm(&record.key)).map_err(stored)?;
        ended.failed += all.iter().filter(|t| t.outcome != Outcome::Done).count();
    }
    if !ended.interrupted && study.record.samples {
        show_samples(&mut store, study, &records)?;
    }
    Ok(ended)
}

/// The data settings that a study's rounds are recorded of: those of its first arm.
fn data(study: &Study) -> Result<&DataSettings> {
    let none = || Error::new(Kind::Config, "the study has no arm");
    study.arms.values().next().map(|a| &a.data).ok_or_else(none)
}

/// Writes the data of a round, in place of those that the study asked for in another way before.
fn put_round(store: &mut Store, study: &Study, round: usize) -> Result<()> {
    let new = records::round(study.seed, data(study)?, round)?;
    match store.round(round).map_err(stored)? {
        Some(old) if old.data != new.data => store.replace_round(&new),
        _ => store.put_round(&new),
    }
    .map_err(stored)
}

/// That the data of rounds that are there are still what the study asks for: drawn anew where it asks in another way, refused
/// where the same question has another answer.
fn check_rounds(store: &mut Store, study: &Study) -> Result<()> {
    let asked = Document::of(data(study)?).map_err(stored)?;
    let rounds = store.rounds().map_err(stored)?;
    for round in rounds.iter().filter(|r| r.data != asked && r.round < study.rounds) {
        put_round(store, study, round.round)?;
    }
    // Data that change are all drawn from one file: the first round tells.
    match rounds.iter().find(|r| r.data == asked) {
        Some(round) => put_round(store, study, round.round),
        None => Ok(()),
    }
}

/// Rounds whose samples are shown.
const SHOWN: usize = 3;

/// Writes the samples of the first rounds: a function of what is in the store, whenever it was written.
fn show_samples(store: &mut Store, study: &Study, arms: &[ArmRecord]) -> Result<()> {
    let keys: Vec<String> = arms.iter().map(|a| a.key.clone()).collect();
    for round in 0..SHOWN.min(study.rounds) {
        let Some(old) = store.round(round).map_err(stored)? else { continue };
        let filter = Filter { keys: Some(keys.clone()), rounds: Some(round..=round), ..Filter::default() };
        let mut said = Vec::new();
        let parts = Parts { predictions: true, ..Parts::default() };
        let see = |trial: TrialRecord| {
            said.extend(trial.predictions);
            Ok::<_, gradus_record::Error>(())
        };
        store.each_trial(&filter, parts, see).map_err(stored)?;
        let samples = samples::samples(data(study)?, round_seed(study.seed, round), &said)?;
        if samples != old.samples {
            store.replace_round(&RoundRecord { samples, ..old }).map_err(stored)?;
        }
    }
    Ok(())
}

/// The store of a study in its folder: made, or opened where it is one of the same study.
fn open(study: &Study, out: &Path) -> Result<Store> {
    let record = records::study(study)?;
    if !out.join(gradus_record::FILE).exists() {
        return Store::create(out, &record).map_err(stored);
    }
    let store = Store::open(out).map_err(stored)?;
    let old = store.study().map_err(stored)?;
    if old.seed != record.seed {
        let message = format!(
            "{} holds a study of seed {}, this one has seed {}: give another --out",
            out.display(),
            old.seed,
            record.seed
        );
        return Err(Error::new(Kind::Config, message));
    }
    Ok(store)
}

/// An error of the store as one of ours.
pub(crate) fn stored(e: gradus_record::Error) -> Error {
    Error::new(Kind::Io, e)
}
