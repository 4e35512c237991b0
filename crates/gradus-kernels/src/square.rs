//! The transpose of a square of up to 16 × 16 numbers, in registers where the instruction set has them.

use crate::Isa;
use crate::isa::Level;
use crate::math::{Lanes, check};
#[cfg(target_arch = "x86_64")]
use crate::tile::COLUMNS;

/// The side of a square.
pub(crate) const SIDE: usize = 16;

/// Where the rows of a square start.
pub(crate) trait Rows: Copy {
    fn row(self, r: usize) -> *const f32;
}

/// The first, and how far they are apart.
impl Rows for (*const f32, usize) {
    #[inline(always)]
    fn row(self, r: usize) -> *const f32 {
        self.0.wrapping_add(r * self.1)
    }
}

/// Anywhere, all at the same distance from there.
impl Rows for (&[*const f32; SIDE], usize) {
    #[inline(always)]
    fn row(self, r: usize) -> *const f32 {
        self.0[r].wrapping_add(self.1)
    }
}

/// `dst[c * ldd + r]` = number c of row r of `src` for `rows` × `cols` of them.
///
/// # Safety
/// Neither `rows` nor `cols` is more than [`SIDE`]. The `rows` rows of `cols` numbers can be read, the `cols` rows of
/// `rows` numbers at `dst` written; they overlap nothing else, and no other thread uses them.
#[inline(always)]
pub(crate) unsafe fn transpose(isa: Isa, rows: usize, cols: usize, src: impl Rows, dst: *mut f32, ldd: usize) {
    // SAFETY: an `Isa` of this level is made after its features were found; the rest is promised by the caller.
    unsafe {
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 if (rows, cols) == (SIDE, SIDE) => x86::avx512::<true>(rows, cols, src, dst, ldd, rows),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::avx512::<false>(rows, cols, src, dst, ldd, rows),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => x86::avx2(rows, cols, src, dst, ldd),
            Level::Portable => plain(0..rows, 0..cols, src, dst, ldd),
        }
    }
}

/// The same for a matrix of any size, whose rows are `src.1` apart, those of the target `dst.1`. May write anything past the `rows` in
/// the target, up to the next multiple of [`SIDE`] that lies within `dst.1`.
///
/// # Safety
/// The `rows` rows of `cols` numbers can be read, the `cols` rows at `dst` written, and what follows them as said; they overlap
/// nothing else, and no other thread uses them.
pub(crate) unsafe fn turn(isa: Isa, rows: usize, cols: usize, src: (*const f32, usize), dst: (*mut f32, usize)) {
    #[cfg(target_arch = "x86_64")]
    if isa.level() == Level::Avx512 {
        // SAFETY: as in `transpose`.
        // A distance that is known saves a third of the instructions; that of a tile's columns is the one that matters.
        return unsafe {
            match dst.1 {
                COLUMNS => x86::turn::<COLUMNS>(rows, cols, src, dst),
                _ => x86::turn::<0>(rows, cols, src, dst),
            }
        };
    }
    for r in (0..rows).step_by(SIDE) {
        for c in (0..cols).step_by(SIDE) {
            let (from, to) = (src.0.wrapping_add(r * src.1 + c), dst.0.wrapping_add(c * dst.1 + r));
            // SAFETY: a square of what the caller promises.
            unsafe { transpose(isa, SIDE.min(rows - r), SIDE.min(cols - c), (from, src.1), to, dst.1) };
        }
    }
}

/// Up to sixteen rows of `width` numbers, `ld` apart, as columns: lane r of `columns[c]` becomes number c of row r, lanes past the
/// rows anything. Columns past the width stay.
///
/// # Panics
/// When there are more rows or columns, or fewer numbers.
pub(crate) fn to_columns(isa: Isa, x: &[f32], rows: usize, width: usize, ld: usize, columns: &mut [Lanes; SIDE]) {
    check("to_columns", x.len(), rows, width, ld);
    assert!(rows <= SIDE && width <= SIDE, "{rows} rows of {width} are no square");
    let (from, to) = (x.as_ptr(), columns.as_mut_ptr().cast());
    // SAFETY: the rows lie in `x`, the columns in the square, all of whose lanes may be written.
    unsafe {
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::avx512::<false>(rows, width, (from, ld), to, SIDE, SIDE),
            _ => transpose(isa, rows, width, (from, ld), to, SIDE),
        }
    }
}

/// The way back. Writes the `width` numbers of each row alone.
///
/// # Panics
/// As [`to_columns`].
pub(crate) fn to_rows(isa: Isa, columns: &[Lanes; SIDE], rows: usize, width: usize, ld: usize, y: &mut [f32]) {
    check("to_rows", y.len(), rows, width, ld);
    assert!(rows <= SIDE && width <= SIDE, "{rows} rows of {width} are no square");
    // SAFETY: the columns lie in the square, the rows in `y`.
    unsafe { transpose(isa, width, rows, (columns.as_ptr().cast(), SIDE), y.as_mut_ptr(), ld) };
}

/// One number after the other.
///
/// # Safety
/// As [`transpose`].
#[inline(always)]
unsafe fn plain(rows: std::ops::Range<usize>, cols: std::ops::Range<usize>, src: impl Rows, dst: *mut f32, ldd: usize) {
    for r in rows {
        for c in cols.clone() {
            // SAFETY: within the square.
            unsafe { *dst.add(c * ldd + r) = *src.row(r).add(c) };
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Rows, SIDE, plain};

    /// [`super::turn`], where `LDD` is `ldd` or 0.
    ///
    /// # Safety
    /// As there, with AVX-512.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(super) unsafe fn turn<const LDD: usize>(
        rows: usize,
        cols: usize,
        (src, lds): (*const f32, usize),
        (dst, ldd): (*mut f32, usize),
    ) {
        let ldd = if LDD > 0 { LDD } else { ldd };
        for r in (0..rows).step_by(SIDE) {
            let (some, from) = (SIDE.min(rows - r), src.wrapping_add(r * lds));
            let whole = cols >= SIDE && r + SIDE <= ldd;
            if !whole {
                let written = if r + SIDE <= ldd { SIDE } else { some };
                for c in (0..cols).step_by(SIDE) {
                    let (from, to) = ((from.wrapping_add(c), lds), dst.wrapping_add(c * ldd + r));
                    // SAFETY: a square of what the caller promises.
                    unsafe { avx512::<false>(some, SIDE.min(cols - c), from, to, ldd, written) };
                }
                continue;
            }
            // Instead of rows that are not there the last one, again; at the end, columns that have been before.
            let (mut at, mut row) = ([from; SIDE], from);
            for (i, at) in at.iter_mut().enumerate() {
                *at = row;
                row = if i + 1 < some { row.wrapping_add(lds) } else { row };
            }
            let mut c = 0;
            loop {
                // SAFETY: see above.
                unsafe { avx512::<true>(SIDE, SIDE, (&at, c), dst.wrapping_add(c * ldd + r), ldd, SIDE) };
                if c + SIDE >= cols {
                    break;
                }
                c = (c + SIDE).min(cols - SIDE);
            }
        }
    }

    /// Writes `written` numbers of each row of the target, anything past the `rows`. `WHOLE` where rows, columns and `written` are
    /// [`SIDE`].
    ///
    /// # Safety
    /// As [`super::transpose`], with AVX-512, and that many numbers can be written.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(super) unsafe fn avx512<const WHOLE: bool>(
        rows: usize,
        cols: usize,
        src: impl Rows,
        dst: *mut f32,
        ldd: usize,
        written: usize,
    ) {
        let first = |n: usize| ((1u32 << n) - 1) as __mmask16;
        let (read, write) = (first(cols), first(written));
        // SAFETY: masked lanes are neither read nor written; instead of rows past the last one, that is read.
        let load = |r: usize| unsafe {
            match WHOLE {
                true => _mm512_loadu_ps(src.row(r)),
                false => _mm512_maskz_loadu_ps(read, src.row(r.min(rows - 1))),
            }
        };
        // Four rows become four vectors: of vector j, lane group g holds column 4g + j.
        let four = |r: usize| {
            if !WHOLE && r >= rows {
                return [_mm512_setzero_ps(); 4];
            }
            let [a, b, c, d] = [load(r), load(r + 1), load(r + 2), load(r + 3)].map(|x| _mm512_castps_pd(x));
            let pairs = |x: __m512d, y: __m512d| {
                let (x, y) = (_mm512_castpd_ps(x), _mm512_castpd_ps(y));
                (_mm512_castps_pd(_mm512_unpacklo_ps(x, y)), _mm512_castps_pd(_mm512_unpackhi_ps(x, y)))
            };
            let ((ab0, ab1), (cd0, cd1)) = (pairs(a, b), pairs(c, d));
            [
                _mm512_unpacklo_pd(ab0, cd0),
                _mm512_unpackhi_pd(ab0, cd0),
                _mm512_unpacklo_pd(ab1, cd1),
                _mm512_unpackhi_pd(ab1, cd1),
            ]
            .map(|x| _mm512_castpd_ps(x))
        };
        let (p, q, s, t) = (four(0), four(4), four(8), four(12));
        for j in 0..if WHOLE { 4 } else { cols.min(4) } {
            // The lane groups of each even and each odd number.
            let (even0, odd0) = (_mm512_shuffle_f32x4::<0x88>(p[j], q[j]), _mm512_shuffle_f32x4::<0xdd>(p[j], q[j]));
            let (even1, odd1) = (_mm512_shuffle_f32x4::<0x88>(s[j], t[j]), _mm512_shuffle_f32x4::<0xdd>(s[j], t[j]));
            let columns = [
                _mm512_shuffle_f32x4::<0x88>(even0, even1),
                _mm512_shuffle_f32x4::<0x88>(odd0, odd1),
                _mm512_shuffle_f32x4::<0xdd>(even0, even1),
                _mm512_shuffle_f32x4::<0xdd>(odd0, odd1),
            ];
            for (g, column) in columns.into_iter().enumerate() {
                let c = 4 * g + j;
                if WHOLE || c < cols {
                    // SAFETY: a row of the target; masked lanes are not written. What is written whole can be read again
                    // at once.
                    unsafe {
                        if WHOLE || written == SIDE {
                            _mm512_storeu_ps(dst.add(c * ldd), column);
                        } else {
                            _mm512_mask_storeu_ps(dst.add(c * ldd), write, column);
                        }
                    }
                }
            }
        }
        const { assert!(SIDE == 16) };
    }

    /// # Safety
    /// As [`super::transpose`], with AVX2.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2(rows: usize, cols: usize, src: impl Rows, dst: *mut f32, ldd: usize) {
        let (whole_rows, whole_cols) = (rows / 8 * 8, cols / 8 * 8);
        for r in (0..whole_rows).step_by(8) {
            for c in (0..whole_cols).step_by(8) {
                // SAFETY: a whole square of eight within the larger one.
                unsafe { eight(src, r, c, dst.add(c * ldd + r), ldd) };
            }
        }
        // SAFETY: within the square.
        unsafe {
            plain(0..whole_rows, whole_cols..cols, src, dst, ldd);
            plain(whole_rows..rows, 0..cols, src, dst, ldd);
        }
    }

    /// 8 × 8 numbers, from row `first` and column `c` on.
    ///
    /// # Safety
    /// As [`super::transpose`], with AVX2.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn eight(src: impl Rows, first: usize, c: usize, dst: *mut f32, ldd: usize) {
        // SAFETY: eight rows of eight.
        let load = |r: usize| unsafe { _mm256_loadu_ps(src.row(first + r).add(c)) };
        let four = |r: usize| {
            let (ab0, ab1) = (_mm256_unpacklo_ps(load(r), load(r + 1)), _mm256_unpackhi_ps(load(r), load(r + 1)));
            let (cd0, cd1) =
                (_mm256_unpacklo_ps(load(r + 2), load(r + 3)), _mm256_unpackhi_ps(load(r + 2), load(r + 3)));
            [
                _mm256_shuffle_ps::<0x44>(ab0, cd0),
                _mm256_shuffle_ps::<0xee>(ab0, cd0),
                _mm256_shuffle_ps::<0x44>(ab1, cd1),
                _mm256_shuffle_ps::<0xee>(ab1, cd1),
            ]
        };
        let (p, q) = (four(0), four(4));
        for j in 0..4 {
            let columns = [_mm256_permute2f128_ps::<0x20>(p[j], q[j]), _mm256_permute2f128_ps::<0x31>(p[j], q[j])];
            for (g, column) in columns.into_iter().enumerate() {
                // SAFETY: a row of the target.
                unsafe { _mm256_storeu_ps(dst.add((4 * g + j) * ldd), column) };
            }
        }
    }
}
