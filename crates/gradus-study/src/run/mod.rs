//! Running studies: arms × rounds → trials → records.
//!
//! [`run()`] trains what is missing and writes every finished trial to the [`Store`](gradus_record::Store). What follows from the
//! records is told by another crate, `gradus-report`, without any code that trains.

mod arms;
mod engine;
mod expected;
mod pool;
mod records;
mod rounds;
mod samples;
mod trial;
mod tuning;

pub use arms::key;
pub use engine::{Count, Ended, Event, Options, add_rounds, resume, run};
pub use expected::Expected;
pub use records::name;
pub use trial::{Task, round_seed, run as trial};
