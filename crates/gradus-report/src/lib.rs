//! What the records of a study say: verdicts in words, tables, plots and one HTML page.
//!
//! Nothing here runs anything or knows a network: a [`Store`](gradus_record::Store) goes in, text comes out, so old studies
//! need no old code.

#![forbid(unsafe_code)]

mod error;
pub mod figures;
mod file;
pub mod json;
pub mod latex;
pub mod markdown;
mod page;
pub mod plot;
mod summary;
mod tables;
pub mod text;
pub mod words;

pub use error::{Error, Kind, Result};
pub use page::{page, write_figures, write_page};
pub use summary::*;
