//! What reads the records of a study, or joins them: `status`, `compare`, `show`, `replay`, `export`, `merge`.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use clap::Args;
use gradus::error::{Error, Kind};
use gradus::rng::Seed;
use gradus_record::{Store, TrialRecord};
use gradus_report::{json, text};
use gradus_study::Record;
use gradus_study::run::{self, Task};

use super::{arm, open, reported, stored};
use crate::failure::{Failure, Outcome, wrong};
use crate::print::{self, many};

/// Print what a study's records say so far, and whether it runs
#[derive(Args, Debug)]
pub struct Status {
    /// The folder of its records
    #[arg(value_name = "DIR")]
    out: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Compare two arms; exits 1 when B is worse than A
#[derive(Args, Debug)]
pub struct Compare {
    /// The folder of the study's records
    #[arg(value_name = "DIR")]
    out: PathBuf,
    /// The arm that is compared with
    a: String,
    /// The arm that is compared
    b: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A trial, by its arm and round
#[derive(Args, Debug)]
struct Trial {
    /// The folder of the study's records
    #[arg(value_name = "DIR")]
    out: PathBuf,
    /// The arm
    arm: String,
    /// The round, from 0 on
    round: usize,
}

/// Print everything that is known of a trial, as JSON
#[derive(Args, Debug)]
pub struct Show {
    #[command(flatten)]
    trial: Trial,
}

/// Train one trial again, alone, and check that it gives the same bits; exits 1 when it does not
#[derive(Args, Debug)]
pub struct Replay {
    #[command(flatten)]
    trial: Trial,
}

/// Print all trials with their metrics, as a CSV table or as JSON
#[derive(Args, Debug)]
pub struct Export {
    /// The folder of the study's records
    #[arg(value_name = "DIR")]
    out: PathBuf,
    /// CSV: what it is when nothing is said
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// JSON instead
    #[arg(long)]
    json: bool,
}

/// Join the records of one study from several machines
///
/// Adds to DIR, one after the other, what the others have and it has not: all that one of them has or, where it disagrees with
/// DIR, nothing of it. A folder that holds no study yet gets everything.
#[derive(Args, Debug)]
pub struct Merge {
    /// The folder that is added to
    #[arg(value_name = "DIR")]
    out: PathBuf,
    /// The folders of the others
    #[arg(value_name = "OTHER", required = true)]
    others: Vec<PathBuf>,
}

impl Status {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let summary = gradus_report::summary(&open(&self.out)?).map_err(reported)?;
        if self.json {
            let report = self.out.join(super::report::FILE);
            return print::json(&json::document(&summary, &self.out, report.exists().then_some(&report)));
        }
        print::text(&text::summary(&summary, print::width()))?;
        match Store::holder(&self.out).map_err(stored)? {
            Some(holder) => print::text(&format!(
                "it runs now, since {} on {} (process {}): {}\n",
                holder.since, holder.host, holder.pid, holder.command
            )),
            None => Ok(()),
        }
    }
}

impl Merge {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let others = self.others.iter().map(|dir| open(dir)).collect::<Outcome<Vec<_>>>()?;
        let mut store = if self.out.join(gradus_record::FILE).exists() {
            Store::open(&self.out).map_err(stored)?
        } else {
            Store::create(&self.out, &others[0].study().map_err(stored)?).map_err(stored)?
        };
        for (other, dir) in others.iter().zip(&self.others) {
            let merged = store.merge(other).map_err(stored)?;
            let (arms, trials) = (many(merged.arms, "arm"), many(merged.trials, "trial"));
            let same =
                if merged.same > 0 { format!(", {} both have", many(merged.same, "trial")) } else { String::new() };
            let tuning =
                if merged.tuning > 0 { format!(", {}", many(merged.tuning, "tuning trial")) } else { String::new() };
            print::text(&format!("{}: {arms} and {trials}{tuning} added{same}\n", dir.display()))?;
        }
        Ok(())
    }
}

impl Compare {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let store = open(&self.out)?;
        arm(&store, &self.a)?;
        arm(&store, &self.b)?;
        let comparison = gradus_report::compare(&store, &self.a, &self.b).map_err(reported)?;
        if self.json {
            print::json(&comparison)?;
        } else {
            print::text(&text::comparison(&comparison))?;
        }
        if comparison.test.verdict == "worse" { Err(Failure::Check) } else { Ok(()) }
    }
}

impl Trial {
    fn open(&self) -> Outcome<(Store, TrialRecord)> {
        let store = open(&self.out)?;
        let arm = arm(&store, &self.arm)?;
        match store.trial(&arm.key, self.round).map_err(stored)? {
            Some(trial) => Ok((store, trial)),
            None => wrong(format!("arm `{}` has no round {} yet", self.arm, self.round)),
        }
    }
}

impl Show {
    /// Does it.
    pub fn run(&self) -> Outcome {
        print::json(&self.trial.open()?.1)
    }
}

impl Replay {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let (store, old) = self.trial.open()?;
        let study = store.study().map_err(stored)?;
        let arms = store.arms().map_err(stored)?;
        let arm = arms.iter().find(|a| a.key == old.key).map(|a| a.resolved.read()).transpose().map_err(stored)?;
        let Some(arm) = arm else { return wrong("the arm of the trial is not in the store") };
        // What the trial has is made again, to be compared.
        let record = Record {
            steps: old.steps.is_some(),
            weights: old.weights.is_some(),
            predictions: old.predictions.is_some(),
            grid: old.grid.is_some(),
            samples: false,
        };
        let task = Task { seed: Seed(study.seed), arm: &arm, key: &old.key, round: old.round, record };
        let Some(new) = run::trial(&task, &AtomicBool::new(false))? else { return Err(Failure::Interrupted) };
        match old.difference(&new) {
            None => print::text(&format!("{}, round {}: the same bits\n", old.arm, old.round)),
            Some(what) => {
                print::text(&format!("{}, round {}: not the same: {what}\n", old.arm, old.round))?;
                Err(Failure::Check)
            }
        }
    }
}

impl Export {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let store = open(&self.out)?;
        let trials = store.trials(&gradus_record::Filter::default()).map_err(stored)?;
        if self.json {
            return print::json(&trials);
        }
        let mut names: Vec<&String> = Vec::new();
        for name in trials.iter().flat_map(|t| t.metrics.keys()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let head = ["arm", "round", "outcome", "train seconds", "evaluate seconds"];
        let mut rows = csv::Writer::from_writer(Vec::new());
        let unwritten = |e: csv::Error| Error::new(Kind::Io, e);
        rows.write_record(head.into_iter().chain(names.iter().map(|n| n.as_str()))).map_err(unwritten)?;
        for t in &trials {
            let seconds = [t.seconds.train, t.seconds.evaluate].map(|s| s.to_string());
            let mut row = vec![t.arm.clone(), t.round.to_string(), t.outcome.name().to_string()];
            row.extend(seconds);
            row.extend(names.iter().map(|name| t.metrics.get(*name).map_or(String::new(), f64::to_string)));
            rows.write_record(&row).map_err(unwritten)?;
        }
        let bytes = rows.into_inner().map_err(|e| Error::new(Kind::Io, e))?;
        print::text(&String::from_utf8_lossy(&bytes))
    }
}
