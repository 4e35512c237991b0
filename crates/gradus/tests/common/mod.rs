//! What several test files need: networks from layer strings, small data sets.
#![allow(dead_code)] // each test file uses a part

pub mod golden;

use std::sync::Arc;

use gradus::data::{Dataset, DiskOptions, Split, disk_with, generate_pair_sets, mnist};
use gradus::exec::cpu::{Cpu, Isa, Machine};
use gradus::net::{Architecture, Branch, Graph, Loss, Net, Options};
use gradus::prelude::Seed;
use gradus::{Registry, data};
use gradus_kernels::Pool;

/// A branch from layer strings.
pub fn branch(from: &[&str], layers: &[&str]) -> Branch {
    Branch {
        from: from.iter().map(|t| t.parse().unwrap()).collect(),
        layers: layers.iter().map(|l| Registry::new().parse_layer(l).unwrap()).collect(),
        ..Branch::default()
    }
}

/// A loss from its string.
pub fn loss(of: &str, target: &str, kind: &str, weight: f64) -> Loss {
    Loss {
        of: of.parse().unwrap(),
        target: Some(target.parse().unwrap()),
        kind: Registry::new().parse_loss(kind).unwrap(),
        weight,
    }
}

/// 1,000 points of the disk, or fewer.
pub fn disk(train: usize) -> Split {
    disk_with(&DiskOptions { train, test: 50, square: false }, Seed(7)).unwrap()
}

fn digits() -> (data::Digits, data::Digits) {
    data::Digits::embedded(gradus_data::TRAIN_IMAGES, gradus_data::TRAIN_LABELS).unwrap()
}

/// Pairs of the embedded digits, normalised.
pub fn pairs(train: usize, test: usize) -> Split {
    let (pool, rest) = digits();
    let mut split = generate_pair_sets(&pool, &rest, train, test, Seed(5)).unwrap();
    split.normalise().unwrap();
    split
}

/// A chain of layers from one input to one target.
pub fn chain(data: &Dataset, input: &str, layers: &[&str], target: &str, kind: &str) -> Graph {
    let mut a = Architecture::default();
    a.branches.insert("net".into(), branch(&[input], layers));
    a.losses.insert(target.into(), loss("net", target, kind, 1.0));
    Graph::resolve(&a, &data.schema(), &Registry::new()).unwrap()
}

/// A chain of layers on the disk.
pub fn disk_net(layers: &[&str], kind: &str) -> Graph {
    chain(&disk(2).train, "points", layers, "inside", kind)
}

/// A chain of layers on so many digits.
pub fn digit_net(layers: &[&str], kind: &str, samples: usize) -> (Graph, Dataset) {
    let (pool, rest) = digits();
    let mut split = mnist(&pool, &rest, samples, 2, 28, Seed(5)).unwrap();
    split.normalise().unwrap();
    (chain(&split.train, "image", layers, "digit", kind), split.train)
}

/// A network that `gradus bench` trains, W1 to W5, with so many samples, and the batch of its steps.
pub fn workload(name: &str, samples: usize) -> (Graph, Dataset, usize) {
    match name {
        "W1" => {
            let layers = ["Linear 25", "ReLU", "Linear 25", "ReLU", "Linear 25", "Tanh", "Linear 2"];
            (disk_net(&layers, "MSELoss"), disk(samples).train, 20)
        }
        "W2" | "W3" | "W4" => {
            let net = ["net1", "net2", "net1_deep"][usize::from(name.as_bytes()[1] - b'2')];
            (pair_graph(net), pairs(samples, 2).train, 50)
        }
        "W5" => {
            let layers = ["Flatten", "Linear 1024", "ReLU", "Linear 1024", "ReLU", "Linear 10"];
            let (graph, data) = digit_net(&layers, "CrossEntropyLoss", samples);
            (graph, data, 256)
        }
        _ => panic!("no workload {name}"),
    }
}

/// The reports' networks on pairs of digits, by name, with towers of `width` times the published channels over 16.
pub fn pair_architecture(name: &str) -> Architecture {
    let tower = ["Conv2d 16 3", "ReLU", "MaxPool2d 2", "Conv2d 32 3", "ReLU"];
    let deep = [
        "Conv2d 16 3 padding=1",
        "ReLU",
        "Conv2d 32 5 padding=2",
        "ReLU",
        "MaxPool2d 2",
        "Conv2d 128 3 padding=1",
        "ReLU",
        "Conv2d 128 3 padding=1",
        "ReLU",
        "Conv2d 256 3 padding=1",
        "ReLU",
        "MaxPool2d 2",
    ];
    let head = ["Flatten", "Linear 64", "ReLU", "Linear 32", "ReLU", "Linear 2"];
    let deep_head = ["Flatten", "Linear 512", "ReLU", "Linear 64", "ReLU", "Linear 2"];
    let mut a = Architecture::default();
    let is_deep = name.starts_with("net1_deep");
    let layers: &[&str] = if is_deep { &deep } else { &tower };
    let head: &[&str] = if is_deep { &deep_head } else { &head };
    a.branches.insert("left".into(), branch(&["pair[0]"], layers));
    let mut right = branch(&["pair[1]"], &[]);
    if matches!(name, "net2" | "net3" | "net2_digits") {
        right.share = Some("left".into());
    } else {
        right.like = Some("left".into());
    }
    a.branches.insert("right".into(), right);
    let target = |of: &str| loss(of, "larger", "CrossEntropyLoss", 1.0);
    if name == "net2_digits" {
        a.branches.insert("digits0".into(), branch(&["left"], &["Flatten", "logits: Linear 10", "Softmax"]));
        a.branches.insert("digits1".into(), Branch { share: Some("digits0".into()), ..branch(&["right"], &[]) });
        a.branches.insert("head".into(), branch(&["digits0", "digits1"], &["Linear 32", "ReLU", "Linear 2"]));
        a.losses.insert("target".into(), target("head"));
        for i in 0..2 {
            let name = format!("digits{i}");
            a.losses.insert(
                name.clone(),
                loss(&format!("{name}:logits"), &format!("digits[{i}]"), "CrossEntropyLoss", 1.0),
            );
        }
        return a;
    }
    a.branches.insert("head".into(), branch(&["left", "right"], head));
    a.losses.insert("target".into(), target("head"));
    let taps: &[usize] = match name {
        "net1_aux" => &[1, 2],
        "net1_deep_aux" => &[1, 4, 8],
        _ => &[],
    };
    for (i, at) in taps.iter().enumerate() {
        let aux = format!("aux{i}");
        a.branches.insert(aux.clone(), branch(&[&format!("left:{at}"), &format!("right:{at}")], head));
        a.losses.insert(aux.clone(), target(&aux));
    }
    if matches!(name, "net1_deep_classes" | "net3") {
        a.branches.insert("classes0".into(), branch(&["head:4"], &["Linear 10"]));
        a.branches.insert("classes1".into(), branch(&["head:4"], &["Linear 10"]));
        for i in 0..2 {
            let name = format!("classes{i}");
            a.losses.insert(name.clone(), loss(&name, &format!("digits[{i}]"), "CrossEntropyLoss", 1.0));
        }
    }
    a
}

/// Every network of the fourth report by name, and the one that overturns it.
pub const PAIR_NETS: &[&str] =
    &["net1", "net2", "net1_aux", "net3", "net2_digits", "net1_deep", "net1_deep_aux", "net1_deep_classes"];

pub fn pair_graph(name: &str) -> Graph {
    Graph::resolve(&pair_architecture(name), &pairs(2, 2).train.schema(), &Registry::new())
        .unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A network on a given instruction set.
pub fn on(graph: &Graph, isa: Isa, threads: usize) -> Net {
    let graph = Arc::new(graph.clone());
    let cpu = Cpu::on(graph.clone(), Machine { isa, pool: Pool::new(threads) });
    Net::with_executor(graph, Box::new(cpu), Seed(11), Options { threads, f64: false })
}
