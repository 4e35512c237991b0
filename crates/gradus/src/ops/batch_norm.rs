//! Batch norm: every channel normalised over samples and positions, its running statistics, and its gradients.
//!
//! With N values of a channel, x̂ = (x − mean)·inv_std and inv_std = 1/√(var + eps): y = γ·x̂ + β;
//! dγ += Σ dy∗x̂, dβ += Σ dy, dx = γ·inv_std·(dy − Σ dy/N − x̂·Σ(dy∗x̂)/N).
//!
//! Order on the CPU: `gradus_kernels::norm` states it. The sums of a gradient start from 0 and are added to what is
//! stored at the end.
//!
//! The running statistics are an op of their own: a program that must not change them drops it, because nobody needs
//! what it writes.

use gradus_kernels::Span;
use gradus_kernels::norm::{
    Norm, batch_norm_grad_map, batch_norm_grad_moments, batch_norm_grad_sums, batch_norm_inv_std, batch_norm_map,
    batch_norm_moments, batch_norm_running, batch_norm_statistics,
};

use super::map::{Map, multiply_derivative, times_derivative, value, wrap};
use super::{Case, Cost, Op};
use crate::exec::cpu::{LANES, Layout, Lower, layout};
use crate::program::{Emit, Value};

/// What [`Emit::batch_norm`] finds out about a batch: a value per channel each.
#[derive(Clone, Copy, Debug)]
pub struct Statistics {
    mean: Value,
    inv_std: Value,
    /// The biased variance.
    var: Value,
}

impl Emit<'_> {
    /// y = γ·x̂ + β with the statistics of the batch: x (B, C, …), `affine` γ and β (C) → (B, C, …).
    pub fn batch_norm(&mut self, x: Value, affine: Option<[Value; 2]>, eps: f64) -> (Value, Statistics) {
        let [mean, inv_std, var] = self.of_channels(x, ["mean", "inv_std", "var"]);
        self.op(Measure { eps }, &[x], &[mean, inv_std, var]);
        (self.normalize(x, [mean, inv_std], affine), Statistics { mean, inv_std, var })
    }

    /// running = momentum·new + (1 − momentum)·running for mean and variance (C), of what `s` says of `x`; the new
    /// variance is the unbiased one.
    pub fn batch_norm_running(&mut self, x: Value, s: Statistics, running: [Value; 2], momentum: f64) {
        let positions = self.dims(x)[1..].iter().product();
        self.op(Running { momentum, positions }, &[s.mean, s.var], &running);
    }

    /// y = γ·x̂ + β with the running mean and variance (C).
    pub fn batch_norm_infer(&mut self, x: Value, running: [Value; 2], affine: Option<[Value; 2]>, eps: f64) -> Value {
        let [mean, var] = running;
        let [inv_std] = self.of_channels(x, ["inv_std"]);
        self.op(InvStd { eps }, &[var], &[inv_std]);
        self.normalize(x, [mean, inv_std], affine)
    }

    /// dγ += Σ dy∗x̂, dβ += Σ dy; returns dx.
    pub fn batch_norm_grad(&mut self, x: Value, s: Statistics, affine: Option<[Value; 2]>, dy: Value) -> Value {
        let means = self.of_channels(x, ["mean_dy", "mean_dy_x̂"]);
        let gradients = affine.into_iter().flatten().map(|p| self.grad_if_trained(p)).collect::<Vec<_>>();
        self.op(GradMeans, &[x, s.mean, s.inv_std, dy], &[&means[..], &gradients].concat());
        let dx = self.batched_like(&self.name(""), x);
        let mut reads = vec![x, s.mean, s.inv_std, dy, means[0], means[1]];
        reads.extend(affine.map(|[gamma, _]| gamma));
        self.op(Grad { map: None }, &reads, &[dx]);
        dx
    }

    fn normalize(&mut self, x: Value, [mean, inv_std]: [Value; 2], affine: Option<[Value; 2]>) -> Value {
        let y = self.batched_like(&self.name(""), x);
        let reads: Vec<Value> = [x, mean, inv_std].into_iter().chain(affine.into_iter().flatten()).collect();
        self.op(Normalize { map: Map::Identity }, &reads, &[y]);
        y
    }

    /// New values with a number for each channel of `x`.
    fn of_channels<const N: usize>(&mut self, x: Value, names: [&str; N]) -> [Value; N] {
        let channels = self.dims(x)[0];
        names.map(|name| self.single(&self.name(name), &[channels]))
    }
}

/// The addresses of channel `j`, in torch's order.
fn channel(batch: usize, dims: &[usize], j: usize) -> impl Iterator<Item = usize> + Clone + use<> {
    let (c, inner) = (dims[0], dims[1..].iter().product::<usize>());
    (0..batch).flat_map(move |s| (0..inner).map(move |i| (s * c + j) * inner + i))
}

/// The operand read at `i`, or nothing where the norm has no γ and β.
fn read_or_nothing(l: &Lower<'_>, i: usize) -> Span {
    if i < l.reads() { l.read(i).span } else { Span::NONE }
}

/// The operand written at `i` likewise.
fn write_or_nothing(l: &Lower<'_>, i: usize) -> Span {
    if i < l.writes() { l.write(i).span } else { Span::NONE }
}

fn given(x: &[f32]) -> Option<&[f32]> {
    (!x.is_empty()).then_some(x)
}

fn given_mut(x: &mut [f32]) -> Option<&mut [f32]> {
    (!x.is_empty()).then_some(x)
}

/// Mean and biased variance of channel `j` of x.
fn statistics(case: &Case, x: &[f64], j: usize) -> (f64, f64) {
    let dims = &case.reads[0].dims;
    let (at, n) = (channel(case.batch(), dims, j), (case.read_len(0) / dims[0]) as f64);
    let mean = at.clone().map(|i| x[i]).sum::<f64>() / n;
    (mean, at.map(|i| (x[i] - mean) * (x[i] - mean)).sum::<f64>() / n)
}

/// The rows that are normalised.
#[derive(Clone, Copy)]
struct Rows {
    layout: Layout,
    /// An image is a group of its own, be it of one pixel; a batch of vectors is one.
    image: bool,
}

impl Rows {
    fn new(dims: &[usize], layout: Layout) -> Rows {
        Rows { layout, image: dims.len() > 1 }
    }

    /// The kernel's sizes for a batch of `batch` samples.
    fn norm(&self, batch: usize) -> Norm {
        let Layout { group, n, ld, together, .. } = self.layout;
        let (groups, rows) = if self.image { (batch, group) } else { (1, batch) };
        Norm { groups, rows, n, ld, interleaved: together > 1 }
    }

    /// The same with whole registers, which are quicker: what comes to lie in the padding is never looked at, nor is it a
    /// gradient, which would be.
    fn padded_norm(&self, batch: usize) -> Norm {
        let Layout { n, ld, together, .. } = self.layout;
        let n = if together > 1 { n } else { n.next_multiple_of(LANES).min(ld) };
        Norm { n, ..self.norm(batch) }
    }
}

/// The scratch that the moments of all samples are in.
fn moments(l: &Lower<'_>, norm: impl Fn(usize) -> Norm) -> Span {
    Span { sample: norm(l.batch()).moments_step(), ..l.scratch() }
}

/// The mean, 1/√(var + eps) and the biased variance of every channel over the batch.
#[derive(Debug)]
struct Measure {
    eps: f64,
}

impl Op for Measure {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let (x, [mean, inv_std, var]) = (r[0], w) else { unreachable!("three values are written") };
        format!("{mean}, {var} = Σ {x}/N, Σ ({x} − {mean})²/N;  {inv_std} = 1/√({var} + {:?})", self.eps)
    }

    fn needs_batch(&self) -> bool {
        true
    }

    fn needs_batch_at_end(&self, case: &Case) -> bool {
        case.reads[0].is_image()
    }

    fn cost(&self, case: &Case) -> Cost {
        Cost { flops: 4 * case.read_len(0) as u64, bytes: case.bytes() }
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let channels = (0..case.reads[0].dims[0]).map(|j| statistics(case, r[0], j));
        for (j, (mean, var)) in channels.enumerate() {
            (w[0][j], w[1][j], w[2][j]) = (mean, 1.0 / (var + self.eps).sqrt(), var);
        }
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    /// Two sums per channel of each sample.
    fn scratch(&self, case: &Case) -> usize {
        Rows::new(&case.reads[0].dims, layout(case.reads[0])).padded_norm(case.batch()).moments()
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (eps, all, x) = (self.eps as f32, Rows::new(l.read_dims(0), l.read(0).layout), l.read(0).span);
        let norm = move |batch| all.padded_norm(batch);
        let (moments, [mean, inv_std, var]) = (moments(l, norm), [0, 1, 2].map(|i| l.write(i).span));
        l.kernel([x], [moments], [], [], move |run, s| {
            batch_norm_moments(run.cpu, &norm(run.batch()), s.read[0], s.write[0]);
        });
        l.whole_kernel([moments], [mean, inv_std, var], move |run, s| {
            let [mean, inv_std, var] = s.write;
            batch_norm_statistics(run.cpu, &norm(run.batch()), eps, s.read[0], mean, inv_std, var);
        });
    }
}

/// y = γ·(x − mean)·inv_std + β, and a function of it.
#[derive(Debug)]
struct Normalize {
    map: Map,
}

impl Op for Normalize {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let x_hat = format!("({} − {})·{}", r[0], r[1], r[2]);
        let y = if let [gamma, beta] = r[3..] { format!("{gamma}·{x_hat} + {beta}") } else { x_hat };
        format!("{} = {}", w[0], wrap(self.map, &y))
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(3)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let dims = &case.reads[0].dims;
        for j in 0..dims[0] {
            let (gamma, beta) = if let [gamma, beta] = &r[3..] { (gamma[j], beta[j]) } else { (1.0, 0.0) };
            for i in channel(case.batch(), dims, j) {
                w[0][i] = value(self.map, gamma * (r[0][i] - r[1][j]) * r[2][j] + beta);
            }
        }
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (map, all) = (self.map, Rows::new(l.read_dims(0), l.read(0).layout));
        let [x, mean, inv_std] = [0, 1, 2].map(|i| l.read(i).span);
        let (gamma, beta, y) = (read_or_nothing(l, 3), read_or_nothing(l, 4), l.write(0).span);
        l.kernel([x, mean, inv_std, gamma, beta], [y], [], [], move |run, s| {
            let ([x, mean, inv_std, gamma, beta], norm) = (s.read, all.padded_norm(run.batch()));
            batch_norm_map(run.cpu, &norm, x, mean, inv_std, given(gamma), given(beta), map, s.write[0]);
        });
    }

    fn with_map(&self, map: Map) -> Option<Box<dyn Op>> {
        (self.map == Map::Identity).then(|| Box::new(Normalize { map }) as Box<dyn Op>)
    }
}

/// 1/√(var + eps) of a running variance.
#[derive(Debug)]
struct InvStd {
    eps: f64,
}

impl Op for InvStd {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = 1/√({} + {:?})", w[0], r[0], self.eps)
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(3)
    }

    fn define(&self, _: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        for (inverse, var) in w[0].iter_mut().zip(r[0]) {
            *inverse = 1.0 / (var + self.eps).sqrt();
        }
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let eps = self.eps as f32;
        // With the padding, which norms of whole registers read.
        l.kernel([l.read(0).span], [l.write(0).span], [], [], move |run, s| {
            batch_norm_inv_std(run.cpu, eps, s.read[0], s.write[0]);
        });
    }
}

#[derive(Debug)]
struct Running {
    momentum: f64,
    positions: usize,
}

impl Op for Running {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let (m, keep) = (self.momentum, 1.0 - self.momentum);
        format!("{}, {} = {keep}·old + {m}·({}, N/(N − 1)·{})", w[0], w[1], r[0], r[1])
    }

    fn needs_batch(&self) -> bool {
        true
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(7)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let n = (case.batch() * self.positions) as f64;
        for (running, new, factor) in [(0, r[0], 1.0), (1, r[1], n / (n - 1.0))] {
            for (running, new) in w[running].iter_mut().zip(new) {
                *running = self.momentum * factor * new + (1.0 - self.momentum) * *running;
            }
        }
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (n, positions, momentum) = (l.read_dims(0)[0], self.positions, self.momentum as f32);
        l.kernel([0, 1].map(|i| l.read(i).span), [0, 1].map(|i| l.write(i).span), [], [], move |run, s| {
            let ([mean, var], [running_mean, running_var]) = (s.read, s.write);
            batch_norm_running(run.cpu, n, run.batch() * positions, momentum, mean, var, running_mean, running_var);
        });
    }
}

/// Σ dy/N and Σ dy∗x̂/N of every channel; the sums are the gradients of β and γ.
#[derive(Debug)]
struct GradMeans;

impl Op for GradMeans {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let (dy, of_parameters) = (r[3], &w[2..]);
        let means = format!("{}, {} = Σ {dy}/N, Σ ({dy} ∗ x̂)/N", w[0], w[1]);
        if let [dgamma, dbeta] = of_parameters {
            format!("{means};  {dgamma} += Σ {dy} ∗ x̂;  {dbeta} += Σ {dy}")
        } else {
            means
        }
    }

    fn needs_batch(&self) -> bool {
        true
    }

    fn needs_batch_at_end(&self, case: &Case) -> bool {
        case.reads[0].is_image()
    }

    fn cost(&self, case: &Case) -> Cost {
        Cost { flops: 5 * case.read_len(0) as u64, bytes: case.bytes() }
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let dims = &case.reads[0].dims;
        let n = (case.read_len(0) / dims[0]) as f64;
        for j in 0..dims[0] {
            let at = channel(case.batch(), dims, j);
            let sum: f64 = at.clone().map(|i| r[3][i]).sum();
            let sum_x_hat: f64 = at.map(|i| r[3][i] * (r[0][i] - r[1][j]) * r[2][j]).sum();
            (w[0][j], w[1][j]) = (sum / n, sum_x_hat / n);
            for (grad, sum) in w[2..].iter_mut().zip([sum_x_hat, sum]) {
                grad[j] = if case.adds { grad[j] + sum } else { sum };
            }
        }
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn scratch(&self, case: &Case) -> usize {
        Rows::new(&case.reads[0].dims, layout(case.reads[0])).norm(case.batch()).moments()
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (gradient, all) = (l.gradient(2), Rows::new(l.read_dims(0), l.read(0).layout));
        let norm = move |batch| all.norm(batch);
        let (moments, reads) = (moments(l, norm), [0, 1, 2, 3].map(|i| l.read(i).span));
        let [mean_dy, mean_dy_xhat] = [0, 1].map(|i| l.write(i).span);
        let [dgamma, dbeta] = [2, 3].map(|i| write_or_nothing(l, i));
        l.kernel(reads, [moments], [], [], move |run, s| {
            let [x, mean, inv_std, dy] = s.read;
            batch_norm_grad_moments(run.cpu, &norm(run.batch()), x, mean, inv_std, dy, s.write[0]);
        });
        l.whole_kernel([moments], [mean_dy, mean_dy_xhat, dgamma, dbeta], move |run, s| {
            let ([mean_dy, mean_dy_xhat, dgamma, dbeta], norm) = (s.write, norm(run.batch()));
            let (dgamma, dbeta, adds) = (given_mut(dgamma), given_mut(dbeta), gradient.adds(run));
            batch_norm_grad_sums(run.cpu, &norm, s.read[0], dgamma, dbeta, adds, [mean_dy, mean_dy_xhat]);
        });
    }
}

/// dx = γ·inv_std·(dy − Σ dy/N − x̂·Σ(dy∗x̂)/N).
#[derive(Debug)]
struct Grad {
    /// A function of every number whose gradient follows: its output is the last operand.
    map: Option<Map>,
}

impl Grad {
    /// Its operands without the output of the function, and that output.
    fn split<'a, T>(&self, reads: &'a [T]) -> (&'a [T], Option<&'a T>) {
        match (self.map, reads) {
            (Some(_), [operands @ .., y]) => (operands, Some(y)),
            _ => (reads, None),
        }
    }
}

impl Op for Grad {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let (r, y) = self.split(r);
        let [_, _, inv_std, dy, mean_dy, mean_dy_x_hat, gamma @ ..] = r else { unreachable!("six operands at least") };
        let gamma = gamma.first().map_or(String::new(), |gamma| format!("{gamma}·"));
        let times = times_derivative(self.map.unwrap_or(Map::Identity), y);
        format!("{} = {gamma}{inv_std}·({dy} − {mean_dy} − x̂·{mean_dy_x_hat}){times}", w[0])
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(6)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let (r, y) = self.split(r);
        let dims = &case.reads[0].dims;
        for j in 0..dims[0] {
            let gamma = r.get(6).map_or(1.0, |gamma| gamma[j]);
            for i in channel(case.batch(), dims, j) {
                let x_hat = (r[0][i] - r[1][j]) * r[2][j];
                w[0][i] = gamma * r[2][j] * (r[3][i] - r[4][j] - x_hat * r[5][j]);
            }
        }
        multiply_derivative(self.map.unwrap_or(Map::Identity), y, &mut w[0]);
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (map, all) = (self.map, Rows::new(l.read_dims(0), l.read(0).layout));
        let places: Vec<Span> = (0..l.reads()).map(|i| l.read(i).span).collect();
        let (operands, y) = self.split(&places);
        let gamma = operands.get(6).copied().unwrap_or(Span::NONE);
        let [x, mean, inv_std, dy, mean_dy, mean_dy_xhat] = [0, 1, 2, 3, 4, 5].map(|i| operands[i]);
        let (y, dx) = (y.copied().unwrap_or(Span::NONE), l.write(0).span);
        l.kernel([x, mean, inv_std, dy, mean_dy, mean_dy_xhat, gamma, y], [dx], [], [], move |run, s| {
            let ([x, mean, inv_std, dy, mean_dy, mean_dy_xhat, gamma, y], norm) = (s.read, all.norm(run.batch()));
            let (gamma, means, before) = (given(gamma), [mean_dy, mean_dy_xhat], map.map(|map| (map, y)));
            batch_norm_grad_map(run.cpu, &norm, x, mean, inv_std, gamma, dy, means, before, s.write[0]);
        });
    }

    fn with_map_grad(&self, map: Map, y: Value) -> Option<(Box<dyn Op>, Value)> {
        self.map.is_none().then(|| (Box::new(Grad { map: Some(map) }) as Box<dyn Op>, y))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{agree, explain};

    #[test]
    fn both_executors_agree() {
        for layer in ["BatchNorm1d 0.01", "BatchNorm1d 0.01 affine=false"] {
            for features in [1, 2, 17] {
                agree(&[layer, "Tanh", layer], &[features]);
            }
        }
        for layer in ["BatchNorm2d 0.01", "BatchNorm2d 0.01 affine=false"] {
            for input in [[1, 1, 1], [3, 2, 5], [16, 3, 3], [17, 1, 2]] {
                agree(&[layer, layer], &input);
                agree(&[layer, "Tanh", layer, "ReLU", layer], &input);
            }
        }
    }

    #[test]
    fn reads_as_its_formulas() {
        let text = explain(&["BatchNorm1d"], &[3]);
        for line in [
            "net.0 = net.0.weight·(x − net.0.mean)·net.0.inv_std + net.0.bias",
            "net.0.running_mean, net.0.running_var = 0.9·old + 0.1·(net.0.mean, N/(N − 1)·net.0.var)",
            "net.0.mean, net.0.var = Σ x/N, Σ (x − net.0.mean)²/N;  net.0.inv_std = 1/√(net.0.var + 1e-5)",
            "d net.0.mean_dy, d net.0.mean_dy_x̂ = Σ d net/N, Σ (d net ∗ x̂)/N;  \
             d net.0.weight += Σ d net ∗ x̂;  d net.0.bias += Σ d net",
            "d into net.0 = net.0.weight·net.0.inv_std·(d net − d net.0.mean_dy − x̂·d net.0.mean_dy_x̂)",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(explain(&["BatchNorm1d affine=false"], &[3]).contains("net.0 = (x − net.0.mean)·net.0.inv_std "));
    }
}
