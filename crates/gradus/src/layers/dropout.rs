//! `Dropout`: while training, drops each number with probability p and multiplies the others by 1/(1 − p).
//!
//! y = m∗x/(1 − p), dx = m∗dy/(1 − p), with m 0 with probability p, else 1. A prediction passes x on. Source: Srivastava et al. 2014.

use super::{Back, Declare, Layer};
use crate::error::Result;
use crate::fail;
use crate::program::{Emit, Value};
use crate::spec::{ArgKind, Def, Spec, optional};

/// Drops numbers at random while training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability to be dropped, 0 ≤ p < 1.
    pub p: f64,
}

impl Dropout {
    /// The entry in [`super::LAYERS`].
    pub const DEF: Def<dyn Layer> = Def {
        name: "Dropout",
        summary: "drops numbers at random while training",
        formula: "training: y = m∗x/(1 − p), m = 0 with probability p, else 1;  dx = m∗dy/(1 − p);  predicting: y = x",
        shapes: "any → the same",
        args: &[optional("p", ArgKind::Number, "0.5", "the probability to be dropped")],
        make: |a| Ok(Box::new(Dropout { p: a.number("p") })),
    };

    /// Drops with probability `p`.
    pub fn new(p: f64) -> Dropout {
        Dropout { p }
    }
}

impl Layer for Dropout {
    fn spec(&self) -> Spec {
        Spec::new("Dropout").arg_unless("p", self.p, 0.5)
    }

    fn declare(&self, x: &[usize], _: &mut Declare) -> Result<Vec<usize>> {
        if !(0.0..1.0).contains(&self.p) {
            fail!(Argument, "Dropout: `p` is a probability from 0 to below 1, found {}", self.p);
        }
        Ok(x.to_vec())
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back) {
        if self.p == 0.0 || !e.train() {
            return (x, Box::new(|_, dy| dy));
        }
        let (p, draw) = (self.p, e.draw());
        let m = e.mask(x, p, draw);
        let y = e.masked(x, p, m); // m∗x/(1 − p)
        (y, Box::new(move |e, dy| e.masked(dy, p, m))) // m∗dy/(1 − p)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::refuses;
    use super::*;
    use crate::data::{Dataset, Target};
    use crate::net::{Net, Options, Sequential};
    use crate::rng::Seed;
    use ndarray::{Array, ArrayD, IxDyn};

    fn net(shape: &[usize], layers: &[Dropout], f64: bool) -> Net {
        let chain = layers.iter().fold(Sequential::new(shape), |net, layer| net.add(*layer));
        chain.options(Options { f64, ..Options::default() }).build(Seed(3)).unwrap()
    }

    fn ones(batch: usize, shape: &[usize]) -> Dataset {
        let dims = [&[batch], shape].concat();
        Dataset::from_arrays(ArrayD::ones(IxDyn(&dims)), Target::Values(Array::zeros([batch]).into_dyn())).unwrap()
    }

    #[test]
    fn kept_numbers_grow_and_are_as_many_as_said() {
        let (data, n) = (ones(200, &[50]), 10_000.0);
        // Two masks of one step are independent: what both keep is a share of (1 − p)².
        for (layers, p, factor) in [
            (&[Dropout::new(0.2)][..], 0.8, 1.25),
            (&[Dropout::new(0.5); 2], 0.25, 4.0),
            (&[Dropout::new(0.5); 3], 0.125, 8.0),
        ] {
            let mut net = net(&[50], layers, false);
            let y = net.forward(&data.all()).to_vec();
            assert!(y.iter().all(|y| *y == 0.0 || *y == factor));
            let kept = y.iter().filter(|y| **y != 0.0).count() as f64;
            let sd = f64::sqrt(n * p * (1.0 - p));
            assert!((kept - n * p).abs() <= 4.0 * sd, "kept {kept} of {n}, expected {}", n * p);
        }
    }

    #[test]
    fn both_executors_drop_the_same_and_every_step_others() {
        for shape in [&[7][..], &[3, 5, 2], &[17, 3, 3]] {
            let data = ones(4, shape);
            let mut nets = [false, true].map(|f64| net(shape, &[Dropout::new(0.5)], f64));
            let mut before = Vec::new();
            for _ in 0..3 {
                let [fast, exact] = nets.each_mut().map(|net| net.forward(&data.all()).to_vec());
                assert_eq!(fast, exact);
                assert_ne!(fast, before);
                before = fast;
            }
        }
    }

    #[test]
    fn the_gradient_has_the_mask_of_the_step() {
        let data = ones(4, &[3, 2, 2]);
        for f64 in [false, true] {
            let mut net = net(&[3, 2, 2], &[Dropout::new(0.4); 2], f64);
            for _ in 0..3 {
                let y = net.forward(&data.all()).to_array().mapv(f64::from);
                let dx = net.backward_from(&ArrayD::ones(y.shape()));
                assert!(y.iter().zip(&dx).all(|(y, dx)| (y - dx).abs() <= 1e-6), "{y} {dx}");
            }
        }
    }

    #[test]
    fn a_prediction_and_p_of_0_pass_everything_on() {
        let data = ones(2, &[5]);
        assert!(net(&[5], &[Dropout::new(0.9)], false).predict(&data.all()).unwrap().iter().all(|y| *y == 1.0));
        assert!(net(&[5], &[Dropout::new(0.0)], false).forward(&data.all()).iter().all(|y| *y == 1.0));
    }

    #[test]
    fn a_wrong_p_is_refused() {
        for p in [1.0, -0.1, f64::NAN] {
            refuses(Dropout::new(p), &[2], "Dropout: `p` is a probability from 0 to below 1, found");
        }
        assert_eq!(Dropout::new(0.25).spec().to_string(), "Dropout p=0.25");
    }
}
