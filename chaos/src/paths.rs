//! The paths that are probed: who to whom, and whether policy lets it.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde::Serialize;
use testbed::demo::Stage;

/// Addresses of the service that probes go through.
pub(crate) const SERVICE: [&str; 2] = ["10.101.0.50", "fd10:101::50"];
/// The first port of the probes; each flow has one of its own.
const PORT: u16 = 9400;

/// One path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The sending pod.
    pub from: &'static str,
    /// The receiving pod.
    pub to: &'static str,
    /// Over IPv6.
    pub ipv6: bool,
    /// Which way it goes.
    pub kind: Kind,
    /// Whether policy allows it.
    pub allowed: bool,
    /// The port that its receiver listens at.
    pub port: u16,
}

/// Which way a path goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Both pods on one node.
    SameNode,
    /// Through the tunnel.
    CrossNode,
    /// Through a ClusterIP.
    Service,
    /// To the other cluster.
    CrossCluster,
}

/// Who talks to whom: allowed pairs, then forbidden ones.
const PAIRS: [(&str, &str, Kind, bool); 11] = [
    ("client-a", "web-a", Kind::SameNode, true),
    ("client-a", "echo-b", Kind::CrossNode, true),
    ("client-a", "web-b", Kind::CrossNode, true),
    ("client-a", "echo-b", Kind::Service, true),
    ("client-a", "echo-w", Kind::CrossCluster, true),
    ("client-w", "echo-b", Kind::CrossCluster, true),
    ("intruder-a", "web-a", Kind::SameNode, false),
    ("intruder-a", "echo-b", Kind::CrossNode, false),
    ("intruder-b", "client-a", Kind::CrossNode, false),
    ("intruder-a", "echo-b", Kind::Service, false),
    ("web-w", "echo-b", Kind::CrossCluster, false),
];

/// Every path, in both families.
pub(crate) fn all() -> Vec<Path> {
    let families = PAIRS.into_iter().flat_map(|pair| [(pair, false), (pair, true)]);
    let path = |(port, ((from, to, kind, allowed), ipv6))| Path { from, to, ipv6, kind, allowed, port };
    (PORT..).zip(families).map(path).collect()
}

/// Paths of long-lived connections: each kind once, the families in turn.
pub(crate) fn streams() -> Vec<Path> {
    let pairs = PAIRS.into_iter().filter(|(.., allowed)| *allowed).enumerate();
    let path = |(number, (from, to, kind, allowed))| {
        let port = PORT + 50 + u16::try_from(number).unwrap_or_default();
        Path { from, to, ipv6: number % 2 == 1, kind, allowed, port }
    };
    pairs.map(path).collect()
}

// === impl Path ===

impl Path {
    /// As reports name it.
    pub fn name(&self) -> String {
        let through = match self.kind {
            Kind::SameNode => "same node",
            Kind::CrossNode => "cross node",
            Kind::Service => "service",
            Kind::CrossCluster => "cross cluster",
        };
        format!("{} to {} ({through}, IPv{})", self.from, self.to, if self.ipv6 { 6 } else { 4 })
    }

    /// Where its sender sends.
    pub(crate) fn target(&self, stage: &Stage) -> Result<SocketAddr> {
        let ip = match self.kind {
            Kind::Service => SERVICE[usize::from(self.ipv6)].parse().context("an address of ours")?,
            _ => stage.pod(self.to)?.ip(self.ipv6),
        };
        Ok(SocketAddr::new(ip, self.port))
    }

    /// Whether one of its ends is on a node.
    pub(crate) fn touches_node(&self, stage: &Stage, node: &str) -> Result<bool> {
        Ok(stage.pod(self.from)?.node == node || stage.pod(self.to)?.node == node)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_way_is_probed_allowed_and_forbidden_in_both_families() {
        let kinds = [Kind::SameNode, Kind::CrossNode, Kind::Service, Kind::CrossCluster];
        let paths = all();
        for kind in kinds {
            for (allowed, ipv6) in [(true, false), (true, true), (false, false), (false, true)] {
                let found = paths.iter().any(|path| (path.kind, path.allowed, path.ipv6) == (kind, allowed, ipv6));
                assert!(found, "{kind:?} allowed={allowed} ipv6={ipv6}");
            }
        }
        let ports: BTreeSet<u16> = paths.iter().chain(&streams()).map(|path| path.port).collect();
        assert_eq!(ports.len(), paths.len() + streams().len(), "each path has a port of its own");
    }
}
