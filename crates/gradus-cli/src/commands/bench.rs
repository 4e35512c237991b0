//! `gradus bench`.

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::thread::Builder;
use std::time::Instant;

use clap::Args;
use gradus::data::Split;
use gradus::error::{Error, Kind};
use gradus::exec::cpu::Isa;
use gradus::metrics::EVAL_BATCH;
use gradus::model::Session;
use gradus::net::{Graph, Net, Options};
use gradus::program::{Phase, Roots, compile};
use gradus::rng::Seed;
use gradus::spec::suggest;
use gradus::train::{Data, Trainer};
use gradus::{Model, Registry};
use gradus_kernels::counting::allocations;
use gradus_kernels::peak;
use gradus_study::{ArmSettings, Overrides, Study};
use indexmap::IndexMap;
use serde::Serialize;

use crate::failure::{Outcome, wrong};
use crate::print::{self, Align, number};
use crate::progress::People;

/// Measure how fast networks train and predict on this machine
///
/// The peak of the machine is measured first: fused multiply-adds on registers alone. Times are medians of several
/// repetitions, with their range. A step is the copy of a batch, forward, loss, backward and update, in f32. With several threads,
/// W1, `round` and W6 run as many trainings or predictions side by side, and the time is what one of them takes from it.
#[derive(Args, Debug)]
#[command(after_help = "\
Workloads:
  W1     disk, a step of 20 points          2–25–25–25–2
  W2     net1, a step of 50 pairs           a tower for each image
  W3     net2, a step of 50 pairs           one tower for both
  round  net1, 25 epochs of 1000 pairs, accuracy on 1000 training and 1000 test pairs after each
  W4     net1_deep, a step of 50 pairs
  W5     784–1024–1024–10, a step of 256 images
  W6     predictions of W1's and W2's networks, 1 and 1000 samples
  start  from the start of the program to its end, for --version")]
pub struct Bench {
    /// Which; all when left out
    #[arg(value_name = "W")]
    workloads: Vec<String>,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    threads: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    instructions: String,
    threads: usize,
    /// Of all threads together, at once.
    peak_gflops: f64,
    workloads: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    about: &'static str,
    threads: usize,
    /// The median of a unit: a step, a prediction, a round.
    seconds: f64,
    fastest: f64,
    slowest: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gflops: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share_of_peak: Option<f64>,
    /// Read and written by the operations of a unit, each number once an operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// In a unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    allocations: Option<usize>,
}

/// What is timed.
#[derive(Clone, Copy)]
enum Unit {
    /// A step that has all threads.
    Step,
    /// A step of one of as many trainings as there are threads.
    Together,
    /// A round likewise.
    Round,
    /// So many predictions, by a session for each thread.
    Predict(usize),
    /// The program itself.
    Start,
}

/// Name, what it is, the arm of the study, and what is timed.
type Workload = (&'static str, &'static str, &'static str, Unit);

const WORKLOADS: &[Workload] = &[
    ("W1", "disk, a step of 20", "disk", Unit::Together),
    ("W2", "net1, a step of 50", "net1", Unit::Step),
    ("W3", "net2, a step of 50", "net2", Unit::Step),
    ("round", "net1, 25 epochs and accuracies", "net1", Unit::Round),
    ("W4", "net1_deep, a step of 50", "net1_deep", Unit::Step),
    ("W5", "784–1024–1024–10, a step of 256", "wide", Unit::Step),
    ("W6-disk-1", "disk, 1 prediction", "disk", Unit::Predict(1)),
    ("W6-disk-1000", "disk, 1000 predictions", "disk", Unit::Predict(1000)),
    ("W6-net1-1", "net1, 1 prediction", "net1", Unit::Predict(1)),
    ("W6-net1-1000", "net1, 1000 predictions", "net1", Unit::Predict(1000)),
    ("start", "gradus --version", "disk", Unit::Start),
];

impl Bench {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let chosen = self.chosen()?;
        let threads = self.threads as usize;
        let people = People::new(self.json, false);
        let isa = Isa::detect();
        let peak_gflops = at_once(0..threads, |_| peak::flops(isa))?.into_iter().sum::<f64>() / 1e9;
        people.say(&format!("peak {} GFLOP/s ({isa}, {})\n", number(peak_gflops), print::many(threads, "thread")))?;
        let study = Study::parse(include_str!("bench.toml"), "bench.toml", &Overrides::default())?;
        let mut rows = Vec::new();
        for workload in chosen {
            let row = row(workload, &study, threads, peak_gflops)?;
            people.say(&print::indented(&print::table(&COLUMNS, &[row.cells()])))?;
            rows.push(row);
        }
        let version = env!("CARGO_PKG_VERSION");
        let report = Report { version, instructions: isa.to_string(), threads, peak_gflops, workloads: rows };
        if self.json { print::json(&report) } else { Ok(()) }
    }

    fn chosen(&self) -> Outcome<Vec<&'static Workload>> {
        let is = |wanted: &str, w: &Workload| {
            w.0.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        for wanted in &self.workloads {
            if !WORKLOADS.iter().any(|w| is(wanted, w)) {
                let known: Vec<&str> = WORKLOADS.iter().map(|w| w.0).collect();
                return wrong(format!("there is no workload `{wanted}`{}", suggest(wanted, &known)));
            }
        }
        let all = self.workloads.is_empty();
        Ok(WORKLOADS.iter().filter(|w| all || self.workloads.iter().any(|wanted| is(wanted, w))).collect())
    }
}

const COLUMNS: [Align; 6] = [Align::Left, Align::Left, Align::Right, Align::Right, Align::Right, Align::Right];

impl Row {
    fn cells(&self) -> Vec<String> {
        let spread = 100.0 * (self.slowest - self.fastest) / self.seconds;
        let speed = self.gflops.map_or(String::new(), |g| format!("{} GFLOP/s", number(g)));
        let share = self.share_of_peak.map_or(String::new(), |s| format!("{:.0} % of peak", 100.0 * s));
        let allocations = self.allocations.map_or(String::new(), |n| print::many(n, "allocation"));
        vec![
            format!("{:12}", self.name),
            format!("{:31}", self.about),
            format!("{:>9} ± {spread:>3.0} %", time(self.seconds)),
            format!("{speed:>13}"),
            format!("{share:>12}"),
            format!("{allocations:>15}"),
        ]
    }
}

fn row(workload: &Workload, study: &Study, threads: usize, peak: f64) -> Outcome<Row> {
    let (name, about, arm, unit) = *workload;
    let arm = study.arm(Some(arm))?;
    let (split, _) = arm.data.load(Seed(1))?;
    let graph = Graph::resolve(&arm.architecture, &split.train.schema(), &Registry::new())?;
    let Measured { times, cost, allocations } = Subject { arm, split, graph, threads }.measure(unit)?;
    let seconds = times.0[times.0.len() / 2];
    let gflops = cost.map(|(flops, _)| flops as f64 / seconds / 1e9);
    Ok(Row {
        name,
        about,
        threads,
        seconds,
        fastest: times.0[0],
        slowest: times.0[times.0.len() - 1],
        gflops,
        share_of_peak: gflops.map(|g| g / peak),
        bytes: cost.map(|(_, bytes)| bytes),
        allocations,
    })
}

/// A short time: `3.6 µs`.
fn time(seconds: f64) -> String {
    let (x, unit) = match seconds {
        s if s < 1e-6 => (s * 1e9, "ns"),
        s if s < 1e-3 => (s * 1e6, "µs"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    format!("{} {unit}", number(x))
}

/// Runs the same on several threads, and waits for all.
fn at_once<T: Send, S: Send>(each: impl IntoIterator<Item = S>, f: impl Fn(S) -> T + Sync) -> Outcome<Vec<T>> {
    std::thread::scope(|scope| {
        let f = &f;
        let started = each.into_iter().map(|x| Builder::new().spawn_scoped(scope, move || f(x)));
        let handles = started.collect::<std::io::Result<Vec<_>>>();
        let handles = handles.map_err(|e| Error::new(Kind::Argument, format!("the system refused a thread: {e}")))?;
        Ok(handles.into_iter().map(|h| h.join().expect("a measurement does not panic")).collect())
    })
}

/// Seconds of a unit in several repetitions, sorted.
struct Times(Vec<f64>);

impl Times {
    /// `f` does so many times `units` as it is told.
    fn of(units: usize, mut f: impl FnMut(usize) -> Outcome) -> Outcome<Times> {
        f(1)?; // fills caches, makes plans
        let start = Instant::now();
        f(1)?;
        let once = start.elapsed().as_secs_f64().max(1e-8);
        let (calls, repetitions) = ((0.05 / once).clamp(1.0, 1e6) as usize, if once > 0.2 { 3 } else { 9 });
        let mut all = Vec::new();
        for _ in 0..repetitions {
            let start = Instant::now();
            f(calls)?;
            all.push(start.elapsed().as_secs_f64() / (calls * units) as f64);
        }
        all.sort_by(f64::total_cmp);
        Ok(Times(all))
    }
}

/// A unit's times and what it does.
struct Measured {
    times: Times,
    /// Floating-point operations and bytes.
    cost: Option<(u64, u64)>,
    allocations: Option<usize>,
}

/// A network of the benchmark and its data.
struct Subject<'a> {
    arm: &'a ArmSettings,
    split: Split,
    graph: Graph,
    threads: usize,
}

impl Subject<'_> {
    fn measure(&self, unit: Unit) -> Outcome<Measured> {
        match unit {
            Unit::Step => self.step(1),
            Unit::Together => self.step(self.threads),
            Unit::Round => self.round(),
            Unit::Predict(samples) => self.predict(samples),
            Unit::Start => start(),
        }
    }

    fn net(&self, seed: usize, threads: usize) -> Outcome<Net> {
        Ok(Net::new(self.graph.clone(), Seed(seed as u64), Options { threads, f64: false })?)
    }

    fn cost(&self, roots: &Roots, last: Phase, batch: usize) -> (u64, u64) {
        let program = compile(&self.graph, roots);
        let phases = [Phase::Forward, Phase::Loss, Phase::Backward].into_iter().filter(|p| *p <= last);
        phases.fold((0, 0), |(flops, bytes), phase| {
            let cost = program.cost(phase, "", batch);
            (flops + cost.flops, bytes + cost.bytes)
        })
    }

    fn cost_of_step(&self) -> (u64, u64) {
        self.cost(&Roots::Train { inputs: false }, Phase::Backward, self.arm.train.batch)
    }

    fn cost_of_prediction(&self, samples: usize) -> (u64, u64) {
        let outputs = vec![self.graph.outputs[0].0.clone()];
        self.cost(&Roots::Infer { outputs, losses: false }, Phase::Forward, samples)
    }

    /// A step of each of several trainings side by side, or of one that has all threads.
    fn step(&self, trainings: usize) -> Outcome<Measured> {
        let (data, batch) = (&self.split.train, self.arm.train.batch);
        let batches = data.len() / batch;
        let steps = |net: &mut Net, n: usize| {
            for i in 0..n {
                let first = i % batches * batch;
                net.train_step(&data.range(first..first + batch), 1e-3);
            }
        };
        let threads = self.threads / trainings;
        let mut nets = (0..trainings).map(|i| self.net(i, threads)).collect::<Outcome<Vec<_>>>()?;
        let times = if let [net] = &mut nets[..] {
            Times::of(1, |n| {
                steps(net, n);
                Ok(())
            })?
        } else {
            // So many steps at a time that the start of the threads does not count.
            Times::of(1000 * trainings, |n| {
                at_once(&mut nets, |net| steps(net, 1000 * n))?;
                Ok(())
            })?
        };
        let allocations = allocations(|| steps(&mut nets[0], 1));
        Ok(Measured { times, cost: Some(self.cost_of_step()), allocations: Some(allocations) })
    }

    fn round(&self) -> Outcome<Measured> {
        let Split { train, test, .. } = &self.split;
        let round = |seed: usize| -> Outcome {
            let mut net = self.net(seed, 1)?;
            let feed = Data { train, validation: None, watch: &[("train", train), ("test", test)] };
            let mut trainer = Trainer::new(&mut net, feed, &self.arm.train)?;
            while !trainer.done() {
                trainer.epoch()?;
            }
            Ok(())
        };
        let times = Times::of(self.threads, |n| {
            (0..n).try_for_each(|_| at_once(0..self.threads, round)?.into_iter().collect())
        })?;
        let (step, sample) = (self.cost_of_step(), self.cost_of_prediction(1));
        let epoch = |step, sample| {
            (train.len() / self.arm.train.batch) as u64 * step + (train.len() + test.len()) as u64 * sample
        };
        let epochs = self.arm.train.epochs as u64;
        let cost = (epochs * epoch(step.0, sample.0), epochs * epoch(step.1, sample.1));
        Ok(Measured { times, cost: Some(cost), allocations: None })
    }

    fn predict(&self, samples: usize) -> Outcome<Measured> {
        let model = Model::from_file(self.net(0, 1)?.to_file(&IndexMap::new()), &Registry::new())?;
        let x = &self.split.test.inputs[0];
        let numbers: Vec<f32> = x.iter().take(samples * x.len() / x.shape()[0]).copied().collect();
        let mut sessions: Vec<_> = (0..self.threads).map(|_| model.session(samples.min(EVAL_BATCH))).collect();
        let predict = |session: &mut Session, n: usize| -> Outcome {
            for _ in 0..n {
                black_box(session.predict_prepared(&numbers)?);
            }
            Ok(())
        };
        let times = if let [session] = &mut sessions[..] {
            Times::of(1, |n| predict(session, n))?
        } else {
            let calls = 1 + 10_000 / samples;
            Times::of(calls * self.threads, |n| {
                at_once(&mut sessions, |s| predict(s, calls * n))?.into_iter().collect()
            })?
        };
        let mut ended = Ok(());
        let allocations = allocations(|| ended = predict(&mut sessions[0], 1));
        ended?;
        Ok(Measured { times, cost: Some(self.cost_of_prediction(samples)), allocations: Some(allocations) })
    }
}

/// From the start of the program to its end.
fn start() -> Outcome<Measured> {
    let program = std::env::current_exe()?;
    let times = Times::of(1, |n| {
        for _ in 0..n {
            let ended = Command::new(&program).arg("--version").stdout(Stdio::null()).status()?;
            if !ended.success() {
                return wrong(format!("{} --version: {ended}", program.display()));
            }
        }
        Ok(())
    })?;
    Ok(Measured { times, cost: None, allocations: None })
}
