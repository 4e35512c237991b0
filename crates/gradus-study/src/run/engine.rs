//! Runs a study: every arm in every round, in parallel, each finished trial written down at once.
//!
//! Trials are taken round by round, arm by arm, one thread each, so that a slow moment of the machine hits all arms of a
//! round alike. A trial depends on (study seed, round, arm) alone: no number of threads and no order changes a bit of it.
//! The state is the store: whatever is in it is not run again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use gradus::error::{Error, Kind, Result};
use gradus_record::{ArmRecord, Outcome, Store, TrialRecord};

use super::arms;
use super::records;
use super::trial::{self, Task};
use crate::{ArmSettings, Study};

/// How a study is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of its store.
    pub out: PathBuf,
    /// Trials that run at a time.
    pub threads: usize,
    /// Only these arms; all when empty.
    pub arms: Vec<String>,
    /// Whether trained weights are written down.
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

    let mut tasks = Vec::new();
    for round in 0..study.rounds {
        for (arm, record) in &wanted {
            tasks.push(Task { seed: study.seed, arm, key: &record.key, round, weights: options.weights });
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
    let mut rounds: HashSet<usize> = HashSet::new();
    store
        .each_round(|r| {
            rounds.insert(r.round);
            Ok::<(), gradus_record::Error>(())
        })
        .map_err(stored)?;
    let next = AtomicUsize::new(0);
    let broken = AtomicBool::new(false);
    let (send, receive) = mpsc::channel::<Result<TrialRecord>>();
    let result: Result<()> = std::thread::scope(|scope| {
        for _ in 0..options.threads.min(tasks.len()) {
            let send = send.clone();
            let (tasks, next, broken) = (&tasks, &next, &broken);
            scope.spawn(move || {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop.load(Ordering::Relaxed) || broken.load(Ordering::Relaxed) {
                        return;
                    }
                    match trial::run(task, stop) {
                        Ok(None) => return,
                        Ok(Some(record)) => drop(send.send(Ok(record))),
                        Err(e) => {
                            broken.store(true, Ordering::Relaxed);
                            let place = format!("arm `{}`, round {}", task.arm.name, task.round);
                            drop(send.send(Err(e.at(place))));
                            return;
                        }
                    }
                }
            });
        }
        drop(send);
        for record in receive {
            let write = record.and_then(|record| {
                if rounds.insert(record.round) {
                    let task =
                        Task { seed: study.seed, arm: wanted[0].0, key: "", round: record.round, weights: false };
                    store.put_round(&records::round(&task)?).map_err(stored)?;
                }
                store.insert_trial(&record).map_err(stored)?;
                Ok(record)
            });
            match write {
                Ok(record) => {
                    (done, ended.run) = (done + 1, ended.run + 1);
                    see(Event::Trial { trial: &record, done, total });
                }
                Err(e) => {
                    broken.store(true, Ordering::Relaxed);
                    return Err(e);
                }
            }
        }
        Ok(())
    });
    result?;
    ended.interrupted = done < total;
    for (_, record) in &wanted {
        let all = store.trials(&gradus_record::Filter::arm(&record.key)).map_err(stored)?;
        ended.failed += all.iter().filter(|t| t.outcome != Outcome::Done).count();
    }
    Ok(ended)
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
