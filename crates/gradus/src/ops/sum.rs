//! The gradient of a bias: db += Σ dy over samples and positions, per feature or channel.
//!
//! Order on the CPU. Vectors: one chain per feature that starts from the stored db (or 0) and runs over the samples
//! ascending; that of a layer with a narrow weight has the order of [`bias_grad`]. Images: a partial sum per image from 0
//! over the positions ascending, added in image order to the stored db (or 0).

use gradus_kernels::conv::interleaved::sum_samples;
use gradus_kernels::narrow::bias_grad;
use gradus_kernels::sums::{Total, sum_groups, sum_rows, sum_rows_grouped};

use super::{Case, Cost, Kind, Op};
use crate::exec::cpu::{Layout, Lower, layout};
use crate::program::{Emit, Value};

impl Emit<'_> {
    /// db += Σ dy over all but the first dimension of a sample: dy (B, C, …), b (C).
    pub fn sum_grad(&mut self, b: Value, dy: Value) {
        let db = self.grad(b);
        self.op(SumGrad::default(), &[dy], &[db]);
    }
}

#[derive(Debug, Default)]
pub(super) struct SumGrad {
    /// Whether it is of a layer with a narrow weight.
    pub narrow: bool,
}

impl Op for SumGrad {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} += Σ {}", w[0], r[0])
    }

    fn cost(&self, case: &Case) -> Cost {
        Cost { flops: case.read_len(0) as u64, bytes: case.bytes() }
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let dims = &case.reads[0].dims;
        let (c, inner) = (dims[0], dims[1..].iter().product::<usize>());
        for j in 0..c {
            let mut sum = if case.adds { w[0][j] } else { 0.0 };
            for s in 0..case.batch() {
                sum += r[0][(s * c + j) * inner..][..inner].iter().sum::<f64>();
            }
            w[0][j] = sum;
        }
    }

    fn scratch(&self, case: &Case) -> usize {
        let dy = layout(case.reads[0]);
        match (dy.group, dy.together) {
            (1, 1) => 0,
            _ => dy.blocks(case.batch()) * dy.ld,
        }
    }

    fn can_move(&self, _: &Case) -> bool {
        true
    }

    fn kind(&self) -> Kind {
        Kind::BiasGrad { narrow: self.narrow }
    }

    fn needs_batch(&self) -> bool {
        self.narrow
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (dy, db, gradient, partials) = (l.read(0), l.write(0), l.gradient(0), l.scratch());
        let Layout { group, n, ld, together, .. } = dy.layout;
        let narrow = self.narrow;
        assert!(!narrow || ld == n, "vectors of a few numbers have no padding");
        if (group, together) == (1, 1) {
            return l.kernel([dy.span], [db.span, gradient.parameter], [], [], move |run, s| {
                let (total, [db, b]) = (gradient.total(run), s.write);
                let out = if let Total::Sgd(_) = total { b } else { db };
                match narrow {
                    true => bias_grad(run.cpu, run.batch(), (n, s.read[0]), out, total),
                    false => sum_rows(run.cpu, run.batch(), n, ld, s.read[0], out, total),
                }
            });
        }
        l.kernel([dy.span], [db.span, gradient.parameter, partials], [], [], move |run, s| {
            let ([dy], [db, b, partials], batch, total) = (s.read, s.write, run.batch(), gradient.total(run));
            let out = if let Total::Sgd(_) = total { b } else { db };
            if together > 1 {
                sum_groups(run.cpu, batch.div_ceil(together), group, ld, ld, dy, partials);
                return sum_samples(run.cpu, batch, 1, n, partials, n, out, total);
            }
            if run.cpu.pool.threads() == 1 {
                return sum_rows_grouped(run.cpu, batch * group, group, n, ld, dy, out, total);
            }
            // The same sums, but the partials of the images are kept and added afterwards.
            sum_groups(run.cpu, batch, group, n, ld, dy, partials);
            sum_rows(run.cpu, batch, n, ld, partials, out, total);
        });
    }
}
