//! Table `pods`: Pod objects, for the labels of local endpoints.
//!
//! Written by `k8s`; read by `endpoint`.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::NamedPort;
use statedb::Row;

use crate::PoolChoice;

/// What identity and policy need of a Pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its service account, `default` where the object names none.
    pub service_account: Arc<str>,
    /// The named ports of its containers.
    pub named_ports: Vec<NamedPort>,
    /// The pools of its addresses.
    pub pools: PoolChoice,
}

impl Row for Pod {
    /// Namespace and name.
    type Key = (Arc<str>, Arc<str>);
    const TABLE: &'static str = "pods";
    const COLUMNS: &'static [&'static str] = &["NAMESPACE", "NAME", "SERVICE ACCOUNT", "LABELS"];

    fn key(&self) -> Self::Key {
        (Arc::clone(&self.namespace), Arc::clone(&self.name))
    }

    fn cells(&self) -> Vec<String> {
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
        vec![self.namespace.to_string(), self.name.to_string(), self.service_account.to_string(), labels.join(",")]
    }
}
