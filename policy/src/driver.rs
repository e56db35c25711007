//! The task that runs the [`Core`] over the tables.

use std::collections::BTreeMap;
use std::time::Duration;

use model::NumericIdentity;
use statedb::{Change, Initializer, Reader, Snapshot, Writer};
use tables::{Endpoint, Identity, IpcacheRow, PolicyMapRow, PolicyProgress, PolicyRule};

use crate::{Core, Options, RowOp, SelectorRow};

/// The tables that policy reads and writes.
pub struct Inputs {
    /// The rules in force.
    pub rules: Reader<PolicyRule>,
    /// Every identity with its labels.
    pub identities: Reader<Identity>,
    /// The local endpoints: their identities name the sets.
    pub endpoints: Reader<Endpoint>,
    /// Which identities some address still has.
    pub ipcache: Reader<IpcacheRow>,
    /// The outcome.
    pub map: Writer<PolicyMapRow>,
    /// How far we are.
    pub progress: Writer<PolicyProgress>,
    /// The selectors in use, for people.
    pub selectors: Writer<SelectorRow>,
}

/// How long rows of identities that only remote clusters know are spared from pruning after a start, as Cilium's
/// `--clustermesh-sync-timeout`.
const MESH_SYNC: Duration = Duration::from_secs(60);

/// Selectors are shown with everything that they select, which would make each identity cost as much as all before it:
/// people can wait.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the future is dropped.
///
/// Writes nothing before rules and endpoints are complete: a restarted agent without its rules would open what the
/// kernel still guards.
pub fn run(tables: Inputs, options: Options) -> impl Future<Output = ()> + Send + 'static {
    // At once: who waits for complete tables must not look before it.
    let announced = tables.map.announce("policy");
    resolve(tables, options, announced)
}

async fn resolve(tables: Inputs, options: Options, announced: Initializer<PolicyMapRow>) {
    let mut announced = Some(announced);
    tables.rules.wait_for(Snapshot::is_initialised).await;
    tables.endpoints.wait_for(Snapshot::is_initialised).await;
    let mesh_sync = runtime::now() + MESH_SYNC;
    let mut core = Core::new(options);
    let mut rules = tables.rules.changes();
    let mut identities = tables.identities.changes();
    let mut endpoints = tables.endpoints.changes();
    let mut ipcache = tables.ipcache.watch();
    let mut local: BTreeMap<NumericIdentity, usize> = BTreeMap::new();
    let mut identity_of = BTreeMap::new();
    let (mut unpublished, mut publish_at) = (false, runtime::now());
    loop {
        let mut progress = PolicyProgress::default();
        let (changed, snapshot) = rules.drain_with_snapshot();
        progress.rules = snapshot.revision();
        for change in &changed {
            let rule = matches!(change, Change::Upsert(_)).then(|| change.row().rule.clone());
            core.handle_rule(statedb::Row::key(&**change.row()), rule);
        }
        let rules_changed = !changed.is_empty();
        let (changed, known) = identities.drain_with_snapshot();
        progress.identities = known.revision();
        for change in &changed {
            match change {
                Change::Upsert(row) => core.handle_identity(row.id, row.labels.clone()),
                Change::Delete(row) => core.handle_identity_gone(row.id),
            }
        }
        let identities_changed = !changed.is_empty();
        let (changed, snapshot) = endpoints.drain_with_snapshot();
        progress.endpoints = snapshot.revision();
        for change in &changed {
            let row = change.row();
            let now = match change {
                Change::Upsert(row) => row.identity,
                Change::Delete(_) => None,
            };
            let before = match now {
                Some(identity) => identity_of.insert(row.id, identity),
                None => identity_of.remove(&row.id),
            };
            if let Some(identity) = now {
                *local.entry(identity).or_default() += 1;
                core.handle_local(identity, Some(row.labels.clone()));
            }
            if let Some(identity) = before
                && let Some(count) = local.get_mut(&identity)
            {
                *count -= 1;
                if *count == 0 {
                    local.remove(&identity);
                    core.handle_local(identity, None);
                }
            }
        }
        let addresses = tables.ipcache.snapshot();
        for id in core.leaving() {
            if addresses.by("identity", id.get()).next().is_none() {
                core.handle_unused(id);
            }
        }
        let ops = core.resolve();
        progress.policy_map = tables.map.write(|txn| {
            for op in ops {
                match op {
                    RowOp::Upsert(row) => drop(txn.upsert(row)),
                    RowOp::Delete(key) => drop(txn.delete(&key)),
                }
            }
            txn.revision()
        });
        tables.progress.upsert(progress);
        let own_known = !known.pending().any(|source| source == tables::KVSTORE);
        let waited = runtime::now() >= mesh_sync;
        if own_known
            && (known.is_initialised() || waited)
            && let Some(announced) = announced.take()
        {
            announced.done();
        }
        unpublished |= rules_changed || identities_changed || !changed.is_empty();
        if unpublished && runtime::now() >= publish_at {
            publish_selectors(&core, &tables.selectors);
            (unpublished, publish_at) = (false, runtime::now() + PUBLISH_INTERVAL);
        }
        tokio::select! {
            () = rules.wait() => {}
            () = identities.wait() => {}
            () = endpoints.wait() => {}
            () = ipcache.changed(), if !core.leaving().is_empty() => {}
            () = runtime::sleep_until(Some(publish_at)), if unpublished => {}
            () = runtime::sleep_until(Some(mesh_sync)), if announced.is_some() && !waited => {}
        }
    }
}

fn publish_selectors(core: &Core, table: &Writer<SelectorRow>) {
    table.write(|txn| {
        let rows = core.selectors().selectors().map(|(key, users, identities)| SelectorRow {
            selector: key.to_string().into(),
            users,
            identities: identities.iter().copied().collect(),
        });
        let rows: BTreeMap<_, _> = rows.map(|row| (row.selector.clone(), row)).collect();
        txn.retain(|row| rows.contains_key(&row.selector));
        for row in rows.into_values() {
            txn.upsert(row);
        }
    });
}
