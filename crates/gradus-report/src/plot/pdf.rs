//! A scene as PDF: lines stay lines and words stay words.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};
use pdf_writer::types::{CidFontType, FontFlags, LineCapStyle, LineJoinStyle, SystemInfo, UnicodeCmap};
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref, Str, TextStr};

use super::font;
use super::png::start;
use super::scene::{Item, Paint, Path, Scene, Segment, Text};

/// Points to a unit: a unit is the 96th of an inch.
const POINTS: f32 = 0.75;
const FONTS: [(&str, &str); 2] = [("F0", "Roboto-Regular"), ("F1", "Roboto-Bold")];

pub(super) fn write(scene: &Scene, title: &str) -> Vec<u8> {
    let mut ids = (1..).map(Ref::new);
    let mut next = || ids.next().expect("there is no end of numbers");
    let (catalog, pages, page, content, info) = (next(), next(), next(), next(), next());
    let fonts = [next(), next()];
    let (width, height) = (scene.width as f32 * POINTS, scene.height as f32 * POINTS);

    let mut draw =
        Draw { content: Content::new(), used: [BTreeMap::new(), BTreeMap::new()], opacities: BTreeMap::new() };
    draw.content.transform([POINTS, 0.0, 0.0, -POINTS, 0.0, height]);
    draw.content.set_line_cap(LineCapStyle::RoundCap).set_line_join(LineJoinStyle::RoundJoin);
    for item in &scene.items {
        match item {
            Item::Shape(shape) => {
                if let Some(fill) = &shape.fill {
                    draw.paint(fill, false);
                    draw.path(&shape.path);
                    draw.content.fill_nonzero();
                }
                if let Some(stroke) = &shape.stroke {
                    draw.paint(&stroke.paint, true);
                    draw.content.set_line_width(stroke.width as f32);
                    let dash = stroke.dash.map(|(on, off)| [on as f32, off as f32]);
                    draw.content.set_dash_pattern(dash.iter().flatten().copied(), 0.0);
                    draw.path(&shape.path);
                    draw.content.stroke();
                }
            }
            Item::Text(text) => draw.text(text),
        }
    }

    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(pages);
    pdf.document_info(info).title(TextStr(title)).producer(TextStr("Gradus"));
    pdf.pages(pages).kids([page]).count(1);
    let mut one = pdf.page(page);
    one.media_box(Rect::new(0.0, 0.0, width, height)).parent(pages).contents(content);
    let mut resources = one.resources();
    let mut names = resources.fonts();
    for ((name, _), id) in FONTS.iter().zip(fonts) {
        names.pair(Name(name.as_bytes()), id);
    }
    names.finish();
    let mut states = resources.ext_g_states();
    for (percent, name) in &draw.opacities {
        let mut state = states.insert(Name(name.as_bytes())).start::<pdf_writer::writers::ExtGraphicsState>();
        let share = f32::from(*percent) / 100.0;
        state.non_stroking_alpha(share).stroking_alpha(share);
    }
    states.finish();
    resources.finish();
    one.finish();
    let packed = pack(&draw.content.finish());
    pdf.stream(content, &packed).filter(Filter::FlateDecode);
    for bold in [false, true] {
        let ids = [fonts[usize::from(bold)], next(), next(), next(), next()];
        embed(&mut pdf, bold, &draw.used[usize::from(bold)], ids);
    }
    pdf.finish()
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
    let _ = packer.write_all(bytes);
    packer.finish().unwrap_or_default()
}

struct Draw {
    content: Content,
    /// The glyphs of each font, and what they say.
    used: [BTreeMap<u16, char>; 2],
    /// Percent and name.
    opacities: BTreeMap<u8, String>,
}

impl Draw {
    fn paint(&mut self, paint: &Paint, stroke: bool) {
        let [r, g, b] = paint.ink.rgb().map(|c| f32::from(c) / 255.0);
        match stroke {
            true => self.content.set_stroke_rgb(r, g, b),
            false => self.content.set_fill_rgb(r, g, b),
        };
        let percent = (paint.opacity.clamp(0.0, 1.0) * 100.0).round() as u8;
        let name = self.opacities.entry(percent).or_insert_with(|| format!("G{percent}"));
        self.content.set_parameters(Name(name.as_bytes()));
    }

    fn path(&mut self, path: &Path) {
        let f = |v: f64| ((v * 100.0).round() / 100.0) as f32;
        for segment in &path.0 {
            match *segment {
                Segment::Move(x, y) => self.content.move_to(f(x), f(y)),
                Segment::Line(x, y) => self.content.line_to(f(x), f(y)),
                Segment::Cubic(a, b, c, d, x, y) => self.content.cubic_to(f(a), f(b), f(c), f(d), f(x), f(y)),
                Segment::Close => self.content.close_path(),
            };
        }
    }

    fn text(&mut self, text: &Text) {
        let mut bytes = Vec::new();
        for letter in text.text.chars() {
            let glyph = font::glyph(text.bold, letter).0;
            self.used[usize::from(text.bold)].entry(glyph).or_insert(letter);
            bytes.extend(glyph.to_be_bytes());
        }
        self.paint(&text.ink.paint(), false);
        let (x, y) = start(text);
        let (x, y) = (x as f32, y as f32);
        // The page was turned over, so that words must be turned back.
        let matrix = match text.upwards {
            false => [1.0, 0.0, 0.0, -1.0, x, y],
            true => [0.0, -1.0, -1.0, 0.0, x, y],
        };
        let name = FONTS[usize::from(text.bold)].0;
        self.content
            .begin_text()
            .set_font(Name(name.as_bytes()), text.size as f32)
            .set_text_matrix(matrix)
            .show(Str(&bytes))
            .end_text();
    }
}

fn embed(pdf: &mut Pdf, bold: bool, used: &BTreeMap<u16, char>, [id, cid, descriptor, map, file]: [Ref; 5]) {
    let face = font::face(bold);
    let base = Name(FONTS[usize::from(bold)].1.as_bytes());
    let em = 1000.0 / f32::from(face.units_per_em());
    let info = SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };
    pdf.type0_font(id).base_font(base).encoding_predefined(Name(b"Identity-H")).descendant_font(cid).to_unicode(map);
    let mut font = pdf.cid_font(cid);
    font.subtype(CidFontType::Type2).base_font(base).system_info(info).font_descriptor(descriptor);
    font.cid_to_gid_map_predefined(Name(b"Identity"));
    let mut widths = font.widths();
    for glyph in used.keys() {
        let advance = font::advance(bold, ttf_parser::GlyphId(*glyph)) as f32;
        widths.consecutive(*glyph, [advance * em]);
    }
    widths.finish();
    font.finish();
    let b = face.global_bounding_box();
    let [x0, y0, x1, y1] = [b.x_min, b.y_min, b.x_max, b.y_max].map(|v| f32::from(v) * em);
    pdf.font_descriptor(descriptor)
        .name(base)
        .flags(FontFlags::SYMBOLIC)
        .bbox(Rect::new(x0, y0, x1, y1))
        .italic_angle(0.0)
        .ascent(f32::from(face.ascender()) * em)
        .descent(f32::from(face.descender()) * em)
        .cap_height(f32::from(face.capital_height().unwrap_or(face.ascender())) * em)
        .stem_v(if bold { 140.0 } else { 80.0 })
        .font_file2(file);
    let mut cmap = UnicodeCmap::new(Name(b"Gradus"), info);
    for (glyph, letter) in used {
        cmap.pair(*glyph, *letter);
    }
    let cmap = pack(&cmap.finish());
    pdf.stream(map, &cmap).filter(Filter::FlateDecode);
    let bytes = font::file(bold);
    let packed = pack(bytes);
    pdf.stream(file, &packed).filter(Filter::FlateDecode).pair(Name(b"Length1"), bytes.len() as i32);
}
