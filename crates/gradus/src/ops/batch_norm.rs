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
    Norm, batch_norm, batch_norm_grad, batch_norm_grad_map, batch_norm_grad_moments, batch_norm_grad_sums,
    batch_norm_infer, batch_norm_map, batch_norm_moments, batch_norm_running, batch_norm_statistics,
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
        let y = self.batched_like(&self.name(""), x);
        let channels = self.dims(x)[0];
        let [mean, inv_std, var] = ["mean", "inv_std", "var"].map(|name| self.single(&self.name(name), &[channels]));
        let mut reads = vec![x];
        reads.extend(affine.into_iter().flatten());
        self.op(Train { eps, map: Map::Identity }, &reads, &[y, mean, inv_std, var]);
        (y, Statistics { mean, inv_std, var })
    }

    /// running = momentum·new + (1 − momentum)·running for mean and variance (C), of what `s` says of `x`; the new
    /// variance is the unbiased one.
    pub fn batch_norm_running(&mut self, x: Value, s: Statistics, running: [Value; 2], momentum: f64) {
        let positions = self.dims(x)[1..].iter().product();
        self.op(Running { momentum, positions }, &[s.mean, s.var], &running);
    }

    /// y = γ·x̂ + β with the running mean and variance (C).
    pub fn batch_norm_infer(&mut self, x: Value, running: [Value; 2], affine: Option<[Value; 2]>, eps: f64) -> Value {
        let y = self.batched_like(&self.name(""), x);
        let mut reads = vec![x, running[0], running[1]];
        reads.extend(affine.into_iter().flatten());
        self.op(Infer { eps, map: Map::Identity }, &reads, &[y]);
        y
    }

    /// dγ += Σ dy∗x̂, dβ += Σ dy; returns dx.
    pub fn batch_norm_grad(&mut self, x: Value, s: Statistics, affine: Option<[Value; 2]>, dy: Value) -> Value {
        let dx = self.batched_like(&self.name(""), x);
        let (mut reads, mut writes) = (vec![x, s.mean, s.inv_std, dy], vec![dx]);
        if let Some([gamma, beta]) = affine {
            reads.push(gamma);
            writes.extend([gamma, beta].map(|p| self.grad_if_trained(p)));
        }
        self.op(Grad { map: None }, &reads, &writes);
        dx
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
    fn norm(&self, batch: usize, eps: f64) -> Norm {
        let Layout { group, n, ld, together, .. } = self.layout;
        let (groups, rows) = if self.image { (batch, group) } else { (1, batch) };
        Norm { groups, rows, n, ld, interleaved: together > 1, eps: eps as f32 }
    }

    /// The same with whole registers, which are quicker: what comes to lie in the padding is never looked at, nor is it a
    /// gradient, which would be.
    fn padded_norm(&self, batch: usize, eps: f64) -> Norm {
        let Layout { n, ld, together, .. } = self.layout;
        let n = if together > 1 { n } else { n.next_multiple_of(LANES).min(ld) };
        Norm { n, ..self.norm(batch, eps) }
    }
}

/// Where the moments of all samples are, at the start of the scratch of an op that `norm` says the sizes of.
fn moments(scratch: Span, norm: &Norm) -> Span {
    Span { len: norm.moments(), sample: norm.moments_step(), ..scratch }
}

fn affine_line(x_hat: String, affine: &[&str]) -> String {
    if let [gamma, beta] = affine { format!("{gamma}·{x_hat} + {beta}") } else { x_hat }
}

#[derive(Debug)]
struct Train {
    eps: f64,
    map: Map,
}

impl Op for Train {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let y = affine_line(format!("({} − {})·{}", r[0], w[1], w[2]), &r[1..]);
        format!("{} = {}", w[0], wrap(self.map, &y))
    }

    fn needs_batch(&self) -> bool {
        true
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(7)
    }

    fn needs_batch_between(&self, case: &Case) -> bool {
        case.reads[0].is_image()
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let dims = &case.reads[0].dims;
        for j in 0..dims[0] {
            let (at, n) = (channel(case.batch(), dims, j), (case.read_len(0) / dims[0]) as f64);
            let mean = at.clone().map(|i| r[0][i]).sum::<f64>() / n;
            let var = at.clone().map(|i| (r[0][i] - mean) * (r[0][i] - mean)).sum::<f64>() / n;
            let inv_std = 1.0 / (var + self.eps).sqrt();
            let (gamma, beta) = if let [_, gamma, beta] = r { (gamma[j], beta[j]) } else { (1.0, 0.0) };
            for i in at {
                w[0][i] = value(self.map, gamma * (r[0][i] - mean) * inv_std + beta);
            }
            (w[1][j], w[2][j], w[3][j]) = (mean, inv_std, var);
        }
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    /// Two sums per channel of each sample.
    fn scratch(&self, case: &Case) -> usize {
        Rows::new(&case.reads[0].dims, layout(case.reads[0])).padded_norm(case.batch(), 0.0).moments()
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (eps, map, all) = (self.eps, self.map, Rows::new(l.read_dims(0), l.read(0).layout));
        let norm = move |batch| all.padded_norm(batch, eps);
        let [x, gamma, beta] = [l.read(0).span, read_or_nothing(l, 1), read_or_nothing(l, 2)];
        let [y, mean, inv_std, var] = [0, 1, 2, 3].map(|i| l.write(i).span);
        if !all.image {
            l.kernel([x, gamma, beta], [y, mean, inv_std, var, l.scratch()], [], [], move |run, s| {
                let ([x, gamma, beta], [y, mean, inv_std, var, scratch]) = (s.read, s.write);
                let (norm, gamma, beta) = (norm(run.batch()), given(gamma), given(beta));
                batch_norm(run.cpu, &norm, x, gamma, beta, map, y, mean, inv_std, var, scratch);
            });
            return;
        }
        let moments = moments(l.scratch(), &norm(l.batch()));
        l.kernel([x], [moments], [], [], move |run, s| {
            batch_norm_moments(run.cpu, &norm(run.batch()), s.read[0], s.write[0]);
        });
        l.whole_kernel([moments], [mean, inv_std, var], move |run, s| {
            let [mean, inv_std, var] = s.write;
            batch_norm_statistics(run.cpu, &norm(run.batch()), s.read[0], mean, inv_std, var);
        });
        l.kernel([x, mean, inv_std, gamma, beta], [y], [], [], move |run, s| {
            let ([x, mean, inv_std, gamma, beta], norm) = (s.read, norm(run.batch()));
            batch_norm_map(run.cpu, &norm, x, mean, inv_std, given(gamma), given(beta), map, s.write[0]);
        });
    }

    fn with_map(&self, map: Map) -> Option<Box<dyn Op>> {
        (self.map == Map::Identity).then(|| Box::new(Train { map, ..*self }) as Box<dyn Op>)
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

#[derive(Debug)]
struct Infer {
    eps: f64,
    map: Map,
}

impl Op for Infer {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let y = affine_line(format!("({} − {})/√({} + {:?})", r[0], r[1], r[2], self.eps), &r[3..]);
        format!("{} = {}", w[0], wrap(self.map, &y))
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(3)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let dims = &case.reads[0].dims;
        for j in 0..dims[0] {
            let inv_std = 1.0 / (r[2][j] + self.eps).sqrt();
            let (gamma, beta) = if let [.., gamma, beta] = &r[3..] { (gamma[j], beta[j]) } else { (1.0, 0.0) };
            for i in channel(case.batch(), dims, j) {
                w[0][i] = value(self.map, gamma * (r[0][i] - r[1][j]) * inv_std + beta);
            }
        }
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, y, eps, map) = (l.read(0), l.write(0), self.eps, self.map);
        let all = Rows::new(l.read_dims(0), x.layout);
        let reads = [x.span, l.read(1).span, l.read(2).span, read_or_nothing(l, 3), read_or_nothing(l, 4)];
        l.kernel(reads, [y.span], [], [], move |run, s| {
            let (norm, [x, mean, var, gamma, beta]) = (all.padded_norm(run.batch(), eps), s.read);
            batch_norm_infer(run.cpu, &norm, x, given(gamma), given(beta), mean, var, map, s.write[0]);
        });
    }

    fn with_map(&self, map: Map) -> Option<Box<dyn Op>> {
        (self.map == Map::Identity).then(|| Box::new(Infer { map, ..*self }) as Box<dyn Op>)
    }
}

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
        let [_, _, inv_std, dy, ..] = r else { unreachable!("four operands at least") };
        let dx = format!("{inv_std}·({dy} − Σ {dy}/N − x̂·Σ({dy} ∗ x̂)/N)");
        let times = times_derivative(self.map.unwrap_or(Map::Identity), y);
        match (r, w) {
            ([.., gamma], [x, dgamma, dbeta]) => {
                format!("{x} = {gamma}·{dx}{times};  {dgamma} += Σ {dy} ∗ x̂;  {dbeta} += Σ {dy}")
            }
            _ => format!("{} = {dx}{times}", w[0]),
        }
    }

    fn needs_batch(&self) -> bool {
        true
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(11)
    }

    fn needs_batch_between(&self, case: &Case) -> bool {
        case.reads[0].is_image()
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let (r, y) = self.split(r);
        let dims = &case.reads[0].dims;
        for j in 0..dims[0] {
            let (at, n) = (channel(case.batch(), dims, j), (case.read_len(0) / dims[0]) as f64);
            let (mean, inv_std) = (r[1][j], r[2][j]);
            let x_hat = |i: usize| (r[0][i] - mean) * inv_std;
            let sum: f64 = at.clone().map(|i| r[3][i]).sum();
            let sum_x_hat: f64 = at.clone().map(|i| r[3][i] * x_hat(i)).sum();
            let gamma = r.get(4).map_or(1.0, |gamma| gamma[j]);
            for i in at {
                w[0][i] = gamma * inv_std * (r[3][i] - sum / n - x_hat(i) * sum_x_hat / n);
            }
            for (grad, sum) in w[1..].iter_mut().zip([sum_x_hat, sum]) {
                grad[j] = if case.adds { grad[j] + sum } else { sum };
            }
        }
        multiply_derivative(self.map.unwrap_or(Map::Identity), y, &mut w[0]);
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn scratch(&self, case: &Case) -> usize {
        Rows::new(&case.reads[0].dims, layout(case.reads[0])).norm(case.batch(), 0.0).scratch()
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (map, gradient, all) = (self.map, l.gradient(0), Rows::new(l.read_dims(0), l.read(0).layout));
        let places: Vec<Span> = (0..l.reads()).map(|i| l.read(i).span).collect();
        let (operands, y) = self.split(&places);
        let gamma = operands.get(4).copied().unwrap_or(Span::NONE);
        let (x, mean, inv_std, dy, y) = (operands[0], operands[1], operands[2], operands[3], y.copied());
        let y = y.unwrap_or(Span::NONE);
        let [dx, dgamma, dbeta] = [l.write(0).span, write_or_nothing(l, 1), write_or_nothing(l, 2)];
        // No variance is taken here: eps is part of inv_std already.
        let norm = move |batch| all.norm(batch, 0.0);
        if !all.image {
            let (reads, writes) = ([x, mean, inv_std, dy, gamma, y], [dx, dgamma, dbeta, l.scratch()]);
            l.kernel(reads, writes, [], [], move |run, s| {
                let ([x, mean, inv_std, dy, gamma, y], [dx, dgamma, dbeta, scratch]) = (s.read, s.write);
                let (norm, gamma, before) = (norm(run.batch()), given(gamma), map.map(|map| (map, y)));
                let (dgamma, dbeta, adds) = (given_mut(dgamma), given_mut(dbeta), gradient.adds(run));
                batch_norm_grad(run.cpu, &norm, x, mean, inv_std, gamma, dy, before, dx, dgamma, dbeta, adds, scratch);
            });
            return;
        }
        let (scratch, moments) = (l.scratch(), moments(l.scratch(), &norm(l.batch())));
        let means = Span { start: scratch.start + moments.len, len: scratch.len - moments.len, ..scratch };
        l.kernel([x, mean, inv_std, dy], [moments], [], [], move |run, s| {
            let [x, mean, inv_std, dy] = s.read;
            batch_norm_grad_moments(run.cpu, &norm(run.batch()), x, mean, inv_std, dy, s.write[0]);
        });
        l.whole_kernel([moments], [dgamma, dbeta, means], move |run, s| {
            let ([dgamma, dbeta, means], norm) = (s.write, norm(run.batch()));
            let (dgamma, dbeta, adds) = (given_mut(dgamma), given_mut(dbeta), gradient.adds(run));
            batch_norm_grad_sums(run.cpu, &norm, s.read[0], dgamma, dbeta, adds, means);
        });
        l.kernel([x, mean, inv_std, dy, gamma, means, y], [dx], [], [], move |run, s| {
            let ([x, mean, inv_std, dy, gamma, means, y], norm) = (s.read, norm(run.batch()));
            let (gamma, before) = (given(gamma), map.map(|map| (map, y)));
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
            "d into net.0 = net.0.weight·net.0.inv_std·(d net − Σ d net/N − x̂·Σ(d net ∗ x̂)/N);  \
             d net.0.weight += Σ d net ∗ x̂;  d net.0.bias += Σ d net",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(explain(&["BatchNorm1d affine=false"], &[3]).contains("net.0 = (x − net.0.mean)·net.0.inv_std "));
    }
}
