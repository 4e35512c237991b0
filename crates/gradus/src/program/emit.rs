//! What layers and losses write a program with. The ops themselves add their methods beside their definitions
//! (`ops/*.rs`): a layer reads like its formulas.

use std::sync::Arc;

use super::{Info, Node, Phase, Program, Source, Value};
use crate::net::{Graph, LayerNode};
use crate::ops::Op;

/// The program being written, seen by the layer whose turn it is.
#[derive(Debug)]
pub struct Emit<'g> {
    pub(super) graph: &'g Graph,
    pub(super) program: Program,
    pub(super) phase: Phase,
    pub(super) path: String,
    pub(super) layer: Option<&'g LayerNode>,
    pub(super) train: bool,
    /// How many random layers have been emitted: each application draws its own numbers.
    pub(super) draws: u64,
    params: Vec<Option<Value>>,
    grads: Vec<Option<Value>>,
    buffers: Vec<Option<Value>>,
    inputs: Vec<Option<Value>>,
    targets: Vec<Option<Value>>,
}

impl<'g> Emit<'g> {
    pub(super) fn new(graph: &'g Graph, train: bool) -> Self {
        Self {
            graph,
            train,
            program: Program {
                values: Vec::new(),
                nodes: Vec::new(),
                outputs: Default::default(),
                losses: Default::default(),
                input_grads: Default::default(),
                output_grad: None,
            },
            phase: Phase::Forward,
            path: String::new(),
            layer: None,
            draws: 0,
            params: vec![None; graph.params.len()],
            grads: vec![None; graph.params.len()],
            buffers: vec![None; graph.buffers.len()],
            inputs: vec![None; graph.schema.inputs.len()],
            targets: vec![None; graph.schema.targets.len()],
        }
    }

    /// Whether the program trains (`forward`) or predicts (`predict`, `eval`): dropout and batch norm ask.
    pub fn train(&self) -> bool {
        self.train
    }

    /// The shape of one sample of `v` (the whole shape of a parameter).
    pub fn dims(&self, v: Value) -> &[usize] {
        &self.program.info(v).dims
    }

    /// What there is to know of `v`.
    pub fn info(&self, v: Value) -> &Info {
        self.program.info(v)
    }

    /// The parameter that the layer declared as `name`.
    ///
    /// # Panics
    /// When it declared none of that name.
    pub fn param(&mut self, name: &str) -> Value {
        let path = self.path.clone();
        self.param_opt(name).unwrap_or_else(|| panic!("{path}: the layer declares no parameter `{name}`"))
    }

    /// The parameter that the layer declared as `name`, if it did.
    pub fn param_opt(&mut self, name: &str) -> Option<Value> {
        let index = self.layer?.params.iter().find(|(n, _)| *n == name)?.1;
        Some(self.param_value(index))
    }

    pub(super) fn param_value(&mut self, index: usize) -> Value {
        if let Some(v) = self.params[index] {
            return v;
        }
        let p = &self.graph.params[index];
        let v = self.value(&p.name, &p.shape, false, false, Source::Param(index));
        self.params[index] = Some(v);
        v
    }

    /// The gradient of a parameter; ops that write it add to what is there.
    ///
    /// # Panics
    /// When `param` is no parameter.
    pub fn grad(&mut self, param: Value) -> Value {
        let Source::Param(index) = self.info(param).source else {
            panic!("{}: `{}` is not a parameter", self.path, self.info(param).name)
        };
        if let Some(v) = self.grads[index] {
            return v;
        }
        let p = &self.graph.params[index];
        let v = self.value(&format!("d {}", p.name), &p.shape, false, false, Source::Grad(index));
        self.grads[index] = Some(v);
        v
    }

    /// The gradient of a trained parameter; of a frozen one a value that nobody reads. For ops that write the gradients of
    /// several parameters at once.
    pub fn grad_if_trained(&mut self, param: Value) -> Value {
        match self.info(param).source {
            Source::Param(index) if !self.graph.params[index].trained => {
                let dims = self.dims(param).to_vec();
                self.single("unused", &dims)
            }
            _ => self.grad(param),
        }
    }

    /// The buffer that the layer declared as `name`, if it did.
    pub fn buffer_opt(&mut self, name: &str) -> Option<Value> {
        let index = self.layer?.buffers.iter().find(|(n, _)| *n == name)?.1;
        if let Some(v) = self.buffers[index] {
            return Some(v);
        }
        let b = &self.graph.buffers[index];
        let v = self.value(&b.name, &b.shape, false, false, Source::Buffer(index));
        self.buffers[index] = Some(v);
        Some(v)
    }

    /// The buffer that the layer declared as `name`.
    ///
    /// # Panics
    /// When it declared none of that name.
    pub fn buffer(&mut self, name: &str) -> Value {
        let path = self.path.clone();
        self.buffer_opt(name).unwrap_or_else(|| panic!("{path}: the layer declares no buffer `{name}`"))
    }

    pub(super) fn input(&mut self, index: usize) -> Value {
        if let Some(v) = self.inputs[index] {
            return v;
        }
        let Some((name, info)) = self.graph.schema.inputs.get_index(index) else { unreachable!("inputs are resolved") };
        let v = self.value(name, &info.shape, true, false, Source::Input(index));
        self.inputs[index] = Some(v);
        v
    }

    pub(super) fn target(&mut self, index: usize) -> Value {
        if let Some(v) = self.targets[index] {
            return v;
        }
        let Some((name, info)) = self.graph.schema.targets.get_index(index) else {
            unreachable!("targets are resolved")
        };
        let (dims, ints) = match info {
            crate::data::TargetInfo::Classes { per_sample, .. } => (per_sample.iter().copied().collect(), true),
            crate::data::TargetInfo::Values { shape } => (shape.clone(), false),
        };
        let v = self.value(name, &dims, true, ints, Source::Target(index));
        self.targets[index] = Some(v);
        v
    }

    pub(super) fn value(&mut self, name: &str, dims: &[usize], batched: bool, ints: bool, source: Source) -> Value {
        self.program.values.push(Info {
            name: name.to_string(),
            dims: dims.to_vec(),
            batched,
            ints,
            source,
            interleaved: false,
        });
        Value(self.program.values.len() as u32 - 1)
    }

    /// A number of its own for each random op of the program, so that two dropouts draw different numbers.
    pub fn draw(&mut self) -> u64 {
        self.draws += 1;
        self.draws
    }

    /// A new value for each sample, written by the op that is emitted next.
    pub fn batched(&mut self, name: &str, dims: &[usize]) -> Value {
        self.value(name, dims, true, false, Source::Op)
    }

    /// A new value for each sample, of the shape of `other`.
    pub fn batched_like(&mut self, name: &str, other: Value) -> Value {
        let dims = self.dims(other).to_vec();
        self.batched(name, &dims)
    }

    /// A new value for each sample that holds whole numbers.
    pub fn batched_ints(&mut self, name: &str, dims: &[usize]) -> Value {
        self.value(name, dims, true, true, Source::Op)
    }

    /// A new value for the whole batch.
    pub fn single(&mut self, name: &str, dims: &[usize]) -> Value {
        self.value(name, dims, false, false, Source::Op)
    }

    /// A name for what the current layer writes: `left.0` forward, `d left.0` backward.
    pub fn name(&self, suffix: &str) -> String {
        match (self.phase, suffix) {
            (Phase::Backward, "") => format!("d into {}", self.path),
            (Phase::Backward, s) => format!("d {}.{s}", self.path),
            (_, "") => self.path.clone(),
            (_, s) => format!("{}.{s}", self.path),
        }
    }

    /// Emits an op.
    pub fn op(&mut self, op: impl Op + 'static, reads: &[Value], writes: &[Value]) {
        self.program.nodes.push(Node {
            op: Arc::new(op),
            reads: reads.to_vec(),
            writes: writes.to_vec(),
            phase: self.phase,
            path: self.path.clone(),
            adds: false,
        });
    }
}
