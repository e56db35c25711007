//! Service objects.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use model::{Service, ServiceName, ServicePort, Sharing, TargetPort};
use serde_json::Value;

use super::metadata;

/// Cluster addresses, ports, selector, and how the service is shared between clusters.
pub(super) fn parse(value: &Value, name: ServiceName) -> Result<Service, String> {
    let object: v1::Service = metadata::typed(value)?;
    let annotations: BTreeMap<_, _> = object.metadata.annotations.unwrap_or_default();
    let (sharing, odd) = Sharing::from_annotations(&annotations);
    if let Some(odd) = odd {
        tracing::warn!(service = %name, affinity = odd, "service affinity is none of local, remote, none: taken as none");
    }
    let labels = object.metadata.labels.unwrap_or_default();
    let spec = object.spec.unwrap_or_default();
    let mut written = spec.cluster_ips.unwrap_or_default();
    if written.is_empty() {
        written.extend(spec.cluster_ip);
    }
    let none = written.iter().any(|ip| ip == "None");
    let headless = none || labels.contains_key("service.kubernetes.io/headless");
    let mut cluster_ips: Vec<IpAddr> = Vec::new();
    for ip in written.iter().filter(|ip| !ip.is_empty() && *ip != "None") {
        cluster_ips.push(ip.parse().map_err(|_| format!("spec.clusterIPs: {ip:?} is not an address"))?);
    }
    let mut ports = Vec::new();
    for (index, port) in spec.ports.unwrap_or_default().into_iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let number = port_number(port.port).ok_or_else(|| format!("{path}.port: {} is not 1 to 65535", port.port))?;
        let proto = port.protocol.as_deref().unwrap_or("TCP");
        let proto = proto.parse().map_err(|_| format!("{path}.protocol: {proto:?} is not TCP, UDP or SCTP"))?;
        let target = match port.target_port {
            None | Some(IntOrString::Int(0)) => TargetPort::Number(number),
            Some(IntOrString::String(name)) if name.is_empty() => TargetPort::Number(number),
            Some(IntOrString::Int(target)) => TargetPort::Number(
                port_number(target).ok_or_else(|| format!("{path}.targetPort: {target} is not 1 to 65535"))?,
            ),
            Some(IntOrString::String(name)) => TargetPort::Name(name),
        };
        ports.push(ServicePort { name: port.name.unwrap_or_default(), port: number, proto, target });
    }
    let selector = spec.selector.unwrap_or_default();
    Ok(Service { name, cluster_ips, ports, selector, labels, headless, sharing })
}

pub(super) fn port_number(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|number| *number > 0)
}
