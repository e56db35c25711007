//! Table `global-services`: the services that remote clusters share with us.
//!
//! Written by `clustermesh`; read by `loadbalancer` and the API.

use std::sync::Arc;

use model::{ClusterName, GlobalService, ServiceName};
use statedb::{Index, Row};

/// A remote cluster's share of a global service.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteService {
    /// The service as its cluster exported it.
    pub service: Arc<GlobalService>,
}

impl Row for RemoteService {
    type Key = (ServiceName, ClusterName);
    const TABLE: &'static str = "global-services";
    const COLUMNS: &'static [&'static str] = &["SERVICE", "CLUSTER", "SHARED", "BACKENDS"];
    const COUNTED: &'static [&'static str] = &["cluster"];
    const INDEXES: &'static [Index<Self>] = &[
        Index { name: "cluster", keys: |row, add| add(row.service.cluster.as_str().into()) },
        Index { name: "service", keys: |row, add| add(row.service.name.to_string().as_str().into()) },
    ];

    fn key(&self) -> Self::Key {
        (self.service.name.clone(), self.service.cluster.clone())
    }

    fn cells(&self) -> Vec<String> {
        let backends = self.service.backends.keys().map(ToString::to_string).collect::<Vec<_>>();
        vec![
            self.service.name.to_string(),
            self.service.cluster.to_string(),
            self.service.shared.to_string(),
            backends.join(","),
        ]
    }
}
