//! Names and addresses of a mesh: pure, and the same for the same run.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::StoreKind;

/// A mesh of clusters with two nodes each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Four hexadecimal digits in every name of this run.
    pub run_id: String,
    /// Where files of the run lie.
    pub dir: PathBuf,
    /// What the clusters' state lies in.
    pub store: StoreKind,
    /// The namespace of the bridge.
    pub underlay: String,
    /// The clusters. One without nodes is a store alone: whoever writes it is the cluster.
    pub clusters: Vec<ClusterPlan>,
    /// What every agent is told besides.
    pub agent_flags: Vec<String>,
    /// What every operator is told besides.
    pub operator_flags: Vec<String>,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterPlan {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u32,
    /// The namespace of its store.
    pub store_netns: String,
    /// The store's address.
    pub store_ip: Ipv4Addr,
    /// The link to the other clusters, as its own end calls it: what leaves the cluster passes it.
    pub mesh_out: String,
    /// The other end: what enters the cluster passes it.
    pub mesh_in: String,
    /// Where its manifests lie.
    pub manifests: PathBuf,
    /// Where the client files of its remote clusters lie.
    pub mesh: PathBuf,
    /// Its nodes.
    pub nodes: Vec<NodePlan>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub netns: String,
    /// Its address on the underlay.
    pub ipv4: Ipv4Addr,
    /// And the IPv6 one.
    pub ipv6: Ipv6Addr,
    /// Its pods' range.
    pub range4: IpNet,
    /// And the IPv6 one.
    pub range6: IpNet,
    /// The interface to the bridge, as the bridge's namespace calls it: setting it down cuts the node off.
    pub uplink: String,
    /// The agent's socket.
    pub socket: PathBuf,
    /// Where its maps are pinned.
    pub bpf_root: PathBuf,
    /// Files that need not outlive a reboot.
    pub state_dir: PathBuf,
    /// Files that must.
    pub lib_dir: PathBuf,
    /// Its log.
    pub log: PathBuf,
}

/// Names in the order of cluster numbers.
const NAMES: [&str; 4] = ["east", "west", "north", "south"];

// === impl ClusterPlan ===

impl ClusterPlan {
    /// The port of its store's link, in the underlay.
    pub fn store_port(&self) -> String {
        format!("st{}", self.id)
    }
}

// === impl Plan ===

impl Plan {
    /// The plan of a run with `clusters` clusters, files below `dir`.
    ///
    /// # Panics
    ///
    /// When more clusters are asked for than there are names.
    pub fn new(run_id: &str, dir: &Path, clusters: u32) -> Self {
        let dir = dir.join(run_id);
        let cluster = |id: u32| cluster(run_id, &dir, id);
        let clusters = (1..=clusters).map(cluster).collect();
        let store = StoreKind::Embedded;
        Self {
            run_id: run_id.to_owned(),
            store,
            underlay: format!("cw{run_id}-net"),
            clusters,
            dir,
            agent_flags: Vec::new(),
            operator_flags: Vec::new(),
        }
    }

    /// A cluster by name.
    pub fn cluster(&self, name: &str) -> Option<&ClusterPlan> {
        self.clusters.iter().find(|cluster| cluster.name == name)
    }
}

fn cluster(run_id: &str, dir: &Path, id: u32) -> ClusterPlan {
    let name = NAMES[id as usize - 1].to_owned();
    let folder = dir.join(&name);
    let octet = id as u8;
    let node = |number: u8| {
        let name = format!("{name}-{number}");
        let home = folder.join(&name);
        let v6 = u16::from(octet);
        NodePlan {
            netns: format!("cw{run_id}-{name}"),
            ipv4: Ipv4Addr::new(192, 168, 240, octet * 10 + number),
            ipv6: Ipv6Addr::new(0xfd00, 0x240, 0, 0, 0, 0, v6, number.into()),
            range4: IpNet::new_assert(Ipv4Addr::new(10, octet, number, 0).into(), 24),
            range6: IpNet::new_assert(Ipv6Addr::new(0xfd10, v6, number.into(), 0, 0, 0, 0, 0).into(), 64),
            uplink: format!("up{octet}{number}"),
            socket: home.join("run/causeway.sock"),
            bpf_root: PathBuf::from(format!("/sys/fs/bpf/cw{run_id}/{name}")),
            state_dir: home.join("state"),
            lib_dir: home.join("lib"),
            log: home.join("agent.log"),
            name,
        }
    };
    ClusterPlan {
        id,
        store_netns: format!("cw{run_id}-{name}-store"),
        store_ip: Ipv4Addr::new(192, 168, 240, octet * 10),
        mesh_out: format!("mo{octet}"),
        mesh_in: format!("mi{octet}"),
        manifests: folder.join("manifests"),
        mesh: folder.join("clustermesh"),
        nodes: vec![node(1), node(2)],
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_unique_and_names_fit() {
        let plan = Plan::new("0a1b", Path::new("/tmp"), 4);
        let mut seen = std::collections::BTreeSet::new();
        for cluster in &plan.clusters {
            assert!(seen.insert(cluster.store_ip.to_string()) && seen.insert(cluster.store_netns.clone()));
            for node in &cluster.nodes {
                for unique in [node.ipv4.to_string(), node.ipv6.to_string(), node.range4.to_string()] {
                    assert!(seen.insert(unique));
                }
                assert!(seen.insert(node.range6.to_string()) && seen.insert(node.netns.clone()));
                assert!(seen.insert(node.uplink.clone()) && node.uplink.len() < 16);
            }
        }
    }
}
