//! Layers: one file each. A layer states its mathematics and nothing else.
//!
//! [`Layer::declare`] checks the shape that comes in and declares parameters and buffers; [`Layer::emit`] emits the
//! forward ops and returns the backward pass, written by hand, as a closure over the values it needs. A layer never
//! knows its neighbours, its position, a memory layout or the optimiser.
//!
//! To add one: a new file beside the others, its `DEF`, one line in [`LAYERS`]. `gradus help`, the TOML front end, the
//! JSON schema, the gradient check and the planted-mistake test take it from the list.

use std::fmt::Debug;

use crate::error::Result;
use crate::init::Fan;
use crate::program::{Emit, Value};
use crate::spec::{Def, Spec};

mod activation;
mod avg_pool2d;
mod batch_norm;
mod conv2d;
mod dropout;
mod flatten;
mod identity;
mod leaky_relu;
mod linear;
mod max_pool2d;
mod relu;
mod sigmoid;
mod softmax;
mod tanh;
#[cfg(test)]
pub(crate) mod testing;

pub use activation::{Activation, Scalar};
pub use avg_pool2d::AvgPool2d;
pub use batch_norm::{BatchNorm, BatchNorm1d, BatchNorm2d};
pub use conv2d::Conv2d;
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use identity::Identity;
pub use leaky_relu::LeakyReLU;
pub use linear::Linear;
pub use max_pool2d::MaxPool2d;
pub use relu::ReLU;
pub use sigmoid::Sigmoid;
pub use softmax::Softmax;
pub use tanh::Tanh;

/// Every layer that can be named in a file, in the order `gradus help` shows them.
pub static LAYERS: &[&Def<dyn Layer>] = &[
    &Linear::DEF,
    &Conv2d::DEF,
    &MaxPool2d::DEF,
    &AvgPool2d::DEF,
    &Flatten::DEF,
    &ReLU::DEF,
    &LeakyReLU::DEF,
    &Tanh::DEF,
    &Sigmoid::DEF,
    &Softmax::DEF,
    &BatchNorm1d::DEF,
    &BatchNorm2d::DEF,
    &Dropout::DEF,
    &Identity::DEF,
];

/// The backward pass of a layer: given the gradient of its output, emits ops that add to the gradients of its parameters,
/// and returns the gradient of its input. What no one needs of it is dropped from the program.
pub type Back = Box<dyn FnOnce(&mut Emit<'_>, Value) -> Value>;

/// A layer: one input, one output.
pub trait Layer: Debug + Send + Sync {
    /// The layer as written: its name and the arguments that differ from the defaults.
    fn spec(&self) -> Spec;

    /// Given the shape of one sample, declares parameters and buffers and returns the shape of one output sample.
    ///
    /// # Errors
    /// [`Kind::Shape`](crate::error::Kind::Shape) when the input does not fit, with both shapes.
    fn declare(&self, x: &[usize], d: &mut Declare) -> Result<Vec<usize>>;

    /// The fewest samples a training batch may have, for input samples of shape `x`: 2 where a statistic over the batch
    /// needs them.
    fn least_batch(&self, _x: &[usize]) -> usize {
        1
    }

    /// Emits `y = f(x)`; returns `y` and the backward pass. A layer that returns `x` itself must pass `dy` on as it is:
    /// one that does not must emit a value of its own.
    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back);
}

/// What a layer owns, collected by [`Layer::declare`].
#[derive(Debug, Default)]
pub struct Declare {
    pub(crate) params: Vec<ParamDecl>,
    pub(crate) buffers: Vec<BufferDecl>,
}

#[derive(Debug)]
pub(crate) struct ParamDecl {
    pub name: &'static str,
    pub shape: Vec<usize>,
    pub fan: Fan,
}

#[derive(Debug)]
pub(crate) struct BufferDecl {
    pub name: &'static str,
    pub shape: Vec<usize>,
    pub value: f64,
}

impl Declare {
    /// A trained parameter; `fan` tells the initialiser what it is.
    pub fn param(&mut self, name: &'static str, shape: &[usize], fan: Fan) {
        self.params.push(ParamDecl { name, shape: shape.to_vec(), fan });
    }

    /// A value that is kept with the model but not trained (running statistics), and what it starts from.
    pub fn buffer(&mut self, name: &'static str, shape: &[usize], value: f64) {
        self.buffers.push(BufferDecl { name, shape: shape.to_vec(), value });
    }
}

/// Height and width, or one number for both.
pub trait Pair {
    /// Both.
    fn pair(self) -> (usize, usize);
}

impl Pair for usize {
    fn pair(self) -> (usize, usize) {
        (self, self)
    }
}

impl Pair for (usize, usize) {
    fn pair(self) -> (usize, usize) {
        self
    }
}

/// `(3, 14, 14)`: how shapes are written in messages.
pub fn shape_text(shape: &[usize]) -> String {
    let words: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("({})", words.join(", "))
}
