//! A convolution and the maximum pooling of what it gives, which is never anywhere as a whole; and so the gradient of that. Plans put
//! these in the place of the ops they are made of (`conv2d.rs`, `max_pool2d.rs`, `sum.rs`), whose definitions they have.

use gradus_kernels::conv::Conv;
use gradus_kernels::conv::pooled::{can_pool, conv2d_max_pool2d};
use gradus_kernels::conv::pooled_grad::{can_pool_grad, conv2d_max_pool2d_grad, partials};
use gradus_kernels::pooling;
use gradus_kernels::sums::sum_rows;

use super::conv2d::{Conv2d, Sizes, WeightGrad, bordered, of_bordered, with_border};
use super::sum::SumGrad;
use super::{Case, Cost, Op, Window, max_pool2d};
use crate::exec::cpu::{Layout, Lower, Run, layout};
use crate::program::Info;

/// A convolution, then a pooling.
#[derive(Debug)]
pub(super) struct Pooled {
    conv: Conv2d,
    pool: Window,
    between: Info,
}

impl Pooled {
    /// One that the CPU has a kernel for.
    pub fn new(conv: Conv2d, pool: Window, first: &Case, second: &Case) -> Option<Pooled> {
        let [x, w, between, y] = [first.reads[0], first.reads[1], first.writes[0], second.writes[0]];
        let kernel = conv.sizes(first).kernel(layout(x), layout(w), layout(between));
        let windows = pool.pooling(&between.dims, layout(between), layout(y));
        can_pool(&kernel, &windows, conv.map).then(|| Pooled { conv, pool, between: between.clone() })
    }

    /// The convolution alone.
    fn inner<'a>(&'a self, case: &Case<'a>) -> Case<'a> {
        Case { writes: vec![&self.between], ..case.clone() }
    }
}

impl Op for Pooled {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let conv = self.conv.line(r, &[""]);
        let (kh, kw) = self.pool.kernel;
        format!("{}, {} = max_pool2d({}, {kh}x{kw}{})", w[0], w[1], conv.trim_start_matches(" = "), self.pool)
    }

    fn cost(&self, case: &Case) -> Cost {
        let windows = case.pointwise((self.pool.kernel.0 * self.pool.kernel.1) as u64);
        Cost { flops: self.conv.cost(&self.inner(case)).flops + windows.flops, bytes: case.bytes() }
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let image = (self.between.dims[1], self.between.dims[2]);
        let mut between = [vec![0.0; self.between.len(case.batch())]];
        self.conv.define(&self.inner(case), r, &mut between);
        let outputs = case.writes[0].dims[1] * case.writes[0].dims[2];
        let [y, at] = w else { unreachable!("two operands are written") };
        max_pool2d::define(self.pool, image, &between[0], (y, at), outputs);
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, w, y, at, map) = (l.read(0), l.read(1), l.write(0), l.write(1), self.conv.map);
        max_pool2d::check(at.layout, y.layout);
        let between = layout(&self.between);
        let sizes = Sizes { window: self.conv.window, batch: 0, x: l.read_dims(0), y: &self.between.dims };
        let conv = sizes.kernel(x.layout, w.layout, between);
        let windows = self.pool.pooling(&self.between.dims, between, y.layout);
        let of = of_batch(conv, windows);
        if l.reads() == 3 {
            let b = l.read(2);
            l.kernel([x.span, w.span, b.span], [y.span], [], [at.ints], move |run, s| {
                let ((conv, windows), [x, w, b], [y], [at]) = (of(run), s.read, s.write, s.int_write);
                conv2d_max_pool2d(run.cpu, &conv, &windows, x, w, Some(b), y, at, map);
            });
        } else {
            l.kernel([x.span, w.span], [y.span], [], [at.ints], move |run, s| {
                let ((conv, windows), [x, w], [y], [at]) = (of(run), s.read, s.write, s.int_write);
                conv2d_max_pool2d(run.cpu, &conv, &windows, x, w, None, y, at, map);
            });
        }
    }
}

/// Both, of the samples that are run.
fn of_batch(conv: Conv, windows: pooling::Window) -> impl Fn(&Run) -> (Conv, pooling::Window) {
    move |run| (Conv { batch: run.batch(), ..conv }, pooling::Window { batch: run.batch(), ..windows })
}

/// The gradient of a pooling, then those of the weight and the bias of the convolution before it. Reads x, dy, positions and, with
/// `relu`, the largest numbers.
#[derive(Debug)]
pub(super) struct PooledGrad {
    conv: WeightGrad,
    pool: Window,
    relu: bool,
    between: Info,
}

impl PooledGrad {
    /// One that the CPU has a kernel for.
    pub fn new(conv: WeightGrad, pool: Window, relu: bool, first: &Case, second: &Case) -> Option<PooledGrad> {
        let [x, between, dw, dy] = [second.reads[0], second.reads[1], second.writes[0], first.reads[0]];
        let kernel = conv.sizes(second).kernel(layout(x), layout(dw), layout(between));
        let has_border = bordered(&conv.window, &x.dims, false) > 0;
        let kernel = if has_border { of_bordered(kernel, kernel.ci) } else { kernel };
        let windows = pool.pooling(&between.dims, layout(between), layout(dy));
        can_pool_grad(&kernel, &windows).then(|| PooledGrad { conv, pool, relu, between: between.clone() })
    }

    /// The gradients of weight and bias alone.
    fn inner<'a>(&'a self, case: &Case<'a>) -> [Case<'a>; 2] {
        let of = |reads, write: usize| Case {
            reads,
            writes: vec![case.writes[write.min(case.writes.len() - 1)]],
            ..case.clone()
        };
        [of(vec![case.reads[0], &self.between], 0), of(vec![&self.between], 1)]
    }
}

impl Op for PooledGrad {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let relu = if self.relu { format!(" ∗ [{} > 0]", r[3]) } else { String::new() };
        let dy = format!("({} put back at {}{relu})", r[1], r[2]);
        let bias = w.get(1).map_or(String::new(), |b| format!(";  {}", SumGrad::default().line(&[&dy], &[b])));
        self.conv.line(&[r[0], &dy], &w[..1]) + &bias
    }

    fn cost(&self, case: &Case) -> Cost {
        let [conv, sums] = self.inner(case);
        let sums = if case.writes.len() > 1 { SumGrad::default().cost(&sums).flops } else { 0 };
        Cost { flops: case.read_len(1) as u64 + self.conv.cost(&conv).flops + sums, bytes: case.bytes() }
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let mut between = vec![0.0; self.between.len(case.batch())];
        max_pool2d::put_back(case.reads[1], &self.between, &r[1..], self.relu, &mut between);
        let [conv, sums] = self.inner(case);
        let (dw, db) = w.split_at_mut(1);
        self.conv.define(&conv, &[r[0], &between], dw);
        if !db.is_empty() {
            SumGrad::default().define(&sums, &[&between], db);
        }
    }

    fn scratch(&self, case: &Case) -> usize {
        let dw = layout(case.writes[0]);
        case.batch() * (bordered(&self.conv.window, &case.reads[0].dims, false) + dw.sample() + dw.ld)
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, dy, at, dw, gradient) = (l.read(0), l.read(1), l.read(2), l.write(0), l.gradient(0));
        max_pool2d::check(at.layout, dy.layout);
        let between = layout(&self.between);
        let sizes = Sizes { window: self.conv.window, batch: 0, x: l.read_dims(0), y: &self.between.dims };
        let conv = sizes.kernel(x.layout, dw.layout, between);
        let Layout { n, ld, .. } = dw.layout;
        let (x_span, conv, scratch) = with_border(l, conv, &self.conv.window, dw.layout.sample() + ld);
        let windows = self.pool.pooling(&self.between.dims, between, dy.layout);
        let (of, relu, size) = (of_batch(conv, windows), self.relu, partials(&conv));
        let y = if relu { l.read(3) } else { dy };
        assert_eq!(y.layout, dy.layout, "gradients lie as the numbers do");
        l.kernel([x_span, dy.span, y.span], [scratch], [at.ints], [], move |run, s| {
            let ((conv, windows), [x, dy, y], [sums], [at]) = (of(run), s.read, s.write, s.int_read);
            conv2d_max_pool2d_grad(run.cpu, &conv, &windows, x, dy, at, relu.then_some(y), sums);
        });
        let bias = (l.writes() > 1).then(|| l.write(1));
        let of_weight = dw.layout.sample();
        l.kernel([scratch], [dw.span], [], [], move |run, s| {
            sum_rows(run.cpu, run.batch(), of_weight, size, s.read[0], s.write[0], gradient.total(run));
        });
        if let Some(db) = bias {
            l.kernel([scratch], [db.span], [], [], move |run, s| {
                let sums = &s.read[0][of_weight..];
                sum_rows(run.cpu, run.batch(), n, size, sums, s.write[0], gradient.total(run));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::testing::agree;

    #[test]
    fn with_a_pooling_it_agrees_too() {
        for layer in ["Conv2d 16 3", "Conv2d 33 2 bias=false", "Conv2d 9 3", "Conv2d 2 2"] {
            agree(&[layer, "ReLU", "MaxPool2d 2"], &[1, 9, 8]);
            agree(&[layer, "MaxPool2d 2", "ReLU", "Flatten", "Linear 3"], &[1, 6, 11]);
            agree(&[layer, "Tanh", "MaxPool2d 2"], &[1, 6, 6]);
        }
    }
}
