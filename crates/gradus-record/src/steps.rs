//! The loss of every training step.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::bytes::{Read, Reader, Writer};

/// The losses of every training step, over all epochs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Steps {
    /// For each loss by name, without its weight: one number a step.
    #[serde(with = "crate::number::lists")]
    pub losses: IndexMap<String, Vec<f64>>,
}

impl Steps {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.count(self.losses.len());
        for (name, values) in &self.losses {
            w.text(name);
            w.f64s(values);
        }
        w.bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Read<Steps> {
        let mut r = Reader(bytes);
        let losses = (0..r.count()?).map(|_| Ok((r.text()?, r.f64s()?))).collect::<Read<_>>()?;
        r.end().map(|()| Steps { losses })
    }
}
