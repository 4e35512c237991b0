//! The tables of a study's file, their versions, and how a file is known to be one.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::bytes::check_sum;
use crate::error::{Error, Kind, Result};
use crate::study::StudyRecord;

/// The version of the format that this crate writes. It reads this one and every older one.
pub const FORMAT: u32 = MIGRATIONS.len() as u32;

/// Marks a SQLite file as a study: "Grad".
const APPLICATION_ID: i32 = 0x4772_6164;

/// The steps from each version to the next, from nothing on. A step that was released is never changed: what files look like
/// is compared with what the steps make.
pub(super) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE study (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        record TEXT NOT NULL,
        rounds INTEGER NOT NULL,
        arms_there INTEGER NOT NULL,
        rounds_there INTEGER NOT NULL,
        events_there INTEGER NOT NULL,
        sum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE arms (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        name TEXT NOT NULL,
        position INTEGER NOT NULL,
        active INTEGER NOT NULL,
        record TEXT NOT NULL,
        trials_there INTEGER NOT NULL,
        sum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE rounds (round INTEGER PRIMARY KEY, record TEXT NOT NULL, sum INTEGER NOT NULL) STRICT;
    CREATE TABLE points (
        round INTEGER PRIMARY KEY REFERENCES rounds (round), data BLOB NOT NULL, sum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE samples (
        round INTEGER PRIMARY KEY REFERENCES rounds (round), data BLOB NOT NULL, sum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE trials (
        id INTEGER PRIMARY KEY CHECK (id = arm * 4294967296 + round),
        arm INTEGER NOT NULL REFERENCES arms (id),
        round INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        record TEXT NOT NULL,
        sum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE epochs (
        trial INTEGER PRIMARY KEY REFERENCES trials (id), data TEXT NOT NULL, sum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE steps (
        trial INTEGER PRIMARY KEY REFERENCES trials (id), data BLOB NOT NULL, sum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE predictions (
        trial INTEGER PRIMARY KEY REFERENCES trials (id), data BLOB NOT NULL, sum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE grids (
        trial INTEGER PRIMARY KEY REFERENCES trials (id), data BLOB NOT NULL, sum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE weights (
        trial INTEGER PRIMARY KEY REFERENCES trials (id), data BLOB NOT NULL, sum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, text TEXT NOT NULL, sum INTEGER NOT NULL
    ) STRICT;
",
    // 2: tuning rounds, apart from the trials.
    "
    ALTER TABLE study ADD COLUMN tuning_there INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE tuning (
        id INTEGER PRIMARY KEY, key TEXT NOT NULL, round INTEGER NOT NULL, record TEXT NOT NULL, sum INTEGER NOT NULL
    ) STRICT;
",
];

/// Writes the file of a study that has no arm yet.
pub(super) fn make(path: &Path, study: &StudyRecord, migrations: &[&str]) -> Result<()> {
    let record = record_text(study);
    let make = || -> rusqlite::Result<()> {
        let mut c = Connection::open(path)?;
        c.pragma_update(None, "synchronous", "EXTRA")?;
        let transaction = c.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        for step in migrations {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", migrations.len() as u32)?;
        transaction.execute(
            "INSERT INTO study (id, record, rounds, arms_there, rounds_there, events_there, sum) \
             VALUES (1, ?1, ?2, 0, 0, 0, ?3)",
            (&record, study.rounds as i64, study_sum(&record, study.rounds as i64)),
        )?;
        transaction.commit()?;
        c.close().map_err(|(_, e)| e)
    };
    make().map_err(|e| Error::sql(path, &e))
}

/// A study as it is stored: its rounds have a column of their own, its format is the file's.
pub(super) fn record_text(study: &StudyRecord) -> String {
    let bare = StudyRecord { rounds: 0, format: 0, ..study.clone() };
    serde_json::to_string(&bare).expect("texts and numbers are JSON")
}

/// The check sum of the study's row.
pub(super) fn study_sum(record: &str, rounds: i64) -> i64 {
    check_sum(&[b"study", record.as_bytes(), &rounds.to_le_bytes()])
}

/// That the file is a study of a version that can be read, and has the tables of that version and nothing else.
pub(super) fn check(c: &Connection, path: &Path, migrations: &[&str], write: bool) -> Result<()> {
    let sql = |e: &rusqlite::Error| Error::sql(path, e);
    let number = |name: &str| c.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(|e| sql(&e));
    if number("application_id")? != i64::from(APPLICATION_ID) {
        return Err(Error::at(Kind::NotAStudy, path, "this is an SQLite file of something else, expected a study"));
    }
    let (found, known) = (number("user_version")?, migrations.len());
    let version = match usize::try_from(found) {
        Ok(0) | Err(_) => return Err(Error::damaged(path, format_args!("it says that its format is {found}"))),
        Ok(v) if v > known => {
            return Err(Error::at(
                Kind::Newer,
                path,
                format_args!("its format is version {v}, this program reads up to {known}: a newer gradus wrote it"),
            ));
        }
        Ok(v) if v < known && !write => {
            return Err(Error::at(
                Kind::Older,
                path,
                format_args!(
                    "its format is version {v} of {known}: open it once to be written, which brings it up to date"
                ),
            ));
        }
        Ok(v) => v,
    };
    let there = tables(c).map_err(|e| sql(&e))?;
    let expected = || -> rusqlite::Result<_> {
        let fresh = Connection::open_in_memory()?;
        migrations[..version].iter().try_for_each(|step| fresh.execute_batch(step))?;
        tables(&fresh)
    };
    if there != expected().map_err(|e| sql(&e))? {
        return Err(Error::damaged(path, format_args!("it has not the tables of format {version}")));
    }
    Ok(())
}

/// Everything that the schema holds.
fn tables(c: &Connection) -> rusqlite::Result<Vec<(String, String, Option<String>)>> {
    let mut statement = c.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

/// Sets the connection to write safely, and brings the file to the newest of `migrations`, all steps or none.
pub(super) fn migrate(c: &mut Connection, path: &Path, migrations: &[&str]) -> Result<()> {
    // Kept by the connection, not by the file. More than FULL: a transaction stays even when power is lost right after it,
    // since the folder, from which the journal was removed, is brought to the disk too.
    let set = || -> rusqlite::Result<String> {
        c.pragma_update(None, "synchronous", "EXTRA")?;
        c.query_row("PRAGMA journal_mode = DELETE", (), |row| row.get(0))
    };
    let mode = set().map_err(|e| Error::sql(path, &e))?;
    if mode != "delete" {
        let what = format_args!("its journal is of the kind `{mode}`, expected `delete`: is another program using it?");
        return Err(Error::at(Kind::Busy, path, what));
    }
    let migrate = |c: &mut Connection| -> rusqlite::Result<()> {
        let version = |c: &Connection| c.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
        if version(c)? as usize == migrations.len() {
            return Ok(());
        }
        let transaction = c.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        for step in &migrations[version(&transaction)? as usize..] {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", migrations.len() as u32)?;
        transaction.commit()
    };
    migrate(c).map_err(|e| Error::sql(path, &e))
}

/// What SQLite itself finds wrong with the file, if anything.
pub(super) fn integrity(c: &Connection) -> rusqlite::Result<Option<String>> {
    let found: Option<String> = c.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0)).optional()?;
    Ok(found.filter(|text| text != "ok"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::{ArmRecord, FILE, Filter, Store, TrialRecord};

    /// What a later version may look like.
    const LATER: &[&str] = &[
        MIGRATIONS[0],
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
         ALTER TABLE events ADD COLUMN kind TEXT;",
        "INSERT INTO notes SELECT id, text FROM events;
         DROP TABLE grids;",
    ];

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn old(name: &str) -> Folder {
        let dir = std::env::temp_dir().join(format!("gradus-record-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let mut store =
            Store::create_with(&dir, &StudyRecord { seed: 7, ..StudyRecord::default() }, &LATER[..1]).unwrap();
        store.set_arms(&[ArmRecord { key: "k".into(), ..ArmRecord::default() }]).unwrap();
        store.insert_trial(&TrialRecord { key: "k".into(), ..TrialRecord::default() }).unwrap();
        store.add_event("started").unwrap();
        Folder(dir)
    }

    fn bytes(folder: &Folder) -> Vec<u8> {
        fs::read(folder.0.join(FILE)).unwrap()
    }

    #[test]
    fn an_older_file_is_brought_up_to_date() {
        let folder = old("older");
        let store = Store::open_with(&folder.0, LATER).unwrap();
        assert_eq!(store.study().unwrap().format, 3);
        assert_eq!(store.study().unwrap().seed, 7);
        assert_eq!(store.trials(&Filter::default()).unwrap().len(), 1);
        let note: String = store.connection.query_row("SELECT text FROM notes", (), |row| row.get(0)).unwrap();
        assert_eq!(note, "started");
        drop(store);
        // It is as a new one now, and too new for us.
        drop(Store::open_with(&folder.0, LATER).unwrap());
        assert_eq!(Store::open(&folder.0).unwrap_err().kind(), Kind::Newer);
    }

    #[test]
    fn a_file_of_format_1_gets_its_tuning_rounds() {
        let folder = old("format-1");
        let mut store = Store::open(&folder.0).unwrap();
        assert_eq!((store.study().unwrap().format, store.study().unwrap().seed), (FORMAT, 7));
        assert_eq!((store.tuning().unwrap().len(), store.trials(&Filter::default()).unwrap().len()), (0, 1));
        let trial = crate::TuningTrial { key: "c".into(), ..Default::default() };
        store.insert_tuning(&trial).unwrap();
        assert_eq!(store.tuning().unwrap(), [trial]);
        store.check().unwrap();
        drop(store);
        drop(Store::open_read(&folder.0).unwrap());
    }

    #[test]
    fn a_step_that_fails_changes_nothing() {
        let folder = old("failing");
        let before = bytes(&folder);
        for bad in ["INSERT INTO nowhere VALUES (1);", "INSERT INTO trials VALUES (1, 1, 1, 'done', '', 0);"] {
            let steps = [LATER[0], LATER[1], bad];
            assert!(Store::open_with(&folder.0, &steps).is_err());
            assert_eq!(bytes(&folder), before);
        }
        drop(Store::open(&folder.0).unwrap());
    }

    #[test]
    fn a_reader_does_not_change_an_older_file() {
        let folder = old("older-read");
        let c = Connection::open(folder.0.join(FILE)).unwrap();
        let e = check(&c, &folder.0, LATER, false).unwrap_err();
        assert!(e.kind() == Kind::Older && e.to_string().contains("version 1 of 3"), "{e}");
    }
}
