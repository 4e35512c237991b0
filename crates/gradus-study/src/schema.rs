//! The JSON schema of study files, for editors.

use gradus::init::Init;
use gradus::spec::{ArgDef, ArgKind};
use serde_json::{Map, Value, json};

use crate::keys::{FACTOR, Family, KeyDef, KeyKind, SECTIONS, Section};
use crate::spec::About;

/// The JSON schema (2020-12) of study files, made from the lists that parse: for Taplo, Even Better TOML and others.
pub fn schema() -> Value {
    let mut defs = Map::new();
    for section in SECTIONS {
        defs.insert(section.name.to_string(), table(section));
    }
    for family in Family::ALL {
        defs.insert(family.what().to_string() + " spec", spec(family));
    }
    defs.insert("tap".into(), json!({ "type": "string", "pattern": TAP }));
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Gradus study",
        "$defs": defs,
    });
    if let (Some(schema), Value::Object(study)) = (schema.as_object_mut(), table(SECTIONS[0])) {
        schema.extend(study);
    }
    schema
}

const TAP: &str = r"^[^\s\[\]:]+(:[^\s\[\]:]+)?(\[[0-9]+\])?$";
const NAME: &str = "^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$";

fn table(section: &Section) -> Value {
    if section.name == FACTOR.name {
        let deeper = json!({ "type": "object", "additionalProperties": reference(section) });
        return json!({ "description": section.summary, "anyOf": [{ "type": "array", "minItems": 1 }, deeper] });
    }
    let properties: Map<String, Value> = section.keys.iter().map(|k| (k.name.to_string(), key(k))).collect();
    // Arms and [data] are patches: whether all is there is found when they are put together.
    let patch = matches!(section.name, "data" | "train" | "arm");
    let needed: Vec<&str> = section.keys.iter().filter(|k| k.default.is_none() && !patch).map(|k| k.name).collect();
    let others =
        section.others.map_or(json!(false), |other| json!({ "anyOf": [reference(other), { "const": false }] }));
    json!({
        "type": "object",
        "description": section.summary,
        "properties": properties,
        "required": needed,
        "additionalProperties": others,
    })
}

fn reference(section: &Section) -> Value {
    json!({ "$ref": format!("#/$defs/{}", section.name) })
}

fn key(def: &KeyDef) -> Value {
    let mut value = kind(def.kind);
    if def.removable() {
        value = json!({ "anyOf": [value, { "const": false }] });
    }
    let only = if def.only.is_empty() { String::new() } else { format!(" (source {})", def.only.join(", ")) };
    if let Some(value) = value.as_object_mut() {
        value.insert("description".into(), json!(format!("{}{only}", def.help)));
        if let Some(default) = def.default.filter(|d| !d.is_empty()) {
            // A default reads as the value it stands for.
            let default = serde_json::from_str(default).unwrap_or_else(|_| json!(default));
            let default = if matches!(def.kind, KeyKind::Choice(_)) && default.is_number() {
                json!(default.to_string())
            } else {
                default
            };
            value.insert("default".into(), default);
        }
    }
    value
}

fn kind(kind: KeyKind) -> Value {
    match kind {
        KeyKind::Text => json!({ "type": "string" }),
        KeyKind::Name => json!({ "type": "string", "pattern": NAME }),
        KeyKind::Count => json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX }),
        KeyKind::Natural => json!({ "type": "integer", "minimum": 0 }),
        KeyKind::Number => json!({ "type": "number" }),
        KeyKind::Positive => json!({ "type": "number", "exclusiveMinimum": 0 }),
        KeyKind::Share => json!({ "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1 }),
        KeyKind::Flag => json!({ "type": "boolean" }),
        KeyKind::Choice(words) => {
            let mut all: Vec<Value> = words.iter().map(|w| json!(w)).collect();
            all.extend(words.iter().filter_map(|w| w.parse::<i64>().ok()).map(|n| json!(n)));
            json!({ "enum": all })
        }
        KeyKind::Init => init(),
        KeyKind::Spec(family) => json!({ "$ref": format!("#/$defs/{} spec", family.what()) }),
        KeyKind::Tap => json!({ "$ref": "#/$defs/tap" }),
        KeyKind::Taps => json!({ "anyOf": [
            { "$ref": "#/$defs/tap" },
            { "type": "array", "items": { "$ref": "#/$defs/tap" }, "minItems": 1 },
        ] }),
        KeyKind::Layers => json!({ "type": "array", "items": { "$ref": "#/$defs/layer spec" } }),
        KeyKind::Transforms => json!({ "type": "array", "items": { "$ref": "#/$defs/transform spec" } }),
        KeyKind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        KeyKind::Counts => {
            json!({ "type": "array", "items": { "type": "integer", "minimum": 1 }, "minItems": 1, "maxItems": 3 })
        }
        KeyKind::Table(section) => reference(section),
        KeyKind::Named(section) => {
            let value = if section.name == "loss" {
                json!({ "anyOf": [reference(section), { "const": false }] })
            } else {
                reference(section)
            };
            json!({ "type": "object", "propertyNames": { "pattern": NAME }, "additionalProperties": value })
        }
    }
}

fn init() -> Value {
    let names: Vec<&str> = Init::ALL.iter().map(|(name, ..)| *name).collect();
    json!({ "enum": names })
}

/// A string or a table of one of the names.
fn spec(family: Family) -> Value {
    let list = family.list();
    let label = if family == Family::Layer { r"([A-Za-z0-9_-]+:\s+)?" } else { "" };
    let written = |about: &About| {
        let needs = about.args.iter().any(|a| a.default.is_none());
        format!("{}{}", about.name, if needs { r"\s+\S.*" } else { r"(\s.*)?" })
    };
    let names: Vec<String> = list.iter().map(written).collect();
    let mut any = vec![json!({ "type": "string", "pattern": format!(r"^\s*{label}({})$", names.join("|")) })];
    for about in &list {
        let mut properties: Map<String, Value> = about.args.iter().map(|a| (a.name.to_string(), arg(a))).collect();
        properties.insert(
            family.name_key().into(),
            json!({ "const": about.name, "description": format!("{}: {}", about.summary, about.formula) }),
        );
        if family == Family::Layer {
            properties.insert("label".into(), json!({ "type": "string", "pattern": NAME }));
            properties.insert("init".into(), init());
        }
        let mut needed: Vec<&str> = about.args.iter().filter(|a| a.default.is_none()).map(|a| a.name).collect();
        needed.push(family.name_key());
        any.push(
            json!({ "type": "object", "properties": properties, "required": needed, "additionalProperties": false }),
        );
    }
    if matches!(family, Family::Optimizer | Family::Schedule) {
        // Without a name: other arguments for the inherited one.
        let args = list.iter().flat_map(|a| a.args).map(|a| (a.name.to_string(), arg(a))).collect::<Map<_, _>>();
        any.push(json!({ "type": "object", "properties": args, "additionalProperties": false }));
    }
    json!({ "anyOf": any })
}

fn arg(def: &ArgDef) -> Value {
    let mut value = match def.kind {
        ArgKind::Count => json!({ "type": "integer", "minimum": 1 }),
        ArgKind::Natural => json!({ "type": "integer", "minimum": 0 }),
        ArgKind::Pair => json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "array", "items": { "type": "integer", "minimum": 0 }, "minItems": 2, "maxItems": 2 },
        ] }),
        ArgKind::Number => json!({ "type": "number" }),
        ArgKind::Flag => json!({ "type": "boolean" }),
        ArgKind::Choice(words) => json!({ "enum": words }),
        ArgKind::Naturals => json!({ "type": "array", "items": { "type": "integer", "minimum": 0 } }),
        ArgKind::NumberPair => json!({ "type": "array", "items": { "type": "number" }, "minItems": 2, "maxItems": 2 }),
    };
    if let Some(value) = value.as_object_mut() {
        value.insert("description".into(), json!(def.help));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much of a validator as the schema needs; patterns are passed over.
    fn fits(root: &Value, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
        let fail = |what: &str| Err(format!("{path}: {what}: {value}"));
        if let Some(false) = schema.as_bool() {
            return fail("not allowed");
        }
        let Some(schema) = schema.as_object() else { return Ok(()) };
        for (word, s) in schema {
            match word.as_str() {
                "$ref" => {
                    let name = s.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    fits(root, &root["$defs"][name], value, path)?;
                }
                "anyOf" => {
                    let all: Vec<_> = s.as_array().unwrap().iter().map(|s| fits(root, s, value, path)).collect();
                    if all.iter().all(Result::is_err) {
                        return fail(&format!("none of {all:?}"));
                    }
                }
                "const" if s != value => return fail("another constant"),
                "enum" if !s.as_array().unwrap().contains(value) => return fail("none of the words"),
                "type" => {
                    let same = match s.as_str().unwrap() {
                        "object" => value.is_object(),
                        "array" => value.is_array(),
                        "string" => value.is_string(),
                        "boolean" => value.is_boolean(),
                        "integer" => value.is_i64() || value.is_u64(),
                        "number" => value.is_number(),
                        other => panic!("{other}"),
                    };
                    if !same {
                        return fail("another type");
                    }
                }
                "minimum" if value.as_f64().is_some_and(|v| v < s.as_f64().unwrap()) => return fail("too small"),
                "exclusiveMinimum" if value.as_f64().is_some_and(|v| v <= s.as_f64().unwrap()) => {
                    return fail("too small");
                }
                "exclusiveMaximum" if value.as_f64().is_some_and(|v| v >= s.as_f64().unwrap()) => {
                    return fail("too large");
                }
                "minItems" if value.as_array().is_some_and(|v| (v.len() as u64) < s.as_u64().unwrap()) => {
                    return fail("too short");
                }
                "maxItems" if value.as_array().is_some_and(|v| v.len() as u64 > s.as_u64().unwrap()) => {
                    return fail("too long");
                }
                "items" => {
                    for item in value.as_array().into_iter().flatten() {
                        fits(root, s, item, &format!("{path}[]"))?;
                    }
                }
                "required" => {
                    for name in s.as_array().unwrap() {
                        if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
                            return fail(&format!("{name} is missing"));
                        }
                    }
                }
                "properties" => {
                    for (name, s) in s.as_object().unwrap() {
                        if let Some(v) = value.get(name) {
                            fits(root, s, v, &format!("{path}.{name}"))?;
                        }
                    }
                }
                "additionalProperties" => {
                    for (name, v) in value.as_object().into_iter().flatten() {
                        if schema.get("properties").and_then(|p| p.get(name)).is_none() {
                            fits(root, s, v, &format!("{path}.{name}"))?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn json_of(text: &str) -> Value {
        serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
    }

    #[test]
    fn every_built_in_study_fits_and_mistakes_do_not() {
        let schema = schema();
        for (name, text) in crate::builtin::list() {
            fits(&schema, &schema, &json_of(text), name).unwrap_or_else(|e| panic!("{e}"));
        }
        for wrong in [
            "titel = \"x\"\n[arm.a]",
            "rounds = 0\n[arm.a]",
            "[train]\nepochs = 0\n[arm.a]",
            "[arm.a]\nnet = 3",
            "[arm.a]\nnet = { layers = [] }",
            "[arm.a]\nnet = { from = \"x\", layers = [{ layer = \"Linear\" }] }",
            "[train]\noptimizer = { name = \"SGD\", lrr = 1 }\n[arm.a]",
            "title = \"no arm\"",
            "[arm.a]\n[matrix]\ntrain.batch = 3",
            "[arm.a]\n[tune]\nrounds = 0",
        ] {
            assert!(fits(&schema, &schema, &json_of(wrong), "").is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_key_and_name_that_parses_stands_in_it() {
        let schema = schema();
        for section in SECTIONS {
            for key in section.keys {
                assert!(
                    schema["$defs"][section.name]["properties"].get(key.name).is_some(),
                    "{}.{}",
                    section.name,
                    key.name
                );
            }
        }
        let text = schema.to_string();
        for family in Family::ALL {
            for about in family.list() {
                assert!(text.contains(&format!("\"{}\"", about.name)), "{}", about.name);
                // In words, what must be given must stand there.
                let needs = about.args.iter().any(|a| a.default.is_none());
                assert_eq!(text.contains(&format!(r"{}\\s+\\S.*", about.name)), needs, "{}", about.name);
                assert!(about.args.iter().all(|a| text.contains(&format!("\"{}\"", a.name))));
            }
        }
    }
}
