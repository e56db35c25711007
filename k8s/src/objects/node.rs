//! Node and CiliumNode objects, taken as Cilium takes them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::{AddressKind, NodeAddress, NodeName, Prefix};
use serde::Deserialize;
use serde_json::Value;
use tables::{NodeObject, NodeObjectKind};

use super::metadata;

const WIREGUARD_KEY: [&str; 2] = ["network.cilium.io/wg-pub-key", "io.cilium.network.wg-pub-key"];

#[derive(Deserialize, Default)]
struct CiliumNode {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    addresses: Vec<Address>,
    health: Pair,
    ingress: Pair,
    encryption: Encryption,
    ipam: Ipam,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Address {
    r#type: String,
    ip: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Pair {
    ipv4: String,
    ipv6: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Encryption {
    key: u8,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Ipam {
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
}

/// A Node: of its addresses the first internal and external one of each family, its labels, and Cilium's annotations.
pub(super) fn parse(value: &Value, name: &str) -> Result<NodeObject, String> {
    let object: v1::Node = metadata::typed(value)?;
    let mut node = named(NodeObjectKind::Node, name)?;
    node.labels = object.metadata.labels.unwrap_or_default();
    node.annotations = object.metadata.annotations.unwrap_or_default();
    // Kubernetes' own objects carry much that is nobody's business.
    node.annotations.retain(|key, _| is_ciliums(key));
    let addresses = object.status.unwrap_or_default().addresses.unwrap_or_default();
    for (index, address) in addresses.iter().enumerate() {
        let kind = match address.type_.as_str() {
            "InternalIP" => AddressKind::InternalIp,
            "ExternalIP" => AddressKind::ExternalIp,
            _ => continue,
        };
        let Some(ip) = given::<IpAddr>(&address.address, &format!("status.addresses[{index}].address"))? else {
            continue;
        };
        let held = |held: &NodeAddress| held.kind == kind && held.ip.is_ipv4() == ip.is_ipv4();
        if !node.addresses.iter().any(held) {
            node.addresses.push(NodeAddress { kind, ip });
        }
    }
    Ok(node)
}

/// A CiliumNode.
pub(super) fn parse_cilium(value: &Value, name: &str) -> Result<NodeObject, String> {
    let object: CiliumNode = metadata::typed(value)?;
    let (spec, mut node) = (object.spec, named(NodeObjectKind::CiliumNode, name)?);
    node.labels = object.metadata.labels.unwrap_or_default();
    node.annotations = object.metadata.annotations.unwrap_or_default();
    node.wireguard_pub_key = wireguard_key(&node.annotations);
    for (index, address) in spec.addresses.iter().enumerate() {
        let path = format!("spec.addresses[{index}]");
        let kind = address.r#type.parse::<AddressKind>();
        let kind = kind.map_err(|()| {
            let known = AddressKind::ALL.map(AddressKind::as_str).join(", ");
            format!("{path}.type: {:?} is none of {known}", address.r#type)
        })?;
        let ip = given(&address.ip, &format!("{path}.ip"))?;
        node.addresses.extend(ip.map(|ip| NodeAddress { kind, ip }));
    }
    for (index, cidr) in spec.ipam.pod_cidrs.iter().enumerate() {
        let path = format!("spec.ipam.podCIDRs[{index}]");
        let cidr: Prefix = cidr.parse().map_err(|error| format!("{path}: {error}"))?;
        if cidr.is_host() {
            return Err(format!("{path}: {cidr} is a single address"));
        }
        node.pod_cidrs.push(cidr);
    }
    node.ipv4_health_ip = given::<Ipv4Addr>(&spec.health.ipv4, "spec.health.ipv4")?;
    node.ipv6_health_ip = given::<Ipv6Addr>(&spec.health.ipv6, "spec.health.ipv6")?;
    node.ipv4_ingress_ip = given::<Ipv4Addr>(&spec.ingress.ipv4, "spec.ingress.ipv4")?;
    node.ipv6_ingress_ip = given::<Ipv6Addr>(&spec.ingress.ipv6, "spec.ingress.ipv6")?;
    node.encryption_key = spec.encryption.key;
    Ok(node)
}

fn named(kind: NodeObjectKind, name: &str) -> Result<NodeObject, String> {
    let name = NodeName::try_new(name).map_err(|error| format!("metadata.name: {error}"))?;
    Ok(NodeObject::new(kind, name))
}

/// A prefix that ends in `cilium.io`.
fn is_ciliums(annotation: &str) -> bool {
    let prefix = annotation.split_once('/').map_or("", |(prefix, _)| prefix);
    let rest = prefix.strip_suffix("cilium.io");
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn wireguard_key(annotations: &BTreeMap<String, String>) -> Arc<str> {
    WIREGUARD_KEY.iter().find_map(|name| annotations.get(*name)).map(String::as_str).unwrap_or_default().into()
}

/// An address, or nothing where none is written.
fn given<T: FromStr>(text: &str, path: &str) -> Result<Option<T>, String> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| format!("{path}: {text:?} is not an address of its family")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(node: &NodeObject) -> String {
        let addresses: Vec<String> = node.addresses.iter().map(|one| format!("{}={}", one.kind, one.ip)).collect();
        addresses.join(" ")
    }

    #[test]
    fn of_a_node_the_first_address_of_a_kind_and_family_counts() {
        let addresses = json!([
            {"type": "Hostname", "address": "node-a"},
            {"type": "InternalIP", "address": "192.0.2.1"},
            {"type": "InternalIP", "address": "192.0.2.9"},
            {"type": "ExternalIP", "address": ""},
            {"type": "ExternalIP", "address": "198.51.100.1"},
            {"type": "ExternalIP", "address": "2001:db8::1"},
        ]);
        let annotations =
            json!({"network.cilium.io/a": "1", "cilium.io/b": "2", "kubernetes.io/c": "3", "evilcilium.io/d": "4"});
        let value = json!({"metadata": {"labels": {"zone": "z"}, "annotations": annotations}, "status": {"addresses": addresses}});
        let node = parse(&value, "node-a").unwrap();
        assert_eq!(shown(&node), "InternalIP=192.0.2.1 ExternalIP=198.51.100.1 ExternalIP=2001:db8::1");
        assert_eq!(node.annotations.keys().collect::<Vec<_>>(), ["cilium.io/b", "network.cilium.io/a"]);
        assert_eq!(node.labels["zone"], "z");
    }

    #[test]
    fn a_cilium_node_says_everything() {
        let spec = json!({
            "addresses": [{"type": "ExternalDNS", "ip": "198.51.100.7"}, {"type": "CiliumInternalIP", "ip": "10.0.0.1"}],
            "health": {"ipv4": "10.0.0.9", "ipv6": "fd00::9"},
            "ingress": {"ipv4": "10.0.0.8"},
            "encryption": {"key": 3},
            "ipam": {"podCIDRs": ["10.0.0.0/24", "10.7.0.0/24"]},
        });
        let key = json!({"network.cilium.io/wg-pub-key": "k="});
        let node = parse_cilium(&json!({"metadata": {"annotations": key}, "spec": spec}), "node-a").unwrap();
        assert_eq!(shown(&node), "ExternalDNS=198.51.100.7 CiliumInternalIP=10.0.0.1");
        assert_eq!(node.pod_cidrs.len(), 2);
        let ips = (node.ipv4_health_ip.unwrap().to_string(), node.ipv6_health_ip.unwrap().to_string());
        assert_eq!(ips, ("10.0.0.9".to_owned(), "fd00::9".to_owned()));
        assert_eq!((node.ipv4_ingress_ip.unwrap().to_string(), node.ipv6_ingress_ip), ("10.0.0.8".to_owned(), None));
        assert_eq!((node.encryption_key, &*node.wireguard_pub_key), (3, "k="));
    }

    #[test]
    fn what_is_no_address_is_refused_by_its_path() {
        fn check(spec: Value, part: &str) {
            let error = parse_cilium(&json!({ "spec": spec }), "a").unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        check(json!({"health": {"ipv4": "fd00::1"}}), "spec.health.ipv4: \"fd00::1\" is not an address");
        check(json!({"addresses": [{"type": "Router", "ip": "10.0.0.1"}]}), "spec.addresses[0].type: \"Router\"");
        check(json!({"addresses": [{"type": "Hostname", "ip": "node-a"}]}), "spec.addresses[0].ip: \"node-a\"");
        check(json!({"ipam": {"podCIDRs": ["10.0.0.0/24", "10.0.0.0/33"]}}), "spec.ipam.podCIDRs[1]:");
        check(json!({"ipam": {"podCIDRs": ["10.0.0.1"]}}), "a single address");
        check(json!({"encryption": {"key": 256}}), "256");
    }
}
