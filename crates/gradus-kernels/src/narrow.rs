//! Products of many rows of a few numbers, as layers of one to four units have them.
//!
//! Columns along the lanes would leave most of those empty. So rows lie along them, sixteen at a time, which are turned into columns in
//! registers and back.

use crate::lanes::{Lanes, by_lanes};
use crate::math::LANES;
use crate::matmul::{Product, reach};
pub use crate::reduce::NARROW;
use crate::sums::Total;
use crate::{Cpu, Isa};

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
    // SAFETY: an `Isa` is there; a and c have as many rows, as was checked.
    unsafe { rows::<K, N>(isa, a, &b, &start, c) };
}

by_lanes! {
    /// # Safety
    /// There are as many rows of `K` numbers in a as of `N` in c.
    fn rows<const K: usize, const N: usize>(a: &[f32], b: &[[f32; N]; K], start: &[f32; N], c: &mut [f32]) = rows_of_all
}

/// # Safety
/// As [`rows`], where the instruction set is there.
#[inline(always)]
unsafe fn rows_of_all<V: Lanes, const K: usize, const N: usize>(
    a: &[f32],
    b: &[[f32; N]; K],
    start: &[f32; N],
    c: &mut [f32],
) {
    let rows = c.len() / N;
    for first in (0..rows).step_by(LANES) {
        let some = LANES.min(rows - first);
        // SAFETY: the caller's promises; `V::N` numbers from `lane` on are among the sixteen.
        unsafe {
            let (a, mut sums) = (V::columns::<K>(a.as_ptr().add(first * K), some), [[0.0; LANES]; N]);
            for lane in (0..LANES).step_by(V::N) {
                for j in 0..N {
                    let mut sum = V::splat(start[j]);
                    for k in 0..K {
                        sum = sum.add_product(V::load(a[k].as_ptr().add(lane)), V::splat(b[k][j]));
                    }
                    sum.store(sums[j].as_mut_ptr().add(lane));
                }
            }
            V::store_columns(&sums, c.as_mut_ptr().add(first * N), some);
        }
    }
}

/// dw(i, j) = Σ x(s, i)·dy(s, j) and db(j) = Σ dy(s, j) over the `batch` samples, or what `total` says of each. There are 1 to
/// [`NARROW`] `inputs` and `outputs`. Rows of dw are `ldw` apart, those of x and dy follow each other.
///
/// Order: sixteen chains of fused multiply-adds, or of additions, from 0: chain c has the samples c, c + 16, … in this order. They are
/// folded by halves: c with c + 8, then c + 4, c + 2, c + 1. The sum is added to 0 or to what is stored ([`Total::Added`]). In one
/// chain, each sample would wait for the last one, as a layer of one unit has no other sums to go on with.
///
/// # Panics
/// When a slice is shorter than the shape says, `ldw` less than a row, or there are not 1 to [`NARROW`] numbers.
pub fn weight_grad(
    cpu: &Cpu,
    batch: usize,
    (inputs, x): (usize, &[f32]),
    (outputs, dy): (usize, &[f32]),
    (ldw, dw): (usize, &mut [f32]),
    db: Option<&mut [f32]>,
    total: Total,
) {
    let few = 1..=NARROW;
    assert!(few.contains(&inputs) && few.contains(&outputs), "weight_grad: {inputs} inputs, {outputs} outputs");
    let fits = reach(batch, inputs, inputs) <= x.len() && reach(batch, outputs, outputs) <= dy.len();
    assert!(fits, "weight_grad: {} and {} numbers, too few for {batch}×{inputs} and {outputs}", x.len(), dy.len());
    let fits = ldw >= outputs && reach(inputs, outputs, ldw) <= dw.len();
    assert!(fits, "weight_grad: {} numbers, {ldw} apart, for {inputs}×{outputs}", dw.len());
    let mut rows: [&mut [f32]; NARROW + 1] = Default::default();
    rows.iter_mut().zip(dw.chunks_mut(ldw).take(inputs)).for_each(|(to, row)| *to = row);
    rows[inputs] = db.unwrap_or_default();
    let rows = &mut rows[..=inputs];
    match inputs {
        1 => grad_of::<1>(cpu.isa, batch, outputs, x, dy, rows, total),
        2 => grad_of::<2>(cpu.isa, batch, outputs, x, dy, rows, total),
        3 => grad_of::<3>(cpu.isa, batch, outputs, x, dy, rows, total),
        _ => grad_of::<NARROW>(cpu.isa, batch, outputs, x, dy, rows, total),
    }
}

/// The `db` of [`weight_grad`] alone, of `n` numbers.
///
/// # Panics
/// As there.
pub fn bias_grad(cpu: &Cpu, batch: usize, (n, dy): (usize, &[f32]), db: &mut [f32], total: Total) {
    // Beside the gradient of a weight that nobody has.
    weight_grad(cpu, batch, (1, dy), (n, dy), (NARROW, &mut [0.0; NARROW]), Some(db), total);
}

#[inline(always)]
fn grad_of<const K: usize>(
    isa: Isa,
    batch: usize,
    outputs: usize,
    x: &[f32],
    dy: &[f32],
    rows: &mut [&mut [f32]],
    total: Total,
) {
    // SAFETY: an `Isa` is there, and so are the samples, as was checked.
    unsafe {
        match outputs {
            1 => grad::<K, 1>(isa, batch, x, dy, rows, total),
            2 => grad::<K, 2>(isa, batch, x, dy, rows, total),
            3 => grad::<K, 3>(isa, batch, x, dy, rows, total),
            _ => grad::<K, NARROW>(isa, batch, x, dy, rows, total),
        }
    }
}

by_lanes! {
    /// The `K` rows of dw, and after them db, which may be empty.
    ///
    /// # Safety
    /// There are as many rows of `K` and `N` numbers in x and dy as there are samples.
    fn grad<const K: usize, const N: usize>(
        batch: usize, x: &[f32], dy: &[f32], rows: &mut [&mut [f32]], total: Total,
    ) = grad_of_all
}

/// # Safety
/// As [`grad`], where the instruction set is there.
#[inline(always)]
unsafe fn grad_of_all<V: Lanes, const K: usize, const N: usize>(
    batch: usize,
    x: &[f32],
    dy: &[f32],
    rows: &mut [&mut [f32]],
    total: Total,
) {
    let (mut weights, mut biases) = ([[[0.0; LANES]; N]; K], [[0.0; LANES]; N]);
    for lane in (0..LANES).step_by(V::N) {
        // SAFETY: the caller's promises; `V::N` numbers from `lane` on are among the sixteen.
        unsafe {
            let (mut weight, mut bias) = ([[V::splat(0.0); N]; K], [V::splat(0.0); N]);
            for first in (0..batch).step_by(LANES) {
                let some = LANES.min(batch - first);
                let x = V::columns::<K>(x.as_ptr().add(first * K), some);
                let dy = V::columns::<N>(dy.as_ptr().add(first * N), some);
                for j in 0..N {
                    let dy = V::load(dy[j].as_ptr().add(lane));
                    bias[j] = bias[j].add(dy);
                    for i in 0..K {
                        weight[i][j] = weight[i][j].add_product(V::load(x[i].as_ptr().add(lane)), dy);
                    }
                }
            }
            for j in 0..N {
                for i in 0..K {
                    weight[i][j].store(weights[i][j].as_mut_ptr().add(lane));
                }
                bias[j].store(biases[j].as_mut_ptr().add(lane));
            }
        }
    }
    for (chains, row) in weights.iter().chain([&biases]).zip(rows).filter(|(_, row)| !row.is_empty()) {
        let row = &mut row[..N];
        // SAFETY: the instruction set is there, and so are the `N` ≤ 4 numbers of the row.
        unsafe {
            let (sums, stored) = (V::four_sums(chains), V::load_first(row.as_ptr(), N));
            let sums = V::load_first(sums.as_ptr(), N);
            let all = match total {
                Total::New => V::splat(0.0).add(sums),
                Total::Added => stored.add(sums),
                Total::Sgd(sgd) if sgd.weight_decay == 0.0 => sgd.step::<V, false>(stored, V::splat(0.0).add(sums)),
                Total::Sgd(sgd) => sgd.step::<V, true>(stored, V::splat(0.0).add(sums)),
            };
            all.store_first(row.as_mut_ptr(), N);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::testing::{cases, shape_is};
    use crate::matmul::tests::{Numbers, check_step, machines, same_bits};

    /// What the order says, one number after the other.
    fn defined(start: f32, terms: impl Iterator<Item = (f32, f32)>) -> f32 {
        let mut chains = [0.0_f32; 16];
        terms.enumerate().for_each(|(s, (x, dy))| chains[s % 16] = x.mul_add(dy, chains[s % 16]));
        for half in [8, 4, 2, 1] {
            (0..half).for_each(|c| chains[c] += chains[c + half]);
        }
        start + chains[0]
    }

    #[test]
    fn gradients_of_narrow_layers_are_sums_of_sixteen_chains() {
        let machines = machines();
        cases("narrow gradients", 300, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let (batch, inputs, outputs) = (numbers.pick(0..90), numbers.pick(1..5), numbers.pick(1..5));
            let ldw = outputs + numbers.pick(0..4);
            shape_is(&(batch, inputs, outputs, ldw));
            let (x, dy) = (numbers.rows(batch, inputs, inputs, 0.0), numbers.rows(batch, outputs, outputs, 0.0));
            let (w, b) = (numbers.rows(inputs, outputs, ldw, 77.0), numbers.rows(1, outputs, outputs, 0.0));
            for total in [Total::New, Total::Added] {
                let start = |stored: f32| if total == Total::Added { stored } else { 0.0 };
                let alone = same_bits(&machines, "bias_grad", |cpu| {
                    let mut db = b.clone();
                    bias_grad(cpu, batch, (outputs, &dy), &mut db, total);
                    db
                });
                for with_bias in [true, false] {
                    let found = same_bits(&machines, "weight_grad", |cpu| {
                        let (mut dw, mut db) = (w.clone(), b.clone());
                        let bias = with_bias.then_some(&mut db[..]);
                        weight_grad(cpu, batch, (inputs, &x), (outputs, &dy), (ldw, &mut dw), bias, total);
                        dw.extend(db);
                        dw
                    });
                    let (dw, db) = found.split_at(w.len());
                    assert_eq!(db, if with_bias { &alone } else { &b }, "the bias");
                    for (at, found) in dw.iter().enumerate() {
                        let (i, j) = (at / ldw, at % ldw);
                        let terms = (0..batch).map(|s| (x[s * inputs + i], dy[s * outputs + j]));
                        let want = if j < outputs { defined(start(w[at]), terms) } else { 77.0 };
                        assert_eq!(found.to_bits(), want.to_bits(), "weight ({i}, {j}), {total:?}");
                    }
                }
                for (j, found) in alone.iter().enumerate() {
                    let terms = (0..batch).map(|s| (1.0, dy[s * outputs + j]));
                    assert_eq!(found.to_bits(), defined(start(b[j]), terms).to_bits(), "bias {j}, {total:?}");
                }
            }
            check_step(&machines, &mut numbers, (outputs, ldw), &w, "weight_grad", |cpu, sgd, p| {
                let total = sgd.map_or(Total::New, Total::Sgd);
                weight_grad(cpu, batch, (inputs, &x), (outputs, &dy), (ldw, p), None, total);
            });
            check_step(&machines, &mut numbers, (outputs, outputs), &b, "bias_grad", |cpu, sgd, p| {
                bias_grad(cpu, batch, (outputs, &dy), p, sgd.map_or(Total::New, Total::Sgd));
            });
        });
    }
}
