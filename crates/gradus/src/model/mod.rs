//! Models: a network and its parameters in one file, and predictions from it by any number of threads.

mod file;
mod session;

pub use file::{Meta, ModelFile, Training};
pub use session::{Model, Session};
