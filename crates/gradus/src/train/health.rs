//! Signs that a network cannot learn: outputs that are all zero, layers whose ReLUs are all dead.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::data::Batch;
use crate::error::Result;
use crate::net::Net;

/// A sign that a network cannot learn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// An output is 0 for every sample.
    ZeroOutput {
        /// The branch.
        branch: String,
        /// How many samples were looked at.
        samples: usize,
    },
    /// Every ReLU of a layer is 0 for every sample: no gradient passes.
    DeadReLU {
        /// The layer.
        layer: String,
        /// How many samples were looked at.
        samples: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::ZeroOutput { branch, samples } => {
                write!(
                    f,
                    "output `{branch}` is 0 for all of {samples} samples: lower the learning rate, or check the last layer"
                )
            }
            Warning::DeadReLU { layer, samples } => {
                write!(
                    f,
                    "all ReLUs of layer `{layer}` are dead: 0 for all of {samples} samples; lower the learning rate"
                )
            }
        }
    }
}

impl Net {
    /// Looks for outputs that are all zero and layers whose ReLUs are all dead, over one batch.
    ///
    /// # Errors
    /// [`Kind::Data`](crate::error::Kind::Data) when the batch has not the inputs the network reads.
    pub fn health(&mut self, batch: &Batch<'_>) -> Result<Vec<Warning>> {
        let samples = batch.len();
        let warning = |name: String| match name.contains('.') {
            true => Warning::DeadReLU { layer: name, samples },
            false => Warning::ZeroOutput { branch: name, samples },
        };
        Ok(self.zeros(batch)?.into_iter().map(warning).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;
    use ndarray::ArrayD;

    #[test]
    fn a_dead_layer_is_named() {
        let disk = data::disk(100, Seed(1));
        let net =
            Sequential::new([2]).add(Linear::new(4)).add(ReLU).add(Linear::new(2).bias(false)).loss(MSELoss::new());
        let mut net = net.build(Seed(3)).unwrap();
        assert_eq!(net.health(&disk.train.all()).unwrap(), []);
        net.set_param("net.0.weight", &ArrayD::zeros(vec![4, 2])).unwrap();
        net.set_param("net.0.bias", &ArrayD::from_elem(vec![4], -1.0)).unwrap();
        let text: Vec<String> = net.health(&disk.train.all()).unwrap().iter().map(Warning::to_string).collect();
        assert!(text[0].contains("layer `net.1` are dead") && text[1].contains("output `net` is 0"), "{text:?}");
    }

    #[test]
    fn one_sample_is_a_sign_of_life() {
        let x = ArrayD::from_shape_fn(vec![100, 1], |i| i[0] as f32);
        let y = data::Target::Values(ArrayD::zeros(vec![100, 1]));
        let data = data::Dataset::from_arrays(x, y).unwrap();
        let net = Sequential::new([1]).add(Linear::new(1)).add(ReLU).loss(MSELoss::new());
        let mut net = net.build(Seed(1)).unwrap();
        net.set_param("net.0.weight", &ArrayD::ones(vec![1, 1])).unwrap();
        net.set_param("net.0.bias", &ArrayD::from_elem(vec![1], -70.0)).unwrap();
        let rows: Vec<u32> = (0..72).collect();
        assert_eq!(net.health(&data.range(0..72)).unwrap(), []);
        assert_eq!(net.health(&data.batch(&rows)).unwrap(), []);
        let dead = net.health(&data.range(0..71)).unwrap();
        assert_eq!(dead.len(), 2);
        assert_eq!(dead[0], Warning::DeadReLU { layer: "net.1".into(), samples: 71 });
        assert!(net.health(&data.range(5..5)).is_err());
    }
}
