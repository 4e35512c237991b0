//! Has the gradient check power? Mistakes are planted in every op of every backward pass; each must be caught.
//!
//! A mistake wraps one op of a compiled program: the op runs, then its result is spoiled. Whoever changes nothing (an
//! element that is zero anyway) is no mistake and is drawn again.

mod cases;
#[path = "cases/networks.rs"]
mod networks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cases::{layer_case, loss_case};
use gradus::check::{Gradients, Probe, TOLERANCE};
use gradus::exec::cpu::Lower;
use gradus::layers::LAYERS;
use gradus::losses::LOSSES;
use gradus::ops::{Case, Cost, Op};
use gradus::program::{Phase, Program, Source};
use gradus::rng::Seed;

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mistake {
    /// The sign.
    Sign,
    /// Twice as much: a factor too many.
    Twice,
    /// A factor slightly off: eps in the wrong place, n for n − 1.
    Slightly,
    /// One element forgotten.
    Element,
    /// Every element one place further on.
    Shift,
    /// The last sample forgotten.
    LastSample,
    /// The op forgotten.
    Missing,
    /// A parameter's gradient: `=` for `+=`.
    Overwrites,
    /// A parameter's gradient: `+=` for `=`.
    NeverFresh,
}

const MISTAKES: [Mistake; 9] = [
    Mistake::Sign,
    Mistake::Twice,
    Mistake::Slightly,
    Mistake::Element,
    Mistake::Shift,
    Mistake::LastSample,
    Mistake::Missing,
    Mistake::Overwrites,
    Mistake::NeverFresh,
];

/// An op and what goes wrong in one of the values it writes.
#[derive(Debug)]
struct Wrong {
    op: Arc<dyn Op>,
    write: usize,
    mistake: Mistake,
    changed: Arc<AtomicBool>,
}

impl Op for Wrong {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{}, {:?} of {}", self.op.line(r, w), self.mistake, w[self.write])
    }

    fn cost(&self, case: &Case) -> Cost {
        self.op.cost(case)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let stored = w.to_vec();
        self.op.define(case, r, w);
        let right = w[self.write].clone();
        let is_grad = matches!(case.writes[self.write].source, Source::Grad(_));
        let from = if is_grad && case.adds { stored[self.write].clone() } else { vec![0.0; right.len()] };
        // What this op contributes, and what the mistake makes of it.
        let part: Vec<f64> = right.iter().zip(&from).map(|(y, s)| y - s).collect();
        let mut wrong = part.clone();
        match self.mistake {
            Mistake::Sign => wrong.iter_mut().for_each(|x| *x = -*x),
            Mistake::Twice => wrong.iter_mut().for_each(|x| *x *= 2.0),
            Mistake::Slightly => wrong.iter_mut().for_each(|x| *x *= 1.0 + 1e-3),
            Mistake::Element => {
                let most = part.iter().fold(0.0f64, |m, x| m.max(x.abs()));
                let seen: Vec<usize> = (0..part.len()).filter(|i| part[*i].abs() > 1e-3 * most).collect();
                if let Some(i) = seen.get(seen.len() / 2) {
                    wrong[*i] = 0.0;
                }
            }
            Mistake::Shift => wrong.rotate_right(1),
            Mistake::LastSample => {
                // Of the gradient that comes in, which is read last or first: every value that has samples.
                let reads: Vec<Vec<f64>> = r
                    .iter()
                    .zip(&case.reads)
                    .map(|(x, info)| {
                        let mut x = x.to_vec();
                        if info.batched && !info.ints {
                            let at = x.len() - x.len() / case.batch();
                            x[at..].fill(0.0);
                        }
                        x
                    })
                    .collect();
                let reads: Vec<&[f64]> = reads.iter().map(Vec::as_slice).collect();
                let mut again = stored.clone();
                self.op.define(case, &reads, &mut again);
                wrong = again[self.write].iter().zip(&from).map(|(y, s)| y - s).collect();
            }
            Mistake::Missing => wrong.fill(0.0),
            Mistake::Overwrites | Mistake::NeverFresh => {}
        }
        let from = match self.mistake {
            // Without the op the stored value stays.
            Mistake::Missing if is_grad => stored[self.write].clone(),
            Mistake::Overwrites if is_grad => vec![0.0; right.len()],
            Mistake::NeverFresh if is_grad => stored[self.write].clone(),
            _ => from,
        };
        w[self.write] = from.iter().zip(&wrong).map(|(s, x)| s + x).collect();
        let real = |(a, b): (&f64, &f64)| (a - b).abs() > 1e-12 * (a.abs() + b.abs()) && (a - b).abs() > 1e-8;
        if w[self.write].iter().zip(&right).any(real) {
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    fn lower(&self, _: &mut Lower<'_>) {
        unreachable!("mistakes are planted on the reference executor")
    }
}

/// How many mistakes of each kind were planted, how many caught.
type Tally = BTreeMap<Mistake, (usize, usize)>;

/// Plants every mistake in every op of the backward pass, one at a time. In a `network` what changes an op may be lost on
/// the way (behind a dead ReLU): a mistake is counted there when some gradient differs.
fn plant(what: &str, probe: &Probe, tally: &mut Tally, network: bool) {
    let program: &Program = probe.program();
    let right = probe.gradients(program.clone());
    let report = probe.judge(&right);
    assert!(report.passed(TOLERANCE), "{what}\n{report}");
    for (n, node) in program.nodes.iter().enumerate().filter(|(_, node)| node.phase == Phase::Backward) {
        for (write, mistake) in (0..node.writes.len()).flat_map(|w| MISTAKES.map(|m| (w, m))) {
            let changed = Arc::new(AtomicBool::new(false));
            let mut wrong = program.clone();
            wrong.nodes[n].op = Arc::new(Wrong { op: node.op.clone(), write, mistake, changed: changed.clone() });
            let gradients = probe.gradients(wrong);
            if !changed.load(Ordering::Relaxed) || (network && !differ(&right, &gradients)) {
                continue;
            }
            let entry = tally.entry(mistake).or_default();
            entry.0 += 1;
            let report = probe.judge(&gradients);
            if report.passed(TOLERANCE) {
                let written = &program.info(node.writes[write]).name;
                println!("{what}: missed {mistake:?} of {written} in {}\n{report}", node.path);
            } else {
                entry.1 += 1;
            }
        }
    }
}

fn differ(a: &Gradients, b: &Gradients) -> bool {
    let differ =
        |a: &[Vec<f64>], b: &[Vec<f64>]| a.iter().flatten().zip(b.iter().flatten()).any(|(a, b)| (a - b).abs() > 1e-7);
    differ(&a.first, &b.first) || differ(&a.second, &b.second)
}

/// Prints what was caught; asserts that it is everything, and that every kind of mistake in `wanted` was planted.
fn judge(what: &str, tally: &Tally, wanted: &[Mistake]) {
    let (planted, caught) = tally.values().fold((0, 0), |(p, c), t| (p + t.0, c + t.1));
    println!("{what}: {caught} of {planted} mistakes caught {tally:?}");
    assert_eq!(caught, planted, "{what}: mistakes passed the check");
    for mistake in wanted {
        assert!(tally.contains_key(mistake), "{what}: {mistake:?} was never planted");
    }
}

/// Cases of each layer and loss.
const CASES: u64 = 12;

#[test]
fn in_every_layer() {
    for def in LAYERS {
        let mut tally = Tally::new();
        let mut parameters = false;
        for n in 100..100 + CASES {
            let case = layer_case(def.name, n);
            let probe = Probe::layer(case.make(), &case.input, case.batch, Seed(n)).unwrap();
            parameters |= probe.program().values.iter().any(|v| matches!(v.source, Source::Param(_)));
            plant(&format!("{case:?}"), &probe, &mut tally, false);
        }
        // `Identity` has no backward pass: the gradient goes by.
        let wanted = if def.name == "Identity" {
            0
        } else if parameters {
            9
        } else {
            7
        };
        judge(def.name, &tally, &MISTAKES[..wanted]);
    }
}

#[test]
fn in_every_loss() {
    for def in LOSSES {
        let mut tally = Tally::new();
        for n in 100..100 + CASES {
            let case = loss_case(def.name, n);
            let probe = Probe::loss(case.make(), &case.input, &case.target, case.batch, Seed(n)).unwrap();
            plant(&format!("{case:?}"), &probe, &mut tally, false);
        }
        judge(def.name, &tally, &MISTAKES[..7]);
    }
}

#[test]
fn in_whole_networks() {
    // Those that have every way of connecting between them, and not the deep ones for time's sake.
    for network in networks::networks().into_iter().filter(|n| !n.name.contains("deep")) {
        let mut tally = Tally::new();
        for probe in Probe::network(&network.graph, None, &network.data.all(), Seed(4)).unwrap() {
            plant(network.name, &probe, &mut tally, true);
        }
        judge(network.name, &tally, &MISTAKES[..7]);
    }
}
