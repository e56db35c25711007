//! The veth pair of a pod: its names, and the pod's side.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use netlink::{Mac, Namespace, Netlink, PeerSpec, Route, VethSpec, write_sysctl_if_exists};

use crate::error::Error;

/// A pod's pair.
pub(crate) struct Pair {
    pub(crate) host_ifname: String,
    pub(crate) host_index: u32,
    pub(crate) host_mac: Mac,
    pub(crate) mac: Mac,
}

/// An address of the pod and the router it reaches everything by.
pub(crate) struct Address {
    pub(crate) ip: IpAddr,
    pub(crate) gateway: IpAddr,
}

/// `lxc` and twelve hexadecimal digits of the attachment: the same for every call about it.
pub(crate) fn host_ifname(container_id: &str, ifname: &str) -> String {
    // FNV-1a: names need no secrecy, and a collision shows as an existing link of another pod.
    let bytes = container_id.bytes().chain([0]).chain(ifname.bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("lxc{:012x}", hash & 0xffff_ffff_ffff)
}

/// Makes the pair, its pod side in `netns`; what an unfinished call left is replaced. Both sides are down.
pub(crate) fn create(host_ifname: &str, ifname: &str, netns: &Path, mtu: u32) -> Result<Pair, Error> {
    let failed = |what: String| move |source| Error::Network { what, source };
    let namespace = Namespace::open_path(netns).map_err(failed(format!("open the sandbox {}", netns.display())))?;
    let mut netlink = Netlink::open().map_err(failed("reach the kernel's routing tables".to_owned()))?;
    let what = || format!("make the pair {host_ifname} and {ifname}");
    netlink.delete_link_if_exists(host_ifname).map_err(failed(what()))?;
    let host = PeerSpec { name: host_ifname, mac: None, mtu: Some(mtu), namespace: None };
    let peer = PeerSpec { name: ifname, mac: None, mtu: Some(mtu), namespace: Some(&namespace) };
    netlink.create_veth(&VethSpec { host, peer }).map_err(failed(what()))?;
    let link = netlink.link(host_ifname).map_err(failed(what()))?;
    let inside = in_namespace(&namespace, |netlink| netlink.link(ifname)).map_err(failed(what()))?;
    let (Some(host_mac), Some(mac)) = (link.mac, inside.mac) else {
        return Err(Error::Check(format!("{host_ifname} or {ifname} has no hardware address")));
    };
    Ok(Pair { host_ifname: host_ifname.to_owned(), host_index: link.index, host_mac, mac })
}

/// Addresses, the router as permanent neighbour, and routes through it, in the pod.
pub(crate) fn configure(
    netns: &Path,
    ifname: &str,
    pair: &Pair,
    addresses: &[Address],
    route_mtu: u32,
) -> Result<(), Error> {
    let failed = |source| Error::Network { what: format!("set up {ifname} in {}", netns.display()), source };
    let namespace = Namespace::open_path(netns).map_err(failed)?;
    in_namespace(&namespace, |netlink| {
        if addresses.iter().any(|address| address.ip.is_ipv6()) {
            // Runtimes disable IPv6 in sandboxes that ask for none.
            write_sysctl_if_exists(&format!("net/ipv6/conf/{ifname}/disable_ipv6"), "0")?;
            write_sysctl_if_exists(&format!("net/ipv6/conf/{ifname}/accept_ra"), "0")?;
        }
        let link = netlink.link(ifname)?.index;
        netlink.set_up(link)?;
        for Address { ip, gateway } in addresses {
            netlink.ensure_address(link, host_net(*ip))?;
            netlink.ensure_neighbour(link, *gateway, pair.host_mac)?;
            netlink.ensure_route(&Route::on_link(host_net(*gateway), link))?;
            let all = if ip.is_ipv4() { IpAddr::from([0u8; 4]) } else { IpAddr::from([0u8; 16]) };
            let everything = IpNet::new_assert(all, 0);
            netlink.ensure_route(&Route { mtu: Some(route_mtu), ..Route::via(everything, link, *gateway) })?;
        }
        Ok(())
    })
    .map_err(failed)
}

/// Opens the host's side: from now on the pod sends and receives.
pub(crate) fn open(pair: &Pair) -> Result<(), Error> {
    let failed = |source| Error::Network { what: format!("open {}", pair.host_ifname), source };
    Netlink::open().and_then(|mut netlink| netlink.set_up(pair.host_index)).map_err(failed)
}

/// Removes the pair; an absent one is removed already.
pub(crate) fn remove(host_ifname: &str) -> Result<(), Error> {
    let failed = |source| Error::Network { what: format!("remove {host_ifname}"), source };
    Netlink::open().and_then(|mut netlink| netlink.delete_link_if_exists(host_ifname)).map(|_| ()).map_err(failed)
}

/// The addresses of the pod's interface.
pub(crate) fn addresses(netns: &Path, ifname: &str) -> Result<Vec<IpAddr>, Error> {
    let failed = |source| Error::Network { what: format!("look at {ifname} in {}", netns.display()), source };
    let namespace = Namespace::open_path(netns).map_err(failed)?;
    in_namespace(&namespace, |netlink| {
        let link = netlink.link(ifname)?.index;
        Ok(netlink.addresses(Some(link))?.into_iter().map(|(_, net)| net.addr()).collect())
    })
    .map_err(failed)
}

fn host_net(ip: IpAddr) -> IpNet {
    IpNet::from(ip)
}

fn in_namespace<T: Send>(
    namespace: &Namespace,
    work: impl FnOnce(&mut Netlink) -> netlink::Result<T> + Send,
) -> netlink::Result<T> {
    namespace.enter(|| work(&mut Netlink::open()?))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_fit_and_differ_by_container_and_interface() {
        let one = host_ifname("abc", "eth0");
        assert_eq!(one.len(), 15);
        assert_eq!(one, host_ifname("abc", "eth0"));
        assert_ne!(one, host_ifname("abc", "eth1"));
        assert_ne!(one, host_ifname("abce", "th0"));
    }
}
