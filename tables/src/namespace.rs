//! Table `namespaces`: Namespace objects, for the labels that identities inherit.
//!
//! Written by `k8s`; read by `endpoint`.

use std::collections::BTreeMap;
use std::sync::Arc;

use statedb::Row;

use crate::PoolChoice;

/// A Namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Namespace {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The pools of its pods' addresses.
    pub pools: PoolChoice,
}

impl Row for Namespace {
    type Key = Arc<str>;
    const TABLE: &'static str = "namespaces";
    const COLUMNS: &'static [&'static str] = &["NAME", "LABELS"];

    fn key(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn cells(&self) -> Vec<String> {
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
        vec![self.name.to_string(), labels.join(",")]
    }
}
