//! Every key a study file may have: the one table that parsing, help and the JSON schema are derived from.

use std::fmt;

pub use crate::spec::Family;

/// A table of a file and the keys it may have.
#[derive(Debug)]
pub struct Section {
    /// What it is called: `train`.
    pub name: &'static str,
    /// How it is written: `[train]`.
    pub written: &'static str,
    /// What it is, in a sentence.
    pub summary: &'static str,
    /// Its keys.
    pub keys: &'static [KeyDef],
    /// What every other key names, where names are free: the branches of an arm.
    pub others: Option<&'static Section>,
}

/// A key.
#[derive(Debug)]
pub struct KeyDef {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: KeyKind,
    /// Its value when left out, as text; `None` when it must be given, `""` when leaving it out has a meaning of its own,
    /// told in `help`. Such a key may also be `false`: as if left out.
    pub default: Option<&'static str>,
    /// What it does, in a line.
    pub help: &'static str,
    /// The data sources that read it, when not all do.
    pub only: &'static [&'static str],
}

/// What a key may be.
#[derive(Clone, Copy, Debug)]
pub enum KeyKind {
    /// A text.
    Text,
    /// A name of another thing in the file.
    Name,
    /// A whole number from 1 on.
    Count,
    /// A whole number from 0 on.
    Natural,
    /// A finite number.
    Number,
    /// A number above 0.
    Positive,
    /// A number above 0 and below 1.
    Share,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An initialiser by name.
    Init,
    /// An optimiser, a schedule or a loss: a string or a table.
    Spec(Family),
    /// A place in the network or the data: `left:conv1`, `pair[0]`.
    Tap,
    /// One or several places.
    Taps,
    /// A list of layers: strings or tables.
    Layers,
    /// A list of transforms: strings or tables.
    Transforms,
    /// A list of texts.
    Texts,
    /// A list of whole numbers from 1 on.
    Counts,
    /// A table.
    Table(&'static Section),
    /// Tables by names of the user's.
    Named(&'static Section),
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyKind::Text => "a text",
            KeyKind::Name => "a name",
            KeyKind::Count => "a whole number from 1 on",
            KeyKind::Natural => "a whole number from 0 on",
            KeyKind::Number => "a number",
            KeyKind::Positive => "a number above 0",
            KeyKind::Share => "a number above 0 and below 1",
            KeyKind::Flag => "true or false",
            KeyKind::Choice(words) => return write!(f, "one of {}", words.join(", ")),
            KeyKind::Init => "the name of an initialiser",
            KeyKind::Spec(family) => {
                return write!(f, "{}: \"NAME key=value\" or {{ name = \"NAME\", key = value }}", family.article());
            }
            KeyKind::Tap => "a place: \"branch\" or \"branch:layer\"",
            KeyKind::Taps => "a place or a list of them: \"input\", \"input[0]\", \"branch\", \"branch:layer\"",
            KeyKind::Layers => {
                "a list of layers: \"Conv2d 16 3\" or { layer = \"Conv2d\", out_channels = 16, kernel_size = 3 }"
            }
            KeyKind::Transforms => {
                "a list of transforms: \"RandomAffine 10\" or { name = \"RandomAffine\", degrees = 10 }"
            }
            KeyKind::Texts => "a list of texts",
            KeyKind::Counts => "a list of whole numbers from 1 on",
            KeyKind::Table(section) => return write!(f, "a table {}", section.written),
            KeyKind::Named(section) => return write!(f, "tables {}", section.written),
        })
    }
}

const fn key(name: &'static str, kind: KeyKind, default: Option<&'static str>, help: &'static str) -> KeyDef {
    KeyDef { name, kind, default, help, only: &[] }
}

const fn of(only: &'static [&'static str], key: KeyDef) -> KeyDef {
    KeyDef { only, ..key }
}

/// A whole file.
pub static STUDY: Section = Section {
    name: "study",
    written: "the top of the file",
    summary: "What is studied: data, training, and one or more networks (arms) that are compared.",
    keys: &[
        key("title", KeyKind::Text, Some(""), "what is asked, in a line; the file's name when left out"),
        key("description", KeyKind::Text, Some(""), "more about it"),
        key("rounds", KeyKind::Count, Some("10"), "times each arm is trained, with fresh data and fresh weights"),
        key("seed", KeyKind::Natural, Some("1"), "everything random follows from it"),
        key("data", KeyKind::Table(&DATA), Some(""), "what is learnt from, for all arms"),
        key("train", KeyKind::Table(&TRAIN), Some(""), "how all arms are trained"),
        key("arm", KeyKind::Named(&ARM), None, "the networks"),
        key("compare", KeyKind::Table(&COMPARE), Some(""), "what is compared with what"),
        key("matrix", KeyKind::Table(&MATRIX), Some(""), "makes an arm of each combination of values"),
        key("tune", KeyKind::Table(&TUNE), Some(""), "lets every arm choose values of its own before the study begins"),
        key("record", KeyKind::Table(&RECORD), Some(""), "what is written down of every trial"),
    ],
    others: None,
};

/// `[data]`.
pub static DATA: Section = Section {
    name: "data",
    written: "[data]",
    summary: "What is learnt from. Every round draws anew.",
    keys: &[
        key("source", KeyKind::Choice(crate::data::SOURCES), None, "where the samples come from"),
        key("train", KeyKind::Count, Some(""), "training samples; 1000 when left out (csv: all there are)"),
        key("test", KeyKind::Count, Some(""), "test samples; 1000 when left out (csv: all there are)"),
        key(
            "validation",
            KeyKind::Natural,
            Some("0"),
            "training samples held out to choose the best epoch and to stop early",
        ),
        key("raw", KeyKind::Flag, Some("false"), "leave the inputs as they are, not scaled to mean 0 and deviation 1"),
        key(
            "seed",
            KeyKind::Natural,
            Some(""),
            "fixes the draw: the same data in every round; drawn from the round's seed when left out",
        ),
        of(
            &["disk"],
            key(
                "square",
                KeyKind::Flag,
                Some("false"),
                "label the inside of a square (64 % of the area) as R2 did, not of the circle",
            ),
        ),
        of(
            &["mnist-pairs", "mnist"],
            key(
                "dir",
                KeyKind::Text,
                Some(""),
                "folder with MNIST's four files, gz or not; the embedded digits when left out",
            ),
        ),
        of(
            &["mnist"],
            key(
                "side",
                KeyKind::Choice(&["28", "14"]),
                Some("28"),
                "pixels of a side: 28, or 14 for images averaged 2×2",
            ),
        ),
        of(
            &["csv"],
            key(
                "file",
                KeyKind::Text,
                Some(""),
                "CSV file with a header (needed), beside the study unless it says where",
            ),
        ),
        of(
            &["csv"],
            key("test_file", KeyKind::Text, Some(""), "CSV file of the test samples; a part of `file` when left out"),
        ),
        of(
            &["csv"],
            key(
                "test_share",
                KeyKind::Share,
                Some("0.2"),
                "part of `file` that is drawn for the test when there is no `test_file`",
            ),
        ),
        of(
            &["csv"],
            key("target", KeyKind::Text, Some(""), "header of the column to predict; the last one when left out"),
        ),
        of(
            &["csv"],
            key("shape", KeyKind::Counts, Some(""), "shape of one sample, such as [1, 28, 28]; a vector when left out"),
        ),
    ],
    others: None,
};

/// `[train]`.
pub static TRAIN: Section = Section {
    name: "train",
    written: "[train]",
    summary: "How a network is trained.",
    keys: &[
        key("epochs", KeyKind::Count, Some("10"), "passes over the training samples"),
        key("batch", KeyKind::Count, Some("50"), "samples in a batch; the last one of an epoch may be shorter"),
        key("shuffle", KeyKind::Flag, Some("true"), "give every epoch an order of its own"),
        key(
            "augment",
            KeyKind::Transforms,
            Some(""),
            "random changes of training samples, in order; evaluations see the samples as they are",
        ),
        key(
            "optimizer",
            KeyKind::Spec(Family::Optimizer),
            Some("SGD lr=0.01"),
            "the rule that turns gradients into steps",
        ),
        key(
            "schedule",
            KeyKind::Spec(Family::Schedule),
            Some(""),
            "how the learning rate changes; constant when left out",
        ),
        key("accumulate", KeyKind::Count, Some("1"), "batches whose gradients are averaged before an update"),
        key(
            "clip_norm",
            KeyKind::Positive,
            Some(""),
            "largest Euclidean norm of all gradients together; no limit when left out",
        ),
        key(
            "clip_value",
            KeyKind::Positive,
            Some(""),
            "largest absolute value of a number of a gradient; no limit when left out",
        ),
        key(
            "patience",
            KeyKind::Count,
            Some(""),
            "epochs without a better validation loss before training stops; never when left out",
        ),
        key(
            "keep",
            KeyKind::Choice(&["last", "best"]),
            Some("last"),
            "the result: the last epoch's weights, or those with the lowest validation loss",
        ),
        key(
            "dtype",
            KeyKind::Choice(&["f32", "f64"]),
            Some("f32"),
            "f32: fast; f64: double precision by definition, slow",
        ),
    ],
    others: None,
};

/// `[arm.NAME]`.
pub static ARM: Section = Section {
    name: "arm",
    written: "[arm.NAME]",
    summary: "A network and what is particular to its training. Every key that is none of these names a branch. With `base`, an \
              arm is another one with changes: a branch or a loss given here replaces the whole table, `false` deletes it, `train` \
              and `data` change key by key.",
    keys: &[
        key("description", KeyKind::Text, Some(""), "what is particular about it"),
        key("base", KeyKind::Name, Some(""), "the arm this one changes; it stands alone when left out"),
        key("init", KeyKind::Init, Some(""), "initialiser of every layer that names none; PyTorch's when left out"),
        key("freeze", KeyKind::Texts, Some(""), "parameters that are not trained: \"left.*\", \"*.bias\""),
        key(
            "salt",
            KeyKind::Natural,
            Some("0"),
            "another number gives it first weights, order and dropout of its own, on the data of the round: the same arm twice",
        ),
        key("tune", KeyKind::Flag, Some("true"), "whether [tune] is for it; false for an arm as it was published"),
        key("train", KeyKind::Table(&TRAIN), Some(""), "what differs from [train]"),
        key("data", KeyKind::Table(&DATA), Some(""), "what differs from [data]"),
        key(
            "loss",
            KeyKind::Named(&LOSS),
            Some(""),
            "losses by name; the first one's branch is what the network predicts",
        ),
    ],
    others: Some(&BRANCH),
};

/// A branch of an arm.
pub static BRANCH: Section = Section {
    name: "branch",
    written: "BRANCH = { from = …, layers = […] }",
    summary: "A chain of layers: what feeds it, and its layers or the branch it takes them from.",
    keys: &[
        key(
            "from",
            KeyKind::Taps,
            None,
            "what feeds it: an input, `input[0]`, another branch, or `branch:layer` after that layer",
        ),
        key("layers", KeyKind::Layers, Some(""), "its layers, in order"),
        key("like", KeyKind::Name, Some(""), "the branch whose layers it has, with weights of its own"),
        key("share", KeyKind::Name, Some(""), "the branch whose layers and weights it uses"),
        key(
            "join",
            KeyKind::Choice(&["concat", "add"]),
            Some("concat"),
            "how several feeds become one: along channels (features), or their sum",
        ),
    ],
    others: None,
};

/// A loss of an arm.
pub static LOSS: Section = Section {
    name: "loss",
    written: "loss.NAME = { of = …, kind = … }",
    summary: "What the network is trained for: the sum of all losses, each times its weight.",
    keys: &[
        key("of", KeyKind::Tap, None, "the branch that is judged"),
        key(
            "target",
            KeyKind::Tap,
            Some(""),
            "the target it should meet, or `target[0]`, one label of several; the first when left out",
        ),
        key("kind", KeyKind::Spec(Family::Loss), None, "how they are compared"),
        key("weight", KeyKind::Number, Some("1.0"), "its factor in the sum"),
    ],
    others: None,
};

/// `[compare]`.
pub static COMPARE: Section = Section {
    name: "compare",
    written: "[compare]",
    summary: "What is compared with what.",
    keys: &[
        key(
            "baseline",
            KeyKind::Text,
            Some(""),
            "the arm the others are compared with, or a combination: \"net1 lr=0.01\"; the first one when left out",
        ),
        key(
            "metric",
            KeyKind::Text,
            Some("test accuracy"),
            "`<train|validation|test> <accuracy|error|loss|rmse|mae|r2>`, and `of <loss>` for one of several",
        ),
        key("margin", KeyKind::Number, Some("0.0"), "a difference smaller than this does not matter to us"),
    ],
    others: None,
};

/// `[matrix]`.
pub static MATRIX: Section = Section {
    name: "matrix",
    written: "[matrix]",
    summary: "Makes an arm of each combination of values, from every arm of the file or from some. They are called after what differs: \
              `net1 lr=0.01 batch=20`.",
    keys: &[key("arms", KeyKind::Texts, Some(""), "the arms that are varied; all when left out")],
    others: Some(&FACTOR),
};

/// `[tune]`.
pub static TUNE: Section = Section {
    name: "tune",
    written: "[tune]",
    summary: "Before the study begins, every arm tries each combination of values in a few rounds of its own and keeps the best: the \
              same budget for all. These rounds are none of the study's: they have other seeds, and are judged on samples held out \
              from the training samples. No test sample is seen. An arm with `tune = false` stays as it is.",
    keys: &[
        key("rounds", KeyKind::Count, Some("3"), "rounds in which every combination is tried"),
        key(
            "validation",
            KeyKind::Count,
            Some(""),
            "training samples held out to judge by, beside those of [data]; a fifth when left out",
        ),
        key(
            "metric",
            KeyKind::Text,
            Some(""),
            "what is judged, `validation accuracy`; that of [compare] on the validation samples when left out",
        ),
    ],
    others: Some(&FACTOR),
};

/// A key of `[matrix]` or `[tune]` that names a key of the arms.
pub static FACTOR: Section = Section {
    name: "factor",
    written: "train.optimizer.lr = [0.01, 0.03]",
    summary: "A key of the arms as `--set` takes it, and the values it has in turn: `train.batch`, `head.layers.0.out_features`; \
              `arm.net1.train.batch` for one arm alone.",
    keys: &[],
    others: None,
};

/// `[record]`.
pub static RECORD: Section = Section {
    name: "record",
    written: "[record]",
    summary: "What is written down of every trial, beside metrics and losses by epoch. It changes no result, and no trial that is \
              there already.",
    keys: &[
        key("steps", KeyKind::Flag, Some("false"), "the losses of every step: 8 bytes a step and loss"),
        key("weights", KeyKind::Flag, Some("false"), "the trained network as a model file: 4 bytes a parameter"),
        key("predictions", KeyKind::Flag, Some("true"), "the class predicted for every test sample"),
        key("grid", KeyKind::Flag, Some("true"), "the decision surface, for points of the plane"),
        key("samples", KeyKind::Flag, Some("true"), "some test samples of the first rounds, where they are images"),
    ],
    others: None,
};

/// Every section, in the order of a file.
pub static SECTIONS: &[&Section] =
    &[&STUDY, &DATA, &TRAIN, &ARM, &BRANCH, &LOSS, &COMPARE, &MATRIX, &TUNE, &FACTOR, &RECORD];

impl Section {
    /// The key of that name.
    pub fn key(&self, name: &str) -> Option<&'static KeyDef> {
        self.keys.iter().find(|k| k.name == name)
    }

    /// The names of all keys.
    pub fn names(&self) -> Vec<&'static str> {
        self.keys.iter().map(|k| k.name).collect()
    }
}

impl KeyDef {
    /// Whether it may be `false`: as if left out.
    pub fn removable(&self) -> bool {
        self.default == Some("") && !matches!(self.kind, KeyKind::Flag | KeyKind::Table(_) | KeyKind::Named(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_table_is_listed() {
        for section in SECTIONS {
            let mut names = section.names();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), section.keys.len(), "{}", section.name);
            for key in section.keys {
                assert!(!key.help.is_empty());
                if let KeyKind::Table(s) | KeyKind::Named(s) = key.kind {
                    assert!(SECTIONS.iter().any(|t| std::ptr::eq(*t, s)));
                }
            }
        }
    }

    #[test]
    fn defaults_are_those_of_the_trainer() {
        let d = gradus::train::Settings::default();
        let default = |name: &str| TRAIN.key(name).unwrap().default.unwrap();
        assert_eq!(default("epochs"), d.epochs.to_string());
        assert_eq!(default("batch"), d.batch.to_string());
        assert_eq!(default("shuffle"), d.shuffle.to_string());
        assert_eq!(default("optimizer"), d.optimizer.to_string());
        assert_eq!(default("accumulate"), d.accumulate.to_string());
    }
}
