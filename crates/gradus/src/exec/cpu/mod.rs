//! The fast f32 executor: programs lowered to plans of kernels.

use std::ops::Range;
use std::sync::Arc;

use gradus_kernels::layout::{channels_last, interleave};
use gradus_kernels::{Buffer, Memory, pointwise, reduce};

use super::{Executor, PlanId, PlanKind, Step, Stored, input_of, one_hot, target_of};
use crate::data::{Batch, Rows, Target};
use crate::net::Graph;
use crate::optim::{Optimizer, Update};
use crate::program::{Phase, Program, Source, Value};

mod arena;
mod blocks;
mod fuse;
mod interleave;
mod layout;
mod lower;
mod memory;
mod plan;
mod store;
mod tuner;

pub use gradus_kernels::{Cpu as Machine, Isa};
use layout::HALF;
pub use layout::{LANES, Layout, lanes, layout};
pub use lower::{Gradient, Lower, Place, Run};
use plan::Fed;
pub use plan::Plan;
pub use store::StoreLayout;
use tuner::{Machines, Tuner};

/// How many times as long it takes to gather samples as to write them where they are.
const GATHER: usize = 4;

/// The f32 executor.
#[derive(Debug)]
pub struct Cpu {
    graph: Arc<Graph>,
    machines: Machines,
    layout: StoreLayout,
    store: Buffer,
    plans: Vec<Loaded>,
    /// One for each plan.
    tuners: Vec<Tuner>,
}

/// A plan with the work memory of one session.
#[derive(Debug)]
pub struct Loaded {
    kind: PlanKind,
    plan: Arc<Plan>,
    /// The one that the last batch is run with.
    now: Arc<Plan>,
    work: Buffer,
    ints: Vec<u32>,
}

impl Loaded {
    /// Memory for one session of `plan`.
    pub fn new(plan: Arc<Plan>, kind: PlanKind) -> Loaded {
        let (work, ints) = plan.memory();
        Loaded { kind, work: Buffer::zeros(work), ints: vec![0; ints], now: plan.clone(), plan }
    }

    /// Takes the plan for so many samples.
    fn choose(&mut self, batch: usize) {
        let plan = self.plan.of_size(batch);
        if !Arc::ptr_eq(plan, &self.now) {
            self.now = plan.clone();
        }
    }

    /// Copies the inputs (and targets) of a batch in.
    pub fn feed(&mut self, machine: &Machine, graph: &Graph, batch: &Batch<'_>, inputs: bool, targets: bool) {
        self.choose(batch.len());
        for fed in &self.now.fed {
            let (info, place) = (self.now.program.info(fed.value), fed.place);
            let size = info.len(1);
            let start = place.span.start;
            match info.source {
                Source::Input(i) if inputs => {
                    let array = input_of(graph, batch, i).and_then(|a| a.as_slice()).expect("checked before");
                    lay(machine, fed, batch.rows, size, array, &mut self.work);
                }
                Source::Target(i) if targets => match target_of(graph, batch, i).expect("checked before") {
                    Target::Values(array) => {
                        let array = array.as_slice().expect("standard order");
                        lay(machine, fed, batch.rows, size, array, &mut self.work);
                    }
                    Target::Classes { labels, .. } if !info.ints => {
                        let labels = labels.as_slice().expect("standard order");
                        for row in 0..batch.len() {
                            let at = start + row * place.layout.sample();
                            one_hot(labels[batch.row(row)], &mut self.work[at..][..size]);
                        }
                    }
                    Target::Classes { labels, .. } => {
                        let labels = labels.as_slice().expect("standard order");
                        let all = &mut self.ints[place.ints.start..][..batch.len() * size];
                        gather(batch.rows, size, &(0..size), labels, all);
                    }
                },
                _ => {}
            }
        }
    }

    /// Copies raw samples of one input in, in torch's order.
    pub fn feed_input(&mut self, machine: &Machine, value: Value, samples: &[f32]) {
        let size = self.plan.program.info(value).len(1);
        let batch = samples.len() / size;
        self.choose(batch);
        for fed in self.now.fed.iter().filter(|fed| fed.value == value) {
            lay(machine, fed, Rows::Range { start: 0, end: batch }, size, samples, &mut self.work);
        }
    }

    /// Runs over a store that is only read.
    pub fn run_shared(&mut self, first: Phase, last: Phase, machine: &Machine, step: &Step, store: &[f32]) {
        self.now.run(first, last, machine, step, &mut Memory::shared(store, &mut self.work, &mut self.ints));
    }

    /// Copies a value of the work memory out, in torch's order.
    pub fn read<T>(&self, value: Value, batch: usize, out: &mut [T], convert: impl Fn(f32) -> T + Copy) {
        let place = self.now.places[value.index()].expect("the value is part of the plan");
        let info = self.now.program.info(value);
        let (size, sample) = (info.dims.iter().product::<usize>(), place.layout.sample());
        let rows = if info.batched { batch } else { 1 };
        let (all, out) = (&self.work[place.span.start..][..rows * sample], &mut out[..rows * size]);
        if place.layout.is_torch() {
            out.iter_mut().zip(all).for_each(|(out, x)| *out = convert(*x));
            return;
        }
        for (x, out) in all.chunks_exact(sample).zip(out.chunks_exact_mut(size)) {
            place.layout.unpack(x, out, convert);
        }
    }

    /// One number.
    pub fn number(&self, value: Value) -> f64 {
        let place = self.now.places[value.index()].expect("the value is part of the plan");
        f64::from(self.work[place.span.start])
    }

    /// How many samples the plan takes.
    pub fn capacity(&self) -> usize {
        self.plan.batch
    }
}

/// Copies what is wanted of some samples of `array`, of `size` numbers each.
fn lay(machine: &Machine, fed: &Fed, rows: Rows<'_>, size: usize, array: &[f32], work: &mut [f32]) {
    let (layout, stretch) = (&fed.place.layout, &fed.stretch);
    let all = &mut work[fed.place.span.start..][..layout.size(rows.len())];
    let sample = |i: usize| &array[rows.row(i) * size + stretch.start..][..stretch.len()];
    if layout.together > 1 {
        interleave(machine, rows.len(), [layout.n, layout.group], sample, all);
    } else if layout.is_torch() && layout.sample() <= HALF {
        gather(rows, size, stretch, array, all);
    } else if layout.group > 1 && !layout.is_torch() {
        channels_last(machine, rows.len(), [layout.n, layout.group], sample, all, layout.ld);
    } else {
        machine.pool.each_row(GATHER, layout.sample(), all, |i, out| out[..stretch.len()].copy_from_slice(sample(i)));
    }
}

/// Copies a stretch of some samples of `all`, of `size` numbers each, one after the other: for samples of a few numbers, where a call
/// for each would take longer than the copy.
fn gather<T: Copy>(rows: Rows<'_>, size: usize, stretch: &Range<usize>, all: &[T], out: &mut [T]) {
    /// A number that the compiler knows makes single moves of it.
    fn each<T: Copy, const N: usize>(rows: Rows<'_>, size: usize, first: usize, all: &[T], out: &mut [T]) {
        for (i, out) in out.as_chunks_mut::<N>().0.iter_mut().enumerate() {
            *out = *all[rows.row(i) * size + first..].first_chunk().expect("a sample");
        }
    }
    match (rows, stretch.len()) {
        (Rows::Range { start, end }, n) if n == size => out.copy_from_slice(&all[start * size..end * size]),
        (_, 1) => each::<T, 1>(rows, size, stretch.start, all, out),
        (_, 2) => each::<T, 2>(rows, size, stretch.start, all, out),
        (_, 3) => each::<T, 3>(rows, size, stretch.start, all, out),
        (_, 4) => each::<T, 4>(rows, size, stretch.start, all, out),
        (_, n) => {
            for (i, out) in out.chunks_exact_mut(n.max(1)).enumerate() {
                out.copy_from_slice(&all[rows.row(i) * size + stretch.start..][..n]);
            }
        }
    }
}

impl Cpu {
    /// An executor with `threads` threads whose parameters and gradients are zeros.
    pub fn new(graph: Arc<Graph>, threads: usize) -> Cpu {
        Cpu::on(graph, Machine::new(threads))
    }

    /// The same on a machine of the caller's choice: a given instruction set, say.
    pub fn on(graph: Arc<Graph>, machine: Machine) -> Cpu {
        let layout = StoreLayout::new(&graph, 0);
        let machines = Machines::new(machine);
        Cpu { store: Buffer::zeros(layout.numbers()), layout, graph, machines, plans: Vec::new(), tuners: Vec::new() }
    }

    /// A plan with memory of its own.
    fn loaded(&self, program: Arc<Program>, batch: usize, kind: PlanKind) -> Loaded {
        Loaded::new(Arc::new(Plan::new(program, &self.layout, batch, self.machines.threads(), kind)), kind)
    }
}

impl Executor for Cpu {
    fn load(&mut self, program: Arc<Program>, batch: usize, kind: PlanKind) -> PlanId {
        self.tuners.push(self.machines.tuner(&program, batch));
        self.plans.push(self.loaded(program, batch, kind));
        PlanId(self.plans.len() - 1)
    }

    fn grow(&mut self, plan: PlanId, batch: usize) {
        let Loaded { plan: old, kind, .. } = &self.plans[plan.0];
        self.tuners[plan.0] = self.machines.tuner(&old.program, batch);
        self.plans[plan.0] = self.loaded(old.program.clone(), batch, *kind);
    }

    fn feed(&mut self, plan: PlanId, batch: &Batch<'_>, inputs: bool, targets: bool) {
        self.machines.alone = self.tuners[plan.0].begin(batch.len());
        self.plans[plan.0].feed(self.machines.now(), &self.graph, batch, inputs, targets);
    }

    fn run(&mut self, plan: PlanId, first: Phase, last: Phase, step: &Step) {
        let loaded = &mut self.plans[plan.0];
        let memory = &mut Memory::new(&mut self.store, &mut loaded.work, &mut loaded.ints);
        loaded.now.run(first, last, self.machines.now(), step, memory);
    }

    fn read(&self, plan: PlanId, value: Value, batch: usize, out: &mut [f32]) {
        self.plans[plan.0].read(value, batch, out, |x| x);
    }

    fn read_f64(&self, plan: PlanId, value: Value, batch: usize) -> Vec<f64> {
        let loaded = &self.plans[plan.0];
        let mut out = vec![0.0; loaded.plan.program.info(value).len(batch)];
        loaded.read(value, batch, &mut out, f64::from);
        out
    }

    fn write_f64(&mut self, plan: PlanId, value: Value, data: &[f64]) {
        let Loaded { now, work, .. } = &mut self.plans[plan.0];
        let size = now.program.info(value).len(1);
        let fed = now.fed.iter().filter(|fed| fed.value == value).map(|fed| (fed.place, fed.stretch.clone()));
        // What no batch feeds: the gradient of an output.
        let whole = now.places[value.index()].filter(|_| fed.clone().next().is_none()).map(|place| (place, 0..size));
        for (place, stretch) in fed.chain(whole) {
            let sample = place.layout.sample();
            for (row, x) in data.chunks_exact(size).enumerate() {
                let out = &mut work[place.span.start + row * sample..][..sample];
                place.layout.pack(&x[stretch.clone()], out, |x| x as f32);
            }
        }
    }

    fn number(&self, plan: PlanId, value: Value) -> f64 {
        self.plans[plan.0].number(value)
    }

    fn stored(&self, what: Stored) -> Vec<f64> {
        self.layout.get(&self.store, what)
    }

    fn store(&mut self, what: Stored, data: &[f64]) {
        self.layout.set(&mut self.store, what, data);
    }

    fn set_states(&mut self, count: usize) {
        let (layout, store) = self.layout.with_states(&self.graph, &self.store, count);
        (self.layout, self.store) = (layout, store);
        // Buffers have moved: the plans point to where they were.
        for loaded in &mut self.plans {
            let Loaded { plan, kind, .. } = loaded;
            *plan = Arc::new(Plan::new(plan.program.clone(), &self.layout, plan.batch, self.machines.threads(), *kind));
            loaded.now = plan.clone();
        }
    }

    fn zero_grads(&mut self) {
        self.layout.grads(&mut self.store).fill(0.0);
    }

    fn scale_grads(&mut self, factor: f64) {
        pointwise::scale_inplace(self.machines.now(), factor as f32, self.layout.grads(&mut self.store));
    }

    fn clamp_grads(&mut self, limit: f64) {
        pointwise::clamp_inplace(self.machines.now(), -limit as f32, limit as f32, self.layout.grads(&mut self.store));
    }

    fn grad_norm(&self) -> f64 {
        let trained = self.graph.params.iter().filter(|p| p.trained).count();
        let mut sum = 0.0;
        for i in 0..trained {
            let span = self.layout.span(Source::Grad(i)).expect("gradients are stored");
            sum += f64::from(reduce::sum_squares(self.machines.now(), &self.store[span.start..span.start + span.len]));
        }
        sum.sqrt()
    }

    fn update(&mut self, optimizer: &dyn Optimizer, update: &Update) {
        let (params, grads, states) = self.layout.for_update(&mut self.store);
        optimizer.update(self.machines.now(), update, params, grads, states);
    }

    fn descend(&mut self, plan: PlanId, step: &Step, optimizer: &dyn Optimizer, update: &Update) {
        let Some(sgd) = optimizer.as_sgd(update) else {
            self.run(plan, Phase::Backward, Phase::Backward, step);
            return self.update(optimizer, update);
        };
        let Loaded { now: plan, work, ints, .. } = &mut self.plans[plan.0];
        let memory = &mut Memory::new(&mut self.store, work, ints);
        plan.run_with(Some(sgd), Phase::Backward, Phase::Backward, self.machines.now(), step, memory);
        let (params, grads, _) = self.layout.for_update(&mut self.store);
        for range in &plan.left {
            gradus_kernels::optim::sgd(self.machines.now(), &sgd, &mut params[range.clone()], &grads[range.clone()]);
        }
    }

    fn all_finite(&self) -> bool {
        reduce::all_finite(self.machines.now(), self.layout.params(&self.store))
    }

    fn describe(&self, plan: PlanId) -> String {
        self.plans[plan.0].plan.describe()
    }

    fn bytes(&self, plan: PlanId) -> (usize, usize) {
        let plan = &self.plans[plan.0].plan;
        (4 * self.store.len(), plan.bytes())
    }

    fn capacity(&self, plan: PlanId) -> usize {
        self.plans[plan.0].capacity()
    }

    fn part(&self, plan: PlanId) -> usize {
        self.plans[plan.0].plan.part()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_of_each_sample_is_gathered() {
        let listed = [2, 0, 3, 3];
        for size in 1..8 {
            let all: Vec<u32> = (0..5 * size as u32).collect();
            for rows in [Rows::Listed(&listed), Rows::Range { start: 1, end: 4 }, Rows::Range { start: 0, end: 5 }] {
                for (start, end) in (0..size).flat_map(|start| (start + 1..=size).map(move |end| (start, end))) {
                    let want: Vec<u32> = (0..rows.len())
                        .flat_map(|i| (start..end).map(move |j| (rows.row(i) * size + j) as u32))
                        .collect();
                    let mut found = vec![99; want.len()];
                    gather(rows, size, &(start..end), &all, &mut found);
                    assert_eq!(found, want, "{start}..{end} of {size}, {rows:?}");
                }
            }
        }
    }
}
