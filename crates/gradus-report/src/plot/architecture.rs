//! A network as boxes of layers: what feeds what, what is shared, what is judged by which loss.

use std::collections::{BTreeMap, BTreeSet};

use gradus_record::{Drawing, DrawnBranch};

use super::axis::significant;
use super::font;
use super::frame::{nothing, wide};
use super::ink::Ink;
use super::scene::{Path, SMALL, Scene, Shape};
use super::{NARROW, Plot, WIDE};

const HEAD: f64 = 25.0;
const ROW: f64 = 18.0;
const PILL: f64 = 36.0;
const PAD: f64 = 9.0;
/// More layers than these in a branch are summed up in a line.
const FIRST: usize = 40;
const LAST: usize = 20;
/// More branches than this are left out, and said to be.
const MOST: usize = 120;
/// A wider picture is laid out from top to bottom.
const WIDEST: f64 = 1080.0;

/// Draws a network: its inputs, branches of layers with shapes and parameters, weights that are shared, losses, outputs.
pub fn architecture(drawing: &Drawing) -> Plot {
    let parameters: u64 = drawing.branches.iter().map(own).fold(0, u64::saturating_add);
    let title = format!("Network of {} parameters", thousands(parameters));
    let mut words: Vec<String> = drawing
        .branches
        .iter()
        .take(MOST)
        .map(|b| {
            let layers: Vec<&str> = b.layers.iter().take(FIRST).map(|l| l.text.as_str()).collect();
            let shares = b.shares.iter().map(|s| format!(", sharing the weights of {s}")).collect::<String>();
            format!("{} from {}: {}{shares}", b.name, b.from.join(" and "), layers.join(", "))
        })
        .collect();
    words.extend(drawing.losses.iter().take(MOST).map(|l| format!("Loss {} of {}: {}", l.name, l.of, l.kind)));
    Plot::both(title, words.join(". "), |width| draw(drawing, width))
}

fn own(branch: &DrawnBranch) -> u64 {
    branch.layers.iter().fold(0, |sum, l| sum.saturating_add(l.parameters))
}

/// `1,234,567`.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

fn shape(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

/// A place that is referred to: `pair[0]`, `left`, `left:conv1`.
fn split(from: &str) -> (&str, Option<&str>) {
    match from.split_once(':') {
        Some((name, place)) => (name, Some(place)),
        None => (from.split_once('[').map_or(from, |(name, _)| name), None),
    }
}

/// A line in a box: what, its output, its parameters.
struct Row {
    text: String,
    output: String,
    parameters: String,
}

/// A label at the foot of a box: where something ends.
struct End {
    ink: Ink,
    first: String,
    second: String,
}

#[derive(Default)]
struct Card {
    name: String,
    /// At the right of its name.
    note: String,
    /// Below its name.
    joins: String,
    rows: Vec<Row>,
    ends: Vec<End>,
    /// The colour of a group that shares weights.
    group: Option<Ink>,
    auxiliary: bool,
    input: bool,
    depth: usize,
    /// The layers' places in `rows`.
    row_of: Vec<usize>,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    /// In how many columns the rows stand.
    folds: usize,
}

struct Edge {
    from: usize,
    /// The row it leaves from; the last one where it is `None`.
    row: Option<usize>,
    to: usize,
}

impl Card {
    fn top(&self) -> f64 {
        HEAD + if self.joins.is_empty() { 0.0 } else { 16.0 }
    }

    fn lines(&self) -> usize {
        self.rows.len().div_ceil(self.folds.max(1))
    }

    fn measure(&mut self, most: f64) {
        let folds = self.folds.max(1) as f64;
        let [text, output, parameters] = self.columns();
        let rows = text + output + parameters + 2.0 * PAD;
        let head = font::width(&self.name, SMALL + 1.0, true) + font::width(&self.note, SMALL - 1.0, false) + 36.0;
        let ends = self
            .ends
            .iter()
            .map(|e| font::width(&e.first, SMALL, true).max(font::width(&e.second, SMALL - 1.0, false)) + 34.0);
        let joins = font::width(&self.joins, SMALL - 1.0, false) + 2.0 * PAD;
        self.width = ends.fold((rows * folds).max(head).max(joins), f64::max).clamp(70.0, most);
        self.height = self.top() + ROW * self.lines() as f64 + PILL * self.ends.len() as f64 + 6.0;
    }

    /// The widths of the three columns of its rows.
    fn columns(&self) -> [f64; 3] {
        let widest = |what: &dyn Fn(&Row) -> &String| {
            self.rows.iter().map(|r| font::width(what(r), SMALL, false)).fold(0.0, f64::max)
        };
        let gap = |w: f64| if w > 0.0 { w + 12.0 } else { 0.0 };
        [widest(&|r| &r.text).min(240.0), gap(widest(&|r| &r.output)), gap(widest(&|r| &r.parameters))]
    }

    /// The middle of a row, or of the last one.
    fn row(&self, row: Option<usize>) -> f64 {
        let last = self.lines().saturating_sub(1);
        if self.rows.is_empty() {
            return self.y + HEAD / 2.0;
        }
        let line = row.map_or(last, |r| r % self.lines().max(1));
        self.y + self.top() + ROW * (line as f64 + 0.5)
    }
}

fn draw(drawing: &Drawing, width: f64) -> Scene {
    if drawing.branches.is_empty() && drawing.inputs.is_empty() {
        return nothing(width, "");
    }
    let (mut cards, edges) = cards(drawing);
    let mut scene = Scene::new(width, 0.0);
    let placed = wide(width) && across(&mut cards, &mut scene);
    if !placed {
        down(&mut cards, &edges, &mut scene, width.min(if wide(width) { 520.0 } else { NARROW }));
    }
    if placed {
        for edge in &edges {
            arrow(&mut scene, &cards, &edges, edge);
        }
    }
    for card in &cards {
        paint(&mut scene, card);
    }
    let mut note = "In each box: layer, output shape, parameters.".to_string();
    if cards.iter().any(|c| c.group.is_some()) {
        note += " Boxes of one colour share their weights.";
    }
    if cards.iter().any(|c| c.auxiliary) {
        note += " Dashed: trained with the others, not used by the main output.";
    }
    if drawing.branches.len() > MOST {
        note += &format!(" {} more branches are not drawn.", drawing.branches.len() - MOST);
    }
    let mut y = scene.height + 4.0;
    for line in font::wrap(&note, SMALL, false, scene.width - 8.0) {
        y += 16.0;
        scene.text(4.0, y, line).size(SMALL).muted();
    }
    scene.height = y + 8.0;
    scene
}

/// Boxes for inputs and branches, and what feeds what.
fn cards(drawing: &Drawing) -> (Vec<Card>, Vec<Edge>) {
    let inputs = &drawing.inputs[..drawing.inputs.len().min(MOST)];
    let branches = &drawing.branches[..drawing.branches.len().min(MOST)];
    let index = |name: &str| {
        let branch = branches.iter().position(|b| b.name == name).map(|i| i + inputs.len());
        branch.or_else(|| inputs.iter().position(|p| p.name == name))
    };
    let mut edges = Vec::new();
    let mut cards: Vec<Card> = Vec::new();
    for port in inputs {
        // Parts that are used apart are lines apart.
        let parts: BTreeSet<&String> =
            branches.iter().flat_map(|b| &b.from).filter(|f| **f != port.name && split(f).0 == port.name).collect();
        let rows = parts.into_iter().take(FIRST);
        let rows = rows.map(|f| Row { text: f.clone(), output: String::new(), parameters: String::new() }).collect();
        cards.push(Card { name: port.name.clone(), note: shape(&port.shape), rows, input: true, ..Card::default() });
    }
    // Groups are numbered in the order they appear.
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    for branch in branches {
        if let Some(owner) = &branch.shares {
            let n = groups.len();
            groups.entry(owner).or_insert(n);
        }
    }
    let used = ancestors(drawing);
    for branch in branches {
        let owner = branch.shares.as_deref().unwrap_or(&branch.name);
        let mut card = Card {
            name: branch.name.clone(),
            note: match &branch.shares {
                Some(owner) => format!("weights of {owner}, 0 own"),
                None => thousands(own(branch)),
            },
            group: groups.get(owner).map(|g| Ink::Series([0, 2, 3, 4, 5, 6, 7][g % 7])),
            auxiliary: !used.contains(branch.name.as_str()),
            ..Card::default()
        };
        if branch.from.len() > 1 {
            let join = if branch.join == "add" { "adds " } else { "joins " };
            card.joins = format!("{join}{}", branch.from.join(", "));
        }
        let n = branch.layers.len();
        let fold = n > FIRST + LAST + 1;
        for (i, layer) in branch.layers.iter().enumerate() {
            card.row_of.push(if !fold || i < FIRST {
                i
            } else if i < n - LAST {
                FIRST
            } else {
                FIRST + 1 + i - (n - LAST)
            });
            if fold && i == FIRST {
                let hidden = &branch.layers[FIRST..n - LAST];
                let sum = hidden.iter().fold(0_u64, |s, l| s.saturating_add(l.parameters));
                let output = hidden.last().map(|l| shape(&l.output)).unwrap_or_default();
                card.rows
                    .push(Row { text: format!("… {} layers", hidden.len()), output, parameters: thousands(sum) });
            }
            if fold && (FIRST..n - LAST).contains(&i) {
                continue;
            }
            let parameters = if layer.parameters == 0 { String::new() } else { thousands(layer.parameters) };
            card.rows.push(Row { text: layer.text.clone(), output: shape(&layer.output), parameters });
        }
        cards.push(card);
    }
    for (b, branch) in branches.iter().enumerate() {
        for from in &branch.from {
            let (name, place) = split(from);
            let Some(source) = index(name) else { continue };
            let row = match cards[source].input {
                true => cards[source].rows.iter().position(|r| r.text == *from),
                false => place.and_then(|p| row_at(&branches[source - inputs.len()], &cards[source], p)),
            };
            edges.push(Edge { from: source, row, to: b + inputs.len() });
        }
    }
    for (i, output) in drawing.outputs.iter().enumerate() {
        let first = if i == 0 { "main output" } else { "output" };
        if let Some(card) = index(split(&output.name).0).map(|i| &mut cards[i]) {
            let (ink, second) = (Ink::Better, format!("{} numbers", shape(&output.shape)));
            card.ends.push(End { ink, first: first.into(), second });
        }
    }
    for loss in drawing.losses.iter().take(MOST) {
        let (name, place) = split(&loss.of);
        let Some(card) = index(name).map(|i| &mut cards[i]) else { continue };
        let at = place.map(|p| format!(" at {p}")).unwrap_or_default();
        let against = loss.target.iter().map(|t| format!(" against {t}")).collect::<String>();
        card.ends.push(End {
            ink: Ink::Worse,
            first: format!("loss {}{at} × {}", loss.name, significant(loss.weight, 3)),
            second: format!("{}{against}", loss.kind),
        });
    }
    // A branch stands behind all that feed it. (A cycle cannot be trained; here it ends after as many steps as boxes.)
    for _ in 0..cards.len() {
        let mut moved = false;
        for edge in &edges {
            let depth = (cards[edge.from].depth + 1).min(cards.len());
            if cards[edge.to].depth < depth {
                (cards[edge.to].depth, moved) = (depth, true);
            }
        }
        if !moved {
            break;
        }
    }
    (cards, edges)
}

/// The row of a place in a branch: a label, or a layer's number.
fn row_at(branch: &DrawnBranch, card: &Card, place: &str) -> Option<usize> {
    let named = branch
        .layers
        .iter()
        .position(|l| l.path.strip_prefix(&branch.name).and_then(|p| p.strip_prefix('.')).unwrap_or(&l.path) == place);
    let labelled = || branch.layers.iter().position(|l| l.path.rsplit('.').next() == Some(place));
    let layer = named.or_else(labelled).or_else(|| place.parse().ok())?;
    card.row_of.get(layer).copied()
}

/// The branches that the main output needs.
fn ancestors(drawing: &Drawing) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let Some(main) = drawing.outputs.first() else {
        return drawing.branches.iter().map(|b| b.name.as_str()).collect();
    };
    let mut open = vec![split(&main.name).0];
    while let Some(name) = open.pop() {
        if found.insert(name) {
            let feeds = drawing.branches.iter().filter(|b| b.name == name).flat_map(|b| &b.from);
            open.extend(feeds.map(|f| split(f).0));
        }
    }
    found
}

/// Places boxes in columns from left to right; false where that would be too wide.
fn across(cards: &mut [Card], scene: &mut Scene) -> bool {
    const GAP: f64 = 46.0;
    // A long chain alone is folded instead of standing as a tower.
    let alone = cards.iter().filter(|c| !c.input).count() == 1;
    for card in cards.iter_mut() {
        card.folds = if alone && !card.input { card.rows.len().div_ceil(24).clamp(1, 3) } else { 1 };
        card.measure(if alone { 900.0 } else { 300.0 });
    }
    let depths: BTreeSet<usize> = cards.iter().map(|c| c.depth).collect();
    let columns: Vec<Vec<usize>> =
        depths.iter().map(|d| (0..cards.len()).filter(|i| cards[*i].depth == *d).collect()).collect();
    let widths: Vec<f64> = columns.iter().map(|c| c.iter().map(|i| cards[*i].width).fold(0.0, f64::max)).collect();
    let total = widths.iter().sum::<f64>() + GAP * (columns.len() - 1) as f64 + 4.0;
    if total > WIDEST {
        return false;
    }
    let tall = |column: &Vec<usize>, cards: &[Card]| {
        column.iter().map(|i| cards[*i].height).sum::<f64>() + 16.0 * (column.len() - 1) as f64
    };
    let height = columns.iter().map(|c| tall(c, cards)).fold(0.0, f64::max);
    scene.width = total.max(WIDE);
    let mut x = 2.0 + (scene.width - total) / 2.0;
    for (column, width) in columns.iter().zip(&widths) {
        let mut y = 2.0 + (height - tall(column, cards)) / 2.0;
        for i in column {
            // Inputs stand at the right of their column, so that their arrows are short.
            let card = &mut cards[*i];
            card.width = card.width.max(if card.input { 0.0 } else { *width });
            (card.x, card.y) = (x + width - card.width, y);
            y += card.height + 16.0;
        }
        x += width + GAP;
    }
    scene.height = height + 4.0;
    true
}

/// Places boxes below each other, with arrows at their right.
fn down(cards: &mut [Card], edges: &[Edge], scene: &mut Scene, width: f64) {
    const LANE: f64 = 9.0;
    scene.width = width;
    let mut order: Vec<usize> = (0..cards.len()).collect();
    order.sort_by_key(|i| cards[*i].depth);
    // All that leave from one place share a lane, which is free again behind the last of them.
    let rank = |i: usize| order.iter().position(|o| *o == i).unwrap_or(0);
    let mut spans: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for edge in edges.iter().filter(|e| rank(e.to) > rank(e.from)) {
        let row = edge.row.unwrap_or(usize::MAX);
        let end = spans.entry((rank(edge.from), row)).or_insert(0);
        *end = (*end).max(rank(edge.to));
    }
    let mut lanes: Vec<usize> = Vec::new();
    let mut lane_of: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for ((start, row), end) in &spans {
        // Long ones stay outside.
        let lane = lanes.iter().position(|until| until <= start).unwrap_or(lanes.len());
        if lane == lanes.len() {
            lanes.push(0);
        }
        lanes[lane] = *end;
        lane_of.insert((*start, *row), lane);
    }
    let gutter = (lanes.len() as f64 * LANE + 12.0).min(width * 0.35);
    let lane_width = (gutter - 12.0) / lanes.len().max(1) as f64;
    let card_width = width - gutter - 4.0;
    let mut y = 2.0;
    for i in &order {
        let card = &mut cards[*i];
        card.folds = 1;
        card.measure(card_width);
        (card.x, card.y, card.width) = (2.0, y, card_width);
        y += card.height + 14.0;
    }
    scene.height = y - 10.0;
    let mut arrived: BTreeMap<usize, usize> = BTreeMap::new();
    for edge in edges.iter().filter(|e| rank(e.to) > rank(e.from)) {
        let (source, target) = (&cards[edge.from], &cards[edge.to]);
        let lane = lane_of[&(rank(edge.from), edge.row.unwrap_or(usize::MAX))];
        let right = source.x + source.width;
        let x = right + 12.0 + lane_width * (lane as f64 + 0.3);
        let nth = arrived.entry(edge.to).or_insert(0);
        let to = target.y + (8.0 + 7.0 * *nth as f64).min(target.height - 6.0);
        *nth += 1;
        let ink = source.group.unwrap_or(Ink::Muted);
        let from = source.row(edge.row);
        scene.stroke(Path::line([(right, from), (x, from), (x, to), (right + 3.0, to)]), ink.stroke(1.5));
        head(scene, right, to, -1.0, ink);
    }
}

/// An arrow from box to box, from left to right.
fn arrow(scene: &mut Scene, cards: &[Card], edges: &[Edge], edge: &Edge) {
    let (source, target) = (&cards[edge.from], &cards[edge.to]);
    let (x0, y0) = (source.x + source.width, source.row(edge.row));
    let before = edges.iter().filter(|e| e.to == edge.to).position(|e| std::ptr::eq(e, edge)).unwrap_or(0);
    let (x1, y1) = (target.x, target.y + (10.0 + 9.0 * before as f64).min(target.height - 6.0));
    let ink = source.group.unwrap_or(Ink::Muted);
    let bend = ((x1 - x0) * 0.5).clamp(10.0, 60.0);
    use super::scene::Segment::{Cubic, Move};
    scene.stroke(Path(vec![Move(x0, y0), Cubic(x0 + bend, y0, x1 - bend, y1, x1 - 3.0, y1)]), ink.stroke(1.5));
    head(scene, x1, y1, 1.0, ink);
}

fn head(scene: &mut Scene, x: f64, y: f64, side: f64, ink: Ink) {
    let mut path = Path::default();
    path.add_loop([(x, y), (x - 7.0 * side, y - 3.8), (x - 7.0 * side, y + 3.8)]);
    scene.fill(path, ink.paint());
}

fn paint(scene: &mut Scene, card: &Card) {
    let (x, y, width, height) = (card.x, card.y, card.width, card.height);
    let edge = card.group.unwrap_or(Ink::Muted);
    let radius = if card.input { 12.0 } else { 5.0 };
    scene.shape(Shape {
        path: Path::card(x, y, width, height, radius),
        fill: Some(Ink::Surface.paint()),
        stroke: Some(edge.stroke(if card.group.is_some() { 1.8 } else { 1.0 }).dashed(card.auxiliary)),
        title: None,
    });
    if card.group.is_some() {
        scene.fill(Path::card(x, y, width, HEAD, radius), edge.faint(0.16));
    }
    let named = font::width(&card.name, SMALL + 1.0, true).min(width * 0.5) + 0.5;
    scene.fitted(x + PAD, y + 17.0, &card.name, SMALL + 1.0, true, named);
    let room = width - named - 3.0 * PAD;
    scene.fitted(x + width - PAD, y + 17.0, &card.note, SMALL - 1.0, false, room).muted().end();
    if !card.joins.is_empty() {
        scene.fitted(x + PAD, y + HEAD + 9.0, &card.joins, SMALL - 1.0, false, width - 2.0 * PAD).muted();
    }
    if !card.rows.is_empty() && !card.input {
        scene.line((x, y + card.top()), (x + width, y + card.top()), Ink::Grid.stroke(1.0));
    }
    let folds = card.folds.max(1);
    let part = width / folds as f64;
    let [_, output, parameters] = card.columns();
    for (i, row) in card.rows.iter().enumerate() {
        let (fold, line) = (i / card.lines().max(1), i % card.lines().max(1));
        let left = x + part * fold as f64;
        let base = y + card.top() + ROW * line as f64 + 13.5;
        let end = left + part - PAD;
        // What a layer is comes first where not all fits.
        let output = output.min(part * 0.35);
        let room = part - 2.0 * PAD - output - parameters;
        scene.fitted(left + PAD, base, &row.text, SMALL, false, room.max(20.0));
        scene.fitted(end - parameters, base, &row.output, SMALL, false, output).muted().end();
        scene.text(end, base, row.parameters.clone()).size(SMALL).muted().end();
    }
    let mut foot = y + card.top() + ROW * card.lines() as f64 + 4.0;
    for end in &card.ends {
        let path = Path::card(x + 6.0, foot, width - 12.0, PILL - 4.0, 4.0);
        let stroke = end.ink.faint(0.6).stroke(1.0).dashed(card.auxiliary);
        scene.shape(Shape { path, fill: Some(end.ink.faint(0.1)), stroke: Some(stroke), title: None });
        scene.fitted(x + 13.0, foot + 13.5, &end.first, SMALL, true, width - 26.0).ink(end.ink);
        scene.fitted(x + 13.0, foot + 27.0, &end.second, SMALL - 1.0, false, width - 26.0);
        foot += PILL;
    }
}
