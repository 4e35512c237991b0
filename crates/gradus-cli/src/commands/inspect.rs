//! `gradus inspect`.
use crate::failure::Outcome;
use clap::Args;
/// To come
#[derive(Args, Debug)]
pub struct Inspect {}
impl Inspect {
    /// Does it.
    pub fn run(&self) -> Outcome {
        Ok(())
    }
}
