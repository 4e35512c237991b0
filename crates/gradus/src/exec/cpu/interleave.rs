//! Which images of a plan lie interleaved, sixteen samples along the lanes: those of so few channels, or of such a number of them,
//! that channels would leave more lanes empty than samples do.
//!
//! Ops link images: they take all of theirs interleaved, or none. What comes from outside or goes there is not, but for inputs,
//! which are turned when they are copied in.

use gradus_kernels::layout::SAMPLES;

use super::layout::{HALF, LANES};
use crate::exec::Step;
use crate::program::{Program, Source, Value};

/// What a lane takes in a product along channels, in halves of registers or in whole ones, and along samples: measured.
const HALVES: f64 = 1.25;
const WHOLE: f64 = 1.0;
const ACROSS: f64 = 1.15;

/// Where each of sixteen samples has a sum of its own, as gradients of weights do, it takes as long as so many terms more.
const SUM: f64 = 20.0;

/// Images of more channels than these and more numbers than those leave the caches before they have been used again.
const MANY_CHANNELS: usize = 32;
const LARGE: usize = 1 << 15;

/// Lanes for each channel of `channels`, times what each takes.
fn along_channels(channels: usize) -> f64 {
    let (lanes, cost) = if channels <= HALF { (HALF, HALVES) } else { (channels.next_multiple_of(LANES), WHOLE) };
    cost * lanes as f64 / channels as f64
}

/// The same for each sample of `batch`. The last ones take half a register, where that is enough.
fn along_samples(batch: usize) -> f64 {
    let rest = match batch % SAMPLES {
        0 => 0,
        1..=HALF => HALF,
        _ => SAMPLES,
    };
    ACROSS * (batch / SAMPLES * SAMPLES + rest) as f64 / batch as f64
}

/// The program with those images marked that had better lie interleaved in batches of `batch`; None where there are none.
pub(super) fn interleaved(program: &Program, batch: usize) -> Option<Program> {
    let Program { values, nodes, .. } = program;
    let is_image = |i: &usize| values[*i].is_image();
    // By value, one of the images that are linked with it.
    let mut of: Vec<usize> = (0..values.len()).collect();
    let images = |list: &[Value]| list.iter().map(|v| v.index()).filter(is_image).collect::<Vec<_>>();
    for node in nodes {
        let linked = [images(&node.reads), images(&node.writes)].concat();
        for pair in linked.windows(2) {
            let (a, b) = (of[pair[0]], of[pair[1]]);
            of.iter_mut().filter(|of| **of == a).for_each(|of| *of = b);
        }
    }
    // What interleaving saves those; infinitely less than nothing where it cannot be.
    let mut saves = vec![0.0; values.len()];
    for node in nodes {
        let case = node.case(program, Step::of(batch));
        let Some(i) = images(&node.reads).into_iter().chain(images(&node.writes)).next() else { continue };
        let channels = node.op.columns(&case);
        let images = || images(&node.reads).into_iter().chain(images(&node.writes)).map(|i| &values[i]);
        if !node.op.interleaves(&case) || (channels > MANY_CHANNELS && images().any(|image| image.len(1) > LARGE)) {
            saves[of[i]] = f64::NEG_INFINITY;
        } else if channels > 0 && batch > 0 {
            let flops = node.op.cost(&case).flops as f64;
            let gradient = !node.writes.iter().any(|v| values[v.index()].batched);
            let terms = images().map(|image| image.dims[1] * image.dims[2]).min().unwrap_or(1);
            let across = along_samples(batch) * if gradient { 1.0 + SUM / terms.max(1) as f64 } else { 1.0 };
            saves[of[i]] += flops * (along_channels(channels) - across);
        }
    }
    let ends = program.outputs.values().chain(program.input_grads.values()).chain(&program.output_grad);
    let targets = values.iter().enumerate().filter(|(_, info)| matches!(info.source, Source::Target(_)));
    for i in ends.map(|v| v.index()).chain(targets.map(|(i, _)| i)) {
        saves[of[i]] = f64::NEG_INFINITY;
    }
    let chosen: Vec<usize> = (0..values.len()).filter(|i| is_image(i) && saves[of[*i]] > 0.0).collect();
    (!chosen.is_empty()).then(|| {
        let mut program = program.clone();
        chosen.into_iter().for_each(|i| program.values[i].interleaved = true);
        program
    })
}
