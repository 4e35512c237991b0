//! `gradus explain`.

use clap::Args;
use gradus::data::TargetInfo;
use gradus::layers::shape_text;
use gradus::net::{Graph, ParamInfo};
use gradus::optim::OPTIMIZERS;
use gradus::program::{Roots, compile};
use gradus::spec::{Spec, find};

use crate::args;
use crate::failure::Outcome;
use crate::print::{self, Align, count, many};
use crate::subject::Subject;

/// Print what a network computes: forward, loss, backward and update, line by line
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  gradus explain disk
  gradus explain pairs --arm net2 --predict     what is left of it when it predicts
  gradus explain disk.safetensors")]
pub struct Explain {
    #[command(flatten)]
    subject: args::Subject,
    /// Only what a prediction computes
    #[arg(long)]
    predict: bool,
}

impl Explain {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let subject = Subject::open(&self.subject)?;
        let graph = subject.graph()?;
        let mut text = header(&subject.title(), &graph, self.predict);
        if !self.predict {
            text += NOTATION;
        }
        let roots = match self.predict {
            true => {
                Roots::Infer { outputs: graph.outputs.iter().map(|(name, _)| name.clone()).collect(), losses: false }
            }
            false if graph.losses.is_empty() => Roots::BackwardFrom { buffers: true },
            false => Roots::Train { inputs: false },
        };
        text += &format!("\n{}", compile(&graph, &roots).explain());
        if !self.predict {
            text += &update(&subject.optimizer(), &graph)?;
        }
        print::text(&text)
    }
}

const NOTATION: &str = "
  d x is the derivative of the loss by x; d into net.2 is that by what net.2 reads; ∗ multiplies number by number;
  N counts the numbers of a mean
";

/// Inputs, targets, parameters, sharing, losses; the last word for a prediction is its output.
fn header(title: &str, graph: &Graph, predict: bool) -> String {
    let mut rows: Vec<[String; 3]> = Vec::new();
    for (name, info) in &graph.schema.inputs {
        rows.push(["input".into(), name.clone(), shape_text(&info.shape)]);
    }
    for (i, (name, info)) in graph.schema.targets.iter().enumerate() {
        if !predict && graph.losses.iter().any(|l| l.target == i) {
            rows.push(["target".into(), name.clone(), target(info)]);
        }
    }
    for (name, dims) in &graph.outputs {
        rows.push(["output".into(), name.clone(), shape_text(dims)]);
    }
    for p in &graph.params {
        let frozen = if p.trained { "" } else { ", frozen" };
        rows.push([
            "parameter".into(),
            p.name.clone(),
            format!("{}, {}{frozen}", shape_text(&p.shape), many(p.len(), "number")),
        ]);
    }
    for branch in &graph.branches {
        if let Some(owner) = &branch.shares {
            rows.push([
                "shared".into(),
                branch.name.clone(),
                format!("uses the weights of {owner}: their gradients add up"),
            ]);
        }
    }
    for b in &graph.buffers {
        rows.push(["buffer".into(), b.name.clone(), format!("{}, kept but not trained", shape_text(&b.shape))]);
    }
    for loss in graph.losses.iter().filter(|_| !predict) {
        let target = graph.schema.targets.get_index(loss.target).map_or("", |(name, _)| name);
        let index = loss.target_index.map_or(String::new(), |i| format!("[{i}]"));
        let of = &graph.architecture.losses[&loss.name].of;
        let kind = print::loss(&*loss.loss);
        let what = format!("{kind} of {of} against {target}{index}, times {}", loss.weight);
        rows.push(["loss".into(), loss.name.clone(), what]);
    }
    let mut last = String::new();
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|[kind, name, what]| {
            let shown = if kind == last { String::new() } else { kind.clone() };
            last = kind;
            vec![shown, name, what]
        })
        .collect();
    let all: usize = graph.params.iter().map(ParamInfo::len).sum();
    let frozen = all - graph.parameters();
    let frozen = if frozen == 0 { String::new() } else { format!(", {} frozen", count(frozen as u64)) };
    format!(
        "{title}: {} trained parameters{frozen}; B is the batch\n{}",
        count(graph.parameters() as u64),
        print::indented(&print::table(&[Align::Left; 3], &rows))
    )
}

/// What a target is.
pub fn target(info: &TargetInfo) -> String {
    match info {
        TargetInfo::Classes { names, per_sample } => {
            let labels = per_sample.map_or(String::new(), |k| format!("{k} labels of "));
            let shown = if names.len() <= 10 { format!(": {}", names.join(", ")) } else { String::new() };
            format!("{labels}{} classes{shown}", names.len())
        }
        TargetInfo::Values { shape } => shape_text(shape),
    }
}

/// What the optimiser does with the gradients.
fn update(optimizer: &Spec, graph: &Graph) -> Outcome<String> {
    let def = find(OPTIMIZERS, "optimizer", &optimizer.name)?;
    let states = def.build(optimizer)?.states();
    let keeps = match states {
        [] => String::new(),
        _ => format!("; it keeps {} for each", states.join(", ")),
    };
    let written = |name: &str| optimizer.args.get(name).map(ToString::to_string);
    let args = def.args.iter().filter_map(|a| {
        let value = written(a.name).or_else(|| a.default.map(str::to_string)).filter(|v| !v.is_empty())?;
        Some(format!("{} = {value}", a.name))
    });
    Ok(format!(
        "update\n  {}, for each of {} p with its gradient g{keeps}\n  {}\n  {}\n",
        optimizer.name,
        many(graph.parameters(), "number"),
        def.formula,
        args.collect::<Vec<_>>().join(", ")
    ))
}
