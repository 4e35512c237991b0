//! Tuning rounds: every arm tries its candidates on samples held out from the training draws of rounds that are not used again.
//!
//! What is loaded here has no test set: [`Drawn`] has no place for one.

use std::sync::atomic::AtomicBool;

use gradus::data::{Dataset, Normalisation};
use gradus::error::{Error, Kind, Result};
use gradus::metrics::Metric;
use gradus::rng::Seed;
use gradus::train::Data;
use gradus_record::{Candidate as Tried, Outcome, Tuned, TuningTrial};
use indexmap::IndexMap;

use super::trial::{bits, fit, seconds};
use crate::{ArmSettings, Candidate, DataSettings, Study, Tune};

/// The branch of a study's seed that tuning rounds hang from: no round has this number.
const BRANCH: u64 = u64::MAX;

/// The seed of a tuning round.
fn tuning_seed(study: Seed, round: usize) -> Seed {
    study.child(BRANCH).child(round as u64)
}

/// A candidate in a tuning round.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    pub arm: &'a str,
    pub candidate: &'a Candidate,
    pub key: String,
    pub round: usize,
}

/// Every candidate of an arm in every tuning round, round by round.
pub fn tasks<'a>(tune: &'a Tune, arm: &'a str) -> Vec<Task<'a>> {
    let candidates = tune.candidates.get(arm).map_or(&[][..], Vec::as_slice);
    let keys: Vec<String> = candidates.iter().map(|c| key(tune, &c.settings)).collect();
    let of_round =
        |round| candidates.iter().zip(&keys).map(move |(c, k)| Task { arm, candidate: c, key: k.clone(), round });
    (0..tune.rounds).flat_map(of_round).collect()
}

/// What a candidate does, and how many samples judge it.
fn key(tune: &Tune, settings: &ArmSettings) -> String {
    super::arms::hash(&format!("{} judged by {:?}", settings.identity(), tune.validation))
}

/// The samples of a tuning round.
struct Drawn {
    train: Dataset,
    /// The arm's own validation samples.
    validation: Option<Dataset>,
    /// Those that judge the candidate.
    judged: Dataset,
    normalisation: Option<Normalisation>,
}

/// Draws a tuning round. The test samples drawn along are dropped here.
fn draw(data: &DataSettings, held: Option<usize>, seed: Seed) -> Result<Drawn> {
    let held = match held {
        Some(n) => n,
        None => fifth(data, seed)?,
    };
    let both = DataSettings { validation: data.validation + held, ..data.clone() };
    let (split, normalisation) = both.load(seed)?;
    let Some(validation) = split.validation else {
        return Err(Error::new(Kind::Data, "there are too few training samples to hold some out"));
    };
    let (validation, judged) = if data.validation == 0 {
        (None, validation)
    } else {
        let (own, judged) = validation.split_off(held);
        (Some(own), judged)
    };
    Ok(Drawn { train: split.train, validation, judged, normalisation })
}

/// A fifth of the training samples, and one at least.
fn fifth(data: &DataSettings, seed: Seed) -> Result<usize> {
    let all = match data.training_samples() {
        Some(n) => n,
        None => DataSettings { validation: 0, raw: true, ..data.clone() }.load(seed)?.0.train.len(),
    };
    Ok((all.saturating_sub(data.validation) / 5).max(1))
}

/// Trains a candidate and judges it; `None` when `stop` was raised before it was done.
///
/// # Errors
/// When the data or the settings do not fit. A training that diverges is a result, not an error.
pub fn run(study: &Study, tune: &Tune, task: &Task<'_>, stop: &AtomicBool) -> Result<Option<TuningTrial>> {
    let settings = &task.candidate.settings;
    let seed = tuning_seed(study.seed, task.round);
    let drawn = draw(&settings.data, tune.validation, seed)?;
    let feed = Data { train: &drawn.train, validation: drawn.validation.as_ref(), watch: &[] };
    let Some(mut fitted) = fit(settings, seed, drawn.normalisation, feed, false, stop)? else { return Ok(None) };
    let mut metrics = IndexMap::new();
    if fitted.outcome == Outcome::Done {
        metrics = fitted.net.evaluate(&drawn.judged)?.metrics("validation");
    }
    Ok(Some(TuningTrial {
        key: task.key.clone(),
        arm: task.arm.to_string(),
        values: task.candidate.values.clone(),
        round: task.round,
        outcome: fitted.outcome,
        metrics,
        parameters_hash: Some(bits(&fitted.net.to_file(&IndexMap::new()))),
        seconds: seconds(&fitted.history),
    }))
}

/// The values an arm is given by what its candidates reached, and how they were chosen; `None` when some were not tried yet.
///
/// # Errors
/// When every candidate diverged, or the metric is none of theirs.
pub fn choose(
    tune: &Tune,
    arm: &str,
    tried: &IndexMap<(String, usize), TuningTrial>,
    seed: Seed,
) -> Result<Option<(ArmSettings, Tuned)>> {
    let Some(offered) = tune.candidates.get(arm) else { return Ok(None) };
    let metric: Metric = tune.metric.parse()?;
    let mut candidates = Vec::new();
    for candidate in offered {
        let key = key(tune, &candidate.settings);
        let mut scores = Vec::new();
        for round in 0..tune.rounds {
            let Some(trial) = tried.get(&(key.clone(), round)) else { return Ok(None) };
            let score = match (&trial.outcome, trial.metrics.get(&tune.metric)) {
                (Outcome::Done, Some(score)) => *score,
                (Outcome::Done, None) => {
                    return Err(Error::new(
                        Kind::Config,
                        format!("arm `{arm}` has no `{}` to be tuned by", tune.metric),
                    ));
                }
                _ => f64::NAN,
            };
            scores.push(if score.is_finite() { score } else { f64::NAN });
        }
        // In the order of rounds: NaN where one is.
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        candidates.push(Tried { values: candidate.values.clone(), scores, mean });
    }
    let better = |a: f64, b: f64| if metric.score.larger_is_better() { a > b } else { a < b };
    let mut chosen: Option<usize> = None;
    for (i, c) in candidates.iter().enumerate().filter(|(_, c)| !c.mean.is_nan()) {
        if chosen.is_none_or(|best| better(c.mean, candidates[best].mean)) {
            chosen = Some(i);
        }
    }
    let Some(chosen) = chosen else {
        let offered: Vec<String> = candidates.iter().map(|c| words(&c.values)).collect();
        return Err(Error::new(
            Kind::Diverged,
            format!("arm `{arm}`: training diverged with every value that [tune] offers: {}", offered.join("; ")),
        ));
    };
    let settings = offered[chosen].settings.clone();
    let validation = match tune.validation {
        Some(n) => n,
        None => fifth(&settings.data, tuning_seed(seed, 0))?,
    };
    let edges = edges(&candidates, chosen);
    let tuned = Tuned { rounds: tune.rounds, validation, metric: tune.metric.clone(), candidates, chosen, edges };
    Ok(Some((settings, tuned)))
}

/// `train.optimizer.lr = 0.1, train.batch = 20`.
pub fn words(values: &IndexMap<String, String>) -> String {
    values.iter().map(|(k, v)| format!("{k} = {v}")).collect::<Vec<_>>().join(", ")
}

/// The keys whose chosen value is the least or the greatest of several numbers.
fn edges(candidates: &[Tried], chosen: usize) -> Vec<String> {
    let at_edge = |key: &str| {
        let numbers: Option<Vec<f64>> = candidates.iter().map(|c| c.values.get(key)?.parse().ok()).collect();
        let Some(numbers) = numbers else { return false };
        let (low, high) = numbers.iter().fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(*x), h.max(*x)));
        low < high && (numbers[chosen] <= low || numbers[chosen] >= high)
    };
    candidates[chosen].values.keys().filter(|k| at_edge(k)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Overrides;

    fn study(validation: &str) -> Study {
        let text = format!(
            "seed = 3\n[data]\nsource = \"disk\"\ntrain = 50\ntest = 20\n[arm.a]\nnet = {{ from = \"points\", layers = [\"Linear 2\"] }}\n\
             loss.x = {{ of = \"net\", target = \"inside\", kind = \"MSELoss\" }}\n\
             [tune]\n{validation}\ntrain.optimizer.lr = [0.3, 0.1, 1.0]"
        );
        Study::parse(&text, "t.toml", &Overrides::new()).unwrap()
    }

    fn chosen(scores: &[[f64; 2]], metric: &str) -> Result<Option<(ArmSettings, Tuned)>> {
        let study = study(&format!("rounds = 2\nmetric = \"{metric}\""));
        let tune = study.tune.as_ref().unwrap();
        let tried = tasks(tune, "a").into_iter().filter_map(|t| {
            let i = tune.candidates["a"].iter().position(|c| c.values == t.candidate.values)?;
            let score = scores.get(i)?[t.round];
            let outcome =
                if score == -1.0 { Outcome::Diverged { epoch: 1, cause: String::new() } } else { Outcome::Done };
            let metrics = [(metric.to_string(), score)].into();
            Some(((t.key.clone(), t.round), TuningTrial { outcome, metrics, ..TuningTrial::default() }))
        });
        choose(tune, "a", &tried.collect(), study.seed)
    }

    #[test]
    fn the_best_is_chosen_and_the_first_of_equals() {
        let which = |scores: &[[f64; 2]], metric| {
            chosen(scores, metric).unwrap().map(|(s, t)| (s.train.optimizer.to_string(), t.edges.len()))
        };
        let lr = |x: &str, edges| Some((format!("SGD lr={x}"), edges));
        assert_eq!(which(&[[90.0, 90.0], [80.0, 99.0], [10.0, 20.0]], "validation accuracy"), lr("0.3", 0));
        assert_eq!(which(&[[90.0, 90.0], [91.0, 90.0], [10.0, 20.0]], "validation accuracy"), lr("0.1", 1));
        assert_eq!(which(&[[90.0, 90.0], [91.0, 90.0], [10.0, 20.0]], "validation loss"), lr("1.0", 1));
        assert_eq!(which(&[[90.0, 90.0], [89.0, 91.0], [90.0, 90.0]], "validation accuracy"), lr("0.3", 0));
        // One that diverged once, or is no number, loses.
        assert_eq!(which(&[[0.5, f64::NAN], [0.9, 0.9], [0.1, -1.0]], "validation loss"), lr("0.1", 1));
        assert_eq!(which(&[[0.5, 0.5], [0.5, 0.5]], "validation loss"), None, "one is not tried yet");
        let e = chosen(&[[-1.0, 0.5], [0.5, -1.0], [f64::INFINITY, 0.5]], "validation loss").unwrap_err();
        assert!(
            e.to_string().contains("arm `a`: training diverged with every value")
                && e.to_string().contains("lr = 0.1;"),
            "{e}"
        );
    }

    #[test]
    fn samples_that_judge_are_held_out_of_those_learnt_from() {
        let data =
            DataSettings { train: Some(50), test: Some(20), validation: 10, ..DataSettings::new(crate::Source::Disk) };
        let seed = tuning_seed(Seed(3), 0);
        let raw = DataSettings { raw: true, validation: 0, ..data.clone() };
        let whole = raw.load(seed).unwrap().0.train;
        let drawn = draw(&DataSettings { raw: true, ..data.clone() }, Some(5), seed).unwrap();
        let parts = [&drawn.train, drawn.validation.as_ref().unwrap(), &drawn.judged];
        assert_eq!(parts.map(Dataset::len), [35, 10, 5]);
        let joined: Vec<f32> =
            parts.iter().flat_map(|d| d.inputs["points"].iter().copied().collect::<Vec<_>>()).collect();
        assert_eq!(joined, whole.inputs["points"].iter().copied().collect::<Vec<_>>());
        assert_eq!(draw(&data, None, seed).unwrap().judged.len(), 8, "a fifth of 40");
        let none = DataSettings { validation: 0, ..data };
        assert!(draw(&none, None, seed).unwrap().validation.is_none());
        // No round of the study has the seed of a tuning round.
        assert!((0..1000).all(|r| super::super::round_seed(Seed(3), r) != seed));
    }
}
