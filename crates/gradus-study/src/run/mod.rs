//! Running studies: arms × rounds → trials → records.
//!
//! [`run()`] trains what is missing and writes every finished trial to the [`Store`](gradus_record::Store). What follows from the
//! records is told by another crate, `gradus-report`, without any code that trains.

mod arms;
mod engine;
mod pool;
mod records;
mod samples;
mod trial;

pub use arms::key;
pub use engine::{Ended, Event, Options, run};
pub use records::name;
pub use trial::{Task, round_seed, run as trial};
