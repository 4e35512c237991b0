//! The one error type of the crate: a [`Kind`] for programs and a sentence for people. The sentence names the file and says
//! what was expected.

use std::fmt::{self, Display};
use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

/// What went wrong, for programs that branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// There is no study where one was expected.
    Missing,
    /// There is a study where none was expected.
    Exists,
    /// The file is something else than a study.
    NotAStudy,
    /// The study was written by a version of the program that this one does not know.
    Newer,
    /// The study was written by an older version, and cannot be brought up to date here.
    Older,
    /// The file has been changed or cut off.
    Damaged,
    /// Another process writes this study.
    Locked,
    /// Another process reads or writes the file for so long that waiting ended.
    Busy,
    /// There is no space left on the disk.
    Full,
    /// The file or its folder may not be written.
    ReadOnly,
    /// The operating system refused to read or write.
    Io,
    /// What is written does not fit what is there.
    Conflict,
    /// A record makes no sense.
    Argument,
}

/// A failed call: a [`Kind`], and a sentence that names the file and what was expected.
#[derive(Clone)]
pub struct Error {
    kind: Kind,
    message: String,
}

/// The result of a call that reads or writes.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that reads `message`.
    pub fn new(kind: Kind, message: impl Display) -> Self {
        Error { kind, message: message.to_string() }
    }

    /// An error of `kind` about the file at `path`.
    pub(crate) fn at(kind: Kind, path: &Path, message: impl Display) -> Self {
        Error::new(kind, format_args!("{}: {message}", path.display()))
    }

    /// An error of the operating system about the file at `path`.
    pub(crate) fn io(path: &Path, source: &io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::full(path),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Error::read_only(path),
            io::ErrorKind::NotFound => Error::at(Kind::Missing, path, "there is no such file or folder"),
            _ => Error::at(Kind::Io, path, source),
        }
    }

    /// An error of SQLite about the study at `path`.
    pub(crate) fn sql(path: &Path, source: &rusqlite::Error) -> Self {
        let Some(code) = source.sqlite_error_code() else {
            // A value of another type than the one asked for: nothing of ours writes that.
            return Error::damaged(path, source);
        };
        match code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                Error::at(Kind::Busy, path, "another program reads or writes this study: try again when it has ended")
            }
            ErrorCode::DiskFull => Error::full(path),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Error::read_only(path),
            ErrorCode::CannotOpen if path.is_dir() => {
                Error::at(Kind::NotAStudy, path, "this is a folder, expected the file of a study")
            }
            ErrorCode::CannotOpen if !path.exists() => Error::at(Kind::Missing, path, "there is no such file"),
            ErrorCode::CannotOpen => Error::at(
                Kind::ReadOnly,
                path,
                "the file, or the journal beside it, cannot be opened: may this folder be read and written?",
            ),
            ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory => {
                Error::at(Kind::Io, path, format_args!("the system refused to read or write it ({})", describe(source)))
            }
            ErrorCode::TooBig => Error::at(Kind::Argument, path, "a record is larger than SQLite can hold (1 GB)"),
            ErrorCode::NotADatabase => Error::at(Kind::NotAStudy, path, "this is no SQLite file, expected a study"),
            _ => Error::damaged(path, source),
        }
    }

    pub(crate) fn damaged(path: &Path, what: impl Display) -> Self {
        Error::at(Kind::Damaged, path, format_args!("the file is damaged: {what}"))
    }

    fn full(path: &Path) -> Self {
        Error::at(
            Kind::Full,
            path,
            "no space is left on the disk. What was reported as written is kept; free some space and go on",
        )
    }

    pub(crate) fn read_only(path: &Path) -> Self {
        Error::at(Kind::ReadOnly, path, "may not be written: the file, its folder or the disk is read-only")
    }

    /// The kind, for programs.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// SQLite's sentence with its number, by which its manual can be asked.
fn describe(source: &rusqlite::Error) -> String {
    match source.sqlite_error() {
        Some(e) => format!("{source}, SQLite error {}", e.extended_code),
        None => source.to_string(),
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
