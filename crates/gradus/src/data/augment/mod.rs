//! Augmentation: training samples that are changed at random, and whose answer stays known.
//!
//! A transform changes one sample in place; a list of them is applied in order. Names and arguments are
//! `torchvision.transforms`' where it has them. Every sample of every epoch has draws of its own, keyed by (seed, epoch,
//! row, transform), so they depend on no batch, no order and no thread. Evaluations see the samples as they are.
//!
//! To add one: a new file beside the others, its `DEF`, one line in [`TRANSFORMS`].

mod affine;
mod crop;
mod elastic;
mod erasing;
mod pairs;

use std::fmt::Debug;

pub use affine::RandomAffine;
pub use crop::RandomCrop;
pub use elastic::ElasticTransform;
pub use erasing::RandomErasing;
pub use pairs::{RandomPairs, RandomSwap};

use super::{Batch, Dataset, Normalisation, Schema, Target};
use crate::layers::shape_text;
use crate::rng::{Key, Stream};
use crate::spec::{ArgDef, ArgKind, Args, Def, Spec, find, optional};
use crate::{Result, fail};

/// Every transform that can be named in a file, in the order `gradus help` shows them.
pub static TRANSFORMS: &[&Def<dyn Transform>] = &[
    &RandomAffine::DEF,
    &RandomCrop::DEF,
    &ElasticTransform::DEF,
    &RandomErasing::DEF,
    &RandomSwap::DEF,
    &RandomPairs::DEF,
];

/// A random change of one sample.
pub trait Transform: Debug + Send + Sync {
    /// The transform as written.
    fn spec(&self) -> Spec;

    /// Whether it can change samples of this kind.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config), with what it wants and what there is.
    fn check(&self, schema: &Schema) -> Result<()>;

    /// Numbers of scratch it needs for a picture of this height and width.
    fn scratch(&self, _height: usize, _width: usize) -> usize {
        0
    }

    /// Changes the sample; allocates nothing.
    fn apply(&self, sample: &mut Sample<'_>, draw: &mut Stream);
}

/// Makes a transform.
///
/// # Errors
/// When there is none of that name, or its arguments do not fit.
pub fn transform(spec: &Spec) -> Result<Box<dyn Transform>> {
    find(TRANSFORMS, "transform", &spec.name)?.build(spec)
}

/// A sample on its way into a batch.
#[derive(Debug)]
pub struct Sample<'a> {
    /// What it was taken from, unchanged.
    pub data: &'a Dataset,
    /// Its row there.
    pub row: usize,
    /// Where it goes, and the row there.
    into: &'a mut Dataset,
    at: usize,
    scratch: &'a mut [f32],
    black: &'a [f32],
}

/// A picture of a sample: planes of `height` × `width` pixels that change alike.
#[derive(Debug)]
pub struct Picture<'a> {
    /// Rows of a plane.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// All planes, one after another.
    pub pixels: &'a mut [f32],
    /// As many numbers as [`Transform::scratch`] asked for.
    pub scratch: &'a mut [f32],
    /// What black is: 0 as the network reads it.
    pub black: f32,
}

impl Sample<'_> {
    /// Hands over every picture of the sample: an input (C, H, W), or each of its channels when they are pictures of their
    /// own.
    fn pictures(&mut self, per_channel: bool, mut change: impl FnMut(Picture<'_>)) {
        for (i, input) in self.into.inputs.values_mut().enumerate() {
            let &[_, channels, height, width] = input.shape() else { continue };
            let size = height * width * if per_channel { 1 } else { channels };
            for pixels in numbers(input, self.at).chunks_exact_mut(size) {
                change(Picture { height, width, pixels, scratch: self.scratch, black: self.black[i] });
            }
        }
    }

    /// The numbers of an input, to change.
    fn input(&mut self, name: &str) -> &mut [f32] {
        numbers(&mut self.into.inputs[name], self.at)
    }

    /// The labels of a target of classes, to change.
    fn labels(&mut self, name: &str) -> &mut [u32] {
        match &mut self.into.targets[name] {
            Target::Classes { labels, .. } => numbers(labels, self.at),
            Target::Values(_) => unreachable!("checked: it has classes"),
        }
    }
}

/// The numbers of a row.
fn numbers<T>(array: &mut ndarray::ArrayD<T>, row: usize) -> &mut [T] {
    let size = array.len() / array.shape()[0];
    &mut array.as_slice_mut().expect("a data set's arrays are in C order")[row * size..][..size]
}

/// The same of an array that stays as it is.
fn numbers_of<T>(array: &ndarray::ArrayD<T>, row: usize) -> &[T] {
    let size = array.len() / array.shape()[0];
    &array.as_slice().expect("a data set's arrays are in C order")[row * size..][..size]
}

/// What transforms of pictures say of data without one.
fn pictures(name: &str, schema: &Schema) -> Result<()> {
    if schema.inputs.values().any(|i| i.shape.len() == 3) {
        return Ok(());
    }
    let found: Vec<String> = schema.inputs.iter().map(|(n, i)| format!("`{n}` {}", shape_text(&i.shape))).collect();
    fail!(Config, "{name} changes images (channels, height, width); the data have {}", found.join(", "))
}

/// The argument that tells a stack of pictures from a picture in colours.
const PER_CHANNEL: ArgDef = optional(
    "per_channel",
    ArgKind::Flag,
    "false",
    "each channel is a picture of its own, with draws of its own: pairs of images",
);

/// A probability.
fn probability(a: &Args, of: &str) -> Result<f64> {
    let p = a.number("p");
    if !(0.0..=1.0).contains(&p) {
        fail!(Argument, "{of}: `p` is a probability from 0 to 1, found {p}");
    }
    Ok(p)
}

/// A list of transforms with room for a batch of changed samples.
#[derive(Debug)]
pub struct Augment {
    /// Each with its name, and how many of that name stand before it.
    transforms: Vec<(Box<dyn Transform>, String, u64)>,
    room: Dataset,
    scratch: Vec<f32>,
    black: Vec<f32>,
}

impl Augment {
    /// For batches of up to `batch` samples of `data`; `normalisation` says what black became.
    ///
    /// # Errors
    /// When a transform is unknown, its arguments do not fit, or the data have nothing that it changes.
    pub fn new(specs: &[Spec], data: &Dataset, normalisation: Option<&Normalisation>, batch: usize) -> Result<Augment> {
        let schema = data.schema();
        let mut transforms: Vec<(Box<dyn Transform>, String, u64)> = Vec::new();
        for spec in specs {
            let made = transform(spec)?;
            made.check(&schema)?;
            let before = transforms.iter().filter(|(_, name, _)| *name == spec.name).count() as u64;
            transforms.push((made, spec.name.clone(), before));
        }
        let sizes =
            schema.inputs.values().filter_map(|i| if let [_, h, w] = i.shape[..] { Some((h, w)) } else { None });
        let scratch = sizes.flat_map(|(h, w)| transforms.iter().map(move |(t, ..)| t.scratch(h, w))).max().unwrap_or(0);
        let black = |name: &String| normalisation.and_then(|n| n.of(name)).map_or(0.0, |s| s.scaled(0.0, 0));
        Ok(Augment {
            transforms,
            room: data.select(&vec![0; batch]),
            scratch: vec![0.0; scratch],
            black: schema.inputs.keys().map(black).collect(),
        })
    }

    /// The samples `rows` of `data`, changed by the draws of `key`: that of a seed and an epoch. Allocates nothing.
    ///
    /// # Panics
    /// When there are more rows than there is room for, or the data are of another kind.
    pub fn batch<'b>(&'b mut self, data: &Dataset, rows: &[u32], key: Key) -> Batch<'b> {
        for (at, &row) in rows.iter().enumerate() {
            let row = row as usize;
            for (name, array) in &mut self.room.inputs {
                numbers(array, at).copy_from_slice(numbers_of(&data.inputs[name], row));
            }
            for (name, target) in &mut self.room.targets {
                match (target, &data.targets[name]) {
                    (Target::Classes { labels, .. }, Target::Classes { labels: from, .. }) => {
                        numbers(labels, at).copy_from_slice(numbers_of(from, row));
                    }
                    (Target::Values(values), Target::Values(from)) => {
                        numbers(values, at).copy_from_slice(numbers_of(from, row));
                    }
                    _ => unreachable!("the room is a copy of the data"),
                }
            }
            let mut sample =
                Sample { data, row, into: &mut self.room, at, scratch: &mut self.scratch, black: &self.black };
            for (transform, name, before) in &self.transforms {
                transform.apply(&mut sample, &mut key.at(row as u64).child(name).at(*before).stream());
            }
        }
        self.room.range(0..rows.len())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::Split;
    use crate::data::mnist::tests::embedded;
    use crate::data::mnist_pairs::generate_pair_sets;
    use crate::rng::Seed;
    use ndarray::{Array1, Array4};

    /// Thirty pairs of digits, and how they were normalised.
    pub(in crate::data) fn thirty() -> (Dataset, Normalisation) {
        let (train, test) = embedded();
        let mut split: Split = generate_pair_sets(&train, &test, 30, 1, Seed(1)).unwrap();
        let normalisation = split.normalise().unwrap();
        (split.train, normalisation)
    }

    /// Pictures (N, C, H, W) of these numbers, without a target that matters.
    pub(super) fn pictures_of(shape: [usize; 4], value: impl Fn([usize; 4]) -> f32) -> Dataset {
        let x = Array4::from_shape_fn(shape, |(n, c, y, x)| value([n, c, y, x]));
        Dataset::from_arrays(x, Target::Values(Array1::zeros(shape[0]).into_dyn())).unwrap()
    }

    pub(super) fn spec(text: &str) -> Spec {
        Spec::parse(text, |name| Ok(find(TRANSFORMS, "transform", name)?.order())).unwrap()
    }

    /// What becomes of all samples of a data set.
    pub(super) fn changed(texts: &[&str], data: &Dataset, normalisation: Option<&Normalisation>, key: Key) -> Dataset {
        let specs: Vec<Spec> = texts.iter().map(|t| spec(t)).collect();
        let mut augment = Augment::new(&specs, data, normalisation, data.len()).unwrap();
        let rows: Vec<u32> = (0..data.len() as u32).collect();
        augment.batch(data, &rows, key);
        augment.room
    }

    fn key(epoch: u64) -> Key {
        Seed(5).key("augment").at(epoch)
    }

    /// Every transform: with arguments that change nothing, and with some that do.
    const CASES: &[(&str, &str)] = &[
        ("RandomAffine", "RandomAffine 20 translate=0.1 scale=[0.8,1.2] shear=10 per_channel=true"),
        ("RandomCrop 0", "RandomCrop 2"),
        ("ElasticTransform alpha=0", "ElasticTransform 20"),
        ("RandomErasing p=0", "RandomErasing p=1"),
        ("RandomSwap p=0", "RandomSwap"),
        ("RandomPairs p=0", "RandomPairs"),
    ];

    #[test]
    fn identity_arguments_give_identical_bits_and_others_do_not() {
        let (data, normalisation) = thirty();
        assert_eq!(CASES.len(), TRANSFORMS.len());
        for ((nothing, something), def) in CASES.iter().zip(TRANSFORMS) {
            assert!(nothing.starts_with(def.name) && something.starts_with(def.name));
            let after = |text| changed(&[text], &data, Some(&normalisation), key(0));
            assert_eq!(after(nothing).fingerprint(), data.fingerprint(), "{nothing}");
            let other = after(something);
            assert_ne!(other.fingerprint(), data.fingerprint(), "{something}");
            assert_eq!(other.schema(), data.schema());
            assert_ne!(changed(&[something], &data, Some(&normalisation), key(1)), other, "{something}: another epoch");
            let made = transform(&spec(something)).unwrap();
            assert_eq!(transform(&made.spec()).unwrap().spec(), made.spec());
        }
    }

    #[test]
    fn a_sample_is_changed_alike_in_every_batch_and_order() {
        let (data, normalisation) = thirty();
        let specs: Vec<Spec> = CASES.iter().map(|(_, something)| spec(something)).collect();
        let mut all = Augment::new(&specs, &data, Some(&normalisation), 30).unwrap();
        let rows: Vec<u32> = (0..30).collect();
        all.batch(&data, &rows, key(3));
        let mut few = Augment::new(&specs, &data, Some(&normalisation), 4).unwrap();
        for rows in [&[7u32][..], &[29, 0, 7], &[3, 7, 11, 12]] {
            let batch = few.batch(&data, rows, key(3));
            let rows: Vec<usize> = rows.iter().map(|r| *r as usize).collect();
            assert_eq!(batch.dataset().select(&(0..rows.len()).collect::<Vec<_>>()), all.room.select(&rows));
        }
    }

    #[test]
    fn a_transform_draws_the_same_whatever_stands_beside_it() {
        let (data, _) = thirty();
        let alone = changed(&["RandomCrop 2"], &data, None, key(0));
        assert_eq!(changed(&["RandomErasing p=0", "RandomCrop 2"], &data, None, key(0)), alone);
        // The second of one name has draws of its own.
        assert_ne!(
            changed(&["RandomCrop 2", "RandomCrop 2"], &data, None, key(0)),
            changed(&["RandomCrop 4"], &data, None, key(0))
        );
        let twice = changed(&["RandomSwap", "RandomSwap"], &data, None, key(0));
        assert_ne!(twice, data);
    }

    #[test]
    fn channels_are_one_picture_or_pictures_of_their_own() {
        let data = pictures_of([20, 2, 9, 9], |[n, _, y, x]| (n + 10 * y + x) as f32);
        let halves = |d: &Dataset| {
            let x = &d.inputs["x"];
            (x.slice(ndarray::s![.., 0, .., ..]).to_owned(), x.slice(ndarray::s![.., 1, .., ..]).to_owned())
        };
        for text in ["RandomAffine 30", "RandomCrop 3", "ElasticTransform 20", "RandomErasing p=1"] {
            let (a, b) = halves(&changed(&[text], &data, None, key(0)));
            assert_eq!(a, b, "{text}");
            let (a, b) = halves(&changed(&[&format!("{text} per_channel=true")], &data, None, key(0)));
            assert_ne!(a, b, "{text}");
        }
    }

    #[test]
    fn outside_is_as_black_as_the_network_sees_it() {
        let (data, normalisation) = thirty();
        let black = normalisation.inputs["pair"].scaled(0.0, 0);
        let moved = changed(&["RandomCrop 14 per_channel=true"], &data, Some(&normalisation), key(0));
        let least = data.inputs["pair"].iter().copied().fold(f32::INFINITY, f32::min);
        assert_eq!(least, black);
        let dark =
            |d: &Dataset| d.inputs["pair"].iter().filter(|x| **x == black).count() as f64 / (30 * 2 * 196) as f64;
        assert!(dark(&data) < 0.8 && dark(&moved) > 0.85, "{} {}", dark(&data), dark(&moved));
        let raw = changed(&["RandomAffine translate=1"], &pictures_of([9, 1, 5, 5], |_| 7.0), None, key(0));
        assert!(raw.inputs["x"].iter().any(|x| *x == 0.0) && raw.inputs["x"].iter().all(|x| (0.0..=7.0).contains(x)));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let (pairs, _) = thirty();
        let points = crate::data::disk(5, Seed(1)).train;
        let error = |text: &str, data: &Dataset| Augment::new(&[spec(text)], data, None, 2).unwrap_err().to_string();
        for (_, something) in &CASES[..4] {
            let name = something.split(' ').next().unwrap();
            assert_eq!(
                error(something, &points),
                format!("{name} changes images (channels, height, width); the data have `points` (2)")
            );
        }
        for name in ["RandomSwap", "RandomPairs"] {
            assert!(error(name, &points).starts_with(&format!("{name} is for pairs of digits")));
            assert!(error(name, &pictures_of([3, 2, 4, 4], |_| 0.0)).contains("the data are x 2x4x4"));
        }
        for (text, message) in [
            ("RandomAffine -1", "`degrees` is from 0 to 180, found -1"),
            ("RandomAffine translate=1.5", "`translate` is from 0 to 1"),
            ("RandomAffine shear=90", "`shear` is from 0 to 80"),
            ("RandomAffine scale=[0,1]", "`scale` is two factors above 0"),
            ("RandomAffine scale=[1.2,0.9]", "the smaller first, found 1.2, 0.9"),
            ("RandomAffine scale=2", "two numbers"),
            ("RandomCrop", "needs `padding`"),
            ("RandomCrop -1", "a whole number from 0 on"),
            ("ElasticTransform -1", "`alpha` is not negative"),
            ("ElasticTransform sigma=0", "`sigma` is above 0"),
            ("RandomErasing p=2", "`p` is a probability"),
            ("RandomErasing scale=[0,0.5]", "`scale` is two parts above 0"),
            ("RandomErasing ratio=[2,1]", "`ratio` is two numbers above 0"),
            ("RandomSwap p=-0.5", "`p` is a probability"),
            ("RandomPairs p=nan", "`p`"),
        ] {
            let text_error = error(text, &pairs);
            assert!(text_error.contains(message), "{text}: {text_error}");
        }
        assert!(transform(&Spec::new("RandomAfine")).unwrap_err().to_string().contains("did you mean `RandomAffine`?"));
    }
}
