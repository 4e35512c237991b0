//! What is written down of a study and of a round.

use gradus::data::{Dataset, Target};
use gradus::error::Result;
use gradus::exec::cpu::Isa;
use gradus::metrics::Metric;
use gradus::rng::{RNG_VERSION, Seed};
use gradus_record::{Compare, Document, Machine, PointSet, Points, RoundRecord, StudyRecord, Versions, now};

use super::engine::stored;
use super::trial::round_seed;
use crate::{DataSettings, Study};

/// The record of a study, on this machine.
///
/// # Errors
/// When its metric is none.
pub fn study(study: &Study) -> Result<StudyRecord> {
    let metric: Metric = study.compare.metric.parse()?;
    Ok(StudyRecord {
        name: name(study),
        title: study.title.clone(),
        description: study.description.clone(),
        seed: study.seed.0,
        rounds: study.rounds,
        text: study.text.clone(),
        resolved: Document::of(study).map_err(stored)?,
        machine: Machine {
            cpu: cpu(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            instructions: Isa::detect().to_string(),
        },
        versions: Versions { gradus: env!("CARGO_PKG_VERSION").to_string(), rng: RNG_VERSION.to_string() },
        created: now(),
        compare: Compare {
            baseline: study.compare.baseline.clone(),
            metric: study.compare.metric.clone(),
            margin: study.compare.margin,
            larger_is_better: metric.score.larger_is_better(),
        },
        ..StudyRecord::default()
    })
}

/// The name of a study: that of its file, without folder and ending.
pub fn name(study: &Study) -> String {
    let stem = std::path::Path::new(&study.file).file_stem();
    stem.map_or_else(|| "study".to_string(), |s| s.to_string_lossy().into_owned())
}

/// What the processor calls itself, where the system tells.
fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(':').nth(1));
    line.map_or_else(|| "unknown".to_string(), |name| name.trim().to_string())
}

/// The record of a round with these data, but for its samples.
///
/// # Errors
/// When the data cannot be read.
pub fn round(seed: Seed, settings: &DataSettings, round: usize) -> Result<RoundRecord> {
    let seed = round_seed(seed, round);
    let (mut split, normalisation) = settings.load(seed)?;
    let normalisation = normalisation.as_ref().map(Document::of).transpose().map_err(stored)?;
    let mut points = None;
    if split.train.inputs.len() == 1 && split.train.inputs[0].shape()[1..] == [2] {
        if normalisation.is_some() {
            // Points are shown in the coordinates of the data.
            split = DataSettings { raw: true, ..settings.clone() }.load(seed)?.0;
        }
        points = set(&split.train).zip(set(&split.test)).map(|(train, test)| Points { train, test });
    }
    Ok(RoundRecord {
        round,
        data: Document::of(settings).map_err(stored)?,
        data_hash: split.info.hash.clone(),
        normalisation,
        note: split.info.note.clone().unwrap_or_else(|| split.info.source.clone()),
        points,
        samples: None,
    })
}

fn set(data: &Dataset) -> Option<PointSet> {
    let x = data.inputs.first()?.1;
    let Target::Classes { labels, .. } = data.targets.first()?.1 else { return None };
    let column = |c| x.index_axis(ndarray::Axis(1), c).iter().copied().collect();
    Some(PointSet { x: column(0), y: column(1), labels: labels.iter().copied().collect() })
}
