//! Networks that no list names, beside the listed one of the nearest size: `cargo bench -p gradus --bench others`, one thread.
//!
//! Each case's share of the peak in a training step or a prediction, its share of what memory allows, and how many times further from the nearer of
//! the two it is than a step or prediction of `gradus bench` of as many floating-point operations would be, by the next smaller and
//! the next larger one of them; more than 2 is marked. What memory allows is the time that the bytes take which no step can do without, where a plain update of as much memory
//! moves them (the roofline of Williams et al. 2009): the samples are read; of the parameters, all are read for the forward pass, and
//! read and written by the update, with the states of the optimiser. What lies between the layers might never leave the caches, and
//! does not count. A case may be given:
//! `cargo bench -p gradus --bench others -- '3x32x32 | Conv2d 16 3,ReLU,Flatten,Linear 10 | b50 | Adam lr=0.001'`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::Instant;

use common::{chain, on, workload};
use gradus::Registry;
use gradus::data::{Dataset, Target};
use gradus::exec::cpu::{Isa, Machine};
use gradus::metrics::EVAL_BATCH;
use gradus::model::Model;
use gradus::net::{Graph, ParamInfo};
use gradus::prelude::Seed;
use gradus::program::{Phase, Roots, compile};
use gradus::spec::Spec;
use gradus::train::{Settings, Trainer};
use gradus_kernels::optim::{Sgd, sgd};
use gradus_kernels::{Buffer, peak};
use indexmap::IndexMap;
use ndarray::ArrayD;

/// Input, layers, batch (b) or samples of a prediction (p), optimiser.
const CASES: &[&str] = &[
    // Widths and batches of small networks.
    "2 | Linear 1,Tanh,Linear 1,Tanh,Linear 2 | b20",
    "2 | Linear 1,ReLU,Linear 1,ReLU,Linear 1,Tanh,Linear 2 | b1000",
    "2 | Linear 7,ReLU,Linear 7,Tanh,Linear 2 | b20",
    "2 | Linear 7,ReLU,Linear 7,ReLU,Linear 7,Tanh,Linear 2 | b1000",
    "2 | Linear 25,ReLU,Linear 25,ReLU,Linear 25,Tanh,Linear 2 | b1",
    "2 | Linear 25,ReLU,Linear 25,ReLU,Linear 25,Tanh,Linear 2 | b3",
    "2 | Linear 25,ReLU,Linear 25,ReLU,Linear 25,Tanh,Linear 2 | b20 | Adam lr=0.001",
    "2 | Linear 33,ReLU,Linear 33,ReLU,Linear 2 | b64",
    "2 | Linear 33,Tanh,Dropout 0.2,Linear 33,Tanh,Linear 2 | b64",
    "2 | Linear 100,ReLU,Linear 100,ReLU,Linear 2 | b64",
    "2 | Linear 300,ReLU,Linear 300,ReLU,Linear 2 | b1000",
    "2 | Linear 10,ReLU,Linear 10,ReLU,Linear 10,ReLU,Linear 10,ReLU,Linear 10,ReLU,Linear 10,ReLU,Linear 2 | b64",
    // Digits without convolutions.
    "784 | Linear 1,ReLU,Linear 1,ReLU,Linear 10 | b50",
    "784 | Linear 10 | b64",
    "100 | Linear 64,ReLU,Linear 26 | b128",
    "784 | Linear 100,ReLU,Linear 100,ReLU,Linear 10 | b1",
    "784 | Linear 300,ReLU,Linear 100,ReLU,Linear 10 | b64",
    "784 | Linear 300,BatchNorm1d,ReLU,Linear 100,BatchNorm1d,ReLU,Linear 10 | b64 | Adam lr=0.001",
    "784 | Linear 512,ReLU,Linear 512,ReLU,Linear 10 | b1 | Adam lr=0.001",
    "784 | Linear 2048,ReLU,Linear 2048,ReLU,Linear 10 | b64",
    // Convolutions.
    "1x8x8 | Conv2d 8 3,ReLU,Conv2d 8 3,ReLU,Flatten,Linear 10 | b32",
    "1x28x28 | Conv2d 1 3,ReLU,MaxPool2d 2,Flatten,Linear 10 | b50",
    "1x28x28 | Conv2d 7 5 stride=2,ReLU,Conv2d 9 3,ReLU,Flatten,Linear 10 | b64",
    "1x28x28 | Conv2d 16 3,ReLU,MaxPool2d 2,Flatten,Linear 10 | b50",
    "1x28x28 | Conv2d 16 3 padding=1,ReLU,MaxPool2d 2,Conv2d 32 3 padding=1,ReLU,MaxPool2d 2,Flatten,Linear 10 | b64",
    "1x28x28 | Conv2d 6 5 padding=2,ReLU,MaxPool2d 2,Conv2d 16 5,ReLU,MaxPool2d 2,Flatten,Linear 120,ReLU,Linear 84,ReLU,Linear 10 | b64",
    "3x32x32 | Conv2d 16 3 padding=1,ReLU,MaxPool2d 2,Conv2d 32 3 padding=1,ReLU,MaxPool2d 2,Flatten,Linear 10 | b64",
    "3x32x32 | Conv2d 32 3,BatchNorm2d,ReLU,MaxPool2d 2,Conv2d 64 3,BatchNorm2d,ReLU,MaxPool2d 2,Flatten,Linear 10 | b64",
    "3x32x32 | Conv2d 16 3 padding=1 stride=2,BatchNorm2d,ReLU,Conv2d 32 3 padding=1 stride=2,BatchNorm2d,ReLU,Flatten,Linear 10 | b64 | Adam lr=0.001",
    "1x28x28 | Conv2d 16 3,BatchNorm2d,ReLU,MaxPool2d 2,Conv2d 32 3,BatchNorm2d,ReLU,MaxPool2d 2,Flatten,Linear 10 | b1000",
    "1x28x28 | Conv2d 20 3 padding=1,ReLU,Conv2d 4 3 padding=1,ReLU,Flatten,Linear 10 | b64",
    "16x12x12 | Conv2d 16 2 stride=3,Tanh,Conv2d 20 4,ReLU,Flatten,Linear 2 | b32",
    "16x16x16 | Conv2d 64 1,ReLU,Conv2d 64 1,ReLU,AvgPool2d 4,Flatten,Linear 10 | b32",
    "16x14x14 | Conv2d 16 3 padding=1,ReLU,Conv2d 16 3 padding=1,ReLU,Flatten,Linear 10 | b3",
    "64x8x8 | Conv2d 128 3 padding=1,ReLU,Conv2d 128 3 padding=1,ReLU,Flatten,Linear 10 | b16",
    // Predictions.
    "33 | Linear 16,ReLU,Linear 26 | p1000",
    "1x28x28 | Conv2d 6 5 padding=2,Tanh,AvgPool2d 2,Conv2d 16 5,Tanh,AvgPool2d 2,Flatten,Linear 120,Tanh,Linear 84,Tanh,Linear 10 | p1",
    "1x28x28 | Conv2d 33 3 padding=1,BatchNorm2d,LeakyReLU,MaxPool2d 2,Flatten,Linear 10 | p1000",
];

/// Times of a case: the best microseconds of a step or a prediction, its floating-point operations, and the microseconds that moving
/// its bytes takes.
struct Step {
    micros: f64,
    flops: f64,
    moving: f64,
}

impl Step {
    /// The share of a peak of so many floating-point operations a second, and of what memory allows.
    fn shares(&self, peak: f64) -> [f64; 2] {
        [self.flops / self.micros * 1e6 / peak, self.moving / self.micros]
    }

    /// The larger one of them.
    fn share(&self, peak: f64) -> f64 {
        self.shares(peak).into_iter().fold(0.0, f64::max)
    }
}

/// Microseconds to move so many bytes within `memory` bytes, as a plain update does it: two numbers read, one written.
fn moving(bytes: usize, memory: usize) -> f64 {
    let n = (memory / 8).max(1024);
    let (mut p, g) = (Buffer::zeros(n), Buffer::zeros(n));
    let (cpu, update) = (Machine::new(1), Sgd { lr: 1e-3, weight_decay: 0.0 });
    bytes as f64 / (12 * n) as f64 * best(|| sgd(&cpu, &update, &mut p, &g))
}

/// Bytes of a sample's inputs.
fn sample_bytes(data: &Dataset) -> usize {
    data.inputs.values().map(|x| 4 * x.len() / data.len()).sum()
}

/// A step in batches from data of several, as long as training goes on the same way.
fn step(graph: &Graph, data: &Dataset, batch: usize, optimizer: &str) -> Step {
    let mut net = on(graph, Isa::detect(), 1);
    let optimizer = Spec::parse(optimizer, |_| Ok(Vec::new())).unwrap_or_else(|e| panic!("{e}"));
    let settings = Settings { optimizer, batch, ..Settings::default() };
    drop(Trainer::new(&mut net, data.into(), &settings).unwrap_or_else(|e| panic!("{e}"))); // it sets the optimiser
    let program = net.program();
    let phases = [Phase::Forward, Phase::Loss, Phase::Backward];
    let flops: u64 = phases.iter().map(|p| program.cost(*p, "", batch).flops).sum();
    let states = net.optimizer().map_or(0, |o| o.states().len());
    let params: usize = graph.params.iter().map(ParamInfo::len).sum();
    let sample = sample_bytes(data);
    let moving =
        moving(batch * sample + 4 * params * (3 + 2 * states), 4 * params * (2 + states) + data.len() * sample);
    let batches: Vec<_> = (0..data.len() / batch).map(|i| data.range(i * batch..(i + 1) * batch)).collect();
    let mut at = 0;
    let micros = best(|| {
        net.train_step(&batches[at % batches.len()], 1e-4);
        at += 1;
    });
    Step { micros, flops: flops as f64, moving }
}

/// A prediction of so many samples.
fn prediction(graph: &Graph, data: &Dataset, samples: usize) -> Step {
    let net = on(graph, Isa::detect(), 1);
    let model = Model::from_file(net.to_file(&IndexMap::new()), &Registry::new()).unwrap_or_else(|e| panic!("{e}"));
    let x = &data.inputs[0];
    let numbers: Vec<f32> = x.iter().take(samples * x.len() / data.len()).copied().collect();
    let mut session = model.session(samples.min(EVAL_BATCH));
    let outputs = vec![graph.outputs[0].0.clone()];
    let cost = compile(graph, &Roots::Infer { outputs, losses: false }).cost(Phase::Forward, "", samples);
    let micros = best(|| {
        black_box(session.predict_prepared(&numbers).unwrap_or_else(|e| panic!("{e}")));
    });
    let needs = samples * sample_bytes(data) + 4 * graph.params.iter().map(ParamInfo::len).sum::<usize>();
    Step { micros, flops: cost.flops as f64, moving: moving(needs, needs) }
}

/// The best of several times, in microseconds.
fn best(mut f: impl FnMut()) -> f64 {
    let mut run = |calls: usize| {
        let start = Instant::now();
        (0..calls).for_each(|_| f());
        start.elapsed().as_secs_f64() * 1e6 / calls as f64
    };
    let calls = (2e4 / run(2)).clamp(1.0, 1e5) as usize;
    (0..12).map(|_| run(calls)).fold(f64::INFINITY, f64::min)
}

/// A network from its line, data for it, the size of its batch, whether that is of a prediction, and the optimiser.
fn parse(case: &str) -> (Graph, Dataset, usize, bool, &str) {
    let parts: Vec<&str> = case.split('|').map(str::trim).collect();
    let [shape, layers, batch, ..] = parts[..] else { panic!("{case}: expected input | layers | b20") };
    let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("{case}: {text} is no number"));
    let shape: Vec<usize> = shape.split('x').map(number).collect();
    let layers: Vec<&str> = layers.split(',').map(str::trim).collect();
    let classes = number(layers[layers.len() - 1].rsplit(' ').next().unwrap_or_default());
    let predicts = batch.starts_with('p');
    let batch = number(batch.trim_start_matches(['b', 'p']));
    let samples = (4 * batch).max(1000.min(40 * batch));
    let mut stream = Seed(3).key("others").stream();
    let x = ArrayD::from_shape_simple_fn([&[samples], &shape[..]].concat(), || 2.0 * stream.uniform_f32() - 1.0);
    let labels = (0..samples).map(|i| (i * 7 % classes) as u32).collect();
    let names = (0..classes).map(|c| c.to_string()).collect();
    let target = Target::Classes { labels: ArrayD::from_shape_vec(vec![samples], labels).unwrap(), names };
    let data = Dataset::from_arrays(x, target).unwrap();
    let name = |keys: Vec<&String>| keys[0].clone();
    let (input, target) = (name(data.inputs.keys().collect()), name(data.targets.keys().collect()));
    let graph = chain(&data, &input, &layers, &target, "CrossEntropyLoss");
    (graph, data, batch, predicts, parts.get(3).copied().unwrap_or("SGD lr=0.01"))
}

/// The share of the peak at so many operations, on the line through those of the listed, by size, on logarithmic scales.
fn expected(listed: &[(f64, f64)], flops: f64) -> f64 {
    let larger = listed.partition_point(|(size, _)| *size < flops);
    let [a, b] = [larger.saturating_sub(1), larger.min(listed.len() - 1)].map(|i| listed[i]);
    if a.0 == b.0 {
        return a.1;
    }
    let way = (flops / a.0).ln() / (b.0 / a.0).ln();
    a.1 * (b.1 / a.1).powf(way)
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).filter(|a| a.contains('|')).collect();
    let cases: Vec<&str> = if given.is_empty() { CASES.to_vec() } else { given.iter().map(String::as_str).collect() };
    let peak = || peak::flops(Isa::detect());
    let show = |step: &Step, peak: f64, further: &str, name: &str| {
        let [peak, memory] = step.shares(peak).map(|share| 100.0 * share);
        println!("{:11.2} {peak:6.1} % {memory:6.1} % {further:>8}  {name}", step.micros);
    };
    println!("{:>11} {:>8} {:>8} {:>8}  network", "µs", "of peak", "memory", "further");
    let steps = ["W1", "W2", "W3", "W4", "W5"].map(|name| (name, name, None));
    let predictions =
        [("W6-disk-1", "W1", 1), ("W6-disk-1000", "W1", 1000), ("W6-net1-1", "W2", 1), ("W6-net1-1000", "W2", 1000)];
    let predictions = predictions.map(|(name, of, samples)| (name, of, Some(samples)));
    let mut listed = Vec::new();
    for (name, of, samples) in steps.into_iter().chain(predictions) {
        let (graph, data, batch) = workload(of, if of == "W4" { 50 } else { 1000 });
        let done = match samples {
            None => step(&graph, &data, batch, "SGD lr=0.01"),
            Some(samples) => prediction(&graph, &data, samples),
        };
        let peak = peak();
        show(&done, peak, "", name);
        listed.push((done.flops, done.share(peak)));
    }
    listed.sort_by(|a, b| a.0.total_cmp(&b.0));
    for case in cases {
        let (graph, data, batch, predicts, optimizer) = parse(case);
        let step = if predicts { prediction(&graph, &data, batch) } else { step(&graph, &data, batch, optimizer) };
        let peak = peak();
        let further = expected(&listed, step.flops) / step.share(peak);
        let mark = if further <= 2.0 { ' ' } else { '!' };
        show(&step, peak, &format!("{further:.2}{mark}"), case);
    }
}
