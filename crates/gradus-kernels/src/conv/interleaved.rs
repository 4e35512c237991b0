//! Convolutions of interleaved images ([`crate::layout::interleave`]): sixteen samples along the lanes, so that no lane is
//! empty however few the channels.
//!
//! A tile is some pixels (or weights) times some outputs: each of its sums is a vector, one number for each sample. So every
//! number is the same chain of fused multiply-adds as where samples lie one after another, and has the same bits. Lanes past
//! the last sample hold anything, and reach no other lane.

use std::ops::Range;

use super::{Conv, Gather, Odometer, Pass, Run, overlap};
use crate::isa::{Level, simd};
#[cfg(target_arch = "x86_64")]
use crate::lanes::Half;
use crate::lanes::{Lanes, Plain};
use crate::layout::SAMPLES;
use crate::matmul::{even, reach};
use crate::optim::sgd;
use crate::pointwise::Map;
use crate::pool::{Output, Work, Write};
use crate::square::{self, SIDE};
use crate::sums::Total;
use crate::tile::{Ahead, Anywhere, Begin, Chain, End, ROWS, Regular, Tile, TileRows, each_row, map_stored, tile_size};
use crate::{Cpu, Isa};

/// The most outputs of a tile.
const OUTPUTS: usize = 4;

/// How many pixels (or weights) a tile of so many outputs has: what fits in the registers.
fn most(isa: Isa, outputs: usize) -> usize {
    let sums = if isa.level() == Level::Portable || tile_size(isa).0 < ROWS { 12 } else { 24 };
    ROWS.min(sums / outputs)
}

/// Tiles of some pixels (or weights) times some outputs, one below the other: in each line of pixels of a block.
struct Strip<'a, R> {
    /// The first.
    tile: Tile<'a, R>,
    lines: usize,
    /// From one line to the next, in the source and in the target.
    step: (usize, usize),
    /// Samples of the block.
    samples: usize,
}

impl<R: TileRows> Strip<'_, R> {
    /// Computes it. What is summed is vectors of `a` times numbers of `b`, or with `VECTORS` its vectors.
    ///
    /// # Safety
    /// `tile.n` is at least 1 and at most [`OUTPUTS`], `tile.m` at least 1 and at most [`most`] of so many. For each line, all vectors
    /// of `a`, all numbers (or vectors) of `b` that the chain names, and what the tile starts from and ends with can be read, `n`
    /// vectors of samples at each `c` written; nobody else uses those.
    unsafe fn run<const VECTORS: bool>(&self, isa: Isa) {
        // SAFETY: the features are there, as in `simd!`; the rest is promised by the caller.
        unsafe {
            match isa.level() {
                Level::Portable => portable::<R, VECTORS>(self),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => avx2::<R, VECTORS>(self),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 if self.samples <= Half::N => avx512_half::<R, VECTORS>(self),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => avx512::<R, VECTORS>(self),
            }
        }
    }
}

/// A strip of tiles of `P` pixels and `O` outputs.
///
/// # Safety
/// As [`Strip::run`], where `P` and `O` are the tile's `m` and `n` and the instruction set of `V` is there.
#[inline(always)]
unsafe fn strip<V: Lanes, R: TileRows, const VECTORS: bool, const P: usize, const O: usize>(s: &Strip<'_, R>) {
    let Tile { chain, rows, b, from, to, .. } = s.tile;
    let Chain { h, w, k, a_h, a_w, a_k, b_h, b_w, b_k } = *chain;
    for lane in (0..s.samples).step_by(V::N) {
        for line in 0..s.lines {
            // SAFETY: the caller's promises. Addresses are computed with wrapping arithmetic: the last steps leave the slices.
            unsafe {
                let mut sums = [[V::splat(0.0); O]; P];
                if let Begin::Row(bias) = from {
                    for o in 0..O {
                        let bias = V::splat(*bias.wrapping_add(o));
                        for sums in &mut sums {
                            sums[o] = bias;
                        }
                    }
                }
                for y in 0..h as isize {
                    for x in 0..w as isize {
                        let first = (line * s.step.0 + lane) as isize + y * a_h + x * a_w;
                        let mut place = R::after(rows.start(), first);
                        let mut b = b.wrapping_offset(y * b_h + x * b_w);
                        for _ in 0..k {
                            let mut factors = [V::splat(0.0); O];
                            for (o, factor) in factors.iter_mut().enumerate() {
                                *factor = if VECTORS {
                                    V::load(b.wrapping_add(o * SAMPLES + lane))
                                } else {
                                    V::splat(*b.wrapping_add(o))
                                };
                            }
                            for (p, sums) in sums.iter_mut().enumerate() {
                                let a = V::load(rows.a(p, place));
                                for (sum, factor) in sums.iter_mut().zip(factors) {
                                    *sum = sum.add_product(a, factor);
                                }
                            }
                            place = R::after(place, a_k);
                            b = b.wrapping_offset(b_k);
                        }
                    }
                }
                let c = |p: usize, o: usize| rows.c(p).wrapping_add(line * s.step.1 + o * SAMPLES + lane);
                match *to {
                    End::Map(Map::ReLU) => each_row(
                        &mut sums,
                        #[inline(always)]
                        |_, _, sum| sum.where_above(sum),
                    ),
                    End::Gradient(Map::ReLU, y) => each_row(
                        &mut sums,
                        #[inline(always)]
                        |p, o, sum| sum.where_above(V::load(y.of(c(p, o)))),
                    ),
                    _ => {}
                }
                each_row(
                    &mut sums,
                    #[inline(always)]
                    |p, o, sum| {
                        sum.store(c(p, o));
                        sum
                    },
                );
            }
        }
    }
}

/// Defines the function that runs a strip of any size on one instruction set: for each number of outputs, the numbers of pixels.
macro_rules! strips {
    ($(#[$cfg:meta])? $name:ident, $v:ty, $(#[$feature:meta])?, $($o:literal: $($p:literal)+;)+) => {
        /// # Safety
        /// As [`Strip::run`], where the instruction set is there.
        $(#[$cfg])?
        unsafe fn $name<R: TileRows, const VECTORS: bool>(s: &Strip<'_, R>) {
            /// # Safety
            /// As [`strip`].
            $(#[$feature])?
            unsafe fn sized<R: TileRows, const VECTORS: bool, const P: usize, const O: usize>(s: &Strip<'_, R>) {
                // SAFETY: the same promises.
                unsafe { strip::<$v, R, VECTORS, P, O>(s) }
            }
            // SAFETY: the caller's promises.
            unsafe {
                match (s.tile.n, s.tile.m) {
                    $($(($o, $p) => sized::<R, VECTORS, $p, $o>(s),)+)+
                    (outputs, pixels) => unreachable!("a tile of {pixels} pixels and {outputs} outputs"),
                }
            }
        }
    };
}

strips!(
    portable, Plain, ,
    1: 1 2 3 4 5 6 7 8 9 10 11 12; 2: 1 2 3 4 5 6; 3: 1 2 3 4; 4: 1 2 3;
);
strips!(
    #[cfg(target_arch = "x86_64")] avx2, std::arch::x86_64::__m256, #[target_feature(enable = "avx2,fma")],
    1: 1 2 3 4 5 6 7 8 9 10 11 12; 2: 1 2 3 4 5 6; 3: 1 2 3 4; 4: 1 2 3;
);
strips!(
    #[cfg(target_arch = "x86_64")] avx512_half, Half,
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")],
    1: 1 2 3 4 5 6 7 8 9 10 11 12; 2: 1 2 3 4 5 6 7 8 9 10 11 12; 3: 1 2 3 4 5 6 7 8; 4: 1 2 3 4 5 6;
);
strips!(
    #[cfg(target_arch = "x86_64")] avx512, std::arch::x86_64::__m512,
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")],
    1: 1 2 3 4 5 6 7 8 9 10 11 12; 2: 1 2 3 4 5 6 7 8 9 10 11 12; 3: 1 2 3 4 5 6 7 8; 4: 1 2 3 4 5 6;
);

impl Gather {
    /// The pass over interleaved images, whose sums go over channels of sixteen samples.
    pub(super) fn run_interleaved(&self, cpu: &Cpu, work: Work, dst: &mut [f32]) {
        let out = Output::new(dst);
        let blocks = self.batch.div_ceil(SAMPLES);
        // Lines go along the longer side: the left border of an image is one line.
        let lines = |(down, right): &(Run, Run)| down.count.min(right.count);
        let units = blocks * self.pairs().map(|pair| lines(&pair)).sum::<usize>();
        cpu.pool.split(work, units, 1, |range| {
            let mut start = 0;
            for pair in self.pairs() {
                let lines = lines(&pair);
                let mut range = overlap(&range, start, blocks * lines);
                start += blocks * lines;
                while !range.is_empty() {
                    let (block, first) = (range.start / lines, range.start % lines);
                    let count = range.len().min(lines - first);
                    self.block(cpu, pair, block, first..first + count, &out);
                    range.start += count;
                }
            }
        });
    }

    /// Some lines of a block. Concurrent calls are given others.
    fn block(&self, cpu: &Cpu, (down, right): (Run, Run), block: usize, range: Range<usize>, out: &Output) {
        let (chain, b) = self.chain(&down, &right, SAMPLES, (self.weights, self.ldw));
        let source = ((block * self.src.size) + down.src * self.src.w + right.src) * self.src.ld;
        let target = ((block * self.dst_size) + down.first * self.dst_w + right.first) * self.ldd;
        let across = (right.src_step * self.src.ld, right.step * self.ldd);
        let along = (down.src_step * self.src.w * self.src.ld, down.step * self.dst_w * self.ldd);
        let (pixel, line, m) =
            if right.count >= down.count { (across, along, right.count) } else { (along, across, down.count) };
        let (a, c) = (
            self.src.data.wrapping_add(source + range.start * line.0),
            out.ptr().wrapping_add(target + range.start * line.1),
        );
        let (samples, lines, (a_step, c_step)) = (SAMPLES.min(self.batch - block * SAMPLES), range.len(), pixel);
        for (o, outputs) in even(0..self.n, OUTPUTS) {
            for (p, pixels) in even(0..m, most(cpu.isa, outputs)) {
                let tile = Tile {
                    chain: &chain,
                    rows: Regular::<false> {
                        a: a.wrapping_add(p * a_step),
                        a_step,
                        c: c.wrapping_add(p * c_step + o * SAMPLES),
                        c_step,
                    },
                    b: b.wrapping_add(o),
                    m: pixels,
                    n: outputs,
                    from: self.bias.map_or(Begin::Zero, |bias| Begin::Row(bias.wrapping_add(o))),
                    to: &self.end,
                    ahead: Ahead::NOTHING,
                };
                // SAFETY: the pass has checked the lengths; `Axis::terms` gives terms that lie within the images (tested for all
                // small shapes). Lines are in one pair of runs and in one range each, so nobody else writes these.
                unsafe { Strip { tile, lines, step: line, samples }.run::<false>(cpu.isa) };
            }
        }
        if let End::Map(map) | End::Gradient(map, _) = self.end
            && !matches!(map, Map::Identity | Map::ReLU)
        {
            for i in 0..lines {
                let rows = Regular { a, a_step, c: c.wrapping_add(i * line.1), c_step };
                let (n, from, to) = (self.n * SAMPLES, Begin::Zero, &self.end);
                // SAFETY: what was written above.
                unsafe { map_stored(cpu.isa, &Tile { chain: &chain, rows, b, m, n, from, to, ahead: Ahead::NOTHING }) };
            }
        }
    }
}

/// The gradient of the weights of interleaved images without padding: dw = (dw or 0) + Σ x·dy. Writes the `co` columns of `dw`
/// alone. `partials` holds the sums of each sample: as many numbers as [`partials`] says.
///
/// Order: as [`super::conv2d_weight_grad`].
///
/// # Panics
/// When a slice is shorter than the shape says, a distance less than the row it holds, a stride 0, or there is padding.
pub fn conv2d_weight_grad(
    cpu: &Cpu,
    c: &Conv,
    x: &[f32],
    dy: &[f32],
    partials: &mut [f32],
    dw: &mut [f32],
    accumulate: bool,
) {
    assert!(c.interleaved && c.padding == (0, 0), "conv2d_weight_grad: not interleaved, or padded: {c:?}");
    c.check("conv2d_weight_grad", x.len(), (c.ci, c.co, c.ldw, dw.len()), dy.len());
    // Without padding all taps have the same outputs.
    let (Some(down), Some(right)) = (c.down().runs(Pass::Tap).next(), c.right().runs(Pass::Tap).next()) else { return };
    let chain = c.over_outputs(&down, &right);
    let (rows, blocks, needs) = (c.taps() * c.ci, c.batch.div_ceil(SAMPLES), self::partials(c));
    let has = partials.len();
    assert!(has >= needs, "conv2d_weight_grad: the partial sums take {needs} numbers, not {has}");
    let partials = &mut partials[..needs];
    let out = Output::new(partials);
    cpu.pool.split(c.work(), blocks * rows, ROWS, |mut range| {
        while !range.is_empty() {
            let (block, first) = (range.start / rows, range.start % rows);
            let count = range.len().min(rows - first);
            let x = x.as_ptr().wrapping_add(block * c.h * c.w * c.ldx);
            let dy = dy.as_ptr().wrapping_add(block * c.out_h() * c.out_w() * c.ldy);
            let sums = out.ptr().wrapping_add(block * rows * c.co * SAMPLES);
            let samples = SAMPLES.min(c.batch - block * SAMPLES);
            for (o, outputs) in even(0..c.co, OUTPUTS) {
                let mut at = Odometer::new(first, [c.kh, c.kw, c.ci]);
                for (row, m) in even(first..first + count, most(cpu.isa, outputs)) {
                    let mut rows = Anywhere::NOWHERE;
                    for r in 0..m {
                        let [u, v, channel] = at.next();
                        rows.a[r] = x.wrapping_add((u * c.w + v) * c.ldx + channel * SAMPLES);
                        rows.c[r] = sums.wrapping_add(((row + r) * c.co + o) * SAMPLES);
                    }
                    let (b, from, to) = (dy.wrapping_add(o * SAMPLES), Begin::Zero, &End::Map(Map::Identity));
                    let tile = Tile { chain: &chain, rows, b, m, n: outputs, from, to, ahead: Ahead::NOTHING };
                    // SAFETY: the lengths are checked above; the lanes of a block are all there. Rows are in one range each, so
                    // nobody else writes their sums.
                    unsafe { Strip { tile, lines: 1, step: (0, 0), samples }.run::<true>(cpu.isa) };
                }
            }
            range.start += count;
        }
    });
    sum_samples(cpu, c.batch, rows, c.co, partials, c.ldw, dw, if accumulate { Total::Added } else { Total::New });
}

/// How many partial sums [`conv2d_weight_grad`] has.
pub fn partials(c: &Conv) -> usize {
    super::count(&[c.batch.div_ceil(SAMPLES), c.taps(), c.ci, c.co, SAMPLES])
}

/// Adds up the samples of interleaved sums, `rows` rows of `n` for each: row r of `out`, `ld` apart, is (what it holds or) 0 plus
/// those of the samples in order, or what `total` says. Writes the `n` columns alone.
///
/// # Panics
/// When a slice is shorter than the shape says, or `ld` less than `n`.
#[allow(clippy::too_many_arguments)]
pub fn sum_samples(
    cpu: &Cpu,
    samples: usize,
    rows: usize,
    n: usize,
    x: &[f32],
    ld: usize,
    out: &mut [f32],
    total: Total,
) {
    let needs = super::count(&[samples.div_ceil(SAMPLES), rows, n, SAMPLES]);
    assert!(needs <= x.len(), "sum_samples: x has {} numbers, not {needs}", x.len());
    let reached = reach(rows, n, ld);
    assert!(ld >= n && reached <= out.len(), "sum_samples: the output has {} numbers, not {reached}", out.len());
    let x = &x[..needs];
    cpu.pool.split_rows(samples.div_ceil(4), rows, 1, Write::new(&mut out[..reached], ld), |range, out| {
        // Sixteen sums at a time, of whatever rows.
        let (first, count) = (range.start * n, range.len() * n);
        for at in (0..count).step_by(SIDE) {
            let some = SIDE.min(count - at);
            let place = |i: usize| (at + i) / n * ld + (at + i) % n;
            let (mut sums, mut stored) = ([0.0; SIDE], [0.0; SIDE]);
            if total != Total::New {
                for (i, stored) in stored[..some].iter_mut().enumerate() {
                    *stored = out[place(i)];
                }
            }
            if total == Total::Added {
                sums = stored;
            }
            for (i, block) in x.chunks_exact(rows * n * SAMPLES).enumerate() {
                let (from, lanes) = (&block[(first + at) * SAMPLES..], SAMPLES.min(samples - i * SAMPLES));
                let mut columns = [[0.0; SIDE]; SIDE];
                square::to_columns(cpu.isa, from, some, lanes, SAMPLES, &mut columns);
                add_columns(cpu.isa, &columns[..lanes], &mut sums);
            }
            if let Total::Sgd(step) = total {
                sgd(cpu, &step, &mut stored[..some], &sums[..some]);
                sums = stored;
            }
            for (i, sum) in sums[..some].iter().enumerate() {
                out[place(i)] = *sum;
            }
        }
    });
}

simd! {
    fn add_columns(columns: &[[f32; SIDE]], sums: &mut [f32; SIDE]) {
        for column in columns {
            for l in 0..SIDE {
                sums[l] += column[l];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::shape;
    use super::super::{conv2d, conv2d_input_grad, conv2d_weight_grad as plain_weight_grad};
    use super::*;
    use crate::math::testing::{cases, shape_is};
    use crate::matmul::tests::{Numbers, machines, same_bits};
    use crate::optim::Sgd;
    use crate::pointwise::Finish;
    use crate::sums::sum_rows_grouped;

    /// Images whose pixels of `c` channels lie `ld` apart, and `16·c + gap` apart where they are interleaved.
    #[derive(Clone, Copy)]
    struct Images {
        samples: usize,
        pixels: usize,
        c: usize,
        ld: usize,
        gap: usize,
    }

    impl Images {
        /// Interleaved by definition; NaN where there is nothing.
        fn lay(&self, x: &[f32]) -> Vec<f32> {
            let Images { samples, pixels, c, ld, gap } = *self;
            let mut all = vec![f32::NAN; samples.div_ceil(SAMPLES) * pixels * (SAMPLES * c + gap)];
            for (s, p) in (0..samples).flat_map(|s| (0..pixels).map(move |p| (s, p))) {
                for j in 0..c {
                    let pixel = (s / SAMPLES * pixels + p) * (SAMPLES * c + gap);
                    all[pixel + j * SAMPLES + s % SAMPLES] = x[(s * pixels + p) * ld + j];
                }
            }
            all
        }

        /// The bits of what counts must be those of images that lie one after another.
        #[track_caller]
        fn same(&self, found: &[f32], plain: &[f32], what: &str) {
            for (at, (found, want)) in found.iter().zip(&self.lay(plain)).enumerate() {
                assert!(want.is_nan() || found.to_bits() == want.to_bits(), "{what}: {found} at {at}, not {want}");
            }
        }
    }

    /// Every pass of one shape against the kernels of images that lie one after another.
    fn check(machines: &[Cpu], numbers: &mut Numbers, c: &Conv, gaps: (usize, usize)) {
        shape_is(c);
        let inter = Conv { ldx: SAMPLES * c.ci + gaps.0, ldy: SAMPLES * c.co + gaps.1, interleaved: true, ..*c };
        let x = numbers.rows(c.inputs(), c.ci, c.ldx, f32::NAN);
        let w = numbers.rows(c.taps() * c.ci, c.co, c.ldw, f32::NAN);
        let wt = numbers.rows(c.taps() * c.co, c.ci, c.ci + 3, f32::NAN);
        let dy = numbers.rows(c.outputs(), c.co, c.ldy, f32::NAN);
        let before = numbers.rows(c.inputs(), c.ci, c.ldx, f32::NAN);
        let bias = numbers.rows(1, c.co, c.co, 0.0);
        let bias = (numbers.pick(0..2) == 1).then_some(&bias[..]);
        let map = [Map::Identity, Map::ReLU, Map::Tanh, Map::LeakyReLU(0.1)][numbers.pick(0..4)];
        let what = format!("{inter:?} {map:?}");
        let of_x = Images { samples: c.batch, pixels: c.h * c.w, c: c.ci, ld: c.ldx, gap: gaps.0 };
        let of_y = Images { samples: c.batch, pixels: c.out_h() * c.out_w(), c: c.co, ld: c.ldy, gap: gaps.1 };

        let mut plain = vec![0.0; reach(c.outputs(), c.co, c.ldy)];
        conv2d(&machines[0], c, &x, &w, bias, &mut plain, map);
        let from = of_x.lay(&x);
        for cpu in machines {
            let mut y = vec![f32::NAN; of_y.lay(&plain).len()];
            conv2d(cpu, &inter, &from, &w, bias, &mut y, map);
            of_y.same(&y, &plain, &what);
        }

        let mut plain = vec![0.0; reach(c.inputs(), c.ci, c.ldx)];
        conv2d_input_grad(&machines[0], c, &dy, &wt, c.ci + 3, &mut plain, Finish::Gradient(map, &before));
        let (from, beside) = (of_y.lay(&dy), of_x.lay(&before));
        for cpu in machines {
            let mut dx = vec![f32::NAN; beside.len()];
            conv2d_input_grad(cpu, &inter, &from, &wt, c.ci + 3, &mut dx, Finish::Gradient(map, &beside));
            of_x.same(&dx, &plain, &what);
        }

        if c.padding == (0, 0) {
            let stored = numbers.rows(c.taps() * c.ci, c.co, c.ldw, 77.0);
            let accumulate = numbers.pick(0..2) == 1;
            let mut plain = stored.clone();
            plain_weight_grad(&machines[0], c, &x, &dy, &mut plain, accumulate);
            let x = of_x.lay(&x);
            let found = same_bits(machines, &what, |cpu| {
                let mut dw = stored.clone();
                let mut sums = vec![f32::NAN; partials(&inter)];
                conv2d_weight_grad(cpu, &inter, &x, &from, &mut sums, &mut dw, accumulate);
                dw
            });
            assert!(found.iter().zip(&plain).all(|(a, b)| a.to_bits() == b.to_bits()), "{what}");
        }
    }

    #[test]
    fn interleaved_images_give_the_same_bits() {
        let machines = machines();
        cases("interleaved convolutions", 100, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let mut pick = |range| numbers.pick(range);
            let (ci, co, ldw) = (pick(1..7), pick(1..12), pick(0..3));
            let batch = [pick(1..5), pick(1..18), pick(15..40)][pick(0..3)];
            let mut c = shape(batch, (pick(1..9), pick(1..9)), (ci, co), (pick(1..5), pick(1..5)));
            c.ldw += ldw;
            if pick(0..2) == 1 {
                (c.stride, c.padding) = ((pick(1..4), pick(1..4)), (pick(0..4), pick(0..4)));
            }
            if pick(0..4) == 0 {
                // Lines of several tiles.
                (c.h, c.w, c.ci, c.ldx) = (pick(1..4), pick(9..40), 1, 1);
            }
            let gaps = [(0, 0), (pick(0..20), pick(0..20))][pick(0..2)];
            check(&machines, &mut numbers, &c, gaps);
        });
        let c = shape(0, (3, 3), (1, 2), (2, 2));
        check(&machines, &mut Numbers::new(1), &c, (0, 0));
    }

    #[test]
    fn samples_are_added_in_order() {
        let machines = machines();
        cases("sum_samples", 100, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let (samples, rows, n) = (numbers.pick(0..40), numbers.pick(1..9), numbers.pick(1..40));
            let ld = n + numbers.pick(0..4);
            shape_is(&(samples, rows, n, ld));
            let x = numbers.rows(samples * rows, n, n, 0.0);
            let stored = numbers.rows(rows, n, ld, 77.0);
            let step = Sgd { lr: 0.1, weight_decay: [0.0, 0.01][numbers.pick(0..2)] };
            let total = [Total::New, Total::Added, Total::Sgd(step)][numbers.pick(0..3)];
            let interleaved = Images { samples, pixels: rows, c: n, ld: n, gap: 0 }.lay(&x);
            let found = same_bits(&machines, "sum_samples", |cpu| {
                let mut out = stored.clone();
                sum_samples(cpu, samples, rows, n, &interleaved, ld, &mut out, total);
                out
            });
            let mut want = stored.clone();
            for row in 0..rows {
                let of_row: Vec<f32> = (0..samples).flat_map(|s| x[(s * rows + row) * n..][..n].to_vec()).collect();
                sum_rows_grouped(&machines[0], samples, 1, n, n, &of_row, &mut want[row * ld..][..n], total);
            }
            assert!(found.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()), "{found:?} {want:?}");
        });
    }

    #[test]
    #[should_panic(expected = "or padded")]
    fn padding_is_refused() {
        let c = shape(1, (1, 1), (1, 1), (1, 1));
        let c = Conv { padding: (1, 1), ldx: 16, ldy: 16, interleaved: true, ..c };
        let (x, dy) = ([0.0; 16], [0.0; 144]);
        conv2d_weight_grad(&Cpu::new(1), &c, &x, &dy, &mut [0.0; 16], &mut [0.0], false);
    }
}
