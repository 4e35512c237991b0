//! What a forward pass gives: one output for a batch, in torch's order.

use std::ops::Deref;

use ndarray::{ArrayD, ArrayViewD, IxDyn};

/// One output for a batch, (B, …) in torch's order. It borrows the network's memory: a prediction allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Output<'a> {
    data: &'a [f32],
    batch: usize,
    dims: &'a [usize],
}

impl<'a> Output<'a> {
    pub(crate) fn new(data: &'a [f32], batch: usize, dims: &'a [usize]) -> Self {
        Self { data, batch, dims }
    }

    /// Samples.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The shape of one sample.
    pub fn dims(&self) -> &'a [usize] {
        self.dims
    }

    /// The numbers of one sample.
    ///
    /// # Panics
    /// When there is no sample `row`.
    pub fn row(&self, row: usize) -> &'a [f32] {
        let size: usize = self.dims.iter().product();
        &self.data[row * size..][..size]
    }

    /// As an array (B, …).
    pub fn view(&self) -> ArrayViewD<'a, f32> {
        let mut shape = vec![self.batch];
        shape.extend_from_slice(self.dims);
        ArrayViewD::from_shape(IxDyn(&shape), self.data).expect("the length is that of the shape")
    }

    /// A copy as an array (B, …).
    pub fn to_array(&self) -> ArrayD<f32> {
        self.view().to_owned()
    }
}

impl Deref for Output<'_> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        self.data
    }
}
