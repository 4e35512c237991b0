//! What runs a study: `run`, `add-rounds`.

use std::path::{Path, PathBuf};

use clap::Args;
use gradus::error::{Error, Kind};
use gradus::rng::Seed;
use gradus_report::{json, text};
use gradus_study::run::{self, Options};
use gradus_study::{Overrides, Study};

use super::grid::Grid;
use super::{open, report, reported};
use crate::failure::{Failure, Outcome, wrong};
use crate::interrupt::Interrupt;
use crate::print::{self, many, quoted};
use crate::progress::People;

/// Run what is missing of a study, and print its verdicts
#[derive(Args, Debug)]
pub struct Run {
    /// A built-in study by name, a study file, or the folder of the records of one, which goes on
    #[arg(value_name = "NAME|FILE|DIR")]
    study: String,
    /// The folder of its records; runs/NAME when left out
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Rounds, instead of the study's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rounds: Option<u64>,
    /// Only this arm; may be given again
    #[arg(long)]
    arm: Vec<String>,
    /// Changes a key of the study: --set train.epochs=10
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    set: Vec<String>,
    /// The seed, instead of the study's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    how: How,
}

/// Extend a study by more rounds, from its records alone, and print its verdicts
#[derive(Args, Debug)]
pub struct AddRounds {
    /// The folder of its records
    #[arg(value_name = "DIR")]
    out: PathBuf,
    /// How many more
    #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rounds: u64,
    #[command(flatten)]
    how: How,
}

/// How trials are run and what is printed.
#[derive(Args, Clone, Debug)]
struct How {
    /// Trials that run at a time; all cores when left out
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Write the trained weights down too
    #[arg(long)]
    weights: bool,
    /// Write no page
    #[arg(long)]
    no_report: bool,
    /// Print one JSON document; what is for people goes to standard error
    #[arg(long)]
    json: bool,
    /// Print the verdicts alone
    #[arg(long, short)]
    quiet: bool,
}

impl Run {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let dir = Path::new(&self.study);
        let (study, out) = if dir.join(gradus_record::FILE).is_file() {
            if self.out.is_some() || !self.set.is_empty() || self.seed.is_some() {
                return wrong(format!(
                    "{} goes on as it was begun: --out, --set and --seed are for a new study",
                    self.study
                ));
            }
            (run::resume(dir)?, dir.to_path_buf())
        } else {
            let overrides = Overrides::parse(self.set.iter().map(String::as_str))?;
            let study = gradus_study::open(&self.study, &overrides)?;
            let out = self.out.clone().unwrap_or_else(|| Path::new("runs").join(run::name(&study)));
            (study, out)
        };
        let rounds = self.rounds.map_or(study.rounds, |n| n as usize);
        let study = Study { rounds, seed: self.seed.map_or(study.seed, Seed), ..study };
        for arm in &self.arm {
            study.arm(Some(arm))?;
        }
        self.how.run(&study, &out, &self.arm, self.again(&out))
    }

    /// The command that goes on.
    fn again(&self, out: &Path) -> String {
        let mut command = format!("gradus study run {}", quoted(&self.study));
        if Path::new(&self.study) != out {
            command += &format!(" --out {}", quoted(&out.display().to_string()));
        }
        self.rounds.iter().for_each(|n| command += &format!(" --rounds {n}"));
        self.seed.iter().for_each(|n| command += &format!(" --seed {n}"));
        self.arm.iter().for_each(|a| command += &format!(" --arm {}", quoted(a)));
        self.set.iter().for_each(|s| command += &format!(" --set {}", quoted(s)));
        command + &self.how.flags()
    }
}

impl AddRounds {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let study = run::add_rounds(&self.out, self.rounds as usize)?;
        // The rounds are planned now: to go on is to run what is missing.
        let again = format!("gradus study run {}{}", quoted(&self.out.display().to_string()), self.how.flags());
        self.how.run(&study, &self.out, &[], again)
    }
}

impl How {
    /// What matters to whoever goes on: all but what is printed.
    fn flags(&self) -> String {
        let threads = self.threads.map_or(String::new(), |n| format!(" --threads {n}"));
        let weights = if self.weights { " --weights" } else { "" };
        let no_report = if self.no_report { " --no-report" } else { "" };
        threads + weights + no_report
    }

    /// Runs what is missing of a study, and prints what follows. `again` is the command that goes on.
    fn run(&self, study: &Study, out: &Path, arms: &[String], again: String) -> Outcome {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.unwrap_or(cores);
        let options = Options { out: out.to_path_buf(), threads, arms: arms.to_vec(), weights: self.weights };
        let again = format!("interrupted; every finished trial is kept. Go on with\n  {again}\n");
        let interrupt = Interrupt::listen({
            let again = again.clone();
            move || print::to_people(&again)
        })?;
        let people = People::new(self.json, self.quiet);
        let mut grid = Grid::new(people, study, &options);
        let mut unread = Ok(());
        let ended = run::run(study, &options, interrupt.flag(), |event| {
            if unread.is_ok() {
                unread = grid.see(&event);
            }
        });
        grid.end()?;
        unread?;
        let ended = ended?;
        if ended.interrupted && interrupt.asked() {
            print::to_people(&again);
            return Err(Failure::Interrupted);
        }
        let store = open(out)?;
        let summary = gradus_report::summary(&store).map_err(reported)?;
        let page = out.join(report::FILE);
        let written = if self.no_report { Ok(()) } else { report::write(&store, &summary, &page) };
        let page = (!self.no_report && written.is_ok()).then_some(page);
        if self.json {
            print::json(&json::document(&summary, out, page.as_deref()))?;
        } else {
            print::text(&text::summary(&summary, print::width()))?;
            if !self.quiet {
                let records = out.join(gradus_record::FILE);
                let page = page.map_or(String::new(), |page| format!("report in {}\n", page.display()));
                print::text(&format!("{page}records in {}\n", records.display()))?;
            }
        }
        written?;
        if ended.failed > 0 {
            let message = format!("{} did not come to an end", many(ended.failed, "trial"));
            return Err(Error::new(Kind::Diverged, message).into());
        }
        Ok(())
    }
}
