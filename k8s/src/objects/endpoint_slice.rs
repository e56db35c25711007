//! EndpointSlice objects.

use std::sync::Arc;

use k8s_openapi::api::discovery::v1;
use model::{Backend, BackendState, ClusterId, L3n4Addr, ServiceName, Source};
use serde_json::Value;
use tables::{BackendSet, BackendSource};

use super::metadata;
use super::service::port_number;

/// The backends of the Service that the slice belongs to.
pub(super) fn parse(value: &Value, namespace: &str, name: Arc<str>) -> Result<BackendSet, String> {
    let object: v1::EndpointSlice = metadata::typed(value)?;
    let labels = object.metadata.labels.unwrap_or_default();
    let service = labels
        .get(model::SERVICE_NAME)
        .ok_or("metadata.labels[\"kubernetes.io/service-name\"]: required, it names the Service")?;
    let service = ServiceName::try_new(namespace, service).map_err(|error| error.to_string())?;
    let ports = object.ports.unwrap_or_default();
    let mut backends: Vec<Backend> = Vec::new();
    for (index, endpoint) in object.endpoints.unwrap_or_default().into_iter().enumerate() {
        let conditions = endpoint.conditions.unwrap_or_default();
        let state = BackendState::of_conditions(conditions.ready, conditions.serving, conditions.terminating);
        for address in &endpoint.addresses {
            let ip = address
                .parse()
                .map_err(|_| format!("endpoints[{index}].addresses: {address:?} is not an IP address"))?;
            for port in &ports {
                let Some(number) = port.port.and_then(port_number) else { continue };
                let proto = port.protocol.as_deref().unwrap_or("TCP");
                let proto = proto.parse().map_err(|_| format!("ports: protocol {proto:?} is not TCP, UDP or SCTP"))?;
                let addr = L3n4Addr::new(ip, number, proto);
                let name = port.name.clone().filter(|name| !name.is_empty());
                match backends.iter_mut().find(|backend| backend.addr == addr) {
                    Some(backend) => backend.port_names.extend(name),
                    None => backends.push(Backend {
                        addr,
                        port_names: name.into_iter().collect(),
                        state,
                        zone: endpoint.zone.clone(),
                        cluster_id: ClusterId::NONE,
                        source: Source::Kubernetes,
                    }),
                }
            }
        }
    }
    backends.sort_by_key(|backend| backend.addr);
    Ok(BackendSet { service, source: BackendSource::Slice(name), backends })
}
