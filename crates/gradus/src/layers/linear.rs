//! `Linear`: y = x·Wᵀ + b.
//!
//! # Shapes
//! x (B, I), W (O, I), b (O), y (B, O). Kept for the backward pass: x.
//!
//! Backward: dW += dyᵀ·x, db += Σ_B dy, dx = dy·W.

use super::{Back, Declare, Layer, shape_text};
use crate::error::Result;
use crate::fail;
use crate::init::Fan;
use crate::program::{Emit, Value};
use crate::spec::{ArgKind, Def, Spec, optional, required};

/// A fully connected layer, `y = x·Wᵀ + b`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Numbers in an output sample (O).
    pub out_features: usize,
    /// Whether there is a bias b.
    pub bias: bool,
}

impl Linear {
    /// The entry in [`super::LAYERS`].
    pub const DEF: Def<dyn Layer> = Def {
        name: "Linear",
        summary: "fully connected",
        formula: "y = x·Wᵀ + b;  dW += dyᵀ·x,  db += Σ dy,  dx = dy·W",
        shapes: "(I) → (O);  weight (O, I), bias (O)",
        args: &[
            required("out_features", ArgKind::Count, "numbers in an output sample (O)"),
            optional("bias", ArgKind::Flag, "true", "whether b is added"),
        ],
        make: |a| Ok(Box::new(Linear { out_features: a.count("out_features"), bias: a.flag("bias") })),
    };

    /// `out_features` outputs, with bias.
    pub fn new(out_features: usize) -> Linear {
        Linear { out_features, bias: true }
    }

    /// With or without bias.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Linear {
        self.bias = bias;
        self
    }
}

impl Layer for Linear {
    fn spec(&self) -> Spec {
        Spec::new("Linear").arg("out_features", self.out_features).arg_unless("bias", self.bias, true)
    }

    fn declare(&self, x: &[usize], d: &mut Declare) -> Result<Vec<usize>> {
        let &[features] = x else {
            fail!(Shape, "Linear wants vectors (features), found {}; put `Flatten` before it", shape_text(x));
        };
        if self.out_features == 0 {
            fail!(Argument, "Linear needs at least one output");
        }
        d.param("weight", &[self.out_features, features], Fan::Weight { fan_in: features, fan_out: self.out_features });
        if self.bias {
            d.param("bias", &[self.out_features], Fan::Bias { fan_in: features });
        }
        Ok(vec![self.out_features])
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back) {
        let (w, b) = (e.param("weight"), e.param_opt("bias"));
        let y = e.linear(x, w, b); // x·Wᵀ + b
        let back = move |e: &mut Emit<'_>, dy| {
            e.linear_weight_grad(w, x, dy); // dW += dyᵀ·x
            if let Some(b) = b {
                e.linear_bias_grad(b, w, dy); // db += Σ dy
            }
            e.linear_input_grad(dy, w) // dy·W
        };
        (y, Box::new(back))
    }
}
