//! The sum of two values of the same shape: joins by add, and gradients where a value was read more than once.
//!
//! Order on the CPU: one addition per number, the earlier value first.

use gradus_kernels::pointwise::add;

use super::{Case, Cost, Op};
use crate::exec::cpu::Lower;
use crate::program::{Emit, Value};

impl Emit<'_> {
    /// a + b.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        let y = self.batched_like(&self.name("sum"), a);
        self.op(Add, &[a, b], &[y]);
        y
    }
}

#[derive(Debug)]
struct Add;

impl Op for Add {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = {} + {}", w[0], r[0], r[1])
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(1)
    }

    fn define(&self, _: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        for (i, y) in w[0].iter_mut().enumerate() {
            *y = r[0][i] + r[1][i];
        }
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (a, b, y) = (l.read(0), l.read(1), l.write(0));
        let layout = y.layout;
        l.kernel([a.span, b.span], [y.span], [], [], move |run, s| {
            let len = layout.size(run.batch());
            add(run.cpu, &s.read[0][..len], &s.read[1][..len], &mut s.write[0][..len]);
        });
    }
}
