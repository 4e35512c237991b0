//! Same seed, same bits: any number of threads, any instruction set, stepwise or fused, resumed or not.

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use common::{PAIR_NETS, branch, digit_net, disk, disk_net, loss, on, pair_graph, pairs, workload};
use gradus::Registry;
use gradus::data::augment::Augment;
use gradus::data::{Dataset, Target};
use gradus::exec::PlanKind;
use gradus::exec::cpu::{Isa, Plan, StoreLayout};
use gradus::losses::Reduction;
use gradus::model::{Model, ModelFile, Training};
use gradus::net::{Architecture, Branch, Graph, Net};
use gradus::program::{Roots, compile};
use gradus::spec::Spec;
use gradus::train::{Data, Flow, Settings, Trainer};
use indexmap::IndexMap;
use ndarray::ArrayD;

/// A hash (FNV-1a) of every parameter and buffer, and of losses seen on the way.
fn hash(net: &Net, losses: &[f64]) -> u64 {
    let file = net.to_file(&IndexMap::new());
    let numbers = file.tensors.values().flat_map(|(_, data)| data).chain(losses);
    numbers
        .flat_map(|x| x.to_bits().to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn fit(graph: &Graph, isa: Isa, threads: usize, data: &Dataset, settings: &Settings) -> u64 {
    let mut net = on(graph, isa, threads);
    let mut losses = Vec::new();
    net.fit(data, settings, |e| {
        losses.push(e.loss);
        Flow::Continue
    })
    .unwrap();
    assert!(losses.iter().all(|l| l.is_finite()), "{losses:?}");
    hash(&net, &losses)
}

/// The same training by the four steps. Losses of an epoch are averaged as `fit` does.
fn steps(graph: &Graph, data: &Dataset, settings: &Settings) -> u64 {
    let mut net = on(graph, Isa::detect(), 1);
    let optimizer = settings.make_optimizer().unwrap();
    let lr = optimizer.lr();
    let schedule = settings.make_schedule().unwrap();
    // A `Trainer` sets the optimiser; the steps below use it with the schedule's rate.
    drop(Trainer::new(&mut net, data.into(), settings).unwrap());
    let mut augment = Augment::new(&settings.augment, data, None, settings.batch).unwrap();
    let rows: Vec<u32> = (0..data.len() as u32).collect();
    let mut losses = Vec::new();
    for epoch in 0..settings.epochs {
        let mut sums: IndexMap<String, f64> = IndexMap::new();
        let batches: Vec<_> = rows.chunks(settings.batch).collect();
        for (b, rows) in batches.iter().enumerate() {
            let batch = &augment.batch(data, rows, net.seed().key("augment").at(epoch as u64));
            net.forward(batch);
            net.loss(batch);
            for ((name, loss), of) in net.losses().zip(&graph.losses) {
                let samples = if of.loss.reduction() == Reduction::Mean { batch.len() } else { 1 };
                *sums.entry(name.to_string()).or_default() += loss * samples as f64;
            }
            net.backward();
            if (b + 1) % settings.accumulate == 0 || b + 1 == batches.len() {
                net.learn(schedule.as_ref().map_or(lr, |s| s.lr(lr, epoch, settings.epochs)));
            }
        }
        losses.push(graph.losses.iter().zip(sums.values()).map(|(l, s)| l.weight * s / data.len() as f64).sum());
    }
    hash(&net, &losses)
}

/// The same training, stopped after each epoch, written to a file, and taken up in a new network.
fn resumed(graph: &Graph, data: &Dataset, settings: &Settings, name: &str) -> u64 {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.ckpt"));
    let notes = IndexMap::new();
    let mut net = on(graph, Isa::detect(), 1);
    let mut trainer = Trainer::new(&mut net, data.into(), settings).unwrap();
    trainer.epoch().unwrap();
    trainer.checkpoint(&path, &notes).unwrap();
    loop {
        let mut net = on(graph, Isa::detect(), 2);
        let mut trainer = Trainer::resume(&mut net, Data::from(data), settings, &path).unwrap();
        trainer.epoch().unwrap();
        trainer.checkpoint(&path, &notes).unwrap();
        if trainer.done() {
            let losses: Vec<f64> = trainer.progress().history.iter().map(|e| e.loss).collect();
            trainer.finish();
            return hash(&net, &losses);
        }
    }
}

fn spec(text: &str) -> Spec {
    Spec::parse(text, |_| Ok(Vec::new())).unwrap()
}

fn settings(optimizer: &str) -> Settings {
    Settings { epochs: 3, batch: 20, shuffle: false, optimizer: spec(optimizer), ..Settings::default() }
}

const SCHEDULES: &[&str] = &[
    "StepLR step_size=1 gamma=0.7",
    "CosineAnnealingLR warmup=1 eta_min=0.001",
    "ConstantLR warmup=2",
    "LinearLR start_factor=0.2 total_iters=2",
];

const OPTIMIZERS: &[&str] = &[
    "SGD lr=0.1",
    "SGD lr=0.1 weight_decay=0.01",
    "SGD lr=0.05 momentum=0.9 nesterov=true weight_decay=0.001",
    "SGD lr=0.05 momentum=0.9 dampening=0.1",
    "Adam lr=0.01",
    "AdamW lr=0.01",
    "RMSprop lr=0.003 momentum=0.5 centered=true",
    "Adagrad lr=0.05",
];

fn messy_net() -> Graph {
    // Two layers whose weights have two numbers are among them.
    let layers = [
        "Linear 25",
        "BatchNorm1d",
        "Tanh",
        "Dropout 0.2",
        "Linear 17",
        "ReLU",
        "Linear 2",
        "Tanh",
        "Linear 1",
        "Linear 2",
    ];
    disk_net(&layers, "CrossEntropyLoss")
}

#[test]
fn every_optimizer_gives_the_same_bits_in_every_way() {
    // 130 samples in batches of 20: the last one is short.
    let (graph, data) = (messy_net(), disk(130).train);
    for (i, optimizer) in OPTIMIZERS.iter().enumerate() {
        let schedule = Some(spec(SCHEDULES[i % SCHEDULES.len()]));
        let settings = Settings { accumulate: 1 + i % 2, schedule, ..settings(optimizer) };
        let want = fit(&graph, Isa::PORTABLE, 1, &data, &settings);
        for isa in Isa::available() {
            for threads in [1, 2, 4] {
                assert_eq!(
                    fit(&graph, isa, threads, &data, &settings),
                    want,
                    "{optimizer} on {isa}, {threads} threads"
                );
            }
        }
        assert_eq!(steps(&graph, &data, &settings), want, "{optimizer}: the four steps");
        assert_eq!(resumed(&graph, &data, &settings, &format!("bits-{i}")), want, "{optimizer}: resumed");
        let shuffled = Settings { shuffle: true, clip_norm: Some(0.5), ..settings };
        let want = fit(&graph, Isa::detect(), 1, &data, &shuffled);
        assert_eq!(
            resumed(&graph, &data, &shuffled, &format!("bits-s{i}")),
            want,
            "{optimizer}: resumed, shuffled, clipped"
        );
    }
}

#[test]
fn the_reports_networks_give_the_same_bits_in_every_way() {
    let data = pairs(13, 2).train;
    for name in PAIR_NETS {
        let graph = pair_graph(name);
        let settings = Settings { epochs: 2, batch: 5, ..settings("SGD lr=0.05") };
        let want = fit(&graph, Isa::detect(), 1, &data, &settings);
        for isa in Isa::available() {
            // The portable product is slow: the deep networks take it for one epoch's worth elsewhere.
            if name.contains("deep") && isa == Isa::PORTABLE {
                continue;
            }
            assert_eq!(fit(&graph, isa, 2, &data, &settings), want, "{name} on {isa}");
        }
        assert_eq!(fit(&graph, Isa::detect(), 4, &data, &settings), want, "{name}, 4 threads");
        assert_eq!(steps(&graph, &data, &settings), want, "{name}: the four steps");
    }
}

/// A training of a workload of the benchmark on these instruction sets, with one, two and three threads: the same bits.
/// In batches of its own size, or smaller ones.
fn workload_is_the_same(isas: &[Isa], name: &str, samples: usize, epochs: usize, batch: Option<usize>) {
    let (graph, data, own) = workload(name, samples);
    let settings = Settings { epochs, batch: batch.unwrap_or(own), shuffle: true, ..settings("SGD lr=0.01") };
    let want = fit(&graph, *isas.last().unwrap(), 1, &data, &settings);
    for &isa in isas {
        for threads in 1..=3 {
            assert_eq!(fit(&graph, isa, threads, &data, &settings), want, "{name} on {isa}, {threads} threads");
        }
    }
}

#[test]
fn the_workloads_give_the_same_bits_everywhere() {
    let all = Isa::available();
    for (name, samples, batch) in [("W1", 120, 20), ("W2", 13, 5), ("W3", 13, 5), ("W4", 2, 1), ("W5", 5, 3)] {
        workload_is_the_same(&all, name, samples, 1, Some(batch));
    }
    // In batches that threads share; the portable code takes minutes for these.
    for (name, samples) in [("W1", 1000), ("W2", 120), ("W3", 120), ("W4", 50), ("W5", 300)] {
        workload_is_the_same(&all[all.len().min(2) - 1..], name, samples, 1, None);
    }
}

#[test]
#[ignore = "minutes of portable code"]
fn whole_trainings_of_the_workloads_give_the_same_bits_everywhere() {
    for (name, samples, epochs) in [("W1", 1000, 150), ("W2", 1000, 2), ("W3", 1000, 2), ("W4", 100, 1), ("W5", 600, 1)]
    {
        workload_is_the_same(&Isa::available(), name, samples, epochs, None);
    }
}

#[test]
fn steps_with_all_threads_and_with_one_take_turns_without_a_trace() {
    // Nine steps with all threads, nine timed, nine timed with one, and more of what was quicker.
    let (graph, data) = (pair_graph("net1"), pairs(20, 2).train);
    let settings = Settings { epochs: 10, batch: 5, ..settings("SGD lr=0.01") };
    let want = fit(&graph, Isa::detect(), 1, &data, &settings);
    for threads in [2, 3] {
        assert_eq!(fit(&graph, Isa::detect(), threads, &data, &settings), want, "{threads} threads");
    }
}

#[test]
fn a_batch_run_in_parts_gives_the_same_bits() {
    let layers =
        ["Conv2d 6 5", "Tanh", "MaxPool2d 2", "Dropout 0.3", "Conv2d 16 5 padding=1", "ReLU", "Flatten", "Linear 10"];
    let (mse, digits) = digit_net(&layers, "MSELoss", 130);
    let (l1, _) = digit_net(&layers, "L1Loss", 2);
    let layers = layers.map(|l| if l == "MaxPool2d 2" { "AvgPool2d 3 stride=2 padding=1" } else { l });
    let (means, _) = digit_net(&layers, "MSELoss", 2);
    // Interleaved, seven parts of sixteen samples and one of two.
    let few = ["Conv2d 9 3", "ReLU", "Conv2d 9 3", "ReLU", "Flatten", "Linear 10"];
    let (few, _) = digit_net(&few, "CrossEntropyLoss", 2);
    // In blocks, as batch norm and shared weights want: with a function before or after the norm, dropout, poolings, and one norm
    // after another; interleaved, in blocks of sixteen; with a norm of vectors, whose ops see all samples at once.
    let norm = |layers: &[&str]| digit_net(layers, "CrossEntropyLoss", 2).0;
    let norms = norm(&[
        "Conv2d 16 3 padding=1",
        "BatchNorm2d",
        "ReLU",
        "MaxPool2d 2",
        "Dropout 0.2",
        "Conv2d 17 3",
        "Tanh",
        "BatchNorm2d affine=false",
        "BatchNorm2d",
        "AvgPool2d 3 stride=2",
        "Conv2d 9 1 bias=false",
        "Flatten",
        "Linear 20",
        "BatchNorm1d",
        "ReLU",
        "Linear 10",
    ]);
    let few_norms = norm(&[
        "Conv2d 6 5",
        "BatchNorm2d",
        "ReLU",
        "MaxPool2d 2",
        "Conv2d 9 3",
        "BatchNorm2d",
        "Flatten",
        "Linear 10",
    ]);
    // With weights of few numbers, whose gradients have several chains each.
    let narrow =
        norm(&["Conv2d 16 5 padding=1", "ReLU", "Flatten", "Linear 2", "Tanh", "Linear 2", "Linear 1", "Linear 10"]);
    let pairs = &pairs(250, 2).train;
    // Two uses of the same norm, weights and running statistics.
    let shared = shared_tower(&["Conv2d 16 5", "BatchNorm2d", "ReLU", "Conv2d 16 3", "BatchNorm2d"], pairs);
    for (graph, data, batch, in_blocks) in [
        (mse, &digits, 120, false),
        (l1, &digits, 120, false),
        (means, &digits, 120, false),
        (few, &digits, 114, false),
        (norms, &digits, 120, true),
        (few_norms, &digits, 114, true),
        (narrow, &digits, 119, true),
        (pair_graph("net1"), pairs, 240, false),
        (pair_graph("net2_digits"), pairs, 240, true),
        (shared, pairs, 240, true),
    ] {
        let plan = training_plan(&graph, batch);
        assert_eq!(plan.part() == batch, in_blocks, "{} at a time", plan.part());
        assert_eq!(plan.describe().contains("where no op needs all"), in_blocks, "{}", plan.describe());
        trains_as_the_four_steps(&graph, data, batch);
    }
}

fn training_plan(graph: &Graph, batch: usize) -> Plan {
    let program = Arc::new(compile(graph, &Roots::Train { inputs: false }));
    Plan::new(program, &StoreLayout::new(graph, 0), batch, 1, PlanKind::Fused)
}

/// The four steps have a plan that takes the whole batch.
fn trains_as_the_four_steps(graph: &Graph, data: &Dataset, batch: usize) {
    // Parameters that ops move; and gradients that a second batch adds to.
    for (optimizer, accumulate) in [("SGD lr=0.1", 1), ("Adam lr=0.01", 2)] {
        let settings = Settings { epochs: 2, batch, accumulate, ..settings(optimizer) };
        let want = steps(graph, data, &settings);
        for threads in [1, 2] {
            assert_eq!(fit(graph, Isa::detect(), threads, data, &settings), want, "{threads} threads");
        }
    }
}

#[test]
fn what_is_made_again_instead_of_being_kept_has_the_same_bits() {
    // What a norm's statistics and its map both read: a first convolution, what poolings of both kinds pass on; interleaved too.
    let norms = ["Conv2d 16 3", "BatchNorm2d", "ReLU", "MaxPool2d 2", "Conv2d 32 3", "BatchNorm2d", "AvgPool2d 2"];
    let few_norms = ["Conv2d 6 3", "BatchNorm2d", "MaxPool2d 3 stride=2", "Conv2d 9 3", "BatchNorm2d", "AvgPool2d 3"];
    for (layers, batch) in [(&norms[..], 500), (&few_norms, 1600)] {
        let layers = [layers, &["Flatten", "Linear 10"]].concat();
        let (graph, data) = digit_net(&layers, "CrossEntropyLoss", batch + 10);
        let plan = training_plan(&graph, batch).describe();
        for (line, times) in
            [(" net.0 = conv2d(", 4), (" put back at ", 2), ("= avg_pool2d_grad(", 2), ("= conv2d(net.", 1)]
        {
            assert_eq!(plan.matches(line).count(), times, "{line}\n{plan}");
        }
        trains_as_the_four_steps(&graph, &data, batch);
    }
}

/// Layers of so few channels that samples lie along the lanes.
const FEW_CHANNELS: &[&[&str]] = &[
    &["Conv2d 17 3", "ReLU", "Conv2d 3 3 padding=1", "ReLU", "Flatten", "Linear 10"],
    &["Conv2d 1 3", "ReLU", "MaxPool2d 2", "Flatten", "Linear 10"],
    &[
        "Conv2d 3 3 padding=1",
        "ReLU",
        "MaxPool2d 2",
        "Conv2d 5 3 stride=2",
        "Tanh",
        "Dropout 0.2",
        "Flatten",
        "Linear 10",
    ],
    &[
        "Conv2d 4 5 padding=2x1",
        "AvgPool2d 3 stride=2",
        "Sigmoid",
        "Conv2d 9 1 bias=false",
        "ReLU",
        "Flatten",
        "Linear 10",
    ],
    &[
        "Conv2d 3 3 stride=2",
        "BatchNorm2d",
        "ReLU",
        "Conv2d 5 3",
        "Tanh",
        "BatchNorm2d affine=false",
        "Flatten",
        "Linear 10",
    ],
    // Images of one pixel.
    &["Conv2d 3 7 stride=7", "ReLU", "Conv2d 3 4", "BatchNorm2d", "ReLU", "Flatten", "Linear 10"],
    &["Conv2d 10 2 stride=2", "Conv2d 3 4 stride=1x2", "LeakyReLU", "MaxPool2d 3 padding=1", "Flatten", "Linear 10"],
];

#[test]
fn samples_along_the_lanes_give_the_same_bits_in_every_way() {
    for (i, layers) in FEW_CHANNELS.iter().enumerate() {
        // Batches of 20, the last of 5.
        let (graph, data) = digit_net(layers, "CrossEntropyLoss", 45);
        let program = Arc::new(compile(&graph, &Roots::Train { inputs: false }));
        let plan = |kind| Plan::new(program.clone(), &StoreLayout::new(&graph, 0), 20, 1, kind).describe();
        assert!(plan(PlanKind::Fused).contains("×16 "), "{}", plan(PlanKind::Fused));
        assert!(!plan(PlanKind::Stepwise).contains("×16 "), "{}", plan(PlanKind::Stepwise));
        for optimizer in ["SGD lr=0.1", "Adam lr=0.01"] {
            let settings = Settings { accumulate: 1 + i % 2, ..settings(optimizer) };
            let want = steps(&graph, &data, &settings);
            for isa in Isa::available() {
                for threads in [1, 2, 4] {
                    assert_eq!(
                        fit(&graph, isa, threads, &data, &settings),
                        want,
                        "{layers:?} on {isa}, {threads} threads"
                    );
                }
            }
            assert_eq!(resumed(&graph, &data, &settings, &format!("bits-lanes-{i}")), want, "{layers:?}: resumed");
        }
    }
}

/// One tower over each of the two images of a pair, and a layer after both.
fn shared_tower(tower: &[&str], data: &Dataset) -> Graph {
    let mut a = Architecture::default();
    a.branches.insert("left".into(), branch(&["pair[0]"], tower));
    a.branches.insert("right".into(), Branch { share: Some("left".into()), ..branch(&["pair[1]"], &[]) });
    a.branches.insert("head".into(), branch(&["left", "right"], &["Flatten", "Linear 2"]));
    a.losses.insert("target".into(), loss("head", "larger", "CrossEntropyLoss", 1.0));
    Graph::resolve(&a, &data.schema(), &Registry::new()).unwrap()
}

/// Towers over the two images of a pair, and what follows them.
fn two_towers(towers: [&[&str]; 2], head: &[&str], data: &Dataset) -> Graph {
    let mut a = Architecture::default();
    for (i, (name, layers)) in ["left", "right"].into_iter().zip(towers).enumerate() {
        a.branches.insert(name.into(), branch(&[&format!("pair[{i}]")], layers));
    }
    a.branches.insert("head".into(), branch(&["left", "right"], head));
    a.losses.insert("target".into(), loss("head", "larger", "CrossEntropyLoss", 1.0));
    Graph::resolve(&a, &data.schema(), &Registry::new()).unwrap()
}

/// Towers, what follows, and lines of the plan that do the work of several ops.
type Together<'a> = ([&'a [&'a str]; 2], &'a [&'a str], &'a [&'a str]);

#[test]
fn ops_done_together_give_the_same_bits_in_every_way() {
    let pooled = "d left.0.weight += conv2d_weight_grad(pair[0], (d into left.3 put back at left.2.argmax";
    let (flat, of_head) = ("head.0 = flatten(concat(", "·head.1.weight ∗ ");
    let cases: &[Together<'_>] = &[
        // Pooled at once: with a border, with neither bias nor ReLU, and not with pixels that no window has.
        (
            [
                &["Conv2d 16 3 padding=1", "ReLU", "MaxPool2d 2", "Conv2d 32 3"],
                &["Conv2d 30 5 bias=false", "MaxPool2d 2", "Tanh", "Conv2d 16 1"],
            ],
            &["Flatten", "Linear 2"],
            &[pooled, "d right.0.weight += conv2d_weight_grad(pair[1], (d into right", flat],
        ),
        (
            [&["Conv2d 16 2", "ReLU", "MaxPool2d 2", "Conv2d 16 3"], &["Conv2d 16 3 stride=2", "ReLU", "Conv2d 16 3"]],
            &["Flatten", "Linear 2"],
            &["d into left.1 = ", flat],
        ),
        // The functions of both towers, and not those of one of them.
        (
            [&["Conv2d 16 5 stride=3", "Tanh"], &["Conv2d 30 5 stride=3", "Tanh"]],
            &["Flatten", "Linear 3", "ReLU", "Linear 2"],
            &[flat, of_head, "unflatten(d into head.1 from 256 on)"],
        ),
        (
            [&["Conv2d 16 5 stride=3", "Tanh"], &["Conv2d 30 5 stride=3", "ReLU"]],
            &["Flatten", "Linear 3", "ReLU", "Linear 2"],
            &[flat, "d into left.1 = d into head.0[0..16] ∗", "unflatten(d into head.1 from 256 on)"],
        ),
        // Sixteen samples together.
        (
            [&["Conv2d 3 5 stride=3", "Sigmoid"], &["Conv2d 5 5 stride=3", "Sigmoid"]],
            &["Flatten", "Linear 3", "ReLU", "Linear 2"],
            &["×16 ", flat, of_head],
        ),
    ];
    let data = pairs(45, 2).train;
    for (towers, head, lines) in cases {
        let graph = two_towers(*towers, head, &data);
        let program = Arc::new(compile(&graph, &Roots::Train { inputs: false }));
        let plan = |kind| Plan::new(program.clone(), &StoreLayout::new(&graph, 0), 20, 1, kind).describe();
        let text = plan(PlanKind::Fused);
        for line in *lines {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        for optimizer in ["SGD lr=0.1", "Adam lr=0.01"] {
            let settings = settings(optimizer);
            let want = steps(&graph, &data, &settings);
            for isa in Isa::available() {
                for threads in [1, 3] {
                    let found = fit(&graph, isa, threads, &data, &settings);
                    assert_eq!(found, want, "{towers:?} on {isa}, {threads} threads");
                }
            }
        }
    }
}

#[test]
fn losses_with_their_gradients_give_the_same_bits() {
    // Target, outputs, losses of them all, and lines of the plan: a loss with its gradient, of labels or numbers, or not.
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, f64)], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (
            "inside",
            "Linear 2",
            &[("MSELoss", 1.0)],
            &["(net.2 − one_hot(inside))²;  d into loss.0 = 1/N·2·(net.2 − one"],
        ),
        (
            "inside",
            "Linear 2",
            &[("L1Loss reduction=sum", 0.5), ("MSELoss", 2.0)],
            &["|net.2 − one_hot(inside)|;  d into loss.0 = ", "(net.2 − one_hot(inside))²;  d into loss.1 = "],
        ),
        ("inside", "Linear 1", &[("MSELoss", 1.0), ("L1Loss", 1.0)], &["²;  d into loss.0 = ", "|;  d into loss.1 = "]),
        ("inside", "Linear 2", &[("CrossEntropyLoss", 1.0)], &["(net.2, one_hot(inside));  d into loss.0 = 1/B·("]),
        (
            "class",
            "Linear 17",
            &[("CrossEntropyLoss label_smoothing=0.1 reduction=sum", 0.1), ("MSELoss", 1.0)],
            &[
                "one_hot(class));  d into loss.0 = 0.1·(",
                " = one_hot(class)\n",
                "d into loss.1 = 1/N·2·(net.2 − loss.1.target)\n",
            ],
        ),
        // Of the same numbers: which gradient belongs to which loss?
        (
            "numbers",
            "Linear 2",
            &[("MSELoss reduction=sum", 0.5), ("MSELoss", 1.0), ("L1Loss", 0.25)],
            &["sum (net.2 − numbers)²;  d into loss.0 = 0.5·2·", "mean (net.2 − numbers)²;  d into loss.1 = 1/N·2·"],
        ),
    ];
    let mut data = disk(45).train;
    let numbers = ArrayD::from_shape_fn(vec![45, 2], |i| (i[0] * 7 % 11) as f32 / 5.0 - i[1] as f32);
    data.targets.insert("numbers".into(), Target::Values(numbers));
    let labels = ArrayD::from_shape_fn(vec![45], |i| (i[0] * 5 % 17) as u32);
    let names = (0..17).map(|class| class.to_string()).collect();
    data.targets.insert("class".into(), Target::Classes { labels, names });
    for (target, last, losses, lines) in cases {
        let mut a = Architecture::default();
        a.branches.insert("net".into(), branch(&["points"], &["Linear 9", "Tanh", last]));
        for (i, (kind, weight)) in losses.iter().enumerate() {
            a.losses.insert(i.to_string(), loss("net", target, kind, *weight));
        }
        let graph = Graph::resolve(&a, &data.schema(), &Registry::new()).unwrap();
        let program = Arc::new(compile(&graph, &Roots::Train { inputs: false }));
        let plan = Plan::new(program, &StoreLayout::new(&graph, 0), 20, 1, PlanKind::Fused).describe();
        for line in *lines {
            assert!(plan.contains(line), "{line} is not in\n{plan}");
        }
        for optimizer in ["SGD lr=0.1", "Adam lr=0.01"] {
            let settings = settings(optimizer);
            let want = steps(&graph, &data, &settings);
            for isa in Isa::available() {
                for threads in [1, 3] {
                    assert_eq!(
                        fit(&graph, isa, threads, &data, &settings),
                        want,
                        "{losses:?} on {isa}, {threads} threads"
                    );
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_interleaved_is_not() {
    for layers in [
        &["Conv2d 2 2 padding=2", "ReLU", "Flatten", "Linear 10"][..], // windows of nothing but padding
        &["Conv2d 48 3", "Flatten", "Linear 10"],                      // lanes that channels fill as well
        &["Conv2d 33 3 padding=2", "Conv2d 33 3 padding=2", "Flatten", "Linear 10"], // images too large
    ] {
        let (graph, data) = digit_net(layers, "CrossEntropyLoss", 40);
        let program = Arc::new(compile(&graph, &Roots::Train { inputs: false }));
        let plan = Plan::new(program, &StoreLayout::new(&graph, 0), 20, 1, PlanKind::Fused).describe();
        assert!(!plan.contains("×16 "), "{plan}");
        let settings = settings("SGD lr=0.1");
        assert_eq!(fit(&graph, Isa::detect(), 2, &data, &settings), steps(&graph, &data, &settings), "{layers:?}");
    }
}

#[test]
fn predictions_of_any_number_are_the_same_bits() {
    for (i, layers) in FEW_CHANNELS.iter().enumerate() {
        let (graph, data) = digit_net(layers, "CrossEntropyLoss", 37);
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("any-number-{i}.safetensors"));
        let mut net = on(&graph, Isa::detect(), 2);
        net.save(&path).unwrap();
        let model = Model::load(&path).unwrap();
        let samples = data.inputs[0].as_slice().unwrap();
        let size = samples.len() / data.len();
        let mut one = model.session(1);
        let want: Vec<f32> = samples.chunks(size).flat_map(|x| one.predict_prepared(x).unwrap().to_vec()).collect();
        let (mut session, classes) = (model.session(20), want.len() / data.len());
        for count in [37, 1, 20, 3, 4, 5, 8, 9, 16, 17, 2] {
            let found = session.predict_prepared(&samples[..count * size]).unwrap().to_vec();
            assert_eq!(found, want[..count * classes], "{count} samples: {layers:?}");
            let found = net.predict(&data.range(0..count)).unwrap().to_vec();
            assert_eq!(found, want[..count * classes], "{count} samples of a batch: {layers:?}");
        }
    }
}

#[test]
fn predictions_in_blocks_are_the_same_bits() {
    for layers in [
        // Along channels and interleaved; with an op that is of no sample between two of samples.
        &["Conv2d 33 3 padding=1", "BatchNorm2d", "LeakyReLU", "MaxPool2d 2", "Conv2d 48 3", "BatchNorm2d", "Tanh"][..],
        &["Conv2d 24 5", "ReLU", "Conv2d 5 3 padding=1", "Sigmoid", "Conv2d 24 3", "AvgPool2d 2"],
    ] {
        let (graph, data) = digit_net(&[layers, &["Flatten", "Linear 10"]].concat(), "CrossEntropyLoss", 50);
        let roots = Roots::Infer { outputs: Vec::new(), losses: true };
        let of = |batch| {
            let program = Arc::new(compile(&graph, &roots));
            Plan::new(program, &StoreLayout::new(&graph, 0), batch, 1, PlanKind::Fused).describe()
        };
        assert!(of(50).contains("at a time") && !of(1).contains("at a time"), "{}", of(50));
        let mut net = on(&graph, Isa::detect(), 1);
        let model = Model::from_file(net.to_file(&IndexMap::new()), &Registry::new()).unwrap();
        let samples = data.inputs[0].as_slice().unwrap();
        let mut one = model.session(1);
        let one_by_one = samples.chunks(784).flat_map(|x| one.predict_prepared(x).unwrap().to_vec());
        let want: Vec<f32> = one_by_one.collect();
        for count in [50, 49, 7, 2] {
            let found = model.session(50).predict_prepared(&samples[..count * 784]).unwrap().to_vec();
            assert_eq!(found, want[..count * 10], "{count} samples: {layers:?}");
        }
        assert_eq!(net.predict(&data.all()).unwrap().to_vec(), want, "{layers:?}");
        // With more threads blocks are larger.
        let losses = [1, 2, 3].map(|threads| on(&graph, Isa::detect(), threads).evaluate(&data).unwrap());
        assert_eq!(losses[1], losses[0], "{layers:?}");
        assert_eq!(losses[2], losses[0], "{layers:?}");
    }
}

#[test]
fn augmented_training_gives_the_same_bits_in_every_way() {
    let (graph, data) = (pair_graph("net2_digits"), pairs(23, 2).train);
    let augment: Vec<Spec> = [
        "RandomPairs",
        "RandomAffine degrees=10 translate=0.1 scale=[0.9,1.1] shear=5 per_channel=true",
        "ElasticTransform alpha=5 per_channel=true",
        "RandomErasing p=0.3",
    ]
    .map(spec)
    .to_vec();
    let settings = Settings { batch: 5, shuffle: true, augment, ..settings("Adam lr=0.01") };
    let want = fit(&graph, Isa::detect(), 1, &data, &settings);
    for isa in Isa::available() {
        assert_eq!(fit(&graph, isa, 2, &data, &settings), want, "on {isa}");
    }
    assert_eq!(fit(&graph, Isa::detect(), 4, &data, &settings), want, "4 threads");
    assert_eq!(resumed(&graph, &data, &settings, "bits-augmented"), want, "resumed");
    let ordered = Settings { shuffle: false, ..settings.clone() };
    assert_eq!(steps(&graph, &data, &ordered), fit(&graph, Isa::detect(), 1, &data, &ordered), "the four steps");
    let none = Settings { augment: Vec::new(), ..settings.clone() };
    let crop = Settings { augment: vec![spec("RandomCrop padding=0")], ..settings.clone() };
    assert_ne!(fit(&graph, Isa::detect(), 1, &data, &none), want);
    assert_eq!(fit(&graph, Isa::detect(), 1, &data, &none), fit(&graph, Isa::detect(), 1, &data, &crop));
}

#[test]
fn a_seed_another_batch_or_another_rate_changes_the_bits() {
    let (graph, data) = (messy_net(), disk(60).train);
    let base = settings("SGD lr=0.1");
    let want = fit(&graph, Isa::detect(), 1, &data, &base);
    let others = [
        Settings { batch: 30, ..base.clone() },
        Settings { shuffle: true, ..base.clone() },
        settings("SGD lr=0.11"),
        Settings { accumulate: 2, ..base.clone() },
        Settings { clip_norm: Some(0.01), ..base.clone() },
    ];
    for other in others {
        assert_ne!(fit(&graph, Isa::detect(), 1, &data, &other), want, "{other:?}");
    }
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let (graph, data) = (messy_net(), disk(60).train);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("other.ckpt");
    let mut net = on(&graph, Isa::detect(), 1);
    let mut trainer = Trainer::new(&mut net, (&data).into(), &settings("Adam")).unwrap();
    trainer.epoch().unwrap();
    trainer.checkpoint(&path, &IndexMap::new()).unwrap();
    let refused = |graph: &Graph, data: &Dataset, settings: &Settings| {
        let mut net = on(graph, Isa::detect(), 1);
        Trainer::resume(&mut net, data.into(), settings, &path).map(|_| ()).unwrap_err().to_string()
    };
    let mut others = data.clone();
    others.inputs[0][[7, 0]] += 0.25;
    assert!(refused(&graph, &others, &settings("Adam")).contains("other training or validation samples"));
    assert!(refused(&graph, &data, &settings("SGD")).contains("other training settings"));
    assert!(refused(&graph, &disk(61).train, &settings("Adam")).contains("60 training samples"));
    let other = disk_net(&["Linear 24", "Linear 2"], "CrossEntropyLoss");
    assert!(refused(&other, &data, &settings("Adam")).contains("another network"));
}

#[test]
fn a_checkpoint_that_claims_nonsense_is_refused_at_once() {
    let (graph, data) = (disk_net(&["Linear 4", "Linear 2"], "MSELoss"), disk(20).train);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("nonsense.ckpt");
    let settings = settings("Adam");
    let mut net = on(&graph, Isa::detect(), 1);
    Trainer::new(&mut net, (&data).into(), &settings).unwrap().checkpoint(&path, &IndexMap::new()).unwrap();
    let good = ModelFile::read(&path).unwrap();
    let resume = |change: &dyn Fn(&mut ModelFile, &mut Training)| {
        let mut file = good.clone();
        let mut training = file.meta.training.take().unwrap();
        change(&mut file, &mut training);
        file.meta.training = Some(training);
        file.write(&path).unwrap();
        let mut net = on(&graph, Isa::detect(), 1);
        let mut trainer = Trainer::resume(&mut net, (&data).into(), &settings, &path).map_err(|e| e.to_string())?;
        trainer.epoch().map(|e| e.epoch).map_err(|e| e.to_string())
    };
    assert_eq!(resume(&|_, _| {}), Ok(1));
    assert!(resume(&|_, t| t.updates = u64::MAX).unwrap_err().contains("claims 18446744073709551615 updates"));
    assert!(resume(&|_, t| t.passes = u64::MAX).unwrap_err().contains("claims"));
    assert!(resume(&|f, _| f.meta.rng = "dice".into()).unwrap_err().contains("random numbers are those of `dice`"));
    // Many updates, and a best epoch that is still to come.
    let claims = |_: &mut ModelFile, t: &mut Training| (t.updates, t.progress.best) = (1 << 46, Some((0.5, 1 << 40)));
    assert_eq!(resume(&claims), Ok(1));
}

#[test]
fn a_validation_loss_that_is_not_finite_is_never_the_best() {
    let (graph, data) = (disk_net(&["Linear 4", "Linear 2"], "MSELoss"), disk(40).train);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("infinite.ckpt");
    let mut far = data.clone();
    far.inputs[0].fill(3e30);
    let on_data = Data { train: &data, validation: Some(&far), watch: &[] };
    let settings =
        Settings { epochs: 9, patience: Some(2), keep: gradus::train::Keep::Best, ..settings("SGD lr=0.01") };
    let mut net = on(&graph, Isa::detect(), 1);
    let mut trainer = Trainer::new(&mut net, on_data, &settings).unwrap();
    while !trainer.done() {
        trainer.epoch().unwrap();
    }
    assert_eq!((trainer.progress().epochs, trainer.progress().best), (2, None));
    trainer.checkpoint(&path, &IndexMap::new()).unwrap();
    assert_eq!(trainer.finish().kept, 2);
    // Its checkpoint is read again, and more patience takes it up.
    let more = |patience| {
        let settings = Settings { patience: Some(patience), ..settings.clone() };
        Trainer::resume(&mut on(&graph, Isa::detect(), 1), on_data, &settings, &path).unwrap().done()
    };
    assert!(more(2) && !more(3));
}

#[test]
fn keeping_the_losses_of_every_step_changes_no_bit() {
    let data = pairs(23, 2).train;
    for name in ["net1", "net2_digits"] {
        let graph = pair_graph(name);
        let settings = Settings { batch: 5, epochs: 2, ..settings("SGD") };
        let mut net = on(&graph, Isa::detect(), 1);
        let mut trainer = Trainer::new(&mut net, (&data).into(), &settings).unwrap();
        assert!(trainer.take_steps().values().all(Vec::is_empty), "not asked for");
        trainer.record_steps();
        while !trainer.done() {
            trainer.epoch().unwrap();
        }
        let (steps, history) = (trainer.take_steps(), trainer.finish());
        let losses: Vec<f64> = history.epochs.iter().map(|e| e.loss).collect();
        assert_eq!(hash(&net, &losses), fit(&graph, Isa::detect(), 1, &data, &settings), "{name}");
        assert_eq!(steps.keys().collect::<Vec<_>>(), graph.losses.iter().map(|l| &l.name).collect::<Vec<_>>());
        for (name, values) in steps {
            assert_eq!(values.len(), 2 * 5);
            for (epoch, of_epoch) in history.epochs.iter().zip(values.chunks(5)) {
                let sum: f64 = of_epoch.iter().zip([5.0, 5.0, 5.0, 5.0, 3.0]).map(|(x, n)| x * n).sum();
                assert!((sum / 23.0 - epoch.losses[&name]).abs() <= 1e-12, "{name}");
            }
        }
    }
}

#[test]
fn a_training_stops_between_batches() {
    let data = pairs(12, 2).train;
    let graph = pair_graph("net1");
    let mut net = on(&graph, Isa::detect(), 1);
    let mut trainer = Trainer::new(&mut net, (&data).into(), &settings("SGD")).unwrap();
    assert!(trainer.epoch_until(&AtomicBool::new(false)).unwrap().is_some());
    assert!(trainer.epoch_until(&AtomicBool::new(true)).unwrap().is_none());
    assert_eq!(trainer.progress().epochs, 1);
}
