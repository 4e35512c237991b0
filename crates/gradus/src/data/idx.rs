//! The IDX format of the MNIST files, compressed with gzip or not.
//!
//! A file is a header and its bytes: two zeros, the type (8: unsigned byte), the number of dimensions, each dimension
//! as a big-endian u32, then exactly as many bytes as these declare. Sizes are checked before anything is allocated.

use std::fmt::Display;
use std::io::Read;
use std::path::Path;

use flate2::bufread::GzDecoder;
use ndarray::{Array1, Array3};

use crate::files::read_capped;
use crate::{Result, fail};

/// The most bytes that a file may hold, compressed or not (MNIST's training images are 47 MB).
const LIMIT: u64 = 1 << 30;

/// Deflate cannot do better: a larger declared size is a lie.
const MOST_COMPRESSION: u64 = 1032;

/// Images (N, height, width) from the bytes of an IDX file; errors call it `file`.
pub fn read_images(bytes: &[u8], file: &str) -> Result<Array3<u8>> {
    let (dims, data) = read::<3>(bytes, &file)?;
    Ok(Array3::from_shape_vec(dims, data).expect("the size was checked"))
}

/// Labels (N) from the bytes of an IDX file; errors call it `file`.
pub fn read_labels(bytes: &[u8], file: &str) -> Result<Array1<u8>> {
    Ok(Array1::from_vec(read::<1>(bytes, &file)?.1))
}

/// Images (N, height, width) from an IDX file.
pub fn read_images_file(path: &Path) -> Result<Array3<u8>> {
    read_images(&read_capped(path, LIMIT)?, &path.display().to_string())
}

/// Labels (N) from an IDX file.
pub fn read_labels_file(path: &Path) -> Result<Array1<u8>> {
    read_labels(&read_capped(path, LIMIT)?, &path.display().to_string())
}

/// The D dimensions and the bytes of a file, which is told from gzip by its first two bytes.
fn read<const D: usize>(mut bytes: &[u8], file: &dyn Display) -> Result<([usize; D], Vec<u8>)> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        let most = bytes.len() as u64;
        return read_plain(&mut bytes, most, file);
    }
    let most = bytes.len() as u64 * MOST_COMPRESSION;
    let mut decoder = GzDecoder::new(bytes);
    let content = read_plain(&mut decoder, most, &format_args!("{file}, decompressed"))?;
    let rest = decoder.into_inner().len();
    if rest > 0 {
        fail!(File, "{file}: byte {}: expected the end of the file, found {rest} more bytes", bytes.len() - rest);
    }
    Ok(content)
}

/// Reads from `source`, which can give at most `most` bytes.
fn read_plain<const D: usize>(source: &mut dyn Read, most: u64, file: &dyn Display) -> Result<([usize; D], Vec<u8>)> {
    let mut read = |at: usize, n: usize, what: &str| {
        let mut bytes = Vec::with_capacity(n);
        let source: &mut dyn Read = &mut *source;
        match source.take(n as u64).read_to_end(&mut bytes) {
            Ok(found) if found == n => Ok(bytes),
            Ok(found) => fail!(File, "{file}: byte {}: expected {n} bytes of {what}, found {found}", at + found),
            Err(e) => fail!(File, "{file}: byte {}: {e} (in {what})", at + bytes.len()),
        }
    };
    let magic = read(0, 4, "the magic number")?;
    if magic != [0, 0, 8, D as u8] {
        fail!(File, "{file}: byte 0: expected the magic number [0, 0, 8, {D}], found {magic:?}");
    }
    let mut dims = [0; D];
    let mut size = Some(1u64);
    for (k, dim) in dims.iter_mut().enumerate() {
        let at = 4 + 4 * k;
        let bytes = read(at, 4, "a dimension")?;
        let declared = bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
        if declared == 0 {
            fail!(File, "{file}: byte {at}: expected a dimension of at least 1, found 0");
        }
        size = size.and_then(|size| size.checked_mul(declared.into()));
        *dim = declared as usize;
    }
    let start = 4 + 4 * D;
    let most = most.min(LIMIT).saturating_sub(start as u64);
    let size = match size {
        Some(size) if size <= most => size as usize,
        _ => fail!(File, "{file}: byte 4: expected dimensions of at most {most} bytes together, found {dims:?}"),
    };
    let data = read(start, size, "data")?;
    let end = start + size;
    match source.read(&mut [0]) {
        Ok(0) => Ok((dims, data)),
        Ok(_) => fail!(File, "{file}: byte {end}: expected the end of the file, found more bytes"),
        Err(e) => fail!(File, "{file}: byte {end}: {e}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::files::tests::{Folder, damaged};
    use std::io::Write;

    /// An IDX file of these dimensions and bytes.
    pub(crate) fn idx(dims: &[u32], data: &[u8]) -> Vec<u8> {
        let mut file = vec![0, 0, 8, dims.len() as u8];
        dims.iter().for_each(|n| file.extend(n.to_be_bytes()));
        file.extend(data);
        file
    }

    pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Three images of 2×3.
    fn small() -> Vec<u8> {
        idx(&[3, 2, 3], &(1..=18).collect::<Vec<u8>>())
    }

    fn refusal(bytes: &[u8]) -> String {
        read_images(bytes, "f").unwrap_err().to_string()
    }

    #[test]
    fn images_and_labels_are_read() {
        let folder = Folder::new("idx");
        for (name, bytes) in [("plain", small()), ("compressed", gz(&small()))] {
            let images = read_images(&bytes, "f").unwrap();
            assert_eq!(images, Array3::from_shape_vec((3, 2, 3), (1..=18).collect()).unwrap());
            let path = folder.0.join(name);
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(read_images_file(&path).unwrap(), images);
        }
        let labels = idx(&[4], &[7, 0, 9, 7]);
        assert_eq!(read_labels(&labels, "f").unwrap().to_vec(), [7, 0, 9, 7]);
        assert_eq!(read_labels(&gz(&labels), "f").unwrap().to_vec(), [7, 0, 9, 7]);
        let refused = read_labels_file(&folder.0.join("plain")).unwrap_err().to_string();
        assert!(
            refused.ends_with("plain: byte 0: expected the magic number [0, 0, 8, 1], found [0, 0, 8, 3]"),
            "{refused}"
        );
    }

    #[test]
    fn damage_is_refused_with_its_place() {
        let mut more = small();
        more.push(0);
        assert_eq!(refusal(b""), "f: byte 0: expected 4 bytes of the magic number, found 0");
        assert_eq!(refusal(&small()[..9]), "f: byte 9: expected 4 bytes of a dimension, found 1");
        assert_eq!(
            refusal(&small()[..33]),
            "f: byte 4: expected dimensions of at most 17 bytes together, found [3, 2, 3]"
        );
        assert_eq!(refusal(&more), "f: byte 34: expected the end of the file, found more bytes");
        assert_eq!(refusal(&gz(&more)), "f, decompressed: byte 34: expected the end of the file, found more bytes");
        assert_eq!(refusal(&gz(&small()[..33])), "f, decompressed: byte 33: expected 18 bytes of data, found 17");
        assert_eq!(refusal(&idx(&[3, 0, 3], &[])), "f: byte 8: expected a dimension of at least 1, found 0");
        let two = [gz(&small()), gz(&small())].concat();
        let end = gz(&small()).len();
        assert_eq!(refusal(&two), format!("f: byte {end}: expected the end of the file, found {end} more bytes"));
        let mut sum = gz(&small());
        let at = sum.len() - 8;
        sum[at] ^= 1;
        assert_eq!(refusal(&sum), "f, decompressed: byte 34: corrupt gzip stream does not have a matching checksum");
    }

    #[test]
    fn declared_sizes_are_checked_before_anything_is_allocated() {
        for dims in [[u32::MAX; 3], [1 << 10, 1 << 10, 1 << 10], [u32::MAX, 1, 1], [1 << 31, 1 << 31, 4]] {
            for file in [idx(&dims, &[0; 10]), gz(&idx(&dims, &[0; 10]))] {
                assert!(refusal(&file).contains("expected dimensions of at most"), "{dims:?}");
            }
        }
        // A bomb: 50 MB of zeros in 50 kB. One byte after the declared ones is enough to refuse it.
        let mut bomb = small();
        bomb.resize(50_000_000, 0);
        let bomb = gz(&bomb);
        assert!(bomb.len() < 60_000);
        assert!(refusal(&bomb).ends_with("byte 34: expected the end of the file, found more bytes"));
    }

    #[test]
    fn no_cut_and_no_flip_of_a_byte_is_taken_for_the_file() {
        let (plain, packed) = (small(), gz(&small()));
        let good = read_images(&plain, "f").unwrap();
        for length in 0..plain.len() {
            read_images(&plain[..length], "f").unwrap_err();
        }
        for length in 0..packed.len() {
            read_images(&packed[..length], "f").unwrap_err();
        }
        for xor in 1..=255 {
            for at in 0..plain.len() {
                let mut bytes = plain.clone();
                bytes[at] ^= xor;
                assert_eq!(read_images(&bytes, "f").is_ok(), at >= 16, "byte {at} ^ {xor}: only pixels may change");
            }
            for at in 0..packed.len() {
                let mut bytes = packed.clone();
                bytes[at] ^= xor;
                // Some bits of gzip's header mean nothing, such as the time: but then the content is the same.
                assert!(read_images(&bytes, "f").map_or(true, |images| images == good), "byte {at} ^ {xor}");
            }
        }
    }

    fn any_damage(n: u64) {
        for good in [small(), gz(&small())] {
            damaged(&good, n, |bytes| {
                if let Ok(images) = read_images(bytes, "f") {
                    assert!(images.len() < 64);
                }
                let _ = read_labels(bytes, "f");
            });
        }
    }

    #[test]
    fn damaged_files_never_panic() {
        any_damage(20_000);
    }

    #[test]
    #[ignore = "a minute: run it when the reader changes"]
    fn a_million_damaged_files_never_panic() {
        any_damage(1_000_000);
    }
}
