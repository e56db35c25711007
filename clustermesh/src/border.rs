//! What a remote cluster may claim, given everybody's nodes: nothing that is ours, nothing that is a third cluster's, and
//! where its own nodes declare CIDRs, nothing outside of them.
//!
//! Our own cluster comes first whatever the order in which things become known; between two remote clusters the first
//! claim holds. A cluster whose nodes declare no CIDR (its addresses come from elsewhere) is only kept off what is others'.

mod backends;
#[cfg(test)]
mod tests;
mod view;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{ClusterName, EndpointSlice, GlobalService, IpEntry, Node, NumericIdentity, Prefix};
use parking_lot::Mutex;
use reflector::{Border, BorderVersion};
use statedb::Reader;
use tables::{Frontend, NodeRow, RemoteService, RemoteSlice};
use tokio::sync::watch;

use backends::{Backends, Share};
use view::View;

/// Backends of one service in one cluster: Kubernetes holds 100 in a slice and is tested to 5,000 nodes.
pub const MAX_SERVICE_BACKENDS: usize = 4096;

/// Backends of all services of one cluster: a third of what the kernel's map holds for all of them.
pub const MAX_CLUSTER_BACKENDS: usize = 20_000;

/// Claims are judged again at most so often.
const SETTLE: Duration = Duration::from_millis(50);

/// Prefixes wider than these are no cluster's pods: 10.0.0.0/9 has eight million.
const WIDEST: (u8, u8) = (9, 33);

/// How many addresses of a list a sentence names.
const NAMED: usize = 3;

/// What is known of all clusters.
pub(crate) struct Frontier {
    own: ClusterName,
    nodes: Reader<NodeRow>,
    frontends: Option<Reader<Frontend>>,
    view: Mutex<Arc<View>>,
    versions: watch::Sender<BorderVersion>,
}

/// The border of one remote cluster.
pub(crate) struct RemoteBorder {
    cluster: ClusterName,
    frontier: Arc<Frontier>,
    services: Reader<RemoteService>,
    slices: Reader<RemoteSlice>,
    backends: Mutex<Backends>,
}

// === impl Frontier ===

impl Frontier {
    pub(crate) fn new(own: ClusterName, nodes: Reader<NodeRow>, frontends: Option<Reader<Frontend>>) -> Arc<Self> {
        let versions = watch::Sender::new(BorderVersion::default());
        Arc::new(Self { own, nodes, frontends, view: Mutex::default(), versions })
    }

    /// Tells the imports when claims are to be judged again; runs until it is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut nodes = self.nodes.watch();
        let mut frontends = self.frontends.as_ref().map(Reader::watch);
        let mut known = self.view();
        loop {
            tokio::select! {
                () = nodes.changed() => {}
                () = async {
                    match &mut frontends {
                        Some(frontends) => frontends.changed().await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
            tokio::time::sleep(SETTLE).await;
            let now = self.view();
            if !now.says_the_same(&known) {
                let ours = !now.says_the_same_of_us(&known);
                self.versions.send_modify(|version| {
                    version.any += 1;
                    version.own += u64::from(ours);
                });
            }
            known = now;
        }
    }

    /// What the tables say now.
    fn view(&self) -> Arc<View> {
        let nodes = self.nodes.snapshot();
        let frontends = self.frontends.as_ref().map(Reader::snapshot);
        let revision = (nodes.revision(), frontends.as_ref().map_or(0, |table| table.revision()));
        let mut held = self.view.lock();
        if held.revision != Some(revision) {
            let frontends = frontends.iter().flat_map(|table| table.iter().map(|row| row.addr.ip));
            *held = Arc::new(View::new(&self.own, nodes.iter().map(|row| &*row.node), frontends, revision));
        }
        Arc::clone(&held)
    }
}

// === impl RemoteBorder ===

impl RemoteBorder {
    pub(crate) fn new(
        cluster: ClusterName,
        frontier: Arc<Frontier>,
        services: Reader<RemoteService>,
        slices: Reader<RemoteSlice>,
    ) -> Arc<Self> {
        Arc::new(Self { cluster, frontier, services, slices, backends: Mutex::default() })
    }

    /// Whether a backend's address can be the cluster's.
    fn is_theirs(&self, view: &View, ip: IpAddr) -> Result<(), String> {
        usable(ip.into())?;
        view.foreign(&self.cluster, ip.into())?;
        let theirs = view.of(&self.cluster);
        if theirs.declares(ip.is_ipv4()) && !theirs.has(ip) {
            return Err(format!("{ip} is outside the CIDRs of {}'s nodes", self.cluster));
        }
        Ok(())
    }

    /// Counts backends, unless there would be too many.
    fn count(&self, share: Share, count: usize) -> Result<(), String> {
        let mut backends = self.backends.lock();
        if backends.take(&share, count, MAX_CLUSTER_BACKENDS) {
            return Ok(());
        }
        // What has gone meanwhile counts no longer.
        let (services, slices) = (self.services.snapshot(), self.slices.snapshot());
        backends.forget(|share| match share {
            Share::Service(name) => services.get(&(name.clone(), self.cluster.clone())).is_none(),
            Share::Slice(name) => slices.get(&(name.clone(), self.cluster.clone())).is_none(),
        });
        if backends.take(&share, count, MAX_CLUSTER_BACKENDS) {
            return Ok(());
        }
        let (others, cluster) = (backends.total(), &self.cluster);
        Err(format!(
            "backends: {count} and the {others} of other services of {cluster} are more than {MAX_CLUSTER_BACKENDS}"
        ))
    }
}

impl Border for RemoteBorder {
    fn node(&self, node: &Node) -> Result<(), String> {
        let view = self.frontier.view();
        for cidr in node.pod_cidrs() {
            usable(cidr)
                .and_then(|()| view.foreign(&self.cluster, cidr))
                .map_err(|why| format!("AllocCIDR {cidr}: {why}"))?;
        }
        let special = node.health_ips().chain(node.ingress_ips());
        for ip in node.addresses.iter().map(|address| address.ip).chain(special) {
            usable(ip.into())
                .and_then(|()| view.foreign(&self.cluster, ip.into()))
                .map_err(|why| format!("IPAddresses {ip}: {why}"))?;
        }
        Ok(())
    }

    fn ip(&self, entry: &IpEntry) -> Result<(), String> {
        let (view, prefix) = (self.frontier.view(), entry.prefix);
        usable(prefix).map_err(|why| format!("IP: {why}"))?;
        view.foreign(&self.cluster, prefix).map_err(|why| format!("IP: {why}"))?;
        let (theirs, cluster) = (view.of(&self.cluster), &self.cluster);
        let inside = theirs.covers(prefix);
        if entry.identity.is_reserved() {
            let allowed = [NumericIdentity::HEALTH, NumericIdentity::REMOTE_NODE, NumericIdentity::INGRESS];
            if !allowed.contains(&entry.identity) {
                return Err(format!(
                    "ID: {} is reserved; another cluster may use remote-node (6), health (4) and ingress (8)",
                    entry.identity
                ));
            }
            if !inside {
                let id = entry.identity;
                return Err(format!("ID: {id} is reserved, and {prefix} is outside the CIDRs of {cluster}'s nodes"));
            }
        }
        if theirs.declares(prefix.is_ipv4()) && !inside {
            return Err(format!("IP: {prefix} is outside the CIDRs of {cluster}'s nodes"));
        }
        match entry.host_ip {
            Some(host) if !theirs.is_node(host) => Err(format!("HostIP: {host} is no node of {cluster}")),
            _ => Ok(()),
        }
    }

    fn service(&self, mut service: GlobalService) -> Result<(GlobalService, Option<String>), String> {
        check_count(service.backends.len(), "service")?;
        let mut left_out = LeftOut::default();
        let view = self.frontier.view();
        service.backends.retain(|ip, _| left_out.unless(self.is_theirs(&view, *ip)));
        self.count(Share::Service(service.name.clone()), service.backends.len())?;
        Ok((service, left_out.sentence()))
    }

    fn slice(&self, mut slice: EndpointSlice) -> Result<(EndpointSlice, Option<String>), String> {
        let count = |slice: &EndpointSlice| slice.endpoints.iter().map(|endpoint| endpoint.addresses.len()).sum();
        check_count(count(&slice), "slice")?;
        let mut left_out = LeftOut::default();
        let view = self.frontier.view();
        for endpoint in &mut slice.endpoints {
            endpoint.addresses.retain(|ip| left_out.unless(self.is_theirs(&view, *ip)));
        }
        self.count(Share::Slice(slice.name.clone()), count(&slice))?;
        Ok((slice, left_out.sentence()))
    }

    fn versions(&self) -> watch::Receiver<BorderVersion> {
        self.frontier.versions.subscribe()
    }
}

fn check_count(count: usize, what: &str) -> Result<(), String> {
    if count > MAX_SERVICE_BACKENDS {
        return Err(format!("backends: {count} are more than {MAX_SERVICE_BACKENDS} for one {what}"));
    }
    Ok(())
}

/// What of a list is not used, and why.
#[derive(Default)]
struct LeftOut {
    total: usize,
    named: Vec<String>,
}

// === impl LeftOut ===

impl LeftOut {
    /// Whether it is used.
    fn unless(&mut self, judged: Result<(), String>) -> bool {
        let Err(why) = judged else { return true };
        self.total += 1;
        if self.named.len() < NAMED {
            self.named.push(why);
        }
        false
    }

    fn sentence(self) -> Option<String> {
        let Self { total, named } = self;
        let more = if total > named.len() { format!("; and {} more", total - named.len()) } else { String::new() };
        (total > 0).then(|| format!("backends: {total} left out: {}{more}", named.join("; ")))
    }
}

/// Whether a prefix can be anybody's pods or nodes at all.
fn usable(prefix: Prefix) -> Result<(), String> {
    let widest = if prefix.is_ipv4() { WIDEST.0 } else { WIDEST.1 };
    if prefix.bits() < widest {
        return Err(format!("{prefix} is wider than /{widest}: no cluster's addresses"));
    }
    let odd = match prefix.addr() {
        IpAddr::V4(ip) if ip.is_loopback() => Some("loopback"),
        IpAddr::V4(ip) if ip.is_link_local() => Some("link-local"),
        IpAddr::V4(ip) if ip.is_multicast() => Some("multicast"),
        IpAddr::V4(ip) if ip.octets()[0] == 0 || ip.octets()[0] >= 240 => Some("unspecified or reserved"),
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unspecified() => Some("loopback or unspecified"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("link-local"),
        IpAddr::V6(ip) if ip.is_multicast() => Some("multicast"),
        _ => None,
    };
    odd.map_or(Ok(()), |what| Err(format!("{prefix} is {what}: no cluster's address")))
}
