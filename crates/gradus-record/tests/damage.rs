//! A damaged file gives an error, or the records as they were: never others, and never a panic.

mod common;

use std::fs;
use std::path::Path;

use common::{Folder, Random, arm, everything, filled, study, trial};
use gradus_record::{FILE, FORMAT, Kind, Store};

/// Opens and reads everything; the error, if there is one.
fn read(dir: &Path, good: &str) -> Option<Kind> {
    let all = Store::open_read(dir).and_then(|store| {
        let all = everything(&store)?;
        for i in 0..2 {
            store.trial(&arm(i).key, 1)?.ok_or_else(|| gradus_record::Error::new(Kind::Damaged, "a trial is gone"))?;
            store.finished(&arm(i).key)?;
        }
        Ok(all)
    });
    match all {
        Ok(found) => {
            assert_eq!(found, good, "damage was not noticed");
            None
        }
        Err(e) => {
            assert!(e.to_string().contains(&dir.display().to_string()) || e.to_string() == "a trial is gone", "{e}");
            Some(e.kind())
        }
    }
}

fn small() -> (Folder, Vec<u8>, String) {
    let folder = Folder::new("damage");
    let store = filled(&folder.0, 2, 4);
    let good = everything(&store).unwrap();
    drop(store);
    let bytes = fs::read(folder.0.join(FILE)).unwrap();
    (folder, bytes, good)
}

#[test]
fn a_file_that_was_cut_off() {
    let (folder, bytes, good) = small();
    assert_eq!(read(&folder.0, &good), None);
    for length in (0..bytes.len()).step_by(512) {
        fs::write(folder.0.join(FILE), &bytes[..length]).unwrap();
        let kind = read(&folder.0, &good);
        assert!(matches!(kind, Some(Kind::Damaged | Kind::NotAStudy)), "{length} of {} bytes: {kind:?}", bytes.len());
        // Neither may opening it to be written make it look whole.
        if let Ok(mut store) = Store::open(&folder.0) {
            let _ = store.insert_trial(&trial(&arm(0), 9));
            drop(store);
            assert!(read(&folder.0, &good).is_some() || Store::open_read(&folder.0).unwrap().check().is_err());
        }
    }
}

#[test]
fn a_file_with_changed_bytes() {
    let (folder, bytes, good) = small();
    let mut random = Random(20);
    let (mut noticed, mut harmless) = (0, 0);
    for i in 0..1200 {
        let mut damaged = bytes.clone();
        for _ in 0..=(i % 3) {
            let at = random.below(bytes.len() as u64) as usize;
            damaged[at] = if random.below(2) == 0 { random.next() as u8 } else { damaged[at] ^ 1 << random.below(8) };
        }
        fs::write(folder.0.join(FILE), &damaged).unwrap();
        match read(&folder.0, &good) {
            Some(_) => noticed += 1,
            None => harmless += 1,
        }
        if i % 10 == 0 {
            // Writing to it may fail, and may not panic.
            if let Ok(mut store) = Store::open(&folder.0) {
                let _ = store.insert_trial(&trial(&arm(0), 9));
                let _ = store.check();
            }
        }
    }
    // Most of a small file is free space: a change there does nothing. But not everything is.
    println!("{} bytes: {noticed} changes noticed, {harmless} did nothing", bytes.len());
    assert!(noticed > 300, "{noticed}");
}

/// The first bytes say what the file is: every bit of them.
#[test]
fn a_file_with_a_changed_head() {
    let (folder, bytes, good) = small();
    let mut kinds = std::collections::BTreeMap::new();
    for bit in 0..800 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(folder.0.join(FILE), &damaged).unwrap();
        *kinds.entry(format!("{:?}", read(&folder.0, &good))).or_insert(0) += 1;
        if let Ok(mut store) = Store::open(&folder.0) {
            let _ = store.insert_trial(&trial(&arm(0), 9));
        }
    }
    println!("{kinds:?}");
}

/// Every page, shuffled, zeroed and doubled.
#[test]
fn a_file_with_pages_of_another_place() {
    let (folder, bytes, good) = small();
    let pages = bytes.len() / 4096;
    let mut random = Random(21);
    for page in 0..pages {
        let other = random.below(pages as u64) as usize;
        for (what, from) in [("zero", None), ("other", Some(other))] {
            let mut damaged = bytes.clone();
            match from {
                None => damaged[page * 4096..][..4096].fill(0),
                Some(other) => damaged.copy_within(other * 4096..(other + 1) * 4096, page * 4096),
            }
            fs::write(folder.0.join(FILE), &damaged).unwrap();
            let kind = read(&folder.0, &good);
            assert!(kind.is_some() || damaged == bytes, "page {page} of {pages}: {what}");
        }
    }
}

#[test]
fn what_is_no_study() {
    let folder = Folder::new("foreign");
    let both = |dir: &Path| {
        let (read, write) = (Store::open_read(dir).unwrap_err(), Store::open(dir).unwrap_err());
        assert_eq!(read.kind(), write.kind(), "{read} {write}");
        read
    };
    let missing = both(&folder.0);
    assert_eq!(missing.kind(), Kind::Missing);
    assert!(missing.to_string().ends_with("study.sqlite: there is no study in this folder"), "{missing}");
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0, "nothing was left there");
    assert!(both(&folder.0.join("no")).to_string().contains("no such folder"));

    let file = folder.0.join(FILE);
    fs::write(&file, b"").unwrap();
    assert_eq!(both(&folder.0).kind(), Kind::NotAStudy);
    assert_eq!(fs::read(&file).unwrap(), b"", "it was left as it was");
    for text in ["rounds = 30\n", &"x".repeat(5000)] {
        fs::write(&file, text).unwrap();
        let e = both(&folder.0);
        assert!(e.kind() == Kind::NotAStudy && e.to_string().contains("no SQLite file"), "{e}");
    }
    assert_eq!(Store::create(&folder.0, &study()).unwrap_err().kind(), Kind::Exists);
    assert!(both(&file).to_string().contains("no folder"));

    fs::remove_file(&file).unwrap();
    let foreign = rusqlite::Connection::open(&file).unwrap();
    foreign.execute_batch("CREATE TABLE study (id); INSERT INTO study VALUES (1)").unwrap();
    drop(foreign);
    let e = both(&folder.0);
    assert!(e.kind() == Kind::NotAStudy && e.to_string().contains("something else"), "{e}");

    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(both(&folder.0).to_string().contains("this is no file"));
    fs::remove_dir(&file).unwrap();
}

#[test]
fn a_newer_study_is_refused_and_left_alone() {
    let folder = Folder::new("newer");
    drop(filled(&folder.0, 1, 1));
    let change = |sql: &str| {
        let c = rusqlite::Connection::open(folder.0.join(FILE)).unwrap();
        c.execute_batch(sql).unwrap();
    };
    change(&format!("PRAGMA user_version = {}; CREATE TABLE more (id)", FORMAT + 1));
    for e in [Store::open(&folder.0).unwrap_err(), Store::open_read(&folder.0).unwrap_err()] {
        assert_eq!(e.kind(), Kind::Newer);
        assert!(e.to_string().contains(&format!("version {}, this program reads up to {FORMAT}", FORMAT + 1)), "{e}");
    }
    change("PRAGMA user_version = 0");
    assert_eq!(Store::open(&folder.0).unwrap_err().kind(), Kind::Damaged);
    // Tables, triggers and views that are not ours are not run, but refused.
    change(&format!("PRAGMA user_version = {FORMAT}"));
    assert!(Store::open(&folder.0).unwrap_err().to_string().contains("has not the tables"));
    change("DROP TABLE more");
    drop(Store::open(&folder.0).unwrap());
    change("CREATE TRIGGER t AFTER INSERT ON trials BEGIN DELETE FROM trials; END");
    assert_eq!(Store::open(&folder.0).unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn rows_that_were_changed_by_hand() {
    let folder = Folder::new("by-hand");
    drop(filled(&folder.0, 2, 4));
    let whole = fs::read(folder.0.join(FILE)).unwrap();
    let trial_1 = (1i64 << 32) + 1;
    for sql in [
        "UPDATE trials SET record = replace(record, '\"warnings\":[]', '\"warnings\":[\"x\"]')".to_string(),
        "UPDATE trials SET outcome = 'failed' WHERE round = 0".into(),
        "DELETE FROM trials WHERE round = 3".into(),
        format!("DELETE FROM epochs WHERE trial = {trial_1}"),
        format!("UPDATE weights SET data = zeroblob(700) WHERE trial != {trial_1}"),
        format!("UPDATE predictions SET data = substr(data, 1, 20) WHERE trial = {trial_1}"),
        "UPDATE grids SET data = x'00', sum = 0".into(),
        "UPDATE steps SET sum = sum + 1".into(),
        "UPDATE arms SET name = 'other' WHERE id = 1".into(),
        "UPDATE arms SET key = 'other' WHERE id = 1".into(),
        "UPDATE arms SET position = 9".into(),
        "UPDATE arms SET active = 0".into(),
        "UPDATE arms SET id = 5 WHERE id = 2".into(),
        "UPDATE study SET rounds = 9".into(),
        "UPDATE study SET record = '{}'".into(),
        "DELETE FROM study".into(),
        "DELETE FROM events".into(),
        "UPDATE events SET text = 'x'".into(),
        "DELETE FROM rounds WHERE round = 1".into(),
        "UPDATE rounds SET record = '{}'".into(),
        "DELETE FROM points".into(),
        "UPDATE samples SET data = x'0000'".into(),
        "UPDATE tuning SET record = replace(record, '0.1', '0.2')".into(),
        "UPDATE tuning SET round = 7 WHERE id = 1".into(),
        "UPDATE tuning SET key = 'candidate 9' WHERE id = 2".into(),
        "DELETE FROM tuning WHERE id = 3".into(),
    ] {
        fs::write(folder.0.join(FILE), &whole).unwrap();
        let c = rusqlite::Connection::open(folder.0.join(FILE)).unwrap();
        c.execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}")).unwrap();
        drop(c);
        let found = Store::open_read(&folder.0).and_then(|s| s.check());
        let e = found.expect_err(&sql);
        assert_eq!(e.kind(), Kind::Damaged, "{sql}: {e}");
    }
}
