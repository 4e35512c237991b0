//! An architecture resolved: every shape known, every parameter named by its owner, sharing explicit, every loss
//! connected. All mistakes of shapes, names, classes and sharing are found here.

use std::sync::Arc;

use indexmap::IndexMap;

use super::architecture::{Architecture, Branch, Join, Tap, check_name, covers};
use crate::data::{Schema, TargetInfo};
use crate::error::{Error, Kind, Result};
use crate::fail;
use crate::init::{Fan, Init};
use crate::layers::{Declare, Layer, shape_text};
use crate::losses;
use crate::registry::Registry;
use crate::spec::{Arg, suggest};

/// A network whose shapes, parameters and connections are known.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The architecture as written.
    pub architecture: Architecture,
    /// Inputs and targets.
    pub schema: Schema,
    /// Branches in the order they were written.
    pub branches: Vec<BranchNode>,
    /// Branches in the order they are computed.
    pub order: Vec<usize>,
    /// Parameters, the trained ones first.
    pub params: Vec<ParamInfo>,
    /// Values kept with the model but not trained.
    pub buffers: Vec<BufferInfo>,
    /// Losses in the order they were written.
    pub losses: Vec<LossNode>,
    /// The fewest samples a training batch may have.
    pub least_batch: usize,
    /// Outputs by branch with the shape of a sample; the main one first.
    pub outputs: Vec<(String, Vec<usize>)>,
}

/// A branch with everything resolved.
#[derive(Clone, Debug)]
pub struct BranchNode {
    /// Its name.
    pub name: String,
    /// What feeds it.
    pub feeds: Vec<Feed>,
    /// How several feeds become one.
    pub join: Join,
    /// The shape of a sample that comes in, after joining.
    pub input: Vec<usize>,
    /// Its layers.
    pub layers: Vec<LayerNode>,
    /// The branch whose weights it uses.
    pub shares: Option<String>,
}

impl BranchNode {
    /// The shape of a sample after `after` layers.
    pub fn shape(&self, after: usize) -> &[usize] {
        if after == 0 { &self.input } else { &self.layers[after - 1].output }
    }
}

/// What feeds a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feed {
    /// An input, or one index of its first dimension.
    Input {
        /// Its position in the schema.
        input: usize,
        /// One index of the first dimension.
        index: Option<usize>,
    },
    /// A branch after so many of its layers, or one index of that value's first dimension.
    Branch {
        /// Its position.
        branch: usize,
        /// After so many layers.
        after: usize,
        /// One index of the first dimension.
        index: Option<usize>,
    },
}

/// A layer in its place.
#[derive(Clone, Debug)]
pub struct LayerNode {
    /// `left.0`, or `left.conv1` where it has a label.
    pub path: String,
    /// The layer.
    pub layer: Arc<dyn Layer>,
    /// The shape of a sample that comes in.
    pub input: Vec<usize>,
    /// The shape of a sample that goes out.
    pub output: Vec<usize>,
    /// Its parameters: the layer's own name, and the position among the graph's.
    pub params: Vec<(&'static str, usize)>,
    /// Its buffers likewise.
    pub buffers: Vec<(&'static str, usize)>,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamInfo {
    /// The owner's path and the layer's name for it: `left.0.weight`.
    pub name: String,
    /// Its shape, torch's.
    pub shape: Vec<usize>,
    /// What it is to its layer.
    pub fan: Fan,
    /// How it gets its first values.
    pub init: Init,
    /// Whether training changes it.
    pub trained: bool,
}

impl ParamInfo {
    /// How many numbers it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A value kept with the model but not trained.
#[derive(Clone, Debug, PartialEq)]
pub struct BufferInfo {
    /// The owner's path and the layer's name for it: `tower.1.running_mean`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it starts from.
    pub value: f64,
}

/// A loss in its place.
#[derive(Clone, Debug)]
pub struct LossNode {
    /// Its name.
    pub name: String,
    /// The loss.
    pub loss: Arc<dyn losses::Loss>,
    /// The branch that is judged.
    pub branch: usize,
    /// After so many of its layers.
    pub after: usize,
    /// The target's position in the schema.
    pub target: usize,
    /// One label of several.
    pub target_index: Option<usize>,
    /// Its factor in the sum.
    pub weight: f64,
}

/// The largest number of values one sample, parameter or network may have: a mistyped size is refused before memory is
/// asked for.
const MAX_NUMBERS: usize = 1 << 31;

/// The most branches and layers a network may have together: a file that names more is refused in no time.
const MAX_LAYERS: usize = 10_000;

/// Refuses samples of no numbers at all, or of too many.
fn check_size(shape: &[usize]) -> Result<()> {
    let numbers = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    if shape.is_empty() || numbers.is_none_or(|n| n == 0 || n > MAX_NUMBERS) {
        fail!(Shape, "a sample of {} is refused", shape_text(shape));
    }
    Ok(())
}

impl Graph {
    /// Resolves an architecture against the inputs and targets of a data set.
    ///
    /// # Errors
    /// [`Kind::Shape`], [`Kind::Name`] or [`Kind::Config`], with the path of the layer, branch or loss it is about.
    pub fn resolve(architecture: &Architecture, schema: &Schema, registry: &Registry) -> Result<Graph> {
        Resolver { architecture, schema, registry, made: IndexMap::new() }.run()
    }

    /// As [`Graph::resolve`], with layers that are already made (a user's own, added in code).
    pub(crate) fn resolve_made(
        architecture: &Architecture,
        schema: &Schema,
        registry: &Registry,
        made: IndexMap<(String, usize), Arc<dyn Layer>>,
        losses: &IndexMap<String, Arc<dyn losses::Loss>>,
    ) -> Result<Graph> {
        let mut bare = architecture.clone();
        bare.losses.retain(|name, _| !losses.contains_key(name));
        let resolver = Resolver { architecture: &bare, schema, registry, made };
        let mut graph = resolver.run()?;
        for (name, loss) in losses {
            let written = &architecture.losses[name];
            let node = resolver
                .loss(&graph.branches, name, written, loss.clone())
                .map_err(|e| e.at(format!("loss.{name}")))?;
            graph.losses.push(node);
        }
        graph.architecture = architecture.clone();
        graph.outputs = outputs(&graph);
        Ok(graph)
    }

    /// The position of a branch.
    pub fn branch_index(&self, name: &str) -> Option<usize> {
        self.branches.iter().position(|b| b.name == name)
    }

    /// How many numbers training changes.
    pub fn parameters(&self) -> usize {
        self.params.iter().filter(|p| p.trained).map(ParamInfo::len).sum()
    }
}

struct Resolver<'a> {
    architecture: &'a Architecture,
    schema: &'a Schema,
    registry: &'a Registry,
    made: IndexMap<(String, usize), Arc<dyn Layer>>,
}

impl Resolver<'_> {
    fn run(&self) -> Result<Graph> {
        let arch = self.architecture;
        if arch.branches.is_empty() {
            fail!(Config, "the network has no branch");
        }
        let count = |b: &Branch| b.like.as_ref().or(b.share.as_ref()).map_or(1 + b.layers.len(), |_| 1);
        if arch.branches.values().map(count).sum::<usize>() > MAX_LAYERS {
            fail!(Config, "a network of more than {MAX_LAYERS} branches and layers");
        }
        for (name, info) in &self.schema.inputs {
            check_size(&info.shape).map_err(|e| e.at(format!("input `{name}`")))?;
        }
        for name in arch.branches.keys() {
            check_name("branch", name)?;
            if self.schema.inputs.contains_key(name) {
                fail!(Name, "branch `{name}` has the name of an input");
            }
        }
        for name in arch.losses.keys() {
            check_name("loss", name)?;
        }
        let default = arch.init.as_deref().map_or(Ok(Init::default()), Init::named)?;
        let order = self.order()?;
        let mut branches: Vec<Option<BranchNode>> = vec![None; arch.branches.len()];
        let (mut params, mut buffers, mut layers) = (Vec::new(), Vec::new(), 0);
        for &index in &order {
            let (name, branch) = arch.branches.get_index(index).expect("order is of branches");
            let node = self.branch(name, branch, &branches, default, &mut params, &mut buffers).map_err(|e| {
                // A layer's error already begins with its path, which begins with the branch.
                if e.to_string().starts_with(&format!("{name}.")) { e } else { e.at(name) }
            })?;
            layers += node.layers.len();
            if layers > MAX_LAYERS {
                fail!(Config, "a network of more than {MAX_LAYERS} branches and layers");
            }
            branches[index] = Some(node);
        }
        let mut branches: Vec<BranchNode> = branches.into_iter().flatten().collect();
        for pattern in &arch.freeze {
            if !params.iter().any(|p: &ParamInfo| covers(pattern, &p.name)) {
                fail!(Name, "freeze: no parameter is called `{pattern}`");
            }
        }
        for p in &mut params {
            p.trained = !arch.freeze.iter().any(|pattern| covers(pattern, &p.name));
        }
        trained_first(&mut params, &mut branches);
        let total = params.iter().try_fold(0usize, |sum, p| sum.checked_add(p.len()));
        if total.is_none_or(|t| t > MAX_NUMBERS) {
            fail!(Shape, "the network has more than {MAX_NUMBERS} parameters");
        }
        let mut losses = Vec::new();
        for (name, loss) in &arch.losses {
            let node = self.registry.make_loss(&loss.kind).and_then(|made| self.loss(&branches, name, loss, made));
            losses.push(node.map_err(|e| e.at(format!("loss.{name}")))?);
        }
        let layers = branches.iter().flat_map(|b| &b.layers);
        let least_batch = layers.map(|l| l.layer.least_batch(&l.input)).max().unwrap_or(1);
        let mut graph = Graph {
            least_batch,
            architecture: arch.clone(),
            schema: self.schema.clone(),
            branches,
            order,
            params,
            buffers,
            losses,
            outputs: Vec::new(),
        };
        graph.outputs = outputs(&graph);
        Ok(graph)
    }

    /// Branches so that every feed (and the owner of shared weights) comes first; as written where that is free.
    fn order(&self) -> Result<Vec<usize>> {
        let branches = &self.architecture.branches;
        let mut needs: Vec<Vec<usize>> = Vec::new();
        for (name, branch) in branches {
            let mut list = Vec::new();
            for tap in &branch.from {
                match branches.get_index_of(&tap.name) {
                    Some(i) => list.push(i),
                    None if self.schema.inputs.contains_key(&tap.name) => {}
                    None => {
                        let known: Vec<&str> =
                            branches.keys().chain(self.schema.inputs.keys()).map(String::as_str).collect();
                        fail!(
                            Name,
                            "{name}: `from`: there is no branch or input `{}`{}",
                            tap.name,
                            suggest(&tap.name, &known)
                        );
                    }
                }
            }
            for owner in branch.share.iter().chain(&branch.like) {
                match branches.get_index_of(owner) {
                    Some(i) => list.push(i),
                    None => {
                        let known: Vec<&str> = branches.keys().map(String::as_str).collect();
                        fail!(Name, "{name}: there is no branch `{owner}`{}", suggest(owner, &known));
                    }
                }
            }
            needs.push(list);
        }
        let (mut order, mut placed) = (Vec::new(), vec![false; needs.len()]);
        while order.len() < needs.len() {
            match (0..needs.len()).find(|i| !placed[*i] && needs[*i].iter().all(|n| placed[*n])) {
                Some(next) => {
                    placed[next] = true;
                    order.push(next);
                }
                None => {
                    let stuck: Vec<&str> = (0..needs.len())
                        .filter(|i| !placed[*i])
                        .map(|i| branches.get_index(i).expect("in range").0.as_str())
                        .collect();
                    fail!(Config, "these branches feed each other in a circle: {}", stuck.join(", "));
                }
            }
        }
        Ok(order)
    }

    #[allow(clippy::too_many_arguments)]
    fn branch(
        &self,
        name: &str,
        branch: &Branch,
        done: &[Option<BranchNode>],
        default: Init,
        params: &mut Vec<ParamInfo>,
        buffers: &mut Vec<BufferInfo>,
    ) -> Result<BranchNode> {
        if branch.from.is_empty() {
            fail!(Config, "`from` is missing: what feeds this branch?");
        }
        let mut feeds = Vec::new();
        let mut shapes = Vec::new();
        for tap in &branch.from {
            let (feed, shape) = self.feed(tap, done).map_err(|e| e.at("from"))?;
            feeds.push(feed);
            shapes.push(shape);
        }
        let input = join(branch.join, &branch.from, &shapes)?;
        check_size(&input)?;
        let mut node = BranchNode {
            name: name.to_string(),
            feeds,
            join: branch.join,
            input: input.clone(),
            layers: Vec::new(),
            shares: None,
        };
        let given = usize::from(!branch.layers.is_empty())
            + usize::from(branch.share.is_some())
            + usize::from(branch.like.is_some());
        if given > 1 {
            fail!(Config, "give one of `layers`, `share` and `like`");
        }
        if let Some(owner) = &branch.share {
            let at = self.architecture.branches.get_index_of(owner).expect("checked in order");
            let owner = done[at].as_ref().expect("owners come first");
            if owner.input != input {
                fail!(
                    Shape,
                    "shares the weights of `{}`, which takes {}, but is fed {}",
                    owner.name,
                    shape_text(&owner.input),
                    shape_text(&input)
                );
            }
            // A share of a share uses the weights of the first owner.
            node.shares = Some(owner.shares.clone().unwrap_or_else(|| owner.name.clone()));
            node.layers = owner
                .layers
                .iter()
                .map(|l| LayerNode { path: format!("{name}{}", &l.path[owner.name.len()..]), ..l.clone() })
                .collect();
            return Ok(node);
        }
        let (source, layers) = self.layers(name, branch)?;
        let mut shape = input;
        let mut labels: Vec<String> = Vec::new();
        for (at, spec) in layers.iter().enumerate() {
            let label = spec.label.clone().unwrap_or_else(|| at.to_string());
            if let Some(label) = &spec.label {
                check_name("label", label)?;
                if label.bytes().all(|c| c.is_ascii_digit()) {
                    fail!(Name, "label `{label}` is a number: numbers are the positions of layers");
                }
            }
            if labels.contains(&label) {
                fail!(Name, "two layers have the label `{label}`");
            }
            labels.push(label.clone());
            let path = format!("{name}.{label}");
            let place = |e: Error| e.at(&path);
            let made = self.made.get(&(source.to_string(), at)).cloned();
            let layer = made.map_or_else(|| self.registry.make_layer(spec), Ok).map_err(place)?;
            let mut declared = Declare::default();
            let output = layer.declare(&shape, &mut declared).map_err(place)?;
            check_size(&output).map_err(place)?;
            let init = match spec.args.get("init") {
                None => default,
                Some(Arg::Text(name)) => Init::named(name).map_err(place)?,
                Some(other) => {
                    return Err(place(Error::new(Kind::Config, format!("`init` is a name, found `{other}`"))));
                }
            };
            let mut node_params = Vec::new();
            for p in declared.params {
                if p.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).is_none_or(|n| n > MAX_NUMBERS) {
                    return Err(place(Error::new(
                        Kind::Shape,
                        format!("a {} of {} is refused", p.name, shape_text(&p.shape)),
                    )));
                }
                node_params.push((p.name, params.len()));
                params.push(ParamInfo {
                    name: format!("{path}.{}", p.name),
                    shape: p.shape,
                    fan: p.fan,
                    init,
                    trained: true,
                });
            }
            let mut node_buffers = Vec::new();
            for b in declared.buffers {
                node_buffers.push((b.name, buffers.len()));
                buffers.push(BufferInfo { name: format!("{path}.{}", b.name), shape: b.shape, value: b.value });
            }
            node.layers.push(LayerNode {
                path,
                layer,
                input: shape,
                output: output.clone(),
                params: node_params,
                buffers: node_buffers,
            });
            shape = output;
        }
        Ok(node)
    }

    /// The layers of a branch, its own or those of the branch it is like, and the branch they were written in.
    fn layers<'b>(&'b self, name: &'b str, branch: &'b Branch) -> Result<(&'b str, &'b [crate::spec::Spec])> {
        let (mut name, mut branch) = (name, branch);
        // `order` has found every circle, so this ends.
        while let Some(like) = branch.like.as_ref().or(branch.share.as_ref()) {
            name = like;
            branch = &self.architecture.branches[like];
        }
        Ok((name, &branch.layers))
    }

    fn feed(&self, tap: &Tap, done: &[Option<BranchNode>]) -> Result<(Feed, Vec<usize>)> {
        let (feed, shape) = match self.architecture.branches.get_index_of(&tap.name) {
            Some(branch) => {
                let node = done[branch].as_ref().expect("feeds come first");
                let after = layer_position(node, tap)?;
                (Feed::Branch { branch, after, index: tap.index }, node.shape(after).to_vec())
            }
            None => {
                let (input, _, info) = self.schema.inputs.get_full(&tap.name).expect("checked in order");
                if let Some(after) = &tap.after {
                    fail!(Config, "`{tap}`: `{}` is an input and has no layer `{after}`", tap.name);
                }
                (Feed::Input { input, index: tap.index }, info.shape.clone())
            }
        };
        let Some(index) = tap.index else { return Ok((feed, shape)) };
        match shape.first() {
            Some(&size) if index < size => {
                let mut part = shape;
                part[0] = 1;
                Ok((feed, part))
            }
            _ => fail!(Shape, "`{tap}`: `{}` is {}: index {index} is out of range", tap.name, shape_text(&shape)),
        }
    }

    fn loss(
        &self,
        branches: &[BranchNode],
        name: &str,
        written: &super::architecture::Loss,
        loss: Arc<dyn losses::Loss>,
    ) -> Result<LossNode> {
        if !written.weight.is_finite() {
            fail!(Config, "weight {} is not a finite number", written.weight);
        }
        let Some(branch) = branches.iter().position(|b| b.name == written.of.name) else {
            let known: Vec<&str> = branches.iter().map(|b| b.name.as_str()).collect();
            fail!(Name, "`of`: there is no branch `{}`{}", written.of.name, suggest(&written.of.name, &known));
        };
        if written.of.index.is_some() {
            fail!(Config, "`of = \"{}\"`: a loss judges a whole value", written.of);
        }
        let after = layer_position(&branches[branch], &written.of)?;
        let known = || self.schema.targets.keys().map(String::as_str).collect::<Vec<_>>();
        let (target, target_index) = match &written.target {
            None if self.schema.targets.is_empty() => fail!(Data, "the data have no target"),
            None => (0, None),
            Some(t) => match self.schema.targets.get_index_of(&t.name) {
                Some(i) => (i, t.index),
                None => fail!(Name, "there is no target `{}`{}", t.name, suggest(&t.name, &known())),
            },
        };
        let mut info = self.schema.targets[target].clone();
        if let Some(index) = target_index {
            match &mut info {
                TargetInfo::Classes { per_sample, .. } if per_sample.is_some_and(|k| index < k) => *per_sample = None,
                _ => fail!(Shape, "target `{}[{index}]`: there is no such label ({info:?})", known()[target]),
            }
        }
        loss.declare(branches[branch].shape(after), &info)?;
        if let TargetInfo::Classes { per_sample: Some(k), .. } = &self.schema.targets[target] {
            check_size(&[*k])?;
        }
        Ok(LossNode { name: name.to_string(), loss, branch, after, target, target_index, weight: written.weight })
    }
}

fn layer_position(node: &BranchNode, tap: &Tap) -> Result<usize> {
    let Some(after) = &tap.after else { return Ok(node.layers.len()) };
    let prefix = node.name.len() + 1;
    if let Some(at) = node.layers.iter().position(|l| l.path[prefix..] == **after) {
        return Ok(at + 1);
    }
    match after.parse::<usize>() {
        Ok(at) if at < node.layers.len() => Ok(at + 1),
        _ => {
            let known: Vec<&str> = node.layers.iter().map(|l| &l.path[prefix..]).collect();
            fail!(Name, "`{tap}`: branch `{}` has no layer `{after}`; it has {}", node.name, known.join(", "))
        }
    }
}

fn join(join: Join, from: &[Tap], shapes: &[Vec<usize>]) -> Result<Vec<usize>> {
    let mut all = shapes[0].clone();
    for (tap, shape) in from.iter().zip(shapes).skip(1) {
        let fits = match join {
            Join::Concat => shape.len() == all.len() && shape[1..] == all[1..],
            Join::Add => *shape == shapes[0],
        };
        if !fits {
            let how =
                if join == Join::Concat { "concat (all but the first dimension equal)" } else { "add (equal shapes)" };
            fail!(Shape, "cannot {how} `{}` {} and `{tap}` {}", from[0], shape_text(&shapes[0]), shape_text(shape));
        }
        if join == Join::Concat {
            all[0] += shape[0];
        }
    }
    Ok(all)
}

/// Outputs are every branch that a loss names or whose end nobody consumes; the one of the first loss comes first.
fn outputs(graph: &Graph) -> Vec<(String, Vec<usize>)> {
    let mut consumed = vec![false; graph.branches.len()];
    for feed in graph.branches.iter().flat_map(|b| &b.feeds) {
        if let Feed::Branch { branch, after, .. } = feed {
            consumed[*branch] |= *after == graph.branches[*branch].layers.len();
        }
    }
    let mut list: Vec<usize> = graph.losses.iter().map(|l| l.branch).collect();
    list.extend((0..graph.branches.len()).filter(|i| !consumed[*i]));
    let mut seen = Vec::new();
    list.retain(|i| {
        !seen.contains(i) && {
            seen.push(*i);
            true
        }
    });
    list.into_iter()
        .map(|i| (graph.branches[i].name.clone(), graph.branches[i].shape(graph.branches[i].layers.len()).to_vec()))
        .collect()
}

/// Reorders so that what training changes lies together: an update is one pass over one slice.
fn trained_first(params: &mut Vec<ParamInfo>, branches: &mut [BranchNode]) {
    let mut order: Vec<usize> = (0..params.len()).collect();
    order.sort_by_key(|i| !params[*i].trained);
    let mut place = vec![0; order.len()];
    for (new, old) in order.iter().enumerate() {
        place[*old] = new;
    }
    for layer in branches.iter_mut().flat_map(|b| &mut b.layers) {
        for (_, index) in &mut layer.params {
            *index = place[*index];
        }
    }
    *params = order.into_iter().map(|i| params[i].clone()).collect();
}
