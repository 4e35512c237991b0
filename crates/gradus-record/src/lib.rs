//! What a study writes down and reads again: the records, and the store that keeps them, one SQLite file.
//!
//! Nothing here computes, and nothing here needs the code that made a record: an old study can be read by any later
//! version of this crate alone. A study is a [`StudyRecord`], its [`ArmRecord`]s and [`RoundRecord`]s, and a
//! [`TrialRecord`] for every arm in every round; a [`Store`] is the file they are in.
//!
//! ```
//! use gradus_record::{ArmRecord, Filter, Outcome, Store, StudyRecord, TrialRecord};
//! # let dir = std::env::temp_dir().join(format!("gradus-record-doc-{}", std::process::id()));
//! # let _ = std::fs::remove_dir_all(&dir);
//! let mut store = Store::create(&dir, &StudyRecord { name: "pairs".into(), rounds: 2, ..StudyRecord::default() })?;
//! store.set_arms(&[ArmRecord { key: "5f3a".into(), name: "net1".into(), ..ArmRecord::default() }])?;
//! let mut trial = TrialRecord { key: "5f3a".into(), arm: "net1".into(), round: 0, ..TrialRecord::default() };
//! trial.metrics.insert("test accuracy".into(), 97.25);
//! store.insert_trial(&trial)?; // on the disk when this returns
//! drop(store);
//!
//! let store = Store::open_read(&dir)?;
//! assert_eq!(store.finished("5f3a")?, [0]);
//! for trial in store.trials(&Filter::default())? {
//!     assert_eq!((trial.outcome, trial.metrics["test accuracy"]), (Outcome::Done, 97.25));
//! }
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok::<(), gradus_record::Error>(())
//! ```
//!
//! # Numbers
//!
//! Every number comes back with the bits it had. Text holds finite numbers as JSON numbers that read back exactly, and
//! `"NaN"`, `"inf"`, `"-inf"` as strings, since a diverged trial has them; a column of type REAL would turn NaN into NULL.
//! All NaN are one: which sign and payload a NaN gets is left open by IEEE 754, so they are no part of a result.

#![forbid(unsafe_code)]

mod arm;
mod bytes;
mod clock;
mod document;
mod epoch;
mod error;
mod grid;
mod number;
mod predictions;
mod round;
mod steps;
mod store;
mod study;
mod trial;
mod tuning;

pub use arm::{ArmRecord, Drawing, DrawnBranch, DrawnLayer, DrawnLoss, Port};
pub use clock::now;
pub use document::Document;
pub use epoch::EpochRecord;
pub use error::{Error, Kind, Result};
pub use grid::Grid;
pub use predictions::{NO_CLASS, Predicted, Predictions};
pub use round::{PointSet, Points, RoundRecord, Samples};
pub use steps::Steps;
pub use store::{Event, FILE, FORMAT, Filter, Holder, Merged, Parts, Store};
pub use study::{Compare, Machine, StudyRecord, Versions};
pub use trial::{Best, Outcome, Seconds, TrialRecord, TrialSummary};
pub use tuning::{Candidate, Tuned, TuningTrial};
