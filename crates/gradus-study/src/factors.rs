//! `[matrix]` and `[tune]`: keys of arms with lists of values, and the arms that their combinations make.

use gradus::Registry;
use gradus::spec::suggest;
use indexmap::IndexMap;

use crate::diagnostic::{Place, Read};
use crate::keys::{ARM, STUDY, Section};
use crate::read::check;
use crate::set::Assignment;
use crate::tree::{Entry, Node, Table, Value};

/// The most arms, and candidates, that a file makes.
pub(crate) const MAX_COMBINATIONS: usize = 1000;

/// A key of arms and the values it takes.
pub(crate) struct Factor {
    /// The keys as they stand in the file: `train`, `optimizer`, `lr`, or `arm`, `net1` and so on.
    keys: Vec<(String, Place)>,
    levels: Vec<Level>,
}

struct Level {
    text: String,
    node: Node,
}

/// Values for an arm, by what they change: `train.optimizer.lr`.
pub(crate) type Values = IndexMap<String, String>;

/// An arm that a combination makes.
pub(crate) struct Combination {
    /// `net1 lr=0.01 batch=20`.
    pub name: String,
    pub values: Values,
    /// A patch of the arm it is made from, with its place.
    pub entry: Entry,
}

/// The factors of a table that has passed [`check`]: all its keys but those it has by itself.
pub(crate) fn read(section: &Section, table: &Table) -> Read<Vec<Factor>> {
    let mut list = Vec::new();
    for (name, entry) in table.iter().filter(|(name, _)| section.key(name).is_none()) {
        walk(&mut Vec::new(), name, entry, &mut list)?;
    }
    let mut seen: Vec<String> = Vec::new();
    for factor in &list {
        if seen.contains(&factor.key()) {
            return Err(factor.place().error(format_args!("`{}` is given twice", factor.key())));
        }
        seen.push(factor.key());
    }
    Ok(list)
}

fn walk(keys: &mut Vec<(String, Place)>, name: &str, entry: &Entry, list: &mut Vec<Factor>) -> Read<()> {
    let before = keys.len();
    // A quoted key may hold the whole path.
    let parts = if before == 0 { name.split('.').collect() } else { vec![name] };
    keys.extend(parts.into_iter().map(|part| (part.trim().to_string(), entry.key.clone())));
    match &entry.node.value {
        Value::List(items) if !items.is_empty() => {
            let mut levels: Vec<Level> = Vec::new();
            for node in items {
                let text = label(node, levels.len());
                if levels.iter().any(|l| l.text == text) {
                    return Err(node.place.error(format_args!("{text} stands in the list twice")));
                }
                levels.push(Level { text, node: node.clone() });
            }
            list.push(Factor { keys: keys.clone(), levels });
        }
        Value::Table(table) if !table.is_empty() => {
            table.iter().try_for_each(|(name, entry)| walk(keys, name, entry, list))?;
        }
        _ => {
            let found =
                if matches!(entry.node.value, Value::List(_)) { "an empty one".into() } else { entry.node.describe() };
            return Err(entry.node.place.error(format_args!(
                "`{name}` takes a list of values, such as `train.optimizer.lr = [0.01, 0.03]`, found {found}"
            )));
        }
    }
    keys.truncate(before);
    Ok(())
}

/// A value as it stands in an arm's name: without quotes and commas, and by its number where it is long.
fn label(node: &Node, index: usize) -> String {
    let text = match &node.value {
        Value::Text(t) => t.clone(),
        _ => node.place.text().to_string(),
    };
    let plain: String = text.chars().map(|c| if "\"',;\\".contains(c) || c.is_control() { ' ' } else { c }).collect();
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if plain.is_empty() || plain.chars().count() > 40 { format!("#{}", index + 1) } else { plain }
}

/// Whether an arm is the one of that name, or made from it.
fn of_arm(arm: &str, name: &str) -> bool {
    arm.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

impl Factor {
    fn place(&self) -> &Place {
        &self.keys.last().expect("a key has a name").1
    }

    /// As it is written: `arm.net1.train.optimizer.lr`.
    fn key(&self) -> String {
        self.keys.iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>().join(".")
    }

    /// The keys within arm `arm`; `None` when it is for another arm.
    fn within(&self, arm: &str) -> Option<&[(String, Place)]> {
        match &self.keys[..] {
            [(first, _), (name, _), rest @ ..] if first == "arm" => of_arm(arm, name).then_some(rest),
            keys => Some(keys),
        }
    }

    /// `train.optimizer.lr` of an arm.
    fn path(&self, arm: &str) -> Option<String> {
        Some(self.within(arm)?.iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>().join("."))
    }

    /// That it changes something of the arms written out in `arms`, of which `of` are meant.
    fn check(&self, of: &[&str], arms: &Table) -> Read<()> {
        let (first, place) = &self.keys[0];
        let keys = if first == "arm" {
            let known: Vec<&str> = arms.keys().map(String::as_str).collect();
            match self.keys.get(1) {
                Some((name, _)) if of.iter().any(|arm| of_arm(arm, name)) => {}
                Some((name, place)) if arms.contains_key(name) => {
                    return Err(place.error(format_args!("arm `{name}` is none of those it is for: {}", of.join(", "))));
                }
                Some((name, place)) => {
                    return Err(place.error(format_args!("there is no arm `{name}`{}", suggest(name, &known))));
                }
                None => return Err(place.error("expected `arm.NAME.KEY`")),
            }
            &self.keys[2..]
        } else {
            &self.keys[..]
        };
        let Some((first, place)) = keys.first() else { return Err(self.place().error("expected a key of the arm")) };
        match (ARM.key(first), STUDY.key(first)) {
            (Some(_), _) if matches!(first.as_str(), "base" | "description" | "tune") => {
                Err(place.error(format_args!("`{first}` is no value that can be varied")))
            }
            (Some(_), _) if first == "loss" && keys.len() > 1 => self.check_part(of, arms, "loss", &keys[1]),
            (Some(_), _) => Ok(()),
            (None, Some(_)) => Err(place.error(format_args!("`{first}` is of the whole study, not of an arm"))),
            (None, None) => self.check_part(of, arms, "branch", &keys[0]),
        }
    }

    /// That every arm it is for has the branch or loss.
    fn check_part(&self, of: &[&str], arms: &Table, what: &str, (name, place): &(String, Place)) -> Read<()> {
        for arm in of.iter().filter(|arm| self.within(arm).is_some()) {
            let table = arms.get(*arm).and_then(|e| e.node.table());
            let table = if what == "loss" { table.and_then(|t| t.get("loss")?.node.table()) } else { table };
            if table.is_some_and(|t| t.contains_key(name)) {
                continue;
            }
            let mut known: Vec<&str> = table.into_iter().flatten().map(|(k, _)| k.as_str()).collect();
            if what == "branch" {
                known.extend(ARM.names().into_iter().filter(|k| !matches!(*k, "base" | "description" | "tune")));
                known.dedup();
            }
            return Err(place.error(format_args!("arm `{arm}` has no {what} `{name}`{}", suggest(name, &known))));
        }
        Ok(())
    }
}

/// The combinations of `factors` for each of the arms `of`, which are written out in `arms`; of an arm that no factor is for, none.
/// `place` is that of the whole table.
pub(crate) fn combine(
    factors: &[Factor],
    of: &[&str],
    arms: &Table,
    place: &Place,
) -> Read<IndexMap<String, Vec<Combination>>> {
    factors.iter().try_for_each(|f| f.check(of, arms))?;
    let for_arm = |arm: &str| factors.iter().filter(|f| f.within(arm).is_some()).collect::<Vec<_>>();
    let count = |arm: &&str| {
        let mine = for_arm(arm);
        if mine.is_empty() { Some(0) } else { mine.iter().try_fold(1usize, |n, f| n.checked_mul(f.levels.len())) }
    };
    let all = of.iter().map(count).try_fold(0usize, |n, m| n.checked_add(m?));
    if all.is_none_or(|n| n > MAX_COMBINATIONS) {
        let n = all.map_or("far too many".into(), |n| n.to_string());
        return Err(place.error(format_args!("this makes {n} combinations; at most {MAX_COMBINATIONS} are possible")));
    }
    let mut made = IndexMap::new();
    for arm in of {
        let mine = for_arm(arm);
        let short = short_names(&mine.iter().map(|f| f.within(arm).unwrap_or_default()).collect::<Vec<_>>());
        let n = count(arm).unwrap_or(0);
        let mut list = Vec::new();
        for i in 0..n {
            // The first factor changes slowest.
            let mut stride = n;
            let levels: Vec<&Level> = mine
                .iter()
                .map(|f| {
                    stride /= f.levels.len();
                    &f.levels[i / stride % f.levels.len()]
                })
                .collect();
            let words: Vec<String> = short.iter().zip(&levels).map(|(k, l)| format!("{k}={}", l.text)).collect();
            let values = mine.iter().zip(&levels).map(|(f, l)| (f.path(arm).unwrap_or_default(), l.text.clone()));
            let at = levels.last().map_or(place, |l| &l.node.place).clone();
            let text = Node { value: Value::Text((*arm).to_string()), place: at.clone() };
            let patch = Table::from([("base".to_string(), Entry { key: at.clone(), node: text })]);
            list.push(Combination {
                name: format!("{arm} {}", words.join(" ")),
                values: values.collect(),
                entry: Entry { key: at.clone(), node: Node { value: Value::Table(patch), place: at } },
            });
        }
        made.insert((*arm).to_string(), list);
    }
    Ok(made)
}

/// Puts combinations into the file's tree as arms, each a patch of the arm it is made from.
pub(crate) fn plant(
    tree: &mut Table,
    factors: &[Factor],
    made: &IndexMap<String, Vec<Combination>>,
    registry: &Registry,
) -> Read<()> {
    for (arm, list) in made {
        for combination in list {
            let Some(Value::Table(arms)) = tree.get_mut("arm").map(|e| &mut e.node.value) else { continue };
            arms.insert(combination.name.clone(), combination.entry.clone());
            for factor in factors {
                let (Some(keys), Some(path)) = (factor.within(arm), factor.path(arm)) else { continue };
                let chosen = combination.values.get(&path);
                let Some(level) = factor.levels.iter().find(|l| Some(&l.text) == chosen) else { continue };
                let place = factor.place();
                let mut whole = vec![("arm".to_string(), place.clone()), (combination.name.clone(), place.clone())];
                whole.extend_from_slice(keys);
                Assignment { keys: whole, value: level.node.clone() }.apply(tree, registry)?;
            }
            let planted = tree.get("arm").and_then(|e| e.node.table()?.get(&combination.name)?.node.table());
            let mut changes = planted.cloned().unwrap_or_default();
            changes.shift_remove("base");
            check(&ARM, &changes, registry)?;
        }
    }
    Ok(())
}

/// For each path as few of its last parts as tell it from the others.
fn short_names(paths: &[&[(String, Place)]]) -> Vec<String> {
    let tail = |path: &[(String, Place)], n: usize| {
        let from = path.len().saturating_sub(n);
        path[from..].iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>().join(".")
    };
    let one = |(i, path): (usize, &&[(String, Place)])| {
        let alone = |n: &usize| !paths.iter().enumerate().any(|(j, other)| j != i && tail(other, *n) == tail(path, *n));
        tail(path, (1..=path.len()).find(alone).unwrap_or(path.len()))
    };
    paths.iter().enumerate().map(one).collect()
}
