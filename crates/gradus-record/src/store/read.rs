//! Reading a study. A row that is not as it was written is an error.
//!
//! Rows are read a few hundred at a time and given away between reads, so that a study of any size takes little memory, and a
//! slow reader never keeps the writer waiting.

use std::ops::RangeInclusive;

use rusqlite::{OptionalExtension, Params, Row};
use serde::{Deserialize, Serialize};

use super::{Store, schema};
use crate::arm::ArmRecord;
use crate::bytes::{Read, check_sum};
use crate::epoch;
use crate::error::{Error, Kind, Result};
use crate::grid::Grid;
use crate::number;
use crate::predictions::Predictions;
use crate::round::{Points, RoundRecord, Samples};
use crate::steps::Steps;
use crate::study::StudyRecord;
use crate::trial::{Best, Outcome, Seconds, TrialRecord, TrialSummary};
use crate::tuning::TuningTrial;

/// Rows that are read at a time.
const CHUNK: usize = 256;

/// Which trials are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of these arms by key; of all when `None`.
    pub keys: Option<Vec<String>>,
    /// Of these rounds; of all when `None`.
    pub rounds: Option<RangeInclusive<usize>>,
    /// Of arms that were removed from the study's file, too.
    pub removed: bool,
}

impl Filter {
    /// The trials of one arm, removed or not.
    pub fn arm(key: &str) -> Filter {
        Filter { keys: Some(vec![key.to_string()]), removed: true, ..Filter::default() }
    }

    fn takes(&self, arm: &ArmRow) -> bool {
        (self.removed || arm.active) && self.keys.as_ref().is_none_or(|keys| keys.contains(&arm.key))
    }
}

/// Which long parts of a trial are read along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Every epoch.
    pub epochs: bool,
    /// Losses by step.
    pub steps: bool,
    /// Predictions of the test samples.
    pub predictions: bool,
    /// The decision surface.
    pub grid: bool,
    /// The model file.
    pub weights: bool,
}

impl Parts {
    /// Everything.
    pub const ALL: Parts = Parts { epochs: true, steps: true, predictions: true, grid: true, weights: true };
    /// The epochs alone.
    pub const EPOCHS: Parts = Parts { epochs: true, steps: false, predictions: false, grid: false, weights: false };
}

/// A line of the study's log, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, by the machine's clock.
    pub at: String,
    /// What: started, interrupted, resumed.
    pub text: String,
}

/// The part of a trial that is one JSON text in its row.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    pub ended: Outcome,
    #[serde(with = "number::map")]
    pub metrics: indexmap::IndexMap<String, f64>,
    pub best: Option<Best>,
    pub stopped: Option<String>,
    pub warnings: Vec<String>,
    pub seconds: Seconds,
    pub parameters_hash: Option<String>,
    pub threads: usize,
    #[serde(default)]
    pub parallel: usize,
    pub order: usize,
    /// The tables that hold the rest of it.
    pub parts: Vec<String>,
}

/// An arm's row; what is in its text is read when asked for.
#[derive(Clone, Debug)]
pub(super) struct ArmRow {
    pub id: i64,
    pub key: String,
    pub name: String,
    pub position: usize,
    pub active: bool,
    /// Trials that should be there.
    pub trials: i64,
    pub text: String,
}

impl ArmRow {
    /// The id of its trial in `round`.
    pub(super) fn trial(&self, round: usize) -> i64 {
        (self.id << 32) + round as i64
    }

    /// The check sum of the row.
    pub(super) fn sum(&self) -> i64 {
        check_sum(&[
            b"arms",
            &self.id.to_le_bytes(),
            self.key.as_bytes(),
            self.name.as_bytes(),
            &(self.position as u64).to_le_bytes(),
            &[u8::from(self.active)],
            self.text.as_bytes(),
        ])
    }
}

/// The check sum of a trial's row.
pub(super) fn trial_sum(id: i64, key: &str, outcome: &str, record: &str) -> i64 {
    check_sum(&[b"trials", &id.to_le_bytes(), key.as_bytes(), outcome.as_bytes(), record.as_bytes()])
}

/// The check sum of a row of one of the tables of data, or of another with texts.
pub(super) fn data_sum(table: &str, id: i64, data: &[u8]) -> i64 {
    check_sum(&[table.as_bytes(), &id.to_le_bytes(), data])
}

impl Store {
    /// Rows of a query.
    fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let all =
            || -> rusqlite::Result<Vec<T>> { self.connection.prepare_cached(sql)?.query_map(params, read)?.collect() };
        all().map_err(|e| self.sql(&e))
    }

    fn row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let one = || self.connection.prepare_cached(sql)?.query_row(params, read).optional();
        one().map_err(|e| self.sql(&e))
    }

    /// That `n` rows are in `table`, as the study's row says in `column`; `found` were read.
    fn counted(&self, table: &str, column: &str, found: usize) -> Result<()> {
        let sql = format!("SELECT {column} FROM study WHERE id = 1");
        let there: Option<i64> = self.row(&sql, (), |row| row.get(0))?;
        // More may have been written while we read.
        match there {
            Some(n) if n >= found as i64 => {
                if n == found as i64 {
                    return Ok(());
                }
                let sql = format!("SELECT count(*) FROM {table}");
                let now: Option<i64> = self.row(&sql, (), |row| row.get(0))?;
                if now >= Some(n) { Ok(()) } else { Err(self.damaged(format_args!("rows of `{table}` are missing"))) }
            }
            _ => Err(self.damaged(format_args!("`{table}` has other rows than it should have"))),
        }
    }

    fn json<T: for<'de> Deserialize<'de>>(&self, what: &str, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|e| self.damaged(format_args!("{what}: {e}")))
    }

    /// The study, with the rounds that are planned now.
    ///
    /// # Errors
    /// [`Kind::Damaged`], or what the system refuses.
    pub fn study(&self) -> Result<StudyRecord> {
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let (text, rounds, sum) = self
            .row("SELECT record, rounds, sum FROM study WHERE id = 1", (), read)?
            .ok_or_else(|| self.damaged("it does not say which study it is"))?;
        if sum != schema::study_sum(&text, rounds) {
            return Err(self.damaged("the study's own row was changed"));
        }
        let format = self.row("PRAGMA user_version", (), |row| row.get(0))?.unwrap_or_default();
        let study: StudyRecord = self.json("the study's own row", &text)?;
        Ok(StudyRecord { rounds: rounds as usize, format, ..study })
    }

    /// Every arm, those that are in the study's file first, by position.
    ///
    /// # Errors
    /// As [`Store::study`].
    pub fn arms(&self) -> Result<Vec<ArmRecord>> {
        let record = |row: ArmRow| {
            let record: ArmRecord = self.json("an arm", &row.text)?;
            let ArmRow { key, name, position, active, .. } = row;
            Ok(ArmRecord { key, name, position, active, ..record })
        };
        self.arm_rows()?.into_iter().map(record).collect()
    }

    /// Every arm's row, the active ones first, by position.
    pub(super) fn arm_rows(&self) -> Result<Vec<ArmRow>> {
        let mut rows = self.arm_rows_where("", ())?;
        self.counted("arms", "arms_there", rows.len())?;
        rows.sort_by_key(|a| (!a.active, a.position, a.id));
        Ok(rows)
    }

    pub(super) fn arm_row(&self, key: &str) -> Result<Option<ArmRow>> {
        Ok(self.arm_rows_where("WHERE key = ?1", [key])?.pop())
    }

    fn arm_rows_where(&self, condition: &str, params: impl Params) -> Result<Vec<ArmRow>> {
        let read = |row: &Row<'_>| -> rusqlite::Result<(ArmRow, i64)> {
            let arm = ArmRow {
                id: row.get(0)?,
                key: row.get(1)?,
                name: row.get(2)?,
                position: row.get::<_, i64>(3)? as usize,
                active: row.get(4)?,
                text: row.get(5)?,
                trials: row.get(6)?,
            };
            Ok((arm, row.get(7)?))
        };
        let sql = format!("SELECT id, key, name, position, active, record, trials_there, sum FROM arms {condition}");
        let rows = self.rows(&sql, params, read)?;
        if let Some((bad, _)) = rows.iter().find(|(arm, sum)| arm.sum() != *sum || !(1..1 << 31).contains(&arm.id)) {
            return Err(self.damaged(format_args!("the row of arm {} was changed", bad.id)));
        }
        Ok(rows.into_iter().map(|(arm, _)| arm).collect())
    }

    /// The round of that number with its points and samples, if its data were written.
    ///
    /// # Errors
    /// As [`Store::study`].
    pub fn round(&self, round: usize) -> Result<Option<RoundRecord>> {
        let (sql, read) = ("SELECT round, record, sum FROM rounds WHERE round = ?1", row_of_text);
        self.row(sql, [round as i64], read)?.map(|row| self.whole_round(row)).transpose()
    }

    /// Every round with its points and samples, in order.
    ///
    /// # Errors
    /// As [`Store::study`].
    pub fn rounds(&self) -> Result<Vec<RoundRecord>> {
        let mut all = Vec::new();
        self.each_round(|round| {
            all.push(round);
            Ok::<_, Error>(())
        })?;
        Ok(all)
    }

    /// Gives every round to `see`, in order.
    ///
    /// # Errors
    /// As [`Store::study`], or the first of `see`.
    pub fn each_round<E: From<Error>>(&self, mut see: impl FnMut(RoundRecord) -> Result<(), E>) -> Result<(), E> {
        let (mut last, mut found) = (-1, 0);
        loop {
            let sql = "SELECT round, record, sum FROM rounds WHERE round > ?1 ORDER BY round LIMIT ?2";
            let rows = self.rows(sql, (last, CHUNK as i64), row_of_text)?;
            let Some((round, ..)) = rows.last() else { break };
            (last, found) = (*round, found + rows.len());
            for row in rows {
                see(self.whole_round(row)?)?;
            }
        }
        Ok(self.counted("rounds", "rounds_there", found)?)
    }

    fn whole_round(&self, (id, text, sum): (i64, String, i64)) -> Result<RoundRecord> {
        if data_sum("rounds", id, text.as_bytes()) != sum {
            return Err(self.damaged(format_args!("the row of round {id} was changed")));
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Stored {
            round: RoundRecord,
            parts: Vec<String>,
        }
        let Stored { mut round, parts } = self.json(&format!("round {id}"), &text)?;
        let has = |name: &str| parts.iter().any(|p| p == name);
        round.points = if has("points") { Some(self.data("points", "round", id, Points::decode)?) } else { None };
        round.samples = if has("samples") { Some(self.data("samples", "round", id, Samples::decode)?) } else { None };
        Ok(round)
    }

    /// A row of one of the tables of data, decoded.
    fn data<T>(&self, table: &str, column: &str, id: i64, decode: impl FnOnce(&[u8]) -> Read<T>) -> Result<T> {
        let sql = format!("SELECT data, sum FROM {table} WHERE {column} = ?1");
        // Decoded in place: a model file may be large.
        let decoded = self.row(&sql, [id], |row| {
            let bytes = row.get_ref(0)?.as_bytes()?;
            let sum: i64 = row.get(1)?;
            Ok(if data_sum(table, id, bytes) == sum { decode(bytes) } else { Err("it was changed".into()) })
        })?;
        let found = decoded.unwrap_or_else(|| Err("it is missing".into()));
        let (arm, round) = (id >> 32, id & 0xffff_ffff);
        found.map_err(|e| match column {
            "round" => self.damaged(format_args!("`{table}` of round {id}: {e}")),
            _ => self.damaged(format_args!("`{table}` of arm {arm} in round {round}: {e}")),
        })
    }

    /// The rounds in which an arm has a final result, in order. A trial that failed is not among them: it is to be run again.
    ///
    /// # Errors
    /// As [`Store::study`].
    pub fn finished(&self, key: &str) -> Result<Vec<usize>> {
        let mut rounds = Vec::new();
        self.each_summary(&Filter::arm(key), |trial| {
            if trial.outcome.is_final() {
                rounds.push(trial.round);
            }
            Ok::<_, Error>(())
        })?;
        Ok(rounds)
    }

    /// The trials of `filter` without what is long, by the arms' positions and by round.
    ///
    /// # Errors
    /// As [`Store::study`].
    pub fn trials(&self, filter: &Filter) -> Result<Vec<TrialSummary>> {
        let mut all = Vec::new();
        self.each_summary(filter, |trial| {
            all.push(trial);
            Ok::<_, Error>(())
        })?;
        Ok(all)
    }

    /// Gives the trials of `filter` to `see`, without what is long.
    ///
    /// # Errors
    /// As [`Store::study`], or the first of `see`.
    pub fn each_summary<E: From<Error>>(
        &self,
        filter: &Filter,
        mut see: impl FnMut(TrialSummary) -> Result<(), E>,
    ) -> Result<(), E> {
        self.scan(filter, |_, summary, _| see(summary))
    }

    /// Gives the trials of `filter` to `see`, with those of the long `parts` that they have; the others are left empty.
    ///
    /// # Errors
    /// As [`Store::study`], or the first of `see`.
    pub fn each_trial<E: From<Error>>(
        &self,
        filter: &Filter,
        parts: Parts,
        mut see: impl FnMut(TrialRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        self.scan(filter, |id, summary, there| see(self.with_parts(id, summary, &there, parts)?))
    }

    /// A trial with everything.
    ///
    /// # Errors
    /// As [`Store::study`].
    pub fn trial(&self, key: &str, round: usize) -> Result<Option<TrialRecord>> {
        let Some(arm) = self.arm_row(key)? else { return Ok(None) };
        let found = self.trial_of(&arm, round)?;
        if found.is_none() {
            // It was never there, or the way to it is damaged.
            let sql = "SELECT count(*) FROM trials WHERE id BETWEEN ?1 AND ?2";
            let ids = (arm.trial(0), arm.trial(u32::MAX as usize));
            self.all_there(&arm, self.row(sql, ids, |row| row.get(0))?.unwrap_or(0))?;
        }
        Ok(found)
    }

    pub(super) fn trial_of(&self, arm: &ArmRow, round: usize) -> Result<Option<TrialRecord>> {
        let mut found = None;
        self.scan_arm(arm, round, round, &mut |id, summary, parts| {
            found = Some(self.with_parts(id, summary, &parts, Parts::ALL)?);
            Ok::<_, Error>(())
        })?;
        Ok(found)
    }

    fn all_there(&self, arm: &ArmRow, found: i64) -> Result<()> {
        if found < arm.trials {
            return Err(self.damaged(format_args!("{found} of {} trials of arm `{}` are left", arm.trials, arm.name)));
        }
        Ok(())
    }

    fn scan<E: From<Error>>(
        &self,
        filter: &Filter,
        mut see: impl FnMut(i64, TrialSummary, Vec<String>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (first, last) = filter.rounds.as_ref().map_or((0, usize::MAX), |r| (*r.start(), *r.end()));
        for arm in self.arm_rows()?.iter().filter(|a| filter.takes(a)) {
            let found = self.scan_arm(arm, first, last, &mut see)?;
            if filter.rounds.is_none() {
                self.all_there(arm, found)?;
            }
        }
        Ok(())
    }

    /// Gives the trials of an arm in rounds `first` to `last` to `see`; how many there are.
    fn scan_arm<E: From<Error>>(
        &self,
        arm: &ArmRow,
        first: usize,
        last: usize,
        see: &mut impl FnMut(i64, TrialSummary, Vec<String>) -> Result<(), E>,
    ) -> Result<i64, E> {
        type Columns = (i64, i64, i64, String, String, i64);
        let read = |row: &Row<'_>| -> rusqlite::Result<Columns> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        };
        let most = u32::MAX as usize;
        let (mut next, end, mut found) = (arm.trial(first.min(most)), arm.trial(last.min(most)), 0);
        loop {
            let sql = "SELECT id, arm, round, outcome, record, sum FROM trials \
                       WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3";
            let rows: Vec<Columns> = self.rows(sql, (next, end, CHUNK as i64), read)?;
            let Some((last, ..)) = rows.last() else { return Ok(found) };
            let done = rows.len() < CHUNK || *last < next;
            (next, found) = (last + 1, found + rows.len() as i64);
            for (id, arm_id, round, outcome, text, sum) in rows {
                if trial_sum(id, &arm.key, &outcome, &text) != sum
                    || (arm_id, arm.trial(round as usize)) != (arm.id, id)
                {
                    let what = format_args!("the row of arm `{}` in round {round} was changed", arm.name);
                    return Err(self.damaged(what).into());
                }
                let (summary, parts) = self.summary(arm, round as usize, &outcome, &text)?;
                see(id, summary, parts)?;
            }
            if done {
                return Ok(found);
            }
        }
    }

    fn summary(&self, arm: &ArmRow, round: usize, outcome: &str, text: &str) -> Result<(TrialSummary, Vec<String>)> {
        let body: Body = self.json(&format!("arm `{}` in round {round}", arm.name), text)?;
        if body.ended.name() != outcome {
            return Err(self.damaged(format_args!("arm `{}` in round {round} ended in two ways", arm.name)));
        }
        let summary = TrialSummary {
            key: arm.key.clone(),
            arm: arm.name.clone(),
            round,
            outcome: body.ended,
            metrics: body.metrics,
            best: body.best,
            stopped: body.stopped,
            warnings: body.warnings,
            seconds: body.seconds,
            parameters_hash: body.parameters_hash,
            threads: body.threads,
            parallel: body.parallel,
            order: body.order,
        };
        Ok((summary, body.parts))
    }

    fn with_parts(&self, id: i64, summary: TrialSummary, there: &[String], parts: Parts) -> Result<TrialRecord> {
        let mut trial = TrialRecord::of(summary);
        let has = |wanted: bool, table: &str| wanted && there.iter().any(|t| t == table);
        if has(parts.epochs, "epochs") {
            let text = |b: &[u8]| epoch::decode(std::str::from_utf8(b).map_err(|e| e.to_string())?);
            trial.epochs = self.data("epochs", "trial", id, text)?;
        }
        if has(parts.steps, "steps") {
            trial.steps = Some(self.data("steps", "trial", id, Steps::decode)?);
        }
        if has(parts.predictions, "predictions") {
            trial.predictions = Some(self.data("predictions", "trial", id, Predictions::decode)?);
        }
        if has(parts.grid, "grids") {
            trial.grid = Some(self.data("grids", "trial", id, Grid::decode)?);
        }
        if has(parts.weights, "weights") {
            trial.weights = Some(self.data("weights", "trial", id, |b| Ok(b.to_vec()))?);
        }
        Ok(trial)
    }

    /// Every candidate's trial of a tuning round, by key and round.
    ///
    /// # Errors
    /// As [`Store::study`].
    pub fn tuning(&self) -> Result<Vec<TuningTrial>> {
        let rows = self.tuning_where("", ())?;
        self.counted("tuning", "tuning_there", rows.len())?;
        let mut all: Vec<TuningTrial> = rows.into_iter().map(|(_, t)| t).collect();
        all.sort_by(|a, b| (&a.key, a.round).cmp(&(&b.key, b.round)));
        Ok(all)
    }

    /// One of them, with the id of its row.
    pub(super) fn tuning_of(&self, key: &str, round: usize) -> Result<Option<(i64, TuningTrial)>> {
        Ok(self.tuning_where("WHERE key = ?1 AND round = ?2", (key, round as i64))?.pop())
    }

    fn tuning_where(&self, condition: &str, params: impl Params) -> Result<Vec<(i64, TuningTrial)>> {
        type Columns = (i64, String, i64, String, i64);
        let read = |row: &Row<'_>| -> rusqlite::Result<Columns> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        };
        let rows = self.rows(&format!("SELECT id, key, round, record, sum FROM tuning {condition}"), params, read)?;
        let whole = |(id, key, round, text, sum): Columns| {
            let changed = || self.damaged(format_args!("row {id} of the tuning rounds was changed"));
            if tuning_sum(id, &key, round, &text) != sum {
                return Err(changed());
            }
            let trial: TuningTrial = self.json("a tuning round", &text)?;
            if (trial.key.as_str(), trial.round as i64) == (key.as_str(), round) {
                Ok((id, trial))
            } else {
                Err(changed())
            }
        };
        rows.into_iter().map(whole).collect()
    }

    /// The study's log.
    ///
    /// # Errors
    /// As [`Store::study`].
    pub fn events(&self) -> Result<Vec<Event>> {
        let read = |row: &Row<'_>| -> rusqlite::Result<(i64, String, String, i64)> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        };
        let rows = self.rows("SELECT id, at, text, sum FROM events ORDER BY id", (), read)?;
        self.counted("events", "events_there", rows.len())?;
        let mut events = Vec::new();
        for (id, at, text, sum) in rows {
            if event_sum(id, &at, &text) != sum {
                return Err(self.damaged(format_args!("line {id} of the log was changed")));
            }
            events.push(Event { at, text });
        }
        Ok(events)
    }

    /// Reads everything and lets SQLite check its pages: whether the file is whole.
    ///
    /// # Errors
    /// [`Kind::Damaged`] with the first thing that is wrong.
    pub fn check(&self) -> Result<()> {
        if let Some(what) = schema::integrity(&self.connection).map_err(|e| self.sql(&e))? {
            return Err(self.damaged(what));
        }
        self.study()?;
        self.events()?;
        self.tuning()?;
        self.each_round(|_| Ok::<_, Error>(()))?;
        self.each_trial(&Filter { removed: true, ..Filter::default() }, Parts::ALL, |_| Ok(()))
    }

    /// An error of `kind` about this file.
    pub(super) fn refuse(&self, kind: Kind, what: impl std::fmt::Display) -> Error {
        Error::at(kind, &self.path, what)
    }
}

pub(super) fn event_sum(id: i64, at: &str, text: &str) -> i64 {
    check_sum(&[b"events", &id.to_le_bytes(), at.as_bytes(), text.as_bytes()])
}

pub(super) fn tuning_sum(id: i64, key: &str, round: i64, text: &str) -> i64 {
    check_sum(&[b"tuning", &id.to_le_bytes(), key.as_bytes(), &round.to_le_bytes(), text.as_bytes()])
}

fn row_of_text(row: &Row<'_>) -> rusqlite::Result<(i64, String, i64)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}
