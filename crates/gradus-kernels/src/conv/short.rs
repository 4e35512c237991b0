//! Convolutions whose sums have a few terms: the weights of a vector of outputs stay in registers, and the pixels go by.
//!
//! The tile of `crate::tile` reads a row of weights for each term, and takes as long to start and to end as for the terms themselves
//! if these are few: the first convolution of digits (3×3, one channel) ran at less than half the peak in it.

// Portable code has the tile alone.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, unused_imports, unused_macros))]

use crate::Isa;
use crate::isa::Level;
use crate::lanes::Lanes;
use crate::pointwise::Map;
use crate::tile::{Ahead, Begin, Chain, End, Regular, Tile, for_rows, map_stored, opaque};

/// A rectangle of pixels, and where the numbers of each lie.
#[derive(Clone, Copy)]
pub(super) struct Rectangle {
    /// Pixels down and right.
    pub size: [usize; 2],
    /// The numbers that the first pixel's sum goes over, and from there to those of the next one down and right.
    pub a: *const f32,
    pub a_step: [usize; 2],
    /// The output, as `a`.
    pub c: *mut f32,
    pub c_step: [usize; 2],
}

/// Pixels whose sums go over the same terms.
pub(super) struct Short<'a> {
    pub chain: &'a Chain,
    pub pixels: Rectangle,
    /// The weights of the first term.
    pub b: *const f32,
    pub n: usize,
    pub from: Begin,
    pub to: End,
}

/// The most runs of terms, and the most terms of one.
const TERMS: usize = 4;

/// Pixels whose sums are computed side by side: enough to hide how long a multiply-add takes.
const PIXELS: usize = 6;

/// Whether such sums have a kernel: their numbers of `a` lie side by side in a few runs, and all weights fit in the registers.
pub(super) fn is_short(isa: Isa, chain: &Chain, from: Begin, to: End) -> bool {
    let most = match isa.level() {
        Level::Portable => 0,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 9,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => TERMS * TERMS,
    };
    let lie = chain.h == 1 && (1..=TERMS).contains(&chain.w) && (1..=TERMS).contains(&chain.k) && chain.a_k == 1;
    lie && chain.w * chain.k <= most && matches!(to, End::Map(_)) && !matches!(from, Begin::Stored)
}

impl Short<'_> {
    /// Computes it: each number is the chain of fused multiply-adds of a tile, and has its bits.
    ///
    /// # Safety
    /// [`is_short`] is true of the chain, the start and the end. There are at least one pixel and one column. All numbers of `a` and
    /// all rows of `b` (`n` numbers each) that the chain names for these pixels can be read, as many of each pixel of `c` written;
    /// they overlap nothing else, and no other thread uses them.
    pub(super) unsafe fn run(mut self, isa: Isa) {
        let p = &mut self.pixels;
        if p.size[1] == 1 {
            // A column of pixels is a row of them.
            p.size.swap(0, 1);
            p.a_step.swap(0, 1);
            p.c_step.swap(0, 1);
        }
        // SAFETY: the features are there, as in `simd!`; the rest is promised by the caller.
        unsafe {
            match isa.level() {
                Level::Portable => unreachable!("no kernel"),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => avx2(&self),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => avx512(&self),
            }
        }
        let End::Map(map) = self.to else { return };
        if matches!(map, Map::Identity | Map::ReLU) {
            return;
        }
        let (chain, p) = (Chain::ONE, self.pixels);
        for y in 0..p.size[0] {
            let c = p.c.wrapping_add(y * p.c_step[0]);
            let rows = Regular { a: std::ptr::null(), a_step: 0, c, c_step: p.c_step[1] };
            let (m, n, from, to, ahead) = (p.size[1], self.n, Begin::Zero, &self.to, Ahead::NOTHING);
            // SAFETY: pixels that have been written.
            unsafe { map_stored(isa, &Tile { chain: &chain, rows, b: std::ptr::null(), m, n, from, to, ahead }) };
        }
    }
}

/// All pixels, with `H` runs of `L` terms; the pixels of a row lie `S` numbers apart, or as it says if that is 0.
///
/// # Safety
/// As [`Short::run`], where the instruction set of `V` is there and the chain has so many terms.
#[inline(always)]
unsafe fn rectangle<V: Lanes, const H: usize, const L: usize, const S: usize>(s: &Short) {
    let p = s.pixels;
    for j in (0..s.n).step_by(V::N) {
        let n = V::N.min(s.n - j);
        // SAFETY: what is read and written is what the caller allows, `n` numbers from column `j` on. Addresses are computed with
        // wrapping arithmetic, because the last steps leave the slices.
        unsafe {
            let mut weights = [[V::splat(0.0); L]; H];
            for (h, run) in weights.iter_mut().enumerate() {
                for (l, weights) in run.iter_mut().enumerate() {
                    let at = h as isize * s.chain.b_w + l as isize * s.chain.b_k;
                    *weights = V::load_first(s.b.wrapping_offset(at).wrapping_add(j), n);
                }
            }
            let start = match s.from {
                Begin::Row(row) => V::load_first(row.wrapping_add(j), n),
                _ => V::splat(0.0),
            };
            let a_step = if S > 0 { S } else { p.a_step[1] };
            for y in 0..p.size[0] {
                let (mut a, mut c) = (p.a.wrapping_add(y * p.a_step[0]), p.c.wrapping_add(y * p.c_step[0] + j));
                let mut left = p.size[1];
                while left >= PIXELS {
                    group::<V, H, L, PIXELS>(s, &weights, start, (a, a_step), c, n);
                    (a, c) = (a.wrapping_add(PIXELS * a_step), c.wrapping_add(PIXELS * p.c_step[1]));
                    left -= PIXELS;
                }
                while left >= 2 {
                    group::<V, H, L, 2>(s, &weights, start, (a, a_step), c, n);
                    (a, c) = (a.wrapping_add(2 * a_step), c.wrapping_add(2 * p.c_step[1]));
                    left -= 2;
                }
                if left > 0 {
                    group::<V, H, L, 1>(s, &weights, start, (a, a_step), c, n);
                }
            }
        }
    }
}

/// `P` pixels of a row, so far apart, and `n` columns.
///
/// # Safety
/// As [`rectangle`].
#[inline(always)]
unsafe fn group<V: Lanes, const H: usize, const L: usize, const P: usize>(
    s: &Short,
    weights: &[[V; L]; H],
    start: V,
    (a, a_step): (*const f32, usize),
    c: *mut f32,
    n: usize,
) {
    // SAFETY: as the caller says.
    unsafe {
        let mut sums = [start; P];
        for_rows!(H, h, {
            // One register finds a run of all pixels: what else the machine adds takes turns with the multiply-adds.
            let a = opaque(a.wrapping_offset(h as isize * s.chain.a_w));
            for_rows!(L, l, {
                for_rows!(P, i, {
                    let factor = V::splat(*a.wrapping_add(i * a_step + l));
                    sums[i] = sums[i].add_product(factor, weights[h][l]);
                }, 0 1 2 3 4 5);
            }, 0 1 2 3);
        }, 0 1 2 3);
        if matches!(s.to, End::Map(Map::ReLU)) {
            for_rows!(P, i, { sums[i] = sums[i].where_above(sums[i]) }, 0 1 2 3 4 5);
        }
        if n == V::N {
            for_rows!(P, i, { sums[i].store(c.wrapping_add(i * s.pixels.c_step[1])) }, 0 1 2 3 4 5);
        } else {
            for_rows!(P, i, { sums[i].store_first(c.wrapping_add(i * s.pixels.c_step[1]), n) }, 0 1 2 3 4 5);
        }
    }
}

/// Defines the function for one instruction set, with the numbers of runs and terms that it has kernels for.
macro_rules! shorts {
    ($name:ident, $lanes:ty, #[$feature:meta], $(($runs:literal, $terms:literal))+) => {
        /// # Safety
        /// As [`Short::run`], where the instruction set is there.
        #[cfg(target_arch = "x86_64")]
        unsafe fn $name(s: &Short) {
            /// # Safety
            /// As [`rectangle`].
            #[$feature]
            unsafe fn of<const H: usize, const L: usize, const S: usize>(s: &Short) {
                // SAFETY: the same promises.
                unsafe { rectangle::<$lanes, H, L, S>(s) }
            }
            // SAFETY: the caller's promises.
            unsafe {
                match (s.chain.w, s.chain.k, s.pixels.a_step[1]) {
                    $(
                        ($runs, $terms, 1) => of::<$runs, $terms, 1>(s),
                        ($runs, $terms, _) => of::<$runs, $terms, 0>(s),
                    )+
                    (runs, terms, _) => unreachable!("{runs} runs of {terms} terms"),
                }
            }
        }
    };
}

shorts!(
    avx2, std::arch::x86_64::__m256, #[target_feature(enable = "avx2,fma")],
    (1, 1) (1, 2) (1, 3) (1, 4) (2, 1) (2, 2) (2, 3) (2, 4) (3, 1) (3, 2) (3, 3) (4, 1) (4, 2)
);
shorts!(
    avx512, std::arch::x86_64::__m512, #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")],
    (1, 1) (1, 2) (1, 3) (1, 4) (2, 1) (2, 2) (2, 3) (2, 4) (3, 1) (3, 2) (3, 3) (3, 4) (4, 1) (4, 2) (4, 3) (4, 4)
);
