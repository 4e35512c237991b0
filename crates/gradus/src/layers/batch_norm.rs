//! `BatchNorm1d` and `BatchNorm2d`: every feature of vectors, every channel of images, normalised over the batch.
//!
//! # Shapes
//! x (B, C) or (B, C, H, W), γ and β (C), y as x. Kept for the backward pass: x, and mean and inv_std (C) of the batch.
//!
//! With x̂ = (x − mean)·inv_std, inv_std = 1/√(var + eps) and the biased variance of the N values of a channel:
//! y = γ·x̂ + β. Backward: dγ += Σ dy∗x̂, dβ += Σ dy, dx = γ·inv_std·(dy − Σ dy/N − x̂·Σ(dy∗x̂)/N).
//!
//! Training moves the running statistics by `momentum` towards the mean and the unbiased variance of the batch; a
//! prediction uses them. A tower that is applied twice has statistics per application, and moves the running ones twice,
//! in that order. Source: Ioffe and Szegedy 2015; the running variance as `torch.nn.BatchNorm2d` has it.

use super::{Back, Declare, Layer, shape_text};
use crate::error::Result;
use crate::fail;
use crate::init::Fan;
use crate::program::{Emit, Value};
use crate::spec::{ArgKind, Def, Spec, optional};

/// [`BatchNorm`] of vectors.
pub type BatchNorm1d = BatchNorm<1>;
/// [`BatchNorm`] of images.
pub type BatchNorm2d = BatchNorm<2>;

/// Normalises over the batch: every feature of vectors (`D` = 1), every channel of images (`D` = 2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm<const D: usize> {
    /// Added to the variance.
    pub eps: f64,
    /// How far a batch moves the running statistics.
    pub momentum: f64,
    /// Whether there are γ and β.
    pub affine: bool,
}

impl<const D: usize> Default for BatchNorm<D> {
    fn default() -> Self {
        BatchNorm { eps: 1e-5, momentum: 0.1, affine: true }
    }
}

impl<const D: usize> BatchNorm<D> {
    const NAME: &str = if D == 1 { "BatchNorm1d" } else { "BatchNorm2d" };

    /// The entry in [`super::LAYERS`].
    pub const DEF: Def<dyn Layer> = Def {
        name: Self::NAME,
        summary: if D == 1 {
            "normalises every feature over the batch"
        } else {
            "normalises every channel over the batch"
        },
        formula: "x̂ = (x − mean)/√(var + eps), y = γ·x̂ + β;  \
                  dγ += Σ dy∗x̂,  dβ += Σ dy,  dx = γ/√(var + eps)·(dy − Σ dy/N − x̂·Σ(dy∗x̂)/N)",
        shapes: if D == 1 {
            "(C) → the same;  weight (C), bias (C), running_mean (C), running_var (C)"
        } else {
            "(C, H, W) → the same;  weight (C), bias (C), running_mean (C), running_var (C)"
        },
        args: &[
            optional("eps", ArgKind::Number, "1e-5", "added to the variance"),
            optional("momentum", ArgKind::Number, "0.1", "how far a batch moves the running statistics"),
            optional("affine", ArgKind::Flag, "true", "whether there are a weight γ and a bias β"),
        ],
        make: |a| Ok(Box::new(Self { eps: a.number("eps"), momentum: a.number("momentum"), affine: a.flag("affine") })),
    };

    /// With torch's defaults: eps 1e-5, momentum 0.1, and γ and β.
    pub fn new() -> Self {
        Self::default()
    }

    /// With `eps` added to the variance.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Moving the running statistics by `momentum`.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// With or without γ and β.
    #[must_use]
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }
}

impl<const D: usize> Layer for BatchNorm<D> {
    fn spec(&self) -> Spec {
        Spec::new(Self::NAME).arg_unless("eps", self.eps, 1e-5).arg_unless("momentum", self.momentum, 0.1).arg_unless(
            "affine",
            self.affine,
            true,
        )
    }

    fn declare(&self, x: &[usize], d: &mut Declare) -> Result<Vec<usize>> {
        let name = Self::NAME;
        match (D, x) {
            (1, [_]) | (2, [_, _, _]) => {}
            (1, _) => {
                fail!(Shape, "{name} wants vectors (features), found {}; images take `BatchNorm2d`", shape_text(x))
            }
            _ => fail!(
                Shape,
                "{name} wants images (channels, height, width), found {}; vectors take `BatchNorm1d`",
                shape_text(x)
            ),
        }
        if !(self.eps.is_finite() && self.eps >= 0.0) {
            fail!(Argument, "{name}: `eps` is a number from 0 on, found {}", self.eps);
        }
        if !(0.0..=1.0).contains(&self.momentum) {
            fail!(Argument, "{name}: `momentum` is a number from 0 to 1, found {}", self.momentum);
        }
        let channels = &x[..1];
        if self.affine {
            d.param("weight", channels, Fan::Constant(1.0));
            d.param("bias", channels, Fan::Constant(0.0));
        }
        d.buffer("running_mean", channels, 0.0);
        d.buffer("running_var", channels, 1.0);
        Ok(x.to_vec())
    }

    fn least_batch(&self, x: &[usize]) -> usize {
        // A single value of a channel has no variance.
        if x[1..].iter().product::<usize>() == 1 { 2 } else { 1 }
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back) {
        let affine = self.affine.then(|| ["weight", "bias"].map(|name| e.param(name)));
        let running = ["running_mean", "running_var"].map(|name| e.buffer(name));
        if !e.train() {
            let y = e.batch_norm_infer(x, running, affine, self.eps);
            return (y, Box::new(|_, _| unreachable!("a program that predicts has no backward pass")));
        }
        let (y, s) = e.batch_norm(x, affine, self.eps); // γ·x̂ + β
        e.batch_norm_running(x, s, running, self.momentum);
        (y, Box::new(move |e, dy| e.batch_norm_grad(x, s, affine, dy))) // dγ, dβ, dx
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{near, refuses};
    use super::*;
    use crate::data::{Dataset, Target};
    use crate::exec::reference::Reference;
    use crate::exec::{Executor, PlanId, PlanKind, Step, Stored};
    use crate::losses::MSELoss;
    use crate::net::{Architecture, Graph, Net, Options, Param, Sequential};
    use crate::program::{Phase, Program, Roots, Source, compile};
    use crate::registry::Registry;
    use crate::rng::Seed;
    use indexmap::IndexMap;
    use ndarray::{Array, ArrayD, IxDyn};
    use std::sync::Arc;

    fn net<const D: usize>(shape: &[usize], layer: BatchNorm<D>, f64: bool) -> Net {
        Sequential::new(shape).add(layer).options(Options { f64, ..Options::default() }).build(Seed(1)).unwrap()
    }

    fn data(x: ArrayD<f64>) -> Dataset {
        let n = x.shape()[0];
        Dataset::from_arrays(x.mapv(|x| x as f32), Target::Values(Array::zeros([n]).into_dyn())).unwrap()
    }

    /// Normal numbers of this shape, exact in f32.
    fn random(shape: &[usize], name: &str) -> ArrayD<f64> {
        let mut stream = Seed(5).key(name).stream();
        ArrayD::from_shape_simple_fn(IxDyn(shape), || f64::from(stream.normal() as f32))
    }

    fn buffers(net: &Net) -> Vec<Vec<f64>> {
        (0..net.graph().buffers.len()).map(|i| net.executor_ref().stored(Stored::Buffer(i))).collect()
    }

    #[test]
    fn worked_by_hand() {
        for f64 in [false, true] {
            let mut net = net(&[1], BatchNorm1d::new().eps(0.0), f64);
            net.set_param("net.0.weight", &ArrayD::from_elem(IxDyn(&[1]), 2.0)).unwrap();
            net.set_param("net.0.bias", &ArrayD::from_elem(IxDyn(&[1]), 5.0)).unwrap();
            // Mean 2, variance 1 (2 unbiased).
            let data = data(Array::from(vec![1.0, 3.0]).into_shape_with_order(vec![2, 1]).unwrap());
            assert_eq!(net.forward(&data.all()).to_vec(), [3.0, 7.0]);
            near(&buffers(&net).concat(), &[0.2, 1.1]);
            // Of dy = (1, 0): x̂ = (−1, 1), Σ dy = 1, Σ dy·x̂ = −1; dx = 2·(dy − 1/2 + x̂/2) = 0.
            let dy = Array::from(vec![1.0, 0.0]).into_shape_with_order(vec![2, 1]).unwrap();
            assert_eq!(net.backward_from(&dy).into_raw_vec_and_offset().0, [0.0, 0.0]);
            let grads: Vec<f64> = net.params().iter().flat_map(|p| p.grad.clone()).collect();
            assert_eq!(grads, [-1.0, 1.0]);
            let y: Vec<f64> = net.predict(&data.all()).unwrap().iter().map(|y| f64::from(*y)).collect();
            near(&y, &[1.0, 3.0].map(|x| 2.0 * (x - 0.2) / 1.1f64.sqrt() + 5.0));
        }
    }

    /// A norm on the reference executor, with random parameters.
    struct Case {
        exec: Reference,
        program: Arc<Program>,
        plan: PlanId,
        step: Step,
    }

    impl Case {
        fn new(graph: &Arc<Graph>, batch: usize) -> Case {
            let mut exec = Reference::new(graph.clone());
            for (i, p) in graph.params.iter().enumerate() {
                exec.store(Stored::Param(i), random(&p.shape, &p.name).as_slice().unwrap());
            }
            let program = Arc::new(compile(graph, &Roots::BackwardFrom { buffers: true }));
            let plan = exec.load(program.clone(), batch, PlanKind::Stepwise);
            Case { exec, program, plan, step: Step::of(batch) }
        }

        /// Σ dy·y.
        fn dot(&mut self, x: &[f64], dy: &[f64]) -> f64 {
            let used = self.program.used();
            let input = used.into_iter().find(|v| self.program.info(*v).source == Source::Input(0)).unwrap();
            self.exec.write_f64(self.plan, input, x);
            self.exec.run(self.plan, Phase::Forward, Phase::Forward, &self.step);
            let y = self.exec.read_f64(self.plan, self.program.outputs[0], self.step.batch);
            y.iter().zip(dy).map(|(y, dy)| y * dy).sum()
        }

        /// dx, and the gradients of the parameters.
        fn backward(&mut self, dy: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
            self.exec.write_f64(self.plan, self.program.output_grad.unwrap(), dy);
            self.exec.run(self.plan, Phase::Backward, Phase::Backward, &self.step);
            let dx = self.exec.read_f64(self.plan, self.program.input_grads[0], self.step.batch);
            let params = self.program.values.iter().filter(|v| matches!(v.source, Source::Param(_))).count();
            (dx, (0..params).map(|i| self.exec.stored(Stored::Grad(i))).collect())
        }
    }

    #[test]
    fn gradients_are_those_of_differences() {
        fn check<const D: usize>(batch: usize, shape: &[usize], affine: bool) {
            let graph = net(shape, BatchNorm::<D>::new().affine(affine).eps(0.01), false).graph().clone();
            let mut case = Case::new(&graph, batch);
            let [x, dy] = ["x", "dy"].map(|name| random(&[&[batch], shape].concat(), name).into_raw_vec_and_offset().0);
            case.dot(&x, &dy);
            let (dx, grads) = case.backward(&dy);
            let h = 1e-4;
            let slope = |mut dot: Box<dyn FnMut(f64) -> f64 + '_>| (dot(h) - dot(-h)) / (2.0 * h);
            for (i, dx) in dx.iter().enumerate() {
                let moved =
                    |by| x.iter().enumerate().map(|(k, x)| x + if k == i { by } else { 0.0 }).collect::<Vec<_>>();
                near(&[*dx], &[slope(Box::new(|by| case.dot(&moved(by), &dy)))]);
            }
            for (p, grad) in grads.iter().enumerate() {
                let start = case.exec.stored(Stored::Param(p));
                for i in 0..grad.len() {
                    let dot = |by| {
                        let mut value = start.clone();
                        value[i] += by;
                        case.exec.store(Stored::Param(p), &value);
                        case.dot(&x, &dy)
                    };
                    near(&grad[i..=i], &[slope(Box::new(dot))]);
                }
                case.exec.store(Stored::Param(p), &start);
            }
        }
        for affine in [true, false] {
            for (batch, features) in [(2, 1), (3, 2), (5, 17)] {
                check::<1>(batch, &[features], affine);
            }
            for (batch, image) in [(1, [1, 3, 2]), (2, [3, 2, 2]), (3, [17, 1, 1]), (2, [16, 3, 1])] {
                check::<2>(batch, &image, affine);
            }
        }
    }

    /// Mean and biased variance.
    fn moments(x: &[f64]) -> (f64, f64) {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        (mean, x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n)
    }

    #[test]
    fn images_move_the_running_statistics_that_predictions_use() {
        for (f64, affine) in [(false, true), (true, true), (false, false), (true, false)] {
            let mut net = net(&[3, 1, 2], BatchNorm2d::new().momentum(0.5).affine(affine), f64);
            let mut affine = vec![[1.0, 0.0]; 3];
            for (i, p) in net.params().iter().enumerate() {
                net.set_param(&p.name, &random(&[3], &p.name)).unwrap();
                random(&[3], &p.name).iter().zip(&mut affine).for_each(|(v, a)| a[i] = *v);
            }
            let x = random(&[2, 3, 1, 2], "x");
            net.forward(&data(x.clone()).all());
            let y = net.predict(&data(x.clone()).all()).unwrap().to_array();
            let running = buffers(&net);
            for (j, [gamma, beta]) in affine.into_iter().enumerate() {
                let places = [[0, j, 0, 0], [0, j, 0, 1], [1, j, 0, 0], [1, j, 0, 1]];
                let (mean, var) = moments(&places.map(|at| x[at]));
                let (mean, var) = (0.5 * mean, 0.5 + 0.5 * var * 4.0 / 3.0);
                near(&[running[0][j], running[1][j]], &[mean, var]);
                for at in places {
                    near(&[f64::from(y[at])], &[gamma * (x[at] - mean) / (var + 1e-5).sqrt() + beta]);
                }
            }
        }
    }

    fn shared(freeze: &[&str], f64: bool) -> (Net, Dataset) {
        let architecture: Architecture = serde_json::from_value(serde_json::json!({
            "branches": {
                "left": { "from": ["a"], "layers": [{ "layer": "BatchNorm1d" }] },
                "right": { "from": ["b"], "share": "left" },
                "head": { "from": ["left", "right"], "layers": [] },
            },
            "freeze": freeze,
        }))
        .unwrap();
        let inputs = ["a", "b"].map(|name| (name.to_string(), random(&[4, 3], name).mapv(|x| x as f32)));
        let data = Dataset::new(IndexMap::from(inputs), IndexMap::new()).unwrap();
        let graph = Graph::resolve(&architecture, &data.schema(), &Registry::new()).unwrap();
        (Net::new(graph, Seed(1), Options { f64, ..Options::default() }).unwrap(), data)
    }

    #[test]
    fn a_shared_tower_has_statistics_per_application_and_moves_the_running_ones_in_order() {
        for f64 in [false, true] {
            let (mut net, data) = shared(&[], f64);
            let y = net.forward(&data.all()).to_array();
            let mut want = [vec![0.0; 3], vec![1.0; 3]];
            for (side, name) in ["a", "b"].into_iter().enumerate() {
                let x = random(&[4, 3], name);
                for j in 0..3 {
                    let column: Vec<f64> = (0..4).map(|s| x[[s, j]]).collect();
                    let (mean, var) = moments(&column);
                    for s in 0..4 {
                        let want = (column[s] - mean) / (var + 1e-5).sqrt();
                        near(&[f64::from(y[[s, 3 * side + j]])], &[want]);
                    }
                    want[0][j] = 0.9 * want[0][j] + 0.1 * mean;
                    want[1][j] = 0.9 * want[1][j] + 0.1 * var * 4.0 / 3.0;
                }
            }
            near(&buffers(&net).concat(), &want.concat());
            // β reaches both applications.
            net.backward_from(&ArrayD::ones(IxDyn(&[4, 6])));
            near(net.params()[1].grad.as_slice().unwrap(), &[8.0; 3]);
            // A prediction leaves the statistics as they are.
            net.predict(&data.all()).unwrap();
            near(&buffers(&net).concat(), &want.concat());
        }
    }

    #[test]
    fn a_second_forward_pass_of_one_batch_moves_nothing() {
        // `backward_from` of a network with a loss runs the batch again.
        let mut net = Sequential::new([3]).add(BatchNorm1d::new()).loss(MSELoss::new()).build(Seed(1)).unwrap();
        let data = data(random(&[4, 3], "x"));
        net.forward(&data.all());
        let moved = buffers(&net);
        assert_ne!(moved, [vec![0.0; 3], vec![1.0; 3]]);
        net.backward_from(&random(&[4, 3], "dy"));
        assert_eq!(buffers(&net), moved);
    }

    #[test]
    fn frozen_parameters_have_no_gradient_and_the_others_keep_theirs() {
        for f64 in [false, true] {
            let dy = random(&[4, 6], "dy");
            let gradients = |freeze: &[&str]| {
                let (mut net, data) = shared(freeze, f64);
                net.forward(&data.all());
                let dx: Vec<f64> = net.backward_from_all(&dy).values().flatten().copied().collect();
                (dx, net.params())
            };
            let (dx, all) = gradients(&[]);
            let (same_dx, one) = gradients(&["*.weight"]);
            assert_eq!(dx, same_dx);
            let grad = |params: &[Param], name: &str| params.iter().find(|p| p.name == name).unwrap().grad.clone();
            assert_eq!(grad(&one, "left.0.bias"), grad(&all, "left.0.bias"));
            assert!(grad(&one, "left.0.weight").iter().all(|g| *g == 0.0));
            assert_eq!(gradients(&["*"]).0, dx);
        }
    }

    #[test]
    fn a_single_value_per_channel_is_refused() {
        assert_eq!(net(&[3], BatchNorm1d::new(), false).graph().least_batch, 2);
        assert_eq!(net(&[3, 1, 1], BatchNorm2d::new(), false).graph().least_batch, 2);
        let mut images = net(&[3, 1, 2], BatchNorm2d::new(), false);
        assert_eq!(images.graph().least_batch, 1);
        images.forward(&data(random(&[1, 3, 1, 2], "x")).all());
        // A prediction needs no statistics of the batch.
        net(&[3], BatchNorm1d::new(), false).predict(&data(random(&[1, 3], "x")).all()).unwrap();
    }

    #[test]
    #[should_panic(expected = "forward: batch norm needs 2 samples to train, the batch has 1")]
    fn one_sample_does_not_train() {
        net(&[3], BatchNorm1d::new(), false).forward(&data(random(&[1, 3], "x")).all());
    }

    #[test]
    fn wrong_shapes_and_arguments_are_named() {
        refuses(BatchNorm1d::new(), &[3, 4, 4], "BatchNorm1d wants vectors (features), found (3, 4, 4)");
        refuses(BatchNorm2d::new(), &[3], "BatchNorm2d wants images (channels, height, width), found (3)");
        refuses(BatchNorm1d::new().momentum(1.5), &[3], "BatchNorm1d: `momentum` is a number from 0 to 1, found 1.5");
        refuses(BatchNorm1d::new().eps(-1.0), &[3], "BatchNorm1d: `eps` is a number from 0 on, found -1");
        assert_eq!(BatchNorm2d::new().spec().to_string(), "BatchNorm2d");
        assert_eq!(
            BatchNorm1d::new().momentum(0.3).affine(false).spec().to_string(),
            "BatchNorm1d momentum=0.3 affine=false"
        );
    }
}
