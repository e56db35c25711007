//! Ranges of pod addresses: usable, and nobody else's.

use std::net::IpAddr;

use anyhow::{Result, bail, ensure};
use model::Prefix;
use netlink::Netlink;

use crate::Args;

/// `--ipv4-range` and `--ipv6-range`: a prefix in its normal form.
pub(crate) fn pod_range(text: &str) -> Result<Prefix, String> {
    let prefix: Prefix = text.parse().map_err(|error: model::InvalidPrefix| error.to_string())?;
    if !text.contains('/') {
        let wide = if prefix.is_ipv4() { 24 } else { 64 };
        return Err(format!("{text} is a single address; a range is written as {text}/{wide} with the host bits zero"));
    }
    let normal = format!("{}/{}", prefix.addr(), prefix.bits());
    if normal != text.to_lowercase() {
        return Err(format!("{text} is not in normal form: did you mean {normal}?"));
    }
    let addr = prefix.addr();
    let odd = match addr {
        IpAddr::V4(ip) if ip.is_loopback() => Some("loopback"),
        IpAddr::V4(ip) if ip.is_link_local() => Some("link-local"),
        IpAddr::V4(ip) if ip.octets()[0] >= 224 => Some("multicast or reserved"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("link-local"),
        IpAddr::V6(ip) if ip.is_multicast() => Some("multicast"),
        ip if ip.is_unspecified() || prefix.bits() < 4 => Some("unspecified or the whole space of"),
        IpAddr::V6(ip) if ip.is_loopback() => Some("loopback"),
        _ => None,
    };
    if let Some(what) = odd {
        return Err(format!("{text} holds {what} addresses, which no pod can have"));
    }
    if ipam::Pool::new(prefix).capacity() == 0 {
        let widest = if prefix.is_ipv4() { 30 } else { 126 };
        return Err(format!("{text} has no room for a router and a pod: at most /{widest}"));
    }
    Ok(prefix)
}

/// What the options say of one another.
pub(super) fn check(args: &Args) -> Result<()> {
    for (range, ipv4) in [(args.ipv4_range, true), (args.ipv6_range, false)] {
        if let Some(range) = range.filter(|range| range.is_ipv4() != ipv4) {
            let (is, other) = if ipv4 { ("IPv6", "--ipv6-range") } else { ("IPv4", "--ipv4-range") };
            bail!("--ipv{}-range {range} is {is}: give it as {other}", if ipv4 { 4 } else { 6 });
        }
    }
    let services =
        [("--ipv4-service-range", &args.ipv4_service_range), ("--ipv6-service-range", &args.ipv6_service_range)];
    for (option, text) in services {
        let Some(service) = service_range(option, text)? else { continue };
        for (pods, range) in ranges(args) {
            disjoint(pods, range, &format!("{option} {service}"), service)?;
        }
    }
    let nodes = args.ipv4_node.map(IpAddr::V4).into_iter().chain(args.ipv6_node.map(IpAddr::V6));
    for node in nodes {
        for (pods, range) in ranges(args) {
            disjoint(pods, range, &format!("the node's own address {node}"), node.into())?;
        }
    }
    Ok(())
}

/// What the networks at this node's devices say.
pub(super) fn check_against_node(args: &Args, netlink: &mut Netlink) -> Result<()> {
    let links = netlink.links()?;
    for (index, net) in netlink.addresses(None)? {
        let name = links.iter().find(|link| link.index == index).map_or("", |link| link.name.as_str());
        // An earlier run's own router addresses, and pods' that were never meant to be elsewhere.
        let ours = [datapath::HOST_DEVICE, datapath::NET_DEVICE, datapath::VXLAN_DEVICE].contains(&name);
        let Ok(network) = Prefix::try_new(net.addr(), net.prefix_len()) else { continue };
        let link_local = matches!(net.addr(), IpAddr::V6(ip) if ip.is_unicast_link_local());
        if ours || link_local || name.starts_with("lxc") {
            continue;
        }
        for (pods, range) in ranges(args) {
            disjoint(pods, range, &format!("the network {net} of device {name}"), network)?;
        }
    }
    Ok(())
}

fn ranges(args: &Args) -> impl Iterator<Item = (&'static str, Prefix)> {
    let named = [("--ipv4-range", args.ipv4_range), ("--ipv6-range", args.ipv6_range)];
    named.into_iter().filter_map(|(name, range)| Some((name, range?)))
}

fn disjoint(option: &str, range: Prefix, what: &str, other: Prefix) -> Result<()> {
    ensure!(
        !range.covers(other) && !other.covers(range),
        "{option} {range} overlaps {what}: packets to one would reach the other; choose a range of its own"
    );
    Ok(())
}

fn service_range(option: &str, text: &str) -> Result<Option<Prefix>> {
    // Cilium's word for "as Kubernetes has it"; without an API server nobody can say.
    if text == "auto" {
        return Ok(None);
    }
    let ipv4 = option.contains("ipv4");
    match text.parse::<Prefix>() {
        Ok(prefix) if prefix.is_ipv4() == ipv4 => Ok(Some(prefix)),
        Ok(prefix) => bail!("{option} {prefix} is of the other family"),
        Err(error) => bail!("{option}: {error}; give a prefix or auto"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_in_normal_form_and_usable() {
        fn check(text: &str, expected: &str) {
            let got = pod_range(text).map_or_else(|error| error, |range| range.to_string());
            assert!(got.contains(expected), "{text}: {got}");
        }
        check("10.0.0.0/8", "10.0.0.0/8");
        check("FD00::/64", "fd00::/64");
        check("10.0.0.1/8", "did you mean 10.0.0.0/8?");
        check("10.0.0.0/33", "too long");
        check("10.0.0.0", "10.0.0.0/24");
        check("::ffff:10.0.0.0/104", "did you mean 10.0.0.0/8?");
        check("fd00:0::/64", "did you mean fd00::/64?");
        check("10.0.0.0/31", "at most /30");
        check("127.0.0.0/8", "loopback");
        check("0.0.0.0/0", "whole space");
        check("fe80::/64", "link-local");
    }
}
