//! `gradus inspect`.

use std::path::{Path, PathBuf};

use clap::Args;
use gradus::Registry;
use gradus::layers::shape_text;
use gradus::model::{ModelFile, Training};
use gradus::net::{Graph, Join};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Value, json};

use super::explain::target;
use crate::failure::Outcome;
use crate::print::{self, Align, bytes, count, many, number};

/// Print what is in a model file or a checkpoint
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  gradus inspect disk.safetensors")]
pub struct Inspect {
    /// A model file or a checkpoint
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// An array of the file.
#[derive(Serialize)]
struct Array<'f> {
    name: &'f str,
    shape: &'f [usize],
    /// `parameter`, `frozen`, `buffer`, or what a checkpoint has beside them: `state`, `best`.
    role: &'static str,
    mean: f64,
    sd: f64,
    min: f64,
    max: f64,
}

impl Inspect {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let file = ModelFile::read(&self.model)?;
        let graph = file.graph(&Registry::new()).map_err(|e| e.at(self.model.display()))?;
        let size = std::fs::metadata(&self.model).map_or(0, |m| m.len());
        let arrays = arrays(&file, &graph);
        if self.json {
            return print::json(&document(&self.model, size, &file, &graph, &arrays));
        }
        let meta = &file.meta;
        let kind = if meta.training.is_some() { "a checkpoint" } else { "a model" };
        let numbers = if meta.f64 { "f64" } else { "f32" };
        let mut text = format!(
            "{}: {kind} of {}, {}, format {}, {numbers}, written by Gradus {}\n",
            self.model.display(),
            many(graph.parameters(), "trained parameter"),
            bytes(size),
            meta.format,
            meta.gradus
        );
        if let Some(training) = &meta.training {
            text += &format!("\ntraining\n{}", print::indented(&progress(training)));
        }
        if !meta.notes.is_empty() {
            let rows: Vec<_> = meta.notes.iter().map(|(k, v)| vec![k.clone(), note(v)]).collect();
            text += &format!("\nnotes\n{}", print::indented(&print::table(&[Align::Left; 2], &rows)));
        }
        text += &format!("\nnetwork\n{}", print::indented(&tree(&graph)));
        text += &format!("\nnormalisation\n{}", print::indented(&normalisation(&file)));
        text += &format!("\narrays\n{}", print::indented(&array_table(&arrays)));
        print::text(&text)
    }
}

fn document(path: &Path, size: u64, file: &ModelFile, graph: &Graph, arrays: &[Array<'_>]) -> Value {
    let meta = &file.meta;
    let training = meta.training.as_ref().map(|t| {
        json!({
            "epochs": t.progress.epochs,
            "of": t.settings.epochs,
            "best": t.progress.best.map(|(loss, epoch)| json!({ "epoch": epoch, "validation loss": loss })),
            "stopped": t.progress.stopped,
            "samples": t.samples,
            "updates": t.updates,
            "settings": t.settings,
        })
    });
    json!({
        "file": path,
        "bytes": size,
        "kind": if training.is_some() { "checkpoint" } else { "model" },
        "format": meta.format,
        "gradus": meta.gradus,
        "rng": meta.rng,
        "dtype": if meta.f64 { "f64" } else { "f32" },
        "parameters": graph.parameters(),
        "architecture": meta.architecture,
        "schema": meta.schema,
        "outputs": graph.outputs.iter().map(|(n, shape)| json!({ "name": n, "shape": shape })).collect::<Vec<_>>(),
        "normalisation": meta.normalisation,
        "arrays": arrays,
        "training": training,
        "notes": meta.notes,
    })
}

fn progress(t: &Training) -> String {
    let p = &t.progress;
    let mut text = format!(
        "epoch {} of {}, {}, {} of {} on {}\n",
        p.epochs,
        t.settings.epochs,
        many(t.updates as usize, "update"),
        t.settings.optimizer,
        many(t.settings.batch, "sample"),
        count(t.samples as u64)
    );
    if let Some((loss, epoch)) = p.best {
        text += &format!("lowest validation loss {} after epoch {epoch}\n", number(loss));
    }
    if let Some(why) = &p.stopped {
        text += &format!("stopped: {why}\n");
    }
    if let Some(last) = p.history.last() {
        text += &format!("loss {} in the last epoch\n", number(last.loss));
    }
    text
}

/// A note in a line: `key = value` for what is in an object.
fn note(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let parts = map.iter().map(|(k, v)| {
                if v.is_object() { format!("{k} = ({})", note(v)) } else { format!("{k} = {}", note(v)) }
            });
            parts.collect::<Vec<_>>().join(", ")
        }
        Value::Number(n) if n.is_f64() && n.to_string().len() > 8 => number(n.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Inputs, branches with what feeds them and their layers, losses.
fn tree(graph: &Graph) -> String {
    use Align::{Left, Right};
    let mut text = String::new();
    for (name, info) in &graph.schema.inputs {
        text += &format!("input {name} {}\n", shape_text(&info.shape));
    }
    for (name, info) in &graph.schema.targets {
        text += &format!("target {name}: {}\n", target(info));
    }
    for (branch, written) in graph.branches.iter().zip(graph.architecture.branches.values()) {
        let from: Vec<String> = written.from.iter().map(ToString::to_string).collect();
        let joined = match (from.len(), branch.join) {
            (1, _) => from[0].clone(),
            (_, Join::Concat) => format!("concat of {}", from.join(", ")),
            (_, Join::Add) => from.join(" + "),
        };
        let shares = branch.shares.as_ref().map_or(String::new(), |owner| format!(", with the weights of {owner}"));
        text += &format!("{} ← {joined} {}{shares}\n", branch.name, shape_text(&branch.input));
        let last = branch.layers.len().saturating_sub(1);
        let rows = branch.layers.iter().enumerate().map(|(i, layer)| {
            let own: usize = layer.params.iter().map(|(_, p)| graph.params[*p].len()).sum();
            let own = if own == 0 || branch.shares.is_some() { String::new() } else { count(own as u64) };
            let edge = if i == last { "└" } else { "├" };
            vec![format!("{edge} {}", layer.path), print::layer(&*layer.layer), shape_text(&layer.output), own]
        });
        text += &print::table(&[Left, Left, Left, Right], &rows.collect::<Vec<_>>());
    }
    for (name, shape) in &graph.outputs {
        text += &format!("output {name} {}\n", shape_text(shape));
    }
    for loss in &graph.losses {
        let of = &graph.architecture.losses[&loss.name].of;
        let target = graph.schema.targets.get_index(loss.target).map_or("", |(n, _)| n);
        let index = loss.target_index.map_or(String::new(), |i| format!("[{i}]"));
        text += &format!(
            "loss {}: {} × {} of {of} against {target}{index}\n",
            loss.name,
            loss.weight,
            print::loss(&*loss.loss)
        );
    }
    text
}

fn normalisation(file: &ModelFile) -> String {
    let Some(n) = &file.meta.normalisation else { return "none: inputs are taken as they are\n".to_string() };
    let few = |list: &[f64]| {
        let shown: Vec<String> = list.iter().take(4).map(|x| number(*x)).collect();
        let more = if list.len() > 4 { format!(" … ({} in all)", list.len()) } else { String::new() };
        format!("{}{more}", shown.join(", "))
    };
    n.inputs
        .iter()
        .map(|(name, s)| format!("{name}: (x − mean) / sd, mean {}; sd {}\n", few(&s.mean), few(&s.sd)))
        .collect()
}

fn arrays<'f>(file: &'f ModelFile, graph: &Graph) -> Vec<Array<'f>> {
    let order: IndexMap<&str, &'static str> =
        (graph.params.iter().map(|p| (&*p.name, if p.trained { "parameter" } else { "frozen" })))
            .chain(graph.buffers.iter().map(|b| (&*b.name, "buffer")))
            .collect();
    let mut list: Vec<Array<'f>> = file
        .tensors
        .iter()
        .map(|(name, (shape, data))| {
            let n = data.len().max(1) as f64;
            let mean = data.iter().sum::<f64>() / n;
            let variance = data.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
            let other = if name.starts_with("best.") { "best" } else { "state" };
            Array {
                name,
                shape,
                role: order.get(name.as_str()).copied().unwrap_or(other),
                mean,
                sd: variance.sqrt(),
                min: data.iter().copied().fold(f64::INFINITY, f64::min),
                max: data.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            }
        })
        .collect();
    list.sort_by_key(|a| order.get_index_of(a.name).unwrap_or(usize::MAX));
    list
}

fn array_table(arrays: &[Array<'_>]) -> String {
    use Align::{Left, Right};
    let mut rows = vec![["", "", "", "mean", "sd", "min", "max"].map(String::from).to_vec()];
    for a in arrays {
        let numbers = [a.mean, a.sd, a.min, a.max].map(number);
        rows.push([a.name.to_string(), shape_text(a.shape), a.role.to_string()].into_iter().chain(numbers).collect());
    }
    print::table(&[Left, Left, Left, Right, Right, Right, Right], &rows)
}
