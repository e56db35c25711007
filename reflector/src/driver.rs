//! The task of an import: a follower, a [`Core`] and a table.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use kvstore::{Backend, Event, Following};
use model::{ClusterName, Source};
use statedb::{Initializer, Row, Txn, Writer};
use tables::{Alarm, Rejected};
use tokio::sync::watch;

use crate::{Border, BorderVersion, Core, Decode, Effect, Exporter, Metrics, StoreHealth};

/// What shows of a quarantine: with more keys than this the table would be the next problem. All are counted.
const MAX_REJECTED_ROWS: usize = 1000;

/// Where an import reads and reports to; one serves all prefixes of a store.
#[derive(Clone)]
pub struct Import {
    /// The store.
    pub store: Arc<dyn Backend>,
    /// The cluster whose data it is.
    pub cluster: ClusterName,
    /// Kvstore for our own cluster, ClusterMesh for others.
    pub source: Source,
    /// Whether the store holds a mirror of that cluster.
    pub cached: bool,
    /// Keys that broke a rule.
    pub rejected: Writer<Rejected>,
    /// What an operator should look at.
    pub alarms: Writer<Alarm>,
    /// Counters.
    pub metrics: Metrics,
    /// The store's liveness.
    pub health: Arc<StoreHealth>,
    /// For another cluster: what it may claim of what is said elsewhere.
    pub border: Option<Arc<dyn Border>>,
    /// Told of every change, to put our own keys again when others touched them.
    pub exporter: Option<Exporter>,
    /// Rows that this cluster may have of a table.
    pub quota: usize,
}

// === impl Import ===

impl Import {
    /// The name under which imports announce themselves as a source of their table.
    pub fn source_name(&self) -> String {
        match self.source {
            Source::Kvstore => tables::KVSTORE.to_owned(),
            _ => format!("clustermesh/{}", self.cluster),
        }
    }

    pub(crate) fn wire_source(&self) -> wire::Source<'_> {
        if self.cached { wire::Source::Cache(&self.cluster) } else { wire::Source::State }
    }

    /// Follows a prefix. The source is announced at once; the future runs until it is dropped.
    pub fn run<D: Decode>(
        self,
        decode: D,
        prefix: String,
        writer: Writer<D::Row>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let initializer = writer.announce(self.source_name());
        let following = Following::new(Arc::clone(&self.store), prefix.clone());
        let mut core = Core::new(decode, prefix, self.quota);
        if self.source == Source::ClusterMesh {
            core = core.damped();
        }
        let import = Running { import: self, core, writer, initializer: Some(initializer), initial: BTreeSet::new() };
        import.run(following)
    }
}

struct Running<D: Decode> {
    import: Import,
    core: Core<D>,
    writer: Writer<D::Row>,
    initializer: Option<Initializer<D::Row>>,
    /// Rows told of before the first list was complete that look as if restored: they are live.
    initial: BTreeSet<<D::Row as Row>::Key>,
}

// === impl Running ===

impl<D: Decode> Running<D> {
    async fn run(mut self, mut following: Following) {
        let reader = self.writer.reader();
        let mut versions = self.import.border.as_ref().map(|border| border.versions());
        let is_nodes = D::RESOURCE == "nodes";
        let mut own = versions.as_mut().map_or(0, |versions| versions.borrow_and_update().own);
        loop {
            let timeout = self.core.poll_timeout(runtime::now());
            let mut asked = false;
            tokio::select! {
                events = following.next() => {
                    let at = runtime::now();
                    self.import.health.handle_events(at, D::RESOURCE, &events);
                    if let Some(exporter) = &self.import.exporter {
                        tell(exporter, &events);
                    }
                    self.core.handle_events(at, events, &reader.snapshot());
                }
                version = changed(&mut versions) => {
                    let ours = std::mem::replace(&mut own, version.own) != version.own;
                    self.core.handle_border(ours, &reader.snapshot());
                }
                () = self.import.health.nodes_wanted(), if is_nodes => asked = self.core.unproven().is_none(),
                () = runtime::sleep_until(timeout) => {}
            }
            let at = runtime::now();
            self.core.handle_damped(at, &reader.snapshot());
            let evidence = self.import.health.evidence(at, D::RESOURCE);
            self.core.handle_timeout(at, &evidence);
            if !is_nodes && self.core.unproven().is_some_and(|keys| keys > 0) {
                self.import.health.ask_for_nodes(at);
            }
            let (relist, accept) = self.apply(at);
            if relist || asked {
                following.relist();
            }
            if accept {
                following.accept_absence();
            }
        }
    }

    /// Carries out all effects; whether to list again, and whether to accept absence.
    fn apply(&mut self, now: Instant) -> (bool, bool) {
        let (mut relist, mut accept, mut done) = (false, false, false);
        let effects: Vec<Effect<D::Row>> = std::iter::from_fn(|| self.core.poll_effect()).collect();
        if effects.is_empty() {
            return (false, false);
        }
        let decode = self.core.decode();
        let (import, initial) = (&self.import, &mut self.initial);
        let first = self.initializer.is_some();
        let received = |before: Option<&D::Row>, after: Option<&D::Row>| {
            if !first {
                for mark in D::marks(before, after) {
                    import.metrics.propagation.received(now, D::RESOURCE, &import.cluster, mark);
                }
            }
        };
        self.writer.write(|txn| {
            for effect in effects {
                match effect {
                    Effect::Upsert(row) => {
                        let key = row.key();
                        let there = txn.get(&key);
                        let ours = there.is_none_or(|there| decode.owns(there));
                        // Only what could be taken for restored needs to be told apart from it.
                        if first && (!ours || decode.is_restored(&row)) {
                            initial.insert(key);
                        }
                        if ours {
                            if there.is_none_or(|there| **there != row) {
                                received(there.map(|there| &**there), Some(&row));
                            }
                            txn.upsert(row);
                        }
                    }
                    Effect::Delete(key) => {
                        if let Some(there) = txn.get(&key).filter(|there| decode.owns(there)).cloned() {
                            received(Some(&there), None);
                            txn.delete(&key);
                        }
                        initial.remove(&key);
                    }
                    Effect::Reject(rejected) => import.reject(D::RESOURCE, rejected),
                    Effect::Forgive(key) => drop(import.rejected.delete(&key)),
                    Effect::Alarm(alarm) => {
                        tracing::warn!(alarm = &*alarm.name, message = &*alarm.message, "alarm");
                        import.alarms.upsert(alarm);
                    }
                    Effect::ClearAlarm(name) => drop(import.alarms.delete(&name)),
                    Effect::Done { keep } => {
                        drop_restored(txn, decode, &keep, initial);
                        done = true;
                    }
                    Effect::Proven => {
                        if D::RESOURCE == "nodes" {
                            import.health.handle_nodes_back(now);
                        }
                    }
                    Effect::Relist => relist = true,
                    Effect::AcceptAbsence => accept = true,
                }
            }
        });
        if done && let Some(initializer) = self.initializer.take() {
            initializer.done();
            self.initial = BTreeSet::new();
        }
        let labels = [self.import.cluster.as_str(), D::RESOURCE];
        self.import.metrics.held.with_label_values(&labels).set(self.core.held() as i64);
        self.import.metrics.quarantined.with_label_values(&labels).set(self.core.quarantined() as i64);
        (relist, accept)
    }
}

impl Import {
    pub(crate) fn reject(&self, resource: &str, rejected: Rejected) {
        self.metrics.rejected.with_label_values(&[self.cluster.as_str(), resource]).inc();
        let table = self.rejected.reader().snapshot();
        let known = table.get(&rejected.key()).is_some();
        if known || table.by("cluster", self.cluster.as_str()).take(MAX_REJECTED_ROWS).count() < MAX_REJECTED_ROWS {
            if !known {
                tracing::warn!(cluster = %self.cluster, key = &*rejected.key, error = &*rejected.error, "key rejected");
            }
            self.rejected.upsert(rejected);
        }
    }
}

async fn changed(versions: &mut Option<watch::Receiver<BorderVersion>>) -> BorderVersion {
    match versions {
        Some(versions) => match versions.changed().await {
            Ok(()) => *versions.borrow_and_update(),
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// What an earlier run knew has been replaced by what the store says.
fn drop_restored<D: Decode>(
    txn: &mut Txn<D::Row>,
    decode: &D,
    keep: &BTreeSet<<D::Row as Row>::Key>,
    live: &BTreeSet<<D::Row as Row>::Key>,
) {
    let stale: Vec<_> = txn
        .by("cluster", decode.cluster().as_str())
        .filter(|row| decode.is_restored(row))
        .map(|row| row.key())
        .filter(|key| !keep.contains(key) && !live.contains(key))
        .collect();
    for key in &stale {
        txn.delete(key);
    }
}

fn tell(exporter: &Exporter, events: &[Event]) {
    for event in events {
        match event {
            Event::Created(kv) | Event::Modified(kv) => exporter.handle_foreign(&kv.key, Some(&kv.value)),
            Event::Deleted { key, .. } => exporter.handle_foreign(key, None),
            // Keys that a store of doubtful memory does not have: those of ours are put again.
            Event::StoreUnknown => exporter.handle_store_unknown(),
            Event::ListDone | Event::Relisted { .. } => {}
        }
    }
}
