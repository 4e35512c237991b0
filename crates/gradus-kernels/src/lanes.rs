//! A vector of numbers on each instruction set.

use crate::pointwise::Map;

/// A vector of numbers, and the few things a tile does with it. Written by hand for each instruction set: left to itself
/// the compiler keeps arrays of sums in memory (7 to 25 GFLOP/s instead of 115).
///
/// # Safety
/// The functions may be called where the instruction set is there. `N` numbers can be read or written at `p`, or the
/// first `n` ≤ `N` (and at least 1) in those that say so.
pub(crate) trait Lanes: Copy {
    const N: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    /// The first `n`, then zeros.
    unsafe fn load_first(p: *const f32, n: usize) -> Self;
    unsafe fn store(self, p: *mut f32);
    unsafe fn store_first(self, p: *mut f32, n: usize);
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
}

/// Compiles a body that is written for any vector once per instruction set.
///
/// `by_lanes! { fn name(a: A, b: B) = body }`, with an `#[inline(always)] unsafe fn body<V: Lanes>(a: A, b: B)`, defines
/// `unsafe fn name(isa: Isa, a: A, b: B)`, which asks for what the body asks for, but for the instruction set.
macro_rules! by_lanes {
    ($(#[$attr:meta])* $vis:vis fn $name:ident ($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$attr])*
        $vis unsafe fn $name(isa: $crate::Isa, $($arg: $ty),*) {
            /// # Safety
            /// As the body.
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: the caller's promises.
                unsafe { $body::<std::arch::x86_64::__m512>($($arg),*) }
            }
            /// # Safety
            /// As the body.
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: the caller's promises.
                unsafe { $body::<std::arch::x86_64::__m256>($($arg),*) }
            }
            // SAFETY: the features are there, as in `simd!`; the rest is promised by the caller.
            unsafe {
                match isa.level() {
                    $crate::isa::Level::Portable => $body::<$crate::lanes::Plain>($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::isa::Level::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::isa::Level::Avx512 => avx512($($arg),*),
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

    use super::Lanes;

    /// All ones, then all zeros: eight of them from `8 - n` on mask the first `n` lanes.
    static MASK: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

    #[inline(always)]
    unsafe fn first(n: usize) -> __m256i {
        // SAFETY: n ≤ 8, so the eight lie within the sixteen.
        unsafe { _mm256_loadu_si256(MASK.as_ptr().add(8 - n).cast()) }
    }

    impl Lanes for __m256 {
        const N: usize = 8;
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

    impl Lanes for __m512 {
        const N: usize = 16;
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
    }

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
