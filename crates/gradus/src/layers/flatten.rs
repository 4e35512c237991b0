//! `Flatten`: a sample of any shape as one vector, in torch's order (channels, then rows, then columns).
//!
//! # Shapes
//! x (B, …), y (B, F) with F the product of the others. Nothing is kept; a vector passes as it is.
//!
//! Backward: dx = dy in the shape of x.

use super::{Back, Declare, Layer};
use crate::error::Result;
use crate::program::{Emit, Value};
use crate::spec::{Def, Spec};

/// A sample of any shape as one vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flatten;

impl Flatten {
    /// The entry in [`super::LAYERS`].
    pub const DEF: Def<dyn Layer> = Def {
        name: "Flatten",
        summary: "a sample of any shape as one vector",
        formula: "y = x, number by number;  dx = dy",
        shapes: "(C, H, W) → (C·H·W), in torch's order; a vector stays what it is",
        args: &[],
        make: |_| Ok(Box::new(Flatten)),
    };
}

impl Layer for Flatten {
    fn spec(&self) -> Spec {
        Spec::new("Flatten")
    }

    fn declare(&self, x: &[usize], _: &mut Declare) -> Result<Vec<usize>> {
        // The inputs were refused already where their product does not fit.
        Ok(vec![x.iter().product()])
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back) {
        if e.dims(x).len() == 1 {
            return (x, Box::new(|_, dy| dy));
        }
        let y = e.flatten(x);
        (y, Box::new(move |e, dy| e.unflatten(dy, x)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::run;

    #[test]
    fn the_order_is_channels_rows_columns() {
        let x: Vec<f64> = (0..12).map(f64::from).collect();
        for shape in [&[2, 3, 1, 2][..], &[1, 2, 3, 2], &[2, 6], &[3, 2, 2]] {
            let r = run(Flatten, shape, &x, &[], &x);
            assert_eq!((&r.y, &r.dx), (&x, &x), "{shape:?}");
        }
        assert_eq!(Flatten.declare(&[3, 2, 5], &mut Declare::default()).unwrap(), [30]);
    }
}
