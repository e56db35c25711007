//! The record of the node that we run on.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use model::{AddressKind, Node, NodeAddress, Prefix, Source};
use netlink::Netlink;

use crate::Args;

/// The underlay as this node sees it.
pub(crate) struct Underlay {
    /// The device's MTU.
    pub(crate) mtu: u32,
}

/// The first address of a range: the router's.
pub(crate) fn router(range: Prefix) -> IpAddr {
    ipam::Pool::new(range).router()
}

/// The node's own record, as it is published.
pub(crate) fn own(args: &Args) -> Result<Node> {
    let mut node = Node::new(args.node()?, args.cluster_name.clone(), args.cluster_id);
    if args.ipv4_range.is_none() && args.ipv6_range.is_none() {
        bail!("no range of pod addresses: give --ipv4-range, --ipv6-range or both");
    }
    if args.ipv4_node.is_none() {
        bail!("--ipv4-node is required: the tunnel runs over IPv4");
    }
    let address = |kind, ip| NodeAddress { kind, ip };
    node.addresses.extend(args.ipv4_node.map(|ip| address(AddressKind::InternalIp, ip.into())));
    node.addresses.extend(args.ipv6_node.map(|ip| address(AddressKind::InternalIp, ip.into())));
    for range in args.ipv4_range.iter().chain(&args.ipv6_range) {
        node.addresses.push(address(AddressKind::CiliumInternalIp, router(*range)));
    }
    node.ipv4_alloc_cidr = args.ipv4_range;
    node.ipv6_alloc_cidr = args.ipv6_range;
    node.labels.insert("kubernetes.io/hostname".to_owned(), node.name.to_string());
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read this boot's id")?;
    node.boot_id = boot_id.trim().into();
    node.source = Source::Local;
    Ok(node)
}

/// The device that carries the tunnel.
pub(crate) fn underlay(args: &Args, netlink: &mut Netlink) -> Result<Underlay> {
    let links = netlink.links().context("list network devices")?;
    if let Some(name) = &args.devices {
        let link = links.iter().find(|link| link.name == *name);
        let link = link.with_context(|| format!("--devices {name}: there is no such device"))?;
        return Ok(Underlay { mtu: link.mtu });
    }
    let ip = args.node_ip()?;
    let addresses = netlink.addresses(None).context("list addresses")?;
    let holder = addresses.into_iter().find(|(_, net)| net.addr() == ip);
    let (index, _) = holder.with_context(|| format!("no device has the node's address {ip}: check --ipv4-node"))?;
    let link = links.iter().find(|link| link.index == index);
    Ok(Underlay { mtu: link.map_or(1500, |link| link.mtu) })
}
