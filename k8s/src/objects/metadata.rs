//! Names and labels of any object.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Label;
use serde_json::Value;

/// Kubernetes' limit of a DNS subdomain name.
const MAX_NAME: usize = 253;

/// The namespace (`default` where none is written; empty for an object without one) and the name.
pub(super) fn names(value: &Value, namespaced: bool) -> Result<(Arc<str>, Arc<str>), String> {
    let name = name_at(value, "/metadata/name")?.ok_or("metadata.name: required")?;
    let namespace = match (namespaced, name_at(value, "/metadata/namespace")?) {
        (false, _) => "",
        (true, None) => "default",
        (true, Some(namespace)) => namespace,
    };
    Ok((namespace.into(), name.into()))
}

fn name_at<'a>(value: &'a Value, pointer: &str) -> Result<Option<&'a str>, String> {
    let path = pointer.trim_start_matches('/').replace('/', ".");
    let name = match value.pointer(pointer) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(name)) => name,
        Some(other) => return Err(format!("{path}: {other} is not a string")),
    };
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edges = !name.starts_with(['-', '.']) && !name.ends_with(['-', '.']);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(allowed) || !edges {
        return Err(format!(
            "{path}: {name:?} is not a name: up to {MAX_NAME} of a-z, 0-9, - and ., a letter or digit at both ends"
        ));
    }
    Ok(Some(name))
}

/// Labels that can be part of an identity.
pub(super) fn labels(labels: Option<BTreeMap<String, String>>) -> Result<BTreeMap<String, String>, String> {
    let labels = labels.unwrap_or_default();
    for (key, value) in &labels {
        Label::k8s(key, value).map_err(|error| format!("metadata.labels[{key:?}]: {error}"))?;
    }
    Ok(labels)
}

/// Typed access to a document of a kind whose unknown fields are none of our business.
pub(super) fn typed<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}
