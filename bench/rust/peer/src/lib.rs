//! What the Rust peers of the benchmark share: the workloads, their data, how they are timed and what is printed.
//!
//! A peer is started as `peer WORKLOAD THREADS SECONDS DATA`. It prints one JSON object a line, as the peers in Python do:
//! `first` at the end of the first step or prediction, `ready` when it is warm, after which it waits for a line on its standard
//! input, and `done` with the times.

use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// A convolution of a tower: stride 1, ReLU after it.
pub struct Conv {
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub padding: usize,
    /// A 2×2 maximum follows.
    pub pool: bool,
}

/// A network and its batch: a tower for each of two images (or none), then a head of linear layers.
pub struct Shape {
    pub towers: &'static [Conv],
    /// One tower sees both images.
    pub shared: bool,
    /// Widths of the head, its input first. ReLU between its layers.
    pub head: &'static [usize],
    /// The last hidden layer has Tanh, and the loss is the mean squared error to the one-hot class; else cross-entropy.
    pub disk: bool,
    pub batch: usize,
    /// Of one sample.
    pub input: &'static [usize],
    pub learning_rate: f64,
    data: [&'static str; 2],
}

const fn conv(inputs: usize, outputs: usize, kernel: usize, padding: usize, pool: bool) -> Conv {
    Conv { inputs, outputs, kernel, padding, pool }
}

const DISK: Shape = Shape {
    towers: &[],
    shared: false,
    head: &[2, 25, 25, 25, 2],
    disk: true,
    batch: 20,
    input: &[2],
    learning_rate: 0.1,
    data: ["disk-train", "disk-test"],
};
const NET1: Shape = Shape {
    towers: &[conv(1, 16, 3, 0, true), conv(16, 32, 3, 0, false)],
    head: &[1024, 64, 32, 2],
    disk: false,
    batch: 50,
    input: &[2, 14, 14],
    data: ["pairs-train", "pairs-test"],
    ..DISK
};
const NET2: Shape = Shape { shared: true, ..NET1 };
const DEEP: Shape = Shape {
    towers: &[
        conv(1, 16, 3, 1, false),
        conv(16, 32, 5, 2, true),
        conv(32, 128, 3, 1, false),
        conv(128, 128, 3, 1, false),
        conv(128, 256, 3, 1, true),
    ],
    head: &[4608, 512, 64, 2],
    ..NET1
};
const WIDE: Shape = Shape {
    head: &[784, 1024, 1024, 10],
    disk: false,
    batch: 256,
    input: &[784],
    data: ["digits-train", "digits-test"],
    ..DISK
};

/// What is timed.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Step,
    Round,
    Predict(usize),
    FirstStep,
}

const WORKLOADS: [(&str, &Shape, Unit); 11] = [
    ("W1", &DISK, Unit::Step),
    ("W2", &NET1, Unit::Step),
    ("W3", &NET2, Unit::Step),
    ("round", &NET1, Unit::Round),
    ("W4", &DEEP, Unit::Step),
    ("W5", &WIDE, Unit::Step),
    ("W6-disk-1", &DISK, Unit::Predict(1)),
    ("W6-disk-1000", &DISK, Unit::Predict(1000)),
    ("W6-net1-1", &NET1, Unit::Predict(1)),
    ("W6-net1-1000", &NET1, Unit::Predict(1000)),
    ("first-step", &NET1, Unit::FirstStep),
];

/// Samples and their classes.
#[derive(Clone)]
pub struct Samples {
    pub x: Vec<f32>,
    pub y: Vec<u8>,
}

impl Samples {
    fn read(dir: &Path, name: &str) -> Samples {
        let file = |kind| std::fs::read(dir.join(format!("{name}.{kind}"))).expect("the data of the benchmark");
        let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        Samples { x: file("f32").chunks_exact(4).map(number).collect(), y: file("u8") }
    }

    /// In parts of so many samples.
    pub fn parts(&self, samples: usize) -> Vec<Samples> {
        let width = self.x.len() / self.y.len();
        let x = self.x.chunks_exact(samples * width);
        x.zip(self.y.chunks_exact(samples)).map(|(x, y)| Samples { x: x.to_vec(), y: y.to_vec() }).collect()
    }

    /// A one-hot row for each.
    pub fn one_hot(&self, classes: usize) -> Vec<f32> {
        self.y.iter().flat_map(|y| (0..classes).map(move |c| f32::from(c == usize::from(*y)))).collect()
    }
}

/// What a peer is to make a network for.
pub struct Task {
    pub shape: &'static Shape,
    /// Batches to train on; none where predictions are timed.
    pub train: Vec<Samples>,
    /// Batches to measure the accuracy on: the training and the test samples; none but in a round.
    pub judged: [Vec<Samples>; 2],
    /// Samples to predict at once, without gradients, where that is timed.
    pub predict: Option<Samples>,
}

/// A network that trains and predicts.
pub trait Peer {
    /// Trains on the batch of that number, and returns its loss.
    fn step(&mut self, batch: usize) -> f32;
    /// How many of a batch of those to judge are right.
    fn right(&self, set: usize, batch: usize) -> usize;
    /// Predicts, and returns a number of it.
    fn predict(&self) -> f32;
    fn parameters(&self) -> usize;
}

/// How many of the rows have their class's number highest.
pub fn count_right(rows: &[f32], y: &[u8]) -> usize {
    let highest = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
    rows.chunks_exact(rows.len() / y.len()).zip(y).filter(|(row, y)| highest(row) == Some(usize::from(**y))).count()
}

/// Median, least and most seconds of a call.
fn measure(seconds: f64, mut f: impl FnMut()) -> [f64; 3] {
    let mut time = |calls: usize| {
        let start = Instant::now();
        (0..calls).for_each(|_| f());
        start.elapsed().as_secs_f64() / calls as f64
    };
    let (once, short) = (time(1), seconds / 9.0);
    let once = if once < short { time(((0.5 * short / once) as usize).clamp(1, 1_000_000)) } else { once };
    let repetitions = (seconds / once).clamp(1.0, 9.0) as usize;
    let calls = (seconds / once / repetitions as f64).clamp(1.0, 1e8) as usize;
    let mut all: Vec<f64> = (0..repetitions).map(|_| time(calls)).collect();
    all.sort_by(f64::total_cmp);
    [all[repetitions / 2], all[0], all[repetitions - 1]]
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("standard output is open");
}

/// Runs the workload that the command line names; a peer that cannot do it makes None.
pub fn run(make: impl FnOnce(Task) -> Option<Box<dyn Peer>>) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, _threads, seconds, data] = &args[..] else {
        return; // the start of a process is timed
    };
    let seconds: f64 = seconds.parse().expect("seconds");
    let Some((_, shape, unit)) = WORKLOADS.iter().find(|w| w.0 == name) else {
        return say("{\"event\": \"cannot\"}");
    };
    let [train, test] = shape.data.map(|name| Samples::read(Path::new(data), name));
    let predict = if let Unit::Predict(n) = unit { Some(test.parts(*n).swap_remove(0)) } else { None };
    let predicts = predict.is_some();
    let mut train = if predicts { Vec::new() } else { train.parts(shape.batch) };
    if name == "W4" {
        train.truncate(1); // its steps are long and few: they go over one batch, whose loss falls from the first of them
    }
    let judged =
        if *unit == Unit::Round { [train.clone(), test.parts(shape.batch)] } else { [const { Vec::new() }; 2] };
    let [batches, tests] = [train.len(), judged[1].len()];
    let Some(mut peer) = make(Task { shape, train, judged, predict }) else {
        return say("{\"event\": \"cannot\"}");
    };
    let first = if predicts { peer.predict() } else { peer.step(0) };
    say("{\"event\": \"first\"}");
    if *unit == Unit::FirstStep {
        return;
    }
    (1..batches.min(4)).for_each(|batch| _ = peer.step(batch));
    say("{\"event\": \"ready\"}");
    std::io::stdin().read_line(&mut String::new()).expect("standard input is open");
    let (mut accuracy, mut next) = (None, 0);
    let [median, fastest, slowest] = match unit {
        Unit::Predict(_) => measure(seconds, || _ = black_box(peer.predict())),
        Unit::Round => measure(seconds, || {
            for _ in 0..25 {
                (0..batches).for_each(|b| _ = peer.step(b));
                black_box((0..batches).map(|b| peer.right(0, b)).sum::<usize>());
                let right: usize = (0..tests).map(|b| peer.right(1, b)).sum();
                accuracy = Some(right as f64 / (tests * shape.batch) as f64);
            }
        }),
        _ => measure(seconds, || {
            peer.step(next);
            next = (next + 1) % batches;
        }),
    };
    // The loss of the first batch before any training, and after all.
    let loss = if predicts { String::new() } else { format!(", \"loss\": [{first}, {}]", peer.step(0)) };
    let accuracy = accuracy.map_or(String::new(), |a| format!(", \"accuracy\": {a}"));
    let parameters = peer.parameters();
    say(&format!(
        "{{\"event\": \"done\", \"seconds\": {median:e}, \"fastest\": {fastest:e}, \"slowest\": {slowest:e}, \
         \"parameters\": {parameters}, \"peak_mib\": {:.1}{loss}{accuracy}}}",
        peak_mib()
    ));
}
