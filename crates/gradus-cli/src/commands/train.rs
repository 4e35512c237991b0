//! `gradus train`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use gradus::data::{self, Dataset, Normalisation, Split};
use gradus::error::{Error, Kind};
use gradus::model::ModelFile;
use gradus::net::{Graph, Net, Options};
use gradus::rng::Seed;
use gradus::train::{Data, Epoch, History, Keep, Trainer};
use gradus::{Registry, Result};
use gradus_study::{ArmSettings, DataSettings, Dtype};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Value, json};

use super::eval::score_table;
use crate::checkpoint::{Checkpoint, Written};
use crate::failure::{Failure, Outcome, wrong};
use crate::interrupt::Interrupt;
use crate::print::{self, count, many, seconds};
use crate::progress::{People, Progress};
use crate::{subject, warnings};

/// Train a network of a study
///
/// Data, first weights, the order of samples and dropout all follow from one seed, which is the study's unless --seed gives
/// another: the same command gives the same bits, with any number of threads, interrupted and resumed or not. (What is
/// trained is round 0 of the study: its seed is the study's child 0.)
///
/// With --save, a checkpoint lies beside the model while it is trained: disk.ckpt beside disk.safetensors. Ctrl-C ends the
/// epoch, writes it, and prints the command that goes on from it; it is removed when the training has ended. --from with a
/// checkpoint goes on with the same bits; with a model it starts a new training from that model's weights. Either way the
/// inputs are normalised as they were for the file.
#[derive(Args, Debug)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Examples:
  gradus train disk
  gradus train pairs --arm net2 --save net2.safetensors
  gradus train mine.toml --set train.optimizer.lr=0.03 --epochs 50 --json > result.json
  gradus train disk --save disk.safetensors --from disk.ckpt     go on where Ctrl-C came"
)]
pub struct Train {
    /// A built-in study by name, or a study file
    #[arg(value_name = "NAME|FILE")]
    study: String,
    /// The arm of the study; its baseline when left out
    #[arg(long)]
    arm: Option<String>,
    /// Changes a key of the study: --set train.optimizer.lr=0.03
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    set: Vec<String>,
    /// The seed, instead of the study's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Passes over the training samples, instead of the study's
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Threads that share the work; no number of them changes a bit
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Where to save the model
    #[arg(long, value_name = "MODEL")]
    save: Option<PathBuf>,
    /// A checkpoint to go on from, or a model whose weights to start from
    #[arg(long, value_name = "MODEL|CKPT")]
    from: Option<PathBuf>,
    /// Epochs between two checkpoints; about a tenth of all, or 30 seconds, when left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), requires = "save")]
    checkpoint_every: Option<u64>,
    /// Print one JSON document; what is for people goes to standard error
    #[arg(long)]
    json: bool,
    /// Print nothing but warnings and errors
    #[arg(long, short)]
    quiet: bool,
}

/// The JSON document.
#[derive(Serialize)]
struct Report<'r> {
    study: &'r str,
    arm: &'r str,
    seed: u64,
    epochs: usize,
    metrics: &'r IndexMap<String, f64>,
    model: Option<&'r Path>,
    /// The epoch whose weights the model has.
    kept: usize,
    stopped: &'r Option<String>,
    parameters: usize,
    seconds: f64,
    data: &'r IndexMap<String, Value>,
    history: &'r [Epoch],
}

impl Train {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let (study, mut arm) = subject::arm(&self.study, self.arm.as_deref(), &self.set)?;
        let study_name = subject::name(&study);
        if let Some(epochs) = self.epochs {
            arm.train.epochs = epochs;
        }
        arm.train.check()?;
        let from = self.from.as_ref().map(|path| ModelFile::read(path)).transpose()?;
        let resumes = from.as_ref().is_some_and(|f| f.meta.training.is_some());
        let seed = self.seed(study.seed, from.as_ref().filter(|_| resumes))?;
        let (split, normalisation) = load(&arm.data, seed, from.as_ref())?;
        for warning in data::check(&split) {
            warnings::warn(&warning.to_string());
        }
        let graph = Graph::resolve(&arm.architecture, &split.train.schema(), &Registry::new())?;
        graph.warnings().iter().for_each(|w| warnings::warn(w));
        if graph.parameters() == 0 {
            warnings::warn("nothing is trained: the network has no parameter that may change");
        }
        let options = Options { threads: self.threads, f64: arm.dtype == Dtype::F64 };
        let mut net = Net::new(graph, arm.seed(round(seed)), options)?;
        net.normalisation = normalisation;
        let data = Data { train: &split.train, validation: split.validation.as_ref(), watch: &[] };
        let parameters = net.parameters();
        let mut trainer = match (&self.from, &from) {
            (Some(path), Some(file)) if resumes => {
                same_data(file, &split).map_err(|e| self.at_from(e))?;
                Trainer::resume(&mut net, data, &arm.train, path)?
            }
            (_, Some(file)) => {
                net.load_weights(file).map_err(|e| self.at_from(e))?;
                Trainer::new(&mut net, data, &arm.train)?
            }
            _ => Trainer::new(&mut net, data, &arm.train)?,
        };
        let done = trainer.progress().epochs;
        if done > arm.train.epochs {
            return wrong(format_args!("{} epochs: the checkpoint has done {done} already", arm.train.epochs));
        }
        let people = People::new(self.json, self.quiet);
        let notes = notes(&study_name, &arm, seed, &split);
        self.tell(people, people.say(&self.heading(&study_name, &arm, seed, parameters, &split, &trainer)))?;

        let mut checkpoint = match &self.save {
            Some(model) => Some(Checkpoint::new(
                model,
                self.checkpoint_every.map(|n| n as usize),
                self.from.as_deref(),
                notes.clone(),
            )?),
            None => None,
        };
        let elapsed = match self.epochs(&mut trainer, &mut checkpoint, &arm, &split.test, people) {
            Ok(elapsed) => elapsed,
            Err(failure) => {
                // It would diverge again from the checkpoint: same bits.
                if matches!(&failure, Failure::Error(e) if e.kind() == Kind::Diverged) {
                    checkpoint.into_iter().for_each(Checkpoint::remove);
                }
                return Err(failure);
            }
        };
        let history = trainer.finish();

        let mut results = vec![("test", net.evaluate(&split.test)?)];
        if let Some(validation) = &split.validation {
            results.push(("validation", net.evaluate(validation)?));
        }
        results.push(("train", net.evaluate(&split.train)?));
        let metrics: IndexMap<String, f64> = results.iter().flat_map(|(part, e)| e.metrics(part)).collect();
        let mut text = score_table(&results);
        text += &format!("{}; {}\n", kept(&history, arm.train.keep), seconds(elapsed));
        if let (Some(model), Some(checkpoint)) = (&self.save, checkpoint) {
            let mut notes = notes;
            notes.insert(
                "kept".into(),
                json!({ "epoch": history.kept, "keep": arm.train.keep, "of": history.epochs.len() }),
            );
            notes.insert("metrics".into(), json!(metrics));
            checkpoint.finish(&net.to_file(&notes), model)?;
            text += &format!("saved {}\n", model.display());
        }
        self.tell(people, people.say(&text))?;
        if self.json {
            return print::json(&Report {
                study: &study_name,
                arm: &arm.name,
                seed: seed.0,
                epochs: history.epochs.len(),
                metrics: &metrics,
                model: self.save.as_deref(),
                kept: history.kept,
                stopped: &history.stopped,
                parameters,
                seconds: elapsed,
                data: &sizes(&split),
                history: &history.epochs,
            });
        }
        Ok(())
    }

    /// Trains all epochs; returns the seconds they took.
    fn epochs(
        &self,
        trainer: &mut Trainer<'_>,
        checkpoint: &mut Option<Checkpoint>,
        arm: &ArmSettings,
        test: &Dataset,
        people: People,
    ) -> Outcome<f64> {
        let written = checkpoint.as_ref().map(Checkpoint::written);
        let farewell = move || written.as_ref().map_or_else(|| print::to_people(UNSAVED), Written::farewell);
        let interrupt = Interrupt::listen(farewell.clone())?;
        if let Some(checkpoint) = checkpoint {
            // That the folder cannot be written to is known now, not after the training.
            checkpoint.write(trainer)?;
        }
        let mut progress = Progress::new(people, trainer.progress().epochs, arm.train.epochs);
        while !trainer.done() {
            let start = Instant::now();
            let epoch = match trainer.epoch() {
                Ok(epoch) => epoch.clone(),
                Err(e) => {
                    let _ = progress.end();
                    return Err(e.into());
                }
            };
            let time = start.elapsed();
            match &epoch.validation {
                Some(v) => progress.metric("validation", v),
                None if progress.wants_metric(epoch.epoch) || trainer.done() => {
                    progress.metric("test", &trainer.net().evaluate(test)?)
                }
                None => {}
            }
            self.tell(people, progress.epoch(&epoch))?;
            if interrupt.asked() && !trainer.done() {
                if let Some(checkpoint) = checkpoint {
                    checkpoint.write(trainer)?;
                }
                self.tell(people, progress.end())?;
                farewell();
                return Err(Failure::Interrupted);
            }
            if let Some(checkpoint) = checkpoint {
                checkpoint.after_epoch(trainer, arm.train.epochs, time)?;
            }
        }
        self.tell(people, progress.end())?;
        Ok(progress.elapsed().as_secs_f64())
    }

    /// The seed: the one given, that of the checkpoint, or the study's.
    fn seed(&self, study: Seed, checkpoint: Option<&ModelFile>) -> Outcome<Seed> {
        let noted = checkpoint.and_then(|f| f.meta.notes.get("seed")).and_then(Value::as_u64);
        match (self.seed, noted) {
            (Some(given), Some(noted)) if given != noted => wrong(format_args!(
                "--seed {given}: the checkpoint was made with seed {noted}; leave --seed out to go on from it"
            )),
            (Some(given), _) => Ok(Seed(given)),
            (None, Some(noted)) => Ok(Seed(noted)),
            (None, None) => Ok(study),
        }
    }

    fn at_from(&self, e: Error) -> Error {
        self.from.as_ref().map_or(e.clone(), |path| e.at(path.display()))
    }

    /// When nobody reads any more, a training that is saved goes on; another one has no purpose left.
    fn tell(&self, people: People, said: Outcome) -> Outcome {
        match said {
            Err(Failure::Unread) if self.save.is_some() && people == People::Out => Ok(()),
            said => said,
        }
    }

    fn heading(
        &self,
        study: &str,
        arm: &ArmSettings,
        seed: Seed,
        parameters: usize,
        split: &Split,
        trainer: &Trainer<'_>,
    ) -> String {
        let held =
            split.validation.as_ref().map_or(String::new(), |v| format!(" + {} for validation", count(v.len() as u64)));
        let from = match (&self.from, trainer.progress().epochs) {
            (None, _) => String::new(),
            (Some(path), 0) => format!(", from the weights of {}", path.display()),
            (Some(path), done) => format!(", going on from {} after epoch {done}", path.display()),
        };
        format!(
            "{study}, arm {}: {}, {}{held}, {} to test, seed {}{from}\n",
            arm.name,
            many(parameters, "parameter"),
            many(split.train.len(), "training sample"),
            count(split.test.len() as u64),
            seed.0
        )
    }
}

const UNSAVED: &str = "interrupted; nothing is kept (--save MODEL keeps a checkpoint to go on from)\n";

/// The seed of round 0 of a study: data and network draw from it, each for purposes of its own.
pub fn round(seed: Seed) -> Seed {
    seed.child(0)
}

/// Draws the data; normalised by themselves, or as they were for the file that training goes on from.
pub fn load(data: &DataSettings, seed: Seed, from: Option<&ModelFile>) -> Result<(Split, Option<Normalisation>)> {
    let Some(file) = from else { return data.load(round(seed)) };
    let (mut split, _) = DataSettings { raw: true, ..data.clone() }.load(round(seed))?;
    let (has, needs) = (split.train.schema(), &file.meta.schema);
    if has.inputs != needs.inputs {
        return Err(Error::new(Kind::Data, format_args!("the model was made for the data {needs}; these are {has}")));
    }
    if let Some(n) = &file.meta.normalisation {
        [Some(&mut split.train), split.validation.as_mut(), Some(&mut split.test)]
            .into_iter()
            .flatten()
            .try_for_each(|d| n.apply(d))?;
    }
    Ok((split, file.meta.normalisation.clone()))
}

/// Whether a checkpoint was made on these data.
fn same_data(file: &ModelFile, split: &Split) -> Result<()> {
    match file.meta.notes.get("data_hash").and_then(Value::as_str) {
        Some(hash) if hash != split.info.hash => {
            let message = "the checkpoint was made on other data; give the same study, --set and --seed as then";
            Err(Error::new(Kind::File, message))
        }
        _ => Ok(()),
    }
}

/// What a model file tells of its making, for `inspect`, and for `eval` to find the same data again.
fn notes(study: &str, arm: &ArmSettings, seed: Seed, split: &Split) -> IndexMap<String, Value> {
    IndexMap::from([
        ("study".into(), json!(study)),
        ("arm".into(), json!(arm.name)),
        ("seed".into(), json!(seed.0)),
        ("train".into(), json!(arm.train)),
        ("data".into(), json!(arm.data)),
        ("data_hash".into(), json!(split.info.hash)),
        ("samples".into(), json!(sizes(split))),
    ])
}

fn sizes(split: &Split) -> IndexMap<String, Value> {
    let n = |d: &Dataset| json!(d.len());
    let mut sizes = IndexMap::from([("train".to_string(), n(&split.train)), ("test".to_string(), n(&split.test))]);
    sizes.extend(split.validation.as_ref().map(|v| ("validation".to_string(), n(v))));
    sizes.insert("hash".into(), json!(split.info.hash));
    sizes
}

/// Which weights the result has, in words.
fn kept(history: &History, keep: Keep) -> String {
    let which = match keep {
        Keep::Last => format!("weights of the last epoch, {}", history.kept),
        Keep::Best => {
            format!("weights of the best epoch by validation loss, {} of {}", history.kept, history.epochs.len())
        }
    };
    history.stopped.as_ref().map_or(which.clone(), |why| format!("{which}; stopped: {why}"))
}
