//! What a trained network said about every test sample.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::bytes::{MOST, Read, Reader, Writer};

/// The predicted class of an output that was not a number: none.
pub const NO_CLASS: u32 = u32::MAX;

/// Predicted classes of the test samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predictions {
    /// Which sample each row is: the same id is the same sample in every arm of the round.
    pub sample_ids: Vec<u32>,
    /// By the name of the loss that judges them.
    pub of: IndexMap<String, Predicted>,
}

/// Predicted classes of one output against one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predicted {
    /// The target.
    pub target: String,
    /// The names of its classes.
    pub classes: Vec<String>,
    /// The true class of each sample.
    pub labels: Vec<u32>,
    /// The predicted class of each sample, or [`NO_CLASS`].
    pub predicted: Vec<u32>,
}

impl Predictions {
    /// What is wrong with it, if anything.
    pub(crate) fn check(&self) -> Read<()> {
        let n = self.sample_ids.len();
        for (name, p) in &self.of {
            if p.labels.len() != n || p.predicted.len() != n || n > MOST {
                return Err(format!(
                    "predictions of `{name}`: {n} samples, {} labels, {} predictions",
                    p.labels.len(),
                    p.predicted.len()
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.u32s(&self.sample_ids);
        w.count(self.of.len());
        for (name, p) in &self.of {
            w.text(name);
            w.text(&p.target);
            w.texts(&p.classes);
            w.u32s(&p.labels);
            w.u32s(&p.predicted);
        }
        w.bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Read<Predictions> {
        let mut r = Reader(bytes);
        let sample_ids = r.u32s(MOST)?;
        let n = sample_ids.len();
        let count = r.count()?;
        let of = (0..count)
            .map(|_| {
                let (name, target, classes) = (r.text()?, r.text()?, r.texts()?);
                Ok((name, Predicted { target, classes, labels: r.u32s(n)?, predicted: r.u32s(n)? }))
            })
            .collect::<Read<_>>()?;
        r.end()?;
        let predictions = Predictions { sample_ids, of };
        predictions.check().map(|()| predictions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_read_back_and_are_small() {
        let n = 1000;
        let one = Predicted {
            target: "larger".into(),
            classes: vec!["first is smaller".into(), "first is larger".into()],
            labels: (0..n).map(|i| i * 7 % 2).collect(),
            predicted: (0..n).map(|i| if i == 5 { NO_CLASS } else { i * 5 % 2 }).collect(),
        };
        let all = Predictions { sample_ids: (0..n).collect(), of: [("target".into(), one)].into() };
        let bytes = all.encode();
        assert!(bytes.len() < 2200, "{}", bytes.len());
        assert_eq!(Predictions::decode(&bytes).unwrap(), all);
        for cut in 0..bytes.len() {
            assert!(Predictions::decode(&bytes[..cut]).is_err());
        }
        let mut short = all;
        short.sample_ids.pop();
        assert_eq!(short.check().unwrap_err(), "predictions of `target`: 999 samples, 1000 labels, 1000 predictions");
    }
}
