//! Reading the golden files (`golden/README.md` states the format).

use std::path::Path;

use gradus::spec::{Arg, Spec};
use gradus_kernels::philox::philox4x32_10;
use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// One file.
#[derive(Deserialize)]
pub struct File<T> {
    pub cases: Vec<T>,
}

/// Reads `golden/<name>`.
pub fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A tensor that is not stored: the numbers of a stream.
#[derive(Clone, Debug, Deserialize)]
pub struct Tensor {
    pub stream: u32,
    pub shape: Vec<usize>,
    pub scale: f64,
    pub shift: f64,
}

impl Tensor {
    /// Its numbers, in torch's order. Written out here, and not taken from `gradus::rng`, so that a mistake there cannot
    /// hide itself.
    pub fn values(&self) -> Vec<f64> {
        const GOLD: u32 = 0x676f_6c64;
        let n: usize = self.shape.iter().product();
        (0..n)
            .map(|e| {
                let word = philox4x32_10([GOLD, self.stream], [(e / 4) as u32, 0, 0, 0])[e % 4];
                let u = f64::from(word >> 8) / f64::from(1 << 24);
                (2.0 * u - 1.0) * self.scale + self.shift
            })
            .collect()
    }
}

/// A tensor in short.
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    pub sum: f64,
    pub sum_of_squares: f64,
    pub entries: Vec<f64>,
}

impl Summary {
    /// As [`short`] lists it.
    pub fn list(&self) -> Vec<f64> {
        [&[self.sum, self.sum_of_squares], self.entries.as_slice()].concat()
    }
}

/// The sum, the sum of squares and eight entries.
pub fn short(x: &[f64]) -> Vec<f64> {
    let mut list = vec![x.iter().sum(), x.iter().map(|x| x * x).sum()];
    list.extend((0..8).map(|k| x[k * (x.len() - 1) / 7]));
    list
}

/// A table `{"layer": "Conv2d", "kernel_size": 3}` as a spec; `kind` is the key of its name.
pub fn spec(table: &IndexMap<String, Arg>, kind: &str) -> Spec {
    let mut args = table.clone();
    let Some(Arg::Text(name)) = args.shift_remove(kind) else { panic!("{table:?} does not name its {kind}") };
    Spec { args, ..Spec::new(&name) }
}

/// Asserts |a − b| ≤ tolerance·(1 + |b|) for all numbers; NaN never passes.
#[track_caller]
pub fn near(what: &str, a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len(), "{what}: another number of numbers");
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{what}: number {i} is {a}, not {b}");
    }
}
