//! Random numbers, addressed by what they are for.
//!
//! There is no global generator and no clock. A [`Seed`] and a purpose give a [`Key`]; a key and a counter give numbers
//! (Philox4x32-10, Salmon et al., SC 2011). So the numbers of one use never depend on how many another use has taken,
//! on the order of the uses, or on threads.
//!
//! ```
//! use gradus::rng::Seed;
//! let weights = Seed(7).child(3).key("weights").child("left.0.weight"); // round 3, one tensor
//! let first = weights.stream().normal();
//! assert_eq!(first, weights.stream().normal());
//! ```
//!
//! Keys are hashes: a 64-bit state `h` absorbs a word `w` as `mix(h + γ ⊕ w)`, where `mix` is the finaliser of
//! SplitMix64 and γ = 0x9E3779B97F4A7C15. Every step absorbs a tag that says what follows (text, number, round); text
//! is absorbed as its length and its bytes in words of eight, little-endian, the last one filled with zeros.

use gradus_kernels::philox::philox4x32_10;

/// The name of the way from seeds to numbers; it changes whenever any number would.
pub const RNG_VERSION: &str = "philox4x32-10/splitmix-path/1";

/// A seed, as a user writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// The key of a purpose ("weights", "shuffle", …).
    pub fn key(self, purpose: &str) -> Key {
        Key::from_state(absorb_text(absorb(0, self.0), purpose))
    }

    /// The seed of part `n` of the work, such as a round.
    #[must_use]
    pub fn child(self, n: u64) -> Seed {
        Seed(absorb(absorb(absorb(0, self.0), TAG_SEED), n))
    }
}

/// The address of a sequence of random numbers: the key of the Philox generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u32; 2]);

impl Key {
    fn from_state(h: u64) -> Self {
        Key([h as u32, (h >> 32) as u32])
    }

    fn state(self) -> u64 {
        u64::from(self.0[0]) | u64::from(self.0[1]) << 32
    }

    /// The two words that Philox takes.
    pub fn words(self) -> [u32; 2] {
        self.0
    }

    /// The key of a named part, such as the path of a parameter.
    #[must_use]
    pub fn child(self, part: &str) -> Key {
        Key::from_state(absorb_text(self.state(), part))
    }

    /// The key of a numbered part, such as an epoch.
    #[must_use]
    pub fn at(self, n: u64) -> Key {
        Key::from_state(absorb(absorb(self.state(), TAG_NUMBER), n))
    }

    /// The numbers of this key, from the first.
    pub fn stream(self) -> Stream {
        Stream { key: self, block: 0, words: [0; 4], used: 4 }
    }
}

const TAG_SEED: u64 = 1;
const TAG_TEXT: u64 = 2;
const TAG_NUMBER: u64 = 3;

/// The state of a 64-bit hash after one more word. Fixed for ever: hashes are stored in files.
pub(crate) fn absorb(state: u64, word: u64) -> u64 {
    let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15) ^ word;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The state after a text: its length keeps "ab" + "c" and "a" + "bc" apart.
pub(crate) fn absorb_text(state: u64, text: &str) -> u64 {
    let head = absorb(absorb(state, TAG_TEXT), text.len() as u64);
    text.as_bytes().chunks(8).fold(head, |h, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        absorb(h, u64::from_le_bytes(word))
    })
}

/// A reader of a key's numbers in order: the four words of counter 0, then those of counter 1, and so on.
#[derive(Clone, Debug)]
pub struct Stream {
    key: Key,
    block: u64,
    words: [u32; 4],
    used: usize,
}

impl Stream {
    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            let counter = [self.block as u32, (self.block >> 32) as u32, 0, 0];
            self.words = philox4x32_10(self.key.0, counter);
            self.block += 1;
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// The next 64 random bits: two words, the low one first.
    pub fn next_u64(&mut self) -> u64 {
        let low = u64::from(self.next_u32());
        low | u64::from(self.next_u32()) << 32
    }

    /// Uniform in [0, 1) with 53 bits; takes two words.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [0, 1) with 24 bits; takes one word.
    pub fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// Standard normal; takes four words. Box–Muller's first value, √(−2 ln(1 − u)) cos(2πv), with `libm`'s functions.
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform(), self.uniform());
        libm::sqrt(-2.0 * libm::log(1.0 - u)) * libm::cos(std::f64::consts::TAU * v)
    }

    /// Uniform in 0..n without bias (Lemire 2019: the high half of a 128-bit product, some low halves refused).
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "no number lies below 0");
        let refused = n.wrapping_neg() % n; // 2^64 mod n
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            if product as u64 >= refused {
                return (product >> 64) as u64;
            }
        }
    }
}

/// A random order of 0..n.
pub fn permutation(key: Key, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    permute(key, &mut order);
    order
}

/// Brings the items into a random order (Fisher–Yates from the end); allocates nothing.
pub fn permute<T>(key: Key, items: &mut [T]) {
    let mut stream = key.stream();
    for i in (1..items.len()).rev() {
        items.swap(i, stream.below(i as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_pinned() {
        // Stored studies depend on these: whoever changes one must change RNG_VERSION. The numbers come from a Python
        // script that follows the definition above and shares no code with it; Philox itself is pinned to the vectors
        // of its authors in gradus-kernels.
        assert_eq!(RNG_VERSION, "philox4x32-10/splitmix-path/1");
        assert_eq!(absorb(0, 0), 0xE220_A839_7B1D_CDAF); // SplitMix64's first number from state 0
        let key = Seed(7).key("weights");
        assert_eq!(key.words(), [357_122_317, 156_100_276]);
        assert_eq!(key.child("left.0.weight").words(), [1_933_752_395, 429_981_891]);
        assert_eq!(key.at(3).words(), [1_253_982_055, 420_386_073]);
        assert_eq!(Seed(7).child(3), Seed(15_212_601_872_414_689_185));
        let mut s = key.stream();
        let five = [261_902_170, 2_254_008_830, 572_686_226, 2_347_423_038, 1_149_652_444];
        assert_eq!([(); 5].map(|()| s.next_u32()), five);
        assert_eq!(key.stream().next_u64(), 0x8659_71fe_0f9c_4f5a);
        assert_eq!(key.stream().uniform(), 0.524_802_326_704_603_3);
        assert_eq!(key.stream().uniform_f32(), 0.060_978_83);
        assert_eq!(key.stream().normal(), -1.168_045_674_796_334_4);
        assert_eq!(permutation(key, 8), [6, 2, 7, 1, 5, 0, 3, 4]);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        // 400,000 numbers: five standard errors of each mean.
        let n = 400_000;
        let check = |what: &str, draw: &mut dyn FnMut() -> f64, mean: f64, variance: f64, fourth: f64| {
            let x: Vec<f64> = (0..n).map(|_| draw()).collect();
            let m = x.iter().sum::<f64>() / n as f64;
            let v = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            let se = |var: f64| 5.0 * (var / n as f64).sqrt();
            assert!((m - mean).abs() < se(variance), "{what}: mean {m}");
            assert!((v - variance).abs() < se(fourth - variance * variance), "{what}: variance {v}");
        };
        let (mut a, mut b, mut c, mut d) = ["a", "b", "c", "d"].map(|p| Seed(1).key(p).stream()).into();
        check("uniform", &mut || a.uniform(), 0.5, 1.0 / 12.0, 1.0 / 80.0);
        check("uniform_f32", &mut || f64::from(b.uniform_f32()), 0.5, 1.0 / 12.0, 1.0 / 80.0);
        check("normal", &mut || c.normal(), 0.0, 1.0, 3.0);
        check("below 3", &mut || d.below(3) as f64, 1.0, 2.0 / 3.0, 2.0 / 3.0);
    }

    #[test]
    fn normals_have_the_tails_of_the_normal_distribution() {
        let n = 1_000_000;
        let mut s = Seed(2).key("tails").stream();
        let mut beyond = [0.0f64; 4];
        for _ in 0..n {
            let z = s.normal().abs();
            (0..4).for_each(|k| beyond[k] += f64::from(u8::from(z > k as f64 + 1.0)));
        }
        for (count, p) in beyond.iter().zip([0.317_310_5, 0.045_500_26, 0.002_699_796, 6.334_248e-5]) {
            let expected = p * n as f64;
            assert!((count - expected).abs() < 5.0 * expected.sqrt(), "{count} for {expected}");
        }
    }

    #[test]
    fn permutations_are_uniform() {
        // All 24 orders of 4, and every (item, place) of 10: chi-square below its 1 - 1e-6 quantile.
        let chi = |counts: &[u32], expected: f64| -> f64 {
            counts.iter().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum()
        };
        let key = Seed(3).key("orders");
        let mut orders = std::collections::BTreeMap::new();
        let mut places = [0; 100];
        for round in 0..24_000 {
            *orders.entry(permutation(key.at(round), 4)).or_insert(0) += 1;
            let p = permutation(key.child("ten").at(round), 10);
            p.iter().enumerate().for_each(|(place, item)| places[place * 10 + item] += 1);
        }
        assert_eq!(orders.len(), 24);
        let orders: Vec<u32> = orders.into_values().collect();
        assert!(chi(&orders, 1000.0) < 70.5, "{}", chi(&orders, 1000.0)); // 23 degrees of freedom
        assert!(chi(&places, 2400.0) < 157.0, "{}", chi(&places, 2400.0)); // 81
        for n in [0, 1, 2, 1000] {
            let mut p = permutation(key, n);
            p.sort_unstable();
            assert!(p.into_iter().eq(0..n));
        }
    }

    #[test]
    fn below_reaches_everything_and_nothing_else() {
        let mut s = Seed(4).key("below").stream();
        let mut seen = [false; 7];
        (0..200).for_each(|_| seen[s.below(7) as usize] = true);
        assert_eq!(seen, [true; 7]);
        assert_eq!(s.below(1), 0);
        let n = (1 << 63) + 1; // almost half of the low halves are refused
        assert!((0..1000).all(|_| s.below(n) < n));
    }

    #[test]
    #[should_panic(expected = "no number lies below 0")]
    fn below_zero_panics() {
        Seed(0).key("").stream().below(0);
    }

    #[test]
    fn every_path_has_numbers_of_its_own() {
        let mut keys = std::collections::HashSet::new();
        let mut add = |key: Key| assert!(keys.insert(key.words()), "{key:?} twice");
        for seed in 0..50 {
            for seed in [Seed(seed), Seed(seed).child(0), Seed(seed).child(1), Seed(seed).child(0).child(0)] {
                for purpose in ["", "\0", "a", "b", "ab", "weights", "weights-and-more"] {
                    let key = seed.key(purpose);
                    add(key);
                    for part in ["", "a", "b", "0", "left.0.weight", "left.1.weight"] {
                        add(key.child(part));
                        add(key.child(part).at(1));
                    }
                    (0..10).for_each(|n| add(key.at(n)));
                }
            }
        }
        let key = Seed(1).key("x");
        assert_ne!(key.child("ab").child("c"), key.child("a").child("bc"));
        assert_ne!(key.at(1).at(2), key.at(2).at(1));
    }

    #[test]
    fn streams_of_neighbouring_keys_are_uncorrelated() {
        let n = 20_000;
        let draw = |key: Key| -> Vec<f64> {
            let mut s = key.stream();
            (0..n).map(|_| s.uniform() - 0.5).collect()
        };
        let key = Seed(5).key("neighbours");
        let streams: Vec<_> = (0..8).map(|i| draw(key.at(i))).chain([draw(Seed(6).key("neighbours"))]).collect();
        for (i, a) in streams.iter().enumerate() {
            for b in &streams[..i] {
                let r = 12.0 * a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / n as f64;
                assert!(r.abs() < 5.0 / (n as f64).sqrt(), "correlation {r}");
            }
        }
    }

    #[test]
    fn streams_do_not_depend_on_each_other() {
        let key = Seed(9).key("order");
        let take = |s: &mut Stream| (s.next_u32(), s.uniform(), s.normal(), s.below(10));
        let (mut a, mut b) = (key.at(0).stream(), key.at(1).stream());
        let alone: Vec<_> = (0..9).map(|_| take(&mut a)).collect();
        let mut a = key.at(0).stream();
        let among: Vec<_> = (0..9).map(|_| (take(&mut b), take(&mut a)).1).collect();
        assert_eq!(alone, among);
    }
}
