//! One program at one point: its derivatives by differences, taken once, and any number of backward passes judged by them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::report::{Report, Row, badness};
use crate::data::{Batch, TargetInfo};
use crate::exec::reference::Reference;
use crate::exec::{Executor, PlanId, PlanKind, Step, Stored};
use crate::init::Fan;
use crate::net::{Graph, Net};
use crate::program::{Phase, Program, Source, Value};
use crate::rng::{Key, Seed, Stream};

/// The step of the differences.
const STEP: f64 = 1.0 / 8192.0;
/// The floor of the error, in sums of magnitudes of the terms of f.
const FLOOR: f64 = 1e-3;
/// The floor of the error, in what rounding of f may do to the differences.
const ROUNDING: f64 = 1e7;
/// How far the second differences may be from a smooth function's, and the first ones; relative to the derivative and the
/// floor. The second test is sharp except at one place, which the loose first one covers. Of many small kinks some may cancel
/// there and leave an error of a few times this: so it is a tenth of what commands allow.
const SMOOTH: (f64, f64) = (1e-7, 1e-3);
/// How often a layer's numbers are drawn until no kink lies within a step, and a network's directions.
const DRAWS: u64 = 60;
const DIRECTIONS: u64 = 12;
/// Floating-point operations that one array of a layer may cost; fewer numbers are checked where that is not enough.
const BUDGET: u64 = 100_000_000;
/// The same for an array of a network.
const DIRECTIONS_BUDGET: u64 = 10_000_000;

/// A program at a point, with derivatives by differences.
#[derive(Debug)]
pub struct Probe {
    rig: Rig,
    derivatives: Vec<Derivative>,
}

/// A derivative by differences.
#[derive(Debug)]
struct Derivative {
    what: String,
    along: Direction,
    at: Option<Vec<usize>>,
    value: f64,
    floor: f64,
    smooth: bool,
}

/// Where to go from the point.
#[derive(Clone, Debug)]
enum Direction {
    /// One number of one array.
    Number(usize, usize),
    /// These arrays, each with its part of the direction.
    Arrays(Vec<(usize, Vec<f64>)>),
}

/// Something that has a gradient.
#[derive(Clone, Debug)]
struct Array {
    what: String,
    place: Place,
    shape: Vec<usize>,
    data: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Param(usize),
    /// The input, and its gradient; none where no gradient reaches it.
    Input(Value, Option<Value>),
}

/// The number f that is differentiated.
#[derive(Clone, Debug)]
enum Number {
    /// Σ c·y of the main output, with the factors in `OutputGrad`.
    Output(Value, Vec<f64>),
    /// The weighted sum of these.
    Losses(Vec<(Value, f64)>),
}

/// f at the point.
#[derive(Debug)]
struct Here {
    terms: Vec<f64>,
    /// The sum of their magnitudes.
    size: f64,
    /// How far they are from a smooth function of the numbers they are made from, in the last bits.
    noise: f64,
}

#[derive(Debug)]
struct Rig {
    graph: Arc<Graph>,
    exec: Reference,
    program: Arc<Program>,
    plan: PlanId,
    step: Step,
    arrays: Vec<Array>,
    /// Parameters that are not trained.
    frozen: Vec<(usize, Vec<f64>)>,
    /// What else the program reads: targets, the gradient of the output.
    given: Vec<(Value, Vec<f64>)>,
    buffers: Vec<Vec<f64>>,
    number: Number,
    key: Key,
}

/// What a backward pass gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// The gradient of every array after a fresh backward pass.
    pub first: Vec<Vec<f64>>,
    /// What a second one, told to accumulate, added; of an input, what it wrote.
    pub second: Vec<Vec<f64>>,
}

impl Probe {
    /// A layer or a loss by itself: everything is drawn at random, as often as it takes to keep away from kinks.
    pub(super) fn of_part(graph: Arc<Graph>, program: Program, batch: usize, seed: Seed) -> Probe {
        let program = Arc::new(program);
        let flops = program.cost(Phase::Forward, "", batch).flops + program.cost(Phase::Loss, "", batch).flops;
        let most = (BUDGET / (4 * flops.max(1))).clamp(3, 512) as usize;
        for draw in 0.. {
            let key = seed.key("check").at(draw);
            let mut rig = Rig::new(graph.clone(), program.clone(), batch, key);
            rig.draw_arrays(None, |_, len, s| normals(s, len));
            rig.draw_targets();
            let derivatives = rig.of_numbers(most, draw + 1 < DRAWS);
            if let Some(derivatives) = derivatives {
                return Probe { rig, derivatives };
            }
        }
        unreachable!("the last draw is taken as it is")
    }

    /// A whole network on a batch, at random parameters or at those of a net.
    pub(super) fn of_network(
        graph: Arc<Graph>,
        program: Program,
        at: Option<&Net>,
        batch: &Batch<'_>,
        seed: Seed,
    ) -> Probe {
        let key = seed.key("check");
        let mut rig = Rig::new(graph, Arc::new(program), batch.len(), key);
        rig.exec.feed(rig.plan, batch, true, true);
        let program = rig.program.clone();
        for v in program.used().into_iter().filter(|v| matches!(program.info(*v).source, Source::Target(_))) {
            let data = rig.exec.read_f64(rig.plan, v, batch.len());
            rig.given.push((v, data));
        }
        let fed: BTreeMap<Value, Vec<f64>> = program
            .used()
            .into_iter()
            .filter(|v| matches!(program.info(*v).source, Source::Input(_)))
            .map(|v| (v, rig.exec.read_f64(rig.plan, v, batch.len())))
            .collect();
        rig.draw_arrays(at, |v, len, s| {
            let data = &fed[&v];
            let mean = data.iter().sum::<f64>() / len as f64;
            let spread = (data.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / len as f64).sqrt();
            let noise = if spread > 0.0 { 0.1 * spread } else { 0.1 };
            data.iter().map(|x| x + noise * s.normal()).collect()
        });
        let derivatives = rig.of_directions();
        Probe { rig, derivatives }
    }

    /// The program that is checked.
    pub fn program(&self) -> &Program {
        &self.rig.program
    }

    /// Judges the program's own backward pass.
    pub fn report(&self) -> Report {
        self.judge(&self.gradients(self.rig.program.clone()))
    }

    /// Runs the backward pass of the program, or of an edited copy of it.
    pub fn gradients(&self, program: impl Into<Arc<Program>>) -> Gradients {
        self.rig.gradients(&program.into())
    }

    /// Judges what a backward pass gave.
    pub fn judge(&self, gradients: &Gradients) -> Report {
        let mut report = Report::default();
        for d in &self.derivatives {
            for (gradient, pass) in [(&gradients.first, 1), (&gradients.second, 2)] {
                let a = d.along.slope(gradient) + 0.0; // no −0 in tables
                let error = (a - d.value).abs() / (a.abs() + d.value.abs() + d.floor);
                let new = Row {
                    what: d.what.clone(),
                    checked: 1,
                    analytic: a,
                    numeric: d.value,
                    error,
                    at: d.at.clone(),
                    pass,
                    kink: !d.smooth,
                };
                match report.rows.last_mut().filter(|r| r.what == new.what) {
                    None => report.rows.push(new),
                    Some(row) => {
                        let checked = row.checked + usize::from(pass == 1);
                        if badness(error) > badness(row.error) {
                            *row = new;
                        }
                        row.checked = checked;
                    }
                }
            }
        }
        report
    }
}

impl Direction {
    fn arrays(&self) -> Vec<usize> {
        match self {
            Direction::Number(array, _) => vec![*array],
            Direction::Arrays(parts) => parts.iter().map(|(array, _)| *array).collect(),
        }
    }

    /// The derivative along it, given the gradients.
    fn slope(&self, gradients: &[Vec<f64>]) -> f64 {
        match self {
            Direction::Number(array, i) => gradients[*array][*i],
            Direction::Arrays(parts) => {
                parts.iter().map(|(array, d)| d.iter().zip(&gradients[*array]).map(|(d, g)| d * g).sum::<f64>()).sum()
            }
        }
    }
}

fn normals(s: &mut Stream, len: usize) -> Vec<f64> {
    (0..len).map(|_| s.normal()).collect()
}

impl Rig {
    fn new(graph: Arc<Graph>, program: Arc<Program>, batch: usize, key: Key) -> Rig {
        let mut exec = Reference::new(graph.clone());
        let plan = exec.load(program.clone(), batch, PlanKind::Stepwise);
        let step = Step { key: key.child("dropout").words(), t: 1, ..Step::of(batch) };
        let mut given = Vec::new();
        let number = match program.output_grad {
            Some(dy) => {
                let c = normals(&mut key.child("output gradient").stream(), program.info(dy).len(batch));
                given.push((dy, c.clone()));
                Number::Output(*program.outputs.first().expect("a network has an output").1, c)
            }
            None => Number::Losses(program.losses.values().copied().collect()),
        };
        let buffers = graph.buffers.iter().map(|b| vec![b.value; b.shape.iter().product()]).collect();
        Rig { graph, exec, program, plan, step, arrays: Vec::new(), frozen: Vec::new(), given, buffers, number, key }
    }

    /// Fills the parameters (at random, or those of `at`) and the inputs (by `input`).
    fn draw_arrays(&mut self, at: Option<&Net>, mut input: impl FnMut(Value, usize, &mut Stream) -> Vec<f64>) {
        let graph = self.graph.clone();
        for (i, p) in graph.params.iter().enumerate() {
            let mut s = self.key.child(&p.name).stream();
            let data = match (at, p.fan) {
                (Some(net), _) => net.executor_ref().stored(Stored::Param(i)),
                (None, Fan::Weight { fan_in, .. }) => {
                    let spread = (2.0 / fan_in.max(1) as f64).sqrt();
                    normals(&mut s, p.len()).into_iter().map(|x| spread * x).collect()
                }
                (None, Fan::Bias { .. }) => normals(&mut s, p.len()).into_iter().map(|x| 0.5 * x).collect(),
                (None, Fan::Constant(c)) => normals(&mut s, p.len()).into_iter().map(|x| c + 0.3 * x).collect(),
            };
            if p.trained {
                let shape = p.shape.clone();
                self.arrays.push(Array { what: p.name.clone(), place: Place::Param(i), shape, data });
            } else {
                self.frozen.push((i, data));
            }
        }
        if let Some(net) = at {
            self.buffers = (0..graph.buffers.len()).map(|i| net.executor_ref().stored(Stored::Buffer(i))).collect();
        }
        let program = self.program.clone();
        for v in program.used() {
            let info = program.info(v);
            let Source::Input(_) = info.source else { continue };
            let data = input(v, info.len(self.step.batch), &mut self.key.child("input").child(&info.name).stream());
            let place = Place::Input(v, program.input_grads.get(&info.name).copied());
            self.arrays.push(Array {
                what: format!("input {}", info.name),
                place,
                shape: info.shape(self.step.batch),
                data,
            });
        }
    }

    /// Random targets: labels among their classes, values normal.
    fn draw_targets(&mut self) {
        let program = self.program.clone();
        for v in program.used() {
            let info = program.info(v);
            let Source::Target(i) = info.source else { continue };
            let mut s = self.key.child("target").child(&info.name).stream();
            let len = info.len(self.step.batch);
            let data = match &self.graph.schema.targets[i] {
                TargetInfo::Classes { names, .. } => (0..len).map(|_| s.below(names.len() as u64) as f64).collect(),
                TargetInfo::Values { .. } => normals(&mut s, len),
            };
            self.given.push((v, data));
        }
    }

    /// Writes everything a plan of the program reads.
    fn fill(&self, exec: &mut Reference, plan: PlanId) {
        for a in &self.arrays {
            match a.place {
                Place::Param(i) => exec.store(Stored::Param(i), &a.data),
                Place::Input(v, _) => exec.write_f64(plan, v, &a.data),
            }
        }
        for (i, data) in &self.frozen {
            exec.store(Stored::Param(*i), data);
        }
        for (v, data) in &self.given {
            exec.write_f64(plan, *v, data);
        }
        for (i, b) in self.buffers.iter().enumerate() {
            exec.store(Stored::Buffer(i), b);
        }
    }

    /// The terms of f at the point, and how much rounding there is in them.
    fn here(&mut self) -> Here {
        let mut exec = std::mem::replace(&mut self.exec, Reference::new(self.graph.clone()));
        self.fill(&mut exec, self.plan);
        self.exec = exec;
        let terms = self.terms();
        let size = terms.iter().map(|x| x.abs()).sum();
        let mut noise = 0.0f64;
        let mut s = self.key.child("rounding").stream();
        // Small enough that curvature does not show, large enough that the last bits move.
        let step = 1.0 / (1u64 << 27) as f64;
        for _ in 0..if self.flops() <= 8 * DIRECTIONS_BUDGET { 4 } else { 2 } {
            let directions: Vec<Vec<f64>> = self.arrays.iter().map(|a| normals(&mut s, a.data.len())).collect();
            let [below, above] = [-step, step].map(|t| {
                for (array, d) in directions.iter().enumerate() {
                    let data: Vec<f64> =
                        self.arrays[array].data.iter().zip(d).map(|(x, d)| x * (1.0 + t * d)).collect();
                    self.write(array, &data);
                }
                self.terms()
            });
            let apart = (0..terms.len()).map(|i| ((above[i] - terms[i]) + (below[i] - terms[i])).abs());
            noise = noise.max(0.5 * apart.sum::<f64>());
        }
        for array in 0..self.arrays.len() {
            self.restore(array);
        }
        Here { terms, size, noise }
    }

    /// Floating-point operations of one evaluation of f.
    fn flops(&self) -> u64 {
        [Phase::Forward, Phase::Loss].map(|phase| self.program.cost(phase, "", self.step.batch).flops).iter().sum()
    }

    fn write(&mut self, array: usize, data: &[f64]) {
        match self.arrays[array].place {
            Place::Param(i) => self.exec.store(Stored::Param(i), data),
            Place::Input(v, _) => self.exec.write_f64(self.plan, v, data),
        }
    }

    /// Runs the program up to its losses; returns the terms of f.
    fn terms(&mut self) -> Vec<f64> {
        for (i, b) in self.buffers.iter().enumerate() {
            self.exec.store(Stored::Buffer(i), b);
        }
        self.exec.run(self.plan, Phase::Forward, Phase::Loss, &self.step);
        match &self.number {
            Number::Output(y, c) => {
                self.exec.read_f64(self.plan, *y, self.step.batch).iter().zip(c).map(|(y, c)| c * y).collect()
            }
            Number::Losses(list) => list.iter().map(|(v, weight)| weight * self.exec.number(self.plan, *v)).collect(),
        }
    }

    /// The terms of f at `t` along a direction.
    fn terms_at(&mut self, along: &Direction, t: f64) -> Vec<f64> {
        let mut moved = |array: usize, change: &dyn Fn(&mut [f64])| {
            let mut data = self.arrays[array].data.clone();
            change(&mut data);
            self.write(array, &data);
        };
        match along {
            Direction::Number(array, i) => moved(*array, &|data| data[*i] += t),
            Direction::Arrays(parts) => {
                for (array, d) in parts {
                    moved(*array, &|data| data.iter_mut().zip(d).for_each(|(x, d)| *x += t * d));
                }
            }
        }
        self.terms()
    }

    fn restore(&mut self, array: usize) {
        let data = std::mem::take(&mut self.arrays[array].data);
        self.write(array, &data);
        self.arrays[array].data = data;
    }

    /// The derivative along a direction by differences with step `h`; `here` are the terms at the point.
    fn derivative(&mut self, what: &str, along: Direction, at: Option<Vec<usize>>, h: f64, here: &Here) -> Derivative {
        let Here { terms: here, size, noise } = here;
        let [m2, m1, p1, p2] = [-2.0, -1.0, 1.0, 2.0].map(|k| self.terms_at(&along, k * h));
        for array in along.arrays() {
            self.restore(array);
        }
        // Differences are taken term by term: what does not change cancels exactly and brings no rounding.
        let sum = |f: &dyn Fn(usize) -> f64| (0..here.len()).map(f).sum::<f64>();
        let first = sum(&|i| p1[i] - m1[i]) / (2.0 * h);
        let first2 = sum(&|i| p2[i] - m2[i]) / (4.0 * h);
        let second = sum(&|i| (p1[i] - here[i]) + (m1[i] - here[i])) / h;
        let second2 = sum(&|i| (p2[i] - here[i]) + (m2[i] - here[i])) / (2.0 * h);
        let value = (4.0 * first - first2) / 3.0;
        // The smallest positive number keeps 0/0 away where f is exactly 0 (a dead layer).
        let floor = FLOOR * size + ROUNDING * noise / h + f64::MIN_POSITIVE;
        let scale = 2.0 * value.abs() + floor;
        let smooth = (second2 - 2.0 * second).abs() <= SMOOTH.0 * scale && (first2 - first).abs() <= SMOOTH.1 * scale;
        Derivative { what: what.to_string(), along, at, value, floor, smooth }
    }

    /// The derivatives by every number of every array, or by `most` random ones and along a random direction; `None` when
    /// one of them is at a kink and `strict`.
    fn of_numbers(&mut self, most: usize, strict: bool) -> Option<Vec<Derivative>> {
        let here = self.here();
        let mut all = Vec::new();
        for array in 0..self.arrays.len() {
            let Array { what, shape, data, .. } = &self.arrays[array];
            let (what, shape, len) =
                (what.strip_prefix("net.0.").unwrap_or(what).to_string(), shape.clone(), data.len());
            let mut s = self.key.child("numbers").child(&what).stream();
            let mut directions: Vec<(Direction, Option<Vec<usize>>)> = Vec::new();
            let numbers = if len <= most {
                (0..len).collect()
            } else {
                (0..most).map(|_| s.below(len as u64) as usize).collect::<Vec<_>>()
            };
            directions.extend(numbers.into_iter().map(|i| (Direction::Number(array, i), Some(index(&shape, i)))));
            if len > most {
                directions.push((Direction::Arrays(vec![(array, unit(&mut s, len))]), None));
            }
            for (along, at) in directions {
                let d = self.derivative(&what, along, at, STEP, &here);
                if strict && !d.smooth {
                    return None;
                }
                all.push(d);
            }
        }
        Some(all)
    }

    /// The derivatives in random directions over all parameters, over each array, and by random numbers of each.
    fn of_directions(&mut self) -> Vec<Derivative> {
        let here = self.here();
        let flops = self.flops();
        // Large networks in fewer directions, so that the check stays short: the largest in one over all parameters, and
        // one over each input.
        let (all, each) = match flops {
            _ if flops <= DIRECTIONS_BUDGET => (4, 3),
            _ if flops <= 8 * DIRECTIONS_BUDGET => (2, 1),
            _ => (1, 0),
        };
        let most = (DIRECTIONS_BUDGET / (4 * flops.max(1))).min(32) as usize;
        let params: Vec<usize> =
            (0..self.arrays.len()).filter(|a| matches!(self.arrays[*a].place, Place::Param(_))).collect();
        let mut list = Vec::new();
        for n in 0..all {
            if !params.is_empty() {
                let lens: Vec<usize> = params.iter().map(|a| self.arrays[*a].data.len()).collect();
                list.push(self.smooth_derivative("all parameters", &here, n, |s| {
                    let mut whole = unit(s, lens.iter().sum());
                    let parts = params.iter().zip(&lens).map(|(a, len)| {
                        let rest = whole.split_off(*len);
                        (*a, std::mem::replace(&mut whole, rest))
                    });
                    (Direction::Arrays(parts.collect()), None)
                }));
            }
        }
        for array in 0..self.arrays.len() {
            let Array { what, place, shape, data } = self.arrays[array].clone();
            let len = data.len();
            for n in 0..if matches!(place, Place::Input(..)) { each.max(1) } else { each } {
                list.push(
                    self.smooth_derivative(&what, &here, n, |s| (Direction::Arrays(vec![(array, unit(s, len))]), None)),
                );
            }
            for n in 0..most.min(len) {
                let key = self.key.child("number").child(&what);
                let mut next = if len <= most { n } else { key.at(n as u64).stream().below(len as u64) as usize };
                // A number at a kink gives way to a random other one.
                list.push(self.smooth_derivative(&what, &here, each + n as u64, |s| {
                    let other = s.below(len as u64) as usize;
                    let i = std::mem::replace(&mut next, other);
                    (Direction::Number(array, i), Some(index(&shape, i)))
                }));
            }
        }
        list
    }

    /// The derivative in the `n`-th direction that `draw` gives, drawn again where a kink lies within the step, which
    /// becomes shorter every third time.
    fn smooth_derivative(
        &mut self,
        what: &str,
        here: &Here,
        n: u64,
        mut draw: impl FnMut(&mut Stream) -> (Direction, Option<Vec<usize>>),
    ) -> Derivative {
        let key = self.key.child("directions").child(what).at(n);
        let mut last = None;
        for attempt in 0..DIRECTIONS {
            let (along, at) = draw(&mut key.at(attempt).stream());
            // A step is one of numbers of size 1; pixels of 255 take larger ones.
            let size = match along.arrays()[..] {
                [array] => rms(&self.arrays[array].data).max(1.0),
                _ => 1.0,
            };
            let h = size * STEP / 4f64.powi(attempt as i32 / 3);
            let d = self.derivative(what, along, at, h, here);
            if d.smooth {
                return d;
            }
            last = Some(d);
        }
        last.expect("at least one attempt")
    }

    /// The gradients that the backward pass of `program` gives, a copy of the rig's own with other ops.
    fn gradients(&self, program: &Arc<Program>) -> Gradients {
        let mut exec = Reference::new(self.graph.clone());
        let plan = exec.load(program.clone(), self.step.batch, PlanKind::Stepwise);
        self.fill(&mut exec, plan);
        let read = |exec: &Reference| -> Vec<Vec<f64>> {
            let gradient = |a: &Array| match a.place {
                Place::Param(i) => exec.stored(Stored::Grad(i)),
                Place::Input(_, Some(dx)) => exec.read_f64(plan, dx, self.step.batch),
                Place::Input(_, None) => vec![0.0; a.data.len()],
            };
            self.arrays.iter().map(gradient).collect()
        };
        let mut s = self.key.child("stored gradients").stream();
        for (i, p) in self.graph.params.iter().enumerate() {
            exec.store(Stored::Grad(i), &normals(&mut s, p.len()));
        }
        // As `Net::backward`: where the program does not write every gradient, they are zeroed and added to. The rig's own
        // program decides, not the edited one.
        let trained = |i: &usize| self.graph.params[*i].trained;
        let writes: Vec<Source> =
            self.program.nodes.iter().flat_map(|n| &n.writes).map(|v| self.program.info(*v).source).collect();
        let complete = (0..self.graph.params.len()).filter(trained).all(|i| writes.contains(&Source::Grad(i)));
        if !complete {
            exec.zero_grads();
        }
        exec.run(plan, Phase::Forward, Phase::Backward, &Step { accumulate: !complete, ..self.step });
        let first = read(&exec);
        exec.run(plan, Phase::Backward, Phase::Backward, &Step { accumulate: true, ..self.step });
        let mut second = read(&exec);
        for ((a, g), before) in self.arrays.iter().zip(&mut second).zip(&first) {
            if matches!(a.place, Place::Param(_)) {
                g.iter_mut().zip(before).for_each(|(g, b)| *g -= b);
            }
        }
        Gradients { first, second }
    }
}

/// A random direction of length 1.
fn unit(s: &mut Stream, len: usize) -> Vec<f64> {
    let mut d = normals(s, len);
    let norm = d.iter().map(|x| x * x).sum::<f64>().sqrt();
    d.iter_mut().for_each(|x| *x /= norm);
    d
}

fn rms(data: &[f64]) -> f64 {
    (data.iter().map(|x| x * x).sum::<f64>() / data.len() as f64).sqrt()
}

/// The index of the `i`-th number of an array.
fn index(shape: &[usize], mut i: usize) -> Vec<usize> {
    let mut at = vec![0; shape.len()];
    for (at, size) in at.iter_mut().zip(shape).rev() {
        *at = i % size;
        i /= size;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_count_in_c_order() {
        let all: Vec<Vec<usize>> = (0..6).map(|i| index(&[2, 3], i)).collect();
        assert_eq!(all, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]);
        assert!(index(&[], 0).is_empty());
    }
}
