//! Products of a few rows with a transposed matrix, whose squares are turned in registers.
//!
//! Such a matrix is best turned once, into memory, for all the rows of the other operand; but not if these are so few that it
//! takes longer than the product. Both sides of a product can be the few rows: a single sample that goes back through a large
//! weight, or a weight of a single output and many samples.

use crate::Isa;
use crate::isa::Level;

/// More rows are not few.
pub(crate) const MOST: usize = 4;

/// Rows of the matrix that are taken at a time.
#[cfg(target_arch = "x86_64")]
const LANES: usize = 16;

/// From what each sum starts.
#[derive(Clone, Copy)]
pub(crate) enum From {
    Zero,
    /// The number of its row of `a`.
    Few(*const f32),
    /// The number of its row of `b`.
    Many(*const f32),
}

/// c(i, j) = start + Σ a(i, k)·b(j, k), or max(that, 0).
#[derive(Clone, Copy)]
pub(crate) struct Few {
    /// Rows of `a`: 1 to [`MOST`].
    pub m: usize,
    /// Rows of `b`, at least 1.
    pub n: usize,
    pub k: usize,
    /// a(i, k) is at `a + i * a_row + k`.
    pub a: *const f32,
    pub a_row: usize,
    /// b(j, k) is at `b + j * b_row + k`.
    pub b: *const f32,
    pub b_row: usize,
    /// c(i, j) is at `c + i * c_few + j * c_many`.
    pub c: *mut f32,
    pub c_few: usize,
    pub c_many: usize,
    pub from: From,
    pub relu: bool,
}

/// Whether there are kernels for this instruction set.
pub(crate) fn has_few(isa: Isa) -> bool {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => true,
        _ => false,
    }
}

/// Order: one chain of fused multiply-adds per number, `k` ascending, from its start.
///
/// # Safety
/// [`has_few`] is true. All numbers that the fields name can be read, those of `c` written; they overlap nothing else, and no
/// other thread uses them.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
pub(crate) unsafe fn few(f: &Few) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: AVX-512 is there; the rest is promised by the caller.
    unsafe {
        match (f.m, f.n < LANES) {
            (1, false) => x86::few::<1, false>(f),
            (2, false) => x86::few::<2, false>(f),
            (3, false) => x86::few::<3, false>(f),
            (4, false) => x86::few::<4, false>(f),
            (1, true) => x86::few::<1, true>(f),
            (2, true) => x86::few::<2, true>(f),
            (3, true) => x86::few::<3, true>(f),
            (4, true) => x86::few::<4, true>(f),
            (m, _) => unreachable!("{m} rows are not few"),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("no kernels");
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Few, From, LANES};
    use crate::lanes::Lanes as _;

    /// # Safety
    /// As [`super::few`], with AVX-512 and `M` rows; `PART` where `b` has fewer than [`LANES`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(super) unsafe fn few<const M: usize, const PART: bool>(f: &Few) {
        let lanes = if PART { f.n } else { LANES };
        let mask = (0xffff_u32 >> (LANES - lanes)) as __mmask16;
        for j in (0..f.n).step_by(lanes) {
            // The last rows again, rather than masks: nothing is read that has been written.
            let j = j.min(f.n - lanes);
            // SAFETY: rows j to j + lanes, all of them below n, here and below.
            unsafe {
                let mut sums = [_mm512_setzero_ps(); M];
                match f.from {
                    From::Zero => {}
                    From::Few(row) => {
                        for (i, sum) in sums.iter_mut().enumerate() {
                            *sum = _mm512_set1_ps(*row.add(i));
                        }
                    }
                    From::Many(row) => sums = [_mm512_maskz_loadu_ps(mask, row.add(j)); M],
                }
                let b = f.b.add(j * f.b_row);
                let whole = f.k / 4 * 4;
                for k in (0..whole).step_by(4) {
                    add::<M, 4>(f, &mut sums, k, turned::<PART>(f, b.add(k), 0xf));
                }
                match f.k - whole {
                    1 => add::<M, 1>(f, &mut sums, whole, turned::<PART>(f, b.add(whole), 0x1)),
                    2 => add::<M, 2>(f, &mut sums, whole, turned::<PART>(f, b.add(whole), 0x3)),
                    3 => add::<M, 3>(f, &mut sums, whole, turned::<PART>(f, b.add(whole), 0x7)),
                    _ => {}
                }
                for (i, mut sum) in sums.into_iter().enumerate() {
                    if f.relu {
                        sum = sum.where_above(sum);
                    }
                    let c = f.c.add(i * f.c_few + j * f.c_many);
                    if f.c_many == 1 {
                        _mm512_mask_storeu_ps(c, mask, sum);
                    } else {
                        let mut numbers = [0.0; LANES];
                        _mm512_storeu_ps(numbers.as_mut_ptr(), sum);
                        for (lane, x) in numbers.into_iter().enumerate().take(lanes) {
                            *c.add(lane * f.c_many) = x;
                        }
                    }
                }
            }
        }
    }

    /// The sums go on by the terms from `k` on, of which there are `K`.
    ///
    /// # Safety
    /// As [`few`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn add<const M: usize, const K: usize>(f: &Few, sums: &mut [__m512; M], k: usize, columns: [__m512; 4]) {
        for (k, column) in columns.into_iter().enumerate().take(K).map(|(i, column)| (k + i, column)) {
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a number of `a`.
                let factor = unsafe { _mm512_set1_ps(*f.a.add(i * f.a_row + k)) };
                *sum = _mm512_fmadd_ps(factor, column, *sum);
            }
        }
    }

    /// Four numbers of each of sixteen rows, of `PART` the last one again and again, as four columns; those that are not in the
    /// mask are zeros.
    ///
    /// # Safety
    /// The numbers that are in the mask can be read.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn turned<const PART: bool>(f: &Few, b: *const f32, mask: __mmask8) -> [__m512; 4] {
        let load = |r: usize| {
            let r = if PART { r.min(f.n - 1) } else { r };
            // SAFETY: the caller's promise.
            unsafe {
                let row = b.add(r * f.b_row);
                if mask == 0xf { _mm_loadu_ps(row) } else { _mm_maskz_loadu_ps(mask, row) }
            }
        };
        // Rows i, 4 + i, 8 + i and 12 + i side by side.
        let four = |i: usize| {
            let x = _mm512_castps128_ps512(load(i));
            let x = _mm512_insertf32x4::<1>(x, load(4 + i));
            let x = _mm512_insertf32x4::<2>(x, load(8 + i));
            _mm512_insertf32x4::<3>(x, load(12 + i))
        };
        let [p, q, r, s] = [four(0), four(1), four(2), four(3)];
        let (pq0, pq1) = (_mm512_unpacklo_ps(p, q), _mm512_unpackhi_ps(p, q));
        let (rs0, rs1) = (_mm512_unpacklo_ps(r, s), _mm512_unpackhi_ps(r, s));
        let wide = |x| _mm512_castps_pd(x);
        [
            _mm512_castpd_ps(_mm512_unpacklo_pd(wide(pq0), wide(rs0))),
            _mm512_castpd_ps(_mm512_unpackhi_pd(wide(pq0), wide(rs0))),
            _mm512_castpd_ps(_mm512_unpacklo_pd(wide(pq1), wide(rs1))),
            _mm512_castpd_ps(_mm512_unpackhi_pd(wide(pq1), wide(rs1))),
        ]
    }
}
