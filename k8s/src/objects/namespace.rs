//! Namespace objects.

use std::sync::Arc;

use k8s_openapi::api::core::v1;
use serde_json::Value;
use tables::{Namespace, PoolChoice};

use super::metadata;

/// The labels, with the name's own label that Kubernetes always sets.
pub(super) fn parse(value: &Value, name: Arc<str>) -> Result<Namespace, String> {
    let object: v1::Namespace = metadata::typed(value)?;
    let mut labels = metadata::labels(object.metadata.labels)?;
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_string());
    let pools = PoolChoice::from_annotations(&object.metadata.annotations.unwrap_or_default());
    Ok(Namespace { name, labels, pools })
}
