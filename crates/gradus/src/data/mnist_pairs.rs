//! Pairs of digits: which of the two is larger (report R4)?

use indexmap::IndexMap;
use ndarray::{Array1, Array2, Array4, s};

use super::mnist::digit_names;
use super::{Dataset, Digits, Split, Target};
use crate::rng::{Key, Seed, permutation};
use crate::{Result, fail};

/// The names of the arrays.
pub(super) const PAIR: &str = "pair";
pub(super) const LARGER: &str = "larger";
pub(super) const DIGITS: &str = "digits";

/// The class of two digits in the target "larger".
pub(super) fn larger([first, second]: [u32; 2]) -> u32 {
    u32::from(first > second)
}

/// Pairs of different digits, drawn from two pools without replacement: no image is used twice.
///
/// Input "pair" (N, 2, 14, 14): images averaged 2×2, of values 0 to 255. Target "larger" (N): class 1, "first is
/// larger", or class 0, "first is smaller". Target "digits" (N, 2): the two digits, of classes "0" to "9".
pub fn generate_pair_sets(
    train_pool: &Digits,
    test_pool: &Digits,
    n_train: usize,
    n_test: usize,
    seed: Seed,
) -> Result<Split> {
    let part = |what: &str, pool: &Digits, n: usize, key: Key| -> Result<Dataset> {
        let most = capacity(&pool.labels);
        if n == 0 || n > most {
            let images = pool.len();
            fail!(Argument, "mnist-pairs: {n} {what} pairs; the pool of {images} images can give 1 to {most}");
        }
        pairs(pool, &draw(&pool.labels, n, key))
    };
    Split::new(
        part("training", train_pool, n_train, seed.key("mnist-pairs.train"))?,
        None,
        part("test", test_pool, n_test, seed.key("mnist-pairs.test"))?,
        "mnist-pairs",
        Some(format!(
            "pairs of different digits, no image twice, drawn from pools of {} and {} images",
            train_pool.len(),
            test_pool.len()
        )),
    )
}

/// The most pairs of different digits that use no image twice: half of the images, or fewer when more than half of
/// them show one digit.
fn capacity(labels: &Array1<u8>) -> usize {
    let most_frequent = (0..10).map(|d| labels.iter().filter(|l| **l == d).count()).max().unwrap_or(0);
    (labels.len() / 2).min(labels.len() - most_frequent)
}

/// `n` pairs of images with different labels, for any `n` up to [`capacity`].
///
/// The images are taken in a random order, two by two, and pairs of equal digits are put aside: this alone gives about
/// 0.45 N pairs. Who asks for more gets pairs made of those put aside, and at last those that split an earlier pair.
fn draw(labels: &Array1<u8>, n: usize, key: Key) -> Vec<[usize; 2]> {
    let differ = |i: usize, j: usize| labels[i] != labels[j];
    let (mut pairs, mut aside) = (Vec::with_capacity(n), Vec::new());
    for two in permutation(key, labels.len()).chunks(2) {
        match *two {
            _ if pairs.len() == n => return pairs,
            [i, j] if differ(i, j) => pairs.push([i, j]),
            _ => aside.extend_from_slice(two),
        }
    }
    let mut alike = Vec::new(); // of one digit at any time
    for i in aside {
        match alike.pop() {
            Some(j) if differ(i, j) => pairs.push([j, i]),
            same => alike.extend(same.into_iter().chain([i])),
        }
    }
    let mut next = 0;
    while pairs.len() < n {
        let (Some(i), Some(j)) = (alike.pop(), alike.pop()) else { unreachable!("the capacity counts these pairs") };
        while !differ(pairs[next][0], i) || !differ(pairs[next][1], i) {
            next += 1;
        }
        let [k, l] = pairs[next];
        pairs[next] = [i, k];
        pairs.push([l, j]);
    }
    pairs.truncate(n);
    pairs
}

fn pairs(pool: &Digits, pairs: &[[usize; 2]]) -> Result<Dataset> {
    let n = pairs.len();
    let mut images = Array4::zeros((n, 2, 14, 14));
    for (k, pair) in pairs.iter().enumerate() {
        for (side, &i) in pair.iter().enumerate() {
            let mut image = images.slice_mut(s![k, side, .., ..]);
            pool.write_small(i, image.as_slice_mut().expect("one image of an array in C order"));
        }
    }
    let digits = Array2::from_shape_fn((n, 2), |(k, side)| u32::from(pool.labels[pairs[k][side]]));
    let answers: Array1<u32> = digits.rows().into_iter().map(|d| larger([d[0], d[1]])).collect();
    let names = ["first is smaller", "first is larger"].map(String::from).to_vec();
    Dataset::new(
        IndexMap::from([(PAIR.into(), images.into_dyn())]),
        IndexMap::from([
            (LARGER.into(), Target::Classes { labels: answers.into_dyn(), names }),
            (DIGITS.into(), Target::Classes { labels: digits.into_dyn(), names: digit_names() }),
        ]),
    )
}

#[cfg(test)]
mod tests {
    use super::super::mnist::tests::{embedded, plain};
    use super::*;
    use ndarray::{Array3, ArrayD, Axis};
    use std::collections::HashSet;

    fn labels<'a>(data: &'a Dataset, target: &str) -> (&'a ArrayD<u32>, &'a [String]) {
        match &data.targets[target] {
            Target::Classes { labels, names } => (labels, names),
            Target::Values(_) => panic!("{target} has classes"),
        }
    }

    #[test]
    fn pairs_say_which_digit_is_larger() {
        let (train_pool, test_pool) = embedded();
        let split = generate_pair_sets(&train_pool, &test_pool, 1000, 1000, Seed(1)).unwrap();
        let schema = "pair 2x14x14 -> larger (2 classes), digits (2 of 10 classes)";
        for (data, pool) in [(&split.train, &train_pool), (&split.test, &test_pool)] {
            assert_eq!((data.len(), data.schema().to_string()), (1000, schema.to_string()));
            let (larger, names) = labels(data, "larger");
            let (digits, _) = labels(data, "digits");
            for (d, l) in digits.outer_iter().zip(larger) {
                let truth = if d[0] > d[1] { "first is larger" } else { "first is smaller" };
                assert_eq!(names[*l as usize], truth);
                assert_ne!(d[0], d[1]);
            }
            // Each image, found again in the pool, has the digit's label, and none is used twice.
            let mut pool_images = std::collections::HashMap::new();
            let mut small = vec![0.0; 196];
            for i in 0..pool.len() {
                pool.write_small(i, &mut small);
                pool_images.insert(small.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), pool.labels[i]);
            }
            assert_eq!(pool_images.len(), pool.len());
            for (pair, d) in data.inputs["pair"].outer_iter().zip(digits.outer_iter()) {
                for side in 0..2 {
                    let image: Vec<u32> = pair.index_axis(Axis(0), side).iter().map(|x| x.to_bits()).collect();
                    let label = pool_images.remove(&image).expect("an image of the pool, for the first time");
                    assert_eq!(u32::from(label), d[side]);
                }
            }
        }
    }

    #[test]
    fn the_draw_is_fair() {
        // Over 40 rounds: either side is the larger as often, and (a, b) comes as often as p(a) p(b) says.
        let (pool, _) = embedded();
        let counts: Vec<f64> =
            (0..10).map(|d| pool.labels.iter().filter(|l| **l == d).count() as f64 / 6000.0).collect();
        let (mut pairs, mut larger) = (ndarray::Array2::<f64>::zeros((10, 10)), 0.0);
        for round in 0..40 {
            for [i, j] in draw(&pool.labels, 1000, Seed(1).child(round).key("pairs")) {
                let (a, b) = (pool.labels[i], pool.labels[j]);
                pairs[[a as usize, b as usize]] += 1.0;
                larger += f64::from(u8::from(a > b));
            }
        }
        assert!((larger - 20_000.0f64).abs() < 5.0 * 100.0, "{larger}");
        let same: f64 = counts.iter().map(|p| p * p).sum();
        let chi: f64 = pairs
            .indexed_iter()
            .filter(|((a, b), _)| a != b)
            .map(|((a, b), n)| {
                let expected = 40_000.0 * counts[a] * counts[b] / (1.0 - same);
                (n - expected).powi(2) / expected
            })
            .sum();
        assert!(chi < 170.0, "{chi}"); // 89 degrees of freedom: 1 - 1e-6
    }

    #[test]
    fn a_pool_gives_all_the_pairs_it_has() {
        // From even classes to one that has almost all images.
        let pools: [&[usize]; 8] =
            [&[5; 10], &[30, 1, 1], &[20, 20], &[20, 21], &[1, 1], &[7, 3, 3, 1], &[40, 39, 1], &[3, 3, 2]];
        for counts in pools {
            let labels: Array1<u8> = counts.iter().enumerate().flat_map(|(d, n)| vec![d as u8; *n]).collect();
            let most = capacity(&labels);
            for (seed, n) in (0..50).flat_map(|seed| [(seed, most), (seed, most / 2)]) {
                let pairs = draw(&labels, n, Seed(seed).key("capacity"));
                assert_eq!(pairs.len(), n);
                assert!(pairs.iter().all(|[i, j]| labels[*i] != labels[*j]));
                assert_eq!(pairs.iter().flatten().collect::<HashSet<_>>().len(), 2 * n);
            }
        }
        let of = |labels: &[u8]| capacity(&Array1::from(labels.to_vec()));
        assert_eq!((of(&[1, 1, 1, 2]), of(&[1, 1, 1]), of(&[1, 2, 3]), of(&[1, 2, 1, 2])), (1, 0, 1, 2));
    }

    #[test]
    fn rounds_differ_and_seeds_repeat() {
        let (train, test) = (plain(100), plain(60));
        let hash = |seed| generate_pair_sets(&train, &test, 20, 20, seed).unwrap().info.hash;
        assert_eq!(hash(Seed(1)), hash(Seed(1)));
        let hashes: HashSet<String> = (0..20).map(|round| hash(Seed(1).child(round))).collect();
        assert_eq!(hashes.len(), 20);
        let (train, test) = embedded();
        let split = generate_pair_sets(&train, &test, 1000, 1000, Seed(2021)).unwrap();
        assert_eq!(split.info.hash, "eece179a34fe6468"); // as a script in Python has it
    }

    #[test]
    fn a_pool_that_is_too_small_says_what_it_can_give() {
        let (train, test) = (plain(100), plain(60));
        let error = |n, m| generate_pair_sets(&train, &test, n, m, Seed(1)).unwrap_err().to_string();
        assert_eq!(error(51, 10), "mnist-pairs: 51 training pairs; the pool of 100 images can give 1 to 50");
        assert_eq!(error(50, 31), "mnist-pairs: 31 test pairs; the pool of 60 images can give 1 to 30");
        assert_eq!(error(0, 1), "mnist-pairs: 0 training pairs; the pool of 100 images can give 1 to 50");
        generate_pair_sets(&train, &test, 50, 30, Seed(1)).unwrap();
        let none = Digits { images: Array3::zeros((0, 28, 28)).into(), labels: Array1::zeros(0) };
        assert!(generate_pair_sets(&none, &test, 1, 1, Seed(1)).is_err());
    }
}
