//! Files that are either there in full or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::error::{Error, Kind, Result};

/// Writes a file so that a reader, or a machine that loses power, finds either the old content or the new one.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    let refused = |e: std::io::Error| Error::new(Kind::Io, format_args!("{}: {e}", path.display()));
    let Some(name) = path.file_name() else {
        return Err(Error::new(Kind::Io, format_args!("{}: this is not the name of a file", path.display())));
    };
    let mut new = std::ffi::OsString::from(".");
    new.push(name);
    new.push(format!(".{}.tmp", std::process::id()));
    let new = path.with_file_name(new);
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(|e| {
        let _ = fs::remove_file(&new); // it is not there if it could not be made
        refused(e)
    })
}

/// Makes a folder, and those it is in.
pub(crate) fn folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| Error::new(Kind::Io, format_args!("{}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_in_full_or_as_it_was() {
        let dir = std::env::temp_dir().join(format!("gradus-report-file-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        folder(&dir.join("a/b")).unwrap();
        let path = dir.join("a/b/report.html");
        write(&path, b"one").unwrap();
        write(&path, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(dir.join("a/b")).unwrap().count(), 1);
        let taken = write(&dir.join("a"), b"x").unwrap_err(); // a folder
        assert!(taken.kind() == Kind::Io && taken.to_string().contains("/a: "), "{taken}");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        assert_eq!(write(Path::new(".."), b"").unwrap_err().kind(), Kind::Io);
        assert!(folder(&path.join("c")).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
