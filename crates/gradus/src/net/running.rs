//! A network that runs: parameters, gradients, and the four steps of training.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use ndarray::{ArrayD, IxDyn};

use super::{Graph, Output};
use crate::data::{Batch, Dataset, Normalisation};
use crate::error::{Error, Kind, Result};
use crate::exec::reference::Reference;
use crate::exec::{self, Executor, PlanId, PlanKind, Step, Stored};
use crate::fail;
use crate::layers::shape_text;
use crate::optim::{Optimizer, SGD, Update};
use crate::program::{Phase, Program, Roots, Value, compile};
use crate::rng::Seed;

/// How a network runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads that share the work of a step. No number of them changes a bit.
    pub threads: usize,
    /// Double precision, on the reference executor: slow, for those who ask.
    pub f64: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { threads: 1, f64: false }
    }
}

/// What a loaded program is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Train(PlanKind),
    /// From a given gradient of the output, for a network with losses.
    Given,
    /// The main output, as the network predicts.
    Predict,
    /// The losses and what they judge, as the network predicts.
    Evaluate,
    /// The value after every ReLU, and every output.
    Probe,
}

/// Samples that are probed at a time: few, as every layer's values are kept; the first ones show that a layer is alive.
const PROBE_BATCH: usize = 32;

#[derive(Debug)]
struct Slot {
    of: Use,
    plan: PlanId,
    program: Arc<Program>,
    /// Whether its backward pass writes the gradient of every trained parameter.
    complete: bool,
}

/// How far the current batch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Forward { batch: usize },
    Loss { batch: usize },
}

/// A network: a graph, its parameters, and what trains them.
///
/// The four steps `forward`, `loss`, `backward`, `learn` are the reports'; [`Net::fit`](crate::train) does the same in one
/// call, with the same bits. Gradients accumulate: `backward` adds to them until `learn` (or `update`, `zero_grad`) makes
/// them fresh; they stay readable until the next `backward` overwrites them. `fit` and `train_step` keep none.
#[derive(Debug)]
pub struct Net {
    graph: Arc<Graph>,
    exec: Box<dyn Executor>,
    options: Options,
    seed: Seed,
    slots: Vec<Slot>,
    optimizer: Option<Arc<dyn Optimizer>>,
    /// Normalisation of raw input, stored with the model.
    pub normalisation: Option<Normalisation>,
    stage: Stage,
    /// Updates made, forward passes made for training, batches in the current gradients.
    updates: u64,
    passes: u64,
    pending: u32,
    /// Whether the gradients are those of the last `backward`.
    grads_kept: bool,
    powers: [f64; 2],
    output: Vec<f32>,
    /// Whether an output of zeros has been warned of.
    warned: bool,
}

/// A parameter with its gradient: what [`Net::params`] lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its name: `left.0.weight`.
    pub name: String,
    /// Its values, in torch's shape.
    pub value: ArrayD<f64>,
    /// Its gradient from the last `backward`; zeros where there was none, or `fit` or `train_step` came after.
    pub grad: ArrayD<f64>,
    /// Whether training changes it.
    pub trained: bool,
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frozen = if self.trained { "" } else { ", frozen" };
        writeln!(f, "{} {}{frozen}", self.name, shape_text(self.value.shape()))?;
        writeln!(f, "  value {:.6}", self.value)?;
        write!(f, "  grad  {:.6}", self.grad)
    }
}

impl Net {
    /// A network of a resolved graph, with first values drawn from `seed`.
    ///
    /// # Errors
    /// [`Kind::Argument`] for no threads at all, or more than the system gives.
    pub fn new(graph: Graph, seed: Seed, options: Options) -> Result<Net> {
        if options.threads == 0 || options.threads > 1024 {
            fail!(Argument, "{} threads: 1 to 1024 are possible", options.threads);
        }
        let graph = Arc::new(graph);
        let exec: Box<dyn Executor> = if options.f64 {
            Box::new(Reference::new(graph.clone()))
        } else {
            let refused =
                |e| Error::new(Kind::Argument, format!("{} threads: the system refused one: {e}", options.threads));
            let machine = exec::cpu::Machine::start(options.threads).map_err(refused)?;
            Box::new(exec::cpu::Cpu::on(graph.clone(), machine))
        };
        Ok(Net::with_executor(graph, exec, seed, options))
    }

    /// The same on an executor of the caller's choice.
    pub fn with_executor(graph: Arc<Graph>, exec: Box<dyn Executor>, seed: Seed, options: Options) -> Net {
        let mut net = Net {
            graph,
            exec,
            options,
            seed,
            slots: Vec::new(),
            optimizer: None,
            normalisation: None,
            stage: Stage::Start,
            updates: 0,
            passes: 0,
            pending: 0,
            grads_kept: false,
            powers: [1.0; 2],
            output: Vec::new(),
            warned: false,
        };
        net.reset(seed);
        net
    }

    /// Draws all parameters anew from `seed`, and forgets gradients, optimiser state and counts.
    pub fn reset(&mut self, seed: Seed) {
        self.seed = seed;
        let graph = self.graph.clone();
        for (i, p) in graph.params.iter().enumerate() {
            // Paired between networks: the same path and shape draw the same numbers.
            let key = seed.key("init").child(&p.name).child(&shape_text(&p.shape));
            self.exec.store(Stored::Param(i), &p.init.draw(p.fan, p.len(), key));
        }
        for (i, b) in graph.buffers.iter().enumerate() {
            self.exec.store(Stored::Buffer(i), &vec![b.value; b.shape.iter().product()]);
        }
        self.exec.zero_grads();
        self.exec.set_states(self.optimizer.as_ref().map_or(0, |o| o.states().len()));
        (self.updates, self.passes, self.pending) = (0, 0, 0);
        self.powers = [1.0; 2];
        self.stage = Stage::Start;
    }

    /// The graph.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// How it runs.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The seed of its first values and its random numbers.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// How many numbers training changes.
    pub fn parameters(&self) -> usize {
        self.graph.parameters()
    }

    pub(crate) fn set_seed(&mut self, seed: Seed) {
        self.seed = seed;
    }

    /// The optimiser that [`Net::update`] uses.
    pub fn optimizer(&self) -> Option<&Arc<dyn Optimizer>> {
        self.optimizer.as_ref()
    }

    /// Chooses the optimiser; its state starts at 0.
    pub fn set_optimizer(&mut self, optimizer: impl Optimizer + 'static) {
        self.set_optimizer_arc(Arc::new(optimizer));
    }

    pub(crate) fn set_optimizer_arc(&mut self, optimizer: Arc<dyn Optimizer>) {
        self.exec.set_states(optimizer.states().len());
        self.optimizer = Some(optimizer);
        self.updates = 0;
        self.powers = [1.0; 2];
    }

    /// The slot for `of` with room for `batch` samples.
    fn slot(&mut self, of: Use, batch: usize) -> usize {
        if let Some(i) = self.slots.iter().position(|s| s.of == of) {
            if self.exec.capacity(self.slots[i].plan) < batch {
                self.exec.grow(self.slots[i].plan, batch);
                self.fit_output(i, batch);
            }
            return i;
        }
        let main = || self.graph.outputs.iter().take(1).map(|(name, _)| name.clone()).collect();
        let roots = match of {
            Use::Train(_) if self.graph.losses.is_empty() => Roots::BackwardFrom { buffers: true },
            Use::Train(_) => Roots::Train { inputs: false },
            Use::Given => Roots::BackwardFrom { buffers: false },
            Use::Predict => Roots::Infer { outputs: main(), losses: false },
            Use::Probe => Roots::Probe,
            Use::Evaluate => Roots::Infer { outputs: Vec::new(), losses: true },
        };
        let program = Arc::new(compile(&self.graph, &roots));
        let kind = if let Use::Train(kind) = of { kind } else { PlanKind::Fused };
        let kind = if of == Use::Given { PlanKind::Stepwise } else { kind };
        let plan = self.exec.load(program.clone(), batch, kind);
        let complete = (0..self.graph.params.len()).filter(|i| self.graph.params[*i].trained).all(|i| {
            program
                .nodes
                .iter()
                .flat_map(|n| &n.writes)
                .any(|v| program.info(*v).source == crate::program::Source::Grad(i))
        });
        self.slots.push(Slot { of, plan, program, complete });
        self.fit_output(self.slots.len() - 1, batch);
        self.slots.len() - 1
    }

    /// Makes room for the largest output of a slot, so that a step allocates nothing.
    fn fit_output(&mut self, slot: usize, batch: usize) {
        let program = &self.slots[slot].program;
        let most = program.outputs.values().map(|v| program.info(*v).len(batch)).max().unwrap_or(0);
        if self.output.len() < most {
            self.output.resize(most, 0.0);
        }
    }

    fn step(&self, batch: usize) -> Step {
        let key = self.seed.key("dropout").words();
        Step { key, t: self.passes, accumulate: self.pending > 0, ..Step::of(batch) }
    }

    /// Copies the output `index` of a slot to where [`Output`] can borrow it.
    fn take_output(&mut self, slot: usize, index: usize, batch: usize) -> Output<'_> {
        let Slot { plan, program, .. } = &self.slots[slot];
        let value = program.outputs[index];
        let info = program.info(value);
        let len = info.len(batch);
        self.exec.read(*plan, value, batch, &mut self.output[..len]);
        Output::new(&self.output[..len], batch, &info.dims)
    }

    fn train_slot(&self) -> usize {
        self.slots.iter().position(|s| s.of == Use::Train(PlanKind::Stepwise)).expect("forward comes first")
    }

    /// The first step: runs a batch through the network as it trains; returns the main output (B, …).
    ///
    /// # Panics
    /// When the batch has not the inputs the network reads (see [`Net::check`] for a `Result`).
    pub fn forward(&mut self, batch: &Batch<'_>) -> Output<'_> {
        exec::check_batch(&self.graph, batch, false).unwrap_or_else(|e| panic!("forward: {e}"));
        self.assert_enough("forward", batch);
        let slot = self.slot(Use::Train(PlanKind::Stepwise), batch.len());
        let plan = self.slots[slot].plan;
        self.exec.feed(plan, batch, true, false);
        self.passes += 1;
        let step = self.step(batch.len());
        self.exec.run(plan, Phase::Forward, Phase::Forward, &step);
        self.stage = Stage::Forward { batch: batch.len() };
        let zeros = self.take_output(slot, 0, batch.len()).iter().all(|y| *y == 0.0);
        if zeros && !self.warned {
            self.warned = true;
            let name = &self.graph.outputs[0].0;
            tracing::warn!("output `{name}` is 0 for the whole batch: dead ReLUs, perhaps; `Net::health` names them");
        }
        self.take_output(slot, 0, batch.len())
    }

    /// The second step: the loss of the last forward pass against the targets of the same batch; the sum over all losses,
    /// each times its weight.
    ///
    /// # Panics
    /// Before `forward`, with another number of samples, or when the batch has not the targets the losses read.
    pub fn loss(&mut self, batch: &Batch<'_>) -> f64 {
        let (Stage::Forward { batch: n } | Stage::Loss { batch: n }) = self.stage else {
            panic!("loss: call forward first")
        };
        assert!(n == batch.len(), "loss: the batch has {} samples, forward had {n}", batch.len());
        assert!(!self.graph.losses.is_empty(), "loss: the network has no loss");
        exec::check_batch(&self.graph, batch, true).unwrap_or_else(|e| panic!("loss: {e}"));
        let plan = self.slots[self.train_slot()].plan;
        self.exec.feed(plan, batch, false, true);
        let step = self.step(n);
        self.exec.run(plan, Phase::Loss, Phase::Loss, &step);
        self.stage = Stage::Loss { batch: n };
        self.total_loss(self.train_slot())
    }

    fn assert_enough(&self, step: &str, batch: &Batch<'_>) {
        let (least, has) = (self.graph.least_batch, batch.len());
        assert!(has >= least, "{step}: batch norm needs {least} samples to train, the batch has {has}");
    }

    fn total_loss(&self, slot: usize) -> f64 {
        let Slot { plan, program, .. } = &self.slots[slot];
        program.losses.values().map(|(v, weight)| weight * self.exec.number(*plan, *v)).sum()
    }

    /// The losses of the last [`Net::loss`] by name, without their weights.
    ///
    /// # Panics
    /// Before `loss`.
    pub fn losses(&self) -> impl Iterator<Item = (&str, f64)> {
        assert!(matches!(self.stage, Stage::Loss { .. }), "losses: call loss first");
        let Slot { plan, program, .. } = &self.slots[self.train_slot()];
        program.losses.iter().map(|(name, (v, _))| (name.as_str(), self.exec.number(*plan, *v)))
    }

    /// The third step: adds the gradients of the last loss to the parameters' gradients.
    ///
    /// # Panics
    /// Before `loss`.
    pub fn backward(&mut self) {
        let Stage::Loss { batch } = self.stage else { panic!("backward: call forward and loss first") };
        let slot = self.train_slot();
        self.run_backward(slot, Phase::Backward, batch);
        self.stage = Stage::Start;
    }

    /// The step of a backward pass over so many samples.
    fn backward_step(&mut self, slot: usize, batch: usize) -> Step {
        let mut step = self.step(batch);
        if !self.slots[slot].complete && !step.accumulate {
            // What this program does not write would keep the gradient of an earlier step.
            self.exec.zero_grads();
            step.accumulate = true;
        }
        self.pending += 1;
        step
    }

    fn run_backward(&mut self, slot: usize, first: Phase, batch: usize) {
        let step = self.backward_step(slot, batch);
        self.exec.run(self.slots[slot].plan, first, Phase::Backward, &step);
        self.grads_kept = true;
    }

    /// As `backward`, from a given gradient of the main output, for a network of any size: `dy` (B, …) in torch's order;
    /// returns the gradients of the inputs by name. Follows `forward`.
    ///
    /// # Panics
    /// Before `forward`, or when `dy` has not the shape of the output.
    pub fn backward_from_all(&mut self, dy: &ArrayD<f64>) -> IndexMap<String, ArrayD<f64>> {
        let (Stage::Forward { batch } | Stage::Loss { batch }) = self.stage else {
            panic!("backward_from: call forward first")
        };
        let from = self.train_slot();
        let mut slot = from;
        if !self.graph.losses.is_empty() {
            // The training program starts from the losses: this one runs the same forward pass and starts from `dy`.
            slot = self.slot(Use::Given, batch);
            let inputs: Vec<_> = self.inputs_of(from);
            for (source, value) in inputs {
                let Some(to) = self.inputs_of(slot).into_iter().find(|(s, _)| *s == source) else { continue };
                let data = self.exec.read_f64(self.slots[from].plan, value, batch);
                self.exec.write_f64(self.slots[slot].plan, to.1, &data);
            }
        }
        let Slot { plan, program, .. } = &self.slots[slot];
        let value = program.output_grad.expect("the program starts from a gradient");
        let shape = program.info(value).shape(batch);
        assert!(
            dy.shape() == shape,
            "backward_from: dy is {}, the output {}",
            shape_text(dy.shape()),
            shape_text(&shape)
        );
        let data: Vec<f64> = dy.iter().copied().collect();
        self.exec.write_f64(*plan, value, &data);
        let first = if slot == from { Phase::Backward } else { Phase::Forward };
        self.run_backward(slot, first, batch);
        if slot == from {
            // The backward pass has used up what the forward pass left.
            self.stage = Stage::Start;
        }
        let Slot { plan, program, .. } = &self.slots[slot];
        let read = |(name, v): (&String, &crate::program::Value)| {
            let data = self.exec.read_f64(*plan, *v, batch);
            (
                name.clone(),
                ArrayD::from_shape_vec(IxDyn(&program.info(*v).shape(batch)), data).expect("length of the shape"),
            )
        };
        program.input_grads.iter().map(read).collect()
    }

    /// As [`Net::backward_from_all`], for a network with one input.
    ///
    /// # Panics
    /// As there, or when no input reaches the output.
    pub fn backward_from(&mut self, dy: &ArrayD<f64>) -> ArrayD<f64> {
        self.backward_from_all(dy).into_values().next().expect("an input reaches the output")
    }

    fn inputs_of(&self, slot: usize) -> Vec<(crate::program::Source, crate::program::Value)> {
        let program = &self.slots[slot].program;
        let inputs = program.used().into_iter().map(|v| (program.info(v).source, v));
        inputs.filter(|(s, _)| matches!(s, crate::program::Source::Input(_))).collect()
    }

    /// The fourth step: moves the parameters against their gradients, divided by the number of batches in them, with
    /// learning rate `rate` (plain gradient descent unless an optimiser is set); gradients are fresh afterwards.
    ///
    /// # Panics
    /// Before any `backward`.
    pub fn learn(&mut self, rate: f64) {
        assert!(self.pending > 0, "learn: call backward first");
        self.average_grads();
        self.apply(rate);
    }

    /// As `learn`, at the optimiser's own rate.
    ///
    /// # Panics
    /// Before any `backward`, or without an optimiser.
    pub fn update(&mut self) {
        let rate = self.optimizer.as_ref().expect("update: set an optimiser first, or call learn(rate)").lr();
        self.learn(rate);
    }

    /// Forgets the gradients: the next `backward` overwrites them.
    pub fn zero_grad(&mut self) {
        self.pending = 0;
    }

    /// Divides the gradients by the number of batches in them.
    pub(crate) fn average_grads(&mut self) {
        if self.pending > 1 {
            self.exec.scale_grads(1.0 / f64::from(self.pending));
            self.pending = 1;
        }
    }

    /// Moves the parameters against their gradients as they are.
    pub(crate) fn apply(&mut self, lr: f64) {
        self.update_by(lr, |exec, optimizer, update| exec.update(optimizer, update));
    }

    /// Counts an update and makes it.
    fn update_by(&mut self, lr: f64, make: impl FnOnce(&mut dyn Executor, &dyn Optimizer, &Update)) {
        self.updates += 1;
        let plain = SGD::new(lr);
        let optimizer: &dyn Optimizer = self.optimizer.as_deref().unwrap_or(&plain);
        let betas = optimizer.betas();
        self.powers = [self.powers[0] * betas[0], self.powers[1] * betas[1]];
        make(&mut *self.exec, optimizer, &Update { lr, t: self.updates, powers: self.powers });
        self.pending = 0;
    }

    /// Forward, loss and backward of a batch, fused; the same bits as the steps. Returns the weighted sum of losses;
    /// [`Net::fused_losses`] gives them by name. With a rate the update follows, if it can be made with the backward pass and
    /// the loss is finite; [`Net::is_updated`] tells.
    pub(crate) fn train_batch(&mut self, batch: &Batch<'_>, rate: Option<f64>) -> f64 {
        let slot = self.slot(Use::Train(PlanKind::Fused), batch.len());
        self.passes += 1;
        let (plan, mut step) = (self.slots[slot].plan, self.backward_step(slot, batch.len()));
        self.grads_kept = false;
        if let Some(rate) = rate.filter(|_| !step.accumulate && batch.len() <= self.exec.part(plan)) {
            self.exec.feed(plan, batch, true, true);
            self.exec.run(plan, Phase::Forward, Phase::Loss, &step);
            self.stage = Stage::Start;
            let loss = self.total_loss(slot);
            if loss.is_finite() {
                self.update_by(rate, |exec, optimizer, update| exec.descend(plan, &step, optimizer, update));
            } else {
                self.exec.run(plan, Phase::Backward, Phase::Backward, &step);
            }
            return loss;
        }
        for part in batch.parts(self.exec.part(plan)) {
            step.batch = part.len();
            self.exec.feed(plan, &part, true, true);
            self.exec.run(plan, Phase::Forward, Phase::Backward, &step);
            step.before += part.len();
        }
        self.stage = Stage::Start;
        self.total_loss(slot)
    }

    /// The four steps in one call, fused, with the same bits: returns the loss before the step. For loops of one's own that
    /// want speed; [`Net::fit`] does the rest too.
    ///
    /// # Panics
    /// When the batch has not the inputs and targets the network reads, or the network has no loss.
    pub fn train_step(&mut self, batch: &Batch<'_>, rate: f64) -> f64 {
        assert!(!self.graph.losses.is_empty(), "train_step: the network has no loss");
        exec::check_batch(&self.graph, batch, true).unwrap_or_else(|e| panic!("train_step: {e}"));
        self.assert_enough("train_step", batch);
        let loss = self.train_batch(batch, Some(rate));
        if !self.is_updated() {
            self.learn(rate);
        }
        loss
    }

    /// Whether no gradient waits for an update.
    pub(crate) fn is_updated(&self) -> bool {
        self.pending == 0
    }

    /// The losses of the last [`Net::train_batch`], in the graph's order.
    pub(crate) fn fused_losses(&self) -> impl Iterator<Item = f64> {
        let slot = self.slots.iter().find(|s| s.of == Use::Train(PlanKind::Fused)).expect("after a batch");
        slot.program.losses.values().map(|(v, _)| self.exec.number(slot.plan, *v))
    }

    /// The outputs, and the layers of ReLUs, that are 0 for every sample of a batch, as the network predicts.
    pub(crate) fn zeros(&mut self, batch: &Batch<'_>) -> Result<Vec<String>> {
        exec::check_batch(&self.graph, batch, false)?;
        let slot = self.slot(Use::Probe, batch.len().min(PROBE_BATCH));
        let (plan, program) = (self.slots[slot].plan, self.slots[slot].program.clone());
        let mut zeros: Vec<(&String, &Value)> = program.outputs.iter().collect();
        for part in batch.parts(PROBE_BATCH) {
            self.exec.feed(plan, &part, true, false);
            let step = self.step(part.len());
            self.exec.run(plan, Phase::Forward, Phase::Forward, &step);
            zeros.retain(|(_, v)| {
                let values = &mut self.output[..program.info(**v).len(part.len())];
                self.exec.read(plan, **v, part.len(), values);
                values.iter().all(|x| *x == 0.0)
            });
            if zeros.is_empty() {
                break;
            }
        }
        Ok(zeros.into_iter().map(|(name, _)| name.clone()).collect())
    }

    pub(crate) fn executor(&mut self) -> &mut dyn Executor {
        &mut *self.exec
    }

    pub(crate) fn executor_ref(&self) -> &dyn Executor {
        &*self.exec
    }

    /// Updates made and training passes made: with the seed, where the random numbers stand.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.updates, self.passes)
    }

    pub(crate) fn set_counts(&mut self, updates: u64, passes: u64) {
        (self.updates, self.passes, self.pending) = (updates, passes, 0);
        let betas = self.optimizer.as_ref().map_or([1.0; 2], |o| o.betas());
        self.powers = [1.0; 2];
        for _ in 0..updates {
            let next = [self.powers[0] * betas[0], self.powers[1] * betas[1]];
            if next == self.powers {
                break; // and so for ever: the number of updates is a file's, and may be any
            }
            self.powers = next;
        }
    }

    /// Checks that a data set is one this network can train on.
    ///
    /// # Errors
    /// [`Kind::Data`] naming the input or target and both shapes.
    pub fn check(&self, data: &Dataset) -> Result<()> {
        exec::check_batch(&self.graph, &data.all(), true)
    }

    /// The main output for a batch, as the network predicts. The data are used as they are: normalised like those it was
    /// trained on.
    ///
    /// # Errors
    /// [`Kind::Data`] when the batch has not the inputs the network reads.
    pub fn predict(&mut self, batch: &Batch<'_>) -> Result<Output<'_>> {
        exec::check_batch(&self.graph, batch, false)?;
        let slot = self.slot(Use::Predict, batch.len());
        let plan = self.slots[slot].plan;
        self.exec.feed(plan, batch, true, false);
        let step = self.step(batch.len());
        self.exec.run(plan, Phase::Forward, Phase::Forward, &step);
        Ok(self.take_output(slot, 0, batch.len()))
    }

    /// Runs a batch through the network as it predicts, with its losses; hands what each loss judges to `see`, by the
    /// loss's position, and returns the losses.
    pub(crate) fn evaluate_batch(&mut self, batch: &Batch<'_>, mut see: impl FnMut(usize, Output<'_>)) -> Vec<f64> {
        let slot = self.slot(Use::Evaluate, batch.len());
        let plan = self.slots[slot].plan;
        self.exec.feed(plan, batch, true, true);
        let step = self.step(batch.len());
        self.exec.run(plan, Phase::Forward, Phase::Loss, &step);
        for i in 0..self.graph.losses.len() {
            see(i, self.take_output(slot, i, batch.len()));
        }
        let Slot { plan, program, .. } = &self.slots[slot];
        program.losses.values().map(|(v, _)| self.exec.number(*plan, *v)).collect()
    }

    /// All parameters with their gradients, by name.
    pub fn params(&self) -> Vec<Param> {
        let array = |what, shape: &[usize]| {
            ArrayD::from_shape_vec(IxDyn(shape), self.exec.stored(what)).expect("length of the shape")
        };
        let list = self.graph.params.iter().enumerate();
        list.map(|(i, p)| Param {
            name: p.name.clone(),
            value: array(Stored::Param(i), &p.shape),
            grad: if self.grads_kept { array(Stored::Grad(i), &p.shape) } else { ArrayD::zeros(IxDyn(&p.shape)) },
            trained: p.trained,
        })
        .collect()
    }

    /// Replaces a parameter or a buffer, in torch's shape.
    ///
    /// # Errors
    /// [`Kind::Name`] or [`Kind::Shape`], with both shapes.
    pub fn set_param(&mut self, name: &str, value: &ArrayD<f64>) -> Result<()> {
        let graph = self.graph.clone();
        let param =
            graph.params.iter().position(|p| p.name == name).map(|i| (Stored::Param(i), &graph.params[i].shape));
        let buffer =
            || graph.buffers.iter().position(|b| b.name == name).map(|i| (Stored::Buffer(i), &graph.buffers[i].shape));
        let Some((what, shape)) = param.or_else(buffer) else {
            return Err(Error::new(Kind::Name, format!("the network has no parameter `{name}`")));
        };
        if value.shape() != shape.as_slice() {
            fail!(Shape, "`{name}` is {}, the given array {}", shape_text(shape), shape_text(value.shape()));
        }
        let data: Vec<f64> = value.iter().copied().collect();
        self.exec.store(what, &data);
        Ok(())
    }

    /// The training program, for `explain`.
    pub fn program(&self) -> Program {
        let roots = if self.graph.losses.is_empty() {
            Roots::BackwardFrom { buffers: true }
        } else {
            Roots::Train { inputs: false }
        };
        compile(&self.graph, &roots)
    }
}
