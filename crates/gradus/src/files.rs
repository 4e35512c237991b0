//! Files that are either there in full or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fail;
use crate::{Error, Result};

/// Writes a file so that a reader, or a machine that loses power, finds either the old content or the new one.
///
/// The content goes to a new file beside `path` and is brought to the disk (`fsync`), then renamed to `path`, and the
/// folder is brought to the disk. A failed write removes the new file and leaves `path` as it was; a failed `fsync` is
/// never tried again, since the pages may be gone.
pub(crate) fn write_atomically(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else { fail!(Argument, "{}: this is not the name of a file", path.display()) };
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let temporary = path.with_file_name(temporary);
    let write = || {
        let mut file = BufWriter::new(OpenOptions::new().write(true).create_new(true).open(&temporary)?);
        content(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_folder(path)
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&temporary); // it is not there if it could not be made
        Error::io(path, &source)
    })
}

/// Brings the folder that holds `path` to the disk, where the system can (Windows cannot).
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// The content of a file of at most `limit` bytes: a larger one is refused before it is read.
pub(crate) fn read_capped(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let read = || {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut bytes = Vec::with_capacity(length.min(limit) as usize);
        file.take(limit + 1).read_to_end(&mut bytes)?; // a pipe or /proc file tells no length
        Ok((length.max(bytes.len() as u64), bytes))
    };
    let (length, bytes) = read().map_err(|source| Error::io(path, &source))?;
    if length > limit {
        fail!(File, "{}: more than {limit} bytes, the most that is read of such a file", path.display());
    }
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::error::Kind;

    /// An empty folder that goes away with its value.
    pub(crate) struct Folder(pub PathBuf);

    impl Folder {
        pub(crate) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gradus-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// `n` damaged versions of a file: a few bytes changed, removed, doubled or cut off, some places more often.
    pub(crate) fn damaged(good: &[u8], n: u64, mut check: impl FnMut(&[u8])) {
        let key = crate::rng::Seed(1).key("damage");
        for i in 0..n {
            let mut random = key.at(i).stream();
            let mut bytes = good.to_vec();
            for _ in 0..=random.below(3) {
                let end = if random.below(2) == 0 { bytes.len() } else { bytes.len().min(40) };
                let at = random.below(end.max(1) as u64) as usize;
                match random.below(8) {
                    _ if bytes.is_empty() => {}
                    0 => bytes.truncate(at),
                    1 => drop(bytes.remove(at)),
                    2 => bytes.insert(at, bytes[at]),
                    3 => bytes[at] = random.next_u32() as u8,
                    4 => bytes[at] = *b"\xff\0(,\n\"9'".get(random.below(8) as usize).unwrap_or(&0),
                    5 => bytes[at] = bytes[random.below(bytes.len() as u64) as usize],
                    _ => bytes[at] ^= 1 << random.below(8),
                }
            }
            check(&bytes);
        }
    }

    #[test]
    fn a_written_file_is_read_again() {
        let folder = Folder::new("files-1");
        let path = folder.0.join("a");
        write_atomically(&path, |w| w.write_all(b"one")).unwrap();
        write_atomically(&path, |w| w.write_all(b"three")).unwrap();
        assert_eq!(read_capped(&path, 5).unwrap(), b"three");
        let refused = read_capped(&path, 4).unwrap_err();
        assert_eq!(refused.kind(), Kind::File);
        assert!(refused.to_string().contains("more than 4 bytes"), "{refused}");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = Folder::new("files-2");
        let path = folder.0.join("a");
        write_atomically(&path, |w| w.write_all(b"old")).unwrap();
        let error = write_atomically(&path, |w| {
            w.write_all(b"new")?;
            Err(io::Error::other("the disk is full"))
        })
        .unwrap_err();
        assert!(error.to_string().ends_with("a: the disk is full"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
        assert_eq!(write_atomically(&folder.0.join("no/b"), |_| Ok(())).unwrap_err().kind(), Kind::Io);
        assert_eq!(write_atomically(Path::new(".."), |_| Ok(())).unwrap_err().kind(), Kind::Argument);
        assert_eq!(read_capped(&folder.0.join("b"), 9).unwrap_err().kind(), Kind::Io);
    }

    #[test]
    fn a_reader_never_sees_half_a_file() {
        let folder = Folder::new("files-3");
        let path = folder.0.join("a");
        write_atomically(&path, |w| w.write_all(&[0; 4096])).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for i in 1..=20u8 {
                    write_atomically(&path, |w| w.write_all(&[i; 4096])).unwrap();
                }
            });
            while !writer.is_finished() {
                let bytes = read_capped(&path, 1 << 20).unwrap();
                assert!(bytes.len() == 4096 && bytes.iter().all(|b| *b == bytes[0]));
            }
        });
    }
}
