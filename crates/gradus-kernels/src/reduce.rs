//! Sums of many terms, each by one fixed tree, and questions about whole slices.
//!
//! **Order of a sum over a slice.** Blocks of 4096 terms. In a block 64 chains: chain c starts at 0 and adds the terms
//! c, c + 64, c + 128, … in this order (what is missing in the last row of 64 adds a zero). Chains are folded by halves: c
//! with c + 32, then c + 16, …, c + 1. Blocks are added in pairs of equal size as a binary counter does, the earlier one
//! first; what remains at the end is added from the smallest to the largest.
//!
//! **Order of a sum over rows** (a column of [`sum_columns`], the sums of batch norm). Blocks of 64 rows. In a block four
//! chains by row mod 4, folded as (0 + 1) + (2 + 3). Blocks as above.

use crate::Cpu;
use crate::isa::simd;
use crate::math::{LANES, Lanes, check, extent, load};

const CHAINS: usize = 4 * LANES;
const BLOCK: usize = 64 * CHAINS;
const BLOCK_ROWS: usize = 64;

/// Folds the lanes by halves: l with l + 8, then l + 4, l + 2, l + 1.
#[inline(always)]
pub(crate) fn fold(mut v: Lanes, f: impl Fn(f32, f32) -> f32) -> f32 {
    for l in 0..8 {
        v[l] = f(v[l], v[l + 8]);
    }
    for l in 0..4 {
        v[l] = f(v[l], v[l + 4]);
    }
    f(f(v[0], v[2]), f(v[1], v[3]))
}

/// So few columns are quicker one by one.
pub const NARROW: usize = 4;

/// The same fold of sixteen rows at once, which lie in columns: lane r of `columns[l]` is lane l of row r. Of `N` ≤ [`NARROW`] columns,
/// with `nothing` in all others.
#[inline(always)]
pub(crate) fn fold_columns<const N: usize>(columns: &[Lanes; N], nothing: f32, f: impl Fn(f32, f32) -> f32) -> Lanes {
    let mut v = [nothing; 8 * LANES];
    if N <= NARROW {
        let mut all = [[nothing; LANES]; NARROW];
        let mut folded = [0.0; LANES];
        for r in 0..LANES {
            for c in 0..N {
                all[c][r] = f(columns[c][r], nothing);
            }
            folded[r] = f(f(all[0][r], all[2][r]), f(all[1][r], all[3][r]));
        }
        return folded;
    }
    // As columns follow each other, half of them is half of the numbers.
    let (low, high) = columns.as_flattened().split_at(8 * LANES);
    for ((v, a), b) in v.iter_mut().zip(low).zip(high) {
        *v = f(*a, *b);
    }
    for half in [4 * LANES, 2 * LANES, LANES] {
        let (low, high) = v.split_at_mut(half);
        for (a, b) in low.iter_mut().zip(high) {
            *a = f(*a, *b);
        }
    }
    v.first_chunk().copied().expect("sixteen are left")
}

/// The sum of the lanes, folded by halves.
#[inline(always)]
pub(crate) fn fold_sum(v: Lanes) -> f32 {
    fold(v, plus)
}

/// a + b
#[inline(always)]
pub(crate) fn plus(a: f32, b: f32) -> f32 {
    a + b
}

/// The larger of two; the second if one is NaN.
#[inline(always)]
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Adds up partial sums as a binary counter does: [`Counter::push`] each, then [`Counter::total`].
struct Counter<T, const LEVELS: usize> {
    levels: [T; LEVELS],
    pushed: usize,
}

impl<T: Copy, const LEVELS: usize> Counter<T, LEVELS> {
    #[inline(always)]
    fn new(zero: T) -> Self {
        Self { levels: [zero; LEVELS], pushed: 0 }
    }

    #[inline(always)]
    fn push(&mut self, mut value: T, add: impl Fn(T, T) -> T) {
        let mut level = 0;
        while self.pushed >> level & 1 == 1 {
            value = add(self.levels[level], value);
            level += 1;
        }
        self.levels[level] = value;
        self.pushed += 1;
    }

    #[inline(always)]
    fn total(self, add: impl Fn(T, T) -> T) -> Option<T> {
        let mut total = None;
        let mut left = self.pushed;
        while left != 0 {
            let value = self.levels[left.trailing_zeros() as usize];
            total = Some(match total {
                None => value,
                Some(smaller) => add(value, smaller),
            });
            left &= left - 1;
        }
        total
    }
}

/// The tree of a slice; `step(sum, x)` adds a term to a chain.
#[inline(always)]
fn tree(x: &[f32], step: impl Fn(f32, f32) -> f32) -> f32 {
    let mut counter = Counter::<f32, 52>::new(0.0);
    for block in x.chunks(BLOCK) {
        let mut sums = [0.0f32; CHAINS];
        let (rows, rest) = block.as_chunks::<CHAINS>();
        for row in rows {
            for c in 0..CHAINS {
                sums[c] = step(sums[c], row[c]);
            }
        }
        if !rest.is_empty() {
            let mut row = [0.0f32; CHAINS];
            row[..rest.len()].copy_from_slice(rest);
            for c in 0..CHAINS {
                sums[c] = step(sums[c], row[c]);
            }
        }
        let mut lanes = [0.0f32; LANES];
        for l in 0..LANES {
            lanes[l] = (sums[l] + sums[l + 32]) + (sums[l + 16] + sums[l + 48]);
        }
        counter.push(
            fold_sum(lanes),
            #[inline(always)]
            |a, b| a + b,
        );
    }
    counter
        .total(
            #[inline(always)]
            |a, b| a + b,
        )
        .unwrap_or(0.0)
}

/// Adds `K` vectors to `K` others.
#[inline(always)]
fn add_lanes<const K: usize>(mut a: [Lanes; K], b: [Lanes; K]) -> [Lanes; K] {
    for k in 0..K {
        for l in 0..LANES {
            a[k][l] += b[k][l];
        }
    }
    a
}

/// The sums of one block of rows.
#[inline(always)]
fn sum_block<const K: usize>(from: usize, to: usize, step: &impl Fn(&mut [Lanes; K], usize)) -> [Lanes; K] {
    let mut chains = [[[0.0f32; LANES]; K]; 4];
    let mut r = from;
    while r + 4 <= to {
        for (i, chain) in chains.iter_mut().enumerate() {
            step(chain, r + i);
        }
        r += 4;
    }
    for (i, r) in (r..to).enumerate() {
        step(&mut chains[i], r);
    }
    add_lanes(add_lanes(chains[0], chains[1]), add_lanes(chains[2], chains[3]))
}

/// `K` sums over rows of sixteen columns each; `step(sums, r)` adds row r to a chain.
#[inline(always)]
pub(crate) fn sum_rows<const K: usize>(rows: usize, step: impl Fn(&mut [Lanes; K], usize)) -> [Lanes; K] {
    if rows <= BLOCK_ROWS {
        return sum_block(0, rows, &step);
    }
    let mut counter = Counter::<[Lanes; K], 40>::new([[0.0; LANES]; K]);
    let mut r = 0;
    while r < rows {
        let end = (r + BLOCK_ROWS).min(rows);
        counter.push(sum_block(r, end, &step), add_lanes);
        r = end;
    }
    counter.total(add_lanes).unwrap_or([[0.0; LANES]; K])
}

simd! {
    fn sum_kernel(x: &[f32]) -> f32 {
        tree(x, #[inline(always)] |sum, x| sum + x)
    }
}

simd! {
    fn sum_squares_kernel(x: &[f32]) -> f32 {
        tree(x, #[inline(always)] |sum, x| x.mul_add(x, sum))
    }
}

simd! {
    fn sum_columns_kernel(rows: usize, n: usize, ld: usize, x: &[f32], out: &mut [f32]) {
        for j in (0..n).step_by(LANES) {
            let width = LANES.min(n - j);
            let [sums] = sum_rows(rows, #[inline(always)] |[sum], r| {
                let v = load(x, r * ld + j, width, 0.0);
                for l in 0..LANES {
                    sum[l] += v[l];
                }
            });
            out[j..j + width].copy_from_slice(&sums[..width]);
        }
    }
}

simd! {
    fn all_finite_kernel(x: &[f32]) -> bool {
        const EXPONENT: u32 = 0x7F80_0000;
        x.chunks(BLOCK).all(|block| {
            block.iter().fold(0, |bad, v| bad | u32::from(v.to_bits() & EXPONENT == EXPONENT)) == 0
        })
    }
}

simd! {
    fn any_nonzero_kernel(x: &[f32]) -> bool {
        x.chunks(BLOCK).any(|block| block.iter().fold(0, |bits, v| bits | v.to_bits() << 1) != 0)
    }
}

/// Σ xᵢ by the tree of this module.
pub fn sum(cpu: &Cpu, x: &[f32]) -> f32 {
    sum_kernel(cpu.isa, x)
}

/// Σ xᵢ², each added by a fused multiply-add, by the tree of this module.
pub fn sum_squares(cpu: &Cpu, x: &[f32]) -> f32 {
    sum_squares_kernel(cpu.isa, x)
}

/// out\[j\] = Σ over rows of x\[r\]\[j\], by the tree over rows of this module; writes `n` numbers.
///
/// # Panics
/// When a slice is too short.
pub fn sum_columns(cpu: &Cpu, rows: usize, n: usize, ld: usize, x: &[f32], out: &mut [f32]) {
    check("sum_columns: x", x.len(), rows, n, ld);
    assert!(out.len() >= n, "sum_columns: out holds {} numbers, needs {n}", out.len());
    sum_columns_kernel(cpu.isa, rows, n, ld, &x[..extent(rows, n, ld)], out);
}

/// Whether no element is infinite or NaN.
pub fn all_finite(cpu: &Cpu, x: &[f32]) -> bool {
    all_finite_kernel(cpu.isa, x)
}

/// Whether some element is not ±0 (NaN is not).
pub fn any_nonzero(cpu: &Cpu, x: &[f32]) -> bool {
    any_nonzero_kernel(cpu.isa, x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::testing::{Random, cases, everywhere, near, row, rows_near, shape_is};

    /// The order of the module's doc, written out plainly.
    fn sum_in_order(x: &[f32]) -> f32 {
        fn halves(x: &[f32]) -> f32 {
            if x.len() == 1 {
                return x[0];
            }
            let (a, b) = x.split_at(x.len() / 2);
            halves(&a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<f32>>())
        }
        let blocks: Vec<f32> = x
            .chunks(4096)
            .map(|block| {
                let mut chains = [0.0f32; 64];
                for (i, x) in block.iter().enumerate() {
                    chains[i % 64] += x;
                }
                halves(&chains)
            })
            .collect();
        // A binary counter: groups of the powers of two in the number of blocks, the largest first.
        fn group(x: &[f32]) -> f32 {
            if x.len() == 1 { x[0] } else { group(&x[..x.len() / 2]) + group(&x[x.len() / 2..]) }
        }
        let (mut groups, mut rest) = (vec![], &blocks[..]);
        while !rest.is_empty() {
            let (a, b) = rest.split_at(1 << rest.len().ilog2());
            groups.push(group(a));
            rest = b;
        }
        groups.into_iter().rev().reduce(|smaller, larger| larger + smaller).unwrap_or(0.0)
    }

    #[test]
    fn rows_folded_together_are_folded_alike() {
        fn check<const N: usize>(rows: [Lanes; LANES], nothing: f32, f: impl Fn(f32, f32) -> f32) {
            let rows = rows.map(|row| std::array::from_fn(|l| if l < N { row[l] } else { nothing }));
            let columns: [Lanes; N] = std::array::from_fn(|l| rows.map(|row| row[l]));
            let folded = fold_columns(&columns, nothing, &f);
            assert_eq!(folded.map(f32::to_bits), rows.map(|row| fold(row, &f).to_bits()), "{N} columns");
        }
        let mut random = Random::new(1);
        let mut rows: [Lanes; LANES] = std::array::from_fn(|_| random.numbers(LANES).try_into().unwrap());
        rows[3][..4].fill(-0.0);
        rows[7][..4].fill(f32::NEG_INFINITY);
        (rows[5][0], rows[6][1]) = (f32::NAN, f32::NEG_INFINITY);
        for (nothing, f) in [(0.0, plus as fn(f32, f32) -> f32), (f32::NEG_INFINITY, larger)] {
            check::<1>(rows, nothing, f);
            check::<2>(rows, nothing, f);
            check::<3>(rows, nothing, f);
            check::<NARROW>(rows, nothing, f);
            check::<LANES>(rows, nothing, f);
        }
    }

    #[test]
    fn sums_keep_their_order() {
        const SIZES: [usize; 9] = [0, 1, 2, 4095, 4096, 4097, 9000, 4096 * 7 + 5, 100_001];
        cases("sum, sum_squares", 50, |seed| {
            let mut random = Random::new(seed);
            let any = random.size(0, [70, 9000][seed as usize % 2]);
            let n = SIZES.get(seed as usize).copied().unwrap_or(any);
            shape_is(&n);
            let x = random.numbers(n);
            let [got] = everywhere(|cpu| [vec![sum(cpu, &x), sum_squares(cpu, &x)]]);
            assert_eq!(got[0].to_bits(), sum_in_order(&x).to_bits(), "{n}");
            near(got[0], x.iter().map(|&x| f64::from(x)).sum(), 1e-6 * (n as f64).sqrt());
            near(got[1], x.iter().map(|&x| f64::from(x).powi(2)).sum(), 1e-6);
        });
    }

    #[test]
    fn many_terms_lose_little() {
        let x = vec![0.1f32; 3_000_000];
        let want = 3e6 * f64::from(0.1f32);
        let error = (f64::from(sum(&Cpu::new(1), &x)) - want).abs() / want;
        assert!(error < 1e-6, "{error}");
    }

    #[test]
    fn sums_of_columns() {
        const ROWS: [usize; 8] = [0, 63, 64, 65, 127, 128, 129, 1000];
        cases("sum_columns", 40, |seed| {
            let mut random = Random::new(seed);
            let any = random.size(1, 260);
            let rows = ROWS.get(seed as usize).copied().unwrap_or(any);
            let (_, n, ld) = random.shape();
            shape_is(&(rows, n, ld));
            let x = random.rows(rows, n, ld);
            let [got] = everywhere(|cpu| {
                let mut out = vec![7.0; n];
                sum_columns(cpu, rows, n, ld, &x, &mut out);
                [out]
            });
            rows_near(&got, 1, n, n, 1e-5, |_| (0..n).map(|j| (0..rows).map(|r| row(&x, r, n, ld)[j]).sum()).collect());
            // The order: blocks of 64 rows, four chains in each.
            for j in 0..n {
                let blocks: Vec<f32> = (0..rows)
                    .step_by(64)
                    .map(|from| {
                        let mut c = [0.0f32; 4];
                        for r in from..rows.min(from + 64) {
                            c[(r - from) % 4] += x[r * ld + j];
                        }
                        (c[0] + c[1]) + (c[2] + c[3])
                    })
                    .collect();
                let want = match blocks[..] {
                    [] => 0.0,
                    [a] => a,
                    [a, b] => a + b,
                    [a, b, c] => (a + b) + c,
                    [a, b, c, d] => (a + b) + (c + d),
                    _ => got[j],
                };
                assert_eq!(got[j].to_bits(), want.to_bits());
            }
        });
    }

    #[test]
    fn questions() {
        cases("all_finite, any_nonzero", 40, |seed| {
            let mut random = Random::new(seed);
            let n = random.size(1, [70, 9000][seed as usize % 2]);
            shape_is(&n);
            for at in [0, n / 2, n - 1] {
                everywhere(|cpu| {
                    let mut x = vec![0.0; n];
                    assert!(all_finite(cpu, &x) && !any_nonzero(cpu, &x));
                    x[at] = -0.0;
                    assert!(all_finite(cpu, &x) && !any_nonzero(cpu, &x));
                    for v in [f32::INFINITY, -f32::INFINITY, f32::NAN, -f32::NAN] {
                        x[at] = v;
                        assert!(!all_finite(cpu, &x) && any_nonzero(cpu, &x));
                    }
                    for v in [f32::MAX, f32::MIN, 1e-45] {
                        x[at] = v;
                        assert!(all_finite(cpu, &x) && any_nonzero(cpu, &x));
                    }
                    []
                });
            }
        });
        let cpu = Cpu::new(1);
        assert!(all_finite(&cpu, &[]) && !any_nonzero(&cpu, &[]));
    }
}
