//! `gradus help`.

use clap::{Args, CommandFactory};
use gradus::Error;
use gradus::error::Kind;
use gradus::spec::suggest;
use gradus_study::help::{index, page, topics};

use crate::args::Cli;
use crate::failure::Outcome;
use crate::print;

/// Print the page of a command, a layer, a loss, an optimiser, a key of a study file …
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  gradus help                 all commands and topics
  gradus help Conv2d          a layer: arguments, shapes, formula
  gradus help data.train      a key of a study file
  gradus help train           the command, and the table [train] of a study file")]
pub struct Help {
    /// A command or a topic
    topic: Option<String>,
}

impl Help {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let mut cli = Cli::command();
        cli.build();
        let Some(topic) = &self.topic else {
            cli.print_long_help()?;
            return print::text(&format!("\n{}", index()));
        };
        let commands: Vec<String> = cli.get_subcommands().map(|c| c.get_name().to_string()).collect();
        match (cli.find_subcommand_mut(topic), page(topic)) {
            (Some(command), page) => {
                command.print_long_help()?;
                page.map_or(Ok(()), |page| print::text(&format!("\n{page}")))
            }
            (None, Ok(page)) => print::text(&page),
            (None, Err(_)) => {
                let topics = topics();
                let short = topics.iter().filter_map(|t| t.name.split_once('.').map(|(_, key)| key));
                let known: Vec<&str> =
                    commands.iter().map(String::as_str).chain(topics.iter().map(|t| &*t.name)).chain(short).collect();
                let near = suggest(topic, &known);
                Err(Error::new(
                    Kind::Name,
                    format_args!("there is no page about `{topic}`{near} (`gradus help` lists all)"),
                )
                .into())
            }
        }
    }
}
