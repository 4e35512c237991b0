//! What plans make of a program's ops: fewer of them that do the work of several, with the same bits.

use std::ops::Range;
use std::sync::Arc;

use crate::exec::Step;
use crate::ops::{Kind, Map};
use crate::program::{Node, Program, Source, Value};

/// The ops of `program`, with as few passes over memory as the kernels can do with, for batches of `batch`.
pub(super) fn fused(program: &Program, batch: usize) -> Vec<Node> {
    let mut nodes = functions(program);
    nodes = poolings(program, nodes, batch);
    pooling_gradients(program, &mut nodes, batch);
    bias_gradients(&mut nodes);
    concatenations(program, &mut nodes);
    narrowings(program, &mut nodes);
    functions_of_vectors(program, &mut nodes);
    losses(program, &mut nodes, batch);
    labels(program, &mut nodes);
    nodes
}

/// Takes the ops away that copy a part of an input, which is copied to where they would when the input is: the part, the input, and
/// which of its numbers.
pub(super) fn parts_of_inputs(program: &Program, nodes: &mut Vec<Node>) -> Vec<(Value, Value, Range<usize>)> {
    let mut parts = Vec::new();
    nodes.retain(|node| {
        let Some(stretch) = stretch(program, node) else { return true };
        let input = node.reads[0];
        if !matches!(program.info(input).source, Source::Input(_)) {
            return true;
        }
        parts.push((node.writes[0], input, stretch));
        false
    });
    parts
}

/// Which of a sample's numbers, in torch's order, a narrowing copies.
fn stretch(program: &Program, node: &Node) -> Option<Range<usize>> {
    let Kind::Narrow { start } = node.op.kind() else { return None };
    let from = start * program.info(node.reads[0]).dims[1..].iter().product::<usize>();
    Some(from..from + program.info(node.writes[0]).len(1))
}

/// How many ops read each value; the world outside is another one.
fn readers(program: &Program, nodes: &[Node]) -> Vec<usize> {
    let mut readers = vec![0usize; program.values.len()];
    let ends =
        program.outputs.values().chain(program.losses.values().map(|(v, _)| v)).chain(program.input_grads.values());
    for v in nodes.iter().flat_map(|n| &n.reads).chain(ends) {
        readers[v.index()] += 1;
    }
    readers
}

/// Puts a function of every number, or the gradient of one, into the op before it where that can do both and nobody else
/// reads what is between.
fn functions(program: &Program) -> Vec<Node> {
    let readers = readers(program, &program.nodes);
    let mut fused: Vec<Node> = Vec::with_capacity(program.nodes.len());
    for node in &program.nodes {
        // What goes through the function: x, or dy.
        let between = match node.op.kind() {
            Kind::Map(map) if map != Map::Identity => Some(node.reads[0]),
            Kind::MapGrad(_) => Some(node.reads[1]),
            _ => None,
        };
        if let Some(between) = between.filter(|v| readers[v.index()] == 1)
            && let Some(before) = fused.iter_mut().rev().find(|n| n.writes.first() == Some(&between))
        {
            let both = match node.op.kind() {
                Kind::Map(map) => before.op.with_map(map).map(|op| (op, None)),
                Kind::MapGrad(map) => before.op.with_map_grad(map, node.reads[0]).map(|(op, y)| (op, Some(y))),
                _ => None,
            };
            if let Some((op, more)) = both {
                before.op = Arc::from(op);
                before.reads.extend(more);
                before.writes[0] = node.writes[0];
                continue;
            }
        }
        fused.push(node.clone());
    }
    fused
}

/// Puts a maximum pooling into the op before it where that can do both and nobody else reads what is between.
fn poolings(program: &Program, nodes: Vec<Node>, batch: usize) -> Vec<Node> {
    let readers = readers(program, &nodes);
    let mut fused: Vec<Node> = Vec::with_capacity(nodes.len());
    for node in nodes {
        if let Kind::MaxPool(window) = node.op.kind()
            && let Some(before) = fused.iter_mut().rev().find(|n| n.writes == node.reads)
            && readers[node.reads[0].index()] == 1
            && let Some(op) = {
                let step = Step::of(batch);
                before.op.with_max_pool(window, [&before.case(program, step), &node.case(program, step)])
            }
        {
            (before.op, before.writes) = (Arc::from(op), node.writes);
            continue;
        }
        fused.push(node);
    }
    fused
}

/// Puts the gradient of a maximum pooling, and of the bias before it, into that of the weight before it, where that can do all of it and
/// nobody else reads what is between.
fn pooling_gradients(program: &Program, nodes: &mut Vec<Node>, batch: usize) {
    let readers = readers(program, nodes);
    for first in (0..nodes.len()).rev() {
        let Kind::MaxPoolGrad { window, relu } = nodes[first].op.kind() else { continue };
        let between = nodes[first].writes[0];
        let users: Vec<usize> = (first..nodes.len()).filter(|i| nodes[*i].reads.contains(&between)).collect();
        let (bias, weight): (Vec<usize>, Vec<usize>) =
            users.iter().partition(|i| matches!(nodes[**i].op.kind(), Kind::BiasGrad { .. }));
        let ([weight], [] | [_], &[.., last]) = (&weight[..], &bias[..], &users[..]) else { continue };
        let gradients: Vec<Value> = [weight].into_iter().chain(&bias).flat_map(|i| nodes[*i].writes.clone()).collect();
        // Sums of the same gradients, by others in between, would come in another order.
        let apart = |i: usize| users.contains(&i) || !nodes[i].writes.iter().any(|v| gradients.contains(v));
        let alike = users.iter().all(|i| nodes[*i].adds == nodes[*weight].adds);
        if readers[between.index()] != users.len() || !alike || !(first..last).all(apart) {
            continue;
        }
        let step = Step::of(batch);
        let cases = [&nodes[first].case(program, step), &nodes[*weight].case(program, step)];
        let Some(op) = nodes[*weight].op.with_max_pool_grad(window, relu, cases) else { continue };
        let reads = [&nodes[*weight].reads[..1], &nodes[first].reads[..]].concat();
        let node = Node { op: Arc::from(op), reads, writes: gradients, ..nodes[*weight].clone() };
        nodes[last] = node;
        users.iter().rev().skip(1).chain([&first]).for_each(|i| drop(nodes.remove(*i)));
    }
}

/// Puts the gradient of a bias into that of the weight beside it.
fn bias_gradients(nodes: &mut Vec<Node>) {
    for bias in (0..nodes.len()).rev() {
        let kind = nodes[bias].op.kind();
        if !matches!(kind, Kind::BiasGrad { .. }) {
            continue;
        }
        let (dy, db) = (nodes[bias].reads[0], nodes[bias].writes[0]);
        let of_weight = |n: &Node| n.reads.get(1) == Some(&dy) && n.adds == nodes[bias].adds;
        let with_bias = |n: &Node| n.op.with_bias_grad(kind).filter(|_| of_weight(n));
        let Some((weight, op)) = nodes.iter().enumerate().find_map(|(i, n)| Some((i, with_bias(n)?))) else { continue };
        // Sums of the same gradients, by others in between, would come in another order.
        let gradients = [nodes[weight].writes[0], db];
        let writes = |n: &&Node| n.writes.iter().any(|v| gradients.contains(v));
        if nodes.iter().filter(writes).count() == 2 {
            nodes[weight].op = Arc::from(op);
            nodes[weight].writes.push(db);
            nodes.remove(bias);
        }
    }
}

/// Has the only reader of a concatenation read the parts.
fn concatenations(program: &Program, nodes: &mut Vec<Node>) {
    let readers = readers(program, nodes);
    for first in (0..nodes.len()).rev().filter(|i| nodes[*i].op.kind() == Kind::Concat).collect::<Vec<_>>() {
        let between = nodes[first].writes[0];
        let Some(reader) = nodes.iter().position(|n| n.reads == [between]) else { continue };
        if let Some(op) = nodes[reader].op.of_parts().filter(|_| readers[between.index()] == 1) {
            (nodes[reader].op, nodes[reader].reads) = (Arc::from(op), nodes[first].reads.clone());
            nodes.remove(first);
        }
    }
}

/// Has each part of a value that is read in parts alone come from where the whole does.
fn narrowings(program: &Program, nodes: &mut Vec<Node>) {
    let readers = readers(program, nodes);
    for first in (0..nodes.len()).rev() {
        let &[whole] = &nodes[first].writes[..] else { continue };
        let parts: Vec<(usize, Range<usize>)> = (first + 1..nodes.len())
            .filter(|i| nodes[*i].reads == [whole])
            .filter_map(|i| Some((i, stretch(program, &nodes[i])?)))
            .collect();
        if parts.is_empty() || parts.len() != readers[whole.index()] {
            continue;
        }
        let ops: Option<Vec<_>> = parts.iter().map(|(_, stretch)| nodes[first].op.of_stretch(stretch.start)).collect();
        let Some(ops) = ops else { continue };
        for ((i, _), op) in parts.into_iter().zip(ops) {
            (nodes[i].op, nodes[i].reads) = (Arc::from(op), nodes[first].reads.clone());
        }
        nodes.remove(first);
    }
}

/// A function of every number is one of an image and of the vector made of it alike: its gradient goes into the op that has written
/// that of the vector, where all the images that are in it have the same function.
fn functions_of_vectors(program: &Program, nodes: &mut Vec<Node>) {
    let readers = readers(program, nodes);
    for flatten in (0..nodes.len()).rev() {
        if nodes[flatten].op.kind() != Kind::Flatten {
            continue;
        }
        // Of each image the gradient of its function, and the op that has taken the image's part of the vector's gradient.
        let part_of = |y: &Value| {
            let is_gradient = |n: &Node| matches!(n.op.kind(), Kind::MapGrad(_)) && n.reads[0] == *y;
            let gradient = nodes.iter().position(is_gradient)?;
            let part = nodes.iter().position(|n| n.writes == nodes[gradient].reads[1..])?;
            let Kind::Unflatten { start } = nodes[part].op.kind() else { return None };
            (readers[nodes[part].writes[0].index()] == 1).then_some((start, part, gradient))
        };
        let Some(parts) = nodes[flatten].reads.iter().map(part_of).collect::<Option<Vec<_>>>() else { continue };
        let (map, dy) = (nodes[parts[0].2].op.kind(), nodes[parts[0].1].reads[0]);
        let starts = nodes[flatten].reads.iter().scan(0, |at, y| {
            let start = *at;
            *at += program.info(*y).len(1);
            Some(start)
        });
        let alike = parts.iter().zip(starts).all(|(&(start, part, gradient), expected)| {
            start == expected && nodes[part].reads == [dy] && nodes[gradient].op.kind() == map
        });
        let (Kind::MapGrad(map), true) = (map, alike && readers[dy.index()] == parts.len()) else { continue };
        let Some(before) = nodes.iter().position(|n| n.writes == [dy]) else { continue };
        let Some((op, y)) = nodes[before].op.with_map_grad(map, nodes[flatten].writes[0]) else { continue };
        nodes[before].op = Arc::from(op);
        nodes[before].reads.push(y);
        for (_, part, gradient) in &parts {
            nodes[*part].writes = nodes[*gradient].writes.clone();
        }
        let mut gone: Vec<usize> = parts.into_iter().map(|(.., gradient)| gradient).collect();
        gone.sort_unstable();
        gone.into_iter().rev().for_each(|i| drop(nodes.remove(i)));
    }
}

/// Puts the gradient of a loss into the loss.
fn losses(program: &Program, nodes: &mut Vec<Node>, batch: usize) {
    let readers = readers(program, nodes);
    let alone = |values: &[Value]| values.iter().all(|v| readers[v.index()] == 1);
    for gradient in (0..nodes.len()).rev() {
        let kind = nodes[gradient].op.kind();
        if !matches!(kind, Kind::LossGrad { .. }) {
            continue;
        }
        let reads = nodes[gradient].reads.clone();
        // Of the operands of the loss, or of what it writes beside the number for its gradient alone.
        let is_of = |n: &Node| n.reads == reads || n.writes.get(1..) == Some(&reads[..]) && alone(&reads);
        let of = nodes[..gradient].iter().enumerate().filter(|(_, n)| is_of(n));
        let case = |n: &Node| n.op.with_gradient(kind, &n.case(program, Step::of(batch)));
        let Some((loss, op)) = of.filter_map(|(i, n)| Some((i, case(n)?))).next() else { continue };
        let dx = nodes.remove(gradient).writes[0];
        nodes[loss].op = Arc::from(op);
        nodes[loss].writes.truncate(1);
        nodes[loss].writes.push(dx);
    }
}

/// Has the only reader of labels as numbers read the labels.
fn labels(program: &Program, nodes: &mut Vec<Node>) {
    let readers = readers(program, nodes);
    for hot in (0..nodes.len()).rev() {
        let (Kind::OneHot { on, off }, numbers) = (nodes[hot].op.kind(), nodes[hot].writes[0]) else { continue };
        let Some(loss) = nodes.iter().position(|n| n.reads.get(1) == Some(&numbers)) else { continue };
        if let Some(op) = nodes[loss].op.of_labels(on, off).filter(|_| readers[numbers.index()] == 1) {
            nodes[loss].op = Arc::from(op);
            nodes[loss].reads[1] = nodes[hot].reads[0];
            nodes.remove(hot);
        }
    }
}
