//! A user's own function of every number, given in f64: y = f(x), dx = dy·f′(x).
//!
//! Order on the CPU: the number is widened to f64, the function is called, the result is rounded to f32; the gradient's
//! product is taken in f32.

use super::{Case, Cost, Op};
use crate::exec::cpu::Lower;
use crate::layers::Scalar;
use crate::program::{Emit, Value};

impl Emit<'_> {
    /// y = f(x), of any shape; `name` is what `explain` calls f.
    pub fn apply(&mut self, name: &str, f: &Scalar, x: Value) -> Value {
        let y = self.batched_like(&self.name(""), x);
        self.op(Apply { name: name.to_string(), f: f.clone(), factor: false }, &[x], &[y]);
        y
    }

    /// dx = dy·f′(x).
    pub fn apply_grad(&mut self, name: &str, df: &Scalar, x: Value, dy: Value) -> Value {
        let dx = self.batched_like(&self.name(""), x);
        self.op(Apply { name: format!("{name}′"), f: df.clone(), factor: true }, &[x, dy], &[dx]);
        dx
    }
}

/// f(x), times a second operand where `factor`.
struct Apply {
    name: String,
    f: Scalar,
    factor: bool,
}

impl std::fmt::Debug for Apply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Apply({})", self.name)
    }
}

impl Op for Apply {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        match r.get(1) {
            Some(dy) => format!("{} = {dy} ∗ {}({})", w[0], self.name, r[0]),
            None => format!("{} = {}({})", w[0], self.name, r[0]),
        }
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(1 + u64::from(self.factor))
    }

    fn define(&self, _: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        for (i, y) in w[0].iter_mut().enumerate() {
            *y = (self.f)(r[0][i]) * r.get(1).map_or(1.0, |dy| dy[i]);
        }
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, y, f) = (l.read(0), l.write(0), self.f.clone());
        let layout = x.layout;
        // Padding is passed over: the function may have side effects or be slow there.
        let value = move |x: f32| f(f64::from(x)) as f32;
        if self.factor {
            let dy = l.read(1);
            l.kernel([x.span, dy.span], [y.span], [], [], move |run, s| {
                for at in layout.numbers(run.batch()) {
                    s.write[0][at] = s.read[1][at] * value(s.read[0][at]);
                }
            });
        } else {
            l.kernel([x.span], [y.span], [], [], move |run, s| {
                for at in layout.numbers(run.batch()) {
                    s.write[0][at] = value(s.read[0][at]);
                }
            });
        }
    }
}
