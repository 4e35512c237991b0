//! GFLOP/s of the products and convolutions, as a share of this machine's fused multiply-add peak, measured beside them.
//!
//! `cargo run --release -p gradus-kernels --example speed [threads]`
//!
//! Best of several repetitions; sizes count useful operations only. NN is a forward product, TN a weight gradient (its a is
//! stored transposed), NT does not exist: plans keep a transposed copy of the weights, which makes it an NN.

use std::hint::black_box;
use std::time::Instant;

use gradus_kernels::conv::{Conv, conv2d, conv2d_input_grad, conv2d_weight_grad};
use gradus_kernels::layout::{Transpose, copy_rows, transpose};
use gradus_kernels::matmul::{Product, Start, matmul, sum_rows, sum_rows_grouped};
use gradus_kernels::pointwise::Map;
use gradus_kernels::{Buffer, Cpu, Isa, peak};

/// Seconds per call: the best of many short repetitions.
fn best(mut f: impl FnMut()) -> f64 {
    f();
    let start = Instant::now();
    f();
    let calls = (0.002 / start.elapsed().as_secs_f64().max(1e-9)).clamp(1.0, 1e6) as usize;
    let repetition = |_| {
        let start = Instant::now();
        (0..calls).for_each(|_| f());
        start.elapsed().as_secs_f64() / calls as f64
    };
    (0..15).map(repetition).fold(f64::INFINITY, f64::min)
}

struct Table {
    peak: f64,
}

impl Table {
    fn row(&self, name: &str, flops: usize, seconds: f64) {
        let speed = flops as f64 / seconds / 1e9;
        let share = 100.0 * speed / self.peak;
        println!("{name:<34} {:>12.3} us {speed:>9.1} GFLOP/s {share:>5.0} %", seconds * 1e6);
    }
}

fn filled(len: usize) -> Buffer {
    let mut buffer = Buffer::zeros(len);
    buffer.iter_mut().enumerate().for_each(|(i, x)| *x = (i * 7919 % 1000) as f32 / 1000.0 - 0.5);
    buffer
}

fn padded(n: usize) -> usize {
    n.next_multiple_of(16)
}

fn products(cpu: &Cpu, table: &Table) {
    for (m, n, k) in [
        (20, 25, 2),
        (20, 25, 25),
        (20, 2, 25),
        (50, 32, 64),
        (50, 64, 1024),
        (7200, 16, 9),
        (800, 32, 144),
        (2450, 128, 288),
        (2450, 128, 1152),
        (2450, 256, 1152),
        (256, 1024, 784),
        (256, 1024, 1024),
        (1024, 1024, 1024),
        (2048, 2048, 2048),
    ] {
        let (lda, ldb) = (padded(k), padded(n));
        let (a, at, b, bias) = (filled(m * lda), filled(k * padded(m)), filled(k * ldb), filled(n));
        let mut c = Buffer::zeros(m * ldb);
        let flops = 2 * m * n * k;
        let p = Product { m, n, k, rsa: lda, csa: 1, ldb, ldc: ldb };
        let seconds = best(|| matmul(cpu, black_box(&p), &a, &b, &mut c, Start::Row(&bias), Map::ReLU));
        table.row(&format!("matmul NN {m} x {n} x {k}"), flops, seconds);
        let p = Product { rsa: 1, csa: padded(m), ..p };
        let seconds = best(|| matmul(cpu, black_box(&p), &at, &b, &mut c, Start::Zero, Map::Identity));
        table.row(&format!("matmul TN {m} x {n} x {k}"), flops, seconds);
    }
}

fn convolutions(cpu: &Cpu, table: &Table) {
    for (name, ci, co, size, padding) in [
        ("1->16 @14", 1, 16, 14, 0),
        ("16->32 @6", 16, 32, 6, 0),
        ("32->128 @7 p1", 32, 128, 7, 1),
        ("128->256 @7 p1", 128, 256, 7, 1),
        ("64->64 @56 p1 (2 images)", 64, 64, 56, 1),
    ] {
        let c = Conv {
            batch: if size > 14 { 2 } else { 50 },
            ci,
            h: size,
            w: size,
            co,
            kh: 3,
            kw: 3,
            stride: (1, 1),
            padding: (padding, padding),
            ldx: if ci == 1 { 1 } else { padded(ci) },
            ldw: padded(co),
            ldy: padded(co),
        };
        let (inputs, outputs) = (c.batch * size * size, c.batch * c.out_h() * c.out_w());
        let flops = {
            // Useful operations: a tap outside of the image is none.
            let along =
                |o: usize| (0..o).map(|o| (0..3).filter(|t| (padding..size + padding).contains(&(o + t))).count());
            2 * c.batch * along(c.out_h()).sum::<usize>() * along(c.out_w()).sum::<usize>() * ci * co
        };
        let ldwt = padded(ci);
        let (x, w, wt, bias) = (filled(inputs * c.ldx), filled(9 * ci * c.ldw), filled(9 * co * ldwt), filled(co));
        let (mut y, dy) = (Buffer::zeros(outputs * c.ldy), filled(outputs * c.ldy));
        let (mut dx, mut dw) = (Buffer::zeros(inputs * c.ldx), Buffer::zeros(9 * ci * c.ldw));
        let seconds = best(|| conv2d(cpu, black_box(&c), &x, &w, Some(&bias), &mut y, Map::ReLU));
        table.row(&format!("conv {name} forward"), flops, seconds);
        let seconds = best(|| conv2d_input_grad(cpu, black_box(&c), &dy, &wt, ldwt, &mut dx));
        table.row(&format!("conv {name} input grad"), flops, seconds);
        let seconds = best(|| conv2d_weight_grad(cpu, black_box(&c), &x, &dy, &mut dw, false));
        table.row(&format!("conv {name} weight grad"), flops, seconds);
    }
}

fn copies(cpu: &Cpu) {
    let row = |name: &str, numbers: usize, seconds: f64| {
        println!("{name:<34} {:>12.3} us {:>9.1} GB/s", seconds * 1e6, numbers as f64 * 4e-9 / seconds);
    };
    for (rows, n) in [(20, 25), (256, 1024), (9800, 16)] {
        let x = filled(rows * padded(n));
        let mut out = Buffer::zeros(n);
        let seconds = best(|| sum_rows(cpu, black_box(rows), n, padded(n), &x, &mut out, true));
        row(&format!("sum_rows {rows} x {n} (read)"), rows * n, seconds);
        let seconds = best(|| sum_rows_grouped(cpu, black_box(rows), 49, n, padded(n), &x, &mut out, true));
        row(&format!("sum_rows_grouped {rows} x {n} (read)"), rows * n, seconds);
    }
    for (samples, rows, cols) in [(1, 25, 25), (1, 64, 1024), (1, 1024, 1024), (50, 49, 128)] {
        let (lds, ldd) = (padded(cols), padded(rows));
        let t = Transpose { samples, rows, cols, src_stride: rows * lds, lds, dst_stride: cols * ldd, ldd };
        let src = filled(samples * rows * lds);
        let mut dst = Buffer::zeros(samples * cols * ldd);
        let seconds = best(|| transpose(cpu, black_box(&t), &src, &mut dst));
        row(&format!("transpose {samples} x {rows} x {cols} (read)"), samples * rows * cols, seconds);
    }
    let src = filled(1000 * 784);
    let mut dst = Buffer::zeros(1000 * 800);
    let seconds = best(|| copy_rows(cpu, black_box(1000), 784, &src, 784, &mut dst, 800));
    row("copy_rows 1000 x 784 (read)", 1000 * 784, seconds);
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1);
    let only = std::env::args().nth(2);
    let measured = || peak::flops(Isa::detect()) * threads as f64 / 1e9;
    let peak = measured();
    println!("{threads} thread(s); peak {peak:.0} GFLOP/s of fused multiply-adds ({threads} × one core's)");
    for isa in Isa::available().into_iter().rev() {
        if isa == Isa::PORTABLE || only.as_ref().is_some_and(|only| *only != isa.to_string()) {
            continue;
        }
        println!("\n{isa}");
        let cpu = Cpu { isa, pool: gradus_kernels::Pool::new(threads) };
        products(&cpu, &Table { peak });
        convolutions(&cpu, &Table { peak });
        copies(&cpu);
    }
    println!("\npeak at the end: {:.0} GFLOP/s", measured());
}
