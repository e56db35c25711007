//! A node as its agent announces it.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use crate::{ClusterId, ClusterName, NodeName, Prefix, Source};

/// Unique by cluster and name. Not enforced: that the CIDRs of two nodes are disjoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: NodeName,
    pub cluster: ClusterName,
    pub cluster_id: ClusterId,
    /// In the writer's order; the first of a kind and family counts.
    pub addresses: Vec<NodeAddress>,
    pub ipv4_alloc_cidr: Option<Prefix>,
    pub ipv4_secondary_alloc_cidrs: Vec<Prefix>,
    pub ipv6_alloc_cidr: Option<Prefix>,
    pub ipv6_secondary_alloc_cidrs: Vec<Prefix>,
    pub ipv4_health_ip: Option<Ipv4Addr>,
    pub ipv6_health_ip: Option<Ipv6Addr>,
    pub ipv4_ingress_ip: Option<Ipv4Addr>,
    pub ipv6_ingress_ip: Option<Ipv6Addr>,
    pub encryption_key: u8,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub wireguard_pub_key: Arc<str>,
    pub boot_id: Arc<str>,
    pub source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddress {
    pub kind: AddressKind,
    pub ip: IpAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKind {
    Hostname,
    ExternalIp,
    InternalIp,
    ExternalDns,
    InternalDns,
    /// The router address of the node, first of its pod CIDR.
    CiliumInternalIp,
}

// === impl Node ===

impl Node {
    /// A node of which only the name is known.
    pub fn new(name: NodeName, cluster: ClusterName, cluster_id: ClusterId) -> Self {
        Self {
            name,
            cluster,
            cluster_id,
            addresses: Vec::new(),
            ipv4_alloc_cidr: None,
            ipv4_secondary_alloc_cidrs: Vec::new(),
            ipv6_alloc_cidr: None,
            ipv6_secondary_alloc_cidrs: Vec::new(),
            ipv4_health_ip: None,
            ipv6_health_ip: None,
            ipv4_ingress_ip: None,
            ipv6_ingress_ip: None,
            encryption_key: 0,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            wireguard_pub_key: Arc::default(),
            boot_id: Arc::default(),
            source: Source::Unspecified,
        }
    }

    pub fn ips(&self, kind: AddressKind) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().filter(move |a| a.kind == kind).map(|a| a.ip)
    }

    pub fn internal_ipv4(&self) -> Option<Ipv4Addr> {
        first_v4(self.ips(AddressKind::InternalIp))
    }

    pub fn internal_ipv6(&self) -> Option<Ipv6Addr> {
        first_v6(self.ips(AddressKind::InternalIp))
    }

    pub fn cilium_internal_ipv4(&self) -> Option<Ipv4Addr> {
        first_v4(self.ips(AddressKind::CiliumInternalIp))
    }

    pub fn cilium_internal_ipv6(&self) -> Option<Ipv6Addr> {
        first_v6(self.ips(AddressKind::CiliumInternalIp))
    }

    /// The address that tunnels to this node end at: IPv4 first, as the underlay is.
    pub fn tunnel_ip(&self) -> Option<IpAddr> {
        self.internal_ipv4().map(IpAddr::V4).or(self.internal_ipv6().map(IpAddr::V6))
    }

    /// Every pod CIDR of both families, primary ones first.
    pub fn pod_cidrs(&self) -> impl Iterator<Item = Prefix> + '_ {
        let primary = self.ipv4_alloc_cidr.into_iter().chain(self.ipv6_alloc_cidr);
        primary.chain(self.ipv4_secondary_alloc_cidrs.iter().chain(&self.ipv6_secondary_alloc_cidrs).copied())
    }

    pub fn health_ips(&self) -> impl Iterator<Item = IpAddr> {
        self.ipv4_health_ip.map(IpAddr::V4).into_iter().chain(self.ipv6_health_ip.map(IpAddr::V6))
    }

    pub fn ingress_ips(&self) -> impl Iterator<Item = IpAddr> {
        self.ipv4_ingress_ip.map(IpAddr::V4).into_iter().chain(self.ipv6_ingress_ip.map(IpAddr::V6))
    }
}

fn first_v4(mut ips: impl Iterator<Item = IpAddr>) -> Option<Ipv4Addr> {
    ips.find_map(|ip| if let IpAddr::V4(v4) = ip { Some(v4) } else { None })
}

fn first_v6(mut ips: impl Iterator<Item = IpAddr>) -> Option<Ipv6Addr> {
    ips.find_map(|ip| if let IpAddr::V6(v6) = ip { Some(v6) } else { None })
}

// === impl AddressKind ===

impl AddressKind {
    pub const ALL: [Self; 6] = [
        Self::Hostname,
        Self::ExternalIp,
        Self::InternalIp,
        Self::ExternalDns,
        Self::InternalDns,
        Self::CiliumInternalIp,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hostname => "Hostname",
            Self::ExternalIp => "ExternalIP",
            Self::InternalIp => "InternalIP",
            Self::ExternalDns => "ExternalDNS",
            Self::InternalDns => "InternalDNS",
            Self::CiliumInternalIp => "CiliumInternalIP",
        }
    }
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for AddressKind {
    type Err = ();

    /// `Err(())`: a kind of a later version, which readers skip.
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|k| k.as_str() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_of_a_kind_and_family_counts() {
        let mut node = Node::new("a".parse().unwrap(), "east".parse().unwrap(), ClusterId::NONE);
        assert_eq!(node.tunnel_ip(), None);
        let mut add = |kind, ip: &str| node.addresses.push(NodeAddress { kind, ip: ip.parse().unwrap() });
        add(AddressKind::InternalIp, "fd00::1");
        add(AddressKind::ExternalIp, "198.51.100.1");
        add(AddressKind::InternalIp, "192.0.2.1");
        add(AddressKind::InternalIp, "192.0.2.2");
        add(AddressKind::CiliumInternalIp, "10.0.0.1");
        assert_eq!(node.tunnel_ip(), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(node.internal_ipv6(), Some("fd00::1".parse().unwrap()));
        assert_eq!(node.cilium_internal_ipv4(), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(node.cilium_internal_ipv6(), None);
        for kind in AddressKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
    }
}
