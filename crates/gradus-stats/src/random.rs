//! The source of resampling: Philox4x32-10 with the seed as its key and the purpose in its counter, so that two
//! procedures with one seed never share numbers.

use gradus_kernels::philox::philox4x32_10;

/// What the numbers are for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Bootstrap = 1,
    SignFlip = 2,
    #[cfg(test)]
    Test = 3,
}

/// A reader of one seed's numbers for one purpose.
pub(crate) struct Stream {
    key: [u32; 2],
    purpose: u32,
    block: u64,
    words: [u32; 4],
    used: usize,
}

impl Stream {
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], purpose: purpose as u32, block: 0, words: [0; 4], used: 4 }
    }

    /// The next 32 random bits.
    #[inline]
    pub(crate) fn next(&mut self) -> u32 {
        if self.used == 4 {
            self.words = philox4x32_10(self.key, [self.block as u32, (self.block >> 32) as u32, self.purpose, 0]);
            self.block += 1;
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// Uniform in 0..n without bias (Lemire 2019: the high half of a 64-bit product, some low halves refused).
    #[inline]
    pub(crate) fn below(&mut self, n: u32) -> usize {
        loop {
            let product = u64::from(self.next()) * u64::from(n);
            let low = product as u32;
            if low >= n || low >= n.wrapping_neg() % n {
                return (product >> 32) as usize;
            }
        }
    }

    /// Standard normal by Box–Muller.
    #[cfg(test)]
    pub(crate) fn normal(&mut self) -> f64 {
        let mut unit = || (f64::from(self.next()) + 0.5) / 4_294_967_296.0;
        let (u, v) = (unit(), unit());
        (-2.0 * libm::log(u)).sqrt() * libm::cos(std::f64::consts::TAU * v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_differ_and_indices_are_even() {
        let first = |purpose| Stream::new(7, purpose).next();
        assert_ne!(first(Purpose::Bootstrap), first(Purpose::SignFlip));
        let mut stream = Stream::new(1, Purpose::Test);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[stream.below(7)] += 1;
        }
        // Six standard deviations of a binomial count.
        assert!(counts.iter().all(|&c| (f64::from(c) - 10_000.0).abs() <= 6.0 * 92.6), "{counts:?}");
    }
}
