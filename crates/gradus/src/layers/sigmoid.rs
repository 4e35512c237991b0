//! `Sigmoid`: the logistic function of every number, of any shape.
//!
//! y = 1 / (1 + e⁻ˣ);  dx = dy·y·(1 − y). Kept for the backward pass: y.

use super::{Back, Declare, Layer};
use crate::error::Result;
use crate::ops::Map;
use crate::program::{Emit, Value};
use crate::spec::{Def, Spec};

/// the logistic function of every number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sigmoid;

impl Sigmoid {
    /// The entry in [`super::LAYERS`].
    pub const DEF: Def<dyn Layer> = Def {
        name: "Sigmoid",
        summary: "the logistic function of every number",
        formula: "y = 1 / (1 + e⁻ˣ);  dx = dy·y·(1 − y)",
        shapes: "any → the same",
        args: &[],
        make: |_| Ok(Box::new(Sigmoid)),
    };
}

impl Layer for Sigmoid {
    fn spec(&self) -> Spec {
        Spec::new("Sigmoid")
    }

    fn declare(&self, x: &[usize], _: &mut Declare) -> Result<Vec<usize>> {
        Ok(x.to_vec())
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back) {
        let y = e.map(Map::Sigmoid, x);
        (y, Box::new(move |e, dy| e.map_grad(Map::Sigmoid, y, dy)))
    }
}
