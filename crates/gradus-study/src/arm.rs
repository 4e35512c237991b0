//! An arm: a network, its training and its data, ready to be made.

use std::path::Path;
use std::sync::Arc;

use gradus::Registry;
use gradus::data::Schema;
use gradus::data::augment::transform;
use gradus::error::{Error, Result};
use gradus::net::{Architecture, Branch, Graph, Join, Loss};
use gradus::rng::Seed;
use gradus::spec::Spec;
use gradus::train::{Keep, Settings};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::data::DataSettings;
use crate::diagnostic::{Diagnostic, Place, Read, SourceText};
use crate::keys::{ARM, BRANCH, DATA, KeyKind, LOSS, Section, TRAIN};
use crate::patch::change;
use crate::read::{Keys, tap, taps};
use crate::spec::{self, Family, at_key};
use crate::tree::{Entry, Node, Table, Value};

/// What numbers a network is trained in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// Single precision: fast.
    #[default]
    F32,
    /// Double precision, by every operation's definition: slow.
    F64,
}

/// An arm of a study, resolved: nothing in it refers to another arm or to a default of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmSettings {
    /// Its name in the file.
    pub name: String,
    /// What is particular about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The network.
    pub architecture: Architecture,
    /// How it is trained.
    pub train: Settings,
    /// What it learns from.
    pub data: DataSettings,
    /// What numbers it is trained in.
    #[serde(default)]
    pub dtype: Dtype,
    /// Where it is not 0: first weights, order and dropout of its own, on the same data as the others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub salt: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl ArmSettings {
    /// The network resolved against its data, with the built-in layers and losses.
    ///
    /// # Errors
    /// Hardly: [`Study::parse`](crate::Study::parse) has resolved it before; a table may have changed since.
    pub fn graph(&self) -> Result<Graph> {
        self.graph_with(&Registry::new())
    }

    /// As [`ArmSettings::graph`], with layers and losses of a user's own.
    ///
    /// # Errors
    /// As there.
    pub fn graph_with(&self, registry: &Registry) -> Result<Graph> {
        Graph::resolve(&self.architecture, &self.data.schema()?, registry)
    }

    /// The seed that its network is made and trained with in a round whose data are drawn from `round`.
    pub fn seed(&self, round: Seed) -> Seed {
        if self.salt == 0 { round } else { round.child(self.salt) }
    }

    /// Whether two arms do the same, whatever they are called.
    pub fn same_as(&self, other: &ArmSettings) -> bool {
        self.identity() == other.identity()
    }

    /// What it does, as text: equal for two arms that do the same, whatever they are called.
    pub fn identity(&self) -> String {
        let bare = ArmSettings { name: String::new(), description: None, ..self.clone() };
        serde_json::to_string(&bare).expect("settings are JSON")
    }
}

/// What arms inherit from the file.
pub(crate) struct Shared<'s> {
    pub data: &'s Table,
    pub train: &'s Table,
    pub folder: &'s Path,
    pub registry: &'s Registry,
}

/// Reads an arm that is written out, and resolves it.
pub(crate) fn read(
    name: &str,
    entry: &Entry,
    shared: &Shared<'_>,
    schemas: &mut Vec<(DataSettings, Schema)>,
) -> Read<ArmSettings> {
    let Value::Table(table) = &entry.node.value else { return Err(entry.node.place.error("an arm is a table")) };
    let (keys, place) = (Keys::new(&ARM, table), &entry.key);
    let merged = |section, base: &Table, name: &str| {
        let mut whole = base.clone();
        if let Some(changes) = keys.table(name) {
            change(&mut whole, changes, section, shared.registry)?;
        }
        Read::Ok(whole)
    };
    let data_table = merged(&DATA, shared.data, "data")?;
    let data_place = data_table.values().next().map_or(place, |e| &e.key);
    Keys::new(&DATA, &data_table).need("source", data_place)?;
    let data = DataSettings::of(&Keys::new(&DATA, &data_table), shared.folder);
    data.check().map_err(|e| at_key(&e, &data_table, data_place))?;
    let mut train_table = defaults(&TRAIN);
    change(&mut train_table, shared.train, &TRAIN, shared.registry)?;
    let train_table = merged(&TRAIN, &train_table, "train")?;
    let (train, dtype) = train(&train_table, data.validation, place, shared.registry)?;
    let arm = ArmSettings {
        name: name.to_string(),
        description: keys.text("description"),
        architecture: architecture(table, place, shared.registry)?,
        train,
        data,
        dtype,
        salt: keys.count("salt").unwrap_or(0) as u64,
    };
    if !schemas.iter().any(|(d, _)| *d == arm.data) {
        let schema = arm.data.schema().map_err(|e| {
            let file = data_table.get("file").map_or(data_place, |e| &e.node.place);
            file.error(&e).of_kind(e.kind())
        })?;
        schemas.push((arm.data.clone(), schema));
    }
    let (_, schema) = schemas.iter().find(|(d, _)| *d == arm.data).expect("pushed above");
    let transforms = items(&train_table, "augment");
    for (spec, node) in arm.train.augment.iter().zip(transforms) {
        let fits = transform(spec).and_then(|t| t.check(schema));
        fits.map_err(|e| node.place.error(format_args!("arm `{name}`: {e}")).of_kind(e.kind()))?;
    }
    Graph::resolve(&arm.architecture, schema, shared.registry).map_err(|e| located(&e, table, name, place))?;
    Ok(arm)
}

/// What an optimiser or a schedule is when left out: one that is given without a name changes it.
fn defaults(section: &'static Section) -> Table {
    let written = section.keys.iter().filter_map(|k| match (k.kind, k.default) {
        (KeyKind::Spec(_), Some(text)) if !text.is_empty() => Some((k.name, text)),
        _ => None,
    });
    let entry = |(name, text): (&str, &str)| {
        let source = Arc::new(SourceText { name: "default".into(), text: text.into() });
        let place = Place::new(&source, 0..text.len());
        (name.to_string(), Entry { key: place.clone(), node: Node { value: Value::Text(text.into()), place } })
    };
    written.map(entry).collect()
}

fn train(table: &Table, validation: usize, arm: &Place, registry: &Registry) -> Read<(Settings, Dtype)> {
    let keys = Keys::new(&TRAIN, table);
    let spec = |name: &str, family| keys.get(name).map(|node| spec::read(node, family, registry)).transpose();
    let default = Settings::default();
    let settings = Settings {
        epochs: keys.count("epochs").unwrap_or(default.epochs),
        batch: keys.count("batch").unwrap_or(default.batch),
        shuffle: keys.flag("shuffle").unwrap_or(default.shuffle),
        augment: items(table, "augment")
            .iter()
            .map(|i| spec::read(i, Family::Transform, registry))
            .collect::<Read<_>>()?,
        optimizer: spec("optimizer", Family::Optimizer)?.unwrap_or(default.optimizer),
        schedule: spec("schedule", Family::Schedule)?,
        accumulate: keys.count("accumulate").unwrap_or(default.accumulate),
        clip_norm: keys.number("clip_norm"),
        clip_value: keys.number("clip_value"),
        patience: keys.count("patience"),
        keep: if keys.text("keep").as_deref() == Some("best") { Keep::Best } else { Keep::Last },
    };
    settings.check().map_err(|e| at_key(&e, table, arm))?;
    if validation == 0 {
        let wants = [("patience", settings.patience.is_some()), ("keep", settings.keep == Keep::Best)];
        if let Some((name, _)) = wants.into_iter().find(|(_, wanted)| *wanted) {
            let node = keys.get(name).expect("it is not the default");
            return Err(node
                .place
                .error(format_args!("`{name}` looks at validation samples: give `validation` in [data], say 100")));
        }
    }
    Ok((settings, if keys.text("dtype").as_deref() == Some("f64") { Dtype::F64 } else { Dtype::F32 }))
}

/// The items of a key that is a list, if it is there.
fn items<'t>(table: &'t Table, key: &str) -> &'t [Node] {
    match table.get(key).map(|e| &e.node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

fn architecture(table: &Table, place: &Place, registry: &Registry) -> Read<Architecture> {
    let keys = Keys::new(&ARM, table);
    let mut branches = IndexMap::new();
    for (name, entry) in table.iter().filter(|(k, _)| ARM.key(k).is_none()) {
        match &entry.node.value {
            Value::Table(branch) => {
                branches.insert(name.clone(), read_branch(branch, &entry.key, registry)?);
            }
            _ => return Err(entry.node.place.error("there is no `base` to delete a branch of")),
        }
    }
    if branches.is_empty() {
        return Err(
            place.error("this arm has no branch: give one, `net = { from = \"…\", layers = […] }`, or a `base`")
        );
    }
    let mut losses = IndexMap::new();
    for (name, entry) in keys.table("loss").into_iter().flatten() {
        let Value::Table(loss) = &entry.node.value else {
            return Err(entry.node.place.error("there is no loss to delete"));
        };
        let keys = Keys::new(&LOSS, loss);
        let loss = Loss {
            of: tap(keys.need("of", &entry.key)?)?,
            target: keys.get("target").map(tap).transpose()?,
            kind: spec::read(keys.need("kind", &entry.key)?, Family::Loss, registry)?,
            weight: keys.number("weight").unwrap_or(1.0),
        };
        losses.insert(name.clone(), loss);
    }
    if losses.is_empty() {
        return Err(
            place.error("this arm has no loss: what should it learn? `loss.NAME = { of = \"branch\", kind = \"…\" }`")
        );
    }
    let freeze = keys.texts("freeze").into_iter().map(|(t, _)| t.to_string()).collect();
    Ok(Architecture { branches, losses, init: keys.text("init"), freeze })
}

fn read_branch(table: &Table, place: &Place, registry: &Registry) -> Read<Branch> {
    let keys = Keys::new(&BRANCH, table);
    let given: Vec<&str> = ["layers", "like", "share"].into_iter().filter(|k| keys.get(k).is_some()).collect();
    if let [first, second, ..] = given[..] {
        let message = format!("give one of `layers`, `like` and `share`, not `{first}` and `{second}`");
        return Err(table[second].key.error(message).also(&table[first].key, "given here"));
    }
    let layers: Read<Vec<Spec>> =
        items(table, "layers").iter().map(|i| spec::read(i, Family::Layer, registry)).collect();
    Ok(Branch {
        from: taps(keys.need("from", place)?)?,
        join: if keys.text("join").as_deref() == Some("add") { Join::Add } else { Join::Concat },
        layers: layers?,
        share: keys.text("share"),
        like: keys.text("like"),
    })
}

/// An error of the graph, pointed at what it is about.
fn located(e: &Error, table: &Table, arm: &str, place: &Place) -> Box<Diagnostic> {
    let text = e.to_string();
    let at = find(&text, table).unwrap_or_else(|| place.clone());
    at.error(format_args!("arm `{arm}`: {text}")).of_kind(e.kind())
}

fn find(message: &str, table: &Table) -> Option<Place> {
    let (path, rest) = message.split_once(": ").unwrap_or(("", message));
    if path.ends_with("in a circle") {
        return table.get(rest.split(", ").next()?).map(|e| e.key.clone());
    }
    if path == "freeze" {
        let keys = Keys::new(&ARM, table);
        return keys
            .texts("freeze")
            .into_iter()
            .find(|(t, _)| rest.contains(&format!("`{t}`")))
            .map(|(_, p)| p.clone());
    }
    if let Some(name) = path.strip_prefix("loss.") {
        let entry = table.get("loss")?.node.table()?.get(name)?;
        let loss = entry.node.table()?;
        let key = match rest {
            _ if rest.starts_with("`of") => "of",
            _ if matches!(loss.get("of").map(|e| &e.node.value), Some(Value::Text(of)) if rest.starts_with(&format!("`{of}`"))) => {
                "of"
            }
            _ if rest.starts_with("weight") => "weight",
            _ if rest.contains("no target") || rest.starts_with("target") || rest.starts_with("the target") => "target",
            _ => "kind",
        };
        return Some(loss.get(key).map_or(&entry.key, |e| &e.node.place).clone());
    }
    // `left`, or `left.conv1`.
    let (name, label) = path.split_once('.').map_or((path, None), |(n, l)| (n, Some(l)));
    let Some(entry) = table.get(name).filter(|_| ARM.key(name).is_none()) else {
        let named = table.iter().find(|(k, _)| ARM.key(k).is_none() && message.contains(&format!("`{k}`")));
        return named.map(|(_, e)| e.key.clone());
    };
    let branch = entry.node.table()?;
    if let Some((label, _)) = rest.split_once("label `").and_then(|(_, rest)| rest.split_once('`'))
        && let Some(Value::List(items)) = branch.get("layers").map(|e| &e.node.value)
        && let Some(item) = items.iter().rfind(|n| labelled(n, label))
    {
        return Some(item.place.clone());
    }
    if let Some(label) = label {
        return layer(table, branch, label).or_else(|| Some(entry.key.clone()));
    }
    if rest.starts_with("from") || rest.starts_with("`from`") || rest.starts_with("cannot ") {
        let from = &branch.get("from")?.node;
        let Value::List(items) = &from.value else { return Some(from.place.clone()) };
        // The first place that the message names, if it is one of them that does not fit.
        let quoted = rest.split('`').skip(1).step_by(2).find_map(|word| {
            items
                .iter()
                .find(|n| matches!(&n.value, Value::Text(t) if t == word || t.split([':', '[']).next() == Some(word)))
        });
        return Some(quoted.filter(|_| !rest.starts_with("cannot ")).unwrap_or(from).place.clone());
    }
    let key = ["share", "like"]
        .into_iter()
        .find_map(|k| branch.get(k))
        .filter(|_| rest.contains("share") || rest.contains("no branch"));
    Some(key.map_or(&entry.key, |e| &e.node.place).clone())
}

fn labelled(layer: &Node, label: &str) -> bool {
    match &layer.value {
        Value::Text(t) => t.trim_start().starts_with(&format!("{label}:")),
        Value::Table(t) => matches!(t.get("label").map(|e| &e.node.value), Some(Value::Text(l)) if l == label),
        _ => false,
    }
}

/// The place of a layer by its label or position, in the branch that writes it.
fn layer(arm: &Table, branch: &Table, label: &str) -> Option<Place> {
    let mut branch = branch;
    for _ in 0..=arm.len() {
        if let Some(Value::List(items)) = branch.get("layers").map(|e| &e.node.value) {
            let at = || items.get(label.parse::<usize>().ok()?);
            return items.iter().find(|n| labelled(n, label)).or_else(at).map(|n| n.place.clone());
        }
        let owner = ["like", "share"].into_iter().find_map(|k| branch.get(k))?;
        let Value::Text(owner) = &owner.node.value else { return None };
        branch = arm.get(owner)?.node.table()?;
    }
    None
}
