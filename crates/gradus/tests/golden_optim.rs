//! Optimisers, schedules, clipping and one training against what PyTorch computes in f64: the definitions to 1e-12, the
//! fast kernels to 1e-5. `golden/README.md` says where the numbers come from.

mod common;

use std::sync::Arc;

use common::golden::{File, Summary, Tensor, near, read, short, spec};
use common::{branch, loss};
use gradus::Registry;
use gradus::data::{Dataset, InputInfo, Schema, Target};
use gradus::exec::cpu::{Cpu, Machine};
use gradus::exec::reference::Reference;
use gradus::exec::{Executor, PlanKind, Step, Stored};
use gradus::net::{Architecture, Graph};
use gradus::optim::{OPTIMIZERS, Optimizer, Update};
use gradus::program::{Phase, Roots, compile};
use gradus::spec::{Arg, Spec, find};
use gradus::train::SCHEDULES;
use indexmap::IndexMap;
use ndarray::{Array1, ArrayD};
use serde::Deserialize;

/// How near a definition is to PyTorch, and a fast kernel to it.
const EXACT: f64 = 1e-12;
const FAST: f64 = 1e-5;

/// A table of a golden file.
type Table = IndexMap<String, Arg>;

#[derive(Deserialize)]
struct OptimizerCase {
    optimizer: Table,
    param: Tensor,
    grad: Tensor,
    after: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct ScheduleCase {
    schedule: Table,
    lr: f64,
    rates: Vec<f64>,
}

#[derive(Deserialize)]
struct OptimizerFile {
    cases: Vec<OptimizerCase>,
    schedules: Vec<ScheduleCase>,
}

fn optimizer(spec: &Spec) -> Box<dyn Optimizer> {
    find(OPTIMIZERS, "optimizer", &spec.name).unwrap().build(spec).unwrap_or_else(|e| panic!("{spec}: {e}"))
}

/// What every update needs to know, one after another.
fn updates(optimizer: &dyn Optimizer) -> impl Iterator<Item = Update> {
    let (lr, betas) = (optimizer.lr(), optimizer.betas());
    let mut u = Update { lr, t: 0, powers: [1.0; 2] };
    std::iter::repeat_with(move || {
        u = Update { lr, t: u.t + 1, powers: [u.powers[0] * betas[0], u.powers[1] * betas[1]] };
        u
    })
}

#[test]
fn ten_steps_of_every_optimizer() {
    let file: OptimizerFile = read("optimizers.json");
    for def in OPTIMIZERS {
        assert!(file.cases.iter().any(|c| c.optimizer["optimizer"] == Arg::from(def.name)), "{} has no case", def.name);
    }
    let machine = Machine::new(1);
    for case in file.cases {
        let mut spec = spec(&case.optimizer, "optimizer");
        // Adam here is never the AMSGrad variant; a sum that starts above 0 is given to the state by hand.
        assert!(matches!(spec.args.shift_remove("amsgrad"), None | Some(Arg::Bool(false))));
        let start = match spec.args.shift_remove("initial_accumulator_value") {
            Some(Arg::Float(start)) => start,
            other => other.map_or(0.0, |arg| panic!("{spec}: {arg}")),
        };
        let optimizer = optimizer(&spec);
        let (mut p, count) = (case.param.values(), optimizer.states().len());
        let n = p.len();
        let mut states = vec![vec![start; n]; count];
        let mut fast: Vec<f32> = p.iter().map(|p| *p as f32).collect();
        let mut fast_states = vec![start as f32; count * n];
        for ((t, u), wanted) in (0..).zip(updates(&*optimizer)).zip(&case.after) {
            let g = Tensor { stream: case.grad.stream + t, ..case.grad.clone() }.values();
            let mut views: Vec<&mut [f64]> = states.iter_mut().map(Vec::as_mut_slice).collect();
            optimizer.define(&u, &mut p, &g, &mut views);
            near(&format!("{spec}, step {t}"), &p, wanted, EXACT);
            let g: Vec<f32> = g.iter().map(|g| *g as f32).collect();
            optimizer.update(&machine, &u, &mut fast, &g, &mut fast_states);
            let found: Vec<f64> = fast.iter().map(|p| f64::from(*p)).collect();
            near(&format!("{spec}, step {t}, fast"), &found, wanted, FAST);
        }
    }
}

#[test]
fn schedules() {
    for case in read::<OptimizerFile>("optimizers.json").schedules {
        let spec = spec(&case.schedule, "schedule");
        let schedule = find(SCHEDULES, "schedule", &spec.name).unwrap().build(&spec).unwrap();
        let epochs = case.rates.len();
        let rates: Vec<f64> = (0..epochs).map(|epoch| schedule.lr(case.lr, epoch, epochs)).collect();
        near(&spec.to_string(), &rates, &case.rates, EXACT);
    }
}

/// Both executors of a graph, with how near each is to PyTorch.
fn executors(graph: &Arc<Graph>) -> [(Box<dyn Executor>, f64); 2] {
    [(Box::new(Reference::new(graph.clone())), EXACT), (Box::new(Cpu::new(graph.clone(), 1)), FAST)]
}

#[derive(Deserialize)]
struct ClipCase {
    clip: Table,
    grads: Vec<Tensor>,
    total_norm: Option<f64>,
    after: Vec<Vec<f64>>,
}

#[test]
fn clipping() {
    let mut architecture = Architecture::default();
    architecture.branches.insert("a".into(), branch(&["x"], &["Linear 4"]));
    architecture.branches.insert("b".into(), branch(&["image"], &["Conv2d 2 3 bias=false"]));
    let inputs =
        [("x", vec![3]), ("image", vec![1, 3, 3])].map(|(name, shape)| (name.to_string(), InputInfo { shape }));
    let schema = Schema { inputs: IndexMap::from(inputs), targets: IndexMap::new() };
    let graph = Arc::new(Graph::resolve(&architecture, &schema, &Registry::new()).unwrap());
    let mut done = 0;
    for case in read::<File<ClipCase>>("clip.json").cases {
        let spec = spec(&case.clip, "clip");
        let number = |name: &str| match spec.args.get(name) {
            Some(Arg::Float(x)) => Some(*x),
            _ => None,
        };
        for (mut exec, tolerance) in executors(&graph) {
            for (i, grad) in case.grads.iter().enumerate() {
                assert_eq!(graph.params[i].shape, grad.shape);
                exec.store(Stored::Grad(i), &grad.values());
            }
            match (spec.name.as_str(), number("norm_type")) {
                ("clip_grad_value_", _) => exec.clamp_grads(number("clip_value").unwrap()),
                ("clip_grad_norm_", Some(2.0)) => {
                    let norm = exec.grad_norm();
                    near(&spec.to_string(), &[norm], &[case.total_norm.unwrap()], tolerance);
                    // What `fit` does.
                    let factor = number("max_norm").unwrap() / (norm + 1e-6);
                    if factor < 1.0 {
                        exec.scale_grads(factor);
                    }
                }
                // Only the Euclidean norm is offered.
                ("clip_grad_norm_", _) => continue,
                _ => panic!("{spec} is new here"),
            }
            for (i, after) in case.after.iter().enumerate() {
                near(&spec.to_string(), &exec.stored(Stored::Grad(i)), after, tolerance);
            }
            done += 1;
        }
    }
    assert_eq!(done, 2 * 3, "two norms and one value, on two executors");
}

#[derive(Deserialize)]
struct Disk {
    layers: Vec<String>,
    loss: Table,
    optimizer: Table,
    batch: usize,
    input: Tensor,
    labels: Vec<u32>,
    params: IndexMap<String, Tensor>,
    losses: Vec<f64>,
    first_grads: IndexMap<String, Summary>,
    params_after: IndexMap<String, Summary>,
    buffers_after: IndexMap<String, Vec<f64>>,
    outputs_after: Vec<f64>,
}

#[test]
fn ten_steps_of_adam_on_the_disk_with_batch_norm() {
    let [case] = <[Disk; 1]>::try_from(read::<File<Disk>>("disk_batchnorm_adam.json").cases).ok().expect("one case");
    let x = ArrayD::from_shape_vec(case.input.shape.clone(), case.input.values()).unwrap().mapv(|x| x as f32);
    let labels = Array1::from_vec(case.labels.clone()).into_dyn();
    let data =
        Dataset::from_arrays(x, Target::Classes { labels, names: vec!["inside".into(), "outside".into()] }).unwrap();
    let mut architecture = Architecture::default();
    let layers: Vec<&str> = case.layers.iter().map(String::as_str).collect();
    architecture.branches.insert("net".into(), branch(&["x"], &layers));
    architecture.losses.insert("loss".into(), loss("net", "y", &spec(&case.loss, "loss").to_string(), 1.0));
    let graph = Arc::new(Graph::resolve(&architecture, &data.schema(), &Registry::new()).unwrap());
    let adam = optimizer(&spec(&case.optimizer, "optimizer"));

    for (mut exec, tolerance) in executors(&graph) {
        let param = |name: &str| graph.params.iter().position(|p| p.name == format!("net.{name}")).unwrap();
        exec.set_states(adam.states().len());
        for (i, b) in graph.buffers.iter().enumerate() {
            exec.store(Stored::Buffer(i), &vec![b.value; b.shape.iter().product()]);
        }
        for (name, tensor) in &case.params {
            exec.store(Stored::Param(param(name)), &tensor.values());
        }
        let program = Arc::new(compile(&graph, &Roots::Train { inputs: false }));
        let plan = exec.load(program.clone(), case.batch, PlanKind::Fused);
        let step = Step::of(case.batch);
        for ((batch, u), (t, wanted)) in
            data.batches(case.batch).zip(updates(&*adam)).zip(case.losses.iter().enumerate())
        {
            exec.feed(plan, &batch, true, true);
            exec.run(plan, Phase::Forward, Phase::Backward, &step);
            near(&format!("loss at {t}"), &[exec.number(plan, program.losses["loss"].0)], &[*wanted], tolerance);
            for (name, wanted) in case.first_grads.iter().filter(|_| t == 0) {
                near(&format!("d {name}"), &short(&exec.stored(Stored::Grad(param(name)))), &wanted.list(), tolerance);
            }
            exec.update(&*adam, &u);
        }
        for (name, wanted) in &case.params_after {
            near(name, &short(&exec.stored(Stored::Param(param(name)))), &wanted.list(), tolerance);
        }
        for (i, (name, wanted)) in case.buffers_after.iter().enumerate() {
            assert_eq!(graph.buffers[i].name, format!("net.{name}"));
            near(name, &exec.stored(Stored::Buffer(i)), wanted, tolerance);
        }
        let program = Arc::new(compile(&graph, &Roots::Infer { outputs: vec!["net".into()], losses: false }));
        let plan = exec.load(program.clone(), case.batch, PlanKind::Fused);
        exec.feed(plan, &data.range(0..case.batch), true, false);
        exec.run(plan, Phase::Forward, Phase::Forward, &step);
        let y = exec.read_f64(plan, program.outputs["net"], case.batch);
        near("outputs", &y, &case.outputs_after, tolerance);
    }
}
