//! `LeakyReLU`: numbers below 0 times a slope, of any shape.
//!
//! y = x where x > 0, else slope·x;  dx = dy where y > 0, else slope·dy. Kept for the backward pass: y.

use super::{Back, Declare, Layer};
use crate::error::Result;
use crate::fail;
use crate::ops::Map;
use crate::program::{Emit, Value};
use crate::spec::{ArgKind, Def, Spec, optional};

/// Numbers below 0 times a slope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeakyReLU {
    /// The slope below 0; not negative.
    pub negative_slope: f64,
}

impl Default for LeakyReLU {
    fn default() -> LeakyReLU {
        LeakyReLU { negative_slope: 0.01 }
    }
}

impl LeakyReLU {
    /// The entry in [`super::LAYERS`].
    pub const DEF: Def<dyn Layer> = Def {
        name: "LeakyReLU",
        summary: "numbers below 0 times a slope",
        formula: "y = x where x > 0, else slope·x;  dx = dy where y > 0, else slope·dy",
        shapes: "any → the same",
        args: &[optional("negative_slope", ArgKind::Number, "0.01", "the slope below 0; not negative")],
        make: |a| Ok(Box::new(LeakyReLU::new(a.number("negative_slope")))),
    };

    /// With this slope below 0; [`LeakyReLU::default`] has 0.01.
    pub fn new(negative_slope: f64) -> LeakyReLU {
        LeakyReLU { negative_slope }
    }
}

impl Layer for LeakyReLU {
    fn spec(&self) -> Spec {
        Spec::new("LeakyReLU").arg_unless("negative_slope", self.negative_slope, 0.01)
    }

    fn declare(&self, x: &[usize], _: &mut Declare) -> Result<Vec<usize>> {
        // The gradient is taken from the sign of y, which a negative slope would turn round.
        if !(self.negative_slope >= 0.0 && self.negative_slope.is_finite()) {
            fail!(Argument, "LeakyReLU: a negative_slope of {} is refused: it must be 0 or more", self.negative_slope);
        }
        Ok(x.to_vec())
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back) {
        let f = Map::LeakyReLU(self.negative_slope);
        let y = e.map(f, x);
        (y, Box::new(move |e, dy| e.map_grad(f, y, dy)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::{refuses, run};

    #[test]
    fn a_value_worked_by_hand() {
        let r = run(LeakyReLU::new(0.25), &[1, 3], &[2.0, -2.0, 0.0], &[], &[1.0, 1.0, 8.0]);
        assert_eq!((r.y, r.dx), (vec![2.0, -0.5, 0.0], vec![1.0, 0.25, 2.0]));
    }

    #[test]
    fn a_negative_slope_is_refused() {
        let text = "LeakyReLU: a negative_slope of -0.1 is refused: it must be 0 or more";
        refuses(LeakyReLU::new(-0.1), &[2], text);
    }

    #[test]
    fn it_prints_what_was_written() {
        assert_eq!(LeakyReLU::default().spec().to_string(), "LeakyReLU");
        assert_eq!(LeakyReLU::new(0.2).spec().to_string(), "LeakyReLU negative_slope=0.2");
    }
}
