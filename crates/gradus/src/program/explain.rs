//! A program as lines that a student can follow.

use std::fmt::Write;

use super::{Phase, Program, Value};
use crate::exec::Step;
use crate::layers::shape_text;
use crate::ops::Cost;

impl Program {
    /// One line for each op: where it comes from, what it computes, the shape of what it writes (B the batch).
    pub fn explain(&self) -> String {
        let mut text = String::new();
        let mut phase = None;
        let width = self.nodes.iter().map(|n| n.path.chars().count()).max().unwrap_or(0);
        let lines: Vec<String> = self
            .nodes
            .iter()
            .map(|n| {
                let names = |list: &[Value]| list.iter().map(|v| self.info(*v).name.as_str()).collect::<Vec<_>>();
                n.op.line(&names(&n.reads), &names(&n.writes))
            })
            .collect();
        let long = lines.iter().map(|l| l.chars().count()).max().unwrap_or(0).min(64);
        for (node, line) in self.nodes.iter().zip(&lines) {
            if phase != Some(node.phase) {
                phase = Some(node.phase);
                let title = match node.phase {
                    Phase::Forward => "forward",
                    Phase::Loss => "loss",
                    Phase::Backward => "backward",
                };
                let _ = writeln!(text, "{title}");
            }
            let _ = writeln!(text, "  {:width$}  {line:long$}  {}", node.path, self.shape(node.writes[0]));
        }
        text
    }

    /// The shape of a value with B for the batch.
    pub fn shape(&self, v: Value) -> String {
        let info = self.info(v);
        if !info.batched {
            return if info.dims.is_empty() { "one number".to_string() } else { shape_text(&info.dims) };
        }
        let words: Vec<String> =
            std::iter::once("B".to_string()).chain(info.dims.iter().map(usize::to_string)).collect();
        format!("({})", words.join(", "))
    }

    /// The work of all ops of a phase that belong to `path`, at a batch of `batch`.
    pub fn cost(&self, phase: Phase, path: &str, batch: usize) -> Cost {
        let mut sum = Cost::default();
        for node in self.nodes.iter().filter(|n| n.phase == phase && (path.is_empty() || n.path == path)) {
            sum += node.op.cost(&node.case(self, Step::of(batch)));
        }
        sum
    }
}
