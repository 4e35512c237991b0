//! A TOML text as a tree whose every key and value knows its place.

use std::sync::Arc;

use gradus::spec::Arg;
use indexmap::IndexMap;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::diagnostic::{Place, Read, SourceText};

/// The largest file that is read.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting of brackets, and of dots in one key.
const MAX_DEPTH: usize = 16;

/// A table: keys in the order they were written.
pub(crate) type Table = IndexMap<String, Entry>;

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: Place,
    pub node: Node,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub value: Value,
    pub place: Place,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Date,
    List(Vec<Node>),
    Table(Table),
}

impl Node {
    /// What it is, for messages.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Bool(b) => format!("`{b}`"),
            Value::Int(i) => format!("the number {i}"),
            Value::Float(x) => format!("the number {x}"),
            Value::Text(t) if t.chars().count() <= 40 => format!("the text \"{t}\""),
            Value::Text(_) => "a text".into(),
            Value::Date => "a date".into(),
            Value::List(_) => "a list".into(),
            Value::Table(_) => "a table".into(),
        }
    }

    pub fn table(&self) -> Option<&Table> {
        if let Value::Table(t) = &self.value { Some(t) } else { None }
    }

    pub fn is_false(&self) -> bool {
        matches!(self.value, Value::Bool(false))
    }

    /// The place of a part of a text, given in bytes of the text; the whole value where the file has escapes in it.
    pub fn part(&self, part: std::ops::Range<usize>) -> Place {
        let Value::Text(text) = &self.value else { return self.place.clone() };
        let written = self.place.text();
        let start = match written.strip_prefix(['"', '\'']) {
            Some(rest) if rest.len() == text.len() + 1 && rest.starts_with(text.as_str()) => 1,
            None if written == text => 0,
            _ => return self.place.clone(),
        };
        self.place.part(start + part.start..start + part.end)
    }

    /// The value as an argument of a layer.
    pub fn arg(&self) -> Read<Arg> {
        Ok(match &self.value {
            Value::Bool(b) => Arg::Bool(*b),
            Value::Int(i) => Arg::Int(*i),
            Value::Float(x) => Arg::Float(*x),
            Value::Text(t) => Arg::Text(t.clone()),
            Value::List(items) => Arg::List(items.iter().map(Node::arg).collect::<Read<_>>()?),
            Value::Date | Value::Table(_) => {
                return Err(self
                    .place
                    .error(format_args!("expected a number, a word or a list, found {}", self.describe())));
            }
        })
    }
}

/// Reads a whole file.
pub(crate) fn parse(source: &Arc<SourceText>) -> Read<Table> {
    refuse_deep(source)?;
    let table = DeTable::parse(&source.text).map_err(|e| syntax(source, &e))?;
    read_table(source, table.get_ref())
}

/// Reads one value, which stands at `from`, 2 or more, to the end of its source.
pub(crate) fn parse_value(source: &Arc<SourceText>, from: usize) -> Read<Node> {
    refuse_deep(source)?;
    // A file of one key as long as what stands before the value keeps every span right.
    let text = format!("k{}={}", " ".repeat(from.saturating_sub(2)), source.text[from..].trim_end());
    let table = DeTable::parse(&text).map_err(|e| syntax(source, &e))?;
    match table.get_ref().iter().next() {
        Some((_, value)) if table.get_ref().len() == 1 => read_value(source, value),
        _ => Err(Place::new(source, from..source.text.len()).error("expected one value")),
    }
}

fn syntax(source: &Arc<SourceText>, e: &toml::de::Error) -> Box<crate::Diagnostic> {
    let message = e.message().lines().collect::<Vec<_>>().join("; ");
    Place::new(source, e.span().unwrap_or(0..0)).error(message)
}

/// Refuses what would nest deeper than a study ever does: everything after may recurse.
fn refuse_deep(source: &Arc<SourceText>) -> Read<()> {
    let bytes = source.text.as_bytes();
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; a study has at most {MAX_BYTES}", bytes.len());
        // The report need not carry the file.
        let small = Arc::new(SourceText { name: source.name.clone(), text: String::new() });
        return Err(Place::new(&small, 0..0).error(message));
    }
    let (mut at, mut depth, mut dots) = (0, 0usize, 0usize);
    while at < bytes.len() {
        let rest = &bytes[at..];
        match rest[0] {
            b'#' => at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len() - 1),
            quote @ (b'"' | b'\'') => {
                at += if rest.starts_with(&[quote; 3]) {
                    string_end(&rest[3..], &[quote; 3], quote == b'"').map_or(rest.len(), |n| n + 6)
                } else {
                    let line = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                    string_end(&rest[1..line], &[quote], quote == b'"').map_or(line, |n| n + 2)
                };
                continue;
            }
            b'[' | b'{' => (depth, dots) = (depth + 1, 0),
            b']' | b'}' => (depth, dots) = (depth.saturating_sub(1), 0),
            b'=' | b',' | b'\n' => dots = 0,
            b'.' => dots += 1,
            _ => {}
        }
        if depth > MAX_DEPTH || dots > MAX_DEPTH {
            let what = if depth > MAX_DEPTH { "brackets are nested" } else { "a key has dots" };
            return Err(Place::new(source, at..at + 1).error(format_args!("{what} deeper than {MAX_DEPTH}")));
        }
        at += 1;
    }
    Ok(())
}

/// How many bytes stand before the quotes that end a string.
fn string_end(bytes: &[u8], quotes: &[u8], escapes: bool) -> Option<usize> {
    let mut at = 0;
    while at < bytes.len() {
        if escapes && bytes[at] == b'\\' {
            at += 2;
        } else if bytes[at..].starts_with(quotes) {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}

fn read_table(source: &Arc<SourceText>, table: &DeTable<'_>) -> Read<Table> {
    let entry = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let node = read_value(source, value)?;
        Ok((key.get_ref().to_string(), Entry { key: Place::new(source, key.span()), node }))
    };
    table.iter().map(entry).collect()
}

fn read_value(source: &Arc<SourceText>, value: &Spanned<DeValue<'_>>) -> Read<Node> {
    let place = Place::new(source, value.span());
    let value = match value.get_ref() {
        DeValue::String(s) => Value::Text(s.to_string()),
        DeValue::Integer(i) => match i64::from_str_radix(i.as_str(), i.radix()) {
            Ok(i) => Value::Int(i),
            Err(_) => return Err(place.error("this number is too large")),
        },
        DeValue::Float(x) => match x.as_str().parse::<f64>() {
            Ok(x) if x.is_finite() => Value::Float(x),
            _ => return Err(place.error("expected a finite number")),
        },
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => Value::List(items.iter().map(|i| read_value(source, i)).collect::<Read<_>>()?),
        DeValue::Table(t) => Value::Table(read_table(source, t)?),
    };
    Ok(Node { value, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<SourceText> {
        Arc::new(SourceText { name: "a.toml".into(), text: text.into() })
    }

    #[test]
    fn keys_keep_their_order_and_places() {
        let text = "z = \"Conv2d 16 3\"\n[b.c]\na = [1, 2.5]\n";
        let table = parse(&source(text)).unwrap();
        assert_eq!(table.keys().collect::<Vec<_>>(), ["z", "b"]);
        let z = &table["z"].node;
        assert_eq!((z.place.text(), z.part(7..9).text()), ("\"Conv2d 16 3\"", "16"));
        let a = &table["b"].node.table().unwrap()["c"].node.table().unwrap()["a"];
        assert_eq!((a.key.text(), a.node.place.text()), ("a", "[1, 2.5]"));
        let escaped = parse(&source(r#"z = "Conv2d\t16""#)).unwrap();
        assert_eq!(escaped["z"].node.part(7..9).text(), r#""Conv2d\t16""#);
    }

    #[test]
    fn deep_long_and_huge_are_refused() {
        let error = |text: &str| parse(&source(text)).unwrap_err().message().to_string();
        assert!(error(&format!("a = {}1{}", "[".repeat(60), "]".repeat(60))).contains("nested deeper"));
        assert!(error(&format!("a{} = 1", ".a".repeat(60))).contains("dots"));
        assert!(error(&"#".repeat(10 << 20)).contains("1048576"));
        assert!(error("a = 99999999999999999999").contains("too large"));
        assert!(error("a = 1e999").contains("finite"));
        assert!(
            parse(&source(
                "a = \"[[[[[[[[[[[[[[[[[[[[[[\"\n# [[[[[[[[[[[[[[[[[[[[[\nb = '''\n[[[[[[[[[[[[[[[[[[[[[[\n'''\n"
            ))
            .is_ok()
        );
    }
}
