//! Dropout, with a mask that is a function of key, step and element and so need not be stored.

use std::ops::Range;

use crate::Cpu;
use crate::isa::simd;
use crate::math::{LANES, check, extent, load, store};
use crate::philox::philox4x32_10;
use crate::pool::{Read, Write};

/// The sizes and the random stream of a dropout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Samples.
    pub samples: usize,
    /// Rows of a sample: its pixels; 1 for vectors.
    pub group: usize,
    /// Columns of a row: channels or features.
    pub n: usize,
    /// Distance between rows.
    pub ld: usize,
    /// The stream.
    pub key: [u32; 2],
    /// The training step.
    pub step: u64,
    /// The probability to be dropped.
    pub p: f64,
}

/// What a random word must reach for its element to be kept: p·2³², rounded.
///
/// # Panics
/// Unless 0 ≤ p ≤ 1.
pub fn threshold(p: f64) -> u64 {
    assert!((0.0..=1.0).contains(&p), "dropout: {p} is not a probability");
    // Exact: a product by a power of two; half goes up.
    (p * 4_294_967_296.0 + 0.5) as u64
}

/// Whether element `e` is kept in step `step` of the stream `key`: word 0 of the block (e, step) reaches the threshold.
#[inline(always)]
pub fn kept(key: [u32; 2], step: u64, e: u64, threshold: u64) -> bool {
    let word = philox4x32_10(key, [e as u32, (e >> 32) as u32, step as u32, (step >> 32) as u32])[0];
    u64::from(word) >= threshold
}

/// How many times as long random words take as a copy.
const EFFORT: usize = 32;

simd! {
    /// These samples, which `x` and `y` begin with.
    fn dropout_kernel(d: &Dropout, samples: Range<usize>, threshold: u64, scale: f32, x: &[f32], y: &mut [f32]) {
        let (group, n) = (d.group as u64, d.n as u64);
        for (i, b) in samples.enumerate() {
            for r in 0..d.group {
                let row = (i * d.group + r) * d.ld;
                let first = b as u64 * group * n + r as u64;
                for j in (0..d.n).step_by(LANES) {
                    let width = LANES.min(d.n - j);
                    let mut v = load(x, row + j, width, 0.0);
                    let e = first + j as u64 * group;
                    for (l, v) in v.iter_mut().enumerate() {
                        let kept = kept(d.key, d.step, e + l as u64 * group, threshold);
                        *v = if kept { *v * scale } else { 0.0 };
                    }
                    store(y, row + j, width, &v);
                }
            }
        }
    }
}

/// y = x·scale where the element is kept, with scale = 1/(1 − p) rounded to f32, else 0. Applied to dy it gives dx.
///
/// Elements are counted as torch counts them, (sample, column, row of the sample): column j of row r of sample b is
/// e = b·group·n + j·group + r.
///
/// # Panics
/// When p is no probability or a slice is too short.
pub fn dropout(cpu: &Cpu, d: &Dropout, x: &[f32], y: &mut [f32]) {
    let rows = d.samples * d.group;
    check("dropout: x", x.len(), rows, d.n, d.ld);
    check("dropout: y", y.len(), rows, d.n, d.ld);
    let end = extent(rows, d.n, d.ld);
    let scale = (1.0 / (1.0 - d.p)) as f32;
    let (threshold, sample) = (threshold(d.p), d.group * d.ld);
    let arrays = (Read(&x[..end], sample), Write::new(&mut y[..end], sample));
    cpu.pool.split_rows(EFFORT, d.samples, 1, arrays, |samples, (x, y)| {
        dropout_kernel(cpu.isa, d, samples, threshold, scale, x, y);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::testing::{Random, cases, everywhere, shape_is};

    #[test]
    fn thresholds() {
        assert_eq!((threshold(0.0), threshold(0.5), threshold(1.0)), (0, 1 << 31, 1 << 32));
        assert_eq!((threshold(1e-12), threshold(0.1)), (0, 429_496_730));
        assert!(std::panic::catch_unwind(|| threshold(f64::NAN)).is_err());
        assert!(std::panic::catch_unwind(|| threshold(-0.1)).is_err());
        // The stream of key 0 begins with 0x6627e8d5.
        assert!(kept([0; 2], 0, 0, 0x6627_e8d5) && !kept([0; 2], 0, 0, 0x6627_e8d6));
    }

    #[test]
    fn as_defined() {
        cases("dropout", 60, |seed| {
            let (mut random, round) = (Random::new(seed), seed as usize);
            let (samples, n, ld) = random.shape();
            let d = Dropout {
                samples,
                group: random.size(1, 9),
                n,
                ld,
                key: [random.word(), random.word()],
                step: u64::from(random.word()) << (round % 3 * 16),
                p: [0.0, 0.1, 0.5, 0.9, 1.0][round % 5],
            };
            shape_is(&d);
            let x = random.rows(samples * d.group, n, ld);
            let [y] = everywhere(|cpu| {
                let mut y = vec![5.0; extent(samples * d.group, n, ld)];
                dropout(cpu, &d, &x, &mut y);
                [y]
            });
            // In torch's order of elements (sample, channel, pixel).
            let mut e = 0;
            for b in 0..samples {
                for j in 0..n {
                    for r in 0..d.group {
                        let at = (b * d.group + r) * ld + j;
                        let [word, ..] = philox4x32_10(d.key, [e, 0, d.step as u32, (d.step >> 32) as u32]);
                        let keep = f64::from(word) / 4_294_967_296.0 >= d.p;
                        assert_eq!(y[at], if keep { x[at] * (1.0 / (1.0 - d.p)) as f32 } else { 0.0 });
                        e += 1;
                    }
                }
            }
            assert!(y.iter().all(|y| y.is_finite()));
        });
    }

    #[test]
    fn counters_pass_four_thousand_million() {
        // A group so large that an element of column 1 has a counter above 2³².
        let e = (1u64 << 32) + 5;
        let want = philox4x32_10([1, 2], [5, 1, 3, 0])[0];
        assert!(kept([1, 2], 3, e, u64::from(want)) && !kept([1, 2], 3, e, u64::from(want) + 1));
    }

    #[test]
    fn about_p_of_them_are_dropped_and_dropping_stops_nan() {
        let n = 100_000;
        let d = Dropout { samples: 1, group: 1, n, ld: n, key: [3, 4], step: 9, p: 0.3 };
        let mut y = vec![0.0; n];
        dropout(&Cpu::new(1), &d, &vec![1.0; n], &mut y);
        let dropped = y.iter().filter(|y| **y == 0.0).count() as f64 / n as f64;
        assert!((dropped - 0.3).abs() < 0.006, "{dropped}");
        let zeros: Vec<bool> = y.iter().map(|y| *y == 0.0).collect();
        dropout(&Cpu::new(1), &d, &vec![f32::NAN; n], &mut y);
        assert!(y.iter().zip(zeros).all(|(y, zero)| y.is_nan() != zero));
    }
}
