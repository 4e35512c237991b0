//! The one error type of the crate: a kind for programs and a sentence for people.

use std::fmt::{self, Display};

/// What went wrong, for programs that branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The records cannot be read, or are not as they were written.
    Records,
    /// There is no arm of that name.
    Arm,
    /// The numbers cannot be used.
    Numbers,
    /// A file cannot be written.
    Io,
}

/// A failed call: a [`Kind`], and a sentence that names the place and what was expected.
#[derive(Clone)]
pub struct Error {
    kind: Kind,
    message: String,
}

/// The result of a call that reads records.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Display) -> Self {
        Error { kind, message: message.to_string() }
    }

    /// The kind, for programs.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {}

impl From<gradus_record::Error> for Error {
    fn from(e: gradus_record::Error) -> Self {
        Error::new(Kind::Records, e)
    }
}

impl From<gradus_stats::Error> for Error {
    fn from(e: gradus_stats::Error) -> Self {
        Error::new(Kind::Numbers, e)
    }
}
