//! What a study will take, before it starts: a few steps of some arms are timed, the others follow by their operations.

use std::time::{Duration, Instant};

use gradus::Registry;
use gradus::error::Result;
use gradus::net::{Graph, Net, Options};
use gradus::train::{Keep, Settings, Trainer};
use gradus_record::{EpochRecord, Grid, Predicted, Predictions, Steps, TrialRecord};
use indexmap::IndexMap;

use super::engine::Arm;
use super::trial::{GRID, round_seed};
use super::tuning;
use crate::{ArmSettings, Dtype, Record, Study};

/// What is still to be run will take about this much.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expected {
    /// Seconds, with the threads it has.
    pub seconds: f64,
    /// Bytes of its file.
    pub bytes: u64,
}

/// How long is measured in all, unless a single step takes longer.
const PATIENCE: Duration = Duration::from_millis(200);
/// The most arms that are measured.
const MEASURED: usize = 16;
/// The most samples of a step that is measured, and operations of it: some milliseconds.
const ROWS: usize = 100;
const OPERATIONS: u64 = 3_000_000_000;

/// What trials of an arm take, one by one.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Seconds of drawing the data and making the network.
    start: f64,
    /// Seconds of training and evaluating an operation of the graph.
    second: f64,
    bytes: u64,
}

/// What is measured of an arm stands for all that differ in nothing that takes time.
fn alike(arm: &ArmSettings) -> String {
    serde_json::to_string(&(&arm.architecture, &arm.data, arm.train.batch, arm.dtype)).unwrap_or_default()
}

/// Foresees what `missing` trials (arm and round) and those of tuning rounds take. It measures on this machine, and changes
/// nothing.
pub fn expected(
    study: &Study,
    arms: &[Arm],
    tuning: &[tuning::Task<'_>],
    missing: &[(usize, usize)],
    record: Record,
    threads: usize,
) -> Result<Expected> {
    let begun = Instant::now();
    let mut trials: IndexMap<usize, f64> = IndexMap::new();
    missing.iter().for_each(|(arm, _)| *trials.entry(*arm).or_default() += 1.0);
    // A tuning round takes as long as a trial of its arm, all but the test samples.
    let mut bytes = 0;
    for task in tuning {
        if let Some(arm) = study.arms.get_index_of(task.arm) {
            *trials.entry(arm).or_default() += 1.0;
            bytes += 700;
        }
    }
    let mut measured: IndexMap<String, Cost> = IndexMap::new();
    let mut seconds = 0.0;
    let (mut start, mut per_flop, mut n) = (0.0, 0.0, 0.0f64);
    let mut later = Vec::new();
    for (arm, trials) in trials {
        let settings = &arms[arm].settings;
        let flops = operations(&arms[arm], settings);
        let of = alike(settings);
        let over = measured.len() >= MEASURED || !measured.is_empty() && begun.elapsed() > PATIENCE;
        if !measured.contains_key(&of) && !over {
            let cost = measure(study, &arms[arm], record, flops)?;
            (start, per_flop, n) = (start + cost.start, per_flop + cost.second, n + 1.0);
            measured.insert(of.clone(), cost);
        }
        let count = missing.iter().filter(|(a, _)| *a == arm).count() as u64;
        match measured.get(&of) {
            Some(cost) => {
                seconds += trials * (cost.start + cost.second * flops);
                bytes += count * cost.bytes;
            }
            None => later.push((trials, flops, count)),
        }
    }
    let typical = measured.values().map(|c| c.bytes).max().unwrap_or(0);
    for (trials, flops, count) in later {
        seconds += trials * (start + per_flop * flops) / n.max(1.0);
        bytes += count * typical;
    }
    let all = missing.len() + tuning.len();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Expected { seconds: seconds / threads.min(cores).min(all.max(1)) as f64, bytes })
}

/// Operations of a trial: every epoch trains and evaluates.
fn operations(arm: &Arm, settings: &ArmSettings) -> f64 {
    let train = settings.data.training_samples().unwrap_or(1000) as f64;
    let test = settings.data.test.unwrap_or(1000) as f64;
    let (forward, training) = (arm.record.flops_forward as f64, arm.record.flops_training as f64);
    let epochs = settings.train.epochs as f64;
    epochs * train * training + (epochs + 1.0) * (train + test) * forward
}

/// Times a few steps and one evaluation of a part of the samples.
fn measure(study: &Study, arm: &Arm, record: Record, flops: f64) -> Result<Cost> {
    let few = (OPERATIONS / arm.record.flops_training.max(1)).clamp(8, ROWS as u64) as usize;
    let arm = &arm.settings;
    let begun = Instant::now();
    let seed = round_seed(study.seed, 0);
    let (split, _) = arm.data.load(seed)?;
    let graph = Graph::resolve(&arm.architecture, &split.train.schema(), &Registry::new())?;
    let mut net = Net::new(graph, seed, Options { threads: 1, f64: arm.dtype == Dtype::F64 })?;
    let start = begun.elapsed().as_secs_f64();

    let rows = arm.train.batch.min(split.train.len()).min(few);
    let few = split.train.select(&(0..rows).collect::<Vec<_>>());
    // It sets the optimiser; nothing is learnt.
    let settings = Settings { batch: rows, patience: None, keep: Keep::Last, ..arm.train.clone() };
    drop(Trainer::new(&mut net, (&few).into(), &settings)?);
    let time = |work: &mut dyn FnMut()| {
        let (timed, mut n) = (Instant::now(), 0.0);
        while n < 50.0 && (n < 1.0 || timed.elapsed() < Duration::from_millis(10)) {
            work();
            n += 1.0;
        }
        timed.elapsed().as_secs_f64() / n
    };
    let first = Instant::now();
    net.train_step(&few.all(), 0.0); // the first one makes the plan
    let first = first.elapsed();
    let slow = first > Duration::from_millis(300);
    let step = if slow { first.as_secs_f64() } else { time(&mut || _ = net.train_step(&few.all(), 0.0)) } / rows as f64;
    let evaluation = net.evaluate(&few)?;
    let sample = if slow { step / 3.0 } else { time(&mut || _ = net.evaluate(&few)) / rows as f64 };

    let epochs = arm.train.epochs as f64;
    let seen =
        (split.train.len() + split.test.len() + split.validation.as_ref().map_or(0, gradus::data::Dataset::len)) as f64;
    let batches = split.train.len().div_ceil(arm.train.batch);
    let whole = epochs * (split.train.len() as f64 * step + seen * sample) + 2.0 * seen * sample;
    // The numbers of some epochs stand for all of them.
    let some = arm.train.epochs.min(50);
    let size = |epochs| {
        trial_like(arm, &net, &evaluation.metrics(""), split.test.len(), (epochs, batches), record).stored_bytes()
    };
    let bytes = size(0) + ((size(some) - size(0)) as f64 * epochs / some.max(1) as f64) as u64;
    Ok(Cost { start, second: whole / flops.max(1.0), bytes })
}

/// A trial with as many numbers as one of this arm has, of so many epochs and batches in each.
fn trial_like(
    arm: &ArmSettings,
    net: &Net,
    metrics: &IndexMap<String, f64>,
    test: usize,
    (epochs, batches): (usize, usize),
    record: Record,
) -> TrialRecord {
    let graph = net.graph();
    let number = 1.0 / 3.0;
    let part = || Some(metrics.keys().map(|name| (name.trim_start().to_string(), number)).collect::<IndexMap<_, _>>());
    let epoch = |epoch| EpochRecord {
        epoch,
        lr: number,
        loss: number,
        losses: graph.losses.iter().map(|l| (l.name.clone(), number)).collect(),
        train: part(),
        validation: if arm.data.validation > 0 { part() } else { None },
        test: part(),
        ..EpochRecord::default()
    };
    let parts = ["train", "validation", "test"].into_iter().filter(|p| *p != "validation" || arm.data.validation > 0);
    let said = |_| Predicted { labels: vec![0; test], predicted: vec![1; test], ..Predicted::default() };
    let losses = graph.losses.iter();
    TrialRecord {
        metrics: parts.flat_map(|p| metrics.keys().map(move |name| (format!("{p}{name}"), number))).collect(),
        epochs: (1..=epochs).map(epoch).collect(),
        steps: record
            .steps
            .then(|| Steps { losses: losses.clone().map(|l| (l.name.clone(), vec![0.0; batches * epochs])).collect() }),
        predictions: record.predictions.then(|| Predictions {
            sample_ids: (0..test as u32).collect(),
            of: losses.map(|l| (l.name.clone(), said(l))).collect(),
        }),
        grid: (record.grid && graph.schema.inputs.values().all(|i| i.shape == [2])).then(|| Grid {
            width: GRID,
            height: GRID,
            values: vec![0.0; GRID * GRID],
            ..Grid::default()
        }),
        weights: record.weights.then(|| vec![0; 4 * graph.params.iter().map(|p| p.len()).sum::<usize>() + 2000]),
        parameters_hash: Some("0123456789abcdef".into()),
        ..TrialRecord::default()
    }
}
