//! The largest number of each window of an image, channel by channel, and its gradient: y = max x over the window,
//! dx = Σ dy of the windows whose largest number it is.
//!
//! The first of equal numbers wins (rows before columns); NaN wins over all, the last one. Padding never wins.
//!
//! Order on the CPU. Forward: no arithmetic. Gradient: dx starts at 0, and the dy are added in the order of the outputs.

use gradus_kernels::pooling;

use super::{Case, Cost, Kind, Map, Op, Window};
use crate::exec::cpu::{Layout, Lower};
use crate::program::{Emit, Info, Value};

impl Emit<'_> {
    /// x (B, C, H, W) → the largest numbers (B, C, H′, W′), and where in its image (h·W + w) each of them is.
    pub fn max_pool2d(&mut self, window: Window, x: Value) -> (Value, Value) {
        let (h, w) = window.outputs(self.dims(x)[1], self.dims(x)[2]);
        let dims = [self.dims(x)[0], h, w];
        let y = self.batched(&self.name(""), &dims);
        let at = self.batched_ints(&self.name("argmax"), &dims);
        self.op(MaxPool2d { window }, &[x], &[y, at]);
        (y, at)
    }

    /// The gradient of [`Emit::max_pool2d`], from what it gave: of the shape of `x`, dy where the largest numbers were,
    /// else 0.
    pub fn max_pool2d_grad(&mut self, window: Window, dy: Value, (y, at): (Value, Value), x: Value) -> Value {
        let dx = self.batched_like(&self.name(""), x);
        self.op(Grad { window, x, y, relu: false }, &[dy, at], &[dx]);
        dx
    }
}

/// The kernels keep positions as they keep numbers.
pub(super) fn check(at: Layout, y: Layout) {
    assert_eq!(at, y, "positions lie as the largest numbers do");
}

/// The largest numbers of all images of that size, and where they are.
pub(super) fn define(
    window: Window,
    (h, w): (usize, usize),
    x: &[f64],
    (y, at): (&mut [f64], &mut [f64]),
    outputs: usize,
) {
    for (image, x) in x.chunks_exact(h * w).enumerate() {
        let mut seen = vec![false; outputs];
        window.each(h, w, |out, _, pixel| {
            let (to, v) = (image * outputs + out, x[pixel]);
            if !seen[out] || v > y[to] || v.is_nan() {
                (seen[out], y[to], at[to]) = (true, v, pixel as f64);
            }
        });
    }
}

/// Adds dy to dx where the largest numbers were; with `relu`, where they were above 0. Reads dy, positions and the numbers.
pub(super) fn put_back(dy: &Info, dx: &Info, r: &[&[f64]], relu: bool, to: &mut [f64]) {
    let (outputs, pixels) = (dy.dims[1] * dy.dims[2], dx.dims[1] * dx.dims[2]);
    for (i, (dy, at)) in r[0].iter().zip(r[1]).enumerate() {
        if !relu || r[2][i] > 0.0 {
            to[i / outputs * pixels + *at as usize] += dy;
        }
    }
}

#[derive(Debug)]
struct MaxPool2d {
    window: Window,
}

impl Op for MaxPool2d {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let (kh, kw) = self.window.kernel;
        format!("{}, {} = max_pool2d({}, {kh}x{kw}{})", w[0], w[1], r[0], self.window)
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise((self.window.kernel.0 * self.window.kernel.1) as u64)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let (h, width) = (case.reads[0].dims[1], case.reads[0].dims[2]);
        let outputs = case.writes[0].dims[1] * case.writes[0].dims[2];
        let [y, at] = w else { unreachable!("two operands are written") };
        define(self.window, (h, width), r[0], (y, at), outputs);
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, y, at) = (l.read(0), l.write(0), l.write(1));
        check(at.layout, y.layout);
        let layout = y.layout;
        let p = self.window.pooling(l.read_dims(0), x.layout, y.layout);
        l.kernel([x.span], [y.span], [], [at.ints], move |run, s| {
            let p = pooling::Window { batch: layout.blocks(run.batch()), ..p };
            let ([y], [at]) = (s.write, s.int_write);
            pooling::max_pool2d(run.cpu, &p, s.read[0], y, at);
        });
    }

    fn kind(&self) -> Kind {
        Kind::MaxPool(self.window)
    }
}

#[derive(Debug)]
struct Grad {
    window: Window,
    /// What was pooled, and the largest numbers.
    x: Value,
    y: Value,
    /// Whether it goes on through the ReLU before the pooling. The largest numbers are read for that.
    relu: bool,
}

impl Op for Grad {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let put_back = format!("{} = {} put back at {}", w[0], r[0], r[1]);
        if self.relu { format!("{put_back} ∗ [{} > 0]", r[2]) } else { put_back }
    }

    fn cost(&self, case: &Case) -> Cost {
        Cost { flops: case.read_len(0) as u64, bytes: case.bytes() }
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        put_back(case.reads[0], case.writes[0], r, self.relu, &mut w[0]);
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (dy, at, dx) = (l.read(0), l.read(1), l.write(0));
        check(at.layout, dy.layout);
        let layout = dy.layout;
        let p = self.window.pooling(l.write_dims(0), dx.layout, dy.layout);
        let relu = self.relu;
        let y = if relu { l.read(2) } else { dy };
        assert_eq!(y.layout, dy.layout, "gradients lie as the numbers do");
        l.kernel([dy.span, y.span], [dx.span], [at.ints], [], move |run, s| {
            let p = pooling::Window { batch: layout.blocks(run.batch()), ..p };
            let ([dy, y], [dx]) = (s.read, s.write);
            pooling::max_pool2d_grad(run.cpu, &p, dy, s.int_read[0], relu.then_some(y), dx);
        });
    }

    fn kind(&self) -> Kind {
        Kind::MaxPoolGrad { window: self.window, relu: self.relu }
    }

    fn with_map_grad(&self, map: Map, y: Value) -> Option<(Box<dyn Op>, Value)> {
        // Where a window has its maximum, the ReLU gave that maximum; everywhere else the gradient is 0 already.
        let Grad { window, x, y: pooled, relu } = *self;
        let apart = window.stride.0 >= window.kernel.0 && window.stride.1 >= window.kernel.1;
        let both = map == Map::ReLU && y == x && apart && !relu;
        both.then(|| (Box::new(Grad { window, x, y: pooled, relu: true }) as Box<dyn Op>, pooled))
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::testing::{agree, explain};

    #[test]
    fn the_cpu_agrees_with_the_definition() {
        for (layer, input) in [
            ("MaxPool2d 1", [1, 1, 1]),
            ("MaxPool2d 2", [3, 7, 6]),
            ("MaxPool2d 3 stride=2 padding=1", [17, 7, 8]),
            ("MaxPool2d 3x2 stride=1x3", [16, 6, 5]),
            ("MaxPool2d 2 stride=1 padding=1", [35, 2, 1]),
            ("MaxPool2d 4x3 stride=2x1 padding=2x0", [2, 5, 4]),
        ] {
            agree(&[layer], &input);
            agree(&[layer, "Tanh", "MaxPool2d 1"], &input);
        }
    }

    #[test]
    fn both_ops_print_what_they_do() {
        let text = explain(&["MaxPool2d 2", "Flatten", "Linear 1"], &[1, 4, 4]);
        assert!(text.contains("net.0, net.0.argmax = max_pool2d(x, 2x2, stride 2)"), "{text}");
    }
}
