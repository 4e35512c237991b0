//! Passes of one vector of columns along rows of pixels, where the kernel moves by a pixel at a time.
//!
//! A tile of a single vector loads a number of its operand for each multiply-add, as many as the machine can load. Here each such
//! number goes into the sums of all pixels of a row that want it: while rows of the source are swept, as many pixels of the target as
//! the kernel has columns are in registers, each of which has its next tap. From one row of the kernel to the next, sums wait in the
//! target.

// There is a kernel for AVX-512 alone, whose registers hold that many sums.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, unused_imports, unused_variables))]

use std::ops::Range;

use super::{Gather, Pass};
use crate::isa::Level;
use crate::pointwise::Map;
use crate::pool::Output;
use crate::tile::{Ahead, Begin, Chain, End, Regular, Tile, map_stored};
use crate::{Cpu, Isa};

/// Columns of the kernel.
const TAPS: usize = 3;

/// Rows that are swept at once.
const ROWS: usize = 8;

/// Columns of the target: fewer would take masks, and halves of vectors are quicker for half as many.
const LANES: usize = 16;

/// Shorter sums of a tap take less time than it takes to come to them.
const TERMS: usize = 16;

/// So many numbers of images stay in the second cache from one row of the kernel to the next.
const NEAR: usize = 1 << 16;

/// Rows of a source and of a target, and what is summed along them.
#[derive(Clone, Copy)]
struct Sweep {
    /// The first pixels of the rows, in the order of the sweep, and from one to the next. Past the last row there are none.
    a: [*const f32; ROWS],
    a_step: isize,
    c: [*mut f32; ROWS],
    c_step: isize,
    /// Pixels of a row of the source, and of the target.
    steps: usize,
    pixels: usize,
    /// The pixel of the target that has its first tap with the first of the source.
    first: usize,
    /// Terms of a tap.
    k: usize,
    /// The weights of the first term: those of the next are `b_k` further, those of the next tap `b_tap`.
    b: *const f32,
    b_k: usize,
    b_tap: usize,
}

impl Gather {
    /// The pixel of the target that has its first tap with the first of the source, both counted in the order of a sweep.
    fn first(&self) -> usize {
        let (axis, pass) = self.right;
        if pass == Pass::Output { axis.padding } else { axis.taps - 1 - axis.padding }
    }

    /// Whether [`Gather::sweep`] can be called, and is worth it.
    pub(super) fn sweeps(&self, isa: Isa) -> bool {
        let (down, right) = (self.down.0, self.right.0);
        let shape = (down.stride, right.stride, right.taps) == (1, 1, TAPS) && right.padding < TAPS;
        let has_kernel = match isa.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => true,
            _ => false,
        };
        if !shape || !has_kernel || self.n != LANES || self.k < TERMS || self.dst_size == 0 || self.src.size == 0 {
            return false;
        }
        // What falls outside of the target is computed, and dropped.
        let pairs = (0..self.src.w).flat_map(|s| (0..TAPS).map(move |tap| (s, tap)));
        let used = pairs.filter(|(s, tap)| (s + self.first()).checked_sub(*tap).is_some_and(|at| at < self.dst_w));
        20 * used.count() >= 19 * TAPS * self.src.w
    }

    /// All pixels of some images. Concurrent calls are given disjoint images.
    pub(super) fn sweep(&self, cpu: &Cpu, images: Range<usize>, out: &Output) {
        let (src_h, dst_h) = (self.src.size / self.src.w, self.dst_size / self.dst_w);
        let ((down, pass), (src_w, dst_w)) = (self.down, (self.src.w, self.dst_w));
        let b_tap = self.k * self.ldw;
        // The gradient of the input is swept from the end: there, a pixel has its first tap with the last one that it is summed from.
        let (from, step) = if pass == Pass::Output { ((0, 0), 1) } else { ((src_w - 1, dst_w - 1), -1) };
        let mut sweep = Sweep {
            a: [std::ptr::null(); ROWS],
            a_step: step * self.src.ld as isize,
            c: [std::ptr::null_mut(); ROWS],
            c_step: step * self.ldd as isize,
            steps: src_w,
            pixels: dst_w,
            first: self.first(),
            k: self.k,
            b: self.weights,
            b_k: self.ldw,
            b_tap,
        };
        let size = self.src.size * self.src.ld + self.dst_size * self.ldd;
        // Rows of that many images fill all sweeps.
        let at_once = (NEAR / size).clamp(1, ROWS);
        for image in images.clone().step_by(at_once) {
            let count = at_once.min(images.end - image);
            let pixels = out.ptr().wrapping_add(image * self.dst_size * self.ldd);
            // SAFETY: pixels of these images, which are nobody else's.
            unsafe { start(pixels, count * self.dst_size, self.ldd, self.bias) };
            for u in 0..down.taps {
                // The first rows of target and source that are summed with this one of the kernel.
                let (before, after) = (down.padding.saturating_sub(u), u.saturating_sub(down.padding));
                let (dst, src) = if pass == Pass::Output { (before, after) } else { (after, before) };
                let rows = dst_h.saturating_sub(dst).min(src_h.saturating_sub(src));
                sweep.b = self.weights.wrapping_add(u * TAPS * b_tap);
                for row in (0..count * rows).step_by(ROWS) {
                    let m = ROWS.min(count * rows - row);
                    for i in 0..m {
                        let (image, y) = (image + (row + i) / rows, (row + i) % rows);
                        let a = image * self.src.size + (src + y) * src_w + from.0;
                        let c = image * self.dst_size + (dst + y) * dst_w + from.1;
                        sweep.a[i] = self.src.data.wrapping_add(a * self.src.ld);
                        sweep.c[i] = out.ptr().wrapping_add(c * self.ldd);
                    }
                    // SAFETY: the pass has checked the lengths; rows of images, of which those of the target are nobody else's.
                    unsafe { sweep.run(m) };
                }
            }
            if !matches!(self.end, End::Map(Map::Identity)) {
                let rows = Regular { a: std::ptr::null(), a_step: 0, c: pixels, c_step: self.ldd };
                let (m, n, from, to) = (count * self.dst_size, self.n, Begin::Zero, &self.end);
                let (chain, b, ahead) = (&Chain::ONE, std::ptr::null(), Ahead::NOTHING);
                // SAFETY: the pixels that have been written.
                unsafe { map_stored(cpu.isa, &Tile { chain, rows, b, m, n, from, to, ahead }) };
            }
        }
    }
}

/// Puts in `pixels`, `ld` apart, what their sums go on from: the bias, or 0.
///
/// # Safety
/// AVX-512 is there. There are [`LANES`] numbers of each of them and of the bias.
unsafe fn start(pixels: *mut f32, count: usize, ld: usize, bias: Option<*const f32>) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promises.
    unsafe {
        x86::start(pixels, count, ld, bias)
    }
}

impl Sweep {
    /// The sums of `m` rows.
    ///
    /// # Safety
    /// AVX-512 is there. The numbers that the fields name can be read, those of the target written; these overlap nothing else, and
    /// no other thread uses them.
    unsafe fn run(&self, m: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller's promises.
        unsafe {
            match m {
                1 => x86::sweep::<1>(self),
                2 => x86::sweep::<2>(self),
                3 => x86::sweep::<3>(self),
                4 => x86::sweep::<4>(self),
                5 => x86::sweep::<5>(self),
                6 => x86::sweep::<6>(self),
                7 => x86::sweep::<7>(self),
                8 => x86::sweep::<8>(self),
                _ => unreachable!("{m} rows are swept"),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Sweep, TAPS};
    use crate::lanes::Lanes as _;
    use crate::tile::{for_rows, opaque};

    /// # Safety
    /// As [`super::start`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(super) unsafe fn start(pixels: *mut f32, count: usize, ld: usize, bias: Option<*const f32>) {
        // SAFETY: the caller's promises.
        unsafe {
            let first = bias.map_or(_mm512_setzero_ps(), |bias| _mm512_loadu_ps(bias));
            for pixel in 0..count {
                _mm512_storeu_ps(pixels.wrapping_add(pixel * ld), first);
            }
        }
    }

    /// # Safety
    /// As [`Sweep::run`], of `R` rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(super) unsafe fn sweep<const R: usize>(s: &Sweep) {
        // SAFETY: pixels of the target that are there are loaded and stored, all of the source are read. Addresses are computed with
        // wrapping arithmetic, because the last steps leave the slices.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); R]; TAPS];
            let go = |sums: &mut [__m512; R], pixel: Option<usize>, load: bool| {
                let Some(pixel) = pixel.filter(|pixel| *pixel < s.pixels) else { return };
                for_rows!(R, i, {
                    let c = s.c[i].wrapping_offset(pixel as isize * s.c_step);
                    match load {
                        true => sums[i] = _mm512_loadu_ps(c),
                        false => _mm512_storeu_ps(c, sums[i]),
                    }
                }, 0 1 2 3 4 5 6 7);
            };
            for (tap, sums) in sums.iter_mut().enumerate().skip(1) {
                go(sums, s.first.checked_sub(tap), true);
            }
            for step in 0..s.steps {
                go(&mut sums[0], Some(s.first + step), true);
                let mut a = s.a.map(|a| opaque(a.wrapping_offset(step as isize * s.a_step)));
                let mut b = [0, 1, 2].map(|tap| opaque(s.b.wrapping_add(tap * s.b_tap)));
                for _ in 0..s.k {
                    let row = b.map(|b| _mm512_loadu_ps(b));
                    for_rows!(R, i, {
                        let factor = _mm512_set1_ps(*a[i]);
                        for (sums, row) in sums.iter_mut().zip(row) {
                            sums[i] = sums[i].add_product(factor, row);
                        }
                    }, 0 1 2 3 4 5 6 7);
                    a = a.map(|a| opaque(a.wrapping_add(1)));
                    b = b.map(|b| b.wrapping_add(s.b_k));
                }
                go(&mut sums[TAPS - 1], (s.first + step).checked_sub(TAPS - 1), false);
                (sums[2], sums[1]) = (sums[1], sums[0]);
            }
            for (tap, sums) in sums.iter_mut().enumerate().skip(1) {
                go(sums, (s.first + s.steps).checked_sub(tap), false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, shape};
    use super::*;
    use crate::math::testing::cases;
    use crate::matmul::tests::{Numbers, machines};

    #[test]
    fn sweeps_are_right_and_the_same_everywhere() {
        let machines = machines();
        cases("sweeps", 60, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let mut pick = |range| numbers.pick(range);
            // The gradient of the input without padding, or both passes with some along rows that are long enough for it.
            let padding = pick(0..3);
            let (w, channels) = match padding {
                0 => (pick(3..20), (LANES, pick(TERMS..40))),
                _ => (pick(14..20) * padding, [(LANES, pick(TERMS..40)), (pick(TERMS..40), LANES)][pick(0..2)]),
            };
            let h = pick(1..6);
            let mut c = shape(pick(1..12), (h, w), channels, (pick(1..5), TAPS));
            c.padding = (pick(0..3), padding);
            (c.ldx, c.ldw, c.ldy) = (c.ci + pick(0..4), c.co + pick(0..4), c.co + pick(0..4));
            check(&machines, &mut numbers, &c);
        });
    }
}
