//! Two-dimensional convolutions with channels innermost, and their two gradients. Each is the register tile of `crate::tile` walking
//! the image where it lies; weights, and images for the weights' gradient, are copied in pieces where that pays, but no image is laid
//! out by taps.
//!
//! A tap (a position of the kernel) that falls outside of the image is skipped, not multiplied by 0. So pixels differ in
//! their taps; along each axis they fall into a few `Run`s of equal ones (the borders, and the inside), and a tile takes
//! its pixels from one pair of runs, across all rows and images. Its loops need no test of edges.

use std::mem::MaybeUninit;
use std::ops::Range;

use self::repeated::Repeated;
use crate::Cpu;
use crate::layout::SAMPLES;
use crate::matmul::{Aligned, copy_rows, even, reach};
use crate::pointwise::{Finish, Map};
use crate::pool::{Output, Work};
use crate::square::SIDE;
use crate::tile::{Ahead, Anywhere, Begin, COLUMNS, Chain, End, Regular, TALL_ROWS, Tile, tall_rows, tile_size};

pub mod interleaved;
pub mod pooled;
pub mod pooled_grad;
mod repeated;
mod short;
mod sweep;

use short::{Rectangle, Short, is_short};

/// The shape of a convolution and the distances between the rows of its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Images.
    pub batch: usize,
    /// Channels of the input.
    pub ci: usize,
    /// Height of the input.
    pub h: usize,
    /// Width of the input.
    pub w: usize,
    /// Channels of the output.
    pub co: usize,
    /// Height of the kernel.
    pub kh: usize,
    /// Width of the kernel.
    pub kw: usize,
    /// Steps between neighbouring outputs, down and right.
    pub stride: (usize, usize),
    /// Zeros around the input: above and below, left and right.
    pub padding: (usize, usize),
    /// The input is `[batch][h][w]` rows of `ci` numbers, `ldx` apart.
    pub ldx: usize,
    /// The weights are `[kh][kw][ci]` rows of `co` numbers, `ldw` apart.
    pub ldw: usize,
    /// The output is `[batch][out_h][out_w]` rows of `co` numbers, `ldy` apart.
    pub ldy: usize,
    /// Whether the images lie interleaved ([`crate::layout::interleave`]): what is said of a batch above is true of sixteens of
    /// samples then, and each number of their rows is a vector of sixteen.
    pub interleaved: bool,
}

impl Conv {
    /// Height of the output; 0 when the kernel does not fit.
    pub fn out_h(&self) -> usize {
        self.down().outputs()
    }

    /// Width of the output; 0 when the kernel does not fit.
    pub fn out_w(&self) -> usize {
        self.right().outputs()
    }

    fn down(&self) -> Axis {
        Axis { inputs: self.h, taps: self.kh, stride: self.stride.0, padding: self.padding.0 }
    }

    fn right(&self) -> Axis {
        Axis { inputs: self.w, taps: self.kw, stride: self.stride.1, padding: self.padding.1 }
    }

    fn inputs(&self) -> usize {
        count(&[self.blocks(), self.h, self.w])
    }

    fn outputs(&self) -> usize {
        count(&[self.blocks(), self.out_h(), self.out_w()])
    }

    /// How many samples lie together, a number of each in turn.
    fn together(&self) -> usize {
        if self.interleaved { SAMPLES } else { 1 }
    }

    /// Samples, or sixteens of them.
    fn blocks(&self) -> usize {
        self.batch.div_ceil(self.together())
    }

    fn taps(&self) -> usize {
        count(&[self.kh, self.kw])
    }

    fn work(&self) -> Work {
        let factors = [self.outputs(), self.together(), self.taps(), self.ci, self.co, 2];
        Work::Flops(factors.iter().fold(1, |n: usize, &x| n.saturating_mul(x)))
    }

    /// The outputs that the weights' gradient sums over, for a pair of runs of taps.
    fn over_outputs(&self, down: &Run, right: &Run) -> Chain {
        let chain = Chain {
            h: 1,
            w: down.terms,
            k: right.terms,
            a_h: 0,
            a_w: down.src_term_step * (self.w * self.ldx) as isize,
            a_k: right.src_term_step * self.ldx as isize,
            b_h: 0,
            b_w: (self.out_w() * self.ldy) as isize,
            b_k: self.ldy as isize,
        };
        chain.collapsed()
    }

    /// # Panics
    /// When an array is shorter than the shape says, or the shape is not one. `w` names the rows and columns of the
    /// weights, their distance and how many numbers there are.
    fn check(&self, kernel: &str, x: usize, w: (usize, usize, usize, usize), y: usize) {
        assert!(self.stride.0 > 0 && self.stride.1 > 0, "{kernel}: a stride of 0");
        for (name, rows, n, ld, len) in [
            ("the input", self.inputs(), count(&[self.ci, self.together()]), self.ldx, x),
            ("the weights", count(&[self.taps(), w.0]), w.1, w.2, w.3),
            ("the output", self.outputs(), count(&[self.co, self.together()]), self.ldy, y),
        ] {
            assert!(
                ld >= n && reach(rows, n, ld) <= len,
                "{kernel}: {name} has {len} numbers, too few for {rows} rows of {n}, {ld} apart: {self:?}"
            );
        }
    }
}

/// # Panics
/// When the product is more than an address space holds.
pub(crate) fn count(factors: &[usize]) -> usize {
    factors.iter().try_fold(1, |n: usize, &x| n.checked_mul(x)).expect("shape larger than the address space")
}

/// y = map(bias (or 0) + Σ x·w). Writes the `co` columns of `y` alone.
///
/// Order: one chain of fused multiply-adds per number over (tap row, tap column, input channel) ascending, from the bias or
/// 0; taps outside of the image are skipped; then `map`.
///
/// # Panics
/// When a slice is shorter than the shape says, a distance less than the row it holds, or a stride 0.
pub fn conv2d(cpu: &Cpu, c: &Conv, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], map: Map) {
    c.check("conv2d", x.len(), (c.ci, c.co, c.ldw, w.len()), y.len());
    if let Some(bias) = bias {
        assert!(bias.len() >= c.co, "conv2d: the bias has {} numbers, not {}", bias.len(), c.co);
    }
    let gather = Gather {
        down: (c.down(), Pass::Output),
        right: (c.right(), Pass::Output),
        batch: c.batch,
        src: Image { data: x.as_ptr(), w: c.w, size: c.h * c.w, ld: c.ldx },
        k: c.ci,
        weights: w.as_ptr(),
        ldw: c.ldw,
        dst_w: c.out_w(),
        dst_size: c.out_h() * c.out_w(),
        n: c.co,
        ldd: c.ldy,
        bias: bias.map(<[f32]>::as_ptr),
        end: End::Map(map),
    };
    gather.run(cpu, c, y);
}

/// The gradient of the input: dx = Σ dy·w. `wt` is `[kh][kw][co]` rows of `ci` numbers, `ldwt` apart: each tap of the weights
/// transposed. Writes the `ci` columns of `dx` alone.
///
/// Order: one chain of fused multiply-adds per number over (tap row, tap column, output channel) ascending, from 0; taps
/// that no output uses are skipped; then `finish`.
///
/// # Panics
/// When a slice is shorter than the shape says, a distance less than the row it holds, or a stride 0.
pub fn conv2d_input_grad<'f>(
    cpu: &Cpu,
    c: &Conv,
    dy: &[f32],
    wt: &[f32],
    ldwt: usize,
    dx: &mut [f32],
    finish: impl Into<Finish<'f>>,
) {
    c.check("conv2d_input_grad", dx.len(), (c.co, c.ci, ldwt, wt.len()), dy.len());
    let dx = &mut dx[..reach(c.inputs(), c.ci * c.together(), c.ldx)];
    let gather = Gather {
        down: (c.down(), Pass::Input),
        right: (c.right(), Pass::Input),
        batch: c.batch,
        src: Image { data: dy.as_ptr(), w: c.out_w(), size: c.out_h() * c.out_w(), ld: c.ldy },
        k: c.co,
        weights: wt.as_ptr(),
        ldw: ldwt,
        dst_w: c.w,
        dst_size: c.h * c.w,
        n: c.ci,
        ldd: c.ldx,
        bias: None,
        end: finish.into().of("conv2d_input_grad", dx),
    };
    gather.run(cpu, c, dx);
}

/// The gradient of the weights: dw = (dw or 0) + Σ x·dy. Writes the `co` columns of `dw` alone.
///
/// Order: for each image a partial, one chain of fused multiply-adds per number over (output row, output column) ascending,
/// from 0; the partials are added in order of the images to what is stored (`accumulate`) or 0.
///
/// # Panics
/// When a slice is shorter than the shape says, a distance less than the row it holds, or a stride 0.
pub fn conv2d_weight_grad(cpu: &Cpu, c: &Conv, x: &[f32], dy: &[f32], dw: &mut [f32], accumulate: bool) {
    assert!(!c.interleaved, "conv2d_weight_grad: interleaved images have a kernel of their own");
    c.check("conv2d_weight_grad", x.len(), (c.ci, c.co, c.ldw, dw.len()), dy.len());
    let rows = c.taps() * c.ci;
    if c.batch == 0 {
        if !accumulate {
            (0..rows).for_each(|row| dw[row * c.ldw..][..c.co].fill(0.0));
        }
        return;
    }
    let out = Output::new(dw);
    let (most, width) = tile_size(cpu.isa);
    if let Some(strips) = Strips::of(cpu, c) {
        let units = c.co.div_ceil(width) * strips.count;
        cpu.pool.split(c.work(), units, 1, |units| strips.run(cpu, c, x, dy, &out, accumulate, units));
        return;
    }
    // Sixteen or thirty-two columns pass over all images, whatever rows they are for: parts of the rows would do so again.
    let (groups, threads) = (c.co.div_ceil(width), cpu.pool.threads());
    if groups % threads > 0 && groups < 4 * threads {
        cpu.pool.split(c.work(), rows, most, |range| {
            weight_grad_block(cpu, c, x, dy, &out, accumulate, range, 0..c.co);
        });
    } else {
        cpu.pool.split(c.work(), c.co, width, |range| {
            weight_grad_block(cpu, c, x, dy, &out, accumulate, 0..rows, range);
        });
    }
}

// ----------------------------------------------------------------------------------------------------------- the runs

/// One axis of a convolution.
#[derive(Clone, Copy)]
struct Axis {
    inputs: usize,
    taps: usize,
    stride: usize,
    padding: usize,
}

/// Whose positions a run is made of, and so what its chain goes over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Outputs, over taps: forward.
    Output,
    /// Inputs, over taps: the input's gradient.
    Input,
    /// Taps, over outputs: the weights' gradient.
    Tap,
}

/// Positions along an axis whose chains go over the same taps (or outputs): `count` of them, `step` apart from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: usize,
    step: usize,
    count: usize,
    /// What the chain of each goes over: `terms` taps (or outputs), `term_step` apart from `term` on.
    term: usize,
    term_step: usize,
    terms: usize,
    /// The position in the source of the first term of the first position.
    src: usize,
    /// From there to that of the next position.
    src_step: usize,
    /// And to that of the next term.
    src_term_step: isize,
}

impl Axis {
    fn outputs(&self) -> usize {
        (self.inputs.saturating_add(self.padding.saturating_mul(2)))
            .checked_sub(self.taps)
            .map_or(0, |room| if self.taps == 0 { 0 } else { room / self.stride.max(1) + 1 })
    }

    /// The first term of a position, how many there are, and the position in the source of the first.
    fn terms(&self, pass: Pass, at: usize) -> (usize, usize, usize) {
        let (s, p) = (self.stride, self.padding);
        // input + padding = output · stride + tap
        let (first, end, src) = match pass {
            Pass::Output => {
                let first = p.saturating_sub(at * s);
                (first, self.taps.min((self.inputs + p).saturating_sub(at * s)), (at * s + first).saturating_sub(p))
            }
            Pass::Input => {
                let outputs = self.outputs();
                let first = ((at + p) % s).max((at + p).saturating_sub(outputs.saturating_sub(1) * s));
                let end = if outputs == 0 { 0 } else { self.taps.min(at + p + 1) };
                // Of the taps below `end`, those of the residue of `first`.
                let terms = end.saturating_sub(first).div_ceil(s);
                (first, first + terms, (at + p).saturating_sub(first) / s)
            }
            Pass::Tap => {
                let first = p.saturating_sub(at).div_ceil(s);
                let end = self.outputs().min((self.inputs + p).saturating_sub(at).div_ceil(s));
                (first, end, (first * s + at).saturating_sub(p))
            }
        };
        // Nothing to sum is all the same, wherever it is.
        if end > first { (first, end - first, src) } else { (0, 0, 0) }
    }

    /// The runs of all positions of a pass.
    fn runs(self, pass: Pass) -> impl Iterator<Item = Run> + Clone {
        let (positions, step) = match pass {
            Pass::Output => (self.outputs(), 1),
            Pass::Input => (self.inputs, self.stride),
            Pass::Tap => (self.taps, 1),
        };
        let (term_step, src_step, src_term_step) = match pass {
            Pass::Output => (1, self.stride, 1),
            Pass::Input => (self.stride, 1, -1),
            Pass::Tap => (1, 1, self.stride as isize),
        };
        // Positions of one residue lie `step` apart; along them, terms come and go at the borders only.
        (0..step.min(positions)).flat_map(move |residue| {
            let mut next = residue;
            std::iter::from_fn(move || {
                let first = next;
                let (term, terms, src) = (first < positions).then(|| self.terms(pass, first))?;
                // The others like it follow it; a few questions find the last of many. (Not of those without terms: there may be
                // some at both borders.)
                let like = |n: usize| {
                    let at = first + n * step;
                    at < positions && matches!(self.terms(pass, at), (a, b, _) if a == term && b == terms)
                };
                let (mut count, mut stride) = (1, 1);
                while like(count + stride - 1) {
                    count += stride;
                    stride *= if terms > 0 { 2 } else { 1 };
                }
                while stride > 1 {
                    stride /= 2;
                    if like(count + stride - 1) {
                        count += stride;
                    }
                }
                next = first + count * step;
                Some(Run { first, step, count, term, term_step, terms, src, src_step, src_term_step })
            })
        })
    }
}

/// Counts through three nested loops.
struct Odometer {
    at: [usize; 3],
    size: [usize; 3],
}

impl Odometer {
    fn new(start: usize, size: [usize; 3]) -> Self {
        Odometer { at: [start / size[2] / size[1], start / size[2] % size[1], start % size[2]], size }
    }

    #[inline(always)]
    fn next(&mut self) -> [usize; 3] {
        let now = self.at;
        self.at[2] += 1;
        if self.at[2] == self.size[2] {
            self.at[2] = 0;
            self.at[1] += 1;
            if self.at[1] == self.size[1] {
                self.at[1] = 0;
                self.at[0] += 1;
            }
        }
        now
    }
}

/// The part of `range` that falls on the `len` numbers from `start` on, counted from there.
fn overlap(range: &Range<usize>, start: usize, len: usize) -> Range<usize> {
    let end = range.end.clamp(start, start + len) - start;
    (range.start.clamp(start, start + len) - start).min(end)..end
}

// ---------------------------------------------------------------------------------------------------------- the passes

/// Images that a pass reads.
#[derive(Clone, Copy)]
struct Image {
    data: *const f32,
    w: usize,
    /// Pixels of one image.
    size: usize,
    ld: usize,
}

/// A pass that sums over taps and channels for each pixel: forward, or the input's gradient.
#[derive(Clone, Copy)]
struct Gather {
    down: (Axis, Pass),
    right: (Axis, Pass),
    batch: usize,
    src: Image,
    /// Channels summed.
    k: usize,
    /// Rows of `n` for each (tap, channel summed).
    weights: *const f32,
    ldw: usize,
    dst_w: usize,
    dst_size: usize,
    n: usize,
    ldd: usize,
    bias: Option<*const f32>,
    end: End,
}

// SAFETY: the pointers are to slices that the caller of the pass holds shared for as long as it runs.
unsafe impl Sync for Gather {}

impl Gather {
    fn run(&self, cpu: &Cpu, c: &Conv, dst: &mut [f32]) {
        if c.interleaved {
            return self.run_interleaved(cpu, c.work(), dst);
        }
        let out = Output::new(dst);
        // Threads share its images.
        if self.batch >= cpu.pool.threads() && self.sweeps(cpu.isa) {
            return cpu.pool.split(c.work(), self.batch, 1, |images| self.sweep(cpu, images, &out));
        }
        let (rows, _) = tile_size(cpu.isa);
        // Short rows of pixels fill no tile of one vector; the same pixel of many images does, an equal distance apart, but one at
        // which all lie in the same few lines of a cache.
        let apart = !(self.src.size * self.src.ld).is_multiple_of(1024);
        if self.dst_w < rows && self.batch >= rows && tall_rows(cpu.isa, self.n) > rows && apart {
            return cpu.pool.split(c.work(), self.batch, rows, |images| self.across_images(cpu, images, &out));
        }
        // More images than stay in the second cache from one pair of runs to the next go by some at a time.
        let at_once = (4 * NEAR / (self.src.size * self.src.ld + self.dst_size * self.ldd).max(1)).max(1);
        if self.batch > at_once && self.batch >= cpu.pool.threads() {
            return cpu.pool.split(c.work(), self.batch, 1, |images| {
                for (first, count) in even(images, at_once) {
                    let dst = out.ptr().wrapping_add(first * self.dst_size * self.ldd);
                    self.of(first, count).pixels(cpu, 0..count * self.dst_size, dst);
                }
            });
        }
        cpu.pool.split(c.work(), self.batch * self.dst_size, rows, |range| self.pixels(cpu, range, out.ptr()));
    }

    /// The pass over some of the images.
    fn of(&self, first: usize, count: usize) -> Gather {
        let data = self.src.data.wrapping_add(first * self.src.size * self.src.ld);
        Gather { batch: count, src: Image { data, ..self.src }, ..*self }
    }

    /// The pairs of runs that all pixels are in.
    fn pairs(&self) -> impl Iterator<Item = (Run, Run)> + Clone {
        let (down, right) = (self.down, self.right);
        down.0.runs(down.1).flat_map(move |down| right.0.runs(right.1).map(move |right| (down, right)))
    }

    /// What is summed for each pixel of a pair of runs, whose channels lie `together` numbers apart, and the first of its `weights`,
    /// whose rows are so far apart.
    fn chain(&self, down: &Run, right: &Run, together: usize, weights: (*const f32, usize)) -> (Chain, *const f32) {
        let (weights, ldw) = weights;
        let (row, ld, tap) = ((self.src.w * self.src.ld) as isize, self.src.ld as isize, self.k * ldw);
        let kw = self.right.0.taps;
        let chain = Chain {
            h: down.terms,
            w: right.terms,
            k: self.k,
            a_h: down.src_term_step * row,
            a_w: right.src_term_step * ld,
            a_k: together as isize,
            b_h: (down.term_step * kw * tap) as isize,
            b_w: (right.term_step * tap) as isize,
            b_k: ldw as isize,
        };
        // Wrapping: where there are no terms there may be nothing.
        (chain.collapsed(), weights.wrapping_add((down.term * kw + right.term) * tap))
    }

    /// From pixel `start` of a pair of runs on; `dst` is the first number of the target.
    fn walk(&self, down: &Run, right: &Run, start: usize, dst: *mut f32) -> Walk {
        let size = [down.count, right.count];
        let (image, y, x) = (start / size[1] / size[0], start / size[1] % size[0], start % size[1]);
        let step = [
            (self.src.size, self.dst_size),
            (down.src_step * self.src.w, down.step * self.dst_w),
            (right.src_step, right.step),
        ]
        .map(|(src, dst)| (src * self.src.ld, dst * self.ldd));
        let first = (
            self.src.data.wrapping_add((down.src * self.src.w + right.src) * self.src.ld),
            dst.wrapping_add((down.first * self.dst_w + right.first) * self.ldd),
        );
        let go = |(a, c): (*const f32, *mut f32), n: usize, step: (usize, usize)| {
            (a.wrapping_add(n * step.0), c.wrapping_add(n * step.1))
        };
        let image = go(first, image, step[0]);
        // The first row is counted from its image, the first pixel from its row.
        let row = go(image, y, step[1]);
        Walk { at: [image, row, go(row, x, step[2])], step, left: [size[0] - y, size[1] - x], size }
    }

    /// All pixels of some images, one of all of them after another. Concurrent calls are given disjoint images.
    fn across_images(&self, cpu: &Cpu, images: Range<usize>, out: &Output) {
        let from = self.bias.map_or(Begin::Zero, Begin::Row);
        let (n, to, most) = (self.n, &self.end, tall_rows(cpu.isa, self.n));
        for (down, right) in self.pairs() {
            let (chain, b) = self.chain(&down, &right, 1, (self.weights, self.ldw));
            for (y, x) in (0..down.count).flat_map(|y| (0..right.count).map(move |x| (y, x))) {
                let src = (down.src + y * down.src_step) * self.src.w + right.src + x * right.src_step;
                let dst = (down.first + y * down.step) * self.dst_w + right.first + x * right.step;
                for (i, m) in even(images.clone(), most) {
                    let rows = Regular::<false> {
                        a: self.src.data.wrapping_add((i * self.src.size + src) * self.src.ld),
                        a_step: self.src.size * self.src.ld,
                        c: out.ptr().wrapping_add((i * self.dst_size + dst) * self.ldd),
                        c_step: self.dst_size * self.ldd,
                    };
                    let tile = Tile { chain: &chain, rows, b, m, n, from, to, ahead: Ahead::NOTHING };
                    // SAFETY: as in `columns`; images are in one range each, so nobody else writes these.
                    unsafe { tile.run(cpu.isa) };
                }
            }
        }
    }

    /// A range of the pixels, counted run by run; `dst` is the first number of the target. Concurrent calls are given disjoint ranges.
    fn pixels(&self, cpu: &Cpu, range: Range<usize>, dst: *mut f32) {
        let (_, width) = tile_size(cpu.isa);
        let rows = self.down.0.taps * self.right.0.taps * self.k;
        for j in (0..self.n).step_by(width) {
            let (n, weights) = (width.min(self.n - j), self.weights.wrapping_add(j));
            // Rows of several tiles lie apart: those of one are copied where many pixels read them.
            if self.n > width && rows >= 64 && rows * width <= COPIED && range.len() >= 256 {
                self.copied_columns(cpu, &range, dst, j, n, rows);
            } else {
                self.columns(cpu, &range, dst, j, n, (weights, self.ldw));
            }
        }
    }

    /// So many columns of a range of the pixels, from a copy of their weights.
    #[inline(never)] // the copy is on the stack
    fn copied_columns(&self, cpu: &Cpu, range: &Range<usize>, dst: *mut f32, j: usize, n: usize, rows: usize) {
        let (_, width) = tile_size(cpu.isa);
        let mut copy = Aligned([MaybeUninit::uninit(); COPIED]);
        let copy = copy.0.as_mut_ptr().cast::<f32>();
        // SAFETY: all weights are there, as the pass has checked, and there is room for `rows` rows of `width`.
        unsafe { copy_rows(cpu.isa, rows, n, (self.weights.wrapping_add(j), self.ldw), (copy, width)) };
        self.columns(cpu, range, dst, j, n, (copy, width));
    }

    /// The same with weights that lie there, so far apart.
    fn columns(
        &self,
        cpu: &Cpu,
        range: &Range<usize>,
        dst: *mut f32,
        j: usize,
        n: usize,
        weights: (*const f32, usize),
    ) {
        let (most, _) = tile_size(cpu.isa);
        let tall = tall_rows(cpu.isa, n);
        let from = self.bias.map_or(Begin::Zero, |bias| Begin::Row(bias.wrapping_add(j)));
        let (to, ahead) = (&self.end, Ahead::NOTHING);
        let mut start = 0;
        for (down, right) in self.pairs() {
            let pixels = self.batch * down.count * right.count;
            let range = overlap(range, start, pixels);
            start += pixels;
            if range.is_empty() {
                continue;
            }
            let (chain, b) = self.chain(&down, &right, 1, weights);
            let mut walk = self.walk(&down, &right, range.start, dst.wrapping_add(j));
            if is_short(cpu.isa, &chain, from, *to) {
                let mut left = range.len();
                while left > 0 {
                    let pixels = walk.rectangle(left);
                    left -= pixels.size[0] * pixels.size[1];
                    // SAFETY: as below.
                    unsafe { Short { chain: &chain, pixels, b, n, from, to: *to }.run(cpu.isa) };
                }
                continue;
            }
            // Tiles of one vector take longer to find rows that lie apart than to multiply: they end where a row of
            // the image does.
            let by_row = tall > most && right.count >= most;
            let mut left = range.len();
            while left > 0 {
                let (some, most) = if by_row { (left.min(walk.left[1]), tall) } else { (left, most) };
                left -= some;
                for (_, m) in even(0..some, most) {
                    // SAFETY: the pass has checked the lengths; `Axis::terms` gives terms that lie within the images
                    // (tested below for all small shapes). Pixels are in one run each and in one range each, so
                    // nobody else writes these.
                    unsafe {
                        if let Some(rows) = walk.together(m) {
                            Tile { chain: &chain, rows, b, m, n, from, to, ahead }.run(cpu.isa);
                        } else {
                            let rows = walk.apart(m);
                            Tile { chain: &chain, rows, b, m, n, from, to, ahead }.run(cpu.isa);
                        }
                    }
                }
            }
        }
    }
}

/// As many weights are copied: 320 KB of the second cache.
const COPIED: usize = 5 << 14;

/// Goes through the pixels of a pair of runs: where each starts in the source, and in the target.
struct Walk {
    /// The current image's first pixel, the current row's first pixel, the current pixel.
    at: [(*const f32, *mut f32); 3],
    /// From each to its next.
    step: [(usize, usize); 3],
    /// Rows left in the image and pixels left in the row.
    left: [usize; 2],
    size: [usize; 2],
}

impl Walk {
    /// The next `m` pixels, if they lie in one row.
    #[inline(always)]
    fn together(&mut self, m: usize) -> Option<Regular<false>> {
        let ((a, c), (a_step, c_step)) = (self.at[2], self.step[2]);
        (m <= self.left[1]).then(|| {
            self.pass(m);
            Regular { a, a_step, c, c_step }
        })
    }

    /// The next `m` pixels.
    #[inline(always)]
    fn apart(&mut self, m: usize) -> Anywhere {
        let mut rows = Anywhere::NOWHERE;
        for (a, c) in rows.a[..m].iter_mut().zip(&mut rows.c) {
            (*a, *c) = self.at[2];
            self.pass(1);
        }
        rows
    }

    /// The next pixels, `most` at most: some of a row, or whole rows of the image; of all images, where each has one.
    fn rectangle(&mut self, most: usize) -> Rectangle {
        let ((a, c), [rows, pixels]) = (self.at[2], self.left);
        let single = self.size[0] == 1;
        let size = if pixels == self.size[1] && most >= pixels {
            [if single { most / pixels } else { rows.min(most / pixels) }, pixels]
        } else {
            [1, pixels.min(most)]
        };
        (0..size[0]).for_each(|_| self.pass(size[1]));
        let (down, right) = (self.step[usize::from(!single)], self.step[2]);
        Rectangle { size, a, a_step: [down.0, right.0], c, c_step: [down.1, right.1] }
    }

    /// Goes on by `n` pixels, as many as are left in the row or fewer.
    #[inline(always)]
    fn pass(&mut self, n: usize) {
        // Wrapping: after the last there may be nothing.
        let next = |(a, c): (*const f32, *mut f32), n: usize, step: (usize, usize)| {
            (a.wrapping_add(n * step.0), c.wrapping_add(n * step.1))
        };
        self.left[1] -= n;
        if self.left[1] > 0 {
            self.at[2] = next(self.at[2], n, self.step[2]);
            return;
        }
        self.left[1] = self.size[1];
        self.left[0] -= 1;
        if self.left[0] > 0 {
            self.at[1] = next(self.at[1], 1, self.step[1]);
        } else {
            self.left[0] = self.size[0];
            self.at[0] = next(self.at[0], 1, self.step[0]);
            self.at[1] = self.at[0];
        }
        self.at[2] = self.at[1];
    }
}

/// How many tiles of weights share the reading of an image.
const TOGETHER: usize = 16;

/// So many numbers of images stay in the second cache, beside what they are multiplied with.
const NEAR: usize = 1 << 16;

/// A block of the weights' gradient: rows counted run by run. Concurrent calls are given disjoint blocks.
#[allow(clippy::too_many_arguments)]
fn weight_grad_block(
    cpu: &Cpu,
    c: &Conv,
    x: &[f32],
    dy: &[f32],
    out: &Output,
    accumulate: bool,
    rows: Range<usize>,
    columns: Range<usize>,
) {
    let (most, width) = tile_size(cpu.isa);
    let out_w = c.out_w();
    let (image_x, image_y) = (c.h * c.w * c.ldx, c.out_h() * out_w * c.ldy);
    // Columns outermost, then images: those stay in the second cache for all taps.
    // Of images of a few terms, as many as stay in the first cache.
    let few = c.out_h() * out_w <= repeated::TERMS && repeated::repeats(cpu.isa, width.min(columns.len()));
    let at_once = if few { NEAR / 4 / (image_x + image_y).max(1) } else { NEAR / image_x.max(1) }.max(1);
    let blocks = columns.clone().step_by(width).flat_map(|j| even(0..c.batch, at_once).map(move |images| (j, images)));
    for (j, (image, images)) in blocks {
        let (x, dy) = (x.as_ptr().wrapping_add(image * image_x), dy.as_ptr().wrapping_add(image * image_y + j));
        let mut start = 0;
        for down in c.down().runs(Pass::Tap) {
            for right in c.right().runs(Pass::Tap) {
                let size = [down.count, right.count, c.ci];
                let len = size.iter().product();
                let rows = overlap(&rows, start, len);
                start += len;
                if rows.is_empty() {
                    continue;
                }
                let chain = c.over_outputs(&down, &right);
                let n = width.min(columns.end - j);
                let b = dy.wrapping_add((down.term * out_w + right.term) * c.ldy);
                let place = |[y, z, channel]: [usize; 3]| {
                    let src = (down.src + y) * c.w + right.src + z;
                    let row = ((down.first + y) * c.kw + right.first + z) * c.ci + channel;
                    (x.wrapping_add(src * c.ldx + channel), out.ptr().wrapping_add(row * c.ldw + j))
                };
                if few && repeated::repeats(cpu.isa, n) {
                    let mut at = Odometer::new(rows.start, size);
                    for (_, m) in even(rows, repeated::ROWS) {
                        let mut tile = Repeated {
                            chain: &chain,
                            a: [std::ptr::null(); repeated::ROWS],
                            c: [std::ptr::null_mut(); repeated::ROWS],
                            b,
                            images,
                            a_image: image_x,
                            b_image: image_y,
                            adds: accumulate || image > 0,
                            m,
                            n,
                        };
                        for (a, c) in tile.a.iter_mut().zip(&mut tile.c).take(m) {
                            (*a, *c) = place(at.next());
                        }
                        // SAFETY: lengths are checked by `conv2d_weight_grad`, terms lie within the images, blocks are disjoint.
                        unsafe { tile.run() };
                    }
                    continue;
                }
                for (first, together) in even(rows, most * TOGETHER) {
                    let mut at = Odometer::new(first, size);
                    let mut tiles: [Tile<Anywhere>; TOGETHER] = std::array::from_fn(|_| Tile {
                        chain: &chain,
                        rows: Anywhere::NOWHERE,
                        b,
                        m: 0,
                        n,
                        from: Begin::Zero,
                        to: if accumulate || image > 0 { &End::Add } else { &End::First },
                        ahead: Ahead::NOTHING,
                    });
                    let mut used = 0;
                    for (tile, (_, m)) in tiles.iter_mut().zip(even(0..together, most)) {
                        used += 1;
                        tile.m = m;
                        for (a, c) in tile.rows.a.iter_mut().zip(&mut tile.rows.c).take(m) {
                            (*a, *c) = place(at.next());
                        }
                    }
                    for _ in 0..images {
                        for tile in &mut tiles[..used] {
                            // SAFETY: lengths are checked by `conv2d_weight_grad`, terms lie within the images (tested
                            // below for all small shapes), blocks are disjoint.
                            unsafe { tile.run(cpu.isa) };
                            for a in &mut tile.rows.a {
                                *a = a.wrapping_add(image_x);
                            }
                            tile.b = tile.b.wrapping_add(image_y);
                            tile.to = &End::Add;
                        }
                    }
                }
            }
        }
    }
}

/// The gradient of the weights from copies: of each image, a strip of so many channels of the input as a tile has rows, and as many
/// channels of dy as it has columns, which all taps read. Where they lie in the images they would share few lines of a cache.
struct Strips {
    /// Strips of the input's channels, and the most of them that one has.
    count: usize,
    most: usize,
}

/// As many pixels of an image are copied.
const PIXELS: usize = 34 * 34;

/// As many strips share a copy of dy, and the lines that hold their sums.
const GROUP: usize = 4;

impl Strips {
    /// If it is worth it.
    fn of(cpu: &Cpu, c: &Conv) -> Option<Strips> {
        // Where few channels do not fill a tile, it takes rows of several taps. Pixels of a line of the cache each are read as they lie,
        // but for rows of one vector, whose tiles are quicker where rows follow each other. With a stride, a tap reads few of the pixels
        // that would be copied.
        let fills = c.ci > if c.co > SIDE { SIDE } else { SIDE / 2 };
        let pays = fills && c.stride == (1, 1) && c.taps() >= 4 && c.out_h() * c.out_w() >= 192;
        (pays && Strips::fit(c)).then(|| Strips::new(cpu, c))
    }

    /// Whether there is room for the copies.
    fn fit(c: &Conv) -> bool {
        c.h.saturating_mul(c.w).max(c.out_h().saturating_mul(c.out_w())) <= PIXELS
    }

    fn new(cpu: &Cpu, c: &Conv) -> Strips {
        let most = tall_rows(cpu.isa, c.co);
        Strips { count: c.ci.div_ceil(most), most }
    }

    /// So many units, each a strip and the columns of a tile, strips fastest. Concurrent calls are given disjoint units.
    #[allow(clippy::too_many_arguments)]
    fn run(&self, cpu: &Cpu, c: &Conv, x: &[f32], dy: &[f32], out: &Output, accumulate: bool, units: Range<usize>) {
        let (_, width) = tile_size(cpu.isa);
        let (inputs, outputs) = (c.h * c.w, c.out_h() * c.out_w());
        let mut strip = Aligned([MaybeUninit::uninit(); TALL_ROWS * PIXELS]);
        let mut panel = Aligned([MaybeUninit::uninit(); COLUMNS * PIXELS]);
        let (strip, panel) = (strip.0.as_mut_ptr().cast::<f32>(), panel.0.as_mut_ptr().cast::<f32>());
        let mut unit = units.start;
        while unit < units.end {
            let (j, first) = (unit / self.count * width, unit % self.count);
            let (n, last) = (width.min(c.co - j), self.count.min(first + GROUP).min(first + units.end - unit));
            for image in 0..c.batch {
                let from = dy.as_ptr().wrapping_add(image * outputs * c.ldy + j);
                // SAFETY: lengths are checked by `conv2d_weight_grad`; there is room for `width` numbers of each pixel.
                unsafe { copy_rows(cpu.isa, outputs, n, (from, c.ldy), (panel, width)) };
                let to = if accumulate || image > 0 { &End::Add } else { &End::First };
                for (channel, m) in even(0..c.ci, self.most).take(last).skip(first) {
                    let from = x.as_ptr().wrapping_add(image * inputs * c.ldx + channel);
                    // SAFETY: as above, for `most` numbers.
                    unsafe { copy_rows(cpu.isa, inputs, m, (from, c.ldx), (strip, self.most)) };
                    self.taps(cpu, c, (strip, m), (panel, n, to), out.ptr().wrapping_add(channel * c.ldw + j));
                }
            }
            unit += last - first;
        }
    }

    /// All taps of an image for a strip of `m` channels and `n` channels of dy; `out` is the first number of the first tap.
    fn taps(&self, cpu: &Cpu, c: &Conv, strip: (*const f32, usize), panel: (*const f32, usize, &End), out: *mut f32) {
        let (_, width) = tile_size(cpu.isa);
        let ((strip, m), (panel, n, to)) = (strip, panel);
        // As the copies lie.
        let copied = Conv { ldx: self.most, ldy: width, ..*c };
        for down in c.down().runs(Pass::Tap) {
            for right in c.right().runs(Pass::Tap) {
                let chain = copied.over_outputs(&down, &right);
                let b = panel.wrapping_add((down.term * c.out_w() + right.term) * width);
                for (y, z) in (0..down.count).flat_map(|y| (0..right.count).map(move |z| (y, z))) {
                    let src = (down.src + y) * c.w + right.src + z;
                    let tap = (down.first + y) * c.kw + right.first + z;
                    let rows = Regular::<false> {
                        a: strip.wrapping_add(src * self.most),
                        a_step: 1,
                        c: out.wrapping_add(tap * c.ci * c.ldw),
                        c_step: c.ldw,
                    };
                    let tile = Tile { chain: &chain, rows, b, m, n, from: Begin::Zero, to, ahead: Ahead::NOTHING };
                    // SAFETY: the copies hold all pixels, of which the terms are some (tested below for all small shapes); rows of
                    // this strip and these columns are nobody else's.
                    unsafe { tile.run(cpu.isa) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::math::testing::{cases, shape_is};
    use crate::matmul::tests::{Exact, Numbers, check_gradient, machines, same_bits};
    use crate::tile::TALL_ROWS;

    /// All pairs (output, tap) of an axis and the input they meet at.
    fn meetings(axis: Axis) -> Vec<(usize, usize, usize)> {
        let pairs = (0..axis.outputs()).flat_map(|o| (0..axis.taps).map(move |t| (o, t)));
        let at = |(o, t): (usize, usize)| (o * axis.stride + t).checked_sub(axis.padding).map(|i| (o, t, i));
        pairs.filter_map(at).filter(|&(_, _, i)| i < axis.inputs).collect()
    }

    #[test]
    fn runs_hold_every_position_once_and_its_terms_in_order() {
        for inputs in (0..9).chain([16, 31]) {
            for (taps, stride, padding) in (1..6).flat_map(|t| (1..5).flat_map(move |s| (0..5).map(move |p| (t, s, p))))
            {
                let axis = Axis { inputs, taps, stride, padding };
                for pass in [Pass::Output, Pass::Input, Pass::Tap] {
                    // (position, term, source)
                    let mut expected: Vec<_> = meetings(axis)
                        .into_iter()
                        .map(|(o, t, i)| match pass {
                            Pass::Output => (o, t, i),
                            Pass::Input => (i, t, o),
                            Pass::Tap => (t, o, i),
                        })
                        .collect();
                    expected.sort();
                    let (mut found, mut positions) = (Vec::new(), Vec::new());
                    for run in axis.runs(pass) {
                        for n in 0..run.count {
                            positions.push(run.first + n * run.step);
                            for l in 0..run.terms {
                                let src = (run.src + n * run.src_step) as isize + l as isize * run.src_term_step;
                                let term = run.term + l * run.term_step;
                                found.push((run.first + n * run.step, term, src as usize));
                            }
                        }
                    }
                    found.sort_by_key(|&(position, ..)| position); // stable: terms stay in the order of the chain
                    assert_eq!(found, expected, "{inputs} inputs, {taps} taps, stride {stride}, padding {padding}");
                    positions.sort();
                    let all = match pass {
                        Pass::Output => axis.outputs(),
                        Pass::Input => inputs,
                        Pass::Tap => taps,
                    };
                    assert_eq!(positions, (0..all).collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn the_inside_is_one_run() {
        let axis = Axis { inputs: 224, taps: 7, stride: 2, padding: 3 };
        assert_eq!(axis.runs(Pass::Output).count(), 4);
        let axis = Axis { inputs: 14, taps: 3, stride: 1, padding: 0 };
        assert_eq!(axis.runs(Pass::Output).map(|run| run.count).collect::<Vec<_>>(), [12]);
        assert_eq!(axis.runs(Pass::Tap).map(|run| run.count).collect::<Vec<_>>(), [3]);
        assert_eq!(axis.runs(Pass::Input).map(|run| run.count).collect::<Vec<_>>(), [1, 1, 10, 1, 1]);
    }

    /// Calls `f` with the indices of (output pixel, tap, input pixel) that meet, in order.
    fn each_meeting(c: &Conv, mut f: impl FnMut(usize, usize, usize)) {
        let (down, right) = (meetings(c.down()), meetings(c.right()));
        for b in 0..c.batch {
            for &(oh, kh, h) in &down {
                for &(ow, kw, w) in &right {
                    f((b * c.out_h() + oh) * c.out_w() + ow, kh * c.kw + kw, (b * c.h + h) * c.w + w);
                }
            }
        }
    }

    /// All three passes of one shape against their definitions, on all machines.
    pub(super) fn check(machines: &[Cpu], numbers: &mut Numbers, c: &Conv) {
        shape_is(c);
        let x = numbers.rows(c.inputs(), c.ci, c.ldx, f32::NAN);
        let w = numbers.rows(c.taps() * c.ci, c.co, c.ldw, f32::NAN);
        let ldwt = c.ci + 3;
        let mut wt = vec![f32::NAN; reach(c.taps() * c.co, c.ci, ldwt)];
        for tap in 0..c.taps() {
            for (i, o) in (0..c.ci).flat_map(|i| (0..c.co).map(move |o| (i, o))) {
                wt[(tap * c.co + o) * ldwt + i] = w[(tap * c.ci + i) * c.ldw + o];
            }
        }
        let dy = numbers.rows(c.outputs(), c.co, c.ldy, f32::NAN);
        let bias = numbers.rows(1, c.co, c.co, 0.0);
        let stored = numbers.rows(c.taps() * c.ci, c.co, c.ldw, 77.0);
        let with_bias = numbers.pick(0..2) == 1;
        let accumulate = numbers.pick(0..2) == 1;
        let map = [Map::Identity, Map::ReLU, Map::Tanh][numbers.pick(0..3)];
        let what = format!("{c:?} {map:?}");
        let channels = || (0..c.ci).flat_map(|i| (0..c.co).map(move |o| (i, o)));

        let y = same_bits(machines, &what, |cpu| {
            let mut y = vec![77.0; reach(c.outputs(), c.co, c.ldy)];
            conv2d(cpu, c, &x, &w, with_bias.then_some(&bias), &mut y, map);
            y
        });
        let mut exact = vec![Exact::default(); c.outputs() * c.co];
        if with_bias {
            exact.iter_mut().enumerate().for_each(|(at, e)| e.add(bias[at % c.co], 1.0));
        }
        each_meeting(c, |p, t, q| {
            channels().for_each(|(i, o)| exact[p * c.co + o].add(x[q * c.ldx + i], w[(t * c.ci + i) * c.ldw + o]));
        });
        compare(&y, c.co, c.ldy, &exact, map, &what);

        let dx = same_bits(machines, &what, |cpu| {
            let mut dx = vec![77.0; reach(c.inputs(), c.ci, c.ldx)];
            conv2d_input_grad(cpu, c, &dy, &wt, ldwt, &mut dx, Map::Identity);
            dx
        });
        let mut exact = vec![Exact::default(); c.inputs() * c.ci];
        each_meeting(c, |p, t, q| {
            channels().for_each(|(i, o)| exact[q * c.ci + i].add(dy[p * c.ldy + o], w[(t * c.ci + i) * c.ldw + o]));
        });
        compare(&dx, c.ci, c.ldx, &exact, Map::Identity, &what);
        check_gradient(machines, numbers, (c.ci, c.ldx), &what, |cpu, finish| {
            let mut dx = vec![77.0; reach(c.inputs(), c.ci, c.ldx)];
            conv2d_input_grad(cpu, c, &dy, &wt, ldwt, &mut dx, finish);
            dx
        });

        let dw = same_bits(machines, &what, |cpu| {
            let mut dw = stored.clone();
            conv2d_weight_grad(cpu, c, &x, &dy, &mut dw, accumulate);
            dw
        });
        let mut exact = vec![Exact::default(); c.taps() * c.ci * c.co];
        if accumulate {
            let at = |at: usize| at / c.co * c.ldw + at % c.co;
            exact.iter_mut().enumerate().for_each(|(n, e)| e.add(stored[at(n)], 1.0));
        }
        each_meeting(c, |p, t, q| {
            channels().for_each(|(i, o)| exact[(t * c.ci + i) * c.co + o].add(x[q * c.ldx + i], dy[p * c.ldy + o]));
        });
        compare(&dw, c.co, c.ldw, &exact, Map::Identity, &what);
    }

    fn compare(found: &[f32], n: usize, ld: usize, exact: &[Exact], map: Map, what: &str) {
        for (at, &x) in found.iter().enumerate() {
            if at % ld < n {
                exact[at / ld * n + at % ld].check(x, map, what);
            } else {
                assert_eq!(x, 77.0, "{what}: padding was written");
            }
        }
    }

    pub(super) fn shape(batch: usize, size: (usize, usize), channels: (usize, usize), kernel: (usize, usize)) -> Conv {
        let ((h, w), (ci, co), (kh, kw)) = (size, channels, kernel);
        Conv {
            batch,
            ci,
            h,
            w,
            co,
            kh,
            kw,
            stride: (1, 1),
            padding: (0, 0),
            ldx: ci,
            ldw: co,
            ldy: co,
            interleaved: false,
        }
    }

    #[test]
    fn convolutions_are_right_and_the_same_everywhere() {
        let machines = machines();
        cases("convolutions", 120, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let mut pick = |range| numbers.pick(range);
            let mut c =
                shape(pick(1..4), (pick(1..9), pick(1..9)), (pick(1..20), pick(1..40)), (pick(1..5), pick(1..5)));
            c.stride = (pick(1..4), pick(1..4));
            c.padding = (pick(0..3), pick(0..3));
            if pick(0..3) == 0 {
                // Rows of several tiles, columns of one vector or a little more.
                (c.h, c.w, c.ci, c.co) = (pick(1..4), pick(9..70), pick(1..5), pick(1..19));
                c.stride.1 = pick(1..3);
            }
            if pick(0..4) == 0 {
                // Tiles of the same pixel of many images.
                (c.batch, c.h, c.w, c.ci, c.co) = (pick(4..40), pick(1..5), pick(1..12), pick(1..17), pick(1..17));
            }
            (c.ldx, c.ldw, c.ldy) = (c.ci + pick(0..4), c.co + pick(0..4), c.co + pick(0..4));
            check(&machines, &mut numbers, &c);
        });
        let mut numbers = Numbers::new(5);
        for channels in [(1, 16), (16, 32), (3, 1)] {
            check(&machines, &mut numbers, &shape(2, (7, 6), channels, (3, 3)));
        }
        check(&machines, &mut numbers, &shape(0, (7, 6), (2, 3), (3, 3)));
        // Every size of a tile of one vector, and tiles that end with a row.
        for w in 1..=2 * TALL_ROWS + 2 {
            for co in [5, 8, 11, 16] {
                check(&machines, &mut numbers, &shape(1, (2, w), (1, co), (1, 1)));
            }
        }
    }

    #[test]
    fn copies_change_no_bit() {
        let machines: Vec<Cpu> = machines().into_iter().filter(|cpu| cpu.pool.threads() == 1).collect();
        cases("copies of images", 60, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let mut pick = |range| numbers.pick(range);
            let size = (pick(1..12), pick(1..12));
            let mut c = shape(pick(1..4), size, (pick(1..60), pick(1..80)), (pick(1..5), pick(1..5)));
            (c.stride, c.padding) = ((pick(1..4), pick(1..4)), (pick(0..3), pick(0..3)));
            (c.ldx, c.ldw, c.ldy) = (c.ci + pick(0..4), c.co + pick(0..4), c.co + pick(0..4));
            shape_is(&c);
            let accumulate = pick(0..2) == 1;
            let x = numbers.rows(c.inputs(), c.ci, c.ldx, f32::NAN);
            let dy = numbers.rows(c.outputs(), c.co, c.ldy, f32::NAN);
            let stored = numbers.rows(c.taps() * c.ci, c.co, c.ldw, 77.0);
            for cpu in &machines {
                let gradient = |run: &dyn Fn(&Output)| {
                    let mut dw = stored.clone();
                    run(&Output::new(&mut dw));
                    dw.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
                };
                let want = gradient(&|out| {
                    weight_grad_block(cpu, &c, &x, &dy, out, accumulate, 0..c.taps() * c.ci, 0..c.co);
                });
                assert!(Strips::fit(&c));
                let strips = Strips::new(cpu, &c);
                let units = c.co.div_ceil(tile_size(cpu.isa).1) * strips.count;
                for cut in [0, 1, units / 2, units - 1] {
                    let found = gradient(&|out| {
                        strips.run(cpu, &c, &x, &dy, out, accumulate, 0..cut);
                        strips.run(cpu, &c, &x, &dy, out, accumulate, cut..units);
                    });
                    assert!(found == want, "{c:?} {}", cpu.isa);
                }
            }
        });
    }

    #[test]
    fn large_convolutions_are_shared_by_threads() {
        // Without the portable code, which takes seconds for these.
        let machines: Vec<Cpu> = machines().into_iter().filter(|cpu| cpu.isa == Isa::detect()).collect();
        let mut numbers = Numbers::new(6);
        check(&machines, &mut numbers, &shape(60, (14, 14), (1, 16), (3, 3)));
        check(&machines, &mut numbers, &shape(11, (6, 6), (16, 40), (3, 3)));
        let mut c = shape(3, (7, 7), (40, 70), (3, 3));
        c.padding = (1, 1);
        check(&machines, &mut numbers, &c);
        check(&machines, &mut numbers, &shape(9, (9, 9), (3, 150), (4, 2)));
        // Whose weights are copied for each tile's columns, and whose images are.
        check(&machines, &mut numbers, &shape(5, (16, 16), (13, 45), (3, 3)));
    }

    #[test]
    fn orders_are_as_stated() {
        let mut numbers = Numbers::new(7);
        let mut c = shape(3, (5, 6), (5, 19), (3, 2));
        c.padding = (1, 1);
        let x = numbers.rows(c.inputs(), c.ci, c.ci, 0.0);
        let w = numbers.rows(c.taps() * c.ci, c.co, c.co, 0.0);
        let dy = numbers.rows(c.outputs(), c.co, c.co, 0.0);
        let mut y = vec![0.5_f32; c.outputs() * c.co];
        let mut dw = vec![0.25_f32; w.len()];
        let mut partial = vec![0.0_f32; w.len()];
        let image = |p: usize| p / (c.out_h() * c.out_w());
        let mut now = 0;
        each_meeting(&c, |p, t, q| {
            if image(p) != now {
                dw.iter_mut().zip(&mut partial).for_each(|(d, p)| *d += std::mem::take(p));
                now = image(p);
            }
            for (i, o) in (0..c.ci).flat_map(|i| (0..c.co).map(move |o| (i, o))) {
                let at = (t * c.ci + i) * c.co + o;
                y[p * c.co + o] = x[q * c.ci + i].mul_add(w[at], y[p * c.co + o]);
                partial[at] = x[q * c.ci + i].mul_add(dy[p * c.co + o], partial[at]);
            }
        });
        dw.iter_mut().zip(&partial).for_each(|(d, p)| *d += p);
        for cpu in machines() {
            let mut found = vec![f32::NAN; y.len()];
            conv2d(&cpu, &c, &x, &w, Some(&vec![0.5; c.co]), &mut found, Map::Identity);
            assert_eq!(found, y, "{}", cpu.isa);
            let mut found = vec![0.25; w.len()];
            conv2d_weight_grad(&cpu, &c, &x, &dy, &mut found, true);
            assert_eq!(found, dw, "{}", cpu.isa);
        }
    }

    #[test]
    fn infinite_weights_do_not_reach_over_the_border() {
        let mut c = shape(1, (1, 1), (1, 1), (3, 3));
        c.padding = (1, 1);
        let mut w = [f32::INFINITY; 9];
        w[4] = 2.0;
        let mut y = [0.0];
        conv2d(&Cpu::new(1), &c, &[3.0], &w, None, &mut y, Map::Identity);
        assert_eq!(y, [6.0]);
    }

    #[test]
    #[should_panic(expected = "conv2d: the weights")]
    fn short_weights_are_refused() {
        let c = shape(1, (4, 4), (2, 3), (3, 3));
        conv2d(&Cpu::new(1), &c, &[0.0; 32], &[0.0; 53], None, &mut [0.0; 12], Map::Identity);
    }
}
