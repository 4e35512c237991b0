//! A study: what a file says, resolved.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use gradus::Registry;
use gradus::data::Schema;
use gradus::error::{Error, Kind};
use gradus::rng::Seed;
use gradus::spec::suggest;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::DataSettings;
use crate::arm::{self, ArmSettings, Shared};
use crate::diagnostic::{Diagnostic, Place, Read, SourceText};
use crate::factors;
use crate::keys::{COMPARE, MATRIX, RECORD, STUDY, TUNE};
use crate::patch;
use crate::read::{Keys, check};
use crate::set::Overrides;
use crate::tree::{self, Entry, MAX_BYTES, Table};

/// The most rounds of a study.
pub(crate) const MAX_ROUNDS: usize = 1_000_000;

/// A study, resolved: every arm can be trained. Written down without the text of its file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// What is asked, in a line.
    pub title: String,
    /// More about it.
    pub description: Option<String>,
    /// Times each arm is trained.
    pub rounds: usize,
    /// Everything random follows from it.
    #[serde(with = "seed")]
    pub seed: Seed,
    /// The arms by name, in the order of the file.
    pub arms: IndexMap<String, ArmSettings>,
    /// Where arms come from that `[matrix]` made.
    #[serde(default)]
    pub origins: IndexMap<String, Origin>,
    /// How arms choose values of their own before the study begins.
    #[serde(default)]
    pub tune: Option<Tune>,
    /// What is compared with what.
    pub compare: Compare,
    /// What is written down of every trial.
    pub record: Record,
    /// The name of the file it was read from.
    #[serde(skip)]
    pub file: String,
    /// The text of that file.
    #[serde(skip)]
    pub text: String,
}

/// Where an arm comes from that `[matrix]` made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The arm of the file.
    pub from: String,
    /// The level of each factor by its key, `train.optimizer.lr`; the arm is one too, `arm`, where several are varied.
    pub factors: IndexMap<String, String>,
}

/// How arms choose values of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tune {
    /// Rounds in which every candidate is tried.
    pub rounds: usize,
    /// Training samples held out to judge by; a fifth of them when `None`.
    pub validation: Option<usize>,
    /// What is judged: `validation accuracy`.
    pub metric: String,
    /// The candidates of each arm that is tuned.
    pub candidates: IndexMap<String, Vec<Candidate>>,
}

/// An arm with values to be tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The values by their keys: `train.optimizer.lr`.
    pub values: IndexMap<String, String>,
    /// The arm with them.
    pub settings: ArmSettings,
}

/// A seed as a number.
mod seed {
    use super::{Deserialize, Seed};

    pub fn serialize<S: serde::Serializer>(seed: &Seed, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(seed.0)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Seed, D::Error> {
        u64::deserialize(d).map(Seed)
    }
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
        let mut arms = Arms { shared, schemas: Vec::new(), keys: HashMap::new() };
        let plain = patch::write_out(written, registry)?;
        let (mut table_of_all, names) = (table.clone(), plain.keys().map(String::as_str).collect::<Vec<_>>());

        // The arms of the file, or what [matrix] makes of them.
        let matrix = keys.table("matrix").unwrap_or(&none);
        let varied = varied(matrix, &names)?;
        let factors = factors::read(&MATRIX, matrix)?;
        let place = table.get("matrix").map_or(&whole, |e| &e.key);
        let made = factors::combine(&factors, &varied, &plain, place)?;
        factors::plant(&mut table_of_all, &factors, &made, registry)?;
        let written_out = write_out_all(&table_of_all, registry)?;
        let mut list: IndexMap<String, ArmSettings> = IndexMap::new();
        let mut origins = IndexMap::new();
        for name in &names {
            let of = made.get(*name).filter(|list| !list.is_empty());
            for combination in of.into_iter().flatten() {
                let mut factors = combination.values.clone();
                if varied.len() > 1 {
                    factors.insert("arm".into(), (*name).to_string());
                }
                origins.insert(combination.name.clone(), Origin { from: (*name).to_string(), factors });
            }
            let all = of.map_or(vec![*name], |list| list.iter().map(|c| c.name.as_str()).collect());
            for name in all {
                list.insert(name.to_string(), arms.read(name, &written_out[name])?);
            }
        }

        let compare = compare(keys.table("compare").unwrap_or(&none), &list, &origins)?;
        let tune = match table.get("tune") {
            Some(entry) => {
                let at = &entry.key;
                Some(arms.tune(
                    keys.table("tune").unwrap_or(&none),
                    at,
                    &list,
                    &origins,
                    &compare,
                    &mut table_of_all,
                )?)
            }
            None => None,
        };
        let stem =
            Path::new(file_name).file_stem().map_or_else(|| "study".into(), |s| s.to_string_lossy().into_owned());
        Ok(Study {
            title: keys.text("title").unwrap_or(stem),
            description: keys.text("description"),
            rounds,
            seed: Seed(keys.count("seed").unwrap_or(1) as u64),
            arms: list,
            origins,
            tune,
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

/// The arms that `[matrix]` varies.
fn varied<'a>(matrix: &Table, names: &[&'a str]) -> Read<Vec<&'a str>> {
    let listed = Keys::new(&MATRIX, matrix).texts("arms");
    if !matrix.contains_key("arms") {
        return Ok(names.to_vec());
    }
    let find = |(name, place): &(&str, &Place)| {
        let found = names.iter().find(|n| *n == name).copied();
        found.ok_or_else(|| place.error(format_args!("there is no arm `{name}`{}", suggest(name, names))))
    };
    let wanted = listed.iter().map(find).collect::<Read<Vec<_>>>()?;
    Ok(names.iter().filter(|n| wanted.contains(n)).copied().collect())
}

/// Every arm of a tree, those that were planted too, written out.
fn write_out_all(tree: &Table, registry: &Registry) -> Read<Table> {
    patch::write_out_all(tree.get("arm").and_then(|e| e.node.table()).unwrap_or(&Table::new()), registry)
}

/// The arms of a file as they are read.
struct Arms<'s> {
    shared: Shared<'s>,
    schemas: Vec<(DataSettings, Schema)>,
    /// What an arm does, and which does it.
    keys: HashMap<String, (String, Place)>,
}

impl Arms<'_> {
    /// Reads an arm, which does something else than all before.
    fn read(&mut self, name: &str, entry: &Entry) -> Read<ArmSettings> {
        let arm = arm::read(name, entry, &self.shared, &mut self.schemas)?;
        if let Some((twin, place)) = self.keys.insert(arm.identity(), (name.to_string(), entry.key.clone())) {
            let e = entry.key.error(format_args!("arms `{twin}` and `{name}` are the same"));
            return Err(e.also(&place, "the same as this"));
        }
        Ok(arm)
    }

    /// The candidates of every arm.
    fn tune(
        &mut self,
        table: &Table,
        place: &Place,
        list: &IndexMap<String, ArmSettings>,
        origins: &IndexMap<String, Origin>,
        compare: &Compare,
        tree: &mut Table,
    ) -> Read<Tune> {
        let (keys, registry) = (Keys::new(&TUNE, table), self.shared.registry);
        let factors = factors::read(&TUNE, table)?;
        if factors.is_empty() {
            return Err(place.error("[tune] needs a key with its values: `train.optimizer.lr = [0.01, 0.03, 0.1]`"));
        }
        let plain = write_out_all(tree, registry)?;
        let tuned = |name: &&str| {
            let flag = plain.get(*name).and_then(|e| e.node.table()?.get("tune"));
            !flag.is_some_and(|e| e.node.is_false())
        };
        let names: Vec<&str> = list.keys().map(String::as_str).filter(tuned).collect();
        let made = factors::combine(&factors, &names, &plain, place)?;
        factors::plant(tree, &factors, &made, registry)?;
        let all = write_out_all(tree, registry)?;
        let at = |key: &str| table.get(key).map_or(place, |e| &e.node.place);
        let metric = keys.text("metric").unwrap_or_else(|| {
            let score = compare.metric.split_once(' ').map_or(compare.metric.as_str(), |(_, score)| score);
            format!("validation {score}")
        });
        if !metric.starts_with("validation ") {
            return Err(at("metric").error("tuning is judged on validation samples: `validation accuracy`"));
        }
        let mut tune = Tune {
            rounds: keys.count("rounds").unwrap_or(3),
            validation: keys.count("validation"),
            metric,
            candidates: IndexMap::new(),
        };
        // An arm that is tuned to what another is by itself is another all the same; two that are tuned alike are not.
        self.keys.clear();
        for (name, combinations) in made.iter().filter(|(_, list)| !list.is_empty()) {
            let mut candidates = Vec::new();
            for combination in combinations {
                let at = &combination.entry.key;
                for key in combination.values.keys() {
                    if origins.get(name).is_some_and(|o| o.factors.contains_key(key)) {
                        return Err(at.error(format_args!("`{key}` is varied by [matrix] already")));
                    }
                    if let Some(key) = key.strip_prefix("data.").filter(|k| *k != "raw" && !k.starts_with("augment")) {
                        return Err(at.error(format_args!("`{key}` says what is learnt: it cannot be tuned")));
                    }
                }
                let entry = &all[&combination.name];
                let settings = ArmSettings { name: name.clone(), ..self.read(&combination.name, entry)? };
                let held = settings.data.validation + tune.validation.unwrap_or(1);
                let held = DataSettings { validation: held, ..settings.data.clone() };
                let place = table.get("validation").map_or(place, |e| &e.node.place);
                held.check().map_err(|e| place.error(e))?;
                candidates.push(Candidate { values: combination.values.clone(), settings });
            }
            if candidates.len() < 2 {
                return Err(place.error(format_args!("there is nothing to choose from for arm `{name}`")));
            }
            let held = DataSettings { validation: 1, ..candidates[0].settings.data.clone() };
            let judged = ArmSettings { data: held, ..candidates[0].settings.clone() };
            check_metric(&tune.metric, &judged).map_err(|message| at("metric").error(message))?;
            tune.candidates.insert(name.clone(), candidates);
        }
        Ok(tune)
    }
}

fn compare(table: &Table, arms: &IndexMap<String, ArmSettings>, origins: &IndexMap<String, Origin>) -> Read<Compare> {
    let keys = Keys::new(&COMPARE, table);
    let baseline = match keys.text("baseline") {
        Some(name) if arms.contains_key(&name) => name,
        Some(name) => {
            let made: Vec<&str> = origins.iter().filter(|(_, o)| o.from == name).map(|(n, _)| n.as_str()).collect();
            let place = &table["baseline"].node.place;
            if let Some(first) = made.first() {
                let message = format_args!("[matrix] makes other arms of `{name}`: name one, such as `{first}`");
                return Err(place.error(message));
            }
            let known: Vec<&str> = arms.keys().map(String::as_str).collect();
            return Err(place.error(format_args!("there is no arm `{name}`{}", suggest(&name, &known))));
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
