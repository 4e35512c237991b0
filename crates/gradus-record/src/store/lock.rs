//! The lock of a study's writer: a file beside the study, locked by the operating system, that says who holds it.
//!
//! The lock goes with the process that holds it, however that ends; the file stays, and means nothing while unlocked.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::now;
use crate::error::{Error, Kind, Result};

/// The name of the file.
const NAME: &str = "study.lock";

/// The most that is read of it.
const MOST: u64 = 65_536;

/// The process that writes a study.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// The machine it runs on.
    pub host: String,
    /// Since when it has the study, by the machine's clock.
    pub since: String,
    /// The command it was started by.
    pub command: String,
}

impl Holder {
    /// This process.
    fn this() -> Holder {
        let command: Vec<_> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
        Holder { pid: std::process::id(), host: host(), since: now(), command: command.join(" ") }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {} since {} (`{}`)", self.pid, self.host, self.since, self.command)
    }
}

/// The machine's name, as well as it can be told without asking the system by its C interface.
fn host() -> String {
    let files = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    let read = files.iter().find_map(|f| fs::read_to_string(f).ok());
    let name = read.or_else(|| std::env::var("COMPUTERNAME").ok()).or_else(|| std::env::var("HOSTNAME").ok());
    name.map(|n| n.trim().to_string()).filter(|n| !n.is_empty()).unwrap_or_else(|| "this machine".into())
}

/// The lock, held.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of the study in `dir`.
    pub(super) fn take(dir: &Path) -> Result<Lock> {
        let path = dir.join(NAME);
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open().map_err(|e| Error::io(&path, &e))?;
        // Who merely asks for the holder has it for a moment: once is not enough to be sure.
        let mut tries = 10;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries > 0 => {
                    tries -= 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(locked(&path, read(&mut file))),
                Err(TryLockError::Error(e)) => {
                    return Err(Error::at(Kind::Io, &path, format_args!("cannot be locked on this disk: {e}")));
                }
            }
        }
        let text = serde_json::to_string(&Holder::this()).expect("texts are JSON") + "\n";
        let write = || {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(text.as_bytes())
        };
        // It is for people: a full disk will be told of by the study itself.
        let mut write = write;
        match write() {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::StorageFull => {}
            Err(e) => return Err(Error::io(&path, &e)),
        }
        Ok(Lock { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0); // nobody holds it; the lock itself goes with the file's handle
    }
}

fn locked(path: &Path, holder: Option<Holder>) -> Error {
    let who = holder.map_or_else(|| "another process".into(), |h| h.to_string());
    Error::at(Kind::Locked, path, format_args!("the study is being written by {who}; one process at a time can"))
}

/// What the file says.
fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(MOST).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Who holds the lock of the study in `dir`.
pub(super) fn holder(dir: &Path) -> Result<Option<Holder>> {
    let path: PathBuf = dir.join(NAME);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(&path, &e)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(read(&mut file).unwrap_or_default())),
        Err(TryLockError::Error(e)) => Err(Error::io(&path, &e)),
    }
}
