//! The task that runs a [`Collector`] over a store, while we lead.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvstore::{Backend, Error, LeaseId, Locks, list};
use model::ClusterName;
use prometheus::{GaugeVec, Opts, Registry};

use super::{Collector, Effect, Found, Outcome, Pace, Unused, txn};

/// How long another holder of a number's lock is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Users put their keys again this often, and an allocator may be as late; so long, beside the lease of the users' keys,
/// a number stays out of use.
const SYNC_INTERVAL: Duration = Duration::from_secs(300);

/// Numbers that are freed within this time share a lease, which lives so much longer.
const SHARED: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct Inputs {
    pub(crate) store: Arc<dyn Backend>,
    pub(crate) locks: Arc<Locks>,
    pub(crate) cluster: ClusterName,
    /// The numbers of our own cluster.
    pub(crate) range: RangeInclusive<u32>,
    pub(crate) pace: Pace,
    /// How long users' keys outlive them.
    pub(crate) lease_ttl: Duration,
    pub(crate) metrics: Metrics,
}

/// Cilium's names.
#[derive(Clone)]
pub(crate) struct Metrics {
    entries: GaugeVec,
    runs: GaugeVec,
    latency: GaugeVec,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let gauge = |name: &str, help: &str, label: &str| {
            let gauge = GaugeVec::new(
                Opts::new(format!("cilium_operator_identity_gc_{name}"), help),
                &[label, "identity_type"],
            );
            runtime::metrics::register(registry, gauge.expect("names and labels are constants that parse"))
        };
        Self {
            entries: gauge("entries", "Identities that the last collection left, and took back", "status"),
            runs: gauge("runs", "Collections of unused identities", "outcome"),
            latency: gauge("latency", "Seconds of the last collection", "outcome"),
        }
    }

    fn round(&self, succeeded: bool, took: Duration) {
        let labels = &[if succeeded { "success" } else { "fail" }, "kvstore"];
        self.runs.with_label_values(labels).inc();
        self.latency.with_label_values(labels).set(took.as_secs_f64());
    }

    fn entries(&self, core: &Collector) {
        let stats = core.stats();
        for (status, count) in [("alive", stats.alive), ("deleted", stats.deleted)] {
            self.entries.with_label_values(&[status, "kvstore"]).set(count as f64);
        }
    }
}

/// Runs until the future is dropped.
pub(crate) async fn run(inputs: Inputs) {
    let mut core = Collector::new(runtime::now(), inputs.range.clone(), inputs.pace);
    // The lease of the numbers that were freed last, and since when.
    let mut freed: Option<(Instant, LeaseId)> = None;
    loop {
        match core.poll_effect(runtime::now()) {
            None => runtime::sleep_until(Some(core.poll_timeout())).await,
            Some(Effect::Look) => {
                let started = Instant::now();
                let found = look(&*inputs.store).await;
                inputs.metrics.round(found.is_ok(), started.elapsed());
                let found = found.inspect_err(|error| {
                    tracing::warn!(error = error.full(), "unused identities are not known: nothing is collected");
                });
                core.handle_round(runtime::now(), found.ok());
                inputs.metrics.entries(&core);
            }
            Some(Effect::Collect(unused)) => {
                let outcome = match collect(&inputs, &unused, &mut freed).await {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        tracing::warn!(number = %unused.number, error, "unused identity is not collected");
                        Outcome::Failed
                    }
                };
                core.handle_outcome(unused.number, outcome);
                inputs.metrics.entries(&core);
            }
        }
    }
}

/// Numbers and users at one revision: a user that comes later touches what the transaction compares.
async fn look(store: &dyn Backend) -> Result<Found, Error> {
    let prefix = wire::identity::id_prefix(wire::Source::State);
    let masters = list(store, prefix.clone(), 0).await?;
    let users = list(store, wire::identity::value_prefix_all(), masters.header.revision).await?;
    let master = |kv: &kvstore::KeyValue| {
        let key = std::str::from_utf8(&kv.key).ok()?;
        let number = wire::identity::parse_number(key, key.strip_prefix(&prefix)?).ok()?;
        let labels = String::from_utf8(kv.value.to_vec()).ok()?;
        // Readers ignore a number without labels, and so do we.
        (!labels.is_empty()).then_some(Unused { number, labels, mod_revision: kv.mod_revision })
    };
    let user = |kv: &kvstore::KeyValue| {
        let (labels, _) = wire::identity::parse_value_key(std::str::from_utf8(&kv.key).ok()?)?;
        Some(labels.to_owned())
    };
    Ok(Found {
        header: masters.header,
        masters: masters.kvs.iter().filter_map(master).collect(),
        used: users.kvs.iter().filter_map(user).collect(),
    })
}

async fn collect(inputs: &Inputs, unused: &Unused, freed: &mut Option<(Instant, LeaseId)>) -> Result<Outcome, String> {
    let lease = match *freed {
        Some((since, lease)) if since.elapsed() < SHARED => lease,
        _ => {
            let ttl = inputs.lease_ttl + SYNC_INTERVAL + SHARED;
            let grant = inputs.store.lease_grant(ttl).await.map_err(|error| error.full())?;
            *freed = Some((Instant::now(), grant.id));
            grant.id
        }
    };
    let path = wire::identity::id_lock_path(unused.number);
    let guard = match inputs.locks.lock(&path, LOCK_PATIENCE).await {
        Ok(guard) => guard,
        Err(kvstore::LockError::Timeout { .. }) => return Ok(Outcome::Kept),
        Err(error) => return Err(kvstore::chain(&error)),
    };
    let answer = inputs.store.txn(txn::build(unused, guard.still_held(), &inputs.cluster, lease)).await;
    // A lock that cannot be given back now is given back in the background.
    let _ = inputs.locks.unlock(guard).await;
    let answer = answer.map_err(|error| {
        *freed = None;
        error.full()
    })?;
    if !answer.succeeded {
        return Ok(Outcome::Kept);
    }
    tracing::info!(number = %unused.number, labels = unused.labels, "unused identity collected");
    Ok(Outcome::Collected)
}
