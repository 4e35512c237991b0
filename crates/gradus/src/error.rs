//! The one error type of the library.
//!
//! An [`Error`] is a [`Kind`] for programs and a sentence for people. The sentence names the place (a file, a line, the
//! path of a layer) and says what was expected.

use std::fmt::{self, Display};

/// What went wrong, for programs that branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An argument has a value that makes no sense (a batch of 0, a negative rate).
    Argument,
    /// Two shapes do not fit.
    Shape,
    /// A name is unknown, or is given twice.
    Name,
    /// A settings file cannot be read as settings.
    Config,
    /// A file is damaged, or of another kind than expected.
    File,
    /// The operating system refused to read or write.
    Io,
    /// The data do not fit the network (labels outside their classes, NaN, an empty set).
    Data,
    /// Training produced a number that is not finite.
    Diverged,
    /// The caller asked to stop.
    Interrupted,
}

/// A failed call: [`Kind`], and a sentence that names the place and what was expected.
#[derive(Clone)]
pub struct Error {
    kind: Kind,
    message: String,
}

/// The result of a call that takes a user's data.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that reads `message`.
    pub fn new(kind: Kind, message: impl Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// An error of the operating system at `path`.
    pub fn io(path: &std::path::Path, source: &std::io::Error) -> Self {
        Self::new(Kind::Io, format_args!("{}: {source}", path.display()))
    }

    /// The kind, for programs.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The same error with the place it happened in before its sentence: `"left.conv1: …"`.
    #[must_use]
    pub fn at(self, place: impl Display) -> Self {
        Self { kind: self.kind, message: format!("{place}: {}", self.message) }
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

/// `Err(Error::new(kind, format!(…)))`, for the many places that refuse something.
#[macro_export]
macro_rules! fail {
    ($kind:ident, $($message:tt)+) => {
        return Err($crate::Error::new($crate::error::Kind::$kind, format!($($message)+)))
    };
}
