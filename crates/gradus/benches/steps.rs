//! Microseconds of a training step and of a prediction, per network: `cargo bench -p gradus --bench steps`.
//!
//! The best of several short runs; the share of the machine's peak is that of the fused multiply-adds it reaches in the
//! same process, so that runs on different machines (and on busy ones) can be compared.

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::Instant;

use common::{PAIR_NETS, on, pair_graph, pairs, workload};
use gradus::data::Dataset;
use gradus::exec::cpu::Isa;
use gradus::net::Graph;
use gradus::program::Phase;

/// The best microseconds per call.
fn time(mut f: impl FnMut()) -> f64 {
    f();
    let start = Instant::now();
    f();
    let calls = (20e-3 / start.elapsed().as_secs_f64()).clamp(1.0, 1e5) as usize;
    (0..7)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(|_| f());
            start.elapsed().as_secs_f64() * 1e6 / calls as f64
        })
        .fold(f64::INFINITY, f64::min)
}

fn row(name: &str, graph: &Graph, data: &Dataset, batch: usize, threads: usize) {
    let mut net = on(graph, Isa::detect(), threads);
    let b = data.range(0..batch);
    let fused = time(|| {
        black_box(net.train_step(&b, 1e-3));
    });
    let steps = time(|| {
        net.forward(&b);
        net.loss(&b);
        net.backward();
        net.learn(1e-3);
    });
    let infer = time(|| {
        black_box(net.predict(&b).unwrap());
    });
    let program = net.program();
    let flops: u64 =
        [Phase::Forward, Phase::Loss, Phase::Backward].iter().map(|p| program.cost(*p, "", batch).flops).sum();
    println!("{name:18} {threads:7} {fused:10.2} {steps:10.2} {infer:10.2} {:10.2}", flops as f64 / fused / 1e3);
}

fn main() {
    println!("instruction set {}", Isa::detect());
    println!(
        "{:18} {:>7} {:>10} {:>10} {:>10} {:>10}",
        "network", "threads", "fused µs", "steps µs", "predict µs", "GFLOP/s"
    );
    let pairs = pairs(50, 2).train;
    let chains = [("disk", workload("W1", 1000)), ("784–1024–1024–10", workload("W5", 256))];
    for threads in [1, 2] {
        for (name, (graph, data, batch)) in &chains {
            row(name, graph, data, *batch, threads);
        }
        for name in PAIR_NETS {
            row(name, &pair_graph(name), &pairs, 50, threads);
        }
    }
}
