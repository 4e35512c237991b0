//! The data of rounds as they are written down, and whether they are still the same.

use gradus::error::{Error, Kind, Result};
use gradus_record::{Document, Filter, Parts, RoundRecord, Store, TrialRecord};

use super::engine::stored;
use super::trial::round_seed;
use super::{records, samples};
use crate::{DataSettings, Study};

/// The data settings that a study's rounds are recorded of: those of its first arm.
fn data(study: &Study) -> Result<&DataSettings> {
    let none = || Error::new(Kind::Config, "the study has no arm");
    study.arms.values().next().map(|a| &a.data).ok_or_else(none)
}

/// Writes the data of a round, in place of those that the study asked for in another way before.
pub fn put_round(store: &mut Store, study: &Study, round: usize) -> Result<()> {
    let new = records::round(study.seed, data(study)?, round)?;
    match store.round(round).map_err(stored)? {
        Some(old) if old.data != new.data => store.replace_round(&new),
        _ => store.put_round(&new),
    }
    .map_err(stored)
}

/// That the data of rounds that are there are still what the study asks for: drawn anew where it asks in another way, refused
/// where the same question has another answer.
pub fn check_rounds(store: &mut Store, study: &Study) -> Result<()> {
    let asked = Document::of(data(study)?).map_err(stored)?;
    let rounds = store.rounds().map_err(stored)?;
    for round in rounds.iter().filter(|r| r.data != asked && r.round < study.rounds) {
        put_round(store, study, round.round)?;
    }
    // Data that change are all drawn from one file: the first round tells.
    match rounds.iter().find(|r| r.data == asked) {
        Some(round) => put_round(store, study, round.round),
        None => Ok(()),
    }
}

/// Rounds whose samples are shown.
const SHOWN: usize = 3;

/// Writes the samples of the first rounds: a function of what is in the store, whenever it was written.
pub fn show_samples(store: &mut Store, study: &Study, keys: &[String]) -> Result<()> {
    for round in 0..SHOWN.min(study.rounds) {
        let Some(old) = store.round(round).map_err(stored)? else { continue };
        let filter = Filter { keys: Some(keys.to_vec()), rounds: Some(round..=round), ..Filter::default() };
        let mut said = Vec::new();
        let parts = Parts { predictions: true, ..Parts::default() };
        let see = |trial: TrialRecord| {
            said.extend(trial.predictions);
            Ok::<_, gradus_record::Error>(())
        };
        store.each_trial(&filter, parts, see).map_err(stored)?;
        let samples = samples::samples(data(study)?, round_seed(study.seed, round), &said)?;
        if samples != old.samples {
            store.replace_round(&RoundRecord { samples, ..old }).map_err(stored)?;
        }
    }
    Ok(())
}
