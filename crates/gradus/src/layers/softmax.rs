//! `Softmax`: a vector of numbers as a distribution, y = eˣ / Σ eˣ over the features.
//!
//! # Shapes
//! x and y (B, F). Kept for the backward pass: y.
//!
//! Backward: dx = y·(dy − Σ dy·y).

use super::{Back, Declare, Layer, shape_text};
use crate::error::Result;
use crate::fail;
use crate::program::{Emit, Value};
use crate::spec::{Def, Spec};

/// A vector of numbers as a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax;

impl Softmax {
    /// The entry in [`super::LAYERS`].
    pub const DEF: Def<dyn Layer> = Def {
        name: "Softmax",
        summary: "a vector as a distribution (`CrossEntropyLoss` has it inside)",
        formula: "y = eˣ / Σ eˣ;  dx = y·(dy − Σ dy·y)",
        shapes: "(F) → (F)",
        args: &[],
        make: |_| Ok(Box::new(Softmax)),
    };
}

impl Layer for Softmax {
    fn spec(&self) -> Spec {
        Spec::new("Softmax")
    }

    fn declare(&self, x: &[usize], _: &mut Declare) -> Result<Vec<usize>> {
        let &[features] = x else {
            fail!(Shape, "Softmax wants vectors (features), found {}; put `Flatten` before it", shape_text(x));
        };
        Ok(vec![features])
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back) {
        let y = e.softmax(x);
        (y, Box::new(move |e, dy| e.softmax_grad(y, dy)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::{near, refuses, run};

    #[test]
    fn a_value_worked_by_hand() {
        let x = [0.0, 3f64.ln(), 1000.0, 1000.0];
        let r = run(Softmax, &[2, 2], &x, &[], &[1.0, 0.0, 1.0, 3.0]);
        near(&r.y, &[0.25, 0.75, 0.5, 0.5]);
        near(&r.dx, &[0.25 * 0.75, -0.25 * 0.75, -0.5, 0.5]);
    }

    #[test]
    fn images_are_refused() {
        refuses(Softmax, &[3, 4, 4], "Softmax wants vectors (features), found (3, 4, 4); put `Flatten` before it");
    }
}
