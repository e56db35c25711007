//! The task that runs the [`Core`] over the tables.

use std::collections::BTreeMap;

use statedb::{Change, Initializer, Reader, RowRef, Writer};
use tables::{CidrIdentity, Endpoint, Identity, IpClaim, IpcacheRow, NodeRow, PolicyProgress};

use crate::{Core, Own, RowOp, node_claims};

/// The tables that the merge reads and writes.
pub struct Inputs {
    /// Local endpoints.
    pub endpoints: Reader<Endpoint>,
    /// Every node.
    pub nodes: Reader<NodeRow>,
    /// What the stores claim.
    pub ips: Reader<IpClaim>,
    /// Ranges that policies name.
    pub cidrs: Reader<CidrIdentity>,
    /// Known identities: a row waits until policy has seen its identity.
    pub identities: Reader<Identity>,
    /// How far policy has come.
    pub progress: Reader<PolicyProgress>,
    /// The outcome.
    pub ipcache: Writer<IpcacheRow>,
    /// The node we run on.
    pub own: Own,
}

/// Runs until the future is dropped. The table's source is announced at once: who waits for a complete table must not
/// look before it.
pub fn run(tables: Inputs) -> impl Future<Output = ()> + Send + 'static {
    let announced = tables.ipcache.announce("claims");
    merge(tables, announced)
}

async fn merge(tables: Inputs, announced: Initializer<IpcacheRow>) {
    let mut core = Core::new(tables.own.ips.clone());
    let mut endpoints = tables.endpoints.changes();
    let mut nodes = tables.nodes.changes();
    let mut ips = tables.ips.changes();
    let mut cidrs = tables.cidrs.changes();
    let mut progress = tables.progress.watch();
    let rows = tables.ipcache.reader();
    let mut known: BTreeMap<_, RowRef<NodeRow>> = BTreeMap::new();
    // The table is initialised when all that feeds it is.
    let mut announced = Some(announced);
    loop {
        // Progress first: the identities seen below are then at least as new.
        let done = tables.progress.snapshot().get(&()).map(|row| (**row).clone()).unwrap_or_default();
        core.handle_progress(&done);
        for change in endpoints.drain() {
            let row = change.row();
            let now = matches!(change, Change::Upsert(_)).then_some(&**row);
            core.handle_endpoint(row.id, now, &tables.own.cluster);
        }
        let (changed, all_nodes) = nodes.drain_with_snapshot();
        for change in changed {
            let key = statedb::Row::key(&**change.row());
            // The row, and not its claims: the table has it anyway.
            let (before, now) = match change {
                Change::Upsert(row) => (known.insert(key, row.clone()), Some(row)),
                Change::Delete(_) => (known.remove(&key), None),
            };
            let claims = |row: RowRef<NodeRow>| node_claims(&row.node, &tables.own);
            core.handle_node(before.map(claims).unwrap_or_default(), now.map(claims).unwrap_or_default());
        }
        let (changed, all_cidrs) = cidrs.drain_with_snapshot();
        for change in &changed {
            let row = change.row();
            let now = matches!(change, Change::Upsert(_)).then_some(row.identity);
            core.handle_cidr(row.prefix, now, &tables.own.cluster);
        }
        let (changed, all_ips) = ips.drain_with_snapshot();
        for change in &changed {
            core.handle_import(change.row().entry.prefix);
        }
        let ops = core.resolve(&all_ips, &tables.identities.snapshot(), &done, &rows.snapshot());
        tables.ipcache.write(|txn| {
            for op in ops {
                match op {
                    RowOp::Upsert(row) => drop(txn.upsert(row)),
                    RowOp::Delete(prefix) => drop(txn.delete(&prefix)),
                }
            }
        });
        if all_nodes.is_initialised()
            && all_ips.is_initialised()
            && all_cidrs.is_initialised()
            && core.waiting() == 0
            && let Some(announced) = announced.take()
        {
            announced.done();
        }
        tokio::select! {
            () = endpoints.wait() => {}
            () = nodes.wait() => {}
            () = ips.wait() => {}
            () = cidrs.wait() => {}
            () = progress.changed() => {}
        }
    }
}
