//! Bytes → PNG → a data URI: what an image in a page is.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

/// An image of 8-bit grey values, or of red, green and blue ones, as a data URI.
pub(super) fn data_uri(width: usize, height: usize, colour: bool, pixels: &[u8]) -> String {
    format!("data:image/png;base64,{}", base64(&png(width, height, colour, pixels)))
}

fn png(width: usize, height: usize, colour: bool, pixels: &[u8]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        let mut crc = Crc::new();
        crc.update(kind);
        crc.update(data);
        out.extend((data.len() as u32).to_be_bytes());
        out.extend(kind);
        out.extend(data);
        out.extend(crc.sum().to_be_bytes());
    };
    let mut header = [(width as u32).to_be_bytes(), (height as u32).to_be_bytes()].concat();
    header.extend([8, if colour { 2 } else { 0 }, 0, 0, 0]);
    chunk(b"IHDR", &header);
    let row = width * if colour { 3 } else { 1 };
    let lines: Vec<u8> = pixels.chunks(row.max(1)).flat_map(|line| [&[0], line].concat()).collect(); // 0: no filter
    let mut zip = ZlibEncoder::new(Vec::new(), Compression::best());
    // Writing to memory cannot fail.
    let data = zip.write_all(&lines).and_then(|()| zip.finish()).unwrap_or_default();
    chunk(b"IDAT", &data);
    chunk(b"IEND", &[]);
    out
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |all, b| all << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63] as char;
            text.push(if i <= three.len() { digit } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (bytes, text) in vectors {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn a_png_holds_its_pixels() {
        let bytes = png(3, 2, false, &[0, 1, 2, 253, 254, 255]);
        assert_eq!(bytes[..8], *b"\x89PNG\r\n\x1a\n");
        assert_eq!(bytes[16..26], [0, 0, 0, 3, 0, 0, 0, 2, 8, 0]);
        assert_eq!(bytes[bytes.len() - 12..], *b"\0\0\0\0IEND\xaeB`\x82"); // the check sum every PNG ends with
        let at = bytes.windows(4).position(|w| w == b"IDAT").unwrap();
        let length = u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap()) as usize;
        let mut lines = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::ZlibDecoder::new(&bytes[at + 4..at + 4 + length]), &mut lines)
            .unwrap();
        assert_eq!(lines, [0, 0, 1, 2, 0, 253, 254, 255]);
    }
}
