//! Runs every op by its definition, in f64. Slow, plain, and right: every other executor is judged by it, gradient checks
//! run on it, and `dtype = "f64"` trains on it.

use std::sync::Arc;

use super::{Executor, PlanId, PlanKind, Step, Stored, input_of, one_hot, target_of};
use crate::data::{Batch, Target};
use crate::net::Graph;
use crate::optim::{Optimizer, Update};
use crate::program::{Phase, Program, Source, Value};

/// The f64 executor.
#[derive(Debug)]
pub struct Reference {
    graph: Arc<Graph>,
    params: Vec<Vec<f64>>,
    grads: Vec<Vec<f64>>,
    buffers: Vec<Vec<f64>>,
    states: Vec<Vec<Vec<f64>>>,
    plans: Vec<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    program: Arc<Program>,
    values: Vec<Vec<f64>>,
    batch: usize,
}

impl Reference {
    /// An executor whose parameters and gradients are zeros.
    pub fn new(graph: Arc<Graph>) -> Reference {
        let zeros = |len: usize| vec![0.0; len];
        let params: Vec<Vec<f64>> = graph.params.iter().map(|p| zeros(p.len())).collect();
        Reference {
            grads: params.clone(),
            params,
            buffers: graph.buffers.iter().map(|b| zeros(b.shape.iter().product())).collect(),
            states: Vec::new(),
            plans: Vec::new(),
            graph,
        }
    }

    fn array(&self, what: Stored) -> &Vec<f64> {
        match what {
            Stored::Param(i) => &self.params[i],
            Stored::Grad(i) => &self.grads[i],
            Stored::Buffer(i) => &self.buffers[i],
            Stored::State(s, i) => &self.states[s][i],
        }
    }

    fn array_mut(&mut self, what: Stored) -> &mut Vec<f64> {
        match what {
            Stored::Param(i) => &mut self.params[i],
            Stored::Grad(i) => &mut self.grads[i],
            Stored::Buffer(i) => &mut self.buffers[i],
            Stored::State(s, i) => &mut self.states[s][i],
        }
    }

    fn value(&self, plan: usize, v: Value) -> &[f64] {
        match stored(self.plans[plan].program.info(v).source) {
            Some(what) => self.array(what),
            None => &self.plans[plan].values[v.index()],
        }
    }

    fn trained_grads(&mut self) -> impl Iterator<Item = &mut f64> {
        let trained = self.graph.params.iter().filter(|p| p.trained).count();
        self.grads[..trained].iter_mut().flatten()
    }
}

fn stored(source: Source) -> Option<Stored> {
    match source {
        Source::Param(i) => Some(Stored::Param(i)),
        Source::Grad(i) => Some(Stored::Grad(i)),
        Source::Buffer(i) => Some(Stored::Buffer(i)),
        _ => None,
    }
}

impl Executor for Reference {
    fn load(&mut self, program: Arc<Program>, batch: usize, _: PlanKind) -> PlanId {
        let values = vec![Vec::new(); program.values.len()];
        self.plans.push(Loaded { program, values, batch });
        PlanId(self.plans.len() - 1)
    }

    fn grow(&mut self, plan: PlanId, batch: usize) {
        self.plans[plan.0].batch = batch;
    }

    fn feed(&mut self, plan: PlanId, batch: &Batch<'_>, inputs: bool, targets: bool) {
        let plan = &mut self.plans[plan.0];
        for (info, out) in plan.program.values.iter().zip(&mut plan.values) {
            let size: usize = info.dims.iter().product();
            match info.source {
                Source::Input(i) if inputs => {
                    let array = input_of(&self.graph, batch, i).and_then(|a| a.as_slice()).expect("checked before");
                    out.clear();
                    for row in 0..batch.len() {
                        out.extend(array[batch.row(row) * size..][..size].iter().map(|x| f64::from(*x)));
                    }
                }
                Source::Target(i) if targets => {
                    out.clear();
                    for row in 0..batch.len() {
                        let at = batch.row(row) * size..(batch.row(row) + 1) * size;
                        match target_of(&self.graph, batch, i).expect("checked before") {
                            Target::Values(a) => {
                                out.extend(a.as_slice().expect("standard order")[at].iter().map(|x| f64::from(*x)))
                            }
                            Target::Classes { labels, .. } if !info.ints => {
                                let mut hot = vec![0.0; size];
                                one_hot(labels.as_slice().expect("standard order")[batch.row(row)], &mut hot);
                                out.extend(hot);
                            }
                            Target::Classes { labels, .. } => {
                                out.extend(
                                    labels.as_slice().expect("standard order")[at].iter().map(|x| f64::from(*x)),
                                );
                            }
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn run(&mut self, plan: PlanId, first: Phase, last: Phase, step: &Step) {
        let program = self.plans[plan.0].program.clone();
        for node in program.nodes.iter().filter(|n| (first..=last).contains(&n.phase)) {
            let case = node.case(&program, *step);
            let mut writes: Vec<Vec<f64>> = node
                .writes
                .iter()
                .map(|v| match stored(program.info(*v).source) {
                    Some(what) => self.array(what).clone(),
                    None => vec![0.0; program.info(*v).len(step.batch)],
                })
                .collect();
            let reads: Vec<&[f64]> = node.reads.iter().map(|v| self.value(plan.0, *v)).collect();
            node.op.define(&case, &reads, &mut writes);
            for (v, data) in node.writes.iter().zip(writes) {
                match stored(program.info(*v).source) {
                    Some(what) => *self.array_mut(what) = data,
                    None => self.plans[plan.0].values[v.index()] = data,
                }
            }
        }
    }

    fn read(&self, plan: PlanId, value: Value, _: usize, out: &mut [f32]) {
        for (o, x) in out.iter_mut().zip(self.value(plan.0, value)) {
            *o = *x as f32;
        }
    }

    fn read_f64(&self, plan: PlanId, value: Value, _: usize) -> Vec<f64> {
        self.value(plan.0, value).to_vec()
    }

    fn write_f64(&mut self, plan: PlanId, value: Value, data: &[f64]) {
        self.plans[plan.0].values[value.index()] = data.to_vec();
    }

    fn number(&self, plan: PlanId, value: Value) -> f64 {
        self.value(plan.0, value)[0]
    }

    fn stored(&self, what: Stored) -> Vec<f64> {
        self.array(what).clone()
    }

    fn store(&mut self, what: Stored, data: &[f64]) {
        self.array_mut(what).copy_from_slice(data);
    }

    fn set_states(&mut self, count: usize) {
        let zeros: Vec<Vec<f64>> = self.graph.params.iter().filter(|p| p.trained).map(|p| vec![0.0; p.len()]).collect();
        self.states = vec![zeros; count];
    }

    fn zero_grads(&mut self) {
        self.grads.iter_mut().for_each(|g| g.fill(0.0));
    }

    fn scale_grads(&mut self, factor: f64) {
        self.trained_grads().for_each(|g| *g *= factor);
    }

    fn clamp_grads(&mut self, limit: f64) {
        self.trained_grads().for_each(|g| *g = g.clamp(-limit, limit));
    }

    fn grad_norm(&self) -> f64 {
        let trained = self.graph.params.iter().filter(|p| p.trained).count();
        self.grads[..trained].iter().flatten().map(|g| g * g).sum::<f64>().sqrt()
    }

    fn update(&mut self, optimizer: &dyn Optimizer, update: &Update) {
        for i in 0..self.graph.params.iter().filter(|p| p.trained).count() {
            let mut states: Vec<&mut [f64]> = self.states.iter_mut().map(|s| s[i].as_mut_slice()).collect();
            optimizer.define(update, &mut self.params[i], &self.grads[i], &mut states);
        }
    }

    fn all_finite(&self) -> bool {
        self.params.iter().flatten().all(|x| x.is_finite())
    }

    fn describe(&self, _: PlanId) -> String {
        "every op by its f64 definition; each value an array of its own".to_string()
    }

    fn bytes(&self, plan: PlanId) -> (usize, usize) {
        let count = |arrays: &[Vec<f64>]| 8 * arrays.iter().map(Vec::len).sum::<usize>();
        let stored = count(&self.params)
            + count(&self.grads)
            + count(&self.buffers)
            + self.states.iter().map(|s| count(s)).sum::<usize>();
        (stored, count(&self.plans[plan.0].values))
    }

    fn capacity(&self, plan: PlanId) -> usize {
        self.plans[plan.0].batch
    }
}
