//! The largest error of one function over all 2³² inputs, in units in the last place:
//! `cargo run --release --example ulp -- exp|log|tanh|sigmoid [threads]`. Ends with 1 if it is above the bound.

use gradus_kernels::math;
use std::process::ExitCode;

type Worst = (f64, f32);

/// |got − want| in ulp of `want`, and in smallest denormals below the normal range.
fn ulps(got: f32, want: f64) -> f64 {
    if got.is_nan() || want.is_nan() {
        return if got.is_nan() && want.is_nan() { 0.0 } else { f64::INFINITY };
    }
    let nearest = want as f32;
    if got == nearest {
        return 0.0;
    }
    if got.is_infinite() || nearest.is_infinite() {
        // +∞ counts as 2¹²⁸, the number that follows the largest one.
        let big = |x: f32| {
            if x.is_infinite() { 2f64.powi(128).copysign(f64::from(x)) } else { f64::from(x) }
        };
        return (big(got) - want).abs() / 2f64.powi(104);
    }
    let exponent = ((nearest.abs().to_bits() >> 23) as i32).max(1) - 150;
    (f64::from(got) - want).abs() / 2f64.powi(exponent)
}

fn worst(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, inputs: std::ops::Range<u64>) -> Worst {
    let mut worst = (0.0, 0.0);
    for bits in inputs {
        let x = f32::from_bits(bits as u32);
        let error = ulps(f(x), exact(f64::from(x)));
        if error > worst.0 {
            worst = (error, x);
        }
    }
    worst
}

fn sigmoid64(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let threads: u64 = arguments.next().and_then(|t| t.parse().ok()).unwrap_or(1).clamp(1, 64);
    let bound = match name.as_str() {
        "exp" | "log" => 1.5,
        "tanh" | "sigmoid" => 2.5,
        _ => {
            eprintln!("usage: ulp exp|log|tanh|sigmoid [threads]");
            return ExitCode::from(2);
        }
    };
    let part = |i: u64| {
        let inputs = ((i << 32) / threads)..(((i + 1) << 32) / threads);
        match name.as_str() {
            "exp" => worst(math::exp, f64::exp, inputs),
            "log" => worst(math::log, f64::ln, inputs),
            "tanh" => worst(math::tanh, f64::tanh, inputs),
            _ => worst(math::sigmoid, sigmoid64, inputs),
        }
    };
    let (error, at) = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|i| scope.spawn(move || part(i))).collect();
        parts
            .into_iter()
            .map(|p| p.join().expect("a part of the sweep panicked"))
            .fold((0.0, 0.0), |a: Worst, b| if b.0 > a.0 { b } else { a })
    });
    println!("{name}: at most {error:.4} ulp, at {at:e} (bound {bound})");
    ExitCode::from(u8::from(error > bound))
}
