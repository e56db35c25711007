//! Everybody's addresses and ranges at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::{ClusterName, Node, Prefix};

/// Who has what.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Of the tables that it was made of.
    pub(super) revision: Option<(u64, u64)>,
    own: Option<ClusterName>,
    clusters: BTreeMap<ClusterName, Claims>,
    /// Addresses of our services.
    vips: BTreeSet<IpAddr>,
}

/// What one cluster's nodes declare.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    cidrs: BTreeMap<Prefix, Arc<str>>,
    ips: BTreeMap<IpAddr, Arc<str>>,
}

// === impl View ===

impl View {
    pub(super) fn new<'a>(
        own: &ClusterName,
        nodes: impl Iterator<Item = &'a Node>,
        vips: impl Iterator<Item = IpAddr>,
        revision: (u64, u64),
    ) -> Self {
        let mut view =
            Self { revision: Some(revision), own: Some(own.clone()), vips: vips.collect(), ..Self::default() };
        for node in nodes {
            let claims = view.clusters.entry(node.cluster.clone()).or_default();
            let name: Arc<str> = format!("{}/{}", node.cluster, node.name).into();
            claims.cidrs.extend(node.pod_cidrs().map(|cidr| (cidr, Arc::clone(&name))));
            let special = node.health_ips().chain(node.ingress_ips());
            let ips = node.addresses.iter().map(|address| address.ip.to_canonical()).chain(special);
            claims.ips.extend(ips.map(|ip| (ip, Arc::clone(&name))));
        }
        view
    }

    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.clusters == other.clusters && self.vips == other.vips
    }

    /// Service addresses aside: those are no prefixes that anything is looked up under.
    pub(super) fn says_the_same_of_us(&self, other: &Self) -> bool {
        self.ours() == other.ours()
    }

    fn ours(&self) -> Option<&Claims> {
        self.own.as_ref().and_then(|own| self.clusters.get(own))
    }

    pub(super) fn of(&self, cluster: &ClusterName) -> &Claims {
        static NONE: Claims = Claims { cidrs: BTreeMap::new(), ips: BTreeMap::new() };
        self.clusters.get(cluster).unwrap_or(&NONE)
    }

    /// Whether a prefix is, holds or lies in something that is not the cluster's.
    pub(super) fn foreign(&self, cluster: &ClusterName, prefix: Prefix) -> Result<(), String> {
        // Ours first: it is the worse news.
        let ours = self.clusters.iter().filter(|(name, _)| Some(*name) == self.own.as_ref());
        let others = self.clusters.iter().filter(|(name, _)| Some(*name) != self.own.as_ref() && *name != cluster);
        for (_, claims) in ours.chain(others) {
            claims.free_of(prefix)?;
        }
        let vip = if prefix.is_host() {
            self.vips.get(&prefix.addr())
        } else {
            self.vips.range(prefix.addr()..).next().filter(|ip| prefix.contains(**ip))
        };
        vip.map_or(Ok(()), |vip| Err(format!("{prefix} holds {vip}, the address of a service of ours")))
    }
}

// === impl Claims ===

impl Claims {
    /// Whether a CIDR of this family is declared at all.
    pub(super) fn declares(&self, ipv4: bool) -> bool {
        self.cidrs.keys().any(|cidr| cidr.is_ipv4() == ipv4)
    }

    /// Whether an address is a node's, or in a node's CIDR.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.covers(ip.into())
    }

    pub(super) fn covers(&self, prefix: Prefix) -> bool {
        (prefix.is_host() && self.is_node(prefix.addr())) || self.around(prefix).is_some()
    }

    pub(super) fn is_node(&self, ip: IpAddr) -> bool {
        self.ips.contains_key(&ip.to_canonical())
    }

    /// The declared CIDR that covers a prefix: of those before it in order, the nearest ones can.
    fn around(&self, prefix: Prefix) -> Option<(&Prefix, &Arc<str>)> {
        // CIDRs of one cluster do not overlap, nested ones aside: a few steps back are enough, and a wrong "no" costs a
        // quarantine, never a claim.
        self.cidrs.range(..=prefix).rev().take(8).find(|(cidr, _)| cidr.covers(prefix))
    }

    fn free_of(&self, prefix: Prefix) -> Result<(), String> {
        if let Some((cidr, node)) = self.around(prefix) {
            let verb = if prefix.is_host() { "belongs to" } else { "overlaps" };
            return Err(format!("{prefix} {verb} {cidr} of {node}"));
        }
        if let Some((cidr, node)) = self.cidrs.range(prefix..).next().filter(|(cidr, _)| prefix.covers(**cidr)) {
            return Err(format!("{prefix} overlaps {cidr} of {node}"));
        }
        let ip = self.ips.range(prefix.addr()..).next().filter(|(ip, _)| prefix.contains(**ip));
        match ip {
            Some((ip, node)) if prefix.is_host() => Err(format!("{ip} is {node}")),
            Some((ip, node)) => Err(format!("{prefix} holds {ip}, which is {node}")),
            None => Ok(()),
        }
    }
}
