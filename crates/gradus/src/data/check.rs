//! The preflight of data: what is likely a mistake, found before hours are spent on it.
//!
//! What can never be right (labels without a class, NaN, ragged shapes) [`Dataset::new`] refuses; a set whose arrays
//! were changed afterwards is checked for it here again.

use std::collections::HashMap;
use std::fmt;

use ndarray::{ArrayViewD, Axis};

use super::{Dataset, Split, Target, first_few};
use crate::rng::absorb;

/// Something that is probably wrong with the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What, for programs.
    pub kind: WarningKind,
    /// What and where, for people.
    pub message: String,
}

/// The kinds of [`Warning`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WarningKind {
    /// A part has no samples.
    Empty,
    /// The arrays of a part are not those of a data set (a NaN, a label without a class, other shapes than in training).
    Invalid,
    /// All samples of a part are of one class.
    SingleClass,
    /// A class has no sample in a part.
    AbsentClass,
    /// Samples of one part are also in another.
    Duplicates,
    /// A feature has the same value in all training samples.
    ConstantFeature,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Looks for what is likely a mistake; an empty list is a clean split.
pub fn check(split: &Split) -> Vec<Warning> {
    let mut warnings = Warnings(Vec::new());
    let parts =
        [("training", Some(&split.train)), ("validation", split.validation.as_ref()), ("test", Some(&split.test))];
    let parts: Vec<(&str, &Dataset)> = parts.into_iter().filter_map(|(part, data)| Some((part, data?))).collect();
    let sound: Vec<_> = parts.into_iter().filter(|(part, data)| is_sound(part, data, split, &mut warnings)).collect();
    for (part, data) in &sound {
        classes(part, data, &mut warnings);
    }
    if let Some((_, train)) = sound.iter().find(|(part, _)| *part == "training") {
        constants(train, &mut warnings);
    }
    for (i, (part, data)) in sound.iter().enumerate() {
        for (other, earlier) in &sound[..i] {
            duplicates((other, earlier), (part, data), &mut warnings);
        }
    }
    warnings.0
}

struct Warnings(Vec<Warning>);

impl Warnings {
    fn add(&mut self, kind: WarningKind, message: String) {
        self.0.push(Warning { kind, message });
    }
}

/// Whether the part can be looked at any further.
fn is_sound(part: &str, data: &Dataset, split: &Split, warnings: &mut Warnings) -> bool {
    if data.is_empty() {
        warnings.add(WarningKind::Empty, format!("the {part} data have no samples"));
        return false;
    }
    if let Err(e) = data.validate() {
        warnings.add(WarningKind::Invalid, format!("the {part} data: {e}"));
        return false;
    }
    let (found, expected) = (data.schema(), split.train.schema());
    if found != expected {
        warnings.add(WarningKind::Invalid, format!("the {part} data are {found}, the training data {expected}"));
        return false;
    }
    true
}

fn classes(part: &str, data: &Dataset, warnings: &mut Warnings) {
    for (target, labels, names) in data.targets.iter().filter_map(|(name, target)| match target {
        Target::Classes { labels, names } => Some((name, labels, names)),
        Target::Values(_) => None,
    }) {
        let mut counts = vec![0; names.len()];
        labels.iter().for_each(|label| counts[*label as usize] += 1);
        let absent: Vec<&String> =
            names.iter().zip(&counts).filter(|(_, count)| **count == 0).map(|(n, _)| n).collect();
        if absent.len() + 1 == names.len() {
            let only = &names[labels.iter().next().map_or(0, |label| *label as usize)];
            let message = format!("target {target:?}: all {} {part} samples are of class {only:?}", data.len());
            warnings.add(WarningKind::SingleClass, message);
        } else if let Some(absent) = first_few(&absent) {
            let message = format!("target {target:?}: no {part} sample is of class {absent}");
            warnings.add(WarningKind::AbsentClass, message);
        }
    }
}

/// Features of vectors, and images as a whole: a pixel of the border may well be constant.
fn constants(train: &Dataset, warnings: &mut Warnings) {
    if train.len() == 1 {
        return;
    }
    for (name, array) in &train.inputs {
        let constant = |values: &ArrayViewD<f32>| values.iter().all(|x| Some(x) == values.first());
        let found = if array.ndim() == 2 {
            let columns = array.axis_iter(Axis(1)).enumerate();
            let constants: Vec<usize> = columns.filter_map(|(i, v)| constant(&v).then_some(i)).collect();
            first_few(&constants).map(|few| format!("the same value in every training sample: feature {few}"))
        } else {
            constant(&array.view()).then(|| "the same value everywhere in the training samples".to_string())
        };
        if let Some(found) = found {
            warnings.add(WarningKind::ConstantFeature, format!("input {name:?}: {found}"));
        }
    }
}

/// Samples of `part` whose inputs are all the same, to the bit, as those of a sample of `other`.
fn duplicates(other: (&str, &Dataset), part: (&str, &Dataset), warnings: &mut Warnings) {
    let hash = |data: &Dataset, row| bits(data, row).fold(0, |h, x| absorb(h, x.into()));
    let mut rows: HashMap<u64, Vec<usize>> = HashMap::new();
    (0..other.1.len()).for_each(|row| rows.entry(hash(other.1, row)).or_default().push(row));
    let twin = |row| {
        let same_hash = rows.get(&hash(part.1, row))?;
        same_hash.iter().find(|twin| bits(other.1, **twin).eq(bits(part.1, row))).map(|twin| (row, *twin))
    };
    let found: Vec<(usize, usize)> = (0..part.1.len()).filter_map(twin).collect();
    if let Some((row, twin)) = found.first() {
        let (count, of) = (found.len(), part.1.len());
        let message = format!(
            "{count} of {of} {} samples are also {} samples: {} {row} is {} {twin}",
            part.0, other.0, part.0, other.0
        );
        warnings.add(WarningKind::Duplicates, message);
    }
}

/// The bits of all inputs of a sample, in order.
fn bits(data: &Dataset, row: usize) -> impl Iterator<Item = u32> {
    data.inputs.values().flat_map(move |a| {
        let per_row = a.len() / a.len_of(Axis(0));
        a.as_slice().unwrap_or(&[]).iter().skip(row * per_row).take(per_row).map(|x| x.to_bits())
    })
}

#[cfg(test)]
mod tests {
    use super::super::mnist::tests::embedded;
    use super::super::tests::labels;
    use super::*;
    use crate::data::{DiskOptions, disk, disk_with, generate_pair_sets, mnist};
    use crate::rng::Seed;
    use WarningKind::*;
    use ndarray::{ArrayD, IxDyn};

    /// 60 training, 20 validation and 40 test points of three classes, nothing wrong with them.
    fn clean() -> Split {
        let mut stream = Seed(1).key("check").stream();
        let mut part = |n: usize| {
            let x = ArrayD::from_shape_simple_fn(IxDyn(&[n, 3]), || stream.uniform_f32());
            let y: Vec<u32> = (0..n as u32).map(|i| i % 3).collect();
            Dataset::from_arrays(x, labels(&y, 3)).unwrap()
        };
        Split::new(part(60), Some(part(20)), part(40), "a test", None).unwrap()
    }

    #[test]
    fn planted_faults_are_named() {
        fn y(data: &mut Dataset) -> &mut ArrayD<u32> {
            match &mut data.targets["y"] {
                Target::Classes { labels, .. } => labels,
                Target::Values(_) => panic!("classes"),
            }
        }
        fn validation(split: &mut Split) -> &mut Dataset {
            split.validation.as_mut().unwrap()
        }
        fn copy(from: &Dataset, row: usize, to: &mut Dataset, at: usize) {
            let source = from.inputs["x"].index_axis(Axis(0), row).to_owned();
            to.inputs["x"].index_axis_mut(Axis(0), at).assign(&source);
        }
        type Fault = (fn(&mut Split), WarningKind, &'static str);
        let faults: [Fault; 20] = [
            (|s| y(&mut s.train).fill(1), SingleClass, r#"target "y": all 60 training samples are of class "b""#),
            (|s| y(validation(s)).fill(0), SingleClass, r#"target "y": all 20 validation samples are of class "a""#),
            (|s| y(&mut s.test).fill(2), SingleClass, r#"target "y": all 40 test samples are of class "c""#),
            (
                |s| y(&mut s.train).mapv_inplace(|l| l.min(1)),
                AbsentClass,
                r#"target "y": no training sample is of class "c""#,
            ),
            (
                |s| y(&mut s.test).mapv_inplace(|l| l.max(1)),
                AbsentClass,
                r#"target "y": no test sample is of class "a""#,
            ),
            (
                |s| copy(&s.train, 7, &mut s.test, 30),
                Duplicates,
                "1 of 40 test samples are also training samples: test 30 is training 7",
            ),
            (
                |s| (0..9).for_each(|i| copy(&s.train, 5, &mut s.test, i)),
                Duplicates,
                "9 of 40 test samples are also training samples: test 0 is training 5",
            ),
            (
                |s| copy(&s.train, 59, s.validation.as_mut().unwrap(), 0),
                Duplicates,
                "1 of 20 validation samples are also training samples: validation 0 is training 59",
            ),
            (
                |s| copy(s.validation.as_ref().unwrap(), 3, &mut s.test, 4),
                Duplicates,
                "1 of 40 test samples are also validation samples: test 4 is validation 3",
            ),
            (
                |s| s.train.inputs["x"].index_axis_mut(Axis(1), 2).fill(0.1),
                ConstantFeature,
                r#"input "x": the same value in every training sample: feature 2"#,
            ),
            (
                |s| s.train.inputs["x"].fill(-4.0),
                ConstantFeature,
                r#"input "x": the same value in every training sample: feature 0, 1, 2"#,
            ),
            (|s| s.train = s.train.select(&[]), Empty, "the training data have no samples"),
            (|s| s.test = s.test.select(&[]), Empty, "the test data have no samples"),
            (|s| *validation(s) = validation(s).select(&[]), Empty, "the validation data have no samples"),
            (
                |s| s.test.inputs["x"][[3, 1]] = f32::NAN,
                Invalid,
                r#"the test data: input "x": row 3, value 1 is NaN, which is not a finite number"#,
            ),
            (
                |s| s.train.inputs["x"][[0, 0]] = f32::NEG_INFINITY,
                Invalid,
                r#"the training data: input "x": row 0, value 0 is -inf, which is not a finite number"#,
            ),
            (
                |s| y(&mut s.train)[[8]] = 3,
                Invalid,
                r#"the training data: target "y": row 8 is label 3, but the classes are 0 to 2"#,
            ),
            (
                |s| *y(&mut s.test) = ArrayD::zeros(IxDyn(&[39])),
                Invalid,
                r#"the test data: target "y": 39 samples, but input "x" has 40"#,
            ),
            (
                |s| s.test.inputs["x"] = ArrayD::zeros(IxDyn(&[40, 2])),
                Invalid,
                "the test data are x 2 -> y (3 classes), the training data x 3 -> y (3 classes)",
            ),
            (
                |s| s.test.targets["y"] = Target::Values(ArrayD::zeros(IxDyn(&[40]))),
                Invalid,
                "the test data are x 3 -> y (a value), the training data x 3 -> y (3 classes)",
            ),
        ];
        for (fault, kind, message) in faults {
            let mut split = clean();
            fault(&mut split);
            assert_eq!(check(&split), [Warning { kind, message: message.into() }]);
        }
    }

    #[test]
    fn constant_images_are_named_but_not_constant_pixels() {
        let mut split = clean();
        for data in [&mut split.train, split.validation.as_mut().unwrap(), &mut split.test] {
            data.inputs["x"] = data.inputs["x"].clone().into_shape_with_order(vec![data.len(), 1, 1, 3]).unwrap();
        }
        split.train.inputs["x"].index_axis_mut(Axis(3), 1).fill(0.0);
        assert_eq!(check(&split), []);
        split.train.inputs["x"].fill(0.0);
        let [Warning { kind: ConstantFeature, message }] = &check(&split)[..] else { panic!("one warning") };
        assert_eq!(message, r#"input "x": the same value everywhere in the training samples"#);
    }

    #[test]
    fn many_absent_classes_are_counted() {
        let mut split = clean();
        for data in [&mut split.train, split.validation.as_mut().unwrap(), &mut split.test] {
            let Target::Classes { names, .. } = &mut data.targets["y"] else { panic!("classes") };
            names.extend(('d'..='l').map(String::from));
        }
        let expected = r#"target "y": no test sample is of class "d", "e", "f", "g", "h" and 4 more"#;
        assert_eq!(check(&split)[2].message, expected);
    }

    #[test]
    fn clean_data_raise_no_alarm() {
        assert_eq!(check(&clean()), []);
        let (train, test) = embedded();
        for seed in 0..20 {
            let seed = Seed(seed);
            assert_eq!(check(&disk(1000, seed)), []);
            assert_eq!(check(&disk_with(&DiskOptions { train: 100, test: 50, square: true }, seed).unwrap()), []);
            assert_eq!(check(&generate_pair_sets(&train, &test, 500, 500, seed).unwrap().hold_out(100).unwrap()), []);
            assert_eq!(check(&mnist(&train, &test, 500, 500, 14, seed).unwrap()), []);
        }
    }
}
