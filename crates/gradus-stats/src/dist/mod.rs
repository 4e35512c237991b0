//! The distributions behind the procedures: normal, Student t (central and not), binomial with p = ½.
//!
//! Our own instead of a dependency's, for equal bits on all machines (the usual crates call the system's logarithm) and for
//! relative precision far out in the tails.

mod beta;
pub mod binomial;
pub mod noncentral;
pub mod normal;
pub mod student;

pub(crate) use beta::ln_gamma;
