//! Why a command did not succeed, and the exit code that says so.

use std::io;
use std::process::ExitCode;

use gradus::error::{Error, Kind};
use gradus_study::Diagnostic;

/// Why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// A library refused, or could not.
    Error(Error),
    /// A settings file is wrong at some place.
    Settings(Box<Diagnostic>),
    /// A check failed; what was found has been printed.
    Check,
    /// The user asked to stop; what to do next has been printed.
    Interrupted,
    /// Nobody reads our output any more: `gradus list | head -1`.
    Unread,
}

/// The result of a command.
pub type Outcome<T = ()> = Result<T, Failure>;

/// An error of the user's, in one sentence.
pub fn wrong<T>(message: impl std::fmt::Display) -> Outcome<T> {
    Err(Error::new(Kind::Argument, message).into())
}

impl Failure {
    /// Prints it, once, and gives the exit code: 1 a check failed, 2 a user's error, 3 diverged, 130 interrupted.
    pub fn report(&self) -> ExitCode {
        let code = match self {
            Failure::Error(e) => {
                crate::print::error(&e.to_string());
                match e.kind() {
                    Kind::Diverged => 3,
                    Kind::Interrupted => 130,
                    _ => 2,
                }
            }
            Failure::Settings(d) => {
                // A file that is not there has no line to point at.
                if d.position() == (1, 1)
                    && d.excerpt().is_empty()
                    && matches!(d.kind(), Kind::Name | Kind::Io | Kind::File)
                {
                    crate::print::error(&format!("{}: {}", d.file(), d.message()));
                } else {
                    crate::print::to_people(&format!("{}\n", d.render(crate::print::colour())));
                }
                2
            }
            Failure::Check => 1,
            Failure::Interrupted => 130,
            Failure::Unread => 0,
        };
        ExitCode::from(code)
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Failure {
        Failure::Error(e)
    }
}

impl From<Box<Diagnostic>> for Failure {
    fn from(d: Box<Diagnostic>) -> Failure {
        Failure::Settings(d)
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Failure {
        if e.kind() == io::ErrorKind::BrokenPipe {
            return Failure::Unread;
        }
        Error::new(Kind::Io, format_args!("standard output: {e}")).into()
    }
}
