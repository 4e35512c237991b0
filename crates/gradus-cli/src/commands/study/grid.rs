//! How far a study is: arms × rounds on a terminal, some lines elsewhere.

use std::collections::{HashMap, HashSet};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use gradus_record::{ArmRecord, Filter, Outcome as Ending, Store, TrialRecord};
use gradus_report::Spread;
use gradus_study::Study;
use gradus_study::run::{Count, Event, Expected, Options};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{reported, stored};
use crate::failure::Outcome;
use crate::print::{self, Align, many};
use crate::progress::People;
use crate::warnings;

/// A line for a log, at most so often.
const EVERY: Duration = Duration::from_secs(5);
/// Cells of an arm; where there are more rounds, each stands for several.
const CELLS: usize = 30;

/// How far a study is.
pub struct Grid<'a> {
    people: People,
    options: &'a Options,
    bar: Option<ProgressBar>,
    metric: String,
    larger_is_better: bool,
    rounds: usize,
    arms: Vec<Arm>,
    trials: Count,
    tuning: Count,
    expected: Expected,
    /// Trials that were missing when it began, tuning rounds' among them.
    missing: usize,
    last: Option<Instant>,
    /// Arms and what they have been warned of.
    warned: HashSet<(String, String)>,
}

/// An arm so far.
struct Arm {
    name: String,
    /// Of every round: whether it came to its end.
    ended: HashMap<usize, bool>,
    values: Vec<f64>,
    /// Seconds of its trials of this run.
    seconds: Vec<f64>,
}

impl<'a> Grid<'a> {
    /// Of a study that is run so. It says what trainings warn of, and which one it was.
    pub fn new(people: People, study: &Study, options: &'a Options) -> Grid<'a> {
        warnings::silence();
        Grid {
            people,
            options,
            bar: None,
            metric: study.compare.metric.clone(),
            larger_is_better: true,
            rounds: study.rounds,
            arms: Vec::new(),
            trials: Count::default(),
            tuning: Count::default(),
            expected: Expected::default(),
            missing: 0,
            last: None,
            warned: HashSet::new(),
        }
    }

    /// Shows what has happened.
    pub fn see(&mut self, event: &Event<'_>) -> Outcome {
        match event {
            Event::Begin { arms, tuning, trials, expected } => {
                (self.trials, self.tuning, self.expected) = (*trials, *tuning, *expected);
                self.missing = trials.total - trials.done + tuning.total - tuning.done;
                self.begin(arms)
            }
            Event::Tuning { tuning, .. } => {
                self.tuning = *tuning;
                self.show()
            }
            Event::Tuned { arm } => self.tuned(arm),
            Event::Trial { trial, trials } => {
                self.trials = *trials;
                self.trial(trial);
                self.show()
            }
        }
    }

    fn begin(&mut self, arms: &[ArmRecord]) -> Outcome {
        // Arms that are not run now are not waited for.
        let wanted = |a: &&ArmRecord| self.options.arms.is_empty() || self.options.arms.contains(&a.name);
        let arms: Vec<&ArmRecord> = arms.iter().filter(wanted).collect();
        let arm = |a: &&ArmRecord| Arm {
            name: a.name.clone(),
            ended: HashMap::new(),
            values: Vec::new(),
            seconds: Vec::new(),
        };
        self.arms = arms.iter().map(arm).collect();
        self.read(&arms)?;
        let row = |a: &&ArmRecord| {
            vec![
                a.name.clone(),
                many(a.parameters as usize, "parameter"),
                format!("{} operations a training sample", print::operations(a.flops_training)),
            ]
        };
        let rows: Vec<Vec<String>> = arms.iter().map(row).collect();
        self.people.say(&print::indented(&print::table(&[Align::Left, Align::Right, Align::Right], &rows)))?;
        let left = |count: Count, what: &str| match count.total - count.done {
            0 if count.total == 0 => None,
            n => Some(many(n, what)),
        };
        let tuning = left(self.tuning, "tuning trial").map_or(String::new(), |t| format!("{t} and "));
        let trials = many(self.trials.total - self.trials.done, "trial");
        let mut line = format!("{tuning}{trials} to run");
        if self.trials.done > 0 {
            line += &format!(", {} there already", print::count(self.trials.done));
        }
        if self.missing > 0 {
            let threads = many(self.options.threads.min(self.missing), "thread");
            let (time, size) = (print::seconds(self.expected.seconds), print::bytes(self.expected.bytes));
            line += &format!("; expected: {time} on {threads}, {size} in {}", self.options.out.display());
        }
        self.people.say(&format!("{line}\n"))?;
        if self.people != People::Nowhere && std::io::stderr().is_terminal() && self.missing > 0 {
            let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
            warnings::set_bar(Some(bar.clone()));
            self.bar = Some(bar);
            self.show()?;
        }
        Ok(())
    }

    /// What is in the store already.
    fn read(&mut self, arms: &[&ArmRecord]) -> Outcome {
        let Ok(store) = Store::open_read(&self.options.out) else { return Ok(()) };
        self.larger_is_better = store.study().map_err(stored)?.compare.larger_is_better;
        for (arm, record) in self.arms.iter_mut().zip(arms) {
            for trial in store.trials(&Filter::arm(&record.key)).map_err(stored)? {
                arm.ended.insert(trial.round, trial.outcome == Ending::Done);
                arm.values.extend(trial.metrics.get(&self.metric));
            }
        }
        Ok(())
    }

    fn tuned(&mut self, arm: &ArmRecord) -> Outcome {
        let Some(tuned) = &arm.tuned else { return Ok(()) };
        let values = tuned.candidates[tuned.chosen].values.iter().map(|(k, v)| format!("{k} = {v}"));
        let values: Vec<String> = values.collect();
        self.line(&format!("{}: tuned to {}\n", arm.name, values.join(", ")))?;
        if !tuned.edges.is_empty() {
            let edges = tuned.edges.join(", ");
            warnings::warn(&format!("{}: {edges} is at the edge of what was offered: offer more", arm.name));
        }
        Ok(())
    }

    fn trial(&mut self, trial: &TrialRecord) {
        if let Ending::Diverged { cause, .. } | Ending::Failed { cause } = &trial.outcome {
            warnings::warn(&format!("{}, round {}: {cause}", trial.arm, trial.round));
        }
        for warning in &trial.warnings {
            // The same in another round, or in another epoch, is nothing new.
            let words: String = warning.chars().filter(|c| !c.is_ascii_digit()).collect();
            if self.warned.insert((trial.arm.clone(), words)) {
                warnings::warn(&format!("{}, round {}: {warning}", trial.arm, trial.round));
            }
        }
        let Some(arm) = self.arms.iter_mut().find(|a| a.name == trial.arm) else { return };
        arm.ended.insert(trial.round, trial.outcome == Ending::Done);
        arm.values.extend(trial.metrics.get(&self.metric));
        arm.seconds.push(trial.seconds.train + trial.seconds.evaluate);
    }

    /// A line that stays, above the grid.
    fn line(&self, text: &str) -> Outcome {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.people.say(text)),
            None => self.people.say(text),
        }
    }

    fn show(&mut self) -> Outcome {
        if let Some(bar) = &self.bar {
            bar.set_message(self.picture()?);
            return Ok(());
        }
        let whole = self.trials.done == self.trials.total;
        if !whole && self.last.is_some_and(|t| t.elapsed() < EVERY) {
            return Ok(());
        }
        self.last = Some(Instant::now());
        let means = self.arms.iter().filter(|a| !a.values.is_empty());
        let means = means.map(|a| Ok(format!("{} {}", a.name, self.mean(a)?))).collect::<Outcome<Vec<_>>>()?;
        let means = if means.is_empty() { String::new() } else { format!("  {}: {}", self.metric, means.join(", ")) };
        self.people.say(&format!("{}{means}\n", self.count()))
    }

    /// `16 of 30 trials, 14 s left`.
    fn count(&self) -> String {
        let (done, what) =
            if self.tuning.done < self.tuning.total { (self.tuning, "tuning trials") } else { (self.trials, "trials") };
        let left = match self.left() {
            _ if self.trials.done == self.trials.total => String::new(),
            seconds => format!(", {} left", print::seconds(seconds)),
        };
        format!("{} of {} {what}{left}", print::count(done.done), print::count(done.total))
    }

    /// Seconds that are left: each arm takes as long as it took so far, and where nothing is known, as was expected.
    fn left(&self) -> f64 {
        let of = |seconds: &[f64]| (!seconds.is_empty()).then(|| seconds.iter().sum::<f64>() / seconds.len() as f64);
        let threads = self.options.threads.min(self.missing).max(1) as f64;
        let each = self.expected.seconds * threads / self.missing.max(1) as f64;
        let all: Vec<f64> = self.arms.iter().flat_map(|a| a.seconds.iter().copied()).collect();
        let unknown = of(&all).unwrap_or(each);
        let arms = self.arms.iter().map(|a| {
            let rounds = self.rounds - a.ended.keys().filter(|r| **r < self.rounds).count();
            rounds as f64 * of(&a.seconds).unwrap_or(unknown)
        });
        (arms.sum::<f64>() + (self.tuning.total - self.tuning.done) as f64 * each) / threads
    }

    /// `85.72 ± 0.41`: the mean and half its interval.
    fn mean(&self, arm: &Arm) -> Outcome<String> {
        let finite: Vec<f64> = arm.values.iter().copied().filter(|v| v.is_finite()).collect();
        let Some(spread) = Spread::of(&finite, self.larger_is_better).map_err(reported)? else {
            return Ok(String::new());
        };
        let half = spread.interval().map_or(String::new(), |(low, high)| format!(" ± {:.2}", 0.5 * (high - low)));
        Ok(format!("{:.2}{half}", spread.mean))
    }

    /// Arms × rounds.
    fn picture(&self) -> Outcome<String> {
        let (width, height) = print::terminal();
        // The last lines of a picture that is too high would be written again and again.
        let shown = self.arms.len().min(height.saturating_sub(4).max(1));
        let names = self.arms.iter().map(|a| a.name.chars().count()).max().unwrap_or(0).min(width / 3);
        let mut text = format!("{} (mean and 95 % interval)\n", self.metric);
        for arm in &self.arms[..shown] {
            let name: String = arm.name.chars().take(names).collect();
            let line = format!("  {name:names$}  {}  {}", self.cells(arm), self.mean(arm)?);
            text.extend(line.chars().take(width - 1));
            text.push('\n');
        }
        if shown < self.arms.len() {
            text += &format!("  and {} more\n", many(self.arms.len() - shown, "arm"));
        }
        Ok(text + &self.count())
    }

    fn cells(&self, arm: &Arm) -> String {
        let cells = self.rounds.min(CELLS);
        let cell = |i: usize| {
            let rounds = i * self.rounds / cells..(i + 1) * self.rounds / cells;
            let ended = rounds.clone().filter_map(|r| arm.ended.get(&r));
            let (all, failed) = ended.fold((0, false), |(n, failed), ok| (n + 1, failed | !ok));
            match (all, failed) {
                (_, true) => '×',
                (0, _) => '·',
                (n, _) if n == rounds.len() => '■',
                _ => '▪',
            }
        };
        (0..cells).map(cell).collect()
    }

    /// The run has ended: the last picture stays.
    pub fn end(&mut self) -> Outcome {
        if let Some(bar) = self.bar.take() {
            warnings::set_bar(None);
            bar.finish_and_clear();
            print::to_people(&format!("{}\n", self.picture()?));
        }
        Ok(())
    }
}
