//! `gradus plan`.

use std::sync::Arc;

use clap::Args;
use gradus::exec::PlanKind;
use gradus::exec::cpu::{self, StoreLayout};
use gradus::layers::shape_text;
use gradus::net::{Graph, ParamInfo};
use gradus::program::{Phase, Program, Roots, compile};
use serde::Serialize;

use crate::args;
use crate::failure::Outcome;
use crate::print::{self, Align, bytes, count, operations};
use crate::subject::Subject;

/// Print shapes, parameters, work and memory of a network before it runs
#[derive(Args, Debug)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Examples:
  gradus plan disk
  gradus plan pairs --arm net2 --batch 100
  gradus plan disk --memory     where every value lies"
)]
pub struct Plan {
    #[command(flatten)]
    subject: args::Subject,
    /// Samples in a batch; the study's when left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch: Option<u64>,
    /// Print also where every value of the training plans lies
    #[arg(long)]
    memory: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What there is to know.
#[derive(Serialize)]
struct Report {
    title: String,
    batch: usize,
    parameters: usize,
    frozen: usize,
    layers: Vec<Row>,
    total: Work,
    memory: Vec<Arena>,
}

/// A layer or a loss.
#[derive(Serialize)]
struct Row {
    path: String,
    layer: String,
    output: Vec<usize>,
    parameters: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    shares: Option<String>,
    #[serde(flatten)]
    work: Work,
}

/// Floating-point operations of a batch.
#[derive(Clone, Copy, Serialize)]
struct Work {
    forward_flops: u64,
    backward_flops: u64,
}

/// Memory of a plan.
#[derive(Serialize)]
struct Arena {
    plan: &'static str,
    /// Parameters, gradients, optimiser state, buffers.
    store_bytes: u64,
    /// Values of a step: inputs, activations, their gradients, scratch.
    work_bytes: u64,
    peak_bytes: u64,
    #[serde(skip)]
    text: String,
}

impl Plan {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let subject = Subject::open(&self.subject)?;
        let graph = subject.graph()?;
        let settings = subject.training();
        let batch = self.batch.map_or(settings.batch, |b| b as usize).min(1_000_000);
        let states = settings.make_optimizer()?.states().len();
        let report = Report::new(subject.title(), &graph, batch, states);
        if self.json {
            return print::json(&report);
        }
        let mut text = report.text();
        if self.memory {
            for arena in &report.memory {
                text +=
                    &format!("\n{}: region start+numbers, layout, op\n{}", arena.plan, print::indented(&arena.text));
            }
        }
        print::text(&text)
    }
}

impl Report {
    fn new(title: String, graph: &Graph, batch: usize, states: usize) -> Report {
        let trains = if graph.losses.is_empty() {
            Roots::BackwardFrom { buffers: true }
        } else {
            Roots::Train { inputs: false }
        };
        let program = Arc::new(compile(graph, &trains));
        let work = |path: &str| {
            let flops = |phase| program.cost(phase, path, batch).flops;
            Work { forward_flops: flops(Phase::Forward) + flops(Phase::Loss), backward_flops: flops(Phase::Backward) }
        };
        let mut layers = Vec::new();
        for branch in &graph.branches {
            for layer in &branch.layers {
                let parameters = layer.params.iter().map(|(_, i)| graph.params[*i].len()).sum();
                layers.push(Row {
                    path: layer.path.clone(),
                    layer: print::layer(&*layer.layer),
                    output: layer.output.clone(),
                    parameters,
                    shares: branch.shares.clone().filter(|_| parameters > 0),
                    work: work(&layer.path),
                });
            }
        }
        for loss in &graph.losses {
            let path = format!("loss.{}", loss.name);
            let work = work(&path);
            layers.push(Row {
                path,
                layer: print::loss(&*loss.loss),
                output: Vec::new(),
                parameters: 0,
                shares: None,
                work,
            });
        }
        let predicts =
            Roots::Infer { outputs: graph.outputs.iter().take(1).map(|(n, _)| n.clone()).collect(), losses: false };
        let arena = |plan, program: &Arc<Program>, kind, states| {
            let layout = StoreLayout::new(graph, states);
            let lowered = cpu::Plan::new(program.clone(), &layout, batch, 1, kind);
            let (store_bytes, work_bytes) = (4 * layout.numbers() as u64, lowered.bytes() as u64);
            Arena { plan, store_bytes, work_bytes, peak_bytes: store_bytes + work_bytes, text: lowered.describe() }
        };
        let all: usize = graph.params.iter().map(ParamInfo::len).sum();
        Report {
            title,
            batch,
            parameters: graph.parameters(),
            frozen: all - graph.parameters(),
            total: work(""),
            layers,
            memory: vec![
                arena("stepwise", &program, PlanKind::Stepwise, states),
                arena("fused", &program, PlanKind::Fused, states),
                arena("predict", &Arc::new(compile(graph, &predicts)), PlanKind::Fused, 0),
            ],
        }
    }

    fn text(&self) -> String {
        let frozen = if self.frozen == 0 { String::new() } else { format!(", {} frozen", count(self.frozen as u64)) };
        let mut text = format!(
            "{}: {} parameters{frozen}, batches of {}\n\n",
            self.title,
            count(self.parameters as u64),
            count(self.batch as u64)
        );
        let mut rows = vec![["layer", "", "output", "parameters", "forward", "backward"].map(String::from).to_vec()];
        for row in &self.layers {
            let parameters = match &row.shares {
                Some(owner) => format!("those of {owner}"),
                None if row.parameters == 0 => String::new(),
                None => count(row.parameters as u64),
            };
            let output = if row.path.starts_with("loss.") { "a number".to_string() } else { shape_text(&row.output) };
            rows.push(vec![
                row.path.clone(),
                row.layer.clone(),
                output,
                parameters,
                operations(row.work.forward_flops),
                operations(row.work.backward_flops),
            ]);
        }
        rows.push(vec![
            "all".into(),
            String::new(),
            String::new(),
            count((self.parameters + self.frozen) as u64),
            operations(self.total.forward_flops),
            operations(self.total.backward_flops),
        ]);
        use Align::{Left, Right};
        text += &print::table(&[Left, Left, Left, Right, Right, Right], &rows);
        let (forward, backward) = (self.total.forward_flops, self.total.backward_flops);
        let each = (forward + backward) / self.batch as u64;
        text +=
            &format!("forward and backward in floating-point operations a batch; {} a sample\n\n", operations(each));
        let mut rows = vec![["plan", "store", "work", "peak"].map(String::from).to_vec()];
        for a in &self.memory {
            rows.push(vec![a.plan.to_string(), bytes(a.store_bytes), bytes(a.work_bytes), bytes(a.peak_bytes)]);
        }
        text += &print::table(&[Left, Right, Right, Right], &rows);
        text += "store: parameters, gradients, optimiser state, buffers; work: the values of one batch (training in `fit` takes a large one in parts), for which memory is used again\n";
        text
    }
}
