//! A settings document of any shape, as JSON.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Kind, Result};

/// A JSON document whose meaning belongs to who wrote it: an arm resolved, a normalisation.
///
/// It is kept as the text it was written as, since the order of keys means something (the first loss, the order of
/// branches) and [`Value`] sorts them. Two documents are equal when their texts are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Document(Box<RawValue>);

impl Document {
    /// A value as a document.
    ///
    /// # Errors
    /// [`Kind::Argument`] for what JSON cannot say: maps whose keys are no text.
    pub fn of(value: &(impl Serialize + ?Sized)) -> Result<Document> {
        let raw = serde_json::value::to_raw_value(value);
        raw.map(Document).map_err(|e| Error::new(Kind::Argument, format_args!("cannot be written as JSON: {e}")))
    }

    /// The value it says.
    ///
    /// # Errors
    /// [`Kind::Argument`] when it is of another shape.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(self.text())
            .map_err(|e| Error::new(Kind::Argument, format_args!("the document is of another shape: {e}")))
    }

    /// Its text: what a hash of it is made of.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// As a value to look around in; keys are sorted then.
    pub fn value(&self) -> Value {
        // It was valid JSON when it was made; numbers or depths beyond what a value holds give nothing.
        serde_json::from_str(self.text()).unwrap_or(Value::Null)
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Document(RawValue::from_string(value.to_string()).expect("a value is JSON"))
    }
}

impl Default for Document {
    /// `null`.
    fn default() -> Self {
        Document(RawValue::NULL.to_owned())
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Document {}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;

    #[test]
    fn keys_stay_in_their_order() {
        let map: IndexMap<String, u64> = [("z".into(), u64::MAX), ("a".into(), 2)].into();
        let document = Document::of(&map).unwrap();
        assert_eq!(document.text(), r#"{"z":18446744073709551615,"a":2}"#);
        let record = serde_json::to_string(&(1, &document)).unwrap();
        assert_eq!(serde_json::from_str::<(u8, Document)>(&record).unwrap().1, document);
        assert_eq!(document.read::<IndexMap<String, u64>>().unwrap().keys().collect::<Vec<_>>(), ["z", "a"]);
        assert_eq!(document.value()["a"], 2);
        assert!(document.read::<Vec<u8>>().unwrap_err().to_string().contains("another shape"));
        assert_eq!((Document::default().text(), Document::from(Value::Null)), ("null", Document::default()));
    }
}
