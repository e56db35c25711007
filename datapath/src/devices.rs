//! The node's own interfaces, and the kernel parameters that the programs assume.

use crate::{
    Config, Error,
    pins::{HOST_DEVICE, NET_DEVICE, VXLAN_DEVICE},
};
use ipnet::IpNet;
use netlink::{Netlink, PeerSpec, Route, VethSpec, VxlanSpec, write_sysctl, write_sysctl_if_exists};
use std::net::IpAddr;

/// Indexes of the interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Devices {
    pub vxlan: u32,
    pub host: u32,
}

/// Makes them as they shall be; what exists is corrected.
///
/// # Errors
/// What the kernel refuses, by device.
pub fn ensure(config: &Config) -> Result<Devices, Error> {
    sysctls()?;
    let mut nl = Netlink::open().map_err(|source| failed(HOST_DEVICE, source))?;
    let host = ensure_pair(&mut nl, config).map_err(|source| failed(HOST_DEVICE, source))?;
    device_sysctls(HOST_DEVICE)?;
    device_sysctls(NET_DEVICE)?;
    let vxlan = ensure_vxlan(&mut nl, config).map_err(|source| failed(VXLAN_DEVICE, source))?;
    device_sysctls(VXLAN_DEVICE)?;
    for cidr in &config.pod_cidrs {
        let route = pod_route(config, host, net(*cidr));
        nl.ensure_route(&route).map_err(Error::Routes)?;
    }
    Ok(Devices { vxlan, host })
}

/// The route by which the host's stack reaches a node's pods, its own included.
#[must_use]
pub fn pod_route(config: &Config, host: u32, cidr: IpNet) -> Route {
    let mut route = Route::on_link(cidr, host);
    route.mtu = Some(config.route_mtu());
    route.source = match cidr {
        IpNet::V4(_) => config.router_ipv4.map(IpAddr::V4),
        IpNet::V6(_) => config.router_ipv6.map(IpAddr::V6),
    };
    // IPv6 has no scopes: what is read back says universe.
    if cidr.addr().is_ipv6() {
        route.scope = netlink::RouteScope::Universe;
    }
    route
}

pub(crate) fn net(prefix: model::Prefix) -> IpNet {
    IpNet::new(prefix.addr(), prefix.bits()).expect("a prefix is no longer than its address")
}

fn failed(device: &str, source: netlink::Error) -> Error {
    Error::Device { device: device.to_owned(), source }
}

fn ensure_pair(nl: &mut Netlink, config: &Config) -> netlink::Result<u32> {
    nl.ensure_veth(&VethSpec {
        host: PeerSpec { name: HOST_DEVICE, mtu: Some(config.device_mtu), ..PeerSpec::default() },
        peer: PeerSpec { name: NET_DEVICE, mtu: Some(config.device_mtu), ..PeerSpec::default() },
    })?;
    for name in [HOST_DEVICE, NET_DEVICE] {
        let link = nl.link(name)?;
        if link.mtu != config.device_mtu {
            nl.set_mtu(link.index, config.device_mtu)?;
        }
        nl.set_noarp(link.index)?;
        nl.set_up(link.index)?;
    }
    let host = nl.link(HOST_DEVICE)?.index;
    let routers = config.router_ipv4.map(IpAddr::V4).into_iter().chain(config.router_ipv6.map(IpAddr::V6));
    let wanted: Vec<IpNet> = routers.map(IpNet::from).collect();
    for address in &wanted {
        nl.ensure_address(host, *address)?;
    }
    // A router address of an earlier configuration would attract what is no longer ours.
    for (_, address) in nl.addresses(Some(host))? {
        let link_local = matches!(address.addr(), IpAddr::V6(ip) if ip.is_unicast_link_local());
        if !wanted.contains(&address) && !link_local {
            nl.delete_address_if_exists(host, address)?;
        }
    }
    Ok(host)
}

fn ensure_vxlan(nl: &mut Netlink, config: &Config) -> netlink::Result<u32> {
    let spec = VxlanSpec { name: VXLAN_DEVICE, port: config.tunnel_port, mtu: Some(config.device_mtu), mac: None };
    let wanted = netlink::LinkKind::Vxlan { external: true, port: config.tunnel_port };
    if nl.find_link(VXLAN_DEVICE)?.is_some_and(|link| link.kind != wanted) {
        nl.delete_link_if_exists(VXLAN_DEVICE)?;
    }
    nl.ensure_vxlan(&spec)?;
    let link = nl.link(VXLAN_DEVICE)?;
    if link.mtu != config.device_mtu {
        nl.set_mtu(link.index, config.device_mtu)?;
    }
    nl.set_up(link.index)?;
    Ok(link.index)
}

/// Parameters of the namespace. The larger of `all` and the device counts for rp_filter, and
/// devices of pods copy `default` when they are made.
fn sysctls() -> Result<(), Error> {
    for (key, value) in
        [("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/default/rp_filter", "0")]
    {
        write_sysctl(key, value).map_err(Error::Sysctl)?;
    }
    write_sysctl_if_exists("net/ipv6/conf/all/forwarding", "1").map_err(Error::Sysctl)?;
    // The compiler of programs; some kernels have it always on and refuse to be told.
    let _ = write_sysctl_if_exists("net/core/bpf_jit_enable", "1");
    Ok(())
}

fn device_sysctls(device: &str) -> Result<(), Error> {
    for (name, value) in [("rp_filter", "0"), ("accept_local", "1"), ("send_redirects", "0")] {
        write_sysctl(&format!("net/ipv4/conf/{device}/{name}"), value).map_err(Error::Sysctl)?;
    }
    Ok(())
}
