//! What an op sees while it is lowered: where its operands lie, and where to put its kernels.

use gradus_kernels::optim::Sgd;
use gradus_kernels::sums::Total;
use gradus_kernels::{Cpu, IntSpan, Memory, Operands, Slices, Span};

use super::layout::Layout;
use crate::exec::Step;
use crate::program::{Info, Node};

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its numbers, at the largest batch. Empty where it holds whole numbers.
    pub span: Span,
    /// Its whole numbers. Empty where it holds floats.
    pub ints: IntSpan,
    /// How a sample lies there.
    pub layout: Layout,
    pub(super) is_ints: bool,
}

impl Place {
    pub(super) fn new(span: Span, ints: IntSpan, layout: Layout, is_ints: bool) -> Place {
        Place { span, ints, layout, is_ints }
    }

    /// Whether it holds whole numbers.
    pub fn ints_used(&self) -> bool {
        self.is_ints
    }
}

/// What a kernel is run with.
#[derive(Debug)]
pub struct Run<'a> {
    /// Instruction set and threads.
    pub cpu: &'a Cpu,
    /// The step.
    pub step: &'a Step,
    /// Whether this step adds to gradients that are there.
    pub(super) adds: bool,
    /// The update that ops may make instead of writing a gradient.
    pub(super) sgd: Option<Sgd>,
    /// How many samples lie in memory before those that are run.
    pub(super) first: usize,
}

impl Run<'_> {
    /// Samples that are run: the batch, or a part or a block of it.
    pub fn batch(&self) -> usize {
        self.step.batch
    }

    /// Samples of the whole batch.
    pub fn whole(&self) -> usize {
        self.step.whole
    }
}

/// How an op writes the gradient of a parameter.
#[derive(Clone, Copy, Debug)]
pub struct Gradient {
    adds: bool,
    /// Where the parameter lies; empty unless the op may move it ([`Total::Sgd`]).
    pub parameter: Span,
}

impl Gradient {
    /// Whether it is added to what is stored.
    pub fn adds(&self, run: &Run<'_>) -> bool {
        self.adds || run.adds
    }

    /// What becomes of it.
    pub fn total(&self, run: &Run<'_>) -> Total {
        match run.sgd {
            Some(sgd) if self.parameter.len > 0 => Total::Sgd(sgd),
            _ if self.adds(run) => Total::Added,
            _ => Total::New,
        }
    }
}

/// A lowered op, or a part of one.
pub(super) struct Kernel {
    /// Whether it is run once for all samples, where others are for a block of them at a time.
    pub whole: bool,
    pub run: Call,
}

type Call = Box<dyn Fn(&Run<'_>, &mut Memory<'_>) + Send + Sync>;

/// An op being lowered.
pub struct Lower<'p> {
    pub(super) node: &'p Node,
    pub(super) infos: &'p [Info],
    pub(super) places: &'p [Option<Place>],
    pub(super) scratch: Span,
    /// The parameters it may move, one for each value that it writes, if any.
    pub(super) parameters: &'p [Span],
    pub(super) whole: bool,
    pub(super) batch: usize,
    pub(super) kernels: &'p mut Vec<Kernel>,
}

impl Lower<'_> {
    /// Samples of the largest batch, or of the largest part of one.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// How many values the op reads.
    pub fn reads(&self) -> usize {
        self.node.reads.len()
    }

    /// How many values the op writes.
    pub fn writes(&self) -> usize {
        self.node.writes.len()
    }

    /// Where the operand read at `i` lies.
    ///
    /// # Panics
    /// When there is none at `i`.
    pub fn read(&self, i: usize) -> Place {
        self.places[self.node.reads[i].index()].expect("every operand has a place")
    }

    /// Where the operand written at `i` lies.
    ///
    /// # Panics
    /// When there is none at `i`.
    pub fn write(&self, i: usize) -> Place {
        self.places[self.node.writes[i].index()].expect("every operand has a place")
    }

    /// The shape of a sample of the operand read at `i` (the whole shape where it is not batched).
    pub fn read_dims(&self, i: usize) -> &[usize] {
        &self.infos[self.node.reads[i].index()].dims
    }

    /// The shape of a sample of the operand written at `i`.
    pub fn write_dims(&self, i: usize) -> &[usize] {
        &self.infos[self.node.writes[i].index()].dims
    }

    /// The scratch memory the op asked for with [`Op::scratch`](crate::ops::Op::scratch).
    pub fn scratch(&self) -> Span {
        self.scratch
    }

    /// How to write the operand at `i`, which is a gradient of a parameter.
    pub fn gradient(&self, i: usize) -> Gradient {
        Gradient { adds: self.node.adds, parameter: self.parameters.get(i).copied().unwrap_or(Span::NONE) }
    }

    /// Adds a kernel: what it reads, what it writes, and what it does with the slices. Slices begin at the first sample that is
    /// run and may hold more of them: `run.batch()` says how many count.
    pub fn kernel<const R: usize, const W: usize, const IR: usize, const IW: usize>(
        &mut self,
        reads: [Span; R],
        writes: [Span; W],
        int_reads: [IntSpan; IR],
        int_writes: [IntSpan; IW],
        run: impl Fn(&Run<'_>, Slices<'_, R, W, IR, IW>) + Send + Sync + 'static,
    ) {
        self.add(self.whole, Operands::new(reads, writes, int_reads, int_writes), run);
    }

    /// The same of an op that needs the batch at its end ([`Op::needs_batch_at_end`](crate::ops::Op::needs_batch_at_end)): a
    /// kernel that is run once, for all samples.
    pub fn whole_kernel<const R: usize, const W: usize>(
        &mut self,
        reads: [Span; R],
        writes: [Span; W],
        run: impl Fn(&Run<'_>, Slices<'_, R, W>) + Send + Sync + 'static,
    ) {
        self.add(true, Operands::new(reads, writes, [], []), run);
    }

    fn add<const R: usize, const W: usize, const IR: usize, const IW: usize>(
        &mut self,
        whole: bool,
        operands: Operands<R, W, IR, IW>,
        run: impl Fn(&Run<'_>, Slices<'_, R, W, IR, IW>) + Send + Sync + 'static,
    ) {
        let run = Box::new(move |now: &Run<'_>, memory: &mut Memory<'_>| run(now, operands.resolve(memory, now.first)));
        self.kernels.push(Kernel { whole, run });
    }
}
