//! `Activation`: a user's own function of every number, given as value and derivative.
//!
//! y = f(x); dx = dy·f′(x). Kept for the backward pass: x. A file stores the name alone; to load it, register the same
//! name with [`Registry::activation`](crate::Registry::activation).

use std::fmt;
use std::sync::Arc;

use super::{Back, Declare, Layer};
use crate::error::Result;
use crate::program::{Emit, Value};
use crate::spec::Spec;

/// The function or derivative of an [`Activation`].
pub type Scalar = Arc<dyn Fn(f64) -> f64 + Send + Sync>;

/// A named function of every number with its derivative.
#[derive(Clone)]
pub struct Activation {
    name: String,
    f: Scalar,
    df: Scalar,
}

impl Activation {
    /// The function `f` with derivative `df`, both of the input x.
    pub fn new(
        name: &str,
        f: impl Fn(f64) -> f64 + Send + Sync + 'static,
        df: impl Fn(f64) -> f64 + Send + Sync + 'static,
    ) -> Activation {
        Activation { name: name.to_string(), f: Arc::new(f), df: Arc::new(df) }
    }

    /// Its name in files.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Activation({})", self.name)
    }
}

impl Layer for Activation {
    fn spec(&self) -> Spec {
        Spec::new(&self.name)
    }

    fn declare(&self, x: &[usize], _: &mut Declare) -> Result<Vec<usize>> {
        Ok(x.to_vec())
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back) {
        let y = e.apply(&self.name, &self.f, x);
        let (name, df) = (self.name.clone(), self.df.clone());
        (y, Box::new(move |e, dy| e.apply_grad(&name, &df, x, dy)))
    }
}
