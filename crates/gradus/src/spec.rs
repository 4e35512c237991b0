//! How a layer, a loss, an optimiser … is written down, and the list that says what may be written.
//!
//! A [`Spec`] is a name and arguments: what files store. A [`Def`] is the entry of that name in one of the lists
//! ([`crate::layers::LAYERS`], [`crate::losses::LOSSES`], …): its arguments with kinds and defaults, its formula, and the
//! function that makes it. Parsing, `gradus help`, the JSON schema and the completeness tests are all derived from the
//! lists, so that what is documented is what is accepted.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::fail;

/// One argument as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Arg {
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A word.
    Text(String),
    /// Several, such as a kernel size `[3, 2]`.
    List(Vec<Arg>),
}

impl Arg {
    /// Reads one word of a layer string: `3`, `0.5`, `true`, `3x2`, `[3,2]`, `mean`.
    pub fn parse(word: &str) -> Arg {
        let list = |items: Vec<&str>| Arg::List(items.into_iter().map(|w| Arg::parse_one(w.trim())).collect());
        if let Some(inner) = word.strip_prefix('[').and_then(|w| w.strip_suffix(']')) {
            return list(inner.split(',').collect());
        }
        if let Some((a, b)) = word.split_once('x')
            && [a, b].iter().all(|s| !s.is_empty() && s.bytes().all(|c| c.is_ascii_digit()))
        {
            return list(vec![a, b]);
        }
        Arg::parse_one(word)
    }

    /// One word that is no list: lists hold no lists.
    fn parse_one(word: &str) -> Arg {
        match word {
            "true" => Arg::Bool(true),
            "false" => Arg::Bool(false),
            _ => match (word.parse::<i64>(), word.parse::<f64>()) {
                (Ok(i), _) => Arg::Int(i),
                // `inf` and `nan` parse as floats in Rust, but nobody writes them as numbers here.
                (_, Ok(f)) if word.bytes().any(|c| c.is_ascii_digit()) => Arg::Float(f),
                _ => Arg::Text(word.to_string()),
            },
        }
    }

    /// Its value where it is a finite number.
    fn as_number(&self) -> Option<f64> {
        match self {
            Arg::Int(i) => Some(*i as f64),
            Arg::Float(x) if x.is_finite() => Some(*x),
            _ => None,
        }
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arg::Bool(b) => write!(f, "{b}"),
            Arg::Int(i) => write!(f, "{i}"),
            Arg::Float(x) => write!(f, "{x:?}"),
            Arg::Text(s) => f.write_str(s),
            Arg::List(items) => {
                let plain = items.len() == 2 && items.iter().all(|i| matches!(i, Arg::Int(n) if *n >= 0));
                let words: Vec<String> = items.iter().map(Arg::to_string).collect();
                if plain { write!(f, "{}", words.join("x")) } else { write!(f, "[{}]", words.join(",")) }
            }
        }
    }
}

impl From<bool> for Arg {
    fn from(x: bool) -> Arg {
        Arg::Bool(x)
    }
}
impl From<usize> for Arg {
    fn from(x: usize) -> Arg {
        Arg::Int(x as i64)
    }
}
impl From<f64> for Arg {
    fn from(x: f64) -> Arg {
        Arg::Float(x)
    }
}
impl From<&str> for Arg {
    fn from(x: &str) -> Arg {
        Arg::Text(x.to_string())
    }
}
impl From<[f64; 2]> for Arg {
    fn from(x: [f64; 2]) -> Arg {
        Arg::List(x.map(Arg::Float).to_vec())
    }
}
impl From<(usize, usize)> for Arg {
    fn from((a, b): (usize, usize)) -> Arg {
        if a == b { a.into() } else { Arg::List(vec![a.into(), b.into()]) }
    }
}

/// A layer, loss, optimiser … as written: its name and its arguments, those left out not included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Its name in the list.
    pub name: String,
    /// A name of its own within its branch: `conv1: Conv2d 16 3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Arguments by name.
    #[serde(flatten)]
    pub args: IndexMap<String, Arg>,
}

impl Spec {
    /// `name` with no arguments.
    pub fn new(name: &str) -> Spec {
        Spec { name: name.to_string(), label: None, args: IndexMap::new() }
    }

    /// The same with one more argument.
    #[must_use]
    pub fn arg(mut self, name: &str, value: impl Into<Arg>) -> Spec {
        self.args.insert(name.to_string(), value.into());
        self
    }

    /// The same with one more argument where it differs from the default.
    #[must_use]
    pub fn arg_unless(self, name: &str, value: impl Into<Arg>, default: impl Into<Arg>) -> Spec {
        let value = value.into();
        if value == default.into() { self } else { self.arg(name, value) }
    }

    /// Reads `[label:] Name positional… key=value…`; `order` gives the names of the positional arguments of `Name`.
    ///
    /// # Errors
    /// [`Kind::Config`] for an empty string, too many positional arguments, or an argument given twice.
    pub fn parse(text: &str, order: impl Fn(&str) -> Result<Vec<&'static str>>) -> Result<Spec> {
        let mut words = text.split_whitespace().peekable();
        let mut label = None;
        if let Some(l) = words.peek().and_then(|w| w.strip_suffix(':')) {
            label = Some(l.to_string());
            words.next();
        }
        let Some(name) = words.next() else {
            fail!(Config, "empty layer string `{text}`: expected `Name arguments…`")
        };
        let mut spec = Spec { label, ..Spec::new(name) };
        let names = order(name)?;
        let mut positional = names.iter();
        for word in words {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, value),
                None => match positional.next() {
                    Some(key) => (*key, word),
                    None => fail!(
                        Config,
                        "`{name}` takes at most {} arguments ({}), found also `{word}`",
                        names.len(),
                        names.join(", ")
                    ),
                },
            };
            if spec.args.insert(key.to_string(), Arg::parse(value)).is_some() {
                fail!(Config, "`{name}`: argument `{key}` is given twice");
            }
        }
        Ok(spec)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = &self.label {
            write!(f, "{label}: ")?;
        }
        f.write_str(&self.name)?;
        self.args.iter().try_for_each(|(k, v)| write!(f, " {k}={v}"))
    }
}

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    /// A whole number from 1 on.
    Count,
    /// A whole number from 0 on.
    Natural,
    /// Two whole numbers from 0 on (height, width), or one for both.
    Pair,
    /// A finite number.
    Number,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of whole numbers.
    Naturals,
    /// Two finite numbers.
    NumberPair,
}

impl fmt::Display for ArgKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgKind::Count => f.write_str("a whole number from 1 on"),
            ArgKind::Natural => f.write_str("a whole number from 0 on"),
            ArgKind::Pair => f.write_str("a whole number, or two: 3x2"),
            ArgKind::Number => f.write_str("a number"),
            ArgKind::Flag => f.write_str("true or false"),
            ArgKind::Choice(words) => write!(f, "one of {}", words.join(", ")),
            ArgKind::Naturals => f.write_str("a list of whole numbers"),
            ArgKind::NumberPair => f.write_str("two numbers: [0.9,0.99]"),
        }
    }
}

/// One argument in a list.
#[derive(Clone, Copy, Debug)]
pub struct ArgDef {
    /// Its name, torch's where torch has it.
    pub name: &'static str,
    /// What it may be.
    pub kind: ArgKind,
    /// Its value when left out, as text; `None` when it must be given, `Some("")` when leaving it out has a meaning of
    /// its own, told in `help`.
    pub default: Option<&'static str>,
    /// What it does, in one line.
    pub help: &'static str,
}

/// An argument that must be given.
pub const fn required(name: &'static str, kind: ArgKind, help: &'static str) -> ArgDef {
    ArgDef { name, kind, default: None, help }
}

/// An argument with a default.
pub const fn optional(name: &'static str, kind: ArgKind, default: &'static str, help: &'static str) -> ArgDef {
    ArgDef { name, kind, default: Some(default), help }
}

/// An entry of a list: all there is to know of a layer, loss, optimiser … before it is made.
pub struct Def<T: ?Sized + 'static> {
    /// Its name.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// What it computes.
    pub formula: &'static str,
    /// Shapes in and out, per sample; `B` the batch is left out.
    pub shapes: &'static str,
    /// Arguments; their order is that of positional ones.
    pub args: &'static [ArgDef],
    /// Makes it from checked arguments.
    pub make: fn(&Args) -> Result<Box<T>>,
}

impl<T: ?Sized> fmt::Debug for Def<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Def({})", self.name)
    }
}

impl<T: ?Sized> Def<T> {
    /// Checks the arguments of `spec` and makes it.
    ///
    /// # Errors
    /// [`Kind::Config`] for an unknown, missing or ill-formed argument, with the nearest known name.
    pub fn build(&self, spec: &Spec) -> Result<Box<T>> {
        (self.make)(&Args::new(self.name, self.args, spec)?)
    }

    /// The names of the arguments in positional order.
    pub fn order(&self) -> Vec<&'static str> {
        self.args.iter().map(|a| a.name).collect()
    }
}

/// The arguments of one [`Spec`], checked against the list and completed by the defaults.
#[derive(Clone, Debug)]
pub struct Args {
    of: &'static str,
    values: IndexMap<&'static str, Arg>,
}

impl Args {
    fn new(of: &'static str, defs: &'static [ArgDef], spec: &Spec) -> Result<Args> {
        for key in spec.args.keys() {
            if !defs.iter().any(|d| d.name == key) {
                let known: Vec<&str> = defs.iter().map(|d| d.name).collect();
                fail!(Config, "`{of}` has no argument `{key}`{}", suggest(key, &known));
            }
        }
        let mut values = IndexMap::new();
        for def in defs {
            let value = match (spec.args.get(def.name), def.default) {
                (Some(value), _) => value.clone(),
                (None, Some("")) => continue,
                (None, Some(default)) => Arg::parse(default),
                (None, None) => fail!(Config, "`{of}` needs `{}`: {} ({})", def.name, def.kind, def.help),
            };
            let fits = match (def.kind, &value) {
                (ArgKind::Count, Arg::Int(i)) => *i >= 1 && *i <= u32::MAX as i64,
                (ArgKind::Natural, Arg::Int(i)) => *i >= 0 && *i <= u32::MAX as i64,
                (ArgKind::Pair, Arg::Int(i)) => *i >= 0 && *i <= u32::MAX as i64,
                (ArgKind::Pair, Arg::List(l)) => {
                    l.len() == 2 && l.iter().all(|a| matches!(a, Arg::Int(i) if *i >= 0 && *i <= u32::MAX as i64))
                }
                (ArgKind::Number, value) => value.as_number().is_some(),
                (ArgKind::Flag, Arg::Bool(_)) => true,
                (ArgKind::Choice(words), Arg::Text(t)) => words.contains(&t.as_str()),
                (ArgKind::Naturals, Arg::List(l)) => l.iter().all(|a| matches!(a, Arg::Int(i) if *i >= 0)),
                (ArgKind::NumberPair, Arg::List(l)) => l.len() == 2 && l.iter().all(|a| a.as_number().is_some()),
                _ => false,
            };
            if !fits {
                fail!(Config, "`{of}`: `{}` must be {}, found `{value}`", def.name, def.kind);
            }
            values.insert(def.name, value);
        }
        Ok(Args { of, values })
    }

    /// Whether an argument whose default is "left out" was given.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    fn get(&self, name: &str) -> &Arg {
        self.values.get(name).unwrap_or_else(|| panic!("`{}` asks for `{name}`, which its list does not have", self.of))
    }

    /// A whole number.
    ///
    /// # Panics
    /// This and the other readers panic when the list does not declare `name` with that kind.
    pub fn count(&self, name: &str) -> usize {
        match self.get(name) {
            Arg::Int(i) => *i as usize,
            other => panic!("`{}`: `{name}` is {other:?}", self.of),
        }
    }

    /// Two whole numbers.
    pub fn pair(&self, name: &str) -> (usize, usize) {
        match self.get(name) {
            Arg::Int(i) => (*i as usize, *i as usize),
            Arg::List(l) => match l.as_slice() {
                [Arg::Int(a), Arg::Int(b)] => (*a as usize, *b as usize),
                _ => panic!("`{}`: `{name}` is {l:?}", self.of),
            },
            other => panic!("`{}`: `{name}` is {other:?}", self.of),
        }
    }

    /// A number.
    pub fn number(&self, name: &str) -> f64 {
        let value = self.get(name);
        value.as_number().unwrap_or_else(|| panic!("`{}`: `{name}` is {value:?}", self.of))
    }

    /// Two numbers.
    pub fn number_pair(&self, name: &str) -> [f64; 2] {
        if let Arg::List(l) = self.get(name)
            && let [Some(a), Some(b)] = [0, 1].map(|i| l.get(i).and_then(Arg::as_number))
        {
            return [a, b];
        }
        panic!("`{}`: `{name}` is {:?}", self.of, self.get(name))
    }

    /// `true` or `false`.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Arg::Bool(true))
    }

    /// A word.
    pub fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Arg::Text(t) => t,
            other => panic!("`{}`: `{name}` is {other:?}", self.of),
        }
    }

    /// A list of whole numbers.
    pub fn naturals(&self, name: &str) -> Vec<usize> {
        match self.get(name) {
            Arg::List(l) => {
                l.iter().filter_map(|a| if let Arg::Int(i) = a { Some(*i as usize) } else { None }).collect()
            }
            other => panic!("`{}`: `{name}` is {other:?}", self.of),
        }
    }
}

/// Finds `name` in a list.
///
/// # Errors
/// [`Kind::Name`], with the nearest known name.
pub fn find<T: ?Sized>(list: &[&'static Def<T>], what: &str, name: &str) -> Result<&'static Def<T>> {
    list.iter().find(|d| d.name == name).copied().ok_or_else(|| {
        let known: Vec<&str> = list.iter().map(|d| d.name).collect();
        Error::new(Kind::Name, format!("there is no {what} `{name}`{}", suggest(name, &known)))
    })
}

/// `"; did you mean `x`?"` with the nearest known word, or the list of known words when none is near.
pub fn suggest(word: &str, known: &[&str]) -> String {
    if word.len() > 100 {
        return String::new(); // nobody has mistyped that
    }
    let near = known.iter().map(|k| (distance(&word.to_lowercase(), &k.to_lowercase()), *k)).min();
    match near {
        Some((d, k)) if d <= 1 + word.chars().count() / 3 => format!("; did you mean `{k}`?"),
        Some(_) if known.len() <= 40 => format!("; known: {}", known.join(", ")),
        _ => String::new(),
    }
}

/// Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(_: &str) -> Result<Vec<&'static str>> {
        Ok(vec!["out_channels", "kernel_size", "stride"])
    }

    #[test]
    fn a_layer_string_reads_as_its_table() {
        let spec = Spec::parse("conv1: Conv2d 16 3x2 stride=2 bias=false", order).unwrap();
        assert_eq!(spec.label.as_deref(), Some("conv1"));
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(
            json,
            r#"{"name":"Conv2d","label":"conv1","out_channels":16,"kernel_size":[3,2],"stride":2,"bias":false}"#
        );
        assert_eq!(serde_json::from_str::<Spec>(&json).unwrap(), spec);
        assert_eq!(Spec::parse(&spec.to_string(), order).unwrap(), spec);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let text = |t| Spec::parse(t, order).unwrap_err().to_string();
        assert!(text("").contains("empty layer string"));
        assert!(text("Conv2d 1 2 3 4").contains("at most 3 arguments"));
        assert!(text("Conv2d 1 out_channels=2").contains("given twice"));
    }

    #[test]
    fn lists_hold_no_lists_however_deep() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(matches!(Arg::parse(&deep), Arg::List(items) if matches!(items[..], [Arg::Text(_)])));
    }

    #[test]
    fn suggestions_are_near() {
        assert_eq!(suggest("Conv2D", &["Linear", "Conv2d"]), "; did you mean `Conv2d`?");
        assert_eq!(suggest("bais", &["bias", "stride"]), "; did you mean `bias`?");
        assert_eq!(suggest("zzzz", &["bias", "stride"]), "; known: bias, stride");
    }
}
