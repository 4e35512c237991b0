//! A program lowered for the CPU: layouts, fused ops, one arena from lifetimes, and kernels in order.

use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

use gradus_kernels::layout::SAMPLES;
use gradus_kernels::optim::Sgd;
use gradus_kernels::{Cpu, IntSpan, Memory};

use super::arena::{Arena, is_far, part_of};
use super::blocks::{Blocks, of_no_sample_last};
use super::fuse::{fused, parts_of_inputs};
use super::interleave::interleaved;
use super::layout::layout;
use super::lower::{Kernel, Lower, Place, Run};
use super::store::StoreLayout;
use crate::exec::{PlanKind, Step};
use crate::program::{Node, Phase, Program, Source, Value};

/// A lowered program. It holds no numbers: any number of sessions run it over memory of their own.
pub struct Plan {
    pub(super) program: Arc<Program>,
    /// The plan for a few samples, where they would leave lanes of this one empty.
    few: Option<Arc<Plan>>,
    pub(super) places: Vec<Option<Place>>,
    /// What the inputs and targets of a batch are copied to.
    pub(super) fed: Vec<Fed>,
    /// The largest batch, and how much of it is run at a time.
    pub(super) batch: usize,
    part: usize,
    work: usize,
    ints: usize,
    /// How many samples of that go through a stretch at a time.
    block: usize,
    kernels: Vec<Kernel>,
    stretches: Vec<Stretch>,
    /// Where each phase ends among the stretches.
    ends: [usize; 3],
    /// The trained numbers of the store that no op of it can move.
    pub(super) left: Vec<Range<usize>>,
    nodes: Vec<Node>,
    kind: PlanKind,
}

/// Kernels, one after the other.
struct Stretch {
    kernels: Range<usize>,
    /// Whether they are run once for all samples, not for each block of them.
    whole: bool,
}

/// An input or target, or a part of one, and where its samples go.
#[derive(Clone, Debug)]
pub(super) struct Fed {
    pub value: Value,
    /// Which of a sample's numbers, in torch's order.
    pub stretch: Range<usize>,
    pub place: Place,
}

/// So many samples have a plan of their own where this one interleaves them.
const FEW: usize = 4;

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plan({:?}, {} kernels, batch {})", self.kind, self.kernels.len(), self.batch)
    }
}

impl Plan {
    /// Lowers a program for batches of at most `batch` samples, and caches of so many `threads`; it can be run with any number.
    pub fn new(source: Arc<Program>, store: &StoreLayout, batch: usize, threads: usize, kind: PlanKind) -> Plan {
        let of = |program: &Program, batch| Plan::of(source.clone(), program, store, batch, threads, kind);
        let marked = if kind == PlanKind::Fused { interleaved(&source, batch) } else { None };
        let Some(marked) = marked else { return of(&source, batch) };
        let mut plan = of(&marked, batch);
        // A part of a batch that trains goes on from the last one, wherever that has left its sums.
        if marked.nodes.iter().all(|n| n.phase != Phase::Backward) {
            plan.few = Some(Arc::new(of(&source, FEW.min(batch))));
        }
        plan
    }

    /// Lowers `program` with the marks of images that `marked` has.
    fn of(
        source: Arc<Program>,
        program: &Program,
        store: &StoreLayout,
        batch: usize,
        threads: usize,
        kind: PlanKind,
    ) -> Plan {
        let mut nodes = match kind {
            PlanKind::Stepwise => program.nodes.clone(),
            PlanKind::Fused => fused(program, batch),
        };
        let trains = kind == PlanKind::Fused && nodes.last().is_some_and(|n| n.phase == Phase::Backward);
        if trains {
            gradients_last(program, &mut nodes);
            of_no_sample_last(program, &mut nodes);
        }
        let parts = if kind == PlanKind::Fused { parts_of_inputs(program, &mut nodes) } else { Vec::new() };
        let lives_of = |nodes: &[Node]| {
            let mut lives = lifetimes(program, nodes, kind);
            for (part, ..) in &parts {
                lives[part.index()].get_or_insert((0, 0)).0 = 0;
            }
            lives
        };
        let mut lives = lives_of(&nodes);
        let (mut part, mut blocks) = (batch, Blocks::none(&nodes, batch));
        let mut arena = Arena::new(program, &nodes, &lives, batch, part, &blocks);
        if kind == PlanKind::Fused {
            let mut size = part_of(batch, threads, arena.floats, store.numbers());
            if program.values.iter().any(|info| info.interleaved) {
                size = size.next_multiple_of(SAMPLES * threads).min(batch);
            }
            // A shared weight's gradient adds up the whole batch for one use, then for the next.
            if trains && !nodes.iter().any(|n| n.adds || n.op.needs_batch()) {
                (part, blocks) = (size, Blocks::none(&nodes, size));
            } else if size < batch {
                blocks = Blocks::new(program, &nodes, batch, size);
                if is_far(Arena::new(program, &nodes, &lives, batch, part, &blocks).floats) {
                    blocks.write_again(program, &mut nodes);
                    lives = lives_of(&nodes);
                }
            }
            arena = Arena::new(program, &nodes, &lives, batch, part, &blocks);
        }
        let Arena { mut places, views, scratch, floats, ints } = arena;
        for (place, info) in places.iter_mut().zip(&program.values) {
            if let Some(span) = store.span(info.source) {
                *place = Some(Place::new(span, IntSpan::NONE, layout(info), false));
            }
        }

        let (mut kernels, mut stretches) = (Vec::new(), Vec::<Stretch>::new());
        let mut ends = [0; 3];
        let mut moved = Vec::new();
        let mut begins = true;
        for (i, (node, scratch)) in nodes.iter().zip(scratch).enumerate() {
            begins |= blocks.begins(i) || nodes[i - 1].phase != node.phase;
            let moves = if trains && blocks.size == batch { moved_by(program, &nodes, i, batch) } else { Vec::new() };
            moved.extend_from_slice(&moves);
            if !node.writes.iter().any(|v| views.contains(&v.index())) {
                let (infos, whole, all) = (&program.values, blocks.whole(i), kernels.len());
                let parameters: Vec<_> = moves.iter().filter_map(|i| store.span(Source::Param(*i))).collect();
                let (places, parameters, kernels) = (&places, &parameters[..], &mut kernels);
                node.op.lower(&mut Lower { node, infos, places, scratch, parameters, whole, batch: part, kernels });
                for (k, kernel) in kernels.iter().enumerate().skip(all) {
                    match stretches.last_mut() {
                        Some(last) if !begins && last.whole == kernel.whole => last.kernels.end = k + 1,
                        _ => stretches.push(Stretch { kernels: k..k + 1, whole: kernel.whole }),
                    }
                    begins = false;
                }
            }
            for end in &mut ends[node.phase as usize..] {
                *end = stretches.len();
            }
        }
        let left = store.trained_but(&moved);
        let whole = program.used().into_iter().filter_map(|v| {
            let from_outside = matches!(program.info(v).source, Source::Input(_) | Source::Target(_));
            from_outside.then(|| (v, v, 0..program.info(v).len(1)))
        });
        let fed = whole
            .chain(parts)
            .filter_map(|(part, value, stretch)| Some(Fed { value, stretch, place: places[part.index()]? }));
        let fed = fed.collect();
        let (program, few, work, block) = (source, None, floats, blocks.size);
        Plan { program, few, places, fed, batch, part, work, ints, block, kernels, stretches, ends, left, nodes, kind }
    }

    /// The plan to run so many samples with.
    pub(super) fn of_size(self: &Arc<Self>, batch: usize) -> &Arc<Plan> {
        self.few.as_ref().filter(|few| batch <= few.batch).unwrap_or(self)
    }

    /// Numbers, and whole numbers, of the work memory that it and the one for a few samples want.
    pub(super) fn memory(&self) -> (usize, usize) {
        let few = self.few.as_ref().map_or((0, 0), |few| few.memory());
        (self.work.max(few.0), self.ints.max(few.1))
    }

    /// How many samples of the largest batch it runs at a time.
    pub fn part(&self) -> usize {
        self.part
    }

    /// Bytes of work memory that a session of it needs.
    pub fn bytes(&self) -> usize {
        let (floats, ints) = self.memory();
        4 * (floats + ints)
    }

    /// Runs the kernels of the phases from `first` to `last`.
    pub fn run(&self, first: Phase, last: Phase, cpu: &Cpu, step: &Step, memory: &mut Memory<'_>) {
        self.run_with(None, first, last, cpu, step, memory);
    }

    /// The same; with an update, the parameters that an op of it can move do so by it, and their gradients are not kept.
    pub fn run_with(
        &self,
        sgd: Option<Sgd>,
        first: Phase,
        last: Phase,
        cpu: &Cpu,
        step: &Step,
        memory: &mut Memory<'_>,
    ) {
        assert!(step.batch <= self.part, "{} samples in a plan for {}", step.batch, self.part);
        assert!(
            step.before + step.batch <= step.whole && step.whole <= self.batch,
            "a part of another batch: {step:?}"
        );
        let from = if first == Phase::Forward { 0 } else { self.ends[first as usize - 1] };
        for stretch in &self.stretches[from..self.ends[last as usize]] {
            let size = if stretch.whole { step.batch } else { self.block };
            for first in (0..step.batch).step_by(size) {
                let (batch, before) = (size.min(step.batch - first), step.before + first);
                let step = &Step { batch, before, ..*step };
                let run = Run { cpu, step, adds: step.accumulate || before > 0, sgd, first };
                for kernel in &self.kernels[stretch.kernels.clone()] {
                    (kernel.run)(&run, memory);
                }
            }
        }
    }

    /// The plan as text.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        if self.part < self.batch {
            let _ = writeln!(text, "{} of {} samples at a time", self.part, self.batch);
        } else if self.block < self.batch {
            let _ = writeln!(text, "{} of {} samples at a time where no op needs all", self.block, self.batch);
        }
        let mut phase = None;
        for node in &self.nodes {
            if phase != Some(node.phase) {
                phase = Some(node.phase);
                let _ = writeln!(text, "{}", format!("{:?}", node.phase).to_lowercase());
            }
            let names = |list: &[Value]| list.iter().map(|v| self.program.info(*v).name.as_str()).collect::<Vec<_>>();
            let place = node.writes.first().and_then(|v| self.places[v.index()]);
            let at = match place {
                Some(p) if p.ints_used() => format!("ints {}+{}", p.ints.start, p.ints.len),
                Some(p) => format!("{} {}+{}", format!("{:?}", p.span.region).to_lowercase(), p.span.start, p.span.len),
                None => String::new(),
            };
            let shape = place.map_or(String::new(), |p| p.layout.to_string());
            let _ =
                writeln!(text, "  {at:<22} {shape:<16} {}", node.op.line(&names(&node.reads), &names(&node.writes)));
        }
        text
    }
}

/// From the first to the last op that uses each value of the work memory; what must be read after the step, or is written
/// before it, lives to that end.
fn lifetimes(program: &Program, nodes: &[Node], kind: PlanKind) -> Vec<Option<(usize, usize)>> {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; program.values.len()];
    for (i, node) in nodes.iter().enumerate() {
        for v in node.reads.iter().chain(&node.writes) {
            let life = lives[v.index()].get_or_insert((i, i));
            life.1 = i;
        }
    }
    if kind == PlanKind::Stepwise
        && let Some(end) = nodes.iter().rposition(|n| n.phase == Phase::Loss)
    {
        // `loss` may be called again after one forward pass: what it reads of that outlives its last reader.
        for v in nodes.iter().filter(|n| n.phase == Phase::Loss).flat_map(|n| &n.reads) {
            if let Some(life) = lives[v.index()].as_mut().filter(|l| nodes[l.0].phase == Phase::Forward) {
                life.1 = life.1.max(end);
            }
        }
    }
    let last = nodes.len();
    for v in program.outputs.values().chain(program.losses.values().map(|(v, _)| v)).chain(program.input_grads.values())
    {
        let life = lives[v.index()].get_or_insert((0, last));
        life.1 = last;
    }
    for (i, info) in program.values.iter().enumerate() {
        match info.source {
            Source::Op => {}
            Source::Input(_) | Source::Target(_) | Source::OutputGrad => {
                if let Some(life) = &mut lives[i] {
                    life.0 = 0;
                    // Between two steps, `backward_from` may ask for the inputs again.
                    if kind == PlanKind::Stepwise {
                        life.1 = last;
                    }
                }
            }
            _ => lives[i] = None,
        }
    }
    if let Some(v) = program.output_grad {
        lives[v.index()].get_or_insert((0, last)).0 = 0;
    }
    lives
}

/// The parameters whose gradients are all that an op writes.
fn gradients_of(program: &Program, node: &Node) -> Option<Vec<usize>> {
    let of = |v: &Value| if let Source::Grad(param) = program.info(*v).source { Some(param) } else { None };
    node.writes.iter().map(of).collect()
}

/// Whether an op reads one of these parameters.
fn reads_any(program: &Program, node: &Node, params: &[usize]) -> bool {
    let is_one = |v: &Value| matches!(program.info(*v).source, Source::Param(param) if params.contains(&param));
    node.reads.iter().any(is_one)
}

/// Puts gradients of parameters after the last op that reads the parameter: one of them may move it.
fn gradients_last(program: &Program, nodes: &mut [Node]) {
    for i in (0..nodes.len()).rev() {
        let Some(params) = gradients_of(program, &nodes[i]) else { continue };
        if let Some(last) = nodes[i..].iter().rposition(|n| reads_any(program, n, &params)) {
            nodes[i..=i + last].rotate_left(1);
        }
    }
}

/// The parameters whose gradients the op at `i` writes, if it can move them instead and nobody else needs either afterwards.
fn moved_by(program: &Program, nodes: &[Node], i: usize, batch: usize) -> Vec<usize> {
    let node = &nodes[i];
    let Some(params) = gradients_of(program, node) else { return Vec::new() };
    let mut others =
        nodes.iter().enumerate().filter(|(j, _)| *j != i).flat_map(|(_, n)| n.reads.iter().chain(&n.writes));
    let alone = others.all(|v| !node.writes.contains(v));
    debug_assert!(!nodes[i..].iter().any(|n| reads_any(program, n, &params)), "see `gradients_last`");
    if alone && node.op.can_move(&node.case(program, Step::of(batch))) { params } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Conv2d, Flatten, Linear, MaxPool2d, ReLU};
    use crate::losses::MSELoss;
    use crate::net::Sequential;
    use crate::program::{Roots, compile};
    use crate::rng::Seed;

    #[test]
    fn vectors_leave_no_parameter_to_a_separate_update() {
        let layers = Sequential::new([3]).add(Linear::new(40)).add(ReLU).add(Linear::new(2)).loss(MSELoss::new());
        let net = layers.build(Seed(1)).unwrap();
        let store = StoreLayout::new(net.graph(), 0);
        let program = Arc::new(compile(net.graph(), &Roots::Train { inputs: false }));
        let left = |kind| Plan::new(program.clone(), &store, 20, 1, kind).left.iter().map(Range::len).sum::<usize>();
        assert_eq!(left(PlanKind::Fused), 0);
        assert_eq!(left(PlanKind::Stepwise), store.numbers() / 2);
    }

    #[test]
    fn a_first_convolution_is_pooled_in_registers() {
        let layers = Sequential::new([1, 8, 8]).add(Conv2d::new(16, 3)).add(ReLU).add(MaxPool2d::new(2)).add(Flatten);
        let net = layers.add(Linear::new(2)).loss(MSELoss::new()).build(Seed(1)).unwrap();
        let store = StoreLayout::new(net.graph(), 0);
        let program = Arc::new(compile(net.graph(), &Roots::Train { inputs: false }));
        let text = |kind| Plan::new(program.clone(), &store, 20, 1, kind).describe();
        assert!(text(PlanKind::Fused).contains("max_pool2d(relu(conv2d("), "{}", text(PlanKind::Fused));
        assert!(!text(PlanKind::Stepwise).contains("max_pool2d(relu(conv2d("));
    }
}
