//! The names that files may use: the built-in lists, and what a user adds to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Result;
use crate::layers::{Activation, LAYERS, Layer};
use crate::losses::{LOSSES, Loss};
use crate::spec::{Def, Spec, find, suggest};
use crate::{Error, error::Kind};

/// The layers and losses a file may name. [`Registry::new`] has the built-in ones; a user's own are added by name.
#[derive(Clone, Debug)]
pub struct Registry {
    layers: Vec<&'static Def<dyn Layer>>,
    losses: Vec<&'static Def<dyn Loss>>,
    activations: BTreeMap<String, Activation>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// The built-in layers and losses.
    pub fn new() -> Registry {
        Registry { layers: LAYERS.to_vec(), losses: LOSSES.to_vec(), activations: BTreeMap::new() }
    }

    /// Adds a layer of a user's own; it replaces one of the same name.
    #[must_use]
    pub fn layer(mut self, def: &'static Def<dyn Layer>) -> Registry {
        self.layers.retain(|d| d.name != def.name);
        self.layers.push(def);
        self
    }

    /// Adds a loss of a user's own; it replaces one of the same name.
    #[must_use]
    pub fn loss(mut self, def: &'static Def<dyn Loss>) -> Registry {
        self.losses.retain(|d| d.name != def.name);
        self.losses.push(def);
        self
    }

    /// Adds an activation of a user's own.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Registry {
        self.activations.insert(activation.name().to_string(), activation);
        self
    }

    /// The layer definitions, in the order they are shown.
    pub fn layers(&self) -> &[&'static Def<dyn Layer>] {
        &self.layers
    }

    /// The loss definitions.
    pub fn losses(&self) -> &[&'static Def<dyn Loss>] {
        &self.losses
    }

    /// The names of positional arguments of the layer `name`.
    ///
    /// # Errors
    /// [`Kind::Name`] when there is no such layer.
    pub fn layer_order(&self, name: &str) -> Result<Vec<&'static str>> {
        if self.activations.contains_key(name) {
            return Ok(Vec::new());
        }
        self.find_layer(name).map(Def::order)
    }

    fn find_layer(&self, name: &str) -> Result<&'static Def<dyn Layer>> {
        self.layers.iter().find(|d| d.name == name).copied().ok_or_else(|| {
            let mut known: Vec<&str> = self.layers.iter().map(|d| d.name).collect();
            known.extend(self.activations.keys().map(String::as_str));
            Error::new(
                Kind::Name,
                format!(
                    "there is no layer `{name}`{} (a layer of your own must be registered to load it)",
                    suggest(name, &known)
                ),
            )
        })
    }

    /// Reads a layer string.
    ///
    /// # Errors
    /// [`Kind::Name`] or [`Kind::Config`] when it is no layer, or its arguments do not fit.
    pub fn parse_layer(&self, text: &str) -> Result<Spec> {
        let spec = Spec::parse(text, |name| self.layer_order(name))?;
        self.make_layer(&spec)?;
        Ok(spec)
    }

    /// Makes a layer. The argument `init`, which every layer has, is the graph's business and is passed over here.
    ///
    /// # Errors
    /// As [`Registry::parse_layer`].
    pub fn make_layer(&self, spec: &Spec) -> Result<Arc<dyn Layer>> {
        let mut spec = spec.clone();
        spec.args.shift_remove("init");
        if let Some(activation) = self.activations.get(&spec.name) {
            return Ok(Arc::new(activation.clone()));
        }
        Ok(Arc::from(self.find_layer(&spec.name)?.build(&spec)?))
    }

    /// Reads a loss string, such as `MSELoss reduction=sum`.
    ///
    /// # Errors
    /// As [`Registry::parse_layer`].
    pub fn parse_loss(&self, text: &str) -> Result<Spec> {
        let spec = Spec::parse(text, |name| find(&self.losses, "loss", name).map(Def::order))?;
        self.make_loss(&spec)?;
        Ok(spec)
    }

    /// Makes a loss.
    ///
    /// # Errors
    /// As [`Registry::parse_layer`].
    pub fn make_loss(&self, spec: &Spec) -> Result<Arc<dyn Loss>> {
        Ok(Arc::from(find(&self.losses, "loss", &spec.name)?.build(spec)?))
    }
}
