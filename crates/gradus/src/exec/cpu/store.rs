//! The store: `[parameters | gradients | optimiser state | buffers]`, trained parameters first in each, so that an update
//! is one pass over one slice and an all-reduce would be one call.

use std::ops::Range;

use gradus_kernels::{Buffer, Region, Span};

use super::layout::{LANES, Layout, layout};
use crate::exec::Stored;
use crate::net::Graph;
use crate::program::{Info, Source};

/// Where each stored array lies.
#[derive(Clone, Debug)]
pub struct StoreLayout {
    params: Vec<(usize, Layout)>,
    buffers: Vec<(usize, Layout)>,
    /// Numbers of all parameters, and of the trained ones, with padding.
    all: usize,
    trained: usize,
    states: usize,
    len: usize,
}

fn stored(dims: &[usize]) -> Layout {
    layout(&Info {
        name: String::new(),
        dims: dims.to_vec(),
        batched: false,
        ints: false,
        source: Source::Op,
        interleaved: false,
    })
}

impl StoreLayout {
    /// The store of a graph with `states` arrays of optimiser state per trained parameter.
    pub fn new(graph: &Graph, states: usize) -> StoreLayout {
        let mut at = 0;
        let mut place = |dims: &[usize]| {
            let l = stored(dims);
            let start = at;
            at += l.sample().next_multiple_of(LANES);
            (start, l)
        };
        let params: Vec<_> = graph.params.iter().map(|p| place(&p.shape)).collect();
        let all = at;
        let trained = graph.params.iter().position(|p| !p.trained).map_or(all, |first| params[first].0);
        at = 2 * all + states * trained;
        let mut place = |dims: &[usize]| {
            let l = stored(dims);
            let start = at;
            at += l.sample().next_multiple_of(LANES);
            (start, l)
        };
        let buffers = graph.buffers.iter().map(|b| place(&b.shape)).collect();
        StoreLayout { params, buffers, all, trained, states, len: at }
    }

    /// Numbers of the whole store.
    pub fn numbers(&self) -> usize {
        self.len
    }

    fn place(&self, what: Stored) -> (usize, Layout) {
        match what {
            Stored::Param(i) => self.params[i],
            Stored::Grad(i) => (self.all + self.params[i].0, self.params[i].1),
            Stored::State(s, i) => (2 * self.all + s * self.trained + self.params[i].0, self.params[i].1),
            Stored::Buffer(i) => self.buffers[i],
        }
    }

    /// Where a value lies, if it is stored.
    pub fn span(&self, source: Source) -> Option<Span> {
        let (start, l) = match source {
            Source::Param(i) => self.place(Stored::Param(i)),
            Source::Grad(i) => self.place(Stored::Grad(i)),
            Source::Buffer(i) => self.place(Stored::Buffer(i)),
            _ => return None,
        };
        Some(Span { region: Region::Store, start, len: l.sample(), sample: 0 })
    }

    /// An array in torch's order.
    pub fn get(&self, store: &[f32], what: Stored) -> Vec<f64> {
        let (start, l) = self.place(what);
        let mut out = vec![0.0; l.group * l.n];
        l.unpack(&store[start..], &mut out, f64::from);
        out
    }

    /// Replaces an array, given in torch's order.
    pub fn set(&self, store: &mut [f32], what: Stored, data: &[f64]) {
        let (start, l) = self.place(what);
        assert_eq!(data.len(), l.group * l.n, "an array of another size");
        l.pack(data, &mut store[start..start + l.sample()], |x| x as f32);
    }

    /// The trained parameters.
    pub fn params<'s>(&self, store: &'s [f32]) -> &'s [f32] {
        &store[..self.all]
    }

    /// The ranges of the trained parameters that are not among these.
    pub fn trained_but(&self, some: &[usize]) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let starts = self.params.iter().map(|(start, _)| *start);
        let ends = starts.clone().skip(1).chain([self.all]);
        let left = |(i, (_, end)): &(usize, (usize, usize))| *end <= self.trained && !some.contains(i);
        for (_, (start, end)) in starts.zip(ends).enumerate().filter(left) {
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        ranges
    }

    /// The gradients of the trained parameters.
    pub fn grads<'s>(&self, store: &'s mut [f32]) -> &'s mut [f32] {
        &mut store[self.all..self.all + self.trained]
    }

    /// Trained parameters, their gradients, and their state arrays one after another.
    pub fn for_update<'s>(&self, store: &'s mut [f32]) -> (&'s mut [f32], &'s [f32], &'s mut [f32]) {
        let (params, rest) = store.split_at_mut(self.all);
        let (grads, rest) = rest.split_at_mut(self.all);
        (&mut params[..self.trained], &grads[..self.trained], &mut rest[..self.states * self.trained])
    }

    /// The same store with room for `states` state arrays, which are zeros; all else is kept.
    pub fn with_states(&self, graph: &Graph, store: &Buffer, states: usize) -> (StoreLayout, Buffer) {
        let layout = StoreLayout::new(graph, states);
        let mut new = Buffer::zeros(layout.numbers());
        new[..2 * self.all].copy_from_slice(&store[..2 * self.all]);
        let (old, at) = (2 * self.all + self.states * self.trained, 2 * self.all + states * self.trained);
        let buffers = self.len - old;
        new[at..at + buffers].copy_from_slice(&store[old..]);
        (layout, new)
    }
}
