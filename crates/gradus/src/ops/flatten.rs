//! Between images and vectors: (C, H, W) ↔ (C·H·W) in torch's order. No arithmetic.
//!
//! In torch's order nothing moves. The CPU keeps images with channels innermost: each sample is a transpose,
//! or sixteen interleaved ones come apart.

use gradus_kernels::layout::{Transpose, deinterleave, interleave, transpose};

use super::{Case, Cost, Op};
use crate::exec::cpu::{Layout, Lower, layout};
use crate::program::{Emit, Info, Value};

impl Emit<'_> {
    /// (B, …) → (B, F), F the product of the others.
    pub fn flatten(&mut self, x: Value) -> Value {
        let features = self.dims(x).iter().product();
        let y = self.batched(&self.name(""), &[features]);
        self.op(Flatten, &[x], &[y]);
        y
    }

    /// The gradient of [`Emit::flatten`]: (B, F) → the shape of `x`.
    pub fn unflatten(&mut self, dy: Value, x: Value) -> Value {
        let dx = self.batched_like(&self.name(""), x);
        self.op(Unflatten, &[dy], &[dx]);
        dx
    }
}

/// One sample of `image` as a matrix, copied to a vector as its transpose. (A shape that is no image is one row in
/// torch's order: then this is a plain copy.)
fn to_vector(image: Layout, vector: Layout) -> Transpose {
    Transpose {
        samples: 0,
        rows: image.group,
        cols: image.n,
        src_stride: image.sample(),
        lds: image.ld,
        dst_stride: vector.sample(),
        ldd: image.group,
    }
}

/// Whether a sample's numbers lie in torch's order in both: images of one channel, or of one pixel.
fn same_order(image: &Info, vector: &Info) -> bool {
    let (image, vector) = (layout(image), layout(vector));
    image.together == 1 && (image.n == 1 || image.group == 1) && image.sample() == vector.sample()
}

#[derive(Debug)]
struct Flatten;

impl Op for Flatten {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = flatten({})", w[0], r[0])
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(0)
    }

    fn is_view(&self, case: &Case) -> bool {
        same_order(case.reads[0], case.writes[0])
    }

    fn define(&self, _: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        w[0].copy_from_slice(r[0]);
    }

    fn interleaves(&self, case: &Case) -> bool {
        case.reads[0].is_image() != case.writes[0].is_image()
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, y) = (l.read(0), l.write(0));
        if x.layout.together > 1 {
            let (image, ld) = ([x.layout.n, x.layout.group], y.layout.ld);
            return l.kernel([x.span], [y.span], [], [], move |run, s| {
                deinterleave(run.cpu, run.batch(), image, s.read[0], s.write[0], ld);
            });
        }
        let t = to_vector(x.layout, y.layout);
        l.kernel([x.span], [y.span], [], [], move |run, s| {
            transpose(run.cpu, &Transpose { samples: run.batch(), ..t }, s.read[0], s.write[0]);
        });
    }
}

#[derive(Debug)]
struct Unflatten;

impl Op for Unflatten {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = unflatten({})", w[0], r[0])
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(0)
    }

    fn is_view(&self, case: &Case) -> bool {
        same_order(case.writes[0], case.reads[0])
    }

    fn define(&self, _: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        w[0].copy_from_slice(r[0]);
    }

    fn interleaves(&self, case: &Case) -> bool {
        case.reads[0].is_image() != case.writes[0].is_image()
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (dy, dx) = (l.read(0), l.write(0));
        if dx.layout.together > 1 {
            let (image, ld) = ([dx.layout.n, dx.layout.group], dy.layout.ld);
            return l.kernel([dy.span], [dx.span], [], [], move |run, s| {
                let [dy] = s.read;
                interleave(run.cpu, run.batch(), image, |i| &dy[i * ld..], s.write[0]);
            });
        }
        let t = to_vector(dx.layout, dy.layout);
        let back = Transpose {
            samples: 0,
            rows: t.cols,
            cols: t.rows,
            src_stride: t.dst_stride,
            lds: t.ldd,
            dst_stride: t.src_stride,
            ldd: t.lds,
        };
        l.kernel([dy.span], [dx.span], [], [], move |run, s| {
            transpose(run.cpu, &Transpose { samples: run.batch(), ..back }, s.read[0], s.write[0]);
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::testing::agree;

    #[test]
    fn the_cpu_agrees_with_the_definition() {
        for input in [vec![1, 1, 1], vec![3, 5, 2], vec![17, 2, 3], vec![16, 1, 4], vec![3, 5]] {
            agree(&["Flatten"], &input);
            agree(&["Flatten", "Linear 3"], &input);
        }
        // Where it is a view.
        for input in [vec![1, 4, 4], vec![33, 1, 1], vec![1, 1, 16]] {
            agree(&["Tanh", "Flatten", "Flatten", "Sigmoid", "Linear 3"], &input);
            agree(&["Conv2d 1 1", "ReLU", "Flatten", "Tanh"], &input);
        }
    }
}
