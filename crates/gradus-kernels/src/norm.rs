//! Batch norm: every column (channel) normalised over all rows of all groups: the pixels of images, a batch of vectors.
//!
//! **Order.** Sums over the rows of a group, and over groups, are the trees of [`crate::reduce`]. For each group, its mean
//! mᵢ = Σx / rows and its variance vᵢ = Σ(x − mᵢ)² / rows, by fused multiply-adds; for all of them mean = Σmᵢ / groups and
//! var = (Σ(mᵢ − mean)² + Σvᵢ) / groups, the squares fused; inv_std = 1 / √(var + eps);
//! y = (x − mean)·(inv_std·gamma) + beta, the last product and sum fused. Where gamma or beta is missing it is 1 or 0.

use std::ops::Range;

use crate::Cpu;
use crate::isa::simd;
use crate::layout::SAMPLES;
use crate::math::{LANES, Lanes, check, extent, load, store};
use crate::pointwise::{Map, for_each_map};
use crate::pool::{Read, Write};
use crate::reduce::sum_rows;

/// The sizes of a batch norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Groups of rows: images, or one for a batch of vectors.
    pub groups: usize,
    /// Rows of a group: the pixels of an image, or the vectors of a batch.
    pub rows: usize,
    /// Columns.
    pub n: usize,
    /// Distance between rows.
    pub ld: usize,
    /// Whether groups lie interleaved, sixteen together ([`crate::layout::interleave`]): rows have a vector of them for each column.
    pub interleaved: bool,
}

/// Two sums of sixteen columns of a group, or of a column of sixteen groups.
const SUMS: usize = 2 * LANES;

/// The sums over all groups; the sums of a single one as they are.
#[inline(always)]
fn sum_groups<const K: usize>(groups: usize, step: impl Fn(&mut [Lanes; K], usize)) -> [Lanes; K] {
    if groups == 1 {
        let mut sums = [[0.0; LANES]; K];
        step(&mut sums, 0);
        return sums;
    }
    sum_rows(groups, step)
}

/// So many rows at a time are brought from memory for all of their columns.
const NEAR: usize = 64;

/// The starts of the chunks of sixteen columns, the last first, as [`store`] wants it.
#[inline(always)]
fn chunks(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n.div_ceil(LANES)).rev().map(
        #[inline(always)]
        move |c| (c * LANES, LANES.min(n - c * LANES)),
    )
}

/// Calls `f(rows, column, width)` for each sixteen columns of some rows, before it goes on to the next rows.
#[inline(always)]
fn near(rows: usize, width: usize, mut f: impl FnMut(Range<usize>, usize, usize)) {
    for first in (0..rows).step_by(NEAR) {
        for (j, width) in chunks(width) {
            f(first..(first + NEAR).min(rows), j, width);
        }
    }
}

impl Norm {
    fn together(&self) -> usize {
        if self.interleaved { SAMPLES } else { 1 }
    }

    /// Groups in memory: those that lie together are one.
    fn blocks(&self) -> usize {
        self.groups.div_ceil(self.together())
    }

    /// Numbers in a row in memory.
    fn width(&self) -> usize {
        self.n * self.together()
    }

    /// Rows in memory.
    fn lines(&self) -> usize {
        self.blocks() * self.rows
    }

    /// Chunks of sixteen columns in memory.
    fn chunks(&self) -> usize {
        self.width().div_ceil(LANES)
    }

    /// Rows of all groups.
    fn count(&self) -> f32 {
        (self.groups * self.rows) as f32
    }

    /// How many numbers the moments of all groups are.
    pub fn moments(&self) -> usize {
        self.blocks() * self.chunks() * SUMS
    }

    /// How far the moments of a group lie from those of the next; where groups lie interleaved, a sixteenth of sixteen groups.
    pub fn moments_step(&self) -> usize {
        self.chunks() * SUMS / self.together()
    }

    /// Whether all rows are made of vectors of sixteen columns, and begin at one, which are quicker to reach.
    fn is_full(&self) -> bool {
        self.width().is_multiple_of(LANES) && self.ld.is_multiple_of(LANES)
    }

    #[track_caller]
    fn check_rows(&self, name: &str, x: &[f32]) {
        check(name, x.len(), self.lines(), self.width(), self.ld);
    }

    #[track_caller]
    fn check_columns(&self, name: &str, x: &[f32]) {
        assert!(x.len() >= self.n, "{name} holds {} numbers, {} columns need one each", x.len(), self.n);
    }

    #[track_caller]
    fn check_optional(&self, name: &str, x: Option<&[f32]>) {
        if let Some(x) = x {
            self.check_columns(name, x);
        }
    }

    #[track_caller]
    fn check_moments(&self, name: &str, x: &[f32]) {
        assert!(self.groups > 0 && self.rows > 0, "{name}: no rows to take them of");
        assert!(x.len() >= self.moments(), "{name} holds {} numbers, needs {}", x.len(), self.moments());
    }

    fn end(&self) -> usize {
        extent(self.lines(), self.width(), self.ld)
    }

    /// What sixteen columns in memory, from `j` on, have of a number for each column.
    #[inline(always)]
    fn of_columns(&self, x: &[f32], j: usize, width: usize, other: f32) -> Lanes {
        if self.interleaved { [x[j / LANES]; LANES] } else { load(x, j, width, other) }
    }

    /// The same where there may be none.
    #[inline(always)]
    fn or(&self, x: Option<&[f32]>, j: usize, width: usize, other: f32) -> Lanes {
        match x {
            Some(x) => self.of_columns(x, j, width, other),
            None => [other; LANES],
        }
    }

    /// The first or second sums of sixteen columns, from `j` on, of one group, where `sums` has two vectors for each chunk.
    #[inline(always)]
    fn of_group(&self, sums: &[f32], group: usize, which: usize, j: usize, width: usize) -> Lanes {
        let mut v = [0.0; LANES];
        if self.interleaved {
            let of_block = &sums[group / SAMPLES * self.n * SUMS..];
            for (l, v) in v[..width].iter_mut().enumerate() {
                *v = of_block[(j + l) * SUMS + which * LANES + group % SAMPLES];
            }
        } else {
            let chunk = group * self.n.div_ceil(LANES) + j / LANES;
            v = load(sums, chunk * SUMS + which * LANES, width, 0.0);
        }
        v
    }
}

/// Sixteen columns of a row, or `width` of them and zeros. `FULL`: see [`Norm::is_full`].
#[inline(always)]
fn get<const FULL: bool>(x: &[f32], at: usize, width: usize) -> Lanes {
    if FULL { x.as_chunks().0[at / LANES] } else { load(x, at, width, 0.0) }
}

/// Writes them.
#[inline(always)]
fn put<const FULL: bool>(y: &mut [f32], at: usize, width: usize, v: &Lanes) {
    if FULL {
        y.as_chunks_mut().0[at / LANES] = *v;
    } else {
        store(y, at, width, v);
    }
}

/// Calls `f(where it begins, column, width, its sums)` for each of some chunks of sixteen columns of a group.
#[inline(always)]
fn each_chunk(s: &Norm, range: Range<usize>, sums: &mut [f32], mut f: impl FnMut(usize, usize, usize, &mut [f32])) {
    let (chunks, width) = (s.chunks(), s.width());
    for (i, out) in range.zip(sums.chunks_exact_mut(SUMS)) {
        let (block, j) = (i / chunks, i % chunks * LANES);
        f(block * s.rows * s.ld + j, j, LANES.min(width - j), out);
    }
}

simd! {
    /// Mean and variance of some chunks of sixteen columns of a group, or of a column of sixteen.
    fn moments_kernel<const FULL: bool>(s: &Norm, range: Range<usize>, x: &[f32], moments: &mut [f32]) {
        let count = s.rows as f32;
        each_chunk(s, range, moments, #[inline(always)] |at, _, width, out| {
            let [mut mean] = sum_rows(s.rows, #[inline(always)] |[sum], r| {
                let v = get::<FULL>(x, at + r * s.ld, width);
                for l in 0..LANES {
                    sum[l] += v[l];
                }
            });
            for mean in &mut mean {
                *mean /= count;
            }
            let [mut var] = sum_rows(s.rows, #[inline(always)] |[sum], r| {
                let v = get::<FULL>(x, at + r * s.ld, width);
                for l in 0..LANES {
                    let d = v[l] - mean[l];
                    sum[l] = d.mul_add(d, sum[l]);
                }
            });
            for var in &mut var {
                *var /= count;
            }
            store(out, 0, LANES, &mean);
            store(out, LANES, LANES, &var);
        });
    }
}

simd! {
    /// Mean and variance of all groups, from those of each.
    fn statistics_kernel(
        s: &Norm, eps: f32, moments: &[f32], mean: &mut [f32], inv_std: &mut [f32], var: &mut [f32],
    ) {
        let count = s.groups as f32;
        for (j, width) in chunks(s.n) {
            let [mut mu] = sum_groups(s.groups, #[inline(always)] |[sum], i| {
                let m = s.of_group(moments, i, 0, j, width);
                for l in 0..LANES {
                    sum[l] += m[l];
                }
            });
            for mu in &mut mu {
                *mu /= count;
            }
            let [between, within] = sum_groups(s.groups, #[inline(always)] |[between, within], i| {
                let (m, v) = (s.of_group(moments, i, 0, j, width), s.of_group(moments, i, 1, j, width));
                for l in 0..LANES {
                    let d = m[l] - mu[l];
                    between[l] = d.mul_add(d, between[l]);
                    within[l] += v[l];
                }
            });
            let (mut variance, mut inverse) = ([0.0; LANES], [0.0; LANES]);
            for l in 0..LANES {
                variance[l] = (between[l] + within[l]) / count;
                inverse[l] = 1.0 / (variance[l] + eps).sqrt();
            }
            mean[j..j + width].copy_from_slice(&mu[..width]);
            var[j..j + width].copy_from_slice(&variance[..width]);
            inv_std[j..j + width].copy_from_slice(&inverse[..width]);
        }
    }
}

simd! {
    fn map_kernel<const FULL: bool>(
        s: &Norm, lines: usize, x: &[f32], gamma: Option<&[f32]>, beta: Option<&[f32]>, mean: &[f32], inv_std: &[f32],
        map: Map, y: &mut [f32],
    ) {
        for_each_map(map, #[inline(always)] |map| near(lines, s.width(), #[inline(always)] |rows, j, width| {
            let (mu, mut scale) = (s.of_columns(mean, j, width, 0.0), s.of_columns(inv_std, j, width, 0.0));
            let (gamma, beta) = (s.or(gamma, j, width, 1.0), s.or(beta, j, width, 0.0));
            for l in 0..LANES {
                scale[l] *= gamma[l];
            }
            for r in rows {
                let v = get::<FULL>(x, r * s.ld + j, width);
                let mut out = [0.0; LANES];
                for l in 0..LANES {
                    out[l] = map.value((v[l] - mu[l]).mul_add(scale[l], beta[l]));
                }
                put::<FULL>(y, r * s.ld + j, width, &out);
            }
        }));
    }
}

simd! {
    fn inv_std_kernel(eps: f32, var: &[f32], inv_std: &mut [f32]) {
        for (inverse, var) in inv_std.iter_mut().zip(var) {
            *inverse = 1.0 / (var + eps).sqrt();
        }
    }
}

simd! {
    /// Σdy and Σdy·x̂ of some chunks of sixteen columns of a group, or of a column of sixteen.
    fn grad_moments_kernel<const FULL: bool>(
        s: &Norm, range: Range<usize>, x: &[f32], dy: &[f32], mean: &[f32], inv_std: &[f32], moments: &mut [f32],
    ) {
        each_chunk(s, range, moments, #[inline(always)] |at, j, width, out| {
            let (mean, inverse) = (s.of_columns(mean, j, width, 0.0), s.of_columns(inv_std, j, width, 0.0));
            let sums = sum_rows(s.rows, #[inline(always)] |[a, b], r| {
                let v = get::<FULL>(x, at + r * s.ld, width);
                let g = get::<FULL>(dy, at + r * s.ld, width);
                for l in 0..LANES {
                    a[l] += g[l];
                    b[l] = g[l].mul_add((v[l] - mean[l]) * inverse[l], b[l]);
                }
            });
            for (k, sum) in sums.iter().enumerate() {
                store(out, k * LANES, LANES, sum);
            }
        });
    }
}

simd! {
    /// The sums of all groups, from those of each.
    fn grad_sums_kernel(s: &Norm, moments: &[f32], sum_dy: &mut [f32], sum_dy_xhat: &mut [f32]) {
        for (j, width) in chunks(s.n) {
            let [a, b] = sum_groups(s.groups, #[inline(always)] |sums, i| {
                for (k, sum) in sums.iter_mut().enumerate() {
                    let v = s.of_group(moments, i, k, j, width);
                    for l in 0..LANES {
                        sum[l] += v[l];
                    }
                }
            });
            sum_dy[j..j + width].copy_from_slice(&a[..width]);
            sum_dy_xhat[j..j + width].copy_from_slice(&b[..width]);
        }
    }
}

simd! {
    fn grad_map_kernel<const FULL: bool>(
        s: &Norm, lines: usize, x: &[f32], mean: &[f32], inv_std: &[f32], gamma: Option<&[f32]>, dy: &[f32],
        means: [&[f32]; 2], before: Option<(Map, &[f32])>, dx: &mut [f32],
    ) {
        let (map, z) = before.unwrap_or((Map::Identity, &[]));
        for_each_map(map, #[inline(always)] |map| near(lines, s.width(), #[inline(always)] |rows, j, width| {
            let (mu, inverse) = (s.of_columns(mean, j, width, 0.0), s.of_columns(inv_std, j, width, 0.0));
            let [a, b] = [s.of_columns(means[0], j, width, 0.0), s.of_columns(means[1], j, width, 0.0)];
            let mut scale = s.or(gamma, j, width, 1.0);
            for l in 0..LANES {
                scale[l] *= inverse[l];
            }
            for r in rows {
                let v = get::<FULL>(x, r * s.ld + j, width);
                let g = get::<FULL>(dy, r * s.ld + j, width);
                let z = if map == Map::Identity { [0.0; LANES] } else { get::<FULL>(z, r * s.ld + j, width) };
                let mut out = [0.0; LANES];
                for l in 0..LANES {
                    let xhat = (v[l] - mu[l]) * inverse[l];
                    out[l] = map.gradient(z[l], scale[l] * (-xhat).mul_add(b[l], g[l] - a[l]));
                }
                put::<FULL>(dx, r * s.ld + j, width, &out);
            }
        }));
    }
}

simd! {
    fn running_kernel(momentum: f32, factor: f32, new: &[f32], running: &mut [f32]) {
        for (running, new) in running.iter_mut().zip(new) {
            *running = momentum.mul_add(new * factor, (1.0 - momentum) * *running);
        }
    }
}

/// The moments of each group: mᵢ and vᵢ. [`Norm::moments`] numbers are written; those of some groups alone are at a multiple of
/// [`Norm::moments_step`], and what is said of them is the same.
///
/// # Panics
/// When there are no rows or a slice is too short.
pub fn batch_norm_moments(cpu: &Cpu, s: &Norm, x: &[f32], moments: &mut [f32]) {
    s.check_rows("batch_norm_moments: x", x);
    s.check_moments("batch_norm_moments: moments", moments);
    let (x, moments) = (&x[..s.end()], Write::new(&mut moments[..s.moments()], SUMS));
    let kernel = if s.is_full() { moments_kernel::<true> } else { moments_kernel::<false> };
    cpu.pool.split_rows(s.rows.div_ceil(2), s.blocks() * s.chunks(), 1, moments, |range, moments| {
        kernel(cpu.isa, s, range, x, moments);
    });
}

/// The statistics of the batch from the moments of all groups: `mean`, `inv_std` of the variance and `eps`, and the biased `var`, `n` each.
///
/// # Panics
/// When there are no rows or a slice is too short.
pub fn batch_norm_statistics(
    cpu: &Cpu,
    s: &Norm,
    eps: f32,
    moments: &[f32],
    mean: &mut [f32],
    inv_std: &mut [f32],
    var: &mut [f32],
) {
    s.check_moments("batch_norm_statistics: moments", moments);
    s.check_columns("batch_norm_statistics: mean", mean);
    s.check_columns("batch_norm_statistics: inv_std", inv_std);
    s.check_columns("batch_norm_statistics: var", var);
    statistics_kernel(cpu.isa, s, eps, &moments[..s.moments()], mean, inv_std, var);
}

/// inv_std = 1 / √(var + eps).
///
/// # Panics
/// When `inv_std` is too short.
pub fn batch_norm_inv_std(cpu: &Cpu, eps: f32, var: &[f32], inv_std: &mut [f32]) {
    assert!(inv_std.len() >= var.len(), "batch_norm_inv_std: {} numbers for {}", inv_std.len(), var.len());
    inv_std_kernel(cpu.isa, eps, var, &mut inv_std[..var.len()]);
}

/// y = map(batch norm) of some groups, or all, with given statistics: those of the batch, or running ones.
///
/// # Panics
/// When a slice is too short.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_map(
    cpu: &Cpu,
    s: &Norm,
    x: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    gamma: Option<&[f32]>,
    beta: Option<&[f32]>,
    map: Map,
    y: &mut [f32],
) {
    s.check_rows("batch_norm_map: x", x);
    s.check_rows("batch_norm_map: y", y);
    s.check_columns("batch_norm_map: mean", mean);
    s.check_columns("batch_norm_map: inv_std", inv_std);
    s.check_optional("batch_norm_map: gamma", gamma);
    s.check_optional("batch_norm_map: beta", beta);
    let arrays = (Read(&x[..s.end()], s.ld), Write::new(&mut y[..s.end()], s.ld));
    let kernel = if s.is_full() { map_kernel::<true> } else { map_kernel::<false> };
    cpu.pool.split_rows(1, s.lines(), 1, arrays, |rows, (x, y)| {
        kernel(cpu.isa, s, rows.len(), x, gamma, beta, mean, inv_std, map, y);
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

/// The moments of each group's gradient: Σdy and Σdy·x̂ (fused), by the trees of the statistics. They lie as those of
/// [`batch_norm_moments`].
///
/// # Panics
/// When there are no rows or a slice is too short.
pub fn batch_norm_grad_moments(
    cpu: &Cpu,
    s: &Norm,
    x: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    dy: &[f32],
    moments: &mut [f32],
) {
    s.check_rows("batch_norm_grad_moments: x", x);
    s.check_rows("batch_norm_grad_moments: dy", dy);
    s.check_columns("batch_norm_grad_moments: mean", mean);
    s.check_columns("batch_norm_grad_moments: inv_std", inv_std);
    s.check_moments("batch_norm_grad_moments: moments", moments);
    let (x, dy, moments) = (&x[..s.end()], &dy[..s.end()], Write::new(&mut moments[..s.moments()], SUMS));
    let kernel = if s.is_full() { grad_moments_kernel::<true> } else { grad_moments_kernel::<false> };
    cpu.pool.split_rows(s.rows, s.blocks() * s.chunks(), 1, moments, |range, moments| {
        kernel(cpu.isa, s, range, x, dy, mean, inv_std, moments);
    });
}

/// From the moments of all groups' gradients dbeta = Σdy and dgamma = Σdy·x̂, `n` numbers each, added to what is there if
/// `accumulate`; and both by the number of rows, in `means`.
///
/// # Panics
/// When there are no rows or a slice is too short.
pub fn batch_norm_grad_sums(
    cpu: &Cpu,
    s: &Norm,
    moments: &[f32],
    dgamma: Option<&mut [f32]>,
    dbeta: Option<&mut [f32]>,
    accumulate: bool,
    means: [&mut [f32]; 2],
) {
    s.check_moments("batch_norm_grad_sums: moments", moments);
    let [mean_dy, mean_dy_xhat] = means;
    s.check_columns("batch_norm_grad_sums: the mean of dy", mean_dy);
    s.check_columns("batch_norm_grad_sums: the mean of dy·x̂", mean_dy_xhat);
    let (mean_dy, mean_dy_xhat) = (&mut mean_dy[..s.n], &mut mean_dy_xhat[..s.n]);
    grad_sums_kernel(cpu.isa, s, &moments[..s.moments()], mean_dy, mean_dy_xhat);
    for (name, gradient, sums) in
        [("batch_norm_grad_sums: dgamma", dgamma, &*mean_dy_xhat), ("batch_norm_grad_sums: dbeta", dbeta, &*mean_dy)]
    {
        let Some(gradient) = gradient else { continue };
        s.check_columns(name, gradient);
        for (g, &sum) in gradient.iter_mut().zip(sums) {
            *g = if accumulate { *g + sum } else { sum };
        }
    }
    for sum in mean_dy.iter_mut().chain(mean_dy_xhat) {
        *sum /= s.count();
    }
}

/// The gradient of the input of batch norm (without its map) for some groups, or all, with the `means` of
/// [`batch_norm_grad_sums`]: dx = (gamma·inv_std)·(−x̂·mean(dy·x̂) + (dy − mean(dy))), the inner product and sum fused.
/// `before` is a map whose gradient follows, with its output: dx is that of its input then.
///
/// # Panics
/// When a slice is too short.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_grad_map(
    cpu: &Cpu,
    s: &Norm,
    x: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    gamma: Option<&[f32]>,
    dy: &[f32],
    means: [&[f32]; 2],
    before: Option<(Map, &[f32])>,
    dx: &mut [f32],
) {
    s.check_rows("batch_norm_grad_map: x", x);
    s.check_rows("batch_norm_grad_map: dy", dy);
    s.check_rows("batch_norm_grad_map: dx", dx);
    if let Some((_, z)) = before {
        s.check_rows("batch_norm_grad_map: the output of the map", z);
    }
    s.check_columns("batch_norm_grad_map: mean", mean);
    s.check_columns("batch_norm_grad_map: inv_std", inv_std);
    s.check_optional("batch_norm_grad_map: gamma", gamma);
    s.check_columns("batch_norm_grad_map: the mean of dy", means[0]);
    s.check_columns("batch_norm_grad_map: the mean of dy·x̂", means[1]);
    let end = s.end();
    let (map, z) = before.map_or((None, None), |(map, z)| (Some(map), Some(Read(&z[..end], s.ld))));
    let arrays = (Read(&x[..end], s.ld), Read(&dy[..end], s.ld), z, Write::new(&mut dx[..end], s.ld));
    let kernel = if s.is_full() { grad_map_kernel::<true> } else { grad_map_kernel::<false> };
    cpu.pool.split_rows(1, s.lines(), 1, arrays, |rows, (x, dy, z, dx)| {
        let (lines, before) = (rows.len(), map.zip(z));
        kernel(cpu.isa, s, lines, x, mean, inv_std, gamma, dy, means, before, dx);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::testing::{Random, bits, cases, everywhere, near, shape_is};

    /// Large enough to be seen.
    const EPS: f32 = 1e-2;

    impl Norm {
        /// Where a number lies.
        fn at(&self, group: usize, r: usize, j: usize) -> usize {
            let together = self.together();
            (group / together * self.rows + r) * self.ld + j * together + group % together
        }

        /// All rows of a column, group by group.
        fn column<'a>(&'a self, x: &'a [f32], j: usize) -> impl Iterator<Item = f32> + 'a {
            (0..self.groups).flat_map(move |i| (0..self.rows).map(move |r| x[self.at(i, r, j)]))
        }

        /// Columns one after another as they lie; NaN where there is nothing.
        fn lay(&self, x: &[f32]) -> Vec<f32> {
            let mut out = vec![f32::NAN; self.end()];
            let rows = (0..self.groups).flat_map(|i| (0..self.rows).map(move |r| (i, r)));
            for (k, (j, (i, r))) in (0..self.n).flat_map(|j| rows.clone().map(move |row| (j, row))).enumerate() {
                out[self.at(i, r, j)] = x[k];
            }
            out
        }

        /// The inverse.
        fn columns(&self, x: &[f32]) -> Vec<f32> {
            (0..self.n).flat_map(|j| self.column(x, j)).collect()
        }
    }

    /// Groups and rows of any size, with and without padding; and the same sizes interleaved.
    fn shapes(random: &mut Random) -> [Norm; 2] {
        let (few, n, ld) = random.shape();
        let (groups, rows) = match random.size(0, 4) {
            0 => (1, few + 1),
            1 => (1, random.size(2, 300)),
            2 => (random.size(2, 40), few),
            _ => (random.size(1, 80), [1, 1, 64, 65, 130][random.size(0, 5)] + 1),
        };
        let plain = Norm { groups, rows, n, ld, interleaved: false };
        let shapes = [plain, Norm { ld: SAMPLES * n + random.size(0, 2) * 16, interleaved: true, ..plain }];
        shape_is(&shapes);
        shapes
    }

    /// (mean, biased variance, normalised)
    fn normal64(x: &[f64]) -> (f64, f64, Vec<f64>) {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let std = (var + f64::from(EPS)).sqrt();
        (mean, var, x.iter().map(|x| (x - mean) / std).collect())
    }

    fn any_map(random: &mut Random) -> Map {
        [Map::Identity, Map::ReLU, Map::LeakyReLU(0.1), Map::Tanh][random.size(0, 4)]
    }

    /// Output, input's gradient, statistics and gradients of gamma and beta, from `size` groups at a time. With nothing before, the
    /// gradient of gamma is added to fives, and there is none of beta.
    fn run(
        cpu: &Cpu,
        s: &Norm,
        size: usize,
        [gamma, beta]: [Option<&[f32]>; 2],
        map: Map,
        [x, dy]: [&[f32]; 2],
        before: Option<(Map, &[f32])>,
    ) -> [Vec<f32>; 7] {
        let size = size.next_multiple_of(s.together());
        // Each block, where its rows are, and where its moments.
        let blocks = (0..s.groups).step_by(size).map(|first| {
            let block = Norm { groups: size.min(s.groups - first), ..*s };
            (block, first / s.together() * s.rows * s.ld, first * s.moments_step())
        });
        let [mut y, mut dx] = [(); 2].map(|()| vec![5.0; s.end()]);
        let [mut mean, mut inv_std, mut var] = [(); 3].map(|()| vec![5.0; s.n]);
        // Longer than the columns are many, as where there is padding.
        let [mut dgamma, mut dbeta, mut sum, mut product] = [(); 4].map(|()| vec![5.0; s.n + 3]);
        let mut moments = vec![f32::NAN; s.moments()];
        for (s, at, of) in blocks.clone() {
            batch_norm_moments(cpu, &s, &x[at..], &mut moments[of..]);
        }
        batch_norm_statistics(cpu, s, EPS, &moments, &mut mean, &mut inv_std, &mut var);
        for (s, at, _) in blocks.clone() {
            batch_norm_map(cpu, &s, &x[at..], &mean, &inv_std, gamma, beta, map, &mut y[at..]);
        }
        for (s, at, of) in blocks.clone() {
            batch_norm_grad_moments(cpu, &s, &x[at..], &mean, &inv_std, &dy[at..], &mut moments[of..]);
        }
        let (accumulate, dbeta_given) = (before.is_none(), before.is_some().then_some(&mut dbeta[..]));
        let means = [&mut sum[..], &mut product[..]];
        batch_norm_grad_sums(cpu, s, &moments, Some(&mut dgamma), dbeta_given, accumulate, means);
        for (s, at, _) in blocks {
            let (before, means) = (before.map(|(map, z)| (map, &z[at..])), [&sum[..], &product[..]]);
            batch_norm_grad_map(cpu, &s, &x[at..], &mean, &inv_std, gamma, &dy[at..], means, before, &mut dx[at..]);
        }
        if !s.interleaved {
            let between = (0..s.end()).filter(|i| i % s.ld >= s.n);
            assert!(between.into_iter().all(|i| y[i].is_finite() && dx[i].is_finite()));
        }
        for x in [&mut dgamma, &mut dbeta, &mut sum, &mut product] {
            assert!(x.drain(s.n..).all(|x| x == 5.0), "what is no column");
        }
        [s.columns(&y), s.columns(&dx), mean, inv_std, var, dgamma, dbeta]
    }

    #[test]
    fn as_defined_with_gradients_by_differences() {
        cases("batch_norm", 100, |seed| {
            let (mut random, round) = (Random::new(seed), seed as usize);
            let shapes = shapes(&mut random);
            let Norm { groups, rows, n, .. } = shapes[0];
            let (all, map) = (groups * rows, any_map(&mut random));
            let [x, dy, z] = [(); 3].map(|()| random.numbers(all * n));
            let (gamma, beta) = (random.numbers(n), random.numbers(n));
            let gamma = (round % 2 == 0).then_some(&gamma[..]);
            let beta = (round % 3 == 0).then_some(&beta[..]);
            let block = random.size(1, groups + 1);
            let factor = |j: usize| gamma.map_or(1.0, |g| f64::from(g[j]));
            let offset = |j: usize| beta.map_or(0.0, |b| f64::from(b[j]));
            let [plain, interleaved] = shapes.map(|s| {
                let [x, dy, z] = [&x, &dy, &z].map(|x| s.lay(x));
                everywhere(|cpu| {
                    let run = |size, map, before| run(cpu, &s, size, [gamma, beta], map, [&x, &dy], before);
                    let [y, dx, .., added, _] = run(groups, Map::Identity, None);
                    let all = run(groups, map, Some((map, &z)));
                    for (x, y) in run(block, map, Some((map, &z))).iter().zip(&all) {
                        assert!(bits(x) == bits(y), "{block} groups at a time");
                    }
                    let [fused, dz, mean, inv_std, var, dgamma, dbeta] = all;
                    [y, fused, dx, dz, mean, inv_std, var, dgamma, dbeta, added]
                })
            });
            for (plain, interleaved) in plain.iter().zip(&interleaved) {
                assert_eq!(bits(plain), bits(interleaved));
            }
            let [y, fused, dx, dz, mean, inv_std, var, dgamma, dbeta, added] = plain;
            for j in 0..n {
                let of = |x: &[f32]| x[j * all..][..all].iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
                let (x, dy) = (of(&x), of(&dy));
                let (want_mean, want_var, normal) = normal64(&x);
                near(mean[j], want_mean, 1e-6);
                near(var[j], want_var, 1e-6);
                near(inv_std[j], 1.0 / (want_var + f64::from(EPS)).sqrt(), 1e-5);
                // What is rounded where there are many terms.
                let more = 2e-8 * (all as f64 - 300.0).max(0.0);
                near(dbeta[j], dy.iter().sum(), 1e-5 + more);
                let want = dy.iter().zip(&normal).map(|(dy, x)| dy * x).sum::<f64>();
                near(dgamma[j], want, 2e-5 + more);
                near(added[j], want + 5.0, 2e-5 + more);
                // dx: the slope of Σ dy·y.
                let value =
                    |x: &[f64]| -> f64 { normal64(x).2.iter().zip(&dy).map(|(y, dy)| factor(j) * y * dy).sum() };
                for r in 0..all {
                    let at = j * all + r;
                    near(y[at], normal[r] * factor(j) + offset(j), 1e-5);
                    assert_eq!(fused[at].to_bits(), map.value(y[at]).to_bits());
                    assert_eq!(dz[at].to_bits(), map.gradient(z[at], dx[at]).to_bits());
                    if r % (1 + all / 8) == 0 {
                        let [above, below] = [1e-4, -1e-4].map(|step| {
                            let mut moved = x.clone();
                            moved[r] += step;
                            value(&moved)
                        });
                        near(dx[at], (above - below) / 2e-4, 1e-4);
                    }
                }
            }
        });
    }

    #[test]
    fn far_from_zero_the_variance_stays_right() {
        for (groups, rows) in [(1, 10_000), (100, 100), (5_000, 2)] {
            let s = Norm { groups, rows, n: 1, ld: 1, interleaved: false };
            // Within a group as much as between groups.
            let x: Vec<f32> = (0..10_000).map(|i| 1000.0 + (i % 2) as f32 + 2.0 * (i / rows % 2) as f32).collect();
            let [var] = everywhere(|cpu| {
                let (mut moments, mut var) = (vec![0.0; s.moments()], vec![0.0]);
                batch_norm_moments(cpu, &s, &x, &mut moments);
                batch_norm_statistics(cpu, &s, 0.0, &moments, &mut [0.0], &mut [0.0], &mut var);
                [var]
            });
            near(var[0], if groups == 1 { 0.25 } else { 1.25 }, 1e-6);
        }
    }

    #[test]
    fn running_statistics_as_torch() {
        cases("batch_norm_running, batch_norm_inv_std", 30, |seed| {
            let mut random = Random::new(seed);
            let (shapes, map) = (shapes(&mut random), any_map(&mut random));
            let Norm { groups, rows, n, .. } = shapes[0];
            let all = groups * rows;
            let (x, gamma, beta) = (random.numbers(all * n), random.numbers(n), random.numbers(n));
            let [plain, interleaved] = shapes.map(|s| {
                let x = s.lay(&x);
                everywhere(|cpu| {
                    let (mut z, mut moments) = (vec![5.0; s.end()], vec![f32::NAN; s.moments()]);
                    let [mut mean, mut inv_std, mut var] = [(); 3].map(|()| vec![5.0; n]);
                    let (mut running_mean, mut running_var) = (vec![0.5; n], vec![2.0; n]);
                    batch_norm_moments(cpu, &s, &x, &mut moments);
                    batch_norm_statistics(cpu, &s, EPS, &moments, &mut mean, &mut inv_std, &mut var);
                    batch_norm_running(cpu, n, all, 0.1, &mean, &var, &mut running_mean, &mut running_var);
                    batch_norm_inv_std(cpu, EPS, &running_var, &mut inv_std);
                    let (gamma, beta, mean) = (Some(&gamma[..]), Some(&beta[..]), &running_mean);
                    batch_norm_map(cpu, &s, &x, mean, &inv_std, gamma, beta, map, &mut z);
                    [s.columns(&z), running_mean, running_var]
                })
            });
            for (plain, interleaved) in plain.iter().zip(&interleaved) {
                assert_eq!(bits(plain), bits(interleaved));
            }
            let [y, running_mean, running_var] = plain;
            for j in 0..n {
                let x: Vec<f64> = x[j * all..][..all].iter().map(|x| f64::from(*x)).collect();
                let (mean, var, _) = normal64(&x);
                let mean = 0.9 * 0.5 + 0.1 * mean;
                let var = 0.9 * 2.0 + 0.1 * var * all as f64 / (all - 1) as f64;
                near(running_mean[j], mean, 1e-6);
                near(running_var[j], var, 1e-6);
                for (x, y) in x.iter().zip(&y[j * all..]) {
                    let normal = (x - mean) / (var + f64::from(EPS)).sqrt();
                    let plain = normal * f64::from(gamma[j]) + f64::from(beta[j]);
                    near(*y, f64::from(map.value(plain as f32)), 2e-6);
                }
            }
        });
    }
}
