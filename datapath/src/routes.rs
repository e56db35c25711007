//! The host's routes to the pods of other nodes.

use crate::{Config, Error, devices};
use ipnet::IpNet;
use netlink::{Netlink, Route};
use statedb::Snapshot;
use std::net::IpAddr;
use tables::NodeRow;

/// What shall be there, from the nodes and our own CIDRs.
#[must_use]
pub(crate) fn wanted(config: &Config, host: u32, nodes: &Snapshot<NodeRow>) -> Vec<Route> {
    let cidrs =
        config.pod_cidrs.iter().copied().chain(nodes.iter().flat_map(|row| row.node.pod_cidrs().collect::<Vec<_>>()));
    let mut routes: Vec<Route> = cidrs
        .filter(|cidr| if cidr.is_ipv4() { config.router_ipv4.is_some() } else { config.router_ipv6.is_some() })
        // A CIDR that swallows everything is a mistake of its node, not a route.
        .filter(|cidr| cidr.bits() > 0)
        .map(|cidr| devices::pod_route(config, host, devices::net(cidr)))
        .collect();
    routes.sort_by_key(|route| route.destination);
    routes.dedup_by_key(|route| route.destination);
    routes
}

/// Makes it so; routes that nobody wants go only when `prune` is set.
///
/// # Errors
/// [`Error::Routes`].
pub(crate) fn apply(wanted: &[Route], host: u32, prune: bool) -> Result<usize, Error> {
    let mut nl = Netlink::open().map_err(Error::Routes)?;
    let actual = nl.routes(Some(host)).map_err(Error::Routes)?;
    let mut changed = 0;
    for route in wanted.iter().filter(|route| !actual.contains(route)) {
        nl.ensure_route(route).map_err(Error::Routes)?;
        changed += 1;
    }
    for route in actual.iter().filter(|route| prune && is_ours(&route.destination)) {
        if !wanted.iter().any(|wanted| wanted.destination == route.destination) {
            nl.delete_route_if_exists(route.destination, host).map_err(Error::Routes)?;
            changed += 1;
        }
    }
    Ok(changed)
}

/// The kernel's own routes of the device are to link-local destinations and to single addresses.
fn is_ours(destination: &IpNet) -> bool {
    let link_local = match destination.addr() {
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_multicast(),
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_multicast(),
    };
    !link_local && destination.prefix_len() < destination.max_prefix_len()
}
