//! Writing a study: every call is one transaction, on the disk when it returns.

use rusqlite::{Transaction, TransactionBehavior, params};
use serde::Serialize;

use super::read::{ArmRow, Body, data_sum, event_sum, trial_sum, tuning_sum};
use super::{Store, schema};
use crate::arm::ArmRecord;
use crate::clock::now;
use crate::epoch;
use crate::error::{Error, Kind, Result};
use crate::grid::Grid;
use crate::predictions::Predictions;
use crate::round::{Points, RoundRecord, Samples};
use crate::steps::Steps;
use crate::study::StudyRecord;
use crate::trial::TrialRecord;
use crate::tuning::TuningTrial;

/// The most rounds of a study, and one above the largest number of a round.
const MAX_ROUNDS: usize = u32::MAX as usize;

/// Why a transaction is not made.
#[derive(Debug)]
pub(super) enum Stop {
    Sql(rusqlite::Error),
    Ours(Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(e: rusqlite::Error) -> Self {
        Stop::Sql(e)
    }
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Stop::Ours(e)
    }
}

impl Store {
    /// Writes in one transaction, all or nothing. After a failure of the disk the file must be opened anew: what the system
    /// holds of it may not be what is on the disk.
    pub(super) fn write<T>(&self, write: impl FnOnce(&Transaction<'_>) -> Result<T, Stop>) -> Result<T> {
        self.writable()?;
        let transact = || {
            let t = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            let value = write(&t)?;
            t.commit()?;
            Ok(value)
        };
        transact().map_err(|stop| match stop {
            Stop::Ours(e) => e,
            Stop::Sql(e) => {
                let error = self.sql(&e);
                self.broken.set(self.broken.get() || error.kind() == Kind::Io);
                error
            }
        })
    }

    fn writable(&self) -> Result<()> {
        if self.lock.is_none() {
            return Err(self.refuse(Kind::ReadOnly, "the study was opened to be read only"));
        }
        if self.broken.get() {
            return Err(self.refuse(Kind::Io, "an earlier write failed: the study has to be opened anew"));
        }
        Ok(())
    }

    /// Says what the study is now: a file that was changed has another text and other rounds. Name, seed and the date of its
    /// beginning stay.
    ///
    /// # Errors
    /// [`Kind::Conflict`] for another seed, or what the system refuses.
    pub fn set_study(&mut self, study: &StudyRecord) -> Result<()> {
        let old = self.study()?;
        if old.seed != study.seed {
            return Err(self.refuse(
                Kind::Conflict,
                format_args!(
                    "the study has the seed {}, not {}: all its results would be others",
                    old.seed, study.seed
                ),
            ));
        }
        self.check_rounds(study.rounds)?;
        let text = schema::record_text(&StudyRecord { name: old.name, created: old.created, ..study.clone() });
        let rounds = study.rounds as i64;
        self.write(|t| Ok(set_study_row(t, &text, rounds)?))
    }

    /// Plans `n` more rounds; how many there are then.
    ///
    /// # Errors
    /// [`Kind::Argument`] for more than there can be, or what the system refuses.
    pub fn add_rounds(&mut self, n: usize) -> Result<usize> {
        let study = self.study()?;
        let rounds = study.rounds.saturating_add(n);
        self.check_rounds(rounds)?;
        let text = schema::record_text(&study);
        self.write(|t| Ok(set_study_row(t, &text, rounds as i64)?)).map(|()| rounds)
    }

    fn check_rounds(&self, rounds: usize) -> Result<()> {
        if rounds > MAX_ROUNDS {
            return Err(self.refuse(Kind::Argument, format_args!("a study has at most {MAX_ROUNDS} rounds")));
        }
        Ok(())
    }

    /// Says which arms the study's file has now: arms that are new are added, those that are there get the name, the
    /// position and the drawing given, and those that are not given become inactive. No trial is touched.
    ///
    /// # Errors
    /// [`Kind::Argument`] when two have one key, or two active ones one name.
    pub fn set_arms(&mut self, arms: &[ArmRecord]) -> Result<()> {
        for (i, arm) in arms.iter().enumerate() {
            if arm.key.is_empty() {
                return Err(self.refuse(Kind::Argument, format_args!("arm `{}` has no key", arm.name)));
            }
            let same = |b: &&ArmRecord| b.key == arm.key || (b.name == arm.name && b.active && arm.active);
            if let Some(other) = arms[..i].iter().find(same) {
                let what = format_args!("arms `{}` and `{}` have one key or one name", other.name, arm.name);
                return Err(self.refuse(Kind::Argument, what));
            }
        }
        let rows = self.arm_rows()?;
        self.write(|t| {
            let mut next = rows.iter().map(|r| r.id).max().unwrap_or(0) + 1;
            for row in rows.iter().filter(|r| !arms.iter().any(|a| a.key == r.key)) {
                put_arm_row(t, &ArmRow { active: false, ..row.clone() })?;
            }
            for arm in arms {
                let id = match rows.iter().find(|r| r.key == arm.key) {
                    Some(row) => row.id,
                    None => {
                        next += 1;
                        next - 1
                    }
                };
                put_arm_row(t, &arm_row(id, arm))?;
            }
            t.execute("UPDATE study SET arms_there = ?1", [next - 1])?;
            Ok(())
        })
    }

    /// Writes the data of a round; nothing is done when they are there.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when the round has other data (another hash), [`Kind::Argument`] for points or samples whose
    /// numbers do not fit.
    pub fn put_round(&mut self, round: &RoundRecord) -> Result<()> {
        self.check_round(round)?;
        if self.has_round(round)? {
            return Ok(());
        }
        self.write(|t| Ok(put_round(t, round)?))
    }

    /// Writes the data of a round in place of those that are there: its arms' data were asked for in another way, or there is
    /// more to show of it.
    ///
    /// # Errors
    /// As [`Store::put_round`], but for the conflict.
    pub fn replace_round(&mut self, round: &RoundRecord) -> Result<()> {
        self.check_round(round)?;
        let id = round.round as i64;
        self.write(|t| {
            t.execute("DELETE FROM points WHERE round = ?1", [id])?;
            t.execute("DELETE FROM samples WHERE round = ?1", [id])?;
            let gone = t.execute("DELETE FROM rounds WHERE round = ?1", [id])? as i64;
            t.execute("UPDATE study SET rounds_there = rounds_there - ?1", [gone])?;
            Ok(put_round(t, round)?)
        })
    }

    fn check_round(&self, round: &RoundRecord) -> Result<()> {
        if round.round >= MAX_ROUNDS {
            return Err(self.refuse(Kind::Argument, format_args!("there is no round {}", round.round)));
        }
        let points = round.points.as_ref().map_or(Ok(()), Points::check);
        points
            .and_then(|()| round.samples.as_ref().map_or(Ok(()), Samples::check))
            .map_err(|e| self.refuse(Kind::Argument, format_args!("round {}: {e}", round.round)))
    }

    /// Whether the round is there; an error when with other data.
    pub(super) fn has_round(&self, round: &RoundRecord) -> Result<bool> {
        match self.round(round.round)? {
            None => Ok(false),
            Some(old) if old.data_hash == round.data_hash && old.normalisation == round.normalisation => Ok(true),
            Some(old) => Err(self.refuse(
                Kind::Conflict,
                format_args!(
                    "round {} was drawn from other data (hash {}, now {}): have the data changed?",
                    round.round, old.data_hash, round.data_hash
                ),
            )),
        }
    }

    /// Writes a trial: it is on the disk when this returns. A trial that is there with the same result is left as it is; one
    /// that failed is replaced.
    ///
    /// # Errors
    /// [`Kind::Argument`] when its arm is not there or its numbers do not fit, [`Kind::Conflict`] when it is there with
    /// another result, [`Kind::Full`] and others when the system refuses; nothing of it is written then.
    pub fn insert_trial(&mut self, trial: &TrialRecord) -> Result<()> {
        self.writable()?;
        let (key, round) = (&trial.key, trial.round);
        let wrong =
            |e: String| self.refuse(Kind::Argument, format_args!("trial of `{}` in round {round}: {e}", trial.arm));
        trial.check().map_err(wrong)?;
        if round >= MAX_ROUNDS {
            return Err(wrong("there is no such round".into()));
        }
        let arm = self.arm_row(key)?.ok_or_else(|| wrong("the study has no such arm".into()))?;
        if arm.name != trial.arm {
            return Err(wrong(format!("the arm of that key is called `{}`", arm.name)));
        }
        let there = self.trial_of(&arm, round)?;
        if !self.wants(there.as_ref(), trial)? {
            return Ok(());
        }
        self.write(|t| Ok(put_trial(t, &arm, trial, there.is_some())?))
    }

    /// Writes a candidate's trial of a tuning round: it is on the disk when this returns. One that is there with the same result
    /// is left as it is; one that failed is replaced.
    ///
    /// # Errors
    /// [`Kind::Argument`] without a key or for a round that cannot be, [`Kind::Conflict`] when it is there with another result.
    pub fn insert_tuning(&mut self, trial: &TuningTrial) -> Result<()> {
        if trial.key.is_empty() || trial.round >= MAX_ROUNDS {
            let what = format_args!("tuning of `{}`: no key, or no round {}", trial.arm, trial.round);
            return Err(self.refuse(Kind::Argument, what));
        }
        let there = self.tuning_of(&trial.key, trial.round)?;
        if !self.wants_tuning(there.as_ref().map(|(_, t)| t), trial)? {
            return Ok(());
        }
        self.write(|t| Ok(put_tuning(t, trial, there.map(|(id, _)| id))?))
    }

    /// Whether `trial` is to be written where `there` is; an error when their results differ.
    pub(super) fn wants_tuning(&self, there: Option<&TuningTrial>, trial: &TuningTrial) -> Result<bool> {
        let Some(there) = there.filter(|t| t.outcome.is_final()) else { return Ok(true) };
        let what = if trial.outcome.is_final() { there.difference(trial) } else { None };
        match what {
            None => Ok(false),
            Some(what) => Err(self.refuse(
                Kind::Conflict,
                format_args!(
                    "tuning round {} of arm `{}` is there with another result: {what} differs",
                    trial.round, trial.arm
                ),
            )),
        }
    }

    /// Whether `trial` is to be written where `there` is; an error when their results differ.
    pub(super) fn wants(&self, there: Option<&TrialRecord>, trial: &TrialRecord) -> Result<bool> {
        let Some(there) = there else { return Ok(true) };
        if !there.outcome.is_final() {
            return Ok(true);
        }
        if !trial.outcome.is_final() {
            return Ok(false);
        }
        match there.difference(trial) {
            None => Ok(false),
            Some(what) => Err(self.refuse(
                Kind::Conflict,
                format_args!(
                    "arm `{}` in round {} is there with another result: {what} differs",
                    trial.arm, trial.round
                ),
            )),
        }
    }

    /// Adds a line to the study's log, with the time of day.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn add_event(&mut self, text: &str) -> Result<()> {
        self.write(|t| Ok(put_event(t, text)?))
    }
}

pub(super) fn set_study_row(t: &Transaction<'_>, text: &str, rounds: i64) -> rusqlite::Result<()> {
    let sum = schema::study_sum(text, rounds);
    t.execute("UPDATE study SET record = ?1, rounds = ?2, sum = ?3", (text, rounds, sum)).map(|_| ())
}

/// An arm as it is stored: what has a column of its own is not in the text.
pub(super) fn arm_row(id: i64, arm: &ArmRecord) -> ArmRow {
    let bare = ArmRecord { key: String::new(), name: String::new(), position: 0, active: true, ..arm.clone() };
    let (key, name) = (arm.key.clone(), arm.name.clone());
    ArmRow { id, key, name, position: arm.position, active: arm.active, trials: 0, text: json(&bare) }
}

/// Writes an arm that is new, without trials, or what is said of one that is there.
pub(super) fn put_arm_row(t: &Transaction<'_>, arm: &ArmRow) -> rusqlite::Result<()> {
    let sql = "INSERT INTO arms (id, key, name, position, active, record, trials_there, sum) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7) \
               ON CONFLICT (id) DO UPDATE SET name = ?3, position = ?4, active = ?5, record = ?6, sum = ?7";
    let position = arm.position as i64;
    t.execute(sql, params![arm.id, arm.key, arm.name, position, arm.active, arm.text, arm.sum()]).map(|_| ())
}

pub(super) fn put_round(t: &Transaction<'_>, round: &RoundRecord) -> rusqlite::Result<()> {
    #[derive(Serialize)]
    struct Stored<'a> {
        round: RoundRecord,
        parts: Vec<&'a str>,
    }
    let id = round.round as i64;
    let parts = [
        ("points", round.points.as_ref().map(Points::encode)),
        ("samples", round.samples.as_ref().map(Samples::encode)),
    ];
    let bare = RoundRecord {
        round: round.round,
        data_hash: round.data_hash.clone(),
        data: round.data.clone(),
        normalisation: round.normalisation.clone(),
        note: round.note.clone(),
        points: None,
        samples: None,
    };
    let there = parts.iter().filter(|(_, data)| data.is_some()).map(|(name, _)| *name).collect();
    let text = json(&Stored { round: bare, parts: there });
    let sum = data_sum("rounds", id, text.as_bytes());
    t.prepare_cached("INSERT INTO rounds VALUES (?1, ?2, ?3)")?.execute((id, &text, sum))?;
    for (table, data) in parts {
        put_data(t, table, id, data)?;
    }
    t.execute("UPDATE study SET rounds_there = rounds_there + 1", ()).map(|_| ())
}

fn put_data(t: &Transaction<'_>, table: &str, id: i64, data: Option<Vec<u8>>) -> rusqlite::Result<()> {
    let Some(data) = data else { return Ok(()) };
    let sum = data_sum(table, id, &data);
    t.prepare_cached(&format!("INSERT INTO {table} VALUES (?1, ?2, ?3)"))?.execute((id, data, sum)).map(|_| ())
}

/// A trial as it is stored: its own text, that of its epochs, and what lies in tables of its own.
type TrialParts = (String, Option<String>, [(&'static str, Option<Vec<u8>>); 4]);

fn parts(trial: &TrialRecord) -> TrialParts {
    let epochs = (!trial.epochs.is_empty()).then(|| epoch::encode(&trial.epochs));
    let blobs = [
        ("steps", trial.steps.as_ref().map(Steps::encode)),
        ("predictions", trial.predictions.as_ref().map(Predictions::encode)),
        ("grids", trial.grid.as_ref().map(Grid::encode)),
        ("weights", trial.weights.clone()),
    ];
    let parts = blobs.iter().filter(|(_, data)| data.is_some()).map(|(name, _)| (*name).to_string());
    let body = Body {
        ended: trial.outcome.clone(),
        metrics: trial.metrics.clone(),
        best: trial.best.clone(),
        stopped: trial.stopped.clone(),
        warnings: trial.warnings.clone(),
        seconds: trial.seconds,
        parameters_hash: trial.parameters_hash.clone(),
        threads: trial.threads,
        parallel: trial.parallel,
        order: trial.order,
        parts: epochs.iter().map(|_| "epochs".to_string()).chain(parts).collect(),
    };
    (json(&body), epochs, blobs)
}

/// What fits into a row of SQLite's pages, and what its further pages hold.
const PAGE: (usize, usize, usize) = (4096, 4061, 4092);

impl TrialRecord {
    /// Bytes that it takes in a study's file, nearly.
    pub fn stored_bytes(&self) -> u64 {
        let (text, epochs, blobs) = parts(self);
        let (page, row, more) = PAGE;
        let long = blobs.iter().filter_map(|(_, data)| data.as_ref().map(Vec::len));
        let all = [text.len()].into_iter().chain(epochs.map(|t| t.len())).chain(long);
        // Beside its data a row has its numbers and its check sum.
        all.map(|n| if n + 32 <= row { n + 32 } else { n.div_ceil(more) * page }).sum::<usize>() as u64
    }
}

pub(super) fn put_trial(t: &Transaction<'_>, arm: &ArmRow, trial: &TrialRecord, replace: bool) -> rusqlite::Result<()> {
    let id = arm.trial(trial.round);
    if replace {
        for table in ["epochs", "steps", "predictions", "grids", "weights"] {
            t.execute(&format!("DELETE FROM {table} WHERE trial = ?1"), [id])?;
        }
        t.execute("DELETE FROM trials WHERE id = ?1", [id])?;
    } else {
        t.prepare_cached("UPDATE arms SET trials_there = trials_there + 1 WHERE id = ?1")?.execute([arm.id])?;
    }
    let (text, epochs, blobs) = parts(trial);
    let outcome = trial.outcome.name();
    let sum = trial_sum(id, &trial.key, outcome, &text);
    t.prepare_cached("INSERT INTO trials VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        id,
        arm.id,
        trial.round as i64,
        outcome,
        text,
        sum
    ])?;
    if let Some(text) = epochs {
        let sum = data_sum("epochs", id, text.as_bytes());
        t.prepare_cached("INSERT INTO epochs VALUES (?1, ?2, ?3)")?.execute((id, text, sum))?;
    }
    blobs.into_iter().try_for_each(|(table, data)| put_data(t, table, id, data))
}

/// Writes a tuning trial, in place of the row `replace`.
pub(super) fn put_tuning(t: &Transaction<'_>, trial: &TuningTrial, replace: Option<i64>) -> rusqlite::Result<()> {
    let id = match replace {
        Some(id) => {
            t.execute("DELETE FROM tuning WHERE id = ?1", [id])?;
            id
        }
        None => {
            t.execute("UPDATE study SET tuning_there = tuning_there + 1", ())?;
            t.query_row("SELECT coalesce(max(id), 0) + 1 FROM tuning", (), |row| row.get(0))?
        }
    };
    let (text, round) = (json(trial), trial.round as i64);
    let sum = tuning_sum(id, &trial.key, round, &text);
    t.prepare_cached("INSERT INTO tuning VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((id, &trial.key, round, text, sum))
        .map(|_| ())
}

pub(super) fn put_event(t: &Transaction<'_>, text: &str) -> rusqlite::Result<()> {
    let id: i64 = t.query_row("SELECT coalesce(max(id), 0) + 1 FROM events", (), |row| row.get(0))?;
    let at = now();
    t.execute("INSERT INTO events VALUES (?1, ?2, ?3, ?4)", (id, &at, text, event_sum(id, &at, text)))?;
    t.execute("UPDATE study SET events_there = events_there + 1", ()).map(|_| ())
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers are JSON")
}
