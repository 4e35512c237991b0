//! The program `gradus`: it reads a command, calls the libraries, and prints. What it computes is theirs.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

mod args;
mod checkpoint;
mod commands;
mod failure;
mod interrupt;
mod print;
mod progress;
mod subject;
mod warnings;

/// Counts, so that `gradus bench` can show that a step allocates nothing.
#[global_allocator]
static ALLOCATOR: gradus_kernels::counting::Counting = gradus_kernels::counting::Counting;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    warnings::install();
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
