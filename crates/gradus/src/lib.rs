//! Gradus trains small and medium neural networks at hardware speed.

#![deny(unsafe_code)]

pub mod check;
pub mod data;
pub mod error;
pub mod exec;
pub(crate) mod files;
pub mod init;
pub mod layers;
pub mod losses;
pub mod metrics;
pub mod model;
pub mod net;
pub mod ops;
pub mod optim;
pub mod program;
mod registry;
pub mod rng;
pub mod spec;
pub mod train;

pub use error::{Error, Result};
pub use model::{Model, Session};
pub use registry::Registry;

/// What most programs use.
pub mod prelude {
    pub use crate::data::{self, Batch, Dataset, Target};
    pub use crate::layers::*;
    pub use crate::losses::*;
    pub use crate::model::{Model, Session};
    pub use crate::net::{Net, Options, Sequential};
    pub use crate::optim::*;
    pub use crate::rng::Seed;
}
