//! Batches whose samples need each other in between, as batch norm's do, are run in stretches: what lies between two such places
//! goes through the batch a block of samples at a time, so that what one op writes is still in the caches for the next. Predictions,
//! whose samples never need each other, are one stretch.

use std::ops::Range;

use crate::exec::Step;
use crate::program::{Node, Program, Source, Value};

/// So many operations for each number take less time than to write it beyond the caches and to read it from there: those of a first
/// convolution with 3×3 taps, and of what a pooling passes on to its input.
const SOON: u64 = 24;

/// How the ops of a program go through a batch.
pub(super) struct Blocks {
    /// Samples that are run at a time: all, where there are no blocks.
    pub size: usize,
    any: bool,
    /// Where each op is.
    ops: Vec<Stretches>,
}

/// The stretches of an op. All ops of a stretch are run for a block of samples before any of them is for the next block.
#[derive(Clone, Copy, Debug)]
struct Stretches {
    /// That of its first kernels.
    first: usize,
    /// That of what it writes: the next one, if that is of all samples.
    last: usize,
    /// Whether all of it is done with all samples at once.
    whole: bool,
}

impl Blocks {
    /// All samples of a batch, or of a part of one, at once.
    pub fn none(nodes: &[Node], batch: usize) -> Blocks {
        let all = Stretches { first: 0, last: 0, whole: false };
        Blocks { size: batch, any: false, ops: vec![all; nodes.len()] }
    }

    /// Blocks of `size` samples, for batches of at most `batch`.
    pub fn new(program: &Program, nodes: &[Node], batch: usize, size: usize) -> Blocks {
        let (mut ops, mut now, mut begin) = (Vec::with_capacity(nodes.len()), 0, 0);
        for (i, node) in nodes.iter().enumerate() {
            let at_end = node.op.needs_batch_at_end(&node.case(program, Step::of(batch)));
            let whole = node.op.needs_batch() && !at_end;
            // What a gradient is added to has that of all samples.
            let again = node.adds && nodes[begin..i].iter().any(|n| n.writes.iter().any(|v| node.writes.contains(v)));
            if i > 0 && (whole || again || nodes[i - 1].phase != node.phase) {
                (now, begin) = (now + 1, i);
            }
            ops.push(Stretches { first: now, last: now + usize::from(whole || at_end), whole });
            if whole || at_end {
                (now, begin) = (now + 1 + usize::from(whole), i);
            }
        }
        Blocks { size, any: true, ops }
    }

    /// Whether the op at `i` is done with all samples at once.
    pub fn whole(&self, i: usize) -> bool {
        self.ops[i].whole
    }

    /// Whether the first kernels of the op at `i` are in another stretch than the last ones of the op before.
    pub fn begins(&self, i: usize) -> bool {
        i == 0 || self.ops[i - 1].last != self.ops[i].first
    }

    /// Whether all of the op at `i` is in one stretch.
    pub fn is_local(&self, i: usize) -> bool {
        self.ops[i].first == self.ops[i].last
    }

    /// How many samples the scratch of the op at `i` is for, out of `batch`.
    pub fn of_scratch(&self, i: usize, batch: usize) -> usize {
        if self.is_local(i) { self.size } else { batch }
    }

    /// For each of `values` values, whether every stretch that reads it has written it, so that it needs room for a block only.
    /// `place` says where a value lies: in its own place, or in that of another.
    pub fn local(&self, nodes: &[Node], values: usize, place: impl Fn(usize) -> usize) -> Vec<bool> {
        let (mut written, mut elsewhere) = (vec![None; values], vec![false; values]);
        for (node, op) in nodes.iter().zip(&self.ops) {
            for v in node.reads.iter().map(|v| place(v.index())) {
                elsewhere[v] |= written[v] != Some(op.first);
            }
            for v in node.writes.iter().map(|v| place(v.index())) {
                written[v] = Some(op.last);
            }
        }
        (0..values).map(|v| written[v].is_some() && !elsewhere[v]).collect()
    }

    /// Puts the op that has written something in front of what reads that in another stretch, once more, where that is less work than
    /// to keep what it writes beyond the caches.
    pub fn write_again(&mut self, program: &Program, nodes: &mut Vec<Node>) {
        let mut writers: Vec<Option<(Node, usize)>> = vec![None; program.values.len()];
        let old = std::mem::take(nodes).into_iter().zip(std::mem::take(&mut self.ops));
        for (node, op) in old {
            for v in &node.reads {
                if let Some((writer, stretch)) = writers[v.index()].as_mut().filter(|_| !op.whole)
                    && *stretch != op.first
                    && is_soon_done(program, writer)
                {
                    nodes.push(Node { phase: node.phase, ..writer.clone() });
                    self.ops.push(Stretches { last: op.first, ..op });
                    *stretch = op.first;
                }
            }
            for v in &node.writes {
                writers[v.index()] = Some((node.clone(), op.last));
            }
            nodes.push(node);
            self.ops.push(op);
        }
    }

    /// The life of something that blocks after the first, or stretches after this one, still want: as long as the stretches of its
    /// first and its last op.
    pub fn widened(&self, Range { start, end }: Range<usize>) -> Range<usize> {
        if !self.any {
            return start..end;
        }
        let (first, last) = (self.ops[start].first, self.ops.get(end).map_or(usize::MAX, |op| op.last));
        let from = self.ops.iter().position(|op| op.last >= first).unwrap_or(start);
        let to = self.ops.iter().rposition(|op| op.first <= last).unwrap_or(end);
        from..to.max(end)
    }
}

/// Whether an op makes one value of each sample, with few operations for each of its numbers, from fewer of them.
fn is_soon_done(program: &Program, node: &Node) -> bool {
    let &[value] = &node.writes[..] else { return false };
    let (case, len) = (node.case(program, Step::of(1)), |v: &Value| program.info(*v).len(1));
    let of_sample = case.writes[0].batched && case.writes[0].source == Source::Op && !node.op.needs_batch();
    of_sample
        && node.op.cost(&case).flops <= SOON * len(&value) as u64
        && node.reads.iter().map(len).sum::<usize>() < len(&value)
}

/// Puts what has to do with the batch but reads and writes nothing of a sample, and which nobody waits for, at the end of its
/// phase, where it cuts no stretch: running statistics.
pub(super) fn of_no_sample_last(program: &Program, nodes: &mut [Node]) {
    let of_samples = |n: &Node| n.reads.iter().chain(&n.writes).any(|v| program.info(*v).batched);
    let read: Vec<Value> = nodes.iter().flat_map(|n| n.reads.clone()).collect();
    nodes
        .sort_by_key(|n| (n.phase, n.op.needs_batch() && !of_samples(n) && !n.writes.iter().any(|v| read.contains(v))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{BatchNorm2d, Conv2d, Flatten, Linear, ReLU};
    use crate::losses::MSELoss;
    use crate::net::Sequential;
    use crate::program::{Roots, compile};
    use crate::rng::Seed;

    #[test]
    fn a_norm_of_images_ends_one_stretch_and_begins_the_next() {
        let layers = Sequential::new([1, 6, 6]).add(Conv2d::new(16, 3)).add(BatchNorm2d::new()).add(ReLU).add(Flatten);
        let net = layers.add(Linear::new(2)).loss(MSELoss::new()).build(Seed(1)).unwrap();
        let program = compile(net.graph(), &Roots::Train { inputs: false });
        let mut nodes = program.nodes.clone();
        of_no_sample_last(&program, &mut nodes);
        let nodes = &nodes[..];
        let blocks = Blocks::new(&program, nodes, 20, 4);
        let local = blocks.local(nodes, program.values.len(), |v| v);
        let is_local = |name: &str| local[program.values.iter().position(|info| info.name == name).unwrap()];
        // What the norm reads is wanted before and after its statistics, by its gradient as well; what its function alone reads
        // and writes is not, but for what the gradient of that function reads.
        assert_eq!(["net.0", "net.1", "net.2"].map(is_local), [false, true, false]);
        let at_end = (0..nodes.len()).filter(|i| !blocks.is_local(*i) && !blocks.whole(*i)).count();
        assert_eq!(at_end, 2, "the norm and its gradient");
        assert_eq!((0..nodes.len()).filter(|i| blocks.whole(*i)).count(), 1, "the running statistics");
        for i in 0..nodes.len() {
            let life = blocks.widened(i..i);
            assert!(life.start <= i && i <= life.end);
        }
        // The first convolution is soon done again for each of the three stretches that read it elsewhere.
        let (mut again, mut blocks, ops) = (nodes.to_vec(), blocks, nodes.len());
        blocks.write_again(&program, &mut again);
        let local = blocks.local(&again, program.values.len(), |v| v);
        assert_eq!(again.len(), ops + 3);
        assert!((0..local.len()).filter(|v| local[*v]).any(|v| program.values[v].name == "net.0"));
        let none = Blocks::none(nodes, 20);
        assert_eq!((none.widened(1..2), none.size), (1..2, 20));
    }
}
