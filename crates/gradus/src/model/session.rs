//! Predictions from a model: the parameters are shared and never change, each thread has memory of its own.

use std::path::Path;
use std::sync::Arc;

use gradus_kernels::Buffer;
use ndarray::{ArrayD, Axis, IxDyn};

use super::file::ModelFile;
use crate::error::Result;
use crate::exec::cpu::{Loaded, Machine, Plan, StoreLayout};
use crate::exec::{PlanKind, Step, Stored};
use crate::fail;
use crate::layers::shape_text;
use crate::net::{Graph, Output};
use crate::program::{Phase, Program, Roots, Source, Value, compile};
use crate::registry::Registry;

/// A trained network, immutable; it is shared by the [`Session`]s that predict with it. It computes in f32.
///
/// ```no_run
/// use gradus::Model;
/// let model = Model::load("disk.safetensors")?;
/// let mut session = model.session(1);
/// let y = session.predict(&[0.4, 0.6])?;
/// println!("{:?}", y.row(0));
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Model {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    graph: Graph,
    file: ModelFile,
    layout: StoreLayout,
    store: Buffer,
}

impl Model {
    /// Loads a model file.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::error::Kind::Io), or [`Kind::File`](crate::error::Kind::File) with what is wrong with it.
    pub fn load(path: impl AsRef<Path>) -> Result<Model> {
        let path = path.as_ref();
        Model::from_file(ModelFile::read(path)?, &Registry::new()).map_err(|e| e.at(path.display()))
    }

    /// Reads a model from bytes: `Model::from_bytes(include_bytes!("disk.safetensors"))`.
    ///
    /// # Errors
    /// [`Kind::File`](crate::error::Kind::File) with what is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Model> {
        Model::from_file(ModelFile::from_bytes(bytes)?, &Registry::new())
    }

    /// The model of a file, whose network may use a user's own layers.
    ///
    /// # Errors
    /// [`Kind::File`](crate::error::Kind::File) with what is wrong with it.
    pub fn from_file(file: ModelFile, registry: &Registry) -> Result<Model> {
        let graph = file.graph(registry)?;
        let layout = StoreLayout::new(&graph, 0);
        let mut store = Buffer::zeros(layout.numbers());
        for (i, p) in graph.params.iter().enumerate() {
            layout.set(&mut store, Stored::Param(i), file.tensor(&p.name, &p.shape)?);
        }
        for (i, b) in graph.buffers.iter().enumerate() {
            layout.set(&mut store, Stored::Buffer(i), file.tensor(&b.name, &b.shape)?);
        }
        Ok(Model { inner: Arc::new(Inner { graph, file, layout, store }) })
    }

    /// The network.
    pub fn graph(&self) -> &Graph {
        &self.inner.graph
    }

    /// The file it came from.
    pub fn file(&self) -> &ModelFile {
        &self.inner.file
    }

    /// A parameter or buffer by name, in torch's shape.
    pub fn array(&self, name: &str) -> Option<ArrayD<f64>> {
        self.inner.file.tensors.get(name).map(|(shape, data)| super::file::array(shape, data))
    }

    /// The names of the outputs, the main one first.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.inner.graph.outputs.iter().map(|(name, _)| name.as_str())
    }

    /// A session for the main output; batches of at most `batch` samples run in one go, larger ones in several.
    pub fn session(&self, batch: usize) -> Session {
        let names: Vec<String> = self.outputs().take(1).map(str::to_string).collect();
        self.session_for(&names, batch)
    }

    /// A session for all outputs.
    pub fn session_all(&self, batch: usize) -> Session {
        let names: Vec<String> = self.outputs().map(str::to_string).collect();
        self.session_for(&names, batch)
    }

    fn session_for(&self, outputs: &[String], batch: usize) -> Session {
        let roots = Roots::Infer { outputs: outputs.to_vec(), losses: false };
        let program = Arc::new(compile(&self.inner.graph, &roots));
        let plan = Arc::new(Plan::new(program.clone(), &self.inner.layout, batch.max(1), 1, PlanKind::Fused));
        let inputs =
            program.used().into_iter().filter(|v| matches!(program.info(*v).source, Source::Input(_))).collect();
        let sizes = program.outputs.values().map(|v| program.info(*v).dims.iter().product()).collect();
        Session {
            model: self.inner.clone(),
            loaded: Loaded::new(plan, PlanKind::Fused),
            program,
            machine: Machine::new(1),
            inputs,
            sizes,
            scaled: Vec::new(),
            results: Vec::new(),
        }
    }
}

/// One thread's way to predict: it has memory of its own and shares the model's parameters.
#[derive(Debug)]
pub struct Session {
    model: Arc<Inner>,
    loaded: Loaded,
    program: Arc<Program>,
    machine: Machine,
    inputs: Vec<Value>,
    sizes: Vec<usize>,
    scaled: Vec<f32>,
    results: Vec<Vec<f32>>,
}

impl Session {
    /// The main output for raw samples of the only input, one after another in torch's order; the model's own
    /// normalisation is applied. After the first call of a size it allocates nothing.
    ///
    /// # Errors
    /// [`Kind::Shape`](crate::error::Kind::Shape) when the numbers are no whole samples,
    /// [`Kind::Data`](crate::error::Kind::Data) when the network reads several inputs.
    pub fn predict(&mut self, samples: &[f32]) -> Result<Output<'_>> {
        self.run(samples, true)?;
        Ok(self.output(0))
    }

    /// As [`Session::predict`], for samples that are normalised already.
    ///
    /// # Errors
    /// As there.
    pub fn predict_prepared(&mut self, samples: &[f32]) -> Result<Output<'_>> {
        self.run(samples, false)?;
        Ok(self.output(0))
    }

    /// All outputs of the session for an array (N, …) of raw samples, by name.
    ///
    /// # Errors
    /// As [`Session::predict`].
    pub fn predict_array(&mut self, samples: &ArrayD<f32>, prepared: bool) -> Result<Vec<(String, ArrayD<f32>)>> {
        let info = self.only_input()?;
        let shape = &self.model.graph.schema.inputs[info.0].shape;
        if samples.ndim() == 0 || samples.shape()[1..] != shape[..] {
            fail!(
                Shape,
                "the network takes samples of {}, found an array {}",
                shape_text(shape),
                shape_text(samples.shape())
            );
        }
        let samples = samples.as_standard_layout();
        self.run(samples.as_slice().expect("just made so"), !prepared)?;
        let n = samples.len_of(Axis(0));
        let arrays = self.program.outputs.iter().enumerate().map(|(i, (name, v))| {
            let shape = self.program.info(*v).shape(n);
            (name.clone(), ArrayD::from_shape_vec(IxDyn(&shape), self.results[i].clone()).expect("length of the shape"))
        });
        Ok(arrays.collect())
    }

    fn only_input(&self) -> Result<(usize, Value)> {
        match self.inputs[..] {
            [v] => match self.program.info(v).source {
                Source::Input(i) => Ok((i, v)),
                _ => unreachable!("inputs are inputs"),
            },
            _ => fail!(Data, "the network reads {} inputs: predict with a data set", self.inputs.len()),
        }
    }

    fn run(&mut self, samples: &[f32], normalise: bool) -> Result<()> {
        let (input, value) = self.only_input()?;
        let (name, info) = self.model.graph.schema.inputs.get_index(input).expect("resolved");
        let size: usize = info.shape.iter().product();
        if samples.is_empty() || !samples.len().is_multiple_of(size) {
            fail!(Shape, "{} numbers are no whole samples of {}", samples.len(), shape_text(&info.shape));
        }
        let scale = self.model.file.meta.normalisation.as_ref().filter(|_| normalise).and_then(|n| n.of(name));
        let n = samples.len() / size;
        self.results.resize(self.sizes.len(), Vec::new());
        for (result, size) in self.results.iter_mut().zip(&self.sizes) {
            result.resize(n * size, 0.0);
        }
        let capacity = self.loaded.capacity();
        let mut done = 0;
        for chunk in samples.chunks(capacity * size) {
            let batch = chunk.len() / size;
            match scale {
                None => self.loaded.feed_input(&self.machine, value, chunk),
                Some(scale) => {
                    self.scaled.clear();
                    self.scaled.extend(chunk.iter().enumerate().map(|(i, x)| scale.scaled(*x, i % size)));
                    self.loaded.feed_input(&self.machine, value, &self.scaled);
                }
            }
            let step = Step::of(batch);
            self.loaded.run_shared(Phase::Forward, Phase::Forward, &self.machine, &step, &self.model.store);
            for ((result, v), size) in self.results.iter_mut().zip(self.program.outputs.values()).zip(&self.sizes) {
                self.loaded.read(*v, batch, &mut result[done * size..], |x| x);
            }
            done += batch;
        }
        Ok(())
    }

    fn output(&self, index: usize) -> Output<'_> {
        let (name, _) = self.program.outputs.get_index(index).expect("a session has outputs");
        let dims = &self.model.graph.outputs.iter().find(|(n, _)| n == name).expect("outputs are the graph's").1;
        Output::new(&self.results[index], self.results[index].len() / self.sizes[index], dims)
    }
}
