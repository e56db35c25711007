//! What a cluster tells others about one of its services.

use model::{BackendState, ClusterId, ClusterName, GlobalService, PortProto, Service};
use tables::BackendSet;

/// The service as other clusters see it; `None` when it is not global or not shared.
///
/// Ready and serving backends are told, under the names of their ports.
pub fn global_service<'a>(
    service: &Service,
    local: impl Iterator<Item = &'a BackendSet>,
    cluster: &ClusterName,
    cluster_id: ClusterId,
) -> Option<GlobalService> {
    if !service.sharing.global || !service.sharing.shared {
        return None;
    }
    let mut exported = GlobalService::new(cluster.clone(), cluster_id, service.name.clone());
    exported.shared = true;
    exported.include_external = true;
    exported.labels = service.labels.clone();
    exported.selector = service.selector.clone();
    for ip in service.cluster_ips.iter().filter(|_| !service.headless) {
        let ports = service.ports.iter().map(|port| (port.name.clone(), PortProto::new(port.port, port.proto)));
        exported.frontends.insert(*ip, ports.collect());
    }
    for backend in local.flat_map(|set| &set.backends) {
        if !matches!(backend.state, BackendState::Active | BackendState::Terminating) {
            continue;
        }
        let ports = exported.backends.entry(backend.addr.ip).or_default();
        let port = PortProto::new(backend.addr.port, backend.addr.proto);
        if backend.port_names.is_empty() {
            ports.insert(String::new(), port);
        }
        for name in &backend.port_names {
            ports.insert(name.clone(), port);
        }
        if let Some(zone) = &backend.zone {
            let hints = model::ZoneHints { zone: zone.clone(), for_zones: Vec::new() };
            exported.zones.entry(backend.addr.ip).or_insert(hints);
        }
    }
    Some(exported)
}
