//! `state/nodes/v1/<cluster>/<node>`: a node's addresses and CIDRs.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use model::{AddressKind, ClusterId, ClusterName, Node, NodeAddress, NodeName, Prefix, Source as Origin};

use crate::{
    Broken, DecodeError, Source,
    error::{Fault, Read},
    ip_net,
    json::{Reader, Writer, field_name, parse},
    key::Resource,
};

const FIELDS: [&str; 18] = [
    "Name",
    "Cluster",
    "IPAddresses",
    "IPv4AllocCIDR",
    "IPv4SecondaryAllocCIDRs",
    "IPv6AllocCIDR",
    "IPv6SecondaryAllocCIDRs",
    "IPv4HealthIP",
    "IPv6HealthIP",
    "IPv4IngressIP",
    "IPv6IngressIP",
    "ClusterID",
    "Source",
    "EncryptionKey",
    "Labels",
    "Annotations",
    "WireguardPubKey",
    "BootID",
];

/// Each becomes a row of every other node's kernel; a node has a handful.
const MAX_ADDRESSES: usize = 1000;

/// The nodes of every cluster that shares the store.
pub fn prefix_all(source: Source<'_>) -> String {
    format!("{}/", source.base(Resource::Nodes))
}

/// The nodes of one cluster.
pub fn prefix(source: Source<'_>, cluster: &ClusterName) -> String {
    format!("{}{cluster}/", prefix_all(source))
}

pub fn key(cluster: &ClusterName, node: &NodeName) -> String {
    format!("{}{node}", prefix(Source::State, cluster))
}

pub fn encode(node: &Node) -> Vec<u8> {
    Writer::document(|w| {
        w.name("Name").string(node.name.as_str());
        w.name("Cluster").string(node.cluster.as_str());
        let addresses = (!node.addresses.is_empty()).then_some(&node.addresses);
        list(w.name("IPAddresses"), addresses, |w, address| {
            w.object(|w| {
                w.name("Type").string(address.kind.as_str());
                w.name("IP").quoted(address.ip);
            });
        });
        cidr(w.name("IPv4AllocCIDR"), node.ipv4_alloc_cidr);
        cidrs(w.name("IPv4SecondaryAllocCIDRs"), &node.ipv4_secondary_alloc_cidrs);
        cidr(w.name("IPv6AllocCIDR"), node.ipv6_alloc_cidr);
        cidrs(w.name("IPv6SecondaryAllocCIDRs"), &node.ipv6_secondary_alloc_cidrs);
        w.name("IPv4HealthIP").quoted_or_empty(node.ipv4_health_ip);
        w.name("IPv6HealthIP").quoted_or_empty(node.ipv6_health_ip);
        w.name("IPv4IngressIP").quoted_or_empty(node.ipv4_ingress_ip);
        w.name("IPv6IngressIP").quoted_or_empty(node.ipv6_ingress_ip);
        w.name("ClusterID").plain(node.cluster_id);
        w.name("Source").string(node.source.as_str());
        w.name("EncryptionKey").plain(node.encryption_key);
        map(w.name("Labels"), &node.labels);
        map(w.name("Annotations"), &node.annotations);
        w.name("WireguardPubKey").string(&node.wireguard_pub_key);
        w.name("BootID").string(&node.boot_id);
    })
}

fn list<'a, T>(w: &mut Writer, items: Option<&'a Vec<T>>, write: impl FnMut(&mut Writer, &'a T)) {
    match items {
        Some(items) => w.array(items, write),
        None => w.null(),
    }
}

fn cidr(w: &mut Writer, cidr: Option<Prefix>) {
    match cidr {
        Some(cidr) => ip_net::write(w, cidr),
        None => w.null(),
    }
}

fn cidrs(w: &mut Writer, cidrs: &Vec<Prefix>) {
    list(w, (!cidrs.is_empty()).then_some(cidrs), |w, cidr| ip_net::write(w, *cidr));
}

fn map(w: &mut Writer, map: &BTreeMap<String, String>) {
    if map.is_empty() { w.null() } else { w.string_map(map) }
}

/// `name` is the rest of the key: `<node>` below [`prefix`], `<cluster>/<node>` below [`prefix_all`].
/// Addresses of a kind that we do not know, or without an address, are left out.
///
/// # Errors
/// Besides malformed values: name and cluster must be there and those of the key.
pub fn decode(key: &str, name: &str, value: &[u8]) -> Result<Node, DecodeError> {
    parse(value, |r| read(r, name)).map_err(|fault| fault.of(key))
}

fn read(r: &mut Reader<'_>, key_name: &str) -> Read<Node> {
    let (mut name, mut cluster, mut source) = (String::new(), String::new(), String::new());
    let (mut wireguard, mut boot_id) = (String::new(), String::new());
    let mut id: u32 = 0;
    // The names are filled in below, once they are known.
    let mut node = blank()?;
    r.object(|r, key| {
        match field_name(key, &FIELDS) {
            Some("Name") => text(&mut name, r)?,
            Some("Cluster") => text(&mut cluster, r)?,
            Some("IPAddresses") => {
                node.addresses.clear();
                r.array(|r| {
                    node.addresses.extend(read_address(r)?);
                    Ok(())
                })?;
            }
            Some("IPv4AllocCIDR") => node.ipv4_alloc_cidr = family(ip_net::read(r)?, true)?,
            Some("IPv4SecondaryAllocCIDRs") => read_cidrs(r, &mut node.ipv4_secondary_alloc_cidrs, true)?,
            Some("IPv6AllocCIDR") => node.ipv6_alloc_cidr = family(ip_net::read(r)?, false)?,
            Some("IPv6SecondaryAllocCIDRs") => read_cidrs(r, &mut node.ipv6_secondary_alloc_cidrs, false)?,
            Some("IPv4HealthIP") => node.ipv4_health_ip = read_v4(r)?,
            Some("IPv6HealthIP") => node.ipv6_health_ip = read_v6(r)?,
            Some("IPv4IngressIP") => node.ipv4_ingress_ip = read_v4(r)?,
            Some("IPv6IngressIP") => node.ipv6_ingress_ip = read_v6(r)?,
            Some("ClusterID") => id = r.uint()?.unwrap_or(id),
            Some("Source") => text(&mut source, r)?,
            Some("EncryptionKey") => node.encryption_key = r.uint()?.unwrap_or(node.encryption_key),
            Some("Labels") => r.string_map(&mut node.labels)?,
            Some("Annotations") => r.string_map(&mut node.annotations)?,
            Some("WireguardPubKey") => text(&mut wireguard, r)?,
            Some("BootID") => text(&mut boot_id, r)?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    let (count, limit) = (node.addresses.len(), MAX_ADDRESSES);
    if count > limit {
        return Err(Fault::at("IPAddresses", Broken::TooMany { count, limit }));
    }
    node.name = NodeName::try_new(&name).map_err(|e| Fault::at("Name", e))?;
    node.cluster = ClusterName::try_new(&cluster).map_err(|e| Fault::at("Cluster", e))?;
    node.cluster_id = ClusterId::try_new(id).map_err(|e| Fault::at("ClusterID", e))?;
    node.source = Origin::from_text(&source);
    node.wireguard_pub_key = wireguard.into();
    node.boot_id = boot_id.into();
    let printed = if key_name.contains('/') { format!("{cluster}/{name}") } else { name };
    if printed != key_name {
        return Err(Fault::at("Name", Broken::KeyMismatch { value: printed, key: key_name.to_owned() }));
    }
    Ok(node)
}

fn blank() -> Read<Node> {
    let name = NodeName::try_new("unnamed").map_err(Fault::new)?;
    let cluster = ClusterName::try_new(ClusterName::DEFAULT).map_err(Fault::new)?;
    Ok(Node::new(name, cluster, ClusterId::NONE))
}

pub(crate) fn text(slot: &mut String, r: &mut Reader<'_>) -> Read<()> {
    if let Some(text) = r.string()? {
        *slot = text.into_owned();
    }
    Ok(())
}

fn read_address(r: &mut Reader<'_>) -> Read<Option<NodeAddress>> {
    let (mut kind, mut ip) = (String::new(), None);
    r.object(|r, key| {
        match field_name(key, &["Type", "IP"]) {
            Some("Type") => text(&mut kind, r)?,
            Some("IP") => ip = r.ip()?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(kind.parse::<AddressKind>().ok().zip(ip).map(|(kind, ip)| NodeAddress { kind, ip }))
}

fn read_cidrs(r: &mut Reader<'_>, into: &mut Vec<Prefix>, v4: bool) -> Read<()> {
    into.clear();
    r.array(|r| {
        into.extend(family(ip_net::read(r)?, v4)?);
        Ok(())
    })
}

fn family(prefix: Option<Prefix>, v4: bool) -> Read<Option<Prefix>> {
    match prefix {
        Some(prefix) if prefix.is_ipv4() != v4 => {
            Err(Fault::new(Broken::Family(if v4 { "an IPv4 prefix" } else { "an IPv6 prefix" })))
        }
        other => Ok(other),
    }
}

fn read_v4(r: &mut Reader<'_>) -> Read<Option<Ipv4Addr>> {
    match r.ip()? {
        Some(IpAddr::V4(ip)) => Ok(Some(ip)),
        Some(IpAddr::V6(_)) => Err(Fault::new(Broken::Family("an IPv4 address"))),
        None => Ok(None),
    }
}

fn read_v6(r: &mut Reader<'_>) -> Read<Option<Ipv6Addr>> {
    match r.ip()? {
        Some(IpAddr::V6(ip)) => Ok(Some(ip)),
        Some(IpAddr::V4(_)) => Err(Fault::new(Broken::Family("an IPv6 address"))),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_node_has_ciliums_empty_forms() {
        let node = Node::new("n".parse().unwrap(), "east".parse().unwrap(), ClusterId::NONE);
        let expect = r#"{"Name":"n","Cluster":"east","IPAddresses":null,"IPv4AllocCIDR":null,"IPv4SecondaryAllocCIDRs":null,"IPv6AllocCIDR":null,"IPv6SecondaryAllocCIDRs":null,"IPv4HealthIP":"","IPv6HealthIP":"","IPv4IngressIP":"","IPv6IngressIP":"","ClusterID":0,"Source":"","EncryptionKey":0,"Labels":null,"Annotations":null,"WireguardPubKey":"","BootID":""}"#;
        assert_eq!(String::from_utf8(encode(&node)).unwrap(), expect);
    }

    #[test]
    fn names_must_be_those_of_the_key() {
        fn check(name: &str, value: &str, accepted: bool) {
            let result = decode("k", name, value.as_bytes());
            assert_eq!(result.is_ok(), accepted, "{name} {value}: {result:?}");
        }
        check("a", r#"{"Name":"a","Cluster":"east","NodeIdentity":7}"#, true);
        check("east/a", r#"{"Name":"a","Cluster":"east"}"#, true);
        check("west/a", r#"{"Name":"a","Cluster":"east"}"#, false);
        check("b", r#"{"Name":"a","Cluster":"east"}"#, false);
        check("a", r#"{"Name":"a"}"#, false);
        check("", r#"{"Cluster":"east"}"#, false);
        check("a", r#"{"Name":"a","Cluster":"east","ClusterID":512}"#, false);
        check("a", r#"{"Name":"a","Cluster":"east","IPv4AllocCIDR":"10.2.0.0/24"}"#, false);
        check("a", r#"{"Name":"a","Cluster":"east","IPv4HealthIP":"fd00::1"}"#, false);
        check("a", r#"{"Name":"a","Cluster":"east","IPAddresses":[{"Type":"Tomorrow","IP":"10.0.0.1"}]}"#, true);
        check("a", r#"{"Name":"a","Cluster":"east","IPAddresses":[{"Type":"InternalIP","IP":"bad"}]}"#, false);
    }
}
