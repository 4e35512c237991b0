//! A network compiled to a short list of ops over named values.
//!
//! A [`Program`] has torch's shapes and no layout and no addresses: executors lower it to a plan. It is built for a set of
//! [`Roots`]; ops that no root needs are dropped, so auxiliary heads vanish from a prediction and the gradient of the
//! first layer's input is never computed unless asked for.

mod compile;
mod emit;
mod explain;

use std::sync::Arc;

use indexmap::IndexMap;

use crate::exec::Step;
use crate::ops::{Case, Op};

pub use compile::{Roots, compile};
pub use emit::Emit;

/// A value of a program: what an op reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub(crate) u32);

impl Value {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An input of the data set, by its position in the schema.
    Input(usize),
    /// A target of the data set, by its position in the schema; labels when it is classes.
    Target(usize),
    /// A parameter of the graph.
    Param(usize),
    /// The gradient of a parameter.
    Grad(usize),
    /// A buffer of the graph.
    Buffer(usize),
    /// The gradient of an output, given from outside.
    OutputGrad,
    /// An op of the program.
    Op,
}

impl Source {
    /// Whether it outlives a step: it lies in the store.
    pub fn is_stored(self) -> bool {
        matches!(self, Source::Param(_) | Source::Grad(_) | Source::Buffer(_))
    }
}

/// What there is to know of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// Its name in `gradus explain`.
    pub name: String,
    /// The shape of one sample where `batched`, else the whole shape.
    pub dims: Vec<usize>,
    /// Whether there is one for each sample of the batch.
    pub batched: bool,
    /// Whether it holds labels or positions instead of numbers.
    pub ints: bool,
    /// Where it comes from.
    pub source: Source,
    /// Whether the samples of these images lie interleaved: a plan says so, a program does not.
    pub interleaved: bool,
}

impl Info {
    /// Whether a sample is an image (C, H, W).
    pub fn is_image(&self) -> bool {
        self.batched && self.dims.len() == 3
    }

    /// The whole shape at a batch of `batch`.
    pub fn shape(&self, batch: usize) -> Vec<usize> {
        let mut shape = if self.batched { vec![batch] } else { Vec::new() };
        shape.extend_from_slice(&self.dims);
        shape
    }

    /// Numbers at a batch of `batch`.
    pub fn len(&self, batch: usize) -> usize {
        self.dims.iter().product::<usize>() * if self.batched { batch } else { 1 }
    }
}

/// The four steps of training, as far as a program has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// From inputs to outputs.
    Forward,
    /// From outputs and targets to losses.
    Loss,
    /// From losses to gradients.
    Backward,
}

/// One op of a program with what it reads and writes.
#[derive(Clone, Debug)]
pub struct Node {
    /// The op.
    pub op: Arc<dyn Op>,
    /// What it reads.
    pub reads: Vec<Value>,
    /// What it writes.
    pub writes: Vec<Value>,
    /// The step it belongs to.
    pub phase: Phase,
    /// The layer or loss that emitted it: `left.0`, `loss.target`.
    pub path: String,
    /// A gradient that an earlier op of this program has written already: this one adds to it, whatever the step says.
    pub adds: bool,
}

impl Node {
    /// One run of it in `step`.
    pub fn case<'p>(&self, program: &'p Program, step: Step) -> Case<'p> {
        let infos = |list: &[Value]| list.iter().map(|v| program.info(*v)).collect();
        Case { reads: infos(&self.reads), writes: infos(&self.writes), step, adds: self.adds || step.accumulate }
    }
}

/// A network compiled for some roots.
#[derive(Clone, Debug)]
pub struct Program {
    /// Every value.
    pub values: Vec<Info>,
    /// The ops in order; phases follow each other.
    pub nodes: Vec<Node>,
    /// The outputs that were asked for, by branch; the first one is the main output.
    pub outputs: IndexMap<String, Value>,
    /// The losses that were asked for (each one number) and their weights.
    pub losses: IndexMap<String, (Value, f64)>,
    /// Gradients of inputs that were asked for, by input.
    pub input_grads: IndexMap<String, Value>,
    /// The given gradient of the main output, where the program starts from one.
    pub output_grad: Option<Value>,
}

impl Program {
    /// What there is to know of `v`.
    pub fn info(&self, v: Value) -> &Info {
        &self.values[v.index()]
    }

    /// The values of one kind that some op reads or writes, in order.
    pub fn used(&self) -> Vec<Value> {
        let mut seen = vec![false; self.values.len()];
        let ends = self.outputs.values().chain(self.losses.values().map(|(v, _)| v)).chain(self.input_grads.values());
        for v in self.nodes.iter().flat_map(|n| n.reads.iter().chain(&n.writes)).chain(ends) {
            seen[v.index()] = true;
        }
        (0..self.values.len() as u32).map(Value).filter(|v| seen[v.index()]).collect()
    }
}
