//! Runs a study: every arm in every round, in parallel, each finished trial written down at once.
//!
//! Where arms are tuned, that comes first. Then trials are taken round by round, arm by arm, one thread each, so that a slow
//! moment of the machine hits all arms of a round alike. A trial depends on (study seed, round, arm) alone: no number of
//! threads and no order changes a bit of it. The state is the store: whatever is in it is not run again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use gradus::error::{Error, Kind, Result};
use gradus_record::{ArmRecord, Outcome, Store, StudyRecord, TrialRecord, Tuned, TuningTrial};
use indexmap::IndexMap;

use super::expected::{Expected, expected};
use super::rounds::{check_rounds, put_round, show_samples};
use super::trial::{self, Task};
use super::{arms, pool, records, tuning};
use crate::{ArmSettings, Record, Study};

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

/// How many are there already, of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// In the store.
    pub done: usize,
    /// In all.
    pub total: usize,
}

/// What happens while a study runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// It is about to begin.
    Begin {
        /// Every arm; one that is still to be tuned as the file has it.
        arms: &'a [ArmRecord],
        /// Trials of tuning rounds.
        tuning: Count,
        /// Trials. Those of arms that are still to be tuned are not there yet.
        trials: Count,
        /// What all that is missing will take.
        expected: Expected,
    },
    /// A candidate was tried in a tuning round, which is written down.
    Tuning {
        /// It.
        trial: &'a TuningTrial,
        /// Trials of tuning rounds.
        tuning: Count,
    },
    /// An arm has chosen its values: `tuned` is there.
    Tuned {
        /// It.
        arm: &'a ArmRecord,
    },
    /// A trial is finished and written down.
    Trial {
        /// It.
        trial: &'a TrialRecord,
        /// Trials.
        trials: Count,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Trials run now.
    pub run: usize,
    /// Trials of tuning rounds run now.
    pub tuning: usize,
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
    let mut run = Run::open(study, options)?;
    // Every round and trial draws from the same digits.
    let _digits = study.arms.values().map(|arm| arm.data.hold()).collect::<Result<Vec<_>>>()?;
    check_rounds(&mut run.store, study)?;
    let before = run.ready()?;
    let (mut tuning, to_tune) = run.to_tune();
    let (mut trials, missing) = run.missing(&before)?;
    let expected = expected(study, &before, &to_tune, &missing, run.record, options.threads)?;
    let all: Vec<ArmRecord> = before.iter().map(|a| a.record.clone()).collect();
    see(Event::Begin { arms: &all, tuning, trials, expected });
    run.begin(&before, to_tune.len() + missing.len())?;

    let mut ended = Ended::default();
    if !to_tune.is_empty() {
        let tune = study.tune.as_ref().expect("it has tasks");
        let work = |task: &tuning::Task<'_>, stop: &AtomicBool| {
            let place = || {
                format!("arm `{}`, tuning round {} ({})", task.arm, task.round, tuning::words(&task.candidate.values))
            };
            tuning::run(study, tune, task, stop).map_err(|e| e.at(place()))
        };
        pool::each(options.threads, &to_tune, stop, work, |trial: TuningTrial| {
            run.store.insert_tuning(&trial).map_err(stored)?;
            (tuning.done, ended.tuning) = (tuning.done + 1, ended.tuning + 1);
            see(Event::Tuning { trial: &trial, tuning });
            run.tried.insert((trial.key.clone(), trial.round), trial);
            Ok(())
        })?;
        if tuning.done < tuning.total {
            ended.interrupted = true;
            return run.end(ended, &before);
        }
    }
    let arms = run.ready()?;
    for (arm, old) in arms.iter().zip(&before).filter(|(arm, old)| arm.ready && !old.ready) {
        see(Event::Tuned { arm: &arm.record });
        run.log(&format!("tuned arm `{}`: {}", old.record.name, words(arm.record.tuned.as_ref())))?;
    }
    run.set_arms(&arms)?;
    let missing = if to_tune.is_empty() {
        missing
    } else {
        let (count, missing) = run.missing(&arms)?;
        trials = count;
        missing
    };
    let tasks: Vec<Task<'_>> = missing
        .iter()
        .map(|(arm, round)| {
            let Arm { settings, record, .. } = &arms[*arm];
            Task { seed: study.seed, arm: settings, key: &record.key, round: *round, record: run.record }
        })
        .collect();
    let parallel = options.threads.min(tasks.len());
    let mut fresh: HashSet<usize> = HashSet::new();
    let work = |task: &Task<'_>, stop: &AtomicBool| {
        trial::run(task, stop).map_err(|e| e.at(format!("arm `{}`, round {}", task.arm.name, task.round)))
    };
    pool::each(options.threads, &tasks, stop, work, |mut trial: TrialRecord| {
        if fresh.insert(trial.round) {
            put_round(&mut run.store, study, trial.round)?;
        }
        (trial.order, trial.parallel) = (trials.done, parallel);
        run.store.insert_trial(&trial).map_err(stored)?;
        (trials.done, ended.run) = (trials.done + 1, ended.run + 1);
        see(Event::Trial { trial: &trial, trials });
        Ok(())
    })?;
    ended.interrupted = trials.done < trials.total;
    if !ended.interrupted && study.record.samples {
        let keys: Vec<String> = arms.iter().filter(|a| a.ready).map(|a| a.record.key.clone()).collect();
        show_samples(&mut run.store, study, &keys)?;
    }
    run.end(ended, &arms)
}

/// An arm as far as it is known.
pub(super) struct Arm {
    pub settings: ArmSettings,
    pub record: ArmRecord,
    /// Whether its values are chosen.
    pub ready: bool,
}

/// A study and its store, while it runs.
struct Run<'s> {
    study: &'s Study,
    options: &'s Options,
    store: Store,
    /// What tuning rounds gave so far.
    tried: IndexMap<(String, usize), TuningTrial>,
    record: Record,
    /// Whether the store was made now.
    new: bool,
    /// Whether anything was said in the log.
    said: bool,
}

impl<'s> Run<'s> {
    fn open(study: &'s Study, options: &'s Options) -> Result<Run<'s>> {
        let (store, new) = open(study, &options.out)?;
        let tried = store.tuning().map_err(stored)?.into_iter().filter(|t| t.outcome.is_final());
        let tried = tried.map(|t| ((t.key.clone(), t.round), t)).collect();
        let record = Record { weights: study.record.weights || options.weights, ..study.record };
        Ok(Run { study, options, store, tried, record, new, said: false })
    }

    fn wanted(&self, arm: &str) -> bool {
        self.options.arms.is_empty() || self.options.arms.iter().any(|a| a == arm)
    }

    /// Every arm, with the values that were chosen for it where they are.
    fn ready(&self) -> Result<Vec<Arm>> {
        let mut list = Vec::new();
        for (i, (name, settings)) in self.study.arms.iter().enumerate() {
            let tune = self.study.tune.as_ref().filter(|t| t.candidates.contains_key(name));
            let chosen = tune.map(|t| tuning::choose(t, name, &self.tried, self.study.seed)).transpose()?;
            let (settings, tuned, ready) = match chosen {
                None => (settings.clone(), None, true),
                Some(None) => (settings.clone(), None, false),
                Some(Some((settings, tuned))) => (settings, Some(tuned), true),
            };
            let record = arms::record(&settings, i, self.study.origins.get(name), tuned)?;
            list.push(Arm { settings, record, ready });
        }
        Ok(list)
    }

    /// The trials of tuning rounds that are missing.
    fn to_tune(&self) -> (Count, Vec<tuning::Task<'s>>) {
        let Some(tune) = &self.study.tune else { return (Count::default(), Vec::new()) };
        let arms = self.study.arms.keys().filter(|name| self.wanted(name));
        let mut tasks: Vec<tuning::Task<'s>> = arms.flat_map(|arm| tuning::tasks(tune, arm)).collect();
        // Round by round, as the trials.
        tasks.sort_by_key(|t| t.round);
        let total = tasks.len();
        tasks.retain(|t| !self.tried.contains_key(&(t.key.clone(), t.round)));
        (Count { done: total - tasks.len(), total }, tasks)
    }

    /// The trials that are missing: arm and round.
    fn missing(&self, arms: &[Arm]) -> Result<(Count, Vec<(usize, usize)>)> {
        let wanted: Vec<usize> = (0..arms.len()).filter(|i| self.wanted(&arms[*i].record.name)).collect();
        let mut there = HashSet::new();
        for i in wanted.iter().filter(|i| arms[**i].ready) {
            let rounds = self.store.finished(&arms[*i].record.key).map_err(stored)?;
            there.extend(rounds.into_iter().map(|round| (*i, round)));
        }
        let rounds = 0..self.study.rounds;
        let mut all: Vec<(usize, usize)> = rounds.flat_map(|r| wanted.iter().map(move |i| (*i, r))).collect();
        let total = all.len();
        all.retain(|task| !there.contains(task));
        Ok((Count { done: total - all.len(), total }, all))
    }

    /// Writes down what the study is now.
    fn begin(&mut self, arms: &[Arm], missing: usize) -> Result<()> {
        let (new, old) = (records::study(self.study)?, self.store.study().map_err(stored)?);
        // Where and when do not matter as long as nothing is run.
        let same = StudyRecord {
            created: old.created.clone(),
            machine: old.machine.clone(),
            format: old.format,
            ..new.clone()
        };
        if self.new {
            self.log(&format!("begun: {missing} trials to run"))?;
        } else {
            if same != old || missing > 0 {
                self.store.set_study(&new).map_err(stored)?;
            }
            if missing > 0 {
                self.log(&format!("resumed: {missing} trials to run"))?;
            }
        }
        self.set_arms(arms)
    }

    /// Says which arms there are now, and in the log what became of those that were there.
    fn set_arms(&mut self, arms: &[Arm]) -> Result<()> {
        let old: Vec<ArmRecord> = self.store.arms().map_err(stored)?.into_iter().filter(|a| a.active).collect();
        let new: Vec<ArmRecord> = arms.iter().filter(|a| a.ready).map(|a| a.record.clone()).collect();
        if old == new {
            return Ok(());
        }
        self.store.set_arms(&new).map_err(stored)?;
        for arm in &new {
            match (old.iter().find(|a| a.name == arm.name), old.iter().find(|a| a.key == arm.key)) {
                (Some(was), _) if was.key == arm.key => {}
                (_, Some(was)) => self.log(&format!("arm `{}` is called `{}` now", was.name, arm.name))?,
                (Some(_), None) => self.log(&format!("arm `{}` changed", arm.name))?,
                (None, None) => self.log(&format!("arm `{}` added", arm.name))?,
            }
        }
        let gone = |a: &&ArmRecord| !self.study.arms.contains_key(&a.name) && !new.iter().any(|b| b.key == a.key);
        for arm in old.iter().filter(gone).map(|a| a.name.clone()).collect::<Vec<_>>() {
            self.log(&format!("arm `{arm}` removed; its trials are kept"))?;
        }
        Ok(())
    }

    fn log(&mut self, text: &str) -> Result<()> {
        self.said = true;
        self.store.add_event(text).map_err(stored)
    }

    fn end(mut self, mut ended: Ended, arms: &[Arm]) -> Result<Ended> {
        for arm in arms.iter().filter(|a| a.ready && self.wanted(&a.record.name)) {
            let all = self.store.trials(&gradus_record::Filter::arm(&arm.record.key)).map_err(stored)?;
            ended.failed += all.iter().filter(|t| t.outcome != Outcome::Done).count();
        }
        if self.said {
            let how = if ended.interrupted { "interrupted" } else { "ended" };
            let tuning = if ended.tuning > 0 { format!(", {} of tuning rounds", ended.tuning) } else { String::new() };
            self.log(&format!("{how}: {} trials run{tuning}", ended.run))?;
        }
        Ok(ended)
    }
}

/// `train.optimizer.lr = 0.1`, and what speaks against it.
fn words(tuned: Option<&Tuned>) -> String {
    let Some(t) = tuned else { return String::new() };
    let edges = if t.edges.is_empty() {
        String::new()
    } else {
        format!(", at the edge of what was offered: {}", t.edges.join(", "))
    };
    tuning::words(&t.candidates[t.chosen].values) + &edges
}

/// The store of a study in its folder, and whether it was made now: else it is one of the same study.
fn open(study: &Study, out: &Path) -> Result<(Store, bool)> {
    if !out.join(gradus_record::FILE).exists() {
        return Store::create(out, &records::study(study)?).map(|s| (s, true)).map_err(stored);
    }
    let store = Store::open(out).map_err(stored)?;
    let old = store.study().map_err(stored)?;
    if old.seed != study.seed.0 {
        let message = format!(
            "{} holds a study of seed {}, this one has seed {}: give another --out",
            out.display(),
            old.seed,
            study.seed.0
        );
        return Err(Error::new(Kind::Config, message));
    }
    Ok((store, false))
}

/// The study that the records in `out` are of, as it was run last: no file is needed to go on with it.
///
/// # Errors
/// When there is none, or another version of the program wrote it.
pub fn resume(out: &Path) -> Result<Study> {
    let record = Store::open_read(out).or_else(|e| match e.kind() {
        // Opening it to be written brings it up to date.
        gradus_record::Kind::Older => Store::open(out),
        _ => Err(e),
    });
    let record = record.and_then(|s| s.study()).map_err(stored)?;
    let study: Study = record.resolved.read().map_err(|e| {
        Error::new(Kind::Config, format!("{}: what was run cannot be read ({e}): give its file", out.display()))
    })?;
    Ok(Study { rounds: record.rounds, file: format!("{}.toml", record.name), text: record.text, ..study })
}

/// Plans `n` more rounds of the study whose records are in `out`: it, to be run.
///
/// # Errors
/// As [`resume`], or when the records cannot be written.
pub fn add_rounds(out: &Path, n: usize) -> Result<Study> {
    let study = resume(out)?;
    let rounds = study.rounds.checked_add(n).filter(|r| *r <= crate::study::MAX_ROUNDS).ok_or_else(|| {
        Error::new(Kind::Argument, format!("{n} more rounds: a study has at most {}", crate::study::MAX_ROUNDS))
    })?;
    let mut store = Store::open(out).map_err(stored)?;
    store.add_rounds(n).map_err(stored)?;
    store.add_event(&format!("{n} rounds added: {rounds}")).map_err(stored)?;
    Ok(Study { rounds, ..study })
}

/// An error of the store as one of ours.
pub(crate) fn stored(e: gradus_record::Error) -> Error {
    Error::new(Kind::Io, e)
}
