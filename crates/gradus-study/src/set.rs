//! `--set key=value`: changes of a file before it is resolved.

use std::sync::Arc;

use gradus::Registry;
use gradus::spec::suggest;

use crate::diagnostic::{Diagnostic, Place, Read, SourceText};
use crate::keys::ARM;
use crate::patch::inherited;
use crate::spec::{self, Family};
use crate::tree::{self, Entry, Node, Table, Value};

/// Assignments `key=value`, applied to a file in their order before it is resolved: `train.optimizer.lr=0.03`,
/// `arm.net1.head.layers=["Flatten", "Linear 2"]`, `data.train=200`. Values are TOML; a bare word is a text. A number in a
/// key chooses an item of a list: `arm.net1.left.layers.0.out_channels=32`.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    list: Vec<Assignment>,
}

/// A value for a key, and where each part of the key stands.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub keys: Vec<(String, Place)>,
    pub value: Node,
}

impl Overrides {
    /// None.
    pub fn new() -> Overrides {
        Overrides::default()
    }

    /// Reads assignments as they stand after `--set`.
    ///
    /// # Errors
    /// When one has no `=`, an empty key, or a value that begins as TOML and is none.
    pub fn parse(assignments: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Overrides, Box<Diagnostic>> {
        let mut list = Overrides::new();
        for a in assignments {
            list.add(a.as_ref())?;
        }
        Ok(list)
    }

    /// Reads one more assignment.
    ///
    /// # Errors
    /// As [`Overrides::parse`].
    pub fn add(&mut self, assignment: &str) -> Result<(), Box<Diagnostic>> {
        let source = Arc::new(SourceText { name: "--set".into(), text: assignment.to_string() });
        let place = |span: std::ops::Range<usize>| Place::new(&source, span);
        let Some(equals) = assignment.find('=') else {
            return Err(place(0..assignment.len()).error("expected `key=value`, such as `train.epochs=20`"));
        };
        let (mut keys, mut at) = (Vec::new(), 0);
        for word in assignment[..equals].split('.') {
            let start = at + word.len() - word.trim_start().len();
            keys.push((word.trim().to_string(), place(start..start + word.trim().len())));
            at += word.len() + 1;
            if word.trim().is_empty() || keys.len() > 16 {
                return Err(place(0..equals).error("expected a key with dots, such as `train.optimizer.lr`"));
            }
        }
        let from = equals + 1 + assignment[equals + 1..].len() - assignment[equals + 1..].trim_start().len();
        let text = assignment[from..].trim_end();
        let value = match tree::parse_value(&source, from) {
            Ok(Node { value: Value::Date, .. }) => None,
            Ok(node) => Some(node),
            Err(_) if text.is_empty() => {
                return Err(place(0..assignment.len()).error("expected a value after `=`: `train.epochs=20`"));
            }
            // What looks like a number is none for a reason.
            Err(e)
                if text.starts_with(['[', '{', '"', '\''])
                    || text.parse::<f64>().is_ok()
                    || text.len() > tree::MAX_BYTES =>
            {
                return Err(e);
            }
            Err(_) => None,
        };
        let bare = || Node { value: Value::Text(text.to_string()), place: place(from..from + text.len()) };
        let value = value.unwrap_or_else(bare);
        self.list.push(Assignment { keys, value });
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Changes a file as it was written.
    pub(crate) fn apply(&self, tree: &mut Table, registry: &Registry) -> Read<()> {
        self.list.iter().try_for_each(|a| a.apply(tree, registry))
    }
}

impl Assignment {
    fn place(&self, key: usize) -> Place {
        self.keys[key].1.clone()
    }

    fn key(&self, key: usize) -> &str {
        &self.keys[key].0
    }

    /// Changes a file as it was written.
    pub(crate) fn apply(&self, tree: &mut Table, registry: &Registry) -> Read<()> {
        let keys: Vec<&str> = (0..self.keys.len()).map(|k| self.key(k)).collect();
        if let ["arm", arm, path @ ..] = keys.as_slice()
            && let Some(arms) =
                tree.get_mut("arm").and_then(|e| if let Value::Table(t) = &mut e.node.value { Some(t) } else { None })
        {
            if !arms.contains_key(*arm) {
                let known: Vec<&str> = arms.keys().map(String::as_str).collect();
                return Err(self.place(1).error(format_args!("there is no arm `{arm}`{}", suggest(arm, &known))));
            }
            // A part of an inherited branch or loss is changed in a copy of it.
            let whole = match path {
                ["loss", _, _, ..] => 2,
                [branch, _, ..] if ARM.key(branch).is_none() => 1,
                _ => 0,
            };
            if whole > 0
                && let Some(entry) = inherited(arms, arm, &path[..whole]).cloned()
            {
                let mut table = match &mut arms[*arm].node.value {
                    Value::Table(table) => table,
                    _ => return Err(self.place(1).error(format_args!("arm `{arm}` is not a table"))),
                };
                if whole == 2 {
                    table = self.enter(table, 2, registry)?;
                }
                table.entry(path[whole - 1].to_string()).or_insert(entry);
            }
        }
        let mut table = tree;
        let mut at = 0;
        loop {
            if at + 1 == self.keys.len() {
                table.insert(self.key(at).to_string(), Entry { key: self.place(at), node: self.value.clone() });
                return Ok(());
            }
            // A list is entered by a number.
            if let Some(Value::List(items)) = table.get(self.key(at)).map(|e| &e.node.value) {
                let count = items.len();
                let index = self.key(at + 1).parse::<usize>().ok().filter(|i| *i < count).ok_or_else(|| {
                    self.place(at + 1)
                        .error(format_args!("`{}` is a list of {count}: expected a number below {count}", self.key(at)))
                })?;
                let Some(Value::List(items)) = table.get_mut(self.key(at)).map(|e| &mut e.node.value) else {
                    unreachable!("looked above")
                };
                let item = &mut items[index];
                if at + 2 == self.keys.len() {
                    *item = self.value.clone();
                    return Ok(());
                }
                if matches!(item.value, Value::Text(_)) {
                    item.value = Value::Table(spec::to_table(item, Family::Layer, registry)?);
                }
                table = match &mut item.value {
                    Value::Table(table) => table,
                    _ => return Err(self.place(at + 1).error("this item is not a table")),
                };
                at += 2;
                continue;
            }
            table = self.enter(table, at, registry)?;
            at += 1;
        }
    }

    /// The table at a key; made where there is none, and where a string stands for one.
    fn enter<'t>(&self, table: &'t mut Table, at: usize, registry: &Registry) -> Read<&'t mut Table> {
        let name = self.key(at);
        let empty =
            || Entry { key: self.place(at), node: Node { value: Value::Table(Table::new()), place: self.place(at) } };
        let node = &mut table.entry(name.to_string()).or_insert_with(empty).node;
        if node.is_false() {
            node.value = Value::Table(Table::new());
        }
        if matches!(node.value, Value::Text(_)) {
            let family = match name {
                "optimizer" => Some(Family::Optimizer),
                "schedule" => Some(Family::Schedule),
                "kind" => Some(Family::Loss),
                _ => None,
            };
            if let Some(family) = family {
                node.value = Value::Table(spec::to_table(node, family, registry)?);
            }
        }
        let found = node.describe();
        match &mut node.value {
            Value::Table(table) => Ok(table),
            _ => Err(self.place(at).error(format_args!("`{name}` is {found} and has no keys"))),
        }
    }
}
