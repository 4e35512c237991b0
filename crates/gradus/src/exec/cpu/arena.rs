//! The work memory of a plan: the place of each value, and how much of a batch it holds at a time.

use gradus_kernels::{IntSpan, Region, Span};

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
    /// For batches of `batch` samples, `part` of them at a time.
    pub fn new(
        program: &Program,
        nodes: &[Node],
        lives: &[Option<(usize, usize)>],
        batch: usize,
        part: usize,
    ) -> Arena {
        let step = Step { batch: part, whole: batch, ..Step::default() };
        let cases: Vec<Case<'_>> = nodes.iter().map(|n| n.case(program, step)).collect();
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

        let mut places: Vec<Option<Place>> = vec![None; lives.len()];
        let (mut float_needs, mut float_of) = (Vec::new(), Vec::new());
        let (mut int_needs, mut int_of) = (Vec::new(), Vec::new());
        for (i, life) in lives.iter().enumerate() {
            let Some((from, to)) = *life else { continue };
            let info = &program.values[i];
            let need = Need { len: layout(info).size(if info.batched { part } else { 1 }), from, to };
            if info.ints {
                int_needs.push(need);
                int_of.push(i);
            } else {
                float_needs.push(need);
                float_of.push(i);
            }
        }
        float_needs.extend(nodes.iter().zip(&cases).enumerate().map(|(i, (n, case))| {
            let (from, to) = if n.op.keeps_scratch() { (0, nodes.len()) } else { (i, i) };
            Need { len: n.op.scratch(case), from, to }
        }));
        let (starts, floats) = assign(&float_needs);
        let mut spans =
            starts.iter().zip(&float_needs).map(|(&start, need)| Span { region: Region::Work, start, len: need.len });
        for (i, span) in float_of.into_iter().zip(&mut spans) {
            let no_ints = IntSpan { start: 0, len: 0 };
            places[i] = Some(Place::new(span, no_ints, layout(&program.values[i]), false));
        }
        let scratch = spans.collect();
        for (place, view) in &views {
            places[*view] = places[*place].map(|p| Place { layout: layout(&program.values[*view]), ..p });
        }
        let views = views.into_iter().map(|(_, view)| view).collect();
        let (starts, ints) = assign(&int_needs);
        for ((i, start), need) in int_of.into_iter().zip(starts).zip(&int_needs) {
            let nothing = Span { region: Region::Work, start: 0, len: 0 };
            let span = IntSpan { start, len: need.len };
            places[i] = Some(Place::new(nothing, span, layout(&program.values[i]), true));
        }
        Arena { places, views, scratch, floats, ints }
    }
}

/// How many numbers of the work memory stay in a core's caches from one op to the next.
const NEAR: usize = 1 << 17;

/// Kernels are not started for fewer samples where there are more.
const FEWEST: usize = 4;

/// How many samples of a batch to run at a time, forward and backward, so that what one op writes is still in the caches for
/// the next. `work` numbers are what the whole batch takes; every part passes through the `store` besides, which is to be the
/// smaller part of it.
pub(super) fn part_of(nodes: &[Node], batch: usize, work: usize, store: usize) -> usize {
    // A shared weight's gradient adds up the whole batch for one use, then for the next.
    if nodes.iter().any(|n| n.adds || n.op.needs_batch()) {
        return batch;
    }
    let sample = work.div_ceil(batch).max(1);
    let part = (NEAR.max(2 * store) / sample).max(FEWEST);
    // Parts of one size, but for the last.
    batch.div_ceil(batch.div_ceil(part))
}
