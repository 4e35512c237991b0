//! Dropout, with a mask that is a function of key, step and element.

use std::ops::Range;

use crate::Cpu;
use crate::isa::simd;
use crate::lanes::{Lanes, by_lanes, each_vector};
use crate::layout::SAMPLES;
use crate::math::{LANES, check, extent};
use crate::philox::philox4x32_10;
use crate::pool::{Read, Write};

/// The sizes and the random stream of a dropout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Samples of the batch before these.
    pub first: usize,
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
    /// Whether the samples lie interleaved ([`crate::layout::interleave`]): each column is a vector of sixteen samples then.
    pub interleaved: bool,
}

impl Dropout {
    /// Samples that lie together.
    fn together(&self) -> usize {
        if self.interleaved { SAMPLES } else { 1 }
    }
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

/// 1 where an element is kept, else 0, for sixteen elements: `e` and every `stride`-th after it.
#[inline(always)]
fn masks(key: [u32; 2], step: u64, e: u64, stride: u64, threshold: u64) -> [u32; LANES] {
    let mut masks = [0; LANES];
    let high = e >> 32;
    if (e + (LANES as u64 - 1) * stride) >> 32 == high {
        // With one upper half for all, three of the twenty products are the same in every lane: here the compiler sees it.
        for (l, m) in masks.iter_mut().enumerate() {
            let e = high << 32 | (e + l as u64 * stride) & 0xFFFF_FFFF;
            *m = u32::from(kept(key, step, e, threshold));
        }
    } else {
        for (l, m) in masks.iter_mut().enumerate() {
            *m = u32::from(kept(key, step, e + l as u64 * stride, threshold));
        }
    }
    masks
}

/// How many times as long random words take as a copy.
const EFFORT: usize = 8;

simd! {
    /// These samples (or sixteens of them), which `out` begins with.
    fn mask_kernel(d: &Dropout, samples: Range<usize>, threshold: u64, out: &mut [u32]) {
        let Dropout { first, group, n, ld, key, step, interleaved, .. } = *d;
        let size = (group * n) as u64;
        if interleaved {
            for (i, block) in samples.enumerate() {
                let first = (first + block * SAMPLES) as u64 * size;
                for (r, j) in (0..group).flat_map(|r| (0..n).map(move |j| (r, j))) {
                    let masks = masks(key, step, first + (j * group + r) as u64, size, threshold);
                    out[(i * group + r) * ld + j * SAMPLES..][..SAMPLES].copy_from_slice(&masks);
                }
            }
            return;
        }
        let e = (first + samples.start) as u64 * size;
        if group == 1 && ld == n {
            // In the order of the elements.
            for (i, out) in out.chunks_mut(LANES).enumerate() {
                let masks = masks(key, step, e + (i * LANES) as u64, 1, threshold);
                match out.first_chunk_mut() {
                    Some(out) => *out = masks,
                    None => out.copy_from_slice(&masks[..out.len()]),
                }
            }
            return;
        }
        // Sixteen masks are those of a row's columns, or of a column's rows where that wastes fewer: few channels, many pixels.
        let down = n * group.div_ceil(LANES) < group * n.div_ceil(LANES);
        for i in 0..samples.len() {
            let e = e + i as u64 * size;
            let out = &mut out[i * group * ld..];
            if down {
                for (j, r) in (0..n).flat_map(|j| (0..group).step_by(LANES).map(move |r| (j, r))) {
                    let masks = masks(key, step, e + (j * group + r) as u64, 1, threshold);
                    for (l, m) in masks[..LANES.min(group - r)].iter().enumerate() {
                        out[(r + l) * ld + j] = *m;
                    }
                }
                continue;
            }
            for (r, j) in (0..group).flat_map(|r| (0..n).step_by(LANES).map(move |j| (r, j))) {
                let masks = masks(key, step, e + (j * group + r) as u64, group as u64, threshold);
                let width = LANES.min(n - j);
                out[r * ld + j..][..width].copy_from_slice(&masks[..width]);
            }
        }
    }
}

/// Which elements are kept: 1 for those, 0 for the others.
///
/// Elements are counted as torch counts them, (sample, column, row of the sample): column j of row r of sample b is
/// e = b·group·n + j·group + r, where b counts from `first`.
///
/// # Panics
/// When p is no probability or the slice is too short.
pub fn mask(cpu: &Cpu, d: &Dropout, out: &mut [u32]) {
    let (blocks, n) = (d.samples.div_ceil(d.together()), d.n * d.together());
    check("dropout: the mask", out.len(), blocks * d.group, n, d.ld);
    let (threshold, sample) = (threshold(d.p), d.group * d.ld);
    let arrays = Write::new(&mut out[..extent(blocks * d.group, n, d.ld)], sample);
    cpu.pool.split_rows(EFFORT, blocks, 1, arrays, |samples, out| {
        mask_kernel(cpu.isa, d, samples, threshold, out);
    });
}

by_lanes! {
    /// # Safety
    /// `rows` rows of `n` numbers, as far apart as is said, can be read, those of `y` written; they do not overlap.
    fn masked_rows(
        rows: usize, n: usize, scale: f32, x: (*const f32, usize), mask: (*const u32, usize), y: (*mut f32, usize),
    ) = masked_vectors
}

/// # Safety
/// As [`masked_rows`], where the instruction set is there.
#[inline(always)]
unsafe fn masked_vectors<V: Lanes>(
    rows: usize,
    n: usize,
    scale: f32,
    x: (*const f32, usize),
    mask: (*const u32, usize),
    y: (*mut f32, usize),
) {
    // SAFETY: the caller's promises.
    unsafe {
        let one = V::splat(f32::from_bits(1));
        for row in 0..rows {
            let (x, y) = (x.0.wrapping_add(row * x.1), y.0.wrapping_add(row * y.1));
            let mask = mask.0.wrapping_add(row * mask.1).cast();
            each_vector::<V>(
                n,
                #[inline(always)]
                |at| {
                    let x = at.load::<V>(x);
                    let x = x.both(
                        x,
                        #[inline(always)]
                        |x, _| x * scale,
                    );
                    at.store(y, x.where_same(at.load(mask), one));
                },
            );
        }
    }
}

/// y = x·scale where the [`mask`] of an element is 1, with scale = 1/(1 − p) rounded to f32, else 0, for `rows` rows of `n` numbers;
/// of the three, the distance between rows. Applied to dy it gives dx.
///
/// # Panics
/// When a slice is too short.
#[allow(clippy::too_many_arguments)]
pub fn masked(
    cpu: &Cpu,
    rows: usize,
    n: usize,
    p: f64,
    (x, ldx): (&[f32], usize),
    (mask, ldm): (&[u32], usize),
    (y, ldy): (&mut [f32], usize),
) {
    check("dropout: x", x.len(), rows, n, ldx);
    check("dropout: the mask", mask.len(), rows, n, ldm);
    check("dropout: y", y.len(), rows, n, ldy);
    let scale = (1.0 / (1.0 - p)) as f32;
    let arrays = (
        Read(&x[..extent(rows, n, ldx)], ldx),
        Read(&mask[..extent(rows, n, ldm)], ldm),
        Write::new(&mut y[..extent(rows, n, ldy)], ldy),
    );
    cpu.pool.split_rows(1, rows, 1, arrays, |part, (x, mask, y)| {
        let rows = part.len();
        let (rows, n) = if [ldx, ldm, ldy] == [n; 3] { (1, rows * n) } else { (rows, n) };
        // SAFETY: the slices have these rows, as was checked.
        unsafe { masked_rows(cpu.isa, rows, n, scale, (x.as_ptr(), ldx), (mask.as_ptr(), ldm), (y.as_mut_ptr(), ldy)) }
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

    /// Both kernels, with a mask whose rows lie `apart` from those of the numbers.
    fn dropout(cpu: &Cpu, d: &Dropout, apart: usize, x: &[f32], y: &mut [f32]) {
        let (blocks, n) = (d.samples.div_ceil(d.together()), d.n * d.together());
        let (rows, ld) = (blocks * d.group, d.ld.strict_sub(apart));
        let mut keeps = vec![7; extent(rows, n, ld)];
        mask(cpu, &Dropout { ld, ..*d }, &mut keeps);
        masked(cpu, rows, n, d.p, (x, d.ld), (&keeps, ld), (y, d.ld));
    }

    #[test]
    fn as_defined() {
        cases("dropout", 60, |seed| {
            let (mut random, round) = (Random::new(seed), seed as usize);
            let (samples, n, ld) = random.shape();
            let interleaved = round % 2 == 1;
            // Some blocks, for some threads.
            let (together, samples) = if interleaved { (SAMPLES, 5 * samples) } else { (1, samples) };
            let (blocks, ld) = (samples.div_ceil(together), ld + (together - 1) * n);
            let d = Dropout {
                first: random.size(0, 40),
                samples,
                group: random.size(1, 9),
                n,
                ld,
                key: [random.word(), random.word()],
                step: u64::from(random.word()) << (round % 3 * 16),
                p: [0.0, 0.1, 0.5, 0.9, 1.0][round % 5],
                interleaved,
            };
            shape_is(&d);
            let x = random.rows(blocks * d.group, n * together, ld);
            let [y] = everywhere(|cpu| {
                let mut y = vec![5.0; extent(blocks * d.group, n * together, ld)];
                dropout(cpu, &d, if round % 4 < 2 { 0 } else { ld - n * together }, &x, &mut y);
                [y]
            });
            // In torch's order of elements (sample, channel, pixel).
            let mut e = (d.first * n * d.group) as u32;
            for b in 0..samples {
                for j in 0..n {
                    for r in 0..d.group {
                        let at = (b / together * d.group + r) * ld + j * together + b % together;
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

    simd! {
        fn masks_kernel(d: &Dropout, e: u64, stride: u64, threshold: u64) -> [u32; LANES] {
            masks(d.key, d.step, e, stride, threshold)
        }
    }

    #[test]
    fn masks_are_of_single_elements() {
        let d = Dropout {
            first: 0,
            samples: 1,
            group: 1,
            n: 1,
            ld: 1,
            key: [7, 8],
            step: 9 << 31,
            p: 0.5,
            interleaved: false,
        };
        let (far, threshold) = (1u64 << 32, threshold(d.p));
        // Before, across and behind the 2³² where the upper half of the counter changes.
        for (e, stride) in [0, 1, 6, far - 16, far - 15, far - 3, far - 1, far, 3 * far - 7, 5 * far + 2]
            .into_iter()
            .flat_map(|e| [1, 3, 196, far / 16, far].map(|stride| (e, stride)))
        {
            let want = std::array::from_fn(|l| u32::from(kept(d.key, d.step, e + l as u64 * stride, threshold)));
            for isa in crate::Isa::available() {
                assert_eq!(masks_kernel(isa, &d, e, stride, threshold), want, "{e} by {stride} on {isa}");
            }
        }
    }

    #[test]
    fn large_and_odd_sizes() {
        // Vectors, images of few and of many channels, rows with and without padding; long enough to be shared out.
        for (samples, group, n, ld) in [
            (3, 1, 5003, 5003),
            (1501, 1, 7, 16),
            (5, 577, 6, 6),
            (5, 577, 6, 9),
            (7, 31, 33, 33),
            (7, 31, 33, 48),
            (2, 50, 99, 99),
        ] {
            let key = [samples as u32, 5];
            let d = Dropout { first: 0, samples, group, n, ld, key, step: 6, p: 0.4, interleaved: false };
            let x = Random::new(n as u32).rows(samples * group, n, ld);
            let [y] = everywhere(|cpu| {
                let mut y = vec![5.0; extent(samples * group, n, ld)];
                dropout(cpu, &d, if group == 1 { ld - n } else { 0 }, &x, &mut y);
                [y]
            });
            for e in 0..samples * group * n {
                let (b, j, r) = (e / n / group, e / group % n, e % group);
                let at = (b * group + r) * ld + j;
                let want =
                    if kept(d.key, d.step, e as u64, threshold(d.p)) { x[at] * (1.0 / 0.6f64) as f32 } else { 0.0 };
                assert_eq!(y[at].to_bits(), want.to_bits(), "element {e} of {d:?}");
            }
        }
    }

    #[test]
    fn about_p_of_them_are_dropped_and_dropping_stops_nan() {
        let n = 100_000;
        let d = Dropout { first: 0, samples: 1, group: 1, n, ld: n, key: [3, 4], step: 9, p: 0.3, interleaved: false };
        let mut y = vec![0.0; n];
        dropout(&Cpu::new(1), &d, 0, &vec![1.0; n], &mut y);
        let dropped = y.iter().filter(|y| **y == 0.0).count() as f64 / n as f64;
        assert!((dropped - 0.3).abs() < 0.006, "{dropped}");
        let zeros: Vec<bool> = y.iter().map(|y| *y == 0.0).collect();
        dropout(&Cpu::new(1), &d, 0, &vec![f32::NAN; n], &mut y);
        assert!(y.iter().zip(zeros).all(|(y, zero)| y.is_nan() != zero));
    }
}
