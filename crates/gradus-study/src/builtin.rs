//! The studies that Gradus carries: they work by bare name in an empty folder.

use std::path::Path;
use std::sync::Arc;

use gradus::error::{Error, Kind, Result};
use gradus::net::check_name;

use crate::diagnostic::{Diagnostic, Place, SourceText};
use crate::read::near;
use crate::set::Overrides;
use crate::study::Study;

macro_rules! studies {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../studies/", $name, ".toml")))),*]
    };
}

static STUDIES: &[(&str, &str)] = studies![
    "disk",
    "pairs",
    "pairs-best",
    "r1-disk",
    "r1-batches",
    "r2-disk",
    "r3-losses",
    "r4-sharing",
    "r4-time",
    "r4-aux",
    "r4-deep-aux",
    "r4-classes",
    "r4-depth",
    "r4-net3",
];

/// Name and text of every built-in study.
pub fn list() -> &'static [(&'static str, &'static str)] {
    STUDIES
}

/// The text of a built-in study.
pub fn find(name: &str) -> Option<&'static str> {
    STUDIES.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

/// Reads a study: a file if there is one of that path, else the built-in one of that name.
///
/// # Errors
/// When there is neither, or as [`Study::parse`].
pub fn open(name_or_path: &str, overrides: &Overrides) -> std::result::Result<Study, Box<Diagnostic>> {
    let path = Path::new(name_or_path);
    match find(name_or_path) {
        _ if path.is_file() => Study::read(path, overrides),
        Some(text) => Study::parse(text, &format!("{name_or_path}.toml"), overrides),
        None => {
            let source = Arc::new(SourceText { name: name_or_path.to_string(), text: String::new() });
            let at = Place::new(&source, 0..0);
            if path.is_dir() {
                return Err(at.error("this is a folder; a study is a file").of_kind(Kind::Io));
            }
            let what = "there is no such file, and no built-in study of that name";
            Err(at.error(format_args!("{what}{}", unknown(name_or_path))).of_kind(Kind::Name))
        }
    }
}

fn unknown(name: &str) -> String {
    let names: Vec<&str> = STUDIES.iter().map(|(n, _)| *n).collect();
    let file = format!("{name}.toml");
    let bare = name.strip_suffix(".toml").unwrap_or(name);
    let near = match (find(bare), Path::new(&file).is_file()) {
        (_, true) => format!("; did you mean `{file}`?"),
        (Some(_), _) => format!("; did you mean `{bare}`, without `.toml`?"),
        _ => near(bare, &names),
    };
    format!("{near}; built in: {}", names.join(", "))
}

/// The text of a new study file: a built-in one with its comments, and a line that says what it is for. `name` is that of the
/// new file, without `.toml`.
///
/// # Errors
/// [`Kind::Name`] when there is no such built-in study, or `name` cannot name a file.
pub fn new_file(name: &str, from: Option<&str>) -> Result<String> {
    check_name("study", name)?;
    let from = from.unwrap_or("disk");
    let Some(text) = find(from) else {
        return Err(Error::new(Kind::Name, format_args!("there is no built-in study `{from}`{}", unknown(from))));
    };
    let head = format!(
        "# {name}.toml: yours to edit. It began as the built-in study `{from}`. Every key and layer has a page: `gradus help train`.\n\n"
    );
    // The comments run the study by its name: by the new one from now on.
    let commands = ["train", "explain", "plan", "check"];
    let text = commands.iter().fold(text.to_string(), |text, command| {
        text.replace(&format!("gradus {command} {from}"), &format!("gradus {command} {name}.toml"))
    });
    Ok(head + &text)
}
