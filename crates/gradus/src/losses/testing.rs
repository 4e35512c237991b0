//! What the tests of losses share: a loss alone, of a network that passes its input on.

use std::sync::Arc;

use ndarray::{Array1, ArrayD, IxDyn};

use super::Loss;
use crate::data::{Dataset, Target, TargetInfo};
use crate::exec::cpu::Cpu;
use crate::exec::reference::Reference;
use crate::exec::{Executor, PlanKind, Step};
use crate::layers::Identity;
use crate::layers::testing::near;
use crate::net::Sequential;
use crate::program::{Phase, Roots, compile};
use crate::rng::Seed;

/// A target of numbers, whose shape begins with the batch.
pub(crate) fn values(shape: &[usize], t: &[f32]) -> Target {
    Target::Values(ArrayD::from_shape_vec(IxDyn(shape), t.to_vec()).unwrap())
}

/// A target of labels among `classes`.
pub(crate) fn classes(classes: usize, labels: &[u32]) -> Target {
    let names = (0..classes).map(|i| i.to_string()).collect();
    Target::Classes { labels: Array1::from_vec(labels.to_vec()).into_dyn(), names }
}

/// The loss of `x` (whose shape begins with the batch) against `target` and the gradient of `x`, on both executors, which
/// must agree.
#[track_caller]
pub(crate) fn run(loss: impl Loss + Clone + 'static, shape: &[usize], x: &[f64], target: &Target) -> (f64, Vec<f64>) {
    let array = ArrayD::from_shape_vec(IxDyn(shape), x.iter().map(|x| *x as f32).collect()).unwrap();
    let data = Dataset::from_arrays(array, target.clone()).unwrap();
    let info = data.schema().targets["y"].clone();
    let net = Sequential::new(&shape[1..]).add(Identity).loss(loss).target(info).build(Seed(1)).unwrap();
    let graph = net.graph();
    let program = Arc::new(compile(graph, &Roots::Train { inputs: true }));
    let pass = |mut exec: Box<dyn Executor>| {
        let batch = data.all();
        let plan = exec.load(program.clone(), batch.len(), PlanKind::Fused);
        exec.feed(plan, &batch, true, true);
        exec.run(plan, Phase::Forward, Phase::Backward, &Step::of(batch.len()));
        let dx = exec.read_f64(plan, program.input_grads["x"], batch.len());
        (exec.number(plan, program.losses["loss"].0), dx)
    };
    let exact = pass(Box::new(Reference::new(graph.clone())));
    let fast = pass(Box::new(Cpu::new(graph.clone(), 1)));
    near(&[fast.0], &[exact.0]);
    near(&fast.1, &exact.1);
    exact
}

/// Asserts that `loss` refuses outputs of shape `x` against `target` with a message that begins with `text`.
#[track_caller]
pub(crate) fn refuses(loss: impl Loss, x: &[usize], target: &TargetInfo, text: &str) {
    let error = loss.declare(x, target).unwrap_err().to_string();
    assert!(error.starts_with(text), "{error}");
}
