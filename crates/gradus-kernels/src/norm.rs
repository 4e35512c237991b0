//! Batch norm: every column (channel) normalised over all rows (samples and pixels).
//!
//! **Order.** Sums over rows are the trees of [`crate::reduce`]. mean = Σx / rows; var = Σ(x − mean)² / rows, by fused
//! multiply-adds; inv_std = 1 / √(var + eps); y = (x − mean)·(inv_std·gamma) + beta, the last product and sum fused. Where
//! gamma or beta is missing it is 1 or 0.

use crate::Cpu;
use crate::isa::simd;
use crate::math::{LANES, Lanes, check, extent, load, store};
use crate::pool::{Columns, Read, Write};
use crate::reduce::sum_rows;

/// The sizes of a batch norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Over how many rows.
    pub rows: usize,
    /// Columns.
    pub n: usize,
    /// Distance between rows.
    pub ld: usize,
    /// What is added to the variance.
    pub eps: f32,
}

/// Sixteen numbers of one that there may be.
#[inline(always)]
fn load_or(x: Option<&[f32]>, at: usize, width: usize, other: f32) -> Lanes {
    match x {
        Some(x) => load(x, at, width, other),
        None => [other; LANES],
    }
}

/// The rows of sixteen columns of y, given their coefficients.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn apply(s: &Norm, j: usize, width: usize, x: &[f32], mean: &Lanes, scale: &Lanes, beta: &Lanes, y: &mut [f32]) {
    for r in 0..s.rows {
        let v = load(x, r * s.ld + j, width, 0.0);
        let mut out = [0.0; LANES];
        for l in 0..LANES {
            out[l] = (v[l] - mean[l]).mul_add(scale[l], beta[l]);
        }
        store(y, r * s.ld + j, width, &out);
    }
}

/// The starts of the chunks of sixteen columns, the last first, as [`store`] wants it.
#[inline(always)]
fn chunks(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n.div_ceil(LANES)).rev().map(
        #[inline(always)]
        move |c| (c * LANES, LANES.min(n - c * LANES)),
    )
}

simd! {
    fn statistics_kernel(s: &Norm, x: &[f32], mean: &mut [f32], inv_std: &mut [f32], var: &mut [f32]) {
        let count = s.rows as f32;
        for (j, width) in chunks(s.n) {
            let [mut mu] = sum_rows(s.rows, #[inline(always)] |[sum], r| {
                let v = load(x, r * s.ld + j, width, 0.0);
                for l in 0..LANES {
                    sum[l] += v[l];
                }
            });
            for mu in &mut mu {
                *mu /= count;
            }
            let [mut variance] = sum_rows(s.rows, #[inline(always)] |[sum], r| {
                let v = load(x, r * s.ld + j, width, 0.0);
                for l in 0..LANES {
                    let d = v[l] - mu[l];
                    sum[l] = d.mul_add(d, sum[l]);
                }
            });
            let mut inverse = [0.0; LANES];
            for l in 0..LANES {
                variance[l] /= count;
                inverse[l] = 1.0 / (variance[l] + s.eps).sqrt();
            }
            mean[j..j + width].copy_from_slice(&mu[..width]);
            var[j..j + width].copy_from_slice(&variance[..width]);
            inv_std[j..j + width].copy_from_slice(&inverse[..width]);
        }
    }
}

simd! {
    fn batch_norm_kernel(
        s: &Norm, x: &[f32], gamma: Option<&[f32]>, beta: Option<&[f32]>, mean: &[f32], inv_std: &[f32], y: &mut [f32],
    ) {
        for (j, width) in chunks(s.n) {
            let mean = load(mean, j, width, 0.0);
            let mut scale = load(inv_std, j, width, 0.0);
            let gammas = load_or(gamma, j, width, 1.0);
            for l in 0..LANES {
                scale[l] *= gammas[l];
            }
            apply(s, j, width, x, &mean, &scale, &load_or(beta, j, width, 0.0), y);
        }
    }
}

simd! {
    fn batch_norm_infer_kernel(
        s: &Norm, x: &[f32], gamma: Option<&[f32]>, beta: Option<&[f32]>, running_mean: &[f32], running_var: &[f32],
        y: &mut [f32],
    ) {
        for (j, width) in chunks(s.n) {
            let mean = load(running_mean, j, width, 0.0);
            let var = load(running_var, j, width, 1.0);
            let mut scale = load_or(gamma, j, width, 1.0);
            for l in 0..LANES {
                scale[l] *= 1.0 / (var[l] + s.eps).sqrt();
            }
            apply(s, j, width, x, &mean, &scale, &load_or(beta, j, width, 0.0), y);
        }
    }
}

simd! {
    fn grad_sums_kernel(
        s: &Norm, x: &[f32], dy: &[f32], mean: &[f32], inv_std: &[f32], sum_dy: &mut [f32], sum_dy_xhat: &mut [f32],
    ) {
        for (j, width) in chunks(s.n) {
            let mu = load(mean, j, width, 0.0);
            let inverse = load(inv_std, j, width, 0.0);
            let [a, b] = sum_rows(s.rows, #[inline(always)] |[a, b], r| {
                let v = load(x, r * s.ld + j, width, 0.0);
                let g = load(dy, r * s.ld + j, width, 0.0);
                for l in 0..LANES {
                    a[l] += g[l];
                    b[l] = g[l].mul_add((v[l] - mu[l]) * inverse[l], b[l]);
                }
            });
            sum_dy[j..j + width].copy_from_slice(&a[..width]);
            sum_dy_xhat[j..j + width].copy_from_slice(&b[..width]);
        }
    }
}

simd! {
    /// `count` rows were summed; those of `s` are done.
    fn batch_norm_grad_kernel(
        s: &Norm, count: f32, x: &[f32], mean: &[f32], inv_std: &[f32], gamma: Option<&[f32]>, dy: &[f32],
        sum_dy: &[f32], sum_dy_xhat: &[f32], dx: &mut [f32],
    ) {
        for (j, width) in chunks(s.n) {
            let mu = load(mean, j, width, 0.0);
            let inverse = load(inv_std, j, width, 0.0);
            let mut a = load(sum_dy, j, width, 0.0);
            let mut b = load(sum_dy_xhat, j, width, 0.0);
            let mut scale = load_or(gamma, j, width, 1.0);
            for l in 0..LANES {
                a[l] /= count;
                b[l] /= count;
                scale[l] *= inverse[l];
            }
            for r in 0..s.rows {
                let v = load(x, r * s.ld + j, width, 0.0);
                let g = load(dy, r * s.ld + j, width, 0.0);
                let mut out = [0.0; LANES];
                for l in 0..LANES {
                    let xhat = (v[l] - mu[l]) * inverse[l];
                    out[l] = scale[l] * (-xhat).mul_add(b[l], g[l] - a[l]);
                }
                store(dx, r * s.ld + j, width, &out);
            }
        }
    }
}

simd! {
    fn running_kernel(momentum: f32, factor: f32, new: &[f32], running: &mut [f32]) {
        for (running, new) in running.iter_mut().zip(new) {
            *running = momentum.mul_add(new * factor, (1.0 - momentum) * *running);
        }
    }
}

impl Norm {
    #[track_caller]
    fn check_rows(&self, name: &str, x: &[f32]) {
        check(name, x.len(), self.rows, self.n, self.ld);
    }

    #[track_caller]
    fn check_columns(&self, name: &str, x: &[f32]) {
        assert!(x.len() >= self.n, "{name} holds {} numbers, {} columns need one each", x.len(), self.n);
    }

    fn end(&self) -> usize {
        extent(self.rows, self.n, self.ld)
    }

    /// The same for so many columns.
    fn columns(&self, n: usize) -> Norm {
        Norm { n, ..*self }
    }

    /// The same for so many rows.
    fn part(&self, rows: usize) -> Norm {
        Norm { rows, ..*self }
    }
}

/// Batch norm with the statistics of the batch, which are written out: `mean`, `inv_std` and the biased `var`, `n` each.
///
/// # Panics
/// When there are no rows or a slice is too short.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm(
    cpu: &Cpu,
    s: &Norm,
    x: &[f32],
    gamma: Option<&[f32]>,
    beta: Option<&[f32]>,
    y: &mut [f32],
    mean: &mut [f32],
    inv_std: &mut [f32],
    var: &mut [f32],
) {
    assert!(s.rows > 0, "batch_norm: no rows to take statistics of");
    s.check_rows("batch_norm: x", x);
    s.check_rows("batch_norm: y", y);
    for (name, x) in [("batch_norm: gamma", gamma), ("batch_norm: beta", beta)] {
        if let Some(x) = x {
            s.check_columns(name, x);
        }
    }
    s.check_columns("batch_norm: mean", mean);
    s.check_columns("batch_norm: inv_std", inv_std);
    s.check_columns("batch_norm: var", var);
    let (x, ld) = (&x[..s.end()], s.ld);
    let (mean, inv_std, var) = (&mut mean[..s.n], &mut inv_std[..s.n], &mut var[..s.n]);
    let arrays = (Columns(x), Write::new(mean, 1), Write::new(inv_std, 1), Write::new(var, 1));
    cpu.pool.split_rows(1, s.n, LANES, arrays, |columns, (x, mean, inv_std, var)| {
        statistics_kernel(cpu.isa, &s.columns(columns.len()), x, mean, inv_std, var);
    });
    cpu.pool.split_rows(1, s.rows, 1, (Read(x, ld), Write::new(&mut y[..s.end()], ld)), |rows, (x, y)| {
        batch_norm_kernel(cpu.isa, &s.part(rows.len()), x, gamma, beta, mean, inv_std, y);
    });
}

/// The running statistics after a batch: running = momentum·new + (1 − momentum)·running (the first product fused), where
/// the new variance is unbiased: var·(rows / (rows − 1)).
///
/// # Panics
/// When there are fewer than two rows or a slice is too short.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_running(
    cpu: &Cpu,
    n: usize,
    rows: usize,
    momentum: f32,
    mean: &[f32],
    var: &[f32],
    running_mean: &mut [f32],
    running_var: &mut [f32],
) {
    assert!(rows >= 2, "batch_norm_running: {rows} row(s) have no unbiased variance");
    for (name, len) in [
        ("mean", mean.len()),
        ("var", var.len()),
        ("running_mean", running_mean.len()),
        ("running_var", running_var.len()),
    ] {
        assert!(len >= n, "batch_norm_running: {name} holds {len} numbers, {n} columns need one each");
    }
    let unbiased = rows as f32 / (rows - 1) as f32;
    running_kernel(cpu.isa, momentum, 1.0, &mean[..n], &mut running_mean[..n]);
    running_kernel(cpu.isa, momentum, unbiased, &var[..n], &mut running_var[..n]);
}

/// Batch norm with the running statistics.
///
/// # Panics
/// When a slice is too short.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_infer(
    cpu: &Cpu,
    s: &Norm,
    x: &[f32],
    gamma: Option<&[f32]>,
    beta: Option<&[f32]>,
    running_mean: &[f32],
    running_var: &[f32],
    y: &mut [f32],
) {
    s.check_rows("batch_norm_infer: x", x);
    s.check_rows("batch_norm_infer: y", y);
    for (name, x) in [("batch_norm_infer: gamma", gamma), ("batch_norm_infer: beta", beta)] {
        if let Some(x) = x {
            s.check_columns(name, x);
        }
    }
    s.check_columns("batch_norm_infer: running_mean", running_mean);
    s.check_columns("batch_norm_infer: running_var", running_var);
    let arrays = (Read(&x[..s.end()], s.ld), Write::new(&mut y[..s.end()], s.ld));
    cpu.pool.split_rows(1, s.rows, 1, arrays, |rows, (x, y)| {
        batch_norm_infer_kernel(cpu.isa, &s.part(rows.len()), x, gamma, beta, running_mean, running_var, y);
    });
}

/// The gradients of [`batch_norm`], from what it has written out.
///
/// With x̂ = (x − mean)·inv_std: dbeta = Σdy, dgamma = Σdy·x̂ (fused), and
/// dx = (gamma·inv_std)·(−x̂·(dgamma/rows) + (dy − dbeta/rows)), the inner product and sum fused. `accumulate` adds to what
/// is in `dgamma` and `dbeta`; `n` numbers of each are written. `scratch` holds 2·n numbers.
///
/// # Panics
/// When there are no rows or a slice is too short.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_grad(
    cpu: &Cpu,
    s: &Norm,
    x: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    gamma: Option<&[f32]>,
    dy: &[f32],
    dx: &mut [f32],
    dgamma: Option<&mut [f32]>,
    dbeta: Option<&mut [f32]>,
    accumulate: bool,
    scratch: &mut [f32],
) {
    assert!(s.rows > 0, "batch_norm_grad: no rows");
    s.check_rows("batch_norm_grad: x", x);
    s.check_rows("batch_norm_grad: dy", dy);
    s.check_rows("batch_norm_grad: dx", dx);
    s.check_columns("batch_norm_grad: mean", mean);
    s.check_columns("batch_norm_grad: inv_std", inv_std);
    if let Some(gamma) = gamma {
        s.check_columns("batch_norm_grad: gamma", gamma);
    }
    assert!(scratch.len() >= 2 * s.n, "batch_norm_grad: scratch holds {} numbers, needs {}", scratch.len(), 2 * s.n);
    let end = s.end();
    let (x, dy, dx) = (&x[..end], &dy[..end], &mut dx[..end]);
    let (sum_dy, sum_dy_xhat) = scratch[..2 * s.n].split_at_mut(s.n);
    let sums = (Write::new(sum_dy, 1), Write::new(sum_dy_xhat, 1));
    let arrays = (Columns(x), Columns(dy), Read(&mean[..s.n], 1), Read(&inv_std[..s.n], 1), sums);
    cpu.pool.split_rows(1, s.n, LANES, arrays, |columns, (x, dy, mean, inv_std, (sum_dy, sum_dy_xhat))| {
        grad_sums_kernel(cpu.isa, &s.columns(columns.len()), x, dy, mean, inv_std, sum_dy, sum_dy_xhat);
    });
    let (sum_dy, sum_dy_xhat, count) = (&*sum_dy, &*sum_dy_xhat, s.rows as f32);
    let arrays = (Read(x, s.ld), Read(dy, s.ld), Write::new(dx, s.ld));
    cpu.pool.split_rows(1, s.rows, 1, arrays, |rows, (x, dy, dx)| {
        let part = s.part(rows.len());
        batch_norm_grad_kernel(cpu.isa, &part, count, x, mean, inv_std, gamma, dy, sum_dy, sum_dy_xhat, dx);
    });
    for (name, gradient, sums) in [("dgamma", dgamma, sum_dy_xhat), ("dbeta", dbeta, sum_dy)] {
        let Some(gradient) = gradient else { continue };
        assert!(gradient.len() >= s.n, "batch_norm_grad: {name} holds {} numbers, needs {}", gradient.len(), s.n);
        for (g, &sum) in gradient.iter_mut().zip(&sums[..s.n]) {
            *g = if accumulate { *g + sum } else { sum };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::testing::{Random, cases, everywhere, near, rows_near, shape_is};

    fn column(x: &[f32], s: &Norm, j: usize) -> Vec<f64> {
        (0..s.rows).map(|r| f64::from(x[r * s.ld + j])).collect()
    }

    /// (mean, biased variance, normalised)
    fn normal64(x: &[f64], eps: f32) -> (f64, f64, Vec<f64>) {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let std = (var + f64::from(eps)).sqrt();
        (mean, var, x.iter().map(|x| (x - mean) / std).collect())
    }

    #[test]
    fn as_defined_with_gradients_by_differences() {
        cases("batch_norm", 100, |seed| {
            let (mut random, round) = (Random::new(seed), seed as usize);
            let (rows, n, ld) = random.shape();
            let s = Norm { rows: if round % 10 == 0 { 300 } else { rows + 1 }, n, ld, eps: 1e-2 };
            shape_is(&s);
            let (x, dy) = (random.rows(s.rows, n, ld), random.rows(s.rows, n, ld));
            let (gamma, beta) = (random.numbers(n), random.numbers(n));
            let gamma = (round % 2 == 0).then_some(&gamma[..]);
            let beta = (round % 3 == 0).then_some(&beta[..]);
            let factor = |j: usize| gamma.map_or(1.0, |g| f64::from(g[j]));
            let offset = |j: usize| beta.map_or(0.0, |b| f64::from(b[j]));
            let [y, mean, inv_std, var, dx, dgamma, dbeta, added] = everywhere(|cpu| {
                let [mut y, mut dx] = [(); 2].map(|()| vec![5.0; s.end()]);
                let [mut mean, mut inv_std, mut var, mut dgamma, mut dbeta, mut added] = [(); 6].map(|()| vec![5.0; n]);
                batch_norm(cpu, &s, &x, gamma, beta, &mut y, &mut mean, &mut inv_std, &mut var);
                let mut scratch = vec![f32::NAN; 2 * n];
                let mut grad = |dgamma, dbeta, accumulate| {
                    let scratch = &mut scratch;
                    batch_norm_grad(
                        cpu, &s, &x, &mean, &inv_std, gamma, &dy, &mut dx, dgamma, dbeta, accumulate, scratch,
                    );
                };
                grad(None, None, false);
                grad(Some(&mut added), None, true);
                grad(Some(&mut dgamma), Some(&mut dbeta), false);
                [y, mean, inv_std, var, dx, dgamma, dbeta, added]
            });
            let exact: Vec<_> = (0..n).map(|j| normal64(&column(&x, &s, j), s.eps)).collect();
            rows_near(&y, s.rows, n, ld, 1e-5, |r| (0..n).map(|j| exact[j].2[r] * factor(j) + offset(j)).collect());
            for j in 0..n {
                near(mean[j], exact[j].0, 1e-6);
                near(var[j], exact[j].1, 1e-6);
                near(inv_std[j], 1.0 / (exact[j].1 + f64::from(s.eps)).sqrt(), 1e-5);
                let dy = column(&dy, &s, j);
                near(dbeta[j], dy.iter().sum(), 1e-5);
                let want = dy.iter().zip(&exact[j].2).map(|(dy, x)| dy * x).sum::<f64>();
                near(dgamma[j], want, 2e-5);
                near(added[j], want + 5.0, 2e-5);
                // dx: the slope of Σ dy·y.
                let value =
                    |x: &[f64]| -> f64 { normal64(x, s.eps).2.iter().zip(&dy).map(|(y, dy)| factor(j) * y * dy).sum() };
                for r in 0..s.rows.min(20) {
                    let mut moved = column(&x, &s, j);
                    let middle = moved[r];
                    moved[r] = middle + 1e-4;
                    let above = value(&moved);
                    moved[r] = middle - 1e-4;
                    near(dx[r * ld + j], (above - value(&moved)) / 2e-4, 1e-4);
                }
            }
            assert!(dx.iter().enumerate().all(|(i, x)| i % ld < n || x.is_finite()));
        });
    }

    #[test]
    fn far_from_zero_the_variance_stays_right() {
        let s = Norm { rows: 10_000, n: 1, ld: 1, eps: 0.0 };
        let x: Vec<f32> = (0..s.rows).map(|i| 1000.0 + (i % 2) as f32).collect();
        let [var] = everywhere(|cpu| {
            let (mut y, mut var) = (vec![0.0; s.rows], vec![0.0]);
            batch_norm(cpu, &s, &x, None, None, &mut y, &mut [0.0], &mut [0.0], &mut var);
            [var]
        });
        near(var[0], 0.25, 1e-6);
    }

    #[test]
    fn running_statistics_as_torch() {
        cases("batch_norm_running, batch_norm_infer", 30, |seed| {
            let mut random = Random::new(seed);
            let (rows, n, ld) = random.shape();
            let s = Norm { rows: rows + 1, n, ld, eps: 1e-5 };
            let x = random.rows(s.rows, n, ld);
            let (gamma, beta) = (random.numbers(n), random.numbers(n));
            let [running_mean, running_var, y] = everywhere(|cpu| {
                let [mut y, mut z] = [(); 2].map(|()| vec![5.0; s.end()]);
                let [mut mean, mut inv_std, mut var] = [(); 3].map(|()| vec![5.0; n]);
                let (mut running_mean, mut running_var) = (vec![0.5; n], vec![2.0; n]);
                batch_norm(cpu, &s, &x, None, None, &mut y, &mut mean, &mut inv_std, &mut var);
                batch_norm_running(cpu, n, s.rows, 0.1, &mean, &var, &mut running_mean, &mut running_var);
                batch_norm_infer(cpu, &s, &x, Some(&gamma), Some(&beta), &running_mean, &running_var, &mut z);
                [running_mean, running_var, z]
            });
            let mut want = vec![vec![]; s.rows];
            for j in 0..n {
                let x = column(&x, &s, j);
                let (mean, var, _) = normal64(&x, s.eps);
                let mean = 0.9 * 0.5 + 0.1 * mean;
                let var = 0.9 * 2.0 + 0.1 * var * s.rows as f64 / (s.rows - 1) as f64;
                near(running_mean[j], mean, 1e-6);
                near(running_var[j], var, 1e-6);
                for r in 0..s.rows {
                    let normal = (x[r] - mean) / (var + f64::from(s.eps)).sqrt();
                    want[r].push(normal * f64::from(gamma[j]) + f64::from(beta[j]));
                }
            }
            rows_near(&y, s.rows, n, ld, 2e-6, |r| want[r].clone());
        });
    }
}
