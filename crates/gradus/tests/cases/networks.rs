//! Small versions of the reports' networks, and networks that use every way of connecting branches.

use gradus::Registry;
use gradus::data::{Dataset, Target};
use gradus::net::{Architecture, Branch, Graph, Join, Loss};
use gradus::rng::Seed;
use indexmap::IndexMap;
use ndarray::{ArrayD, IxDyn};

/// An architecture with data it can read.
pub struct Network {
    pub name: &'static str,
    pub graph: Graph,
    pub data: Dataset,
}

/// Branches and losses, written short.
#[derive(Default)]
struct Written(Architecture);

impl Written {
    fn add(mut self, name: &str, from: &[&str], set: impl FnOnce(&mut Branch)) -> Written {
        let from = from.iter().map(|t| t.parse().unwrap()).collect();
        let mut branch = Branch { from, ..Branch::default() };
        set(&mut branch);
        self.0.branches.insert(name.to_string(), branch);
        self
    }

    fn branch(self, name: &str, from: &[&str], layers: &[&str]) -> Written {
        let layers = layers.iter().map(|l| Registry::new().parse_layer(l).unwrap()).collect();
        self.add(name, from, |b| b.layers = layers)
    }

    fn sum(self, name: &str, from: &[&str], layers: &[&str]) -> Written {
        let mut new = self.branch(name, from, layers);
        new.0.branches[name].join = Join::Add;
        new
    }

    fn share(self, name: &str, from: &[&str], owner: &str) -> Written {
        self.add(name, from, |b| b.share = Some(owner.to_string()))
    }

    fn like(self, name: &str, from: &[&str], model: &str) -> Written {
        self.add(name, from, |b| b.like = Some(model.to_string()))
    }

    fn loss(mut self, name: &str, of: &str, target: &str, kind: &str, weight: f64) -> Written {
        let kind = Registry::new().parse_loss(kind).unwrap();
        let loss = Loss { of: of.parse().unwrap(), target: Some(target.parse().unwrap()), kind, weight };
        self.0.losses.insert(name.to_string(), loss);
        self
    }

    fn on(self, name: &'static str, data: Dataset) -> Network {
        let graph = Graph::resolve(&self.0, &data.schema(), &Registry::new()).unwrap_or_else(|e| panic!("{name}: {e}"));
        Network { name, graph, data }
    }
}

fn values(name: &str, shape: &[usize]) -> ArrayD<f32> {
    let mut s = Seed(11).key("data").child(name).stream();
    ArrayD::from_shape_simple_fn(IxDyn(shape), || s.normal() as f32)
}

fn labels(name: &str, shape: &[usize], classes: usize) -> Target {
    let mut s = Seed(12).key("labels").child(name).stream();
    let labels = ArrayD::from_shape_simple_fn(IxDyn(shape), || s.below(classes as u64) as u32);
    Target::Classes { labels, names: (0..classes).map(|c| c.to_string()).collect() }
}

/// Pairs of images, mostly background as real digits are, with `larger` and two `digits`.
fn pairs(side: usize) -> Dataset {
    let mut pair = values("pair", &[3, 2, side, side]);
    pair.mapv_inplace(|x| if x < 0.3 { 0.0 } else { x });
    let targets = [("larger", labels("larger", &[3], 2)), ("digits", labels("digits", &[3, 2], 10))];
    let targets = targets.into_iter().map(|(n, t)| (n.to_string(), t)).collect();
    Dataset::new(IndexMap::from([("pair".to_string(), pair)]), targets).unwrap()
}

/// Vectors with values and classes to be found.
fn vectors(features: usize) -> Dataset {
    let inputs =
        IndexMap::from([("x".to_string(), values("x", &[5, features])), ("z".to_string(), values("z", &[5, 3]))]);
    let targets = [("y", Target::Values(values("y", &[5, 2]))), ("c", labels("c", &[5], 2))];
    Dataset::new(inputs, targets.into_iter().map(|(n, t)| (n.to_string(), t)).collect()).unwrap()
}

const TOWER: &[&str] = &["Conv2d 3 3", "ReLU", "MaxPool2d 2", "Conv2d 4 3", "ReLU"];
const HEAD: &[&str] = &["Flatten", "Linear 6", "ReLU", "Linear 4", "ReLU", "Linear 2"];
const DEEP: &[&str] = &[
    "Conv2d 2 3 padding=1",
    "ReLU",
    "Conv2d 3 5 padding=2",
    "ReLU",
    "MaxPool2d 2",
    "Conv2d 4 3 padding=1",
    "ReLU",
    "Conv2d 4 3 padding=1",
    "ReLU",
    "Conv2d 5 3 padding=1",
    "ReLU",
    "MaxPool2d 2",
];
const CE: &str = "CrossEntropyLoss";

fn towers(layers: &[&str]) -> Written {
    Written::default().branch("left", &["pair[0]"], layers).like("right", &["pair[1]"], "left")
}

fn net1() -> Written {
    towers(TOWER).branch("head", &["left", "right"], HEAD).loss("target", "head", "larger", CE, 1.0)
}

fn net2() -> Written {
    Written::default()
        .branch("left", &["pair[0]"], TOWER)
        .share("right", &["pair[1]"], "left")
        .branch("head", &["left", "right"], HEAD)
        .loss("target", "head", "larger", CE, 1.0)
}

fn net1_deep() -> Written {
    towers(DEEP).branch("head", &["left", "right"], HEAD).loss("target", "head", "larger", CE, 1.0)
}

/// Every network.
pub fn networks() -> Vec<Network> {
    let mut all = vec![
        Written::default()
            .branch("net", &["x"], &["Linear 25", "ReLU", "Linear 25", "Tanh", "Linear 25", "ReLU", "Linear 2"])
            .loss("loss", "net", "c", "MSELoss reduction=sum", 1.0)
            .on("disk", vectors(2)),
        Written::default()
            .branch("net", &["x"], &["Linear 4", "Tanh", "Identity", "Linear 4", "Sigmoid", "Linear 2"])
            .on("no loss", vectors(3)),
        // One set of weights three times, the third fed by the first: gradients meet in the weights and in the values.
        Written::default()
            .branch("a", &["x"], &["Linear 3", "Tanh"])
            .share("b", &["z"], "a")
            .share("c", &["a"], "a")
            .branch("head", &["a", "b", "c"], &["Linear 2"])
            .loss("loss", "head", "y", "MSELoss", 1.0)
            .on("shared three times", vectors(3)),
        // The value after `tower:1` goes on in the tower and to two other readers, one of them a loss.
        Written::default()
            .branch("tower", &["x"], &["Linear 2", "Tanh", "Linear 3", "Sigmoid"])
            .branch("aux", &["tower:1"], &["Linear 2"])
            .sum("head", &["tower", "z", "tower"], &["first: Linear 5", "Tanh", "Linear 2"])
            .loss("loss", "head", "y", "MSELoss", 1.0)
            .loss("aux", "aux", "c", "MSELoss", 0.5)
            .loss("tap", "tower:1", "y", "MSELoss reduction=sum", -0.25)
            .on("taps and sums", vectors(4)),
        // A loss on every joint, features taken apart, an input that goes to two places, a branch without layers.
        Written::default()
            .branch("part", &["x[2]"], &["Linear 3", "ReLU"])
            .branch("all", &["x", "part", "z[0]"], &[])
            .branch("head", &["all", "all", "part:0[1]"], &["Linear 4", "Tanh", "Linear 2"])
            .branch("other", &["all"], &["Linear 2", "Identity"])
            .loss("loss", "head", "y", "MSELoss", 2.0)
            .loss("other", "other", "y", "MSELoss", 1.0)
            .on("joints", vectors(4)),
    ];
    let aux = &["Flatten", "Linear 5", "ReLU", "Linear 2"];
    all.push(net1().on("net1", pairs(10)));
    all.push(net2().on("net2", pairs(10)));
    all.push(
        net1()
            .branch("aux1", &["left:1", "right:1"], aux)
            .branch("aux2", &["left:2", "right:2"], aux)
            .loss("aux1", "aux1", "larger", CE, 0.5)
            .loss("aux2", "aux2", "larger", CE, 1.0)
            .on("net1_aux", pairs(10)),
    );
    all.push(net1_deep().on("net1_deep", pairs(8)));
    all.push(
        net1_deep()
            .branch("aux1", &["left:1", "right:1"], aux)
            .branch("aux2", &["left:4", "right:4"], aux)
            .branch("aux3", &["left:8", "right:8"], aux)
            .loss("aux1", "aux1", "larger", CE, 1.0)
            .loss("aux2", "aux2", "larger", CE, 1.0)
            .loss("aux3", "aux3", "larger", CE, 1.0)
            .on("net1_deep_aux", pairs(8)),
    );
    let digits = |net: Written| {
        net.branch("first", &["head:4"], &["Linear 10"])
            .branch("second", &["head:4"], &["Linear 10"])
            .loss("first", "first", "digits[0]", CE, 1.0)
            .loss("second", "second", "digits[1]", CE, 1.0)
    };
    all.push(digits(net1_deep()).on("net1_deep_classes", pairs(8)));
    all.push(digits(net2()).on("net3", pairs(10)));
    let tower =
        &["Conv2d 3 3 stride=2", "BatchNorm2d", "LeakyReLU 0.1", "Dropout 0.3", "Flatten", "Linear 10", "Softmax"];
    let net = Written::default()
        .branch("left", &["pair[0]"], tower)
        .share("right", &["pair[1]"], "left")
        .branch("head", &["left", "right"], &["Linear 6", "BatchNorm1d", "Tanh", "Dropout", "Linear 2"])
        .loss("target", "head", "larger", CE, 1.0)
        .loss("first", "left:5", "digits[0]", CE, 0.3)
        .loss("second", "right:5", "digits[1]", CE, 0.3)
        .loss("far", "left", "digits[1]", "L1Loss", 0.7);
    all.push(net.on("batch norm and dropout in a shared tower", pairs(8)));
    // Means of what a ReLU and a tanh give, with and without padding, and of images as they come.
    let tower =
        &["Conv2d 3 3", "ReLU", "AvgPool2d 2", "Conv2d 4 3 padding=1", "Tanh", "AvgPool2d 3 stride=2 padding=1"];
    let net = Written::default()
        .branch("left", &["pair[0]"], tower)
        .share("right", &["pair[1]"], "left")
        .branch("small", &["pair"], &["AvgPool2d 3x2 stride=2"])
        .branch("head", &["left", "right"], &["Flatten", "Linear 2"])
        .branch("far", &["small"], &["Flatten", "Linear 2"])
        .loss("target", "head", "larger", CE, 1.0)
        .loss("far", "far", "larger", CE, 0.5);
    all.push(net.on("means", pairs(10)));
    all
}
