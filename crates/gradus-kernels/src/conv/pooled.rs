//! A convolution of one channel, whose sums have a few terms, and the largest of each 2 × 2 of them, where nobody else needs the
//! sums: they stay in registers.

use std::ops::Range;

use super::Conv;
use crate::Cpu;
use crate::lanes::{Lanes, by_lanes};
use crate::pointwise::Map;
use crate::pooling::Window;
use crate::tile::{for_rows, opaque};

/// The most rows and columns of a kernel.
const SIDE: usize = 3;

/// Whether [`conv2d_max_pool2d`] takes these: images of one channel that lie without gaps, kernels of 2 × 2 or 3 × 3 that neither move
/// by more than a pixel nor reach over the border, no function or a ReLU, and windows of 2 × 2 side by side.
pub fn can_pool(c: &Conv, p: &Window, map: Map) -> bool {
    let conv = (c.ci, c.ldx, c.stride, c.padding, c.interleaved) == (1, 1, (1, 1), (0, 0), false);
    let pool = (p.kernel, p.stride, p.padding) == ((2, 2), (2, 2), (0, 0));
    conv && pool && c.kh == c.kw && (2..=SIDE).contains(&c.kh) && matches!(map, Map::Identity | Map::ReLU)
}

/// [`conv2d`](super::conv2d), then [`max_pool2d`](crate::pooling::max_pool2d), whose outputs lie `p.ldy` apart. Writes the `co` columns
/// of each alone. Where a ReLU leaves nothing but zeros in a window, `argmax` may name any of them.
///
/// # Panics
/// As those two, and when [`can_pool`] is false or the windows are of other images.
#[allow(clippy::too_many_arguments)]
pub fn conv2d_max_pool2d(
    cpu: &Cpu,
    c: &Conv,
    p: &Window,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    argmax: &mut [u32],
    map: Map,
) {
    c.check("conv2d_max_pool2d", x.len(), (c.ci, c.co, c.ldw, w.len()), usize::MAX);
    assert!(bias.is_none_or(|bias| bias.len() >= c.co), "conv2d_max_pool2d: the bias has fewer numbers than {}", c.co);
    let same = (p.batch, p.h, p.w) == (c.batch, c.out_h(), c.out_w());
    assert!(same && can_pool(c, p, map), "conv2d_max_pool2d: {c:?} and {p:?}");
    p.check_outputs(c.co, y.len().min(argmax.len()));
    if p.out_h() == 0 || p.out_w() == 0 {
        return;
    }
    let all = Windows {
        w: c.w,
        rows: p.out_h(),
        columns: p.out_w(),
        step: p.ldy,
        image: c.h * c.w,
        x: x.as_ptr(),
        weights: w.as_ptr(),
        ldw: c.ldw,
        n: c.co,
        kernel: c.kh,
        bias: bias.map(<[f32]>::as_ptr),
        relu: map == Map::ReLU,
        y: y.as_mut_ptr(),
        argmax: argmax.as_mut_ptr(),
    };
    // SAFETY: the lengths are checked above; rows of windows are one thread's each.
    cpu.pool.split(c.work(), c.batch * all.rows, 1, |rows| unsafe { windows(cpu.isa, &all, rows) });
}

/// Rows of windows, of all images.
struct Windows {
    /// Width of the images.
    w: usize,
    /// Rows of windows of an image, windows of a row, and from the outputs of one to those of the next.
    rows: usize,
    columns: usize,
    step: usize,
    /// Pixels of an image.
    image: usize,
    x: *const f32,
    weights: *const f32,
    ldw: usize,
    n: usize,
    /// The side of the kernel.
    kernel: usize,
    bias: Option<*const f32>,
    relu: bool,
    y: *mut f32,
    argmax: *mut u32,
}

// SAFETY: the pointers are to slices that the caller of the kernel holds for as long as it runs.
unsafe impl Sync for Windows {}

by_lanes! {
    /// # Safety
    /// What the fields name can be read or written, for these rows by nobody else.
    fn windows(s: &Windows, rows: Range<usize>) = windows_of_any
}

/// # Safety
/// As [`windows`], where the instruction set is there.
#[inline(always)]
unsafe fn windows_of_any<V: Lanes>(s: &Windows, rows: Range<usize>) {
    // SAFETY: the caller's promises.
    unsafe {
        match s.kernel {
            2 => windows_of::<V, 2>(s, rows),
            _ => windows_of::<V, 3>(s, rows),
        }
    }
}

/// With kernels of `K` × `K`.
///
/// # Safety
/// As [`windows_of_any`].
#[inline(always)]
unsafe fn windows_of<V: Lanes, const K: usize>(s: &Windows, rows: Range<usize>) {
    for j in (0..s.n).step_by(V::N) {
        let n = V::N.min(s.n - j);
        // SAFETY: `n` numbers from column `j` on of weights, bias and outputs; pixels of the image under the windows. Addresses are
        // computed with wrapping arithmetic, because the last steps leave the slices.
        unsafe {
            let mut weights = [[V::splat(0.0); K]; K];
            for (tap, weights) in weights.as_flattened_mut().iter_mut().enumerate() {
                *weights = V::load_first(s.weights.wrapping_add(tap * s.ldw + j), n);
            }
            let start = s.bias.map_or(
                V::splat(0.0),
                #[inline(always)]
                |bias| V::load_first(bias.wrapping_add(j), n),
            );
            for row in rows.clone() {
                let (image, above) = (row / s.rows, row % s.rows * 2);
                let mut from =
                    From { a: s.x.wrapping_add(image * s.image + above * s.w), pixel: above * (s.w + 1 - K) };
                let mut to = row * s.columns * s.step + j;
                let mut left = s.columns;
                // As many as hide how long a multiply-add takes, and stay in the registers.
                while V::N >= 16 && left >= 2 {
                    group::<V, K, 2>(s, &weights, start, from, to, n);
                    from = From { a: from.a.wrapping_add(4), pixel: from.pixel + 4 };
                    to += 2 * s.step;
                    left -= 2;
                }
                while left > 0 {
                    group::<V, K, 1>(s, &weights, start, from, to, n);
                    from = From { a: from.a.wrapping_add(2), pixel: from.pixel + 2 };
                    to += s.step;
                    left -= 1;
                }
            }
        }
    }
}

/// Where a window begins: in the input, and among the pixels of what is pooled.
#[derive(Clone, Copy)]
struct From {
    a: *const f32,
    pixel: usize,
}

/// `Q` windows, one after another.
///
/// # Safety
/// As [`windows_of`].
#[inline(always)]
unsafe fn group<V: Lanes, const K: usize, const Q: usize>(
    s: &Windows,
    weights: &[[V; K]; K],
    start: V,
    from: From,
    to: usize,
    n: usize,
) {
    // SAFETY: as the caller says.
    unsafe {
        // By column, then by row, of each window.
        let mut sums = [[[start; 2]; 2]; Q];
        // A row of the input is one of each row of the windows: a later one of the upper, whose terms so come in order, too.
        let lines = K + 1;
        for_rows!(lines, line, {
            let a = opaque(from.a.wrapping_add(line * s.w));
            for_rows!(K, l, {
                for_rows!(Q, q, {
                    for (v, [upper, lower]) in sums[q].iter_mut().enumerate() {
                        let factor = V::splat(*a.wrapping_add(2 * q + v + l));
                        if line < K {
                            *upper = upper.add_product(factor, weights[line % K][l]);
                        }
                        if line > 0 {
                            *lower = lower.add_product(factor, weights[line.saturating_sub(1)][l]);
                        }
                    }
                }, 0 1 2);
            }, 0 1 2);
        }, 0 1 2 3);
        let below = s.w + 1 - K;
        for_rows!(Q, q, {
            let at = |offset: usize| V::splat(f32::from_bits(offset as u32));
            // Of equal ones the first, of NaN the last, as one after another.
            let [[a, c], [b, d]] = sums[q];
            let ((upper, upper_at), (lower, lower_at)) =
                (a.larger(at(0), b, at(1)), c.larger(at(below), d, at(below + 1)));
            let (max, index) = upper.larger(upper_at, lower, lower_at);
            let index = index.add_bits(at(from.pixel + 2 * q));
            // The largest is so after a ReLU, too; one of zeros is as good as another, as no gradient goes there.
            let max = if s.relu { max.where_above(max) } else { max };
            let to = to + q * s.step;
            let (y, argmax) = (s.y.wrapping_add(to), s.argmax.wrapping_add(to).cast::<f32>());
            if n == V::N {
                max.store(y);
                index.store(argmax);
            } else {
                max.store_first(y, n);
                index.store_first(argmax, n);
            }
        }, 0 1 2);
    }
}

#[cfg(test)]
mod tests {
    use super::super::conv2d;
    use super::super::tests::shape;
    use super::*;
    use crate::math::testing::{cases, shape_is};
    use crate::matmul::tests::{Numbers, machines};
    use crate::pooling::max_pool2d;

    #[test]
    fn it_is_the_one_after_the_other() {
        let machines = machines();
        cases("convolutions with poolings", 150, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let mut pick = |range| numbers.pick(range);
            let side = pick(2..4);
            let mut c = shape(pick(0..5), (pick(3..20), pick(3..30)), (1, pick(1..40)), (side, side));
            (c.ldw, c.ldy) = (c.co + pick(0..4), c.co + pick(0..4));
            let (h, w) = (c.out_h(), c.out_w());
            let two = (2, 2);
            let p = Window {
                batch: c.batch,
                c: c.co,
                h,
                w,
                kernel: two,
                stride: two,
                padding: (0, 0),
                ldx: c.ldy,
                ldy: c.co + pick(0..4),
            };
            shape_is(&(c, p));
            let mut x = numbers.rows(c.batch * c.h * c.w, 1, 1, 0.0);
            for x in &mut x {
                match numbers.pick(0..200) {
                    0 => *x = f32::NAN,
                    1 => *x = f32::NEG_INFINITY,
                    // Equal ones, of which the first counts.
                    2..40 => *x = 0.0,
                    _ => {}
                }
            }
            let w = numbers.rows(c.taps(), c.co, c.ldw, f32::NAN);
            let bias = numbers.rows(1, c.co, c.co, 0.0);
            let bias = (numbers.pick(0..2) == 1).then_some(&bias[..]);
            let map = [Map::Identity, Map::ReLU][numbers.pick(0..2)];
            assert!(can_pool(&c, &p, map));
            let reach = |n: usize, ld: usize| crate::matmul::reach(n, c.co, ld);
            let outputs = c.batch * p.out_h() * p.out_w();
            for cpu in &machines {
                let mut between = vec![0.0; reach(c.outputs(), c.ldy)];
                conv2d(cpu, &c, &x, &w, bias, &mut between, map);
                let (mut want, mut want_at) = (vec![77.0; reach(outputs, p.ldy)], vec![77; reach(outputs, p.ldy)]);
                max_pool2d(cpu, &p, &between, &mut want, &mut want_at);
                let (mut y, mut at) = (vec![77.0; reach(outputs, p.ldy)], vec![77; reach(outputs, p.ldy)]);
                conv2d_max_pool2d(cpu, &c, &p, &x, &w, bias, &mut y, &mut at, map);
                for i in 0..y.len() {
                    let want = if i % p.ldy < c.co { (want[i], want_at[i]) } else { (77.0, 77) };
                    // Where a ReLU gave zeros alone the position means nothing.
                    let anywhere = map == Map::ReLU && want.0 == 0.0;
                    let same = (y[i].to_bits() == want.0.to_bits() || y[i].is_nan() && want.0.is_nan())
                        && (at[i] == want.1 || anywhere);
                    assert!(same, "{c:?} {p:?} {map:?} {} at {i}: {:?} is not {want:?}", cpu.isa, (y[i], at[i]));
                }
            }
        });
    }

    #[test]
    #[should_panic(expected = "max_pool2d: y")]
    fn short_outputs_are_refused() {
        let c = shape(1, (4, 4), (1, 3), (3, 3));
        let p = Window { batch: 1, c: 3, h: 2, w: 2, kernel: (2, 2), stride: (2, 2), padding: (0, 0), ldx: 3, ldy: 3 };
        conv2d_max_pool2d(&Cpu::new(1), &c, &p, &[0.0; 16], &[0.0; 27], None, &mut [0.0; 3], &mut [0; 2], Map::ReLU);
    }
}
