//! Random cases for every layer and loss in the lists: how it is written, the shape of a sample, the size of a batch. A
//! name without cases fails the tests that use them, so that a new layer or loss cannot be forgotten.
#![allow(dead_code)] // each test file uses a part

use std::sync::Arc;

use gradus::Registry;
use gradus::data::TargetInfo;
use gradus::layers::Layer;
use gradus::losses::Loss;
use gradus::rng::{Seed, Stream};

/// A layer as a string, with what goes in.
#[derive(Clone, Debug)]
pub struct LayerCase {
    pub text: String,
    pub input: Vec<usize>,
    pub batch: usize,
}

/// A loss as a string, with what goes in.
#[derive(Clone, Debug)]
pub struct LossCase {
    pub text: String,
    pub input: Vec<usize>,
    pub target: TargetInfo,
    pub batch: usize,
}

impl LayerCase {
    pub fn make(&self) -> Arc<dyn Layer> {
        let registry = Registry::new();
        let spec = registry.parse_layer(&self.text).unwrap_or_else(|e| panic!("{self:?}: {e}"));
        registry.make_layer(&spec).unwrap()
    }
}

impl LossCase {
    pub fn make(&self) -> Arc<dyn Loss> {
        let registry = Registry::new();
        let spec = registry.parse_loss(&self.text).unwrap_or_else(|e| panic!("{self:?}: {e}"));
        registry.make_loss(&spec).unwrap()
    }
}

/// A stream of choices.
pub struct Draw(Stream);

impl Draw {
    fn new(what: &str, n: u64) -> Draw {
        Draw(Seed(2021).key("cases").child(what).at(n).stream())
    }

    /// A whole number from `low` to `high`.
    fn from(&mut self, low: usize, high: usize) -> usize {
        low + self.0.below((high - low + 1) as u64) as usize
    }

    fn one<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.from(0, list.len() - 1)].clone()
    }

    fn flag(&mut self) -> bool {
        self.from(0, 1) == 1
    }

    fn batch(&mut self) -> usize {
        self.from(1, 5)
    }

    /// A shape of 1 to 3 dimensions, 1s and odd numbers among them.
    fn any(&mut self) -> Vec<usize> {
        let sizes = [1, 2, 3, 5, 7];
        match self.from(1, 3) {
            1 => vec![self.from(1, 19)],
            2 => vec![self.one(&sizes), self.one(&sizes)],
            _ => vec![self.from(1, 3), self.from(1, 4), self.from(1, 5)],
        }
    }
}

/// `3`, or `3x2`.
fn pair((a, b): (usize, usize)) -> String {
    if a == b { a.to_string() } else { format!("{a}x{b}") }
}

/// A window: kernel, stride, padding, and an image it fits into, not square.
fn window(d: &mut Draw, most_padding: impl Fn(usize) -> usize) -> [(usize, usize); 4] {
    let side = |d: &mut Draw| {
        let kernel = d.from(1, 4);
        let stride = if d.from(0, 3) == 0 { kernel + 1 } else { d.from(1, 3) };
        let padding = d.from(0, most_padding(kernel));
        let least = kernel.saturating_sub(2 * padding).max(1);
        (kernel, stride, padding, d.from(least, least.max(6) + 1))
    };
    let (a, b) = (side(d), side(d));
    [(a.0, b.0), (a.1, b.1), (a.2, b.2), (a.3, b.3)]
}

/// The `n`-th case of a layer in the list.
pub fn layer_case(name: &str, n: u64) -> LayerCase {
    let mut d = Draw::new(name, n);
    let d = &mut d;
    let batch = d.batch();
    let (text, input) = match name {
        "Linear" => {
            let bias = if d.flag() { "" } else { " bias=false" };
            (format!("Linear {}{bias}", d.from(1, 9)), vec![d.from(1, 19)])
        }
        "ReLU" | "Tanh" | "Sigmoid" | "Identity" | "Flatten" => (name.to_string(), d.any()),
        "LeakyReLU" => {
            let slope = d.one(&["", " 0.2", " negative_slope=0.5", " 0", " 1.5"]);
            (format!("LeakyReLU{slope}"), d.any())
        }
        "Softmax" => (name.to_string(), vec![d.from(1, 12)]),
        "Dropout" => (format!("Dropout{}", d.one(&["", " 0.1", " p=0.8", " 0"])), d.any()),
        "Conv2d" => {
            let [kernel, stride, padding, image] = window(d, |k| k + 1);
            let mut text = format!("Conv2d {} {}", d.from(1, 4), pair(kernel));
            if stride != (1, 1) || d.flag() {
                text += &format!(" stride={}", pair(stride));
            }
            if padding != (0, 0) || d.flag() {
                text += &format!(" padding={}", pair(padding));
            }
            if d.from(0, 2) == 0 {
                text += " bias=false";
            }
            (text, vec![d.from(1, 3), image.0, image.1])
        }
        "MaxPool2d" | "AvgPool2d" => {
            // Padding beyond half a window would be windows of nothing.
            let [kernel, stride, padding, image] = window(d, |k| k / 2);
            let mut text = format!("{name} {}", pair(kernel));
            if stride != kernel {
                text += &format!(" stride={}", pair(stride));
            }
            if padding != (0, 0) {
                text += &format!(" padding={}", pair(padding));
            }
            (text, vec![d.from(1, 3), image.0, image.1])
        }
        "BatchNorm1d" | "BatchNorm2d" => {
            let mut text = name.to_string();
            text += d.one(&["", " eps=0.001", " momentum=0.3", " affine=false"]);
            let channels = d.from(1, 5);
            let input = if name == "BatchNorm1d" { vec![channels] } else { vec![channels, d.from(1, 4), d.from(1, 5)] };
            // One number per channel has no variance: an error, checked elsewhere.
            return LayerCase { text, input, batch: batch + 1 };
        }
        _ => panic!("no gradient cases for layer `{name}`: add a line to tests/cases/mod.rs"),
    };
    LayerCase { text, input, batch }
}

fn classes(n: usize) -> TargetInfo {
    TargetInfo::Classes { names: (0..n).map(|i| format!("class {i}")).collect(), per_sample: None }
}

/// The `n`-th case of a loss in the list: both reductions, classes and values.
pub fn loss_case(name: &str, n: u64) -> LossCase {
    let mut d = Draw::new(name, n);
    let d = &mut d;
    let batch = d.batch();
    let mut text = name.to_string();
    text += d.one(&["", " reduction=mean", " reduction=sum"]);
    let (input, target) = match name {
        "MSELoss" | "L1Loss" => match d.from(0, 3) {
            0 => (vec![1], classes(2)),
            1 => {
                let n = d.from(2, 11);
                (vec![n], classes(n))
            }
            2 => (vec![1], TargetInfo::Values { shape: vec![] }),
            _ => {
                let shape = d.any();
                (shape.clone(), TargetInfo::Values { shape })
            }
        },
        "CrossEntropyLoss" => {
            text += d.one(&["", " label_smoothing=0.1"]);
            let n = d.from(2, 12);
            let values = TargetInfo::Values { shape: vec![n] };
            (vec![n], if d.from(0, 2) == 0 { values } else { classes(n) })
        }
        _ => panic!("no gradient cases for loss `{name}`: add a line to tests/cases/mod.rs"),
    };
    LossCase { text, input, target, batch }
}
