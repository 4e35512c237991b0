//! `ReLU`: the positive part of every number, of any shape.
//!
//! y = max(x, 0);  dx = dy where y > 0, else 0. Kept for the backward pass: y.

use super::{Back, Declare, Layer};
use crate::error::Result;
use crate::ops::Map;
use crate::program::{Emit, Value};
use crate::spec::{Def, Spec};

/// the positive part of every number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReLU;

impl ReLU {
    /// The entry in [`super::LAYERS`].
    pub const DEF: Def<dyn Layer> = Def {
        name: "ReLU",
        summary: "the positive part of every number",
        formula: "y = max(x, 0);  dx = dy where y > 0, else 0",
        shapes: "any → the same",
        args: &[],
        make: |_| Ok(Box::new(ReLU)),
    };
}

impl Layer for ReLU {
    fn spec(&self) -> Spec {
        Spec::new("ReLU")
    }

    fn declare(&self, x: &[usize], _: &mut Declare) -> Result<Vec<usize>> {
        Ok(x.to_vec())
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back) {
        let y = e.map(Map::ReLU, x);
        (y, Box::new(move |e, dy| e.map_grad(Map::ReLU, y, dy)))
    }
}
