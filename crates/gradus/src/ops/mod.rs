//! Ops: the primitives that programs are made of. One op (with its gradients), one file.
//!
//! A file states: the plain definition in f64 ([`Op::define`], what the reference executor runs and every check judges
//! by), the order of floating-point operations of the CPU, the cost, how the CPU lowers it ([`Op::lower`]), and the method
//! of [`Emit`] that layers write it with.
//!
//! Rule of accumulation: values are written; gradients of parameters are added to, except that the first op to write one
//! overwrites it where the step says that gradients are fresh ([`Case::adds`]).

use std::fmt::Debug;

use crate::exec::Step;
use crate::exec::cpu::Lower;
use crate::losses::Reduction;
#[cfg(doc)]
use crate::program::Emit;
use crate::program::{Info, Value};

mod add;
mod apply;
mod avg_pool2d;
mod batch_norm;
mod concat;
mod conv2d;
mod conv2d_pooled;
mod cross_entropy;
mod difference;
mod dropout;
mod flatten;
mod linear;
mod map;
mod max_pool2d;
mod one_hot;
mod softmax;
mod sum;
#[cfg(test)]
mod testing;
mod window;

pub use batch_norm::Statistics;
pub use difference::Difference;
pub use map::Map;
pub use window::Window;

/// One primitive.
pub trait Op: Debug + Send + Sync {
    /// What it computes, with the names of its operands: a line of `gradus explain`.
    fn line(&self, reads: &[&str], writes: &[&str]) -> String;

    /// How much work it is.
    fn cost(&self, case: &Case) -> Cost;

    /// The definition, in f64. Arrays are whole, in torch's order; labels and positions are numbers. What is written holds
    /// zeros, or the stored value where it is one.
    fn define(&self, case: &Case, reads: &[&[f64]], writes: &mut [Vec<f64>]);

    /// Whether what it writes lies on the CPU as what it reads lies there already: it gets the same place, and
    /// [`Op::lower`] is not called.
    fn is_view(&self, _case: &Case) -> bool {
        false
    }

    /// Whether it takes its images interleaved too ([`Layout::together`](crate::exec::cpu::Layout::together)).
    fn interleaves(&self, _case: &Case) -> bool {
        false
    }

    /// How many numbers of what it writes are side by side in its products: channels. 0 where it has no products, or none that
    /// know images.
    fn columns(&self, _case: &Case) -> usize {
        0
    }

    /// Whether it is of the whole batch, so that this cannot be run in parts: a sample's numbers depend on the other samples, or sums
    /// over them are not made one after the other.
    fn needs_batch(&self) -> bool {
        false
    }

    /// Whether, of an op that needs the batch, only its last kernels do, those added by [`Lower::whole_kernel`], and it writes nothing
    /// of a sample. The kernels before are run for some samples after others.
    fn needs_batch_at_end(&self, _case: &Case) -> bool {
        false
    }

    /// How many numbers of scratch the CPU needs at the largest batch, or the largest part or block of one.
    fn scratch(&self, _case: &Case) -> usize {
        0
    }

    /// Whether the scratch is kept from one part or block of a batch to the next.
    fn keeps_scratch(&self) -> bool {
        false
    }

    /// Emits the CPU's kernels.
    fn lower(&self, l: &mut Lower<'_>);

    /// Whether all that it writes are gradients of parameters, and it can move those by plain gradient descent instead, in the same
    /// pass and with the same bits: see [`Lower::gradient`].
    fn can_move(&self, _case: &Case) -> bool {
        false
    }

    /// What it is, if that is one of those that other ops can do along with their own work.
    fn kind(&self) -> Kind {
        Kind::Other
    }

    /// The same op followed by a function of every number, where one kernel can do both with the same bits.
    fn with_map(&self, _map: Map) -> Option<Box<dyn Op>> {
        None
    }

    /// The same op followed by the gradient of a function of every number whose output is `y`, where one kernel can do both
    /// with the same bits; and what it reads for that after its other operands.
    fn with_map_grad(&self, _map: Map, _y: Value) -> Option<(Box<dyn Op>, Value)> {
        None
    }

    /// The same op followed by a maximum pooling of what it writes, of which nobody else wants to know, where one kernel can do both
    /// with the same bits. `cases` are those of the two.
    fn with_max_pool(&self, _pool: Window, _cases: [&Case; 2]) -> Option<Box<dyn Op>> {
        None
    }

    /// The gradient of a maximum pooling, followed by this op, which writes the gradient of a weight, and by that of a bias, if there is
    /// one: where one kernel can do all of it with the same bits, and nobody else wants to know the gradient of what was pooled. It
    /// reads what this op reads first, then what that of the pooling does. `cases` are those of the two.
    fn with_max_pool_grad(&self, _pool: Window, _relu: bool, _cases: [&Case; 2]) -> Option<Box<dyn Op>> {
        None
    }

    /// The same op, the gradient of a weight from (x, dy), which writes that of the bias, a [`Kind::BiasGrad`], after it, where one kernel
    /// can do both with the same bits.
    fn with_bias_grad(&self, _bias: Kind) -> Option<Box<dyn Op>> {
        None
    }

    /// The same loss, which writes its gradient too, where one kernel can do both with the same bits: in the place of what else it
    /// writes. The gradient is a [`Kind::LossGrad`].
    fn with_gradient(&self, _gradient: Kind, _case: &Case) -> Option<Box<dyn Op>> {
        None
    }

    /// The same op, of labels instead of the numbers `on` and `off` that [`Kind::OneHot`] has made of them.
    fn of_labels(&self, _on: f64, _off: f64) -> Option<Box<dyn Op>> {
        None
    }

    /// The same op, of several values that are side by side, instead of one that a concatenation has made of them.
    fn of_parts(&self) -> Option<Box<dyn Op>> {
        None
    }

    /// The same op, of the numbers from `start` on of what it reads, for as many as it writes: what a narrowing has left of it.
    fn of_stretch(&self, _start: usize) -> Option<Box<dyn Op>> {
        None
    }
}

/// What other ops can do along with their own work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// The gradient of a loss, from the same operands or from what the loss has written beside the number.
    LossGrad {
        /// The loss.
        loss: LossKind,
        /// How it is reduced.
        reduction: Reduction,
        /// Its weight.
        weight: f64,
    },
    /// Labels as one-hot vectors, or 0 and 1 as one number.
    OneHot {
        /// The number at the label.
        on: f64,
        /// The others.
        off: f64,
    },
    /// A function of every number.
    Map(Map),
    /// The gradient of one, from (y, dy).
    MapGrad(Map),
    /// The maximum of each window.
    MaxPool(Window),
    /// Its gradient, from (dy, positions); and from (…, y), that of the ReLU before.
    MaxPoolGrad {
        /// The windows.
        window: Window,
        /// Whether it goes on through a ReLU.
        relu: bool,
    },
    /// The gradient of a bias: sums of dy.
    BiasGrad {
        /// Whether it has the order of [`gradus_kernels::narrow`].
        narrow: bool,
    },
    /// Values side by side along the first dimension of a sample.
    Concat,
    /// Entries of the first dimension of a sample.
    Narrow {
        /// The first of them.
        start: usize,
    },
    /// Images as vectors in torch's order, each after the one before.
    Flatten,
    /// Numbers of a vector as an image.
    Unflatten {
        /// The first of them.
        start: usize,
    },
    /// Something else.
    Other,
}

/// A loss that can be made along with its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossKind {
    /// Of a difference.
    Difference(Difference),
    /// The cross entropy of a softmax.
    CrossEntropy,
}

/// One run of an op: its shapes and the step it belongs to.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// What it reads.
    pub reads: Vec<&'a Info>,
    /// What it writes.
    pub writes: Vec<&'a Info>,
    /// The step.
    pub step: Step,
    /// Whether a gradient is added to what is stored.
    pub adds: bool,
}

impl Case<'_> {
    /// Samples in the batch, or in the part of it that is run at once.
    pub fn batch(&self) -> usize {
        self.step.batch
    }

    /// Samples in the whole batch.
    pub fn whole(&self) -> usize {
        self.step.whole
    }

    /// Numbers in the operand read at `i`.
    pub fn read_len(&self, i: usize) -> usize {
        self.reads[i].len(self.batch())
    }

    /// Numbers in the operand written at `i`.
    pub fn write_len(&self, i: usize) -> usize {
        self.writes[i].len(self.batch())
    }

    /// Bytes that all operands have together, in f32.
    pub fn bytes(&self) -> u64 {
        let batch = self.batch();
        4 * self.reads.iter().chain(&self.writes).map(|i| i.len(batch) as u64).sum::<u64>()
    }

    /// The cost of `flops` operations for each number written.
    pub fn pointwise(&self, flops: u64) -> Cost {
        Cost { flops: flops * self.write_len(0) as u64, bytes: self.bytes() }
    }
}

/// How much work an op is: floating-point operations (a fused multiply-add is two), and bytes read and written once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes.
    pub bytes: u64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.flops += other.flops;
        self.bytes += other.bytes;
    }
}
