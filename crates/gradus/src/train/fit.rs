//! The training loop: epochs of shuffled batches, an optimiser step after every so many of them, a validation that chooses
//! the best epoch, and a state that can be written down and taken up again with the same bits.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::health::Warning;
use super::schedule::Schedule;
use super::settings::{Keep, Settings};
use crate::data::Dataset;
use crate::data::augment::Augment;
use crate::error::{Error, Kind, Result};
use crate::exec::Stored;
use crate::fail;
use crate::metrics::{Evaluation, samples_in};
use crate::model::ModelFile;
use crate::net::Net;
use crate::rng::{RNG_VERSION, absorb, permute};

/// What a network is trained on and watched with.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// What it learns from.
    pub train: &'a Dataset,
    /// What chooses the best epoch and stops early.
    pub validation: Option<&'a Dataset>,
    /// Data sets that are evaluated after every epoch, by name; they decide nothing.
    pub watch: &'a [(&'a str, &'a Dataset)],
}

impl<'a> From<&'a Dataset> for Data<'a> {
    fn from(train: &'a Dataset) -> Self {
        Data { train, validation: None, watch: &[] }
    }
}

/// One epoch of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Which one, from 1 on.
    pub epoch: usize,
    /// The learning rate.
    pub lr: f64,
    /// The weighted sum of losses while training, averaged over samples.
    pub loss: f64,
    /// Each loss while training, without its weight, averaged over samples.
    pub losses: IndexMap<String, f64>,
    /// On the validation samples, after the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Evaluation>,
    /// On the watched data sets, after the epoch.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub watched: IndexMap<String, Evaluation>,
    /// Updates whose gradients were clipped, of how many.
    pub clipped: (usize, usize),
    /// What looks wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Seconds spent training, and seconds spent evaluating. No part of any result.
    #[serde(skip)]
    pub seconds: (f64, f64),
}

/// Whether training goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Continue,
    /// It ends after this epoch.
    Stop,
}

/// Where a training stands, without the numbers of the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Epochs done.
    pub epochs: usize,
    /// The lowest validation loss and its epoch.
    pub best: Option<(f64, usize)>,
    /// Why it ended before its last epoch, if it did.
    pub stopped: Option<String>,
    /// Every epoch.
    pub history: Vec<Epoch>,
}

/// What a training gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Every epoch.
    pub epochs: Vec<Epoch>,
    /// The lowest validation loss and its epoch.
    pub best: Option<(f64, usize)>,
    /// The epoch whose parameters the network has now.
    pub kept: usize,
    /// Why it ended before its last epoch, if it did.
    pub stopped: Option<String>,
}

/// A training in progress, one epoch at a time.
#[derive(Debug)]
pub struct Trainer<'a> {
    net: &'a mut Net,
    data: Data<'a>,
    settings: Settings,
    schedule: Option<Box<dyn Schedule>>,
    base_lr: f64,
    progress: Progress,
    best: Option<Vec<Vec<f64>>>,
    order: Vec<u32>,
    augment: Option<Augment>,
    /// For each loss its value at every step, where they are asked for.
    steps: Option<Vec<Vec<f64>>>,
}

/// The prefix of the best epoch's parameters in a checkpoint.
const BEST: &str = "best.";

/// The most updates or passes that a checkpoint may claim: the random numbers of a step are addressed by 48 bits of it.
const MOST_STEPS: u64 = 1 << 47;

impl<'a> Trainer<'a> {
    /// Prepares a training of `net` from where it is, with a new optimiser.
    ///
    /// # Errors
    /// [`Kind::Argument`] for settings that make no sense, [`Kind::Data`] for data that do not fit the network.
    pub fn new(net: &'a mut Net, data: Data<'a>, settings: &Settings) -> Result<Trainer<'a>> {
        settings.check()?;
        net.check(data.train).map_err(|e| e.at("training set"))?;
        for (name, set) in data.validation.iter().map(|v| ("validation", *v)).chain(data.watch.iter().copied()) {
            net.check(set).map_err(|e| e.at(format!("{name} set")))?;
        }
        if net.graph().losses.is_empty() {
            fail!(Config, "the network has no loss to train on");
        }
        if (settings.keep == Keep::Best || settings.patience.is_some()) && data.validation.is_none() {
            fail!(Argument, "`keep = \"best\"` and `patience` need validation samples: set `data.validation`");
        }
        let (least, batch) = (net.graph().least_batch, settings.batch.min(data.train.len()));
        if batch < least {
            fail!(Argument, "batch norm needs {least} samples to train, a batch has {batch}");
        }
        let augment = (!settings.augment.is_empty())
            .then(|| Augment::new(&settings.augment, data.train, net.normalisation.as_ref(), batch))
            .transpose()?;
        let optimizer = settings.make_optimizer()?;
        let base_lr = optimizer.lr();
        net.set_optimizer_arc(optimizer.into());
        net.zero_grad();
        Ok(Trainer {
            net,
            data,
            settings: settings.clone(),
            schedule: settings.make_schedule()?,
            base_lr,
            progress: Progress::default(),
            best: None,
            order: (0..data.train.len() as u32).collect(),
            augment,
            steps: None,
        })
    }

    /// Takes up a training where a checkpoint left it: the same bits as if it had not stopped.
    ///
    /// # Errors
    /// [`Kind::File`] when the file is damaged, no checkpoint, or of another network, other settings or other samples.
    pub fn resume(net: &'a mut Net, data: Data<'a>, settings: &Settings, path: &Path) -> Result<Trainer<'a>> {
        let file = ModelFile::read(path)?;
        let mut trainer = Trainer::new(net, data, settings)?;
        trainer.restore(&file).map_err(|e| e.at(path.display()))?;
        Ok(trainer)
    }

    fn restore(&mut self, file: &ModelFile) -> Result<()> {
        let Some(training) = &file.meta.training else {
            fail!(File, "this is a model, not a checkpoint: it holds no training state")
        };
        let same =
            Settings { epochs: self.settings.epochs, patience: self.settings.patience, ..training.settings.clone() };
        if same != self.settings {
            fail!(
                File,
                "the checkpoint was made with other training settings; only `epochs` and `patience` may change"
            );
        }
        if file.meta.architecture != self.net.graph().architecture || file.meta.f64 != self.net.options().f64 {
            fail!(File, "the checkpoint was made with another network");
        }
        if file.meta.rng != RNG_VERSION {
            fail!(
                File,
                "the checkpoint's random numbers are those of `{}`, this program has `{RNG_VERSION}`",
                file.meta.rng
            );
        }
        if training.updates.max(training.passes) > MOST_STEPS {
            fail!(File, "the checkpoint claims {} updates", training.updates.max(training.passes));
        }
        if training.samples != self.order.len() {
            fail!(
                File,
                "the checkpoint was made with {} training samples, there are {}",
                training.samples,
                self.order.len()
            );
        }
        if training.data != self.fingerprint() {
            fail!(File, "the checkpoint was made with other training or validation samples");
        }
        self.net.load_weights(file)?;
        let graph = self.net.graph().clone();
        let states = self.net.optimizer().map_or(&[][..], |o| o.states());
        for (s, state) in states.iter().enumerate() {
            for (i, p) in graph.params.iter().enumerate().filter(|(_, p)| p.trained) {
                let data = file.tensor(&format!("optimizer.{state}.{}", p.name), &p.shape)?;
                self.net.executor().store(Stored::State(s, i), data);
            }
        }
        if training.progress.best.is_some() && self.settings.keep == Keep::Best {
            let params = graph
                .params
                .iter()
                .map(|p| (&p.name, &p.shape))
                .chain(graph.buffers.iter().map(|b| (&b.name, &b.shape)));
            let best: Result<Vec<_>> =
                params.map(|(n, s)| file.tensor(&format!("{BEST}{n}"), s).map(<[f64]>::to_vec)).collect();
            self.best = Some(best?);
        }
        self.net.set_counts(training.updates, training.passes);
        self.net.set_seed(crate::rng::Seed(file.meta.seed));
        self.progress = training.progress.clone();
        // Whoever ended it wants it to go on, unless it has still no patience.
        self.progress.stopped = self.out_of_patience();
        Ok(())
    }

    /// What identifies the samples that decide over a training.
    fn fingerprint(&self) -> u64 {
        let validation = self.data.validation.map_or(0, Dataset::fingerprint);
        absorb(self.data.train.fingerprint(), validation)
    }

    /// Why training stops, if it has waited long enough for a better validation loss.
    fn out_of_patience(&self) -> Option<String> {
        let best = self.progress.best.map_or(0, |(_, epoch)| epoch);
        let waited = self.progress.epochs.saturating_sub(best);
        let over = self.settings.patience.is_some_and(|p| waited >= p);
        over.then(|| format!("no better validation loss since epoch {best}"))
    }

    /// Where the training stands.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The network.
    pub fn net(&mut self) -> &mut Net {
        self.net
    }

    /// Whether there is no epoch left.
    pub fn done(&self) -> bool {
        self.progress.epochs >= self.settings.epochs || self.progress.stopped.is_some()
    }

    /// Ends the training after the epochs done so far.
    pub fn stop(&mut self, why: &str) {
        self.progress.stopped = Some(why.to_string());
    }

    /// From now on keeps the losses of every step, for [`Trainer::take_steps`].
    pub fn record_steps(&mut self) {
        self.steps = Some(vec![Vec::new(); self.net.graph().losses.len()]);
    }

    /// The losses of every step so far by name: without their weights, averaged over the samples of the batch. Empty unless
    /// [`Trainer::record_steps`] was called before.
    pub fn take_steps(&mut self) -> IndexMap<String, Vec<f64>> {
        let names = self.net.graph().losses.iter().map(|l| l.name.clone());
        names.zip(self.steps.take().into_iter().flatten()).collect()
    }

    /// Trains one epoch.
    ///
    /// # Errors
    /// [`Kind::Diverged`] when a loss or a parameter is no finite number any more, naming the first.
    pub fn epoch(&mut self) -> Result<&Epoch> {
        static NEVER: AtomicBool = AtomicBool::new(false);
        self.epoch_until(&NEVER).map(|epoch| epoch.expect("nobody raises it"))
    }

    /// As [`Trainer::epoch`], unless `stop` is raised before it is over: then `None`, at the next batch. The network is left in
    /// the middle of an epoch, from which nothing goes on.
    ///
    /// # Errors
    /// As [`Trainer::epoch`].
    pub fn epoch_until(&mut self, stop: &AtomicBool) -> Result<Option<&Epoch>> {
        let start = Instant::now();
        let index = self.progress.epochs;
        let lr = self.schedule.as_ref().map_or(self.base_lr, |s| s.lr(self.base_lr, index, self.settings.epochs));
        if self.settings.shuffle {
            (0..).zip(&mut self.order).for_each(|(i, row)| *row = i);
            permute(self.net.seed().key("shuffle").at(index as u64), &mut self.order);
        }
        let changes = self.net.seed().key("augment").at(index as u64);
        let graph = self.net.graph().clone();
        let (mut sums, mut samples, mut clipped, mut updates) = (vec![0.0; graph.losses.len()], 0, 0, 0);
        let mut waiting = 0;
        let Settings { accumulate, clip_value, clip_norm, .. } = self.settings;
        let at_once = accumulate == 1 && clip_value.is_none() && clip_norm.is_none();
        let batches = self.order.len().div_ceil(self.settings.batch);
        // Here, so that no step allocates.
        self.steps.iter_mut().flatten().for_each(|values| values.reserve(batches));
        for (b, rows) in self.order.chunks(self.settings.batch).enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if rows.len() < graph.least_batch {
                if index == 0 {
                    tracing::warn!(
                        "the last batch has {} sample(s), batch norm needs {}: it is passed over in every epoch",
                        rows.len(),
                        graph.least_batch
                    );
                }
                continue;
            }
            let batch = match &mut self.augment {
                Some(augment) => augment.batch(self.data.train, rows, changes),
                None => self.data.train.batch(rows),
            };
            let loss = self.net.train_batch(&batch, at_once.then_some(lr));
            if let Some(steps) = &mut self.steps {
                let n = rows.len() as f64;
                let losses = self.net.fused_losses().zip(&graph.losses);
                steps
                    .iter_mut()
                    .zip(losses)
                    .for_each(|(all, (x, node))| all.push(x * samples_in(node, rows.len()) / n));
            }
            if !loss.is_finite() {
                return Err(self.diverged(index, b));
            }
            for ((sum, value), node) in sums.iter_mut().zip(self.net.fused_losses()).zip(&graph.losses) {
                *sum += value * samples_in(node, rows.len());
            }
            samples += rows.len();
            waiting += 1;
            if waiting == self.settings.accumulate || b + 1 == batches {
                if !self.net.is_updated() {
                    clipped += usize::from(advance(self.net, &self.settings, lr));
                }
                updates += 1;
                waiting = 0;
            }
        }
        if waiting > 0 {
            // The last batch was passed over: what had gathered before it still counts.
            clipped += usize::from(advance(self.net, &self.settings, lr));
            updates += 1;
        }
        if !self.net.executor().all_finite() {
            return Err(self.diverged(index, batches - 1));
        }
        let trained = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let n = samples as f64;
        let validation = self.data.validation.map(|v| self.net.evaluate(v)).transpose()?;
        let mut watched = IndexMap::new();
        for (name, set) in self.data.watch {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            watched.insert((*name).to_string(), self.net.evaluate(set)?);
        }
        // Powers of two: a network dies early or not at all. What has been said once is not said again.
        let mut warnings = Vec::new();
        if (index + 1).is_power_of_two() {
            warnings = self.net.health(&self.data.train.range(0..self.order.len().min(256)))?;
            warnings.retain(|w| !self.progress.history.iter().any(|e| e.warnings.contains(w)));
        }
        for warning in &warnings {
            tracing::warn!("epoch {}: {warning}", index + 1);
        }
        self.progress.epochs += 1;
        let epoch = Epoch {
            epoch: index + 1,
            lr,
            loss: graph.losses.iter().zip(&sums).map(|(l, s)| l.weight * s / n).sum(),
            losses: graph.losses.iter().zip(&sums).map(|(l, s)| (l.name.clone(), s / n)).collect(),
            validation,
            watched,
            clipped: (clipped, updates),
            warnings,
            seconds: (trained, start.elapsed().as_secs_f64()),
        };
        if let Some(v) = &epoch.validation
            && v.loss.is_finite()
            && self.progress.best.is_none_or(|(best, _)| v.loss < best)
        {
            self.progress.best = Some((v.loss, epoch.epoch));
            if self.settings.keep == Keep::Best {
                self.best = Some(self.net.snapshot());
            }
        }
        self.progress.stopped = self.out_of_patience();
        self.progress.history.push(epoch);
        Ok(self.progress.history.last())
    }

    fn diverged(&mut self, epoch: usize, batch: usize) -> Error {
        let lost = self.net.params().into_iter().find(|p| !p.value.iter().all(|x| x.is_finite()));
        let losses: Vec<String> = {
            let graph = self.net.graph().clone();
            graph.losses.iter().zip(self.net.fused_losses()).map(|(l, v)| format!("`{}` is {v}", l.name)).collect()
        };
        let cause = match lost {
            Some(p) => format!("`{}` holds a number that is not finite", p.name),
            None => "the parameters are finite still".to_string(),
        };
        Error::new(
            Kind::Diverged,
            format!(
                "training diverged at epoch {}, batch {}: loss {}; {cause}. A lower learning rate may help",
                epoch + 1,
                batch + 1,
                losses.join(", ")
            ),
        )
    }

    /// Writes the whole state to a file, from which [`Trainer::resume`] goes on with the same bits.
    ///
    /// # Errors
    /// [`Kind::Io`] when the file cannot be written; the one that was there stays.
    pub fn checkpoint(&self, path: &Path, notes: &IndexMap<String, serde_json::Value>) -> Result<()> {
        let mut file = self.net.to_file(notes);
        let graph = self.net.graph();
        let states = self.net.optimizer().map_or(&[][..], |o| o.states());
        for (s, state) in states.iter().enumerate() {
            for (i, p) in graph.params.iter().enumerate().filter(|(_, p)| p.trained) {
                let data = self.net.executor_ref().stored(Stored::State(s, i));
                file.tensors.insert(format!("optimizer.{state}.{}", p.name), (p.shape.clone(), data));
            }
        }
        if let Some(best) = &self.best {
            let names = graph
                .params
                .iter()
                .map(|p| (&p.name, &p.shape))
                .chain(graph.buffers.iter().map(|b| (&b.name, &b.shape)));
            for ((name, shape), data) in names.zip(best) {
                file.tensors.insert(format!("{BEST}{name}"), (shape.clone(), data.clone()));
            }
        }
        let (updates, passes) = self.net.counts();
        file.meta.training = Some(crate::model::Training {
            settings: self.settings.clone(),
            samples: self.order.len(),
            data: self.fingerprint(),
            updates,
            passes,
            progress: self.progress.clone(),
        });
        file.write(path)
    }

    /// Ends the training: the network has the parameters that `keep` says.
    pub fn finish(self) -> History {
        let mut kept = self.progress.epochs;
        if let (Keep::Best, Some(best)) = (self.settings.keep, &self.best) {
            self.net.restore(best);
            kept = self.progress.best.map_or(kept, |(_, epoch)| epoch);
        }
        History { epochs: self.progress.history, best: self.progress.best, kept, stopped: self.progress.stopped }
    }
}

/// One optimiser step with the gradients gathered so far, clipped as the settings say; whether their norm was too large.
fn advance(net: &mut Net, settings: &Settings, lr: f64) -> bool {
    net.average_grads();
    if let Some(limit) = settings.clip_value {
        net.executor().clamp_grads(limit);
    }
    // As torch: the small number keeps a norm of 0 from dividing by 0.
    let factor = settings.clip_norm.map_or(1.0, |limit| limit / (net.executor().grad_norm() + 1e-6));
    if factor < 1.0 {
        net.executor().scale_grads(factor);
    }
    net.apply(lr);
    factor < 1.0
}

impl Net {
    /// Trains in one call: forward, loss, backward and update of every batch of every epoch, fused, with the same bits as
    /// the four steps. `see` is called after every epoch and can end the training.
    ///
    /// ```
    /// use gradus::prelude::*;
    /// use gradus::train::{Flow, Settings};
    /// let disk = data::disk(200, Seed(7));
    /// let mut net = Sequential::new([2]).add(Linear::new(8)).add(Tanh).add(Linear::new(2)).loss(MSELoss::new()).build(Seed(1))?;
    /// let settings = Settings { epochs: 3, batch: 20, ..Settings::default() };
    /// let history = net.fit(&disk.train, &settings, |epoch| {
    ///     println!("epoch {} loss {:.4}", epoch.epoch, epoch.loss);
    ///     Flow::Continue
    /// })?;
    /// assert_eq!(history.epochs.len(), 3);
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Trainer::new`] and [`Trainer::epoch`].
    pub fn fit<'a>(
        &'a mut self,
        data: impl Into<Data<'a>>,
        settings: &Settings,
        mut see: impl FnMut(&Epoch) -> Flow,
    ) -> Result<History> {
        let mut trainer = Trainer::new(self, data.into(), settings)?;
        while !trainer.done() {
            if see(trainer.epoch()?) == Flow::Stop {
                trainer.stop("stopped by the caller");
            }
        }
        Ok(trainer.finish())
    }

    /// Every parameter and buffer.
    pub(crate) fn snapshot(&self) -> Vec<Vec<f64>> {
        let (params, buffers) = (0..self.graph().params.len(), 0..self.graph().buffers.len());
        params
            .map(Stored::Param)
            .chain(buffers.map(Stored::Buffer))
            .map(|what| self.executor_ref().stored(what))
            .collect()
    }

    /// Puts a [`Net::snapshot`] back.
    pub(crate) fn restore(&mut self, snapshot: &[Vec<f64>]) {
        let (params, buffers) = (0..self.graph().params.len(), 0..self.graph().buffers.len());
        for (what, data) in params.map(Stored::Param).chain(buffers.map(Stored::Buffer)).zip(snapshot) {
            self.executor().store(what, data);
        }
    }
}
