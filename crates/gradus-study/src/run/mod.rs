//! Running studies: arms × rounds → trials → records → verdicts.
//!
//! [`run()`] trains what is missing and writes every finished trial to the [`Store`](gradus_record::Store); [`summary()`] reads the
//! store and says what follows, without any code that trains.

mod arms;
mod engine;
mod records;
mod summary;
mod trial;

pub use arms::key;
pub use engine::{Ended, Event, Options, run};
pub use records::name;
pub use summary::{ArmSummary, Comparison, Mean, Summary, compare, summary};
pub use trial::{Task, round_seed, run as trial};
