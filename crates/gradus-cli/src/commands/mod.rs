//! The commands, one file each: their flags, what they call, and how they print it.

pub mod bench;
pub mod check;
pub mod completions;
pub mod eval;
pub mod explain;
pub mod help;
pub mod inspect;
pub mod list;
pub mod new;
pub mod plan;
pub mod predict;
pub mod schema;
pub mod study;
pub mod train;
