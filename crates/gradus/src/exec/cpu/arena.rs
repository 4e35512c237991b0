//! The work memory of a plan: the place of each value, and how much of a batch it holds at a time.

use std::ops::Range;

use gradus_kernels::{IntSpan, Region, Span};

use super::blocks::Blocks;
use super::layout::layout;
use super::lower::Place;
use super::memory::{Need, assign};
use crate::exec::Step;
use crate::ops::Case;
use crate::program::{Node, Program};

/// Where the values of the work memory lie, and the scratch of each op.
pub(super) struct Arena {
    /// By value; none for what is stored or not used.
    pub places: Vec<Option<Place>>,
    /// The values that lie where others do.
    pub views: Vec<usize>,
    /// By op.
    pub scratch: Vec<Span>,
    /// Numbers, and whole numbers, of all together.
    pub floats: usize,
    pub ints: usize,
}

impl Arena {
    /// For batches of `batch` samples, `part` of them at a time, which go through the ops in `blocks`.
    pub fn new(
        program: &Program,
        nodes: &[Node],
        lives: &[Option<(usize, usize)>],
        batch: usize,
        part: usize,
        blocks: &Blocks,
    ) -> Arena {
        let step = |i| Step { batch: blocks.of_scratch(i, part), whole: batch, ..Step::default() };
        let cases: Vec<Case<'_>> = nodes.iter().enumerate().map(|(i, n)| n.case(program, step(i))).collect();
        // What a view writes lives where the numbers are.
        let mut lives = lives.to_vec();
        let mut views: Vec<(usize, usize)> = Vec::new();
        for (node, _) in nodes.iter().zip(&cases).filter(|(node, case)| node.op.is_view(case)) {
            let (from, view) = (node.reads[0].index(), node.writes[0].index());
            let place = views.iter().find(|(_, v)| *v == from).map_or(from, |(place, _)| *place);
            let (Some(a), Some(b)) = (lives[place], lives[view]) else { continue };
            lives[place] = Some((a.0.min(b.0), a.1.max(b.1)));
            lives[view] = None;
            views.push((place, view));
        }

        let place_of = |v| views.iter().find(|(_, view)| *view == v).map_or(v, |(place, _)| *place);
        let local = blocks.local(nodes, lives.len(), place_of);
        let mut places: Vec<Option<Place>> = vec![None; lives.len()];
        let (mut float_needs, mut float_of) = (Vec::new(), Vec::new());
        let (mut int_needs, mut int_of) = (Vec::new(), Vec::new());
        for (i, life) in lives.iter().enumerate() {
            let Some((from, to)) = *life else { continue };
            let info = &program.values[i];
            // What is not of samples is written once for all blocks.
            let local = local[i] && info.batched && to < nodes.len();
            let Range { start: from, end: to } = if local { from..to } else { blocks.widened(from..to) };
            let samples = match (info.batched, local) {
                (false, _) => 1,
                (true, false) => part,
                (true, true) => blocks.size,
            };
            let (needs, of) = if info.ints { (&mut int_needs, &mut int_of) } else { (&mut float_needs, &mut float_of) };
            needs.push(Need { len: layout(info).size(samples), from, to });
            of.push((i, if info.batched && !local { layout(info).step() } else { 0 }));
        }
        float_needs.extend(nodes.iter().zip(&cases).enumerate().map(|(i, (n, case))| {
            let life = match (n.op.keeps_scratch(), blocks.is_local(i)) {
                (true, _) => 0..nodes.len(),
                (false, true) => i..i,
                (false, false) => blocks.widened(i..i),
            };
            Need { len: n.op.scratch(case), from: life.start, to: life.end }
        }));
        let (starts, floats) = assign(&float_needs);
        let span = |(start, need): (usize, &Need)| Span { region: Region::Work, start, len: need.len, sample: 0 };
        let mut spans = starts.into_iter().zip(&float_needs).map(span);
        for ((i, sample), span) in float_of.into_iter().zip(&mut spans) {
            let span = Span { sample, ..span };
            places[i] = Some(Place::new(span, IntSpan::NONE, layout(&program.values[i]), false));
        }
        let scratch = spans.collect();
        for (place, view) in &views {
            places[*view] = places[*place].map(|p| Place { layout: layout(&program.values[*view]), ..p });
        }
        let views = views.into_iter().map(|(_, view)| view).collect();
        let (starts, ints) = assign(&int_needs);
        for (((i, sample), start), need) in int_of.into_iter().zip(starts).zip(&int_needs) {
            let span = IntSpan { start, len: need.len, sample };
            places[i] = Some(Place::new(Span::NONE, span, layout(&program.values[i]), true));
        }
        Arena { places, views, scratch, floats, ints }
    }
}

/// How many numbers of the work memory stay in a core's own caches from one op to the next; of several cores it is twice as many
/// each, as every op that is split makes them wait for each other.
const NEAR: usize = 1 << 17;

/// What is no larger than so many times that is run at once: not much of it has left the caches when it is wanted again.
const WORTH: usize = 4;

/// Kernels are not started for fewer samples where there are more.
const FEWEST: usize = 4;

/// More numbers of the work memory than a core finds in the last cache when it wants them again: measured where that is large.
const FAR: usize = 1 << 24;

/// Whether so many numbers, which a batch goes through several times, come from beyond the caches every time.
pub(super) fn is_far(work: usize) -> bool {
    work > FAR
}

/// How many samples of a batch to run at a time, with so many threads on cores of their own, so that what one op writes is still
/// near for the next. `work` numbers are what the whole batch takes; every part passes through the `store` besides, which is to be
/// the smaller part of it.
pub(super) fn part_of(batch: usize, threads: usize, work: usize, store: usize) -> usize {
    let near = if threads > 1 { 2 * NEAR * threads } else { NEAR };
    if work <= WORTH * near {
        return batch;
    }
    let sample = work.div_ceil(batch).max(1);
    let part = (near.max(2 * store) / sample).max(FEWEST * threads);
    // Parts of one size, but for the last.
    batch.div_ceil(batch.div_ceil(part))
}
