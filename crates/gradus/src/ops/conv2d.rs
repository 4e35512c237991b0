//! Convolution of images (torch's: a cross-correlation) and its gradients. With r = i·stride + u − padding and
//! c = j·stride + v − padding, over what lies inside the image:
//! y(o, i, j) = b(o) + Σ W(o, k, u, v)·x(k, r, c), dW(o, k, u, v) += Σ x(k, r, c)·dy(o, i, j),
//! dx(k, r, c) = Σ W(o, k, u, v)·dy(o, i, j).
//!
//! Order on the CPU. Forward: each y is one chain of fused multiply-adds that starts from the bias (or 0) and runs over
//! (u, v, k) ascending. Weight gradient: for each image one chain from 0 over (i, j) ascending; these partials are added in
//! image order to the stored dW (or 0 when gradients are fresh). Input gradient: each dx is one chain from 0 over (u, v, o)
//! ascending. Taps that fall outside of the image are left out of their chain; but the weight gradient of a few channels
//! multiplies them as zeros, which changes a bit only where dy is not finite.
//!
//! The CPU stores W as (kH, kW, I, O) with rows padded to whole registers: outputs lie along the lanes. The input gradient
//! needs inputs along the lanes and transposes each tap of W into scratch first.

use gradus_kernels::Span;
use gradus_kernels::conv::{Conv, conv2d, conv2d_input_grad, conv2d_weight_grad, interleaved};
use gradus_kernels::layout::{Transpose, add_border, transpose};
use gradus_kernels::pointwise::Finish;
use gradus_kernels::sums::sum_rows;

use super::conv2d_pooled::{Pooled, PooledGrad};
use super::{Case, Cost, Map, Op, Window};
use crate::exec::cpu::{Layout, Lower, lanes, layout};
use crate::program::{Emit, Value};

impl Emit<'_> {
    /// y = W ⋆ x + b: x (B, I, H, W), w (O, I, kH, kW), b (O) → (B, O, H′, W′).
    pub fn conv2d(&mut self, window: Window, x: Value, w: Value, b: Option<Value>) -> Value {
        let (out_h, out_w) = window.outputs(self.dims(x)[1], self.dims(x)[2]);
        let y = self.batched(&self.name(""), &[self.dims(w)[0], out_h, out_w]);
        let mut reads = vec![x, w];
        reads.extend(b);
        self.op(Conv2d { window, map: Map::Identity }, &reads, &[y]);
        y
    }

    /// dW += x ⋆ dy: x (B, I, H, W), dy (B, O, H′, W′).
    pub fn conv2d_weight_grad(&mut self, window: Window, w: Value, x: Value, dy: Value) {
        let dw = self.grad(w);
        self.op(WeightGrad { window }, &[x, dy], &[dw]);
    }

    /// dx = Wᵀ ⋆ dy: dy (B, O, H′, W′), w (O, I, kH, kW) → the shape of `x`, (B, I, H, W).
    pub fn conv2d_input_grad(&mut self, window: Window, dy: Value, w: Value, x: Value) -> Value {
        let dx = self.batched_like(&self.name(""), x);
        self.op(InputGrad { window, map: Map::Identity }, &[dy, w], &[dx]);
        dx
    }
}

/// The sizes of one run, from the shapes of x (or dx) and y (or dy).
pub(super) struct Sizes<'a> {
    pub window: Window,
    pub batch: usize,
    pub x: &'a [usize],
    pub y: &'a [usize],
}

impl Sizes<'_> {
    /// Calls `f(y, x, w)` with the positions of each y(o, i, j), x(k, r, c) and W(o, k, u, v) that meet in a product.
    fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let (ci, co, pixels, outputs) = (self.x[0], self.y[0], self.x[1] * self.x[2], self.y[1] * self.y[2]);
        let taps = self.window.kernel.0 * self.window.kernel.1;
        for s in 0..self.batch {
            for (o, k) in (0..co).flat_map(|o| (0..ci).map(move |k| (o, k))) {
                self.window.each(self.x[1], self.x[2], |out, tap, pixel| {
                    f((s * co + o) * outputs + out, (s * ci + k) * pixels + pixel, (o * ci + k) * taps + tap);
                });
            }
        }
    }

    fn cost(&self, case: &Case) -> Cost {
        let taps = self.window.kernel.0 * self.window.kernel.1;
        let products = self.batch * self.y.iter().product::<usize>() * self.x[0] * taps;
        Cost { flops: 2 * products as u64, bytes: case.bytes() }
    }

    /// The kernel's description of it, from how x, W and y lie.
    pub fn kernel(&self, x: Layout, w: Layout, y: Layout) -> Conv {
        let Window { kernel: (kh, kw), stride, padding } = self.window;
        let (ldx, ldw, ldy, interleaved) = (x.ld, w.ld, y.ld, x.together > 1);
        let (ci, h, w, co) = (self.x[0], self.x[1], self.x[2], self.y[0]);
        Conv { batch: self.batch, ci, h, w, co, kh, kw, stride, padding, ldx, ldw, ldy, interleaved }
    }
}

#[derive(Debug)]
pub(super) struct Conv2d {
    pub window: Window,
    pub map: Map,
}

impl Conv2d {
    pub fn sizes<'a>(&self, case: &'a Case) -> Sizes<'a> {
        Sizes { window: self.window, batch: case.batch(), x: &case.reads[0].dims, y: &case.writes[0].dims }
    }
}

impl Op for Conv2d {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let bias = r.get(2).map_or(String::new(), |b| format!(" + {b}"));
        let sum = format!("conv2d({}, {}{}){bias}", r[0], r[1], self.window);
        format!("{} = {}", w[0], super::map::wrap(self.map, &sum))
    }

    fn cost(&self, case: &Case) -> Cost {
        self.sizes(case).cost(case)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let sizes = self.sizes(case);
        if let Some(b) = r.get(2) {
            let image = sizes.y[1] * sizes.y[2];
            w[0].chunks_exact_mut(image).enumerate().for_each(|(at, y)| y.fill(b[at % b.len()]));
        }
        sizes.each(|y, x, k| w[0][y] += r[0][x] * r[1][k]);
        w[0].iter_mut().for_each(|y| *y = super::map::value(self.map, *y));
    }

    fn columns(&self, case: &Case) -> usize {
        case.writes[0].dims[0]
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, w, y, map) = (l.read(0), l.read(1), l.write(0), self.map);
        let sizes = Sizes { window: self.window, batch: 0, x: l.read_dims(0), y: l.write_dims(0) };
        let conv = sizes.kernel(x.layout, w.layout, y.layout);
        if l.reads() == 3 {
            let b = l.read(2);
            l.kernel([x.span, w.span, b.span], [y.span], [], [], move |run, s| {
                let conv = Conv { batch: run.batch(), ..conv };
                conv2d(run.cpu, &conv, s.read[0], s.read[1], Some(s.read[2]), s.write[0], map);
            });
        } else {
            l.kernel([x.span, w.span], [y.span], [], [], move |run, s| {
                let conv = Conv { batch: run.batch(), ..conv };
                conv2d(run.cpu, &conv, s.read[0], s.read[1], None, s.write[0], map);
            });
        }
    }

    fn with_map(&self, map: Map) -> Option<Box<dyn Op>> {
        (self.map == Map::Identity).then(|| Box::new(Conv2d { map, ..*self }) as Box<dyn Op>)
    }

    fn with_max_pool(&self, pool: Window, [conv, pooled]: [&Case; 2]) -> Option<Box<dyn Op>> {
        Pooled::new(Conv2d { ..*self }, pool, conv, pooled).map(|op| Box::new(op) as Box<dyn Op>)
    }
}

#[derive(Debug)]
pub(super) struct WeightGrad {
    pub window: Window,
}

/// Where threads share the gradient of so few weights, they share out the images: the weights are too few to be split.
fn by_image(w: Layout) -> bool {
    w.sample() <= 1024
}

/// Images of fewer channels than a tile has rows get their border in memory, where there is one: tiles go across taps then.
/// Interleaved ones do with any number of channels.
const FEW: usize = 12;

/// Numbers of such an image, or 0.
pub(super) fn bordered(window: &Window, x: &[usize], interleaved: bool) -> usize {
    let Window { kernel, padding, .. } = *window;
    if (interleaved || x[0] < FEW) && padding != (0, 0) && padding.0 < kernel.0 && padding.1 < kernel.1 {
        x[0] * (x[1] + 2 * padding.0) * (x[2] + 2 * padding.1)
    } else {
        0
    }
}

/// Where the images that an op reads first are with their border, if they get one: at the start of the scratch, which has as many
/// numbers as the batch wants of both them and what takes `rest` for each image (or for those that lie together). That, the kernel of
/// those images, and what is left of the scratch.
pub(super) fn with_border(l: &mut Lower<'_>, conv: Conv, window: &Window, rest: usize) -> (Span, Conv, Span) {
    let (x, scratch) = (l.read(0), l.scratch());
    let layout = x.layout;
    let each = layout.together * bordered(window, l.read_dims(0), layout.together > 1);
    if each == 0 {
        return (x.span, conv, scratch);
    }
    let len = scratch.len / (each + rest) * each;
    let (images, left) =
        (Span { len, ..scratch }, Span { start: scratch.start + len, len: scratch.len - len, ..scratch });
    let (Conv { h, w, ldx, padding, .. }, n) = (conv, conv.ci * layout.together);
    l.kernel([x.span], [images], [], [], move |run, s| {
        add_border(run.cpu, layout.blocks(run.batch()), [h, w, n], s.read[0], ldx, padding, s.write[0]);
    });
    (images, of_bordered(conv, n), left)
}

/// The kernel of the same images with their border in memory, pixels `ldx` apart.
pub(super) fn of_bordered(conv: Conv, ldx: usize) -> Conv {
    let Conv { h, w, padding, .. } = conv;
    Conv { h: h + 2 * padding.0, w: w + 2 * padding.1, padding: (0, 0), ldx, ..conv }
}

impl WeightGrad {
    /// The kernels for interleaved images.
    fn lower_interleaved(&self, l: &mut Lower<'_>, conv: Conv) {
        let (dy, dw, gradient) = (l.read(1), l.write(0), l.gradient(0));
        let rest = l.read(0).layout.together * dw.layout.group * dw.layout.n;
        let (x_span, conv, partials) = with_border(l, conv, &self.window, rest);
        l.kernel([x_span, dy.span], [dw.span, partials], [], [], move |run, s| {
            let (conv, [dw, partials]) = (Conv { batch: run.batch(), ..conv }, s.write);
            interleaved::conv2d_weight_grad(run.cpu, &conv, s.read[0], s.read[1], partials, dw, gradient.adds(run));
        });
    }

    pub fn sizes<'a>(&self, case: &'a Case) -> Sizes<'a> {
        Sizes { window: self.window, batch: case.batch(), x: &case.reads[0].dims, y: &case.reads[1].dims }
    }
}

impl Op for WeightGrad {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} += conv2d_weight_grad({}, {}{})", w[0], r[0], r[1], self.window)
    }

    fn cost(&self, case: &Case) -> Cost {
        self.sizes(case).cost(case)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        if !case.adds {
            w[0].fill(0.0);
        }
        self.sizes(case).each(|y, x, k| w[0][k] += r[0][x] * r[1][y]);
    }

    fn scratch(&self, case: &Case) -> usize {
        let (x, dw) = (layout(case.reads[0]), layout(case.writes[0]));
        if x.together > 1 {
            let of_block = bordered(&self.window, &case.reads[0].dims, true) + dw.group * dw.n;
            return x.blocks(case.batch()) * x.together * of_block;
        }
        let partials = if by_image(dw) { dw.sample() } else { 0 };
        case.batch() * (bordered(&self.window, &case.reads[0].dims, false) + partials)
    }

    fn columns(&self, case: &Case) -> usize {
        case.writes[0].dims[0]
    }

    fn interleaves(&self, case: &Case) -> bool {
        self.window.padding == (0, 0) || bordered(&self.window, &case.reads[0].dims, true) > 0
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, dy, dw) = (l.read(0), l.read(1), l.write(0));
        let sizes = Sizes { window: self.window, batch: 0, x: l.read_dims(0), y: l.read_dims(1) };
        let conv = sizes.kernel(x.layout, dw.layout, dy.layout);
        if conv.interleaved {
            return self.lower_interleaved(l, conv);
        }
        let rest = if by_image(dw.layout) { dw.layout.sample() } else { 0 };
        let (x_span, conv, partials) = with_border(l, conv, &self.window, rest);
        let image_x = conv.h * conv.w * conv.ldx;
        let gradient = l.gradient(0);
        let (by_image, size, outputs) = (by_image(dw.layout), dw.layout.sample(), dy.layout.group);
        let image_y = dy.layout.sample();
        l.kernel([x_span, dy.span], [dw.span, partials], [], [], move |run, s| {
            let ([x, dy], [dw, partials], batch) = (s.read, s.write, run.batch());
            if !by_image || run.cpu.pool.threads() == 1 {
                return conv2d_weight_grad(run.cpu, &Conv { batch, ..conv }, x, dy, dw, gradient.adds(run));
            }
            // The same sums, but the partials of the images are kept and added afterwards.
            let image = Conv { batch: 1, ..conv };
            run.cpu.pool.each_row(outputs.div_ceil(4), size, &mut partials[..batch * size], |i, partial| {
                partial.fill(0.0); // the padding too
                conv2d_weight_grad(run.cpu, &image, &x[i * image_x..], &dy[i * image_y..], partial, false);
            });
            sum_rows(run.cpu, batch, size, size, partials, dw, gradient.total(run));
        });
    }

    fn with_max_pool_grad(&self, pool: Window, relu: bool, [pooled, conv]: [&Case; 2]) -> Option<Box<dyn Op>> {
        PooledGrad::new(WeightGrad { ..*self }, pool, relu, pooled, conv).map(|op| Box::new(op) as Box<dyn Op>)
    }
}

#[derive(Debug)]
struct InputGrad {
    window: Window,
    /// Whose gradient follows, from its output.
    map: Map,
}

impl InputGrad {
    fn sizes<'a>(&self, case: &'a Case) -> Sizes<'a> {
        Sizes { window: self.window, batch: case.batch(), x: &case.writes[0].dims, y: &case.reads[0].dims }
    }
}

impl Op for InputGrad {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let after = super::map::times_derivative(self.map, r.get(2));
        format!("{} = conv2d_input_grad({}, {}{}){after}", w[0], r[0], r[1], self.window)
    }

    fn cost(&self, case: &Case) -> Cost {
        self.sizes(case).cost(case)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        self.sizes(case).each(|y, x, k| w[0][x] += r[0][y] * r[1][k]);
        super::map::multiply_derivative(self.map, r.get(2), &mut w[0]);
    }

    fn scratch(&self, case: &Case) -> usize {
        let w = &case.reads[1].dims;
        w[0] * lanes(w[1]) * w[2] * w[3]
    }

    fn columns(&self, case: &Case) -> usize {
        case.writes[0].dims[0]
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (dy, w, dx, wt) = (l.read(0), l.read(1), l.write(0), l.scratch());
        let sizes = Sizes { window: self.window, batch: 0, x: l.write_dims(0), y: l.read_dims(0) };
        let conv = sizes.kernel(dx.layout, w.layout, dy.layout);
        let (ci, co, ldw, ldwt) = (conv.ci, conv.co, conv.ldw, lanes(conv.ci));
        let t = Transpose {
            samples: conv.kh * conv.kw,
            rows: ci,
            cols: co,
            src_stride: ci * ldw,
            lds: ldw,
            dst_stride: co * ldwt,
            ldd: ldwt,
        };
        l.kernel([w.span], [wt], [], [], move |run, s| transpose(run.cpu, &t, s.read[0], s.write[0]));
        let map = self.map;
        if l.reads() == 3 {
            let y = l.read(2);
            l.kernel([dy.span, wt, y.span], [dx.span], [], [], move |run, s| {
                let ([dy, wt, y], [dx], conv) = (s.read, s.write, Conv { batch: run.batch(), ..conv });
                conv2d_input_grad(run.cpu, &conv, dy, wt, ldwt, dx, Finish::Gradient(map, y));
            });
        } else {
            l.kernel([dy.span, wt], [dx.span], [], [], move |run, s| {
                let conv = Conv { batch: run.batch(), ..conv };
                conv2d_input_grad(run.cpu, &conv, s.read[0], s.read[1], ldwt, s.write[0], map);
            });
        }
    }

    fn with_map_grad(&self, map: Map, y: Value) -> Option<(Box<dyn Op>, Value)> {
        (self.map == Map::Identity).then(|| (Box::new(InputGrad { map, ..*self }) as Box<dyn Op>, y))
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::testing::{agree, explain};

    #[test]
    fn the_cpu_agrees_with_the_definition() {
        for (layer, input) in [
            ("Conv2d 1 1", [1, 1, 1]),
            ("Conv2d 5 3", [3, 7, 6]),
            ("Conv2d 17 3x2 stride=2x1 padding=1x0", [5, 8, 7]),
            ("Conv2d 3 2 stride=3 padding=4 bias=false", [16, 4, 3]),
            ("Conv2d 40 5 padding=2", [2, 6, 5]),
            ("Conv2d 2 3", [33, 5, 5]),
            ("Conv2d 16 3 padding=1", [1, 6, 7]), // with a border in memory
            ("Conv2d 33 3x2 stride=2x1 padding=2x0", [11, 5, 6]),
            ("Conv2d 40 5 padding=4x2", [7, 5, 9]),
        ] {
            agree(&[layer], &input);
            agree(&[layer, "ReLU", layer.replace("bias=false", "").as_str()], &[input[0], 9, 9]);
        }
    }

    #[test]
    fn each_op_prints_its_formula() {
        let text = explain(&["Conv2d 2 3 stride=2x1", "Conv2d 1 1 bias=false"], &[1, 4, 4]);
        for line in [
            "net.0 = conv2d(x, net.0.weight, stride 2x1) + net.0.bias",
            "net.1 = conv2d(net.0, net.1.weight)",
            "d net.1.weight += conv2d_weight_grad(net.0, d net)",
            "d into net.1 = conv2d_input_grad(d net, net.1.weight)",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
