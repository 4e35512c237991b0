//! `gradus eval`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use gradus::data::{Dataset, Split, TableOptions, load_table};
use gradus::error::Kind;
use gradus::metrics::{Evaluation, Score};
use gradus::model::ModelFile;
use gradus::net::Net;
use gradus::rng::Seed;
use gradus::{Error, Registry};
use gradus_study::{DataSettings, Source};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::train::round;
use crate::failure::{Outcome, wrong};
use crate::print::{self, Align, many, number};
use crate::subject;

/// Measure a model on data
///
/// The data are drawn raw, and normalised as the model says. Their seed is the one the model was trained with, so that the
/// test samples of its own study are those it was tested on; --seed draws others.
#[derive(Args, Debug)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Examples:
  gradus eval net2.safetensors                         on the data it was tested on
  gradus eval net2.safetensors --data pairs --seed 7   on other draws of a study's data
  gradus eval iris.safetensors --data new.csv          on a table: a header, features, and the target"
)]
pub struct Eval {
    /// A model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// A built-in study, a data source, a study file or a CSV file; the model's own data when left out
    #[arg(long, value_name = "NAME|FILE")]
    data: Option<String>,
    /// The arm of the study whose data are meant
    #[arg(long, requires = "data")]
    arm: Option<String>,
    /// Changes a key of the study: --set data.test=5000
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true, requires = "data")]
    set: Vec<String>,
    /// The part of the data
    #[arg(long, value_enum, default_value_t = Part::Test)]
    part: Part,
    /// The column of a CSV file that holds the target; the last one when left out
    #[arg(long, value_name = "COLUMN", requires = "data")]
    target: Option<String>,
    /// The seed of the draw, instead of the model's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Threads that share the work; no number of them changes a bit
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What it is tested on
    Test,
    /// What was held out of training to choose the best epoch
    Validation,
    /// What it was trained on
    Train,
}

/// The JSON document.
#[derive(Serialize)]
struct Report<'r> {
    model: &'r Path,
    data: &'r str,
    part: &'r str,
    seed: Option<u64>,
    samples: usize,
    metrics: IndexMap<String, f64>,
}

/// Samples, and what to call them.
struct Samples {
    name: String,
    seed: Option<u64>,
    data: Dataset,
}

impl Eval {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let file = ModelFile::read(&self.model)?;
        let mut net = Net::from_file(&file, &Registry::new(), self.threads).map_err(|e| e.at(self.model.display()))?;
        let mut samples = self.samples(&file)?;
        rename(&mut samples.data, &file);
        net.check(&samples.data)?;
        if let Some(n) = &net.normalisation {
            n.apply(&mut samples.data)?;
        }
        let evaluation = net.evaluate(&samples.data)?;
        let part = self.part.to_possible_value().map_or(String::new(), |v| v.get_name().to_string());
        if self.json {
            let metrics = evaluation.metrics(&part);
            let (data, seed) = (&samples.name, samples.seed);
            return print::json(&Report {
                model: &self.model,
                data,
                part: &part,
                seed,
                samples: evaluation.samples,
                metrics,
            });
        }
        let seed = samples.seed.map_or(String::new(), |s| format!(", seed {s}"));
        let n = many(evaluation.samples, "sample");
        print::text(&format!(
            "{} on {}{seed}: {n}\n{}",
            self.model.display(),
            samples.name,
            score_table(&[(&part, evaluation)])
        ))
    }

    fn samples(&self, file: &ModelFile) -> Outcome<Samples> {
        let noted = own_data(file);
        let seed = |study: Seed| self.seed.or(noted.as_ref().map(|(_, seed)| *seed)).unwrap_or(study.0);
        let (name, settings, seed) = match &self.data {
            None => match &noted {
                Some((settings, own)) => (self.model_data(file), settings.clone(), self.seed.unwrap_or(*own)),
                None => {
                    return wrong(format_args!(
                        "{} does not say what it was trained on: give --data",
                        self.model.display()
                    ));
                }
            },
            Some(data) => {
                let path = Path::new(data);
                if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
                    return Ok(Samples { name: data.clone(), seed: None, data: self.table(path, file)? });
                }
                let source = Source::ALL.into_iter().find(|s| s.name() == data);
                match source.filter(|_| gradus_study::builtin::find(data).is_none() && !path.is_file()) {
                    Some(source) => (data.clone(), DataSettings::new(source), seed(Seed(1))),
                    None => {
                        let (study, mut arm) = subject::arm(data, self.arm.as_deref(), &self.set)?;
                        let own =
                            file.meta.notes.get("arm").and_then(Value::as_str).and_then(|name| study.arms.get(name));
                        if let (None, Some(own)) = (&self.arm, own) {
                            arm = own.clone();
                        }
                        (subject::name(&study), arm.data, seed(study.seed))
                    }
                }
            }
        };
        let (split, _) = DataSettings { raw: true, ..settings }.load(round(Seed(seed)))?;
        let Split { train, validation, test, .. } = split;
        let data = match (self.part, validation) {
            (Part::Test, _) => test,
            (Part::Train, _) => train,
            (Part::Validation, Some(validation)) => validation,
            (Part::Validation, None) => return wrong(format_args!("{name}: these data have no validation samples")),
        };
        Ok(Samples { name, seed: Some(seed), data })
    }

    fn model_data(&self, file: &ModelFile) -> String {
        file.meta.notes.get("study").and_then(Value::as_str).unwrap_or("its own data").to_string()
    }

    /// A table, read as the model needs it.
    fn table(&self, path: &Path, file: &ModelFile) -> Outcome<Dataset> {
        let meta = &file.meta;
        let graph = file.graph(&Registry::new()).map_err(|e| e.at(self.model.display()))?;
        let targets: Vec<usize> = graph.losses.iter().map(|l| l.target).collect();
        let ([(input, info)], Some(first)) = (&meta.schema.inputs.iter().collect::<Vec<_>>()[..], targets.first())
        else {
            return wrong(format_args!("{}: a table serves a network with one input and a loss", self.model.display()));
        };
        if targets.iter().any(|t| t != first) {
            return wrong(format_args!(
                "{}: a table has one target, the network's losses read several",
                self.model.display()
            ));
        }
        let Some((target, kind)) = meta.schema.targets.get_index(*first) else { unreachable!("a loss has a target") };
        let column = self.target.clone().or_else(|| own_data(file).and_then(|(d, _)| d.target));
        let options = TableOptions {
            input: (*input).clone(),
            shape: Some(info.shape.clone()),
            target: target.clone(),
            column,
            kind: Some(kind.clone()),
        };
        Ok(load_table(path, &options)?)
    }
}

/// The data a model says it was trained on, and their seed.
pub fn own_data(file: &ModelFile) -> Option<(DataSettings, u64)> {
    let note = |name: &str| file.meta.notes.get(name).cloned();
    let settings = serde_json::from_value(note("data")?).ok()?;
    Some((settings, note("seed")?.as_u64()?))
}

/// Gives the only input the name that the model, and its normalisation, know it by.
fn rename(data: &mut Dataset, file: &ModelFile) {
    let known = &file.meta.schema.inputs;
    if let (1, 1, Some(name)) = (data.inputs.len(), known.len(), known.keys().next())
        && let Some((_, array)) = data.inputs.pop()
    {
        data.inputs.insert(name.clone(), array);
    }
}

/// The array of a file as samples of this shape: a row of numbers for each sample is as good.
pub fn as_samples(array: ndarray::ArrayD<f32>, shape: &[usize], path: &Path) -> Outcome<ndarray::ArrayD<f32>> {
    let size: usize = shape.iter().product();
    let found = array.shape().to_vec();
    let whole = found.first().is_some_and(|n| n.checked_mul(size) == Some(array.len()));
    // (N) are N samples of one number; (N, 784) are N images of (1, 28, 28).
    let flat = found.len() <= 2 || found[1..] == *shape;
    if !whole || !flat {
        return Err(Error::new(
            Kind::Shape,
            format_args!(
                "{}: the network takes samples of {}, the file has an array of {}; the first dimension counts samples",
                path.display(),
                gradus::layers::shape_text(shape),
                gradus::layers::shape_text(&found)
            ),
        )
        .into());
    }
    let mut dims = vec![found[0]];
    dims.extend_from_slice(shape);
    match array.into_shape_with_order(dims) {
        Ok(array) => Ok(array),
        Err(e) => wrong(format_args!("{}: {e}", path.display())),
    }
}

/// A table of scores, a column for each part of the data; by loss where there are several.
pub fn score_table(results: &[(&str, Evaluation)]) -> String {
    let mut rows =
        vec![std::iter::once("").chain(results.iter().map(|(part, _)| *part)).map(String::from).collect::<Vec<_>>()];
    let mut row = |label: String, score: Score, of: Option<&str>| {
        let cells = results.iter().map(|(_, e)| match (e.get(score, of), score) {
            (None, _) => String::new(),
            (Some(x), Score::Accuracy | Score::Error) => format!("{x:.2} %"),
            (Some(x), _) => number(x),
        });
        let cells: Vec<String> = std::iter::once(label).chain(cells).collect();
        if cells[1..].iter().any(|c| !c.is_empty()) {
            rows.push(cells);
        }
    };
    let losses: Vec<&String> = results.first().map(|(_, e)| e.of.keys().collect()).unwrap_or_default();
    for name in &losses {
        for (label, score) in Score::ALL {
            let label = if losses.len() > 1 { format!("{name} {label}") } else { (*label).to_string() };
            row(label, *score, Some(name));
        }
    }
    if losses.len() > 1 {
        row("loss, weighted sum".into(), Score::Loss, None);
    }
    let mut columns = vec![Align::Left];
    columns.resize(results.len() + 1, Align::Right);
    print::table(&columns, &rows)
}
