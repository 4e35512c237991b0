//! Matrix products and column sums.

use std::mem::MaybeUninit;
use std::ops::Range;

use crate::few::{self, Few};
use crate::lanes::{Lanes, by_lanes};
use crate::optim::Sgd;
use crate::outer::{Outer, outer};
use crate::pointwise::{Finish, Map};
use crate::pool::{Output, Work};
use crate::square::{self, SIDE};
use crate::tile::{Ahead, Begin, COLUMNS, Chain, End, Regular, Tile, map_stored, prefetch, row_columns, tile_size};
use crate::{Cpu, Isa};

/// What the chain of each output number starts from.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// 0
    Zero,
    /// The number of its column: a bias, `n` numbers.
    Row(&'a [f32]),
    /// What the output holds.
    Stored,
}

/// The shape of a product and where its operands' numbers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Rows of the output.
    pub m: usize,
    /// Columns of the output.
    pub n: usize,
    /// Terms of each sum.
    pub k: usize,
    /// a(i, k) is `a[i * rsa + k * csa]`.
    pub rsa: usize,
    /// See `rsa`; one of the two is 1 in a plain or a transposed matrix.
    pub csa: usize,
    /// b(k, j) is `b[k * ldb + j]`, or `b[j * ldb + k]` with `transposed_b`.
    pub ldb: usize,
    /// Whether b is stored transposed.
    pub transposed_b: bool,
    /// c(i, j) is `c[i * ldc + j]`.
    pub ldc: usize,
}

/// c(i, j) = finish(start + Σ a(i, k)·b(k, j)). Writes the `n` columns alone.
///
/// Order: one chain of fused multiply-adds per number, `k` ascending, from `start`; then `finish`: a [`Map`], or the gradient
/// of one, or a step of a parameter by its gradient, which the sum from 0 is.
///
/// # Panics
/// When a slice is shorter than the shape says, or `ldb` or `ldc` less than the row it holds. For a step of a parameter, when
/// the sum does not start from 0, or b is transposed.
pub fn matmul<'f>(
    cpu: &Cpu,
    p: &Product,
    a: &[f32],
    b: &[f32],
    c: &mut [f32],
    start: Start,
    finish: impl Into<Finish<'f>>,
) {
    let Product { m, n, k, rsa, csa, ldb, transposed_b, ldc } = *p;
    if m == 0 || n == 0 {
        return;
    }
    if k > 0 {
        let last = (m - 1).checked_mul(rsa).zip((k - 1).checked_mul(csa)).and_then(|(i, k)| i.checked_add(k));
        assert!(last.is_some_and(|last| last < a.len()), "matmul: a has {} numbers, too few for {p:?}", a.len());
        let (rows, columns) = if transposed_b { (n, k) } else { (k, n) };
        let fits = ldb >= columns && reach(rows, columns, ldb) <= b.len();
        assert!(fits, "matmul: b has {} numbers, too few for {p:?}", b.len());
    }
    assert!(ldc >= n && reach(m, n, ldc) <= c.len(), "matmul: c has {} numbers, too few for {p:?}", c.len());
    if let Start::Row(row) = start {
        assert!(row.len() >= n, "matmul: the bias has {} numbers, not {n}", row.len());
    }
    let c = &mut c[..reach(m, n, ldc)];
    let end = finish.into().of("matmul", c);
    // Between two pieces of a sum its chains would wait in the output.
    let fresh = matches!(start, Start::Zero) && !transposed_b;
    assert!(fresh || !matches!(end, End::Sgd(_)), "matmul: a step by {p:?} from {start:?}");
    let out = Output::new(c);
    let product = Checked { isa: cpu.isa, p, a, b, out: &out, start, end };
    let work = Work::Flops(m.saturating_mul(n).saturating_mul(k).saturating_mul(2));
    let (rows, columns) = tile_size(cpu.isa);
    // Each part reads all of the operand that is not split: split the longer side, and a transposed b, which is copied.
    if m >= n && !transposed_b || n <= columns {
        cpu.pool.split(work, m, rows, |range| product.block(range, 0..n));
    } else {
        cpu.pool.split(work, n, columns, |range| product.block(0..m, range));
    }
}

/// From so many numbers on (8 MB) a transposed a is too large for the caches, and is always copied.
pub const LARGE_TRANSPOSED: usize = 2 << 20;

/// A product whose slices are long enough.
struct Checked<'a> {
    isa: Isa,
    p: &'a Product,
    a: &'a [f32],
    b: &'a [f32],
    out: &'a Output<'a>,
    start: Start<'a>,
    end: End,
}

// SAFETY: the end's pointers are to slices that the caller of the product holds for as long as it runs.
unsafe impl Sync for Checked<'_> {}

impl Checked<'_> {
    /// A block of the output. Concurrent calls are given disjoint blocks.
    fn block(&self, rows: Range<usize>, columns: Range<usize>) {
        let from_zero = matches!(self.start, Start::Zero) && !self.p.transposed_b;
        if self.p.k == 1 && from_zero && matches!(self.end, End::Map(Map::Identity) | End::Sgd(_)) {
            self.outer(rows, columns);
        } else if self.is_few(&rows, &columns) {
            self.few(rows, columns);
        } else {
            let copies = self.copies(&rows, &columns);
            self.make(rows, columns, copies);
        }
    }

    /// A block, from such copies.
    fn make(&self, rows: Range<usize>, columns: Range<usize>, copies: Copies) {
        match copies {
            Copies::None => self.direct(rows, columns),
            // A few pages of stack are touched, whatever is used of them.
            Copies::B if self.p.k <= 64 => self.copied::<0, { 64 * COLUMNS }>(rows, columns),
            Copies::B => self.copied::<0, { TERMS * COLUMNS }>(rows, columns),
            Copies::Both => self.copied::<{ 64 * TERMS }, { TERMS * COLUMNS }>(rows, columns),
        }
    }

    /// What is copied of a block.
    fn copies(&self, rows: &Range<usize>, columns: &Range<usize>) -> Copies {
        let Product { k, rsa, csa, ldb, transposed_b, .. } = *self.p;
        // Between two pieces of a sum its chain waits in the output, where a step of a parameter has the parameter.
        let waits = k <= TERMS || !matches!(self.end, End::Sgd(_));
        let large = rows.len().saturating_mul(k) >= LARGE_TRANSPOSED;
        let a = rsa == 1 && csa != 1 && k >= 64 && (large || csa >= FAR && columns.len() >= 64);
        let b = ldb >= FAR && k >= 64 && rows.len() >= 96;
        match () {
            _ if k == 0 || !waits => Copies::None,
            _ if a => Copies::Both,
            _ if transposed_b || b => Copies::B,
            _ => Copies::None,
        }
    }

    /// A block of a product with one term.
    fn outer(&self, rows: Range<usize>, columns: Range<usize>) {
        let block = Outer {
            m: rows.len(),
            n: columns.len(),
            a: self.a.as_ptr().wrapping_add(rows.start * self.p.rsa),
            a_step: self.p.rsa,
            b: self.b.as_ptr().wrapping_add(columns.start),
            c: self.out.ptr().wrapping_add(rows.start * self.p.ldc + columns.start),
            c_step: self.p.ldc,
            sgd: if let End::Sgd(sgd) = self.end { Some(sgd) } else { None },
        };
        // SAFETY: `matmul` has checked that all rows and columns of the shape lie within the slices, and the block within the
        // shape; nobody else writes to this block.
        unsafe { outer(self.isa, &block) };
    }

    /// Whether one side of a block has so few rows that turning the other takes longer than the product.
    fn is_few(&self, rows: &Range<usize>, columns: &Range<usize>) -> bool {
        let shape = self.p.transposed_b && self.p.csa == 1 && rows.len().min(columns.len()) <= few::MOST;
        shape && !matches!(self.start, Start::Stored) && few::has_few(self.isa)
    }

    /// Such a block.
    fn few(&self, rows: Range<usize>, columns: Range<usize>) {
        let Product { k, rsa, ldb, ldc, .. } = *self.p;
        let (i, j, m, n) = (rows.start, columns.start, rows.len(), columns.len());
        let (a, b) = (self.a.as_ptr().wrapping_add(i * rsa), self.b.as_ptr().wrapping_add(j * ldb));
        let bias = if let Start::Row(row) = self.start { Some(row.as_ptr().wrapping_add(j)) } else { None };
        let (c, relu) = (self.out.ptr().wrapping_add(i * ldc + j), matches!(self.end, End::Map(Map::ReLU)));
        let block = if m <= n {
            let from = bias.map_or(few::From::Zero, few::From::Many);
            Few { m, n, k, a, a_row: rsa, b, b_row: ldb, c, c_few: ldc, c_many: 1, from, relu }
        } else {
            let from = bias.map_or(few::From::Zero, few::From::Few);
            let (a, b, m, n) = (b, a, n, m);
            Few { m, n, k, a, a_row: ldb, b, b_row: rsa, c, c_few: 1, c_many: ldc, from, relu }
        };
        // SAFETY: `matmul` has checked that all rows and columns of the shape lie within the slices, and the block within the
        // shape; nobody else writes to this block.
        unsafe { few::few(&block) };
        if !relu {
            let chain = Chain::ONE;
            let mut tile = self.tile(&chain);
            (tile.rows.c, tile.m, tile.n) = (c, m, n);
            // SAFETY: as above.
            unsafe { map_stored(self.isa, &tile) };
        }
    }

    /// A tile of the block, to be put somewhere.
    fn tile<'c>(&self, chain: &'c Chain) -> Tile<'c, Regular<true>> {
        let rows = Regular { a: std::ptr::null(), a_step: self.p.rsa, c: std::ptr::null_mut(), c_step: self.p.ldc };
        Tile { chain, rows, b: std::ptr::null(), m: 0, n: 0, from: Begin::Zero, to: self.end, ahead: Ahead::NOTHING }
    }

    fn begin(&self, j: usize) -> Begin {
        match self.start {
            Start::Zero => Begin::Zero,
            Start::Row(row) => Begin::Row(row.as_ptr().wrapping_add(j)),
            Start::Stored => Begin::Stored,
        }
    }

    /// A block from the operands where they lie. What no cache holds goes by in pieces that stay in the second cache from one tile's
    /// columns to the next's: rows of b, between which sums wait, or rows of the output.
    fn direct(&self, rows: Range<usize>, columns: Range<usize>) {
        let Product { k, ldb, ldc, .. } = *self.p;
        let waits = rows.len() > 1 && !matches!(self.end, End::Sgd(_));
        let large_b = waits && k.saturating_mul(ldb) >= LARGE;
        let large_c = rows.len().saturating_mul(ldc) >= LARGE;
        if k == 0 || !large_b && !large_c {
            return self.piece(rows, columns, 0..k, false);
        }
        let (most, _) = tile_size(self.isa);
        let at_once = if large_c { (LARGE / 4 / ldc / most * most).max(4 * most) } else { rows.len() };
        for (i, m) in even(rows, at_once) {
            for (l, terms) in even(0..k, if large_b { NEAR } else { k }) {
                self.piece(i..i + m, columns.clone(), l..l + terms, large_c);
            }
        }
    }

    /// Such a piece: so many terms of the sums of a block, whose lines are asked for before if the output is `large`.
    #[inline(always)]
    fn piece(&self, rows: Range<usize>, columns: Range<usize>, terms: Range<usize>, large: bool) {
        let Product { k, rsa, csa, ldb, ldc, .. } = *self.p;
        let (most, mut width) = tile_size(self.isa);
        if rows.len() == 1 {
            width = row_columns(self.isa);
        }
        let chain = Chain { k: terms.len(), a_k: csa as isize, b_k: ldb as isize, ..Chain::ONE };
        let mut tile = self.tile(&chain);
        if terms.end < k {
            tile.to = End::Map(Map::Identity);
        }
        let reads =
            large && (terms.start > 0 || matches!(self.start, Start::Stored) || matches!(self.end, End::Sgd(_)));
        for j in columns.clone().step_by(width) {
            // Wrapping, here and below: with k = 0 there may be nothing there, and rows past `m` are not used.
            tile.b = self.b.as_ptr().wrapping_add(terms.start * ldb + j);
            tile.n = width.min(columns.end - j);
            tile.from = if terms.start == 0 { self.begin(j) } else { Begin::Stored };
            let more = j + width < columns.end;
            for (at, (i, m)) in even(rows.clone(), most).enumerate() {
                if reads && more {
                    self.prefetch_output(i..i + m, j + width);
                }
                tile.ahead = self.ahead(terms.clone(), &rows, at, more.then_some(j + width));
                tile.m = m;
                tile.rows.a = self.a.as_ptr().wrapping_add(i * rsa + terms.start * csa);
                tile.rows.c = self.out.ptr().wrapping_add(i * ldc + j);
                // SAFETY: `matmul` has checked that all rows and columns of the shape lie within the slices, and the
                // block within the shape; nobody else writes to this block.
                unsafe { tile.run(self.isa) };
            }
        }
    }

    /// Asks for the lines of a tile of the output.
    #[inline(always)]
    fn prefetch_output(&self, rows: Range<usize>, column: usize) {
        for row in rows {
            let c = self.out.ptr().wrapping_add(row * self.p.ldc + column);
            prefetch(c);
            prefetch(c.wrapping_add(SIDE));
        }
    }

    /// A block from copies of its operands that lie as the tile reads them, if there is room for `A` numbers of a and `B` of b: a
    /// (else read where it lies) as pieces of as many rows as a tile has, b as pieces of as many columns, which all tiles above each
    /// other make use of. Between two pieces of `k` the chains wait in the output, unrounded.
    #[inline(never)] // its copies are on the stack, which small products should not pay for
    fn copied<const A: usize, const B: usize>(&self, rows: Range<usize>, columns: Range<usize>) {
        let Product { k, rsa, csa, ldc, .. } = *self.p;
        let (most, width) = tile_size(self.isa);
        // A few columns lie close, so that more of their terms stay in the first cache.
        let ld = if columns.len() <= SIDE { columns.len().next_power_of_two().max(SIDE / 2) } else { width };
        let (mut a_copy, mut b_copy) = (Aligned([MaybeUninit::uninit(); A]), Aligned([MaybeUninit::uninit(); B]));
        let (a_copy, b_copy) = (&mut a_copy.0, &mut b_copy.0);
        // As many terms of b as stay in the first cache, where sums can wait.
        let near = if k <= TERMS && matches!(self.end, End::Sgd(_)) { k } else { NEAR };
        for (l, terms) in even(0..k, near.min(B / ld)) {
            let (a_k, at_once) = if A > 0 { (most, A / terms / most * most) } else { (csa, rows.len()) };
            let chain = Chain { k: terms, a_k: a_k as isize, b_k: ld as isize, ..Chain::ONE };
            let mut tile = self.tile(&chain);
            if l + terms < k {
                tile.to = End::Map(Map::Identity);
            }
            for (i, m) in even(rows.clone(), at_once) {
                let block = i..i + m;
                if A > 0 {
                    tile.rows.a_step = 1;
                    for (copy, (i, m)) in a_copy.chunks_exact_mut(most * terms).zip(even(block.clone(), most)) {
                        let a = self.a.as_ptr().wrapping_add(l * csa + i);
                        debug_assert!(rsa == 1 && terms * most == copy.len());
                        // SAFETY: so many columns of the terms, which `matmul` has checked to be there; room for `most` each.
                        unsafe { copy_rows(self.isa, terms, m, (a, csa), (copy.as_mut_ptr().cast(), most)) };
                    }
                }
                for j in columns.clone().step_by(width) {
                    tile.n = width.min(columns.end - j);
                    self.copy_b(l, terms, j, tile.n, b_copy, ld);
                    tile.b = b_copy.as_ptr().cast();
                    tile.from = if l == 0 { self.begin(j) } else { Begin::Stored };
                    let more = j + width < columns.end;
                    let reads = l > 0 || matches!(self.end, End::Sgd(_));
                    for (at, (i, m)) in even(block.clone(), most).enumerate() {
                        if reads {
                            self.prefetch_output(i + m..(i + m + most).min(block.end), j);
                        }
                        tile.ahead = self.ahead(l..l + terms, &block, at, more.then_some(j + width));
                        tile.m = m;
                        tile.rows.a = if A > 0 {
                            a_copy.as_ptr().cast::<f32>().wrapping_add(at * most * terms)
                        } else {
                            self.a.as_ptr().wrapping_add(i * rsa + l * csa)
                        };
                        tile.rows.c = self.out.ptr().wrapping_add(i * ldc + j);
                        // SAFETY: the first `m` of each `most` numbers of the copy of a and the first `n` of each `ld` of that of b
                        // have been written above; the rest as in `direct`.
                        unsafe { tile.run(self.isa) };
                    }
                }
            }
        }
    }

    /// What tile `at` of those above each other asks for of the `next` columns, with so many terms of the sums.
    #[inline(always)]
    fn ahead(&self, terms: Range<usize>, rows: &Range<usize>, at: usize, next: Option<usize>) -> Ahead {
        let Product { ldb, transposed_b, .. } = *self.p;
        let (most, _) = tile_size(self.isa);
        match next {
            // Few rows are soon here anyway; those of a b that is turned, the machine foresees.
            Some(j) if terms.len() >= 64 && rows.len() > 1 && !transposed_b => {
                let each = terms.len().div_ceil(rows.len().div_ceil(most));
                let first = self.b.as_ptr().wrapping_add((terms.start + at * each) * ldb + j);
                Ahead { first, step: ldb, every: (terms.len() / each).max(1) }
            }
            _ => Ahead::NOTHING,
        }
    }

    /// copy(t, r) = b(l + t, j + r) for so many terms and columns.
    fn copy_b(&self, l: usize, terms: usize, j: usize, columns: usize, copy: &mut [MaybeUninit<f32>], ld: usize) {
        let Product { ldb, transposed_b, .. } = *self.p;
        if !transposed_b {
            debug_assert!(columns <= ld && terms * ld <= copy.len());
            let b = self.b.as_ptr().wrapping_add(l * ldb + j);
            // SAFETY: so many columns of the terms, which `matmul` has checked to be there; room for `ld` each.
            return unsafe { copy_rows(self.isa, terms, columns, (b, ldb), (copy.as_mut_ptr().cast(), ld)) };
        }
        for r in (0..columns).step_by(SIDE) {
            for t in (0..terms).step_by(SIDE) {
                let (src, dst) = (&self.b[(j + r) * ldb + l + t..], &mut copy[t * ld + r..]);
                let (rows, columns) = (SIDE.min(columns - r), SIDE.min(terms - t));
                debug_assert!(reach(rows, columns, ldb) <= src.len() && reach(columns, rows, ld) <= dst.len());
                // SAFETY: rows of b and columns of `columns` and `0..k`, which `matmul` has checked to be there; there
                // is room for `terms` rows of `ld`.
                unsafe { square::transpose(self.isa, rows, columns, (src.as_ptr(), ldb), dst.as_mut_ptr().cast(), ld) };
            }
        }
    }
}

/// Numbers from the start of a cache line on: vectors that lie in two lines take twice as long to load.
#[repr(align(64))]
pub(crate) struct Aligned<const N: usize>(pub [MaybeUninit<f32>; N]);

/// What is copied of a product's operands.
enum Copies {
    None,
    B,
    Both,
}

/// As many terms are copied at a time: longer sums are made in pieces, and a step of a parameter is not made from copies then.
pub const TERMS: usize = 1024;

/// So many numbers are more than a second cache holds.
const LARGE: usize = 1 << 18;

/// So many terms of as many columns as a tile has stay in the first cache.
const NEAR: usize = 256;

/// Rows so many numbers apart lie in pages of their own, mostly, whose addresses are found anew for each: copied, they are quicker to
/// read, if they are read often enough.
const FAR: usize = 512;

by_lanes! {
    /// Copies `rows` rows of `n` numbers, `from.1` apart, to where they are `to.1` apart.
    ///
    /// # Safety
    /// They can be read, and written, and do not overlap.
    pub(crate) fn copy_rows(rows: usize, n: usize, from: (*const f32, usize), to: (*mut f32, usize)) = copy_all_rows
}

/// # Safety
/// As [`copy_rows`], where the instruction set is there.
#[inline(always)]
unsafe fn copy_all_rows<V: Lanes>(rows: usize, n: usize, from: (*const f32, usize), to: (*mut f32, usize)) {
    for row in 0..rows {
        let (from, to) = (from.0.wrapping_add(row * from.1), to.0.wrapping_add(row * to.1));
        for j in (0..n).step_by(V::N) {
            let (from, to, left) = (from.wrapping_add(j), to.wrapping_add(j), n - j);
            // SAFETY: numbers of a row below `n`.
            unsafe {
                if left >= V::N {
                    V::load(from).store(to);
                } else {
                    V::load_first(from, left).store_first(to, left);
                }
            }
        }
    }
}

/// How many numbers `rows` rows of `n`, `ld` apart, reach over.
///
/// # Panics
/// When they are more than an address space holds.
pub(crate) fn reach(rows: usize, n: usize, ld: usize) -> usize {
    match rows {
        0 => 0,
        _ => (rows - 1).checked_mul(ld).and_then(|x| x.checked_add(n)).expect("shape larger than the address space"),
    }
}

/// Cuts `range` into pieces of nearly equal length, at most `most`; gives their starts and lengths.
pub(crate) fn even(range: Range<usize>, most: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    let pieces = range.len().div_ceil(most);
    let (each, longer) = (range.len() / pieces.max(1), range.len() % pieces.max(1));
    (0..pieces).map(move |i| (range.start + i * each + i.min(longer), each + usize::from(i < longer)))
}

// --------------------------------------------------------------------------------------------------------- column sums

/// What becomes of column sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Total {
    /// They are written.
    New,
    /// They go on from what the output holds.
    Added,
    /// They are the gradient by which the parameters in the output move.
    Sgd(Sgd),
}

/// out(j) = Σ x(i, j) over the `rows` rows, or what `total` says.
///
/// Order: one chain of additions per column, rows ascending, from 0 or from what is stored ([`Total::Added`]).
///
/// # Panics
/// When a slice is shorter than the shape says, or `ld` less than `n`.
pub fn sum_rows(cpu: &Cpu, rows: usize, n: usize, ld: usize, x: &[f32], out: &mut [f32], total: Total) {
    assert!(ld >= n && reach(rows, n, ld) <= x.len(), "sum_rows: x has {} numbers, too few for {rows}×{n}", x.len());
    assert!(out.len() >= n, "sum_rows: the output has {} numbers, not {n}", out.len());
    sum_columns(cpu, Sums { rows, group: None, ld, x: x.as_ptr(), total }, &mut out[..n]);
}

/// [`sum_rows`] with a partial sum for each `group` rows (an image), so that many rows lose no accuracy.
///
/// Order: the partial of a group is one chain of additions from 0, rows ascending; the partials are added in order of the
/// groups to 0 or to what is stored ([`Total::Added`]). The last group may be shorter.
///
/// # Panics
/// When a slice is shorter than the shape says, `ld` less than `n`, or `group` 0.
#[allow(clippy::too_many_arguments)]
pub fn sum_rows_grouped(
    cpu: &Cpu,
    rows: usize,
    group: usize,
    n: usize,
    ld: usize,
    x: &[f32],
    out: &mut [f32],
    total: Total,
) {
    assert!(group > 0, "sum_rows_grouped: groups of 0 rows");
    assert!(
        ld >= n && reach(rows, n, ld) <= x.len(),
        "sum_rows_grouped: x has {} numbers, too few for {rows}×{n}",
        x.len()
    );
    assert!(out.len() >= n, "sum_rows_grouped: the output has {} numbers, not {n}", out.len());
    sum_columns(cpu, Sums { rows, group: Some(group), ld, x: x.as_ptr(), total }, &mut out[..n]);
}

/// Rows to be summed.
#[derive(Clone, Copy)]
struct Sums {
    rows: usize,
    /// Rows of a partial sum; None: there are none, the one chain starts from the output.
    group: Option<usize>,
    ld: usize,
    x: *const f32,
    total: Total,
}

// SAFETY: the pointer is to a slice that the caller of the sums holds shared for as long as they run.
unsafe impl Sync for Sums {}

impl Sums {
    fn after(&self, j: usize) -> Sums {
        Sums { x: self.x.wrapping_add(j), ..*self }
    }
}

/// The columns from `s.x` on, as many as `out` has. The callers have checked that all rows reach so far.
fn sum_columns(cpu: &Cpu, s: Sums, out: &mut [f32]) {
    let work = Work::Bytes(s.rows.saturating_mul(out.len()).saturating_mul(4));
    let out = Output::new(out);
    // Not fewer columns than a few cache lines of each row.
    cpu.pool.split(work, out.len(), 64, |columns| {
        // SAFETY: `split` gives disjoint ranges; each row has these columns, as the callers have checked.
        unsafe { sums(cpu.isa, &s.after(columns.start), out.slice(columns)) };
    });
}

by_lanes! {
    /// # Safety
    /// Each row has at least `out.len()` numbers.
    fn sums(s: &Sums, out: &mut [f32]) = sums_of_all
}

/// # Safety
/// As [`sums`], where the instruction set is there.
#[inline(always)]
unsafe fn sums_of_all<V: Lanes>(s: &Sums, out: &mut [f32]) {
    let (n, out) = (out.len(), out.as_mut_ptr());
    let mut j = 0;
    // SAFETY: columns below `n`.
    unsafe {
        while n - j >= 4 * V::N {
            sums_of::<V, 4, false>(s, out, j, V::N);
            j += 4 * V::N;
        }
        while n - j >= V::N {
            sums_of::<V, 1, false>(s, out, j, V::N);
            j += V::N;
        }
        if j < n {
            sums_of::<V, 1, true>(s, out, j, n - j);
        }
    }
}

/// `W` vectors of columns from `j` on; the one has the first `last` lanes when `PART`.
///
/// # Safety
/// As [`sums_of_all`]; `out` has these columns.
#[inline(always)]
unsafe fn sums_of<V: Lanes, const W: usize, const PART: bool>(s: &Sums, out: *mut f32, j: usize, last: usize) {
    // SAFETY: the caller's promises.
    unsafe {
        let load = |p: *const f32, w: usize| {
            let p = p.wrapping_add(j + w * V::N);
            if PART { V::load_first(p, last) } else { V::load(p) }
        };
        let mut total = [V::splat(0.0); W];
        if s.total == Total::Added {
            total = std::array::from_fn(|w| load(out, w));
        }
        match s.group {
            None => {
                for i in 0..s.rows {
                    for (w, total) in total.iter_mut().enumerate() {
                        *total = total.add(load(s.x.wrapping_add(i * s.ld), w));
                    }
                }
            }
            Some(group) => {
                // Four partials at a time: each addition of a chain waits for the last one.
                let mut first = 0;
                while (s.rows - first) / 4 >= group {
                    let mut partials = [[V::splat(0.0); W]; 4];
                    for i in first..first + group {
                        for (g, partial) in partials.iter_mut().enumerate() {
                            for (w, partial) in partial.iter_mut().enumerate() {
                                *partial = partial.add(load(s.x.wrapping_add((i + g * group) * s.ld), w));
                            }
                        }
                    }
                    for partial in partials {
                        total = std::array::from_fn(|w| total[w].add(partial[w]));
                    }
                    first += 4 * group;
                }
                while first < s.rows {
                    let end = s.rows.min(first + group);
                    let mut partial = [V::splat(0.0); W];
                    for i in first..end {
                        for (w, partial) in partial.iter_mut().enumerate() {
                            *partial = partial.add(load(s.x.wrapping_add(i * s.ld), w));
                        }
                    }
                    total = std::array::from_fn(|w| total[w].add(partial[w]));
                    first = end;
                }
            }
        }
        if let Total::Sgd(sgd) = s.total {
            // Not by `from_fn`, which is not compiled for the instruction set.
            for (w, total) in total.iter_mut().enumerate() {
                *total = sgd.step(load(out, w), *total);
            }
        }
        for (w, total) in total.into_iter().enumerate() {
            let p = out.wrapping_add(j + w * V::N);
            if PART { total.store_first(p, last) } else { total.store(p) }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Pool;
    use crate::math::testing::{cases, running, shape_is};
    use crate::optim::sgd;
    use crate::tile::ROWS;

    /// Numbers for the tests of this crate's products: in [-1, 1], some of them 0, the others with all their digits (sums of
    /// short ones are exact in any order, and would show nothing).
    pub(crate) struct Numbers(u64);

    impl Numbers {
        pub(crate) fn new(seed: u64) -> Self {
            Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
        }

        fn bits(&mut self) -> u32 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as u32
        }

        /// One of `range`.
        pub(crate) fn pick(&mut self, range: Range<usize>) -> usize {
            range.start + self.bits() as usize % range.len()
        }

        /// `rows` rows of `n` numbers, `ld` apart; between them, `padding`. No longer than the last row.
        pub(crate) fn rows(&mut self, rows: usize, n: usize, ld: usize, padding: f32) -> Vec<f32> {
            let mut all = vec![padding; reach(rows, n, ld)];
            for row in 0..rows {
                for x in &mut all[row * ld..][..n] {
                    let bits = self.bits(); // 31 of them
                    *x = if bits.is_multiple_of(32) { 0.0 } else { bits as f32 / (1 << 30) as f32 - 1.0 };
                }
            }
            all
        }
    }

    /// Every instruction set, with one to four threads.
    pub(crate) fn machines() -> Vec<Cpu> {
        let all = Isa::available();
        all.iter().flat_map(|&isa| (1..5).map(move |threads| Cpu { isa, pool: Pool::new(threads) })).collect()
    }

    /// Runs `f` on every machine; all must give the same bits (padding and all). Gives them.
    pub(crate) fn same_bits(machines: &[Cpu], what: &str, f: impl Fn(&Cpu) -> Vec<f32>) -> Vec<f32> {
        let run = |cpu| {
            running(cpu);
            f(cpu)
        };
        let first = run(&machines[0]);
        for cpu in &machines[1..] {
            let other = run(cpu);
            assert!(
                first.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits()),
                "{what}: {} with {} threads differs from {}",
                cpu.isa,
                cpu.pool.threads(),
                machines[0].isa
            );
        }
        first
    }

    /// An f64 sum and the sum of its terms' sizes.
    #[derive(Clone, Copy, Default)]
    pub(crate) struct Exact {
        sum: f64,
        size: f64,
        terms: usize,
    }

    impl Exact {
        pub(crate) fn add(&mut self, a: f32, b: f32) {
            let term = f64::from(a) * f64::from(b);
            self.sum += term;
            self.size += term.abs();
            self.terms += 1;
        }

        /// Whether `y` is map(sum), but for the rounding of a chain. The maps used here have slopes of at most 1.
        pub(crate) fn check(&self, y: f32, map: Map, what: &str) {
            let x = self.sum;
            let exact = match map {
                Map::Identity => x,
                Map::ReLU => x.max(0.0),
                Map::LeakyReLU(slope) => {
                    if x > 0.0 {
                        x
                    } else {
                        slope * x
                    }
                }
                Map::Tanh => x.tanh(),
                Map::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            };
            let eps = f64::from(f32::EPSILON);
            let bound = self.terms as f64 * eps * self.size + 4.0 * eps * exact.abs();
            assert!((f64::from(y) - exact).abs() <= bound, "{what}: {y} is not {exact} ± {bound:e}");
        }
    }

    const MAPS: [Map; 5] = [Map::Identity, Map::ReLU, Map::LeakyReLU(0.1), Map::Tanh, Map::Sigmoid];

    /// One product of a random shape against its definition, on all machines.
    fn check_product(machines: &[Cpu], numbers: &mut Numbers, m: usize, n: usize, k: usize) {
        let (transposed, transposed_b) = (numbers.pick(0..2) == 1, numbers.pick(0..2) == 1);
        let (rows, columns) = if transposed { (k, m) } else { (m, k) };
        let (rows_b, columns_b) = if transposed_b { (n, k) } else { (k, n) };
        let lda = columns + numbers.pick(0..3);
        let p = Product {
            m,
            n,
            k,
            rsa: if transposed { 1 } else { lda },
            csa: if transposed { lda } else { 1 },
            ldb: columns_b + numbers.pick(0..20),
            transposed_b,
            ldc: n + numbers.pick(0..20),
        };
        let map = MAPS[numbers.pick(0..5)];
        let a = numbers.rows(rows, columns, lda, f32::NAN);
        let b = numbers.rows(rows_b, columns_b, p.ldb, f32::NAN);
        let c = numbers.rows(m, n, p.ldc, 77.0);
        let bias = numbers.rows(1, n, n, 0.0);
        let start = [Start::Zero, Start::Row(&bias), Start::Stored][numbers.pick(0..3)];
        let what = format!("{p:?} {map:?} {start:?}");
        shape_is(&(p, map));
        let out = same_bits(machines, &what, |cpu| {
            let mut c = c.clone();
            matmul(cpu, &p, &a, &b, &mut c, start, map);
            c
        });
        for (at, &y) in out.iter().enumerate() {
            let (i, j) = (at / p.ldc, at % p.ldc);
            if j >= n {
                assert_eq!(y, 77.0, "{what}: padding was written");
                continue;
            }
            let mut sum = Exact::default();
            match start {
                Start::Zero => {}
                Start::Row(row) => sum.add(row[j], 1.0),
                Start::Stored => sum.add(c[at], 1.0),
            }
            let b_at = |k: usize| if transposed_b { j * p.ldb + k } else { k * p.ldb + j };
            (0..k).for_each(|k| sum.add(a[i * p.rsa + k * p.csa], b[b_at(k)]));
            sum.check(y, map, &what);
        }
        check_gradient(machines, numbers, (n, p.ldc), &what, |cpu, finish| {
            let mut c = c.clone();
            matmul(cpu, &p, &a, &b, &mut c, start, finish);
            c
        });
        if !transposed_b {
            check_step(machines, numbers, (n, p.ldc), &c, &what, |cpu, sgd, c| {
                let finish = sgd.map_or(Finish::Map(Map::Identity), Finish::Sgd);
                matmul(cpu, &p, &a, &b, c, Start::Zero, finish);
            });
        }
    }

    /// Steps of a random size for a gradient that is `f` of an output of zeros: with `Sgd`, `f` is to move the parameters in its
    /// output as [`sgd`] does by that gradient, and the numbers between rows of `n`, `ld` apart, are to stay.
    fn check_step(
        machines: &[Cpu],
        numbers: &mut Numbers,
        (n, ld): (usize, usize),
        p: &[f32],
        what: &str,
        f: impl Fn(&Cpu, Option<Sgd>, &mut [f32]),
    ) {
        let s = Sgd { lr: 0.3, weight_decay: [0.0, 0.1][numbers.pick(0..2)] };
        let mut gradient = vec![0.0; p.len()];
        f(&machines[0], None, &mut gradient);
        let mut want = p.to_vec();
        for (p, g) in want.chunks_mut(ld).zip(gradient.chunks(ld)) {
            let n = n.min(p.len());
            sgd(&machines[0], &s, &mut p[..n], &g[..n]);
        }
        let found = same_bits(machines, what, |cpu| {
            let mut p = p.to_vec();
            f(cpu, Some(s), &mut p);
            p
        });
        for (at, (found, want)) in found.iter().zip(&want).enumerate() {
            assert_eq!(found.to_bits(), want.to_bits(), "{what}: a step of number {at}");
        }
    }

    /// Asserts that `f`, whose output has rows of `n` numbers, `ld` apart, finishes with the gradient of a map: that of what it
    /// gives without.
    pub(crate) fn check_gradient(
        machines: &[Cpu],
        numbers: &mut Numbers,
        (n, ld): (usize, usize),
        what: &str,
        f: impl Fn(&Cpu, Finish) -> Vec<f32>,
    ) {
        let map = [Map::Identity, Map::ReLU, Map::LeakyReLU(0.1), Map::Tanh][numbers.pick(0..4)];
        let mut want = f(&machines[0], Map::Identity.into());
        let y = numbers.rows(want.len().div_ceil(ld), n, ld, f32::NAN);
        for (at, (want, y)) in want.iter_mut().zip(&y).enumerate().filter(|(at, _)| at % ld < n) {
            *want = map.gradient(*y, *want);
            assert!(want.is_finite(), "{what}: {at}");
        }
        let found = same_bits(machines, what, |cpu| f(cpu, Finish::Gradient(map, &y)));
        for (at, (found, want)) in found.iter().zip(&want).enumerate() {
            assert_eq!(found.to_bits(), want.to_bits(), "{what}: the gradient of {map:?} at {at}");
        }
    }

    #[test]
    fn products_are_right_and_the_same_everywhere() {
        let machines = machines();
        cases("matmul", 300, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let (m, n, mut k) = (numbers.pick(1..40), numbers.pick(1..70), numbers.pick(0..40));
            if seed % 8 == 0 {
                k = 1; // outer products
            }
            check_product(&machines, &mut numbers, m, n, k);
        });
        // Few rows on either side.
        let mut numbers = Numbers::new(9);
        for few in 1..=5 {
            for many in [1, 2, 7, 15, 16, 17, 31, 32, 50] {
                for k in [0, 1, 3, 4, 5, 25] {
                    check_product(&machines, &mut numbers, few, many, k);
                    check_product(&machines, &mut numbers, many, few, k);
                }
            }
        }
        // Every size of a tile.
        let mut numbers = Numbers::new(1);
        for m in 1..=2 * ROWS {
            for n in 1..=if m == 1 { 130 } else { 33 } {
                check_product(&machines, &mut numbers, m, n, 3);
            }
        }
    }

    #[test]
    fn large_products_are_shared_by_threads() {
        // Without the portable code, which takes seconds for these.
        let machines: Vec<Cpu> = machines().into_iter().filter(|cpu| cpu.isa == Isa::detect()).collect();
        let mut numbers = Numbers::new(2);
        let shapes = [
            (301, 70, 100),
            (784, 100, 1),
            (33, 515, 99),
            (130, 1030, 513),
            (70, 100, 2500),
            (30, 70, 4000),
            (2900, 100, 30),
        ];
        for (m, n, k) in shapes {
            for _ in 0..3 {
                check_product(&machines, &mut numbers, m, n, k);
            }
        }
    }

    #[test]
    fn the_order_is_one_chain() {
        let mut numbers = Numbers::new(3);
        let (m, n, k) = (13, 35, 700);
        let (a, b) = (numbers.rows(m, k, k, 0.0), numbers.rows(k, n, n, 0.0));
        let p = Product { m, n, k, rsa: k, csa: 1, ldb: n, transposed_b: false, ldc: n };
        for cpu in machines() {
            let mut c = vec![0.25; m * n];
            matmul(&cpu, &p, &a, &b, &mut c, Start::Stored, Map::Identity);
            for (at, &y) in c.iter().enumerate() {
                let chain = (0..k).fold(0.25_f32, |sum, l| a[at / n * k + l].mul_add(b[l * n + at % n], sum));
                assert_eq!(y.to_bits(), chain.to_bits());
            }
        }
    }

    #[test]
    fn copies_change_no_bit() {
        let machines: Vec<Cpu> = machines().into_iter().filter(|cpu| cpu.pool.threads() == 1).collect();
        cases("copies", 12, |seed| {
            let mut numbers = Numbers::new(seed.into());
            // Pieces of the terms, of the rows that are copied, of the columns.
            let (m, n, k) = (numbers.pick(1..150), numbers.pick(1..100), numbers.pick(1..2 * NEAR + 80));
            let (m, k) = [(m, k), (m, k), (m + 64, TERMS - 3), (m, TERMS + 1)][numbers.pick(0..4)];
            let (transposed, transposed_b) = (numbers.pick(0..2) == 1, numbers.pick(0..2) == 1);
            let (lda, ldb, ldc) = (if transposed { m } else { k } + 3, if transposed_b { k } else { n } + 2, n + 1);
            let (rsa, csa) = if transposed { (1, lda) } else { (lda, 1) };
            let p = Product { m, n, k, rsa, csa, ldb, transposed_b, ldc };
            let a = if transposed { numbers.rows(k, m, lda, f32::NAN) } else { numbers.rows(m, k, lda, f32::NAN) };
            let b = if transposed_b { numbers.rows(n, k, ldb, f32::NAN) } else { numbers.rows(k, n, ldb, f32::NAN) };
            let (bias, stored) = (numbers.rows(1, n, n, 0.0), numbers.rows(m, n, ldc, 77.0));
            shape_is(&p);
            for cpu in &machines {
                let step = End::Sgd(Sgd { lr: 0.1, weight_decay: 0.01 });
                for (start, end) in [
                    (Start::Zero, End::Map(Map::Tanh)),
                    (Start::Row(&bias), End::Map(Map::ReLU)),
                    (Start::Stored, End::Map(Map::Identity)),
                    (Start::Zero, step),
                ] {
                    let is_step = matches!(end, End::Sgd(_));
                    if is_step && (transposed_b || k > TERMS) {
                        continue;
                    }
                    let run = |copies: Copies| {
                        let mut c = stored.clone();
                        let out = &Output::new(&mut c);
                        let product = Checked { isa: cpu.isa, p: &p, a: &a, b: &b, out, start, end };
                        product.make(0..m, 0..n, copies);
                        c.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
                    };
                    let copied = run(Copies::B);
                    if !transposed_b {
                        assert!(copied == run(Copies::None), "b: {p:?} {start:?} {}", cpu.isa);
                    }
                    if transposed {
                        assert!(copied == run(Copies::Both), "a: {p:?} {start:?} {}", cpu.isa);
                    }
                }
            }
        });
    }

    #[test]
    fn relu_keeps_nan_and_has_no_negative_zero() {
        let p = Product { m: 1, n: 3, k: 1, rsa: 1, csa: 1, ldb: 3, transposed_b: false, ldc: 3 };
        for cpu in machines() {
            let mut c = [f32::NAN, -0.0, -1.0];
            matmul(&cpu, &p, &[0.0], &[-1.0, -1.0, -1.0], &mut c, Start::Stored, Map::ReLU);
            assert!(c[0].is_nan());
            assert_eq!((c[1].to_bits(), c[2].to_bits()), (0, 0));
        }
    }

    /// Both sums of the columns of one shape against their order, on all machines.
    fn check_sums(machines: &[Cpu], numbers: &mut Numbers, rows: usize, group: usize, n: usize) {
        let ld = n + numbers.pick(0..9);
        shape_is(&(rows, group, n, ld));
        let x = numbers.rows(rows, n, ld, f32::NAN);
        let stored = numbers.rows(1, n, n, 0.0);
        for total in [Total::New, Total::Added] {
            let start = |j: usize| if total == Total::Added { stored[j] } else { 0.0 };
            let sums = same_bits(machines, "sum_rows", |cpu| {
                let mut out = stored.clone();
                sum_rows(cpu, rows, n, ld, &x, &mut out, total);
                out
            });
            let chain = |j: usize, from: f32, rows: Range<usize>| rows.fold(from, |sum, i| sum + x[i * ld + j]);
            (0..n).for_each(|j| assert_eq!(sums[j].to_bits(), chain(j, start(j), 0..rows).to_bits()));
            let sums = same_bits(machines, "sum_rows_grouped", |cpu| {
                let mut out = stored.clone();
                sum_rows_grouped(cpu, rows, group, n, ld, &x, &mut out, total);
                out
            });
            for (j, sum) in sums.iter().enumerate() {
                let partials = (0..rows).step_by(group).map(|g| chain(j, 0.0, g..rows.min(g + group)));
                assert_eq!(sum.to_bits(), partials.fold(start(j), |sum, p| sum + p).to_bits());
            }
        }
        check_step(machines, numbers, (n, n), &stored, "sum_rows", |cpu, sgd, out| {
            sum_rows(cpu, rows, n, ld, &x, out, sgd.map_or(Total::New, Total::Sgd));
        });
        check_step(machines, numbers, (n, n), &stored, "sum_rows_grouped", |cpu, sgd, out| {
            sum_rows_grouped(cpu, rows, group, n, ld, &x, out, sgd.map_or(Total::New, Total::Sgd));
        });
    }

    #[test]
    fn column_sums_are_chains() {
        let (machines, mut numbers) = (machines(), Numbers::new(4));
        for (rows, group, n) in
            [(1, 1, 1), (20, 7, 25), (50, 50, 2), (9, 4, 64), (33, 11, 200), (0, 3, 5), (3000, 49, 131), (2000, 9, 70)]
        {
            check_sums(&machines, &mut numbers, rows, group, n);
        }
        cases("sum_rows", 100, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let (rows, group, n) = (numbers.pick(0..60), numbers.pick(1..15), numbers.pick(1..100));
            check_sums(&machines, &mut numbers, rows, group, n);
        });
    }

    #[test]
    #[should_panic(expected = "too few")]
    fn a_short_matrix_is_refused() {
        let p = Product { m: 2, n: 2, k: 2, rsa: 2, csa: 1, ldb: 2, transposed_b: false, ldc: 2 };
        matmul(&Cpu::new(1), &p, &[0.0; 4], &[0.0; 3], &mut [0.0; 4], Start::Zero, Map::Identity);
    }

    #[test]
    #[should_panic(expected = "address space")]
    fn a_shape_that_overflows_is_refused() {
        let p = Product { m: 2, n: 2, k: 1, rsa: 1, csa: 1, ldb: 2, transposed_b: false, ldc: usize::MAX };
        matmul(&Cpu::new(1), &p, &[0.0; 4], &[0.0; 4], &mut [0.0; 4], Start::Zero, Map::Identity);
    }
}
