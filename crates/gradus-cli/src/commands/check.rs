//! `gradus check`.
use crate::failure::Outcome;
use clap::Args;
/// To come
#[derive(Args, Debug)]
pub struct Check {}
impl Check {
    /// Does it.
    pub fn run(&self) -> Outcome {
        Ok(())
    }
}
