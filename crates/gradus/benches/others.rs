//! Networks that no list names, beside the listed one of the nearest size: `cargo bench -p gradus --bench others`, one thread.
//!
//! Each case's share of the peak in a training step, and how many times further from the peak it is than the step or prediction of
//! `gradus bench` that does as many floating-point operations, or nearly; more than 2 is marked. A case may be given:
//! `cargo bench -p gradus --bench others -- '3x32x32 | Conv2d 16 3,ReLU,Flatten,Linear 10 | b50 | Adam lr=0.001'`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::Instant;

use common::{chain, on, workload};
use gradus::Registry;
use gradus::data::{Dataset, Target};
use gradus::exec::cpu::Isa;
use gradus::metrics::EVAL_BATCH;
use gradus::model::Model;
use gradus::net::Graph;
use gradus::prelude::Seed;
use gradus::program::{Phase, Roots, compile};
use gradus::spec::Spec;
use gradus::train::{Settings, Trainer};
use gradus_kernels::peak;
use indexmap::IndexMap;
use ndarray::ArrayD;

/// Input, layers, batch, optimiser.
const CASES: &[&str] = &[
    // Widths and batches of small networks.
    "2 | Linear 1,Tanh,Linear 1,Tanh,Linear 2 | b20",
    "2 | Linear 7,ReLU,Linear 7,Tanh,Linear 2 | b20",
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
    "16x16x16 | Conv2d 64 1,ReLU,Conv2d 64 1,ReLU,AvgPool2d 4,Flatten,Linear 10 | b32",
    "16x14x14 | Conv2d 16 3 padding=1,ReLU,Conv2d 16 3 padding=1,ReLU,Flatten,Linear 10 | b3",
    "64x8x8 | Conv2d 128 3 padding=1,ReLU,Conv2d 128 3 padding=1,ReLU,Flatten,Linear 10 | b16",
];

/// Times of a case: the best microseconds of a step or a prediction, and its floating-point operations.
struct Step {
    micros: f64,
    flops: f64,
}

/// A step in batches from data of several, as long as training goes on the same way.
fn step(graph: &Graph, data: &Dataset, batch: usize, optimizer: &str) -> Step {
    let mut net = on(graph, Isa::detect(), 1);
    let optimizer = Spec::parse(optimizer, |_| Ok(Vec::new())).unwrap_or_else(|e| panic!("{e}"));
    let settings = Settings { optimizer, batch, ..Settings::default() };
    drop(Trainer::new(&mut net, data.into(), &settings).unwrap_or_else(|e| panic!("{e}"))); // it sets the optimiser
    let program = net.program();
    let flops: u64 =
        [Phase::Forward, Phase::Loss, Phase::Backward].iter().map(|p| program.cost(*p, "", batch).flops).sum();
    let batches: Vec<_> = (0..data.len() / batch).map(|i| data.range(i * batch..(i + 1) * batch)).collect();
    let mut at = 0;
    let micros = best(|| {
        net.train_step(&batches[at % batches.len()], 1e-4);
        at += 1;
    });
    Step { micros, flops: flops as f64 }
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
    Step { micros, flops: cost.flops as f64 }
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

/// A network from its line, and data for it.
fn parse(case: &str) -> (Graph, Dataset, usize, &str) {
    let parts: Vec<&str> = case.split('|').map(str::trim).collect();
    let [shape, layers, batch, ..] = parts[..] else { panic!("{case}: expected input | layers | b20") };
    let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("{case}: {text} is no number"));
    let shape: Vec<usize> = shape.split('x').map(number).collect();
    let layers: Vec<&str> = layers.split(',').map(str::trim).collect();
    let classes = number(layers[layers.len() - 1].rsplit(' ').next().unwrap_or_default());
    let batch = number(batch.trim_start_matches('b'));
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
    (graph, data, batch, parts.get(3).copied().unwrap_or("SGD lr=0.01"))
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).filter(|a| a.contains('|')).collect();
    let cases: Vec<&str> = if given.is_empty() { CASES.to_vec() } else { given.iter().map(String::as_str).collect() };
    let peak = || peak::flops(Isa::detect());
    let share = |step: &Step, peak: f64| step.flops / step.micros * 1e6 / peak;
    println!("{:>11} {:>8} {:>8}  network", "µs", "of peak", "further");
    let steps = ["W1", "W2", "W3", "W4", "W5"].map(|name| (name, name, None));
    let predictions =
        [("W6-disk-1", "W1", 1), ("W6-disk-1000", "W1", 1000), ("W6-net1-1", "W2", 1), ("W6-net1-1000", "W2", 1000)];
    let predictions = predictions.map(|(name, of, samples)| (name, of, Some(samples)));
    let mut listed: Vec<(&str, f64, f64)> = Vec::new();
    for (name, of, samples) in steps.into_iter().chain(predictions) {
        let (graph, data, batch) = workload(of, if of == "W4" { 50 } else { 1000 });
        let done = match samples {
            None => step(&graph, &data, batch, "SGD lr=0.01"),
            Some(samples) => prediction(&graph, &data, samples),
        };
        let peak = peak();
        println!("{:11.2} {:6.1} % {:8}  {name}", done.micros, 100.0 * share(&done, peak), "");
        listed.push((name, done.flops, share(&done, peak)));
    }
    for case in cases {
        let (graph, data, batch, optimizer) = parse(case);
        let (step, peak) = (step(&graph, &data, batch, optimizer), peak());
        let far = |flops: f64| (flops / step.flops).ln().abs();
        let (name, _, nearest) = listed.iter().min_by(|a, b| far(a.1).total_cmp(&far(b.1))).expect("some are listed");
        let further = nearest / share(&step, peak);
        let mark = if further <= 2.0 { ' ' } else { '!' };
        println!("{:11.2} {:6.1} % {further:5.2} {name}{mark} {case}", step.micros, 100.0 * share(&step, peak));
    }
}
