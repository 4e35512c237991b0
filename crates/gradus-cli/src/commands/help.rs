//! `gradus help`.
use crate::failure::Outcome;
use clap::Args;
/// To come
#[derive(Args, Debug)]
pub struct Help {}
impl Help {
    /// Does it.
    pub fn run(&self) -> Outcome {
        Ok(())
    }
}
