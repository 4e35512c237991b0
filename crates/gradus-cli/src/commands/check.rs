//! `gradus check`.

use clap::Args;
use gradus::check;
use gradus::data::Dataset;
use gradus::net::{Net, Options};
use gradus::rng::Seed;
use serde::Serialize;
use serde_json::{Value, json};

use super::eval::own_data;
use super::train::load;
use crate::args;
use crate::failure::{Failure, Outcome};
use crate::print;
use crate::subject::Subject;

/// Check the gradients of a network: each layer and loss by itself, and the network as a whole
///
/// Every derivative that the backward pass gives is compared with differences of the forward pass, in double precision. A
/// network of a study is checked with random weights, a model with its own. A layer like one before it, of the same
/// arguments and shapes, is not checked again.
#[derive(Args, Debug)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Examples:
  gradus check disk
  gradus check pairs --arm net2
  gradus check disk.safetensors"
)]
pub struct Check {
    #[command(flatten)]
    subject: args::Subject,
    /// Samples in the batch
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1000))]
    batch: u64,
    /// The largest relative error that passes
    #[arg(long, value_name = "X", default_value_t = check::TOLERANCE)]
    tolerance: f64,
    /// The seed of the random numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// The JSON document.
#[derive(Serialize)]
struct Document {
    title: String,
    passed: bool,
    tolerance: f64,
    worst: Option<Value>,
    parts: Vec<Value>,
    network: Option<Vec<Value>>,
}

impl Check {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let subject = Subject::open(&self.subject)?;
        let graph = subject.graph()?;
        let (batch, seed) = (self.batch as usize, Seed(self.seed));
        let say = |text: &str| if self.json { Ok(()) } else { print::text(text) };
        // It takes a while: what is known is said.
        say(&format!("{}\n\neach layer and loss by itself\n", subject.title()))?;
        let parts = check::parts(&graph, batch, seed)?;
        say(&format!("{}\n", print::indented(&parts.to_string())))?;
        let data = data(&subject)?;
        let network = match (&subject, &data) {
            (_, None) => None,
            (Subject::Arm { .. }, Some(data)) => {
                Some(check::network(&graph, &data.range(0..batch.min(data.len())), seed)?)
            }
            (Subject::Model { file, .. }, Some(data)) => {
                // At the model's own weights, in f64 as all of the check.
                let mut net = Net::new(graph, seed, Options { f64: true, ..Options::default() })?;
                net.load_weights(file)?;
                Some(check::net(&net, &data.range(0..batch.min(data.len())), seed)?)
            }
        };
        let passed = parts.passed(self.tolerance) && network.as_ref().is_none_or(|n| n.passed(self.tolerance));
        let worst = [Some(&parts), network.as_ref()].into_iter().flatten().filter_map(check::Report::worst);
        // The largest error; not a number is worse than any.
        let badness = |r: &check::Row| if r.error.is_nan() { f64::INFINITY } else { r.error };
        let worst = worst.max_by(|a, b| badness(a).total_cmp(&badness(b)));
        if self.json {
            let rows = |r: &check::Report| r.rows.iter().map(row).collect::<Vec<_>>();
            print::json(&Document {
                title: subject.title(),
                passed,
                tolerance: self.tolerance,
                worst: worst.map(row),
                parts: rows(&parts),
                network: network.as_ref().map(rows),
            })?;
        } else {
            let mut text = match &network {
                Some(n) => format!("the network as a whole\n{}\n", print::indented(&n.to_string())),
                None => "the network as a whole is not checked: the file does not say what data it was made for\n\n"
                    .to_string(),
            };
            let (what, error) = worst.map_or(("nothing", 0.0), |r| (r.what.as_str(), r.error));
            let verdict = if passed { "passed" } else { "FAILED" };
            text +=
                &format!("{verdict}: worst relative error {error:.1e}, of {what}; {:.0e} is allowed\n", self.tolerance);
            print::text(&text)?;
        }
        if passed { Ok(()) } else { Err(Failure::Check) }
    }
}

fn row(r: &check::Row) -> Value {
    json!({
        "what": r.what, "checked": r.checked, "error": r.error, "backward": r.analytic, "differences": r.numeric,
        "at": r.at, "pass": r.pass, "kink": r.kink,
    })
}

/// Samples to check on: of the study, or of the data that the model says it was trained on.
fn data(subject: &Subject) -> Outcome<Option<Dataset>> {
    Ok(match subject {
        Subject::Arm { arm, seed, .. } => Some(load(&arm.data, *seed, None)?.0.train),
        Subject::Model { file, .. } => match own_data(file) {
            Some((settings, seed)) => Some(load(&settings, Seed(seed), Some(file))?.0.train),
            None => None,
        },
    })
}
