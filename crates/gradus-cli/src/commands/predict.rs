//! `gradus predict`.
use crate::failure::Outcome;
use clap::Args;
/// To come
#[derive(Args, Debug)]
pub struct Predict {}
impl Predict {
    /// Does it.
    pub fn run(&self) -> Outcome {
        Ok(())
    }
}
