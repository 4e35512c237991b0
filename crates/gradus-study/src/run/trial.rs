//! One trial: an arm trained in one round, and everything that is written down of it.

use std::sync::atomic::{AtomicBool, Ordering};

use gradus::data::{Dataset, Normalisation, Split, Target};
use gradus::error::{Kind, Result};
use gradus::metrics::{EVAL_BATCH, Evaluation, class};
use gradus::model::ModelFile;
use gradus::net::{Graph, Net, Options};
use gradus::rng::Seed;
use gradus::train::{Data, Epoch, History, Trainer};
use gradus::{Model, Registry};
use gradus_record::{Best, EpochRecord, Grid, NO_CLASS, Outcome, Predicted, Predictions, Seconds, Steps, TrialRecord};
use indexmap::IndexMap;
use ndarray::ArrayD;

use crate::{ArmSettings, Dtype, Record};

/// The seed of a round: its data, first weights, order of samples and dropout all follow from it, each for a purpose of
/// its own, so that the arms of a round are paired.
pub fn round_seed(study: Seed, round: usize) -> Seed {
    study.child(round as u64)
}

/// What is trained: an arm in a round of a study.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The study's seed.
    pub seed: Seed,
    /// The arm.
    pub arm: &'a ArmSettings,
    /// Its key in the store.
    pub key: &'a str,
    /// The round.
    pub round: usize,
    /// What is written down of it.
    pub record: Record,
}

/// The data of a round as an arm takes them, and how raw samples are normalised.
///
/// # Errors
/// When the data cannot be read, or are too few.
pub fn data(task: &Task<'_>) -> Result<(Split, Option<Normalisation>)> {
    task.arm.data.load(round_seed(task.seed, task.round))
}

/// Runs a trial; `None` when `stop` was raised before it was done.
///
/// # Errors
/// When the data or the settings do not fit. A training that diverges is a result, not an error.
pub fn run(task: &Task<'_>, stop: &AtomicBool) -> Result<Option<TrialRecord>> {
    let arm = task.arm;
    let (split, normalisation) = data(task)?;
    let watch = [("train", &split.train), ("test", &split.test)];
    let feed = Data { train: &split.train, validation: split.validation.as_ref(), watch: &watch };
    let seed = round_seed(task.seed, task.round);
    let Some(fitted) = fit(arm, seed, normalisation, feed, task.record.steps, stop)? else { return Ok(None) };
    let Fitted { mut net, history, outcome, steps } = fitted;
    let file = net.to_file(&IndexMap::new());
    let mut record = TrialRecord {
        key: task.key.to_string(),
        arm: arm.name.clone(),
        round: task.round,
        seconds: seconds(&history),
        best: history.best.and_then(|(_, at)| best(&history.epochs, at)),
        stopped: history.stopped,
        warnings: history.epochs.iter().flat_map(|e| &e.warnings).map(ToString::to_string).collect(),
        epochs: history.epochs.iter().map(epoch).collect(),
        parameters_hash: Some(bits(&file)),
        steps,
        threads: 1,
        ..TrialRecord::default()
    };
    if matches!(outcome, Outcome::Done) {
        let parts =
            [("train", Some(&split.train)), ("validation", split.validation.as_ref()), ("test", Some(&split.test))];
        for (part, set) in parts.into_iter().filter_map(|(part, set)| Some((part, set?))) {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            record.metrics.extend(net.evaluate(set)?.metrics(part));
        }
        if task.record.weights {
            record.weights = Some(file.to_bytes()?);
        }
        if task.record.predictions || task.record.grid {
            let model = Model::from_file(file, &Registry::new())?;
            record.predictions = if task.record.predictions { predictions(&model, &split.test)? } else { None };
            record.grid = if task.record.grid { grid(&model)? } else { None };
        }
    }
    record.outcome = outcome;
    Ok(Some(record))
}

/// A network after its training.
pub(super) struct Fitted {
    pub net: Net,
    pub history: History,
    pub outcome: Outcome,
    pub steps: Option<Steps>,
}

/// Trains an arm; `None` when `stop` was raised before it was done.
pub(super) fn fit(
    arm: &ArmSettings,
    seed: Seed,
    normalisation: Option<Normalisation>,
    feed: Data<'_>,
    steps: bool,
    stop: &AtomicBool,
) -> Result<Option<Fitted>> {
    let graph = Graph::resolve(&arm.architecture, &feed.train.schema(), &Registry::new())?;
    let options = Options { threads: 1, f64: arm.dtype == Dtype::F64 };
    let mut net = Net::new(graph, arm.seed(seed), options)?;
    net.normalisation = normalisation;
    let mut trainer = Trainer::new(&mut net, feed, &arm.train)?;
    if steps {
        trainer.record_steps();
    }
    let mut outcome = Outcome::Done;
    while !trainer.done() {
        match trainer.epoch_until(stop) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(e) if e.kind() == Kind::Diverged => {
                outcome = Outcome::Diverged { epoch: trainer.progress().epochs + 1, cause: e.to_string() };
                break;
            }
            Err(e) => return Err(e),
        }
    }
    let steps = steps.then(|| Steps { losses: trainer.take_steps() });
    let history = trainer.finish();
    Ok(Some(Fitted { net, history, outcome, steps }))
}

/// How long a training took.
pub(super) fn seconds(history: &History) -> Seconds {
    let sum = |s: Seconds, e: &Epoch| Seconds { train: s.train + e.seconds.0, evaluate: s.evaluate + e.seconds.1 };
    history.epochs.iter().fold(Seconds::default(), sum)
}

/// Metrics without the name of their part: `accuracy`, `loss of aux`.
fn bare(evaluation: &Evaluation) -> IndexMap<String, f64> {
    let named = evaluation.metrics("");
    named.into_iter().map(|(name, value)| (name.trim_start().to_string(), value)).collect()
}

fn epoch(e: &Epoch) -> EpochRecord {
    EpochRecord {
        epoch: e.epoch,
        lr: e.lr,
        loss: e.loss,
        losses: e.losses.clone(),
        train: e.watched.get("train").map(bare),
        validation: e.validation.as_ref().map(bare),
        test: e.watched.get("test").map(bare),
        clipped: e.clipped,
    }
}

/// The metrics of the epoch with the lowest validation loss.
fn best(epochs: &[Epoch], at: usize) -> Option<Best> {
    let epoch = epochs.iter().find(|e| e.epoch == at)?;
    let mut metrics = IndexMap::new();
    for (part, evaluation) in
        epoch.watched.iter().map(|(p, e)| (p.as_str(), e)).chain(epoch.validation.iter().map(|v| ("validation", v)))
    {
        metrics.extend(evaluation.metrics(part));
    }
    Some(Best { epoch: at, metrics })
}

/// A hash of every number the network ends with.
pub(super) fn bits(file: &ModelFile) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for (name, (_, data)) in &file.tensors {
        let bytes = name.bytes().chain(data.iter().flat_map(|x| x.to_bits().to_le_bytes()));
        hash = bytes.fold(hash, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    }
    format!("{hash:016x}")
}

/// The predicted classes of the test samples, for every loss that judges classes.
fn predictions(model: &Model, test: &Dataset) -> Result<Option<Predictions>> {
    let graph = model.graph();
    let Some((_, inputs)) = test.inputs.first().filter(|_| test.inputs.len() == 1) else { return Ok(None) };
    let outputs = model.session_all(EVAL_BATCH).predict_array(inputs, true)?;
    let mut of = IndexMap::new();
    for loss in &graph.losses {
        let branch = &graph.branches[loss.branch];
        let Some((_, y)) = outputs.iter().find(|(name, _)| *name == branch.name) else { continue };
        let Some((target, Target::Classes { labels, names })) = test.targets.get_index(loss.target) else { continue };
        let rows = y.len() / test.len();
        let each = labels.len() / test.len();
        let labels: Vec<u32> = labels.iter().skip(loss.target_index.unwrap_or(0)).step_by(each).copied().collect();
        let y: Vec<f32> = y.iter().copied().collect();
        let predicted = y.chunks_exact(rows).map(|row| class(row).unwrap_or(NO_CLASS)).collect();
        let target = loss.target_index.map_or(target.clone(), |i| format!("{target}[{i}]"));
        of.insert(loss.name.clone(), Predicted { target, classes: names.clone(), labels, predicted });
    }
    Ok((!of.is_empty()).then(|| Predictions { sample_ids: (0..test.len() as u32).collect(), of }))
}

/// Points of the decision grid along each side.
pub(super) const GRID: usize = 64;

/// Where in the plane the network says which of two classes, for inputs that are points of the unit square.
fn grid(model: &Model) -> Result<Option<Grid>> {
    let graph = model.graph();
    let plane = graph.schema.inputs.len() == 1 && graph.schema.inputs[0].shape == [2];
    let outputs = &graph.outputs[0].1;
    if !plane || !matches!(outputs[..], [1 | 2]) {
        return Ok(None);
    }
    let at = |i: usize| (i as f32 + 0.5) / GRID as f32;
    let points =
        ArrayD::from_shape_fn(vec![GRID * GRID, 2], |p| if p[1] == 0 { at(p[0] % GRID) } else { at(p[0] / GRID) });
    let y = model.session(EVAL_BATCH).predict_array(&points, false)?;
    let y: Vec<f32> = y[0].1.iter().copied().collect();
    let values = if outputs[0] == 1 {
        y.iter().map(|y| y - 0.5).collect()
    } else {
        y.chunks_exact(2).map(|y| y[1] - y[0]).collect()
    };
    let range = [f64::from(at(0)), f64::from(at(GRID - 1))];
    Ok(Some(Grid { width: GRID, height: GRID, x: range, y: range, values }))
}
