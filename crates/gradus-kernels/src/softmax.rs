//! Softmax and its logarithm over the columns of each row.
//!
//! **Order.** The sum over a row has sixteen chains: chain l starts at 0 and adds the columns l, l + 16, l + 32, … in this
//! order (what is missing adds a zero); chains are folded by halves, l with l + 8, l + 4, l + 2, l + 1.
//!
//! Numbers of any size will do, and −∞ is a class that cannot be. A row of nothing but −∞, or with a +∞ or NaN in it, has
//! no softmax: all of it becomes NaN.

use crate::Cpu;
use crate::isa::simd;
use crate::math::{LANES, Lanes, check, exp, extent, load, log, store};
use crate::pool::{Read, Write};
use crate::reduce::{fold, fold_sum, larger};

/// How many times as long exponentials take as a copy.
pub(crate) const EFFORT: usize = 8;

/// The largest number of a row; NaN does not count (and shows up later).
#[inline(always)]
pub(crate) fn row_max(x: &[f32], at: usize, n: usize) -> f32 {
    let mut max = [f32::NEG_INFINITY; LANES];
    for j in (0..n).step_by(LANES) {
        let v = load(x, at + j, LANES.min(n - j), f32::NEG_INFINITY);
        for l in 0..LANES {
            max[l] = larger(v[l], max[l]);
        }
    }
    fold(max, larger)
}

/// e^(x − max) of sixteen columns; 0 past the width.
#[inline(always)]
pub(crate) fn exp_shifted(x: &[f32], at: usize, width: usize, max: f32) -> Lanes {
    let v = load(x, at, width, f32::NEG_INFINITY);
    let mut e = [0.0; LANES];
    for l in 0..LANES {
        e[l] = exp(v[l] - max);
    }
    e
}

#[inline(always)]
fn add(sums: &mut Lanes, v: &Lanes) {
    for l in 0..LANES {
        sums[l] += v[l];
    }
}

/// Softmax of one row: writes it to `y` unless that is `None`; gives the largest number and the sum of e^(x − max).
#[inline(always)]
pub(crate) fn softmax_row(x: &[f32], at: usize, n: usize, y: Option<&mut [f32]>) -> (f32, f32) {
    let max = row_max(x, at, n);
    let mut sums = [0.0; LANES];
    if n <= LANES {
        // One register: nothing is computed twice.
        let e = exp_shifted(x, at, n, max);
        let sum = fold_sum(e);
        if let Some(y) = y {
            let mut p = [0.0; LANES];
            for l in 0..LANES {
                p[l] = e[l] / sum;
            }
            store(y, at, n, &p);
        }
        return (max, sum);
    }
    let Some(y) = y else {
        for j in (0..n).step_by(LANES) {
            add(&mut sums, &exp_shifted(x, at + j, LANES.min(n - j), max));
        }
        return (max, fold_sum(sums));
    };
    for j in (0..n).step_by(LANES) {
        let width = LANES.min(n - j);
        let e = exp_shifted(x, at + j, width, max);
        add(&mut sums, &e);
        store(y, at + j, width, &e);
    }
    let sum = fold_sum(sums);
    for y in &mut y[at..at + n] {
        *y /= sum;
    }
    (max, sum)
}

/// Σ a·b over a row, by fused multiply-adds in the order of this module.
#[inline(always)]
fn row_dot(a: &[f32], b: &[f32], at: usize, n: usize) -> f32 {
    let mut sums = [0.0; LANES];
    for j in (0..n).step_by(LANES) {
        let width = LANES.min(n - j);
        let (a, b) = (load(a, at + j, width, 0.0), load(b, at + j, width, 0.0));
        for l in 0..LANES {
            sums[l] = a[l].mul_add(b[l], sums[l]);
        }
    }
    fold_sum(sums)
}

/// The sum of a row of `n` numbers in the order of this module; `row` gives so many from a column on, then zeros.
#[inline(always)]
pub(crate) fn row_sum(n: usize, row: impl Fn(usize, usize) -> Lanes) -> f32 {
    let mut sums = [0.0; LANES];
    for j in (0..n).step_by(LANES) {
        let v = row(j, LANES.min(n - j));
        for l in 0..LANES {
            sums[l] += v[l];
        }
    }
    fold_sum(sums)
}

simd! {
    fn softmax_kernel(rows: usize, n: usize, ld: usize, x: &[f32], y: &mut [f32]) {
        for r in 0..rows {
            softmax_row(x, r * ld, n, Some(y));
        }
    }
}

simd! {
    fn log_softmax_kernel(rows: usize, n: usize, ld: usize, x: &[f32], y: &mut [f32]) {
        for r in 0..rows {
            let (max, sum) = softmax_row(x, r * ld, n, None);
            let log_sum = log(sum);
            for j in (0..n).step_by(LANES) {
                let width = LANES.min(n - j);
                let mut v = load(x, r * ld + j, width, 0.0);
                for v in &mut v {
                    *v = (*v - max) - log_sum;
                }
                store(y, r * ld + j, width, &v);
            }
        }
    }
}

simd! {
    fn softmax_grad_kernel(rows: usize, n: usize, ld: usize, y: &[f32], dy: &[f32], dx: &mut [f32]) {
        for r in 0..rows {
            let dot = row_dot(dy, y, r * ld, n);
            for j in (0..n).step_by(LANES) {
                let (at, width) = (r * ld + j, LANES.min(n - j));
                let (y, dy) = (load(y, at, width, 0.0), load(dy, at, width, 0.0));
                let mut v = [0.0; LANES];
                for l in 0..LANES {
                    v[l] = y[l] * (dy[l] - dot);
                }
                store(dx, at, width, &v);
            }
        }
    }
}

simd! {
    fn log_softmax_grad_kernel(rows: usize, n: usize, ld: usize, y: &[f32], dy: &[f32], dx: &mut [f32]) {
        for r in 0..rows {
            let sum = row_sum(n, #[inline(always)] |j, width| load(dy, r * ld + j, width, 0.0));
            for j in (0..n).step_by(LANES) {
                let (at, width) = (r * ld + j, LANES.min(n - j));
                let (y, dy) = (load(y, at, width, 0.0), load(dy, at, width, 0.0));
                let mut v = [0.0; LANES];
                for l in 0..LANES {
                    v[l] = (-exp(y[l])).mul_add(sum, dy[l]);
                }
                store(dx, at, width, &v);
            }
        }
    }
}

/// y = e^(x − max) / Σ e^(x − max) in each row.
///
/// # Panics
/// When a slice is too short.
pub fn softmax(cpu: &Cpu, rows: usize, n: usize, ld: usize, x: &[f32], y: &mut [f32]) {
    check("softmax: x", x.len(), rows, n, ld);
    check("softmax: y", y.len(), rows, n, ld);
    let end = extent(rows, n, ld);
    let arrays = (Read(&x[..end], ld), Write::new(&mut y[..end], ld));
    cpu.pool.split_rows(EFFORT, rows, 1, arrays, |rows, (x, y)| softmax_kernel(cpu.isa, rows.len(), n, ld, x, y));
}

/// dx = y · (dy − Σ dy·y) in each row; `y` is the softmax.
///
/// # Panics
/// When a slice is too short.
pub fn softmax_grad(cpu: &Cpu, rows: usize, n: usize, ld: usize, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    check("softmax_grad: y", y.len(), rows, n, ld);
    check("softmax_grad: dy", dy.len(), rows, n, ld);
    check("softmax_grad: dx", dx.len(), rows, n, ld);
    let end = extent(rows, n, ld);
    let arrays = (Read(&y[..end], ld), Read(&dy[..end], ld), Write::new(&mut dx[..end], ld));
    cpu.pool.split_rows(1, rows, 1, arrays, |rows, (y, dy, dx)| {
        softmax_grad_kernel(cpu.isa, rows.len(), n, ld, y, dy, dx);
    });
}

/// y = (x − max) − log Σ e^(x − max) in each row.
///
/// # Panics
/// When a slice is too short.
pub fn log_softmax(cpu: &Cpu, rows: usize, n: usize, ld: usize, x: &[f32], y: &mut [f32]) {
    check("log_softmax: x", x.len(), rows, n, ld);
    check("log_softmax: y", y.len(), rows, n, ld);
    let end = extent(rows, n, ld);
    let arrays = (Read(&x[..end], ld), Write::new(&mut y[..end], ld));
    cpu.pool.split_rows(EFFORT, rows, 1, arrays, |rows, (x, y)| log_softmax_kernel(cpu.isa, rows.len(), n, ld, x, y));
}

/// dx = dy − eʸ · Σ dy in each row (one fused multiply-add); `y` is the logarithm of the softmax.
///
/// # Panics
/// When a slice is too short.
pub fn log_softmax_grad(cpu: &Cpu, rows: usize, n: usize, ld: usize, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    check("log_softmax_grad: y", y.len(), rows, n, ld);
    check("log_softmax_grad: dy", dy.len(), rows, n, ld);
    check("log_softmax_grad: dx", dx.len(), rows, n, ld);
    let end = extent(rows, n, ld);
    let arrays = (Read(&y[..end], ld), Read(&dy[..end], ld), Write::new(&mut dx[..end], ld));
    cpu.pool.split_rows(EFFORT, rows, 1, arrays, |rows, (y, dy, dx)| {
        log_softmax_grad_kernel(cpu.isa, rows.len(), n, ld, y, dy, dx);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::testing::{Random, cases, everywhere, row, rows_near};

    fn softmax64(x: &[f64]) -> Vec<f64> {
        let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
        x.iter().map(|x| (x - max).exp() / sum).collect()
    }

    #[test]
    fn softmax_and_gradients_as_defined() {
        cases("softmax", 120, |seed| {
            let mut random = Random::new(seed);
            let (rows, n, ld) = random.shape();
            let (mut x, dy) = (random.rows(rows, n, ld), random.rows(rows, n, ld));
            // Of every size.
            for x in &mut x {
                *x *= [1.0, 10.0, 0.0, 1e30][seed as usize % 4];
            }
            let [y, dx, log_y, log_dx] = everywhere(|cpu| {
                let [mut y, mut dx, mut log_y, mut log_dx] = [(); 4].map(|()| vec![5.0; extent(rows, n, ld)]);
                softmax(cpu, rows, n, ld, &x, &mut y);
                softmax_grad(cpu, rows, n, ld, &y, &dy, &mut dx);
                log_softmax(cpu, rows, n, ld, &x, &mut log_y);
                log_softmax_grad(cpu, rows, n, ld, &log_y, &dy, &mut log_dx);
                [y, dx, log_y, log_dx]
            });
            rows_near(&y, rows, n, ld, 1e-6, |r| softmax64(&row(&x, r, n, ld)));
            rows_near(&log_y, rows, n, ld, 2e-6, |r| {
                let x = row(&x, r, n, ld);
                let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
                x.iter().map(|x| x - max - sum.ln()).collect()
            });
            rows_near(&dx, rows, n, ld, 2e-6, |r| {
                let (y, dy) = (softmax64(&row(&x, r, n, ld)), row(&dy, r, n, ld));
                let dot: f64 = y.iter().zip(&dy).map(|(y, dy)| y * dy).sum();
                y.iter().zip(&dy).map(|(y, dy)| y * (dy - dot)).collect()
            });
            rows_near(&log_dx, rows, n, ld, 1e-5, |r| {
                let (y, dy) = (softmax64(&row(&x, r, n, ld)), row(&dy, r, n, ld));
                let sum: f64 = dy.iter().sum();
                y.iter().zip(&dy).map(|(y, dy)| dy - y * sum).collect()
            });
        });
    }

    #[test]
    fn special_rows() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        for n in [3, 16, 40] {
            for (special, poison) in [(-inf, false), (inf, true), (nan, true), (1e30, false), (-1e30, false)] {
                for at in [0, 1, n - 1] {
                    let mut x = vec![0.5; n];
                    x[at] = special;
                    let [y, log_y] = everywhere(|cpu| {
                        let (mut y, mut log_y) = (vec![9.0; n], vec![9.0; n]);
                        softmax(cpu, 1, n, n, &x, &mut y);
                        log_softmax(cpu, 1, n, n, &x, &mut log_y);
                        [y, log_y]
                    });
                    if poison {
                        assert!(y.iter().chain(&log_y).all(|y| y.is_nan()), "{special} {y:?} {log_y:?}");
                    } else {
                        assert_eq!(y[at], if special > 0.0 { 1.0 } else { 0.0 });
                        assert_eq!(log_y[at], if special > 0.0 { 0.0 } else { special });
                        assert!((y.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                    }
                }
            }
            let [y] = everywhere(|cpu| {
                let mut y = vec![9.0; n];
                softmax(cpu, 1, n, n, &vec![-inf; n], &mut y);
                [y]
            });
            assert!(y.iter().all(|y| y.is_nan()));
        }
    }
}
