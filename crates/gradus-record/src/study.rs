//! What a study is: said once, before it starts.

use serde::{Deserialize, Serialize};

use crate::document::Document;

/// A study as it was asked for, and where it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyRecord {
    /// The version of the store's format. The store says it: what is given to be written does not matter.
    #[serde(default)]
    pub format: u32,
    /// Its name: `pairs`.
    pub name: String,
    /// What is asked, in a line.
    pub title: String,
    /// More about it.
    pub description: Option<String>,
    /// Everything random follows from it.
    pub seed: u64,
    /// Rounds that are planned.
    pub rounds: usize,
    /// The file's text as it was written.
    pub text: String,
    /// The same resolved: no default and no reference is left in it.
    pub resolved: Document,
    /// Where it runs.
    pub machine: Machine,
    /// By what it is run.
    pub versions: Versions,
    /// When it was begun, for people to read ([`now`](crate::now)).
    pub created: String,
    /// What is compared with what.
    pub compare: Compare,
}

/// A machine, for people and for figures of time. No result depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores that can be used.
    pub cores: usize,
    /// The operating system.
    pub os: String,
    /// The instruction set the kernels use: `avx512`.
    pub instructions: String,
}

/// What results depend on, besides the study.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// Of the program.
    pub gradus: String,
    /// Of the random numbers: their name, and how they are addressed.
    pub rng: String,
}

/// What is compared with what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// The arm the others are compared with.
    pub baseline: String,
    /// What is measured: `test accuracy`.
    pub metric: String,
    /// A difference smaller than this does not matter.
    #[serde(with = "crate::number::one")]
    pub margin: f64,
    /// Whether a larger value of the metric is a better one.
    pub larger_is_better: bool,
}
