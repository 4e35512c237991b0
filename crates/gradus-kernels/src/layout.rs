//! Copies between layouts: rows of another length, transposes, and samples interleaved by sixteens. No arithmetic.

use crate::Cpu;
use crate::conv::count;
use crate::matmul::reach;
use crate::pool::{Output, Read, Work, Write};
use crate::square::{self, SIDE};

/// dst(r, j) = src(r, j) for `rows` rows of `n` numbers, `lds` apart in `src` and `ldd` in `dst`. Writes the `n` alone.
///
/// # Panics
/// When a slice is shorter than the shape says, or a distance less than `n`.
pub fn copy_rows(cpu: &Cpu, rows: usize, n: usize, src: &[f32], lds: usize, dst: &mut [f32], ldd: usize) {
    if rows == 0 || n == 0 {
        return;
    }
    assert!(lds >= n && reach(rows, n, lds) <= src.len(), "copy_rows: the source has {} numbers, too few", src.len());
    assert!(ldd >= n && reach(rows, n, ldd) <= dst.len(), "copy_rows: the target has {} numbers, too few", dst.len());
    let arrays = (Read(&src[..reach(rows, n, lds)], lds), Write::new(&mut dst[..reach(rows, n, ldd)], ldd));
    let effort = if n < 8 { 4 } else { 1 }; // number by number
    cpu.pool.split_rows(effort, rows, 1, arrays, |_, (src, dst)| {
        if lds == n && ldd == n {
            dst.copy_from_slice(src);
            return;
        }
        if n < 8 {
            // A call that copies a few numbers takes longer than the copy.
            for j in 0..n {
                let column = src[j..].iter().step_by(lds);
                dst[j..].iter_mut().step_by(ldd).zip(column).for_each(|(dst, src)| *dst = *src);
            }
            return;
        }
        for (src, dst) in src.chunks(lds).zip(dst.chunks_mut(ldd)) {
            dst[..n].copy_from_slice(&src[..n]);
        }
    });
}

/// Images with a border of zeros: each of `h` rows of `w` pixels of `n` numbers, `lds` apart, gets `border.0` rows of zeros above
/// and below, and `border.1` pixels left and right; in `dst` pixels lie `n` apart.
///
/// # Panics
/// When a slice is shorter than the shape says, or a distance less than `n`.
#[allow(clippy::too_many_arguments)]
pub fn add_border(
    cpu: &Cpu,
    images: usize,
    [h, w, n]: [usize; 3],
    src: &[f32],
    lds: usize,
    border: (usize, usize),
    dst: &mut [f32],
) {
    let row = count(&[w + 2 * border.1, n]);
    let (size, image) = (count(&[h, w, lds]), count(&[h + 2 * border.0, row]));
    if images == 0 || image == 0 {
        return;
    }
    assert!(
        lds >= n && reach(count(&[images, h, w]), n, lds) <= src.len(),
        "add_border: the source has {} numbers, too few",
        src.len()
    );
    assert!(dst.len() / image >= images, "add_border: the target has {} numbers, too few", dst.len());
    cpu.pool.each_row(1, image, &mut dst[..images * image], |i, dst| {
        dst.fill(0.0);
        for y in 0..h {
            let (src, dst) = (&src[i * size + y * w * lds..], &mut dst[(border.0 + y) * row + border.1 * n..][..w * n]);
            if lds == n {
                dst.copy_from_slice(&src[..w * n]);
                continue;
            }
            for (dst, src) in dst.chunks_exact_mut(n).zip(src.chunks(lds)) {
                dst.copy_from_slice(&src[..n]);
            }
        }
    });
}

/// So few rows leave most of a square empty.
const FEW: usize = 4;

/// Lays images of `planes` × `pixels` numbers each (torch's order) with their channels innermost, pixels `ld` apart, one image after the
/// other: number (plane k, pixel p) of sample s is at `dst[(s · pixels + p) · ld + k]`. Writes these alone.
///
/// # Panics
/// When a sample or `dst` has fewer numbers, or pixels overlap.
pub fn channels_last<'a>(
    cpu: &Cpu,
    samples: usize,
    [planes, pixels]: [usize; 2],
    sample: impl Fn(usize) -> &'a [f32] + Sync,
    dst: &mut [f32],
    ld: usize,
) {
    let (size, image, has) = (count(&[planes, pixels]), count(&[pixels, ld]), dst.len());
    assert!(
        ld >= planes && (image == 0 || has / image >= samples),
        "channels_last: the target has {has} numbers, too few for {samples} of {size}"
    );
    cpu.pool.each_row(4, image, &mut dst[..samples * image], |s, dst| {
        let x = &sample(s)[..size];
        if planes <= FEW {
            for (k, plane) in x.chunks_exact(pixels).enumerate() {
                dst[k..].iter_mut().step_by(ld).zip(plane).for_each(|(dst, x)| *dst = *x);
            }
            return;
        }
        for p in (0..pixels).step_by(SIDE) {
            for k in (0..planes).step_by(SIDE) {
                let (some_planes, some) = (SIDE.min(planes - k), SIDE.min(pixels - p));
                let from = x.as_ptr().wrapping_add(k * pixels + p);
                // SAFETY: `some` numbers of each plane, of which there are as many as pixels; numbers of as many pixels of this image.
                unsafe {
                    let to = dst.as_mut_ptr().add(p * ld + k);
                    square::transpose(cpu.isa, some_planes, some, (from, pixels), to, ld);
                }
            }
        }
    });
}

/// How many samples lie interleaved.
pub const SAMPLES: usize = SIDE;

/// Lays images of `planes` × `pixels` numbers each (torch's order) interleaved by sixteens: block b holds samples 16·b to 16·b +
/// 15; number (plane k, pixel p) of its sample l is at `((b · pixels + p) · planes + k) · 16 + l`. In the place of samples that are
/// missing in the last block are others of it.
///
/// # Panics
/// When a sample or `dst` has fewer numbers.
pub fn interleave<'a>(
    cpu: &Cpu,
    samples: usize,
    [planes, pixels]: [usize; 2],
    sample: impl Fn(usize) -> &'a [f32] + Sync,
    dst: &mut [f32],
) {
    let size = count(&[planes, pixels]);
    let block = count(&[size, SAMPLES]);
    let (blocks, has) = (samples.div_ceil(SAMPLES), dst.len());
    assert!(
        block == 0 || has / block >= blocks,
        "interleave: the target has {has} numbers, too few for {samples} of {size}"
    );
    cpu.pool.each_row(4, block, &mut dst[..blocks * block], |b, dst| {
        let first = b * SAMPLES;
        let there = SAMPLES.min(samples - first);
        let rows: [*const f32; SAMPLES] =
            std::array::from_fn(|lane| sample(first + if lane < there { lane } else { 0 })[..size].as_ptr());
        for k in 0..planes {
            for p in (0..pixels).step_by(SIDE) {
                let some = SIDE.min(pixels - p);
                // SAFETY: `some` numbers of each sample, which has `size`; the vectors of as many pixels of this block.
                unsafe {
                    let to = dst.as_mut_ptr().add((p * planes + k) * SAMPLES);
                    square::transpose(cpu.isa, SAMPLES, some, (&rows, k * pixels + p), to, planes * SAMPLES);
                }
            }
        }
    });
}

/// The way back: number (plane k, pixel p) of sample s goes to `dst[s * ld + k * pixels + p]`. Writes these alone.
///
/// # Panics
/// When a slice is shorter than the shape says, or samples overlap.
pub fn deinterleave(cpu: &Cpu, samples: usize, [planes, pixels]: [usize; 2], src: &[f32], dst: &mut [f32], ld: usize) {
    let size = count(&[planes, pixels]);
    let (block, reached) = (count(&[size, SAMPLES]), reach(samples, size, ld));
    let has = src.len();
    assert!(
        block == 0 || has / block >= samples.div_ceil(SAMPLES),
        "deinterleave: the source has {has} numbers, too few for {samples} of {size}"
    );
    assert!(ld >= size && reached <= dst.len(), "deinterleave: the target has {} numbers, not {reached}", dst.len());
    let work = Work::Bytes(reached.saturating_mul(8));
    let out = Output::new(&mut dst[..reached]);
    cpu.pool.split(work, samples.div_ceil(SAMPLES), 1, |blocks| {
        for b in blocks {
            let there = SAMPLES.min(samples - b * SAMPLES);
            for k in 0..planes {
                for p in (0..pixels).step_by(SIDE) {
                    let from = src.as_ptr().wrapping_add(b * block + (p * planes + k) * SAMPLES);
                    let to = out.ptr().wrapping_add(b * SAMPLES * ld + k * pixels + p);
                    // SAFETY: vectors of a block, and as many numbers of each sample that is there; all of them lie within the
                    // slices (asserted above), and a block is one thread's.
                    unsafe {
                        square::transpose(cpu.isa, SIDE.min(pixels - p), there, (from, planes * SAMPLES), to, ld);
                    }
                }
            }
        }
    });
}

/// A transpose of each of many matrices: between channels innermost and outermost of images, or of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transpose {
    /// How many matrices.
    pub samples: usize,
    /// Rows of the source, columns of the target.
    pub rows: usize,
    /// Columns of the source, rows of the target.
    pub cols: usize,
    /// From one matrix of the source to the next.
    pub src_stride: usize,
    /// From one row of the source to the next.
    pub lds: usize,
    /// From one matrix of the target to the next.
    pub dst_stride: usize,
    /// From one row of the target to the next.
    pub ldd: usize,
}

/// For each sample s: `dst[s * dst_stride + c * ldd + r] = src[s * src_stride + r * lds + c]`. Writes these alone.
///
/// # Panics
/// When a slice is shorter than the shape says, or rows or samples overlap.
pub fn transpose(cpu: &Cpu, t: &Transpose, src: &[f32], dst: &mut [f32]) {
    let Transpose { samples, rows, cols, src_stride, lds, dst_stride, ldd } = *t;
    if samples == 0 || rows == 0 || cols == 0 {
        return;
    }
    let (from, to) = (reach(rows, cols, lds), reach(cols, rows, ldd));
    assert!(
        lds >= cols && reach(samples, from, src_stride) <= src.len(),
        "transpose: the source has {} numbers, too few for {t:?}",
        src.len()
    );
    assert!(
        ldd >= rows && (samples == 1 || dst_stride >= to) && reach(samples, to, dst_stride) <= dst.len(),
        "transpose: the target has {} numbers, too few for {t:?}",
        dst.len()
    );
    // A column that becomes a row, or a row that becomes a column: the numbers stay in order.
    let n = rows * cols;
    if ((cols, lds) == (1, 1) || (rows, ldd) == (1, 1)) && (samples == 1 || src_stride >= n) {
        return copy_rows(cpu, samples, n, src, src_stride.max(n), dst, dst_stride.max(n));
    }
    let work = Work::Bytes(samples.saturating_mul(rows).saturating_mul(cols).saturating_mul(8));
    let out = Output::new(dst);
    // A unit is a band of 16 rows of the target.
    let bands = cols.div_ceil(SIDE);
    cpu.pool.split(work, samples * bands, 1, |units| {
        for unit in units {
            let (s, c) = (unit / bands, unit % bands * SIDE);
            for r in (0..rows).step_by(SIDE) {
                let from = src.as_ptr().wrapping_add(s * src_stride + r * lds + c);
                let to = out.ptr().wrapping_add(s * dst_stride + c * ldd + r);
                // SAFETY: squares of matrices that lie within the slices (asserted above). Bands are disjoint: `ldd ≥ rows`,
                // and the samples do not overlap.
                unsafe { square::transpose(cpu.isa, SIDE.min(rows - r), SIDE.min(cols - c), (from, lds), to, ldd) };
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::testing::{cases, shape_is};
    use crate::matmul::tests::{Numbers, machines, same_bits};

    #[test]
    fn borders_are_zeros() {
        let machines = machines();
        cases("add_border", 200, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let [images, h, w, n] = [0..5, 0..7, 0..7, 1..21].map(|range| numbers.pick(range));
            let border = (numbers.pick(0..3), numbers.pick(0..4));
            let lds = n + numbers.pick(0..2) * numbers.pick(0..5);
            shape_is(&(images, h, w, n, lds, border));
            let src = numbers.rows(images * h * w, n, lds, f32::NAN);
            let (all_h, all_w) = (h + 2 * border.0, w + 2 * border.1);
            let dst = same_bits(&machines, "add_border", |cpu| {
                let mut dst = vec![f32::NAN; images * all_h * all_w * n];
                add_border(cpu, images, [h, w, n], &src, lds, border, &mut dst);
                dst
            });
            for (at, x) in dst.iter().enumerate() {
                let (pixel, j) = (at / n, at % n);
                let (i, y, x_) = (pixel / all_w / all_h, pixel / all_w % all_h, pixel % all_w);
                let inside = y.checked_sub(border.0).zip(x_.checked_sub(border.1)).filter(|(y, x)| *y < h && *x < w);
                let want = inside.map_or(0.0, |(y, x)| src[((i * h + y) * w + x) * lds + j]);
                assert_eq!(x.to_bits(), want.to_bits());
            }
        });
    }

    fn check_copy(machines: &[Cpu], numbers: &mut Numbers, rows: usize, n: usize, lds: usize, ldd: usize) {
        shape_is(&(rows, n, lds, ldd));
        let src = numbers.rows(rows, n, lds, f32::NAN);
        let dst = same_bits(machines, "copy_rows", |cpu| {
            let mut dst = vec![77.0; reach(rows, n, ldd)];
            copy_rows(cpu, rows, n, &src, lds, &mut dst, ldd);
            dst
        });
        for (at, &x) in dst.iter().enumerate() {
            let (r, j) = (at / ldd, at % ldd);
            assert_eq!(x, if j < n { src[r * lds + j] } else { 77.0 });
        }
    }

    #[test]
    fn rows_are_copied_and_nothing_else() {
        let (machines, mut numbers) = (machines(), Numbers::new(1));
        for (rows, n) in [(0, 3), (1, 1), (7, 25), (20, 32), (700, 300)] {
            for (lds, ldd) in [(n, n), (n + 3, n), (n, n + 5), (n + 7, n + 1)] {
                check_copy(&machines, &mut numbers, rows, n, lds, ldd);
            }
        }
        cases("copy_rows", 200, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let (rows, n) = (numbers.pick(0..30), numbers.pick(1..60));
            let (lds, ldd) = (n + numbers.pick(0..4), n + numbers.pick(0..4));
            check_copy(&machines, &mut numbers, rows, n, lds, ldd);
        });
    }

    #[test]
    fn interleaving_goes_there_and_back() {
        let machines = machines();
        cases("interleave", 200, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let [samples, planes, pixels] = [0..40, 1..6, 1..150].map(|range| numbers.pick(range));
            let (size, ld) = (planes * pixels, planes * pixels + numbers.pick(0..4));
            shape_is(&(samples, planes, pixels, ld));
            let x = numbers.rows(samples, size, size, 0.0);
            let there = same_bits(&machines, "interleave", |cpu| {
                let mut there = vec![f32::NAN; samples.div_ceil(SAMPLES) * SAMPLES * size];
                // Samples may come from anywhere: here, in reverse.
                interleave(cpu, samples, [planes, pixels], |i| &x[(samples - 1 - i) * size..], &mut there);
                there
            });
            for (at, found) in there.iter().enumerate() {
                let (lane, k, p) = (at % SAMPLES, at / SAMPLES % planes, at / SAMPLES / planes % pixels);
                let s = at / SAMPLES / size * SAMPLES + lane;
                let s = if s < samples { s } else { at / SAMPLES / size * SAMPLES };
                assert_eq!(*found, x[(samples - 1 - s) * size + k * pixels + p]);
            }
            let back = same_bits(&machines, "deinterleave", |cpu| {
                let mut back = vec![77.0; reach(samples, size, ld)];
                deinterleave(cpu, samples, [planes, pixels], &there, &mut back, ld);
                back
            });
            for (at, found) in back.iter().enumerate() {
                let (s, j) = (at / ld, at % ld);
                assert_eq!(*found, if j < size { x[(samples - 1 - s) * size + j] } else { 77.0 });
            }
        });
    }

    #[test]
    fn channels_come_last_and_nothing_else_is_written() {
        let machines = machines();
        cases("channels_last", 200, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let planes = if numbers.pick(0..2) == 0 { numbers.pick(1..5) } else { numbers.pick(1..40) };
            let (samples, pixels) = (numbers.pick(0..5), numbers.pick(1..70));
            let ld = planes + numbers.pick(0..2) * numbers.pick(0..5);
            shape_is(&(samples, planes, pixels, ld));
            let x = numbers.rows(samples, planes * pixels, planes * pixels, 0.0);
            let there = same_bits(&machines, "channels_last", |cpu| {
                let mut there = vec![77.0; samples * pixels * ld];
                // Samples may come from anywhere: here, in reverse.
                let sample = |s| &x[(samples - 1 - s) * planes * pixels..][..planes * pixels];
                channels_last(cpu, samples, [planes, pixels], sample, &mut there, ld);
                there
            });
            for (at, found) in there.iter().enumerate() {
                let (k, p, s) = (at % ld, at / ld % pixels, at / ld / pixels);
                let want = if k < planes { x[((samples - 1 - s) * planes + k) * pixels + p] } else { 77.0 };
                assert_eq!(*found, want);
            }
        });
    }

    fn check_transpose(machines: &[Cpu], numbers: &mut Numbers, samples: usize, rows: usize, cols: usize) {
        let (lds, ldd) = (cols + numbers.pick(0..3), rows + numbers.pick(0..3));
        let (from, to) = (reach(rows, cols, lds), reach(cols, rows, ldd));
        let (src_stride, dst_stride) = (from + numbers.pick(0..3), to + numbers.pick(0..3));
        let t = Transpose { samples, rows, cols, src_stride, lds, dst_stride, ldd };
        shape_is(&t);
        let src = numbers.rows(1, reach(samples, from, src_stride), 0, 0.0);
        let dst = same_bits(machines, "transpose", |cpu| {
            let mut dst = vec![77.0; reach(samples, to, dst_stride)];
            transpose(cpu, &t, &src, &mut dst);
            dst
        });
        for (at, &x) in dst.iter().enumerate() {
            let (s, c, r) = (at / dst_stride, at % dst_stride / ldd, at % dst_stride % ldd);
            let inside = c < cols && r < rows;
            assert_eq!(x, if inside { src[s * src_stride + r * lds + c] } else { 77.0 }, "{t:?} at {at}");
        }
    }

    #[test]
    fn transposes_are_right_and_write_nothing_else() {
        let (machines, mut numbers) = (machines(), Numbers::new(2));
        for (samples, rows, cols) in
            [(1, 1, 1), (3, 16, 36), (2, 49, 33), (1, 25, 64), (4, 32, 16), (5, 3, 196), (0, 4, 4), (7, 130, 150)]
        {
            check_transpose(&machines, &mut numbers, samples, rows, cols);
        }
        // Some of these lie one number apart.
        for _ in 0..12 {
            let (samples, n) = (numbers.pick(1..4), numbers.pick(1..50));
            check_transpose(&machines, &mut numbers, samples, n, 1);
            check_transpose(&machines, &mut numbers, samples, 1, n);
        }
        cases("transpose", 200, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let (samples, rows, cols) = (numbers.pick(0..4), numbers.pick(1..50), numbers.pick(1..50));
            check_transpose(&machines, &mut numbers, samples, rows, cols);
        });
    }

    #[test]
    #[should_panic(expected = "too few")]
    fn overlapping_samples_are_refused() {
        let t = Transpose { samples: 2, rows: 2, cols: 2, src_stride: 4, lds: 2, dst_stride: 3, ldd: 2 };
        transpose(&crate::Cpu::new(1), &t, &[0.0; 8], &mut [0.0; 8]);
    }
}
