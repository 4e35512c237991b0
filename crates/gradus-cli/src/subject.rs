//! What a command is about: an arm of a study, or a model file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use gradus::Registry;
use gradus::error::Result;
use gradus::model::ModelFile;
use gradus::net::Graph;
use gradus::rng::Seed;
use gradus::spec::Spec;
use gradus::train::Settings;
use gradus_study::{ArmSettings, Overrides, Study};

use crate::args::Subject as Args;
use crate::failure::{Outcome, wrong};
use crate::warnings;

/// An arm of a study, or a model file.
#[derive(Debug)]
pub enum Subject {
    /// An arm.
    Arm {
        /// The study's name.
        study: String,
        /// The study's seed.
        seed: Seed,
        /// The arm.
        arm: Box<ArmSettings>,
    },
    /// A model.
    Model {
        /// Its file.
        path: PathBuf,
        /// What is in it.
        file: Box<ModelFile>,
    },
}

impl Subject {
    /// Opens what the arguments name.
    pub fn open(args: &Args) -> Outcome<Subject> {
        let path = Path::new(&args.subject);
        if !is_model(path) {
            let (study, arm) = arm(&args.subject, args.arm.as_deref(), &args.set)?;
            return Ok(Subject::Arm { study: name(&study), seed: study.seed, arm: Box::new(arm) });
        }
        if args.arm.is_some() || !args.set.is_empty() {
            return wrong(format_args!(
                "{}: a model file holds one network as it is; `--arm` and `--set` are for studies",
                path.display()
            ));
        }
        Ok(Subject::Model { path: path.to_path_buf(), file: Box::new(ModelFile::read(path)?) })
    }

    /// What it is called.
    pub fn title(&self) -> String {
        match self {
            Subject::Arm { study, arm, .. } => format!("{study}, arm {}", arm.name),
            Subject::Model { path, .. } => path.display().to_string(),
        }
    }

    /// Its network.
    pub fn graph(&self) -> Result<Graph> {
        match self {
            Subject::Arm { arm, .. } => arm.graph(),
            Subject::Model { path, file } => file.graph(&Registry::new()).map_err(|e| e.at(path.display())),
        }
    }

    /// How it is trained: as the study says, or as the model was when it says how.
    pub fn training(&self) -> Settings {
        match self {
            Subject::Arm { arm, .. } => arm.train.clone(),
            Subject::Model { file, .. } => match &file.meta.training {
                Some(training) => training.settings.clone(),
                None => {
                    let note = file.meta.notes.get("train").cloned();
                    note.and_then(|n| serde_json::from_value(n).ok()).unwrap_or_default()
                }
            },
        }
    }

    /// Its optimiser.
    pub fn optimizer(&self) -> Spec {
        self.training().optimizer
    }
}

/// Whether a path is a file that begins as model files do: the length of a JSON text, and the text.
pub fn is_model(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let length = file.metadata().map_or(0, |m| m.len());
    let mut start = Vec::new();
    if file.take(9).read_to_end(&mut start).is_err() {
        return false;
    }
    let header = start.first_chunk::<8>().map_or(u64::MAX, |b| u64::from_le_bytes(*b));
    header < length && start.last() == Some(&b'{')
        || path.extension().is_some_and(|e| e == "safetensors" || e == "ckpt") && path.is_file()
}

/// Whether two paths lead to one file that is there.
pub fn same_file(a: &Path, b: &Path) -> bool {
    a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

/// An arm of a study by name or file.
pub fn arm(study: &str, arm: Option<&str>, set: &[String]) -> Outcome<(Study, ArmSettings)> {
    let found = gradus_study::open(study, &Overrides::parse(set)?)?;
    let chosen = found.arm(arm)?.clone();
    // An arm with an optimiser of its own does not see [train]'s.
    for (i, one) in set.iter().enumerate().filter(|(_, s)| ["train", "data", "arm"].iter().any(|t| s.starts_with(t))) {
        let others = Overrides::parse(set.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, s)| s))?;
        let without = gradus_study::open(study, &others);
        if without.is_ok_and(|s| s.arm(arm).is_ok_and(|a| a.same_as(&chosen))) {
            warnings::warn(&format!("--set {one} changes nothing in arm {}", chosen.name));
        }
    }
    Ok((found, chosen))
}

pub use gradus_study::run::name;
