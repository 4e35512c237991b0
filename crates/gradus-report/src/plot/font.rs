//! The letters of PNG and PDF files, and the widths that lay out all of them.

use std::sync::OnceLock;

use ttf_parser::{Face, GlyphId};

/// The files, regular and bold; their licence lies beside them.
const FILES: [&[u8]; 2] =
    [include_bytes!("../../fonts/Roboto-Regular.ttf"), include_bytes!("../../fonts/Roboto-Bold.ttf")];

/// A page draws with its reader's letters; most are a little wider than ours.
const SLACK: f64 = 1.07;

pub(super) fn file(bold: bool) -> &'static [u8] {
    FILES[usize::from(bold)]
}

pub(super) fn face(bold: bool) -> &'static Face<'static> {
    static FACES: OnceLock<[Face<'static>; 2]> = OnceLock::new();
    let faces = FACES.get_or_init(|| FILES.map(|f| Face::parse(f, 0).expect("the fonts in this crate can be read")));
    &faces[usize::from(bold)]
}

/// The glyph of a letter; of one the font lacks, an empty box.
pub(super) fn glyph(bold: bool, letter: char) -> GlyphId {
    face(bold).glyph_index(letter).unwrap_or(GlyphId(0))
}

/// How far a glyph moves on, in font units.
pub(super) fn advance(bold: bool, glyph: GlyphId) -> f64 {
    f64::from(face(bold).glyph_hor_advance(glyph).unwrap_or(0))
}

/// The width of a text in PNG and PDF files.
pub(super) fn exact_width(text: &str, size: f64, bold: bool) -> f64 {
    let units: f64 = text.chars().map(|c| advance(bold, glyph(bold, c))).sum();
    units * size / f64::from(face(bold).units_per_em())
}

/// The width to leave for a text.
pub(super) fn width(text: &str, size: f64, bold: bool) -> f64 {
    SLACK * exact_width(text, size, bold)
}

/// The text, or as much of its beginning and end as fits, with `…` between.
pub(super) fn fit(text: &str, size: f64, bold: bool, room: f64) -> String {
    if width(text, size, bold) <= room {
        return text.to_string();
    }
    // Names of arms often differ in their ends alone, so a third of the room is the end's.
    let letters: Vec<char> = text.chars().collect();
    let short = |n: usize| -> String {
        let tail = n / 3;
        letters[..n - tail].iter().chain(&['…']).chain(&letters[letters.len() - tail..]).collect()
    };
    let (mut fits, mut too_long) = (0, letters.len().clamp(1, 400));
    while too_long - fits > 1 {
        let n = (fits + too_long) / 2;
        if width(&short(n), size, bold) <= room { fits = n } else { too_long = n }
    }
    short(fits)
}

/// The text in lines no longer than `room`, broken at spaces.
pub(super) fn wrap(text: &str, size: f64, bold: bool, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), size, bold) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(fit(word, size, bold, room)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fonts_hold_every_sign_that_plots_write() {
        for bold in [false, true] {
            for c in "abcXYZ019−±×→←≤≥…·–%[]()⁰¹²³⁴⁵⁶⁷⁸⁹⁻αμσäéßł".chars() {
                assert_ne!(glyph(bold, c).0, 0, "{c}");
            }
        }
    }

    #[test]
    fn long_names_keep_their_ends() {
        let name = "a_very_long_name_of_an_arm_with_a_learning_rate_of_0.01";
        let short = fit(name, 13.0, false, 120.0);
        assert!(width(&short, 13.0, false) <= 120.0);
        assert!(short.starts_with("a_very") && short.ends_with("0.01") && short.contains('…'), "{short}");
        assert_eq!(fit("net1", 13.0, false, 120.0), "net1");
        assert_eq!(fit("net1", 13.0, false, 0.0), "…");
        assert_eq!(wrap("one two three", 13.0, false, 60.0), ["one two", "three"]);
    }
}
