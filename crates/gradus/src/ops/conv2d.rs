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

use gradus_kernels::conv::pooled::{can_pool, conv2d_max_pool2d};
use gradus_kernels::conv::{Conv, conv2d, conv2d_input_grad, conv2d_weight_grad, interleaved};
use gradus_kernels::layout::{Transpose, add_border, transpose};
use gradus_kernels::matmul::sum_rows;
use gradus_kernels::pointwise::Finish;
use gradus_kernels::{Span, pooling};

use super::{Alike, Case, Cost, Map, Op, Window, max_pool2d};
use crate::exec::cpu::{Layout, Lower, Run, lanes, layout};
use crate::program::{Emit, Info, Value};

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
struct Sizes<'a> {
    window: Window,
    batch: usize,
    x: &'a [usize],
    y: &'a [usize],
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
    fn kernel(&self, x: Layout, w: Layout, y: Layout) -> Conv {
        let Window { kernel: (kh, kw), stride, padding } = self.window;
        let (ldx, ldw, ldy, interleaved) = (x.ld, w.ld, y.ld, x.together > 1);
        let (ci, h, w, co) = (self.x[0], self.x[1], self.x[2], self.y[0]);
        Conv { batch: self.batch, ci, h, w, co, kh, kw, stride, padding, ldx, ldw, ldy, interleaved }
    }
}

#[derive(Debug)]
struct Conv2d {
    window: Window,
    map: Map,
}

impl Conv2d {
    fn sizes<'a>(&self, case: &'a Case) -> Sizes<'a> {
        Sizes { window: self.window, batch: case.batch(), x: &case.reads[0].dims, y: &case.writes[0].dims }
    }
}

impl Op for Conv2d {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let bias = r.get(2).map_or(String::new(), |b| format!(" + {b}"));
        let sum = format!("conv2d({}, {}{}){bias}", r[0], r[1], self.window);
        format!("{} = {}", w[0], super::map::wrap(self.map, &sum))
    }

    fn alike(&self) -> Alike {
        Alike::None
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
        let [x, w, between, y] = [conv.reads[0], conv.reads[1], conv.writes[0], pooled.writes[0]];
        let kernel = self.sizes(conv).kernel(layout(x), layout(w), layout(between));
        let windows = pool.pooling(&between.dims, layout(between), layout(y));
        let op = Pooled { conv: Conv2d { ..*self }, pool, between: between.clone() };
        can_pool(&kernel, &windows, self.map).then(|| Box::new(op) as Box<dyn Op>)
    }
}

/// A convolution and the maximum pooling of what it gives, which is never anywhere as a whole.
#[derive(Debug)]
struct Pooled {
    conv: Conv2d,
    pool: Window,
    between: Info,
}

impl Pooled {
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

    fn alike(&self) -> Alike {
        Alike::None
    }

    fn cost(&self, case: &Case) -> Cost {
        let (conv, windows) =
            (self.conv.cost(&self.inner(case)), case.pointwise((self.pool.kernel.0 * self.pool.kernel.1) as u64));
        Cost { flops: conv.flops + windows.flops, bytes: case.bytes() }
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let (inner, image) = (self.inner(case), (self.between.dims[1], self.between.dims[2]));
        let mut between = [vec![0.0; self.between.len(case.batch())]];
        self.conv.define(&inner, r, &mut between);
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
        let of = move |run: &Run| {
            let batch = run.batch();
            (Conv { batch, ..conv }, pooling::Window { batch, ..windows })
        };
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

#[derive(Debug)]
struct WeightGrad {
    window: Window,
}

/// Where threads share the gradient of so few weights, they share out the images: the weights are too few to be split.
fn by_image(w: Layout) -> bool {
    w.sample() <= 1024
}

/// Images of fewer channels than a tile has rows get their border in memory, where there is one: tiles go across taps then.
const FEW: usize = 12;

/// Numbers of such an image, or 0.
fn bordered(window: &Window, x: &[usize]) -> usize {
    let Window { kernel, padding, .. } = *window;
    if x[0] < FEW && padding != (0, 0) && padding.0 < kernel.0 && padding.1 < kernel.1 {
        x[0] * (x[1] + 2 * padding.0) * (x[2] + 2 * padding.1)
    } else {
        0
    }
}

impl WeightGrad {
    /// The kernels for interleaved images.
    fn lower_interleaved(&self, l: &mut Lower<'_>, mut conv: Conv) {
        let (x, dy, dw, scratch, gradient) = (l.read(0), l.read(1), l.write(0), l.scratch(), l.gradient());
        let (mut x_span, mut partials, layout) = (x.span, scratch, x.layout);
        let bordered = layout.together * bordered(&self.window, l.read_dims(0));
        if bordered > 0 {
            let Conv { h, w, ci, ldx, padding, .. } = conv;
            // The first numbers of the scratch, which has as many as the batch wants of both.
            let blocks = scratch.len / (bordered + layout.together * dw.layout.group * dw.layout.n);
            x_span = Span { len: blocks * bordered, ..scratch };
            partials = Span { start: scratch.start + x_span.len, len: scratch.len - x_span.len, ..scratch };
            let n = ci * layout.together;
            l.kernel([x.span], [x_span], [], [], move |run, s| {
                add_border(run.cpu, layout.blocks(run.batch()), [h, w, n], s.read[0], ldx, padding, s.write[0]);
            });
            conv = Conv { h: h + 2 * padding.0, w: w + 2 * padding.1, padding: (0, 0), ldx: n, ..conv };
        }
        l.kernel([x_span, dy.span], [dw.span, partials], [], [], move |run, s| {
            let (conv, [dw, partials]) = (Conv { batch: run.batch(), ..conv }, s.write);
            interleaved::conv2d_weight_grad(run.cpu, &conv, s.read[0], s.read[1], partials, dw, gradient.adds(run));
        });
    }

    fn sizes<'a>(&self, case: &'a Case) -> Sizes<'a> {
        Sizes { window: self.window, batch: case.batch(), x: &case.reads[0].dims, y: &case.reads[1].dims }
    }
}

impl Op for WeightGrad {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} += conv2d_weight_grad({}, {}{})", w[0], r[0], r[1], self.window)
    }

    fn alike(&self) -> Alike {
        Alike::None
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
            let of_block = bordered(&self.window, &case.reads[0].dims) + dw.group * dw.n;
            return x.blocks(case.batch()) * x.together * of_block;
        }
        let partials = if by_image(dw) { dw.sample() } else { 0 };
        case.batch() * (bordered(&self.window, &case.reads[0].dims) + partials)
    }

    fn columns(&self, case: &Case) -> usize {
        case.writes[0].dims[0]
    }

    fn interleaves(&self, case: &Case) -> bool {
        self.window.padding == (0, 0) || bordered(&self.window, &case.reads[0].dims) > 0
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, dy, dw, scratch) = (l.read(0), l.read(1), l.write(0), l.scratch());
        let sizes = Sizes { window: self.window, batch: 0, x: l.read_dims(0), y: l.read_dims(1) };
        let mut conv = sizes.kernel(x.layout, dw.layout, dy.layout);
        if conv.interleaved {
            return self.lower_interleaved(l, conv);
        }
        let (mut x_span, mut image_x, mut partials) = (x.span, x.layout.sample(), scratch);
        let bordered = bordered(&self.window, l.read_dims(0));
        if bordered > 0 {
            let Conv { h, w, ci, ldx, padding, .. } = conv;
            // The first numbers of the scratch, which has as many as the batch wants of both.
            let batch = scratch.len / (bordered + if by_image(dw.layout) { dw.layout.sample() } else { 0 });
            let with_border = Span { len: batch * bordered, ..scratch };
            partials = Span { start: scratch.start + with_border.len, len: scratch.len - with_border.len, ..scratch };
            l.kernel([x.span], [with_border], [], [], move |run, s| {
                add_border(run.cpu, run.batch(), [h, w, ci], s.read[0], ldx, padding, s.write[0]);
            });
            (x_span, image_x) = (with_border, bordered);
            conv = Conv { h: h + 2 * padding.0, w: w + 2 * padding.1, padding: (0, 0), ldx: ci, ..conv };
        }
        let gradient = l.gradient();
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

    fn alike(&self) -> Alike {
        Alike::None
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
    fn with_a_pooling_it_agrees_too() {
        for layer in ["Conv2d 16 3", "Conv2d 33 2 bias=false", "Conv2d 9 3", "Conv2d 2 2"] {
            agree(&[layer, "ReLU", "MaxPool2d 2"], &[1, 9, 8]);
            agree(&[layer, "MaxPool2d 2", "ReLU", "Flatten", "Linear 3"], &[1, 6, 11]);
            agree(&[layer, "Tanh", "MaxPool2d 2"], &[1, 6, 6]);
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
