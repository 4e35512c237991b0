//! Batches whose samples need each other in between, as batch norm's do, are run in stretches: what lies between two such places
//! goes through the batch a block of samples at a time, so that what one op writes is still in the caches for the next.

use std::ops::Range;

use crate::exec::Step;
use crate::program::{Node, Program};

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
    /// That of its last kernels: another one, if something is done with all samples in between.
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
            let between = node.op.needs_batch_between(&node.case(program, Step::of(batch)));
            let whole = node.op.needs_batch() && !between;
            // What a gradient is added to has that of all samples.
            let again = node.adds && nodes[begin..i].iter().any(|n| n.writes.iter().any(|v| node.writes.contains(v)));
            if i > 0 && (whole || again || nodes[i - 1].phase != node.phase) {
                (now, begin) = (now + 1, i);
            }
            ops.push(Stretches { first: now, last: now + usize::from(whole || between), whole });
            if whole || between {
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

    /// For each of `values` values, whether it is written and read by the ops of a single stretch, so that it needs room for a
    /// block only. `place` says where a value lies: in its own place, or in that of another.
    pub fn local(&self, nodes: &[Node], values: usize, place: impl Fn(usize) -> usize) -> Vec<bool> {
        let mut within: Vec<Option<(usize, usize)>> = vec![None; values];
        let mut written = vec![false; values];
        let mut see = |value: usize, from: usize, to: usize| {
            let all = within[value].get_or_insert((from, to));
            *all = (all.0.min(from), all.1.max(to));
        };
        for (node, op) in nodes.iter().zip(&self.ops) {
            for v in &node.reads {
                see(place(v.index()), op.first, op.last);
            }
            for v in &node.writes {
                see(place(v.index()), if op.whole { op.first } else { op.last }, op.last);
                written[v.index()] = true;
            }
        }
        (0..values).map(|v| written[v] && within[v].is_some_and(|(from, to)| from == to)).collect()
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
