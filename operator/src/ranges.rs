//! Ranges of pod addresses, handed out to the nodes that ask: `--ipam=cluster-pool`, and of more pools than one:
//! `--ipam=multi-pool`.
//!
//! ```text
//!   agent ──ipam/requests/<node> (leased)──> leader: Handout decides ──one transaction──> ipam/nodes/<node> ──> agent
//! ```
//! Each transaction demands that nobody handed out anything since it was decided (`ipam/turn`), so no two decisions
//! overlap, whoever makes them. What `ipam` decides by is complete or not looked at: nodes and addresses come from
//! tables that were listed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ipam::{ClusterPool, Decision, Handout, InvalidClusterPool, Seen};
use kvstore::{Backend, Compare, Error, Op, Txn, list};
use model::{ClusterName, DEFAULT_POOL, NodeName, Prefix, Source};
use statedb::{Reader, Writer};
use tables::{Alarm, IpClaim, IpPool, NodeRow, PoolRanges};
use wire::own;

/// How soon a node that asks is heard.
const EVERY: Duration = Duration::from_secs(2);

/// Nodes of one transaction; each takes a compare at most and one operation.
const BATCH: usize = 50;

#[derive(Clone)]
pub(crate) struct Inputs {
    pub(crate) store: Arc<dyn Backend>,
    pub(crate) cluster: ClusterName,
    /// The default pool, of options.
    pub(crate) pools: Vec<ClusterPool>,
    /// The pools of objects, where they count.
    pub(crate) ip_pools: Option<Reader<IpPool>>,
    /// How long keys outlive their writer.
    pub(crate) lease_ttl: Duration,
    pub(crate) nodes: Reader<NodeRow>,
    pub(crate) ips: Reader<IpClaim>,
    pub(crate) alarms: Writer<Alarm>,
}

/// Runs until the future is dropped; without pools it has nothing to do.
pub(crate) async fn run(inputs: Inputs) {
    if inputs.pools.is_empty() && inputs.ip_pools.is_none() {
        std::future::pending::<()>().await;
    }
    let mut handout = Handout::new(inputs.lease_ttl);
    loop {
        if let Some(pools) = &inputs.ip_pools {
            pools.wait_for(|rows| rows.is_initialised()).await;
        }
        handout.set_pools(inputs.pools());
        inputs.nodes.wait_for(|rows| rows.is_initialised()).await;
        inputs.ips.wait_for(|rows| rows.is_initialised()).await;
        if let Err(error) = inputs.turn(&mut handout).await {
            tracing::warn!(error = error.full(), "ranges of pod addresses are not handed out");
        }
        runtime::sleep(EVERY).await;
    }
}

// === impl Inputs ===

impl Inputs {
    async fn turn(&self, handout: &mut Handout) -> Result<(), Error> {
        let (seen, turn) = self.look().await?;
        let decisions = handout.plan(runtime::now(), &seen);
        let full = |decision: &Decision| match decision {
            Decision::Full(node, pool) => Some(format!("{node} (pool {pool})")),
            _ => None,
        };
        self.say(&decisions.iter().filter_map(full).collect::<Vec<_>>());
        let Some(batch) = decisions.chunks(BATCH).next() else { return Ok(()) };
        let turn_key: Bytes = own::ipam_turn_key(&self.cluster).into();
        let mut compares = vec![match turn {
            Some(revision) => Compare::ModRevision(turn_key.clone(), revision),
            None => Compare::Version(turn_key.clone(), 0),
        }];
        let mut ops = Vec::new();
        for decision in batch {
            match decision {
                Decision::Assign(node, ranges) => {
                    ops.push(Op::put(own::ipam_node_key(&self.cluster, node), own::encode_ranges(ranges), None));
                }
                Decision::Reclaim(node) => {
                    compares.push(Compare::Version(own::ipam_request_key(&self.cluster, node).into(), 0));
                    compares.push(Compare::Version(wire::node::key(&self.cluster, node).into(), 0));
                    ops.push(Op::delete(own::ipam_node_key(&self.cluster, node)));
                }
                Decision::Full(..) => {}
            }
        }
        if ops.is_empty() {
            return Ok(());
        }
        ops.push(Op::put(turn_key, "", None));
        if self.store.txn(Txn::when(compares).then(ops)).await?.succeeded {
            tracing::info!(decisions = ?batch, "ranges of pod addresses");
        }
        Ok(())
    }

    /// Everything of one revision, and when a range was handed out last.
    async fn look(&self) -> Result<(Seen, Option<i64>), Error> {
        let listed = list(&*self.store, own::ipam_prefix(&self.cluster), 0).await?;
        let (requests, nodes) = (own::ipam_requests_prefix(&self.cluster), own::ipam_nodes_prefix(&self.cluster));
        let turn_key = own::ipam_turn_key(&self.cluster);
        let (cluster_id, revision) = (listed.header.cluster_id, listed.header.revision);
        let mut seen = Seen { cluster_id, revision, ..Seen::default() };
        let mut turn = None;
        for kv in &listed.kvs {
            let Ok(key) = std::str::from_utf8(&kv.key) else { continue };
            let name = |prefix: &str| key.strip_prefix(prefix).and_then(|name| NodeName::try_new(name).ok());
            if key == turn_key {
                turn = Some(kv.mod_revision);
            } else if let Some(node) = name(&requests) {
                seen.requests.insert(node, own::decode_demand(&kv.value));
            } else if let Some(node) = name(&nodes) {
                // What cannot be read cannot be given to another: nobody knows what it is.
                let ranges = own::decode_ranges(&kv.value).unwrap_or_else(|| {
                    tracing::error!(key, "ranges of a node cannot be read");
                    Vec::new()
                });
                seen.assigned.insert(node, ranges);
            }
        }
        seen.published = self.published();
        let ours = |claim: &IpClaim| claim.origin.cluster == self.cluster;
        seen.addresses = self.ips.snapshot().iter().filter(|row| ours(row)).map(|row| row.entry.prefix).collect();
        Ok((seen, turn))
    }

    fn published(&self) -> BTreeMap<NodeName, Vec<Prefix>> {
        let rows = self.nodes.snapshot();
        let ours = rows.iter().filter(|row| row.node.cluster == self.cluster && row.node.source == Source::Kvstore);
        ours.map(|row| (row.node.name.clone(), row.node.pod_cidrs().collect())).collect()
    }

    /// The pools by name. Those that cannot be cut, or share addresses with another, give nothing until they are mended.
    fn pools(&self) -> BTreeMap<Arc<str>, Vec<ClusterPool>> {
        let mut pools: BTreeMap<Arc<str>, Vec<ClusterPool>> = BTreeMap::new();
        if !self.pools.is_empty() {
            pools.insert(DEFAULT_POOL.into(), self.pools.clone());
        }
        let mut problems = Vec::new();
        for row in self.ip_pools.iter().flat_map(|rows| rows.snapshot().iter().cloned().collect::<Vec<_>>()) {
            match families(&row) {
                _ if pools.contains_key(&row.name) => {
                    problems.push(format!("pool {} is one of options already", row.name))
                }
                Err(error) => problems.push(format!("pool {}: {error}", row.name)),
                Ok(cut) => match pools.iter().find(|(_, other)| share_addresses(&cut, other)) {
                    Some((other, _)) => problems.push(format!("pool {} shares addresses with pool {other}", row.name)),
                    None => drop(pools.insert(Arc::clone(&row.name), cut)),
                },
            }
        }
        let name = || "ipam/pools".into();
        match problems.is_empty() {
            true => drop(self.alarms.delete(&name())),
            false => drop(self.alarms.upsert(Alarm { name: name(), message: problems.join("; ").into() })),
        }
        pools
    }

    fn say(&self, full: &[String]) {
        let name = || "ipam/cluster-pool".into();
        if full.is_empty() {
            self.alarms.delete(&name());
            return;
        }
        let message = format!(
            "no range of pod addresses is left for {}: enlarge their pools (--cluster-pool-ipv4-cidr)",
            full.join(", ")
        );
        self.alarms.upsert(Alarm { name: name(), message: message.into() });
        tracing::error!(nodes = full.join(", "), "no range of pod addresses is left");
    }
}

fn families(row: &IpPool) -> Result<Vec<ClusterPool>, InvalidClusterPool> {
    let cut = |(ranges, ipv4): (&Option<PoolRanges>, bool)| {
        let ranges = ranges.as_ref()?;
        Some(ClusterPool::try_new(ranges.cidrs.clone(), ranges.mask_size, ipv4))
    };
    [(&row.ipv4, true), (&row.ipv6, false)].into_iter().filter_map(cut).collect()
}

fn share_addresses(one: &[ClusterPool], other: &[ClusterPool]) -> bool {
    let ranges = |pools: &[ClusterPool]| pools.iter().flat_map(|pool| pool.ranges().to_vec()).collect::<Vec<_>>();
    let others = ranges(other);
    ranges(one).iter().any(|range| others.iter().any(|theirs| theirs.covers(*range) || range.covers(*theirs)))
}
