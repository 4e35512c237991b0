//! `gradus schema`.

use clap::Args;

use crate::failure::Outcome;
use crate::print;

/// Print the JSON schema of study files, for editors
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  gradus schema > gradus.schema.json     then, as the first line of a study: #:schema ./gradus.schema.json")]
pub struct Schema {}

impl Schema {
    /// Does it.
    pub fn run(&self) -> Outcome {
        print::json(&gradus_study::schema())
    }
}
