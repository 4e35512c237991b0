//! `gradus new`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use clap::Args;
use gradus::Error;
use gradus::error::Kind;

use crate::failure::Outcome;
use crate::print;

/// Write a study file to edit
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  gradus new mine --from pairs     writes mine.toml")]
pub struct New {
    /// The name of the study; its file is NAME.toml
    name: String,
    /// The built-in study to begin with
    #[arg(long, value_name = "BUILTIN", default_value = "disk")]
    from: String,
}

impl New {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let name = self.name.strip_suffix(".toml").unwrap_or(&self.name);
        let text = gradus_study::new_file(name, Some(&self.from))?;
        let path = format!("{name}.toml");
        let io = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::new(Kind::Io, format_args!("{path} is there already, and stays as it is"))
            }
            _ => Error::io(Path::new(&path), &e),
        };
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(io)?;
        file.write_all(text.as_bytes()).map_err(io)?;
        print::text(&format!("{path}: a study like {}. Train it with `gradus train {path}`\n", self.from))
    }
}
