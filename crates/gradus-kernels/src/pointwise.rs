//! Elementwise maps over whole slices, and their gradients.

use crate::Cpu;
use crate::isa::simd;
use crate::math::{self, LANES, load};
use crate::optim::Sgd;
use crate::pool::{Read, Write};
use crate::tile::{Beside, End};

/// A function of one number, applied to every element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Map {
    /// x
    Identity,
    /// max(x, 0); NaN stays NaN.
    ReLU,
    /// x where x > 0, else slope·x, with the slope rounded to f32. It is not negative: the derivative is taken from the output's sign.
    LeakyReLU(f64),
    /// The hyperbolic tangent, [`math::tanh`].
    Tanh,
    /// 1 / (1 + e⁻ˣ), [`math::sigmoid`].
    Sigmoid,
}

impl Map {
    /// The function's value.
    #[inline(always)]
    pub fn value(self, x: f32) -> f32 {
        match self {
            Map::Identity => x,
            Map::ReLU => {
                if x <= 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Map::LeakyReLU(slope) => {
                if x > 0.0 {
                    x
                } else {
                    slope as f32 * x
                }
            }
            Map::Tanh => math::tanh(x),
            Map::Sigmoid => math::sigmoid(x),
        }
    }

    /// The derivative, from the *output* `y`. At the kink of ReLU it is 0, of LeakyReLU the slope.
    #[inline(always)]
    pub fn derivative(self, y: f32) -> f32 {
        match self {
            Map::Identity => 1.0,
            Map::ReLU => {
                if y <= 0.0 {
                    0.0
                } else {
                    1.0
                }
            }
            Map::LeakyReLU(slope) => {
                if y > 0.0 {
                    1.0
                } else {
                    slope as f32
                }
            }
            Map::Tanh => (-y).mul_add(y, 1.0),
            Map::Sigmoid => y * (1.0 - y),
        }
    }

    /// `dy · derivative(y)`; what the kink cuts off is 0 whatever `dy` is.
    #[inline(always)]
    pub fn gradient(self, y: f32, dy: f32) -> f32 {
        match self {
            Map::Identity => dy,
            Map::ReLU => {
                if y <= 0.0 {
                    0.0
                } else {
                    dy
                }
            }
            Map::LeakyReLU(_) | Map::Tanh | Map::Sigmoid => dy * self.derivative(y),
        }
    }
}

/// What becomes of the sums of a product or a convolution.
#[derive(Clone, Copy, Debug)]
pub enum Finish<'a> {
    /// map(sum)
    Map(Map),
    /// sum · map′, the gradient of a map from its output, which lies as the sums do.
    Gradient(Map, &'a [f32]),
    /// A step of the parameter that the output holds: the sums are its gradient.
    Sgd(Sgd),
}

impl From<Map> for Finish<'_> {
    fn from(map: Map) -> Self {
        Finish::Map(map)
    }
}

impl Finish<'_> {
    /// For tiles of `out`.
    ///
    /// # Panics
    /// When the output of the map is shorter.
    pub(crate) fn of(self, kernel: &str, out: &[f32]) -> End {
        match self {
            Finish::Map(map) => End::Map(map),
            Finish::Gradient(map, y) => {
                let (has, needs) = (y.len(), out.len());
                assert!(has >= needs, "{kernel}: the output of the map has {has} numbers, not {needs}");
                End::Gradient(map, Beside { there: y.as_ptr(), here: out.as_ptr() })
            }
            Finish::Sgd(sgd) => End::Sgd(sgd),
        }
    }
}

/// Calls `f` with a `Map` that is a constant in each branch, so that the loops inside are compiled for it.
#[inline(always)]
pub(crate) fn for_each_map(map: Map, mut f: impl FnMut(Map)) {
    match map {
        Map::Identity => f(Map::Identity),
        Map::ReLU => f(Map::ReLU),
        Map::LeakyReLU(slope) => f(Map::LeakyReLU(slope)),
        Map::Tanh => f(Map::Tanh),
        Map::Sigmoid => f(Map::Sigmoid),
    }
}

/// outᵢ = f(xᵢ), sixteen at a time, the last ones too: for functions that are slow one by one.
#[inline(always)]
fn each(x: &[f32], out: &mut [f32], f: impl Fn(f32) -> f32) {
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (outs, out_rest) = out.as_chunks_mut::<LANES>();
    for (x, out) in xs.iter().zip(outs) {
        for l in 0..LANES {
            out[l] = f(x[l]);
        }
    }
    let mut rest = load(x_rest, 0, x_rest.len(), 0.0);
    for v in &mut rest {
        *v = f(*v);
    }
    for (out, &v) in out_rest.iter_mut().zip(&rest) {
        *out = v;
    }
}

/// xᵢ = f(xᵢ), likewise.
#[inline(always)]
fn each_inplace(x: &mut [f32], f: impl Fn(f32) -> f32) {
    let (xs, x_rest) = x.as_chunks_mut::<LANES>();
    for x in xs {
        for v in x {
            *v = f(*v);
        }
    }
    let mut rest = load(x_rest, 0, x_rest.len(), 0.0);
    for v in &mut rest {
        *v = f(*v);
    }
    for (x, &v) in x_rest.iter_mut().zip(&rest) {
        *x = v;
    }
}

/// Whether a map takes much work: such are done in full vectors to the last element.
#[inline(always)]
fn is_slow(map: Map) -> bool {
    matches!(map, Map::Tanh | Map::Sigmoid)
}

/// How many times as long a map takes as a copy.
fn effort(map: Map) -> usize {
    if is_slow(map) { 2 } else { 1 }
}

simd! {
    fn map_kernel(map: Map, x: &[f32], y: &mut [f32]) {
        for_each_map(map, #[inline(always)] |map| {
            if is_slow(map) {
                each(x, y, #[inline(always)] |x| map.value(x));
            } else {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = map.value(x);
                }
            }
        });
    }
}

simd! {
    fn map_inplace_kernel(map: Map, x: &mut [f32]) {
        for_each_map(map, #[inline(always)] |map| {
            if is_slow(map) {
                each_inplace(x, #[inline(always)] |x| map.value(x));
            } else {
                for x in &mut *x {
                    *x = map.value(*x);
                }
            }
        });
    }
}

simd! {
    fn map_grad_kernel(map: Map, y: &[f32], dy: &[f32], dx: &mut [f32]) {
        for_each_map(map, #[inline(always)] |map| {
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = map.gradient(y, dy);
            }
        });
    }
}

simd! {
    fn add_kernel(a: &[f32], b: &[f32], out: &mut [f32]) {
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *out = a + b;
        }
    }
}

simd! {
    fn add_inplace_kernel(a: &[f32], out: &mut [f32]) {
        for (out, &a) in out.iter_mut().zip(a) {
            *out += a;
        }
    }
}

simd! {
    fn scale_kernel(factor: f32, x: &[f32], out: &mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = factor * x;
        }
    }
}

simd! {
    fn scale_inplace_kernel(factor: f32, x: &mut [f32]) {
        for x in x {
            *x *= factor;
        }
    }
}

simd! {
    fn clamp_inplace_kernel(low: f32, high: f32, x: &mut [f32]) {
        for x in x {
            let above = if *x < low { low } else { *x };
            *x = if above > high { high } else { above };
        }
    }
}

#[track_caller]
fn same_length(kernel: &str, lengths: &[usize]) {
    assert!(lengths.iter().all(|&l| l == lengths[0]), "{kernel}: slices of different lengths {lengths:?}");
}

/// yᵢ = map(xᵢ).
///
/// # Panics
/// When the lengths differ.
pub fn map(cpu: &Cpu, map: Map, x: &[f32], y: &mut [f32]) {
    same_length("map", &[x.len(), y.len()]);
    let arrays = (Read(x, 1), Write::new(y, 1));
    cpu.pool.split_numbers(effort(map), x.len(), arrays, |(x, y)| map_kernel(cpu.isa, map, x, y));
}

/// xᵢ = map(xᵢ).
pub fn map_inplace(cpu: &Cpu, map: Map, x: &mut [f32]) {
    cpu.pool.split_numbers(effort(map), x.len(), Write::new(x, 1), |x| map_inplace_kernel(cpu.isa, map, x));
}

/// dxᵢ = dyᵢ · map′, the derivative taken from the output yᵢ: [`Map::gradient`].
///
/// # Panics
/// When the lengths differ.
pub fn map_grad(cpu: &Cpu, map: Map, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    same_length("map_grad", &[y.len(), dy.len(), dx.len()]);
    let arrays = (Read(y, 1), Read(dy, 1), Write::new(dx, 1));
    cpu.pool.split_numbers(1, y.len(), arrays, |(y, dy, dx)| map_grad_kernel(cpu.isa, map, y, dy, dx));
}

/// outᵢ = aᵢ + bᵢ.
///
/// # Panics
/// When the lengths differ.
pub fn add(cpu: &Cpu, a: &[f32], b: &[f32], out: &mut [f32]) {
    same_length("add", &[a.len(), b.len(), out.len()]);
    let arrays = (Read(a, 1), Read(b, 1), Write::new(out, 1));
    cpu.pool.split_numbers(1, a.len(), arrays, |(a, b, out)| add_kernel(cpu.isa, a, b, out));
}

/// outᵢ = outᵢ + aᵢ.
///
/// # Panics
/// When the lengths differ.
pub fn add_inplace(cpu: &Cpu, a: &[f32], out: &mut [f32]) {
    same_length("add_inplace", &[a.len(), out.len()]);
    let arrays = (Read(a, 1), Write::new(out, 1));
    cpu.pool.split_numbers(1, a.len(), arrays, |(a, out)| add_inplace_kernel(cpu.isa, a, out));
}

/// outᵢ = factor · xᵢ.
///
/// # Panics
/// When the lengths differ.
pub fn scale(cpu: &Cpu, factor: f32, x: &[f32], out: &mut [f32]) {
    same_length("scale", &[x.len(), out.len()]);
    let arrays = (Read(x, 1), Write::new(out, 1));
    cpu.pool.split_numbers(1, x.len(), arrays, |(x, out)| scale_kernel(cpu.isa, factor, x, out));
}

/// xᵢ = factor · xᵢ.
pub fn scale_inplace(cpu: &Cpu, factor: f32, x: &mut [f32]) {
    cpu.pool.split_numbers(1, x.len(), Write::new(x, 1), |x| scale_inplace_kernel(cpu.isa, factor, x));
}

/// xᵢ = min(max(xᵢ, low), high); NaN stays NaN.
///
/// # Panics
/// Unless low ≤ high.
pub fn clamp_inplace(cpu: &Cpu, low: f32, high: f32, x: &mut [f32]) {
    assert!(low <= high, "clamp: low {low} is not below high {high}");
    cpu.pool.split_numbers(1, x.len(), Write::new(x, 1), |x| clamp_inplace_kernel(cpu.isa, low, high, x));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::testing::{Random, bits, cases, everywhere, near, shape_is};

    const MAPS: [Map; 5] = [Map::Identity, Map::ReLU, Map::LeakyReLU(0.1), Map::Tanh, Map::Sigmoid];

    fn exact(map: Map, x: f64) -> (f64, f64) {
        match map {
            Map::Identity => (x, 1.0),
            Map::ReLU => (x.max(0.0), if x > 0.0 { 1.0 } else { 0.0 }),
            Map::LeakyReLU(slope) => {
                if x > 0.0 {
                    (x, 1.0)
                } else {
                    (slope * x, slope)
                }
            }
            Map::Tanh => (x.tanh(), 1.0 / x.cosh().powi(2)),
            Map::Sigmoid => (1.0 / (1.0 + (-x).exp()), 1.0 / (2.0 + x.exp() + (-x).exp())),
        }
    }

    #[test]
    fn maps_and_gradients_as_defined() {
        cases("map, map_grad", 75, |seed| {
            let mut random = Random::new(seed);
            let n = if seed < 70 { seed as usize } else { random.size(70, 1100) };
            shape_is(&n);
            let (x, dy) = (random.numbers(n), random.numbers(n));
            for f in MAPS {
                let [y, same, dx] = everywhere(|cpu| {
                    let (mut y, mut same, mut dx) = (vec![9.0; n], x.clone(), vec![9.0; n]);
                    map(cpu, f, &x, &mut y);
                    map_inplace(cpu, f, &mut same);
                    map_grad(cpu, f, &y, &dy, &mut dx);
                    [y, same, dx]
                });
                assert_eq!(bits(&y), bits(&same));
                for i in 0..n {
                    let (value, derivative) = exact(f, f64::from(x[i]));
                    near(y[i], value, 1e-6);
                    near(f.derivative(y[i]), derivative, 1e-6);
                    near(dx[i], derivative * f64::from(dy[i]), 1e-6);
                    assert_eq!(f.value(x[i]).to_bits(), y[i].to_bits());
                    assert_eq!(f.gradient(y[i], dy[i]).to_bits(), dx[i].to_bits());
                }
            }
        });
    }

    #[test]
    fn kinks_and_special_values() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        assert_eq!((Map::ReLU.derivative(0.0), Map::LeakyReLU(0.25).derivative(0.0)), (0.0, 0.25));
        for f in MAPS {
            assert!(f.value(nan).is_nan(), "{f:?}");
        }
        assert_eq!(Map::ReLU.value(-0.0).to_bits(), 0);
        let cpu = Cpu::new(1);
        let mut dx = [9.0; 6];
        map_grad(&cpu, Map::ReLU, &[0.0, 0.0, 1.0, 1.0, nan, 1.0], &[nan, inf, inf, -3.0, 2.0, nan], &mut dx);
        assert_eq!(dx[..5], [0.0, 0.0, inf, -3.0, 2.0]);
        assert!(dx[5].is_nan());
        let mut x = [nan, -5.0, 0.5, inf, -inf, 2.0];
        clamp_inplace(&cpu, -1.0, 1.0, &mut x);
        assert!(x[0].is_nan());
        assert_eq!(x[1..], [-1.0, 0.5, 1.0, -1.0, 1.0]);
    }

    #[test]
    fn sums_and_multiples() {
        cases("add, scale, clamp", 75, |seed| {
            let mut random = Random::new(seed);
            let n = if seed < 70 { seed as usize } else { random.size(70, 1100) };
            shape_is(&n);
            let (a, b) = (random.numbers(n), random.numbers(n));
            let [sum, sum2, scaled, scaled2, clamped] = everywhere(|cpu| {
                let (mut sum, mut sum2, mut scaled) = (vec![9.0; n], a.clone(), vec![9.0; n]);
                let (mut scaled2, mut clamped) = (a.clone(), a.clone());
                add(cpu, &a, &b, &mut sum);
                add_inplace(cpu, &b, &mut sum2);
                scale(cpu, 0.3, &a, &mut scaled);
                scale_inplace(cpu, 0.3, &mut scaled2);
                clamp_inplace(cpu, -0.5, 1.25, &mut clamped);
                [sum, sum2, scaled, scaled2, clamped]
            });
            for i in 0..n {
                assert_eq!((sum[i], sum2[i]), (a[i] + b[i], a[i] + b[i]));
                assert_eq!((scaled[i], scaled2[i]), (0.3 * a[i], 0.3 * a[i]));
                assert_eq!(clamped[i], a[i].clamp(-0.5, 1.25));
            }
        });
    }

    #[test]
    #[should_panic(expected = "different lengths [3, 2]")]
    fn lengths_must_agree() {
        map(&Cpu::new(1), Map::ReLU, &[0.0; 3], &mut [0.0; 2]);
    }
}
