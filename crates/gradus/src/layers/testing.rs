//! What the tests of layers share: a layer alone in a network.

use std::collections::HashMap;

use ndarray::{ArrayD, IxDyn};

use super::{Declare, Layer};
use crate::data::{Dataset, Target};
use crate::net::{Options, Sequential};
use crate::rng::Seed;

/// What one pass gave, as the reference executor has it; arrays in torch's order.
pub(crate) struct Run {
    pub y: Vec<f64>,
    pub dx: Vec<f64>,
    pub grads: HashMap<String, Vec<f64>>,
}

/// Asserts that two lists are equal but for rounding to f32.
#[track_caller]
pub(crate) fn near(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "number {i}: {a} and {b}");
    }
}

/// Runs `layer` with these parameters forward on `x` (whose shape begins with the batch) and back from `dy`, on both
/// executors, which must agree.
#[track_caller]
pub(crate) fn run(
    layer: impl Layer + Clone + 'static,
    shape: &[usize],
    x: &[f64],
    params: &[(&str, Vec<f64>)],
    dy: &[f64],
) -> Run {
    let pass = |f64| {
        let options = Options { f64, ..Options::default() };
        let mut net = Sequential::new(&shape[1..]).add(layer.clone()).options(options).build(Seed(1)).unwrap();
        for (name, value) in params {
            let name = format!("net.0.{name}");
            let shape = net.graph().params.iter().find(|p| p.name == name).unwrap().shape.clone();
            net.set_param(&name, &ArrayD::from_shape_vec(shape, value.clone()).unwrap()).unwrap();
        }
        let x = x.iter().map(|x| *x as f32).collect();
        let x = ArrayD::from_shape_vec(IxDyn(shape), x).unwrap();
        let target = Target::Values(ArrayD::zeros(IxDyn(&[shape[0], 1])));
        let data = Dataset::from_arrays(x, target).unwrap();
        let y = net.forward(&data.all()).to_array();
        let dy = ArrayD::from_shape_vec(y.shape(), dy.to_vec()).unwrap();
        let dx = net.backward_from(&dy).into_raw_vec_and_offset().0;
        let grads = net
            .params()
            .into_iter()
            .map(|p| (p.name["net.0.".len()..].to_string(), p.grad.into_raw_vec_and_offset().0));
        Run { y: y.iter().map(|y| f64::from(*y)).collect(), dx, grads: grads.collect() }
    };
    let (exact, fast) = (pass(true), pass(false));
    near(&fast.y, &exact.y);
    near(&fast.dx, &exact.dx);
    for (name, grad) in &exact.grads {
        near(&fast.grads[name], grad);
    }
    exact
}

/// Asserts that `layer` refuses samples of shape `x` with a message that begins with `text`.
#[track_caller]
pub(crate) fn refuses(layer: impl Layer, x: &[usize], text: &str) {
    let error = layer.declare(x, &mut Declare::default()).unwrap_err().to_string();
    assert!(error.starts_with(text), "{error}");
}
