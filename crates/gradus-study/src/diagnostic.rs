//! What is wrong with a file, and where: the line with a caret, in plain text or in colour.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use gradus::error::{Error, Kind};

/// A text that settings come from: the file, or one `--set`.
#[derive(Debug)]
pub(crate) struct SourceText {
    /// What it is called in messages.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// Bytes of one of the texts.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub source: Arc<SourceText>,
    pub span: Range<usize>,
}

impl Place {
    pub fn new(source: &Arc<SourceText>, span: Range<usize>) -> Place {
        Place { source: source.clone(), span }
    }

    /// A part of this place, given from its start.
    pub fn part(&self, part: Range<usize>) -> Place {
        Place::new(&self.source, self.span.start + part.start..self.span.start + part.end)
    }

    /// The text at this place.
    pub fn text(&self) -> &str {
        self.source.text.get(self.span.clone()).unwrap_or_default()
    }

    /// An error here.
    pub fn error(&self, message: impl fmt::Display) -> Box<Diagnostic> {
        Box::new(Diagnostic { message: message.to_string(), place: self.clone(), also: None, kind: Kind::Config })
    }
}

/// What is wrong with a settings file. Prints as the message, `file:line:column`, and the line with a caret.
#[derive(Clone)]
pub struct Diagnostic {
    message: String,
    place: Place,
    also: Option<(Place, String)>,
    kind: Kind,
}

impl Diagnostic {
    /// The message alone: one sentence, what is wrong and what was expected.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The file it is about, or the flag: `--set`.
    pub fn file(&self) -> &str {
        &self.place.source.name
    }

    /// Line and column, from 1 on; columns count characters.
    pub fn position(&self) -> (usize, usize) {
        let text = &self.place.source.text;
        let mut at = self.place.span.start.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &text[..at];
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        (line, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
    }

    /// The text the caret points at.
    pub fn excerpt(&self) -> &str {
        self.place.text()
    }

    /// The kind of error it becomes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The whole report, in colour for a terminal or in plain text.
    pub fn render(&self, colour: bool) -> String {
        let text = &self.place.source.text;
        let mut snippet = Snippet::source(text.as_str()).path(self.place.source.name.as_str());
        snippet = snippet.annotation(AnnotationKind::Primary.span(valid(text, &self.place.span)));
        let mut other = None;
        if let Some((place, label)) = &self.also {
            let note = AnnotationKind::Context.span(valid(&place.source.text, &place.span)).label(label.as_str());
            if Arc::ptr_eq(&place.source, &self.place.source) {
                snippet = snippet.annotation(note);
            } else {
                other =
                    Some(Snippet::source(place.source.text.as_str()).path(place.source.name.as_str()).annotation(note));
            }
        }
        let mut group = Level::ERROR.primary_title(self.message.as_str()).element(snippet);
        if let Some(other) = other {
            group = group.element(other);
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }

    /// The same, pointing at a second place too.
    pub(crate) fn also(mut self: Box<Self>, place: &Place, label: &str) -> Box<Self> {
        self.also = Some((place.clone(), label.to_string()));
        self
    }

    /// The same, with what may have been meant, unless it says so already.
    pub(crate) fn hint(mut self: Box<Self>, hint: &str) -> Box<Self> {
        if !self.message.contains("did you mean") {
            self.message += hint;
        }
        self
    }

    /// The same, of another kind.
    pub(crate) fn of_kind(mut self: Box<Self>, kind: Kind) -> Box<Self> {
        self.kind = kind;
        self
    }
}

/// A span that begins and ends between characters of the text, and is not empty unless the text ends there.
fn valid(text: &str, span: &Range<usize>) -> Range<usize> {
    let (mut start, mut end) = (span.start.min(text.len()), span.end.min(text.len()));
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    end = end.max(start);
    while !text.is_char_boundary(end) {
        end += 1;
    }
    // A value of many lines is shown by its first.
    let line = text[start..end].find('\n').map_or(end, |at| start + at);
    if line > start { start..line } else { start..end }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.render(false))
    }
}

impl std::error::Error for Diagnostic {}

impl From<Box<Diagnostic>> for Error {
    fn from(d: Box<Diagnostic>) -> Error {
        let ((line, column), file) = (d.position(), d.file());
        // The error's sentence stands alone where only a sentence is shown; the lines below it show the place.
        let report = d.render(false);
        let below = report.split_once('\n').map_or("", |(_, rest)| rest);
        Error::new(d.kind, format_args!("{file}:{line}:{column}: {}\n{below}", d.message))
    }
}

/// What reads settings: a value, or what is wrong.
pub(crate) type Read<T> = Result<T, Box<Diagnostic>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, span: Range<usize>) -> Place {
        Place::new(&Arc::new(SourceText { name: "a.toml".into(), text: text.into() }), span)
    }

    #[test]
    fn a_report_has_file_line_column_and_a_caret() {
        let d = place("x = 1\ntitel = \"é\"\n", 6..11).error("unknown key `titel`; did you mean `title`?");
        assert_eq!((d.position(), d.excerpt()), ((2, 1), "titel"));
        let report = d.to_string();
        assert!(
            report.contains("a.toml:2:1") && report.contains("^^^^^") && report.contains("did you mean"),
            "{report}"
        );
        assert!(d.render(true).contains('\u{1b}') && !report.contains('\u{1b}'));
    }

    #[test]
    fn spans_inside_a_character_or_past_the_end_are_mended() {
        for span in [0..1, 1..2, 0..99, 99..100] {
            let _ = place("é", span.clone()).error("x").to_string();
            let _ = place("", span.clone()).error("x").to_string();
            let _ = place("a\nb\n", span).error("x").to_string();
        }
    }
}
