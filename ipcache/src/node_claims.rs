//! What a node's record says about addresses.

use std::net::IpAddr;

use model::{ClusterName, Node, NodeName, NumericIdentity, Prefix, Source};
use tables::Origin;

use crate::Claim;

/// The node that we run on.
#[derive(Debug, Clone)]
pub struct Own {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name.
    pub name: NodeName,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Its pods have addresses of both families: each family then has a world of its own.
    pub dual_stack: bool,
}

/// The prefixes that a node claims.
///
/// - its addresses: host (1) on our own node, remote-node (6) on any other; the router address of another node lies
///   behind its tunnel, the others on the underlay;
/// - its health (4) and ingress (8) addresses;
/// - its pod CIDRs: the family's world, behind its tunnel, so that a pod whose own row is still on its way is not sent elsewhere.
pub fn node_claims(node: &Node, own: &Own) -> Vec<(Prefix, Claim)> {
    let is_own = node.cluster == own.cluster && node.name == own.name;
    let tunnel = if is_own { None } else { node.tunnel_ip() };
    let source = if is_own { Source::Local } else { node.source };
    let claim = |identity, tunnel_endpoint, source| Claim {
        identity,
        tunnel_endpoint,
        encrypt_key: node.encryption_key,
        origin: Origin::new(source, node.cluster.clone()),
    };
    let mut claims = Vec::new();
    for address in &node.addresses {
        let identity = if is_own { NumericIdentity::HOST } else { NumericIdentity::REMOTE_NODE };
        let behind_tunnel = address.kind == model::AddressKind::CiliumInternalIp;
        let endpoint = tunnel.filter(|_| behind_tunnel);
        claims.push((Prefix::host(address.ip), claim(identity, endpoint, source)));
    }
    for ip in node.health_ips() {
        claims.push((Prefix::host(ip), claim(NumericIdentity::HEALTH, tunnel, source)));
    }
    for ip in node.ingress_ips() {
        claims.push((Prefix::host(ip), claim(NumericIdentity::INGRESS, tunnel, source)));
    }
    if !is_own {
        for cidr in node.pod_cidrs() {
            let world = match cidr.is_ipv4() {
                _ if !own.dual_stack => NumericIdentity::WORLD,
                true => NumericIdentity::WORLD_IPV4,
                false => NumericIdentity::WORLD_IPV6,
            };
            claims.push((cidr, claim(world, tunnel, Source::Generated)));
        }
    }
    claims
}
