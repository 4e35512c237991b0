//! Which instructions the machine has, asked once, and how a kernel body is compiled for each.

use crate::Pool;

/// An instruction set that the kernels are compiled for. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Isa(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// Code without any special instruction: right everywhere, slow where fused multiply-add is emulated.
    pub const PORTABLE: Isa = Isa(Level::Portable);

    /// Every instruction set this machine can run, slowest first; the portable one is always there.
    pub fn available() -> Vec<Isa> {
        #[allow(unused_mut)]
        let mut all = vec![Isa::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 {
                all.push(Isa(Level::Avx2));
            }
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx2 && avx512 {
                all.push(Isa(Level::Avx512));
            }
        }
        all
    }

    /// The fastest one this machine can run.
    pub fn detect() -> Isa {
        *Isa::available().last().unwrap_or(&Isa::PORTABLE)
    }

    pub(crate) fn level(self) -> Level {
        self.0
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "AVX-512",
        })
    }
}

/// What a kernel runs on: an instruction set and the threads that share its work.
#[derive(Debug)]
pub struct Cpu {
    /// The instruction set.
    pub isa: Isa,
    /// The threads.
    pub pool: Pool,
}

impl Cpu {
    /// The fastest instruction set of this machine, with `threads` threads (at least one).
    ///
    /// # Panics
    /// When the system refuses a thread; [`Cpu::start`] tells.
    pub fn new(threads: usize) -> Cpu {
        Cpu { isa: Isa::detect(), pool: Pool::new(threads) }
    }

    /// As [`Cpu::new`].
    ///
    /// # Errors
    /// The system's, when it refuses a thread.
    pub fn start(threads: usize) -> std::io::Result<Cpu> {
        Ok(Cpu { isa: Isa::detect(), pool: Pool::start(threads)? })
    }
}

/// Compiles a body once per instruction set and picks one at run time.
///
/// `simd! { fn name(a: A, b: B) -> R { … } }` defines `fn name(isa: Isa, a: A, b: B) -> R`. What the body calls must be
/// `#[inline(always)]`, or it is compiled without the instructions.
macro_rules! simd {
    ($(#[$attr:meta])* $vis:vis fn $name:ident $(<$(const $gen:ident: $gty:ty),+>)? ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$attr])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name $(<$(const $gen: $gty),+>)? (isa: $crate::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body $(<$(const $gen: $gty),+>)? ($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512 $(<$(const $gen: $gty),+>)? ($($arg: $ty),*) $(-> $ret)? { body $(::<$($gen),+>)? ($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2 $(<$(const $gen: $gty),+>)? ($($arg: $ty),*) $(-> $ret)? { body $(::<$($gen),+>)? ($($arg),*) }
            match isa.level() {
                // SAFETY: an `Isa` of this level is made by `Isa::available` alone, after it has found the features.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Level::Avx512 => unsafe { avx512 $(::<$($gen),+>)? ($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Level::Avx2 => unsafe { avx2 $(::<$($gen),+>)? ($($arg),*) },
                $crate::isa::Level::Portable => body $(::<$($gen),+>)? ($($arg),*),
            }
        }
    };
}
pub(crate) use simd;
