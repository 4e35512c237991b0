//! The register tile that products and convolutions are made of.
//!
//! It holds a few rows × two vectors of an output in registers and walks the summed dimension once. Its bits do not
//! depend on its size: every number of the output is one chain of fused multiply-adds of its own. So each instruction set
//! has the size that suits it, and numbers of an output can be spread over threads at will.

use crate::Isa;
use crate::isa::Level;
#[cfg(target_arch = "x86_64")]
use crate::lanes::Half;
use crate::lanes::{Lanes, Part, Plain, by_lanes};
use crate::optim::Sgd;
use crate::pointwise::{Map, for_each_map};

/// The most rows a tile has on any instruction set.
pub(crate) const ROWS: usize = 12;

/// The same where columns take one vector and rows lie an equal distance apart.
pub(crate) const TALL_ROWS: usize = 2 * ROWS;

/// The most columns a tile has on any instruction set.
pub(crate) const COLUMNS: usize = 32;

/// Rows and columns of the largest tile: what fits in the registers beside a row of `b` and a number of `a`.
pub(crate) fn tile_size(isa: Isa) -> (usize, usize) {
    match isa.level() {
        Level::Portable => (4, 16),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => (6, 16),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => (ROWS, COLUMNS),
    }
}

/// As many rows a tile of so few columns has that they take one vector, where its rows are [`Regular`].
pub(crate) fn tall_rows(isa: Isa, columns: usize) -> usize {
    let (rows, most) = tile_size(isa);
    if columns <= most / 2 { 2 * rows } else { rows }
}

/// As many columns a tile of a single row has: with fewer sums, each multiply-add would wait for the one before.
pub(crate) fn row_columns(isa: Isa) -> usize {
    2 * tile_size(isa).1
}

/// The terms that the sums of a tile run over, in order: `h` times `w` times `k`, `k` fastest. In each, row `i` adds
/// a number of `a`, at `a[i] + h * a_h + w * a_w + k * a_k`, times a row of `b`, at `b + h * b_h + w * b_w + k * b_k`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub h: usize,
    pub w: usize,
    pub k: usize,
    pub a_h: isize,
    pub a_w: isize,
    pub a_k: isize,
    pub b_h: isize,
    pub b_w: isize,
    pub b_k: isize,
}

impl Chain {
    /// A single run over `k`, to be filled in.
    pub(crate) const ONE: Chain = Chain { h: 1, w: 1, k: 0, a_h: 0, a_w: 0, a_k: 0, b_h: 0, b_w: 0, b_k: 0 };

    /// The same terms in the same order, with the inner loops as long as they can be: the tile's innermost loop is fast,
    /// the others are not.
    pub(crate) fn collapsed(mut self) -> Chain {
        for _ in 0..2 {
            let follows = self.a_w == self.k as isize * self.a_k && self.b_w == self.k as isize * self.b_k;
            if self.k == 1 {
                (self.a_k, self.b_k) = (self.a_w, self.b_w);
            } else if self.w != 1 && !follows {
                break;
            }
            self.k *= self.w;
            (self.w, self.a_w, self.b_w) = (self.h, self.a_h, self.b_h);
            self.h = 1;
        }
        self
    }
}

/// Rows of `b` that are soon to be used, to be asked for on the way: a row after so many terms. The machine cannot foresee rows that lie
/// far apart, and asked for at once they would keep it from its work until they have come.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    pub first: *const f32,
    pub step: usize,
    pub every: usize,
}

impl Ahead {
    pub(crate) const NOTHING: Ahead = Ahead { first: std::ptr::null(), step: 0, every: usize::MAX };
}

/// Asks for the line at `p`, wherever that is.
#[inline(always)]
pub(crate) fn prefetch(p: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which every x86-64 has, and which an address that is none does no harm.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

/// Where a tile's chains start.
#[derive(Clone, Copy)]
pub(crate) enum Begin {
    Zero,
    /// From a row of `n` numbers, the same for all rows.
    Row(*const f32),
    Stored,
}

impl Begin {
    /// For columns from `j` on.
    #[inline(always)]
    pub(crate) fn after(self, j: usize) -> Begin {
        if let Begin::Row(row) = self { Begin::Row(row.wrapping_add(j)) } else { self }
    }
}

/// What becomes of a tile's sums.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// c = map(sum)
    Map(Map),
    /// c = sum · map′, from the map's output.
    Gradient(Map, Beside),
    /// c = c + sum
    Add,
    /// c = 0 + sum: the first of those that follow with `Add`.
    First,
    /// A step of the parameter c, whose gradient is the sum.
    Sgd(Sgd),
}

impl End {
    /// Whether it is a function that is too long for the tile's registers: of sums that have been stored.
    #[inline(always)]
    pub(crate) fn is_long(self) -> bool {
        matches!(self, End::Map(map) | End::Gradient(map, _) if !matches!(map, Map::Identity | Map::ReLU))
    }
}

/// Another array that lies as the output does: a number of it is as far from `there` as the output's from `here`.
#[derive(Clone, Copy)]
pub(crate) struct Beside {
    pub there: *const f32,
    pub here: *const f32,
}

impl Beside {
    #[inline(always)]
    pub(crate) fn of(self, p: *const f32) -> *const f32 {
        self.there.wrapping_byte_add((p as usize).wrapping_sub(self.here as usize))
    }
}

/// Where the rows of a tile lie. `a` is walked along; a place on the way is the same for all rows.
pub(crate) trait TileRows: Copy {
    /// Whether chains are a single run over `k`, which is quicker to start.
    const ONE_RUN: bool;
    /// Whether a tile may have [`tall_rows`].
    const TALL: bool;
    type Place: Copy;
    fn start(&self) -> Self::Place;
    fn after(place: Self::Place, step: isize) -> Self::Place;
    /// The number of row `i`. Places past the last are asked for, but not read.
    fn a(&self, i: usize, place: Self::Place) -> *const f32;
    fn c(&self, i: usize) -> *mut f32;
    /// How far the rows of the output are apart, where they are all as far.
    fn step(&self) -> Option<usize>;
}

/// Rows an equal distance apart.
#[derive(Clone, Copy)]
pub(crate) struct Regular<const ONE_RUN: bool> {
    pub a: *const f32,
    pub a_step: usize,
    pub c: *mut f32,
    pub c_step: usize,
}

impl<const ONE_RUN: bool> TileRows for Regular<ONE_RUN> {
    const ONE_RUN: bool = ONE_RUN;
    const TALL: bool = true;
    /// Of rows 0, 4, 8 and so on: the three after each need no register of their own.
    type Place = [*const f32; TALL_ROWS / 4];
    #[inline(always)]
    fn start(&self) -> Self::Place {
        std::array::from_fn(|i| opaque(self.a.wrapping_add(4 * i * self.a_step)))
    }
    #[inline(always)]
    fn after(place: Self::Place, step: isize) -> Self::Place {
        place.map(|p| opaque(p.wrapping_offset(step)))
    }
    #[inline(always)]
    fn a(&self, i: usize, place: Self::Place) -> *const f32 {
        place[i / 4].wrapping_add(i % 4 * self.a_step)
    }
    #[inline(always)]
    fn c(&self, i: usize) -> *mut f32 {
        self.c.wrapping_add(i * self.c_step)
    }
    #[inline(always)]
    fn step(&self) -> Option<usize> {
        Some(self.c_step)
    }
}

/// Such rows, below one that adds up the rows of `b`, whose factor is always 1.
#[derive(Clone, Copy)]
pub(crate) struct BelowSums {
    pub rows: Regular<true>,
    pub sums: *mut f32,
}

static ONE: f32 = 1.0;

impl TileRows for BelowSums {
    const ONE_RUN: bool = true;
    const TALL: bool = false;
    type Place = <Regular<true> as TileRows>::Place;
    #[inline(always)]
    fn start(&self) -> Self::Place {
        self.rows.start()
    }
    #[inline(always)]
    fn after(place: Self::Place, step: isize) -> Self::Place {
        Regular::<true>::after(place, step)
    }
    #[inline(always)]
    fn a(&self, i: usize, place: Self::Place) -> *const f32 {
        if i == 0 { &raw const ONE } else { self.rows.a(i - 1, place) }
    }
    #[inline(always)]
    fn c(&self, i: usize) -> *mut f32 {
        if i == 0 { self.sums } else { self.rows.c(i - 1) }
    }
    #[inline(always)]
    fn step(&self) -> Option<usize> {
        None
    }
}

/// The same pointer, of which the compiler does not know how far from others it lies: it would find each row from another one,
/// with an addition or a load of its own, in every round of a loop.
#[inline(always)]
pub(crate) fn opaque(p: *const f32) -> *const f32 {
    #[cfg(target_arch = "x86_64")]
    let p = {
        let mut p = p;
        // SAFETY: no instruction at all, so nothing is read.
        #[allow(clippy::pointers_in_nomem_asm_block)]
        unsafe {
            std::arch::asm!("/* {0} */", inout(reg) p, options(pure, nomem, nostack, preserves_flags))
        };
        p
    };
    p
}

/// Rows that start anywhere.
#[derive(Clone, Copy)]
pub(crate) struct Anywhere {
    pub a: [*const f32; ROWS],
    pub c: [*mut f32; ROWS],
}

impl Anywhere {
    /// To be filled in.
    pub(crate) const NOWHERE: Anywhere = Anywhere { a: [std::ptr::null(); ROWS], c: [std::ptr::null_mut(); ROWS] };
}

impl TileRows for Anywhere {
    const ONE_RUN: bool = false;
    const TALL: bool = false;
    type Place = isize;
    #[inline(always)]
    fn start(&self) -> isize {
        0
    }
    #[inline(always)]
    fn after(place: isize, step: isize) -> isize {
        place + step
    }
    #[inline(always)]
    fn a(&self, i: usize, place: isize) -> *const f32 {
        self.a[i].wrapping_offset(place)
    }
    #[inline(always)]
    fn c(&self, i: usize) -> *mut f32 {
        self.c[i]
    }
    #[inline(always)]
    fn step(&self) -> Option<usize> {
        None
    }
}

/// One tile: `m` rows and `n` columns of an output.
pub(crate) struct Tile<'a, R> {
    pub chain: &'a Chain,
    pub rows: R,
    pub b: *const f32,
    pub m: usize,
    pub n: usize,
    pub from: Begin,
    /// Not a copy, which would have to wait until the parts of it have left the processor for the cache.
    pub to: &'a End,
    /// For chains of one run.
    pub ahead: Ahead,
}

by_lanes! {
    /// The functions of sums that have been stored, in a tile of any size.
    ///
    /// # Safety
    /// As [`Tile::run`], but for `m` and `n`.
    pub(crate) fn map_stored(t: &Tile<'_, Regular<true>>) = map_tile
}

impl<R: TileRows> Tile<'_, R> {
    /// Computes it.
    ///
    /// # Safety
    /// `m` and `n` are at least 1 and at most [`tile_size`]; but `m` at most [`tall_rows`] where the rows are [`Regular`], and `n`
    /// at most [`row_columns`] where `m` is 1. All numbers of `a` and all rows of `b` (`n` numbers each) that the chain names (one
    /// run, where the rows are for one), the `m` rows of `c`, the row that it starts from, and what lies beside `c` where the end
    /// names it, can be read, the rows of `c` written; they overlap nothing else, and no other thread uses them.
    #[inline(always)]
    pub(crate) unsafe fn run(&self, isa: Isa) {
        // SAFETY: the caller's promises; the function is for this size.
        unsafe { tile_of(isa, self.m, self.n)(self) }
    }
}

/// A function that runs tiles of one size.
pub(crate) type TileOf<R> = unsafe fn(&Tile<'_, R>);

/// The function that runs tiles of `m` rows and `n` columns, for those who run many: it is as unsafe as [`Tile::run`].
#[inline(always)]
pub(crate) fn tile_of<R: TileRows>(isa: Isa, m: usize, n: usize) -> TileOf<R> {
    match isa.level() {
        Level::Portable => portable(m, n),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2(m, n),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512(m, n),
    }
}

/// Does the same for every number below `$rows`, at most [`TALL_ROWS`], without a loop: the compiler takes apart short ones only, and
/// leaves the sums of longer ones in memory.
macro_rules! for_rows {
    ($rows:ident, $i:ident, $body:block) => {
        for_rows!($rows, $i, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23)
    };
    ($rows:ident, $i:ident, $body:block, $($n:literal)+) => {
        $(
            if $n < $rows {
                let $i = $n;
                $body
            }
        )+
    };
}

pub(crate) use for_rows;

/// `R` rows of `W` vectors; the last vector has the first `tile.n - (W - 1) * V::N` lanes when `PART`.
///
/// # Safety
/// As [`Tile::run`], where the instruction set of `V` is there.
#[inline(always)]
unsafe fn tile<V: Lanes, A: TileRows, const R: usize, const W: usize, const PART: bool>(t: &Tile<A>) {
    let last = t.n - (W - 1) * V::N;
    // SAFETY: what is read and written is what the caller allows: `n` numbers of each row, of `m` = R rows. Addresses are
    // computed with wrapping arithmetic, because the last steps leave the slices.
    unsafe {
        let load = |p: *const f32, w: usize| {
            let p = p.wrapping_add(w * V::N);
            if PART && w == W - 1 { V::load_first(p, last) } else { V::load(p) }
        };
        let rows = t.rows;
        let mut sums = [[V::splat(0.0); W]; R];
        match t.from {
            Begin::Zero => {}
            Begin::Row(row) => {
                let row: [V; W] = std::array::from_fn(|w| load(row, w));
                sums = [row; R];
            }
            Begin::Stored => each_row(
                &mut sums,
                #[inline(always)]
                |i, w, _| load(rows.c(i), w),
            ),
        }
        let Chain { h, w, k, a_h, a_w, a_k, b_h, b_w, b_k } = *t.chain;
        let (h, w, every) = if A::ONE_RUN { (1, 1, t.ahead.every) } else { (h, w, usize::MAX) };
        let mut next = t.ahead.first;
        for y in 0..h as isize {
            for x in 0..w as isize {
                let mut place = A::after(rows.start(), y * a_h + x * a_w);
                let mut b = t.b.wrapping_offset(y * b_h + x * b_w);
                let mut left = k;
                loop {
                    let terms = left.min(every);
                    for _ in 0..terms {
                        let row: [V; W] = std::array::from_fn(|w| load(b, w));
                        for_rows!(R, i, {
                            let factor = V::splat(*rows.a(i, place));
                            for (sum, row) in sums[i].iter_mut().zip(row) {
                                *sum = sum.add_product(factor, row);
                            }
                        });
                        place = A::after(place, a_k);
                        b = b.wrapping_offset(b_k);
                    }
                    left -= terms;
                    if left == 0 {
                        break;
                    }
                    prefetch(next);
                    prefetch(next.wrapping_add(V::N));
                    next = next.wrapping_add(t.ahead.step);
                }
            }
        }
        match *t.to {
            End::Map(Map::ReLU) => each_row(
                &mut sums,
                #[inline(always)]
                |_, _, sum| sum.where_above(sum),
            ),
            End::Gradient(Map::ReLU, y) => each_row(
                &mut sums,
                #[inline(always)]
                |i, w, sum| sum.where_above(load(y.of(rows.c(i)), w)),
            ),
            End::Map(_) | End::Gradient(..) => {}
            End::Add => each_row(
                &mut sums,
                #[inline(always)]
                |i, w, sum| load(rows.c(i), w).add(sum),
            ),
            End::First => each_row(
                &mut sums,
                #[inline(always)]
                |_, _, sum| V::splat(0.0).add(sum),
            ),
            End::Sgd(sgd) if sgd.weight_decay == 0.0 => each_row(
                &mut sums,
                #[inline(always)]
                |i, w, sum| sgd.step::<V, false>(load(rows.c(i), w), sum),
            ),
            End::Sgd(sgd) => each_row(
                &mut sums,
                #[inline(always)]
                |i, w, sum| sgd.step::<V, true>(load(rows.c(i), w), sum),
            ),
        }
        each_row(
            &mut sums,
            #[inline(always)]
            |i, w, sum| {
                let p = rows.c(i).wrapping_add(w * V::N);
                if PART && w == W - 1 {
                    sum.store_first(p, last)
                } else {
                    sum.store(p)
                }
                sum
            },
        );
    }
}

/// Puts `f(row, vector, sum)` in the place of every sum.
#[inline(always)]
pub(crate) fn each_row<V: Copy, const R: usize, const W: usize>(
    sums: &mut [[V; W]; R],
    f: impl Fn(usize, usize, V) -> V,
) {
    for_rows!(R, i, {
        for (w, sum) in sums[i].iter_mut().enumerate() {
            *sum = f(i, w, *sum);
        }
    });
}

/// Functions of sums that have been stored: those that are too long for the tile's registers, and all of other kernels.
///
/// # Safety
/// As [`tile`], of any size.
#[inline(always)]
unsafe fn map_tile<V: Lanes>(t: &Tile<impl TileRows>) {
    match *t.to {
        End::Map(Map::Identity) | End::Add | End::First | End::Sgd(_) => {}
        End::Map(map) => for_each_map(
            map,
            #[inline(always)]
            |map| {
                // SAFETY: the caller's promises, here and below.
                unsafe {
                    each::<V>(
                        t,
                        #[inline(always)]
                        |c| c,
                        #[inline(always)]
                        |sum, _| map.value(sum),
                    )
                }
            },
        ),
        End::Gradient(map, y) => for_each_map(
            map,
            #[inline(always)]
            |map| {
                // SAFETY: see above.
                unsafe {
                    each::<V>(
                        t,
                        #[inline(always)]
                        |c| y.of(c),
                        #[inline(always)]
                        |sum, y| map.gradient(y, sum),
                    )
                }
            },
        ),
    }
}

/// A function of every number of the output and another, which `beside` finds.
///
/// # Safety
/// As [`map_tile`].
#[inline(always)]
unsafe fn each<V: Lanes>(
    t: &Tile<impl TileRows>,
    beside: impl Fn(*const f32) -> *const f32,
    f: impl Fn(f32, f32) -> f32,
) {
    let step = t.rows.step();
    let (m, n) = if step == Some(t.n) { (1, t.m * t.n) } else { (t.m, t.n) }; // as one row
    let in_pairs = if V::HALVES && step == Some(V::N / 2) && m > 1 { m / 2 * 2 } else { 0 };
    let mut i = 0;
    while i < m {
        let two = i < in_pairs;
        let row = t.rows.c(i);
        for j in (0..n).step_by(V::N) {
            let (p, left) = (row.wrapping_add(j), n - j);
            let part = match (two, left >= V::N) {
                (true, _) => Part::Halves(n),
                (_, true) => Part::All,
                _ => Part::First(left),
            };
            // SAFETY: numbers of a row of the output below `n`, or of two that are in one half of the vector each, and those beside
            // them.
            unsafe { part.store(p, V::both(part.load(p), part.load(beside(p)), &f)) };
        }
        i += 1 + usize::from(two);
    }
}

/// Defines the function that finds the one for a tile of any size on one instruction set, with the vector it has for wide rows and
/// the one for narrow ones.
macro_rules! tiles {
    ($(#[$cfg:meta])? $name:ident, $wide:ty, $narrow:ty, $(#[$feature:meta])?, $($rows:literal)+, $($tall:literal)+) => {
        $(#[$cfg])?
        fn $name<A: TileRows>(m: usize, n: usize) -> TileOf<A> {
            /// # Safety
            /// As [`Tile::run`], where the instruction set is there, for a tile of this size.
            $(#[$feature])?
            unsafe fn wide<A: TileRows, const R: usize, const W: usize, const PART: bool>(t: &Tile<A>) {
                // SAFETY: the same promises.
                unsafe {
                    tile::<$wide, A, R, W, PART>(t);
                    if t.to.is_long() {
                        mapped(t);
                    }
                }
            }
            /// # Safety
            /// As `wide`.
            $(#[$feature])?
            unsafe fn narrow<A: TileRows, const R: usize>(t: &Tile<A>) {
                // SAFETY: the same promises.
                unsafe {
                    tile::<$narrow, A, R, 1, true>(t);
                    if t.to.is_long() {
                        mapped(t);
                    }
                }
            }
            /// # Safety
            /// As [`map_tile`].
            $(#[$feature])?
            #[inline(never)]
            unsafe fn mapped<A: TileRows>(t: &Tile<A>) {
                // SAFETY: the same promises.
                unsafe { map_tile::<$wide>(t) }
            }
            let lanes = <$wide as Lanes>::N;
            let is_narrow = <$narrow as Lanes>::N < lanes && n <= <$narrow as Lanes>::N;
            match (m, is_narrow, n > lanes, n.is_multiple_of(lanes)) {
                (1, .., true) if n == 4 * lanes => wide::<A, 1, 4, false>,
                (1, ..) if n > 3 * lanes => wide::<A, 1, 4, true>,
                (1, .., true) if n > 2 * lanes => wide::<A, 1, 3, false>,
                (1, ..) if n > 2 * lanes => wide::<A, 1, 3, true>,
                $(
                    ($rows, true, ..) => narrow::<A, $rows>,
                    ($rows, _, true, true) => wide::<A, $rows, 2, false>,
                    ($rows, _, true, false) => wide::<A, $rows, 2, true>,
                    ($rows, _, false, true) => wide::<A, $rows, 1, false>,
                    ($rows, _, false, false) => wide::<A, $rows, 1, true>,
                )+
                $(
                    ($tall, true, ..) if A::TALL => narrow::<A, $tall>,
                    ($tall, _, false, true) if A::TALL => wide::<A, $tall, 1, false>,
                    ($tall, _, false, false) if A::TALL => wide::<A, $tall, 1, true>,
                )+
                _ => unreachable!("a tile of {m} rows and {n} columns"),
            }
        }
    };
}

tiles!(portable, Plain, Plain, , 1 2 3 4, 5 6 7 8);
tiles!(
    #[cfg(target_arch = "x86_64")] avx2, std::arch::x86_64::__m256, std::arch::x86_64::__m256,
    #[target_feature(enable = "avx2,fma")], 1 2 3 4 5 6, 7 8 9 10 11 12
);
tiles!(
    #[cfg(target_arch = "x86_64")] avx512, std::arch::x86_64::__m512, Half,
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")],
    1 2 3 4 5 6 7 8 9 10 11 12, 13 14 15 16 17 18 19 20 21 22 23 24
);
