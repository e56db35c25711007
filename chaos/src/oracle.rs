//! Whether every node's kernel holds what a fresh list of the stores says: no more, no less.
//!
//! The second opinion: etcdctl reads the stores, the pinned maps are read raw, and what should follow from the one for
//! the other is worked out here once more, from Cilium's formats and nothing of the product's.

mod kernel;
mod stores;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use testbed::NodePlan;
use testbed::demo::{Stage, dump};

use self::stores::Listed;

/// Who an address is, and through which node it is reached; `None`: it is local.
type Entry = (u32, Option<IpAddr>);

/// The security identities of nodes.
const HOST: u32 = 1;
const REMOTE_NODE: u32 = 6;

/// Compares every node; what was compared.
///
/// # Errors
///
/// The first differences of the first node that differs.
pub(crate) fn check(stage: &Stage) -> Result<String> {
    let mut listed = BTreeMap::new();
    for (cluster, store) in &stage.bed.stores {
        listed.insert(cluster.clone(), stores::list(store).with_context(|| format!("list the store of {cluster}"))?);
    }
    let (mut entries, mut services) = (0, 0);
    for cluster in &stage.bed.plan.clusters {
        // A cluster sees itself, and those that it is connected with.
        let connected = |name: &String| *name == cluster.name || cluster.mesh.join(name).exists();
        let seen: BTreeMap<&String, &Listed> = listed.iter().filter(|(name, _)| connected(name)).collect();
        for node in &cluster.nodes {
            entries += addresses(&seen, node)?;
            services += backends(stage, &seen, &cluster.name, node)?;
        }
    }
    Ok(format!("{entries} ipcache rows and {services} services of {} nodes", stage.bed.agents.len()))
}

/// Every key that somebody needs, with its cluster in front.
///
/// # Errors
///
/// When a store does not answer.
pub(crate) fn keys(stage: &Stage) -> Result<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    for (cluster, store) in &stage.bed.stores {
        let text = store.etcdctl(&["get", "--prefix", "--keys-only", "cilium/"])?;
        let listed = stores::list(store).with_context(|| format!("list the store of {cluster}"))?;
        // Locks come and go, and so do numbers that no address has, and their users.
        let needed = |key: &&str| match key.strip_prefix("cilium/state/identities/v1/") {
            Some(identity) => listed.names(identity),
            // The heartbeat is put each minute.
            None => !["", "cilium/.heartbeat"].contains(key) && !key.starts_with("cilium/.initlock/"),
        };
        let names = text.lines().filter(needed);
        keys.extend(names.map(|key| format!("{cluster} {key}")));
    }
    Ok(keys)
}

fn addresses(seen: &BTreeMap<&String, &Listed>, node: &NodePlan) -> Result<usize> {
    let own: BTreeSet<IpAddr> = [node.ipv4.into(), node.ipv6.into()].into();
    let mut wanted: BTreeMap<IpAddr, Entry> = BTreeMap::new();
    for ip in seen.values().flat_map(|listed| &listed.ips) {
        wanted.insert(ip.ip, (ip.identity, ip.host.filter(|host| !own.contains(host))));
    }
    for other in seen.values().flat_map(|listed| &listed.nodes) {
        for ip in &other.ips {
            let identity = if other.name == node.name { HOST } else { REMOTE_NODE };
            wanted.insert(*ip, (identity, None));
        }
    }
    let mut found = kernel::ipcache(&node.bpf_root)?;
    // How a node's own addresses are reached is routing's business; who they are is ours.
    for (ip, entry) in &mut found {
        if wanted.get(ip).is_some_and(|(identity, _)| [HOST, REMOTE_NODE].contains(identity)) {
            entry.1 = None;
        }
    }
    let missing: Vec<_> = wanted.iter().filter(|(ip, entry)| found.get(ip) != Some(entry)).take(4).collect();
    let stray: Vec<_> = found.iter().filter(|(ip, _)| !wanted.contains_key(ip)).take(4).collect();
    let seen: Vec<_> = missing.iter().map(|(ip, _)| found.get(ip)).collect();
    ensure!(missing.is_empty(), "ipcache of {}: the stores say {missing:?}, the map says {seen:?}", node.name);
    ensure!(stray.is_empty(), "ipcache of {}: the stores do not have {stray:?}", node.name);
    Ok(found.len())
}

fn backends(stage: &Stage, seen: &BTreeMap<&String, &Listed>, cluster: &str, node: &NodePlan) -> Result<usize> {
    let rows = dump::rows(&stage.bed, node, "lb")?;
    let own = seen.iter().find(|(name, _)| **name == cluster).context("a cluster sees itself")?.1;
    let mut count = 0;
    for (_, namespace, name, frontends) in stage.bed.services.iter().filter(|(of, ..)| of == cluster) {
        let object = stage.bed.manifests(cluster)?.read_service(namespace, name)?;
        let app = object["spec"]["selector"]["app"].as_str().context("a service selects by app")?;
        let mut wanted = own.addresses_of(namespace, app);
        if object["metadata"]["annotations"]["service.cilium.io/global"] == "true" {
            let remote = seen.iter().filter(|(name, _)| **name != cluster);
            wanted.extend(remote.flat_map(|(_, listed)| listed.backends(namespace, name)));
        }
        for frontend in frontends {
            let address: IpAddr = frontend.parse().context("a frontend is an address")?;
            let wanted: BTreeSet<_> = wanted.iter().filter(|ip| ip.is_ipv4() == address.is_ipv4()).copied().collect();
            let lines: Vec<_> = rows.iter().filter(|row| starts_with(row, address)).collect();
            ensure!(!lines.is_empty(), "services of {}: {namespace}/{name} ({frontend}) is not in the map", node.name);
            for line in lines {
                let behind = line.split_once(" -> ").map(|(_, backends)| backends).unwrap_or_default();
                let found: BTreeSet<IpAddr> = behind.split(' ').filter_map(ip_of).collect();
                ensure!(found == wanted, "services of {}: {line}, the stores say {wanted:?}", node.name);
                count += 1;
            }
        }
    }
    Ok(count)
}

fn starts_with(row: &str, frontend: IpAddr) -> bool {
    row.split(' ').next().and_then(ip_of) == Some(frontend)
}

/// The address in `1.2.3.4:80/TCP` or `[fd00::1]:80/TCP`.
fn ip_of(text: &str) -> Option<IpAddr> {
    let text = text.split('/').next()?;
    text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_a_service_row() {
        assert_eq!(ip_of("10.0.0.1:80/TCP"), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(ip_of("[fd00::1]:80/UDP"), Some("fd00::1".parse().unwrap()));
        assert_eq!(ip_of("none"), None);
    }
}
