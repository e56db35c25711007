//! Table `services`: the Kubernetes Services of this cluster.
//!
//! Written by `k8s`; read by `loadbalancer`, the operator's exporter and the API.

use std::sync::Arc;

use model::{Service, ServiceName};
use statedb::Row;

/// A Service object.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRow {
    /// The service.
    pub service: Arc<Service>,
}

impl Row for ServiceRow {
    type Key = ServiceName;
    const TABLE: &'static str = "services";
    const COLUMNS: &'static [&'static str] = &["NAME", "CLUSTER IPS", "PORTS", "GLOBAL", "SHARED"];

    fn key(&self) -> ServiceName {
        self.service.name.clone()
    }

    fn cells(&self) -> Vec<String> {
        let service = &self.service;
        let ips = service.cluster_ips.iter().map(ToString::to_string).collect::<Vec<_>>();
        let ports = service.ports.iter().map(|port| format!("{}/{}", port.port, port.proto)).collect::<Vec<_>>();
        vec![
            service.name.to_string(),
            ips.join(","),
            ports.join(","),
            service.sharing.global.to_string(),
            service.sharing.shared.to_string(),
        ]
    }
}
