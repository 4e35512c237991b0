//! Products of many rows of a few numbers with a matrix of a few rows and columns, as layers of one to four units have them.
//!
//! Columns along the lanes would leave most of those empty. So rows lie along them, sixteen at a time, which are turned into columns in
//! registers and back.

use crate::Isa;
use crate::isa::simd;
use crate::math::LANES;
use crate::matmul::Product;
use crate::reduce::NARROW;
use crate::square::{sixteen, turned};

/// Whether a product is one: its rows are narrow and lie without padding, and there are enough of them.
pub(crate) fn is_narrow(p: &Product) -> bool {
    let Product { m, n, k, rsa, csa, ldc, .. } = *p;
    let few = 1..=NARROW;
    m >= LANES && few.contains(&n) && few.contains(&k) && rsa == k && (csa == 1 || k == 1) && ldc == n
}

/// c(i, j) = start(j) + Σ a(i, k)·b(k, j), for all rows that there are; `start` is 0 if it is not given.
///
/// Order: one chain of fused multiply-adds per number, `k` ascending, from its start.
///
/// # Panics
/// When the product [`is_narrow`] not, or a slice is too short: a and c have as many rows, sixteen or more.
pub(crate) fn narrow(isa: Isa, p: &Product, a: &[f32], b: &[f32], start: Option<&[f32]>, c: &mut [f32]) {
    assert!(is_narrow(p) && a.len() / p.k == c.len() / p.n, "narrow: {} and {} numbers for {p:?}", a.len(), c.len());
    match p.k {
        1 => of_terms::<1>(isa, p, a, b, start, c),
        2 => of_terms::<2>(isa, p, a, b, start, c),
        3 => of_terms::<3>(isa, p, a, b, start, c),
        _ => of_terms::<NARROW>(isa, p, a, b, start, c),
    }
}

#[inline(always)]
fn of_terms<const K: usize>(isa: Isa, p: &Product, a: &[f32], b: &[f32], start: Option<&[f32]>, c: &mut [f32]) {
    match p.n {
        1 => of_columns::<K, 1>(isa, p, a, b, start, c),
        2 => of_columns::<K, 2>(isa, p, a, b, start, c),
        3 => of_columns::<K, 3>(isa, p, a, b, start, c),
        _ => of_columns::<K, NARROW>(isa, p, a, b, start, c),
    }
}

#[inline(always)]
fn of_columns<const K: usize, const N: usize>(
    isa: Isa,
    p: &Product,
    a: &[f32],
    b: &[f32],
    start: Option<&[f32]>,
    c: &mut [f32],
) {
    let Product { ldb, transposed_b, .. } = *p;
    let at = |k, j| if transposed_b { b[j * ldb + k] } else { b[k * ldb + j] };
    let b = std::array::from_fn(|k| std::array::from_fn(|j| at(k, j)));
    let start = start.map_or([0.0; N], |start| *start.first_chunk().expect("a number for each column"));
    rows::<K, N>(isa, a, &b, &start, c);
}

simd! {
    fn rows<const K: usize, const N: usize>(a: &[f32], b: &[[f32; N]; K], start: &[f32; N], c: &mut [f32]) {
        let (a, c) = (a.as_chunks::<K>().0, c.as_chunks_mut::<N>().0);
        for r in (0..c.len()).step_by(LANES) {
            // The last rows again, where fewer are left: they give the same numbers.
            let r = r.min(c.len() - LANES);
            let a = turned(sixteen(a, r), 0.0);
            let mut sums = [[0.0; LANES]; N];
            for j in 0..N {
                sums[j] = [start[j]; LANES];
                for k in 0..K {
                    for l in 0..LANES {
                        sums[j][l] = a[k][l].mul_add(b[k][j], sums[j][l]);
                    }
                }
            }
            *c[r..].first_chunk_mut().expect("sixteen rows") = turned(&sums, 0.0);
        }
    }
}
