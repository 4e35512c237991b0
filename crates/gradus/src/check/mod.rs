//! Gradient checks: is the backward pass the derivative of the forward pass?
//!
//! Everything runs in f64 on the [`Reference`] executor, by the definitions that every other executor is judged by. Of a
//! network the checked number f is the weighted sum of its losses; of a layer (and of a network's `backward_from`) it is
//! Σ c·y with random factors c on the outputs.
//!
//! **Differences.** With D(h) = (f(+h) − f(−h)) / 2h, the derivative is taken as (4·D(h) − D(2h)) / 3, whose error is of
//! fourth order, at h = 2⁻¹³: along every single number of an array while that is affordable, else along random numbers
//! and a random direction over the whole array.
//!
//! **Error.** |a − n| / (|a| + |n| + floor), a from the backward pass and n by differences. The floor is 1/1000 of the sum
//! of the magnitudes of f's terms, and 1e7 times what rounding may do to the differences (measured: how far f is from
//! smooth when every number it is made from moves by 1e-8 of itself). So at a tolerance of 1e-6 a wrong gradient passes only if it is
//! wrong by less than 1e-9 of f, or by less than differences in f64 can tell, however small the right one is.
//!
//! **Kinks and ties** (ReLU at 0, equal numbers under a max-pool). Where f is smooth, the second difference at 2h is four
//! times that at h up to h⁴; a kink within the step breaks that, wherever it lies. Such points are not judged but drawn
//! again: for a layer all numbers, for a network the direction, with shorter and shorter steps.
//!
//! **Accumulation.** Parameter gradients start as random numbers. A fresh backward pass must overwrite them; a second one,
//! told to accumulate, must add the same gradient again. So `=` for `+=` and the reverse both fail.
//!
//! ```
//! use std::sync::Arc;
//! use gradus::{check, layers::Linear, rng::Seed};
//! let report = check::layer(Arc::new(Linear::new(3)), &[5], 2, Seed(1))?;
//! assert!(report.passed(1e-6), "{report}");
//! # Ok::<(), gradus::Error>(())
//! ```

use std::sync::Arc;

use indexmap::IndexMap;

use crate::data::{Batch, InputInfo, Schema, TargetInfo};
use crate::error::Result;
#[cfg(doc)]
use crate::exec::reference::Reference;
use crate::fail;
use crate::layers::Layer;
use crate::losses::Loss;
use crate::net::{Architecture, Branch, Graph, Net, Tap};
use crate::program::{Roots, compile};
use crate::registry::Registry;
use crate::rng::Seed;

mod probe;
mod report;

#[doc(hidden)]
pub use probe::{Gradients, Probe};
pub use report::{Report, Row};

/// The tolerance that a right backward pass meets.
pub const TOLERANCE: f64 = 1e-6;

/// Checks one layer, for `batch` samples of shape `input`: the gradients of its parameters and of its input.
///
/// # Errors
/// [`Kind::Shape`](crate::error::Kind::Shape) when the layer does not take such samples.
pub fn layer(layer: Arc<dyn Layer>, input: &[usize], batch: usize, seed: Seed) -> Result<Report> {
    Ok(Probe::layer(layer, input, batch, seed)?.report())
}

/// Checks one loss with a random weight, for `batch` samples of shape `input` against a target: the gradient of its input.
///
/// # Errors
/// [`Kind::Shape`](crate::error::Kind::Shape) when the loss does not compare the two.
pub fn loss(loss: Arc<dyn Loss>, input: &[usize], target: &TargetInfo, batch: usize, seed: Seed) -> Result<Report> {
    Ok(Probe::loss(loss, input, target, batch, seed)?.report())
}

/// Checks a whole architecture with random parameters: the gradients of the losses, and from a given gradient of the main
/// output (rows `backward_from: …`). Every parameter and input is checked in random directions and at random numbers, and all
/// together. A tenth of each input's spread is added to it as noise, for real data are full of ties.
///
/// # Errors
/// [`Kind::Data`](crate::error::Kind::Data) when the batch does not fit the network.
pub fn network(graph: &Graph, batch: &Batch<'_>, seed: Seed) -> Result<Report> {
    check(graph, None, batch, seed)
}

/// As [`network`], at the parameters that the network has.
///
/// # Errors
/// As [`network`].
pub fn net(net: &Net, batch: &Batch<'_>, seed: Seed) -> Result<Report> {
    check(net.graph(), Some(net), batch, seed)
}

fn check(graph: &Graph, at: Option<&Net>, batch: &Batch<'_>, seed: Seed) -> Result<Report> {
    let mut report = Report::default();
    for probe in Probe::network(graph, at, batch, seed)? {
        let place = if probe.program().output_grad.is_some() { "backward_from: " } else { "" };
        report.extend(place, probe.report());
    }
    Ok(report)
}

/// Checks each layer and each loss of an architecture by itself, for `batch` samples of the shapes they have there; rows
/// begin with their paths. Layers that are written alike and take the same shape are checked once.
///
/// # Errors
/// None of a resolved graph, but for a batch of 0.
pub fn parts(graph: &Graph, batch: usize, seed: Seed) -> Result<Report> {
    let mut report = Report::default();
    let mut seen = Vec::new();
    for node in graph.branches.iter().flat_map(|b| &b.layers) {
        let mut spec = node.layer.spec();
        spec.label = None;
        let alike = (spec, node.input.clone());
        if seen.contains(&alike) {
            continue;
        }
        seen.push(alike);
        report.extend(&format!("{}: ", node.path), layer(node.layer.clone(), &node.input, batch, seed)?);
    }
    for node in &graph.losses {
        let mut target = graph.schema.targets[node.target].clone();
        if let (Some(_), TargetInfo::Classes { per_sample, .. }) = (node.target_index, &mut target) {
            *per_sample = None;
        }
        let input = graph.branches[node.branch].shape(node.after);
        report.extend(&format!("loss.{}: ", node.name), loss(node.loss.clone(), input, &target, batch, seed)?);
    }
    Ok(report)
}

/// A graph of one branch, `net`, with one input `x`: a layer, or nothing but a loss.
fn small(
    layer: Option<Arc<dyn Layer>>,
    input: &[usize],
    loss: Option<(Arc<dyn Loss>, &TargetInfo, f64)>,
) -> Result<Graph> {
    let layers = layer.iter().map(|l| l.spec()).collect();
    let mut architecture = Architecture::default();
    let branch = Branch { from: vec!["x".parse::<Tap>()?], layers, ..Branch::default() };
    architecture.branches.insert("net".to_string(), branch);
    let made = layer.into_iter().map(|l| (("net".to_string(), 0), l)).collect();
    let mut schema = Schema { inputs: IndexMap::new(), targets: IndexMap::new() };
    schema.inputs.insert("x".to_string(), InputInfo { shape: input.to_vec() });
    let mut losses = IndexMap::new();
    if let Some((loss, target, weight)) = loss {
        schema.targets.insert("y".to_string(), target.clone());
        let written = crate::net::Loss { of: "net".parse()?, target: None, kind: loss.spec(), weight };
        architecture.losses.insert("loss".to_string(), written);
        losses.insert("loss".to_string(), loss);
    }
    Graph::resolve_made(&architecture, &schema, &Registry::new(), made, &losses)
}

fn enough(graph: &Graph, batch: usize) -> Result<()> {
    let least = graph.least_batch.max(1);
    if batch < least {
        fail!(Argument, "the gradient check needs batches of at least {least}, found {batch}");
    }
    Ok(())
}

impl Probe {
    /// See [`layer`].
    ///
    /// # Errors
    /// As there.
    pub fn layer(layer: Arc<dyn Layer>, input: &[usize], batch: usize, seed: Seed) -> Result<Probe> {
        let graph = Arc::new(small(Some(layer), input, None)?);
        enough(&graph, batch)?;
        let program = compile(&graph, &Roots::BackwardFrom { buffers: true });
        Ok(Probe::of_part(graph, program, batch, seed))
    }

    /// See [`loss`].
    ///
    /// # Errors
    /// As there.
    pub fn loss(loss: Arc<dyn Loss>, input: &[usize], target: &TargetInfo, batch: usize, seed: Seed) -> Result<Probe> {
        let weight = 0.25 + 2.0 * seed.key("check").child("weight").stream().uniform();
        let graph = Arc::new(small(None, input, Some((loss, target, weight)))?);
        enough(&graph, batch)?;
        let program = compile(&graph, &Roots::Train { inputs: true });
        Ok(Probe::of_part(graph, program, batch, seed))
    }

    /// See [`network`]: one probe for the losses (where there are some), one for `backward_from`.
    ///
    /// # Errors
    /// As there.
    pub fn network(graph: &Graph, at: Option<&Net>, batch: &Batch<'_>, seed: Seed) -> Result<Vec<Probe>> {
        let losses = !graph.losses.is_empty();
        crate::exec::check_batch(graph, batch, losses)?;
        enough(graph, batch.len())?;
        let graph = Arc::new(graph.clone());
        let mut roots = vec![Roots::BackwardFrom { buffers: true }];
        if losses {
            roots.insert(0, Roots::Train { inputs: true });
        }
        let probe = |roots| Probe::of_network(graph.clone(), compile(&graph, roots), at, batch, seed);
        Ok(roots.iter().map(probe).collect())
    }
}
