//! Pod objects.

use std::sync::Arc;

use k8s_openapi::api::core::v1;
use model::NamedPort;
use serde_json::Value;
use tables::{Pod, PoolChoice};

use super::metadata;

/// Labels, service account and named ports.
pub(super) fn parse(value: &Value, namespace: Arc<str>, name: Arc<str>) -> Result<Pod, String> {
    let object: v1::Pod = metadata::typed(value)?;
    let labels = metadata::labels(object.metadata.labels)?;
    let pools = PoolChoice::from_annotations(&object.metadata.annotations.unwrap_or_default());
    let spec = object.spec.unwrap_or_default();
    let mut named_ports = Vec::new();
    for port in spec.containers.into_iter().flat_map(|container| container.ports.unwrap_or_default()) {
        let Some(name) = port.name.filter(|name| !name.is_empty()) else { continue };
        let number = u16::try_from(port.container_port).ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| format!("port {name:?}: {} is not 1 to 65535", port.container_port))?;
        let proto = port.protocol.as_deref().unwrap_or("TCP");
        let proto = proto.parse().map_err(|_| format!("port {name:?}: protocol {proto:?} is not TCP, UDP or SCTP"))?;
        named_ports.push(NamedPort { name: name.into(), port: number, proto });
    }
    named_ports.sort_by(|a, b| a.name.cmp(&b.name));
    let account = spec.service_account_name.filter(|account| !account.is_empty());
    let service_account = account.as_deref().unwrap_or("default").into();
    Ok(Pod { namespace, name, labels, service_account, named_ports, pools })
}
