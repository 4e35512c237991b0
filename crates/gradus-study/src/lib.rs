//! Studies of architectures: what a `study.toml` says, and what it means.
//!
//! [`Study::parse`] reads a file into arms that can be trained: each an
//! [`Architecture`](gradus::net::Architecture) with its [`Settings`](gradus::train::Settings) and [`DataSettings`].
//! Whatever is wrong with a file is told as a [`Diagnostic`]: the line, a caret, what was expected and the nearest known
//! word. What may be written is stated once, in [`keys`]; parsing, [`help`] and [`schema()`] are derived from it.
//!
//! ```
//! let study = gradus_study::open("disk", &Default::default())?;
//! let arm = study.arm(None)?;
//! let (split, normalisation) = arm.data.load(study.seed)?;
//! assert_eq!((split.train.len(), normalisation.is_some()), (1000, true));
//! # Ok::<(), gradus::Error>(())
//! ```

#![forbid(unsafe_code)]

mod arm;
pub mod builtin;
mod data;
mod diagnostic;
mod factors;
pub mod help;
pub mod keys;
mod patch;
mod read;
pub mod run;
mod schema;
mod set;
mod spec;
mod study;
mod tree;

pub use arm::{ArmSettings, Dtype};
pub use builtin::{new_file, open};
pub use data::{DataSettings, Source};
pub use diagnostic::Diagnostic;
pub use schema::schema;
pub use set::Overrides;
pub use study::{Candidate, Compare, Origin, Record, Study, Tune};
