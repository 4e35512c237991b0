//! An arm: what is trained, and the drawing of it.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::tuning::Tuned;

/// An arm of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmRecord {
    /// What it is: a hash of the resolved arm, made by the caller. Trials belong to it, whatever the arm is called.
    pub key: String,
    /// What it is called in the file.
    pub name: String,
    /// Its place in the file, from 0 on.
    pub position: usize,
    /// Whether it is in the file still. The trials of an arm that was removed are kept, and left out of reports.
    pub active: bool,
    /// The arm of the file that it was made from by `[matrix]`; `None` for one that is written there as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<String>,
    /// What `[matrix]` gave it: the level of each factor by its key, `train.optimizer.lr`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub factors: IndexMap<String, String>,
    /// How values of its own were chosen for it by `[tune]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned: Option<Tuned>,
    /// The arm resolved, with the values that were chosen for it.
    pub resolved: Document,
    /// How many numbers training changes.
    pub parameters: u64,
    /// Floating-point operations of a prediction, per sample.
    pub flops_forward: u64,
    /// Floating-point operations of a training step, per sample.
    pub flops_training: u64,
    /// The network as it can be drawn.
    pub drawing: Drawing,
}

impl Default for ArmRecord {
    /// An active arm with nothing in it.
    fn default() -> Self {
        ArmRecord {
            key: String::new(),
            name: String::new(),
            position: 0,
            active: true,
            made_from: None,
            factors: IndexMap::new(),
            tuned: None,
            resolved: Document::default(),
            parameters: 0,
            flops_forward: 0,
            flops_training: 0,
            drawing: Drawing::default(),
        }
    }
}

/// A network with its shapes, as plain data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drawing {
    /// What comes in from the data.
    pub inputs: Vec<Port>,
    /// The branches in the order they were written.
    pub branches: Vec<DrawnBranch>,
    /// The losses.
    pub losses: Vec<DrawnLoss>,
    /// What comes out, the main one first.
    pub outputs: Vec<Port>,
}

/// A named value that comes in or goes out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// The input's or the branch's name.
    pub name: String,
    /// The shape of a sample.
    pub shape: Vec<usize>,
}

/// A branch of layers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrawnBranch {
    /// Its name.
    pub name: String,
    /// What feeds it, as written: `pair[0]`, `left`, `left:conv1`.
    pub from: Vec<String>,
    /// How several feeds become one: `concat` or `add`.
    pub join: String,
    /// The branch whose weights it uses.
    pub shares: Option<String>,
    /// Its layers in order.
    pub layers: Vec<DrawnLayer>,
}

/// A layer in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrawnLayer {
    /// `left.0`, or `left.conv1` where it has a label.
    pub path: String,
    /// What stands on it: `Conv2d 16 3`.
    pub text: String,
    /// The shape of a sample that goes out.
    pub output: Vec<usize>,
    /// Its parameters; those it shares are counted where they belong.
    pub parameters: u64,
}

/// A loss.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrawnLoss {
    /// Its name.
    pub name: String,
    /// What it judges: a branch, or a place in one.
    pub of: String,
    /// By which target; `None` for a loss that needs none.
    pub target: Option<String>,
    /// Which loss: `CrossEntropyLoss`.
    pub kind: String,
    /// Its factor in the sum.
    #[serde(with = "crate::number::one")]
    pub weight: f64,
}
