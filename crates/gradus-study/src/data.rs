//! `[data]`: what is learnt from.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use gradus::data::{Dataset, Digits, DiskOptions, Normalisation, Schema, Split, TableOptions};
use gradus::data::{disk_with, generate_pair_sets, load_table, mnist};
use gradus::error::Result;
use gradus::fail;
use gradus::rng::{Seed, permutation};
use serde::{Deserialize, Serialize};

use crate::keys::DATA;
use crate::read::Keys;

/// The most samples that are drawn: a mistyped number is refused before memory is asked for.
const MAX_SAMPLES: usize = 10_000_000;

/// Where samples come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Points of the unit square, inside a circle or not.
    Disk,
    /// Pairs of digits: which one is larger?
    MnistPairs,
    /// Single digits.
    Mnist,
    /// A table in a CSV file.
    Csv,
}

/// The sources' names in files.
pub(crate) const SOURCES: &[&str] = &["disk", "mnist-pairs", "mnist", "csv"];

impl Source {
    /// Every source.
    pub const ALL: [Source; 4] = [Source::Disk, Source::MnistPairs, Source::Mnist, Source::Csv];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        SOURCES[self as usize]
    }

    /// What it is, its inputs and its targets.
    pub fn about(self) -> &'static str {
        match self {
            Source::Disk => {
                "points drawn uniformly from the unit square; inside the circle of half the area, or outside?\n\
                 input `points` (2); target `inside`, of classes outside, inside"
            }
            Source::MnistPairs => {
                "pairs of different digits, averaged 2×2, no image twice: is the first one larger?\n\
                 input `pair` (2, 14, 14), of which `pair[0]` and `pair[1]` are the two images; targets `larger`, of classes \"first is \
                 smaller\", \"first is larger\", and `digits`, two labels of the classes 0 to 9: `digits[0]`, `digits[1]`"
            }
            Source::Mnist => {
                "single digits, drawn without replacement\ninput `image` (1, 28, 28); target `digit`, of classes 0 to 9"
            }
            Source::Csv => {
                "a table with a header: one column is the target, all others are features\n\
                 input `x`; target `y`: classes when the column has words or whole numbers from 0 to 99, values otherwise"
            }
        }
    }
}

/// What is learnt from, as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSettings {
    /// Where the samples come from.
    pub source: Source,
    /// Training samples, those held out for validation among them; 1000 when `None`, for a table all there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<usize>,
    /// Test samples, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<usize>,
    /// Training samples held out for validation.
    #[serde(default)]
    pub validation: usize,
    /// Whether the inputs stay as they are.
    #[serde(default)]
    pub raw: bool,
    /// The seed of the draw, instead of the one given to [`DataSettings::load`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Disk: inside is a square.
    #[serde(default)]
    pub square: bool,
    /// Digits: the folder with MNIST's files; the embedded digits when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Single digits: pixels of a side, 28 or 14.
    #[serde(default = "side")]
    pub side: usize,
    /// Table: the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Table: the file of the test samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_file: Option<PathBuf>,
    /// Table: the part of `file` that is for the test, without a `test_file`.
    #[serde(default = "test_share")]
    pub test_share: f64,
    /// Table: the header of the column to predict; the last one when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Table: the shape of a sample; a vector when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<usize>>,
}

fn side() -> usize {
    28
}

fn test_share() -> f64 {
    0.2
}

impl DataSettings {
    /// The defaults of a source.
    pub fn new(source: Source) -> DataSettings {
        DataSettings {
            source,
            train: None,
            test: None,
            validation: 0,
            raw: false,
            seed: None,
            square: false,
            dir: None,
            side: side(),
            file: None,
            test_file: None,
            test_share: test_share(),
            target: None,
            shape: None,
        }
    }

    /// Of a checked table that names its source; `folder` is where relative paths of the file begin.
    pub(crate) fn of(keys: &Keys<'_>, folder: &Path) -> DataSettings {
        let source =
            keys.text("source").and_then(|s| Source::ALL.into_iter().find(|x| x.name() == s)).expect("checked");
        let path = |name: &str| {
            let node = keys.get(name)?;
            // A path given on the command line begins where the user is.
            let from = if node.place.source.name == "--set" { Path::new("") } else { folder };
            Some(from.join(keys.text(name)?))
        };
        let mut d = DataSettings::new(source);
        d.train = keys.count("train");
        d.test = keys.count("test");
        d.validation = keys.count("validation").unwrap_or(d.validation);
        d.raw = keys.flag("raw").unwrap_or(d.raw);
        d.seed = keys.count("seed").map(|s| s as u64);
        d.square = keys.flag("square").unwrap_or(d.square);
        d.dir = path("dir");
        d.side = keys.text("side").and_then(|s| s.parse().ok()).unwrap_or(d.side);
        d.file = path("file");
        d.test_file = path("test_file");
        d.test_share = keys.number("test_share").unwrap_or(d.test_share);
        d.target = keys.text("target");
        d.shape = keys.counts("shape");
        d
    }

    /// Checks what a file, or whoever made this, may get wrong.
    ///
    /// # Errors
    /// [`Kind::Argument`](gradus::error::Kind::Argument), naming the key.
    pub fn check(&self) -> Result<()> {
        for (key, n) in [("train", self.train), ("test", self.test)] {
            if n.is_some_and(|n| !(1..=MAX_SAMPLES).contains(&n)) {
                fail!(Argument, "`{key}` must be a whole number from 1 to {MAX_SAMPLES}");
            }
        }
        if self.source != Source::Csv && self.validation >= self.train() {
            fail!(Argument, "`validation` = {} leaves none of the {} training samples", self.validation, self.train());
        }
        if self.side != 28 && self.side != 14 {
            fail!(Argument, "`side` is 28 or 14, found {}", self.side);
        }
        if self.source == Source::Csv && self.file.is_none() {
            fail!(Argument, "`source` = \"csv\" needs `file`: the CSV file with a header");
        }
        if !(self.test_share > 0.0 && self.test_share < 1.0) {
            fail!(Argument, "`test_share` must be above 0 and below 1, found {}", self.test_share);
        }
        let set = [
            ("square", self.square),
            ("dir", self.dir.is_some()),
            ("file", self.file.is_some()),
            ("test_file", self.test_file.is_some()),
        ];
        for (name, _) in set.into_iter().filter(|(_, set)| *set) {
            let only = DATA.key(name).map_or(&[][..], |k| k.only);
            if !only.contains(&self.source.name()) {
                fail!(Argument, "`{name}` is for the source {}, not for {}", only.join(" and "), self.source.name());
            }
        }
        Ok(())
    }

    /// Training samples, those held out for validation among them; `None` where a table says.
    pub fn training_samples(&self) -> Option<usize> {
        if self.source == Source::Csv { self.train } else { Some(self.train()) }
    }

    fn train(&self) -> usize {
        self.train.unwrap_or(1000)
    }

    fn test(&self) -> usize {
        self.test.unwrap_or(1000)
    }

    /// Draws the samples, holds out those for validation, and normalises all parts by the training samples unless `raw`;
    /// how, is returned too, for the model to apply to raw input.
    ///
    /// # Errors
    /// When a file cannot be read, or has too few samples.
    pub fn load(&self, seed: Seed) -> Result<(Split, Option<Normalisation>)> {
        self.check()?;
        let seed = self.seed.map_or(seed, Seed);
        let mut split = match self.source {
            Source::Disk => {
                disk_with(&DiskOptions { train: self.train(), test: self.test(), square: self.square }, seed)?
            }
            Source::MnistPairs => {
                self.with_digits(|train, test| generate_pair_sets(train, test, self.train(), self.test(), seed))?
            }
            Source::Mnist => {
                self.with_digits(|train, test| mnist(train, test, self.train(), self.test(), self.side, seed))?
            }
            Source::Csv => self.table(seed)?,
        };
        if self.validation > 0 {
            split = split.hold_out(self.validation)?;
        }
        let normalisation = if self.raw { None } else { Some(split.normalise()?) };
        Ok((split, normalisation))
    }

    /// The names and the shapes of the data, without drawing them. Only a table has to be read for it.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn schema(&self) -> Result<Schema> {
        let two = || Digits::new(ndarray_images(), vec![0u8, 1].into());
        Ok(match self.source {
            Source::Disk => disk_with(&DiskOptions { train: 1, test: 1, square: false }, Seed(0))?.train.schema(),
            Source::MnistPairs => generate_pair_sets(&two()?, &two()?, 1, 1, Seed(0))?.train.schema(),
            Source::Mnist => mnist(&two()?, &two()?, 1, 1, self.side, Seed(0))?.train.schema(),
            Source::Csv => {
                self.check()?;
                self.file(self.file.as_deref().unwrap_or(Path::new("")), None)?.schema()
            }
        })
    }

    fn with_digits(&self, draw: impl Fn(&Digits, &Digits) -> Result<Split>) -> Result<Split> {
        match &self.dir {
            Some(dir) => Digits::from_dir(dir).and_then(|(train, test)| draw(&train, &test)),
            None => embedded().and_then(|pools| draw(&pools.0, &pools.1)),
        }
    }

    /// The embedded digits, where samples are drawn from them: who draws often holds them meanwhile.
    pub(crate) fn hold(&self) -> Result<Option<Arc<Pools>>> {
        let digits = matches!(self.source, Source::MnistPairs | Source::Mnist) && self.dir.is_none();
        digits.then(embedded).transpose()
    }

    fn file(&self, path: &Path, like: Option<&Schema>) -> Result<Dataset> {
        let kind = like.and_then(|s| s.targets.get("y").cloned());
        load_table(
            path,
            &TableOptions { shape: self.shape.clone(), column: self.target.clone(), kind, ..TableOptions::default() },
        )
    }

    fn table(&self, seed: Seed) -> Result<Split> {
        let path = self.file.as_deref().unwrap_or(Path::new(""));
        let all = self.file(path, None)?;
        let first = |data: Dataset, n: Option<usize>, key: &str, what: &str| -> Result<Dataset> {
            match n {
                None => Ok(data),
                Some(n) if n > data.len() => {
                    fail!(Argument, "`{what}` = {n}, but there are {} samples for it", data.len())
                }
                Some(n) => Ok(data.select(&permutation(seed.key(key), data.len())[..n])),
            }
        };
        let (train, test) = match &self.test_file {
            Some(test) => {
                let test = self.file(test, Some(&all.schema()))?;
                (all, test)
            }
            None => {
                let n = (all.len() as f64 * self.test_share).round() as usize;
                if n == 0 || n >= all.len() {
                    fail!(
                        Data,
                        "{}: a `test_share` of {} of {} samples leaves nothing",
                        path.display(),
                        self.test_share,
                        all.len()
                    );
                }
                let order = permutation(seed.key("csv.split"), all.len());
                (all.select(&order[n..]), all.select(&order[..n]))
            }
        };
        let train = first(train, self.train, "csv.train", "train")?;
        let test = first(test, self.test, "csv.test", "test")?;
        Split::new(train, None, test, path.display().to_string(), Some("rows of a table".into()))
    }
}

/// Digits for training and for tests.
type Pools = (Digits, Digits);

/// The embedded digits, which somebody holds or nobody: 8 MB, decoded when they are not there. One training draws from
/// them once and lets go of them.
fn embedded() -> Result<Arc<Pools>> {
    static HELD: Mutex<Weak<Pools>> = Mutex::new(Weak::new());
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pools) = held.upgrade() {
        return Ok(pools);
    }
    let pools = Arc::new(Digits::embedded(gradus_data::TRAIN_IMAGES, gradus_data::TRAIN_LABELS)?);
    *held = Arc::downgrade(&pools);
    Ok(pools)
}

/// Two black images.
fn ndarray_images() -> ndarray::Array3<u8> {
    ndarray::Array3::zeros((2, 28, 28))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_the_schema_it_says() {
        for source in [Source::Disk, Source::MnistPairs, Source::Mnist] {
            let d = DataSettings { train: Some(30), test: Some(20), validation: 10, ..DataSettings::new(source) };
            let (split, normalisation) = d.load(Seed(1)).unwrap();
            assert_eq!(split.train.schema(), d.schema().unwrap());
            assert_eq!((split.train.len(), split.validation.unwrap().len(), split.test.len()), (20, 10, 20));
            assert!(normalisation.is_some());
            let (raw, none) = DataSettings { raw: true, ..d.clone() }.load(Seed(1)).unwrap();
            assert!(none.is_none() && raw.info.hash == split.info.hash && raw.train != split.train);
            let fixed = DataSettings { seed: Some(5), ..d.clone() };
            assert_eq!(fixed.load(Seed(1)).unwrap().0.train, fixed.load(Seed(2)).unwrap().0.train);
            let json = serde_json::to_string(&d).unwrap();
            assert_eq!(serde_json::from_str::<DataSettings>(&json).unwrap(), d);
        }
    }

    #[test]
    fn a_table_is_split_once() {
        let dir = std::env::temp_dir().join(format!("gradus-study-csv-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("t.csv");
        let rows: String =
            (0..50).map(|i| format!("{i},{},{}\n", 2 * i, if i % 2 == 0 { "even" } else { "odd" })).collect();
        std::fs::write(&file, format!("a,b,kind\n{rows}")).unwrap();
        let d = DataSettings { file: Some(file.clone()), raw: true, ..DataSettings::new(Source::Csv) };
        assert_eq!(d.schema().unwrap().to_string(), "x 2 -> y (2 classes)");
        let (split, _) = d.load(Seed(1)).unwrap();
        assert_eq!((split.train.len(), split.test.len()), (40, 10));
        let mut seen: Vec<u32> = [&split.train, &split.test]
            .iter()
            .flat_map(|d| d.inputs["x"].outer_iter().map(|r| r[[0]] as u32).collect::<Vec<_>>())
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..50).collect::<Vec<_>>());
        let both = DataSettings { test_file: Some(file), train: Some(7), ..d.clone() };
        assert_eq!(both.load(Seed(1)).map(|(s, _)| (s.train.len(), s.test.len())).unwrap(), (7, 50));
        assert!(
            DataSettings { train: Some(41), ..d.clone() }.load(Seed(1)).unwrap_err().to_string().contains("40 samples")
        );
        assert!(DataSettings { file: None, ..d }.check().unwrap_err().to_string().contains("`file`"));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
