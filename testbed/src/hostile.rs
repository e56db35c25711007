//! A hostile remote cluster: a real etcd whose content lies, and the table of its lies.
//!
//! Each attack has its positive control: the honest variant of the same entry, which must be accepted in the same run.
//! Otherwise a dead link would pass for a strong border.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use etcd_client::Client;
use netlink::Namespace;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{ClusterPlan, NodePlan};

/// The hostile cluster, and what it knows of its victims.
#[derive(Debug, Clone)]
pub struct World {
    /// The hostile cluster.
    pub evil: ClusterPlan,
    /// A node of the cluster that is attacked.
    pub victim: NodePlan,
    /// Its cluster.
    pub victim_cluster: (String, u32),
    /// An address of one of its pods.
    pub victim_pod: String,
    /// An address of one of its services.
    pub victim_vip: String,
    /// A node of another remote cluster.
    pub third: NodePlan,
    /// Its cluster.
    pub third_cluster: (String, u32),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// What is written, and what must come of it.
#[derive(Debug, Clone)]
pub struct Attack {
    /// As reliability.md numbers it.
    pub id: &'static str,
    /// What it tries.
    pub what: &'static str,
    /// Entries with what their refusal must say.
    pub lies: Vec<(Entry, String)>,
    /// Honest entries of the same kind, the table that must show them, and what a line of it holds.
    pub truths: Vec<(Entry, &'static str, String)>,
}

/// A client file by which the hostile cluster would join, and what status must say of it.
#[derive(Debug, Clone)]
pub struct Join {
    /// The file's name: the cluster's.
    pub name: String,
    /// What its cluster configuration says; `None`: there is none.
    pub config: Option<String>,
    /// What status or an alarm must say.
    pub says: String,
}

/// Nodes of the hostile cluster have addresses from here.
const NODE_IP: &str = "192.168.240.31";

// === impl World ===

impl World {
    fn name(&self) -> &str {
        &self.evil.name
    }

    fn base(&self) -> u32 {
        self.evil.id << 16
    }

    /// What makes the cluster ready: heartbeat, configuration, a node, an address, an identity.
    pub fn honest(&self) -> Vec<Entry> {
        let config = json!({"id": self.evil.id, "capabilities": {"maxConnectedClusters": 255}});
        vec![
            entry(format!("cilium/cluster-config/{}", self.name()), &config),
            Entry { key: "cilium/.heartbeat".to_owned(), value: "2026-01-01T00:00:00Z".to_owned() },
            self.node("n1", NODE_IP, "10.3.1.0"),
            self.ip("10.3.1.10", self.base() + 10, NODE_IP),
            self.identity(self.base() + 10, &self.labels("honest")),
        ]
    }

    /// A1 to A7 of reliability.md, section 4.6.
    pub fn attacks(&self) -> Vec<Attack> {
        let (base, id) = (self.base(), self.evil.id);
        let (own, third) = (self.victim_cluster.1 << 16, self.third_cluster.1 << 16);
        let (pod, vip) = (self.victim_pod.as_str(), self.victim_vip.as_str());
        let (node, third_node) = (self.victim.ipv4.to_string(), self.third.ipv4.to_string());
        let range = format!("not in the range of {}", self.name());
        let cidr = |node: &NodePlan| format!("{}/{}", node.range4.addr(), node.range4.prefix_len());
        let (own_cidr, third_cidr) = (cidr(&self.victim), cidr(&self.third));
        let lie = |entry: Entry, says: &str| (entry, says.to_owned());
        let truth_ip = |ip: &str, id: u32| (self.ip(ip, id, NODE_IP), "ips", format!("{ip} +{id} "));
        let labelled = |labels: &str| self.identity(base + 50, labels);
        vec![
            Attack {
                id: "A1",
                what: "identity numbers outside its range",
                lies: vec![
                    lie(self.ip("10.3.1.20", own + 5, NODE_IP), &range),
                    lie(self.ip("10.3.1.21", third + 5, NODE_IP), &range),
                    lie(self.ip("10.3.1.22", 0, NODE_IP), "ID: 0 is reserved"),
                    lie(self.raw_ip("10.3.1.23", "4294967296"), "ID: number does not fit in u32"),
                    lie(self.identity(own + 5000, &self.labels("x")), &range),
                    lie(self.identity(third + 5000, &self.labels("x")), &range),
                    lie(self.identity(0, &self.labels("x")), &range),
                ],
                truths: vec![
                    truth_ip("10.3.1.24", base + 10),
                    (self.identity(base + 11, &self.labels("a1")), "identities", format!("{} .*app=a1", base + 11)),
                ],
            },
            Attack {
                id: "A2",
                what: "reserved identities for pods",
                lies: [(2, "10.3.1.30"), (3, "10.3.1.31"), (5, "10.3.1.32"), (7, "10.3.1.33"), (9, "10.3.1.34")]
                    .map(|(id, ip)| {
                        (self.ip(ip, id, NODE_IP), format!("ID: {id} is reserved; another cluster may use"))
                    })
                    .into_iter()
                    .chain([6, 4, 8].map(|id| {
                        let ip = format!("10.77.0.{id}");
                        (self.ip(&ip, id, NODE_IP), format!("ID: {id} is reserved, and {ip} is outside the CIDRs"))
                    }))
                    .collect(),
                truths: vec![truth_ip("10.3.1.35", 6), truth_ip("10.3.1.36", 4)],
            },
            Attack {
                id: "A3",
                what: "addresses of others, and of nobody",
                lies: vec![
                    lie(self.ip(pod, base + 10, NODE_IP), &format!("{pod} belongs to {own_cidr} of")),
                    lie(self.ip(&node, 6, NODE_IP), &format!("{node} is {}", self.victim_cluster.0)),
                    lie(self.ip(vip, base + 10, NODE_IP), "the address of a service of ours"),
                    lie(self.cidr("0.0.0.0", 0, base + 10), "wider than /9"),
                    lie(self.cidr("10.0.0.0", 8, base + 10), "wider than /9"),
                    lie(self.ip("169.254.7.7", base + 10, NODE_IP), "link-local"),
                    lie(self.ip("127.0.0.1", base + 10, NODE_IP), "loopback"),
                    lie(self.ip("224.0.0.5", base + 10, NODE_IP), "multicast"),
                    lie(self.cidr("10.1.0.0", 16, base + 10), "overlaps"),
                    lie(self.ip("10.78.0.1", base + 10, NODE_IP), "outside the CIDRs"),
                ],
                truths: vec![
                    truth_ip("10.3.1.40", base + 10),
                    (self.cidr("10.3.1.128", 26, base + 10), "ips", "10.3.1.128/26 ".to_owned()),
                ],
            },
            Attack {
                id: "A4",
                what: "ranges of others",
                lies: vec![
                    lie(
                        self.node("n4", "192.168.240.34", "10.1.1.0"),
                        &format!("AllocCIDR 10.1.1.0/24: 10.1.1.0/24 overlaps {own_cidr} of {}", self.victim_cluster.0),
                    ),
                    lie(
                        self.node("n5", "192.168.240.35", "10.2.1.0"),
                        &format!(
                            "AllocCIDR 10.2.1.0/24: 10.2.1.0/24 overlaps {third_cidr} of {}",
                            self.third_cluster.0
                        ),
                    ),
                    lie(self.node("n6", &node, "10.3.6.0"), &format!("IPAddresses {node}: {node} is")),
                ],
                truths: vec![(self.node("n2", "192.168.240.32", "10.3.2.0"), "nodes", "/n2 .*10.3.2.0/24".to_owned())],
            },
            Attack {
                id: "A5",
                what: "labels of another cluster",
                lies: [
                    format!("k8s:app=x;{CLUSTER}={};", self.victim_cluster.0),
                    "k8s:app=x;".to_owned(),
                    format!("{CLUSTER}={};k8s:app=x;{CLUSTER}={};", self.name(), self.victim_cluster.0),
                    format!("k8s:app=x;x:io.cilium.k8s.policy.cluster={};", self.name()),
                    format!("k8s:app=x;{CLUSTER}=;"),
                ]
                .iter()
                .zip(60..)
                .map(|(labels, at)| {
                    (self.identity(base + at, labels), format!("policy.cluster is not {}", self.name()))
                })
                .collect(),
                truths: vec![(labelled(&self.labels("a5")), "identities", format!("{} .*app=a5", base + 50))],
            },
            Attack {
                id: "A6",
                what: "tunnels to nodes of others",
                lies: [node.as_str(), third_node.as_str(), "203.0.113.9"]
                    .iter()
                    .zip(60..)
                    .map(|(host, at)| {
                        let says = format!("HostIP: {host} is no node of {}", self.name());
                        (self.ip(&format!("10.3.1.{at}"), base + 10, host), says)
                    })
                    .collect(),
                truths: vec![truth_ip("10.3.1.65", base + 10)],
            },
            Attack {
                id: "A7",
                what: "services with too many backends, or with those of others",
                lies: vec![
                    lie(
                        self.service(id, "flood", (0..10_000).map(|at| format!("10.3.{}.{}", at / 250, at % 250 + 1))),
                        "backends: 10000 are more than 4096",
                    ),
                    lie(
                        self.service(id, "web", [pod, "10.78.0.1", "10.3.1.10"].map(str::to_owned).into_iter()),
                        "backends: 2 left out: 10\\.",
                    ),
                ],
                truths: vec![(
                    self.service(id, "honest", ["10.3.1.10".to_owned()].into_iter()),
                    "global-services",
                    format!("demo/honest +{} +true +10.3.1.10", self.name()),
                )],
            },
        ]
    }

    /// A13: names and numbers that cannot join.
    pub fn joins(&self) -> Vec<Join> {
        let config = |id: u32| Some(format!(r#"{{"id":{id},"capabilities":{{"maxConnectedClusters":255}}}}"#));
        let join = |name: &str, config: Option<String>, says: &str| Join {
            name: name.to_owned(),
            config,
            says: says.to_owned(),
        };
        vec![
            join("same-as-ours", config(self.victim_cluster.1), "is assigned to the local cluster"),
            join("same-as-third", config(self.third_cluster.1), "is already used by"),
            join("zero", config(0), "ClusterID 0 is reserved"),
            join("too-large", config(256), "ClusterID 256 is not supported: at most 255"),
            join("far-too-large", config(512), "ClusterID 512 is not supported: at most 511"),
            join("default", config(9), "the name \"default\" is reserved"),
            join("Upper", config(9), "must be lower-case letters"),
            join("a_b", config(9), "must be lower-case letters"),
            join(&"n".repeat(33), config(9), "longer than 32 characters"),
            join("w\u{435}st", config(9), "must be lower-case letters"),
            join(&self.victim_cluster.0, config(9), "is our own cluster"),
        ]
    }

    /// The address that flaps in A10.
    pub fn flapping(&self) -> Entry {
        self.ip("10.3.1.99", self.base() + 10, NODE_IP)
    }

    fn labels(&self, app: &str) -> String {
        format!("k8s:app={app};{CLUSTER}={};k8s:io.kubernetes.pod.namespace=evil;", self.name())
    }

    fn identity(&self, number: u32, labels: &str) -> Entry {
        Entry { key: format!("cilium/state/identities/v1/id/{number}"), value: labels.to_owned() }
    }

    fn ip(&self, ip: &str, identity: u32, host: &str) -> Entry {
        let value = json!({"IP": ip, "Mask": null, "HostIP": host, "ID": identity, "Key": 0, "Metadata": ""});
        entry(format!("cilium/state/ip/v1/default/{ip}"), &value)
    }

    fn raw_ip(&self, ip: &str, identity: &str) -> Entry {
        let value = format!(r#"{{"IP":"{ip}","Mask":null,"HostIP":"{NODE_IP}","ID":{identity}}}"#);
        Entry { key: format!("cilium/state/ip/v1/default/{ip}"), value }
    }

    fn cidr(&self, ip: &str, bits: u32, identity: u32) -> Entry {
        let value = json!({"IP": ip, "Mask": mask(bits), "HostIP": NODE_IP, "ID": identity, "Key": 0, "Metadata": ""});
        entry(format!("cilium/state/ip/v1/default/{ip}/{bits}"), &value)
    }

    fn node(&self, name: &str, ip: &str, net: &str) -> Entry {
        let value = json!({
            "Name": name, "Cluster": self.name(), "ClusterID": self.evil.id,
            "IPAddresses": [{"Type": "InternalIP", "IP": ip}],
            "IPv4AllocCIDR": {"IP": net, "Mask": mask(24)},
        });
        entry(format!("cilium/state/nodes/v1/{}/{name}", self.name()), &value)
    }

    fn service(&self, id: u32, name: &str, backends: impl Iterator<Item = String>) -> Entry {
        let port = json!({"http": {"Protocol": "TCP", "Port": 8080}});
        let backends: serde_json::Map<String, Value> = backends.map(|ip| (ip, port.clone())).collect();
        let value = json!({
            "cluster": self.name(), "namespace": "demo", "name": name, "frontends": {}, "backends": backends,
            "labels": {}, "selector": {}, "includeExternal": true, "shared": true, "clusterID": id,
        });
        entry(format!("cilium/state/services/v1/{}/demo/{name}", self.name()), &value)
    }
}

/// Requests of a flood at one time: one after the other they would be as slow as a disk.
const IN_FLIGHT: usize = 16;

const CLUSTER: &str = "k8s:io.cilium.k8s.policy.cluster";

fn entry(key: String, value: &Value) -> Entry {
    Entry { key, value: value.to_string() }
}

/// The bytes of a mask, in base64, for the lengths that the table has.
fn mask(bits: u32) -> &'static str {
    match bits {
        0 => "AAAAAA==",
        8 => "/wAAAA==",
        16 => "//8AAA==",
        24 => "////AA==",
        26 => "////wA==",
        other => panic!("the table has no mask of {other} bits"),
    }
}

/// Writes into the hostile cluster's etcd, from within its namespace.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// Where the etcd is.
    pub endpoint: String,
    /// Its namespace.
    pub netns: String,
}

impl Publisher {
    /// Writes entries, one after the other.
    ///
    /// # Errors
    ///
    /// When the etcd refuses one.
    pub fn put(&self, entries: &[Entry]) -> Result<()> {
        self.run(async |mut client| {
            for Entry { key, value } in entries {
                client.put(key.as_str(), value.as_str(), None).await.with_context(|| format!("put {key}"))?;
            }
            Ok(())
        })
    }

    /// Puts and deletes one key in turn, `rate` changes a second; how many there were.
    ///
    /// # Errors
    ///
    /// When the etcd refuses one.
    pub fn flap(&self, Entry { key, value }: &Entry, rate: u32, during: Duration) -> Result<u32> {
        self.run(async |client| {
            let (start, gap, mut changes) = (Instant::now(), Duration::from_secs(1) / rate, 0);
            let mut flight = JoinSet::new();
            while start.elapsed() < during {
                let (mut client, key, value) = (client.clone(), key.clone(), value.clone());
                // Requests in flight may overtake each other: then a delete finds nothing, and the next one does.
                match changes % 2 {
                    0 => flight.spawn(async move { client.put(key, value, None).await.map(drop) }),
                    _ => flight.spawn(async move { client.delete(key, None).await.map(drop) }),
                };
                changes += 1;
                while flight.len() >= IN_FLIGHT {
                    flight.join_next().await.context("a request is in flight")?.context("it ends")??;
                }
                tokio::time::sleep((gap * changes).saturating_sub(start.elapsed())).await;
            }
            while let Some(ended) = flight.join_next().await {
                ended.context("it ends")??;
            }
            Ok(changes)
        })
    }

    fn run<T: Send>(&self, work: impl AsyncFnOnce(Client) -> Result<T> + Send) -> Result<T> {
        Namespace::open(&self.netns)?.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { work(Client::connect([&self.endpoint], None).await?).await })
        })?
    }
}
