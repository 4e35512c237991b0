//! The optimisers' updates, elementwise over whole slices, by torch's formulas.
//!
//! `fma(a, b, c)` = a·b + c, rounded once. A weight decay of 0 is left out, not added as a zero. Roots and quotients are
//! true ones.

use crate::Cpu;
use crate::isa::simd;
use crate::lanes::{Lanes, by_lanes, each_vector};
use crate::pool::{Read, Write};

/// g + weight_decay·p.
#[inline(always)]
fn decayed<const DECAY: bool>(g: f32, p: f32, weight_decay: f32) -> f32 {
    if DECAY { weight_decay.mul_add(p, g) } else { g }
}

/// The same of vectors.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn with_decay<V: Lanes>(g: V, p: V, weight_decay: f32) -> V {
    // SAFETY: the caller's promise.
    unsafe { if weight_decay == 0.0 { g } else { g.add_product(V::splat(weight_decay), p) } }
}

#[track_caller]
fn same_length(kernel: &str, n: usize, others: &[(&str, usize)]) {
    for (name, len) in others {
        assert!(*len == n, "{kernel}: {name} holds {len} numbers, p holds {n}");
    }
}

/// A step of [`sgd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The learning rate.
    pub lr: f32,
    /// The weight decay, added to the gradient.
    pub weight_decay: f32,
}

impl Sgd {
    /// The step of a vector of parameters, for kernels that have its gradient in registers. `DECAY`: whether there is a weight decay.
    ///
    /// # Safety
    /// As [`Lanes`].
    #[inline(always)]
    pub(crate) unsafe fn step<V: Lanes, const DECAY: bool>(self, p: V, g: V) -> V {
        // SAFETY: the caller's promises.
        unsafe {
            let g = if DECAY { g.add_product(V::splat(self.weight_decay), p) } else { g };
            p.add_product(V::splat(-self.lr), g)
        }
    }
}

simd! {
    fn sgd_kernel<const DECAY: bool>(s: &Sgd, p: &mut [f32], g: &[f32]) {
        for (p, &g) in p.iter_mut().zip(g) {
            *p = (-s.lr).mul_add(decayed::<DECAY>(g, *p, s.weight_decay), *p);
        }
    }
}

/// Gradient descent: g = fma(weight_decay, p, g); p = fma(−lr, g, p).
///
/// # Panics
/// When the lengths differ.
pub fn sgd(cpu: &Cpu, s: &Sgd, p: &mut [f32], g: &[f32]) {
    same_length("sgd", p.len(), &[("g", g.len())]);
    let kernel = if s.weight_decay == 0.0 { sgd_kernel::<false> } else { sgd_kernel::<true> };
    let arrays = (Write::new(p, 1), Read(g, 1));
    cpu.pool.split_numbers(1, g.len(), arrays, |(p, g)| kernel(cpu.isa, s, p, g));
}

/// A step of [`sgd_momentum`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// The learning rate.
    pub lr: f32,
    /// How much of the buffer stays.
    pub momentum: f32,
    /// How much of the gradient does not enter the buffer.
    pub dampening: f32,
    /// The weight decay, added to the gradient.
    pub weight_decay: f32,
    /// Nesterov's variant.
    pub nesterov: bool,
    /// The first step: the buffer becomes the gradient.
    pub first: bool,
}

simd! {
    fn momentum_kernel<const DECAY: bool, const NESTEROV: bool, const FIRST: bool>(
        s: &Momentum, p: &mut [f32], g: &[f32], buf: &mut [f32],
    ) {
        let enters = 1.0 - s.dampening;
        for ((p, &g), buf) in p.iter_mut().zip(g).zip(buf) {
            let g = decayed::<DECAY>(g, *p, s.weight_decay);
            *buf = if FIRST { g } else { s.momentum.mul_add(*buf, enters * g) };
            let step = if NESTEROV { s.momentum.mul_add(*buf, g) } else { *buf };
            *p = (-s.lr).mul_add(step, *p);
        }
    }
}

/// Gradient descent with momentum: g = fma(weight_decay, p, g); buf = g on the first step, else
/// fma(momentum, buf, (1 − dampening)·g); step = fma(momentum, buf, g) with Nesterov, else buf; p = fma(−lr, step, p).
///
/// # Panics
/// When the lengths differ.
pub fn sgd_momentum(cpu: &Cpu, s: &Momentum, p: &mut [f32], g: &[f32], buf: &mut [f32]) {
    same_length("sgd_momentum", p.len(), &[("g", g.len()), ("buf", buf.len())]);
    let kernel = match (s.weight_decay != 0.0, s.nesterov, s.first) {
        (false, false, false) => momentum_kernel::<false, false, false>,
        (false, false, true) => momentum_kernel::<false, false, true>,
        (false, true, false) => momentum_kernel::<false, true, false>,
        (false, true, true) => momentum_kernel::<false, true, true>,
        (true, false, false) => momentum_kernel::<true, false, false>,
        (true, false, true) => momentum_kernel::<true, false, true>,
        (true, true, false) => momentum_kernel::<true, true, false>,
        (true, true, true) => momentum_kernel::<true, true, true>,
    };
    let arrays = (Write::new(p, 1), Read(g, 1), Write::new(buf, 1));
    cpu.pool.split_numbers(1, g.len(), arrays, |(p, g, buf)| kernel(cpu.isa, s, p, g, buf));
}

/// A step of [`adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// The learning rate.
    pub lr: f32,
    /// 1 − β₁: what enters the mean of gradients. Rounded once, from double precision: taken in f32, 1 − 0.999 is off in
    /// the fifth digit, and so would be every step.
    pub new1: f32,
    /// How much of the mean of squares stays.
    pub beta2: f32,
    /// 1 − β₂, as `new1`.
    pub new2: f32,
    /// What is added to the root.
    pub eps: f32,
    /// The weight decay.
    pub weight_decay: f32,
    /// AdamW: the decay shrinks the weights and does not enter the gradient.
    pub decoupled: bool,
    /// 1 − β₁ᵗ, likewise, t = 1 in the first step.
    pub correction1: f32,
    /// 1 − β₂ᵗ, likewise.
    pub correction2: f32,
}

by_lanes! {
    /// # Safety
    /// All arrays are as long as `p`.
    fn adam_kernel(s: &Adam, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) = adam_vectors
}

/// # Safety
/// As [`adam_kernel`], where the instruction set is there.
#[inline(always)]
unsafe fn adam_vectors<V: Lanes>(s: &Adam, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    let shrink = if s.decoupled { 1.0 - s.lr * s.weight_decay } else { 1.0 };
    let decay = if s.decoupled { 0.0 } else { s.weight_decay };
    let step = s.lr / s.correction1;
    let root = 1.0 / s.correction2.sqrt();
    let n = p.len();
    let (p, g, m, v) = (p.as_mut_ptr(), g.as_ptr(), m.as_mut_ptr(), v.as_mut_ptr());
    // SAFETY: numbers of all arrays, here and below.
    unsafe {
        each_vector::<V>(
            n,
            #[inline(always)]
            |at| {
                let mut old = at.load::<V>(p);
                if shrink != 1.0 {
                    old = old.both(
                        old,
                        #[inline(always)]
                        |p, _| p * shrink,
                    );
                }
                let g = with_decay(at.load::<V>(g), old, decay);
                let mean = at.load::<V>(m).both(
                    g,
                    #[inline(always)]
                    |m, g| s.new1.mul_add(g - m, m),
                );
                let square = at.load::<V>(v).both(
                    g,
                    #[inline(always)]
                    |v, g| (s.new2 * g).mul_add(g, s.beta2 * v),
                );
                let below = square.sqrt();
                let quotient = mean.both(
                    below,
                    #[inline(always)]
                    |m, r| m / r.mul_add(root, s.eps),
                );
                at.store(m, mean);
                at.store(v, square);
                at.store(p, old.add_product(V::splat(-step), quotient));
            },
        )
    }
}

/// Adam and AdamW: p = p·(1 − lr·weight_decay) if decoupled, else g = fma(weight_decay, p, g); m = fma(1 − β₁, g − m, m);
/// v = fma((1 − β₂)·g, g, β₂·v); p = fma(−lr/c₁, m / fma(√v, 1/√c₂, eps), p).
///
/// # Panics
/// When the lengths differ.
pub fn adam(cpu: &Cpu, s: &Adam, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    same_length("adam", p.len(), &[("g", g.len()), ("m", m.len()), ("v", v.len())]);
    let arrays = (Write::new(p, 1), Read(g, 1), Write::new(m, 1), Write::new(v, 1));
    cpu.pool.split_numbers(1, g.len(), arrays, |(p, g, m, v)| {
        // SAFETY: parts of the same numbers of arrays of one length.
        unsafe { adam_kernel(cpu.isa, s, p, g, m, v) }
    });
}

/// A step of [`rmsprop`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// The learning rate.
    pub lr: f32,
    /// How much of the mean of squares stays.
    pub alpha: f32,
    /// What is added to the root.
    pub eps: f32,
    /// The weight decay, added to the gradient.
    pub weight_decay: f32,
    /// How much of the buffer stays; 0 for no buffer.
    pub momentum: f32,
    /// Divide by the standard deviation, not by the root of the mean square.
    pub centered: bool,
}

by_lanes! {
    /// # Safety
    /// All arrays are as long as `p`; but `grad_avg` is used if centered alone, `buf` if there is momentum.
    fn rmsprop_kernel(
        s: &RmsProp, p: &mut [f32], g: &[f32], square_avg: &mut [f32], grad_avg: &mut [f32], buf: &mut [f32],
    ) = rmsprop_vectors
}

/// # Safety
/// As [`rmsprop_kernel`], where the instruction set is there.
#[inline(always)]
unsafe fn rmsprop_vectors<V: Lanes>(
    s: &RmsProp,
    p: &mut [f32],
    g: &[f32],
    square_avg: &mut [f32],
    grad_avg: &mut [f32],
    buf: &mut [f32],
) {
    let (new, n) = (1.0 - s.alpha, p.len());
    let (p, g, square_avg) = (p.as_mut_ptr(), g.as_ptr(), square_avg.as_mut_ptr());
    let (grad_avg, buf) = (grad_avg.as_mut_ptr(), buf.as_mut_ptr());
    // SAFETY: numbers of all arrays that are used, here and below.
    unsafe {
        each_vector::<V>(
            n,
            #[inline(always)]
            |at| {
                let old = at.load::<V>(p);
                let g = with_decay(at.load::<V>(g), old, s.weight_decay);
                let average = at.load::<V>(square_avg);
                let mut square = average.both(
                    g,
                    #[inline(always)]
                    |v, g| (new * g).mul_add(g, s.alpha * v),
                );
                at.store(square_avg, square);
                if s.centered {
                    let mean = at.load::<V>(grad_avg);
                    let mean = mean.both(
                        g,
                        #[inline(always)]
                        |mean, g| new.mul_add(g - mean, mean),
                    );
                    at.store(grad_avg, mean);
                    square = square.both(
                        mean,
                        #[inline(always)]
                        |square, mean| {
                            let variance = (-mean).mul_add(mean, square);
                            if variance < 0.0 { 0.0 } else { variance }
                        },
                    );
                }
                let mut step = g.both(
                    square.sqrt(),
                    #[inline(always)]
                    |g, root| g / (root + s.eps),
                );
                if s.momentum != 0.0 {
                    step = step.add_product(V::splat(s.momentum), at.load(buf));
                    at.store(buf, step);
                }
                at.store(p, old.add_product(V::splat(-s.lr), step));
            },
        )
    }
}

/// RMSprop: g = fma(weight_decay, p, g); square = fma((1 − α)·g, g, α·square); if centered, mean = fma(1 − α, g − mean,
/// mean) and var = max(fma(−mean, mean, square), 0), else var = square; step = g / (√var + eps); with momentum
/// buf = fma(momentum, buf, step) and step = buf; p = fma(−lr, step, p).
///
/// # Panics
/// When the lengths differ, or `grad_avg` is missing though centered, `buf` though there is momentum.
pub fn rmsprop(
    cpu: &Cpu,
    s: &RmsProp,
    p: &mut [f32],
    g: &[f32],
    square_avg: &mut [f32],
    grad_avg: Option<&mut [f32]>,
    buf: Option<&mut [f32]>,
) {
    same_length("rmsprop", p.len(), &[("g", g.len()), ("square_avg", square_avg.len())]);
    let (grad_avg, buf) = (grad_avg.unwrap_or_default(), buf.unwrap_or_default());
    let momentum = s.momentum != 0.0;
    if s.centered {
        same_length("rmsprop", p.len(), &[("grad_avg", grad_avg.len())]);
    }
    if momentum {
        same_length("rmsprop", p.len(), &[("buf", buf.len())]);
    }
    let arrays = (Write::new(p, 1), Read(g, 1), Write::new(square_avg, 1), Write::new(grad_avg, 1), Write::new(buf, 1));
    cpu.pool.split_numbers(1, g.len(), arrays, |(p, g, square_avg, grad_avg, buf)| {
        // SAFETY: parts of the same numbers of arrays of one length, but for those that may be missing.
        unsafe { rmsprop_kernel(cpu.isa, s, p, g, square_avg, grad_avg, buf) }
    });
}

by_lanes! {
    /// # Safety
    /// All arrays are as long as `p`.
    fn adagrad_kernel(lr: f32, weight_decay: f32, eps: f32, p: &mut [f32], g: &[f32], sum: &mut [f32]) = adagrad_vectors
}

/// # Safety
/// As [`adagrad_kernel`], where the instruction set is there.
#[inline(always)]
unsafe fn adagrad_vectors<V: Lanes>(lr: f32, weight_decay: f32, eps: f32, p: &mut [f32], g: &[f32], sum: &mut [f32]) {
    let n = p.len();
    let (p, g, sum) = (p.as_mut_ptr(), g.as_ptr(), sum.as_mut_ptr());
    // SAFETY: numbers of all arrays, here and below.
    unsafe {
        each_vector::<V>(
            n,
            #[inline(always)]
            |at| {
                let old = at.load::<V>(p);
                let g = with_decay(at.load::<V>(g), old, weight_decay);
                let squares = at.load::<V>(sum).add_product(g, g);
                let step = g.both(
                    squares.sqrt(),
                    #[inline(always)]
                    |g, root| g / (root + eps),
                );
                at.store(sum, squares);
                at.store(p, old.add_product(V::splat(-lr), step));
            },
        )
    }
}

/// Adagrad: g = fma(weight_decay, p, g); sum = fma(g, g, sum); p = fma(−lr, g / (√sum + eps), p).
///
/// # Panics
/// When the lengths differ.
pub fn adagrad(cpu: &Cpu, lr: f32, weight_decay: f32, eps: f32, p: &mut [f32], g: &[f32], sum: &mut [f32]) {
    same_length("adagrad", p.len(), &[("g", g.len()), ("sum", sum.len())]);
    let arrays = (Write::new(p, 1), Read(g, 1), Write::new(sum, 1));
    cpu.pool.split_numbers(1, g.len(), arrays, |(p, g, sum)| {
        // SAFETY: parts of the same numbers of arrays of one length.
        unsafe { adagrad_kernel(cpu.isa, lr, weight_decay, eps, p, g, sum) }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::testing::{Random, bits, cases, everywhere, near, shape_is};

    /// Three steps of a kernel, in each of its variants, on `state` slices beside p, and the same by a definition of one
    /// element in f64.
    fn check<V>(
        what: &str,
        variants: &[V],
        state: usize,
        kernel: impl Fn(&V, &Cpu, usize, &mut [f32], &[f32], &mut [Vec<f32>]),
        exact: impl Fn(&V, usize, &mut f64, f64, &mut [f64]),
    ) {
        cases(what, 10 * variants.len() as u32, |seed| {
            let (variant, round) = (&variants[seed as usize % variants.len()], seed as usize / variants.len());
            let mut random = Random::new(seed);
            let any = random.size(0, 400);
            let n = [0, 1, 15, 16, 17, 64].get(round).copied().unwrap_or(any);
            shape_is(&n);
            let start = random.numbers(n);
            let gradients = [(); 3].map(|()| random.numbers(n));
            let [p] = everywhere(|cpu| {
                let mut p = start.clone();
                let mut states = vec![vec![0.0; n]; state];
                for (t, g) in gradients.iter().enumerate() {
                    kernel(variant, cpu, t, &mut p, g, &mut states);
                }
                [p]
            });
            for i in 0..n {
                let mut want = f64::from(start[i]);
                let mut states = vec![0.0; state];
                for (t, g) in gradients.iter().enumerate() {
                    exact(variant, t, &mut want, f64::from(g[i]), &mut states);
                }
                near(p[i], want, 2e-6);
            }
        });
    }

    const DECAYS: [f64; 2] = [0.0, 0.1];

    #[test]
    fn gradient_descent() {
        check(
            "sgd",
            &DECAYS,
            0,
            |&wd, cpu, _, p, g, _| sgd(cpu, &Sgd { lr: 0.1, weight_decay: wd as f32 }, p, g),
            |wd, _, p, g, _| *p -= 0.1 * (g + wd * *p),
        );
    }

    #[test]
    fn momentum() {
        check(
            "sgd_momentum",
            &[0, 1, 2, 3, 4, 5, 6, 7].map(|i| (DECAYS[i & 1], [0.0, 0.3][i >> 1 & 1], i >> 2 == 1)),
            1,
            |&(wd, dampening, nesterov), cpu, t, p, g, s| {
                let m = Momentum {
                    lr: 0.1,
                    momentum: 0.9,
                    dampening: dampening as f32,
                    weight_decay: wd as f32,
                    nesterov,
                    first: t == 0,
                };
                // What is in the buffer before the first step does not count.
                if t == 0 {
                    s[0].fill(f32::NAN);
                }
                sgd_momentum(cpu, &m, p, g, &mut s[0]);
            },
            |&(wd, dampening, nesterov), t, p, g, s| {
                let g = g + wd * *p;
                s[0] = if t == 0 { g } else { 0.9 * s[0] + (1.0 - dampening) * g };
                *p -= 0.1 * if nesterov { g + 0.9 * s[0] } else { s[0] };
            },
        );
    }

    #[test]
    fn adam_and_adamw() {
        let (b1, b2) = (0.9f64, 0.999f64);
        check(
            "adam",
            &[(0.0, false), (0.1, false), (0.1, true), (0.0, true)],
            2,
            |&(wd, decoupled), cpu, t, p, g, s| {
                let new = |b: f64, t: usize| (1.0 - b.powi(t as i32)) as f32;
                let adam_step = Adam {
                    lr: 0.01,
                    new1: new(b1, 1),
                    beta2: b2 as f32,
                    new2: new(b2, 1),
                    eps: 1e-3,
                    weight_decay: wd as f32,
                    decoupled,
                    correction1: new(b1, t + 1),
                    correction2: new(b2, t + 1),
                };
                let (m, v) = s.split_at_mut(1);
                adam(cpu, &adam_step, p, g, &mut m[0], &mut v[0]);
            },
            |&(wd, decoupled), t, p, g, s| {
                let g = if decoupled { g } else { g + wd * *p };
                if decoupled {
                    *p -= 0.01 * wd * *p;
                }
                s[0] = b1 * s[0] + (1.0 - b1) * g;
                s[1] = b2 * s[1] + (1.0 - b2) * g * g;
                let (m, v) = (s[0] / (1.0 - b1.powi(t as i32 + 1)), s[1] / (1.0 - b2.powi(t as i32 + 1)));
                *p -= 0.01 * m / (v.sqrt() + 1e-3);
            },
        );
    }

    #[test]
    fn rms_prop() {
        check(
            "rmsprop",
            &[0, 1, 2, 3, 4, 5, 6, 7].map(|i| (DECAYS[i & 1], [0.0, 0.9][i >> 1 & 1], i >> 2 == 1)),
            3,
            |&(wd, momentum, centered), cpu, _, p, g, states| {
                let s = RmsProp {
                    lr: 0.01,
                    alpha: 0.9,
                    eps: 1e-2,
                    weight_decay: wd as f32,
                    momentum: momentum as f32,
                    centered,
                };
                let [square, mean, buf] = states else { unreachable!() };
                let mean = centered.then_some(&mut mean[..]);
                let buf = (momentum > 0.0).then_some(&mut buf[..]);
                rmsprop(cpu, &s, p, g, square, mean, buf);
            },
            |&(wd, momentum, centered), _, p, g, s| {
                let g = g + wd * *p;
                s[0] = 0.9 * s[0] + 0.1 * g * g;
                s[1] = 0.9 * s[1] + 0.1 * g;
                let var = if centered { s[0] - s[1] * s[1] } else { s[0] };
                s[2] = momentum * s[2] + g / (var.sqrt() + 1e-2);
                *p -= 0.01 * s[2];
            },
        );
    }

    #[test]
    fn a_variance_rounded_below_zero_is_zero() {
        let s = RmsProp { lr: 0.1, alpha: 0.9, eps: 0.5, weight_decay: 0.0, momentum: 0.0, centered: true };
        let [p] = everywhere(|cpu| {
            let mut p = vec![1.0];
            rmsprop(cpu, &s, &mut p, &[1.0], &mut [0.0], Some(&mut [1.0]), None);
            [p]
        });
        near(p[0], 0.8, 1e-6);
    }

    #[test]
    fn adagrad_as_defined() {
        check(
            "adagrad",
            &DECAYS,
            1,
            |&wd, cpu, _, p, g, s| adagrad(cpu, 0.1, wd as f32, 1e-3, p, g, &mut s[0]),
            |wd, _, p, g, s| {
                let g = g + wd * *p;
                s[0] += g * g;
                *p -= 0.1 * g / (s[0].sqrt() + 1e-3);
            },
        );
    }

    #[test]
    fn no_gradient_no_change() {
        let mut random = Random::new(13);
        let start = random.numbers(40);
        let zeros = vec![0.0; 40];
        let cpu = Cpu::new(1);
        let mut p = start.clone();
        sgd(&cpu, &Sgd { lr: 0.1, weight_decay: 0.0 }, &mut p, &zeros);
        adagrad(&cpu, 0.1, 0.0, 1e-10, &mut p, &zeros, &mut zeros.clone());
        assert_eq!(bits(&p), bits(&start));
    }

    #[test]
    #[should_panic(expected = "rmsprop: grad_avg holds 0 numbers, p holds 2")]
    fn missing_state_is_refused() {
        let s = RmsProp { lr: 0.1, alpha: 0.9, eps: 0.1, weight_decay: 0.0, momentum: 0.0, centered: true };
        rmsprop(&Cpu::new(1), &s, &mut [0.0; 2], &[0.0; 2], &mut [0.0; 2], None, None);
    }
}
