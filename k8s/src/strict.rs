//! Reading JSON where an unknown field is an error that names its path.

use serde_json::{Map, Value};

/// A value that is refused: its path, and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {rule}")]
pub(crate) struct Refused {
    /// Where, as a JSON path from the document's root.
    pub(crate) path: String,
    /// Why, and what to write instead.
    pub(crate) rule: String,
}

/// A value with its path.
#[derive(Debug, Clone)]
pub(crate) struct At<'a> {
    pub(crate) path: String,
    pub(crate) value: &'a Value,
}

/// An object whose fields are taken one by one; what is left at the end is unknown.
pub(crate) struct Fields<'a> {
    path: String,
    object: &'a Map<String, Value>,
    taken: Vec<&'static str>,
}

// === impl At ===

impl<'a> At<'a> {
    pub(crate) fn refuse<T>(&self, rule: impl Into<String>) -> Result<T, Refused> {
        Err(Refused { path: self.path.clone(), rule: rule.into() })
    }

    pub(crate) fn fields(&self) -> Result<Fields<'a>, Refused> {
        match self.value {
            Value::Object(object) => Ok(Fields { path: self.path.clone(), object, taken: Vec::new() }),
            other => self.refuse(format!("expected an object, found {}", kind(other))),
        }
    }

    pub(crate) fn items(&self) -> Result<Vec<At<'a>>, Refused> {
        match self.value {
            Value::Array(items) => {
                let item = |(index, value)| At { path: format!("{}[{index}]", self.path), value };
                Ok(items.iter().enumerate().map(item).collect())
            }
            other => self.refuse(format!("expected a list, found {}", kind(other))),
        }
    }

    pub(crate) fn text(&self) -> Result<&'a str, Refused> {
        match self.value.as_str() {
            Some(text) => Ok(text),
            None => self.refuse(format!("expected a string, found {}", kind(self.value))),
        }
    }

    pub(crate) fn boolean(&self) -> Result<bool, Refused> {
        match self.value.as_bool() {
            Some(value) => Ok(value),
            None => self.refuse(format!("expected true or false, found {}", kind(self.value))),
        }
    }

    /// The entries of an object whose keys are data.
    pub(crate) fn entries(&self) -> Result<Vec<(&'a str, At<'a>)>, Refused> {
        let fields = self.fields()?;
        let entry = |(key, value): (&'a String, &'a Value)| {
            (key.as_str(), At { path: format!("{}[{key:?}]", self.path), value })
        };
        Ok(fields.object.iter().map(entry).collect())
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// The field of a name; `null` counts as absent, as in Go.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<At<'a>> {
        self.taken.push(name);
        let value = self.object.get(name).filter(|value| !value.is_null())?;
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Some(At { path, value })
    }

    /// Refuses what was not taken.
    pub(crate) fn finish(self) -> Result<(), Refused> {
        let unknown = self.object.iter().find(|(key, value)| !self.taken.contains(&key.as_str()) && !value.is_null());
        match unknown {
            None => Ok(()),
            Some((key, _)) => {
                let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
                Err(Refused { path, rule: format!("not supported; supported here are {}", self.taken.join(", ")) })
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
