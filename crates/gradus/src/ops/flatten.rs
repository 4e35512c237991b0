//! Between images and vectors: (C, H, W) ↔ (C·H·W) in torch's order. No arithmetic.
//!
//! In torch's order nothing moves. The CPU keeps images with channels innermost: each sample is a transpose,
//! or sixteen interleaved ones come apart. Plans have one op flatten several images that were to be concatenated first, and one
//! for each part that was to be narrowed to.

use gradus_kernels::layout::{Transpose, deinterleave, interleave, transpose};

use super::{Case, Cost, Kind, Op};
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
        self.op(Unflatten { start: 0 }, &[dy], &[dx]);
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
        match r {
            [x] => format!("{} = flatten({x})", w[0]),
            _ => format!("{} = flatten(concat({}))", w[0], r.join(", ")),
        }
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(0)
    }

    fn is_view(&self, case: &Case) -> bool {
        case.reads.len() == 1 && same_order(case.reads[0], case.writes[0])
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let mut to = w[0].as_mut_slice();
        for sample in 0..case.batch() {
            for (x, info) in r.iter().zip(&case.reads) {
                let size = info.len(1);
                let (out, rest) = to.split_at_mut(size);
                out.copy_from_slice(&x[sample * size..][..size]);
                to = rest;
            }
        }
    }

    fn interleaves(&self, case: &Case) -> bool {
        case.reads[0].is_image() != case.writes[0].is_image()
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let y = l.write(0);
        let mut start = 0;
        for i in 0..l.reads() {
            let (x, ld, at) = (l.read(i), y.layout.ld, start);
            start += l.read_dims(i).iter().product::<usize>();
            if x.layout.together > 1 {
                let image = [x.layout.n, x.layout.group];
                l.kernel([x.span], [y.span], [], [], move |run, s| {
                    deinterleave(run.cpu, run.batch(), image, s.read[0], &mut s.write[0][at..], ld);
                });
                continue;
            }
            let t = to_vector(x.layout, y.layout);
            l.kernel([x.span], [y.span], [], [], move |run, s| {
                transpose(run.cpu, &Transpose { samples: run.batch(), ..t }, s.read[0], &mut s.write[0][at..]);
            });
        }
    }

    fn kind(&self) -> Kind {
        Kind::Flatten
    }

    fn of_parts(&self) -> Option<Box<dyn Op>> {
        Some(Box::new(Flatten))
    }
}

#[derive(Debug)]
struct Unflatten {
    /// The first number of a sample that it takes.
    start: usize,
}

impl Op for Unflatten {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        match self.start {
            0 => format!("{} = unflatten({})", w[0], r[0]),
            start => format!("{} = unflatten({} from {start} on)", w[0], r[0]),
        }
    }

    fn cost(&self, case: &Case) -> Cost {
        Cost { flops: 0, bytes: 8 * case.write_len(0) as u64 }
    }

    fn is_view(&self, case: &Case) -> bool {
        self.start == 0 && same_order(case.writes[0], case.reads[0])
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let (size, of) = (case.writes[0].len(1), case.reads[0].len(1));
        for (sample, out) in w[0].chunks_exact_mut(size).enumerate() {
            out.copy_from_slice(&r[0][sample * of + self.start..][..size]);
        }
    }

    fn interleaves(&self, case: &Case) -> bool {
        case.reads[0].is_image() != case.writes[0].is_image()
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (dy, dx, start) = (l.read(0), l.write(0), self.start);
        if dx.layout.together > 1 {
            let (image, ld) = ([dx.layout.n, dx.layout.group], dy.layout.ld);
            return l.kernel([dy.span], [dx.span], [], [], move |run, s| {
                let [dy] = s.read;
                interleave(run.cpu, run.batch(), image, |i| &dy[i * ld + start..], s.write[0]);
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
            transpose(run.cpu, &Transpose { samples: run.batch(), ..back }, &s.read[0][start..], s.write[0]);
        });
    }

    fn kind(&self) -> Kind {
        Kind::Unflatten { start: self.start }
    }

    fn of_stretch(&self, start: usize) -> Option<Box<dyn Op>> {
        Some(Box::new(Unflatten { start: self.start + start }))
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
