//! `gradus completions`.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::args::Cli;
use crate::failure::Outcome;
use crate::print;

/// Print completions for a shell
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  gradus completions bash > ~/.local/share/bash-completion/completions/gradus")]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let mut text = Vec::new();
        generate(self.shell, &mut Cli::command(), "gradus", &mut text);
        print::text(&String::from_utf8_lossy(&text))
    }
}
