//! The underlay: in a namespace of its own a bridge for each cluster, with a link to every node and store, and a bridge
//! between the clusters, with a link to each of theirs.

use std::net::IpAddr;

use anyhow::{Context, Result};
use ipnet::IpNet;
use netlink::{Namespace, Netlink, PeerSpec, VethSpec};

use crate::{ClusterPlan, Ledger, Plan, process};

/// The bridge between the clusters.
const MESH: &str = "mesh";
/// The name of the uplink inside a node or store.
const UPLINK: &str = "eth0";

/// The namespaces of nodes and stores, joined.
#[derive(Debug)]
pub struct Network {
    name: String,
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
        in_namespace(&underlay, |netlink| bridge(netlink, MESH))?;
        let network = Self { name: plan.underlay.clone(), underlay };
        for cluster in &plan.clusters {
            let own = format!("br{}", cluster.id);
            in_namespace(&network.underlay, |netlink| {
                bridge(netlink, &own)?;
                let end = |name| PeerSpec { name, ..PeerSpec::default() };
                netlink.create_veth(&VethSpec { host: end(&cluster.mesh_out), peer: end(&cluster.mesh_in) })?;
                for (port, bridge) in [(&cluster.mesh_out, own.as_str()), (&cluster.mesh_in, MESH)] {
                    let (index, bridge) = (netlink.link(port)?.index, netlink.link(bridge)?.index);
                    netlink.set_master(index, bridge)?;
                    netlink.set_up(index)?;
                }
                Ok(())
            })?;
            network.join(ledger, &own, &cluster.store_netns, &cluster.store_port(), &[cluster.store_ip.into()])?;
            for node in &cluster.nodes {
                network.join(ledger, &own, &node.netns, &node.uplink, &[node.ipv4.into(), node.ipv6.into()])?;
            }
        }
        Ok(network)
    }

    /// The network of a run that is there already.
    ///
    /// # Errors
    ///
    /// When its namespace is gone.
    pub fn attach(plan: &Plan) -> Result<Self> {
        let underlay = Namespace::open(&plan.underlay).context("enter the underlay")?;
        Ok(Self { name: plan.underlay.clone(), underlay })
    }

    /// Drops whatever a port would send, without a sign to anybody; `false` heals it.
    ///
    /// # Errors
    ///
    /// When there is no such port, or it is as wanted already.
    pub fn set_silent(&self, port: &str, silent: bool) -> Result<()> {
        silence(&self.name, port, silent)
    }

    /// The same for what a store sends.
    ///
    /// # Errors
    ///
    /// When it is as wanted already.
    pub fn set_store_silent(&self, cluster: &ClusterPlan, silent: bool) -> Result<()> {
        silence(&cluster.store_netns, UPLINK, silent)
    }

    /// How many packets a silent store has dropped; `None` when it is not silent.
    ///
    /// # Errors
    ///
    /// When its namespace is gone.
    pub fn store_dropped(&self, cluster: &ClusterPlan) -> Result<Option<u64>> {
        dropped(&cluster.store_netns, UPLINK)
    }

    /// How many packets a silent port has dropped; `None` when it is not silent.
    ///
    /// # Errors
    ///
    /// When there is no such port.
    pub fn dropped(&self, port: &str) -> Result<Option<u64>> {
        dropped(&self.name, port)
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

    fn join(&self, ledger: &mut Ledger, bridge: &str, netns: &str, port: &str, ips: &[IpAddr]) -> Result<()> {
        let inside = namespace(ledger, netns)?;
        in_namespace(&self.underlay, |netlink| {
            let host = PeerSpec { name: port, ..PeerSpec::default() };
            let peer = PeerSpec { name: UPLINK, namespace: Some(&inside), ..PeerSpec::default() };
            netlink.create_veth(&VethSpec { host, peer })?;
            let (index, bridge) = (netlink.link(port)?.index, netlink.link(bridge)?.index);
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

fn silence(netns: &str, device: &str, silent: bool) -> Result<()> {
    let (verb, kind) = if silent { ("add", Some("blackhole")) } else { ("del", None) };
    let words: Vec<&str> = ["tc", "qdisc", verb, "dev", device, "root"].into_iter().chain(kind).collect();
    process::run(netns, &words).map(|_| ())
}

fn dropped(netns: &str, device: &str) -> Result<Option<u64>> {
    let text = process::run(netns, &["tc", "-s", "qdisc", "show", "dev", device])?;
    let mut lines = text.lines().skip_while(|line| !line.contains("blackhole")).skip(1);
    Ok(lines.find_map(|line| line.split("dropped ").nth(1)?.split([',', ' ']).next()?.parse().ok()))
}

fn bridge(netlink: &mut Netlink, name: &str) -> netlink::Result<()> {
    netlink.create_bridge(name)?;
    let index = netlink.link(name)?.index;
    netlink.set_up(index)
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
