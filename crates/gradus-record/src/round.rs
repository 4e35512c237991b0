//! A round: the data that all arms of it share.

use serde::{Deserialize, Serialize};

use crate::bytes::{MOST, Read, Reader, Writer};
use crate::document::Document;

/// The data of a round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundRecord {
    /// Which round, from 0 on.
    pub round: usize,
    /// A hash of the samples drawn.
    pub data_hash: String,
    /// How they were asked for: the data settings of the study's first arm. A round whose settings were changed is drawn anew.
    #[serde(default)]
    pub data: Document,
    /// How inputs were normalised; `None` when they were left as they are.
    pub normalisation: Option<Document>,
    /// Where the samples come from, for people to read.
    pub note: String,
    /// The samples themselves, where they are points of the plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<Points>,
    /// Test samples to be shown as images; see [`Samples`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<Samples>,
}

/// Samples that are points of the plane, in the coordinates of the data, before normalisation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Points {
    /// Those learnt from.
    pub train: PointSet,
    /// Those tested on.
    pub test: PointSet,
}

/// Points with their labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointSet {
    /// First coordinates.
    #[serde(with = "crate::number::list_f32")]
    pub x: Vec<f32>,
    /// Second coordinates.
    #[serde(with = "crate::number::list_f32")]
    pub y: Vec<f32>,
    /// Classes.
    pub labels: Vec<u32>,
}

/// Test samples to be shown as images: the first few of each class, class by class, then those that most arms got wrong, the
/// most missed first. Who said what of them stands in the predictions, under the same ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    /// The input they are of.
    pub input: String,
    /// The shape of a sample: (2, 14, 14) for two images side by side.
    pub shape: Vec<usize>,
    /// Which samples, by the ids that predictions use.
    pub ids: Vec<u32>,
    /// The target that labels them.
    pub target: String,
    /// The names of its classes.
    pub classes: Vec<String>,
    /// The class of each.
    pub labels: Vec<u32>,
    /// One byte for each value, from 0, the least, to 255; samples one after the other.
    pub pixels: Vec<u8>,
}

impl Points {
    /// What is wrong with it, if anything.
    pub(crate) fn check(&self) -> Read<()> {
        for set in [&self.train, &self.test] {
            if set.x.len() != set.y.len() || set.x.len() != set.labels.len() || set.x.len() > MOST {
                return Err(format!(
                    "points have {} first and {} second coordinates and {} labels",
                    set.x.len(),
                    set.y.len(),
                    set.labels.len()
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        for set in [&self.train, &self.test] {
            w.f32s(&set.x);
            w.f32s(&set.y);
            w.u32s(&set.labels);
        }
        w.bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Read<Points> {
        let mut r = Reader(bytes);
        let mut set = || {
            let (x, y) = (r.f32s()?, r.f32s()?);
            let labels = r.u32s(x.len())?;
            Read::Ok(PointSet { x, y, labels })
        };
        let points = Points { train: set()?, test: set()? };
        r.end()?;
        points.check().map(|()| points)
    }
}

impl Samples {
    /// What is wrong with it, if anything.
    pub(crate) fn check(&self) -> Read<()> {
        let size = self.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let (n, labels, pixels) = (self.ids.len(), self.labels.len(), self.pixels.len());
        match size.and_then(|size| size.checked_mul(n)) {
            Some(all) if all == pixels && labels == n && n <= MOST => Ok(()),
            _ => Err(format!("{n} samples of shape {:?} have {pixels} values and {labels} labels", self.shape)),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.text(&self.input);
        w.count(self.shape.len());
        self.shape.iter().for_each(|d| w.count(*d));
        w.raw(&self.pixels);
        w.u32s(&self.ids);
        w.text(&self.target);
        w.texts(&self.classes);
        w.u32s(&self.labels);
        w.bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Read<Samples> {
        let mut r = Reader(bytes);
        let input = r.text()?;
        let shape: Vec<usize> = (0..r.count()?).map(|_| r.count()).collect::<Read<_>>()?;
        let pixels = r.raw()?.to_vec();
        let ids = r.u32s(MOST.min(pixels.len()))?;
        let (target, classes) = (r.text()?, r.texts()?);
        let labels = r.u32s(ids.len())?;
        r.end()?;
        let samples = Samples { input, shape, ids, target, classes, labels, pixels };
        samples.check().map(|()| samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_samples_read_back() {
        let set = |n: u32| PointSet {
            x: (0..n).map(|i| i as f32 / 7.0).collect(),
            y: (0..n).map(|i| -(i as f32)).collect(),
            labels: (0..n).map(|i| i % 2).collect(),
        };
        let points = Points { train: set(5), test: set(0) };
        let bytes = points.encode();
        assert_eq!(Points::decode(&bytes).unwrap(), points);
        let samples = Samples {
            input: "pair".into(),
            shape: vec![2, 1, 3],
            ids: vec![4, 2],
            target: "larger".into(),
            classes: vec!["no".into(), "yes".into()],
            labels: vec![1, 0],
            pixels: (0..12).collect(),
        };
        let more = samples.encode();
        assert_eq!(Samples::decode(&more).unwrap(), samples);
        for n in 0..bytes.len() {
            assert!(Points::decode(&bytes[..n]).is_err());
        }
        for n in 0..more.len() {
            assert!(Samples::decode(&more[..n]).is_err());
        }
        assert!(Samples { labels: vec![], ..samples }.check().unwrap_err().contains("0 labels"));
    }
}
