//! `gradus study`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use gradus::error::{Error, Kind};
use gradus::rng::Seed;
use gradus_record::{ArmRecord, Outcome as Ending, Store, TrialRecord};
use gradus_report::{json, latex, markdown, text};
use gradus_study::run::{self, Event, Task};
use gradus_study::{Overrides, Record, Study as Settings};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::{Failure, Outcome, wrong};
use crate::interrupt::Interrupt;
use crate::print::{self, Align, count, many, number, quoted};
use crate::progress::People;
use crate::warnings;

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
  gradus study compare runs/pairs net1 net2      exits 1 when net2 is worse
  gradus study replay runs/pairs net2 3          trains one trial again and checks its bits")]
pub struct Study {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    Run(Run),
    Status(Status),
    Compare(Compare),
    Show(Show),
    Replay(Replay),
    Export(Export),
}

/// Run what is missing of a study, and print its verdicts
#[derive(Args, Debug)]
struct Run {
    /// A built-in study by name, or a study file
    #[arg(value_name = "NAME|FILE")]
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
    /// Trials that run at a time; all cores when left out
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Write the trained weights down too
    #[arg(long)]
    weights: bool,
    /// Print one JSON document; what is for people goes to standard error
    #[arg(long)]
    json: bool,
    /// Print the verdicts alone
    #[arg(long, short)]
    quiet: bool,
}

/// Print what a study's records say so far
#[derive(Args, Debug)]
struct Status {
    /// The folder of its records
    #[arg(value_name = "DIR")]
    out: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Print Markdown, with every table and the protocol
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print LaTeX, with booktabs tables and the protocol
    #[arg(long, conflicts_with_all = ["json", "markdown"])]
    latex: bool,
}

/// Compare two arms; exits 1 when B is worse than A
#[derive(Args, Debug)]
struct Compare {
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
struct Show {
    #[command(flatten)]
    trial: Trial,
}

/// Train one trial again, alone, and check that it gives the same bits; exits 1 when it does not
#[derive(Args, Debug)]
struct Replay {
    #[command(flatten)]
    trial: Trial,
}

/// Print all trials with their metrics, as a CSV table or as JSON
#[derive(Args, Debug)]
struct Export {
    /// The folder of the study's records
    #[arg(value_name = "DIR")]
    out: PathBuf,
    /// JSON instead of CSV
    #[arg(long)]
    json: bool,
}

impl Study {
    /// Does it.
    pub fn run(&self) -> Outcome {
        match &self.command {
            Sub::Run(c) => c.run(),
            Sub::Status(c) => c.run(),
            Sub::Compare(c) => c.run(),
            Sub::Show(c) => c.run(),
            Sub::Replay(c) => c.run(),
            Sub::Export(c) => c.run(),
        }
    }
}

impl Run {
    fn run(&self) -> Outcome {
        let study = self.settings()?;
        let name = run::name(&study);
        let out = self.out.clone().unwrap_or_else(|| Path::new("runs").join(&name));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let options = run::Options {
            out: out.clone(),
            threads: self.threads.unwrap_or(cores),
            arms: self.arm.clone(),
            weights: self.weights,
        };
        let again = self.again(&out);
        let interrupt = Interrupt::listen({
            let again = again.clone();
            move || print::to_people(&again)
        })?;
        let people = People::new(self.json, self.quiet);
        let mut grid = Grid::new(people, &study);
        let mut unread = Ok(());
        let ended = run::run(&study, &options, interrupt.flag(), |event| {
            if unread.is_ok() {
                unread = grid.see(&event, &out);
            }
        });
        grid.end();
        unread?;
        let ended = ended?;
        if ended.interrupted && interrupt.asked() {
            print::to_people(&again);
            return Err(Failure::Interrupted);
        }
        let summary = gradus_report::summary(&Store::open_read(&out).map_err(stored)?).map_err(reported)?;
        if self.json {
            print::json(&json::document(&summary, &out, None))?;
        } else {
            print::text(&text::summary(&summary, print::width()))?;
            if !self.quiet {
                print::text(&format!("records in {}\n", out.join(gradus_record::FILE).display()))?;
            }
        }
        if ended.failed > 0 {
            let message = format!("{} did not come to an end", many(ended.failed, "trial"));
            return Err(Error::new(Kind::Diverged, message).into());
        }
        Ok(())
    }

    fn settings(&self) -> Outcome<Settings> {
        let overrides = Overrides::parse(self.set.iter().map(String::as_str))?;
        let mut study = gradus_study::open(&self.study, &overrides)?;
        if let Some(rounds) = self.rounds {
            study.rounds = rounds as usize;
        }
        if let Some(seed) = self.seed {
            study.seed = Seed(seed);
        }
        for arm in &self.arm {
            study.arm(Some(arm))?;
        }
        Ok(study)
    }

    /// What to say to someone who stops it.
    fn again(&self, out: &Path) -> String {
        let mut command =
            format!("gradus study run {} --out {}", quoted(&self.study), quoted(&out.display().to_string()));
        self.rounds.iter().for_each(|n| command += &format!(" --rounds {n}"));
        self.seed.iter().for_each(|n| command += &format!(" --seed {n}"));
        self.arm.iter().for_each(|a| command += &format!(" --arm {}", quoted(a)));
        self.set.iter().for_each(|s| command += &format!(" --set {}", quoted(s)));
        format!("interrupted; every finished trial is kept. Go on with\n  {command}\n")
    }
}

/// How far a study has come, arm by arm.
struct Grid {
    people: People,
    bar: Option<ProgressBar>,
    metric: String,
    arms: Vec<(String, Vec<f64>)>,
    started: Instant,
    before: usize,
    last: Option<Instant>,
}

impl Grid {
    fn new(people: People, study: &Settings) -> Grid {
        Grid {
            people,
            bar: None,
            metric: study.compare.metric.clone(),
            arms: study.arms.keys().map(|a| (a.clone(), Vec::new())).collect(),
            started: Instant::now(),
            before: 0,
            last: None,
        }
    }

    fn see(&mut self, event: &Event<'_>, out: &Path) -> Outcome {
        match event {
            Event::Begin { arms, tuning, trials, expected } => {
                let (done, total) = (&trials.done, &trials.total);
                let rows: Vec<Vec<String>> = arms
                    .iter()
                    .map(|a| {
                        let flops = print::operations(a.flops_training);
                        vec![
                            a.name.clone(),
                            format!("{} parameters", count(a.parameters)),
                            format!("{flops} operations a sample"),
                        ]
                    })
                    .collect();
                let missing = many(total - done, "trial");
                self.people.say(&print::indented(&print::table(&[Align::Left, Align::Right, Align::Right], &rows)))?;
                let tuning = match tuning.total - tuning.done {
                    0 => String::new(),
                    n => format!("{} of tuning rounds and ", many(n, "trial")),
                };
                let about = match done < total || !tuning.is_empty() {
                    true => {
                        format!(", about {} and {} kB", print::seconds(expected.seconds), expected.bytes.div_ceil(1000))
                    }
                    false => String::new(),
                };
                self.people.say(&format!(
                    "{tuning}{missing} to run{about}, {} there already, in {}\n",
                    count(*done),
                    out.display()
                ))?;
                self.before = *done;
                if self.people != People::Nowhere && std::io::stderr().is_terminal() && done < total {
                    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} trials  {wide_msg}");
                    let bar = ProgressBar::with_draw_target(Some(*total as u64), ProgressDrawTarget::stderr())
                        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                        .with_position(*done as u64);
                    warnings::set_bar(Some(bar.clone()));
                    self.bar = Some(bar);
                }
                Ok(())
            }
            Event::Tuning { .. } => Ok(()),
            Event::Tuned { arm } => {
                let Some(tuned) = &arm.tuned else { return Ok(()) };
                let values = &tuned.candidates[tuned.chosen].values;
                let values: Vec<String> = values.iter().map(|(k, v)| format!("{k} = {v}")).collect();
                self.people.say(&format!("{}: tuned to {}\n", arm.name, values.join(", ")))?;
                if !tuned.edges.is_empty() {
                    let edges = tuned.edges.join(", ");
                    warnings::warn(&format!("{}: {edges} at the edge of what was offered: offer more", arm.name));
                }
                Ok(())
            }
            Event::Trial { trial, trials } => self.trial(trial, trials.done, trials.total),
        }
    }

    fn trial(&mut self, trial: &TrialRecord, done: usize, total: usize) -> Outcome {
        if let Ending::Diverged { cause, .. } = &trial.outcome {
            warnings::warn(&format!("{}, round {}: {cause}", trial.arm, trial.round));
        }
        if let (Some(value), Some(arm)) =
            (trial.metrics.get(&self.metric), self.arms.iter_mut().find(|(a, _)| *a == trial.arm))
        {
            arm.1.push(*value);
        }
        let rate = self.started.elapsed().as_secs_f64() / (done - self.before).max(1) as f64;
        let left = print::seconds(rate * (total - done) as f64);
        let means: Vec<String> = self
            .arms
            .iter()
            .filter(|(_, v)| !v.is_empty())
            .map(|(name, v)| format!("{name} {}", number(v.iter().sum::<f64>() / v.len() as f64)))
            .collect();
        let line = format!("{}: {}", self.metric, means.join(", "));
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            bar.set_message(format!("{left} left  {line}"));
            return Ok(());
        }
        // A line every five seconds is enough for a log.
        if done < total && self.last.is_some_and(|t| t.elapsed() < Duration::from_secs(5)) {
            return Ok(());
        }
        self.last = Some(Instant::now());
        self.people.say(&format!("{done}/{total} trials  {line}  {left} left\n"))
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            warnings::set_bar(None);
        }
    }
}

impl Status {
    fn run(&self) -> Outcome {
        let summary = gradus_report::summary(&Store::open_read(&self.out).map_err(stored)?).map_err(reported)?;
        if self.json {
            print::json(&json::document(&summary, &self.out, None))
        } else if self.markdown {
            print::text(&markdown::summary(&summary))
        } else if self.latex {
            print::text(&latex::summary(&summary))
        } else {
            print::text(&text::summary(&summary, print::width()))
        }
    }
}

impl Compare {
    fn run(&self) -> Outcome {
        let store = Store::open_read(&self.out).map_err(stored)?;
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
        let store = Store::open_read(&self.out).map_err(stored)?;
        let arm = arm(&store, &self.arm)?;
        match store.trial(&arm.key, self.round).map_err(stored)? {
            Some(trial) => Ok((store, trial)),
            None => wrong(format!("arm `{}` has no round {} yet", self.arm, self.round)),
        }
    }
}

impl Show {
    fn run(&self) -> Outcome {
        print::json(&self.trial.open()?.1)
    }
}

impl Replay {
    fn run(&self) -> Outcome {
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
    fn run(&self) -> Outcome {
        let store = Store::open_read(&self.out).map_err(stored)?;
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
        // Arm names and metric names hold no commas or quotes.
        let mut text = String::from("arm,round,outcome,train seconds,evaluate seconds");
        names.iter().for_each(|n| text += &format!(",{n}"));
        text.push('\n');
        for t in &trials {
            text += &format!("{},{},{},{},{}", t.arm, t.round, t.outcome.name(), t.seconds.train, t.seconds.evaluate);
            for name in &names {
                text += &t.metrics.get(*name).map_or(",".to_string(), |v| format!(",{v}"));
            }
            text.push('\n');
        }
        print::text(&text)
    }
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
