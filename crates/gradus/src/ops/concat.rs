//! Copies along the first dimension of a sample: several values side by side, a stretch of one, and a stretch put back
//! among zeros. No arithmetic.

use gradus_kernels::layout::copy_rows;

use super::{Case, Cost, Kind, Op};
use crate::exec::cpu::Lower;
use crate::program::{Emit, Value};

impl Emit<'_> {
    /// Side by side along the first dimension: (B, C₁, …), (B, C₂, …) → (B, C₁ + C₂, …).
    pub fn concat(&mut self, parts: &[Value]) -> Value {
        let mut dims = self.dims(parts[0]).to_vec();
        dims[0] = parts.iter().map(|p| self.dims(*p)[0]).sum();
        let y = self.batched(&self.name("in"), &dims);
        self.op(Concat, parts, &[y]);
        y
    }

    /// `size` entries from `start` on: (B, C, …) → (B, size, …). With `squeeze` (and a size of 1) the dimension goes:
    /// one label of several.
    pub fn narrow(&mut self, x: Value, start: usize, size: usize, squeeze: bool) -> Value {
        let info = self.info(x).clone();
        let mut dims = info.dims;
        let name = if size == 1 {
            format!("{}[{start}]", info.name)
        } else {
            format!("{}[{start}..{}]", info.name, start + size)
        };
        if squeeze {
            dims.remove(0);
        } else {
            dims[0] = size
        }
        let y = if info.ints { self.batched_ints(&name, &dims) } else { self.batched(&name, &dims) };
        self.op(Narrow { start, size }, &[x], &[y]);
        y
    }

    /// The gradient of one index of `of`: zeros but for that index.
    pub fn widen(&mut self, x: Value, start: usize, of: usize) -> Value {
        let mut dims = self.dims(x).to_vec();
        dims[0] = of;
        let y = self.batched(&self.name("wide"), &dims);
        self.op(Widen { start }, &[x], &[y]);
        y
    }
}

/// Copies `size·inner` numbers per sample from a value with `from` to one with `to` of them.
fn copy(
    batch: usize,
    x: &[f64],
    (x_size, x_at): (usize, usize),
    y: &mut [f64],
    (y_size, y_at): (usize, usize),
    size: usize,
) {
    for s in 0..batch {
        y[s * y_size + y_at..][..size].copy_from_slice(&x[s * x_size + x_at..][..size]);
    }
}

fn sample(dims: &[usize]) -> usize {
    dims.iter().product()
}

#[derive(Debug)]
struct Concat;

impl Op for Concat {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = concat({})", w[0], r.join(", "))
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(0)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let of = sample(&case.writes[0].dims);
        let mut at = 0;
        for (x, info) in r.iter().zip(&case.reads) {
            let size = sample(&info.dims);
            copy(case.batch(), x, (size, 0), &mut w[0], (of, at), size);
            at += size;
        }
    }

    fn kind(&self) -> Kind {
        Kind::Concat
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let y = l.write(0);
        let mut at = 0;
        for i in 0..l.reads() {
            let x = l.read(i);
            let (layout, n, ldd) = (x.layout, x.layout.n * x.layout.together, y.layout.ld);
            l.kernel([x.span], [y.span], [], [], move |run, s| {
                copy_rows(run.cpu, layout.rows(run.batch()), n, s.read[0], layout.ld, &mut s.write[0][at..], ldd);
            });
            at += n;
        }
    }
}

#[derive(Debug)]
struct Narrow {
    start: usize,
    size: usize,
}

impl Op for Narrow {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = narrow({}, {}, {})", w[0], r[0], self.start, self.size)
    }

    fn cost(&self, case: &Case) -> Cost {
        Cost { flops: 0, bytes: 8 * case.write_len(0) as u64 }
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let (from, size) = (sample(&case.reads[0].dims), sample(&case.writes[0].dims));
        copy(case.batch(), r[0], (from, self.start * size / self.size), &mut w[0], (size, 0), size);
    }

    fn kind(&self) -> Kind {
        Kind::Narrow { start: self.start }
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, y) = (l.read(0), l.write(0));
        // `n` is the first dimension, or a multiple of it where the layout keeps more than channels in a row.
        let n = y.layout.n * y.layout.together;
        let (at, layout, lds, ldd) = (self.start * n / self.size, x.layout, x.layout.ld, y.layout.ld);
        if x.ints_used() {
            l.kernel([], [], [x.ints], [y.ints], move |run, s| {
                for (to, from) in
                    s.int_write[0].chunks_exact_mut(ldd).zip(s.int_read[0].chunks_exact(lds)).take(run.batch())
                {
                    to[..n].copy_from_slice(&from[at..at + n]);
                }
            });
        } else {
            l.kernel([x.span], [y.span], [], [], move |run, s| {
                copy_rows(run.cpu, layout.rows(run.batch()), n, &s.read[0][at..], lds, s.write[0], ldd);
            });
        }
    }
}

#[derive(Debug)]
struct Widen {
    start: usize,
}

impl Op for Widen {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = zeros, at {}: {}", w[0], self.start, r[0])
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(0)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let (size, of) = (sample(&case.reads[0].dims), sample(&case.writes[0].dims));
        copy(case.batch(), r[0], (size, 0), &mut w[0], (of, self.start * size / case.reads[0].dims[0]), size);
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, y) = (l.read(0), l.write(0));
        let n = x.layout.n * x.layout.together;
        let (at, from, to) = (self.start * n / l.read_dims(0)[0], x.layout, y.layout);
        l.kernel([x.span], [y.span], [], [], move |run, s| {
            s.write[0][..to.size(run.batch())].fill(0.0);
            copy_rows(run.cpu, from.rows(run.batch()), n, s.read[0], from.ld, &mut s.write[0][at..], to.ld);
        });
    }
}
