//! One cluster's share of a global service, as it stands in etcd.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{Backend, BackendState, ClusterId, ClusterName, L3n4Addr, PortProto, ServiceName, Source};

/// Port name to port; the name of an unnamed port is empty.
pub type PortMap = BTreeMap<String, PortProto>;

/// Unique by cluster and name. Only services that are global and shared are ever written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalService {
    pub cluster: ClusterName,
    pub cluster_id: ClusterId,
    pub name: ServiceName,
    /// Each cluster IP with the Service's ports; empty for a headless service.
    pub frontends: BTreeMap<IpAddr, PortMap>,
    /// Each endpoint that is ready or serving, with its target ports.
    pub backends: BTreeMap<IpAddr, PortMap>,
    pub hostnames: BTreeMap<IpAddr, String>,
    pub zones: BTreeMap<IpAddr, ZoneHints>,
    pub labels: BTreeMap<String, String>,
    pub selector: BTreeMap<String, String>,
    pub include_external: bool,
    /// `false` means the same as an absent key.
    pub shared: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ZoneHints {
    pub zone: String,
    pub for_zones: Vec<String>,
}

// === impl GlobalService ===

impl GlobalService {
    pub fn new(cluster: ClusterName, cluster_id: ClusterId, name: ServiceName) -> Self {
        Self {
            cluster,
            cluster_id,
            name,
            frontends: BTreeMap::new(),
            backends: BTreeMap::new(),
            hostnames: BTreeMap::new(),
            zones: BTreeMap::new(),
            labels: BTreeMap::new(),
            selector: BTreeMap::new(),
            include_external: false,
            shared: false,
        }
    }

    /// The backends as another cluster uses them: ports with equal number and protocol become one
    /// backend that has all their names.
    pub fn to_backends(&self) -> Vec<Backend> {
        let mut all: BTreeMap<L3n4Addr, Vec<String>> = BTreeMap::new();
        for (ip, ports) in &self.backends {
            for (name, port) in ports {
                let names = all.entry(L3n4Addr::new(*ip, port.port, port.proto)).or_default();
                if !name.is_empty() {
                    names.push(name.clone());
                }
            }
        }
        let backend = |(addr, port_names): (L3n4Addr, Vec<String>)| Backend {
            addr,
            port_names,
            state: BackendState::Active,
            zone: self.zones.get(&addr.ip).map(|hints| hints.zone.clone()),
            cluster_id: self.cluster_id,
            source: Source::ClusterMesh,
        };
        all.into_iter().map(backend).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;

    #[test]
    fn equal_ports_with_two_names_are_one_backend() {
        let mut service =
            GlobalService::new("east".parse().unwrap(), ClusterId::try_new(2).unwrap(), "shop/cart".parse().unwrap());
        let http = PortProto::new(8080, Protocol::Tcp);
        let ip: IpAddr = "10.2.0.1".parse().unwrap();
        service.backends.insert(ip, PortMap::from([("a".into(), http), ("b".into(), http), ("".into(), http)]));
        service.zones.insert(ip, ZoneHints { zone: "z1".into(), for_zones: vec![] });
        let backends = service.to_backends();
        assert_eq!(backends.len(), 1);
        assert_eq!(backends[0].port_names, ["a", "b"]);
        assert_eq!(backends[0].zone.as_deref(), Some("z1"));
    }
}
