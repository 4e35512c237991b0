//! The command line as a whole, and what several commands take.

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    bench, check, completions, eval, explain, help, inspect, list, new, plan, predict, schema, study, train,
};
use crate::failure::Outcome;

/// Trains small and medium neural networks, and answers questions about them.
#[derive(Debug, Parser)]
#[command(name = "gradus", version, disable_help_subcommand = true, arg_required_else_help = true, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  gradus train disk                    train a built-in study's network
  gradus train pairs --arm net2        another of its networks
  gradus study run pairs               all its arms, over many rounds, and a verdict
  gradus new mine --from pairs         a study of your own to edit: mine.toml
  gradus list                          what there is; gradus help Conv2d explains it

Exit codes: 0; 1 a check failed; 2 a mistake of yours; 3 the training diverged; 130 interrupted";

#[derive(Debug, Subcommand)]
pub enum Command {
    Train(train::Train),
    Study(study::Study),
    Eval(eval::Eval),
    Predict(predict::Predict),
    Inspect(inspect::Inspect),
    Plan(plan::Plan),
    Explain(explain::Explain),
    Check(check::Check),
    Bench(bench::Bench),
    New(new::New),
    List(list::List),
    Help(help::Help),
    Schema(schema::Schema),
    Completions(completions::Completions),
}

impl Command {
    /// Does it.
    pub fn run(&self) -> Outcome {
        match self {
            Command::Train(c) => c.run(),
            Command::Study(c) => c.run(),
            Command::Eval(c) => c.run(),
            Command::Predict(c) => c.run(),
            Command::Inspect(c) => c.run(),
            Command::Plan(c) => c.run(),
            Command::Explain(c) => c.run(),
            Command::Check(c) => c.run(),
            Command::Bench(c) => c.run(),
            Command::New(c) => c.run(),
            Command::List(c) => c.run(),
            Command::Help(c) => c.run(),
            Command::Schema(c) => c.run(),
            Command::Completions(c) => c.run(),
        }
    }
}

/// A network to look at.
#[derive(Args, Debug)]
pub struct Subject {
    /// A built-in study by name, a study file, or a model file
    #[arg(value_name = "NAME|FILE|MODEL")]
    pub subject: String,
    /// The arm of the study; its baseline when left out
    #[arg(long)]
    pub arm: Option<String>,
    /// Changes a key of the study: --set arm.net.head.layers.0="Linear 32"
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub set: Vec<String>,
}
