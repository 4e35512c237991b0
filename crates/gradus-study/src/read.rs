//! Checks tables of a file against [`crate::keys`] and reads their values.

use gradus::Registry;
use gradus::init::Init;
use gradus::net::{Tap, check_name};
use gradus::spec::suggest;

use crate::diagnostic::{Diagnostic, Place, Read};
use crate::keys::{FACTOR, KeyDef, KeyKind, Section};
use crate::spec;
use crate::tree::{Entry, Node, Table, Value};

/// The largest whole number a key takes.
const MAX_COUNT: i64 = u32::MAX as i64;

/// Checks every key and value of a table, and the tables in it. Whether all needed keys are there is for [`Keys::need`]:
/// a table may be a patch.
pub(crate) fn check(section: &'static Section, table: &Table, registry: &Registry) -> Read<()> {
    for (name, Entry { key, node }) in table {
        match (section.key(name), section.others) {
            (Some(def), _) => check_value(def, node, registry)?,
            // Paths and lists of values are read by their own rules.
            (None, Some(other)) if std::ptr::eq(other, &raw const FACTOR) => {}
            (None, Some(other)) => {
                check_name(other.name, name).map_err(|e| key.error(e))?;
                match &node.value {
                    Value::Bool(false) => {}
                    Value::Table(table) => {
                        check(other, table, registry).map_err(|e| e.hint(&near(name, &section.names())))?;
                    }
                    _ => {
                        return Err(key.error(format_args!(
                            "`{name}` would be a {}, which is a table ({}) or false; found {}{}",
                            other.name,
                            other.written,
                            node.describe(),
                            near(name, &section.names())
                        )));
                    }
                }
            }
            (None, None) => return Err(unknown(section, name, key)),
        }
    }
    Ok(())
}

/// The name that was meant, if one is near.
pub(crate) fn near(name: &str, known: &[&str]) -> String {
    Some(suggest(name, known)).filter(|s| s.contains("did you mean")).unwrap_or_default()
}

fn unknown(section: &'static Section, name: &str, key: &Place) -> Box<Diagnostic> {
    let suggested = suggest(name, &section.names());
    // An argument, or a key of another table, is at home there.
    let argument = || {
        section.keys.iter().find_map(|k| {
            let KeyKind::Spec(family) = k.kind else { return None };
            let about = family.list().into_iter().find(|a| a.args.iter().any(|d| d.name == name))?;
            Some(format!("; it is an argument: {} = \"{} {name}=…\"", k.name, about.name))
        })
    };
    let elsewhere = || {
        let section = crate::keys::SECTIONS.iter().find(|s| s.key(name).is_some())?;
        Some(format!("; it belongs to {}", section.written))
    };
    let hint = match suggested.contains("did you mean") {
        true => suggested,
        false => argument().or_else(elsewhere).unwrap_or(suggested),
    };
    key.error(format_args!("{} has no key `{name}`{hint}", section.written))
}

fn check_value(def: &'static KeyDef, node: &Node, registry: &Registry) -> Read<()> {
    if node.is_false() && def.removable() {
        return Ok(());
    }
    let number = |fits: fn(f64) -> bool| number(node).is_some_and(fits);
    let fits = match (def.kind, &node.value) {
        (KeyKind::Text, Value::Text(_)) => true,
        (KeyKind::Name, Value::Text(name)) => return check_name("name", name).map_err(|e| node.place.error(e)),
        (KeyKind::Count, Value::Int(i)) if *i > MAX_COUNT => {
            return Err(node.place.error(format_args!("`{}` is at most {MAX_COUNT}, found {i}", def.name)));
        }
        (KeyKind::Count, Value::Int(i)) => *i >= 1,
        (KeyKind::Natural, Value::Int(i)) => (0..=i64::MAX).contains(i),
        (KeyKind::Number, _) => number(|_| true),
        (KeyKind::Positive, _) => number(|x| x > 0.0),
        (KeyKind::Share, _) => number(|x| x > 0.0 && x < 1.0),
        (KeyKind::Flag, Value::Bool(_)) => true,
        (KeyKind::Choice(words), Value::Text(word)) => match words.contains(&word.as_str()) {
            true => true,
            false => {
                return Err(node.place.error(format_args!(
                    "`{}` is {}, found {}{}",
                    def.name,
                    def.kind,
                    node.describe(),
                    near(word, words)
                )));
            }
        },
        (KeyKind::Choice(words), Value::Int(i)) => words.contains(&i.to_string().as_str()),
        (KeyKind::Init, Value::Text(name)) => return Init::named(name).map(drop).map_err(|e| node.place.error(e)),
        // Without a name it changes arguments of the inherited one, and is checked with it.
        (KeyKind::Spec(family), Value::Table(t))
            if !t.contains_key(family.name_key()) && family != spec::Family::Loss =>
        {
            true
        }
        (KeyKind::Spec(family), _) => return spec::read(node, family, registry).map(drop),
        (KeyKind::Tap, _) => return tap(node).map(drop),
        (KeyKind::Taps, _) => return taps(node).map(drop),
        (KeyKind::Layers, Value::List(items)) => {
            return items.iter().try_for_each(|item| spec::read(item, spec::Family::Layer, registry).map(drop));
        }
        (KeyKind::Transforms, Value::List(items)) => {
            return items.iter().try_for_each(|item| spec::read(item, spec::Family::Transform, registry).map(drop));
        }
        (KeyKind::Texts, Value::List(items)) => items.iter().all(|i| matches!(i.value, Value::Text(_))),
        (KeyKind::Counts, Value::List(items)) => {
            items.iter().all(|i| matches!(i.value, Value::Int(1..=MAX_COUNT))) && (1..=3).contains(&items.len())
        }
        (KeyKind::Table(section), Value::Table(table)) => return check(section, table, registry),
        (KeyKind::Named(section), Value::Table(table)) => {
            return table.iter().try_for_each(|(name, Entry { key, node })| {
                check_name(section.name, name).map_err(|e| key.error(e))?;
                match &node.value {
                    Value::Table(table) => check(section, table, registry),
                    Value::Bool(false) if section.name == "loss" => Ok(()),
                    _ => Err(node.place.error(format_args!(
                        "`{name}` is a table ({}), found {}",
                        section.written,
                        node.describe()
                    ))),
                }
            });
        }
        _ => false,
    };
    match fits {
        true => Ok(()),
        false => Err(node.place.error(format_args!("`{}` is {}, found {}", def.name, def.kind, node.describe()))),
    }
}

fn number(node: &Node) -> Option<f64> {
    match node.value {
        Value::Int(i) => Some(i as f64),
        Value::Float(x) => Some(x),
        _ => None,
    }
}

/// Reads one place in a network.
pub(crate) fn tap(node: &Node) -> Read<Tap> {
    match &node.value {
        Value::Text(text) => text.parse().map_err(|e| node.place.error(e)),
        _ => Err(node.place.error(format_args!("expected {}, found {}", KeyKind::Tap, node.describe()))),
    }
}

/// Reads one place or several.
pub(crate) fn taps(node: &Node) -> Read<Vec<Tap>> {
    match &node.value {
        Value::List(items) if items.is_empty() => Err(node.place.error("an empty list: what feeds this branch?")),
        Value::List(items) => items.iter().map(tap).collect(),
        _ => Ok(vec![tap(node)?]),
    }
}

/// The values of a table that [`check`] has passed.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'t> {
    section: &'static Section,
    pub table: &'t Table,
}

impl<'t> Keys<'t> {
    pub fn new(section: &'static Section, table: &'t Table) -> Keys<'t> {
        Keys { section, table }
    }

    /// The value of a key, unless it is left out or `false` for that.
    ///
    /// # Panics
    /// When [`crate::keys`] has no such key: what is read is what is documented.
    pub fn get(&self, name: &str) -> Option<&'t Node> {
        let def = self.section.key(name).unwrap_or_else(|| panic!("{} has no key {name}", self.section.name));
        self.table.get(name).map(|e| &e.node).filter(|n| !(n.is_false() && def.removable()))
    }

    /// The value of a key that must be there; `place` is that of the table.
    pub fn need(&self, name: &str, place: &Place) -> Read<&'t Node> {
        self.get(name).ok_or_else(|| {
            let def = self.section.key(name).expect("get looked");
            place.error(format_args!("{} needs `{name}`: {} ({})", self.section.written, def.kind, def.help))
        })
    }

    pub fn text(&self, name: &str) -> Option<String> {
        match &self.get(name)?.value {
            Value::Text(t) => Some(t.clone()),
            Value::Int(i) => Some(i.to_string()),
            _ => None,
        }
    }

    pub fn count(&self, name: &str) -> Option<usize> {
        if let Value::Int(i) = self.get(name)?.value { usize::try_from(i).ok() } else { None }
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        number(self.get(name)?)
    }

    pub fn flag(&self, name: &str) -> Option<bool> {
        if let Value::Bool(b) = self.get(name)?.value { Some(b) } else { None }
    }

    pub fn table(&self, name: &str) -> Option<&'t Table> {
        self.get(name)?.table()
    }

    pub fn texts(&self, name: &str) -> Vec<(&'t str, &'t Place)> {
        let Some(Node { value: Value::List(items), .. }) = self.get(name) else { return Vec::new() };
        let text = |n: &'t Node| if let Value::Text(t) = &n.value { Some((t.as_str(), &n.place)) } else { None };
        items.iter().filter_map(text).collect()
    }

    pub fn counts(&self, name: &str) -> Option<Vec<usize>> {
        let Value::List(items) = &self.get(name)?.value else { return None };
        Some(
            items
                .iter()
                .filter_map(|n| if let Value::Int(i) = n.value { usize::try_from(i).ok() } else { None })
                .collect(),
        )
    }
}
