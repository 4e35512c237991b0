//! When checkpoints are written, where, and what is said of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gradus::error::Error;
use gradus::model::ModelFile;
use gradus::train::Trainer;
use indexmap::IndexMap;
use serde_json::Value;

use crate::failure::{Outcome, wrong};
use crate::print::{self, quoted};
use crate::subject::{is_model, same_file};

/// The longest time between two checkpoints.
const MOST: Duration = Duration::from_secs(30);
/// The shortest, unless the user says how often.
const LEAST: Duration = Duration::from_secs(1);

/// The checkpoint beside a model that is being trained.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    every: Option<usize>,
    notes: IndexMap<String, Value>,
    written: Instant,
    state: Arc<Mutex<Option<usize>>>,
}

/// What a thread that ends the program must know: while it is locked, a file is being written.
#[derive(Clone, Debug)]
pub struct Written {
    path: PathBuf,
    state: Arc<Mutex<Option<usize>>>,
}

/// The checkpoint's name: `disk.ckpt` beside `disk.safetensors`.
pub fn beside(model: &Path) -> PathBuf {
    if model.extension().is_some_and(|e| e == "safetensors") {
        return model.with_extension("ckpt");
    }
    let mut name = OsString::from(model);
    name.push(".ckpt");
    name.into()
}

impl Checkpoint {
    /// The checkpoint beside `model`, to be written every so many epochs (when `None`, about ten times). One that another
    /// training left there is kept under another name, unless this one goes on from it.
    pub fn new(
        model: &Path,
        every: Option<usize>,
        from: Option<&Path>,
        notes: IndexMap<String, Value>,
    ) -> Outcome<Checkpoint> {
        if model.is_dir() {
            return wrong(format_args!("--save {}: this is a folder; give the name of a file", model.display()));
        }
        if model.metadata().is_ok_and(|m| m.is_file() && m.len() > 0) && !is_model(model) {
            return wrong(format_args!(
                "--save {}: a file that is no model is there, and stays as it is",
                model.display()
            ));
        }
        if let Some(folder) = model.parent().filter(|f| !f.as_os_str().is_empty() && !f.is_dir()) {
            return wrong(format_args!("--save {}: there is no folder {}", model.display(), folder.display()));
        }
        let path = beside(model);
        let same = from.is_some_and(|f| f == path || same_file(f, &path));
        if !same && let Ok(file) = ModelFile::read(&path) {
            let epochs = file.meta.training.map_or(0, |t| t.progress.epochs);
            if epochs > 0 {
                let old = path.with_extension("old.ckpt");
                std::fs::rename(&path, &old).map_err(|e| Error::io(&path, &e))?;
                print::note(&format!(
                    "{} holds another training, after epoch {epochs}; it is now {}",
                    path.display(),
                    old.display()
                ));
            }
        }
        Ok(Checkpoint { path, every, notes, written: Instant::now(), state: Arc::new(Mutex::new(None)) })
    }

    /// Writes it, whatever the time: there is the whole file, or the one before it.
    pub fn write(&mut self, trainer: &Trainer<'_>) -> Outcome {
        let mut written = lock(&self.state);
        trainer.checkpoint(&self.path, &self.notes)?;
        *written = Some(trainer.progress().epochs);
        self.written = Instant::now();
        Ok(())
    }

    /// Writes it when it is time.
    pub fn after_epoch(&mut self, trainer: &Trainer<'_>, epochs: usize, epoch_time: Duration) -> Outcome {
        let (done, since) = (trainer.progress().epochs, self.written.elapsed());
        let due = match self.every {
            Some(n) => done.is_multiple_of(n),
            // What Ctrl-C cannot wait for should not be lost.
            None => {
                since >= MOST || since >= LEAST && (done.is_multiple_of(epochs.div_ceil(10)) || epoch_time >= LEAST)
            }
        };
        if due && !trainer.done() { self.write(trainer) } else { Ok(()) }
    }

    /// Writes the model and removes the checkpoint: the training has ended.
    pub fn finish(self, file: &ModelFile, model: &Path) -> Outcome {
        let written = lock(&self.state);
        file.write(model)?;
        drop(written);
        self.remove();
        Ok(())
    }

    /// Removes it: nothing is to be gone on from.
    pub fn remove(self) {
        let _written = lock(&self.state);
        // It is only in the way: that it stays is no reason to fail.
        let _ = std::fs::remove_file(&self.path);
    }

    /// What a thread that ends the program must know.
    pub fn written(&self) -> Written {
        Written { path: self.path.clone(), state: self.state.clone() }
    }
}

impl Written {
    /// Says what is kept and how to go on; from now on nothing can be written.
    pub fn farewell(&self) {
        let state = lock(&self.state);
        match *state {
            Some(0) => {
                let _ = std::fs::remove_file(&self.path);
                print::to_people("interrupted in the first epoch: there is nothing to go on from\n");
            }
            Some(epochs) => print::to_people(&format!(
                "interrupted; {} holds the training after epoch {epochs}. Go on with\n  {}\n",
                self.path.display(),
                resume(std::env::args(), &self.path)
            )),
            None => {}
        }
        // The program ends with the lock held.
        std::mem::forget(state);
    }
}

fn lock(state: &Mutex<Option<usize>>) -> MutexGuard<'_, Option<usize>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The command line that goes on from `checkpoint`.
fn resume(args: impl Iterator<Item = String>, checkpoint: &Path) -> String {
    let mut words = vec!["gradus".to_string()];
    let mut args = args.skip(1);
    while let Some(arg) = args.next() {
        if arg == "--from" {
            args.next();
        } else if !arg.starts_with("--from=") {
            words.push(quoted(&arg));
        }
    }
    words.extend(["--from".to_string(), quoted(&checkpoint.to_string_lossy())]);
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_goes_on() {
        let args = ["/bin/gradus", "train", "disk", "--from", "old", "--set", "a=[1, 2]", "--save", "m.safetensors"];
        let line = resume(args.into_iter().map(String::from), Path::new("m.ckpt"));
        assert_eq!(line, "gradus train disk --set 'a=[1, 2]' --save m.safetensors --from m.ckpt");
    }

    #[test]
    fn a_checkpoint_never_has_the_models_name() {
        for (model, checkpoint) in
            [("a/m.safetensors", "a/m.ckpt"), ("m", "m.ckpt"), ("m.ckpt", "m.ckpt.ckpt"), ("m.v2", "m.v2.ckpt")]
        {
            assert_eq!(beside(Path::new(model)), Path::new(checkpoint));
        }
    }
}
