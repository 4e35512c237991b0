//! The model file: safetensors with the architecture inside.
//!
//! Tensors have torch's shapes and the names of their parameters, so that PyTorch opens the file as it is; a shared
//! parameter is there once, under its owner. The one metadata key `gradus` holds a JSON document ([`Meta`]): with it a file
//! loads without code. A checkpoint is the same file with the optimiser's state and the training's progress.

use std::collections::HashMap;
use std::path::Path;

use indexmap::IndexMap;
use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::data::{Normalisation, Schema};
use crate::error::{Error, Kind, Result};
use crate::exec::Stored;
use crate::fail;
use crate::files::{read_capped, write_atomically};
use crate::layers::shape_text;
use crate::net::{Architecture, Graph, Net, Options};
use crate::registry::Registry;
use crate::rng::{RNG_VERSION, Seed};
use crate::train::{Progress, Settings};

/// The version this library writes. It reads this one and every earlier one.
const FORMAT: u32 = 1;

/// The largest file that is read.
const LIMIT: u64 = 16 << 30;

/// What a model file says beside its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Version of the format.
    pub format: u32,
    /// Version of Gradus that wrote it.
    pub gradus: String,
    /// Version of the random number generator.
    pub rng: String,
    /// The seed of first values and random numbers.
    pub seed: u64,
    /// Whether the network computes in double precision.
    pub f64: bool,
    /// The network as written.
    pub architecture: Architecture,
    /// Its inputs and targets.
    pub schema: Schema,
    /// Normalisation of raw input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Normalisation>,
    /// The state of a training, in a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// Whatever else the writer wants to tell: which data, which study.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub notes: IndexMap<String, serde_json::Value>,
}

/// The state of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// How it trains.
    pub settings: Settings,
    /// Samples it trains on.
    pub samples: usize,
    /// What identifies them, and the validation samples.
    pub data: u64,
    /// Updates made.
    pub updates: u64,
    /// Batches seen.
    pub passes: u64,
    /// Where it stands.
    pub progress: Progress,
}

/// A model file in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// What it says beside its numbers.
    pub meta: Meta,
    /// Its arrays by name: shape and numbers in torch's order.
    pub tensors: IndexMap<String, (Vec<usize>, Vec<f64>)>,
}

impl ModelFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Kind::Io`], or [`Kind::File`] with what is wrong with it.
    pub fn read(path: &Path) -> Result<ModelFile> {
        ModelFile::from_bytes(&read_capped(path, LIMIT)?).map_err(|e| e.at(path.display()))
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// [`Kind::File`] with what is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<ModelFile> {
        let file = |e: &dyn std::fmt::Display| Error::new(Kind::File, format!("not a model file: {e}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| file(&e))?;
        let meta = header.metadata().as_ref().and_then(|m| m.get("gradus"));
        let Some(meta) = meta else {
            fail!(File, "not a model file of Gradus: safetensors without the metadata key `gradus`")
        };
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_str(meta).map_err(|e| file(&e))?;
        if version.format > FORMAT {
            fail!(File, "format {} is newer than this program reads ({FORMAT}): use a newer Gradus", version.format);
        }
        let meta: Meta = serde_json::from_str(meta).map_err(|e| file(&e))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| file(&e))?;
        let mut list = IndexMap::new();
        let mut names: Vec<&str> = tensors.names().into_iter().collect();
        names.sort_unstable();
        for name in names {
            let view = tensors.tensor(name).map_err(|e| file(&e))?;
            let data: Vec<f64> = match view.dtype() {
                Dtype::F32 => {
                    view.data().as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
                }
                Dtype::F64 => view.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
                other => fail!(File, "tensor `{name}` is {other:?}: expected F32 or F64"),
            };
            list.insert(name.to_string(), (view.shape().to_vec(), data));
        }
        Ok(ModelFile { meta, tensors: list })
    }

    /// The file as bytes; the same content gives the same bytes.
    ///
    /// # Errors
    /// [`Kind::File`] when it is too large to be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let bad = |e: &dyn std::fmt::Display| Error::new(Kind::File, format!("cannot write the model: {e}"));
        let dtype = if self.meta.f64 { Dtype::F64 } else { Dtype::F32 };
        let data: Vec<(&String, &Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, (shape, data))| {
                let bytes = match dtype {
                    Dtype::F64 => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
                    _ => data.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect(),
                };
                (name, shape, bytes)
            })
            .collect();
        let views: Result<Vec<_>> = data
            .iter()
            .map(|(name, shape, bytes)| {
                Ok((name.as_str(), TensorView::new(dtype, (*shape).clone(), bytes).map_err(|e| bad(&e))?))
            })
            .collect();
        let meta = serde_json::to_string(&self.meta).map_err(|e| bad(&e))?;
        safetensors::serialize(views?, Some(HashMap::from([("gradus".to_string(), meta)]))).map_err(|e| bad(&e))
    }

    /// Writes the file: it is there whole, or the one before it is.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let bytes = self.to_bytes()?;
        write_atomically(path, |w| w.write_all(&bytes))
    }

    /// The numbers of a tensor that must be there with this shape.
    ///
    /// # Errors
    /// [`Kind::File`], with the name and both shapes.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<&[f64]> {
        match self.tensors.get(name) {
            None => fail!(File, "tensor `{name}` {} is missing", shape_text(shape)),
            Some((found, _)) if found != shape => {
                fail!(File, "tensor `{name}` is {}, the network needs {}", shape_text(found), shape_text(shape))
            }
            Some((_, data)) => Ok(data),
        }
    }

    /// The graph of the network in the file. Its arrays are all there: so nobody asks for memory that the file itself does
    /// not fill.
    ///
    /// # Errors
    /// When the architecture names a layer that `registry` does not have, or does not resolve; [`Kind::File`] naming the
    /// first tensor that is missing or of another shape, or a normalisation that does not fit the inputs.
    pub fn graph(&self, registry: &Registry) -> Result<Graph> {
        let graph = Graph::resolve(&self.meta.architecture, &self.meta.schema, registry)?;
        let params = graph.params.iter().map(|p| (&p.name, &p.shape));
        for (name, shape) in params.chain(graph.buffers.iter().map(|b| (&b.name, &b.shape))) {
            self.tensor(name, shape)?;
        }
        self.meta.normalisation.as_ref().map_or(Ok(()), |n| n.check(&graph.schema))?;
        Ok(graph)
    }
}

impl Net {
    /// The network as a model file.
    pub fn to_file(&self, notes: &IndexMap<String, serde_json::Value>) -> ModelFile {
        let graph = self.graph();
        let params = graph.params.iter().enumerate().map(|(i, p)| (&p.name, &p.shape, Stored::Param(i)));
        let buffers = graph.buffers.iter().enumerate().map(|(i, b)| (&b.name, &b.shape, Stored::Buffer(i)));
        let tensors = params
            .chain(buffers)
            .map(|(name, shape, what)| (name.clone(), (shape.clone(), self.executor_ref().stored(what))));
        ModelFile {
            tensors: tensors.collect(),
            meta: Meta {
                format: FORMAT,
                gradus: env!("CARGO_PKG_VERSION").to_string(),
                rng: RNG_VERSION.to_string(),
                seed: self.seed().0,
                f64: self.options().f64,
                architecture: graph.architecture.clone(),
                schema: graph.schema.clone(),
                normalisation: self.normalisation.clone(),
                training: None,
                notes: notes.clone(),
            },
        }
    }

    /// Saves the network: architecture, parameters, normalisation.
    ///
    /// # Errors
    /// [`Kind::Io`] when the file cannot be written; the one that was there stays.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.to_file(&IndexMap::new()).write(path.as_ref())
    }

    /// Loads a saved network, to predict or to go on training.
    ///
    /// # Errors
    /// [`Kind::Io`], or [`Kind::File`] with what is wrong with the file.
    pub fn load(path: impl AsRef<Path>) -> Result<Net> {
        Net::load_with(path, &Registry::new(), 1)
    }

    /// As [`Net::load`], with layers of a user's own and a number of threads.
    ///
    /// # Errors
    /// As there.
    pub fn load_with(path: impl AsRef<Path>, registry: &Registry, threads: usize) -> Result<Net> {
        let path = path.as_ref();
        let file = ModelFile::read(path)?;
        Net::from_file(&file, registry, threads).map_err(|e| e.at(path.display()))
    }

    /// The network of a model file.
    ///
    /// # Errors
    /// [`Kind::File`] with what is wrong with it.
    pub fn from_file(file: &ModelFile, registry: &Registry, threads: usize) -> Result<Net> {
        let mut net = Net::new(file.graph(registry)?, Seed(file.meta.seed), Options { threads, f64: file.meta.f64 })?;
        net.load_weights(file)?;
        Ok(net)
    }

    /// Takes parameters, buffers and normalisation from a model file of the same network. Nothing is loaded unless
    /// everything fits.
    ///
    /// # Errors
    /// [`Kind::File`] naming the first tensor that is missing, superfluous or of another shape.
    pub fn load_weights(&mut self, file: &ModelFile) -> Result<()> {
        let graph = self.graph().clone();
        let params = graph.params.iter().enumerate().map(|(i, p)| (&p.name, &p.shape, Stored::Param(i)));
        let buffers = graph.buffers.iter().enumerate().map(|(i, b)| (&b.name, &b.shape, Stored::Buffer(i)));
        let all: Vec<_> = params.chain(buffers).collect();
        for (name, shape, _) in &all {
            file.tensor(name, shape)?;
        }
        let extra = |n: &str| {
            !all.iter().any(|(name, ..)| *name == n) && !n.starts_with("optimizer.") && !n.starts_with("best.")
        };
        if let Some(name) = file.tensors.keys().find(|n| extra(n)) {
            fail!(File, "tensor `{name}` belongs to no parameter of the network");
        }
        for (name, shape, what) in all {
            let data = file.tensor(name, shape)?;
            self.executor().store(what, data);
        }
        self.normalisation.clone_from(&file.meta.normalisation);
        Ok(())
    }
}

/// A tensor of a model file as an array.
pub(super) fn array(shape: &[usize], data: &[f64]) -> ArrayD<f64> {
    ArrayD::from_shape_vec(IxDyn(shape), data.to_vec()).expect("the reader checks lengths")
}
