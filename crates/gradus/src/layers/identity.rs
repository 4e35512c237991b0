//! `Identity`: y = x, of any shape. The reports' "no activation".

use super::{Back, Declare, Layer};
use crate::error::Result;
use crate::program::{Emit, Value};
use crate::spec::{Def, Spec};

/// No change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Identity;

impl Identity {
    /// The entry in [`super::LAYERS`].
    pub const DEF: Def<dyn Layer> = Def {
        name: "Identity",
        summary: "no change",
        formula: "y = x;  dx = dy",
        shapes: "any → the same",
        args: &[],
        make: |_| Ok(Box::new(Identity)),
    };
}

impl Layer for Identity {
    fn spec(&self) -> Spec {
        Spec::new("Identity")
    }

    fn declare(&self, x: &[usize], _: &mut Declare) -> Result<Vec<usize>> {
        Ok(x.to_vec())
    }

    fn emit(&self, _: &mut Emit<'_>, x: Value) -> (Value, Back) {
        (x, Box::new(|_, dy| dy))
    }
}
