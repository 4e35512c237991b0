//! Data sets: named arrays of samples, where they come from, and checks of them.
//!
//! A [`Dataset`] has N samples: every array in it has N as its first dimension. Networks read it through a [`Batch`],
//! which borrows some of its samples and copies nothing. Arrays are in C order.

pub mod augment;
mod check;
mod disk;
mod idx;
mod mnist;
mod mnist_pairs;
mod normalisation;
mod table;

use std::collections::HashSet;
use std::fmt::{self, Debug, Display};
use std::ops::Range;

use indexmap::IndexMap;
use ndarray::{Array, ArrayD, Axis, CowArray, Dimension, IxDyn, Slice};
use serde::{Deserialize, Serialize};

pub use check::{Warning, WarningKind, check};
pub use disk::{DiskOptions, disk, disk_with};
pub use idx::{read_images, read_images_file, read_labels, read_labels_file};
pub use mnist::{Digits, mnist};
pub use mnist_pairs::generate_pair_sets;
pub use normalisation::{Normalisation, Scale};
pub use table::{ReadOptions, TableOptions, load_table, read_array, read_array_with, write_array};

use crate::error::{Error, Kind};
use crate::rng::{absorb, absorb_text};
use crate::{Result, fail};

/// Named arrays of N samples each.
///
/// [`Dataset::new`] checks what it is given; whoever changes the arrays later answers for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// What the network reads: each (N, …), of 2 to 4 dimensions.
    pub inputs: IndexMap<String, ArrayD<f32>>,
    /// What it should answer; empty for data without answers.
    pub targets: IndexMap<String, Target>,
}

/// The right answers of N samples.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Each sample belongs to a class, or to k of them.
    Classes {
        /// The index of the class: (N), or (N, k) with k labels a sample.
        labels: ArrayD<u32>,
        /// The classes; their number is the number of classes.
        names: Vec<String>,
    },
    /// Each sample has one or more real values: (N, …), of at most 4 dimensions.
    Values(ArrayD<f32>),
}

impl Dataset {
    /// The data set of these arrays, checked: N is the same everywhere and not 0, every number is finite, every label
    /// has a class, inputs have 2 to 4 dimensions. Arrays that are not in C order are copied into it.
    pub fn new(inputs: IndexMap<String, ArrayD<f32>>, targets: IndexMap<String, Target>) -> Result<Self> {
        let dataset = Dataset { inputs, targets };
        dataset.validate()?;
        let Dataset { inputs, targets } = dataset;
        let targets = targets.into_iter().map(|(name, target)| {
            let target = match target {
                Target::Values(array) => Target::Values(in_c_order(array)),
                Target::Classes { labels, names } => Target::Classes { labels: in_c_order(labels), names },
            };
            (name, target)
        });
        let inputs = inputs.into_iter().map(|(name, array)| (name, in_c_order(array)));
        Ok(Dataset { inputs: inputs.collect(), targets: targets.collect() })
    }

    /// The data set of one input (N, …), named "x", and its target, named "y".
    pub fn from_arrays<D: Dimension>(x: Array<f32, D>, target: Target) -> Result<Self> {
        Self::new(IndexMap::from([("x".into(), x.into_dyn())]), IndexMap::from([("y".into(), target)]))
    }

    /// N, the number of samples.
    pub fn len(&self) -> usize {
        self.inputs.values().next().map_or(0, |array| array.len_of(Axis(0)))
    }

    /// Whether there are no samples (never so for a data set made by [`Dataset::new`]).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All samples in order, in batches of `size`; the last may be shorter.
    ///
    /// # Panics
    /// If `size` is 0.
    pub fn batches(&self, size: usize) -> impl Iterator<Item = Batch<'_>> {
        assert!(size > 0, "a batch has at least one sample");
        self.all().parts(size)
    }

    /// The samples `rows`, in this order; a sample may come more than once.
    ///
    /// # Panics
    /// If a row is not below [`Dataset::len`].
    pub fn batch<'a>(&'a self, rows: &'a [u32]) -> Batch<'a> {
        let n = self.len();
        if let Some(row) = rows.iter().find(|row| **row as usize >= n) {
            panic!("there is no row {row} among {n} samples");
        }
        Batch { dataset: self, rows: Rows::Listed(rows) }
    }

    /// All samples as one batch.
    pub fn all(&self) -> Batch<'_> {
        self.range(0..self.len())
    }

    /// The samples of a range as one batch.
    ///
    /// # Panics
    /// If the range does not lie in 0..[`Dataset::len`].
    pub fn range(&self, range: Range<usize>) -> Batch<'_> {
        let Range { start, end } = range;
        assert!(start <= end && end <= self.len(), "rows {start}..{end} of {} samples", self.len());
        Batch { dataset: self, rows: Rows::Range { start, end } }
    }

    /// A copy of the samples `rows`, in this order.
    ///
    /// # Panics
    /// If a row is not below [`Dataset::len`].
    pub fn select(&self, rows: &[usize]) -> Dataset {
        self.map(|array| array.select(Axis(0), rows), |labels| labels.select(Axis(0), rows))
    }

    /// The data set without its last `n` samples, and these.
    ///
    /// # Panics
    /// Unless 0 < `n` < [`Dataset::len`]: neither part may be empty.
    pub fn split_off(self, n: usize) -> (Dataset, Dataset) {
        assert!(0 < n && n < self.len(), "cannot split {n} off {} samples", self.len());
        let at = self.len() - n;
        let part = |slice: Slice| {
            self.map(
                |array| array.slice_axis(Axis(0), slice).to_owned(),
                |labels| labels.slice_axis(Axis(0), slice).to_owned(),
            )
        };
        (part(Slice::from(..at)), part(Slice::from(at..)))
    }

    /// What a network must know about these data before it sees them.
    pub fn schema(&self) -> Schema {
        let per_sample = |shape: &[usize]| shape.iter().skip(1).copied().collect::<Vec<_>>();
        let inputs = self.inputs.iter().map(|(name, a)| (name.clone(), InputInfo { shape: per_sample(a.shape()) }));
        let targets = self.targets.iter().map(|(name, target)| {
            let info = match target {
                Target::Values(a) => TargetInfo::Values { shape: per_sample(a.shape()) },
                Target::Classes { labels, names } => {
                    TargetInfo::Classes { names: names.clone(), per_sample: labels.shape().get(1).copied() }
                }
            };
            (name.clone(), info)
        });
        Schema { inputs: inputs.collect(), targets: targets.collect() }
    }

    /// A 64-bit hash of all names, shapes and numbers: the same on every machine, and in every version of Gradus.
    pub fn fingerprint(&self) -> u64 {
        let shape = |h, tag, name: &str, shape: &[usize]| {
            let h = absorb(absorb(absorb_text(h, name), tag), shape.len() as u64);
            shape.iter().fold(h, |h, n| absorb(h, *n as u64))
        };
        let values = |h, tag, name: &str, a: &ArrayD<f32>| {
            a.iter().fold(shape(h, tag, name, a.shape()), |h, x| absorb(h, u64::from(x.to_bits())))
        };
        let h = self.inputs.iter().fold(0, |h, (name, a)| values(h, 1, name, a));
        self.targets.iter().fold(h, |h, (name, target)| match target {
            Target::Values(a) => values(h, 2, name, a),
            Target::Classes { labels, names } => {
                let h = names.iter().fold(shape(h, 3, name, labels.shape()), |h, name| absorb_text(h, name));
                labels.iter().fold(h, |h, label| absorb(h, u64::from(*label)))
            }
        })
    }

    /// What [`Dataset::new`] checks.
    fn validate(&self) -> Result<()> {
        let Some((first, n)) = self.inputs.iter().find_map(|(name, a)| Some((name.clone(), *a.shape().first()?)))
        else {
            fail!(Data, "a data set needs an input of at least two dimensions (samples, features)")
        };
        if n == 0 {
            fail!(Data, "input {first:?} has no samples: its shape is {:?}", self.inputs[&first].shape());
        }
        if u32::try_from(n).is_err() {
            fail!(Data, "input {first:?} has {n} samples; at most {} are possible", u32::MAX);
        }
        for (name, array) in &self.inputs {
            let place = format!("input {name:?}");
            check_shape(array.shape(), 2, n, &first).and_then(|()| check_finite(array)).map_err(|e| e.at(place))?;
        }
        for (name, target) in &self.targets {
            let checked = match target {
                Target::Values(array) => check_shape(array.shape(), 1, n, &first).and_then(|()| check_finite(array)),
                Target::Classes { labels, names } => {
                    check_shape(labels.shape(), 1, n, &first).and_then(|()| check_labels(labels, names))
                }
            };
            checked.map_err(|e| e.at(format_args!("target {name:?}")))?;
        }
        Ok(())
    }

    /// The same data set with every array replaced.
    fn map(
        &self,
        values: impl Fn(&ArrayD<f32>) -> ArrayD<f32>,
        classes: impl Fn(&ArrayD<u32>) -> ArrayD<u32>,
    ) -> Dataset {
        let targets = self.targets.iter().map(|(name, target)| {
            let target = match target {
                Target::Values(array) => Target::Values(values(array)),
                Target::Classes { labels, names } => Target::Classes { labels: classes(labels), names: names.clone() },
            };
            (name.clone(), target)
        });
        let inputs = self.inputs.iter().map(|(name, array)| (name.clone(), values(array)));
        Dataset { inputs: inputs.collect(), targets: targets.collect() }
    }
}

fn in_c_order<T: Clone>(array: ArrayD<T>) -> ArrayD<T> {
    if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() }
}

fn check_shape(shape: &[usize], least: usize, n: usize, first: &str) -> Result<()> {
    if !(least..=4).contains(&shape.len()) {
        fail!(Data, "shape {shape:?} has {} dimensions; it needs {least} to 4, samples first", shape.len());
    }
    if shape[0] != n {
        fail!(Data, "{} samples, but input {first:?} has {n}", shape[0]);
    }
    if shape.contains(&0) {
        fail!(Data, "shape {shape:?} has nothing in it");
    }
    Ok(())
}

fn check_finite(array: &ArrayD<f32>) -> Result<()> {
    match array.iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(i) => {
            let value = array.iter().nth(i).copied().unwrap_or(f32::NAN);
            Err(Error::new(Kind::Data, format_args!("{} is {value}, which is not a finite number", place(array, i))))
        }
    }
}

fn check_labels(labels: &ArrayD<u32>, names: &[String]) -> Result<()> {
    if labels.ndim() > 2 {
        fail!(Data, "labels of shape {:?}; they are (N) or (N, labels a sample)", labels.shape());
    }
    let mut seen = HashSet::new();
    if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
        fail!(Data, "two classes are named {name:?}");
    }
    match labels.iter().enumerate().find(|(_, label)| **label as usize >= names.len()) {
        None => Ok(()),
        Some((i, label)) => {
            fail!(Data, "{} is label {label}, but the classes are 0 to {}", place(labels, i), names.len() as i64 - 1)
        }
    }
}

/// "row 3" or "row 3, value 5": where the i-th number of an array is, counted from 0.
fn place<T>(array: &ArrayD<T>, i: usize) -> String {
    let per_row = array.len() / array.len_of(Axis(0));
    if per_row == 1 { format!("row {i}") } else { format!("row {}, value {}", i / per_row, i % per_row) }
}

/// The first few of a list, if it has any.
fn first_few<T: Debug>(list: &[T]) -> Option<String> {
    let shown: Vec<_> = list.iter().take(5).map(|x| format!("{x:?}")).collect();
    let more = if list.len() > 5 { format!(" and {} more", list.len() - 5) } else { String::new() };
    (!list.is_empty()).then(|| shown.join(", ") + &more)
}

/// Some samples of a data set: borrowed, copies nothing.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    dataset: &'a Dataset,
    pub(crate) rows: Rows<'a>,
}

/// Which samples of a data set, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a> {
    Range { start: usize, end: usize },
    Listed(&'a [u32]),
}

impl Rows<'_> {
    #[inline(always)]
    pub fn len(self) -> usize {
        match self {
            Rows::Range { start, end } => end - start,
            Rows::Listed(rows) => rows.len(),
        }
    }

    /// The index in the data set of the i-th.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline(always)]
    pub fn row(self, i: usize) -> usize {
        match self {
            Rows::Range { start, end } => {
                assert!(i < end - start, "sample {i} of a batch of {}", end - start);
                start + i
            }
            Rows::Listed(rows) => rows[i] as usize,
        }
    }
}

impl<'a> Batch<'a> {
    /// The number of samples.
    #[inline]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The data set that the samples belong to.
    #[inline]
    pub fn dataset(&self) -> &'a Dataset {
        self.dataset
    }

    /// The index in the data set of the batch's i-th sample.
    ///
    /// # Panics
    /// If `i` is not below [`Batch::len`].
    #[inline]
    pub fn row(&self, i: usize) -> usize {
        self.rows.row(i)
    }

    /// The indices in the data set of all samples, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = usize> + use<'a> {
        let batch = *self;
        (0..self.len()).map(move |i| batch.row(i))
    }

    /// The batch in parts of `size` samples, in order; the last may be shorter.
    pub(crate) fn parts(self, size: usize) -> impl Iterator<Item = Batch<'a>> {
        (0..self.len()).step_by(size).map(move |start| {
            let end = self.len().min(start + size);
            let rows = match self.rows {
                Rows::Range { start: first, .. } => Rows::Range { start: first + start, end: first + end },
                Rows::Listed(rows) => Rows::Listed(&rows[start..end]),
            };
            Batch { dataset: self.dataset, rows }
        })
    }

    /// The rows as a range, when the batch is a range of its data set: then its samples lie side by side.
    pub fn as_range(&self) -> Option<Range<usize>> {
        match self.rows {
            Rows::Range { start, end } => Some(start..end),
            Rows::Listed(_) => None,
        }
    }

    /// An input's samples, (B, …): a view when the batch is a range of its data set, else a copy.
    pub fn input(&self, name: &str) -> Option<CowArray<'a, f32, IxDyn>> {
        Some(self.of(self.dataset.inputs.get(name)?))
    }

    /// This batch's rows of an array of the data set, (B, …): a view when the batch is a range, else a copy.
    pub fn of<T: Clone>(&self, array: &'a ArrayD<T>) -> CowArray<'a, T, IxDyn> {
        match self.as_range() {
            Some(range) => array.slice_axis(Axis(0), Slice::from(range)).into(),
            None => array.select(Axis(0), &self.rows().collect::<Vec<_>>()).into(),
        }
    }
}

impl<'a> From<&'a Dataset> for Batch<'a> {
    fn from(dataset: &'a Dataset) -> Self {
        dataset.all()
    }
}

/// Training, validation and test data, and where they come from.
#[derive(Clone, Debug)]
pub struct Split {
    /// What the network learns from.
    pub train: Dataset,
    /// What chooses the best epoch; the test data never do.
    pub validation: Option<Dataset>,
    /// What the result is measured on.
    pub test: Dataset,
    /// Where the data come from.
    pub info: Info,
}

/// Where data come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// The name of the source, such as "mnist-pairs", or a file.
    pub source: String,
    /// 16 hexadecimal digits: the hash of all arrays ([`Dataset::fingerprint`]), training, validation and test.
    pub hash: String,
    /// What population the data are a sample of.
    pub note: Option<String>,
}

impl Split {
    /// A split of data that must agree in their schema, with the hash of their arrays.
    pub fn new(
        train: Dataset,
        validation: Option<Dataset>,
        test: Dataset,
        source: impl Into<String>,
        note: Option<String>,
    ) -> Result<Self> {
        let schema = train.schema();
        let mut hash = train.fingerprint();
        for (part, data) in [("validation", validation.as_ref()), ("test", Some(&test))] {
            let Some(data) = data else { continue };
            if data.schema() != schema {
                fail!(Data, "the {part} data are {}, but the training data are {schema}", data.schema());
            }
            hash = absorb(absorb_text(hash, part), data.fingerprint());
        }
        let info = Info { source: source.into(), hash: format!("{hash:016x}"), note };
        Ok(Split { train, validation, test, info })
    }

    /// Moves the last `n` training samples to the validation data, which must not be there yet.
    pub fn hold_out(self, n: usize) -> Result<Self> {
        let samples = self.train.len();
        if self.validation.is_some() {
            fail!(Argument, "there are validation data already");
        }
        if n == 0 || n >= samples {
            fail!(Argument, "validation = {n}: from 1 to {} of the {samples} training samples", samples - 1);
        }
        let (train, validation) = self.train.split_off(n);
        Ok(Split { train, validation: Some(validation), ..self })
    }

    /// Normalises all parts by the training data's mean and standard deviation, which it returns.
    pub fn normalise(&mut self) -> Result<Normalisation> {
        let normalisation = Normalisation::fit(&self.train);
        let parts = [Some(&mut self.train), self.validation.as_mut(), Some(&mut self.test)];
        parts.into_iter().flatten().try_for_each(|part| normalisation.apply(part))?;
        Ok(normalisation)
    }
}

/// The names and the shapes of a data set, without its samples; prints as `pair 2x14x14 -> larger (2 classes)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// The inputs.
    pub inputs: IndexMap<String, InputInfo>,
    /// The targets.
    pub targets: IndexMap<String, TargetInfo>,
}

/// What one input looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputInfo {
    /// The shape of one sample, without N.
    pub shape: Vec<usize>,
}

/// What one target looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetInfo {
    /// Classes.
    Classes {
        /// Their names.
        names: Vec<String>,
        /// The k of labels (N, k); none for labels (N).
        per_sample: Option<usize>,
    },
    /// Real values.
    Values {
        /// The shape of one sample, without N.
        shape: Vec<usize>,
    },
}

impl Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims = |shape: &[usize]| shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let inputs = self.inputs.iter().map(|(name, info)| format!("{name} {}", dims(&info.shape)));
        let targets = self.targets.iter().map(|(name, info)| match info {
            TargetInfo::Classes { names, per_sample: None } => format!("{name} ({} classes)", names.len()),
            TargetInfo::Classes { names, per_sample: Some(k) } => format!("{name} ({k} of {} classes)", names.len()),
            TargetInfo::Values { shape } if shape.is_empty() => format!("{name} (a value)"),
            TargetInfo::Values { shape } => format!("{name} ({} values)", dims(shape)),
        });
        let join = |parts: Vec<String>| parts.join(", ");
        write!(f, "{} -> {}", join(inputs.collect()), join(targets.collect()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ndarray::{Array1, array};

    /// Labels (N) of the classes "a", "b", …, `classes` of them.
    pub(crate) fn labels(labels: &[u32], classes: usize) -> Target {
        let names = ('a'..).take(classes).map(String::from).collect();
        Target::Classes { labels: Array1::from(labels.to_vec()).into_dyn(), names }
    }

    /// Five samples of two features: row i is (10 i, 10 i + 1).
    fn five() -> Dataset {
        let x = Array::from_shape_fn(IxDyn(&[5, 2]), |i| (10 * i[0] + i[1]) as f32);
        Dataset::from_arrays(x, labels(&[0, 1, 2, 0, 1], 3)).unwrap()
    }

    #[test]
    fn what_cannot_be_a_data_set_is_refused_with_its_place() {
        let x = || array![[0.0f32, 1.0], [2.0, 3.0], [4.0, 5.0]].into_dyn();
        let with = |value: f32| {
            let mut x = x();
            x[[2, 1]] = value;
            x
        };
        let zeros = |shape: &[usize]| ArrayD::zeros(IxDyn(shape));
        let abc = || labels(&[0, 1, 1], 2);
        let classes = |labels: ArrayD<u32>, names: &[&str]| Target::Classes {
            labels,
            names: names.iter().map(|n| n.to_string()).collect(),
        };
        for (x, y, expected) in [
            (with(f32::NAN), abc(), r#"input "x": row 2, value 1 is NaN, which is not a finite number"#),
            (with(f32::INFINITY), abc(), r#"input "x": row 2, value 1 is inf, which is not a finite number"#),
            (x(), labels(&[0, 2, 1], 2), r#"target "y": row 1 is label 2, but the classes are 0 to 1"#),
            (x(), labels(&[0, 0, 0], 0), r#"target "y": row 0 is label 0, but the classes are 0 to -1"#),
            (
                x(),
                classes(array![[0, 1], [1, 0], [1, 9]].into_dyn(), &["a", "b"]),
                r#"target "y": row 2, value 1 is label 9, but the classes are 0 to 1"#,
            ),
            (x(), classes(ArrayD::zeros(IxDyn(&[3])), &["a", "b", "a"]), r#"target "y": two classes are named "a""#),
            (
                x(),
                classes(ArrayD::zeros(IxDyn(&[3, 1, 1])), &["a"]),
                r#"target "y": labels of shape [3, 1, 1]; they are (N) or (N, labels a sample)"#,
            ),
            (x(), labels(&[0, 1], 2), r#"target "y": 2 samples, but input "x" has 3"#),
            (x(), Target::Values(zeros(&[4, 1])), r#"target "y": 4 samples, but input "x" has 3"#),
            (
                x(),
                Target::Values(array![1.0f32, f32::NAN, 0.0].into_dyn()),
                r#"target "y": row 1 is NaN, which is not a finite number"#,
            ),
            (zeros(&[3]), abc(), r#"input "x": shape [3] has 1 dimensions; it needs 2 to 4, samples first"#),
            (
                zeros(&[3, 1, 1, 1, 1]),
                abc(),
                r#"input "x": shape [3, 1, 1, 1, 1] has 5 dimensions; it needs 2 to 4, samples first"#,
            ),
            (zeros(&[3, 0]), abc(), r#"input "x": shape [3, 0] has nothing in it"#),
            (zeros(&[0, 2]), abc(), r#"input "x" has no samples: its shape is [0, 2]"#),
            (zeros(&[]), abc(), "a data set needs an input of at least two dimensions (samples, features)"),
        ] {
            let error = Dataset::from_arrays(x, y).unwrap_err();
            assert_eq!((error.kind(), &error.to_string()[..]), (Kind::Data, expected));
        }
        let inputs = IndexMap::from([("a".to_string(), x()), ("b".to_string(), zeros(&[2, 2]))]);
        let error = Dataset::new(inputs, IndexMap::new()).unwrap_err();
        assert_eq!(error.to_string(), r#"input "b": 2 samples, but input "a" has 3"#);
        assert!(Dataset::new(IndexMap::new(), IndexMap::new()).is_err());
    }

    #[test]
    fn batches_are_the_samples_in_order() {
        let data = five();
        let rows: Vec<Vec<usize>> = data.batches(2).map(|b| b.rows().collect()).collect();
        assert_eq!(rows, [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(data.batches(5).count(), 1);
        assert_eq!(data.batches(usize::MAX).map(|b| b.len()).collect::<Vec<_>>(), [5]);
        assert_eq!(data.all().rows().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(Batch::from(&data).len(), 5);

        let range = data.range(1..3);
        assert_eq!(range.as_range(), Some(1..3));
        let x = range.input("x").unwrap();
        assert!(x.is_view(), "a range is not copied");
        assert_eq!(x, array![[10.0f32, 11.0], [20.0, 21.0]].into_dyn());
        assert!(range.input("z").is_none());

        let listed = data.batch(&[4, 0, 4]);
        assert_eq!((listed.len(), listed.row(1), listed.as_range()), (3, 0, None));
        assert_eq!(listed.input("x").unwrap(), array![[40.0f32, 41.0], [0.0, 1.0], [40.0, 41.0]].into_dyn());
        assert!(std::ptr::eq(listed.dataset(), &data));
        assert!(data.batch(&[]).is_empty());
    }

    #[test]
    fn wrong_rows_panic() {
        let data = five();
        let panics = |f: &dyn Fn() -> usize| std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err();
        assert!(panics(&|| data.batches(0).count()));
        assert!(panics(&|| data.batch(&[0, 5]).len()));
        assert!(panics(&|| data.range(4..6).len()));
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = panics(&|| data.range(3..2).len());
        assert!(reversed);
        assert!(panics(&|| data.range(1..3).row(2)));
        assert!(panics(&|| data.batch(&[1]).row(1)));
        assert!(panics(&|| data.clone().split_off(5).0.len()));
        assert!(panics(&|| data.clone().split_off(0).0.len()));
    }

    #[test]
    fn parts_are_copies() {
        let data = five();
        let (head, tail) = data.clone().split_off(2);
        assert_eq!(head, data.select(&[0, 1, 2]));
        assert_eq!(tail, data.select(&[3, 4]));
        assert_eq!(tail.targets["y"], labels(&[0, 1], 3));
        assert_eq!(data.select(&[4, 4]).inputs["x"], data.batch(&[4, 4]).input("x").unwrap());
    }

    #[test]
    fn arrays_are_brought_into_c_order() {
        let x = array![[0.0f32, 2.0, 4.0], [1.0, 3.0, 5.0]].reversed_axes();
        assert!(x.as_slice().is_none());
        let data = Dataset::from_arrays(x, labels(&[0, 1, 0], 2)).unwrap();
        assert_eq!(data.inputs["x"].as_slice().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn a_schema_is_the_data_without_samples() {
        let inputs = IndexMap::from([("pair".to_string(), ArrayD::zeros(IxDyn(&[4, 2, 14, 14])))]);
        let digits = Target::Classes { labels: ArrayD::zeros(IxDyn(&[4, 2])), names: vec!["0".into(), "1".into()] };
        let targets = IndexMap::from([
            ("larger".to_string(), labels(&[0, 1, 1, 0], 2)),
            ("digits".to_string(), digits),
            ("sum".to_string(), Target::Values(ArrayD::zeros(IxDyn(&[4])))),
            ("both".to_string(), Target::Values(ArrayD::zeros(IxDyn(&[4, 2])))),
        ]);
        let schema = Dataset::new(inputs, targets).unwrap().schema();
        let text = "pair 2x14x14 -> larger (2 classes), digits (2 of 2 classes), sum (a value), both (2 values)";
        assert_eq!(schema.to_string(), text);
        assert_eq!(
            schema.targets["digits"],
            TargetInfo::Classes { names: vec!["0".into(), "1".into()], per_sample: Some(2) }
        );
        let json = serde_json::to_string(&schema).unwrap();
        assert!(json.contains(r#""sum":{"values":{"shape":[]}}"#), "{json}");
        assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), schema);
    }

    #[test]
    fn the_fingerprint_sees_every_part() {
        let data = five();
        let mut others = vec![data.clone(), data.select(&[0, 1, 2, 3]), data.select(&[1, 0, 2, 3, 4])];
        let mut change = |f: &dyn Fn(&mut Dataset)| {
            let mut other = data.clone();
            f(&mut other);
            others.push(other);
        };
        change(&|d| d.inputs["x"][[4, 1]] = -41.0);
        change(&|d| d.inputs["x"][[0, 0]] = -0.0);
        change(&|d| d.inputs = d.inputs.drain(..).map(|(_, a)| ("z".to_string(), a)).collect());
        change(&|d| d.inputs["x"] = d.inputs["x"].clone().into_shape_with_order(vec![5, 1, 2]).unwrap());
        change(&|d| d.targets.clear());
        change(&|d| d.targets["y"] = labels(&[0, 1, 2, 0, 2], 3));
        change(&|d| d.targets["y"] = labels(&[0, 1, 2, 0, 1], 4));
        change(&|d| d.targets["y"] = Target::Values(array![0.0f32, 1.0, 2.0, 0.0, 1.0].into_dyn()));
        let hashes: HashSet<u64> = others.iter().map(Dataset::fingerprint).collect();
        assert_eq!(hashes.len(), others.len());
        assert_eq!(data.fingerprint(), five().fingerprint());
    }

    #[test]
    fn the_parts_of_a_split_agree() {
        let split = |test| Split::new(five(), None, test, "a test", None);
        let other = Dataset::from_arrays(ArrayD::zeros(IxDyn(&[2, 3])), labels(&[0, 1], 3)).unwrap();
        let error = split(other).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the test data are x 3 -> y (3 classes), but the training data are x 2 -> y (3 classes)"
        );

        let held = split(five()).unwrap().hold_out(2).unwrap();
        assert_eq!((held.train.len(), held.validation.as_ref().map(Dataset::len)), (3, Some(2)));
        assert_eq!(held.hold_out(1).unwrap_err().to_string(), "there are validation data already");
        for n in [0, 5] {
            let error = split(five()).unwrap().hold_out(n).unwrap_err();
            assert_eq!(error.to_string(), format!("validation = {n}: from 1 to 4 of the 5 training samples"));
        }
    }

    #[test]
    fn data_sets_go_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Dataset>();
        shared::<Split>();
        shared::<Batch>();
    }
}
