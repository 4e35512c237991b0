//! Joining the files of several machines that ran parts of one study.

use super::Store;
use super::read::{ArmRow, Filter, Parts};
use super::write::{Stop, put_arm_row, put_event, put_round, put_trial, put_tuning, set_study_row};
use crate::error::{Kind, Result};
use crate::store::schema;

/// What a merge brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Arms that were not there.
    pub arms: usize,
    /// Rounds whose data were not there.
    pub rounds: usize,
    /// Trials that were not there, or had failed here.
    pub trials: usize,
    /// Trials that both have, with the same result.
    pub same: usize,
    /// Trials of tuning rounds that were not there.
    pub tuning: usize,
}

impl Store {
    /// Adds what `other` has and this one has not, all of it or nothing. Arms are the same when their keys are.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when they are two studies (another seed, another comparison, other random numbers), when two active arms
    /// of one name differ, when a round has other data, or naming the first trial that both have with different results.
    pub fn merge(&mut self, other: &Store) -> Result<Merged> {
        let (ours, theirs) = (self.study()?, other.study()?);
        let refuse = |what: String| {
            Err(self.refuse(Kind::Conflict, format_args!("cannot be merged with {}: {what}", other.path.display())))
        };
        if ours.seed != theirs.seed {
            return refuse(format!("the seeds are {} and {}", ours.seed, theirs.seed));
        }
        if ours.versions.rng != theirs.versions.rng {
            return refuse(format!("the random numbers are {} and {}", ours.versions.rng, theirs.versions.rng));
        }
        if ours.compare != theirs.compare {
            return refuse(format!("they compare {:?} and {:?}", ours.compare, theirs.compare));
        }
        if self.dir.canonicalize().ok() == other.dir.canonicalize().ok() {
            return refuse("they are one file".into());
        }
        let (arms, theirs_arms) = (self.arm_rows()?, other.arm_rows()?);
        let mut merged = Merged::default();
        let mut next = arms.iter().map(|a| a.id).max().unwrap_or(0) + 1;
        let mut position = arms.iter().filter(|a| a.active).map(|a| a.position + 1).max().unwrap_or(0);
        // Their arms as they are, or are to be, here.
        let mut here: Vec<ArmRow> = Vec::new();
        for arm in theirs_arms {
            if let Some(row) = arms.iter().find(|a| a.key == arm.key) {
                here.push(row.clone());
                continue;
            }
            if arm.active && arms.iter().any(|a| a.active && a.name == arm.name) {
                return refuse(format!("arm `{}` is not the same in both", arm.name));
            }
            here.push(ArmRow { id: next, position, trials: 0, ..arm });
            (next, position, merged.arms) = (next + 1, position + 1, merged.arms + 1);
        }
        self.write(|t| {
            for arm in here.iter().filter(|a| !arms.iter().any(|b| b.id == a.id)) {
                put_arm_row(t, arm)?;
            }
            t.execute("UPDATE study SET arms_there = ?1", [next - 1])?;
            other.each_round(|round| {
                if !self.has_round(&round)? {
                    put_round(t, &round)?;
                    merged.rounds += 1;
                }
                Ok::<_, Stop>(())
            })?;
            other.each_trial(&Filter { removed: true, ..Filter::default() }, Parts::ALL, |mut trial| {
                let Some(arm) = here.iter().find(|a| a.key == trial.key) else {
                    // It was added while we read.
                    return Ok::<_, Stop>(());
                };
                trial.arm.clone_from(&arm.name);
                let there = self.trial_of(arm, trial.round)?;
                if self.wants(there.as_ref(), &trial)? {
                    put_trial(t, arm, &trial, there.is_some())?;
                    merged.trials += 1;
                } else {
                    merged.same += 1;
                }
                Ok(())
            })?;
            for trial in other.tuning()? {
                let there = self.tuning_of(&trial.key, trial.round)?;
                if self.wants_tuning(there.as_ref().map(|(_, t)| t), &trial)? {
                    put_tuning(t, &trial, there.map(|(id, _)| id))?;
                    merged.tuning += 1;
                }
            }
            let rounds = ours.rounds.max(theirs.rounds) as i64;
            set_study_row(t, &schema::record_text(&ours), rounds)?;
            put_event(t, &format!("merged {} trials of {}", merged.trials, other.path.display()))?;
            Ok(())
        })?;
        Ok(merged)
    }
}
