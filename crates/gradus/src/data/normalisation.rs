//! Normalisation: a property of the data, fitted on the training draw and stored in the model.

use indexmap::IndexMap;
use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};

use super::{Dataset, Schema};
use crate::{Result, fail};

/// The mean and the standard deviation of each input: x becomes (x − mean) / sd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// By the name of the input.
    pub inputs: IndexMap<String, Scale>,
}

/// Means and standard deviations: F of each for vectors (N, F), one of each for all pixels of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// The means.
    pub mean: Vec<f64>,
    /// The standard deviations (divided by the number of values); 1 where the values are all the same.
    pub sd: Vec<f64>,
}

impl Scale {
    /// One number of a sample, by its position in torch's order.
    pub(crate) fn scaled(&self, x: f32, position: usize) -> f32 {
        let i = if self.mean.len() == 1 { 0 } else { position };
        ((f64::from(x) - self.mean[i]) / self.sd[i]) as f32
    }
}

impl Normalisation {
    /// The scales of all inputs: vectors by feature, images over everything, in f64 and two passes.
    pub fn fit(dataset: &Dataset) -> Self {
        let scale = |array: &ArrayD<f32>| {
            let (mean, sd) = match array.ndim() {
                2 => array.axis_iter(Axis(1)).map(|column| moments(column.iter())).unzip(),
                _ => [moments(array.iter())].into_iter().unzip(),
            };
            Scale { mean, sd }
        };
        Normalisation { inputs: dataset.inputs.iter().map(|(name, a)| (name.clone(), scale(a))).collect() }
    }

    /// The scale of an input: by name, or the only one there is, as a network of one input takes the data's one input
    /// whatever it is called there.
    pub fn of(&self, name: &str) -> Option<&Scale> {
        self.inputs.get(name).or_else(|| self.inputs.values().next().filter(|_| self.inputs.len() == 1))
    }

    /// Checks what a file says: the scale of each input has its size, and numbers to divide by.
    pub(crate) fn check(&self, schema: &Schema) -> Result<()> {
        for (name, info) in &schema.inputs {
            let Some(Scale { mean, sd }) = self.of(name) else { continue };
            let features = if let [features] = info.shape[..] { features } else { 1 };
            let numbers = mean.iter().all(|m| m.is_finite()) && sd.iter().all(|s| s.is_finite() && *s > 0.0);
            if mean.len() != features || sd.len() != features || !numbers {
                fail!(File, "the scale of input `{name}` is not {features} means and standard deviations");
            }
        }
        Ok(())
    }

    /// Normalises a data set in place; inputs that have no scale stay as they are.
    pub fn apply(&self, dataset: &mut Dataset) -> Result<()> {
        dataset
            .inputs
            .iter_mut()
            .filter(|(name, _)| self.inputs.contains_key(*name))
            .try_for_each(|(name, array)| self.apply_array(name, array))
    }

    /// Normalises samples (N, …) of the input `name` in place.
    pub fn apply_array(&self, name: &str, array: &mut ArrayD<f32>) -> Result<()> {
        let Some(Scale { mean, sd }) = self.inputs.get(name) else {
            let known: Vec<_> = self.inputs.keys().collect();
            fail!(Name, "no scale is known for input {name:?}, only for {known:?}")
        };
        let scaled = |x: f32, mean: f64, sd: f64| ((f64::from(x) - mean) / sd) as f32;
        match (&mean[..], &sd[..]) {
            ([mean], [sd]) if array.ndim() > 2 || array.shape().get(1) == Some(&1) => {
                array.mapv_inplace(|x| scaled(x, *mean, *sd))
            }
            _ if array.ndim() == 2 && array.len_of(Axis(1)) == mean.len() && mean.len() == sd.len() => {
                for mut row in array.rows_mut() {
                    row.iter_mut().zip(mean).zip(sd).for_each(|((x, mean), sd)| *x = scaled(*x, *mean, *sd));
                }
            }
            _ => fail!(Shape, "input {name:?} is {:?}, but its scale has {} features", array.shape(), mean.len()),
        }
        Ok(())
    }
}

/// Mean and standard deviation, in order and in f64.
fn moments<'a>(values: impl Iterator<Item = &'a f32> + Clone) -> (f64, f64) {
    let (mut n, mut sum, mut low, mut high) = (0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY);
    for &x in values.clone() {
        (n, sum, low, high) = (n + 1.0, sum + f64::from(x), low.min(x), high.max(x));
    }
    if low == high {
        return (f64::from(low), 1.0); // the rounded sum would leave a deviation that is tiny and not 0
    }
    let mean = sum / n;
    let squares: f64 = values.map(|&x| (f64::from(x) - mean).powi(2)).sum();
    (mean, (squares / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Target, disk};
    use crate::rng::Seed;
    use ndarray::{Array, IxDyn, array};

    fn dataset(x: ArrayD<f32>) -> Dataset {
        let y = Target::Values(ArrayD::zeros(IxDyn(&[x.shape()[0]])));
        Dataset::from_arrays(x, y).unwrap()
    }

    #[test]
    fn vectors_are_scaled_by_feature_and_images_as_a_whole() {
        let mut vectors = dataset(array![[1.0f32, 5.0, 0.1], [3.0, 5.0, 0.1], [5.0, 11.0, 0.1]].into_dyn());
        let n = Normalisation::fit(&vectors);
        let scale = &n.inputs["x"];
        assert_eq!(scale.mean, [3.0, 7.0, f64::from(0.1f32)]);
        assert_eq!(scale.sd, [(8.0f64 / 3.0).sqrt(), 8.0f64.sqrt(), 1.0]);
        n.apply(&mut vectors).unwrap();
        let s = 1.5f32.sqrt();
        let expected = array![[-s, -(0.5f32.sqrt()), 0.0], [0.0, -(0.5f32.sqrt()), 0.0], [s, 2f32.sqrt(), 0.0]];
        let worst = (&vectors.inputs["x"] - &expected).iter().fold(0.0, |a: f32, b| a.max(b.abs()));
        assert!(worst < 1e-6, "{worst}");

        let mut images = dataset(Array::from_shape_fn(IxDyn(&[2, 1, 1, 2]), |i| (2 * i[0] + i[3]) as f32));
        let n = Normalisation::fit(&images);
        assert_eq!(n.inputs["x"], Scale { mean: vec![1.5], sd: vec![1.25f64.sqrt()] });
        n.apply(&mut images).unwrap();
        assert!(Normalisation::fit(&images).inputs["x"].mean[0].abs() < 1e-7);
    }

    #[test]
    fn large_offsets_keep_their_spread() {
        let x = Array::from_shape_fn(IxDyn(&[1001, 1]), |i| 1e6 + (i[0] % 2) as f32);
        let scale = &Normalisation::fit(&dataset(x)).inputs["x"];
        assert!((scale.sd[0] - 0.5).abs() < 1e-6, "{scale:?}");
    }

    #[test]
    fn a_split_is_scaled_by_its_training_data() {
        let mut split = disk(500, Seed(1)).hold_out(100).unwrap();
        let raw = split.clone();
        let n = split.normalise().unwrap();
        assert_eq!(n, Normalisation::fit(&raw.train));
        let mut test = raw.test.inputs["points"].clone();
        n.apply_array("points", &mut test).unwrap();
        assert_eq!(test, split.test.inputs["points"]);
        assert_ne!(raw.validation.unwrap(), split.validation.unwrap());
        let after = Normalisation::fit(&split.train);
        assert!(after.inputs["points"].sd.iter().all(|sd| (sd - 1.0).abs() < 1e-6));
        let text = serde_json::to_string(&n).unwrap();
        assert_eq!(serde_json::from_str::<Normalisation>(&text).unwrap(), n);
    }

    #[test]
    fn other_arrays_are_refused() {
        let n = Normalisation::fit(&dataset(array![[1.0f32, 2.0], [3.0, 5.0]].into_dyn()));
        let e = n.apply_array("x", &mut ArrayD::zeros(IxDyn(&[4, 3]))).unwrap_err();
        assert_eq!(e.to_string(), r#"input "x" is [4, 3], but its scale has 2 features"#);
        let e = n.apply_array("z", &mut ArrayD::zeros(IxDyn(&[4, 2]))).unwrap_err();
        assert_eq!(e.to_string(), r#"no scale is known for input "z", only for ["x"]"#);
        assert!(n.apply_array("x", &mut ArrayD::zeros(IxDyn(&[4, 2, 2]))).is_err());
        assert!(n.apply(&mut dataset(ArrayD::zeros(IxDyn(&[4, 3])))).is_err());
    }
}
