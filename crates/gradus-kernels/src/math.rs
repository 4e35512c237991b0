//! The functions that other libraries take from the system's libm: ours, so that they give the same bits everywhere.
//!
//! Each is straight-line code of `+ - * /`, fused multiply-adds, integer operations and selections, which the compiler
//! turns into vector code inside a kernel. Where a function says "ulp", the tests bound its error against the exact
//! value by a dense sweep of all exponents, and `examples/ulp.rs` by all 2³² inputs; results below the normal range lose
//! digits gradually, as they must.

use crate::matmul::reach;

/// 1.5·2²³: adding it rounds a small number to an integer (ties to even) and leaves that in the low bits.
const ROUNDER: f32 = 12_582_912.0;
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts; the first has 15 significant bits, so that its product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_145_75;
const LN2_LOW: f32 = 1.428_606_8e-6;

/// 2ⁿ for −126 ≤ n ≤ 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// The integer n nearest to x/ln 2, as a number and as an integer, and r = x − n·ln 2.
#[inline(always)]
fn reduce(x: f32) -> (f32, i32) {
    let shifted = x.mul_add(LOG2_E, ROUNDER);
    let n = shifted - ROUNDER;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    (r, shifted.to_bits().wrapping_sub(ROUNDER.to_bits()) as i32)
}

/// eʳ for |r| ≤ ln 2 / 2.
#[inline(always)]
fn exp_reduced(r: f32) -> f32 {
    let mut q = 0.001_381_459_9f32;
    q = q.mul_add(r, 0.008_368_717);
    q = q.mul_add(r, 0.041_668_39);
    q = q.mul_add(r, 0.166_665_21);
    q = q.mul_add(r, 0.499_999_93);
    (r * r).mul_add(q, r) + 1.0
}

/// eˣ, to 1.5 ulp. Overflows to +∞ above 88.72, reaches 0 gradually below −87.34.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Selections, not min and max: NaN goes through.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let (r, n) = reduce(x);
    // Two factors: each is a normal number, and only the last product rounds.
    let half = n >> 1;
    exp_reduced(r) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// The natural logarithm, to 1.5 ulp: −∞ at ±0, NaN below.
#[inline(always)]
pub fn log(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    let bits = scaled.to_bits();
    // m in [√½, √2): subtract the bits of √½, keep the exponent that remains.
    let above = bits.wrapping_sub(0x3F35_04F3);
    let exponent = (above as i32) >> 23;
    let m = f32::from_bits((above & 0x007F_FFFF).wrapping_add(0x3F35_04F3));
    let e = exponent as f32 - if tiny { 23.0 } else { 0.0 };
    let f = m - 1.0;
    let mut p = 0.067_466_415f32;
    p = p.mul_add(f, -0.116_756_52);
    p = p.mul_add(f, 0.118_881_62);
    p = p.mul_add(f, -0.124_055_89);
    p = p.mul_add(f, 0.142_195_52);
    p = p.mul_add(f, -0.166_679_96);
    p = p.mul_add(f, 0.200_021_18);
    p = p.mul_add(f, -0.250_000_1);
    p = p.mul_add(f, 0.333_333_13);
    let q = p.mul_add(f, -0.5);
    let small = (f * f).mul_add(q, e * LN2_LOW);
    let value = e.mul_add(LN2_HIGH, f + small);
    // Outside (0, ∞): ln ∞ = ∞, NaN stays, ln 0 = −∞, and NaN below 0.
    let value = if x < f32::INFINITY { value } else { x };
    let value = if x < 0.0 { f32::NAN } else { value };
    if x == 0.0 { f32::NEG_INFINITY } else { value }
}

/// The hyperbolic tangent, to 2.5 ulp; odd, keeps the sign of zero.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    // With w = 2|x|, eʷ ± 1 = 2ⁿ·(eʳ − 1) + (2ⁿ ± 1): tanh|x| = (eʷ − 1) / (eʷ + 1), where nothing cancels near 0; and
    // from ln 3 / 2 on 1 − 2 / (eʷ + 1), which rounds once.
    let w = 2.0 * x.abs();
    let w = if w > 20.0 { 20.0 } else { w };
    let (r, n) = reduce(w);
    let mut q = 0.000_198_458_78f32;
    q = q.mul_add(r, 0.001_394_062_8);
    q = q.mul_add(r, 0.008_333_389);
    q = q.mul_add(r, 0.041_666_36);
    q = q.mul_add(r, 0.166_666_66);
    q = q.mul_add(r, 0.5);
    let p = (r * r).mul_add(q, r);
    let s = power_of_two(n);
    let large = w > 1.1;
    let numerator = if large { 2.0 } else { s.mul_add(p, s - 1.0) };
    let quotient = numerator / s.mul_add(p, s + 1.0);
    // 1 − quotient, or the quotient: written so that the compiler does not divide once for each.
    let (sign, from) = if large { (-1.0f32, 1.0) } else { (1.0, 0.0) };
    sign.mul_add(quotient, from).copysign(x)
}

/// 1 / (1 + e⁻ˣ), to 2.5 ulp, in both tails.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    let numerator = if x < 0.0 { e } else { 1.0 };
    numerator / (1.0 + e)
}

// What follows is what the kernels of this crate are made of. A closure given to a helper must be `#[inline(always)]`,
// or it is compiled without the instructions that its kernel is compiled for.

/// How many numbers the kernels take at a time: one AVX-512 register, two AVX, four SSE.
pub(crate) const LANES: usize = 16;

/// So many numbers.
pub(crate) type Lanes = [f32; LANES];

/// For each width up to sixteen, ones in so many lanes and zeros in the others. Each in a cache line of its own: masks are read as often
/// as numbers are, and one that lies across two lines, let alone two pages, takes longer than what it is for.
#[repr(align(64))]
struct Masks([[u32; LANES]; LANES + 1]);

static MASKS: Masks = {
    let mut masks = [[0; LANES]; LANES + 1];
    let mut at = 0;
    while at < masks.len() * LANES {
        let (width, lane) = (at / LANES, at % LANES);
        masks[width][lane] = if lane < width { u32::MAX } else { 0 };
        at += 1;
    }
    Masks(masks)
};

/// Ones in the first `width ≤ 16` lanes. (A table: comparisons of each lane with the width do not become vector code.)
#[inline(always)]
pub(crate) fn mask(width: usize) -> &'static [u32; LANES] {
    &MASKS.0[width]
}

/// The last numbers of an array, fewer than sixteen. Never inlined: merged with the copy of a full register, it would make
/// of both a call of memcpy.
#[cold]
#[inline(never)]
fn load_end<T: Copy + Default>(x: &[T]) -> [T; LANES] {
    let mut v = [T::default(); LANES];
    v[..x.len()].copy_from_slice(x);
    v
}

/// Writes the last numbers of an array.
#[cold]
#[inline(never)]
fn store_end<T: Copy>(y: &mut [T], v: &[T; LANES]) {
    y.copy_from_slice(&v[..y.len()]);
}

/// The sixteen numbers at `at`, or as many as there are.
#[inline(always)]
pub(crate) fn load_any<T: Copy + Default>(x: &[T], at: usize) -> [T; LANES] {
    let end;
    // A choice between two addresses: what follows is one vector operation for both.
    *match x[at..].first_chunk() {
        Some(all) => all,
        None => {
            end = load_end(&x[at..]);
            &end
        }
    }
}

/// Writes sixteen numbers at `at`, or as many as `y` has there.
#[inline(always)]
pub(crate) fn store_any<T: Copy>(y: &mut [T], at: usize, v: &[T; LANES]) {
    match y[at..].first_chunk_mut() {
        Some(all) => *all = *v,
        None => {
            // A copy that is in memory on this path alone.
            let copy = *v;
            store_end(&mut y[at..], &copy);
        }
    }
}

/// `x[at..at + width]`, and `fill` in the lanes from `width ≤ 16` on, whatever lies there.
#[inline(always)]
pub(crate) fn load(x: &[f32], at: usize, width: usize, fill: f32) -> Lanes {
    let (all, mask) = (load_any(x, at), mask(width));
    let mut v = [0.0; LANES];
    for l in 0..LANES {
        v[l] = f32::from_bits(all[l].to_bits() & mask[l] | fill.to_bits() & !mask[l]);
    }
    v
}

/// Writes `width ≤ 16` numbers at `at`, and zeros after them as far as a full register reaches and `y` goes on.
///
/// Those zeros fall into padding or the start of the next row: write rows in ascending order, and in each chunk of
/// columns the last one first, or the row from left to right.
#[inline(always)]
pub(crate) fn store(y: &mut [f32], at: usize, width: usize, v: &Lanes) {
    let mask = mask(width);
    let mut masked = [0.0; LANES];
    for l in 0..LANES {
        masked[l] = f32::from_bits(v[l].to_bits() & mask[l]);
    }
    store_any(y, at, &masked);
}

/// Calls `f` with 0 to n − 1, one after the other: the compiler is kept from doing several calls at once, where each is made of
/// whole vectors already.
#[inline(always)]
pub(crate) fn one_by_one(n: usize, mut f: impl FnMut(usize)) {
    for i in 0..n {
        f(std::hint::black_box(i));
    }
}

/// What an array of `rows` rows of `n` numbers, `ld` apart, must hold at least: the last row needs no padding.
#[inline(always)]
pub(crate) fn extent(rows: usize, n: usize, ld: usize) -> usize {
    assert!(ld >= n, "rows of {n} numbers cannot lie {ld} apart");
    reach(rows, n, ld)
}

/// Asserts that `x` holds that much.
#[inline(always)]
#[track_caller]
pub(crate) fn check(name: &str, len: usize, rows: usize, n: usize, ld: usize) {
    let need = extent(rows, n, ld);
    assert!(len >= need, "{name} holds {len} numbers, {rows} rows of {n}, {ld} apart, need {need}");
}

/// What the tests of the kernels share.
#[cfg(test)]
pub(crate) mod testing {
    use std::cell::RefCell;
    use std::fmt::Debug;
    use std::io::Write;
    use std::sync::{Mutex, PoisonError};

    use crate::matmul::tests::machines as all_machines;
    use crate::{Cpu, philox::philox4x32_10};

    /// What a test runs: a kernel and a seed, and a shape.
    struct Case {
        seed: String,
        shape: String,
    }

    thread_local! {
        static CASE: RefCell<Case> = const { RefCell::new(Case { seed: String::new(), shape: String::new() }) };
    }

    impl std::fmt::Display for Case {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{}{}", self.seed, self.shape)
        }
    }

    /// Begins a case.
    fn begin(seed: String) {
        CASE.set(Case { seed, shape: String::new() });
    }

    fn variable(name: &str) -> Option<u32> {
        std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
    }

    /// Runs `f` on `few` seeds, from which it draws shapes and numbers; in half of the cases arrays begin at a fence
    /// (`fence.rs`), in the others they end at one.
    ///
    /// `GRADUS_CASES=10000` runs so many instead. A case that fails is told with its seed and shape; `GRADUS_CASE=17` runs
    /// the one with this seed alone. A case that touches a fence is killed: `GRADUS_SHOW=1` tells on the standard error
    /// what is run, and on which machine, before each; with `--test-threads 1` the last line is the culprit.
    pub(crate) fn cases(what: &str, few: u32, f: impl Fn(u32)) {
        /// Tells the case when it fails.
        struct Told;
        impl Drop for Told {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    CASE.with_borrow(|case| eprintln!("this was {case}"));
                }
            }
        }
        let _told = Told;
        let all = 0..variable("GRADUS_CASES").unwrap_or(few);
        for seed in variable("GRADUS_CASE").map_or(all, |seed| seed..seed + 1) {
            begin(format!("{what}, GRADUS_CASE={seed}, "));
            // Not every second one: the cases of a test take turns too.
            #[cfg(unix)]
            crate::fence::at_start(seed.count_ones() % 2 == 1);
            f(seed);
        }
        begin(String::new());
        #[cfg(unix)]
        crate::fence::at_start(false);
    }

    /// What is told of a case beside its seed.
    pub(crate) fn shape_is(shape: &dyn Debug) {
        CASE.with_borrow_mut(|case| case.shape = format!("{shape:?}"));
    }

    /// To be called before a case is run on a machine.
    pub(crate) fn running(cpu: &Cpu) {
        if std::env::var_os("GRADUS_SHOW").is_some() {
            // Not `eprintln`, whose words are lost when the process is killed in a test.
            let line = CASE.with_borrow(|case| format!("{case}, {}, {} thread(s)\n", cpu.isa, cpu.pool.threads()));
            std::io::stderr().write_all(line.as_bytes()).expect("standard error");
        }
    }

    /// Random numbers for one test.
    pub(crate) struct Random(pub(crate) u32, u32);

    impl Random {
        pub(crate) fn new(seed: u32) -> Self {
            Self(seed, 0)
        }

        pub(crate) fn word(&mut self) -> u32 {
            self.1 += 1;
            philox4x32_10([self.0, 77], [self.1, 0, 0, 0])[0]
        }

        /// In [low, high).
        pub(crate) fn size(&mut self, low: usize, high: usize) -> usize {
            low + self.word() as usize % (high - low)
        }

        /// In (−2, 2), one in eight of them a multiple of ½: zeros and ties.
        pub(crate) fn number(&mut self) -> f32 {
            let w = self.word();
            let x = (w >> 8) as f32 / 4_194_304.0 - 2.0;
            if w & 7 == 0 { (2.0 * x).round() / 2.0 } else { x }
        }

        pub(crate) fn numbers(&mut self, n: usize) -> Vec<f32> {
            (0..n).map(|_| self.number()).collect()
        }

        /// Rows with NaN between them, and one time in eight after the last.
        pub(crate) fn rows(&mut self, rows: usize, n: usize, ld: usize) -> Vec<f32> {
            let full = self.word() & 7 == 0;
            let len = if full { rows * ld } else { super::extent(rows, n, ld) };
            (0..len).map(|i| if i % ld.max(1) < n { self.number() } else { f32::NAN }).collect()
        }

        /// (rows, n, ld): odd ones, also larger than the vectors, with and without padding.
        pub(crate) fn shape(&mut self) -> (usize, usize, usize) {
            let n = [self.size(1, 5), self.size(1, 40), 16, 32][self.size(0, 4)];
            let ld = [n, n + self.size(0, 20), n.next_multiple_of(16)][self.size(0, 3)];
            let shape = (self.size(1, 12), n, ld);
            shape_is(&shape);
            shape
        }
    }

    /// The bits, all NaNs alike.
    pub(crate) fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| if x.is_nan() { 0x7FC0_0000 } else { x.to_bits() }).collect()
    }

    /// Machines that no test uses just now: threads take longer to start than most cases do to run.
    static IDLE: Mutex<Vec<Vec<Cpu>>> = Mutex::new(Vec::new());

    /// Runs on every instruction set with 1 to 4 threads, checks that the bits are the same, and gives them.
    #[track_caller]
    pub(crate) fn everywhere<const K: usize>(f: impl Fn(&Cpu) -> [Vec<f32>; K]) -> [Vec<f32>; K] {
        let idle = || IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        let machines = idle().pop();
        let machines = machines.unwrap_or_else(all_machines);
        let mut first: Option<[Vec<f32>; K]> = None;
        for cpu in &machines {
            running(cpu);
            let got = f(cpu);
            let want = first.get_or_insert_with(|| got.clone());
            for k in 0..K {
                let (isa, threads) = (cpu.isa, cpu.pool.threads());
                assert_eq!(bits(&got[k]), bits(&want[k]), "output {k} on {isa} with {threads} thread(s)");
            }
        }
        idle().push(machines);
        first.expect("there is always the portable one")
    }

    /// |got − want| ≤ tolerance·(1 + |want|), or both NaN, or both the same infinity.
    #[track_caller]
    pub(crate) fn near(got: f32, want: f64, tolerance: f64) {
        let got = f64::from(got);
        assert!(
            got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= tolerance * (1.0 + want.abs()),
            "{got} is not {want}"
        );
    }

    /// A row as f64.
    pub(crate) fn row(x: &[f32], r: usize, n: usize, ld: usize) -> Vec<f64> {
        x[r * ld..r * ld + n].iter().map(|&x| f64::from(x)).collect()
    }

    /// Compares rows with their definition, and checks that what was written between them is finite.
    #[track_caller]
    pub(crate) fn rows_near(
        got: &[f32],
        rows: usize,
        n: usize,
        ld: usize,
        tolerance: f64,
        want: impl Fn(usize) -> Vec<f64>,
    ) {
        for r in 0..rows {
            for (j, want) in want(r).into_iter().enumerate().take(n) {
                near(got[r * ld + j], want, tolerance);
            }
        }
        for (i, x) in got.iter().enumerate() {
            assert!(i % ld < n || x.is_finite(), "padding {i} became {x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distance in ulp of the exact value `want`, and in smallest denormals if that is less.
    fn ulps(got: f32, want: f64) -> f64 {
        if got.is_nan() && want.is_nan() {
            return 0.0;
        }
        let nearest = want as f32;
        if got == nearest {
            return 0.0;
        }
        if !got.is_finite() || !nearest.is_finite() {
            // One step past the largest number is +∞: count it as the number it stands for.
            let big = |x: f32| {
                if x.is_infinite() { 2f64.powi(128).copysign(f64::from(x)) } else { f64::from(x) }
            };
            return (big(got) - want).abs() / 2f64.powi(104);
        }
        let exponent = (((nearest.abs().to_bits() >> 23) as i32).max(1)) - 150;
        (f64::from(got) - want).abs() / 2f64.powi(exponent)
    }

    /// Every exponent and sign, mantissas by a step that is coprime to 2²³.
    fn sweep(f: fn(f32) -> f32, exact: fn(f64) -> f64) -> (f64, f32) {
        let mut worst = (0.0, 0.0);
        for top in 0..512u32 {
            let mut mantissa = 0u32;
            for _ in 0..6000 {
                let x = f32::from_bits(top << 23 | mantissa);
                let error = ulps(f(x), exact(f64::from(x)));
                if error > worst.0 || error.is_nan() {
                    worst = (error, x);
                }
                mantissa = (mantissa + 1_399_999) & 0x007F_FFFF;
            }
        }
        worst
    }

    #[test]
    fn errors_in_ulp() {
        let sigmoid64 = |x: f64| {
            if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
        };
        for (name, f, exact, bound) in [
            ("exp", exp as fn(f32) -> f32, f64::exp as fn(f64) -> f64, 1.5),
            ("log", log, f64::ln, 1.5),
            ("tanh", tanh, f64::tanh, 2.5),
            ("sigmoid", sigmoid, sigmoid64, 2.5),
        ] {
            let (error, at) = sweep(f, exact);
            println!("{name}: {error:.3} ulp at {at:e}");
            assert!(error <= bound, "{name}: {error} ulp at {at:e}");
        }
    }

    #[test]
    fn special_values() {
        let inf = f32::INFINITY;
        assert_eq!((exp(inf), exp(-inf), exp(0.0), exp(-0.0)), (inf, 0.0, 1.0, 1.0));
        assert_eq!((exp(88.722_84), exp(89.0), exp(-103.9), exp(-104.1)), (inf, inf, f32::from_bits(1), 0.0));
        assert_eq!((log(inf), log(0.0), log(-0.0), log(1.0)), (inf, -inf, -inf, 0.0));
        assert!(log(-1.0).is_nan() && log(-inf).is_nan() && log(-1e-40).is_nan());
        assert_eq!((tanh(inf), tanh(-inf), tanh(1e-45)), (1.0, -1.0, 1e-45));
        assert_eq!(tanh(-0.0).to_bits(), (-0.0f32).to_bits());
        assert_eq!((sigmoid(inf), sigmoid(-inf), sigmoid(0.0)), (1.0, 0.0, 0.5));
        for f in [exp, log, tanh, sigmoid] {
            assert!(f(f32::NAN).is_nan() && f(-f32::NAN).is_nan());
        }
    }

    #[test]
    fn what_lies_past_the_width_does_not_count() {
        let x: Vec<f32> = (0..20).map(|i| if i < 7 { i as f32 } else { f32::NAN }).collect();
        assert_eq!(load(&x, 3, 4, 9.0)[..6], [3.0, 4.0, 5.0, 6.0, 9.0, 9.0]);
        assert_eq!(load(&x[..7], 3, 4, 9.0)[..6], [3.0, 4.0, 5.0, 6.0, 9.0, 9.0]);
        let mut y = vec![5.0; 20];
        store(&mut y, 3, 2, &[1.0; LANES]);
        assert_eq!((y[2], y[3], y[4], y[5], y[18], y[19]), (5.0, 1.0, 1.0, 0.0, 0.0, 5.0));
        store(&mut y, 10, 2, &[2.0; LANES]);
        assert_eq!(y[9..14], [0.0, 2.0, 2.0, 0.0, 0.0]);
    }
}
