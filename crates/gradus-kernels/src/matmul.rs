//! Matrix products.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::OnceLock;

use crate::few::{self, Few};
use crate::lanes::{Lanes, by_lanes};
use crate::math::LANES;
use crate::narrow::{is_narrow, narrow};
use crate::outer::{Outer, outer};
use crate::pointwise::{Finish, Map};
use crate::pool::{Output, Pool, Read, Work, Write};
use crate::square::{self, SIDE};
use crate::sums::{Total, sum_rows};
use crate::tile::{
    Ahead, Begin, BelowSums, COLUMNS, Chain, End, Regular, Tile, TileOf, map_stored, prefetch, row_columns, tall_rows,
    tile_of, tile_size,
};
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
    Prepared::new(cpu.isa, p).run(&cpu.pool, a, b, c, start, finish.into());
}

/// A product whose sums are a gradient, and what becomes of it; and if `sums` is given, the same of the sums of b's columns, `n` numbers:
/// with x and dy, the gradients of a weight and of a bias.
///
/// Order: as [`matmul`] and [`sum_rows`].
///
/// # Panics
/// As [`matmul`]; when b is transposed, or there are too few `sums`.
pub fn matmul_grad(
    cpu: &Cpu,
    p: &Product,
    a: &[f32],
    b: &[f32],
    c: &mut [f32],
    sums: Option<&mut [f32]>,
    total: Total,
) {
    Prepared::new(cpu.isa, p).grad(cpu, a, b, c, sums, total);
}

/// A product that is run again and again, whose shape depends on the size of a batch: what can be known from the shape is found once,
/// for the first batch. Of small products that takes as long as half of the sums. A batch of another size is run by [`matmul`].
pub struct Matmul<P> {
    product: P,
    /// With the batch.
    first: OnceLock<(usize, Prepared)>,
}

impl<P: Fn(usize) -> Product> Matmul<P> {
    /// One whose shape for so many samples is given.
    pub fn new(product: P) -> Matmul<P> {
        Matmul { product, first: OnceLock::new() }
    }

    /// See [`matmul`].
    ///
    /// # Panics
    /// As [`matmul`].
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub fn run<'f>(
        &self,
        cpu: &Cpu,
        batch: usize,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
        start: Start,
        finish: impl Into<Finish<'f>>,
    ) {
        match self.of(cpu.isa, batch) {
            Some(prepared) => prepared.run(&cpu.pool, a, b, c, start, finish.into()),
            None => matmul(cpu, &(self.product)(batch), a, b, c, start, finish),
        }
    }

    /// See [`matmul_grad`].
    ///
    /// # Panics
    /// As [`matmul_grad`].
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub fn grad(
        &self,
        cpu: &Cpu,
        batch: usize,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
        sums: Option<&mut [f32]>,
        total: Total,
    ) {
        match self.of(cpu.isa, batch) {
            Some(prepared) => prepared.grad(cpu, a, b, c, sums, total),
            None => matmul_grad(cpu, &(self.product)(batch), a, b, c, sums, total),
        }
    }

    /// What is known of it for so many samples.
    #[inline(always)]
    fn of(&self, isa: Isa, batch: usize) -> Option<&Prepared> {
        let (size, first) = self.first.get_or_init(|| (batch, Prepared::new(isa, &(self.product)(batch))));
        (*size == batch && first.isa == isa).then_some(first)
    }
}

/// What can be known of a product from its shape.
#[derive(Clone, Copy, Debug)]
struct Prepared {
    isa: Isa,
    p: Product,
    /// How many numbers a, b and c must have.
    needs: [usize; 3],
    work: Work,
    /// Whether it is too little work for a second thread.
    alone: bool,
    /// How the whole of it is made.
    way: Way,
    /// If there is a short way for one thread.
    small: Option<Small>,
    /// Whether [`narrow`] makes it, unless its sums go on from the output or move a parameter.
    narrow: bool,
}

/// A product whose tiles are made one after the other, and nothing else is to be done: the block that [`Checked`] would make of it, with
/// few instructions beside the sums.
#[derive(Clone, Copy, Debug)]
struct Small {
    chain: Chain,
    /// Whether b is turned first.
    turned: bool,
    /// The rows and one before them, that of the sums of b's columns; and what runs the first tiles, those of a grid's width and those at
    /// the end.
    with_sums: Grid,
    first: [TileOf<BelowSums>; 2],
}

impl Prepared {
    /// # Panics
    /// When `ldb` or `ldc` is less than the row it holds, or the address space too small.
    fn new(isa: Isa, p: &Product) -> Prepared {
        let Product { m, n, k, rsa, csa, ldb, transposed_b, ldc } = *p;
        let mut needs = [0; 3];
        if m > 0 && n > 0 {
            let (rows, columns) = if transposed_b { (n, k) } else { (k, n) };
            assert!((k == 0 || ldb >= columns) && ldc >= n, "matmul: rows of b or c in too few numbers for {p:?}");
            if k > 0 {
                let last = (m - 1).checked_mul(rsa).zip((k - 1).checked_mul(csa)).and_then(|(i, k)| i.checked_add(k));
                let needed = last.and_then(|last| last.checked_add(1)).expect("shape larger than the address space");
                needs = [needed, reach(rows, columns, ldb), 0];
            }
            needs[2] = reach(m, n, ldc);
        }
        let work = Work::Flops(m.saturating_mul(n).saturating_mul(k).saturating_mul(2));
        let way = Way::new(isa, p, 0..m, 0..n);
        // What `block` and `direct` look at.
        let here = [k.saturating_mul(ldb), m.saturating_mul(ldc)].iter().all(|reach| *reach < LARGE);
        let (most, width) = tile_size(isa);
        let simple = match way.copies {
            Copies::None => !transposed_b && k > 0 && here && (k < ASKS || n <= width),
            Copies::B => transposed_b && !way.few && k > 1 && k <= SMALL_TERMS && n <= width,
            Copies::Both => false,
        };
        let turned = transposed_b;
        let b_k = if turned { width } else { ldb };
        let chain = Chain { k, a_k: csa as isize, b_k: b_k as isize, ..Chain::ONE };
        let with_sums = Grid::new(isa, 0..m + 1, most, n, width);
        let first = Grid::columns(n, width).map(|n| tile_of(isa, with_sums.rows.longest(), n));
        let small = simple.then_some(Small { chain, turned, with_sums, first });
        Prepared { isa, p: *p, needs, work, alone: work.parts(2) < 2, way, small, narrow: is_narrow(p) }
    }

    /// # Panics
    /// As [`matmul`], but for the shape.
    fn run(&self, pool: &Pool, a: &[f32], b: &[f32], c: &mut [f32], start: Start, finish: Finish) {
        let Product { m, n, transposed_b, .. } = self.p;
        if m == 0 || n == 0 {
            return;
        }
        self.check(a, b, c);
        let from = match start {
            Start::Zero => Begin::Zero,
            Start::Stored => Begin::Stored,
            Start::Row(row) => {
                assert!(row.len() >= n, "matmul: the bias has {} numbers, not {n}", row.len());
                Begin::Row(row.as_ptr())
            }
        };
        let c = &mut c[..self.needs[2]];
        let end = finish.of("matmul", c);
        // Between two pieces of a sum its chains would wait in the output.
        let fresh = matches!(start, Start::Zero) && !transposed_b;
        assert!(fresh || !matches!(end, End::Sgd(_)), "matmul: a step by {:?} from {start:?}", self.p);
        if self.narrow && !matches!(start, Start::Stored) && !matches!(end, End::Sgd(_)) {
            let bias = if let Start::Row(row) = start { Some(row) } else { None };
            return self.narrow(pool, a, b, c, bias, finish);
        }
        if let Some(small) = &self.small
            && (self.alone || pool.threads() == 1)
            && !is_outer(&self.p, from, end)
        {
            let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
            // SAFETY: all rows and columns of the shape lie within the slices, as was checked.
            return unsafe {
                match small.turned {
                    true => self.turned(small, a, b, c, from, &end),
                    false => self.tiles(small, a, b, c, from, &end),
                }
            };
        }
        let out = Output::new(c);
        let product = Checked { isa: self.isa, p: &self.p, a, b, out: &out, from, end };
        let block = |rows: Range<usize>, columns: Range<usize>| {
            if rows.len() == m && columns.len() == n {
                product.block(rows, columns, &self.way);
            } else {
                let way = Way::new(self.isa, &self.p, rows.clone(), columns.clone());
                product.block(rows, columns, &way);
            }
        };
        let (rows, columns) = tile_size(self.isa);
        // Each part reads all of the operand that is not split: split the longer side, and a transposed b, which is copied.
        if m >= n && !transposed_b || n <= columns {
            pool.split(self.work, m, rows, |range| block(range, 0..n));
        } else {
            pool.split(self.work, n, columns, |range| block(0..m, range));
        }
    }

    /// See [`matmul_grad`].
    ///
    /// # Panics
    /// As there, but for the shape.
    #[inline(always)]
    fn grad(&self, cpu: &Cpu, a: &[f32], b: &[f32], c: &mut [f32], sums: Option<&mut [f32]>, total: Total) {
        let Product { m, n, k, ldb, transposed_b, .. } = self.p;
        let (start, from, end) = match total {
            Total::New => (Start::Zero, Begin::Zero, End::Map(Map::Identity)),
            Total::Added => (Start::Stored, Begin::Stored, End::Map(Map::Identity)),
            Total::Sgd(sgd) => (Start::Zero, Begin::Zero, End::Sgd(sgd)),
        };
        let finish = if let Total::Sgd(sgd) = total { Finish::Sgd(sgd) } else { Finish::Map(Map::Identity) };
        let Some(sums) = sums else { return self.run(&cpu.pool, a, b, c, start, finish) };
        assert!(!transposed_b && sums.len() >= n, "matmul: {} sums of the columns of b for {:?}", sums.len(), self.p);
        if let Some(small) = &self.small
            && (self.alone || cpu.pool.threads() == 1)
            && (m <= FEW_ROWS && n <= small.with_sums.width || !is_outer(&self.p, from, end))
            && m > 0
        {
            self.check(a, b, c);
            let (a, b, c, sums) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr(), sums.as_mut_ptr());
            // SAFETY: as in `run`; there are `n` sums, as was checked.
            return unsafe { self.tiles_and_sums(small, a, b, c, sums, from, &end) };
        }
        self.run(&cpu.pool, a, b, c, start, finish);
        sum_rows(cpu, k, n, ldb, b, sums, total);
    }

    /// # Panics
    /// When a slice is too short.
    #[inline(always)]
    fn check(&self, a: &[f32], b: &[f32], c: &[f32]) {
        let fits = a.len() >= self.needs[0] && b.len() >= self.needs[1] && c.len() >= self.needs[2];
        assert!(fits, "matmul: {}, {} and {} numbers, too few for {:?}", a.len(), b.len(), c.len(), self.p);
    }

    /// A product of rows of a few numbers.
    fn narrow(&self, pool: &Pool, a: &[f32], b: &[f32], c: &mut [f32], bias: Option<&[f32]>, finish: Finish) {
        let Product { m, n, k, .. } = self.p;
        pool.split_rows(1, m, LANES, (Read(&a[..m * k], k), Write::new(c, n)), |part, (a, c)| {
            narrow(self.isa, &self.p, a, b, bias, c);
            let finish = match finish {
                Finish::Map(Map::Identity) => return,
                Finish::Gradient(map, y) => Finish::Gradient(map, &y[part.start * n..]),
                finish => finish,
            };
            let (to, nothing, chain) = (&finish.of("matmul", c), std::ptr::null(), &Chain::ONE);
            let rows = Regular { a: nothing, a_step: 0, c: c.as_mut_ptr(), c_step: n };
            let tile = Tile { chain, rows, b: nothing, m: part.len(), n, from: Begin::Zero, to, ahead: Ahead::NOTHING };
            // SAFETY: these rows are `c`, and what lies beside them is as long, as `Finish::of` has checked.
            unsafe { map_stored(self.isa, &tile) };
        });
    }

    /// All tiles of a small product, and the sums of b's columns.
    ///
    /// # Safety
    /// As [`Prepared::tiles`]; `n` sums can be read and written.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn tiles_and_sums(
        &self,
        small: &Small,
        a: *const f32,
        b: *const f32,
        c: *mut f32,
        sums: *mut f32,
        from: Begin,
        to: &End,
    ) {
        let Product { n, rsa, ldc, .. } = self.p;
        let grid = &small.with_sums;
        for j in (0..n).step_by(grid.width) {
            let (b, n) = (b.wrapping_add(j), grid.width.min(n - j));
            for (i, m) in grid.rows {
                let above = i.saturating_sub(1);
                let c = c.wrapping_add(above * ldc + j);
                let rows = Regular { a: a.wrapping_add(above * rsa), a_step: rsa, c, c_step: ldc };
                let (chain, ahead) = (&small.chain, Ahead::NOTHING);
                // SAFETY: the caller's promises.
                unsafe {
                    if i == 0 {
                        let rows = BelowSums { rows, sums: sums.wrapping_add(j) };
                        small.first[usize::from(n < grid.width)](&Tile { chain, rows, b, m, n, from, to, ahead });
                    } else {
                        grid.tile(m, n)(&Tile { chain, rows, b, m, n, from, to, ahead });
                    }
                }
            }
        }
    }

    /// All tiles of a small product.
    ///
    /// # Safety
    /// All rows and columns of the shape can be read, and written, from these numbers on, those of b as far apart as the chain says.
    #[inline(always)]
    unsafe fn tiles(&self, small: &Small, a: *const f32, b: *const f32, c: *mut f32, from: Begin, to: &End) {
        let Product { m, n, rsa, ldc, .. } = self.p;
        let rows = Regular { a, a_step: rsa, c, c_step: ldc };
        let mut tile = Tile { chain: &small.chain, rows, b, m: 0, n: 0, from, to, ahead: Ahead::NOTHING };
        let grid = &self.way.grid;
        // Functions of narrow rows fill the lanes where many of them are done at once.
        let later = to.is_long() && ldc == n && m > grid.rows.each;
        if later {
            tile.to = &End::Map(Map::Identity);
        }
        let mut j = 0;
        loop {
            tile.n = grid.width.min(n - j);
            for (i, rows) in grid.rows {
                tile.m = rows;
                tile.rows.a = a.wrapping_add(i * rsa);
                tile.rows.c = c.wrapping_add(i * ldc + j);
                // SAFETY: the caller's promises.
                unsafe { grid.tile(rows, tile.n)(&tile) };
            }
            j += grid.width;
            if j >= n {
                break;
            }
            tile.b = b.wrapping_add(j);
            tile.from = from.after(j);
        }
        if later {
            let tile = Tile { rows: Regular { c, ..tile.rows }, m, n, to, ..tile };
            // SAFETY: the caller's promises.
            unsafe { map_stored(self.isa, &tile) };
        }
    }

    /// The same, with b turned first.
    ///
    /// # Safety
    /// As [`Prepared::tiles`], but of b as the shape says.
    #[inline(never)] // its copy is on the stack, which others should not pay for
    unsafe fn turned(&self, small: &Small, a: *const f32, b: *const f32, c: *mut f32, from: Begin, to: &End) {
        let Product { n, k, ldb, .. } = self.p;
        let mut copy = Aligned([MaybeUninit::<f32>::uninit(); SMALL_TERMS * COLUMNS]);
        let (to_copy, ld) = (copy.0.as_mut_ptr().cast(), small.chain.b_k as usize);
        assert!(k <= SMALL_TERMS && ld <= COLUMNS && n <= ld);
        // SAFETY: the caller's promises; there is room for `k` rows of `ld`, of which `n` numbers are written and the tiles read.
        unsafe {
            square::turn(self.isa, n, k, (b, ldb), (to_copy, ld));
            self.tiles(small, a, copy.0.as_ptr().cast(), c, from, to);
        }
    }
}

/// Outer products of so many rows are no quicker with [`outer`] than with tiles, which make the sums of b's columns too.
const FEW_ROWS: usize = 32;

/// Whether it is one that [`outer`] makes.
#[inline(always)]
fn is_outer(p: &Product, from: Begin, end: End) -> bool {
    let simple = matches!(end, End::Map(Map::Identity) | End::Sgd(_));
    p.k == 1 && !p.transposed_b && matches!(from, Begin::Zero) && simple
}

/// From so many numbers on (8 MB) a transposed a is too large for the caches, and is always copied.
pub const LARGE_TRANSPOSED: usize = 2 << 20;

/// How a block of a product is made, as far as its shape says.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// Whether one side has so few rows that turning the other takes longer than the product.
    few: bool,
    copies: Copies,
    grid: Grid,
}

impl Way {
    fn new(isa: Isa, p: &Product, rows: Range<usize>, columns: Range<usize>) -> Way {
        let Product { k, rsa, csa, ldb, transposed_b, .. } = *p;
        let few = transposed_b && csa == 1 && rows.len().min(columns.len()) <= few::MOST && few::has_few(isa);
        let large = rows.len().saturating_mul(k) >= LARGE_TRANSPOSED;
        let a = rsa == 1 && csa != 1 && k >= 64 && (large || csa >= FAR && columns.len() >= 64);
        let b = ldb >= FAR && k >= 64 && rows.len() >= 96;
        let copies = match () {
            _ if k == 0 => Copies::None,
            _ if a => Copies::Both,
            _ if transposed_b || b => Copies::B,
            _ => Copies::None,
        };
        let (_, mut width) = tile_size(isa);
        if rows.len() == 1 && copies == Copies::None {
            width = row_columns(isa);
        }
        let most = tall_rows(isa, width.min(columns.len()));
        Way { few, copies, grid: Grid::new(isa, rows, most, columns.len(), width) }
    }
}

/// How a block is cut into tiles, and what runs them.
#[derive(Clone, Copy, Debug)]
struct Grid {
    rows: Even,
    /// Columns of a tile, but for those at the end.
    width: usize,
    /// Those of the width and those at the end; of each, those of one row more and the others.
    tiles: [[TileOf<Regular<true>>; 2]; 2],
}

impl Grid {
    fn new(isa: Isa, rows: Range<usize>, most: usize, columns: usize, width: usize) -> Grid {
        let rows = even(rows, most);
        let m = [rows.longest(), rows.each];
        let tiles = Grid::columns(columns, width).map(|n| m.map(|m| tile_of(isa, m.max(1), n)));
        Grid { rows, width, tiles }
    }

    /// How many columns tiles have, of so many: those of the width and those at the end.
    fn columns(columns: usize, width: usize) -> [usize; 2] {
        let (whole, rest) = (width.min(columns.max(1)), columns % width);
        [whole, if rest > 0 { rest } else { whole }]
    }

    /// What runs a tile of this size.
    #[inline(always)]
    fn tile(&self, m: usize, n: usize) -> TileOf<Regular<true>> {
        self.tiles[usize::from(n < self.width)][usize::from(m == self.rows.each)]
    }
}

/// A product whose slices are long enough.
struct Checked<'a> {
    isa: Isa,
    p: &'a Product,
    a: &'a [f32],
    b: &'a [f32],
    out: &'a Output<'a>,
    from: Begin,
    end: End,
}

// SAFETY: the pointers are to slices that the caller of the product holds for as long as it runs.
unsafe impl Sync for Checked<'_> {}

impl Checked<'_> {
    /// A block of the output, in its way. Concurrent calls are given disjoint blocks.
    fn block(&self, rows: Range<usize>, columns: Range<usize>, way: &Way) {
        let k = self.p.k;
        // Between two pieces of a sum its chain waits in the output, where a step of a parameter has the parameter.
        let waits = k <= TERMS || !matches!(self.end, End::Sgd(_));
        if is_outer(self.p, self.from, self.end) {
            return self.outer(rows, columns);
        }
        match way.copies {
            _ if way.few && !matches!(self.from, Begin::Stored) => self.few(rows, columns),
            Copies::Both if waits => self.copied::<{ 64 * TERMS }, { TERMS * COLUMNS }>(rows, columns, &way.grid),
            Copies::B if waits && k <= SMALL_TERMS => {
                self.copied::<0, { SMALL_TERMS * COLUMNS }>(rows, columns, &way.grid)
            }
            Copies::B if waits => self.copied::<0, { TERMS * COLUMNS }>(rows, columns, &way.grid),
            _ => self.direct(rows, columns, &way.grid),
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

    /// A block with few rows on one side.
    fn few(&self, rows: Range<usize>, columns: Range<usize>) {
        let Product { k, rsa, ldb, ldc, .. } = *self.p;
        let (i, j, m, n) = (rows.start, columns.start, rows.len(), columns.len());
        let (a, b) = (self.a.as_ptr().wrapping_add(i * rsa), self.b.as_ptr().wrapping_add(j * ldb));
        let bias = if let Begin::Row(row) = self.from { Some(row.wrapping_add(j)) } else { None };
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
    fn tile<'c>(&'c self, chain: &'c Chain) -> Tile<'c, Regular<true>> {
        let rows = Regular { a: std::ptr::null(), a_step: self.p.rsa, c: std::ptr::null_mut(), c_step: self.p.ldc };
        Tile { chain, rows, b: std::ptr::null(), m: 0, n: 0, from: Begin::Zero, to: &self.end, ahead: Ahead::NOTHING }
    }

    /// A block from the operands where they lie. What no cache holds goes by in pieces that stay in the second cache from one tile's
    /// columns to the next's: rows of b, between which sums wait, or rows of the output.
    fn direct(&self, rows: Range<usize>, columns: Range<usize>, grid: &Grid) {
        let Product { k, ldb, ldc, .. } = *self.p;
        let waits = rows.len() > 1 && !matches!(self.end, End::Sgd(_));
        let large_b = waits && k.saturating_mul(ldb) >= LARGE;
        let large_c = rows.len().saturating_mul(ldc) >= LARGE;
        if k == 0 || !large_b && !large_c {
            return self.piece(grid, rows, columns, 0..k, false);
        }
        let (most, _) = tile_size(self.isa);
        let at_once = if large_c { (LARGE / 4 / ldc / most * most).max(4 * most) } else { rows.len() };
        for (i, m) in even(rows, at_once) {
            let grid = Grid::new(self.isa, i..i + m, most, columns.len(), grid.width);
            for (l, terms) in even(0..k, if large_b { NEAR } else { k }) {
                self.piece(&grid, i..i + m, columns.clone(), l..l + terms, large_c);
            }
        }
    }

    /// Such a piece: so many terms of the sums of a block, whose lines are asked for before if the output is `large`.
    #[inline(always)]
    fn piece(&self, grid: &Grid, rows: Range<usize>, columns: Range<usize>, terms: Range<usize>, large: bool) {
        let Product { k, rsa, csa, ldb, ldc, .. } = *self.p;
        let chain = Chain { k: terms.len(), a_k: csa as isize, b_k: ldb as isize, ..Chain::ONE };
        let mut tile = self.tile(&chain);
        if terms.end < k {
            tile.to = &End::Map(Map::Identity);
        }
        let reads = large && (terms.start > 0 || matches!(self.from, Begin::Stored) || matches!(self.end, End::Sgd(_)));
        for j in columns.clone().step_by(grid.width) {
            // Wrapping, here and below: with k = 0 there may be nothing there, and rows past `m` are not used.
            tile.b = self.b.as_ptr().wrapping_add(terms.start * ldb + j);
            tile.n = grid.width.min(columns.end - j);
            tile.from = if terms.start == 0 { self.from.after(j) } else { Begin::Stored };
            let next = (j + grid.width < columns.end).then_some(j + grid.width);
            let asks = self.asks(&terms, &rows, next);
            for (at, (i, m)) in grid.rows.enumerate() {
                if reads && let Some(next) = next {
                    self.prefetch_output(i..i + m, next);
                }
                if let Some(next) = asks {
                    tile.ahead = self.ahead(&terms, &rows, at, next);
                }
                tile.m = m;
                tile.rows.a = self.a.as_ptr().wrapping_add(i * rsa + terms.start * csa);
                tile.rows.c = self.out.ptr().wrapping_add(i * ldc + j);
                // SAFETY: `matmul` has checked that all rows and columns of the shape lie within the slices, and the
                // block within the shape; nobody else writes to this block.
                unsafe { grid.tile(m, tile.n)(&tile) };
            }
            tile.ahead = Ahead::NOTHING;
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
    fn copied<const A: usize, const B: usize>(&self, rows: Range<usize>, columns: Range<usize>, grid: &Grid) {
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
                tile.to = &End::Map(Map::Identity);
            }
            for (i, m) in even(rows.clone(), at_once) {
                let (block, mut grid) = (i..i + m, *grid);
                if A > 0 {
                    grid = Grid::new(self.isa, block.clone(), most, columns.len(), width);
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
                    tile.from = if l == 0 { self.from.after(j) } else { Begin::Stored };
                    let next = (j + width < columns.end).then_some(j + width);
                    let asks = self.asks(&(l..l + terms), &block, next);
                    let reads = l > 0 || matches!(self.end, End::Sgd(_));
                    for (at, (i, m)) in grid.rows.enumerate() {
                        if reads {
                            self.prefetch_output(i + m..(i + m + most).min(block.end), j);
                        }
                        if let Some(next) = asks {
                            tile.ahead = self.ahead(&(l..l + terms), &block, at, next);
                        }
                        tile.m = m;
                        tile.rows.a = if A > 0 {
                            a_copy.as_ptr().cast::<f32>().wrapping_add(at * most * terms)
                        } else {
                            self.a.as_ptr().wrapping_add(i * rsa + l * csa)
                        };
                        tile.rows.c = self.out.ptr().wrapping_add(i * ldc + j);
                        // SAFETY: the first `m` of each `most` numbers of the copy of a and the first `n` of each `ld` of that of b
                        // have been written above; the rest as in `direct`.
                        unsafe { grid.tile(m, tile.n)(&tile) };
                    }
                    tile.ahead = Ahead::NOTHING;
                }
            }
        }
    }

    /// The next columns, if tiles are to ask for them: few rows are soon here anyway; those of a b that is turned, the machine foresees.
    #[inline(always)]
    fn asks(&self, terms: &Range<usize>, rows: &Range<usize>, next: Option<usize>) -> Option<usize> {
        next.filter(|_| terms.len() >= ASKS && rows.len() > 1 && !self.p.transposed_b)
    }

    /// What tile `at` of those above each other asks for of the `next` columns, with so many terms of the sums.
    #[inline(always)]
    fn ahead(&self, terms: &Range<usize>, rows: &Range<usize>, at: usize, next: usize) -> Ahead {
        let (most, _) = tile_size(self.isa);
        let each = terms.len().div_ceil(rows.len().div_ceil(most));
        let first = self.b.as_ptr().wrapping_add((terms.start + at * each) * self.p.ldb + next);
        Ahead { first, step: self.p.ldb, every: (terms.len() / each).max(1) }
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
        let b = &self.b[j * ldb + l..];
        // The last row may be followed by what `turn` leaves there.
        assert!(reach(columns, terms, ldb) <= b.len() && terms * ld <= copy.len() && columns <= ld);
        // SAFETY: rows of b and columns of `columns` and `0..k`, and room for `terms` rows of `ld`.
        unsafe { square::turn(self.isa, columns, terms, (b.as_ptr(), ldb), (copy.as_mut_ptr().cast(), ld)) };
    }
}

/// Numbers from the start of a cache line on: vectors that lie in two lines take twice as long to load.
#[repr(align(64))]
pub(crate) struct Aligned<const N: usize>(pub [MaybeUninit<f32>; N]);

/// What is copied of a product's operands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Copies {
    None,
    B,
    Both,
}

/// As many terms are copied at a time: longer sums are made in pieces, and a step of a parameter is not made from copies then.
pub const TERMS: usize = 1024;

/// With no more, the copies are a few pages of the stack.
const SMALL_TERMS: usize = 64;

/// From so many terms on, tiles ask for the next columns.
const ASKS: usize = 64;

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
#[inline(always)]
pub(crate) fn even(range: Range<usize>, most: usize) -> Even {
    let pieces = range.len().div_ceil(most);
    let (each, longer) = (range.len() / pieces.max(1), range.len() % pieces.max(1));
    Even { start: range.start, pieces, each, longer }
}

/// Such pieces: the first are the longer ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Even {
    start: usize,
    pieces: usize,
    each: usize,
    /// How many have one more.
    longer: usize,
}

impl Even {
    /// The length of the first piece.
    fn longest(&self) -> usize {
        self.each + usize::from(self.longer > 0)
    }
}

impl Iterator for Even {
    type Item = (usize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, usize)> {
        self.pieces = self.pieces.checked_sub(1)?;
        let (start, len) = (self.start, self.longest());
        self.longer = self.longer.saturating_sub(1);
        self.start += len;
        Some((start, len))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Pool;
    use crate::math::testing::{cases, running, shape_is};
    use crate::optim::{Sgd, sgd};
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
    pub(crate) fn check_step(
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
    fn narrow_rows_are_one_chain_each() {
        let machines = machines();
        cases("narrow", 200, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let (m, n, k) = (numbers.pick(1..90), numbers.pick(1..6), numbers.pick(1..6));
            let transposed_b = numbers.pick(0..2) == 1;
            let (rows, columns) = if transposed_b { (n, k) } else { (k, n) };
            let ldb = columns + numbers.pick(0..4);
            let p = Product { m, n, k, rsa: k, csa: 1, ldb, transposed_b, ldc: n };
            let (a, b) = (numbers.rows(m, k, k, 0.0), numbers.rows(rows, columns, ldb, f32::NAN));
            let (bias, y, stored) =
                (numbers.rows(1, n, n, 0.0), numbers.rows(m, n, n, 0.0), [0.5, 77.0][seed as usize % 2]);
            let start = [Start::Zero, Start::Row(&bias), Start::Stored][numbers.pick(0..3)];
            let map = MAPS[numbers.pick(0..5)];
            let of_gradient = numbers.pick(0..2) == 1;
            let finish = if of_gradient { Finish::Gradient(map, &y) } else { Finish::Map(map) };
            shape_is(&(p, map, of_gradient));
            let found = same_bits(&machines, "narrow", |cpu| {
                let mut c = vec![stored; m * n + 3];
                matmul(cpu, &p, &a, &b, &mut c[..m * n], start, finish);
                c
            });
            assert_eq!(found[m * n..], [stored; 3], "numbers behind the output");
            for (at, found) in found[..m * n].iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let first = [0.0, bias[j], stored][match start {
                    Start::Zero => 0,
                    Start::Row(_) => 1,
                    Start::Stored => 2,
                }];
                let b = |l: usize| if transposed_b { b[j * ldb + l] } else { b[l * ldb + j] };
                let sum = (0..k).fold(first, |sum: f32, l| a[i * k + l].mul_add(b(l), sum));
                let want = if of_gradient { map.gradient(y[at], sum) } else { map.value(sum) };
                assert_eq!(found.to_bits(), want.to_bits(), "number {at}");
            }
        });
    }

    #[test]
    fn gradients_of_weight_and_bias_have_the_same_bits_in_one_pass() {
        let machines = machines();
        let check = |numbers: &mut Numbers, m: usize, n: usize, k: usize| {
            let (lda, ldb, ldc) = (m + numbers.pick(0..5), n + numbers.pick(0..5), n + numbers.pick(0..5));
            let p = Product { m, n, k, rsa: 1, csa: lda, ldb, transposed_b: false, ldc };
            shape_is(&p);
            let (a, b) = (numbers.rows(k, m, lda, f32::NAN), numbers.rows(k, n, ldb, f32::NAN));
            // What is stored, with the sums after it, and a number that is to stay.
            let stored = numbers.rows(m + 1, n, ldc, 77.0).into_iter().chain([77.0]).collect::<Vec<_>>();
            let sgd = Sgd { lr: 0.3, weight_decay: 0.1 };
            for total in [Total::New, Total::Added, Total::Sgd(sgd)] {
                let (start, finish) = match total {
                    Total::New => (Start::Zero, Map::Identity.into()),
                    Total::Added => (Start::Stored, Map::Identity.into()),
                    Total::Sgd(sgd) => (Start::Zero, Finish::Sgd(sgd)),
                };
                let mut want = stored.clone();
                let (c, sums) = want.split_at_mut(m * ldc);
                matmul(&machines[0], &p, &a, &b, c, start, finish);
                sum_rows(&machines[0], k, n, ldb, &b, sums, total);
                let matmul = Matmul::new(move |k| Product { k, ..p });
                let found = same_bits(&machines, "matmul_grad", |cpu| {
                    let (mut plain, mut found) = (stored.clone(), stored.clone());
                    let (c, sums) = plain.split_at_mut(m * ldc);
                    matmul_grad(cpu, &p, &a, &b, c, Some(sums), total);
                    let (c, sums) = found.split_at_mut(m * ldc);
                    matmul.grad(cpu, k, &a, &b, c, Some(sums), total);
                    assert!(found.iter().zip(&plain).all(|(a, b)| a.to_bits() == b.to_bits()), "{p:?}");
                    found
                });
                for (at, (found, want)) in found.iter().zip(&want).enumerate() {
                    assert_eq!(found.to_bits(), want.to_bits(), "number {at}, {total:?}");
                }
            }
        };
        cases("matmul_grad", 200, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let (m, n, k) = (numbers.pick(1..40), numbers.pick(1..70), numbers.pick(0..40));
            check(&mut numbers, m, n, k);
            let (m, n, k) = (numbers.pick(1..30), numbers.pick(1..33), numbers.pick(60..300));
            check(&mut numbers, m, n, k);
        });
    }

    #[test]
    fn copies_change_no_bit() {
        let machines: Vec<Cpu> = machines().into_iter().filter(|cpu| cpu.pool.threads() == 1).collect();
        cases("copies", 12, |seed| {
            let mut numbers = Numbers::new(seed.into());
            // Pieces of the terms, of the rows that are copied, of the columns. (A single row has tiles of its own.)
            let (m, n, k) = (numbers.pick(2..150), numbers.pick(1..100), numbers.pick(1..2 * NEAR + 80));
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
                    let from = match start {
                        Start::Zero => Begin::Zero,
                        Start::Row(row) => Begin::Row(row.as_ptr()),
                        Start::Stored => Begin::Stored,
                    };
                    let run = |copies: Copies| {
                        let mut c = stored.clone();
                        let out = &Output::new(&mut c);
                        let product = Checked { isa: cpu.isa, p: &p, a: &a, b: &b, out, from, end };
                        let way = Way { few: false, copies, ..Way::new(cpu.isa, &p, 0..m, 0..n) };
                        product.block(0..m, 0..n, &way);
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
