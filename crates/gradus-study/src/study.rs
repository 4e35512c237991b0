//! A study: what a file says, resolved.

use std::path::Path;
use std::sync::Arc;

use gradus::Registry;
use gradus::error::{Error, Kind};
use gradus::rng::Seed;
use gradus::spec::suggest;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::arm::{self, ArmSettings, Shared};
use crate::diagnostic::{Diagnostic, Place, Read, SourceText};
use crate::keys::{COMPARE, RECORD, STUDY};
use crate::patch;
use crate::read::{Keys, check};
use crate::set::Overrides;
use crate::tree::{self, MAX_BYTES, Table};

/// The most rounds of a study.
const MAX_ROUNDS: usize = 1_000_000;

/// A study, resolved: every arm can be trained.
#[derive(Clone, Debug)]
pub struct Study {
    /// What is asked, in a line.
    pub title: String,
    /// More about it.
    pub description: Option<String>,
    /// Times each arm is trained.
    pub rounds: usize,
    /// Everything random follows from it.
    pub seed: Seed,
    /// The arms by name, in the order of the file.
    pub arms: IndexMap<String, ArmSettings>,
    /// What is compared with what.
    pub compare: Compare,
    /// What is written down of every trial.
    pub record: Record,
    /// The name of the file it was read from.
    pub file: String,
    /// The text of that file.
    pub text: String,
}

/// What is compared with what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// The arm the others are compared with.
    pub baseline: String,
    /// What is measured: `test accuracy`.
    pub metric: String,
    /// A difference smaller than this does not matter.
    pub margin: f64,
}

/// What is written down of every trial, beside its metrics and epochs. Nothing of it changes a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The losses of every step.
    pub steps: bool,
    /// The trained network.
    pub weights: bool,
    /// The class predicted for every test sample.
    pub predictions: bool,
    /// The decision surface, for points of the plane.
    pub grid: bool,
    /// Test samples of the first rounds, where they are images.
    pub samples: bool,
}

impl Default for Record {
    fn default() -> Record {
        Record { steps: false, weights: false, predictions: true, grid: true, samples: true }
    }
}

impl Record {
    fn of(keys: &Keys<'_>) -> Record {
        let (flag, d) = (|name: &str| keys.flag(name), Record::default());
        Record {
            steps: flag("steps").unwrap_or(d.steps),
            weights: flag("weights").unwrap_or(d.weights),
            predictions: flag("predictions").unwrap_or(d.predictions),
            grid: flag("grid").unwrap_or(d.grid),
            samples: flag("samples").unwrap_or(d.samples),
        }
    }
}

impl Study {
    /// Reads a study from the text of a file. `file_name` is what messages call it, and relative paths in it begin in its folder.
    ///
    /// # Errors
    /// Whatever is wrong with it, with its place.
    pub fn parse(text: &str, file_name: &str, overrides: &Overrides) -> Result<Study, Box<Diagnostic>> {
        Study::parse_with(text, file_name, overrides, &Registry::new())
    }

    /// As [`Study::parse`], with layers and losses of a user's own.
    ///
    /// # Errors
    /// As [`Study::parse`].
    pub fn parse_with(
        text: &str,
        file_name: &str,
        overrides: &Overrides,
        registry: &Registry,
    ) -> Result<Study, Box<Diagnostic>> {
        let source = Arc::new(SourceText { name: file_name.to_string(), text: text.to_string() });
        let mut table = tree::parse(&source)?;
        overrides.apply(&mut table, registry)?;
        check(&STUDY, &table, registry)?;
        let keys = Keys::new(&STUDY, &table);
        let whole = Place::new(&source, 0..0);
        let rounds = keys.count("rounds").unwrap_or(10);
        if rounds > MAX_ROUNDS {
            return Err(table["rounds"].node.place.error(format_args!("a study has at most {MAX_ROUNDS} rounds")));
        }
        let written = keys
            .need("arm", &whole)?
            .table()
            .filter(|t| !t.is_empty())
            .ok_or_else(|| whole.error("there is no arm"))?;
        let none = Table::new();
        let shared = Shared {
            data: keys.table("data").unwrap_or(&none),
            train: keys.table("train").unwrap_or(&none),
            folder: Path::new(file_name).parent().unwrap_or(Path::new("")),
            registry,
        };
        let mut schemas = Vec::new();
        let mut arms: IndexMap<String, ArmSettings> = IndexMap::new();
        for (name, entry) in &patch::write_out(written, registry)? {
            let arm = arm::read(name, entry, &shared, &mut schemas)?;
            if let Some(twin) = arms.values().find(|other| arm.same_as(other)) {
                let e = entry.key.error(format_args!("arms `{}` and `{name}` are the same", twin.name));
                return Err(match patch::place(written, &twin.name) {
                    Some(place) => e.also(&place, "the same as this"),
                    None => e,
                });
            }
            arms.insert(name.clone(), arm);
        }
        let compare = compare(keys.table("compare").unwrap_or(&none), &arms)?;
        let stem =
            Path::new(file_name).file_stem().map_or_else(|| "study".into(), |s| s.to_string_lossy().into_owned());
        Ok(Study {
            title: keys.text("title").unwrap_or(stem),
            description: keys.text("description"),
            rounds,
            seed: Seed(keys.count("seed").unwrap_or(1) as u64),
            arms,
            compare,
            record: Record::of(&Keys::new(&RECORD, keys.table("record").unwrap_or(&none))),
            file: file_name.to_string(),
            text: text.to_string(),
        })
    }

    /// Reads a study from a file.
    ///
    /// # Errors
    /// When it cannot be read, is too large, is not text, or as [`Study::parse`].
    pub fn read(path: &Path, overrides: &Overrides) -> Result<Study, Box<Diagnostic>> {
        let name = path.display().to_string();
        let text = read_text(path, &name)?;
        Study::parse(&text, &name, overrides)
    }

    /// The arm of that name; without one, the baseline, which is the first arm unless the file says otherwise.
    ///
    /// # Errors
    /// [`Kind::Name`] with the nearest name.
    pub fn arm(&self, name: Option<&str>) -> Result<&ArmSettings, Error> {
        let name = name.unwrap_or(&self.compare.baseline);
        self.arms.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.arms.keys().map(String::as_str).collect();
            Error::new(Kind::Name, format_args!("{}: there is no arm `{name}`{}", self.file, suggest(name, &known)))
        })
    }
}

/// A file's text, unless it is too large or no text.
pub(crate) fn read_text(path: &Path, name: &str) -> Read<String> {
    let whole = |text: &str| {
        Place::new(&Arc::new(SourceText { name: name.to_string(), text: text.to_string() }), text.len()..text.len())
    };
    let io = |e: &std::io::Error| whole("").error(format_args!("cannot be read: {e}")).of_kind(Kind::Io);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| io(&e))?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_BYTES as u64 + 1), &mut bytes).map_err(|e| io(&e))?;
    if bytes.len() > MAX_BYTES {
        return Err(whole("")
            .error(format_args!("the file has more than {MAX_BYTES} bytes; a study has not"))
            .of_kind(Kind::File));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&e.as_bytes()[..at]).into_owned();
        whole(&before).error(format_args!("byte {at} is not UTF-8 text")).of_kind(Kind::File)
    })
}

fn compare(table: &Table, arms: &IndexMap<String, ArmSettings>) -> Read<Compare> {
    let keys = Keys::new(&COMPARE, table);
    let baseline = match keys.text("baseline") {
        Some(name) if arms.contains_key(&name) => name,
        Some(name) => {
            let known: Vec<&str> = arms.keys().map(String::as_str).collect();
            return Err(table["baseline"]
                .node
                .place
                .error(format_args!("there is no arm `{name}`{}", suggest(&name, &known))));
        }
        None => arms.keys().next().cloned().unwrap_or_default(),
    };
    let metric = keys.text("metric").unwrap_or_else(|| "test accuracy".into());
    check_metric(&metric, &arms[&baseline]).map_err(|message| table["metric"].node.place.error(message))?;
    let margin = keys.number("margin").unwrap_or(0.0);
    if margin < 0.0 {
        return Err(table["margin"].node.place.error("`margin` is not negative"));
    }
    Ok(Compare { baseline, metric, margin })
}

/// `<train|validation|test> <accuracy|error|loss|rmse|mae|r2> [of <loss>]`.
fn check_metric(metric: &str, baseline: &ArmSettings) -> Result<(), String> {
    let words: Vec<&str> = metric.split_whitespace().collect();
    let (part, what, of) = match words[..] {
        [part, what] => (part, what, None),
        [part, what, "of", loss] => (part, what, Some(loss)),
        _ => return Err("expected `test accuracy`, `validation loss of NAME`, …".into()),
    };
    let check = |word: &str, known: &[&str]| match known.contains(&word) {
        true => Ok(()),
        false => Err(format!("expected one of {}, found `{word}`{}", known.join(", "), suggest(word, known))),
    };
    check(part, &["train", "validation", "test"])?;
    check(what, &["accuracy", "error", "loss", "rmse", "mae", "r2"])?;
    if let Some(loss) = of {
        let known: Vec<&str> = baseline.architecture.losses.keys().map(String::as_str).collect();
        if !known.contains(&loss) {
            return Err(format!("arm `{}` has no loss `{loss}`{}", baseline.name, suggest(loss, &known)));
        }
    }
    if part == "validation" && baseline.data.validation == 0 {
        return Err("there are no validation samples: give `validation` in [data], say 100".into());
    }
    Ok(())
}
