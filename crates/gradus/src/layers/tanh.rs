//! `Tanh`: the hyperbolic tangent of every number, of any shape.
//!
//! y = tanh x;  dx = dy·(1 − y²). Kept for the backward pass: y.

use super::{Back, Declare, Layer};
use crate::error::Result;
use crate::ops::Map;
use crate::program::{Emit, Value};
use crate::spec::{Def, Spec};

/// the hyperbolic tangent of every number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tanh;

impl Tanh {
    /// The entry in [`super::LAYERS`].
    pub const DEF: Def<dyn Layer> = Def {
        name: "Tanh",
        summary: "the hyperbolic tangent of every number",
        formula: "y = tanh x;  dx = dy·(1 − y²)",
        shapes: "any → the same",
        args: &[],
        make: |_| Ok(Box::new(Tanh)),
    };
}

impl Layer for Tanh {
    fn spec(&self) -> Spec {
        Spec::new("Tanh")
    }

    fn declare(&self, x: &[usize], _: &mut Declare) -> Result<Vec<usize>> {
        Ok(x.to_vec())
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back) {
        let y = e.map(Map::Tanh, x);
        (y, Box::new(move |e, dy| e.map_grad(Map::Tanh, y, dy)))
    }
}
