//! Losses: one number per row, which the caller adds up with [`crate::reduce::sum`], and their gradients.
//!
//! Sums over a row have the order of [`crate::softmax`].

use crate::isa::simd;
use crate::lanes::{Lanes as Vector, by_lanes};
use crate::math::{LANES, Lanes, check, exp, extent, load, log, mask, one_by_one, store};
use crate::pool::{Read, Write};
pub use crate::reduce::NARROW;
use crate::reduce::{fold_columns, fold_sum, larger, plus};
use crate::softmax::{EFFORT, row_sum, softmax_row};
use crate::square::{to_columns, to_rows};
use crate::{Cpu, Isa};

/// The targets of a loss.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// Numbers, which lie as the outputs do.
    Numbers(&'a [f32]),
    /// A label for each row: its column (for a single column, label 1) is to be `on`, the others `off`.
    Labels {
        /// One for each row.
        labels: &'a [u32],
        /// The number at the label.
        on: f32,
        /// The others.
        off: f32,
    },
}

impl Targets<'_> {
    /// # Panics
    /// When a slice is too short, or a label is none.
    #[track_caller]
    fn check(&self, name: &str, rows: usize, n: usize, ld: usize) {
        match self {
            Targets::Numbers(t) => check(name, t.len(), rows, n, ld),
            Targets::Labels { labels, .. } => {
                check_out(name, labels.len(), rows);
                let worst = labels[..rows].iter().fold(0, |worst, label| *label.max(&worst));
                assert!((worst as usize) < n.max(2), "{name}: label {worst} of {n} columns");
            }
        }
    }
}

/// [`Targets`] as kernels take them: `LABELS`, or numbers. (Of a single column the cross entropy is 0, whatever is wanted.)
#[derive(Clone, Copy)]
struct Wanted<'a, const LABELS: bool> {
    numbers: &'a [f32],
    labels: &'a [u32],
    on: f32,
    off: f32,
}

impl<const LABELS: bool> Wanted<'_, LABELS> {
    /// `width` numbers of row `r` from column `j` on, then zeros.
    #[inline(always)]
    fn row(&self, r: usize, ld: usize, j: usize, width: usize) -> Lanes {
        if !LABELS {
            return load(self.numbers, r * ld + j, width, 0.0);
        }
        let (mut t, there) = ([0.0; LANES], mask(width));
        for l in 0..LANES {
            let x = if self.labels[r] == (j + l) as u32 { self.on } else { self.off };
            t[l] = f32::from_bits(x.to_bits() & there[l]);
        }
        t
    }
}

simd! {
    fn cross_entropy_kernel<const LABELS: bool>(
        rows: usize, n: usize, ld: usize, x: &[f32], t: &Wanted<LABELS>, factor: f32, excess: &mut [f32], out: &mut [f32],
    ) {
        for (r, out) in out.iter_mut().enumerate().take(rows) {
            let (max, sum) = softmax_row(x, r * ld, n, Some(excess));
            let (log_sum, total) = (log(sum), row_sum(n, #[inline(always)] |j, width| t.row(r, ld, j, width)));
            let mut sums = [0.0; LANES];
            for j in (0..n).step_by(LANES) {
                let (at, width) = (r * ld + j, LANES.min(n - j));
                let (x, t, mut p) = (load(x, at, width, 0.0), t.row(r, ld, j, width), load(excess, at, width, 0.0));
                for l in 0..LANES {
                    let term = t[l].mul_add(log_sum - (x[l] - max), sums[l]);
                    sums[l] = if t[l] == 0.0 { sums[l] } else { term };
                    p[l] = factor * p[l].mul_add(total, -t[l]);
                }
                store(excess, at, width, &p);
            }
            *out = fold_sum(sums);
        }
    }
}

simd! {
    /// The targets of sixteen rows of `n` columns from the `first` on, in columns.
    fn label_columns(first: usize, n: usize, labels: &[u32; LANES], on: f32, off: f32, t: &mut [Lanes; LANES]) {
        one_by_one(n, #[inline(always)] |c| {
            for r in 0..LANES {
                t[c][r] = if labels[r] == (first + c) as u32 { on } else { off };
            }
        });
    }
}

/// What sixteen rows of `N` ≤ [`NARROW`] numbers cost, which lie in columns: they stay in registers. `x` becomes the excess of their
/// softmax times `factor`.
#[inline(always)]
fn cross_entropy_of_columns<const N: usize>(factor: f32, x: &mut [Lanes; N], t: &mut [Lanes; N]) -> Lanes {
    let max = fold_columns(x, f32::NEG_INFINITY, larger);
    let mut e = [[0.0; LANES]; N];
    for c in 0..N {
        for r in 0..LANES {
            x[c][r] -= max[r];
            e[c][r] = exp(x[c][r]);
        }
    }
    let sum = fold_columns(&e, 0.0, plus);
    let mut log_sum = sum;
    for sum in &mut log_sum {
        *sum = log(*sum);
    }
    let total = fold_columns(t, 0.0, plus);
    for c in 0..N {
        for r in 0..LANES {
            let term = t[c][r].mul_add(log_sum[r] - x[c][r], 0.0);
            x[c][r] = factor * (e[c][r] / sum[r]).mul_add(total[r], -t[c][r]);
            t[c][r] = if t[c][r] == 0.0 { 0.0 } else { term };
        }
    }
    fold_columns(t, 0.0, plus)
}

by_lanes! {
    /// Rows of `N` ≤ [`NARROW`] columns without padding.
    ///
    /// # Safety
    /// There are as many of all as of `out`.
    fn cross_entropy_narrow<const LABELS: bool, const N: usize>(
        x: &[f32], t: &Wanted<'_, LABELS>, factor: f32, excess: &mut [f32], out: &mut [f32],
    ) = cross_entropy_narrow_of_all
}

/// # Safety
/// As [`cross_entropy_narrow`], where the instruction set is there.
#[inline(always)]
unsafe fn cross_entropy_narrow_of_all<V: Vector, const LABELS: bool, const N: usize>(
    x: &[f32],
    t: &Wanted<'_, LABELS>,
    factor: f32,
    excess: &mut [f32],
    out: &mut [f32],
) {
    for r in (0..out.len()).step_by(LANES) {
        let rows = LANES.min(out.len() - r);
        // SAFETY: the caller's promises.
        unsafe {
            let mut x = V::columns::<N>(x.as_ptr().add(r * N), rows);
            let mut wanted = [[t.off; LANES]; N];
            if LABELS {
                // Bits are moved as they are.
                let [labels] = V::columns::<1>(t.labels.as_ptr().add(r).cast(), rows);
                for (c, wanted) in wanted.iter_mut().enumerate() {
                    for r in 0..LANES {
                        wanted[r] = if labels[r].to_bits() == c as u32 { t.on } else { t.off };
                    }
                }
            } else {
                wanted = V::columns::<N>(t.numbers.as_ptr().add(r * N), rows);
            }
            let costs = cross_entropy_of_columns(factor, &mut x, &mut wanted);
            V::store_columns(&x, excess.as_mut_ptr().add(r * N), rows);
            V::store_columns(&[costs], out.as_mut_ptr().add(r), rows);
        }
    }
}

simd! {
    fn cross_entropy_grad_kernel(rows: usize, n: usize, ld: usize, excess: &[f32], factor: f32, dx: &mut [f32]) {
        each(rows, n, ld, excess, excess, dx, #[inline(always)] |x, _| factor * x);
    }
}

/// A step of the chains of Σ (x − t)² or Σ |x − t|.
#[inline(always)]
fn step<const SQUARED: bool>(sum: f32, d: f32) -> f32 {
    if SQUARED { d.mul_add(d, sum) } else { sum + d.abs() }
}

simd! {
    /// The chains go on by `n` columns, for sixteen rows.
    fn difference_columns<const SQUARED: bool>(
        n: usize, x: &[Lanes; LANES], t: &[Lanes; LANES], sums: &mut [Lanes; LANES],
    ) {
        one_by_one(n, #[inline(always)] |c| {
            for r in 0..LANES {
                sums[c][r] = step::<SQUARED>(sums[c][r], x[c][r] - t[c][r]);
            }
        });
    }
}

simd! {
    fn sum_columns(columns: &[Lanes; LANES]) -> Lanes {
        fold_columns(columns, 0.0, plus)
    }
}

/// The sums of rows of `N` ≤ [`NARROW`] columns, whose fold has zeros in all other lanes.
#[inline(always)]
fn narrow<const SQUARED: bool, const N: usize>(ld: usize, x: &[f32], t: &[f32], out: &mut [f32]) {
    for (r, out) in out.iter_mut().enumerate() {
        let (x, t) = (&x[r * ld..][..N], &t[r * ld..][..N]);
        let mut v = [0.0; NARROW];
        for c in 0..N {
            v[c] = step::<SQUARED>(0.0, x[c] - t[c]);
        }
        *out = (v[0] + v[2]) + (v[1] + v[3]);
    }
}

simd! {
    fn difference_narrow<const SQUARED: bool>(n: usize, ld: usize, x: &[f32], t: &[f32], out: &mut [f32]) {
        match n {
            1 => narrow::<SQUARED, 1>(ld, x, t, out),
            2 => narrow::<SQUARED, 2>(ld, x, t, out),
            3 => narrow::<SQUARED, 3>(ld, x, t, out),
            _ => narrow::<SQUARED, NARROW>(ld, x, t, out),
        }
    }
}

/// The gradient of |d|, times `factor`. What is left at the end is 0 or NaN, and stays what it is.
#[inline(always)]
fn signed(factor: f32, d: f32) -> f32 {
    let rest = if d < 0.0 { -factor } else { d };
    if d > 0.0 { factor } else { rest }
}

/// Sums of rows of `N` ≤ [`NARROW`] columns, as [`narrow`], and their gradients. `t` gives the target of a row.
#[inline(always)]
fn narrow_both<const SQUARED: bool, const N: usize>(
    ld: usize,
    x: &[f32],
    t: impl Fn(usize) -> [f32; N],
    factor: f32,
    out: &mut [f32],
    dx: &mut [f32],
) {
    let twice = 2.0 * factor;
    for (r, out) in out.iter_mut().enumerate() {
        let (x, t, dx) = (&x[r * ld..][..N], t(r), &mut dx[r * ld..][..N]);
        let mut v = [0.0; NARROW];
        for c in 0..N {
            let d = x[c] - t[c];
            v[c] = step::<SQUARED>(0.0, d);
            dx[c] = if SQUARED { twice * d } else { signed(factor, d) };
        }
        *out = (v[0] + v[2]) + (v[1] + v[3]);
    }
}

simd! {
    fn both_of_numbers<const SQUARED: bool, const N: usize>(
        ld: usize, x: &[f32], t: &[f32], factor: f32, out: &mut [f32], dx: &mut [f32],
    ) {
        narrow_both::<SQUARED, N>(ld, x, #[inline(always)] |r| {
            *t[r * ld..].first_chunk::<N>().expect("a row of numbers")
        }, factor, out, dx);
    }
}

simd! {
    fn both_of_labels<const SQUARED: bool, const N: usize>(
        ld: usize, x: &[f32], labels: &[u32], on: f32, off: f32, factor: f32, out: &mut [f32], dx: &mut [f32],
    ) {
        narrow_both::<SQUARED, N>(ld, x, #[inline(always)] |r| {
            let mut t = [off; N];
            // A single number is that of label 1.
            let first = u32::from(N == 1);
            for (c, t) in t.iter_mut().enumerate() {
                *t = if labels[r] == first + c as u32 { on } else { off };
            }
            t
        }, factor, out, dx);
    }
}

/// dx = f(x, t), and zeros in the padding.
#[inline(always)]
fn each(rows: usize, n: usize, ld: usize, x: &[f32], t: &[f32], dx: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    // Without padding it is all one row.
    let (rows, n) = if n == ld { (1, rows * n) } else { (rows, n) };
    let mut whole = 0;
    if n <= LANES && ld == LANES {
        // Rows of a register, but for the last, which may end early.
        let (mask, xs, ts, dxs) = (mask(n), x.as_chunks().0, t.as_chunks().0, dx.as_chunks_mut().0);
        whole = xs.len().min(ts.len()).min(dxs.len());
        one_by_one(
            whole,
            #[inline(always)]
            |r| {
                let (x, t): (&Lanes, &Lanes) = (&xs[r], &ts[r]);
                let mut v = [0.0; LANES];
                for l in 0..LANES {
                    v[l] = f32::from_bits(f(x[l], t[l]).to_bits() & mask[l]);
                }
                dxs[r] = v;
            },
        );
    }
    for r in whole..rows {
        for j in (0..n).step_by(LANES) {
            let (at, width) = (r * ld + j, LANES.min(n - j));
            let (x, t) = (load(x, at, width, 0.0), load(t, at, width, 0.0));
            let mut v = [0.0; LANES];
            for l in 0..LANES {
                v[l] = f(x[l], t[l]);
            }
            store(dx, at, width, &v);
        }
    }
}

simd! {
    fn squared_error_grad_kernel(
        rows: usize, n: usize, ld: usize, x: &[f32], t: &[f32], factor: f32, dx: &mut [f32],
    ) {
        let twice = 2.0 * factor;
        each(rows, n, ld, x, t, dx, #[inline(always)] |x, t| twice * (x - t));
    }
}

simd! {
    fn absolute_error_grad_kernel(
        rows: usize, n: usize, ld: usize, x: &[f32], t: &[f32], factor: f32, dx: &mut [f32],
    ) {
        each(rows, n, ld, x, t, dx, #[inline(always)] |x, t| signed(factor, x - t));
    }
}

#[track_caller]
fn check_out(name: &str, len: usize, rows: usize) {
    assert!(len >= rows, "{name} holds {len} numbers, {rows} rows need one each");
}

/// Cross entropy of softmax(x) against a distribution `t` over the columns.
///
/// out\[r\] = Σ t·(log Σ e^(x − max) − (x − max)), by fused multiply-adds, over the columns where t is not 0;
/// excess = factor · (softmax(x)·Σt − t), the bracket fused: with 1 what the gradient is a multiple of, or the gradient itself. `t`
/// need not add up to 1.
///
/// # Panics
/// When a slice is too short, or a label is none.
#[allow(clippy::too_many_arguments)]
pub fn cross_entropy(
    cpu: &Cpu,
    rows: usize,
    n: usize,
    ld: usize,
    x: &[f32],
    t: Targets<'_>,
    factor: f32,
    excess: &mut [f32],
    out: &mut [f32],
) {
    check("cross_entropy: x", x.len(), rows, n, ld);
    t.check("cross_entropy: t", rows, n, ld);
    check("cross_entropy: excess", excess.len(), rows, n, ld);
    check_out("cross_entropy: out", out.len(), rows);
    let end = extent(rows, n, ld);
    let (x, excess, out) = (Read(&x[..end], ld), Write::new(&mut excess[..end], ld), Write::new(&mut out[..rows], 1));
    match t {
        Targets::Numbers(t) => {
            let arrays = (x, Read(&t[..end], ld), excess, out);
            cpu.pool.split_rows(EFFORT, rows, FEW, arrays, |_, (x, numbers, excess, out)| {
                let t = Wanted::<false> { numbers, labels: &[], on: 0.0, off: 0.0 };
                cross_entropy_rows(cpu.isa, n, ld, x, &t, factor, excess, out);
            });
        }
        Targets::Labels { labels, on, off } => {
            let arrays = (x, Read(&labels[..rows], 1), excess, out);
            cpu.pool.split_rows(EFFORT, rows, FEW, arrays, |_, (x, labels, excess, out)| {
                let t = Wanted::<true> { numbers: &[], labels, on, off };
                cross_entropy_rows(cpu.isa, n, ld, x, &t, factor, excess, out);
            });
        }
    }
}

/// Rows of up to so many registers lie in columns while their cross entropy is found, sixteen at a time; longer ones as they are.
const MOST: usize = 4;

/// Fewer rows stay as they are, but those of a few columns: most lanes would be empty. No thread has fewer where there are more.
const FEW: usize = 3;

/// Sixteen rows of `B` registers in columns: lane r of `blocks[b][l]` is number 16·b + l of row r.
type Blocks<const B: usize> = [[Lanes; LANES]; B];

/// What the chains of sixteen rows are when they have gone through all columns, folded.
#[inline(always)]
fn fold_blocks<const B: usize>(blocks: &Blocks<B>, start: f32, f: impl Fn(f32, f32) -> f32) -> Lanes {
    if B == 1 {
        return fold_columns(&blocks[0], start, f);
    }
    let mut chains = [[start; LANES]; LANES];
    for block in blocks {
        for (chain, x) in chains.as_flattened_mut().iter_mut().zip(block.as_flattened()) {
            *chain = f(*x, *chain);
        }
    }
    fold_columns(&chains, start, f)
}

simd! {
    /// What sixteen rows of `n` columns cost, as [`cross_entropy_of_columns`]. Columns that are not there are −∞ in `x`, 0 in `t` and `e`.
    fn cross_entropy_blocks<const B: usize>(
        n: usize, factor: f32, x: &mut Blocks<B>, t: &Blocks<B>, e: &mut Blocks<B>,
    ) -> Lanes {
        let max = fold_blocks(x, f32::NEG_INFINITY, larger);
        one_by_one(n, #[inline(always)] |c| {
            let (x, e) = (&mut x.as_flattened_mut()[c], &mut e.as_flattened_mut()[c]);
            for r in 0..LANES {
                x[r] -= max[r];
                e[r] = exp(x[r]);
            }
        });
        let sum = fold_blocks(e, 0.0, plus);
        let mut log_sum = sum;
        for sum in &mut log_sum {
            *sum = log(*sum);
        }
        let total = fold_blocks(t, 0.0, plus);
        let mut costs = [[0.0; LANES]; LANES];
        one_by_one(n, #[inline(always)] |c| {
            let (x, e, t) = (&mut x.as_flattened_mut()[c], &e.as_flattened()[c], &t.as_flattened()[c]);
            let cost = &mut costs[c % LANES];
            for r in 0..LANES {
                let term = t[r].mul_add(log_sum[r] - x[r], cost[r]);
                cost[r] = if t[r] == 0.0 { cost[r] } else { term };
                x[r] = factor * (e[r] / sum[r]).mul_add(total[r], -t[r]);
            }
        });
        fold_columns(&costs, 0.0, plus)
    }
}

/// As many rows as `out` has numbers, in columns of sixteen rows: of at most `B` registers each.
#[allow(clippy::too_many_arguments)]
fn cross_entropy_in_columns<const LABELS: bool, const B: usize>(
    isa: Isa,
    n: usize,
    ld: usize,
    x: &[f32],
    t: &Wanted<LABELS>,
    factor: f32,
    excess: &mut [f32],
    out: &mut [f32],
) {
    let (mut xs, mut ts) = ([[[f32::NEG_INFINITY; LANES]; LANES]; B], [[[0.0; LANES]; LANES]; B]);
    let mut es = ts;
    let blocks = || (0..n).step_by(LANES).map(|first| (first, LANES.min(n - first)));
    for (i, out) in out.chunks_mut(LANES).enumerate() {
        let (rows, at) = (out.len(), i * LANES * ld);
        let mut labels = [0; LANES];
        if LABELS {
            labels[..rows].copy_from_slice(&t.labels[i * LANES..][..rows]);
        }
        for ((first, width), (xs, ts)) in blocks().zip(xs.iter_mut().zip(&mut ts)) {
            to_columns(isa, &x[at + first..], rows, width, ld, xs);
            if LABELS {
                label_columns(isa, first, width, &labels, t.on, t.off, ts);
            } else {
                to_columns(isa, &t.numbers[at + first..], rows, width, ld, ts);
            }
        }
        let costs = cross_entropy_blocks(isa, n, factor, &mut xs, &ts, &mut es);
        for ((first, width), xs) in blocks().zip(&xs) {
            to_rows(isa, xs, rows, width, ld, &mut excess[at + first..]);
        }
        out.copy_from_slice(&costs[..rows]);
    }
}

/// As many rows as `out` has numbers, in the way that is quickest for them.
#[allow(clippy::too_many_arguments)]
fn cross_entropy_rows<const LABELS: bool>(
    isa: Isa,
    n: usize,
    ld: usize,
    x: &[f32],
    t: &Wanted<LABELS>,
    factor: f32,
    excess: &mut [f32],
    out: &mut [f32],
) {
    let rows = out.len();
    let narrow = match n {
        2 => cross_entropy_narrow::<LABELS, 2>,
        3 => cross_entropy_narrow::<LABELS, 3>,
        _ => cross_entropy_narrow::<LABELS, NARROW>,
    };
    match n {
        2..=NARROW if ld == n => {
            let wanted = if LABELS { t.labels.len() * n } else { t.numbers.len() };
            assert!(
                [x.len(), excess.len(), wanted].iter().all(|len| *len >= rows * n),
                "cross_entropy: too few of {rows} rows"
            );
            // SAFETY: there are so many rows, without padding, as was checked.
            unsafe { narrow(isa, x, t, factor, excess, out) };
        }
        ..=LANES if rows >= FEW => cross_entropy_in_columns::<LABELS, 1>(isa, n, ld, x, t, factor, excess, out),
        _ if n <= MOST * LANES && rows >= FEW => {
            cross_entropy_in_columns::<LABELS, MOST>(isa, n, ld, x, t, factor, excess, out);
        }
        _ => cross_entropy_kernel(isa, rows, n, ld, x, t, factor, excess, out),
    }
}

/// dx = factor · excess, which [`cross_entropy`] has written.
///
/// # Panics
/// When a slice is too short.
pub fn cross_entropy_grad(cpu: &Cpu, rows: usize, n: usize, ld: usize, excess: &[f32], factor: f32, dx: &mut [f32]) {
    check("cross_entropy_grad: excess", excess.len(), rows, n, ld);
    check("cross_entropy_grad: dx", dx.len(), rows, n, ld);
    let end = extent(rows, n, ld);
    let arrays = (Read(&excess[..end], ld), Write::new(&mut dx[..end], ld));
    cpu.pool.split_rows(1, rows, 1, arrays, |rows, (excess, dx)| {
        cross_entropy_grad_kernel(cpu.isa, rows.len(), n, ld, excess, factor, dx);
    });
}

/// out\[r\] = Σ (x − t)², by fused multiply-adds.
///
/// # Panics
/// When a slice is too short.
pub fn squared_error(cpu: &Cpu, rows: usize, n: usize, ld: usize, x: &[f32], t: &[f32], out: &mut [f32]) {
    let names = ["squared_error: x", "squared_error: t", "squared_error: out"];
    difference::<true>(cpu, names, rows, n, ld, x, t, out);
}

#[allow(clippy::too_many_arguments)]
fn difference<const SQUARED: bool>(
    cpu: &Cpu,
    names: [&str; 3],
    rows: usize,
    n: usize,
    ld: usize,
    x: &[f32],
    t: &[f32],
    out: &mut [f32],
) {
    check(names[0], x.len(), rows, n, ld);
    check(names[1], t.len(), rows, n, ld);
    check_out(names[2], out.len(), rows);
    let end = extent(rows, n, ld);
    let arrays = (Read(&x[..end], ld), Read(&t[..end], ld), Write::new(&mut out[..rows], 1));
    cpu.pool.split_rows(1, rows, 1, arrays, |_, (x, t, out)| {
        if (1..=NARROW).contains(&n) {
            return difference_narrow::<SQUARED>(cpu.isa, n, ld, x, t, out);
        }
        let (mut xs, mut ts) = ([[0.0; LANES]; LANES], [[0.0; LANES]; LANES]);
        for (i, out) in out.chunks_mut(LANES).enumerate() {
            let (rows, mut sums) = (out.len(), [[0.0; LANES]; LANES]);
            for j in (0..n).step_by(LANES) {
                let (at, width) = (i * LANES * ld + j, LANES.min(n - j));
                to_columns(cpu.isa, &x[at..], rows, width, ld, &mut xs);
                to_columns(cpu.isa, &t[at..], rows, width, ld, &mut ts);
                difference_columns::<SQUARED>(cpu.isa, width, &xs, &ts, &mut sums);
            }
            out.copy_from_slice(&sum_columns(cpu.isa, &sums)[..rows]);
        }
    });
}

/// dx = (2·factor) · (x − t).
///
/// # Panics
/// When a slice is too short.
#[allow(clippy::too_many_arguments)]
pub fn squared_error_grad(
    cpu: &Cpu,
    rows: usize,
    n: usize,
    ld: usize,
    x: &[f32],
    t: &[f32],
    factor: f32,
    dx: &mut [f32],
) {
    check("squared_error_grad: x", x.len(), rows, n, ld);
    check("squared_error_grad: t", t.len(), rows, n, ld);
    check("squared_error_grad: dx", dx.len(), rows, n, ld);
    let end = extent(rows, n, ld);
    let arrays = (Read(&x[..end], ld), Read(&t[..end], ld), Write::new(&mut dx[..end], ld));
    cpu.pool.split_rows(1, rows, 1, arrays, |rows, (x, t, dx)| {
        squared_error_grad_kernel(cpu.isa, rows.len(), n, ld, x, t, factor, dx);
    });
}

/// out\[r\] = Σ |x − t|.
///
/// # Panics
/// When a slice is too short.
pub fn absolute_error(cpu: &Cpu, rows: usize, n: usize, ld: usize, x: &[f32], t: &[f32], out: &mut [f32]) {
    let names = ["absolute_error: x", "absolute_error: t", "absolute_error: out"];
    difference::<false>(cpu, names, rows, n, ld, x, t, out);
}

/// dx = factor · sign(x − t), where sign(0) = 0; NaN stays NaN.
///
/// # Panics
/// When a slice is too short.
#[allow(clippy::too_many_arguments)]
pub fn absolute_error_grad(
    cpu: &Cpu,
    rows: usize,
    n: usize,
    ld: usize,
    x: &[f32],
    t: &[f32],
    factor: f32,
    dx: &mut [f32],
) {
    check("absolute_error_grad: x", x.len(), rows, n, ld);
    check("absolute_error_grad: t", t.len(), rows, n, ld);
    check("absolute_error_grad: dx", dx.len(), rows, n, ld);
    let end = extent(rows, n, ld);
    let arrays = (Read(&x[..end], ld), Read(&t[..end], ld), Write::new(&mut dx[..end], ld));
    cpu.pool.split_rows(1, rows, 1, arrays, |rows, (x, t, dx)| {
        absolute_error_grad_kernel(cpu.isa, rows.len(), n, ld, x, t, factor, dx);
    });
}

/// [`squared_error`] and [`squared_error_grad`], or with `SQUARED` false [`absolute_error`] and [`absolute_error_grad`], of at most
/// [`NARROW`] columns in one pass.
///
/// # Panics
/// When a slice is too short, there are more columns, or a label is none.
#[allow(clippy::too_many_arguments)]
pub fn narrow_error_and_grad<const SQUARED: bool>(
    cpu: &Cpu,
    rows: usize,
    n: usize,
    ld: usize,
    x: &[f32],
    t: Targets<'_>,
    factor: f32,
    out: &mut [f32],
    dx: &mut [f32],
) {
    check("narrow_error_and_grad: x", x.len(), rows, n, ld);
    check("narrow_error_and_grad: dx", dx.len(), rows, n, ld);
    check_out("narrow_error_and_grad: out", out.len(), rows);
    t.check("narrow_error_and_grad: t", rows, n, ld);
    assert!((1..=NARROW).contains(&n), "narrow_error_and_grad: {n} columns");
    let end = extent(rows, n, ld);
    let (x, out, dx) = (Read(&x[..end], ld), Write::new(&mut out[..rows], 1), Write::new(&mut dx[..end], ld));
    match t {
        Targets::Numbers(t) => {
            cpu.pool.split_rows(1, rows, 1, (x, Read(&t[..end], ld), out, dx), |_, (x, t, out, dx)| match n {
                1 => both_of_numbers::<SQUARED, 1>(cpu.isa, ld, x, t, factor, out, dx),
                2 => both_of_numbers::<SQUARED, 2>(cpu.isa, ld, x, t, factor, out, dx),
                3 => both_of_numbers::<SQUARED, 3>(cpu.isa, ld, x, t, factor, out, dx),
                _ => both_of_numbers::<SQUARED, NARROW>(cpu.isa, ld, x, t, factor, out, dx),
            });
        }
        Targets::Labels { labels, on, off } => {
            let arrays = (x, Read(&labels[..rows], 1), out, dx);
            cpu.pool.split_rows(1, rows, 1, arrays, |_, (x, labels, out, dx)| match n {
                1 => both_of_labels::<SQUARED, 1>(cpu.isa, ld, x, labels, on, off, factor, out, dx),
                2 => both_of_labels::<SQUARED, 2>(cpu.isa, ld, x, labels, on, off, factor, out, dx),
                3 => both_of_labels::<SQUARED, 3>(cpu.isa, ld, x, labels, on, off, factor, out, dx),
                _ => both_of_labels::<SQUARED, NARROW>(cpu.isa, ld, x, labels, on, off, factor, out, dx),
            });
        }
    }
}

/// t\[r\]\[labels\[r\]\] = `on`, the other columns `off`.
///
/// # Panics
/// When a label is not below `n` or a slice is too short.
#[allow(clippy::too_many_arguments)]
pub fn one_hot(cpu: &Cpu, rows: usize, n: usize, ld: usize, labels: &[u32], on: f32, off: f32, t: &mut [f32]) {
    check("one_hot: t", t.len(), rows, n, ld);
    check_out("one_hot: labels", labels.len(), rows);
    let arrays = (Read(&labels[..rows], 1), Write::new(&mut t[..extent(rows, n, ld)], ld));
    cpu.pool.split_rows(1, rows, 1, arrays, |rows, (labels, t)| {
        for (i, &label) in labels.iter().enumerate() {
            assert!((label as usize) < n, "one_hot: label {label} of row {} is not below {n}", rows.start + i);
            let row = &mut t[i * ld..i * ld + n];
            row.fill(off);
            row[label as usize] = on;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::testing::{Random, bits, cases, everywhere, near, row, rows_near, shape_is};

    #[test]
    fn cross_entropy_as_defined() {
        cases("cross_entropy", 120, |seed| {
            let (mut random, round) = (Random::new(seed), seed as usize);
            let (rows, mut n, ld) = random.shape();
            if round % 10 == 1 {
                n = 1;
            }
            let mut x = random.rows(rows, n, ld);
            for x in &mut x {
                *x *= [1.0, 20.0][round % 2];
            }
            // A label, or any numbers.
            let (mut t, mut labels) = (random.rows(rows, n, ld), Vec::new());
            let (on, off) = [(1.0, 0.0), (0.9, 0.1 / n as f32)][round / 2 % 2];
            if round % 3 > 0 {
                labels = (0..rows).map(|_| random.size(0, n.max(2)) as u32).collect();
                t = hot(&labels, n, ld, on, off);
            }
            let [excess, out, dx] = everywhere(|cpu| {
                let [mut excess, mut dx] = [(); 2].map(|()| vec![5.0; extent(rows, n, ld)]);
                let mut out = vec![5.0; rows];
                cross_entropy(cpu, rows, n, ld, &x, Targets::Numbers(&t), 1.0, &mut excess, &mut out);
                cross_entropy_grad(cpu, rows, n, ld, &excess, 0.25, &mut dx);
                let (mut both, mut again) = (vec![5.0; extent(rows, n, ld)], vec![5.0; rows]);
                let mut targets = vec![Targets::Numbers(&t)];
                if !labels.is_empty() {
                    targets.push(Targets::Labels { labels: &labels, on, off });
                }
                for targets in targets {
                    cross_entropy(cpu, rows, n, ld, &x, targets, 0.25, &mut both, &mut again);
                    let same = rows_same(&both, &dx, n, ld) && rows_same(&again, &out, 1, 1);
                    assert!(same, "{rows}×{n}: the gradient in the same pass, of {targets:?}");
                }
                [excess, out, dx]
            });
            let log_softmax64 = |r: usize| -> Vec<f64> {
                let x = row(&x, r, n, ld);
                let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let lse = max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
                x.iter().map(|x| x - lse).collect()
            };
            for (r, &out) in out.iter().enumerate() {
                let terms: Vec<f64> = log_softmax64(r).iter().zip(row(&t, r, n, ld)).map(|(l, t)| -l * t).collect();
                // They may cancel: their sum is as wrong as they are large.
                let size: f64 = terms.iter().map(|x| x.abs()).sum();
                near(out, terms.iter().sum(), 1e-6 * (1.0 + size));
            }
            for (x, factor) in [(&excess, 1.0), (&dx, 0.25)] {
                rows_near(x, rows, n, ld, 8e-6 * factor, |r| {
                    let t = row(&t, r, n, ld);
                    let total: f64 = t.iter().sum();
                    log_softmax64(r).iter().zip(&t).map(|(l, t)| factor * (l.exp() * total - t)).collect()
                });
            }
        });
    }

    #[test]
    fn a_class_that_cannot_be_costs_nothing_unless_it_is() {
        let x = [0.0, f32::NEG_INFINITY, 0.0];
        for (label, want) in [(0, std::f32::consts::LN_2), (1, f32::INFINITY)] {
            let [out] = everywhere(|cpu| {
                let (mut t, mut excess, mut out) = ([9.0; 3], [9.0; 3], vec![9.0]);
                one_hot(cpu, 1, 3, 3, &[label], 1.0, 0.0, &mut t);
                cross_entropy(cpu, 1, 3, 3, &x, Targets::Numbers(&t), 1.0, &mut excess, &mut out);
                [out]
            });
            assert_eq!(out[0], want);
        }
    }

    #[test]
    fn rows_in_columns_have_the_bits_of_rows() {
        cases("cross_entropy_in_columns", 120, |seed| {
            let mut random = Random::new(seed);
            let (rows, n) = (random.size(1, 40), random.size(NARROW + 1, MOST * LANES + 1));
            let ld = n + random.size(0, 3) * random.size(0, 9);
            shape_is(&(rows, n, ld));
            let (mut x, numbers) = (random.rows(rows, n, ld), random.rows(rows, n, ld));
            for (i, special) in [f32::NEG_INFINITY, f32::NAN, 80.0, -0.0, f32::INFINITY].into_iter().enumerate() {
                let len = x.len();
                x[i * 97 % len] = special;
            }
            let labels: Vec<u32> = (0..rows).map(|_| random.size(0, n) as u32).collect();
            everywhere(|cpu| {
                let labels = Wanted::<true> { numbers: &[], labels: &labels, on: 0.9, off: 0.1 / n as f32 };
                let numbers = Wanted::<false> { numbers: &numbers, labels: &[], on: 0.0, off: 0.0 };
                let [mut excess, mut wanted_excess] = [(); 2].map(|()| vec![5.0; x.len()]);
                let [mut out, mut wanted] = [(); 2].map(|()| vec![5.0; rows]);
                let mut same = |what: &str, run: &mut dyn FnMut([&mut [f32]; 4])| {
                    run([&mut excess, &mut out, &mut wanted_excess, &mut wanted]);
                    for (found, wanted) in excess.chunks(ld).zip(wanted_excess.chunks(ld)) {
                        assert_eq!(bits(&found[..n]), bits(&wanted[..n]), "{what}");
                    }
                    assert_eq!(bits(&out), bits(&wanted), "{what}");
                };
                same("labels", &mut |[excess, out, wanted_excess, wanted]| {
                    match n {
                        ..=LANES => cross_entropy_in_columns::<_, 1>(cpu.isa, n, ld, &x, &labels, 0.25, excess, out),
                        _ => cross_entropy_in_columns::<_, MOST>(cpu.isa, n, ld, &x, &labels, 0.25, excess, out),
                    }
                    cross_entropy_kernel(cpu.isa, rows, n, ld, &x, &labels, 0.25, wanted_excess, wanted);
                });
                same("numbers", &mut |[excess, out, wanted_excess, wanted]| {
                    match n {
                        ..=LANES => cross_entropy_in_columns::<_, 1>(cpu.isa, n, ld, &x, &numbers, 0.25, excess, out),
                        _ => cross_entropy_in_columns::<_, MOST>(cpu.isa, n, ld, &x, &numbers, 0.25, excess, out),
                    }
                    cross_entropy_kernel(cpu.isa, rows, n, ld, &x, &numbers, 0.25, wanted_excess, wanted);
                });
                [excess, out]
            });
        });
    }

    #[test]
    fn differences_as_defined() {
        cases("squared_error, absolute_error", 120, |seed| {
            let mut random = Random::new(seed);
            let (rows, n, ld) = random.shape();
            let (x, t) = (random.rows(rows, n, ld), random.rows(rows, n, ld));
            let [square, square_dx, absolute, absolute_dx] = everywhere(|cpu| {
                let (mut square, mut absolute) = (vec![5.0; rows], vec![5.0; rows]);
                let [mut square_dx, mut absolute_dx] = [(); 2].map(|()| vec![5.0; extent(rows, n, ld)]);
                squared_error(cpu, rows, n, ld, &x, &t, &mut square);
                squared_error_grad(cpu, rows, n, ld, &x, &t, 0.3, &mut square_dx);
                absolute_error(cpu, rows, n, ld, &x, &t, &mut absolute);
                absolute_error_grad(cpu, rows, n, ld, &x, &t, 0.3, &mut absolute_dx);
                [square, square_dx, absolute, absolute_dx]
            });
            let d = |r: usize| -> Vec<f64> {
                row(&x, r, n, ld).iter().zip(row(&t, r, n, ld)).map(|(x, t)| x - t).collect()
            };
            for r in 0..rows {
                near(square[r], d(r).iter().map(|d| d * d).sum(), 1e-6);
                near(absolute[r], d(r).iter().map(|d| d.abs()).sum(), 1e-6);
            }
            rows_near(&square_dx, rows, n, ld, 1e-6, |r| d(r).iter().map(|d| 0.6 * d).collect());
            rows_near(&absolute_dx, rows, n, ld, 1e-6, |r| {
                d(r).iter().map(|&d| if d == 0.0 { 0.0 } else { 0.3 * d.signum() }).collect()
            });
        });
    }

    /// Labels as numbers; a single column is that of label 1.
    fn hot(labels: &[u32], n: usize, ld: usize, on: f32, off: f32) -> Vec<f32> {
        let is = |at: usize| labels[at / ld] as usize == at % ld + usize::from(n == 1);
        (0..extent(labels.len(), n, ld)).map(|at| if is(at) { on } else { off }).collect()
    }

    /// Whether the `n` numbers of all rows are the same, bit for bit.
    fn rows_same(a: &[f32], b: &[f32], n: usize, ld: usize) -> bool {
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
        a.len() == b.len() && a.chunks(ld).zip(b.chunks(ld)).all(|(a, b)| a.iter().zip(b).take(n).all(same))
    }

    #[test]
    fn narrow_errors_and_gradients_in_one_pass_have_the_same_bits() {
        fn check<const SQUARED: bool>(random: &mut Random, rows: usize, n: usize, ld: usize) {
            let (mut x, numbers) = (random.rows(rows, n, ld), random.rows(rows, n, ld));
            // Differences of 0, NaN and infinity too.
            for (i, special) in [f32::NAN, f32::INFINITY, numbers[0], 0.9, -0.0].into_iter().enumerate() {
                let len = x.len();
                x[i * 7 % len] = special;
            }
            let labels: Vec<u32> = (0..rows).map(|_| random.size(0, n.max(2)) as u32).collect();
            let (on, off) = (0.9, 0.1);
            let hot = hot(&labels, n, ld, on, off);
            let of_labels = Targets::Labels { labels: &labels, on, off };
            for (t, targets) in [(&numbers, Targets::Numbers(&numbers)), (&hot, of_labels)] {
                let [out, dx, both_out, both_dx] = everywhere(|cpu| {
                    let [mut dx, mut both_dx] = [(); 2].map(|()| vec![5.0; extent(rows, n, ld)]);
                    let [mut out, mut both_out] = [(); 2].map(|()| vec![5.0; rows]);
                    if SQUARED {
                        squared_error(cpu, rows, n, ld, &x, t, &mut out);
                        squared_error_grad(cpu, rows, n, ld, &x, t, 0.3, &mut dx);
                    } else {
                        absolute_error(cpu, rows, n, ld, &x, t, &mut out);
                        absolute_error_grad(cpu, rows, n, ld, &x, t, 0.3, &mut dx);
                    }
                    let (out_too, dx_too) = (&mut both_out, &mut both_dx);
                    narrow_error_and_grad::<SQUARED>(cpu, rows, n, ld, &x, targets, 0.3, out_too, dx_too);
                    [out, dx, both_out, both_dx]
                });
                assert!(rows_same(&out, &both_out, 1, 1), "{rows}×{n}: {out:?} {both_out:?}");
                assert!(rows_same(&dx, &both_dx, n, ld), "{rows}×{n}: {dx:?} {both_dx:?}");
            }
        }
        cases("narrow_error_and_grad", 120, |seed| {
            let mut random = Random::new(seed);
            let (rows, n) = (random.size(1, 70), random.size(1, NARROW + 1));
            let ld = n + random.size(0, 3);
            check::<true>(&mut random, rows, n, ld);
            check::<false>(&mut random, rows, n, ld);
        });
    }

    #[test]
    #[should_panic(expected = "label 3 of 3 columns")]
    fn labels_of_narrow_errors_are_checked() {
        let (t, mut out, mut dx) = (Targets::Labels { labels: &[0, 3], on: 1.0, off: 0.0 }, [0.0; 2], [0.0; 6]);
        narrow_error_and_grad::<true>(&Cpu::new(1), 2, 3, 3, &[0.0; 6], t, 1.0, &mut out, &mut dx);
    }

    #[test]
    fn the_kink_of_the_absolute_error() {
        let [dx] = everywhere(|cpu| {
            let mut dx = vec![9.0; 4];
            absolute_error_grad(cpu, 1, 4, 4, &[1.0, 2.0, 3.0, f32::NAN], &[2.0, 2.0, 2.0, 2.0], -0.5, &mut dx);
            [dx]
        });
        assert_eq!(dx[..3], [0.5, 0.0, -0.5]);
        assert!(dx[3].is_nan());
    }

    #[test]
    fn one_hot_rows() {
        let [t] = everywhere(|cpu| {
            let mut t = vec![7.0; 11];
            one_hot(cpu, 3, 3, 4, &[2, 0, 1], 0.9, 0.05, &mut t);
            [t]
        });
        assert_eq!(t, [0.05, 0.05, 0.9, 7.0, 0.9, 0.05, 0.05, 7.0, 0.05, 0.9, 0.05]);
    }

    #[test]
    #[should_panic(expected = "label 3 of row 1 is not below 3")]
    fn labels_are_checked() {
        one_hot(&Cpu::new(2), 2, 3, 3, &[0, 3], 1.0, 0.0, &mut [0.0; 6]);
    }

    #[test]
    #[should_panic(expected = "squared_error: t holds 5 numbers, 2 rows of 3, 3 apart, need 6")]
    fn lengths_are_checked() {
        squared_error(&Cpu::new(1), 2, 3, 3, &[0.0; 6], &[0.0; 5], &mut [0.0; 2]);
    }
}
