//! The MNIST digits: whole images, one by one.

use std::path::Path;

use indexmap::IndexMap;
use ndarray::{ArcArray, Array1, Array3, Array4, Axis, Ix3, s};

use super::idx::{read_images, read_images_file, read_labels, read_labels_file};
use super::{Dataset, Split, Target};
use crate::rng::{Key, Seed, permutation};
use crate::{Error, Result, fail};

/// Images of handwritten digits and what they show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digits {
    /// Grey levels (N, 28, 28): 0 is background. Pools of one array share it.
    pub images: ArcArray<u8, Ix3>,
    /// Digits (N): 0 to 9.
    pub labels: Array1<u8>,
}

const PARTS: [&str; 2] = ["train", "t10k"];

impl Digits {
    /// Digits from images (N, 28, 28) and their labels (N), checked.
    pub fn new(images: Array3<u8>, labels: Array1<u8>) -> Result<Self> {
        let (n, height, width) = images.dim();
        if (height, width) != (28, 28) {
            fail!(Data, "images of {height}x{width} pixels; digits have 28x28");
        }
        if n != labels.len() {
            fail!(Data, "{n} images, but {} labels", labels.len());
        }
        if let Some((i, label)) = labels.indexed_iter().find(|(_, label)| **label > 9) {
            fail!(Data, "label {i} is {label}; digits are 0 to 9");
        }
        Ok(Digits { images: images.into(), labels })
    }

    /// The training and the test digits of a folder with the four MNIST files, `train-images-idx3-ubyte` and so on;
    /// each may end in `.gz`, and may have a dot before `idx`.
    pub fn from_dir(dir: &Path) -> Result<(Digits, Digits)> {
        if !dir.is_dir() {
            let what = if dir.exists() { "not a folder" } else { "no such folder" };
            fail!(File, "{}: {what}; expected one with MNIST's four files", dir.display());
        }
        let find = |part: &str, what: &str, kind: &str| {
            let names = ["-", "."].map(|dot| format!("{part}-{what}{dot}{kind}-ubyte"));
            let mut paths = names.iter().flat_map(|name| [dir.join(name), dir.join(format!("{name}.gz"))]);
            match paths.find(|path| path.is_file()) {
                Some(path) => Ok(path),
                None => fail!(
                    File,
                    "{}: neither {} nor {} is there, with or without .gz",
                    dir.display(),
                    names[0],
                    names[1]
                ),
            }
        };
        let [train, test] = PARTS.map(|part| {
            let (images_path, labels_path) = (find(part, "images", "idx3")?, find(part, "labels", "idx1")?);
            let (images, labels) = (read_images_file(&images_path)?, read_labels_file(&labels_path)?);
            let (path, n) = (labels_path.display(), images.dim().0);
            if n != labels.len() {
                fail!(File, "{path}: {} labels, but {} has {n} image(s)", labels.len(), images_path.display());
            }
            if let Some((i, label)) = labels.indexed_iter().find(|(_, label)| **label > 9) {
                fail!(File, "{path}: byte {}: label {label}, expected a digit from 0 to 9", 8 + i);
            }
            Digits::new(images, labels).map_err(|e| e.at(format_args!("{}: {part}", dir.display())))
        });
        Ok((train?, test?))
    }

    /// The embedded digits, as two pools that share no image: the first 6,000 for training, the last 4,000 for tests.
    ///
    /// The arguments are `gradus_data::TRAIN_IMAGES` and `gradus_data::TRAIN_LABELS`.
    pub fn embedded(images_gz: &[u8], labels_gz: &[u8]) -> Result<(Digits, Digits)> {
        let images = read_images(images_gz, "the embedded images")?;
        let labels = read_labels(labels_gz, "the embedded labels")?;
        let all = Digits::new(images, labels)?;
        if all.len() != 10_000 {
            fail!(Data, "{} embedded digits; they are 10000", all.len());
        }
        let part = |range: std::ops::Range<usize>| Digits {
            images: all.images.clone().slice_move(s![range.clone(), .., ..]),
            labels: all.labels.slice(s![range]).to_owned(),
        };
        Ok((part(0..6000), part(6000..10_000)))
    }

    /// N, the number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes image `i`, averaged 2×2 down to 14×14, into 196 values from 0 to 255.
    pub(super) fn write_small(&self, i: usize, out: &mut [f32]) {
        let image = self.images.index_axis(Axis(0), i);
        for (out, block) in out.iter_mut().zip(image.exact_chunks((2, 2))) {
            *out = block.iter().map(|&p| f32::from(p)).sum::<f32>() / 4.0; // exact: at most 1020 quarters
        }
    }
}

/// The names of the ten classes: "0" to "9".
pub(super) fn digit_names() -> Vec<String> {
    (0..10).map(|d| d.to_string()).collect()
}

/// Single digits, drawn without replacement from two pools: input "image" (N, 1, `side`, `side`) of values 0 to 255,
/// target "digit" of ten classes. `side` is 28, or 14 for images averaged 2×2.
pub fn mnist(
    train_pool: &Digits,
    test_pool: &Digits,
    n_train: usize,
    n_test: usize,
    side: usize,
    seed: Seed,
) -> Result<Split> {
    let part = |what: &str, pool: &Digits, n: usize, key: Key| -> Result<Dataset> {
        if n == 0 || n > pool.len() {
            fail!(Argument, "mnist: {n} {what} images; the pool can give 1 to {}", pool.len());
        }
        let mut images = Array4::zeros((n, 1, side, side));
        let mut labels = Array1::zeros(n);
        for (k, i) in permutation(key, pool.len()).into_iter().take(n).enumerate() {
            let mut image = images.slice_mut(s![k, 0, .., ..]);
            match side {
                28 => image.assign(&pool.images.index_axis(Axis(0), i).mapv(f32::from)),
                _ => pool.write_small(i, image.as_slice_mut().expect("one image of an array in C order")),
            }
            labels[k] = u32::from(pool.labels[i]);
        }
        let target = Target::Classes { labels: labels.into_dyn(), names: digit_names() };
        Dataset::new(IndexMap::from([("image".into(), images.into_dyn())]), IndexMap::from([("digit".into(), target)]))
    };
    if side != 28 && side != 14 {
        fail!(Argument, "mnist: images of {side}x{side}; they are 28x28 or 14x14");
    }
    Split::new(
        part("training", train_pool, n_train, seed.key("mnist.train"))?,
        None,
        part("test", test_pool, n_test, seed.key("mnist.test"))?,
        "mnist",
        Some(format!("digits drawn from pools of {} and {} images", train_pool.len(), test_pool.len())),
    )
    .map_err(|e: Error| e.at("mnist"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::idx::tests::{gz, idx};
    use super::*;
    use crate::files::tests::Folder;

    pub(crate) fn embedded() -> (Digits, Digits) {
        Digits::embedded(gradus_data::TRAIN_IMAGES, gradus_data::TRAIN_LABELS).unwrap()
    }

    /// Images of labels 0 to 9 in turn; every pixel of image i is i mod 256.
    pub(crate) fn plain(n: usize) -> Digits {
        let images = Array3::from_shape_fn((n, 28, 28), |(i, ..)| i as u8);
        Digits::new(images, (0..n).map(|i| (i % 10) as u8).collect()).unwrap()
    }

    #[test]
    fn the_embedded_digits_are_mnist() {
        let (train, test) = embedded();
        assert_eq!((train.len(), test.len()), (6000, 4000));
        let mut counts = [0; 10];
        train.labels.iter().chain(&test.labels).for_each(|l| counts[*l as usize] += 1);
        assert_eq!(counts, [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]); // of MNIST's first 10,000
        let pixels = || train.images.iter().chain(&test.images).map(|p| f64::from(*p) / 255.0);
        let mean = pixels().sum::<f64>() / pixels().count() as f64;
        assert!((mean - 0.13113).abs() < 1e-5, "{mean}"); // shared/data/README.md
        let images: std::collections::HashSet<_> =
            train.images.outer_iter().chain(test.images.outer_iter()).map(|i| i.to_owned()).collect();
        assert_eq!(images.len(), 10_000, "no image is there twice");
    }

    #[test]
    fn a_folder_of_mnist_files_is_read_by_any_of_their_names() {
        let folder = Folder::new("mnist");
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.0.join(name), bytes).unwrap();
        let error = Digits::from_dir(&folder.0).unwrap_err().to_string();
        let expected = "neither train-images-idx3-ubyte nor train-images.idx3-ubyte is there, with or without .gz";
        assert!(error.ends_with(expected), "{error}");
        write("train-images-idx3-ubyte.gz", &gz(&idx(&[2, 28, 28], &[9; 2 * 784])));
        write("train-labels.idx1-ubyte", &idx(&[2], &[3, 4]));
        write("t10k-images.idx3-ubyte", &idx(&[1, 28, 28], &[8; 784]));
        write("t10k-labels-idx1-ubyte", &idx(&[1], &[5]));
        let (train, test) = Digits::from_dir(&folder.0).unwrap();
        assert_eq!((train.labels.to_vec(), test.labels.to_vec()), (vec![3, 4], vec![5]));
        assert!(train.images.iter().all(|p| *p == 9) && test.images.iter().all(|p| *p == 8));

        for (bytes, expected) in [
            (idx(&[2], &[3, 4]), "t10k-labels-idx1-ubyte: 2 labels, but"),
            (idx(&[1], &[10]), "t10k-labels-idx1-ubyte: byte 8: label 10, expected a digit from 0 to 9"),
        ] {
            write("t10k-labels-idx1-ubyte", &bytes);
            let error = Digits::from_dir(&folder.0).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        write("t10k-labels-idx1-ubyte", &idx(&[1], &[5]));
        write("t10k-images.idx3-ubyte", &idx(&[1, 28, 27], &[8; 756]));
        let error = Digits::from_dir(&folder.0).unwrap_err().to_string();
        assert!(error.ends_with("t10k: images of 28x27 pixels; digits have 28x28"), "{error}");
    }

    #[test]
    fn small_images_are_means_of_four_pixels() {
        let (digits, _) = embedded();
        let mut small = [0.0; 196];
        for i in [0, 1, 5999] {
            digits.write_small(i, &mut small);
            for (k, value) in small.iter().enumerate() {
                let (y, x) = (2 * (k / 14), 2 * (k % 14));
                let sum: u32 = [(0, 0), (0, 1), (1, 0), (1, 1)]
                    .iter()
                    .map(|(a, b)| u32::from(digits.images[[i, y + a, x + b]]))
                    .sum();
                assert_eq!(f64::from(*value), f64::from(sum) / 4.0);
            }
        }
    }

    #[test]
    fn single_digits_are_drawn_without_replacement() {
        let (train, test) = (plain(200), plain(100));
        for side in [28, 14] {
            let split = mnist(&train, &test, 200, 30, side, Seed(1)).unwrap();
            let expected = format!("image 1x{side}x{side} -> digit (10 classes)");
            assert_eq!(split.test.schema().to_string(), expected);
            let Target::Classes { labels, .. } = &split.train.targets["digit"] else { panic!("classes") };
            let images = &split.train.inputs["image"];
            let mut drawn: Vec<usize> = images.outer_iter().map(|i| i[[0, side - 1, 0]] as usize).collect();
            assert!(drawn.iter().zip(labels).all(|(i, l)| i % 10 == *l as usize));
            assert!(!drawn.is_sorted());
            drawn.sort_unstable();
            assert!(drawn.into_iter().eq(0..200));
        }
        assert_ne!(
            mnist(&train, &test, 9, 9, 28, Seed(1)).unwrap().info.hash,
            mnist(&train, &test, 9, 9, 28, Seed(2)).unwrap().info.hash
        );
        for (n_test, side, expected) in [
            (101, 28, "mnist: 101 test images; the pool can give 1 to 100"),
            (0, 28, "mnist: 0 test images; the pool can give 1 to 100"),
            (9, 27, "mnist: images of 27x27; they are 28x28 or 14x14"),
        ] {
            assert_eq!(mnist(&train, &test, 9, n_test, side, Seed(1)).unwrap_err().to_string(), expected);
        }
    }
}
