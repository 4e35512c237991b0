//! The store: one SQLite file that holds a study.
//!
//! # What is kept
//!
//! What was reported as written is on the disk: a trial is one short transaction, brought to the disk with the folder it is in
//! (`synchronous = EXTRA`, a rollback journal, no WAL: one file, also on a network's disk or a USB stick). A process that is
//! killed leaves a journal that the next one undoes.
//!
//! Every row carries a check sum of its columns, and the number of rows that should be there is kept beside them, since SQLite
//! notices damage to its own pages only: a file with a changed byte gives an error or the records as they were, never others.
//!
//! # Who may write
//!
//! One process: it holds a lock on `study.lock` beside the file, which also says who it is. The lock belongs to the process and
//! vanishes with it. Readers ([`Store::open_read`]) need none, and never keep a writer waiting for longer than a few rows.
//!
//! # The tables
//!
//! `study`, `arms`, `rounds` (with `points`, `samples`), `trials` (with `epochs`, `steps`, `predictions`, `grids`, `weights`),
//! `tuning` and `events`. A trial's id is 2³² × its arm's id + its round, so that trials lie in the file by arm and round. What is short
//! is JSON that SQLite's functions read:
//!
//! ```sql
//! SELECT arms.name, round, json_extract(trials.record, '$.metrics."test accuracy"')
//! FROM trials JOIN arms ON arms.id = arm WHERE outcome = 'done';
//! ```

mod lock;
mod merge;
mod read;
mod schema;
mod write;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

pub use lock::Holder;
pub use merge::Merged;
pub use read::{Event, Filter, Parts};
pub use schema::FORMAT;

use crate::error::{Error, Kind, Result};
use crate::study::StudyRecord;
use lock::Lock;

/// The name of the file in a study's folder.
pub const FILE: &str = "study.sqlite";

/// How long a call waits for another connection to the file. Readers and writers hold it for milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A study's file. It can be sent to another thread, and is used by one at a time.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    dir: PathBuf,
    path: PathBuf,
    /// `None` when opened for reading.
    lock: Option<Lock>,
    /// Whether a write failed so that the file has to be opened anew.
    broken: Cell<bool>,
}

impl Store {
    /// Begins a study in `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// [`Kind::Exists`] when there is one, [`Kind::Locked`] naming who is about to write one, and what the system refuses.
    pub fn create(dir: &Path, study: &StudyRecord) -> Result<Store> {
        Store::create_with(dir, study, schema::MIGRATIONS)
    }

    fn create_with(dir: &Path, study: &StudyRecord, migrations: &[&str]) -> Result<Store> {
        fs::create_dir_all(dir).map_err(|e| Error::io(dir, &e))?;
        let lock = Lock::take(dir)?;
        let path = dir.join(FILE);
        if fs::symlink_metadata(&path).is_ok() {
            return Err(Error::at(Kind::Exists, &path, "there is a study already, or something else of that name"));
        }
        // Made under another name, so that a study is there in full or not at all. What a killed process left is of no use.
        let new = dir.join(format!("{FILE}.new"));
        let journal = dir.join(format!("{FILE}.new-journal"));
        for old in [&journal, &new] {
            let _ = fs::remove_file(old);
        }
        let made = schema::make(&new, study, migrations).and_then(|()| {
            let rename = || {
                fs::rename(&new, &path)?;
                if cfg!(unix) { fs::File::open(dir)?.sync_all() } else { Ok(()) }
            };
            rename().map_err(|e| Error::io(&path, &e))
        });
        if let Err(error) = made {
            for half in [&journal, &new] {
                let _ = fs::remove_file(half);
            }
            return Err(error);
        }
        Store::open_locked(dir, lock, migrations)
    }

    /// Opens the study in `dir` to read and write it, and brings it to the present format.
    ///
    /// # Errors
    /// [`Kind::Missing`], [`Kind::NotAStudy`], [`Kind::Newer`], [`Kind::Damaged`], [`Kind::ReadOnly`], or [`Kind::Locked`] naming
    /// the process that writes it.
    pub fn open(dir: &Path) -> Result<Store> {
        Store::open_with(dir, schema::MIGRATIONS)
    }

    fn open_with(dir: &Path, migrations: &[&str]) -> Result<Store> {
        present(dir)?;
        Store::open_locked(dir, Lock::take(dir)?, migrations)
    }

    fn open_locked(dir: &Path, lock: Lock, migrations: &[&str]) -> Result<Store> {
        let mut store = Store::connect(dir, Some(lock))?;
        if store.connection.is_readonly("main").map_err(|e| store.sql(&e))? {
            return Err(Error::read_only(&store.path)); // SQLite opens such a file silently, and would refuse later
        }
        schema::check(&store.connection, &store.path, migrations, true)?;
        schema::migrate(&mut store.connection, &store.path, migrations)?;
        store.study()?;
        Ok(store)
    }

    /// Opens the study in `dir` to read it, also while another process writes it.
    ///
    /// # Errors
    /// As [`Store::open`], but for the lock; [`Kind::Older`] when it has to be brought to the present format first.
    pub fn open_read(dir: &Path) -> Result<Store> {
        present(dir)?;
        let store = Store::connect(dir, None)?;
        schema::check(&store.connection, &store.path, schema::MIGRATIONS, false)?;
        store.study()?;
        Ok(store)
    }

    /// Opens the file. For reading too it is opened to be written where that is allowed: an interrupted write may have to
    /// be undone first, which SQLite does.
    fn connect(dir: &Path, lock: Option<Lock>) -> Result<Store> {
        let path = dir.join(FILE);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(|e| Error::sql(&path, &e))?;
        let store = Store { connection, dir: dir.to_path_buf(), path, lock, broken: Cell::new(false) };
        let set = || -> rusqlite::Result<()> {
            let c = &store.connection;
            c.busy_timeout(PATIENCE)?;
            // What a file says is data: it may not run anything.
            c.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            c.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            c.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
            c.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
            c.pragma_update(None, "cell_size_check", true)?;
            c.pragma_update(None, "foreign_keys", true)?;
            c.pragma_update(None, "temp_store", "MEMORY")?;
            c.pragma_update(None, "query_only", store.lock.is_none())
        };
        set().map_err(|e| store.sql(&e))?;
        Ok(store)
    }

    /// The folder it is in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who writes the study in `dir` now, if anybody does.
    ///
    /// # Errors
    /// When the lock's file cannot be read.
    pub fn holder(dir: &Path) -> Result<Option<Holder>> {
        lock::holder(dir)
    }

    fn sql(&self, e: &rusqlite::Error) -> Error {
        Error::sql(&self.path, e)
    }

    fn damaged(&self, what: impl std::fmt::Display) -> Error {
        Error::damaged(&self.path, what)
    }
}

/// That there is a file, with a sentence for each other case.
fn present(dir: &Path) -> Result<()> {
    let path = dir.join(FILE);
    match fs::metadata(&path) {
        Ok(meta) if meta.is_file() => Ok(()),
        Ok(_) => Err(Error::at(Kind::NotAStudy, &path, "this is no file, expected a study")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let what = if dir.is_dir() { "there is no study in this folder" } else { "there is no such folder" };
            Err(Error::at(Kind::Missing, &path, what))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
            Err(Error::at(Kind::Missing, dir, "this is no folder, expected the folder of a study"))
        }
        Err(e) => Err(Error::at(Kind::Io, &path, e)),
    }
}
