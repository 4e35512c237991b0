//! An architecture as written: named branches of layers, what feeds them, which share weights, and named losses.
//!
//! This is data (serde): the builder, TOML files and Python all make one, and every model file stores it. Nothing is
//! checked here but form; [`Graph::resolve`](super::Graph::resolve) finds every mistake.

use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::fail;
use crate::spec::Spec;

/// A network as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Branches by name, in the order they were written.
    pub branches: IndexMap<String, Branch>,
    /// Losses by name. The first one is the main one: its branch is what `predict` returns.
    #[serde(default)]
    pub losses: IndexMap<String, Loss>,
    /// Initialiser of every layer that does not name its own; PyTorch's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Patterns of parameters that are not trained: `"left.*"`, `"*.bias"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
}

/// A chain of layers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// What feeds it.
    pub from: Vec<Tap>,
    /// How several feeds become one.
    #[serde(default, skip_serializing_if = "Join::is_concat")]
    pub join: Join,
    /// Its layers; empty when `share` or `like` is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "layer_tables")]
    pub layers: Vec<Spec>,
    /// The branch whose layers and weights it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
    /// The branch whose layers it has, with weights of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
}

/// Layers are stored as tables: `{ layer = "Conv2d", out_channels = 16, kernel_size = 3 }`.
mod layer_tables {
    use super::{Deserialize, IndexMap, Serialize, Spec};
    use crate::spec::Arg;

    #[derive(Serialize, Deserialize)]
    struct Table {
        layer: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        #[serde(flatten)]
        args: IndexMap<String, Arg>,
    }

    pub fn serialize<S: serde::Serializer>(layers: &[Spec], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(layers.iter().map(|l| Table {
            layer: l.name.clone(),
            label: l.label.clone(),
            args: l.args.clone(),
        }))
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<Spec>, D::Error> {
        let tables = Vec::<Table>::deserialize(d)?;
        Ok(tables.into_iter().map(|t| Spec { name: t.layer, label: t.label, args: t.args }).collect())
    }
}

/// How several feeds of a branch become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// Along the first dimension of a sample: channels, features.
    #[default]
    Concat,
    /// The sum.
    Add,
}

impl Join {
    fn is_concat(&self) -> bool {
        *self == Join::Concat
    }
}

/// A place to take a value from: `left`, `left:conv1` (after that layer), `left:1`, `pair[0]` (one channel or feature of
/// an input, or one label of several).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tap {
    /// A branch, an input or a target.
    pub name: String,
    /// After this layer of the branch (its label or index); at the end when absent.
    pub after: Option<String>,
    /// One index of the first dimension.
    pub index: Option<usize>,
}

impl FromStr for Tap {
    type Err = Error;

    fn from_str(text: &str) -> Result<Tap> {
        let bad = || {
            Error::new(
                Kind::Config,
                format!("`{text}` is not a place: expected `branch`, `branch:layer`, `input` or `input[0]`"),
            )
        };
        let (rest, index) = match text.strip_suffix(']').map(|t| t.split_once('[')) {
            Some(Some((rest, index))) => (rest, Some(index.parse().map_err(|_| bad())?)),
            Some(None) => return Err(bad()),
            None => (text, None),
        };
        let (name, after) = match rest.split_once(':') {
            Some((name, after)) => (name, Some(after.to_string())),
            None => (rest, None),
        };
        let word = |s: &str| !s.is_empty() && !s.contains(|c: char| c.is_whitespace() || "[]:".contains(c));
        if !word(name) || after.as_deref().is_some_and(|a| !word(a)) {
            return Err(bad());
        }
        Ok(Tap { name: name.to_string(), after, index })
    }
}

impl fmt::Display for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(after) = &self.after {
            write!(f, ":{after}")?;
        }
        if let Some(index) = self.index {
            write!(f, "[{index}]")?;
        }
        Ok(())
    }
}

impl Serialize for Tap {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tap {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Tap, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A loss as written: which branch is compared with which target, how, and how much it counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// The value that is judged.
    pub of: Tap,
    /// The target of the data set; the first one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Tap>,
    /// Which loss, with its arguments.
    pub kind: Spec,
    /// The factor on it in the sum of all losses.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

fn is_one(x: &f64) -> bool {
    *x == 1.0
}

/// Whether `name` can name a branch, a loss, an arm or a label: it becomes part of parameter names and of file names.
///
/// # Errors
/// [`Kind::Name`] unless it is letters, digits, `_` and `-`, at most 64, the first not `-`.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let fits = !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !fits {
        fail!(Name, "{what} `{name}`: a name is 1 to 64 letters, digits, `_` and `-`, not beginning with `-`");
    }
    Ok(())
}

/// Whether a pattern with `*` for any text covers a whole name.
pub fn covers(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).filter(|i| rest.is_char_boundary(*i)).any(|i| covers(tail, &rest[i..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_read_back() {
        for text in ["left", "left:1", "left:conv1", "pair[0]", "left:1[2]"] {
            assert_eq!(text.parse::<Tap>().unwrap().to_string(), text);
        }
        for text in ["", ":1", "a b", "left:", "pair[x]", "pair]", "pair[0"] {
            assert!(text.parse::<Tap>().is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_cover() {
        assert!(covers("*.bias", "left.0.bias") && covers("left.*", "left.0.bias") && covers("a", "a"));
        assert!(!covers("*.bias", "left.0.weight") && !covers("left", "left.0.bias"));
    }
}
