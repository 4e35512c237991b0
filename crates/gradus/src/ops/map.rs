//! Functions of every number, and their gradients from the output: y = f(x), dx = dy·f′.
//!
//! Order on the CPU: one function evaluation per number; `gradus_kernels::math` states its polynomials.

pub use gradus_kernels::pointwise::Map;
use gradus_kernels::pointwise::{map, map_grad};

use super::{Case, Cost, Kind, Op};
use crate::exec::cpu::Lower;
use crate::program::{Emit, Value};

impl Emit<'_> {
    /// y = f(x), of any shape.
    pub fn map(&mut self, f: Map, x: Value) -> Value {
        let y = self.batched_like(&self.name(""), x);
        self.op(Apply(f), &[x], &[y]);
        y
    }

    /// dx = dy·f′, with the derivative taken from the output y.
    pub fn map_grad(&mut self, f: Map, y: Value, dy: Value) -> Value {
        let dx = self.batched_like(&self.name(""), y);
        self.op(Grad(f), &[y, dy], &[dx]);
        dx
    }
}

/// f in f64.
pub(super) fn value(f: Map, x: f64) -> f64 {
    match f {
        Map::Identity => x,
        Map::ReLU => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Map::LeakyReLU(slope) => {
            if x < 0.0 {
                slope * x
            } else {
                x
            }
        }
        Map::Tanh => x.tanh(),
        Map::Sigmoid => 1.0 / (1.0 + (-x).exp()),
    }
}

/// f′ from the output y, in f64. ReLU′(0) = 0.
fn derivative(f: Map, y: f64) -> f64 {
    match f {
        Map::Identity => 1.0,
        Map::ReLU => f64::from(y > 0.0),
        Map::LeakyReLU(slope) => {
            if y > 0.0 {
                1.0
            } else {
                slope
            }
        }
        Map::Tanh => 1.0 - y * y,
        Map::Sigmoid => y * (1.0 - y),
    }
}

/// `relu(inner)`, or `inner` for the identity.
pub(super) fn wrap(f: Map, inner: &str) -> String {
    match f {
        Map::Identity => inner.to_string(),
        Map::ReLU => format!("relu({inner})"),
        Map::LeakyReLU(slope) => format!("leaky_relu({inner}, {slope})"),
        Map::Tanh => format!("tanh({inner})"),
        Map::Sigmoid => format!("sigmoid({inner})"),
    }
}

/// ` ∗ [y > 0]`: what the gradient of `f` multiplies by, from its output; nothing where there is none.
pub(super) fn times_derivative(f: Map, y: Option<&&str>) -> String {
    match (f, y) {
        (_, None) => String::new(),
        (Map::Identity, _) => " ∗ 1".to_string(),
        (Map::ReLU, Some(y)) => format!(" ∗ [{y} > 0]"),
        (Map::LeakyReLU(slope), Some(y)) => format!(" ∗ ({y} > 0 ? 1 : {slope})"),
        (Map::Tanh, Some(y)) => format!(" ∗ (1 − {y}²)"),
        (Map::Sigmoid, Some(y)) => format!(" ∗ {y}·(1 − {y})"),
    }
}

/// The same in f64.
pub(super) fn multiply_derivative(f: Map, y: Option<&&[f64]>, dx: &mut [f64]) {
    for (dx, y) in dx.iter_mut().zip(y.copied().unwrap_or_default()) {
        *dx *= derivative(f, *y);
    }
}

#[derive(Debug)]
struct Apply(Map);

impl Op for Apply {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = {}", w[0], wrap(self.0, r[0]))
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(if matches!(self.0, Map::Tanh | Map::Sigmoid) { 15 } else { 1 })
    }

    fn define(&self, _: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        for (y, x) in w[0].iter_mut().zip(r[0]) {
            *y = value(self.0, *x);
        }
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, y, f) = (l.read(0), l.write(0), self.0);
        let layout = x.layout;
        l.kernel([x.span], [y.span], [], [], move |run, s| {
            let len = layout.size(run.batch());
            map(run.cpu, f, &s.read[0][..len], &mut s.write[0][..len]);
        });
    }

    fn kind(&self) -> Kind {
        Kind::Map(self.0)
    }
}

#[derive(Debug)]
struct Grad(Map);

impl Op for Grad {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let d = times_derivative(self.0, r.first());
        format!("{} = {}{d}", w[0], r[1])
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(3)
    }

    fn define(&self, _: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        w[0].copy_from_slice(r[1]);
        multiply_derivative(self.0, r.first(), &mut w[0]);
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (y, dy, dx, f) = (l.read(0), l.read(1), l.write(0), self.0);
        let layout = y.layout;
        l.kernel([y.span, dy.span], [dx.span], [], [], move |run, s| {
            let len = layout.size(run.batch());
            map_grad(run.cpu, f, &s.read[0][..len], &s.read[1][..len], &mut s.write[0][..len]);
        });
    }

    fn kind(&self) -> Kind {
        Kind::MapGrad(self.0)
    }
}
