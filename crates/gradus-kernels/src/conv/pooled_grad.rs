//! The gradients of weights and bias of a convolution of one channel whose outputs were pooled, where nobody else wants the gradient
//! of these: three of each four numbers of it are zeros, and it is nowhere as a whole.

use std::ops::Range;

use super::Conv;
use crate::Cpu;
use crate::lanes::{Lanes, by_lanes};
use crate::pool::Output;
use crate::pooling::Window;
use crate::tile::{for_rows, opaque};

/// The most rows and columns of a kernel.
const SIDE: usize = 5;

/// Whether [`conv2d_max_pool2d_grad`] takes these: images of one channel that lie without gaps, square kernels of 2 to 5 rows that
/// neither move by more than a pixel nor reach over the border, and windows of 2 × 2 side by side that leave no pixel out.
pub fn can_pool_grad(c: &Conv, p: &Window) -> bool {
    let conv = (c.ci, c.ldx, c.stride, c.padding, c.interleaved) == (1, 1, (1, 1), (0, 0), false);
    let pool = (p.kernel, p.stride, p.padding) == ((2, 2), (2, 2), (0, 0));
    let whole = p.h.is_multiple_of(2) && p.w.is_multiple_of(2);
    conv && pool && whole && c.kh == c.kw && (2..=SIDE).contains(&c.kh)
}

/// Numbers of an image's partial sums.
pub fn partials(c: &Conv) -> usize {
    (c.taps() + 1) * c.ldw
}

/// [`max_pool2d_grad`](crate::pooling::max_pool2d_grad), then of each image the partials of
/// [`conv2d_weight_grad`](super::conv2d_weight_grad), a row for each tap, and of [`sum_rows_grouped`](crate::sums::sum_rows_grouped),
/// the last row, each of `c.ldw` numbers; those past the channels are zeros. `dy`, `argmax` and `relu` lie `p.ldy` apart.
///
/// Order: chains from 0 over (row, column) of what was pooled, ascending.
///
/// # Panics
/// As those two, and when [`can_pool_grad`] is false or the windows are of other images.
#[allow(clippy::too_many_arguments)]
pub fn conv2d_max_pool2d_grad(
    cpu: &Cpu,
    c: &Conv,
    p: &Window,
    x: &[f32],
    dy: &[f32],
    argmax: &[u32],
    relu: Option<&[f32]>,
    sums: &mut [f32],
) {
    c.check("conv2d_max_pool2d_grad", x.len(), (c.ci, c.co, c.ldw, usize::MAX), usize::MAX);
    let same = (p.batch, p.h, p.w) == (c.batch, c.out_h(), c.out_w());
    assert!(same && can_pool_grad(c, p), "conv2d_max_pool2d_grad: {c:?} and {p:?}");
    p.check_outputs(c.co, dy.len().min(argmax.len()).min(relu.map_or(usize::MAX, <[f32]>::len)));
    let size = partials(c);
    assert!(sums.len() / size.max(1) >= c.batch, "conv2d_max_pool2d_grad: {} numbers for {c:?}", sums.len());
    let out = Output::new(sums);
    let all = Windows {
        w: c.w,
        rows: p.out_h(),
        columns: p.out_w(),
        step: p.ldy,
        image: c.h * c.w,
        x: x.as_ptr(),
        n: c.co,
        kernel: c.kh,
        dy: dy.as_ptr(),
        argmax: argmax.as_ptr(),
        relu: relu.map(<[f32]>::as_ptr),
        sums: out.ptr(),
        ld: c.ldw,
    };
    // SAFETY: the lengths are checked above; images are one thread's each.
    cpu.pool.split(c.work(), c.batch, 1, |images| unsafe { windows(cpu.isa, &all, images) });
}

/// The windows of all images.
struct Windows {
    /// Width of the images.
    w: usize,
    /// Rows of windows of an image, windows of a row, and from what belongs to one to what belongs to the next.
    rows: usize,
    columns: usize,
    step: usize,
    /// Pixels of an image.
    image: usize,
    x: *const f32,
    n: usize,
    /// The side of the kernel.
    kernel: usize,
    dy: *const f32,
    argmax: *const u32,
    relu: Option<*const f32>,
    sums: *mut f32,
    ld: usize,
}

// SAFETY: the pointers are to slices that the caller of the kernel holds for as long as it runs.
unsafe impl Sync for Windows {}

by_lanes! {
    /// # Safety
    /// What the fields name can be read or written, for these images by nobody else.
    fn windows(s: &Windows, images: Range<usize>) = windows_of_any
}

/// # Safety
/// As [`windows`], where the instruction set is there.
#[inline(always)]
unsafe fn windows_of_any<V: Lanes>(s: &Windows, images: Range<usize>) {
    // SAFETY: the caller's promises.
    unsafe {
        match s.kernel {
            2 => windows_of::<V, 2>(s, images),
            3 => windows_of::<V, 3>(s, images),
            4 => windows_of::<V, 4>(s, images),
            _ => windows_of::<V, 5>(s, images),
        }
    }
}

/// With kernels of `K` × `K`.
///
/// # Safety
/// As [`windows_of_any`].
#[inline(always)]
unsafe fn windows_of<V: Lanes, const K: usize>(s: &Windows, images: Range<usize>) {
    for image in images {
        for j in (0..s.ld).step_by(V::N) {
            let n = V::N.min(s.n.saturating_sub(j));
            // SAFETY: columns of the sums of this image; columns of each window.
            unsafe {
                let sums = match n {
                    0 => Sums { taps: [[V::splat(0.0); K]; K], bias: V::splat(0.0) },
                    _ if n == V::N => image_sums::<V, K, false>(s, image, j, n),
                    _ => image_sums::<V, K, true>(s, image, j, n),
                };
                let to = s.sums.wrapping_add(image * (K * K + 1) * s.ld + j);
                let width = V::N.min(s.ld - j);
                for (tap, sum) in sums.taps.as_flattened().iter().chain([&sums.bias]).enumerate() {
                    sum.store_first(to.wrapping_add(tap * s.ld), width);
                }
            }
        }
    }
}

/// Sums of an image's columns.
struct Sums<V, const K: usize> {
    taps: [[V; K]; K],
    bias: V,
}

/// The sums of columns `j` to `j + n`, which are `PART` of a vector or all of one.
///
/// # Safety
/// As [`windows_of_any`].
#[inline(always)]
unsafe fn image_sums<V: Lanes, const K: usize, const PART: bool>(
    s: &Windows,
    image: usize,
    j: usize,
    n: usize,
) -> Sums<V, K> {
    // SAFETY: `n` numbers from column `j` on of what belongs to a window; pixels of the image under the windows. Addresses are
    // computed with wrapping arithmetic, because the last steps leave the slices.
    unsafe {
        let load = |p: *const f32| if PART { V::load_first(p, n) } else { V::load(p) };
        let at = |pixel: usize| V::splat(f32::from_bits(pixel as u32));
        let mut taps = [[V::splat(0.0); K]; K];
        let mut bias = V::splat(0.0);
        // A row of pixels at a time, which is the upper or the lower of a row of windows.
        for line in 0..2 * s.rows {
            let mut from = (image * s.rows + line / 2) * s.columns * s.step + j;
            let mut a = s.x.wrapping_add(image * s.image + line * s.w);
            let mut pixel = line * 2 * s.columns;
            for _ in 0..s.columns {
                let index = load(s.argmax.wrapping_add(from).cast());
                // A −0, which a sum with 0 would make 0 of, changes no more than the sign of a partial that is 0, and the sum with
                // that begins at 0.
                let mut dy = load(s.dy.wrapping_add(from));
                if let Some(y) = s.relu {
                    dy = dy.where_above(load(y.wrapping_add(from)));
                }
                let (left, right) = (dy.where_same(index, at(pixel)), dy.where_same(index, at(pixel + 1)));
                bias = bias.add(left).add(right);
                let columns = K + 1;
                for_rows!(K, row, {
                    let a = opaque(a.wrapping_add(row * s.w));
                    for_rows!(columns, l, {
                        let factor = V::splat(*a.wrapping_add(l));
                        if l < K {
                            taps[row][l] = taps[row][l].add_product(factor, left);
                        }
                        if l > 0 {
                            taps[row][l - 1] = taps[row][l - 1].add_product(factor, right);
                        }
                    }, 0 1 2 3 4 5);
                }, 0 1 2 3 4);
                from += s.step;
                a = a.wrapping_add(2);
                pixel += 2;
            }
        }
        Sums { taps, bias }
    }
}

#[cfg(test)]
mod tests {
    use super::super::conv2d_weight_grad;
    use super::super::tests::shape;
    use super::*;
    use crate::math::testing::{cases, shape_is};
    use crate::matmul::tests::{Numbers, machines};
    use crate::pooling::max_pool2d_grad;
    use crate::sums::{Total, sum_rows, sum_rows_grouped};

    #[test]
    fn it_is_one_after_the_other() {
        let machines = machines();
        cases("gradients of pooled convolutions", 150, |seed| {
            let mut numbers = Numbers::new(seed.into());
            let mut pick = |range| numbers.pick(range);
            let (side, h, w) = (pick(2..6), pick(1..7), pick(1..9));
            let mut c = shape(pick(0..5), (2 * h + side - 1, 2 * w + side - 1), (1, pick(1..40)), (side, side));
            c.ldw = c.co + pick(0..20);
            let (batch, two) = (c.batch, (2, 2));
            let (h, w, ldy) = (c.out_h(), c.out_w(), c.co + pick(0..4));
            let p = Window { batch, c: c.co, h, w, kernel: two, stride: two, padding: (0, 0), ldx: c.ldy, ldy };
            shape_is(&(c, p));
            assert!(can_pool_grad(&c, &p));
            let mut x = numbers.rows(c.batch * c.h * c.w, 1, 1, 0.0);
            let outputs = c.batch * p.out_h() * p.out_w();
            let mut dy = numbers.rows(outputs, c.co, p.ldy, f32::NAN);
            for dy in &mut dy {
                match numbers.pick(0..100) {
                    0 => *dy = f32::INFINITY,
                    1..10 => *dy = -0.0,
                    _ => {}
                }
            }
            if numbers.pick(0..4) == 0 {
                // Products that are rounded to 0 or −0.
                x.iter_mut().chain(&mut dy).for_each(|x| *x *= 1e-30);
            }
            let y = numbers.rows(outputs, c.co, p.ldy, f32::NAN);
            let relu = (numbers.pick(0..2) == 1).then_some(&y[..]);
            let mut argmax = vec![u32::MAX; dy.len()];
            for output in 0..outputs {
                let (i, j) = (output / p.out_w() % p.out_h(), output % p.out_w());
                for channel in 0..c.co {
                    let pixel = (2 * i + numbers.pick(0..2)) * w + 2 * j + numbers.pick(0..2);
                    argmax[output * p.ldy + channel] = pixel as u32;
                }
            }
            for cpu in &machines {
                let mut between = vec![0.0; crate::matmul::reach(c.outputs(), c.co, c.ldy)];
                max_pool2d_grad(cpu, &p, &dy, &argmax, relu, &mut between);
                let (mut want, mut want_bias) = (vec![0.0; c.taps() * c.ldw], vec![0.0; c.co]);
                conv2d_weight_grad(cpu, &c, &x, &between, &mut want, false);
                let (rows, group) = (c.outputs(), h * w);
                sum_rows_grouped(cpu, rows, group, c.co, c.ldy, &between, &mut want_bias, Total::New);

                let size = partials(&c);
                let mut sums = vec![f32::NAN; c.batch * size];
                conv2d_max_pool2d_grad(cpu, &c, &p, &x, &dy, &argmax, relu, &mut sums);
                let (mut dw, mut bias) = (vec![77.0; want.len()], vec![77.0; c.co]);
                sum_rows(cpu, c.batch, dw.len(), size, &sums, &mut dw, Total::New);
                let last = &sums[dw.len().min(sums.len())..];
                sum_rows(cpu, c.batch, c.co, size, last, &mut bias, Total::New);
                let all = want.iter().zip(&dw).chain(want_bias.iter().zip(&bias));
                for (i, (want, found)) in all.enumerate() {
                    let same = want.to_bits() == found.to_bits() || want.is_nan() && found.is_nan();
                    assert!(same, "{c:?} {p:?} {} at {i}: {found} is not {want}", cpu.isa);
                }
            }
        });
    }

    #[test]
    #[should_panic(expected = "conv2d_max_pool2d_grad")]
    fn short_outputs_are_refused() {
        let c = shape(1, (4, 4), (1, 3), (3, 3));
        let p = Window { batch: 1, c: 3, h: 2, w: 2, kernel: (2, 2), stride: (2, 2), padding: (0, 0), ldx: 3, ldy: 3 };
        conv2d_max_pool2d_grad(&Cpu::new(1), &c, &p, &[0.0; 16], &[0.0; 3], &[0; 3], None, &mut [0.0; 29]);
    }
}
