//! The underlay: a bridge in a namespace of its own, and a link to it from every node and store.

use std::net::IpAddr;

use anyhow::{Context, Result};
use ipnet::IpNet;
use netlink::{Namespace, Netlink, PeerSpec, VethSpec};

use crate::{Ledger, Plan};

/// The bridge's name.
const BRIDGE: &str = "br0";
/// The name of the uplink inside a node or store.
const UPLINK: &str = "eth0";

/// The namespaces of nodes and stores, joined.
#[derive(Debug)]
pub struct Network {
    underlay: Namespace,
}

impl Network {
    /// Makes the bridge, and every node's and store's namespace with its link and addresses.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; what was made is in the ledger.
    pub fn create(plan: &Plan, ledger: &mut Ledger) -> Result<Self> {
        let underlay = namespace(ledger, &plan.underlay)?;
        in_namespace(&underlay, |netlink| {
            netlink.create_bridge(BRIDGE)?;
            let bridge = netlink.link(BRIDGE)?.index;
            netlink.set_up(bridge)
        })?;
        let network = Self { underlay };
        for cluster in &plan.clusters {
            let port = format!("st{}", cluster.id);
            network.join(ledger, &cluster.store_netns, &port, &[cluster.store_ip.into()])?;
            for node in &cluster.nodes {
                network.join(ledger, &node.netns, &node.uplink, &[node.ipv4.into(), node.ipv6.into()])?;
            }
        }
        Ok(network)
    }

    /// Cuts or heals a link, by the name of its port on the bridge.
    ///
    /// # Errors
    ///
    /// When there is no such port.
    pub fn set_port(&self, port: &str, up: bool) -> Result<()> {
        in_namespace(&self.underlay, |netlink| {
            let index = netlink.link(port)?.index;
            if up { netlink.set_up(index) } else { netlink.set_down(index) }
        })
    }

    fn join(&self, ledger: &mut Ledger, netns: &str, port: &str, ips: &[IpAddr]) -> Result<()> {
        let inside = namespace(ledger, netns)?;
        in_namespace(&self.underlay, |netlink| {
            let host = PeerSpec { name: port, ..PeerSpec::default() };
            let peer = PeerSpec { name: UPLINK, namespace: Some(&inside), ..PeerSpec::default() };
            netlink.create_veth(&VethSpec { host, peer })?;
            let (index, bridge) = (netlink.link(port)?.index, netlink.link(BRIDGE)?.index);
            netlink.set_master(index, bridge)?;
            netlink.set_up(index)
        })
        .with_context(|| format!("join {netns} to the underlay"))?;
        in_namespace(&inside, |netlink| {
            let link = netlink.link(UPLINK)?.index;
            netlink.set_up(link)?;
            for ip in ips {
                let bits = if ip.is_ipv4() { 24 } else { 64 };
                netlink.ensure_address(link, IpNet::new_assert(*ip, bits))?;
            }
            Ok(())
        })
        .with_context(|| format!("set up {UPLINK} of {netns}"))
    }
}

/// Makes a namespace with its loopback up.
pub(crate) fn namespace(ledger: &mut Ledger, name: &str) -> Result<Namespace> {
    ledger.namespace(name)?;
    let made = Namespace::create(name).with_context(|| format!("make namespace {name}"))?;
    in_namespace(&made, |netlink| {
        let lo = netlink.link("lo")?.index;
        netlink.set_up(lo)
    })?;
    Ok(made)
}

pub(crate) fn in_namespace<T: Send>(
    namespace: &Namespace,
    work: impl FnOnce(&mut Netlink) -> netlink::Result<T> + Send,
) -> Result<T> {
    Ok(namespace.enter(|| work(&mut Netlink::open()?))??)
}
