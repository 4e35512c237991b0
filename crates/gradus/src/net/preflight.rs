//! What looks like a mistake in a network that is well formed: said before the first step.

use crate::net::{Graph, LossNode};
use crate::program::{Roots, Source, compile};

impl Graph {
    /// Signs that the network is not what its author means: parameters that no loss trains, a softmax before a loss that has
    /// one inside, one value judged against two targets. A sentence each, with the path.
    pub fn warnings(&self) -> Vec<String> {
        let mut list = Vec::new();
        if self.losses.is_empty() {
            return list;
        }
        let program = compile(self, &Roots::Train { inputs: false });
        let written =
            |i: usize| program.nodes.iter().flat_map(|n| &n.writes).any(|v| program.info(*v).source == Source::Grad(i));
        let lost: Vec<&str> = self
            .params
            .iter()
            .enumerate()
            .filter(|(i, p)| p.trained && !written(*i))
            .map(|(_, p)| p.name.as_str())
            .collect();
        if !lost.is_empty() {
            list.push(format!("no loss trains {}", lost.join(", ")));
        }
        for loss in &self.losses {
            let branch = &self.branches[loss.branch];
            let before = loss.after.checked_sub(1).map(|i| &branch.layers[i]);
            let Some(layer) = before.filter(|_| loss.loss.spec().name == "CrossEntropyLoss") else { continue };
            let name = layer.layer.spec().name;
            if matches!(name.as_str(), "Softmax" | "Sigmoid") {
                list.push(format!(
                    "loss.{}: CrossEntropyLoss takes logits and has a softmax inside; `{}` is a {name}",
                    loss.name, layer.path
                ));
            }
        }
        for (i, a) in self.losses.iter().enumerate() {
            for b in &self.losses[i + 1..] {
                if (a.target, a.target_index) != (b.target, b.target_index) && self.same_value(a, b) {
                    list.push(format!(
                        "loss.{} and loss.{} judge the same numbers against different targets",
                        a.name, b.name
                    ));
                }
            }
        }
        list
    }

    /// Whether two losses judge one and the same value: the same place, or branches that share weights and feeds.
    fn same_value(&self, a: &LossNode, b: &LossNode) -> bool {
        let (x, y) = (&self.branches[a.branch], &self.branches[b.branch]);
        let owner = |branch: &crate::net::BranchNode| branch.shares.clone().unwrap_or_else(|| branch.name.clone());
        a.after == b.after && owner(x) == owner(y) && x.feeds == y.feeds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::disk;
    use crate::net::{Architecture, Branch, Loss};
    use crate::registry::Registry;
    use crate::rng::Seed;

    fn branch(from: &str, layers: &[&str]) -> Branch {
        let layers = layers.iter().map(|l| Registry::new().parse_layer(l).unwrap()).collect();
        Branch { from: vec![from.parse().unwrap()], layers, ..Branch::default() }
    }

    fn warnings(branches: &[(&str, Branch)], losses: &[(&str, &str)]) -> Vec<String> {
        let mut a = Architecture::default();
        a.branches.extend(branches.iter().map(|(n, b)| ((*n).to_string(), b.clone())));
        for (name, of) in losses {
            let kind = Registry::new().parse_loss("CrossEntropyLoss").unwrap();
            a.losses.insert((*name).to_string(), Loss { of: of.parse().unwrap(), target: None, kind, weight: 1.0 });
        }
        let mut data = disk(3, Seed(1)).train;
        let target = data.targets["inside"].clone();
        data.targets.insert("other".into(), target);
        if losses.len() > 1 {
            a.losses.values_mut().last().unwrap().target = Some("other".parse().unwrap());
        }
        Graph::resolve(&a, &data.schema(), &Registry::new()).unwrap().warnings()
    }

    #[test]
    fn the_reports_mistakes_are_seen() {
        let plain = branch("points", &["Linear 3", "ReLU", "Linear 2"]);
        assert_eq!(warnings(&[("net", plain.clone())], &[("a", "net")]), [] as [String; 0]);
        let aside = warnings(&[("net", plain.clone()), ("aux", branch("net:1", &["Linear 2"]))], &[("a", "net")]);
        assert_eq!(aside, ["no loss trains aux.0.weight, aux.0.bias"]);
        let soft = warnings(&[("net", branch("points", &["Linear 2", "Softmax"]))], &[("a", "net")]);
        assert!(soft[0].contains("`net.1` is a Softmax"), "{soft:?}");
        let twin = Branch { share: Some("one".into()), ..branch("net:1", &[]) };
        let twice = [("net", plain.clone()), ("one", branch("net:1", &["Linear 2"])), ("two", twin)];
        let same = warnings(&twice, &[("a", "one"), ("b", "two")]);
        assert!(
            same.iter().any(|w| w == "loss.a and loss.b judge the same numbers against different targets"),
            "{same:?}"
        );
    }
}
