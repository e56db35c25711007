//! Table `remote-slices`: the EndpointSlices that remote clusters share with us, from clusters that are read by slices
//! instead of by services.
//!
//! Written by `clustermesh`; read by `loadbalancer` and the API.

use std::sync::Arc;

use model::{ClusterName, EndpointSlice, ServiceName};
use statedb::{Index, Row};

/// A slice of a remote cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteSlice {
    /// The slice as its cluster exported it.
    pub slice: Arc<EndpointSlice>,
}

impl Row for RemoteSlice {
    type Key = (ServiceName, ClusterName);
    const TABLE: &'static str = "remote-slices";
    const COLUMNS: &'static [&'static str] = &["SLICE", "CLUSTER", "SERVICE", "BACKENDS"];
    const COUNTED: &'static [&'static str] = &["cluster"];
    const INDEXES: &'static [Index<Self>] = &[
        Index { name: "cluster", keys: |row, add| add(row.slice.cluster.as_str().into()) },
        Index {
            name: "service",
            keys: |row, add| {
                if let Some(service) = row.slice.service() {
                    add(service.to_string().as_str().into());
                }
            },
        },
    ];

    fn key(&self) -> Self::Key {
        (self.slice.name.clone(), self.slice.cluster.clone())
    }

    fn cells(&self) -> Vec<String> {
        let addresses = self.slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        vec![
            self.slice.name.to_string(),
            self.slice.cluster.to_string(),
            crate::cell(self.slice.service()),
            addresses.map(ToString::to_string).collect::<Vec<_>>().join(","),
        ]
    }
}
