//! Every kernel at the sizes of real networks and at odd ones: `cargo bench -p gradus-kernels [PART OF A NAME]`.
//!
//! An element is a floating-point operation where the name says so (products and convolutions: Gelem/s are GFLOP/s, of useful
//! operations only), else a number of the output. The peak of the machine is printed first. THREADS=2 takes so many threads,
//! ISA=AVX2 other instructions.
//!
//! NN is a forward product, TN a weight gradient (its first operand is stored transposed), NT an input gradient (its second one is).

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use gradus_kernels::conv::{Conv, conv2d, conv2d_input_grad, conv2d_weight_grad, interleaved};
use gradus_kernels::dropout::{Dropout, mask, masked};
use gradus_kernels::layout::{SAMPLES, Transpose, copy_rows, deinterleave, interleave, transpose};
use gradus_kernels::matmul::{Product, Start, matmul};
use gradus_kernels::norm::{
    Norm, batch_norm_grad_map, batch_norm_grad_moments, batch_norm_grad_sums, batch_norm_map, batch_norm_moments,
    batch_norm_statistics,
};
use gradus_kernels::optim::{Adam, Sgd, adam, sgd};
use gradus_kernels::pointwise::{Map, map, map_grad};
use gradus_kernels::pooling::{Window, avg_pool2d, max_pool2d, max_pool2d_grad};
use gradus_kernels::softmax::{log_softmax, softmax};
use gradus_kernels::sums::{Total, sum_rows, sum_rows_grouped};
use gradus_kernels::{Buffer, Cpu, Isa, Pool, peak};

fn filled(len: usize) -> Buffer {
    let mut buffer = Buffer::zeros(len);
    buffer.iter_mut().enumerate().for_each(|(i, x)| *x = (i * 7919 % 1000) as f32 / 1000.0 - 0.5);
    buffer
}

/// As plans lay out rows.
fn padded(n: usize) -> usize {
    let whole = n.next_multiple_of(16);
    if whole >= 256 && whole.is_multiple_of(128) { whole + 16 } else { whole }
}

/// A kernel and its sizes.
struct Group<'a>(BenchmarkGroup<'a, WallTime>);

impl<'a> Group<'a> {
    fn new(criterion: &'a mut Criterion, name: &str) -> Self {
        Group(criterion.benchmark_group(name))
    }

    fn time(&mut self, sizes: impl std::fmt::Display, elements: usize, mut f: impl FnMut()) {
        self.0.throughput(Throughput::Elements(elements as u64));
        self.0.bench_function(BenchmarkId::from_parameter(sizes), |b| b.iter(&mut f));
    }
}

/// Rows, columns, and the length of the sums.
const PRODUCTS: [(usize, usize, usize); 20] = [
    // W1
    (20, 25, 2),
    (20, 25, 25),
    (20, 2, 25),
    // W2: the head, and the convolutions as products
    (50, 64, 1024),
    (50, 32, 64),
    (7200, 16, 9),
    (800, 32, 144),
    // W4
    (2450, 128, 288),
    (2450, 128, 1152),
    (2450, 256, 1152),
    (50, 512, 4608),
    // W5
    (256, 1024, 784),
    (256, 1024, 1024),
    (256, 10, 1024),
    // Odd ones
    (1, 1, 1),
    (1, 300, 100),
    (7, 33, 33),
    (33, 7, 100),
    (100, 300, 33),
    (300, 100, 300),
];

fn products(cpu: &Cpu, criterion: &mut Criterion) {
    for (name, transposed, transposed_b) in
        [("matmul NN, FLOP", false, false), ("matmul TN, FLOP", true, false), ("matmul NT, FLOP", false, true)]
    {
        let mut group = Group::new(criterion, name);
        for (m, n, k) in PRODUCTS {
            let (rows_a, lda) = if transposed { (k, padded(m)) } else { (m, padded(k)) };
            let (rows_b, ldb) = if transposed_b { (n, padded(k)) } else { (k, padded(n)) };
            let (a, b, bias) = (filled(rows_a * lda), filled(rows_b * ldb), filled(n));
            let (rsa, csa) = if transposed { (1, lda) } else { (lda, 1) };
            let p = Product { m, n, k, rsa, csa, ldb, transposed_b, ldc: padded(n) };
            let forward = !transposed && !transposed_b;
            let (start, then) = if forward { (Some(&bias), Map::ReLU) } else { (None, Map::Identity) };
            let mut c = Buffer::zeros(m * p.ldc);
            group.time(format_args!("{m}x{n}x{k}"), 2 * m * n * k, || {
                matmul(cpu, black_box(&p), &a, &b, &mut c, start.map_or(Start::Zero, |bias| Start::Row(bias)), then);
            });
        }
    }
}

/// Images, channels in and out, height and width, kernel, stride, padding.
const CONVOLUTIONS: [[usize; 7]; 14] = [
    // W2
    [50, 1, 16, 14, 3, 1, 0],
    [50, 16, 32, 6, 3, 1, 0],
    // W4
    [50, 1, 16, 14, 3, 1, 1],
    [50, 16, 32, 14, 5, 1, 2],
    [50, 32, 128, 7, 3, 1, 1],
    [50, 128, 128, 7, 3, 1, 1],
    [50, 128, 256, 7, 3, 1, 1],
    // Others: 28×28 and 32×32, 1×1 and 5×5, strides, odd channels, large images
    [50, 1, 32, 28, 5, 1, 0],
    [50, 3, 32, 32, 3, 1, 1],
    [50, 32, 64, 14, 3, 2, 1],
    [50, 64, 128, 14, 1, 1, 0],
    [50, 64, 64, 14, 1, 2, 0],
    [7, 33, 7, 32, 3, 1, 1],
    [2, 64, 64, 56, 3, 1, 1],
];

/// Useful operations: a tap outside of the image is none.
fn conv_flops(c: &Conv) -> usize {
    let along = |outputs: usize, inputs: usize, taps: usize, stride: usize, padding: usize| -> usize {
        let inside = |o: usize| (0..taps).filter(|t| (padding..inputs + padding).contains(&(o * stride + t))).count();
        (0..outputs).map(inside).sum()
    };
    let down = along(c.out_h(), c.h, c.kh, c.stride.0, c.padding.0);
    let right = along(c.out_w(), c.w, c.kw, c.stride.1, c.padding.1);
    2 * c.batch * down * right * c.ci * c.co
}

fn convolutions(cpu: &Cpu, criterion: &mut Criterion) {
    for what in ["forward", "input gradient", "weight gradient"] {
        let mut group = Group::new(criterion, &format!("conv2d {what}, FLOP"));
        for [batch, ci, co, size, kernel, stride, padding] in CONVOLUTIONS {
            let ldx = if ci == 1 { 1 } else { padded(ci) };
            let (h, w, stride, padding) = (size, size, (stride, stride), (padding, padding));
            let (kh, kw, ldw, ldy) = (kernel, kernel, padded(co), padded(co));
            let c = Conv { batch, ci, h, w, co, kh, kw, stride, padding, ldx, ldw, ldy, interleaved: false };
            let (inputs, outputs) = (batch * h * w, batch * c.out_h() * c.out_w());
            let (x, weights, bias) = (filled(inputs * ldx), filled(kh * kw * ci * ldw), filled(co));
            let (wt, dy) = (filled(kh * kw * co * padded(ci)), filled(outputs * ldy));
            let (mut y, mut dx) = (Buffer::zeros(outputs * ldy), Buffer::zeros(inputs * padded(ci)));
            let mut dw = Buffer::zeros(kh * kw * ci * ldw);
            let sizes = format!("{ci}-{co} @{size} k{kernel} s{} p{} x{batch}", stride.0, padding.0);
            group.time(sizes, conv_flops(&c), || match what {
                "forward" => conv2d(cpu, black_box(&c), &x, &weights, Some(&bias), &mut y, Map::ReLU),
                "input gradient" => conv2d_input_grad(cpu, black_box(&c), &dy, &wt, padded(ci), &mut dx, Map::Identity),
                _ => conv2d_weight_grad(cpu, black_box(&c), &x, &dy, &mut dw, false),
            });
        }
    }
}

/// The same for images that lie interleaved, without padding.
fn interleaved_convolutions(cpu: &Cpu, criterion: &mut Criterion) {
    for what in ["forward", "input gradient", "weight gradient"] {
        let mut group = Group::new(criterion, &format!("interleaved conv2d {what}, FLOP"));
        for [batch, ci, co, size, kernel] in
            [[64, 1, 1, 28, 3], [50, 1, 6, 28, 5], [16, 3, 3, 26, 3], [16, 6, 6, 26, 3], [16, 17, 17, 26, 3]]
        {
            let (h, w, kh, kw, ldw, stride, padding) = (size, size, kernel, kernel, padded(co), (1, 1), (0, 0));
            let (ldx, ldy) = (SAMPLES * ci, SAMPLES * co);
            let c = Conv { batch, ci, h, w, co, kh, kw, stride, padding, ldx, ldw, ldy, interleaved: true };
            let blocks = batch.div_ceil(SAMPLES);
            let (inputs, outputs) = (blocks * h * w, blocks * c.out_h() * c.out_w());
            let (x, weights, bias) = (filled(inputs * ldx), filled(kh * kw * ci * ldw), filled(co));
            let (wt, dy) = (filled(kh * kw * co * padded(ci)), filled(outputs * ldy));
            let (mut y, mut dx) = (Buffer::zeros(outputs * ldy), Buffer::zeros(inputs * ldx));
            let (mut dw, mut partials) = (Buffer::zeros(kh * kw * ci * ldw), Buffer::zeros(interleaved::partials(&c)));
            group.time(format!("{ci}-{co} @{size} k{kernel} x{batch}"), conv_flops(&c), || match what {
                "forward" => conv2d(cpu, black_box(&c), &x, &weights, Some(&bias), &mut y, Map::ReLU),
                "input gradient" => conv2d_input_grad(cpu, black_box(&c), &dy, &wt, padded(ci), &mut dx, Map::Identity),
                _ => interleaved::conv2d_weight_grad(cpu, black_box(&c), &x, &dy, &mut partials, &mut dw, false),
            });
        }
    }
    let mut group = Group::new(criterion, "interleave");
    for [batch, planes, pixels] in [[50, 1, 784], [64, 1, 784], [64, 3, 1024]] {
        let (size, blocks) = (planes * pixels, usize::div_ceil(batch, SAMPLES));
        let (x, mut y) = (filled(batch * size), Buffer::zeros(blocks * SAMPLES * size));
        group.time(format!("{planes}×{pixels} x{batch}"), batch * size, || {
            interleave(cpu, black_box(batch), [planes, pixels], |i| &x[i * size..], &mut y);
        });
        let mut back = Buffer::zeros(batch * size);
        group.time(format!("{planes}×{pixels} x{batch} back"), batch * size, || {
            deinterleave(cpu, black_box(batch), [planes, pixels], &y, &mut back, size);
        });
    }
}

fn pooling(cpu: &Cpu, criterion: &mut Criterion) {
    for what in ["max_pool2d", "max_pool2d gradient", "avg_pool2d"] {
        let mut group = Group::new(criterion, what);
        for [c, size, kernel, stride, padding] in [
            [16, 12, 2, 2, 0],
            [32, 14, 2, 2, 0],
            [256, 7, 2, 2, 0],
            [32, 28, 2, 2, 0],
            [33, 32, 3, 2, 1],
            [16, 12, 3, 3, 0],
        ] {
            let (kernel, stride, padding) = ((kernel, kernel), (stride, stride), (padding, padding));
            let p = Window { batch: 50, c, h: size, w: size, kernel, stride, padding, ldx: padded(c), ldy: padded(c) };
            let outputs = p.batch * p.out_h() * p.out_w();
            let (x, dy) = (filled(p.batch * size * size * p.ldx), filled(outputs * p.ldy));
            let (mut y, mut dx) = (Buffer::zeros(outputs * p.ldy), Buffer::zeros(x.len()));
            let mut argmax = vec![0; outputs * p.ldy];
            max_pool2d(cpu, &p, &x, &mut y, &mut argmax);
            group.time(format_args!("{c} @{size} k{} s{}", kernel.0, stride.0), outputs * c, || match what {
                "max_pool2d" => max_pool2d(cpu, black_box(&p), &x, &mut y, &mut argmax),
                "avg_pool2d" => avg_pool2d(cpu, black_box(&p), &x, &mut y),
                _ => max_pool2d_grad(cpu, black_box(&p), &dy, &argmax, None, &mut dx),
            });
        }
    }
}

fn pointwise(cpu: &Cpu, criterion: &mut Criterion) {
    for what in [Map::ReLU, Map::Tanh, Map::Sigmoid] {
        for (name, gradient) in [(format!("{what:?}"), false), (format!("{what:?} gradient"), true)] {
            let mut group = Group::new(criterion, &name);
            for n in [7, 640, 32_768, 1_048_576] {
                let (x, dy) = (filled(n), filled(n));
                let mut y = Buffer::zeros(n);
                group.time(n, n, || match gradient {
                    false => map(cpu, what, black_box(&x), &mut y),
                    true => map_grad(cpu, what, black_box(&x), &dy, &mut y),
                });
            }
        }
    }
}

/// Rows and columns of activations.
const ROWS: [(usize, usize); 6] = [(1, 10), (20, 2), (50, 33), (256, 10), (256, 1024), (9800, 16)];

fn rows(cpu: &Cpu, criterion: &mut Criterion) {
    for what in [
        "softmax",
        "log_softmax",
        "batch_norm",
        "batch_norm gradient",
        "sum_rows",
        "sum_rows_grouped",
        "dropout's mask",
        "dropout",
    ] {
        let mut group = Group::new(criterion, what);
        for (rows, n) in ROWS {
            let ld = padded(n);
            let (x, dy, gamma, beta) = (filled(rows * ld), filled(rows * ld), filled(n), filled(n));
            let mut y = Buffer::zeros(rows * ld);
            let [mut mean, mut inv_std, mut var, mut out] = [(); 4].map(|()| filled(n));
            let mut sums = [(); 4].map(|()| filled(n));
            let (key, step, interleaved) = ([1, 2], 3, false);
            let groups = if rows == 9800 { 50 } else { 1 };
            let norm = Norm { groups, rows: rows / groups, n, ld, interleaved };
            let mut moments = Buffer::zeros(norm.moments());
            let drop = Dropout { first: 0, samples: rows, group: 1, n, ld, key, step, p: 0.5, interleaved };
            let mut keeps = vec![1; rows * ld];
            group.time(format_args!("{rows}x{n}"), rows * n, || match what {
                "softmax" => softmax(cpu, black_box(rows), n, ld, &x, &mut y),
                "log_softmax" => log_softmax(cpu, black_box(rows), n, ld, &x, &mut y),
                "batch_norm" => {
                    let (norm, gamma, beta) = (black_box(&norm), Some(&gamma[..]), Some(&beta[..]));
                    batch_norm_moments(cpu, norm, &x, &mut moments);
                    batch_norm_statistics(cpu, norm, 1e-5, &moments, &mut mean, &mut inv_std, &mut var);
                    batch_norm_map(cpu, norm, &x, &mean, &inv_std, gamma, beta, Map::Identity, &mut y);
                }
                "batch_norm gradient" => {
                    let (norm, gamma) = (black_box(&norm), Some(&gamma[..]));
                    let [dgamma, dbeta, sum, product] = &mut sums;
                    batch_norm_grad_moments(cpu, norm, &x, &mean, &inv_std, &dy, &mut moments);
                    batch_norm_grad_sums(cpu, norm, &moments, Some(dgamma), Some(dbeta), false, [sum, product]);
                    batch_norm_grad_map(cpu, norm, &x, &mean, &inv_std, gamma, &dy, [sum, product], None, &mut y);
                }
                "sum_rows" => sum_rows(cpu, black_box(rows), n, ld, &x, &mut out, Total::Added),
                "sum_rows_grouped" => sum_rows_grouped(cpu, black_box(rows), 49, n, ld, &x, &mut out, Total::Added),
                "dropout's mask" => mask(cpu, black_box(&drop), &mut keeps),
                _ => masked(cpu, black_box(rows), n, drop.p, (&x, ld), (&keeps, ld), (&mut y, ld)),
            });
        }
    }
}

fn updates(cpu: &Cpu, criterion: &mut Criterion) {
    let settings = Adam {
        lr: 1e-3,
        new1: 0.1,
        beta2: 0.999,
        new2: 0.001,
        eps: 1e-8,
        weight_decay: 0.0,
        decoupled: false,
        correction1: 0.1,
        correction2: 0.001,
    };
    // The parameters of W1, W2 and W5.
    for (name, sizes) in [("sgd", [1427, 77_346, 1_863_690]), ("adam", [1427, 77_346, 1_863_690])] {
        let mut group = Group::new(criterion, name);
        for n in sizes {
            let (g, mut p) = (filled(n), filled(n));
            let [mut m, mut v] = [(); 2].map(|()| Buffer::zeros(n));
            group.time(n, n, || match name {
                "sgd" => sgd(cpu, &Sgd { lr: 1e-6, weight_decay: 0.0 }, &mut p, black_box(&g)),
                _ => adam(cpu, black_box(&settings), &mut p, &g, &mut m, &mut v),
            });
        }
    }
}

fn copies(cpu: &Cpu, criterion: &mut Criterion) {
    let mut group = Group::new(criterion, "transpose");
    for (samples, rows, cols) in [(1, 25, 25), (1, 64, 1024), (1, 1024, 1024), (50, 49, 128), (50, 7, 33)] {
        let (lds, ldd) = (padded(cols), padded(rows));
        let t = Transpose { samples, rows, cols, src_stride: rows * lds, lds, dst_stride: cols * ldd, ldd };
        let (src, mut dst) = (filled(samples * rows * lds), Buffer::zeros(samples * cols * ldd));
        group.time(format_args!("{samples}x{rows}x{cols}"), samples * rows * cols, || {
            transpose(cpu, black_box(&t), &src, &mut dst);
        });
    }
    drop(group);
    let mut group = Group::new(criterion, "copy_rows");
    for (rows, n) in [(20, 2), (50, 392), (256, 784), (1000, 784)] {
        let (src, mut dst) = (filled(rows * n), Buffer::zeros(rows * padded(n)));
        group.time(format_args!("{rows}x{n}"), rows * n, || {
            copy_rows(cpu, black_box(rows), n, &src, n, &mut dst, padded(n));
        });
    }
}

fn main() {
    let wanted = std::env::var("ISA").unwrap_or(Isa::detect().to_string());
    let Some(isa) = Isa::available().into_iter().find(|isa| isa.to_string() == wanted) else {
        let there: Vec<String> = Isa::available().iter().map(Isa::to_string).collect();
        panic!("ISA={wanted}: there are {}", there.join(", "));
    };
    let threads = std::env::var("THREADS").map_or(1, |n| n.parse().expect("THREADS is a number"));
    println!("{isa}, {threads} thread(s); peak of one: {:.0} GFLOP/s\n", peak::flops(isa) / 1e9);
    let cpu = Cpu { isa, pool: Pool::new(threads) };
    // Some hundred kernels: half a second each.
    let (warm_up, time) = (Duration::from_millis(100), Duration::from_millis(400));
    let mut criterion =
        Criterion::default().sample_size(20).warm_up_time(warm_up).measurement_time(time).configure_from_args();
    for part in [products, convolutions, interleaved_convolutions, pooling, pointwise, rows, updates, copies] {
        part(&cpu, &mut criterion);
    }
    criterion.final_summary();
}
