//! Networks of every form: connections drawn at random run the same in every way, and odd ones do what is expected.

mod common;

use std::ops::Range;

use common::{branch, disk, loss, on};
use gradus::Registry;
use gradus::data::{Dataset, Target};
use gradus::exec::cpu::Isa;
use gradus::layers::{Back, Declare, Layer};
use gradus::net::{Architecture, Graph, Join, Net, Options};
use gradus::prelude::{Linear, Seed, Sequential};
use gradus::program::{Emit, Value};
use gradus::spec::Spec;
use indexmap::IndexMap;
use ndarray::{ArrayD, IxDyn};

fn resolve(a: &Architecture, data: &Dataset) -> gradus::Result<Graph> {
    Graph::resolve(a, &data.schema(), &Registry::new())
}

/// So many samples of two inputs of that shape, three values and two labels.
fn samples(count: usize, shape: &[usize]) -> Dataset {
    let values = |name: &str| {
        let mut s = Seed(3).key(name).stream();
        let shape = if name == "v" { vec![count, 3] } else { [&[count], shape].concat() };
        ArrayD::from_shape_simple_fn(IxDyn(&shape), || s.normal() as f32)
    };
    let mut s = Seed(4).key("labels").stream();
    let labels = ArrayD::from_shape_simple_fn(IxDyn(&[count, 2]), || s.below(3) as u32);
    let names = (0..3).map(|i| i.to_string()).collect();
    let inputs = ["x", "z"].map(|name| (name.to_string(), values(name)));
    let targets = [("v", Target::Values(values("v"))), ("c", Target::Classes { labels, names })];
    Dataset::new(inputs.into(), targets.map(|(n, t)| (n.to_string(), t)).into()).unwrap()
}

const LAYERS: &[&[&str]] = &[
    &["Linear 3", "Tanh"],
    &["Identity", "Linear 3", "Identity"],
    &["Linear 3", "ReLU", "Linear 3"],
    &["Linear 3", "Softmax"],
    &["Identity", "Identity"],
    &["Linear 3", "Dropout 0.4", "Sigmoid"],
    &["Linear 3", "BatchNorm1d"],
    &["Flatten", "Linear 3 bias=false"],
    &[],
];

/// Of images: pixels of a few channels lie in memory in one way where data come to be, in another elsewhere.
const IMAGE_LAYERS: &[&[&str]] = &[
    &["Conv2d 2 3 padding=1", "Tanh"],
    &["Tanh", "Conv2d 2 1", "ReLU"],
    &["Identity", "Conv2d 3 3 padding=1", "ReLU", "MaxPool2d 3 stride=1 padding=1"],
    &["MaxPool2d 3 stride=1 padding=1", "Tanh"],
    &["Conv2d 5 2 padding=1", "ReLU", "MaxPool2d 2 stride=1"],
    &["AvgPool2d 3 stride=1 padding=1", "Tanh"],
    &["Conv2d 5 2 padding=1", "ReLU", "AvgPool2d 2 stride=1"],
    &["Dropout 0.4", "Sigmoid"],
    &["Conv2d 2 3 padding=1", "BatchNorm2d", "ReLU"],
    &["BatchNorm2d"],
    &[],
];

/// Two to five branches fed by inputs, branches, their insides and parts; sums, shared weights, frozen ones, several losses,
/// which of `images` have a linear layer before them.
fn random(seed: u64, images: bool) -> Architecture {
    let layers = if images { IMAGE_LAYERS } else { LAYERS };
    let mut stream = Seed(seed).key("network").stream();
    let mut pick = |n: usize| stream.below(n as u64) as usize;
    let mut a = Architecture::default();
    let count = 2 + pick(4);
    for i in 0..count {
        let mut places: Vec<String> = ["x", "z", "x[1]"].map(String::from).to_vec();
        places.extend((0..i).flat_map(|j| ["", ":0", ":1", "[2]"].map(|at| format!("b{j}{at}"))));
        let from: Vec<&str> = (0..1 + pick(3)).map(|_| places[pick(places.len())].as_str()).collect();
        let mut b = branch(&from, layers[pick(layers.len())]);
        b.join = [Join::Add, Join::Concat][pick(2)];
        if i > 0 && pick(3) == 0 {
            b.layers.clear();
            let other = Some(format!("b{}", pick(i)));
            if pick(2) == 0 { b.share = other } else { b.like = other }
        }
        a.branches.insert(format!("b{i}"), b);
    }
    for i in 0..1 + pick(3) {
        let mut of = format!("b{}{}", pick(count), ["", ":0", ":1"][pick(3)]);
        if images {
            let head = branch(&[&of], &["Flatten", "Linear 3"]);
            of = format!("h{i}");
            a.branches.insert(of.clone(), head);
        }
        let (target, kind) = [
            ("v", "MSELoss"),
            ("v", "L1Loss reduction=sum"),
            ("c[0]", "CrossEntropyLoss"),
            ("c[1]", "MSELoss"),
            ("v", "CrossEntropyLoss reduction=sum"),
        ][pick(5)];
        a.losses.insert(format!("l{i}"), loss(&of, target, kind, 0.25 + i as f64));
    }
    if pick(3) == 0 {
        a.freeze.push(["b0.*", "*.bias", "b1.*"][pick(3)].into());
    }
    a
}

#[test]
fn random_connections_run_the_same_in_every_way() {
    run_the_same(&samples(7, &[3]), 0..1000, |seed| random(seed, false));
}

#[test]
fn random_connections_of_images_run_the_same_in_every_way() {
    run_the_same(&samples(7, &[2, 4, 3]), 0..1500, |seed| random(seed, true));
    // More than one block of samples along the lanes.
    run_the_same(&samples(21, &[2, 4, 3]), 1500..2900, |seed| random(seed, true));
}

fn run_the_same(data: &Dataset, seeds: Range<u64>, random: impl Fn(u64) -> Architecture) {
    let mut resolved = 0;
    for seed in seeds {
        let a = random(seed);
        let Ok(graph) = resolve(&a, data) else { continue };
        resolved += 1;
        let text = serde_json::to_string(&a).unwrap();
        let [mut four, mut fused] = [(); 2].map(|()| on(&graph, Isa::detect(), 1));
        let mut exact = Net::new(graph.clone(), Seed(11), Options { threads: 1, f64: true }).unwrap();
        for _ in 0..2 {
            for net in [&mut four, &mut exact] {
                net.forward(&data.all());
                let value = net.loss(&data.all());
                assert_eq!(net.loss(&data.all()), value, "asked for again: {text}");
                net.backward();
                net.learn(0.05);
            }
            fused.train_step(&data.all(), 0.05);
        }
        for ((p, q), r) in four.params().iter().zip(fused.params()).zip(exact.params()) {
            assert_eq!(p.value, q.value, "{}: {text}", p.name);
            // Before a norm, gradients are differences of large numbers.
            let near = |(x, y): (&f64, &f64)| (x - y).abs() <= 1e-2 * (1.0 + y.abs()) || text.contains("BatchNorm");
            assert!(p.grad.iter().zip(&r.grad).all(near), "{}: {} {}: {text}", p.name, p.grad, r.grad);
        }
        if !text.contains("Dropout") && !text.contains("BatchNorm") {
            four.forward(&data.all());
            four.loss(&data.all());
            let evaluation = four.evaluate(data).unwrap();
            for ((name, value), node) in four.losses().zip(&graph.losses) {
                let samples = if node.loss.spec().to_string().contains("sum") { data.len() as f64 } else { 1.0 };
                let found = evaluation.of[name].loss * samples;
                assert!((found - value).abs() <= 1e-5 * (1.0 + value.abs()), "{name}: {found} {value}: {text}");
            }
        }
        if seed % 8 == 0 {
            let report = gradus::check::network(&graph, &data.all(), Seed(1)).unwrap();
            assert!(report.rows.iter().all(|r| r.kink || r.error <= 1e-5), "{report}\n{text}");
        }
        fused.health(&data.all()).unwrap();
        // A step so large that what is left of the parameters is their gradient, which `fused` does not keep.
        four.forward(&data.all());
        four.loss(&data.all());
        four.backward();
        four.learn(1e6);
        fused.train_step(&data.all(), 1e6);
        for (p, q) in four.params().iter().zip(fused.params()) {
            assert_eq!(p.value, q.value, "{}, a large step: {text}", p.name);
        }
    }
    assert!(resolved > 200, "{resolved}");
}

#[test]
fn a_step_adds_to_gradients_that_wait() {
    let data = disk(40).train;
    let graph = common::disk_net(&["Linear 8", "ReLU", "Linear 2"], "MSELoss");
    let [mut four, mut fused] = [(); 2].map(|()| on(&graph, Isa::detect(), 1));
    let batches = [data.range(0..20), data.range(20..40)];
    for batch in &batches {
        four.forward(batch);
        four.loss(batch);
        four.backward();
    }
    four.learn(0.1);
    fused.forward(&batches[0]);
    fused.loss(&batches[0]);
    fused.backward();
    fused.train_step(&batches[1], 0.1);
    for (p, q) in four.params().iter().zip(fused.params()) {
        assert_eq!(p.value, q.value, "{}", p.name);
        assert!(p.grad.iter().any(|g| *g != 0.0) && q.grad.iter().all(|g| *g == 0.0), "{}", p.name);
    }
}

#[test]
fn a_loss_that_is_not_finite_moves_nothing() {
    let mut x = ArrayD::from_elem(IxDyn(&[6, 2]), 0.5);
    x[[5, 0]] = 1e30; // its square is too large
    let data = Dataset::new(
        [("points".to_string(), x)].into(),
        [("inside".to_string(), Target::Values(ArrayD::zeros(IxDyn(&[6, 1]))))].into(),
    )
    .unwrap();
    let mut net =
        Sequential::new([2]).add(Linear::new(1)).loss(gradus::prelude::MSELoss::new()).build(Seed(1)).unwrap();
    let settings = gradus::train::Settings { batch: 3, shuffle: false, ..Default::default() };
    let error = net.fit(&data, &settings, |_| gradus::train::Flow::Continue).unwrap_err().to_string();
    assert!(error.contains("batch 2") && error.contains("finite still"), "{error}");
    assert!(net.params().iter().all(|p| p.value.iter().all(|x| x.is_finite())));
}

#[test]
fn an_end_that_nobody_reads_is_an_output() {
    let data = disk(20).train;
    let mut a = Architecture::default();
    a.branches.insert("body".into(), branch(&["points"], &["Linear 8", "Tanh", "Linear 2"]));
    a.branches.insert("head".into(), branch(&["body:1"], &["Linear 2"]));
    a.losses.insert("inside".into(), loss("head", "inside", "CrossEntropyLoss", 1.0));
    let outputs = |a: &Architecture| resolve(a, &data).unwrap().outputs.into_iter().map(|o| o.0).collect::<Vec<_>>();
    assert_eq!(outputs(&a), ["head", "body"]);
    a.branches["head"] = branch(&["body:2"], &["Linear 2"]);
    assert_eq!(outputs(&a), ["head"]);
}

#[test]
#[should_panic(expected = "train_step: the network has no loss")]
fn a_network_without_a_loss_takes_no_training_step() {
    let mut net = Sequential::new([2]).add(Linear::new(2)).build(Seed(1)).unwrap();
    net.train_step(&disk(20).train.all(), 0.1);
}

/// Passes its input on, but not its gradient: as it is written, its backward pass would be passed over.
#[derive(Debug)]
struct Reversal;

impl Layer for Reversal {
    fn spec(&self) -> Spec {
        Spec::new("Reversal")
    }

    fn declare(&self, x: &[usize], _: &mut Declare) -> gradus::Result<Vec<usize>> {
        Ok(x.to_vec())
    }

    fn emit(&self, _: &mut Emit<'_>, x: Value) -> (Value, Back) {
        (x, Box::new(|e, dy| e.add(dy, dy)))
    }
}

#[test]
#[should_panic(expected = "net.1: a layer that returns its input must return its gradient too")]
fn a_gradient_is_not_lost_in_silence() {
    let net = Sequential::new([2]).add(Linear::new(2)).add(Reversal).build(Seed(1)).unwrap();
    net.program();
}

#[test]
fn sizes_and_numbers_of_layers_have_limits() {
    use gradus::layers::Conv2d;
    let refused = |net: Sequential| net.build(Seed(1)).unwrap_err().to_string();
    for shape in [vec![], vec![0], vec![usize::MAX, 2]] {
        assert!(refused(Sequential::new(shape).add(Linear::new(1))).contains("input `x`: a sample of"));
    }
    assert!(refused(Sequential::new([1, 2, 2]).add(Conv2d::new(1, 1).padding(usize::MAX))).contains("a sample of"));
    let many = (0..10_001).fold(Sequential::new([1]), |net, _| net.add(Linear::new(1)));
    assert!(refused(many).contains("more than 10000 branches and layers"));
    let data = disk(2).train;
    let chain = |i: usize| if i == 0 { "points".to_string() } else { format!("b{}", i - 1) };
    let branches: IndexMap<_, _> = (0..9000).rev().map(|i| (format!("b{i}"), branch(&[&chain(i)], &[]))).collect();
    assert!(resolve(&Architecture { branches, ..Architecture::default() }, &data).is_ok());
}
