//! Products with a weight matrix: y = x·Wᵀ + b, dW += dyᵀ·x, dx = dy·W.
//!
//! Order on the CPU. Forward: each y(b, o) is one chain of fused multiply-adds that starts from the bias (or 0) and runs
//! over i ascending. Weight gradient: each dW(o, i) is one chain that starts from the stored dW (or 0 when gradients are
//! fresh) and runs over the samples ascending; but that of a weight of few numbers, which would wait for each sample, has the order
//! of [`weight_grad`]. That of the bias may come with it, in the order of [`SumGrad`]. Input gradient: each dx(b, i) is one chain from 0
//! over o ascending.
//!
//! The CPU stores W as (I, O) with rows padded to whole registers: outputs lie along the lanes. The input gradient needs
//! inputs along the lanes: its product turns a few columns of W at a time into rows. With few outputs it is the other way
//! round: W lies as (O, I), and forward turns it.

use gradus_kernels::Span;
use gradus_kernels::matmul::{LARGE_TRANSPOSED, Matmul, Product, Start, TERMS};
use gradus_kernels::narrow::{NARROW, weight_grad};
use gradus_kernels::pointwise::Finish;
use gradus_kernels::sums::{Total, sum_rows};

use super::sum::SumGrad;
use super::{Case, Cost, Kind, Map, Op};
use crate::exec::cpu::{Lower, Run};
use crate::program::{Emit, Value};

impl Emit<'_> {
    /// y = x·Wᵀ + b: x (B, I), w (O, I), b (O) → (B, O).
    pub fn linear(&mut self, x: Value, w: Value, b: Option<Value>) -> Value {
        let out = self.dims(w)[0];
        let y = self.batched(&self.name(""), &[out]);
        let mut reads = vec![x, w];
        reads.extend(b);
        self.op(Linear { map: Map::Identity }, &reads, &[y]);
        y
    }

    /// dW += dyᵀ·x: x (B, I), dy (B, O).
    pub fn linear_weight_grad(&mut self, w: Value, x: Value, dy: Value) {
        let (dw, narrow) = (self.grad(w), is_narrow(self.dims(w)));
        self.op(WeightGrad { narrow, bias: false }, &[x, dy], &[dw]);
    }

    /// db += Σ dy, of the bias b that goes with w: dy (B, O).
    pub fn linear_bias_grad(&mut self, b: Value, w: Value, dy: Value) {
        let (db, narrow) = (self.grad(b), is_narrow(self.dims(w)));
        self.op(SumGrad { narrow }, &[dy], &[db]);
    }

    /// dx = dy·W: dy (B, O), w (O, I) → (B, I).
    pub fn linear_input_grad(&mut self, dy: Value, w: Value) -> Value {
        let features = self.dims(w)[1];
        let dx = self.batched(&self.name(""), &[features]);
        self.op(InputGrad { map: Map::Identity }, &[dy, w], &[dx]);
        dx
    }
}

/// Whether a weight (O, I) has so few numbers that its gradient, and that of its bias, have an order of their own: more of them are chains
/// that go on beside each other.
fn is_narrow(w: &[usize]) -> bool {
    (1..=NARROW).contains(&w.iter().copied().fold(1, usize::saturating_mul))
}

/// (samples, I, O) of an op that reads or writes x at one and dy or y at the other place.
fn sizes(batch: usize, x: &[usize], y: &[usize]) -> (usize, usize, usize) {
    (batch, x[0], y[0])
}

fn cost(case: &Case, x: &[usize], y: &[usize]) -> Cost {
    let (b, i, o) = sizes(case.batch(), x, y);
    Cost { flops: 2 * (b * i * o) as u64, bytes: case.bytes() }
}

#[derive(Debug)]
struct Linear {
    map: Map,
}

impl Op for Linear {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let product = format!("{}·{}ᵀ{}", r[0], r[1], r.get(2).map_or(String::new(), |b| format!(" + {b}")));
        format!("{} = {}", w[0], super::map::wrap(self.map, &product))
    }

    fn cost(&self, case: &Case) -> Cost {
        cost(case, &case.reads[0].dims, &case.writes[0].dims)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let (batch, i, o) = sizes(case.batch(), &case.reads[0].dims, &case.writes[0].dims);
        for s in 0..batch {
            for j in 0..o {
                let mut sum = r.get(2).map_or(0.0, |b| b[j]);
                for k in 0..i {
                    sum += r[0][s * i + k] * r[1][j * i + k];
                }
                w[0][s * o + j] = super::map::value(self.map, sum);
            }
        }
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, w, y) = (l.read(0), l.read(1), l.write(0));
        let (lx, lw, ly) = (x.layout.ld, w.layout.ld, y.layout.ld);
        let transposed_b = w.layout.turned;
        // A weight that is turned has no padding beside its outputs.
        let n = if transposed_b { y.layout.n } else { y.layout.columns() };
        let (k, map) = (x.layout.n, self.map);
        let matmul = Matmul::new(move |m| Product { m, n, k, rsa: lx, csa: 1, ldb: lw, transposed_b, ldc: ly });
        if l.reads() == 3 {
            let b = l.read(2);
            l.kernel([x.span, w.span, b.span], [y.span], [], [], move |run, s| {
                let ([x, w, b], [y]) = (s.read, s.write);
                matmul.run(run.cpu, run.batch(), x, w, y, Start::Row(&b[..n]), map);
            });
        } else {
            l.kernel([x.span, w.span], [y.span], [], [], move |run, s| {
                matmul.run(run.cpu, run.batch(), s.read[0], s.read[1], s.write[0], Start::Zero, map);
            });
        }
    }

    fn with_map(&self, map: Map) -> Option<Box<dyn Op>> {
        (self.map == Map::Identity).then(|| Box::new(Linear { map }) as Box<dyn Op>)
    }
}

#[derive(Debug)]
struct WeightGrad {
    /// Whether there are as few numbers as [`is_narrow`] says.
    narrow: bool,
    /// Whether it writes the gradient of the bias too.
    bias: bool,
}

impl WeightGrad {
    /// The gradient of the bias alone.
    fn sums<'a>(case: &Case<'a>) -> Case<'a> {
        Case { reads: case.reads[1..].to_vec(), writes: case.writes[1..].to_vec(), ..case.clone() }
    }
}

impl Op for WeightGrad {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        let bias = w.get(1).map_or(String::new(), |b| format!(";  {}", SumGrad::default().line(&r[1..], &[b])));
        format!("{} += ({})ᵀ·{}{bias}", w[0], r[1], r[0])
    }

    fn cost(&self, case: &Case) -> Cost {
        let product = cost(case, &case.reads[0].dims, &case.reads[1].dims);
        let sums = if self.bias { SumGrad::default().cost(&WeightGrad::sums(case)).flops } else { 0 };
        Cost { flops: product.flops + sums, ..product }
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let (batch, i, o) = sizes(case.batch(), &case.reads[0].dims, &case.reads[1].dims);
        for j in 0..o {
            for k in 0..i {
                let mut sum = if case.adds { w[0][j * i + k] } else { 0.0 };
                for s in 0..batch {
                    sum += r[1][s * o + j] * r[0][s * i + k];
                }
                w[0][j * i + k] = sum;
            }
        }
        if self.bias {
            SumGrad::default().define(&WeightGrad::sums(case), &r[1..], &mut w[1..]);
        }
    }

    fn can_move(&self, case: &Case) -> bool {
        // Long sums of so many numbers are made in pieces, which wait where they are written.
        let (b, i, _) = sizes(case.batch(), &case.reads[0].dims, &case.reads[1].dims);
        self.narrow || b <= TERMS || b.saturating_mul(i) < LARGE_TRANSPOSED
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, dy, dw, gradient) = (l.read(0), l.read(1), l.write(0), l.gradient(0));
        let (i, o) = (x.layout.n, dy.layout.n);
        let (lx, ly, lw) = (x.layout.ld, dy.layout.ld, dw.layout.ld);
        let turned = dw.layout.turned;
        if self.narrow {
            assert!(
                (lx, ly, turned) == (i, o, false),
                "vectors of a few numbers have no padding, and their weights lie as rows of outputs"
            );
            let has_bias = self.bias;
            let (db, bias) =
                if has_bias { (l.write(1).span, l.gradient(1).parameter) } else { (Span::NONE, Span::NONE) };
            let writes = [dw.span, gradient.parameter, db, bias];
            return l.kernel([x.span, dy.span], writes, [], [], move |run, s| {
                let ([x, dy], [dw, w, db, b], total) = (s.read, s.write, gradient.total(run));
                let db = has_bias.then(|| written(total, [db, b]));
                weight_grad(run.cpu, run.batch(), (i, x), (o, dy), (lw, written(total, [dw, w])), db, total);
            });
        }
        let matmul = Matmul::new(move |k| match turned {
            // dW stored (I, O): row i is Σ_s x(s, i)·dy(s, ·).
            false => Product { m: i, n: o, k, rsa: 1, csa: lx, ldb: ly, transposed_b: false, ldc: lw },
            // (O, I): row o is Σ_s dy(s, o)·x(s, ·).
            true => Product { m: o, n: i, k, rsa: 1, csa: ly, ldb: lx, transposed_b: false, ldc: lw },
        });
        let weight = move |run: &Run<'_>, x: &[f32], dy: &[f32], dw: [&mut [f32]; 2], db: Option<&mut [f32]>| {
            let ((a, b), total) = (if turned { (dy, x) } else { (x, dy) }, gradient.total(run));
            matmul.grad(run.cpu, run.batch(), a, b, written(total, dw), db, total);
        };
        if !self.bias {
            return l.kernel([x.span, dy.span], [dw.span, gradient.parameter], [], [], move |run, s| {
                weight(run, s.read[0], s.read[1], s.write, None);
            });
        }
        let (db, bias) = (l.write(1), l.gradient(1));
        let writes = [dw.span, gradient.parameter, db.span, bias.parameter];
        l.kernel([x.span, dy.span], writes, [], [], move |run, s| {
            let ([x, dy], [dw, w, db, b], total) = (s.read, s.write, bias.total(run));
            let db = written(total, [db, b]);
            if turned {
                weight(run, x, dy, [dw, w], None);
                sum_rows(run.cpu, run.batch(), o, ly, dy, db, total);
            } else {
                weight(run, x, dy, [dw, w], Some(db));
            }
        });
    }

    fn with_bias_grad(&self, bias: Kind) -> Option<Box<dyn Op>> {
        let &WeightGrad { narrow, bias: has_bias } = self;
        let alike = bias == Kind::BiasGrad { narrow };
        (alike && !has_bias).then(|| Box::new(WeightGrad { narrow, bias: true }) as Box<dyn Op>)
    }

    fn needs_batch(&self) -> bool {
        self.narrow
    }
}

/// Where the total goes: of a gradient and the parameter that may be moved by it.
fn written(total: Total, [gradient, parameter]: [&mut [f32]; 2]) -> &mut [f32] {
    if let Total::Sgd(_) = total { parameter } else { gradient }
}

#[derive(Debug)]
struct InputGrad {
    /// Whose gradient follows, from its output.
    map: Map,
}

impl Op for InputGrad {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = ({})·{}{}", w[0], r[0], r[1], super::map::times_derivative(self.map, r.get(2)))
    }

    fn cost(&self, case: &Case) -> Cost {
        cost(case, &case.writes[0].dims, &case.reads[0].dims)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let (batch, i, o) = sizes(case.batch(), &case.writes[0].dims, &case.reads[0].dims);
        for s in 0..batch {
            for k in 0..i {
                w[0][s * i + k] = (0..o).map(|j| r[0][s * o + j] * r[1][j * i + k]).sum();
            }
        }
        super::map::multiply_derivative(self.map, r.get(2), &mut w[0]);
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (dy, w, dx) = (l.read(0), l.read(1), l.write(0));
        let (ly, lw, lx) = (dy.layout.ld, w.layout.ld, dx.layout.ld);
        let transposed_b = !w.layout.turned;
        let n = if transposed_b { dx.layout.n } else { dx.layout.columns() };
        let k = dy.layout.n;
        let matmul = Matmul::new(move |m| Product { m, n, k, rsa: ly, csa: 1, ldb: lw, transposed_b, ldc: lx });
        let map = self.map;
        if l.reads() == 3 {
            let y = l.read(2);
            l.kernel([dy.span, w.span, y.span], [dx.span], [], [], move |run, s| {
                let ([dy, w, y], [dx]) = (s.read, s.write);
                matmul.run(run.cpu, run.batch(), dy, w, dx, Start::Zero, Finish::Gradient(map, y));
            });
        } else {
            l.kernel([dy.span, w.span], [dx.span], [], [], move |run, s| {
                matmul.run(run.cpu, run.batch(), s.read[0], s.read[1], s.write[0], Start::Zero, map);
            });
        }
    }

    fn with_map_grad(&self, map: Map, y: Value) -> Option<(Box<dyn Op>, Value)> {
        (self.map == Map::Identity).then(|| (Box::new(InputGrad { map }) as Box<dyn Op>, y))
    }
}
