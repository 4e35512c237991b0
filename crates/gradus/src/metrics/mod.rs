//! How good outputs are: shares of right answers for classes, errors for values, and the losses themselves.
//!
//! A class is predicted by the largest output (the first of equal ones), or by the threshold 0.5 where there is one output.
//! A sample with an output that is not a number counts as wrong.

use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::data::{Batch, Dataset, Target};
use crate::error::{Error, Kind, Result};
use crate::exec::{check_batch, target_of};
use crate::fail;
use crate::losses::Reduction;
use crate::net::{Graph, LossNode, Net, Output};
use crate::spec::suggest;

/// Samples that are evaluated at a time: what comes of so many images stays in the second cache. A constant, because sums of
/// losses depend on it in the last bits.
pub const EVAL_BATCH: usize = 50;

/// How a network does on a data set, as it predicts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Samples.
    pub samples: usize,
    /// The sum of all losses, each times its weight.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// For each loss: the loss itself, without its weight, and the scores of the value it judges.
    pub of: IndexMap<String, Scores>,
}

/// Scores of the value that a loss judges against its target. Averages over samples; accuracy and error in points from 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The loss.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// Share of samples whose class is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Share of samples whose class is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// Root of the mean squared difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rmse: Option<f64>,
    /// Mean absolute difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mae: Option<f64>,
    /// 1 − Σ (t − y)² / Σ (t − t̄)².
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
}

/// A number; NaN for `null`, which is what JSON has for a number that is not finite.
fn number<'de, D: serde::Deserializer<'de>>(d: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or(f64::NAN))
}

/// Which part of the data a metric is taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The training set.
    Train,
    /// The validation samples.
    Validation,
    /// The test set.
    Test,
}

/// A metric by name: `test accuracy`, `validation loss of aux`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Metric {
    /// On which part of the data.
    pub part: Part,
    /// Which score.
    pub score: Score,
    /// Of which loss; of the first one (for `loss`: of the weighted sum) when absent.
    pub of: Option<String>,
}

/// One of the [`Scores`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Score {
    /// Share of right classes.
    Accuracy,
    /// Share of wrong classes.
    Error,
    /// The loss.
    Loss,
    /// Root mean squared error.
    Rmse,
    /// Mean absolute error.
    Mae,
    /// Coefficient of determination.
    R2,
}

impl Score {
    /// Every score with its name.
    pub const ALL: &[(&str, Score)] = &[
        ("accuracy", Score::Accuracy),
        ("error", Score::Error),
        ("loss", Score::Loss),
        ("rmse", Score::Rmse),
        ("mae", Score::Mae),
        ("r2", Score::R2),
    ];

    /// Whether a larger value is a better one.
    pub fn larger_is_better(self) -> bool {
        matches!(self, Score::Accuracy | Score::R2)
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, s)| s == self).map_or("", |(name, _)| name))
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Metric> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (part, score, of) = match words.as_slice() {
            [part, score] => (*part, *score, None),
            [part, score, "of", loss] => (*part, *score, Some((*loss).to_string())),
            _ => fail!(Config, "`{text}` is not a metric: expected `test accuracy`, or `validation loss of aux`"),
        };
        let part = match part {
            "train" => Part::Train,
            "validation" => Part::Validation,
            "test" => Part::Test,
            other => fail!(
                Config,
                "`{text}`: there is no `{other}` data{}",
                suggest(other, &["train", "validation", "test"])
            ),
        };
        let names: Vec<&str> = Score::ALL.iter().map(|(n, _)| *n).collect();
        match Score::ALL.iter().find(|(n, _)| *n == score) {
            Some((_, score)) => Ok(Metric { part, score: *score, of }),
            None => fail!(Config, "`{text}`: there is no metric `{score}`{}", suggest(score, &names)),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Train => "train",
            Part::Validation => "validation",
            Part::Test => "test",
        };
        write!(f, "{part} {}", self.score)?;
        self.of.as_ref().map_or(Ok(()), |loss| write!(f, " of {loss}"))
    }
}

impl Evaluation {
    /// One score: of a loss by name, of the first one, or the weighted sum of losses. `None` where the score does not apply.
    pub fn get(&self, score: Score, of: Option<&str>) -> Option<f64> {
        let scores = match of {
            None if score == Score::Loss => return Some(self.loss),
            None => self.of.values().next()?,
            Some(name) => self.of.get(name)?,
        };
        match score {
            Score::Accuracy => scores.accuracy,
            Score::Error => scores.error,
            Score::Loss => Some(scores.loss),
            Score::Rmse => scores.rmse,
            Score::Mae => scores.mae,
            Score::R2 => scores.r2,
        }
    }

    /// Every score by its metric's name on `part`: `test accuracy`, `test loss`, and `test accuracy of digits` where there
    /// are several losses.
    pub fn metrics(&self, part: &str) -> IndexMap<String, f64> {
        let mut all = IndexMap::new();
        for (i, name) in self.of.keys().enumerate() {
            for (label, score) in Score::ALL {
                let first = (i == 0).then(|| self.get(*score, None)).flatten();
                if let Some(value) = first {
                    all.insert(format!("{part} {label}"), value);
                }
                if let Some(value) = self.get(*score, Some(name)).filter(|_| self.of.len() > 1) {
                    all.insert(format!("{part} {label} of {name}"), value);
                }
            }
        }
        all
    }
}

/// The class an output stands for.
pub fn class(output: &[f32]) -> Option<u32> {
    if output.iter().any(|x| x.is_nan()) {
        return None;
    }
    match output {
        [] => None,
        [x] => Some(u32::from(*x > 0.5)),
        _ => (0..output.len()).reduce(|best, i| if output[i] > output[best] { i } else { best }).map(|i| i as u32),
    }
}

/// Sums over the samples of one output.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    samples: usize,
    wrong: usize,
    classes: bool,
    values: usize,
    squares: f64,
    absolutes: f64,
    /// Sums of the targets and their squares, less the first target: large targets that differ little leave digits.
    first: f64,
    sum: f64,
    sum_squares: f64,
}

impl Tally {
    fn add(&mut self, output: &Output<'_>, batch: &Batch<'_>, graph: &Graph, loss: &LossNode) {
        let Some(target) = target_of(graph, batch, loss.target) else { return };
        for row in 0..batch.len() {
            let (y, at) = (output.row(row), batch.row(row));
            self.samples += 1;
            match target {
                Target::Classes { labels, .. } => {
                    let size = labels.shape().get(1).copied().unwrap_or(1);
                    let label = labels.as_slice().map(|l| l[at * size + loss.target_index.unwrap_or(0)]);
                    self.classes = true;
                    self.wrong += usize::from(label.is_none() || class(y) != label);
                }
                Target::Values(values) => {
                    let Some(t) = values.as_slice().map(|v| &v[at * y.len()..][..y.len()]) else { return };
                    for (y, t) in y.iter().zip(t) {
                        let (y, t) = (f64::from(*y), f64::from(*t));
                        if self.values == 0 {
                            self.first = t;
                        }
                        self.values += 1;
                        self.squares += (y - t) * (y - t);
                        self.absolutes += (y - t).abs();
                        self.sum += t - self.first;
                        self.sum_squares += (t - self.first) * (t - self.first);
                    }
                }
            }
        }
    }

    fn scores(&self, loss: f64) -> Scores {
        let n = self.samples as f64;
        let error = (self.classes && self.samples > 0).then(|| 100.0 * self.wrong as f64 / n);
        let v = self.values as f64;
        let spread = self.sum_squares - self.sum * self.sum / v;
        Scores {
            loss,
            accuracy: error.map(|_| 100.0 * (self.samples - self.wrong) as f64 / n),
            error,
            rmse: (self.values > 0).then(|| (self.squares / v).sqrt()),
            mae: (self.values > 0).then(|| self.absolutes / v),
            r2: (self.values > 0 && spread > 0.0).then(|| 1.0 - self.squares / spread),
        }
    }
}

impl Net {
    /// How the network does on a data set, as it predicts. The data are used as they are.
    ///
    /// # Errors
    /// [`Kind::Data`] when the data set has not what the network reads.
    pub fn evaluate(&mut self, data: &Dataset) -> Result<Evaluation> {
        let graph = self.graph().clone();
        if graph.losses.is_empty() {
            return Err(Error::new(Kind::Data, "the network has no loss: there is nothing to evaluate"));
        }
        check_batch(&graph, &data.all(), true)?;
        let mut tallies = vec![Tally::default(); graph.losses.len()];
        let mut sums = vec![0.0; graph.losses.len()];
        for batch in data.batches(EVAL_BATCH) {
            let losses =
                self.evaluate_batch(&batch, |i, output| tallies[i].add(&output, &batch, &graph, &graph.losses[i]));
            for ((sum, value), loss) in sums.iter_mut().zip(losses).zip(&graph.losses) {
                *sum += value * samples_in(loss, batch.len());
            }
        }
        let n = data.len() as f64;
        let of: IndexMap<String, Scores> = graph
            .losses
            .iter()
            .zip(tallies.iter().zip(&sums))
            .map(|(l, (t, s))| (l.name.clone(), t.scores(s / n)))
            .collect();
        let loss = graph.losses.iter().zip(&sums).map(|(l, s)| l.weight * s / n).sum();
        Ok(Evaluation { samples: data.len(), loss, of })
    }

    /// The share (0 to 1) of samples whose class is wrong, by the first loss.
    ///
    /// # Errors
    /// [`Kind::Data`] when the data set has not what the network reads, or the target is no classes.
    pub fn error(&mut self, data: &Dataset) -> Result<f64> {
        let score = self.evaluate(data)?.get(Score::Error, None);
        Ok(score
            .ok_or_else(|| Error::new(Kind::Data, "the first target is no classes: there is no share of wrong ones"))?
            / 100.0)
    }

    /// The share (0 to 1) of samples whose class is right, by the first loss.
    ///
    /// # Errors
    /// As [`Net::error`].
    pub fn accuracy(&mut self, data: &Dataset) -> Result<f64> {
        self.error(data).map(|e| 1.0 - e)
    }
}

/// What a batch's loss counts in an average over samples: a mean counts for its samples, a sum holds them already.
pub(crate) fn samples_in(loss: &LossNode, batch: usize) -> f64 {
    match loss.loss.reduction() {
        Reduction::Mean => batch as f64,
        Reduction::Sum => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_take_the_first_of_equals_and_nan_is_wrong() {
        assert_eq!(class(&[0.5, 2.0, 2.0]), Some(1));
        assert_eq!(class(&[f32::NAN, 2.0]), None);
        assert_eq!((class(&[0.5]), class(&[0.6])), (Some(0), Some(1)));
    }

    #[test]
    fn r2_of_large_and_of_constant_targets() {
        use crate::prelude::*;
        use ndarray::{ArrayD, IxDyn};
        let x = ArrayD::from_shape_fn(IxDyn(&[99, 1]), |i| i[0] as f32);
        // Half a unit of spread around `at`; predicted is `at` itself.
        for (at, spread, want) in [(1.6e7, 1.0, Some(-1.0)), (0.5, 1.0, Some(-1.0)), (0.3, 0.0, None), (1e7, 0.0, None)]
        {
            let y = ArrayD::from_shape_fn(IxDyn(&[99, 1]), |i| at as f32 + (i[0] % 2) as f32 * spread);
            let data = Dataset::from_arrays(x.clone(), Target::Values(y)).unwrap();
            let mut net = Sequential::new([1]).add(Linear::new(1)).loss(MSELoss::new()).build(Seed(1)).unwrap();
            net.set_param("net.0.weight", &ArrayD::zeros(IxDyn(&[1, 1]))).unwrap();
            net.set_param("net.0.bias", &ArrayD::from_elem(IxDyn(&[1]), at)).unwrap();
            let r2 = net.evaluate(&data).unwrap().of["loss"].r2;
            assert_eq!(r2.map(|r2| (r2 * 20.0).round() / 20.0), want, "{at}: {r2:?}");
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_is_read_back_as_nan() {
        let scores = Scores { loss: f64::INFINITY, ..Scores::default() };
        let evaluation = Evaluation { loss: f64::NAN, of: [("a".to_string(), scores)].into(), ..Evaluation::default() };
        let text = serde_json::to_string(&evaluation).unwrap();
        let back: Evaluation = serde_json::from_str(&text).unwrap();
        assert!(back.loss.is_nan() && back.of["a"].loss.is_nan());
    }

    #[test]
    fn metrics_read_back() {
        for text in ["test accuracy", "validation loss of aux", "train r2"] {
            assert_eq!(text.parse::<Metric>().unwrap().to_string(), text);
        }
        let text = |t: &str| t.parse::<Metric>().unwrap_err().to_string();
        assert!(text("test acuracy").contains("did you mean `accuracy`"));
        assert!(text("tset loss").contains("did you mean `test`"));
        assert!(text("accuracy").contains("is not a metric"));
    }
}
