//! When what a store said is in the kernel: the ends of what [`Propagation`] measures.
//!
//! Addresses, nodes and backends are seen as rows of maps. An identity may show in no row at all: for it the kernel is
//! up to date when it holds the policy that was worked out with it.

use std::collections::BTreeMap;
use std::time::Instant;

use model::ClusterName;
use reflector::{Mark, Propagation};
use statedb::Change;
use tokio::sync::watch;

use crate::database::Tables;

/// Hears of the kernel's rows and ends their measurement.
pub(crate) struct Arrivals(pub(crate) Propagation);

impl datapath::Listener for Arrivals {
    fn listens(&self) -> bool {
        !self.0.is_idle()
    }

    fn hear(&self, seen: datapath::Seen) {
        let mark = match seen {
            datapath::Seen::Prefix(prefix) => Mark::Prefix(prefix),
            datapath::Seen::Backend(addr) => Mark::Backend(addr),
        };
        self.0.realized(runtime::now(), mark);
    }
}

/// Measures identities; runs until the future is dropped.
pub(crate) async fn identities(
    tables: Tables,
    mut kernel: watch::Receiver<datapath::Status>,
    propagation: Propagation,
) {
    let mut changes = tables.identities.read.changes();
    let mut progress = tables.progress.read.watch();
    // By the revision of the table that policy must have reached.
    let mut open: BTreeMap<u64, (Instant, Vec<ClusterName>)> = BTreeMap::new();
    loop {
        let (changed, rows) = changes.drain_with_snapshot();
        let listed = |cluster: &ClusterName| {
            let source = format!("clustermesh/{cluster}");
            !rows.pending().any(|pending| pending == source || pending == tables::KVSTORE)
        };
        let clusters = changed.iter().filter(|change| matches!(change, Change::Upsert(_) | Change::Delete(_)));
        let mut clusters: Vec<ClusterName> = clusters.map(|change| change.row().origin.cluster.clone()).collect();
        clusters.sort();
        clusters.dedup();
        clusters.retain(listed);
        if !clusters.is_empty() {
            open.insert(rows.revision(), (Instant::now(), clusters));
        }
        let reached = tables.progress.read.snapshot().get(&()).map(|row| (row.identities, row.policy_map));
        let in_kernel = kernel.borrow_and_update().policy_revision;
        if let Some((identities, _)) = reached.filter(|(_, policy_map)| in_kernel >= *policy_map) {
            let later = open.split_off(&(identities + 1));
            for (since, clusters) in std::mem::replace(&mut open, later).into_values() {
                for cluster in clusters {
                    propagation.observe("identities", &cluster, since.elapsed());
                }
            }
        }
        tokio::select! {
            () = changes.wait() => {}
            () = progress.changed(), if !open.is_empty() => {}
            changed = kernel.changed(), if !open.is_empty() => if changed.is_err() { return },
        }
    }
}
