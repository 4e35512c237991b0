//! A summary as JSON: every field of [`Summary`], and where records and report are. Numbers that are not finite are `null`.

use std::path::Path;

use serde_json::{Value, json};

use crate::summary::Summary;

/// The document that `run` and `status` print.
pub fn document(s: &Summary, out: &Path, report: Option<&Path>) -> Value {
    let mut value = serde_json::to_value(s).unwrap_or_default();
    value["out"] = json!(out.to_string_lossy());
    value["report"] = json!(report.map(Path::to_string_lossy));
    value
}
