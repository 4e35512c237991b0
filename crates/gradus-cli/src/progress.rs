//! How far a training is: one line that changes on a terminal, some lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use gradus::metrics::{Evaluation, Score};
use gradus::train::Epoch;
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Outcome;
use crate::print::{number, seconds};
use crate::warnings;

/// About so many lines, or times that a metric is taken, in a training.
const LINES: usize = 20;

/// Where text for people goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum People {
    /// Standard output.
    Out,
    /// Standard error: standard output has a JSON document.
    Err,
    /// They asked for quiet.
    Nowhere,
}

impl People {
    /// As the flags say.
    pub fn new(json: bool, quiet: bool) -> People {
        match (quiet, json) {
            (true, _) => People::Nowhere,
            (false, true) => People::Err,
            (false, false) => People::Out,
        }
    }

    /// Writes text.
    pub fn say(self, text: &str) -> Outcome {
        match self {
            People::Out => io::stdout().lock().write_all(text.as_bytes()).and_then(|()| io::stdout().flush())?,
            People::Err => crate::print::to_people(text),
            People::Nowhere => {}
        }
        Ok(())
    }

    /// Whether a line that changes can be shown: it is drawn on standard error.
    fn on_terminal(self) -> bool {
        io::stderr().is_terminal()
            && match self {
                People::Out => io::stdout().is_terminal(),
                People::Err => true,
                People::Nowhere => false,
            }
    }
}

/// The progress of one training.
#[derive(Debug)]
pub struct Progress {
    people: People,
    bar: Option<ProgressBar>,
    epochs: usize,
    first: usize,
    start: Instant,
    metric: String,
    last: String,
    said: bool,
}

impl Progress {
    /// Of a training of `epochs` epochs, `done` of which are done already.
    pub fn new(people: People, done: usize, epochs: usize) -> Progress {
        let bar = people.on_terminal().then(|| {
            let style =
                ProgressStyle::with_template("{bar:24} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(epochs as u64).with_style(style.progress_chars("━━─")).with_position(done as u64)
        });
        warnings::set_bar(bar.clone());
        let (metric, last) = (String::new(), String::new());
        Progress { people, bar, epochs, first: done, start: Instant::now(), metric, last, said: true }
    }

    /// Whether the metric should be taken after this epoch: it costs time.
    pub fn wants_metric(&self, epoch: usize) -> bool {
        self.people != People::Nowhere && (epoch == self.epochs || epoch.is_multiple_of(self.epochs.div_ceil(LINES)))
    }

    /// The metric, taken on a part of the data.
    pub fn metric(&mut self, part: &str, evaluation: &Evaluation) {
        let score = |s| evaluation.get(s, None).map(|x| (s, x));
        if let Some((score, x)) = score(Score::Accuracy).or_else(|| score(Score::Rmse)).or_else(|| score(Score::Loss)) {
            let x = if score == Score::Accuracy { format!("{x:.2}") } else { number(x) };
            self.metric = format!("  {part} {score} {x}");
        }
    }

    /// After an epoch.
    pub fn epoch(&mut self, epoch: &Epoch) -> Outcome {
        let width = self.epochs.to_string().len();
        let parts: Vec<String> = epoch.losses.iter().map(|(name, x)| format!("{name} {}", number(*x))).collect();
        let parts = if parts.len() > 1 { format!(" ({})", parts.join(", ")) } else { String::new() };
        let left = self.epochs - epoch.epoch.min(self.epochs);
        let each = self.start.elapsed().as_secs_f64() / (epoch.epoch - self.first).max(1) as f64;
        let time = match each * left as f64 {
            _ if left == 0 => String::new(),
            t if t < 1.0 => "  <1 s left".to_string(),
            t => format!("  {} left", seconds(t.ceil())),
        };
        let done = format!("epoch {:>width$}/{}", epoch.epoch, self.epochs);
        let loss = format!("  loss {}{parts}", number(epoch.loss));
        self.last = format!("{done}{loss}{}{time}", self.metric);
        self.said = false;
        match &self.bar {
            Some(bar) => {
                bar.set_position(epoch.epoch as u64);
                // Where the line ends too early, it ends in the losses.
                bar.set_message(format!("{done}{}{time}{loss}", self.metric));
                Ok(())
            }
            None if self.wants_metric(epoch.epoch) => self.say_last(),
            None => Ok(()),
        }
    }

    fn say_last(&mut self) -> Outcome {
        if std::mem::replace(&mut self.said, true) { Ok(()) } else { self.people.say(&format!("{}\n", self.last)) }
    }

    /// The training has ended: its last line stays.
    pub fn end(&mut self) -> Outcome {
        warnings::set_bar(None);
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.say_last()
    }

    /// The time since it began.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
