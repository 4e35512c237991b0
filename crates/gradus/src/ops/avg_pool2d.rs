//! The mean of each window of an image, channel by channel, and its gradient: y = Σ x/(kH·kW) over the window, dx = Σ dy/(kH·kW)
//! over the windows that cover it.
//!
//! Padding counts as zeros: a window is divided by its size wherever it lies (torch's `count_include_pad=True`).
//!
//! Order on the CPU. Forward: the numbers of a window that lie in the image are added one by one (rows before columns), then
//! the sum is divided by kH·kW. Gradient: dx starts at 0, and the dy, each divided by kH·kW first, are added in the order of
//! the outputs.

use gradus_kernels::pooling;

use super::{Case, Cost, Op, Window};
use crate::exec::cpu::Lower;
use crate::program::{Emit, Value};

impl Emit<'_> {
    /// x (B, C, H, W) → the means (B, C, H′, W′).
    pub fn avg_pool2d(&mut self, window: Window, x: Value) -> Value {
        let (h, w) = window.outputs(self.dims(x)[1], self.dims(x)[2]);
        let y = self.batched(&self.name(""), &[self.dims(x)[0], h, w]);
        self.op(AvgPool2d { window }, &[x], &[y]);
        y
    }

    /// The gradient of [`Emit::avg_pool2d`]: of the shape of `x`, each dy spread evenly over its window, 0 where no window is.
    pub fn avg_pool2d_grad(&mut self, window: Window, dy: Value, x: Value) -> Value {
        let dx = self.batched_like(&self.name(""), x);
        self.op(Grad { window }, &[dy], &[dx]);
        dx
    }
}

/// What a sum over the window is divided by.
fn size(window: Window) -> usize {
    window.kernel.0 * window.kernel.1
}

/// An addition for each number of each window and a division: both ways the same.
fn flops(window: Window, outputs: usize) -> u64 {
    ((size(window) + 1) * outputs) as u64
}

#[derive(Debug)]
struct AvgPool2d {
    window: Window,
}

impl Op for AvgPool2d {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let (kh, kw) = self.window.kernel;
        format!("{} = avg_pool2d({}, {kh}x{kw}{})", w[0], r[0], self.window)
    }

    fn cost(&self, case: &Case) -> Cost {
        Cost { flops: flops(self.window, case.write_len(0)), bytes: case.bytes() }
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let (h, width) = (case.reads[0].dims[1], case.reads[0].dims[2]);
        let outputs = case.writes[0].dims[1] * case.writes[0].dims[2];
        for (x, y) in r[0].chunks_exact(h * width).zip(w[0].chunks_exact_mut(outputs)) {
            self.window.each(h, width, |out, _, pixel| y[out] += x[pixel]);
            y.iter_mut().for_each(|y| *y /= size(self.window) as f64);
        }
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, y) = (l.read(0), l.write(0));
        let (p, layout) = (self.window.pooling(l.read_dims(0), x.layout, y.layout), y.layout);
        l.kernel([x.span], [y.span], [], [], move |run, s| {
            let p = pooling::Window { batch: layout.blocks(run.batch()), ..p };
            let [y] = s.write;
            pooling::avg_pool2d(run.cpu, &p, s.read[0], y);
        });
    }
}

#[derive(Debug)]
struct Grad {
    window: Window,
}

impl Op for Grad {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let (kh, kw) = self.window.kernel;
        format!("{} = avg_pool2d_grad({}, {kh}x{kw}{})", w[0], r[0], self.window)
    }

    fn cost(&self, case: &Case) -> Cost {
        Cost { flops: flops(self.window, case.read_len(0)), bytes: case.bytes() }
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let (h, width) = (case.writes[0].dims[1], case.writes[0].dims[2]);
        let outputs = case.reads[0].dims[1] * case.reads[0].dims[2];
        for (dy, dx) in r[0].chunks_exact(outputs).zip(w[0].chunks_exact_mut(h * width)) {
            self.window.each(h, width, |out, _, pixel| dx[pixel] += dy[out] / size(self.window) as f64);
        }
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (dy, dx) = (l.read(0), l.write(0));
        let (p, layout) = (self.window.pooling(l.write_dims(0), dx.layout, dy.layout), dy.layout);
        l.kernel([dy.span], [dx.span], [], [], move |run, s| {
            let p = pooling::Window { batch: layout.blocks(run.batch()), ..p };
            let [dx] = s.write;
            pooling::avg_pool2d_grad(run.cpu, &p, s.read[0], dx);
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::testing::{agree, explain};

    #[test]
    fn the_cpu_agrees_with_the_definition() {
        for (layer, input) in [
            ("AvgPool2d 1", [1, 1, 1]),
            ("AvgPool2d 2", [3, 7, 6]),
            ("AvgPool2d 3 stride=2 padding=1", [17, 7, 8]),
            ("AvgPool2d 3x2 stride=1x3", [16, 6, 5]),
            ("AvgPool2d 2 stride=1 padding=1", [35, 2, 1]),
            ("AvgPool2d 4x3 stride=2x1 padding=2x0", [2, 5, 4]),
            ("AvgPool2d 3 stride=1 padding=1", [8, 4, 5]),
        ] {
            agree(&[layer], &input);
            agree(&[layer, "Tanh", "AvgPool2d 1"], &input);
            // What it takes lies as data do, and what it gives otherwise; then both otherwise.
            agree(&["Tanh", layer, "Flatten", "Linear 2"], &input);
            agree(&["Conv2d 3 1", layer, "Flatten", "Linear 2"], &input);
        }
    }

    #[test]
    fn both_ops_print_what_they_do() {
        let text = explain(&["Tanh", "AvgPool2d 3x2 stride=2 padding=1", "Flatten", "Linear 1"], &[1, 4, 4]);
        assert!(text.contains("net.1 = avg_pool2d(net.0, 3x2, stride 2, padding 1)"), "{text}");
        assert!(text.contains("= avg_pool2d_grad("), "{text}");
    }
}
