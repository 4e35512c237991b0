//! A full disk, a file that may not grow, a folder that may not be written.
//!
//! Small disks are mounted where this process may mount; where it may not, the tests say so and pass.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{Folder, arm, everything, filled, study, trial};
use gradus_record::{Filter, Kind, Store};

const DO: &str = "GRADUS_RECORD_DISK";

/// One test at a time: a process that another test is just starting has all files of this one open for a moment, and a
/// journal that is removed meanwhile still takes its room on the disk.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn quiet(program: &str, arguments: &[&str]) -> bool {
    let run = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

/// A disk in memory, as long as its value lives.
struct Disk(Folder);

impl Disk {
    fn new(size: usize) -> Option<Disk> {
        let folder = Folder::new("disk");
        let path = folder.0.display().to_string();
        if !cfg!(target_os = "linux") || !quiet("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "none", &path])
        {
            println!("passed over: this process may not mount a disk");
            return None;
        }
        Some(Disk(folder))
    }

    fn again(&self, options: &str) {
        assert!(quiet("mount", &["-o", &format!("remount,{options}"), &self.0.0.display().to_string()]), "{options}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        quiet("umount", &["-l", &self.0.0.display().to_string()]);
    }
}

/// Writes trials until it is refused; the error and how many there are.
fn until_full(dir: &Path) -> (gradus_record::Error, usize) {
    let mut store = match Store::create(dir, &study()) {
        Ok(store) => store,
        Err(e) => return (e, 0),
    };
    if let Err(e) = store.set_arms(&[arm(0)]) {
        return (e, 0);
    }
    for round in 0.. {
        if let Err(e) = store.insert_trial(&trial(&arm(0), round)) {
            // What is there can be read, by the same store, and more is refused in the same words.
            assert_eq!(store.finished(&arm(0).key).unwrap().len(), round);
            assert_eq!(store.insert_trial(&trial(&arm(0), round)).unwrap_err().kind(), e.kind());
            return (e, round);
        }
    }
    unreachable!()
}

#[test]
fn a_full_disk_keeps_what_was_written() {
    let _alone = alone();
    let mut most = 0;
    for size in (1..=20).map(|i| i * 20_480) {
        let Some(disk) = Disk::new(size) else { return };
        let dir = disk.0.0.join("run");
        let (error, n) = until_full(&dir);
        assert_eq!(error.kind(), Kind::Full, "{size}: {error}");
        assert!(error.to_string().contains("no space is left"), "{error}");
        most = most.max(n);
        // With more room it goes on.
        disk.again("size=4m");
        let mut store = match Store::open(&dir) {
            Err(e) if e.kind() == Kind::Missing && n == 0 => Store::create(&dir, &study()).unwrap(),
            store => store.unwrap(),
        };
        store.check().unwrap();
        store.set_arms(&[arm(0)]).unwrap();
        assert_eq!(store.finished(&arm(0).key).unwrap(), (0..n).collect::<Vec<_>>());
        store.insert_trial(&trial(&arm(0), n)).unwrap();
        store
            .each_summary(&Filter::default(), |t| {
                assert_eq!(t, trial(&arm(0), t.round).summary());
                Ok::<_, gradus_record::Error>(())
            })
            .unwrap();
        store.check().unwrap();
    }
    assert!(most > 20, "{most}");
}

#[test]
fn a_store_goes_on_when_there_is_room_again() {
    let _alone = alone();
    let Some(disk) = Disk::new(400_000) else { return };
    let dir = disk.0.0.join("run");
    std::fs::write(disk.0.0.join("other"), vec![1; 200_000]).unwrap();
    let mut store = Store::create(&dir, &study()).unwrap();
    store.set_arms(&[arm(0)]).unwrap();
    let full = (0..).find(|i| store.insert_trial(&trial(&arm(0), *i)).is_err()).unwrap();
    std::fs::remove_file(disk.0.0.join("other")).unwrap();
    store.insert_trial(&trial(&arm(0), full)).unwrap();
    assert_eq!(store.finished(&arm(0).key).unwrap().len(), full + 1);
    store.check().unwrap();
}

#[test]
fn a_disk_that_is_read_only() {
    let _alone = alone();
    let Some(disk) = Disk::new(4_000_000) else { return };
    let dir = disk.0.0.join("run");
    let good = everything(&filled(&dir, 2, 3)).unwrap();
    disk.again("ro");
    let refused = Store::open(&dir).unwrap_err();
    assert!(refused.kind() == Kind::ReadOnly && refused.to_string().contains("read-only"), "{refused}");
    assert_eq!(Store::create(&disk.0.0.join("new"), &study()).unwrap_err().kind(), Kind::ReadOnly);
    let store = Store::open_read(&dir).unwrap();
    assert_eq!(everything(&store).unwrap(), good);
    store.check().unwrap();
    assert_eq!(Store::holder(&dir).unwrap(), None);
    drop(store);
    disk.again("rw");
}

/// The other half of the tests below, in a process of its own.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DO) else { return };
    let dir = Path::new(&dir);
    match dir.ends_with("closed") {
        true => {
            let kind = |r: gradus_record::Result<Store>| r.map(|_| ()).map_err(|e| e.kind());
            println!("\nopen {:?}", kind(Store::open(dir)));
            println!("\ncreate {:?}", kind(Store::create(&dir.join("new"), &study())));
            println!("\nread {:?}", Store::open_read(dir).map(|s| s.check().is_ok()).map_err(|e| e.kind()));
        }
        false => {
            let (error, n) = until_full(dir);
            println!("\nended {:?} {n}", error.kind());
        }
    }
}

/// What asks this program for the test `child` alone.
const CHILD: [&str; 4] = ["--exact", "child", "--nocapture", "--test-threads=1"];

fn said(command: &mut Command, dir: &Path) -> String {
    let output = command.env(DO, dir).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_written() {
    let _alone = alone();
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;

    let folder = Folder::new("rights");
    let dir = folder.0.join("closed");
    drop(filled(&dir, 1, 2));
    for (path, mode) in [(dir.join(gradus_record::FILE), 0o444), (dir.join("study.lock"), 0o444), (dir.clone(), 0o555)]
    {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    // Rights mean nothing to the superuser, who becomes somebody else; the program must be open to that one.
    let mut command = Command::new(std::env::current_exe().unwrap());
    if fs::metadata(&dir).unwrap().uid() == 0 {
        let copy = folder.0.join("program");
        fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        fs::set_permissions(&folder.0, Permissions::from_mode(0o755)).unwrap();
        command = Command::new(copy);
        command.uid(65_534).gid(65_534);
    }
    let text = said(command.args(CHILD), &dir);
    assert!(text.contains("open Err(ReadOnly)") && text.contains("create Err(ReadOnly)"), "{text}");
    assert!(text.contains("read Ok(true)"), "{text}");
    // The file alone may not be written.
    fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
    fs::remove_file(dir.join("study.lock")).unwrap();
    let text = said(&mut command, &dir);
    assert!(text.contains("open Err(ReadOnly)") && text.contains("read Ok(true)"), "{text}");
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_grow() {
    let _alone = alone();
    // The shell sets the limit, and takes away the signal that would end the process.
    for blocks in [4, 100, 180, 260] {
        let folder = Folder::new("limit");
        let dir = folder.0.join("run");
        let mut command = Command::new("sh");
        let limit = format!("trap '' XFSZ; ulimit -f {blocks} && exec \"$0\" \"$@\"");
        let this = std::env::current_exe().unwrap();
        let text = said(command.arg("-c").arg(limit).arg(this).args(CHILD), &dir);
        let Some(n) = text.lines().find_map(|l| l.strip_prefix("ended ")) else { panic!("{text}") };
        let (kind, n) = n.split_once(' ').unwrap();
        assert!(kind == "Io" || kind == "Full", "{text}");
        let n: usize = n.parse().unwrap();
        match Store::open(&dir) {
            Err(e) if n == 0 => assert_eq!(e.kind(), Kind::Missing),
            store => {
                let mut store = store.unwrap();
                store.check().unwrap();
                assert_eq!(store.trials(&Filter::default()).unwrap().len(), n);
                store.set_arms(&[arm(0)]).unwrap();
                store.insert_trial(&trial(&arm(0), n)).unwrap();
            }
        }
    }
}
