//! What differs between two arms besides what is asked about.

use std::fmt;

use gradus_record::ArmRecord;
use serde::Serialize;
use serde_json::Value;

use super::arm::ArmSummary;
use super::comparison::TimeRatio;
use crate::words::{self, count, fixed};

/// Something that differs between two arms and may be the reason for what is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Confound {
    /// What: `train.optimizer.lr`, `parameters`.
    pub what: String,
    /// What the arm has.
    pub arm: String,
    /// What the baseline has.
    pub baseline: String,
}

impl fmt::Display for Confound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} against {}", self.what, self.arm, self.baseline)
    }
}

/// What differs between an arm and the baseline besides the declared factor. That is: the factors of the matrix; without one the
/// network, where it differs; and where it does not, the one setting that does. What was tuned for both is no confound: each
/// had the same chance.
pub(super) fn confounds(
    (arm, summary): (&ArmRecord, &ArmSummary),
    (base, base_summary): (&ArmRecord, &ArmSummary),
    time: Option<&TimeRatio>,
) -> Vec<Confound> {
    let (a, b) = (arm.resolved.value(), base.resolved.value());
    let mut settings = Vec::new();
    for part in ["train", "data", "dtype"] {
        differences(part, &a[part], &b[part], &mut settings);
    }
    let tuned = |arm: &ArmRecord| -> Vec<String> {
        let first = arm.tuned.iter().find_map(|t| t.candidates.first());
        first.map_or(Vec::new(), |c| c.values.keys().cloned().collect())
    };
    let (ours, theirs) = (tuned(arm), tuned(base));
    settings.retain(|c| !(within(c, ours.iter()) && within(c, theirs.iter())));
    let declared = |c: &Confound| within(c, summary.factors.keys().chain(base_summary.factors.keys()));
    let matrix = !summary.factors.is_empty() || !base_summary.factors.is_empty();
    let epochs = settings.iter().any(|c| c.what == "train.epochs");
    let mut list: Vec<Confound> = if matrix {
        settings.into_iter().filter(|c| !declared(c)).collect()
    } else if a["architecture"] == b["architecture"] && settings.len() == 1 {
        Vec::new()
    } else {
        settings
    };
    let mut differ = |what: &str, arm: String, baseline: String| {
        if arm != baseline {
            list.push(Confound { what: what.into(), arm, baseline });
        }
    };
    if let (Some(x), Some(y)) = (&summary.epochs, &base_summary.epochs)
        && !epochs
    {
        differ("epochs trained (mean)", fixed(x.mean, 1), fixed(y.mean, 1));
    }
    differ("parameters", count(arm.parameters), count(base.parameters));
    if let (Some(t), Some(x), Some(y)) = (time, &summary.seconds_per_round, &base_summary.seconds_per_round)
        && t.low.zip(t.high).is_some_and(|(low, high)| high < 1.0 || 1.0 < low)
    {
        let digits = words::decimals(x.mean.min(y.mean)) + 1;
        differ("seconds a round", fixed(x.mean, digits), fixed(y.mean, digits));
    }
    list
}

/// Whether what differs is one of these keys, or in the table that one of them is.
fn within<'a>(c: &Confound, mut keys: impl Iterator<Item = &'a String>) -> bool {
    keys.any(|key| c.what.strip_prefix(key.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// The leaves in which two documents differ.
fn differences(path: &str, a: &Value, b: &Value, list: &mut Vec<Confound>) {
    if let (Some(x), Some(y)) = (a.as_object(), b.as_object()) {
        let mut keys: Vec<&String> = x.keys().chain(y.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let null = Value::Null;
            differences(&format!("{path}.{key}"), x.get(key).unwrap_or(&null), y.get(key).unwrap_or(&null), list);
        }
    } else if a != b {
        let text = |v: &Value| match v {
            Value::Null => "none".to_string(),
            Value::String(s) => s.clone(),
            v => v.to_string(),
        };
        list.push(Confound { what: path.into(), arm: text(a), baseline: text(b) });
    }
}
