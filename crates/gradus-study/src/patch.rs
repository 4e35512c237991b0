//! Arms as patches: what an arm with `base` is, written out.

use gradus::Registry;
use gradus::spec::suggest;

use crate::diagnostic::Read;
use crate::keys::{ARM, KeyKind, Section};
use crate::spec;
use crate::tree::{Entry, Node, Table, Value};

/// The most arms a file may have.
pub(crate) const MAX_ARMS: usize = 256;
/// The most branches, and losses, of an arm as it is written.
const MAX_PARTS: usize = 256;
/// The most layers of an arm, and of a branch as it is written.
const MAX_LAYERS: usize = 4096;

/// Every arm without `base`, in the order of the file. Its tables have passed [`crate::read::check`].
pub(crate) fn write_out(arms: &Table, registry: &Registry) -> Read<Table> {
    if let Some((_, entry)) = arms.get_index(MAX_ARMS) {
        return Err(entry.key.error(format_args!("a study has at most {MAX_ARMS} arms")));
    }
    write_out_all(arms, registry)
}

/// As [`write_out`], with the arms that combinations made.
pub(crate) fn write_out_all(arms: &Table, registry: &Registry) -> Read<Table> {
    let mut done = Table::new();
    for name in arms.keys() {
        let entry = arm(name, arms, &mut done, &mut Vec::new(), registry)?;
        done.insert(name.clone(), entry);
    }
    Ok(arms.keys().filter_map(|name| done.get_key_value(name)).map(|(k, v)| (k.clone(), v.clone())).collect())
}

fn arm<'t>(
    name: &'t str,
    arms: &'t Table,
    done: &mut Table,
    chain: &mut Vec<&'t str>,
    registry: &Registry,
) -> Read<Entry> {
    if let Some(entry) = done.get(name) {
        return Ok(entry.clone());
    }
    let Entry { key, node } = &arms[name];
    let Some(patch) = node.table() else { return Err(node.place.error("an arm is a table")) };
    let mut table = Table::new();
    if let Some(Node { value: Value::Text(base), place }) = patch.get("base").map(|e| &e.node) {
        chain.push(name);
        if chain.contains(&base.as_str()) {
            return Err(
                place.error(format_args!("arms are each other's base in a circle: {} → {base}", chain.join(" → ")))
            );
        }
        let Some((base, _)) = arms.get_key_value(base) else {
            let known: Vec<&str> = arms.keys().map(String::as_str).filter(|k| *k != name).collect();
            return Err(place.error(format_args!("there is no arm `{base}`{}", suggest(base, &known))));
        };
        let entry = arm(base, arms, done, chain, registry)?;
        done.insert(base.clone(), entry.clone());
        let Value::Table(inherited) = entry.node.value else { unreachable!("an arm is a table") };
        table = inherited;
        table.shift_remove("description");
    }
    for (name, entry) in patch.iter().filter(|(k, _)| *k != "base") {
        match (ARM.key(name).map(|d| d.kind), &entry.node.value) {
            (Some(KeyKind::Table(section)), Value::Table(changes)) => {
                change(sub_table(&mut table, name, entry), changes, section, registry)?;
            }
            (Some(KeyKind::Named(_)), Value::Table(losses)) => {
                let own = sub_table(&mut table, name, entry);
                losses.iter().try_for_each(|(name, entry)| replace(own, "loss", name, entry))?;
            }
            (Some(_), _) => {
                table.insert(name.clone(), entry.clone());
            }
            (None, _) => replace(&mut table, "branch", name, entry)?,
        }
    }
    let layers = |e: &Entry| match e.node.table().and_then(|t| t.get("layers")).map(|e| &e.node.value) {
        Some(Value::List(items)) => items.len(),
        _ => 0,
    };
    let losses = table.get("loss").and_then(|e| e.node.table()).map_or(0, Table::len);
    if table.len() > MAX_PARTS || losses > MAX_PARTS || table.values().map(layers).sum::<usize>() > MAX_LAYERS {
        return Err(
            key.error(format_args!("an arm has at most {MAX_PARTS} branches and losses, and {MAX_LAYERS} layers"))
        );
    }
    Ok(Entry { key: key.clone(), node: Node { value: Value::Table(table), place: node.place.clone() } })
}

fn sub_table<'t>(table: &'t mut Table, name: &str, like: &Entry) -> &'t mut Table {
    let empty = || Entry {
        key: like.key.clone(),
        node: Node { value: Value::Table(Table::new()), place: like.node.place.clone() },
    };
    let entry = table.entry(name.to_string()).or_insert_with(empty);
    match &mut entry.node.value {
        Value::Table(table) => table,
        _ => unreachable!("checked: `{name}` is a table"),
    }
}

/// Replaces a branch or a loss, or deletes it.
fn replace(table: &mut Table, what: &str, name: &str, entry: &Entry) -> Read<()> {
    if !entry.node.is_false() {
        table.insert(name.to_string(), entry.clone());
        return Ok(());
    }
    match table.shift_remove(name) {
        Some(_) => Ok(()),
        None => {
            let known: Vec<&str> =
                table.keys().map(String::as_str).filter(|k| what == "loss" || ARM.key(k).is_none()).collect();
            let near = if known.is_empty() { String::new() } else { suggest(name, &known) };
            Err(entry.node.place.error(format_args!("there is no {what} `{name}` to delete{near}")))
        }
    }
}

/// Changes `table` key by key. An optimiser or a schedule without a name changes arguments of the one that is there.
pub(crate) fn change(table: &mut Table, changes: &Table, section: &'static Section, registry: &Registry) -> Read<()> {
    for (name, entry) in changes {
        if let (Some(KeyKind::Spec(family)), Value::Table(args)) =
            (section.key(name).map(|d| d.kind), &entry.node.value)
            && !args.contains_key(family.name_key())
            && let Some(there) = table.get_mut(name).filter(|e| !e.node.is_false())
        {
            let mut whole = spec::to_table(&there.node, family, registry)?;
            whole.extend(args.iter().map(|(k, v)| (k.clone(), v.clone())));
            there.node.value = Value::Table(whole);
            continue;
        }
        table.insert(name.clone(), entry.clone());
    }
    Ok(())
}

/// The branch or loss that an arm inherits: the table of the nearest arm along `base` that writes it.
pub(crate) fn inherited<'t>(arms: &'t Table, arm: &str, path: &[&str]) -> Option<&'t Entry> {
    let mut name = arm;
    for _ in 0..=arms.len() {
        let table = arms.get(name)?.node.table()?;
        if let Some(entry) = find(table, path) {
            return Some(entry);
        }
        let Value::Text(base) = &table.get("base")?.node.value else { return None };
        name = base;
    }
    None
}

fn find<'t>(table: &'t Table, path: &[&str]) -> Option<&'t Entry> {
    let entry = table.get(*path.first()?)?;
    if path.len() == 1 { Some(entry) } else { find(entry.node.table()?, &path[1..]) }
}
