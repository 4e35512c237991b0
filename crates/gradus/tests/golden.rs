//! Layers, losses and two networks against what PyTorch computes in f64: the reference executor to 1e-9, and the fast one
//! against the reference to 1e-5, on every case of the golden files. `golden/README.md` says where they come from.

mod common;

use std::sync::Arc;

use common::branch;
use common::golden::{File, Summary, Tensor, near, read, short, spec};
use gradus::Registry;
use gradus::data::{Dataset, InputInfo, Schema, Target, TargetInfo};
use gradus::exec::cpu::Cpu;
use gradus::exec::reference::Reference;
use gradus::exec::{Executor, PlanId, PlanKind, Step, Stored};
use gradus::net::{Architecture, Branch, Graph, Loss};
use gradus::optim::{SGD, Update};
use gradus::program::{Phase, Program, Roots, Source, Value, compile};
use gradus::spec::{Arg, Spec};
use indexmap::IndexMap;
use ndarray::{Array1, ArrayD};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Layers and losses of the golden files that the project does not have. A case of any other name must run.
const ABSENT: &[&str] = &[];

/// How near the reference is to PyTorch, and the fast executor to the reference.
const EXACT: f64 = 1e-9;
const FAST: f64 = 1e-5;

/// Named arrays: what a case should give, or gave.
type Numbers = IndexMap<String, Vec<f64>>;

/// A table of a golden file.
type Table = IndexMap<String, Arg>;

/// Runs a case on both executors and compares what it gave.
fn judge(name: &str, graph: &Graph, wanted: &Numbers, run: impl Fn(&mut Bench) -> Numbers) {
    let graph = Arc::new(graph.clone());
    let reference = run(&mut Bench::new(&graph, Box::new(Reference::new(graph.clone()))));
    for (what, wanted) in wanted {
        let got = reference.get(what).unwrap_or_else(|| panic!("{name}: there is no {what}"));
        near(&format!("{name}: {what}"), got, wanted, EXACT);
    }
    let fast = run(&mut Bench::new(&graph, Box::new(Cpu::new(graph.clone(), 1))));
    assert!(fast.keys().eq(reference.keys()));
    for (what, wanted) in &reference {
        near(&format!("{name}, fast: {what}"), &fast[what], wanted, FAST);
    }
}

/// A graph on one executor. The executor is driven directly: its numbers are f64 all the way.
struct Bench {
    graph: Arc<Graph>,
    exec: Box<dyn Executor>,
}

/// A loaded program.
struct Loaded {
    program: Arc<Program>,
    plan: PlanId,
    batch: usize,
}

impl Loaded {
    /// The value that comes from `source`, if the program uses it.
    fn find(&self, source: Source) -> Option<Value> {
        self.program.used().into_iter().find(|v| self.program.info(*v).source == source)
    }
}

impl Bench {
    fn new(graph: &Arc<Graph>, exec: Box<dyn Executor>) -> Bench {
        Bench { graph: graph.clone(), exec }
    }

    fn load(&mut self, roots: &Roots, batch: usize) -> Loaded {
        let program = Arc::new(compile(&self.graph, roots));
        let plan = self.exec.load(program.clone(), batch, PlanKind::Fused);
        Loaded { program, plan, batch }
    }

    /// Parameters and buffers by name.
    fn stored(&self, name: &str) -> (Stored, Option<Stored>) {
        if let Some(i) = self.graph.params.iter().position(|p| p.name == name) {
            return (Stored::Param(i), Some(Stored::Grad(i)));
        }
        let buffer = self.graph.buffers.iter().position(|b| b.name == name);
        (Stored::Buffer(buffer.unwrap_or_else(|| panic!("there is no `{name}`"))), None)
    }

    fn store(&mut self, prefix: &str, tensors: &IndexMap<String, Tensor>) {
        for (name, tensor) in tensors {
            let (at, _) = self.stored(&format!("{prefix}{name}"));
            self.exec.store(at, &tensor.values());
        }
    }

    fn get(&self, name: &str) -> Vec<f64> {
        self.exec.stored(self.stored(name).0)
    }

    fn grad(&self, name: &str) -> Vec<f64> {
        self.exec.stored(self.stored(name).1.unwrap_or_else(|| panic!("`{name}` has no gradient")))
    }

    /// Copies in what the next run reads; a run may use the memory for something else.
    fn write(&mut self, on: &Loaded, source: Source, data: &[f64]) {
        if let Some(value) = on.find(source) {
            self.exec.write_f64(on.plan, value, data);
        }
    }

    /// Labels go the way of a data set.
    fn write_labels(&mut self, on: &Loaded, labels: &[u32]) {
        let input = ArrayD::zeros([&[on.batch], self.graph.schema.inputs[0].shape.as_slice()].concat());
        let TargetInfo::Classes { names, .. } = &self.graph.schema.targets[0] else {
            panic!("the target is not classes")
        };
        let labels = Target::Classes { labels: Array1::from_vec(labels.to_vec()).into_dyn(), names: names.clone() };
        let data = Dataset::from_arrays(input, labels).unwrap();
        self.exec.feed(on.plan, &data.all(), false, true);
    }

    fn run(&mut self, on: &Loaded, last: Phase) {
        self.exec.run(on.plan, Phase::Forward, last, &Step::of(on.batch));
    }

    fn read(&self, on: &Loaded, value: Value) -> Vec<f64> {
        self.exec.read_f64(on.plan, value, on.batch)
    }

    fn loss(&self, on: &Loaded, name: &str) -> f64 {
        self.exec.number(on.plan, on.program.losses[name].0)
    }

    fn descend(&mut self, rate: f64) {
        self.exec.update(&SGD::new(rate), &Update { lr: rate, t: 1, powers: [1.0; 2] });
    }
}

/// The schema of one input and at most one target, `y`.
fn schema(input: &str, shape: &[usize], target: Option<TargetInfo>) -> Schema {
    Schema {
        inputs: IndexMap::from([(input.to_string(), InputInfo { shape: shape.to_vec() })]),
        targets: target.into_iter().map(|info| ("y".to_string(), info)).collect(),
    }
}

fn classes(count: usize) -> TargetInfo {
    TargetInfo::Classes { names: (0..count).map(|i| i.to_string()).collect(), per_sample: None }
}

#[derive(Deserialize)]
struct LayerFile {
    generator_check: GeneratorCheck,
    cases: Vec<LayerCase>,
}

#[derive(Deserialize)]
struct GeneratorCheck {
    #[serde(flatten)]
    tensor: Tensor,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct LayerCase {
    layer: Table,
    mode: String,
    params: IndexMap<String, Tensor>,
    buffers: IndexMap<String, Tensor>,
    /// What there is of each application.
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

impl LayerCase {
    /// `y`, or `y2` of the second application.
    fn part<T: DeserializeOwned>(&self, name: &str, application: &str) -> T {
        let part = self.rest.get(&format!("{name}{application}")).unwrap_or_else(|| panic!("there is no {name}"));
        serde_json::from_value(part.clone()).unwrap()
    }

    fn layer(&self) -> Spec {
        let mut layer = spec(&self.layer, "layer");
        if layer.name == "Softmax" {
            // Over the features of a vector: its last dimension, and its first after the batch.
            let dim = layer.args.shift_remove("dim");
            assert!(matches!(dim, Some(Arg::Int(-1 | 1))), "Softmax over {dim:?}");
        }
        layer
    }
}

#[test]
fn the_generator_is_the_one_of_the_script() {
    let GeneratorCheck { tensor, values } = read::<LayerFile>("layers.json").generator_check;
    assert_eq!(tensor.values(), values);
}

#[test]
fn layers() {
    for case in read::<LayerFile>("layers.json").cases {
        let spec = case.layer();
        if ABSENT.contains(&spec.name.as_str()) {
            continue;
        }
        layer(&spec, &case);
    }
}

fn layer(spec: &Spec, case: &LayerCase) {
    let input: Tensor = case.part("input", "");
    let (batch, shape) = (input.shape[0], &input.shape[1..]);
    let name = format!("{spec} on {:?}", input.shape);
    let mut architecture = Architecture::default();
    architecture.branches.insert("net".into(), Branch { layers: vec![spec.clone()], ..branch(&["x"], &[]) });
    let graph = Graph::resolve(&architecture, &schema("x", shape, None), &Registry::new());
    let graph = graph.unwrap_or_else(|e| panic!("{name}: {e}"));

    let train = case.mode == "train";
    let applications: &[&str] = if case.rest.contains_key("input2") { &["", "2"] } else { &[""] };
    let mut wanted = Numbers::new();
    for a in applications {
        wanted.insert(format!("y{a}"), case.part("y", a));
        let buffers: Numbers = case.part("buffers_after", a);
        wanted.extend(buffers.into_iter().map(|(name, x)| (format!("{name}{a}"), x)));
        if train {
            wanted.insert(format!("dx{a}"), case.part("dx", a));
            let grads: Numbers = case.part("grads", a);
            wanted.extend(grads.into_iter().map(|(name, x)| (format!("d {name}{a}"), x)));
        }
    }
    judge(&name, &graph, &wanted, |bench| {
        bench.store("net.0.", &case.params);
        bench.store("net.0.", &case.buffers);
        let roots = match train {
            true => Roots::BackwardFrom { buffers: true },
            // A network that predicts has no backward pass: its gradients are not compared.
            false => Roots::Infer { outputs: vec!["net".into()], losses: false },
        };
        let on = bench.load(&roots, batch);
        let mut got = Numbers::new();
        for a in applications {
            bench.write(&on, Source::Input(0), &case.part::<Tensor>("input", a).values());
            bench.write(&on, Source::OutputGrad, &case.part::<Tensor>("dy", a).values());
            bench.run(&on, Phase::Backward);
            got.insert(format!("y{a}"), bench.read(&on, on.program.outputs["net"]));
            for name in case.buffers.keys() {
                got.insert(format!("{name}{a}"), bench.get(&format!("net.0.{name}")));
            }
            if train {
                got.insert(format!("dx{a}"), bench.read(&on, on.program.input_grads["x"]));
                for name in case.params.keys() {
                    got.insert(format!("d {name}{a}"), bench.grad(&format!("net.0.{name}")));
                }
            }
        }
        got
    });
}

#[derive(Deserialize)]
struct LossCase {
    loss: Table,
    input: Tensor,
    target: LossTarget,
    value: f64,
    dx: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum LossTarget {
    Labels { labels: Vec<u32> },
    Given { values: Vec<f64>, shape: Vec<usize> },
    Generated(Tensor),
}

#[test]
fn losses() {
    for case in read::<File<LossCase>>("losses.json").cases {
        let kind = spec(&case.loss, "loss");
        if ABSENT.contains(&kind.name.as_str()) {
            continue;
        }
        loss(kind, &case);
    }
}

fn loss(kind: Spec, case: &LossCase) {
    let (batch, shape) = (case.input.shape[0], &case.input.shape[1..]);
    let (target, values) = match &case.target {
        LossTarget::Labels { .. } => (classes(shape[0]), Vec::new()),
        LossTarget::Given { values, shape } => (TargetInfo::Values { shape: shape[1..].to_vec() }, values.clone()),
        LossTarget::Generated(tensor) => (TargetInfo::Values { shape: tensor.shape[1..].to_vec() }, tensor.values()),
    };
    let name = format!("{kind} on {:?} against {target:?}", case.input.shape);
    let mut architecture = Architecture::default();
    architecture.branches.insert("net".into(), branch(&["x"], &["Identity"]));
    let weighted = Loss { of: "net".parse().unwrap(), target: None, kind, weight: 1.0 };
    architecture.losses.insert("loss".into(), weighted);
    let graph = Graph::resolve(&architecture, &schema("x", shape, Some(target)), &Registry::new());
    let graph = graph.unwrap_or_else(|e| panic!("{name}: {e}"));

    let wanted = Numbers::from([("value".into(), vec![case.value]), ("dx".into(), case.dx.clone())]);
    judge(&name, &graph, &wanted, |bench| {
        let on = bench.load(&Roots::Train { inputs: true }, batch);
        bench.write(&on, Source::Input(0), &case.input.values());
        match &case.target {
            LossTarget::Labels { labels } => bench.write_labels(&on, labels),
            _ => bench.write(&on, Source::Target(0), &values),
        }
        bench.run(&on, Phase::Backward);
        let dx = bench.read(&on, on.program.input_grads["x"]);
        Numbers::from([("value".into(), vec![bench.loss(&on, "loss")]), ("dx".into(), dx)])
    });
}

#[derive(Deserialize)]
struct Rate {
    optimizer: String,
    lr: f64,
}

#[derive(Deserialize)]
struct Net1Aux {
    branches: IndexMap<String, NetBranch>,
    losses: IndexMap<String, NetLoss>,
    optimizer: Rate,
    params: IndexMap<String, Tensor>,
    input: Tensor,
    labels: Vec<u32>,
    steps: Vec<IndexMap<String, f64>>,
    outputs_before: IndexMap<String, NetOutput>,
    first_grads: IndexMap<String, Summary>,
    outputs_after: IndexMap<String, NetOutput>,
    params_after: IndexMap<String, Summary>,
}

#[derive(Deserialize)]
struct NetBranch {
    from: NetFeeds,
    layers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NetFeeds {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct NetLoss {
    of: String,
    kind: String,
    weight: f64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NetOutput {
    Whole(Vec<f64>),
    Short(Summary),
}

#[test]
fn ten_steps_of_net1_aux() {
    let [case] = <[Net1Aux; 1]>::try_from(read::<File<Net1Aux>>("net1_aux.json").cases).ok().expect("one case");
    assert_eq!(case.optimizer.optimizer, "SGD");
    let mut architecture = Architecture::default();
    for (name, b) in &case.branches {
        let from: Vec<&str> = match &b.from {
            NetFeeds::One(tap) => vec![tap],
            NetFeeds::Several(taps) => taps.iter().map(String::as_str).collect(),
        };
        let layers: Vec<&str> = b.layers.iter().map(String::as_str).collect();
        architecture.branches.insert(name.clone(), branch(&from, &layers));
    }
    for (name, l) in &case.losses {
        architecture.losses.insert(name.clone(), common::loss(&l.of, "y", &l.kind, l.weight));
    }
    let schema = schema("pair", &case.input.shape[1..], Some(classes(2)));
    let graph = Graph::resolve(&architecture, &schema, &Registry::new()).unwrap();

    let mut wanted = Numbers::new();
    for (when, outputs) in [("before", &case.outputs_before), ("after", &case.outputs_after)] {
        for (name, output) in outputs {
            let numbers = match output {
                NetOutput::Whole(numbers) => numbers.clone(),
                NetOutput::Short(summary) => summary.list(),
            };
            wanted.insert(format!("{name} {when}"), numbers);
        }
    }
    wanted.extend(case.first_grads.iter().map(|(name, s)| (format!("d {name}"), s.list())));
    wanted.extend(case.params_after.iter().map(|(name, s)| (name.clone(), s.list())));
    for (step, losses) in case.steps.iter().enumerate() {
        wanted.extend(losses.iter().map(|(name, loss)| (format!("loss {name} at {step}"), vec![*loss])));
    }
    judge("net1_aux", &graph, &wanted, |bench| {
        bench.store("", &case.params);
        let batch = case.labels.len();
        let on = bench.load(&Roots::Train { inputs: false }, batch);
        let outputs = case.branches.keys().cloned().collect();
        let see = bench.load(&Roots::Infer { outputs, losses: false }, batch);
        let mut got = Numbers::new();
        let look = |bench: &mut Bench, when: &str, got: &mut Numbers| {
            bench.write(&see, Source::Input(0), &case.input.values());
            bench.run(&see, Phase::Forward);
            for (name, value) in &see.program.outputs {
                let whole = bench.read(&see, *value);
                let is_short = matches!(case.outputs_before[name], NetOutput::Short(_));
                got.insert(format!("{name} {when}"), if is_short { short(&whole) } else { whole });
            }
        };
        look(bench, "before", &mut got);
        for step in 0..case.steps.len() {
            bench.write(&on, Source::Input(0), &case.input.values());
            bench.write_labels(&on, &case.labels);
            bench.run(&on, Phase::Backward);
            let mut total = 0.0;
            for (name, l) in &case.losses {
                let loss = bench.loss(&on, name);
                total += l.weight * loss;
                got.insert(format!("loss {name} at {step}"), vec![loss]);
            }
            got.insert(format!("loss total at {step}"), vec![total]);
            if step == 0 {
                for name in case.first_grads.keys() {
                    got.insert(format!("d {name}"), short(&bench.grad(name)));
                }
            }
            bench.descend(case.optimizer.lr);
        }
        look(bench, "after", &mut got);
        for name in case.params_after.keys() {
            got.insert(name.clone(), short(&bench.get(name)));
        }
        got
    });
}

#[derive(Deserialize)]
struct R1Twin {
    layers: Vec<String>,
    loss: Table,
    optimizer: Rate,
    steps: usize,
    x: Tensor,
    y: Tensor,
    params: IndexMap<String, Tensor>,
    losses: Vec<LossAt>,
    params_after: IndexMap<String, Summary>,
}

#[derive(Deserialize)]
struct LossAt {
    step: usize,
    loss: f64,
}

#[test]
fn five_hundred_steps_of_r1_twin() {
    let [case] = <[R1Twin; 1]>::try_from(read::<File<R1Twin>>("r1_twin.json").cases).ok().expect("one case");
    assert_eq!(case.optimizer.optimizer, "SGD");
    let mut architecture = Architecture::default();
    let layers: Vec<&str> = case.layers.iter().map(String::as_str).collect();
    architecture.branches.insert("net".into(), branch(&["x"], &layers));
    let weighted = Loss { of: "net".parse().unwrap(), target: None, kind: spec(&case.loss, "loss"), weight: 1.0 };
    architecture.losses.insert("loss".into(), weighted);
    let target = TargetInfo::Values { shape: case.y.shape[1..].to_vec() };
    let graph =
        Graph::resolve(&architecture, &schema("x", &case.x.shape[1..], Some(target)), &Registry::new()).unwrap();

    let mut wanted = Numbers::new();
    wanted.extend(case.losses.iter().map(|at| (format!("loss at {}", at.step), vec![at.loss])));
    wanted.extend(case.params_after.iter().map(|(name, s)| (name.clone(), s.list())));
    judge("r1_twin", &graph, &wanted, |bench| {
        bench.store("net.", &case.params);
        let on = bench.load(&Roots::Train { inputs: false }, case.x.shape[0]);
        let (x, y) = (case.x.values(), case.y.values());
        let mut got = Numbers::new();
        for step in 0..=case.steps {
            let last = if step == case.steps { Phase::Loss } else { Phase::Backward };
            bench.write(&on, Source::Input(0), &x);
            bench.write(&on, Source::Target(0), &y);
            bench.run(&on, last);
            if case.losses.iter().any(|at| at.step == step) {
                got.insert(format!("loss at {step}"), vec![bench.loss(&on, "loss")]);
            }
            if last == Phase::Backward {
                bench.descend(case.optimizer.lr);
            }
        }
        for name in case.params.keys() {
            got.insert(name.clone(), short(&bench.get(&format!("net.{name}"))));
        }
        got
    });
}
