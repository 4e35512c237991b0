//! A step and a prediction allocate nothing, over every network of the reports and both plans.

mod common;

use common::{PAIR_NETS, digit_net, disk, disk_net, on, pair_graph, pairs};
use gradus::data::Dataset;
use gradus::data::augment::{Augment, TRANSFORMS};
use gradus::exec::cpu::Isa;
use gradus::net::Graph;
use gradus::prelude::*;
use gradus::spec::Spec;
use gradus::train::{Settings, Trainer};
use gradus_kernels::counting::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn check(name: &str, graph: &Graph, data: &Dataset, batch: usize) {
    let mut net = on(graph, Isa::detect(), 2);
    let batches: Vec<_> = data.batches(batch).collect();
    let mut four = |b: &Batch<'_>| {
        net.forward(b);
        net.loss(b);
        net.backward();
        net.learn(0.01);
        net.predict(b).unwrap();
    };
    four(&batches[0]);
    let count = allocations(|| batches.iter().for_each(&mut four));
    assert_eq!(count, 0, "{name}: the four steps and a prediction, {} batches", batches.len());
    net.train_step(&batches[0], 0.01);
    let count = allocations(|| {
        for b in &batches {
            net.train_step(b, 0.01);
        }
    });
    assert_eq!(count, 0, "{name}: the fused step");
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.safetensors"));
    net.save(&path).unwrap();
    let mut session = Model::load(&path).unwrap().session(batch);
    let (_, x) = data.inputs.first().unwrap();
    let samples = x.as_slice().unwrap();
    session.predict(samples).unwrap();
    assert_eq!(allocations(|| drop(session.predict(samples))), 0, "{name}: a session's prediction");
}

/// A training step on changed samples.
fn check_augmented(graph: &Graph, data: &Dataset, batch: usize) {
    let spec = |name| if name == "RandomCrop" { Spec::new(name).arg("padding", 2usize) } else { Spec::new(name) };
    let specs: Vec<Spec> = TRANSFORMS.iter().map(|d| spec(d.name)).collect();
    let mut augment = Augment::new(&specs, data, None, batch).unwrap();
    let (mut net, rows) = (on(graph, Isa::detect(), 2), (0..data.len() as u32).collect::<Vec<_>>());
    let mut epoch = |n: u64| {
        for rows in rows.chunks(batch) {
            net.train_step(&augment.batch(data, rows, Seed(1).key("augment").at(n)), 0.01);
        }
    };
    epoch(0);
    assert_eq!(allocations(|| epoch(1)), 0, "augmented steps");
}

// One test: another one running beside it would be counted.
#[test]
fn steps_and_predictions_allocate_nothing() {
    assert!(allocations(|| drop(vec![1u8])) > 0, "the allocator does not count");
    let points = disk(50).train;
    check(
        "r1",
        &disk_net(
            &["Linear 25", "ReLU", "Linear 25", "Tanh", "Linear 25", "ReLU", "Linear 2"],
            "MSELoss reduction=sum",
        ),
        &points,
        20,
    );
    check("r3-l1", &disk_net(&["Linear 25", "ReLU", "Linear 25", "Sigmoid", "Linear 2"], "L1Loss"), &points, 20);
    check("norm", &disk_net(&["Linear 25", "BatchNorm1d", "Dropout 0.5", "Linear 2"], "CrossEntropyLoss"), &points, 20);
    let pairs = pairs(12, 2).train;
    for name in PAIR_NETS {
        check(name, &pair_graph(name), &pairs, 5);
    }
    let (few, digits) = digit_net(
        &["Conv2d 3 3 padding=1", "ReLU", "MaxPool2d 2", "Dropout 0.2", "Flatten", "Linear 10"],
        "CrossEntropyLoss",
        40,
    );
    check("few channels", &few, &digits, 20);
    check_augmented(&pair_graph("net2_digits"), &pairs, 5);
    // Keeping the losses of every step takes no more for many steps than for a few.
    let of_an_epoch = |samples| {
        let (data, graph) = (disk(samples).train, disk_net(&["Linear 4", "Linear 2"], "MSELoss"));
        let mut net = on(&graph, Isa::detect(), 1);
        let settings = Settings { epochs: 9, batch: 10, ..Settings::default() };
        let mut trainer = Trainer::new(&mut net, (&data).into(), &settings).unwrap();
        trainer.record_steps();
        (0..5).for_each(|_| drop(trainer.epoch().unwrap().clone()));
        allocations(|| drop(trainer.epoch().map(|_| ())))
    };
    assert_eq!(of_an_epoch(50), of_an_epoch(500), "losses of 5 and of 50 steps");
}
