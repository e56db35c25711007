//! An EndpointSlice as one cluster shares it with others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::{Backend, BackendState, ClusterId, ClusterName, L3n4Addr, Protocol, ServiceName, Source};

/// The label that names the Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Unique by cluster and name. Whoever shares it has decided that its Service is global and shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    pub cluster: ClusterName,
    pub cluster_id: ClusterId,
    /// The slice's own name; the service's is in its labels.
    pub name: ServiceName,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// All addresses are of one family.
    pub ipv4: bool,
    pub endpoints: Vec<SliceEndpoint>,
    pub ports: Vec<SlicePort>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SliceEndpoint {
    pub addresses: Vec<IpAddr>,
    pub ready: Option<bool>,
    pub serving: Option<bool>,
    pub terminating: Option<bool>,
    pub hostname: Option<String>,
    pub node: Option<String>,
    pub zone: Option<String>,
    /// Zones whose clients should come here; `None` where nobody has said.
    pub for_zones: Option<Vec<String>>,
}

/// A port without a number stands for all ports, and no frontend can use it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlicePort {
    pub name: Option<String>,
    pub proto: Option<Protocol>,
    pub port: Option<u16>,
    pub app_protocol: Option<String>,
}

// === impl EndpointSlice ===

impl EndpointSlice {
    /// The Service that it belongs to; `None` when it names none.
    pub fn service(&self) -> Option<ServiceName> {
        ServiceName::try_new(self.name.namespace(), self.labels.get(SERVICE_NAME)?).ok()
    }

    /// Its addresses as backends: ports with equal number and protocol become one that has all their names.
    pub fn to_backends(&self) -> Vec<Backend> {
        let mut all: BTreeMap<L3n4Addr, Backend> = BTreeMap::new();
        for endpoint in &self.endpoints {
            for (ip, port) in endpoint.addresses.iter().flat_map(|ip| self.ports.iter().map(move |port| (*ip, port))) {
                let Some(number) = port.port.filter(|number| *number != 0) else { continue };
                let addr = L3n4Addr::new(ip, number, port.proto.unwrap_or(Protocol::Tcp));
                let backend = all.entry(addr).or_insert_with(|| Backend {
                    addr,
                    port_names: Vec::new(),
                    state: endpoint.state(),
                    zone: endpoint.zone.clone(),
                    cluster_id: self.cluster_id,
                    source: Source::ClusterMesh,
                });
                backend.port_names.extend(port.name.clone().filter(|name| !name.is_empty()));
            }
        }
        all.into_values().collect()
    }
}

// === impl SliceEndpoint ===

impl SliceEndpoint {
    /// Whether it answers.
    pub fn state(&self) -> BackendState {
        BackendState::of_conditions(self.ready, self.serving, self.terminating)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_with_two_names_is_one_backend_and_one_without_a_number_is_none() {
        let port = |name: &str, number| SlicePort { name: Some(name.to_owned()), port: number, ..SlicePort::default() };
        let slice = EndpointSlice {
            cluster: "west".parse().unwrap(),
            cluster_id: ClusterId::try_new(2).unwrap(),
            name: "shop/cart-abc".parse().unwrap(),
            labels: [(SERVICE_NAME.to_owned(), "cart".to_owned())].into(),
            annotations: BTreeMap::new(),
            ipv4: true,
            endpoints: vec![SliceEndpoint { addresses: vec!["10.2.0.1".parse().unwrap()], ..SliceEndpoint::default() }],
            ports: vec![port("http", Some(80)), port("web", Some(80)), port("any", None)],
        };
        assert_eq!(slice.service().unwrap().to_string(), "shop/cart");
        let [backend] = &slice.to_backends()[..] else { panic!("{:?}", slice.to_backends()) };
        assert_eq!(backend.port_names, ["http", "web"]);
        assert_eq!((backend.state, backend.cluster_id.get()), (BackendState::Active, 2));
    }
}
