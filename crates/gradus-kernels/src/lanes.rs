//! A vector of numbers on each instruction set.

use crate::math::Lanes as Sixteen;
use crate::pointwise::Map;
use crate::reduce::fold_sum;

/// A vector of numbers, and the few things a tile does with it. Written by hand for each instruction set: left to itself
/// the compiler keeps arrays of sums in memory (7 to 25 GFLOP/s instead of 115).
///
/// # Safety
/// The functions may be called where the instruction set is there. `N` numbers can be read or written at `p`, or the
/// first `n` ≤ `N` (and at least 1) in those that say so, or as many as there are in the rows.
pub(crate) trait Lanes: Copy {
    const N: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    /// The first `n`, then zeros.
    unsafe fn load_first(p: *const f32, n: usize) -> Self;
    unsafe fn store(self, p: *mut f32);
    unsafe fn store_first(self, p: *mut f32, n: usize);
    /// Whether it can take the first few numbers of both its halves.
    const HALVES: bool = false;
    /// The first `n` of each half, each followed by zeros.
    unsafe fn load_halves(p: *const f32, n: usize) -> Self {
        unreachable!("a vector with halves, not of {n} numbers at {p:?}")
    }
    unsafe fn store_halves(self, p: *mut f32, n: usize) {
        unreachable!("a vector with halves, not of {n} numbers at {p:?}")
    }
    /// self + a·b, rounded once.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    /// The gradient of [`Map::ReLU`] whose output is `y`: 0 where that is ≤ 0. Of a vector itself, its ReLU.
    unsafe fn where_above(self, y: Self) -> Self;
    /// self where the bits of `at` and `there` are the same, else 0.
    unsafe fn where_same(self, at: Self, there: Self) -> Self;
    /// `other` and its position where that is larger, or NaN; else self and its own. Positions are the bits of whole numbers.
    unsafe fn larger(self, at: Self, other: Self, other_at: Self) -> (Self, Self);
    /// The sum of the bits, as of whole numbers.
    unsafe fn add_bits(self, other: Self) -> Self;
    /// A function of every number of two vectors.
    unsafe fn both(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self;
    /// The columns of `rows` ≤ 16 rows of `W` numbers that follow each other, and zeros after those.
    #[inline(always)]
    unsafe fn columns<const W: usize>(p: *const f32, rows: usize) -> [Sixteen; W] {
        // SAFETY: as the trait says.
        unsafe { columns_one_by_one(p, rows) }
    }
    /// The way back: writes these rows alone.
    #[inline(always)]
    unsafe fn store_columns<const W: usize>(columns: &[Sixteen; W], p: *mut f32, rows: usize) {
        // SAFETY: as the trait says.
        unsafe { store_columns_one_by_one(columns, p, rows) }
    }
    /// The sums of up to four times sixteen numbers, folded by halves as by [`fold_sum`], and zeros after them.
    #[inline(always)]
    unsafe fn four_sums<const W: usize>(v: &[Sixteen; W]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        for (sum, v) in sums.iter_mut().zip(v) {
            *sum = fold_sum(*v);
        }
        sums
    }
    /// The square root of every number, rounded once, as IEEE 754 has it.
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        // SAFETY: as the trait says.
        unsafe {
            self.both(
                self,
                #[inline(always)]
                |x, _| x.sqrt(),
            )
        }
    }
}

/// [`Lanes::columns`], by loops as they are: of known lengths the compiler makes more moves than shuffles.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn columns_one_by_one<const W: usize>(p: *const f32, rows: usize) -> [Sixteen; W] {
    let mut columns = [[0.0; 16]; W];
    // SAFETY: the caller's promise.
    unsafe {
        if W == 1 && rows == 16 {
            columns[0] = p.cast::<Sixteen>().read_unaligned();
            return columns;
        }
        for r in 0..rows {
            for (c, column) in columns.iter_mut().enumerate() {
                column[r] = *p.add(r * W + c);
            }
        }
    }
    columns
}

/// [`Lanes::store_columns`], likewise.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn store_columns_one_by_one<const W: usize>(columns: &[Sixteen; W], p: *mut f32, rows: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if W == 1 && rows == 16 {
            return p.cast::<Sixteen>().write_unaligned(columns[0]);
        }
        for r in 0..rows {
            for (c, column) in columns.iter().enumerate() {
                *p.add(r * W + c) = column[r];
            }
        }
    }
}

/// Which numbers of a vector are meant.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    All,
    First(usize),
    /// So many of each half.
    Halves(usize),
}

impl Part {
    /// # Safety
    /// As [`Lanes`] says.
    #[inline(always)]
    pub(crate) unsafe fn load<V: Lanes>(self, p: *const f32) -> V {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Part::All => V::load(p),
                Part::First(n) => V::load_first(p, n),
                Part::Halves(n) => V::load_halves(p, n),
            }
        }
    }

    /// # Safety
    /// As [`Lanes`] says.
    #[inline(always)]
    pub(crate) unsafe fn store<V: Lanes>(self, p: *mut f32, v: V) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Part::All => v.store(p),
                Part::First(n) => v.store_first(p, n),
                Part::Halves(n) => v.store_halves(p, n),
            }
        }
    }
}

/// Does something with every vector of `n` numbers: from which number on it is, and how many of it are there if not all.
///
/// # Safety
/// As what is done.
#[inline(always)]
pub(crate) unsafe fn each_vector<V: Lanes>(n: usize, f: impl Fn(Numbers)) {
    let whole = n / V::N * V::N;
    for first in (0..whole).step_by(V::N) {
        f(Numbers { first, part: Part::All });
    }
    if whole < n {
        f(Numbers { first: whole, part: Part::First(n - whole) });
    }
}

/// The numbers of a vector in an array.
#[derive(Clone, Copy)]
pub(crate) struct Numbers {
    first: usize,
    part: Part,
}

impl Numbers {
    /// # Safety
    /// They are in the array `x`.
    #[inline(always)]
    pub(crate) unsafe fn load<V: Lanes>(self, x: *const f32) -> V {
        // SAFETY: the caller's promise.
        unsafe { self.part.load(x.wrapping_add(self.first)) }
    }

    /// # Safety
    /// They are in the array `x`.
    #[inline(always)]
    pub(crate) unsafe fn store<V: Lanes>(self, x: *mut f32, v: V) {
        // SAFETY: the caller's promise.
        unsafe { self.part.store(x.wrapping_add(self.first), v) }
    }
}

/// Compiles a body that is written for any vector once per instruction set.
///
/// `by_lanes! { fn name(a: A, b: B) = body }`, with an `#[inline(always)] unsafe fn body<V: Lanes>(a: A, b: B)`, defines
/// `unsafe fn name(isa: Isa, a: A, b: B)`, which asks for what the body asks for, but for the instruction set. Constants of the body are
/// written after the name.
macro_rules! by_lanes {
    ($(#[$attr:meta])* $vis:vis fn $name:ident $(<$(const $gen:ident: $gty:ty),+>)? ($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$attr])*
        $vis unsafe fn $name $(<$(const $gen: $gty),+>)? (isa: $crate::Isa, $($arg: $ty),*) {
            /// # Safety
            /// As the body.
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn avx512 $(<$(const $gen: $gty),+>)? ($($arg: $ty),*) {
                // SAFETY: the caller's promises.
                unsafe { $body::<std::arch::x86_64::__m512 $($(, $gen)+)?>($($arg),*) }
            }
            /// # Safety
            /// As the body.
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2 $(<$(const $gen: $gty),+>)? ($($arg: $ty),*) {
                // SAFETY: the caller's promises.
                unsafe { $body::<std::arch::x86_64::__m256 $($(, $gen)+)?>($($arg),*) }
            }
            // SAFETY: the features are there, as in `simd!`; the rest is promised by the caller.
            unsafe {
                match isa.level() {
                    $crate::isa::Level::Portable => $body::<$crate::lanes::Plain $($(, $gen)+)?>($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::isa::Level::Avx2 => avx2 $(::<$($gen),+>)? ($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::isa::Level::Avx512 => avx512 $(::<$($gen),+>)? ($($arg),*),
                }
            }
        }
    };
}
pub(crate) use by_lanes;

/// Eight numbers without any special instruction.
#[derive(Clone, Copy)]
pub(crate) struct Plain([f32; 8]);

impl Lanes for Plain {
    const N: usize = 8;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Plain([x; 8])
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: as the trait says.
        Plain(unsafe { p.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        // SAFETY: as the trait says.
        Plain(std::array::from_fn(|i| if i < n { unsafe { *p.add(i) } } else { 0.0 }))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: as the trait says.
        unsafe { p.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        for (i, x) in self.0.into_iter().enumerate().take(n) {
            // SAFETY: as the trait says.
            unsafe { *p.add(i) = x }
        }
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        Plain(std::array::from_fn(|i| a.0[i].mul_add(b.0[i], self.0[i])))
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Plain(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
    #[inline(always)]
    unsafe fn where_above(self, y: Self) -> Self {
        Plain(std::array::from_fn(|i| Map::ReLU.gradient(y.0[i], self.0[i])))
    }
    #[inline(always)]
    unsafe fn where_same(self, at: Self, there: Self) -> Self {
        let same = |i: usize| at.0[i].to_bits() == there.0[i].to_bits();
        Plain(std::array::from_fn(|i| if same(i) { self.0[i] } else { 0.0 }))
    }
    #[inline(always)]
    unsafe fn larger(self, at: Self, other: Self, other_at: Self) -> (Self, Self) {
        let wins = |i: usize| other.0[i] > self.0[i] || other.0[i].is_nan();
        let pick = |a: Self, b: Self| Plain(std::array::from_fn(|i| if wins(i) { b.0[i] } else { a.0[i] }));
        (pick(self, other), pick(at, other_at))
    }
    #[inline(always)]
    unsafe fn add_bits(self, other: Self) -> Self {
        Plain(std::array::from_fn(|i| f32::from_bits(self.0[i].to_bits().wrapping_add(other.0[i].to_bits()))))
    }
    #[inline(always)]
    unsafe fn both(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Plain(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Half;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Lanes, Sixteen, columns_one_by_one, store_columns_one_by_one};

    /// All ones, then all zeros: eight of them from `8 - n` on mask the first `n` lanes.
    static MASK: Line = Line([-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0]);

    /// Lies in a single cache line.
    #[repr(align(64))]
    struct Line([i32; 16]);

    #[inline(always)]
    unsafe fn first(n: usize) -> __m256i {
        // SAFETY: n ≤ 8, so the eight lie within the sixteen.
        unsafe { _mm256_loadu_si256(MASK.0.as_ptr().add(8 - n).cast()) }
    }

    impl Lanes for __m256 {
        const N: usize = 8;
        #[inline(always)]
        unsafe fn columns<const W: usize>(p: *const f32, rows: usize) -> [Sixteen; W] {
            // SAFETY: see `splat`; two columns of sixteen rows are four vectors.
            unsafe {
                if (W, rows) != (2, 16) {
                    return columns_one_by_one(p, rows);
                }
                let mut columns = [[0.0; 16]; W];
                for half in [0, 8] {
                    let (a, b) = (Self::load(p.add(2 * half)), Self::load(p.add(2 * half + 8)));
                    let both = [_mm256_shuffle_ps::<0x88>(a, b), _mm256_shuffle_ps::<0xdd>(a, b)];
                    for (column, some) in columns.iter_mut().zip(both) {
                        // Two of a, two of b, two of a, two of b.
                        let some = _mm256_permute4x64_pd::<0xd8>(_mm256_castps_pd(some));
                        _mm256_castpd_ps(some).store(column.as_mut_ptr().add(half));
                    }
                }
                columns
            }
        }
        #[inline(always)]
        unsafe fn store_columns<const W: usize>(columns: &[Sixteen; W], p: *mut f32, rows: usize) {
            // SAFETY: as above.
            unsafe {
                if (W, rows) != (2, 16) {
                    return store_columns_one_by_one(columns, p, rows);
                }
                for half in [0, 8] {
                    let (a, b) = (Self::load(columns[0].as_ptr().add(half)), Self::load(columns[1].as_ptr().add(half)));
                    let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                    _mm256_permute2f128_ps::<0x20>(low, high).store(p.add(2 * half));
                    _mm256_permute2f128_ps::<0x31>(low, high).store(p.add(2 * half + 8));
                }
            }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as the trait says, here and below.
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: see `splat`.
            unsafe { _mm256_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn load_first(p: *const f32, n: usize) -> Self {
            // SAFETY: see `splat`; lanes that are masked are not read.
            unsafe { _mm256_maskload_ps(p, first(n)) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: see `splat`.
            unsafe { _mm256_storeu_ps(p, self) }
        }
        #[inline(always)]
        unsafe fn store_first(self, p: *mut f32, n: usize) {
            // SAFETY: see `splat`; lanes that are masked are not written.
            unsafe { _mm256_maskstore_ps(p, first(n), self) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe { _mm256_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe { _mm256_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn where_above(self, y: Self) -> Self {
            // SAFETY: see `splat`. Not `max`, which loses NaN or keeps −0.
            unsafe { _mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(y, _mm256_setzero_ps()), self) }
        }
        #[inline(always)]
        unsafe fn where_same(self, at: Self, there: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe {
                let same = _mm256_cmpeq_epi32(_mm256_castps_si256(at), _mm256_castps_si256(there));
                _mm256_and_ps(_mm256_castsi256_ps(same), self)
            }
        }
        #[inline(always)]
        unsafe fn larger(self, at: Self, other: Self, other_at: Self) -> (Self, Self) {
            // SAFETY: see `splat`.
            unsafe {
                let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(other, other);
                let wins = _mm256_or_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(other, self), nan);
                (_mm256_blendv_ps(self, other, wins), _mm256_blendv_ps(at, other_at, wins))
            }
        }
        #[inline(always)]
        unsafe fn add_bits(self, other: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe {
                let sum = _mm256_add_epi32(_mm256_castps_si256(self), _mm256_castps_si256(other));
                _mm256_castsi256_ps(sum)
            }
        }
        #[inline(always)]
        unsafe fn both(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
            // SAFETY: all are eight numbers, any bits of which are some.
            let [mut a, b]: [[f32; 8]; 2] = unsafe { std::mem::transmute([self, other]) };
            for (a, b) in a.iter_mut().zip(b) {
                *a = f(*a, b);
            }
            // SAFETY: as above.
            unsafe { std::mem::transmute(a) }
        }
    }

    /// The first `n` of eight lanes, twice.
    #[inline(always)]
    fn halves(n: usize) -> u16 {
        0x0101 * (0xff_u16 >> (8 - n))
    }

    /// How sixteen rows of `W` numbers, which are `W` vectors, become columns and columns rows: by picking from two vectors at a time.
    struct Rows<const W: usize>;

    impl<const W: usize> Rows<W> {
        /// `[c][v]`: for each lane of column c, which number of two vectors it takes. The first of these has what was picked from the
        /// vectors before v (for v = 1, it is vector 0 itself), the second is vector v.
        const COLUMN: [[[i32; 16]; W]; W] = Self::picks(true);
        /// `[v][c]`: the same of vector v, from column c and those before it.
        const ROW: [[[i32; 16]; W]; W] = Self::picks(false);

        const fn picks(of_column: bool) -> [[[i32; 16]; W]; W] {
            let mut picks = [[[0; 16]; W]; W];
            let mut at = 0;
            while at < 16 * W * W {
                let (to, from, lane) = (at / 16 / W, at / 16 % W, at % 16);
                // Where the number is: in which vector, and at which of its lanes.
                let (vector, there) = if of_column {
                    ((lane * W + to) / 16, (lane * W + to) % 16)
                } else {
                    ((16 * to + lane) % W, (16 * to + lane) / W)
                };
                // The first pick takes what the very first vector has; later ones leave it where it is.
                let first = if from == 1 && vector == 0 { there } else { lane };
                picks[to][from][lane] = if vector == from { 16 + there as i32 } else { first as i32 };
                at += 1;
            }
            picks
        }
    }

    /// Of the numbers of so many rows of `W`, those that are in vector v.
    #[inline(always)]
    fn there<const W: usize>(rows: usize, v: usize) -> __mmask16 {
        let numbers = (rows * W).saturating_sub(16 * v).min(16);
        ((1_u32 << numbers) - 1) as __mmask16
    }

    /// # Safety
    /// With AVX-512.
    #[inline(always)]
    unsafe fn picked<const W: usize>(vectors: &[__m512; W], picks: &[[i32; 16]; W]) -> __m512 {
        let mut all = vectors[0];
        for v in 1..W {
            // SAFETY: the caller's promise; sixteen whole numbers.
            all = unsafe { _mm512_permutex2var_ps(all, _mm512_loadu_si512(picks[v].as_ptr().cast()), vectors[v]) };
        }
        all
    }

    impl Lanes for __m512 {
        const N: usize = 16;
        #[inline(always)]
        unsafe fn columns<const W: usize>(p: *const f32, rows: usize) -> [Sixteen; W] {
            // SAFETY: see `splat`; lanes that are masked are not read.
            unsafe {
                let (mut vectors, mut columns) = ([_mm512_setzero_ps(); W], [[0.0; 16]; W]);
                for (v, vector) in vectors.iter_mut().enumerate() {
                    let p = p.wrapping_add(16 * v);
                    *vector = if rows == 16 { Self::load(p) } else { _mm512_maskz_loadu_ps(there::<W>(rows, v), p) };
                }
                for (column, picks) in columns.iter_mut().zip(&Rows::<W>::COLUMN) {
                    picked(&vectors, picks).store(column.as_mut_ptr());
                }
                columns
            }
        }
        #[inline(always)]
        unsafe fn store_columns<const W: usize>(columns: &[Sixteen; W], p: *mut f32, rows: usize) {
            // SAFETY: see `splat`; lanes that are masked are not written.
            unsafe {
                let mut vectors = [_mm512_setzero_ps(); W];
                for (vector, column) in vectors.iter_mut().zip(columns) {
                    *vector = Self::load(column.as_ptr());
                }
                for (v, picks) in Rows::<W>::ROW.iter().enumerate() {
                    let (p, vector) = (p.wrapping_add(16 * v), picked(&vectors, picks));
                    match rows {
                        16 => vector.store(p),
                        _ => _mm512_mask_storeu_ps(p, there::<W>(rows, v), vector),
                    }
                }
            }
        }
        #[inline(always)]
        unsafe fn four_sums<const W: usize>(v: &[Sixteen; W]) -> [f32; 4] {
            // SAFETY: see `splat`.
            unsafe {
                let mut four = [_mm512_setzero_ps(); 4];
                for (four, v) in four.iter_mut().zip(v) {
                    *four = Self::load(v.as_ptr());
                }
                let [a, b, c, d] = four;
                // Eight numbers of a and of b; of c and of d.
                let ab = _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xee>(a, b));
                let cd = _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(c, d), _mm512_shuffle_f32x4::<0xee>(c, d));
                // Four of each.
                let all = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(ab, cd), _mm512_shuffle_f32x4::<0xdd>(ab, cd));
                let all = _mm512_add_ps(all, _mm512_permute_ps::<0x4e>(all));
                let all = _mm512_add_ps(all, _mm512_permute_ps::<0xb1>(all));
                let mut sums = [0.0; 16];
                all.store(sums.as_mut_ptr());
                [sums[0], sums[4], sums[8], sums[12]]
            }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as the trait says, here and below.
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: see `splat`.
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn load_first(p: *const f32, n: usize) -> Self {
            // SAFETY: see `splat`; lanes that are masked are not read.
            unsafe { _mm512_maskz_loadu_ps((0xffff_u32 >> (16 - n)) as u16, p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: see `splat`.
            unsafe { _mm512_storeu_ps(p, self) }
        }
        #[inline(always)]
        unsafe fn store_first(self, p: *mut f32, n: usize) {
            // SAFETY: see `splat`; lanes that are masked are not written.
            unsafe { _mm512_mask_storeu_ps(p, (0xffff_u32 >> (16 - n)) as u16, self) }
        }
        const HALVES: bool = true;
        #[inline(always)]
        unsafe fn load_halves(p: *const f32, n: usize) -> Self {
            // SAFETY: see `splat`; lanes that are masked are not read.
            unsafe { _mm512_maskz_loadu_ps(halves(n), p) }
        }
        #[inline(always)]
        unsafe fn store_halves(self, p: *mut f32, n: usize) {
            // SAFETY: see `splat`; lanes that are masked are not written.
            unsafe { _mm512_mask_storeu_ps(p, halves(n), self) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe { _mm512_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe { _mm512_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn where_above(self, y: Self) -> Self {
            // SAFETY: see `splat`. Not `max`, which loses NaN or keeps −0.
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLE_UQ>(y, _mm512_setzero_ps()), self) }
        }
        #[inline(always)]
        unsafe fn where_same(self, at: Self, there: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe {
                let same = _mm512_cmpeq_epi32_mask(_mm512_castps_si512(at), _mm512_castps_si512(there));
                _mm512_maskz_mov_ps(same, self)
            }
        }
        #[inline(always)]
        unsafe fn larger(self, at: Self, other: Self, other_at: Self) -> (Self, Self) {
            // SAFETY: see `splat`.
            unsafe {
                let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(other, other);
                let wins = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(other, self) | nan;
                (_mm512_mask_mov_ps(self, wins, other), _mm512_mask_mov_ps(at, wins, other_at))
            }
        }
        #[inline(always)]
        unsafe fn add_bits(self, other: Self) -> Self {
            // SAFETY: see `splat`.
            unsafe {
                let sum = _mm512_add_epi32(_mm512_castps_si512(self), _mm512_castps_si512(other));
                _mm512_castsi512_ps(sum)
            }
        }
        #[inline(always)]
        unsafe fn both(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
            // SAFETY: all are sixteen numbers, any bits of which are some.
            let [mut a, b]: [[f32; 16]; 2] = unsafe { std::mem::transmute([self, other]) };
            for (a, b) in a.iter_mut().zip(b) {
                *a = f(*a, b);
            }
            // SAFETY: as above.
            unsafe { std::mem::transmute(a) }
        }
        /// Beside the divider, which the machine's own shares with the quotient that follows: an estimate, a step of Newton's, and the
        /// exact remainder, so that one rounding of a number next to the root is left. The same bits, for all numbers (tested).
        /// Markstein: *IA-64 and elementary functions* (2000), 9.2.
        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            // SAFETY: see `splat`.
            unsafe {
                // Where neither the square of a number nor what is left of it leaves the range of normal ones: not infinity, NaN and
                // what is negative or tiny; but zeros are common.
                let bits = _mm512_sub_epi32(_mm512_castps_si512(self), _mm512_set1_epi32(SMALL));
                let normal = _mm512_cmplt_epu32_mask(bits, _mm512_set1_epi32(f32::INFINITY.to_bits() as i32 - SMALL));
                let not_zero = _mm512_cmpneq_ps_mask(self, _mm512_setzero_ps());
                if normal | !not_zero != 0xffff {
                    return _mm512_sqrt_ps(self);
                }
                // Of a zero 0 at first: so is all that follows.
                let estimate = _mm512_maskz_rsqrt14_ps(normal, self);
                let (root, half) = (_mm512_mul_ps(self, estimate), _mm512_mul_ps(estimate, _mm512_set1_ps(0.5)));
                let off = _mm512_fnmadd_ps(root, half, _mm512_set1_ps(0.5));
                let (root, half) = (_mm512_fmadd_ps(root, off, root), _mm512_fmadd_ps(half, off, half));
                let left = _mm512_fnmadd_ps(root, root, self);
                _mm512_fmadd_ps(left, half, root)
            }
        }
    }

    /// 2⁻⁹⁶
    const SMALL: i32 = 31 << 23;

    /// Half a vector of AVX-512, for narrow rows: the machine does two of them in the time of a whole one, and masks are
    /// cheaper than those of AVX2.
    #[derive(Clone, Copy)]
    pub(crate) struct Half(__m256);

    impl Lanes for Half {
        const N: usize = 8;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as the trait says, here and below.
            Half(unsafe { __m256::splat(x) })
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: see `splat`.
            Half(unsafe { __m256::load(p) })
        }
        #[inline(always)]
        unsafe fn load_first(p: *const f32, n: usize) -> Self {
            // SAFETY: see `splat`; lanes that are masked are not read.
            Half(unsafe { _mm256_maskz_loadu_ps((0xff_u32 >> (8 - n)) as u8, p) })
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: see `splat`.
            unsafe { self.0.store(p) }
        }
        #[inline(always)]
        unsafe fn store_first(self, p: *mut f32, n: usize) {
            // SAFETY: see `splat`; lanes that are masked are not written.
            unsafe { _mm256_mask_storeu_ps(p, (0xff_u32 >> (8 - n)) as u8, self.0) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see `splat`.
            Half(unsafe { self.0.add_product(a.0, b.0) })
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: see `splat`. In full, as a vector has an `add` of its own.
            Half(unsafe { Lanes::add(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn where_above(self, y: Self) -> Self {
            // SAFETY: see `splat`.
            Half(unsafe { self.0.where_above(y.0) })
        }
        #[inline(always)]
        unsafe fn where_same(self, at: Self, there: Self) -> Self {
            // SAFETY: see `splat`.
            Half(unsafe { self.0.where_same(at.0, there.0) })
        }
        #[inline(always)]
        unsafe fn larger(self, at: Self, other: Self, other_at: Self) -> (Self, Self) {
            // SAFETY: see `splat`.
            let (max, at) = unsafe { self.0.larger(at.0, other.0, other_at.0) };
            (Half(max), Half(at))
        }
        #[inline(always)]
        unsafe fn add_bits(self, other: Self) -> Self {
            // SAFETY: see `splat`.
            Half(unsafe { self.0.add_bits(other.0) })
        }
        #[inline(always)]
        unsafe fn both(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
            // SAFETY: see `splat`.
            Half(unsafe { self.0.both(other.0, f) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    by_lanes! {
        fn roots(x: &mut [f32]) = square_roots
    }

    #[inline(always)]
    unsafe fn square_roots<V: Lanes>(x: &mut [f32]) {
        let p = x.as_mut_ptr();
        // SAFETY: numbers of the slice.
        unsafe {
            each_vector::<V>(
                x.len(),
                #[inline(always)]
                |v| v.store::<V>(p, v.load::<V>(p).sqrt()),
            )
        }
    }

    /// That the roots of `n` numbers are those the machine has for one of them.
    fn check(n: usize, x: impl Fn(usize) -> f32) {
        let mut roots_of = vec![0.0; n.min(4096)];
        for isa in Isa::available() {
            for first in (0..n).step_by(roots_of.len()) {
                let got = &mut roots_of[..(n - first).min(4096)];
                got.iter_mut().enumerate().for_each(|(i, v)| *v = x(first + i));
                // SAFETY: the slice is there.
                unsafe { roots(isa, got) };
                for (i, got) in got.iter().enumerate() {
                    let (x, want) = (x(first + i), x(first + i).sqrt());
                    let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
                    assert!(same, "{isa:?}: √{x:e} is {got:e}, not {want:e}");
                }
            }
        }
    }

    #[test]
    fn square_roots_are_exact() {
        // Every significand with an even and an odd exponent: where neither end of the range is near, others differ by a power of two.
        check(1 << 24, |i| f32::from_bits((127 << 23) + i as u32));
        check(254 * 100, |i| f32::from_bits(((1 + i as u32 / 100) << 23) + i as u32 % 100 * 83_890));
        // Both ends, and what has a root of another kind, at any place in a vector.
        let edges = [0.0, f32::from_bits(1), f32::MIN_POSITIVE, 2f32.powi(-96), f32::MAX, f32::INFINITY];
        for x in edges.into_iter().flat_map(|x| [x, x.next_down(), x.next_up(), -x]).chain([f32::NAN]) {
            for place in 0..20 {
                check(20, |i| if i == place { x } else { 1.0 + i as f32 });
            }
            check(16, |_| x);
        }
    }
}
