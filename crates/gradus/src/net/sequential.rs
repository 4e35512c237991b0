//! A chain of layers with its loss inside, built in code.

use std::sync::Arc;

use indexmap::IndexMap;

use super::{Architecture, Branch, Graph, Loss, Net, Options, Tap};
use crate::data::{InputInfo, Schema, TargetInfo};
use crate::error::Result;
use crate::fail;
use crate::layers::Layer;
use crate::losses;
use crate::registry::Registry;
use crate::rng::Seed;
use crate::spec::Spec;

/// Builds a [`Net`] of one branch, `net`, whose parameters are called `net.0.weight` and so on.
///
/// ```
/// use gradus::prelude::*;
/// let mut net = Sequential::new([2])
///     .add(Linear::new(25)).add(Tanh)
///     .add(Linear::new(2))
///     .loss(MSELoss::new())
///     .build(Seed(1))?;
/// assert_eq!(net.parameters(), 2 * 25 + 25 + 25 * 2 + 2);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct Sequential {
    input: Vec<usize>,
    layers: Vec<Arc<dyn Layer>>,
    loss: Option<Arc<dyn losses::Loss>>,
    target: Option<TargetInfo>,
    init: Option<String>,
    freeze: Vec<String>,
    options: Options,
    registry: Registry,
}

impl Sequential {
    /// For samples of this shape: `[2]`, `[1, 14, 14]`.
    pub fn new(input: impl AsRef<[usize]>) -> Sequential {
        Sequential {
            input: input.as_ref().to_vec(),
            layers: Vec::new(),
            loss: None,
            target: None,
            init: None,
            freeze: Vec::new(),
            options: Options::default(),
            registry: Registry::new(),
        }
    }

    /// One more layer at the end.
    #[must_use]
    #[allow(clippy::should_implement_trait)] // torch's and the reports' name for it
    pub fn add(mut self, layer: impl Layer + 'static) -> Sequential {
        self.layers.push(Arc::new(layer));
        self
    }

    /// The loss of the last layer's output.
    #[must_use]
    pub fn loss(mut self, loss: impl losses::Loss + 'static) -> Sequential {
        self.loss = Some(Arc::new(loss));
        self
    }

    /// The initialiser of all layers: `"kaiming_normal"`, … ([`Init::ALL`](crate::init::Init::ALL)).
    #[must_use]
    pub fn init(mut self, name: &str) -> Sequential {
        self.init = Some(name.to_string());
        self
    }

    /// Parameters that are not trained, by name with `*` for any text: `"*.bias"`.
    #[must_use]
    pub fn freeze(mut self, pattern: &str) -> Sequential {
        self.freeze.push(pattern.to_string());
        self
    }

    /// The target of the loss, where it is not as many classes as there are outputs (and for one output, values).
    #[must_use]
    pub fn target(mut self, target: TargetInfo) -> Sequential {
        self.target = Some(target);
        self
    }

    /// Threads, precision and so on.
    #[must_use]
    pub fn options(mut self, options: Options) -> Sequential {
        self.options = options;
        self
    }

    /// The names a loaded file may use.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Sequential {
        self.registry = registry;
        self
    }

    /// Builds the network, with first values drawn from `seed`.
    ///
    /// # Errors
    /// [`Kind::Shape`](crate::error::Kind::Shape) where layers do not fit together, with the layer's position.
    pub fn build(self, seed: Seed) -> Result<Net> {
        if self.layers.is_empty() {
            fail!(Config, "a network needs at least one layer");
        }
        let specs: Vec<Spec> = self.layers.iter().map(|l| l.spec()).collect();
        let branch = Branch { from: vec!["x".parse::<Tap>()?], layers: specs, ..Branch::default() };
        let mut architecture = Architecture { init: self.init, freeze: self.freeze, ..Architecture::default() };
        architecture.branches.insert("net".to_string(), branch);
        let made: IndexMap<_, _> =
            self.layers.into_iter().enumerate().map(|(i, l)| (("net".to_string(), i), l)).collect();
        let mut schema = Schema { inputs: IndexMap::new(), targets: IndexMap::new() };
        schema.inputs.insert("x".to_string(), InputInfo { shape: self.input });
        let mut made_losses = IndexMap::new();
        if let Some(loss) = self.loss {
            // The shape of the target follows from the network's own output.
            let bare = Graph::resolve_made(&architecture, &schema, &self.registry, made.clone(), &IndexMap::new())?;
            let output = bare.outputs[0].1.clone();
            schema.targets.insert("y".to_string(), self.target.unwrap_or(TargetInfo::Values { shape: output }));
            architecture
                .losses
                .insert("loss".to_string(), Loss { of: "net".parse()?, target: None, kind: loss.spec(), weight: 1.0 });
            made_losses.insert("loss".to_string(), loss);
        }
        let graph = Graph::resolve_made(&architecture, &schema, &self.registry, made, &made_losses)?;
        Net::new(graph, seed, self.options)
    }
}
