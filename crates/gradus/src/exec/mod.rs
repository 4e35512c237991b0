//! Executors run programs. [`Reference`](reference::Reference) runs every op by its f64 definition and is the judge;
//! [`Cpu`](cpu::Cpu) lowers a program to a plan of f32 kernels and is fast. Both keep parameters, gradients, optimiser
//! state and buffers in a store of their own, and any number of loaded programs over it.

use std::fmt::Debug;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::data::{Batch, Target, TargetInfo};
use crate::error::Result;
use crate::fail;
use crate::layers::shape_text;
use crate::net::Graph;
use crate::optim::{Optimizer, Update};
use crate::program::{Phase, Program, Value};

pub mod cpu;
pub mod reference;

/// What changes from step to step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Samples that are run at once: the batch, or a part of it.
    pub batch: usize,
    /// Samples of the batch that were run before these.
    pub before: usize,
    /// Samples of the whole batch.
    pub whole: usize,
    /// The key of this training's random numbers.
    pub key: [u32; 2],
    /// Which step of the training this is: with the key it addresses the random numbers of dropout.
    pub t: u64,
    /// Whether gradients are added to the stored ones; they are overwritten otherwise.
    pub accumulate: bool,
}

impl Step {
    /// The first step of a training, over a whole batch of so many samples.
    pub fn of(batch: usize) -> Step {
        Step { batch, whole: batch, ..Step::default() }
    }
}

/// How a program is planned. Both plans of a program give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlanKind {
    /// The reports' four calls: each phase can be run alone, nothing is fused.
    Stepwise,
    /// All phases in one call; ops that can are fused.
    Fused,
}

/// A loaded program of an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanId(pub(crate) usize);

/// Runs programs of one graph over one store.
pub trait Executor: Debug + Send {
    /// Plans a program for batches of at most `batch` samples.
    fn load(&mut self, program: Arc<Program>, batch: usize, kind: PlanKind) -> PlanId;

    /// Makes room for batches of at most `batch` samples; what the plan's memory held is lost.
    fn grow(&mut self, plan: PlanId, batch: usize);

    /// Copies the inputs (and with `targets` the targets) of a batch in. The batch fits the schema and the plan.
    fn feed(&mut self, plan: PlanId, batch: &Batch<'_>, inputs: bool, targets: bool);

    /// Runs the phases from `first` to `last`.
    fn run(&mut self, plan: PlanId, first: Phase, last: Phase, step: &Step);

    /// Copies a value out, in torch's order.
    fn read(&self, plan: PlanId, value: Value, batch: usize, out: &mut [f32]);

    /// The same in f64.
    fn read_f64(&self, plan: PlanId, value: Value, batch: usize) -> Vec<f64>;

    /// Copies a value in (an input, or the given gradient of an output), in torch's order.
    fn write_f64(&mut self, plan: PlanId, value: Value, data: &[f64]);

    /// One number: a loss.
    fn number(&self, plan: PlanId, value: Value) -> f64;

    /// A stored array, in torch's order.
    fn stored(&self, what: Stored) -> Vec<f64>;

    /// Replaces a stored array.
    fn store(&mut self, what: Stored, data: &[f64]);

    /// Makes room for the state of this optimiser, zeros; what was there is dropped.
    fn set_states(&mut self, count: usize);

    /// Sets every gradient to 0.
    fn zero_grads(&mut self);

    /// Multiplies every gradient.
    fn scale_grads(&mut self, factor: f64);

    /// Limits every entry of every gradient to ±`limit`.
    fn clamp_grads(&mut self, limit: f64);

    /// The Euclidean norm of all gradients together.
    fn grad_norm(&self) -> f64;

    /// One optimiser step over every trained parameter.
    fn update(&mut self, optimizer: &dyn Optimizer, update: &Update);

    /// The backward pass of a batch whose forward pass and losses have been run, and an optimiser step by its gradients alone: the
    /// bits of both calls, but an executor may move a parameter without keeping its gradient.
    fn descend(&mut self, plan: PlanId, step: &Step, optimizer: &dyn Optimizer, update: &Update) {
        self.run(plan, Phase::Backward, Phase::Backward, step);
        self.update(optimizer, update);
    }

    /// Whether every parameter is a finite number.
    fn all_finite(&self) -> bool;

    /// The plan as text: layouts, memory, peak bytes.
    fn describe(&self, plan: PlanId) -> String;

    /// Bytes of the store and of a plan's work memory.
    fn bytes(&self, plan: PlanId) -> (usize, usize);

    /// How many samples a plan takes at most.
    fn capacity(&self, plan: PlanId) -> usize;

    /// How many of them at a time: a larger batch is fed and run in parts of so many, one after another.
    fn part(&self, plan: PlanId) -> usize {
        self.capacity(plan)
    }
}

/// A stored array of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A parameter.
    Param(usize),
    /// The gradient of a parameter.
    Grad(usize),
    /// A buffer.
    Buffer(usize),
    /// The state of a trained parameter: which state, which parameter.
    State(usize, usize),
}

/// Checks that a batch has the inputs (and targets) of a graph.
///
/// # Errors
/// [`Kind::Data`](crate::error::Kind::Data) naming what is missing or of another shape.
pub fn check_batch(graph: &Graph, batch: &Batch<'_>, targets: bool) -> Result<()> {
    let data = batch.dataset();
    if batch.is_empty() {
        fail!(Data, "a batch of no samples");
    }
    for (i, (name, info)) in graph.schema.inputs.iter().enumerate() {
        let Some(array) = input_of(graph, batch, i) else {
            let has: Vec<&str> = data.inputs.keys().map(String::as_str).collect();
            fail!(Data, "the network reads input `{name}`; the data have {}", has.join(", "));
        };
        if array.shape()[1..] != info.shape[..] {
            fail!(
                Data,
                "input `{name}`: the network takes samples of {}, the data have {}",
                shape_text(&info.shape),
                shape_text(&array.shape()[1..])
            );
        }
    }
    if targets {
        for loss in &graph.losses {
            let (name, info) = graph.schema.targets.get_index(loss.target).expect("resolved");
            let Some(target) = target_of(graph, batch, loss.target) else {
                let has: Vec<&str> = data.targets.keys().map(String::as_str).collect();
                fail!(Data, "loss `{}` reads target `{name}`; the data have {}", loss.name, has.join(", "));
            };
            if !fits(info, target) {
                fail!(Data, "target `{name}` is not what the network was built for ({info:?})");
            }
        }
    }
    Ok(())
}

/// Whether a target of a data set is what a network was built for. Classes also serve a network that wants numbers: as
/// one-hot vectors, or as 0 and 1.
fn fits(info: &TargetInfo, target: &Target) -> bool {
    match (info, target) {
        (TargetInfo::Values { shape }, Target::Values(array)) => {
            array.shape()[1..] == shape[..] || (array.ndim() == 1 && *shape == [1])
        }
        (TargetInfo::Values { shape }, Target::Classes { labels, names }) => {
            labels.ndim() == 1 && (*shape == [names.len()] || (*shape == [1] && names.len() == 2))
        }
        (TargetInfo::Classes { names: wanted, per_sample }, Target::Classes { labels, names }) => {
            wanted.len() == names.len() && labels.shape().get(1).copied() == *per_sample
        }
        (TargetInfo::Classes { .. }, Target::Values(_)) => false,
    }
}

/// Writes a label as a one-hot vector, or as 0 or 1.
pub(crate) fn one_hot<T: From<u8>>(label: u32, out: &mut [T]) {
    let n = out.len();
    for (j, o) in out.iter_mut().enumerate() {
        *o = T::from(u8::from(if n == 1 { label == 1 } else { label as usize == j }));
    }
}

/// What has this name. It is where the network has it, mostly: a comparison is quicker than a hash.
fn named<'b, T>(map: &'b IndexMap<String, T>, index: usize, name: &str) -> Option<&'b T> {
    match map.get_index(index) {
        Some((other, array)) if other == name => Some(array),
        _ => map.get(name),
    }
}

/// The array of an input: by name, or the only one there is.
pub(crate) fn input_of<'b>(graph: &Graph, batch: &Batch<'b>, index: usize) -> Option<&'b ndarray::ArrayD<f32>> {
    let inputs = &batch.dataset().inputs;
    let (name, _) = graph.schema.inputs.get_index(index)?;
    named(inputs, index, name)
        .or_else(|| if inputs.len() == 1 && graph.schema.inputs.len() == 1 { inputs.values().next() } else { None })
}

/// The array of a target: by name, or the first one for a network with a single target.
pub(crate) fn target_of<'b>(graph: &Graph, batch: &Batch<'b>, index: usize) -> Option<&'b crate::data::Target> {
    let targets = &batch.dataset().targets;
    let (name, _) = graph.schema.targets.get_index(index)?;
    named(targets, index, name).or_else(|| if graph.schema.targets.len() == 1 { targets.values().next() } else { None })
}
