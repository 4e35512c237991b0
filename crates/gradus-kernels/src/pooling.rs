//! Pooling over windows of an image: its maximum, its mean, and their gradients.
//!
//! An image is rows of `c` channels, one per pixel, in the order sample, row, column. Windows are visited in the order of
//! the outputs, the pixels of a window in the order row, column.

use crate::Cpu;
use crate::isa::simd;
use crate::math::{LANES, Lanes, check, extent, load, load_any, store, store_any};
use crate::pointwise::Map;
use crate::pool::{Read, Write};

/// Half a vector: images of a few channels have rows of so many numbers.
const HALF: usize = LANES / 2;

/// The sizes of a pooling. The output's size rounds down, as torch's `ceil_mode = False`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Samples.
    pub batch: usize,
    /// Channels.
    pub c: usize,
    /// Height of the input.
    pub h: usize,
    /// Width of the input.
    pub w: usize,
    /// Height and width of a window.
    pub kernel: (usize, usize),
    /// Distance of windows, down and across.
    pub stride: (usize, usize),
    /// Rows above and below, columns left and right that are not there; at most half a window.
    pub padding: (usize, usize),
    /// Distance between pixels of the input.
    pub ldx: usize,
    /// Distance between pixels of the output.
    pub ldy: usize,
}

impl Window {
    /// Height of the output.
    pub fn out_h(&self) -> usize {
        Self::out(self.h, self.kernel.0, self.stride.0, self.padding.0)
    }

    /// Width of the output.
    pub fn out_w(&self) -> usize {
        Self::out(self.w, self.kernel.1, self.stride.1, self.padding.1)
    }

    fn out(size: usize, kernel: usize, stride: usize, padding: usize) -> usize {
        (size + 2 * padding).checked_sub(kernel).map_or(0, |last| last / stride.max(1) + 1)
    }

    /// Pixels of the input.
    fn rows_x(&self) -> usize {
        self.batch * self.h * self.w
    }

    /// Pixels of the output.
    fn rows_y(&self) -> usize {
        self.batch * self.out_h() * self.out_w()
    }

    #[track_caller]
    fn check(&self, name: &str, x: (&str, usize), y: (&str, usize)) {
        let (k, s, p) = (self.kernel, self.stride, self.padding);
        assert!(k.0 > 0 && k.1 > 0 && s.0 > 0 && s.1 > 0, "{name}: kernel {k:?} and stride {s:?} must be positive");
        assert!(2 * p.0 <= k.0 && 2 * p.1 <= k.1, "{name}: padding {p:?} is more than half of the kernel {k:?}");
        check(x.0, x.1, self.rows_x(), self.c, self.ldx);
        check(y.0, y.1, self.rows_y(), self.c, self.ldy);
    }

    /// Whether no pixel lies in two windows.
    pub fn apart(&self) -> bool {
        self.stride.0 >= self.kernel.0 && self.stride.1 >= self.kernel.1
    }

    /// The side of square windows that lie side by side without padding, and the numbers of the vectors that channels fill, if
    /// there are kernels for both.
    fn tiles(&self) -> Option<(usize, usize)> {
        let Window { kernel: (k, width), stride, padding, c, .. } = *self;
        let tiles = k == width && stride == (k, k) && padding == (0, 0);
        let lanes = if c % LANES == 0 { LANES } else { HALF };
        (tiles && c % lanes == 0 && (2..=3).contains(&k)).then_some((k, lanes))
    }

    /// Whether it is what the kernels for windows of `K` side by side take, and all pixels are there.
    #[inline(always)]
    fn side_by_side<const K: usize, const N: usize>(&self, x: usize, y: usize) -> bool {
        self.tiles() == Some((K, N))
            && extent(self.rows_x(), self.c, self.ldx) <= x
            && extent(self.rows_y(), self.c, self.ldy) <= y
    }

    /// The same for so many samples.
    fn of(&self, batch: usize) -> Window {
        Window { batch, ..*self }
    }

    /// From one sample of the input to the next, and of the output.
    fn samples(&self) -> (usize, usize) {
        (self.h * self.w * self.ldx, self.out_h() * self.out_w() * self.ldy)
    }

    /// # Panics
    /// When it makes no sense, or that is too few for the outputs, of which `c` channels are written.
    pub(crate) fn check_outputs(&self, c: usize, y: usize) {
        Window { c, ..*self }.check("max_pool2d", ("max_pool2d: x", usize::MAX), ("max_pool2d: y", y));
        assert!(self.h * self.w <= u32::MAX as usize, "max_pool2d: image too large");
    }

    fn end_x(&self) -> usize {
        extent(self.rows_x(), self.c, self.ldx)
    }

    fn end_y(&self) -> usize {
        extent(self.rows_y(), self.c, self.ldy)
    }

    /// Where the window `o` begins in one direction, and how much of it lies in the image.
    #[inline(always)]
    fn clip(o: usize, stride: usize, padding: usize, kernel: usize, size: usize) -> (usize, usize) {
        let from = o * stride;
        let first = from.saturating_sub(padding);
        (first, (from + kernel).saturating_sub(padding).min(size) - first)
    }

    /// Calls `f(pixel of the output, first pixel of that sample, (first, number) of rows, (first, number) of columns)` for each
    /// window, with what of it lies in the image.
    #[inline(always)]
    fn each(&self, mut f: impl FnMut(usize, usize, (usize, usize), (usize, usize))) {
        let (oh, ow) = (self.out_h(), self.out_w());
        let mut out = 0;
        for b in 0..self.batch {
            for i in 0..oh {
                let rows = Self::clip(i, self.stride.0, self.padding.0, self.kernel.0, self.h);
                for j in 0..ow {
                    let columns = Self::clip(j, self.stride.1, self.padding.1, self.kernel.1, self.w);
                    f(out, b * self.h * self.w, rows, columns);
                    out += 1;
                }
            }
        }
    }
}

/// Adds to sixteen channels of a pixel, in place. `v` is 0 past the width, so that nothing changes there.
#[inline(always)]
fn add_to(x: &mut [f32], at: usize, v: &Lanes) {
    let mut sum = load_any(x, at);
    for l in 0..LANES {
        sum[l] += v[l];
    }
    store_any(x, at, &sum);
}

simd! {
    fn max_pool2d_kernel(p: &Window, x: &[f32], y: &mut [f32], argmax: &mut [u32]) {
        p.each(#[inline(always)] |out, first, rows, columns| {
            for j in (0..p.c).step_by(LANES) {
                let width = LANES.min(p.c - j);
                let mut max = [f32::NEG_INFINITY; LANES];
                let mut index = [(rows.0 * p.w + columns.0) as u32; LANES];
                for h in 0..rows.1 {
                    for w in 0..columns.1 {
                        let pixel = (rows.0 + h) * p.w + columns.0 + w;
                        let v = load(x, (first + pixel) * p.ldx + j, width, 0.0);
                        larger(&v, pixel, &mut max, &mut index);
                    }
                }
                store(y, out * p.ldy + j, width, &max);
                store_any(argmax, out * p.ldy + j, &index);
            }
        });
    }
}

/// Takes what is larger than the maximum so far.
#[inline(always)]
fn larger(v: &Lanes, pixel: usize, max: &mut Lanes, index: &mut [u32; LANES]) {
    for l in 0..LANES {
        let wins = (v[l] > max[l]) | v[l].is_nan();
        max[l] = if wins { v[l] } else { max[l] };
        index[l] = if wins { pixel as u32 } else { index[l] };
    }
}

simd! {
    /// Where windows lie side by side, and channels fill vectors of `N`: loops of a known length, kept in registers. Half vectors
    /// of two windows are taken together, the last of an odd row twice.
    fn max_pool2d_tiles<const K: usize, const N: usize>(p: &Window, x: &[f32], y: &mut [f32], argmax: &mut [u32]) {
        assert!(p.side_by_side::<K, N>(x.len(), y.len().min(argmax.len())), "max_pool2d: {p:?}");
        let (oh, ow) = (p.out_h(), p.out_w());
        let (x, y, argmax) = (x.as_ptr(), y.as_mut_ptr(), argmax.as_mut_ptr());
        for row in 0..p.batch * oh {
            let (sample, h) = (row / oh, row % oh * K);
            for i in (0..ow).step_by(LANES / N) {
                for j in (0..p.c).step_by(N) {
                    let mut max = [0.0; LANES];
                    let mut index = [0; LANES]; // counted from the window's first pixel
                    for kh in 0..K {
                        for kw in 0..K {
                            let mut v = [0.0; LANES];
                            for n in 0..LANES / N {
                                let w = (i + n).min(ow - 1) * K;
                                let from = ((sample * p.h + h + kh) * p.w + w + kw) * p.ldx + j;
                                // SAFETY: N numbers of a pixel of the input; all of its pixels are there (asserted above).
                                let from: [f32; N] = unsafe { x.add(from).cast::<[f32; N]>().read_unaligned() };
                                v[n * N..][..N].copy_from_slice(&from);
                            }
                            if kh + kw == 0 {
                                max = v; // −∞ or not: it is the first
                            } else {
                                larger(&v, kh * p.w + kw, &mut max, &mut index);
                            }
                        }
                    }
                    for n in 0..LANES / N {
                        let i = (i + n).min(ow - 1);
                        let to = (row * ow + i) * p.ldy + j;
                        for index in &mut index[n * N..][..N] {
                            *index += (h * p.w + i * K) as u32;
                        }
                        // SAFETY: N numbers of a pixel of the outputs; all of their pixels are there (asserted above).
                        unsafe {
                            y.add(to).copy_from_nonoverlapping(max[n * N..].as_ptr(), N);
                            argmax.add(to).copy_from_nonoverlapping(index[n * N..].as_ptr(), N);
                        }
                    }
                }
            }
        }
    }
}

simd! {
    fn max_pool2d_grad_kernel(p: &Window, dy: &[f32], argmax: &[u32], relu: Option<&[f32]>, dx: &mut [f32]) {
        dx.fill(0.0);
        p.each(#[inline(always)] |out, first, rows, columns| {
            for j in (0..p.c).step_by(LANES) {
                let width = LANES.min(p.c - j);
                let mut v = load(dy, out * p.ldy + j, width, 0.0);
                if let Some(y) = relu {
                    through_relu(&load(y, out * p.ldy + j, width, 0.0), &mut v);
                }
                let index = load_any(argmax, out * p.ldy + j);
                for h in 0..rows.1 {
                    for w in 0..columns.1 {
                        let pixel = (rows.0 + h) * p.w + columns.0 + w;
                        let here = at(&v, &index, pixel);
                        add_to(dx, (first + pixel) * p.ldx + j, &here);
                    }
                }
            }
        });
    }
}

/// The gradient goes on to what a ReLU took in, whose output y was.
#[inline(always)]
fn through_relu<const N: usize>(y: &[f32; N], v: &mut [f32; N]) {
    for l in 0..N {
        v[l] = Map::ReLU.gradient(y[l], v[l]);
    }
}

/// `v` where the maximum is at this pixel, else 0.
#[inline(always)]
fn at<const N: usize>(v: &[f32; N], index: &[u32; N], pixel: usize) -> [f32; N] {
    let mut here = [0.0; N];
    for l in 0..N {
        here[l] = if index[l] == pixel as u32 { v[l] } else { 0.0 };
    }
    here
}

simd! {
    /// As [`max_pool2d_tiles`]: every pixel is written once.
    fn max_pool2d_grad_tiles<const K: usize, const N: usize>(
        p: &Window, dy: &[f32], argmax: &[u32], relu: Option<&[f32]>, dx: &mut [f32],
    ) {
        let outputs = dy.len().min(argmax.len()).min(relu.map_or(usize::MAX, <[f32]>::len));
        assert!(p.side_by_side::<K, N>(dx.len(), outputs), "max_pool2d_grad: {p:?}");
        let (oh, ow) = (p.out_h(), p.out_w());
        if oh * K < p.h || ow * K < p.w {
            dx.fill(0.0); // pixels at the edge that no window has
        }
        let (dy, argmax, relu, dx) = (dy.as_ptr(), argmax.as_ptr(), relu.map(<[f32]>::as_ptr), dx.as_mut_ptr());
        for row in 0..p.batch * oh {
            let (sample, h) = (row / oh, row % oh * K);
            for i in 0..ow {
                for j in (0..p.c).step_by(N) {
                    let from = (row * ow + i) * p.ldy + j;
                    // SAFETY: N numbers of a pixel of the outputs; all of their pixels are there (asserted above).
                    let (mut v, index, y) = unsafe {
                        let y: Option<[f32; N]> = relu.map(|y| y.add(from).cast::<[f32; N]>().read_unaligned());
                        let v: [f32; N] = dy.add(from).cast::<[f32; N]>().read_unaligned();
                        let index: [u32; N] = argmax.add(from).cast::<[u32; N]>().read_unaligned();
                        (v, index, y)
                    };
                    for v in &mut v {
                        *v += 0.0; // the sum of 0 and −0 is 0
                    }
                    if let Some(y) = y {
                        through_relu(&y, &mut v);
                    }
                    for kh in 0..K {
                        for kw in 0..K {
                            let pixel = (h + kh) * p.w + i * K + kw;
                            let to = (sample * p.h * p.w + pixel) * p.ldx + j;
                            let here = at(&v, &index, pixel);
                            // SAFETY: N numbers of a pixel of the input; all of its pixels are there (asserted above).
                            unsafe { dx.add(to).copy_from_nonoverlapping(here.as_ptr(), N) };
                        }
                    }
                }
            }
        }
    }
}

simd! {
    fn avg_pool2d_kernel(p: &Window, x: &[f32], y: &mut [f32]) {
        let count = (p.kernel.0 * p.kernel.1) as f32;
        p.each(#[inline(always)] |out, first, rows, columns| {
            for j in (0..p.c).step_by(LANES) {
                let width = LANES.min(p.c - j);
                let mut sum = [0.0; LANES];
                for h in 0..rows.1 {
                    for w in 0..columns.1 {
                        let v = load(x, (first + (rows.0 + h) * p.w + columns.0 + w) * p.ldx + j, width, 0.0);
                        for l in 0..LANES {
                            sum[l] += v[l];
                        }
                    }
                }
                for sum in &mut sum {
                    *sum /= count;
                }
                store(y, out * p.ldy + j, width, &sum);
            }
        });
    }
}

simd! {
    fn avg_pool2d_grad_kernel(p: &Window, dy: &[f32], dx: &mut [f32]) {
        let count = (p.kernel.0 * p.kernel.1) as f32;
        dx.fill(0.0);
        p.each(#[inline(always)] |out, first, rows, columns| {
            for j in (0..p.c).step_by(LANES) {
                let width = LANES.min(p.c - j);
                let mut v = load(dy, out * p.ldy + j, width, 0.0);
                for v in &mut v {
                    *v /= count;
                }
                for h in 0..rows.1 {
                    for w in 0..columns.1 {
                        add_to(dx, (first + (rows.0 + h) * p.w + columns.0 + w) * p.ldx + j, &v);
                    }
                }
            }
        });
    }
}

/// The maximum of each window, and where it is: h·W + w of the first one, in `argmax`, which lies as `y` does. Padding
/// never wins; NaN always does, the last one, as in torch. A window of nothing but −∞ has its first pixel.
///
/// # Panics
/// When the window makes no sense or a slice is too short.
pub fn max_pool2d(cpu: &Cpu, p: &Window, x: &[f32], y: &mut [f32], argmax: &mut [u32]) {
    p.check("max_pool2d", ("max_pool2d: x", x.len()), ("max_pool2d: y", y.len()));
    check("max_pool2d: argmax", argmax.len(), p.rows_y(), p.c, p.ldy);
    assert!(p.h * p.w <= u32::MAX as usize, "max_pool2d: image too large");
    let kernel = match p.tiles() {
        Some((2, LANES)) => max_pool2d_tiles::<2, LANES>,
        Some((3, LANES)) => max_pool2d_tiles::<3, LANES>,
        Some((2, HALF)) => max_pool2d_tiles::<2, HALF>,
        Some((3, HALF)) => max_pool2d_tiles::<3, HALF>,
        _ => max_pool2d_kernel,
    };
    let ((sx, sy), end) = (p.samples(), p.end_y());
    let arrays = (Read(&x[..p.end_x()], sx), Write::new(&mut y[..end], sy), Write::new(&mut argmax[..end], sy));
    cpu.pool.split_rows(1, p.batch, 1, arrays, |samples, (x, y, argmax)| {
        kernel(cpu.isa, &p.of(samples.len()), x, y, argmax);
    });
}

/// dx = 0, then dy of each window is added where its maximum was, in the order of the outputs.
///
/// With `relu`, the maxima of the windows, it goes on to what a ReLU before the pooling took in: what came out of it where a
/// window has its maximum is that maximum. It is for windows that do not overlap.
///
/// # Panics
/// When the window makes no sense or a slice is too short.
pub fn max_pool2d_grad(cpu: &Cpu, p: &Window, dy: &[f32], argmax: &[u32], relu: Option<&[f32]>, dx: &mut [f32]) {
    p.check("max_pool2d_grad", ("max_pool2d_grad: dx", dx.len()), ("max_pool2d_grad: dy", dy.len()));
    check("max_pool2d_grad: argmax", argmax.len(), p.rows_y(), p.c, p.ldy);
    let kernel = match p.tiles() {
        Some((2, LANES)) => max_pool2d_grad_tiles::<2, LANES>,
        Some((3, LANES)) => max_pool2d_grad_tiles::<3, LANES>,
        Some((2, HALF)) => max_pool2d_grad_tiles::<2, HALF>,
        Some((3, HALF)) => max_pool2d_grad_tiles::<3, HALF>,
        _ => max_pool2d_grad_kernel,
    };
    if let Some(y) = relu {
        assert!(p.apart(), "max_pool2d_grad: windows overlap");
        check("max_pool2d_grad: y", y.len(), p.rows_y(), p.c, p.ldy);
    }
    let ((sx, sy), end) = (p.samples(), p.end_y());
    let (relu, dx) = (relu.map(|y| Read(&y[..end], sy)), Write::new(&mut dx[..p.end_x()], sx));
    let arrays = (Read(&dy[..end], sy), Read(&argmax[..end], sy), relu, dx);
    cpu.pool.split_rows(1, p.batch, 1, arrays, |samples, (dy, argmax, relu, dx)| {
        kernel(cpu.isa, &p.of(samples.len()), dy, argmax, relu, dx);
    });
}

/// The mean of each window: its pixels added in order, divided by the size of the window; padding counts as zeros.
///
/// # Panics
/// When the window makes no sense or a slice is too short.
pub fn avg_pool2d(cpu: &Cpu, p: &Window, x: &[f32], y: &mut [f32]) {
    p.check("avg_pool2d", ("avg_pool2d: x", x.len()), ("avg_pool2d: y", y.len()));
    let (sx, sy) = p.samples();
    let arrays = (Read(&x[..p.end_x()], sx), Write::new(&mut y[..p.end_y()], sy));
    cpu.pool.split_rows(1, p.batch, 1, arrays, |samples, (x, y)| {
        avg_pool2d_kernel(cpu.isa, &p.of(samples.len()), x, y);
    });
}

/// dx = 0, then dy of each window, divided by its size, is added to its pixels, in the order of the outputs.
///
/// # Panics
/// When the window makes no sense or a slice is too short.
pub fn avg_pool2d_grad(cpu: &Cpu, p: &Window, dy: &[f32], dx: &mut [f32]) {
    p.check("avg_pool2d_grad", ("avg_pool2d_grad: dx", dx.len()), ("avg_pool2d_grad: dy", dy.len()));
    let (sx, sy) = p.samples();
    let arrays = (Read(&dy[..p.end_y()], sy), Write::new(&mut dx[..p.end_x()], sx));
    cpu.pool.split_rows(1, p.batch, 1, arrays, |samples, (dy, dx)| {
        avg_pool2d_grad_kernel(cpu.isa, &p.of(samples.len()), dy, dx);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::testing::{Random, cases, everywhere, near, rows_near, shape_is};

    fn window(random: &mut Random) -> Window {
        let kernel = (random.size(1, 4), random.size(1, 4));
        let (_, c, ldx) = random.shape();
        let padding = (random.size(0, kernel.0 / 2 + 1), random.size(0, kernel.1 / 2 + 1));
        if random.size(0, 3) == 0 {
            // Windows side by side, and vectors or halves of them: these have kernels of their own.
            let (side, c) = (random.size(2, 4), 8 * random.size(1, 5));
            let size = (random.size(side, 9), random.size(side, 9));
            let (kernel, ldx) = ((side, side), c + 8 * random.size(0, 2));
            let (h, w) = size;
            return Window {
                batch: 2,
                c,
                h,
                w,
                kernel,
                stride: kernel,
                padding: (0, 0),
                ldx,
                ldy: c + random.size(0, 2),
            };
        }
        Window {
            batch: random.size(1, 4),
            c,
            h: random.size(kernel.0, 9),
            w: random.size(kernel.1, 9),
            kernel,
            stride: (random.size(1, 4), random.size(1, 4)),
            padding,
            ldx,
            ldy: c + random.size(0, 3) * 7,
        }
    }

    /// Output pixel, and the input pixels (of the batch, and within the image) of its window.
    fn windows(p: &Window) -> Vec<Vec<(usize, u32)>> {
        let mut all = vec![];
        for b in 0..p.batch {
            for i in 0..p.out_h() {
                for j in 0..p.out_w() {
                    let mut pixels = vec![];
                    for kh in 0..p.kernel.0 {
                        for kw in 0..p.kernel.1 {
                            let h = (i * p.stride.0 + kh) as isize - p.padding.0 as isize;
                            let w = (j * p.stride.1 + kw) as isize - p.padding.1 as isize;
                            if (0..p.h as isize).contains(&h) && (0..p.w as isize).contains(&w) {
                                let pixel = h as usize * p.w + w as usize;
                                pixels.push((b * p.h * p.w + pixel, pixel as u32));
                            }
                        }
                    }
                    all.push(pixels);
                }
            }
        }
        all
    }

    #[test]
    fn sizes_as_torch() {
        let p = |size, kernel, stride, padding| Window::out(size, kernel, stride, padding);
        assert_eq!((p(12, 2, 2, 0), p(7, 2, 2, 0), p(7, 3, 2, 1), p(5, 5, 1, 0)), (6, 3, 4, 1));
    }

    #[test]
    fn as_defined() {
        cases("pooling", 150, |seed| {
            let random = &mut Random::new(seed);
            let p = window(random);
            shape_is(&p);
            let (rows_x, rows_y) = (p.rows_x(), p.rows_y());
            let (x, dy) = (random.rows(rows_x, p.c, p.ldx), random.rows(rows_y, p.c, p.ldy));
            let [max, index, max_dx, relu_dx, mean, mean_dx] = everywhere(|cpu| {
                let [mut max, mut mean] = [(); 2].map(|()| vec![5.0; p.end_y()]);
                let [mut max_dx, mut relu_dx, mut mean_dx] = [(); 3].map(|()| vec![5.0; p.end_x()]);
                let mut argmax = vec![77; p.end_y()];
                max_pool2d(cpu, &p, &x, &mut max, &mut argmax);
                max_pool2d_grad(cpu, &p, &dy, &argmax, None, &mut max_dx);
                if p.apart() {
                    max_pool2d_grad(cpu, &p, &dy, &argmax, Some(&max), &mut relu_dx);
                }
                avg_pool2d(cpu, &p, &x, &mut mean);
                avg_pool2d_grad(cpu, &p, &dy, &mut mean_dx);
                [max, argmax.iter().map(|&i| i as f32).collect(), max_dx, relu_dx, mean, mean_dx]
            });
            let windows = windows(&p);
            assert_eq!(windows.len(), rows_y);
            let mut dx = vec![vec![0.0f32; p.c]; rows_x];
            let mut dx64 = vec![vec![0.0f64; p.c]; rows_x];
            let size = (p.kernel.0 * p.kernel.1) as f64;
            for (out, pixels) in windows.iter().enumerate() {
                for j in 0..p.c {
                    // The first of the largest.
                    let (mut best, mut at, mut sum) = (f32::NEG_INFINITY, pixels[0], 0.0);
                    for &pixel in pixels {
                        let v = x[pixel.0 * p.ldx + j];
                        if v > best {
                            (best, at) = (v, pixel);
                        }
                        sum += f64::from(v);
                    }
                    let y = out * p.ldy + j;
                    assert_eq!((max[y], index[y]), (best, at.1 as f32));
                    near(mean[y], sum / size, 1e-6);
                    dx[at.0][j] += dy[y];
                    for &pixel in pixels {
                        dx64[pixel.0][j] += f64::from(dy[y]) / size;
                    }
                }
            }
            for r in 0..rows_x {
                assert_eq!(max_dx[r * p.ldx..r * p.ldx + p.c], dx[r]);
                for j in (0..p.c).filter(|_| p.apart()) {
                    let want = if x[r * p.ldx + j] > 0.0 { dx[r][j] } else { 0.0 };
                    assert_eq!(relu_dx[r * p.ldx + j].to_bits(), want.to_bits());
                }
            }
            rows_near(&max_dx, rows_x, 0, p.ldx, 0.0, |_| vec![]);
            rows_near(&mean_dx, rows_x, p.c, p.ldx, 1e-6, |r| dx64[r].clone());
        });
    }

    #[test]
    fn ties_and_special_values() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let p = Window { batch: 1, c: 1, h: 2, w: 2, kernel: (2, 2), stride: (2, 2), padding: (0, 0), ldx: 1, ldy: 1 };
        for (x, want, at) in [
            ([1.0, 3.0, 3.0, 3.0], 3.0, 1),
            ([0.0; 4], 0.0, 0),
            ([-inf; 4], -inf, 0),
            ([-inf, -inf, -1e38, -inf], -1e38, 2),
            ([1.0, nan, inf, 0.0], nan, 1),
            ([nan, 2.0, nan, 1.0], nan, 2),
        ] {
            let [y] = everywhere(|cpu| {
                let (mut y, mut argmax) = ([9.0], [9]);
                max_pool2d(cpu, &p, &x, &mut y, &mut argmax);
                assert_eq!(argmax[0], at, "{x:?}");
                [y.to_vec()]
            });
            assert!(y[0] == want || (y[0].is_nan() && want.is_nan()), "{x:?}: {y:?}");
        }
    }

    #[test]
    fn where_nothing_wins_it_is_the_first_pixel_of_the_window() {
        let p = Window { batch: 1, c: 2, h: 4, w: 4, kernel: (3, 3), stride: (2, 2), padding: (1, 1), ldx: 2, ldy: 3 };
        everywhere(|cpu| {
            let (mut y, mut argmax) = ([9.0; 11], [9; 11]);
            max_pool2d(cpu, &p, &[f32::NEG_INFINITY; 32], &mut y, &mut argmax);
            for (out, pixel) in [0, 1, 4, 5].into_iter().enumerate() {
                assert_eq!(argmax[out * 3..out * 3 + 2], [pixel; 2]);
            }
            []
        });
    }

    #[test]
    #[should_panic(expected = "padding (2, 0) is more than half of the kernel (3, 3)")]
    fn senseless_windows_are_refused() {
        let p = Window { batch: 1, c: 1, h: 5, w: 5, kernel: (3, 3), stride: (1, 1), padding: (2, 0), ldx: 1, ldy: 1 };
        avg_pool2d(&Cpu::new(1), &p, &[0.0; 25], &mut [0.0; 21]);
    }
}
