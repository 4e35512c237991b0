//! The weights' gradient of small images: each has a sum of a few terms for every weight, and a tile that is stored after each of them
//! takes as long to start and to end as for the terms. Here half a tile keeps what it adds up to in the registers, too.

use crate::Isa;
use crate::isa::Level;
use crate::lanes::Lanes;
use crate::tile::{Chain, each_row, for_rows, opaque};

/// The most rows of weights at once.
pub(super) const ROWS: usize = 6;

/// More terms an image are better off in whole tiles.
pub(super) const TERMS: usize = 32;

/// Rows of weights whose gradient goes on by that of some images.
pub(super) struct Repeated<'a> {
    /// The terms of an image.
    pub chain: &'a Chain,
    /// What each row reads of the first image, and where it is written. Past the last row there is nothing.
    pub a: [*const f32; ROWS],
    pub c: [*mut f32; ROWS],
    pub b: *const f32,
    /// Images, and how far they are apart.
    pub images: usize,
    pub a_image: usize,
    pub b_image: usize,
    /// Whether they are added to what is stored, or to 0.
    pub adds: bool,
    pub m: usize,
    pub n: usize,
}

/// Whether there is a kernel for so many columns: AVX-512 has the registers.
pub(super) fn repeats(isa: Isa, columns: usize) -> bool {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => columns > 16,
        _ => false,
    }
}

impl Repeated<'_> {
    /// Order: as `Tile::run` of each image in turn.
    ///
    /// # Safety
    /// [`repeats`] is true, and there are 17 to 32 columns. What the fields name can be read, the rows of `c` written; these overlap
    /// nothing else, and no other thread uses them.
    pub unsafe fn run(&self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller's promises.
        unsafe {
            match (self.m, self.n == 32) {
                (1, true) => avx512::<1, false>(self),
                (2, true) => avx512::<2, false>(self),
                (3, true) => avx512::<3, false>(self),
                (4, true) => avx512::<4, false>(self),
                (5, true) => avx512::<5, false>(self),
                (6, true) => avx512::<6, false>(self),
                (1, false) => avx512::<1, true>(self),
                (2, false) => avx512::<2, true>(self),
                (3, false) => avx512::<3, true>(self),
                (4, false) => avx512::<4, true>(self),
                (5, false) => avx512::<5, true>(self),
                (6, false) => avx512::<6, true>(self),
                _ => unreachable!("{} rows at once", self.m),
            }
        }
    }
}

/// # Safety
/// As [`Repeated::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn avx512<const R: usize, const PART: bool>(t: &Repeated<'_>) {
    // SAFETY: the same promises.
    unsafe { sums::<std::arch::x86_64::__m512, R, PART>(t) }
}

/// `R` rows; the second vector is `PART` of one.
///
/// # Safety
/// As [`Repeated::run`], where the instruction set is there.
#[inline(always)]
unsafe fn sums<V: Lanes, const R: usize, const PART: bool>(t: &Repeated<'_>) {
    // SAFETY: `n` numbers of each row. Addresses are computed with wrapping arithmetic, because the last steps leave the slices.
    unsafe {
        let load = |p: *const f32, w: usize| {
            let p = p.wrapping_add(w * V::N);
            if PART && w == 1 { V::load_first(p, t.n - V::N) } else { V::load(p) }
        };
        let mut all = [[V::splat(0.0); 2]; R];
        if t.adds {
            each_row(
                &mut all,
                #[inline(always)]
                |i, w, _| load(t.c[i], w),
            );
        }
        let Chain { h, w, k, a_h, a_w, a_k, b_h, b_w, b_k } = *t.chain;
        let a: [*const f32; R] = std::array::from_fn(|i| opaque(t.a[i]));
        for image in 0..t.images {
            let mut sums = [[V::splat(0.0); 2]; R];
            for y in 0..h as isize {
                for x in 0..w as isize {
                    let mut at = (image * t.a_image) as isize + y * a_h + x * a_w;
                    let mut b = t.b.wrapping_add(image * t.b_image).wrapping_offset(y * b_h + x * b_w);
                    for _ in 0..k {
                        let row: [V; 2] = std::array::from_fn(|w| load(b, w));
                        for_rows!(R, i, {
                            let factor = V::splat(*a[i].wrapping_offset(at));
                            for (sum, row) in sums[i].iter_mut().zip(row) {
                                *sum = sum.add_product(factor, row);
                            }
                        }, 0 1 2 3 4 5);
                        at += a_k;
                        b = b.wrapping_offset(b_k);
                    }
                }
            }
            for_rows!(R, i, {
                for (all, sum) in all[i].iter_mut().zip(sums[i]) {
                    *all = all.add(sum);
                }
            }, 0 1 2 3 4 5);
        }
        each_row(
            &mut all,
            #[inline(always)]
            |i, w, sum| {
                let p = t.c[i].wrapping_add(w * V::N);
                if PART && w == 1 {
                    sum.store_first(p, t.n - V::N);
                } else {
                    sum.store(p);
                }
                sum
            },
        );
    }
}
