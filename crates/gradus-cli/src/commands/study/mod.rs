//! `gradus study`.

use std::path::Path;

use clap::{Args, Subcommand};
use gradus::error::{Error, Kind};
use gradus_record::{ArmRecord, Store};

use crate::failure::{Failure, Outcome, wrong};

mod grid;
mod records;
mod report;
mod run;

/// Run all arms of a study over many paired rounds, and say which is better
///
/// In a round all arms see the same data, start from the same weights where these have the same name and shape, and take the
/// samples in the same order. Every finished trial is written to one file, study.sqlite in --out, at once: the same command
/// goes on where it stopped, runs only what is new or changed, and gives the same bits with any number of threads.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  gradus study run pairs
  gradus study run mine.toml --rounds 30 --threads 2
  gradus study status runs/pairs
  gradus study report runs/pairs --figures figures
  gradus study add-rounds runs/pairs 10
  gradus study compare runs/pairs net1 net2      exits 1 when net2 is worse
  gradus study replay runs/pairs net2 3          trains one trial again and checks its bits")]
pub struct Study {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    Run(run::Run),
    AddRounds(run::AddRounds),
    Status(records::Status),
    Report(report::Report),
    Compare(records::Compare),
    Show(records::Show),
    Replay(records::Replay),
    Export(records::Export),
    Merge(records::Merge),
}

impl Study {
    /// Does it.
    pub fn run(&self) -> Outcome {
        match &self.command {
            Sub::Run(c) => c.run(),
            Sub::AddRounds(c) => c.run(),
            Sub::Status(c) => c.run(),
            Sub::Report(c) => c.run(),
            Sub::Compare(c) => c.run(),
            Sub::Show(c) => c.run(),
            Sub::Replay(c) => c.run(),
            Sub::Export(c) => c.run(),
            Sub::Merge(c) => c.run(),
        }
    }
}

/// The records in a folder, to be read.
fn open(dir: &Path) -> Outcome<Store> {
    Store::open_read(dir).map_err(stored)
}

/// The arm of that name.
fn arm(store: &Store, name: &str) -> Outcome<ArmRecord> {
    let mut arms = store.arms().map_err(stored)?;
    arms.retain(|a| a.active);
    match arms.iter().position(|a| a.name == name) {
        Some(i) => Ok(arms.swap_remove(i)),
        None => {
            let known: Vec<&str> = arms.iter().map(|a| a.name.as_str()).collect();
            wrong(format!("there is no arm `{name}`{}", gradus::spec::suggest(name, &known)))
        }
    }
}

fn reported(e: gradus_report::Error) -> Failure {
    let kind = if e.kind() == gradus_report::Kind::Records { Kind::Io } else { Kind::Data };
    Error::new(kind, e).into()
}

fn stored(e: gradus_record::Error) -> Failure {
    Error::new(Kind::Io, e).into()
}
