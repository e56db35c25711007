//! The demo: two meshed clusters, and a proof from live traffic for each promise.
//!
//! A proof that cannot fail is worth nothing. Every denied packet has its positive control in the same run, counts come
//! from numbers logged at both ends, and witnesses are not ours: etcdctl for the store, a raw socket for the wire, the
//! pinned maps for the kernel.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::server::{self, Server};
use crate::{Bed, Binaries, Plan, Pod, PodSpec, wait_until};

pub mod chaos;
pub mod cluster_policy;
pub mod dump;
pub mod explain;
pub mod global_service;
pub mod latency;
pub mod outage;
pub mod policy;
pub mod service;
pub mod talk;

/// How long a change may take until traffic shows it: the demo's machine is small and busy.
pub const SETTLE: Duration = Duration::from_secs(10);

/// The pods of the demo: cluster, node, name, label `app`.
pub const PODS: [(&str, usize, &str, &str); 11] = [
    ("east", 0, "client-a", "client"),
    ("east", 0, "intruder-a", "intruder"),
    ("east", 0, "web-a", "web"),
    ("east", 1, "echo-b", "echo"),
    ("east", 1, "intruder-b", "intruder"),
    ("east", 1, "web-b", "web"),
    ("east", 1, "web-c", "web"),
    ("west", 0, "client-w", "client"),
    ("west", 0, "web-w", "web"),
    ("west", 1, "echo-w", "echo"),
    ("west", 1, "web-x", "web"),
];

/// A mesh with its pods and a server in each.
pub struct Stage {
    /// The mesh.
    pub bed: Bed,
    /// A server in each pod, by name.
    pub servers: BTreeMap<String, Server>,
}

/// One promise and how it is proven.
pub struct Proof {
    /// What is promised.
    pub promise: &'static str,
    /// It also depends on what the store is.
    pub store: bool,
    /// Proves it; says what was observed.
    pub prove: fn(&mut Stage) -> Result<String>,
}

/// Every proof, in the order of the demo.
pub const PROOFS: [Proof; 8] = [
    Proof { promise: "pods talk across nodes, and the tunnel carries their identity", store: true, prove: talk::prove },
    Proof { promise: "policy by labels, also on running flows", store: false, prove: policy::prove },
    Proof { promise: "a ClusterIP service spreads connections", store: false, prove: service::prove },
    Proof { promise: "a global service spans clusters", store: true, prove: global_service::prove },
    Proof { promise: "policy by cluster", store: false, prove: cluster_policy::prove },
    Proof { promise: "losing the store changes nothing, and work goes on", store: true, prove: outage::prove },
    Proof { promise: "an address reaches the other cluster's kernel", store: false, prove: latency::prove },
    Proof { promise: "it explains itself", store: false, prove: explain::prove },
];

// === impl Stage ===

impl Stage {
    /// Brings up the mesh and its pods.
    ///
    /// # Errors
    ///
    /// When a part does not come up.
    pub fn set(plan: Plan, binaries: Binaries, ledger: &Path, mut progress: impl FnMut(&str)) -> Result<Self> {
        let mut bed = Bed::up(plan, binaries, ledger, &mut progress)?;
        let mut servers = BTreeMap::new();
        for (cluster, node, name, app) in PODS {
            bed.add_pod(cluster, node, PodSpec::new("demo", name, app)).with_context(|| format!("make pod {name}"))?;
            servers.insert(name.to_owned(), Server::start(bed.pod(name)?)?);
        }
        progress(&format!("{} pods joined through CNI", PODS.len()));
        Ok(Self { bed, servers })
    }

    /// A pod by name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn pod(&self, name: &str) -> Result<&Pod> {
        self.bed.pod(name)
    }

    /// The agent's node of a pod.
    ///
    /// # Errors
    ///
    /// When there is no such pod.
    pub fn node_of(&self, pod: &str) -> Result<&crate::NodePlan> {
        self.bed.node(&self.pod(pod)?.node)
    }

    /// Whether a TCP connection between two pods is answered, once.
    ///
    /// # Errors
    ///
    /// When there is no such pod.
    pub fn reaches(&self, from: &str, to: &str, ipv6: bool) -> Result<bool> {
        let target = SocketAddr::new(self.pod(to)?.ip(ipv6), server::PORT);
        Ok(server::ask(self.pod(from)?, target, Duration::from_millis(700)).is_ok_and(|name| name == to))
    }

    /// Waits until a connection is answered, or is not.
    ///
    /// # Errors
    ///
    /// When it does not come to that in time.
    pub fn expect(&self, from: &str, to: &str, ipv6: bool, wanted: bool) -> Result<()> {
        let (family, what) = (if ipv6 { 6 } else { 4 }, if wanted { "reaches" } else { "is kept from" });
        wait_until(&format!("{from} {what} {to} over IPv{family}"), SETTLE, || match self.reaches(from, to, ipv6)? {
            found if found == wanted => Ok(()),
            true => bail!("it is answered"),
            false => bail!("no answer"),
        })
    }

    /// What the store of the pod's cluster holds about its address, told by etcdctl: the identity.
    ///
    /// # Errors
    ///
    /// When etcdctl fails or the key is not there.
    pub fn identity_in_etcd(&self, pod: &str, ipv6: bool) -> Result<u32> {
        let pod = self.pod(pod)?;
        let cluster = pod.node.split('-').next().unwrap_or_default();
        let store = self.bed.stores.get(cluster).with_context(|| format!("no store of {cluster}"))?;
        let key = format!("cilium/state/ip/v1/default/{}", pod.ip(ipv6));
        let value = store.etcdctl(&["get", "--print-value-only", &key])?;
        let value: serde_json::Value =
            serde_json::from_str(value.trim()).with_context(|| format!("{key} is {value:?}"))?;
        let id = value["ID"].as_u64().and_then(|id| u32::try_from(id).ok());
        id.with_context(|| format!("{key} has no ID"))
    }
}

/// Asks a service many times; how often each pod answered.
///
/// # Errors
///
/// When a connection is not answered.
pub fn ask_often(from: &Pod, ip: IpAddr, times: u32) -> Result<BTreeMap<String, u32>> {
    let mut answers = BTreeMap::new();
    for time in 0..times {
        let target = SocketAddr::new(ip, 80);
        let name = server::ask(from, target, Duration::from_secs(2))
            .with_context(|| format!("connection {time} of {times} to {target}"))?;
        *answers.entry(name).or_default() += 1;
    }
    Ok(answers)
}

/// The median and the 99th percentile.
pub fn percentiles(mut samples: Vec<Duration>) -> (Duration, Duration) {
    samples.sort_unstable();
    let at = |share: usize| samples.get((samples.len() * share / 100).min(samples.len().saturating_sub(1)));
    (at(50).copied().unwrap_or_default(), at(99).copied().unwrap_or_default())
}

/// Runs the proofs of these numbers, every one when there is none, and prints a line for each; true when all held.
pub fn run(stage: &mut Stage, only: &[usize], print: &mut impl FnMut(&str)) -> bool {
    let mut held = true;
    for (number, proof) in (1..).zip(&PROOFS).filter(|(number, _)| only.is_empty() || only.contains(number)) {
        let started = Instant::now();
        match (proof.prove)(stage) {
            Ok(observed) => {
                print(&format!(
                    "proof {number}: {}: {observed} ({:.1} s)",
                    proof.promise,
                    started.elapsed().as_secs_f64()
                ));
            }
            Err(error) => {
                held = false;
                print(&format!("FAILED {number}: {}: {error:#}", proof.promise));
            }
        }
    }
    held
}
