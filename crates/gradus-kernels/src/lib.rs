//! The CPU kernels of Gradus: slices in, slices out.
//!
//! * Every kernel states its **order of floating-point operations** and keeps it on every instruction set and for every
//!   number of threads: same input, same bits. Products are chains of fused multiply-adds; work is split over outputs,
//!   never over a sum; sums of many terms use one fixed tree ([`reduce`]).
//! * Every kernel takes a [`Cpu`]: the instruction set to use and the threads to share the work with.
//! * This is the only crate of the project with `unsafe` in it. Each block says why it is sound.
//! * No kernel allocates. What is read often, but lies in many pages or shares few lines of a cache, is copied in pieces to the stack of
//!   the thread first: large products and convolutions take up to 400 KB of it.
//!
//! * Every array is *rows*: `rows × n` numbers, `ld ≥ n` apart. A batch of vectors (B, F) has B rows of F; a batch of
//!   images (B, C, H, W) is stored with channels innermost and has B·H·W rows of C. What lies between `n` and `ld` is
//!   padding: a kernel may read it, never lets it reach a number that counts, and may write anything finite there, except
//!   that gradients of parameters are written on their `n` alone (so that padding in the store stays 0).
//! * Images of few channels may lie interleaved ([`layout::interleave`]): a row of C vectors, each one number of sixteen samples.
//!
//! Letters: `m`, `n` rows and columns of an output, `k` the summed dimension, `ld…` the distance between two rows.

#![warn(missing_docs)]

pub mod conv;
pub mod counting;
pub mod dropout;
#[cfg(all(test, unix))]
mod fence;
mod few;
mod isa;
mod lanes;
pub mod layout;
pub mod loss;
pub mod math;
pub mod matmul;
mod memory;
pub mod narrow;
pub mod norm;
pub mod optim;
mod outer;
pub mod peak;
pub mod philox;
pub mod pointwise;
mod pool;
pub mod pooling;
pub mod reduce;
pub mod softmax;
mod square;
pub mod sums;
mod tile;

pub use isa::{Cpu, Isa};
pub use memory::{Buffer, IntSpan, Memory, Operands, Region, Slices, Span};
pub use pool::Pool;
