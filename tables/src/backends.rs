//! Table `backends`: the backends of this cluster's services, by the source that named them.
//!
//! Written by `k8s` (EndpointSlices) and `loadbalancer` (addresses of the kvstore that match the selector of a service
//! without slices); read by `loadbalancer` and the operator's exporter.

use std::sync::Arc;

use model::{Backend, ServiceName};
use statedb::{Index, Row};

/// Who named a set of backends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BackendSource {
    /// An EndpointSlice, by name.
    Slice(Arc<str>),
    /// This cluster's own addresses whose identity matches the service's selector.
    Selector,
}

/// The backends that one source names for a service.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendSet {
    /// The service.
    pub service: ServiceName,
    /// Who says so.
    pub source: BackendSource,
    /// At most one for each address, port and protocol; sorted.
    pub backends: Vec<Backend>,
}

impl Row for BackendSet {
    type Key = (ServiceName, BackendSource);
    const TABLE: &'static str = "backends";
    const COLUMNS: &'static [&'static str] = &["SERVICE", "SOURCE", "BACKENDS"];
    const INDEXES: &'static [Index<Self>] =
        &[Index { name: "service", keys: |row, add| add(row.service.to_string().as_str().into()) }];

    fn key(&self) -> Self::Key {
        (self.service.clone(), self.source.clone())
    }

    fn cells(&self) -> Vec<String> {
        let source = match &self.source {
            BackendSource::Slice(name) => format!("slice/{name}"),
            BackendSource::Selector => "selector".to_owned(),
        };
        let show = |backend: &Backend| format!("{} ({})", backend.addr, backend.state);
        vec![self.service.to_string(), source, self.backends.iter().map(show).collect::<Vec<_>>().join(", ")]
    }
}
