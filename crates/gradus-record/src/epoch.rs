//! An epoch of a training, and how the epochs of a trial are stored.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::bytes::Read;
use crate::number::Number;

/// One epoch of training. Seconds are not in it: they are no part of a result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRecord {
    /// Which one, from 1 on.
    pub epoch: usize,
    /// The learning rate.
    #[serde(with = "crate::number::one")]
    pub lr: f64,
    /// The weighted sum of losses while training.
    #[serde(with = "crate::number::one")]
    pub loss: f64,
    /// Each loss while training, without its weight.
    #[serde(with = "crate::number::map")]
    pub losses: IndexMap<String, f64>,
    /// Metrics on the training samples after the epoch, by name without the part: `accuracy`, `loss of aux`.
    #[serde(default, with = "crate::number::maybe_map", skip_serializing_if = "Option::is_none")]
    pub train: Option<IndexMap<String, f64>>,
    /// On the validation samples.
    #[serde(default, with = "crate::number::maybe_map", skip_serializing_if = "Option::is_none")]
    pub validation: Option<IndexMap<String, f64>>,
    /// On the test samples.
    #[serde(default, with = "crate::number::maybe_map", skip_serializing_if = "Option::is_none")]
    pub test: Option<IndexMap<String, f64>>,
    /// Updates whose gradients were clipped, of how many.
    #[serde(default)]
    pub clipped: (usize, usize),
}

/// A list over epochs for each name; `null` where an epoch has no such number.
type Columns = IndexMap<String, Vec<Option<Number>>>;

/// The epochs of a trial as they are stored: a JSON text of columns, so that names are written once.
///
/// Why not rows of a table: 10⁵ trials of 25 epochs would be 2.5 million rows of one number each or of columns that every
/// study names differently, and nothing ever reads a part of them. Why not JSON by rows: names would take more room than
/// numbers. Why text: SQLite's own functions, and people, can read it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    epoch: Vec<usize>,
    lr: Vec<Number>,
    loss: Vec<Number>,
    losses: Columns,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    train: Columns,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    validation: Columns,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    test: Columns,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    clipped: Vec<(usize, usize)>,
}

/// Turns maps by epoch into columns.
fn columns<'a>(n: usize, maps: impl Iterator<Item = Option<&'a IndexMap<String, f64>>>) -> Columns {
    let mut all = Columns::new();
    for (i, map) in maps.enumerate() {
        for (name, x) in map.into_iter().flatten() {
            if !all.contains_key(name) {
                all.insert(name.clone(), vec![None; n]);
            }
            all[name][i] = Some(Number(*x));
        }
    }
    all
}

/// One epoch of columns.
fn row(columns: &Columns, i: usize) -> IndexMap<String, f64> {
    columns.iter().filter_map(|(name, list)| Some((name.clone(), list[i]?.0))).collect()
}

/// The stored text of epochs. A part without any metric is the same as no such part.
pub(crate) fn encode(epochs: &[EpochRecord]) -> String {
    let n = epochs.len();
    let clips = epochs.iter().any(|e| e.clipped != (0, 0));
    let table = Table {
        epoch: epochs.iter().map(|e| e.epoch).collect(),
        lr: epochs.iter().map(|e| Number(e.lr)).collect(),
        loss: epochs.iter().map(|e| Number(e.loss)).collect(),
        losses: columns(n, epochs.iter().map(|e| Some(&e.losses))),
        train: columns(n, epochs.iter().map(|e| e.train.as_ref())),
        validation: columns(n, epochs.iter().map(|e| e.validation.as_ref())),
        test: columns(n, epochs.iter().map(|e| e.test.as_ref())),
        clipped: if clips { epochs.iter().map(|e| e.clipped).collect() } else { Vec::new() },
    };
    serde_json::to_string(&table).expect("numbers and texts are JSON")
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode(text: &str) -> Read<Vec<EpochRecord>> {
    let t: Table = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let n = t.epoch.len();
    let all = [&t.losses, &t.train, &t.validation, &t.test];
    let lengths = all.iter().flat_map(|c| c.values().map(Vec::len)).chain([t.lr.len(), t.loss.len()]);
    if lengths.into_iter().any(|l| l != n) || ![0, n].contains(&t.clipped.len()) {
        return Err(format!("columns of other lengths than the {n} epochs"));
    }
    let part = |c: &Columns, i| Some(row(c, i)).filter(|m| !m.is_empty());
    let epoch = |i: usize| EpochRecord {
        epoch: t.epoch[i],
        lr: t.lr[i].0,
        loss: t.loss[i].0,
        losses: row(&t.losses, i),
        train: part(&t.train, i),
        validation: part(&t.validation, i),
        test: part(&t.test, i),
        clipped: t.clipped.get(i).copied().unwrap_or_default(),
    };
    Ok((0..n).map(epoch).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_read_back() {
        let map = |pairs: &[(&str, f64)]| pairs.iter().map(|(k, x)| ((*k).to_string(), *x)).collect();
        let mut epochs: Vec<EpochRecord> = (1..=3)
            .map(|epoch| EpochRecord {
                epoch,
                lr: 0.1 / epoch as f64,
                loss: 1.0 / 3.0,
                losses: map(&[("target", 0.1), ("aux", -0.0)]),
                ..EpochRecord::default()
            })
            .collect();
        epochs[1].test = Some(map(&[("accuracy", 97.5), ("loss", f64::INFINITY)]));
        epochs[2].test = Some(map(&[("loss", 0.5)]));
        epochs[2].clipped = (3, 20);
        let text = encode(&epochs);
        assert!(text.contains(r#""test":{"accuracy":[null,97.5,null],"loss":[null,"inf",0.5]}"#), "{text}");
        assert_eq!(decode(&text).unwrap(), epochs);
        assert_eq!(decode(&encode(&[])).unwrap(), []);
        assert!(decode(&text.replace("[1,2,3]", "[1,2]")).unwrap_err().contains("2 epochs"));
        assert!(decode(&text.replace("\"clipped\":[[0,0],", "\"clipped\":[")).unwrap_err().contains("3 epochs"));
        for n in 0..text.len() {
            assert!(text.get(..n).is_none_or(|t| decode(t).is_err()));
        }
        let json = serde_json::to_string(&epochs).unwrap();
        assert_eq!(serde_json::from_str::<Vec<EpochRecord>>(&json).unwrap(), epochs);
    }
}
