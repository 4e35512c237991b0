//! Layers, losses, optimisers and schedules as they stand in a file: a string or a table.

use gradus::data::augment::TRANSFORMS;
use gradus::error::Error;
use gradus::init::Init;
use gradus::layers::LAYERS;
use gradus::losses::LOSSES;
use gradus::optim::OPTIMIZERS;
use gradus::spec::{Arg, ArgDef, Def, Spec, find, suggest};
use gradus::train::SCHEDULES;
use gradus::{Registry, Result};
use indexmap::IndexMap;

use crate::diagnostic::{Diagnostic, Place, Read};
use crate::tree::{Entry, Node, Table, Value};

/// The lists of things that have a name and arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// [`gradus::layers::LAYERS`].
    Layer,
    /// [`gradus::losses::LOSSES`].
    Loss,
    /// [`gradus::optim::OPTIMIZERS`].
    Optimizer,
    /// [`gradus::train::SCHEDULES`].
    Schedule,
    /// [`gradus::data::augment::TRANSFORMS`].
    Transform,
}

/// What a list says of one of its names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub name: &'static str,
    pub summary: &'static str,
    pub formula: &'static str,
    pub shapes: &'static str,
    pub args: &'static [ArgDef],
}

impl<T: ?Sized> From<&Def<T>> for About {
    fn from(d: &Def<T>) -> About {
        About { name: d.name, summary: d.summary, formula: d.formula, shapes: d.shapes, args: d.args }
    }
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 5] = [Family::Layer, Family::Loss, Family::Optimizer, Family::Schedule, Family::Transform];

    /// What one is called.
    pub fn what(self) -> &'static str {
        match self {
            Family::Layer => "layer",
            Family::Loss => "loss",
            Family::Optimizer => "optimizer",
            Family::Schedule => "schedule",
            Family::Transform => "transform",
        }
    }

    pub(crate) fn article(self) -> &'static str {
        match self {
            Family::Layer => "a layer",
            Family::Loss => "a loss",
            Family::Optimizer => "an optimizer",
            Family::Schedule => "a schedule",
            Family::Transform => "a transform",
        }
    }

    /// The key that holds the name in a table.
    pub fn name_key(self) -> &'static str {
        if self == Family::Layer { "layer" } else { "name" }
    }

    /// The built-in ones.
    pub(crate) fn list(self) -> Vec<About> {
        match self {
            Family::Layer => LAYERS.iter().map(|d| About::from(*d)).collect(),
            Family::Loss => LOSSES.iter().map(|d| About::from(*d)).collect(),
            Family::Optimizer => OPTIMIZERS.iter().map(|d| About::from(*d)).collect(),
            Family::Schedule => SCHEDULES.iter().map(|d| About::from(*d)).collect(),
            Family::Transform => TRANSFORMS.iter().map(|d| About::from(*d)).collect(),
        }
    }

    /// The arguments of `name`; an error with the nearest name when there is none.
    fn args(self, name: &str, registry: &Registry) -> Result<&'static [ArgDef]> {
        Ok(match self {
            Family::Layer => {
                registry.layer_order(name)?;
                registry.layers().iter().find(|d| d.name == name).map_or(&[][..], |d| d.args)
            }
            Family::Loss => find(registry.losses(), "loss", name)?.args,
            Family::Optimizer => find(OPTIMIZERS, "optimizer", name)?.args,
            Family::Schedule => find(SCHEDULES, "schedule", name)?.args,
            Family::Transform => find(TRANSFORMS, "transform", name)?.args,
        })
    }

    /// Whether it can be made.
    fn check(self, spec: &Spec, registry: &Registry) -> Result<()> {
        match self {
            Family::Layer => registry.make_layer(spec).map(drop),
            Family::Loss => registry.make_loss(spec).map(drop),
            Family::Optimizer => find(OPTIMIZERS, "optimizer", &spec.name)?.build(spec).map(drop),
            Family::Schedule => find(SCHEDULES, "schedule", &spec.name)?.build(spec).map(drop),
            Family::Transform => find(TRANSFORMS, "transform", &spec.name)?.build(spec).map(drop),
        }
    }
}

/// A [`Spec`] with the place of every word.
struct Written {
    name: (Place, String),
    label: Option<(Place, String)>,
    args: IndexMap<String, (Place, Place, Arg)>,
}

/// Reads and checks a string or a table.
pub(crate) fn read(node: &Node, family: Family, registry: &Registry) -> Read<Spec> {
    let written = write(node, family, registry)?;
    let spec = Spec {
        name: written.name.1.clone(),
        label: written.label.as_ref().map(|l| l.1.clone()),
        args: written.args.iter().map(|(k, (.., v))| (k.clone(), v.clone())).collect(),
    };
    if let Some((_, place, init)) =
        spec.args.get("init").and(written.args.get("init")).filter(|_| family == Family::Layer)
    {
        let Arg::Text(name) = init else {
            return Err(place.error(format_args!("`init` is the name of an initialiser, found `{init}`")));
        };
        Init::named(name).map_err(|e| place.error(e))?;
    }
    family.check(&spec, registry).map_err(|e| {
        let named = |k: &str| e.to_string().split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == k);
        let quoted = written.args.iter().find(|(k, _)| mentions(&e, k));
        let mut loose = written.args.iter().filter(|(k, _)| named(k));
        let arg = quoted.or(loose.next().filter(|_| loose.next().is_none()));
        arg.map_or(&written.name.0, |(_, (_, value, _))| value).error(e)
    })?;
    Ok(spec)
}

fn mentions(e: &Error, key: &str) -> bool {
    e.to_string().contains(&format!("`{key}`"))
}

fn write(node: &Node, family: Family, registry: &Registry) -> Read<Written> {
    match &node.value {
        Value::Text(text) => write_text(node, text, family, registry),
        Value::Table(table) => write_table(node, table, family, registry),
        _ => Err(node.place.error(format_args!(
            "expected {}: \"NAME key=value\" or {{ {} = \"NAME\", key = value }}, found {}",
            family.article(),
            family.name_key(),
            node.describe()
        ))),
    }
}

/// `[label:] Name positional… key=value…`.
fn write_text(node: &Node, text: &str, family: Family, registry: &Registry) -> Read<Written> {
    let mut words = words(text).peekable();
    let mut label = None;
    if family == Family::Layer
        && let Some((at, word)) = words.next_if(|(_, w)| w.ends_with(':'))
    {
        label = Some((node.part(at..at + word.len() - 1), word[..word.len() - 1].to_string()));
    }
    let Some((at, name)) = words.next() else {
        return Err(node.place.error(format_args!("expected {}: \"NAME key=value …\"", family.article())));
    };
    let name_place = node.part(at..at + name.len());
    let defs = family.args(name, registry).map_err(|e| name_place.error(e))?;
    let mut positional = defs.iter().map(|d| d.name);
    let mut args: IndexMap<String, (Place, Place, Arg)> = IndexMap::new();
    for (at, word) in words {
        let whole = node.part(at..at + word.len());
        let (key, key_place, value, value_place) = match word.split_once('=') {
            Some((key, value)) => {
                let start = at + key.len() + 1;
                (key, node.part(at..at + key.len()), value, node.part(start..start + value.len()))
            }
            None => match positional.next() {
                Some(key) => (key, whole.clone(), word, whole.clone()),
                None => {
                    let names: Vec<&str> = defs.iter().map(|d| d.name).collect();
                    return Err(whole.error(match names.len() {
                        0 => format!("`{name}` takes no arguments, found `{word}`"),
                        n => {
                            format!("`{name}` takes at most {n} arguments ({}), found also `{word}`", names.join(", "))
                        }
                    }));
                }
            },
        };
        known(family, name, key, defs).map_err(|message| key_place.error(message))?;
        if value.is_empty() {
            return Err(whole.error(format_args!("`{key}=` has no value (no spaces around `=` in a string)")));
        }
        if let Some((first, ..)) = args.get(key) {
            return Err(whole.error(format_args!("`{name}`: `{key}` is given twice")).also(first, "first here"));
        }
        args.insert(key.to_string(), (key_place, value_place, Arg::parse(value)));
    }
    Ok(Written { name: (name_place, name.to_string()), label, args })
}

/// `{ layer = "Conv2d", out_channels = 16 }`.
fn write_table(node: &Node, table: &Table, family: Family, registry: &Registry) -> Read<Written> {
    let name_key = family.name_key();
    let Some(entry) = table.get(name_key) else {
        let hint = table
            .keys()
            .find(|k| ["layer", "name", "kind"].contains(&k.as_str()))
            .map_or(String::new(), |k| format!(", not `{k}`"));
        return Err(node.place.error(format_args!("{} needs `{name_key} = \"NAME\"`{hint}", family.article())));
    };
    let Value::Text(name) = &entry.node.value else {
        return Err(entry.node.place.error(format_args!("`{name_key}` is a text, found {}", entry.node.describe())));
    };
    let defs = family.args(name, registry).map_err(|e| entry.node.place.error(e))?;
    let (mut label, mut args) = (None, IndexMap::new());
    for (key, Entry { key: place, node }) in table.iter().filter(|(k, _)| *k != name_key) {
        if family == Family::Layer && key == "label" {
            let Value::Text(text) = &node.value else {
                return Err(node.place.error(format_args!("`label` is a text, found {}", node.describe())));
            };
            label = Some((node.place.clone(), text.clone()));
            continue;
        }
        known(family, name, key, defs).map_err(|message| place.error(message))?;
        args.insert(key.clone(), (place.clone(), node.place.clone(), node.arg()?));
    }
    Ok(Written { name: (entry.node.place.clone(), name.clone()), label, args })
}

fn known(family: Family, name: &str, key: &str, defs: &[ArgDef]) -> std::result::Result<(), String> {
    let layer = family == Family::Layer;
    if defs.iter().any(|d| d.name == key) || (layer && key == "init") {
        return Ok(());
    }
    let names: Vec<&str> = defs.iter().map(|d| d.name).chain(layer.then_some("init")).collect();
    Err(match names.len() {
        0 => format!("`{name}` takes no arguments, found `{key}`"),
        _ => format!("`{name}` has no argument `{key}`{}", suggest(key, &names)),
    })
}

/// The words of a text with where they begin.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_whitespace().map(move |w| (w.as_ptr() as usize - text.as_ptr() as usize, w))
}

/// The same as a table, so that one argument can be changed.
pub(crate) fn to_table(node: &Node, family: Family, registry: &Registry) -> Read<Table> {
    if let Value::Table(table) = &node.value {
        return Ok(table.clone());
    }
    let written = write(node, family, registry)?;
    let text =
        |(place, text): (Place, String)| Entry { key: place.clone(), node: Node { value: Value::Text(text), place } };
    let mut table = Table::from([(family.name_key().to_string(), text(written.name))]);
    table.extend(written.label.map(|l| ("label".to_string(), text(l))));
    for (name, (key, place, arg)) in written.args {
        table.insert(name, Entry { key, node: node_of(&place, arg) });
    }
    Ok(table)
}

fn node_of(place: &Place, arg: Arg) -> Node {
    let value = match arg {
        Arg::Bool(b) => Value::Bool(b),
        Arg::Int(i) => Value::Int(i),
        Arg::Float(x) => Value::Float(x),
        Arg::Text(t) => Value::Text(t),
        Arg::List(items) => Value::List(items.into_iter().map(|a| node_of(place, a)).collect()),
    };
    Node { value, place: place.clone() }
}

/// An error of `checked` data pointed at the key it names, or at `else`.
pub(crate) fn at_key(e: &Error, table: &Table, otherwise: &Place) -> Box<Diagnostic> {
    let place = table.iter().find(|(k, _)| mentions(e, k)).map_or(otherwise, |(_, entry)| &entry.node.place);
    place.error(e).of_kind(e.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::SourceText;
    use std::sync::Arc;

    fn error(value: &str, family: Family) -> (String, String) {
        let source = Arc::new(SourceText { name: "a.toml".into(), text: format!("x = {value}") });
        let table = crate::tree::parse(&source).unwrap();
        let e = read(&table["x"].node, family, &Registry::new()).unwrap_err();
        (e.excerpt().to_string(), e.message().to_string())
    }

    #[test]
    fn the_caret_points_at_the_very_word() {
        for (value, family, excerpt, message) in [
            (r#""Liner 16""#, Family::Layer, "Liner", "did you mean `Linear`"),
            (r#""Linear 16 bais=false""#, Family::Layer, "bais", "did you mean `bias`"),
            (r#""Linear 16 bias=no""#, Family::Layer, "no", "`bias` must be true or false"),
            (r#""Linear 0""#, Family::Layer, "0", "a whole number from 1 on"),
            (r#""Linear 1 true 3""#, Family::Layer, "3", "at most 2 arguments"),
            (r#""ReLU 3""#, Family::Layer, "3", "takes no arguments"),
            (r#""Linear""#, Family::Layer, "Linear", "needs `out_features`"),
            (r#""Linear 3 out_features=4""#, Family::Layer, "out_features=4", "given twice"),
            (r#""Linear 3 bias=""#, Family::Layer, "bias=", "no value"),
            (r#""Linear 3 init=he""#, Family::Layer, "he", "no initialiser"),
            (r#""""#, Family::Layer, r#""""#, "expected a layer"),
            ("3", Family::Layer, "3", "found the number 3"),
            (r#"{ layer = "Linear", out_features = 2.5 }"#, Family::Layer, "2.5", "a whole number"),
            (r#"{ layer = "Linear", out_feature = 2 }"#, Family::Layer, "out_feature", "did you mean `out_features`"),
            (r#"{ name = "Linear" }"#, Family::Layer, r#"{ name = "Linear" }"#, "needs `layer = "),
            (r#""SGD lr=0.1 momentm=0.9""#, Family::Optimizer, "momentm", "did you mean `momentum`"),
            (r#""MSELoss reduction=som""#, Family::Loss, "som", "one of mean, sum"),
            (r#"{ name = "StepLR" }"#, Family::Schedule, r#""StepLR""#, "needs `step_size`"),
            (r#""RandomAfine 10""#, Family::Transform, "RandomAfine", "did you mean `RandomAffine`"),
            (r#""RandomAffine degree=10""#, Family::Transform, "degree", "did you mean `degrees`"),
            (r#""RandomAffine 10 scale=1.1""#, Family::Transform, "1.1", "two numbers"),
            (r#""RandomAffine 10 scale=[1.1,0.9]""#, Family::Transform, "[1.1,0.9]", "the smaller first"),
            (r#""RandomErasing p=1.5""#, Family::Transform, "1.5", "a probability from 0 to 1"),
        ] {
            let (e, m) = error(value, family);
            assert_eq!(e, excerpt, "{value}: {m}");
            assert!(m.contains(message), "{value}: {m}");
        }
    }

    #[test]
    fn a_string_and_its_table_are_the_same() {
        let source = Arc::new(SourceText {
            name: "a.toml".into(),
            text: "x = \"a: Linear 3 bias=false init=zeros\"\ny = { layer = \"Linear\", label = \"a\", out_features = 3, bias = false, init = \"zeros\" }".into(),
        });
        let table = crate::tree::parse(&source).unwrap();
        let registry = Registry::new();
        let [x, y] = ["x", "y"].map(|k| read(&table[k].node, Family::Layer, &registry).unwrap());
        assert_eq!(x, y);
        let converted = Node {
            value: Value::Table(to_table(&table["x"].node, Family::Layer, &registry).unwrap()),
            ..table["x"].node.clone()
        };
        assert_eq!(read(&converted, Family::Layer, &registry).unwrap(), x);
    }
}
