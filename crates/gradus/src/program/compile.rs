//! Graph → program: emits every layer, then every loss, then the backward passes in reverse; sums where a value was read
//! more than once; drops what no root needs.

use indexmap::IndexMap;

use super::{Emit, Phase, Program, Source, Value};
use crate::layers::Back;
use crate::net::{Feed, Graph, Join};

/// What a program is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// All losses and the gradients of all trained parameters; with `inputs` the gradients of the inputs too.
    Train {
        /// Whether the gradients of the inputs are wanted.
        inputs: bool,
    },
    /// These outputs, of the network as it predicts; with `losses` all losses too, and each value that a loss judges as
    /// the output `loss.NAME`.
    Infer {
        /// Names of branches.
        outputs: Vec<String>,
        /// Whether losses are wanted too.
        losses: bool,
    },
    /// The value after every ReLU by the layer's path, and every output, as the network predicts.
    Probe,
    /// From a given gradient of the main output to the gradients of parameters and inputs.
    BackwardFrom {
        /// Whether the forward pass updates running statistics.
        buffers: bool,
    },
}

/// A backward step: the values that went in, the one that came out, and how gradients get from there to here.
struct Tape {
    path: String,
    inputs: Vec<Value>,
    output: Value,
    layer: Option<(usize, usize)>,
    back: TapeBack,
}

enum TapeBack {
    Layer(Back),
    /// The gradient of `Concat`: a part for each input, starting there.
    Concat(Vec<usize>),
    /// The gradient of `Add`: itself for every input.
    Add,
    /// The gradient of one index of the first dimension.
    Index(usize),
}

/// Compiles `graph` for `roots`.
pub fn compile(graph: &Graph, roots: &Roots) -> Program {
    let train = !matches!(roots, Roots::Infer { .. } | Roots::Probe);
    let mut e = Emit::new(graph, train);
    let mut tape = Vec::new();
    let ends = forward(&mut e, graph, &mut tape);

    let outputs: Vec<&String> = match roots {
        Roots::Infer { outputs, .. } => outputs.iter().collect(),
        _ => graph.outputs.iter().map(|(name, _)| name).collect(),
    };
    for name in outputs {
        let branch = graph.branch_index(name).expect("outputs are resolved");
        let &last = ends[branch].last().expect("a branch has a value");
        e.program.outputs.insert(name.clone(), last);
    }

    if *roots == Roots::Probe {
        for (branch, values) in graph.branches.iter().zip(&ends) {
            for (layer, v) in branch.layers.iter().zip(&values[1..]).filter(|(l, _)| l.layer.spec().name == "ReLU") {
                e.program.outputs.insert(layer.path.clone(), *v);
            }
        }
        e.program.outputs.sort_by(|a, _, b, _| b.contains('.').cmp(&a.contains('.')));
    }

    let mut grads: IndexMap<Value, Vec<Value>> = IndexMap::new();
    let mut loss_backs = Vec::new();
    let want_losses = match roots {
        Roots::Train { .. } => true,
        Roots::Infer { losses, .. } => *losses,
        Roots::BackwardFrom { .. } | Roots::Probe => false,
    };
    if want_losses {
        e.phase = Phase::Loss;
        for loss in &graph.losses {
            e.path = format!("loss.{}", loss.name);
            let x = ends[loss.branch][loss.after];
            if !train {
                e.program.outputs.insert(e.path.clone(), x);
            }
            let mut t = e.target(loss.target);
            if let Some(index) = loss.target_index {
                t = e.narrow(t, index, 1, true);
            }
            let (value, back) = loss.loss.emit(&mut e, x, t);
            e.program.losses.insert(loss.name.clone(), (value, loss.weight));
            loss_backs.push((e.path.clone(), x, back, loss.weight));
        }
    }
    if train {
        e.phase = Phase::Backward;
        if matches!(roots, Roots::BackwardFrom { .. }) {
            let (name, &y) = e.program.outputs.first().expect("a network has an output");
            let (name, dims) = (format!("d {name}"), e.dims(y).to_vec());
            let dy = e.value(&name, &dims, true, false, Source::OutputGrad);
            e.program.output_grad = Some(dy);
            grads.entry(y).or_default().push(dy);
        }
        for (path, x, back, weight) in loss_backs {
            e.path = path;
            let dx = back(&mut e, weight);
            grads.entry(x).or_default().push(dx);
        }
        backward(&mut e, graph, tape, &mut grads);
        if matches!(roots, Roots::Train { inputs: true } | Roots::BackwardFrom { .. }) {
            for (index, name) in graph.schema.inputs.keys().enumerate() {
                let x = e.input(index);
                e.path = name.clone();
                if let Some(dx) = total(&mut e, grads.shift_remove(&x).unwrap_or_default()) {
                    e.program.input_grads.insert(name.clone(), dx);
                }
            }
        }
    }
    let buffers = matches!(roots, Roots::Train { .. } | Roots::BackwardFrom { buffers: true });
    finish(e, graph, buffers)
}

/// Emits every branch; returns the values after each layer, the joined feed first.
fn forward<'g>(e: &mut Emit<'g>, graph: &'g Graph, tape: &mut Vec<Tape>) -> Vec<Vec<Value>> {
    let mut ends: Vec<Vec<Value>> = vec![Vec::new(); graph.branches.len()];
    for &index in &graph.order {
        let branch = &graph.branches[index];
        e.path.clone_from(&branch.name);
        e.layer = None;
        let feeds: Vec<Value> = branch
            .feeds
            .iter()
            .map(|feed| {
                let (value, at) = match feed {
                    Feed::Input { input, index } => (e.input(*input), index),
                    Feed::Branch { branch, after, index } => (ends[*branch][*after], index),
                };
                let Some(at) = *at else { return value };
                let part = e.narrow(value, at, 1, false);
                tape.push(Tape {
                    path: e.path.clone(),
                    inputs: vec![value],
                    output: part,
                    layer: None,
                    back: TapeBack::Index(at),
                });
                part
            })
            .collect();
        let mut x = feeds[0];
        if feeds.len() > 1 {
            let (y, back) = match branch.join {
                Join::Concat => {
                    let starts = feeds.iter().scan(0, |at, f| {
                        let start = *at;
                        *at += e.dims(*f)[0];
                        Some(start)
                    });
                    let starts: Vec<usize> = starts.collect();
                    (e.concat(&feeds), TapeBack::Concat(starts))
                }
                Join::Add => {
                    let mut sum = feeds[0];
                    for f in &feeds[1..] {
                        sum = e.add(sum, *f);
                    }
                    (sum, TapeBack::Add)
                }
            };
            tape.push(Tape { path: branch.name.clone(), inputs: feeds, output: y, layer: None, back });
            x = y;
        }
        let mut values = vec![x];
        for (at, node) in branch.layers.iter().enumerate() {
            e.path.clone_from(&node.path);
            e.layer = Some(node);
            let (y, back) = node.layer.emit(e, x);
            tape.push(Tape {
                path: node.path.clone(),
                inputs: vec![x],
                output: y,
                layer: Some((index, at)),
                back: TapeBack::Layer(back),
            });
            values.push(y);
            x = y;
        }
        e.layer = None;
        ends[index] = values;
    }
    ends
}

fn backward<'g>(e: &mut Emit<'g>, graph: &'g Graph, tape: Vec<Tape>, grads: &mut IndexMap<Value, Vec<Value>>) {
    for step in tape.into_iter().rev() {
        e.path = step.path;
        e.layer = step.layer.map(|(branch, at)| &graph.branches[branch].layers[at]);
        // `Identity` passes its input on: there is nothing to sum and nothing to emit.
        if step.inputs == [step.output] {
            if let TapeBack::Layer(back) = step.back {
                let dx = back(e, step.output);
                assert!(dx == step.output, "{}: a layer that returns its input must return its gradient too", e.path);
            }
            continue;
        }
        let Some(dy) = total(e, grads.shift_remove(&step.output).unwrap_or_default()) else { continue };
        match step.back {
            TapeBack::Layer(back) => {
                let dx = back(e, dy);
                grads.entry(step.inputs[0]).or_default().push(dx);
            }
            TapeBack::Concat(starts) => {
                for (x, start) in step.inputs.iter().zip(starts) {
                    let size = e.dims(*x)[0];
                    let dx = e.narrow(dy, start, size, false);
                    grads.entry(*x).or_default().push(dx);
                }
            }
            TapeBack::Add => {
                for x in step.inputs {
                    grads.entry(x).or_default().push(dy);
                }
            }
            TapeBack::Index(at) => {
                let dx = e.widen(dy, at, e.dims(step.inputs[0])[0]);
                grads.entry(step.inputs[0]).or_default().push(dx);
            }
        }
    }
    e.layer = None;
}

/// The sum of the gradients that reached a value, in the order they came; `None` when none did.
fn total(e: &mut Emit<'_>, parts: Vec<Value>) -> Option<Value> {
    parts.into_iter().reduce(|a, b| e.add(a, b))
}

/// Drops what no root needs, and marks which op is the first to write each gradient.
fn finish(e: Emit<'_>, graph: &Graph, buffers: bool) -> Program {
    let mut program = e.program;
    let mut needed = vec![false; program.values.len()];
    let ends =
        program.outputs.values().chain(program.losses.values().map(|(v, _)| v)).chain(program.input_grads.values());
    for v in ends {
        needed[v.index()] = true;
    }
    for (i, info) in program.values.iter().enumerate() {
        needed[i] |= match info.source {
            Source::Grad(p) => graph.params[p].trained,
            Source::Buffer(_) => buffers,
            _ => false,
        };
    }
    let mut kept: Vec<_> = Vec::with_capacity(program.nodes.len());
    for node in program.nodes.into_iter().rev() {
        if node.writes.iter().any(|v| needed[v.index()]) {
            for v in &node.reads {
                needed[v.index()] = true;
            }
            kept.push(node);
        }
    }
    kept.reverse();
    let mut written = vec![false; program.values.len()];
    for node in &mut kept {
        for v in &node.writes {
            let info = &program.values[v.index()];
            if matches!(info.source, Source::Grad(_)) {
                node.adds = written[v.index()];
                written[v.index()] = true;
            }
        }
    }
    program.nodes = kept;
    program
}
