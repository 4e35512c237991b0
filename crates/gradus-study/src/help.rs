//! Pages about layers, losses, keys …, made from the lists that parse.

use std::fmt::Write as _;

use gradus::error::{Error, Kind, Result};
use gradus::init::Init;
use gradus::spec::{ArgDef, suggest};

use crate::data::Source;
use crate::keys::{Family, KeyDef, SECTIONS, Section};
use crate::spec::About;

/// Something that has a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// What to ask for: `Conv2d`, `train.epochs`.
    pub name: String,
    /// The heading it stands under: `layers`.
    pub group: &'static str,
    /// What it is, in a line.
    pub summary: String,
}

enum Page {
    Spec(Family, About),
    Init(&'static str, &'static str),
    Source(Source),
    Section(&'static Section),
    Key(&'static Section, &'static KeyDef),
}

fn pages() -> Vec<(Topic, Page)> {
    let mut list = Vec::new();
    let mut push = |name: &str, group, summary: &str, page| {
        let summary = summary.lines().next().unwrap_or_default().to_string();
        list.push((Topic { name: name.to_string(), group, summary }, page));
    };
    for family in Family::ALL {
        for about in family.list() {
            push(about.name, group(family), about.summary, Page::Spec(family, about));
        }
    }
    for (name, _, what) in Init::ALL {
        push(name, "initialisers", what, Page::Init(name, what));
    }
    for source in Source::ALL {
        push(source.name(), "data sources", source.about(), Page::Source(source));
    }
    for section in SECTIONS {
        let (first, _) = section.summary.split_once(". ").unwrap_or((section.summary, ""));
        push(section.name, "tables of a file", first.trim_end_matches('.'), Page::Section(section));
    }
    for section in SECTIONS {
        for key in section.keys {
            push(&format!("{}.{}", section.name, key.name), "keys", key.help, Page::Key(section, key));
        }
    }
    list
}

fn group(family: Family) -> &'static str {
    match family {
        Family::Layer => "layers",
        Family::Loss => "losses",
        Family::Optimizer => "optimizers",
        Family::Schedule => "schedules",
        Family::Transform => "transforms",
    }
}

/// Everything that has a page, in the order of [`index`].
pub fn topics() -> Vec<Topic> {
    pages().into_iter().map(|(topic, _)| topic).collect()
}

/// The list of all topics.
pub fn index() -> String {
    let topics = topics();
    let mut text = String::from("`gradus help TOPIC` prints a page. Topics:\n");
    let mut last = "";
    let width = topics.iter().map(|t| t.name.chars().count()).max().unwrap_or(0);
    for topic in &topics {
        if topic.group != last {
            last = topic.group;
            let _ = write!(text, "\n{last}\n");
        }
        let _ = writeln!(text, "  {:width$}  {}", topic.name, topic.summary);
    }
    text
}

/// The page of a topic: a layer, loss, optimiser, schedule, initialiser, data source, table or key; keys also without their
/// table, a heading of the index for all under it, and the name of an argument for what has it.
///
/// # Errors
/// [`Kind::Name`], with the nearest topic.
pub fn page(topic: &str) -> Result<String> {
    let topic = topic.trim().trim_start_matches('[').trim_end_matches(']');
    let pages = pages();
    let find = |same: &dyn Fn(&str, &str) -> bool| -> Vec<String> {
        let names = |t: &Topic, p: &Page| same(&t.name, topic) || matches!(p, Page::Key(_, k) if same(k.name, topic));
        pages.iter().filter(|(t, p)| names(t, p)).map(|(_, p)| p.write()).collect()
    };
    let mut found = find(&|a, b| a == b);
    if found.is_empty() {
        found = find(&|a, b| a.eq_ignore_ascii_case(b));
    }
    if found.is_empty() {
        let under: Vec<&Topic> = pages.iter().map(|(t, _)| t).filter(|t| t.group.eq_ignore_ascii_case(topic)).collect();
        if !under.is_empty() {
            let width = under.iter().map(|t| t.name.chars().count()).max().unwrap_or(0);
            found.push(under.iter().map(|t| format!("{:width$}  {}\n", t.name, t.summary)).collect());
        }
    }
    if found.is_empty() {
        let has = |p: &Page| matches!(p, Page::Spec(_, about) if about.args.iter().any(|a| a.name == topic));
        let owners: Vec<&str> = pages.iter().filter(|(_, p)| has(p)).map(|(t, _)| t.name.as_str()).collect();
        if !owners.is_empty() {
            found.push(format!("{topic} is an argument of {}: see `gradus help {}`\n", owners.join(", "), owners[0]));
        }
    }
    if found.is_empty() {
        let names: Vec<&str> = pages
            .iter()
            .flat_map(|(t, p)| [Some(t.name.as_str()), if let Page::Key(_, k) = p { Some(k.name) } else { None }])
            .flatten()
            .collect();
        let near = suggest(topic, &names);
        return Err(Error::new(
            Kind::Name,
            format_args!("there is no page about `{topic}`{near} (`gradus help` lists all)"),
        ));
    }
    Ok(found.join("\n"))
}

impl Page {
    fn write(&self) -> String {
        match self {
            Page::Spec(family, about) => spec(*family, about),
            Page::Init(name, what) => format!(
                "{name}: an initialiser\n\n    {what}\n\nIn a file\n  init = \"{name}\"               in [arm.NAME], for every layer that names none\n  \"Linear 25 init={name}\"       for one layer\n"
            ),
            Page::Source(source) => {
                let mut text = format!("{}: a data source\n\n", source.name());
                for line in source.about().lines() {
                    let _ = writeln!(text, "    {line}");
                }
                let _ = write!(text, "\nIn a file\n  [data]\n  source = \"{}\"\n\nKeys\n", source.name());
                let keys =
                    crate::keys::DATA.keys.iter().filter(|k| k.only.is_empty() || k.only.contains(&source.name()));
                list_keys(&mut text, keys.filter(|k| k.name != "source"));
                text
            }
            Page::Section(section) => {
                let mut text =
                    format!("{}: {}\n\n{}\n\nKeys\n", section.name, section.written, wrap(section.summary, 4));
                list_keys(&mut text, section.keys.iter());
                if let Some(other) = section.others {
                    let is = if other.name == "factor" { "is" } else { "names" };
                    let _ = writeln!(text, "  Every other key {is} a {}: {}", other.name, other.written);
                }
                text
            }
            Page::Key(section, key) => {
                let mut text = format!("{}: a key of {}\n\n{}\n\n", key.name, section.written, wrap(key.help, 4));
                let _ = writeln!(
                    text,
                    "  is       {}{}",
                    key.kind,
                    if key.removable() { ", or false: as if left out" } else { "" }
                );
                let _ = writeln!(text, "  default  {}", default(key.default, "none"));
                if !key.only.is_empty() {
                    let _ = writeln!(text, "  only     for source = {}", key.only.join(", "));
                }
                text
            }
        }
    }
}

fn default(value: Option<&str>, none: &str) -> String {
    match value {
        None => "it must be given".into(),
        Some("") => none.into(),
        Some(value) => value.into(),
    }
}

fn list_keys<'k>(text: &mut String, keys: impl Iterator<Item = &'k KeyDef>) {
    let keys: Vec<&KeyDef> = keys.collect();
    let width = keys.iter().map(|k| k.name.len()).max().unwrap_or(0);
    for key in keys {
        let value = match key.default {
            None => " (needed)".into(),
            Some("") => String::new(),
            Some(value) => format!(" ({value})"),
        };
        let _ = writeln!(text, "  {:width$}  {}{value}", key.name, key.help);
    }
}

fn spec(family: Family, about: &About) -> String {
    let About { name, summary, formula, shapes, args } = *about;
    let mut text = format!("{name}: {} — {summary}\n\n", family.article());
    for line in formula.split(";  ") {
        let _ = writeln!(text, "    {line}");
    }
    if !shapes.is_empty() && matches!(family, Family::Layer | Family::Loss) {
        let _ = write!(text, "\nShapes (of a sample)\n  {shapes}\n");
    }
    if !args.is_empty() {
        let _ = write!(text, "\nArguments, in this order\n");
        let width = args.iter().map(|a| a.name.len()).max().unwrap_or(0);
        for ArgDef { name, kind, default: value, help } in args {
            let value = match *value {
                None => "needed".to_string(),
                Some("") => "may be left out".into(),
                Some(value) => format!("default {value}"),
            };
            let _ = writeln!(text, "  {name:width$}  {help}\n  {:width$}  {kind}; {value}", "");
        }
    }
    let _ = write!(text, "\nIn a file\n  \"{}\"\n  {}\n", in_words(name, args), in_table(family, name, args));
    if family == Family::Layer {
        let _ = writeln!(
            text,
            "  A layer may have a label, \"a: {name} …\", for taps as in `from = \"branch:a\"`, and `init=NAME`."
        );
    }
    text
}

fn value(arg: &ArgDef) -> String {
    use gradus::spec::ArgKind::{Choice, Flag, Number, Pair};
    match (arg.default, arg.kind) {
        (Some(d), _) if !d.is_empty() => d.to_string(),
        (_, Choice(words)) => words.first().map_or_else(String::new, |w| (*w).to_string()),
        (_, Flag) => "true".into(),
        (_, Number) => "0.1".into(),
        (_, Pair) => "3".into(),
        _ => "16".into(),
    }
}

/// `Conv2d 16 3 stride=1`: what must be given by position, and the first argument that need not.
fn in_words(name: &str, args: &[ArgDef]) -> String {
    let mut words = vec![name.to_string()];
    words.extend(args.iter().take_while(|a| a.default.is_none()).map(value));
    words.extend(args.iter().find(|a| a.default.is_some()).map(|a| format!("{}={}", a.name, value(a))));
    words.join(" ")
}

fn in_table(family: Family, name: &str, args: &[ArgDef]) -> String {
    let quote = |a: &ArgDef| {
        let v = value(a);
        let plain = matches!(gradus::spec::Arg::parse(&v), gradus::spec::Arg::Text(_));
        format!("{} = {}", a.name, if plain { format!("\"{v}\"") } else { v })
    };
    let mut words = vec![format!("{} = \"{name}\"", family.name_key())];
    words.extend(args.iter().take_while(|a| a.default.is_none()).map(quote));
    words.extend(args.iter().find(|a| a.default.is_some()).map(quote));
    format!("{{ {} }}", words.join(", "))
}

fn wrap(text: &str, indent: usize) -> String {
    let (mut out, mut width) = (" ".repeat(indent), indent);
    for word in text.split_whitespace() {
        let n = word.chars().count();
        if width > indent && width + 1 + n > 100 {
            let _ = write!(out, "\n{}", " ".repeat(indent));
            width = indent;
        }
        if width > indent {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += n;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::SourceText;
    use crate::tree::{Node, Value};

    #[test]
    fn every_topic_has_a_page_and_stands_in_the_index() {
        let index = index();
        for topic in topics() {
            let page = page(&topic.name).unwrap();
            assert!(page.len() > 40 && index.contains(&topic.name), "{}: {page}", topic.name);
        }
        assert!(page("epochs").unwrap().contains("[train]"));
        assert!(page("[train]").unwrap().contains("accumulate"));
        assert!(page("linear").unwrap().contains("out_features"));
        assert!(page("layers").unwrap().contains("its layers"));
        assert!(page("optimizers").unwrap().contains("SGD"));
        assert!(page("momentum").unwrap().contains("SGD"));
        assert!(page("Liner").unwrap_err().to_string().contains("did you mean `Linear`"));
    }

    #[test]
    fn every_example_parses() {
        let registry = gradus::Registry::new();
        for family in Family::ALL {
            for about in family.list() {
                let words = in_words(about.name, about.args);
                let source = std::sync::Arc::new(SourceText {
                    name: "x".into(),
                    text: format!("t = {}", in_table(family, about.name, about.args)),
                });
                let table = crate::tree::parse(&source).unwrap();
                let node = Node { value: Value::Text(words), ..table["t"].node.clone() };
                let a = crate::spec::read(&node, family, &registry).unwrap();
                assert_eq!(crate::spec::read(&table["t"].node, family, &registry).unwrap(), a);
            }
        }
    }
}
