//! What is written down of an arm: its key, and its network as it can be drawn.

use gradus::error::Result;
use gradus::net::{Graph, Join};
use gradus::program::{Phase, Roots, compile};
use gradus::rng::Seed;
use gradus_record::{ArmRecord, Document, Drawing, DrawnBranch, DrawnLayer, DrawnLoss, Port, Tuned};
use indexmap::IndexMap;

use super::engine::stored;
use crate::{ArmSettings, Origin};

/// The key of an arm: what it does, whatever it is called.
pub fn key(arm: &ArmSettings) -> String {
    hash(&arm.identity())
}

/// 16 hexadecimal digits.
pub(super) fn hash(text: &str) -> String {
    let [a, b] = Seed(0).key(text).words();
    format!("{a:08x}{b:08x}")
}

fn resolved(arm: &ArmSettings) -> Result<Document> {
    Document::of(arm).map_err(stored)
}

/// The record of an arm at its place in the file; `origin` where [matrix] made it, `tuned` where its values were chosen. One that was
/// tuned is another arm than one that has the same values by itself: both may be in a study.
///
/// # Errors
/// When the network does not resolve against its data.
pub fn record(arm: &ArmSettings, position: usize, origin: Option<&Origin>, tuned: Option<Tuned>) -> Result<ArmRecord> {
    let graph = arm.graph()?;
    let flops = |roots: &Roots, last: Phase| {
        let program = compile(&graph, roots);
        [Phase::Forward, Phase::Loss, Phase::Backward]
            .iter()
            .filter(|p| **p <= last)
            .map(|p| program.cost(*p, "", 1).flops)
            .sum()
    };
    let main = vec![graph.outputs[0].0.clone()];
    Ok(ArmRecord {
        key: if tuned.is_some() { hash(&format!("{} tuned", arm.identity())) } else { key(arm) },
        name: arm.name.clone(),
        position,
        active: true,
        made_from: origin.map(|o| o.from.clone()),
        factors: origin.map_or_else(IndexMap::new, |o| o.factors.clone()),
        tuned,
        resolved: resolved(arm)?,
        parameters: graph.parameters() as u64,
        flops_forward: flops(&Roots::Infer { outputs: main, losses: false }, Phase::Forward),
        flops_training: flops(&Roots::Train { inputs: false }, Phase::Backward),
        drawing: drawing(&graph),
    })
}

fn drawing(graph: &Graph) -> Drawing {
    let owned = |params: &[(&'static str, usize)]| params.iter().map(|(_, i)| graph.params[*i].len() as u64).sum();
    let branches = graph.branches.iter().map(|b| {
        let written = &graph.architecture.branches[&b.name];
        DrawnBranch {
            name: b.name.clone(),
            from: written.from.iter().map(ToString::to_string).collect(),
            join: if b.join == Join::Add { "add" } else { "concat" }.to_string(),
            shares: b.shares.clone(),
            layers: b
                .layers
                .iter()
                .map(|l| DrawnLayer {
                    path: l.path.clone(),
                    text: short(&l.layer.spec()),
                    output: l.output.clone(),
                    parameters: if b.shares.is_some() { 0 } else { owned(&l.params) },
                })
                .collect(),
        }
    });
    let losses = graph.losses.iter().map(|l| {
        let written = &graph.architecture.losses[&l.name];
        let (target, _) = graph.schema.targets.get_index(l.target).expect("resolved");
        DrawnLoss {
            name: l.name.clone(),
            of: written.of.to_string(),
            target: Some(l.target_index.map_or(target.clone(), |i| format!("{target}[{i}]"))),
            kind: written.kind.name.clone(),
            weight: l.weight,
        }
    });
    let port = |(name, shape): (&String, &Vec<usize>)| Port { name: name.clone(), shape: shape.clone() };
    Drawing {
        inputs: graph.schema.inputs.iter().map(|(name, info)| port((name, &info.shape))).collect(),
        branches: branches.collect(),
        losses: losses.collect(),
        outputs: graph.outputs.iter().map(|(name, shape)| port((name, shape))).collect(),
    }
}

/// `Conv2d 16 3 padding=1`: as a person would write it.
fn short(spec: &gradus::spec::Spec) -> String {
    let order = gradus::Registry::new().layer_order(&spec.name).unwrap_or_default();
    let mut positional = true;
    let mut text = spec.name.clone();
    for (i, (key, value)) in spec.args.iter().enumerate() {
        positional &= order.get(i).is_some_and(|k| k == key);
        text += &if positional { format!(" {value}") } else { format!(" {key}={value}") };
    }
    text
}
