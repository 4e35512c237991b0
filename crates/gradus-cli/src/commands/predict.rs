//! `gradus predict`.

use std::path::{Path, PathBuf};

use clap::Args;
use gradus::data::{read_array, write_array};
use gradus::error::Kind;
use gradus::layers::shape_text;
use gradus::metrics::EVAL_BATCH;
use gradus::net::check_name;
use gradus::{Error, Model};
use serde::Serialize;

use super::eval::as_samples;
use crate::failure::{Outcome, wrong};
use crate::print::{self, many};
use crate::subject::same_file;

/// Run a model on samples of a file
///
/// The samples are raw: the model's own normalisation is applied, unless --prepared says that they are normalised already.
/// An .npy file holds (N, …) of the input's shape, or (N, numbers of a sample); a .csv file a row of numbers for each sample.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  gradus predict disk.safetensors --input points.csv --output y.csv
  gradus predict net1_aux.safetensors --input pairs.npy --output out     out/head.npy, out/aux.npy")]
pub struct Predict {
    /// A model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The samples: an .npy or .csv file
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// An .npy or .csv file for the first output, or a folder for an .npy file of each output
    #[arg(long, value_name = "FILE|DIR")]
    output: PathBuf,
    /// The samples are normalised already
    #[arg(long)]
    prepared: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// The JSON document.
#[derive(Serialize)]
struct Report<'r> {
    model: &'r Path,
    samples: usize,
    prepared: bool,
    outputs: Vec<Written>,
}

/// An output in its file.
#[derive(Serialize)]
struct Written {
    name: String,
    shape: Vec<usize>,
    file: PathBuf,
}

impl Predict {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let folder = self.is_folder()?;
        if let Some(parent) = self.output.parent().filter(|p| !folder && !p.as_os_str().is_empty() && !p.is_dir()) {
            return wrong(format_args!("--output {}: there is no folder {}", self.output.display(), parent.display()));
        }
        let model = Model::load(&self.model)?;
        let graph = model.graph();
        let Some((_, info)) = graph.schema.inputs.first().filter(|_| graph.schema.inputs.len() == 1) else {
            return wrong(format_args!("{}: the network has several inputs; a file holds one", self.model.display()));
        };
        let samples = as_samples(read_array(&self.input)?, &info.shape, &self.input)?;
        let n = samples.shape()[0];
        let batch = n.min(EVAL_BATCH);
        let mut session = if folder { model.session_all(batch) } else { model.session(batch) };
        let outputs = session.predict_array(&samples, self.prepared)?;
        if folder {
            // Before the first file is written, all names are known to be names.
            outputs.iter().try_for_each(|(name, _)| check_name("output", name))?;
            std::fs::create_dir_all(&self.output).map_err(|e| Error::io(&self.output, &e))?;
        }
        let file = |name: &str| if folder { self.output.join(format!("{name}.npy")) } else { self.output.clone() };
        if let Some(file) = outputs.iter().map(|(name, _)| file(name)).find(|f| same_file(f, &self.input)) {
            return wrong(format_args!("--output {}: {} is the input", self.output.display(), file.display()));
        }
        let mut written = Vec::new();
        for (name, array) in outputs {
            let file = file(&name);
            write_array(&file, &array)?;
            written.push(Written { name, shape: array.shape().to_vec(), file });
        }
        if self.json {
            return print::json(&Report { model: &self.model, samples: n, prepared: self.prepared, outputs: written });
        }
        let mut text = String::new();
        for w in &written {
            text += &format!("{}: output {} {}\n", w.file.display(), w.name, shape_text(&w.shape));
        }
        if !folder && graph.outputs.len() > 1 {
            let others: Vec<&str> = model.outputs().skip(1).collect();
            text += &format!("not written: {} (give a folder as --output for all)\n", others.join(", "));
        }
        let how = if self.prepared || model.file().meta.normalisation.is_none() {
            "taken as they are"
        } else {
            "normalised as the model says"
        };
        print::text(&format!("{text}{}, {how}\n", many(n, "sample")))
    }

    /// Whether the output is a folder.
    fn is_folder(&self) -> Outcome<bool> {
        if self.output.is_dir() {
            return Ok(true);
        }
        match self.output.extension().and_then(|e| e.to_str()) {
            None => Ok(true),
            Some("npy" | "csv") => Ok(false),
            Some(_) => {
                let message = format_args!("--output {}: give a file .npy or .csv, or a folder", self.output.display());
                Err(Error::new(Kind::Argument, message).into())
            }
        }
    }
}
