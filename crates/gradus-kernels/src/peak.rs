//! What the machine can do at most: fused multiply-adds on registers alone, nothing read and nothing written. Speeds are told
//! as a share of it.

use std::hint::black_box;
use std::time::Instant;

use crate::Isa;
use crate::isa::Level;

/// Independent chains: enough to hide the latency of an instruction.
const CHAINS: usize = 12;
/// Links of each chain in one measurement: some tens of microseconds.
const LINKS: usize = 20_000;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{CHAINS, LINKS};

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(x: f32) -> f32 {
        let (a, b) = (_mm512_set1_ps(x), _mm512_set1_ps(0.999));
        let mut sums = [a; CHAINS];
        for _ in 0..LINKS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, b, a);
            }
        }
        _mm512_reduce_add_ps(sums.into_iter().fold(a, |x, y| _mm512_add_ps(x, y)))
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(x: f32) -> f32 {
        let (a, b) = (_mm256_set1_ps(x), _mm256_set1_ps(0.999));
        let mut sums = [a; CHAINS];
        for _ in 0..LINKS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, b, a);
            }
        }
        _mm256_cvtss_f32(sums.into_iter().fold(a, |x, y| _mm256_add_ps(x, y)))
    }
}

/// Runs the chains once; gives how many numbers each had.
fn chains(isa: Isa) -> usize {
    let x = black_box(1.0);
    match isa.level() {
        // SAFETY: an `Isa` of this level is made after its features were found.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => (black_box(unsafe { x86::avx512(x) }), 16).1,
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => (black_box(unsafe { x86::avx2(x) }), 8).1,
        Level::Portable => {
            // Without the instruction, a product and a sum: what the kernels' emulated ones can only fall short of.
            let mut sums = [x; 4 * CHAINS];
            for _ in 0..LINKS {
                for sum in &mut sums {
                    *sum = *sum * 0.999 + x;
                }
            }
            black_box(sums);
            4
        }
    }
}

/// Floating-point operations a second of one core (a fused multiply-add is two): the best of some short measurements, so that a
/// moment in which another program ran does not count.
pub fn flops(isa: Isa) -> f64 {
    let lanes = chains(isa);
    let measurement = |_| {
        let start = Instant::now();
        (0..20).for_each(|_| _ = black_box(chains(isa)));
        start.elapsed().as_secs_f64() / 20.0
    };
    let seconds = (0..10).map(measurement).fold(f64::INFINITY, f64::min);
    (2 * CHAINS * LINKS * lanes) as f64 / seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_has_a_peak() {
        for isa in Isa::available() {
            let flops = flops(isa);
            assert!(flops.is_finite() && flops > 1e7, "{isa}: {flops}");
        }
    }
}
