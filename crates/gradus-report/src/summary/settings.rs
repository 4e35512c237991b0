//! What an arm's resolved settings say, as far as sentences need it. Whatever an old record lacks is not told.

use gradus_record::ArmRecord;
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

use crate::words::{count, list};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    pub train: Train,
    pub data: Data,
    pub dtype: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Train {
    pub epochs: Option<u64>,
    pub batch: Option<u64>,
    pub shuffle: Option<bool>,
    pub optimizer: Option<IndexMap<String, Value>>,
    pub schedule: Option<IndexMap<String, Value>>,
    pub accumulate: Option<u64>,
    pub clip_norm: Option<f64>,
    pub clip_value: Option<f64>,
    pub patience: Option<u64>,
    pub keep: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Data {
    pub source: Option<String>,
    pub train: Option<u64>,
    pub test: Option<u64>,
    pub validation: Option<u64>,
    pub raw: Option<bool>,
    pub seed: Option<u64>,
    pub file: Option<String>,
    pub test_file: Option<String>,
}

impl Settings {
    pub fn of(arm: &ArmRecord) -> Settings {
        arm.resolved.read().unwrap_or_default()
    }
}

/// `SGD (lr 0.1, momentum 0.9)`.
fn spec(spec: &IndexMap<String, Value>) -> String {
    let plain = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_string);
    let name = spec.get("name").map_or("?".to_string(), plain);
    let args: Vec<String> =
        spec.iter().filter(|(k, _)| *k != "name").map(|(k, v)| format!("{k} {}", plain(v))).collect();
    if args.is_empty() { name } else { format!("{name} ({})", args.join(", ")) }
}

impl Train {
    /// `25 epochs of SGD (lr 0.1) in batches of 50, in a new order in each epoch`.
    pub fn sentence(&self) -> String {
        let mut text =
            self.epochs.map_or("training".into(), |n| format!("{} epoch{}", count(n), if n == 1 { "" } else { "s" }));
        if let Some(optimizer) = &self.optimizer {
            text += &format!(" of {}", spec(optimizer));
        }
        if let Some(batch) = self.batch {
            text += &format!(" in batches of {}", count(batch));
        }
        match self.shuffle {
            Some(true) => text += ", in a new order in each epoch",
            Some(false) => text += ", in one order",
            None => {}
        }
        if let Some(schedule) = &self.schedule {
            text += &format!(", with the schedule {}", spec(schedule));
        }
        if let Some(n) = self.accumulate.filter(|n| *n > 1) {
            text += &format!(", an update after every {n} batches");
        }
        if let Some(norm) = self.clip_norm {
            text += &format!(", gradients clipped to a norm of {norm}");
        }
        if let Some(value) = self.clip_value {
            text += &format!(", entries of gradients clipped to {value}");
        }
        if let Some(n) = self.patience {
            text += &format!(", stopped after {n} epochs without a better validation loss");
        }
        if self.keep.as_deref() == Some("best") {
            text += ", the parameters of the epoch with the lowest validation loss kept";
        }
        text
    }
}

/// What samples of a source are called.
pub(super) fn samples(source: Option<&str>) -> &'static str {
    match source {
        Some("disk") => "points",
        Some("mnist-pairs") => "pairs",
        Some("mnist") => "digits",
        Some("csv") => "rows",
        _ => "samples",
    }
}

impl Data {
    /// `1,000 training (200 of them held out for validation) and 1,000 test pairs`.
    pub fn sizes(&self) -> String {
        let table = self.source.as_deref() == Some("csv");
        let size = |n: Option<u64>| match n {
            Some(n) => count(n),
            None if table => "all".into(),
            None => "1,000".into(),
        };
        let what = samples(self.source.as_deref());
        let held = self.validation.filter(|n| *n > 0);
        let held = held.map_or(String::new(), |n| format!(" ({} of them held out for validation)", count(n)));
        format!("{} training{held} and {} test {what}", size(self.train), size(self.test))
    }
}

/// Arms that say the same, together: `all arms: …`, or `a and b: …; c: …`.
pub(super) fn together(arms: &[(String, String)]) -> String {
    let mut groups: IndexMap<&str, Vec<&str>> = IndexMap::new();
    for (name, text) in arms {
        groups.entry(text).or_default().push(name);
    }
    if let [(text, _)] = groups.iter().collect::<Vec<_>>()[..]
        && arms.len() > 1
    {
        return format!("all arms: {text}");
    }
    let parts: Vec<String> = groups.iter().map(|(text, names)| format!("{}: {text}", list(names))).collect();
    parts.join("; ")
}
