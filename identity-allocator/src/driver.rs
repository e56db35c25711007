//! The task that runs the [`Core`] over the tables and the store.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use kvstore::{Backend, Cause, Error, LeaseId, Leases, TxnResult};
use model::{ClusterName, Labels, Source};
use statedb::{Change, Reader, Writer};
use tables::{Identity, IdentityGrant, IdentityRequest};

use crate::{Attempt, Core, Effect, Outcome, batch, held, txn};

/// Transactions that are out at one time: what comes meanwhile goes together with the next. With two of them many workers
/// split in halves that take turns, and the store syncs half as much each time.
const AT_ONCE: usize = 1;

/// The file has every number: it is written at once, but not again for each of many that come together.
const SAVE_INTERVAL: Duration = Duration::from_millis(200);
/// Nor more often than so many times as long as writing it took: with thousands of numbers nothing else would be done.
const SAVE_SHARE: u32 = 20;

/// What the allocator reads, writes and talks to.
pub struct Inputs {
    /// The label sets that endpoints use.
    pub requests: Reader<IdentityRequest>,
    /// The numbers that the store has, from our own `id/` watch.
    pub identities: Reader<Identity>,
    /// The answers.
    pub grants: Writer<IdentityGrant>,
    /// The store.
    pub store: Arc<dyn Backend>,
    /// The leases of slave keys.
    pub leases: Arc<Leases>,
    /// Our own cluster.
    pub cluster: ClusterName,
    /// The numbers that are ours to give.
    pub range: RangeInclusive<u32>,
    /// Names this node in slave keys: IPv4 where there is one.
    pub node_ip: IpAddr,
    /// The file of numbers in use.
    pub file: PathBuf,
}

/// Runs until the future is dropped.
pub async fn run(inputs: Inputs) {
    let mut core = Core::new(inputs.range.clone(), rand::random());
    match held::load(&inputs.file) {
        Ok(restored) => restored.into_iter().for_each(|(labels, number)| core.handle_restored(labels, number)),
        Err(error) => tracing::error!(error = %error, "numbers in use before the restart are not known"),
    }
    let mut requests = inputs.requests.changes();
    let mut identities = inputs.identities.changes();
    let mut lost = inputs.leases.lost_keys(wire::identity::value_prefix_all());
    // What was read is what the file has.
    let (mut saved, mut save_at) = (core.held_version(), runtime::now());
    let (mut due, mut out) = (VecDeque::new(), FuturesUnordered::new());
    loop {
        let now = runtime::now();
        for change in requests.drain() {
            let labels = change.row().labels.clone();
            match change {
                Change::Upsert(_) => core.handle_request(now, labels),
                Change::Delete(_) => core.handle_release(&labels),
            }
        }
        let (changed, snapshot) = identities.drain_with_snapshot();
        for change in changed {
            let row = change.row();
            // Restored rows are no proof that the store has the number.
            if row.origin.cluster != inputs.cluster || row.origin.source != Source::Kvstore {
                continue;
            }
            match &change {
                Change::Upsert(row) => core.handle_known(now, row.id, row.labels.clone(), row.create_revision),
                Change::Delete(row) => core.handle_unknown(now, row.id),
            }
        }
        // Only our own store counts here: a remote cluster that is down must not hold up our pods.
        if !snapshot.pending().any(|source| source == tables::KVSTORE) {
            core.handle_synced(now);
        }
        core.handle_timeout(now);
        while let Some(effect) = core.poll_effect() {
            match effect {
                Effect::Try(attempt) => due.push_back(attempt),
                Effect::Forget(labels) => forget(&inputs, &labels).await,
                Effect::Grant(labels, grant) => drop(inputs.grants.upsert(IdentityGrant { labels, grant })),
                Effect::Withdraw(labels) => drop(inputs.grants.delete(&labels)),
            }
        }
        if core.held_version() != saved && now >= save_at {
            let began = runtime::now();
            match held::save(&inputs.file, core.held()) {
                Ok(()) => saved = core.held_version(),
                Err(error) => tracing::error!(error = %error, "numbers in use would not survive a restart"),
            }
            save_at = now + SAVE_INTERVAL.max((runtime::now() - began) * SAVE_SHARE);
        }
        while out.len() < AT_ONCE && !due.is_empty() {
            out.push(attempt_all(&inputs, batch::next(&mut due)));
        }
        let timeout = [core.poll_timeout(), Some(save_at).filter(|_| core.held_version() != saved)];
        let timeout = timeout.into_iter().flatten().min();
        tokio::select! {
            Some(answered) = out.next() => {
                for (attempt, outcome) in answered {
                    core.handle_outcome(runtime::now(), attempt, outcome);
                }
            }
            () = requests.wait() => {}
            () = identities.wait() => {}
            Some(key) = lost.recv() => {
                let parsed = std::str::from_utf8(&key).ok().and_then(wire::identity::parse_value_key);
                let labels = parsed.and_then(|(labels, _)| wire::labels::decode("", labels.as_bytes()).ok());
                if let Some(labels) = labels {
                    core.handle_doubt(runtime::now(), &labels);
                }
            }
            () = runtime::sleep_until(timeout) => {}
        }
    }
}

/// Tries all in one transaction. A store that does not take it (its bounds are its own) is asked for one after the other.
async fn attempt_all(inputs: &Inputs, attempts: Vec<Attempt>) -> Vec<(Attempt, Outcome)> {
    let mut outcomes = Vec::new();
    let (mut batch, mut leases) = (Vec::new(), Vec::new());
    for attempt in attempts {
        match inputs.leases.lease_for(&txn::slave_key(&attempt.labels, inputs.node_ip)).await {
            Ok(lease) => {
                batch.push(attempt);
                leases.push(lease);
            }
            Err(error) => outcomes.push((attempt, Outcome::Failed(error.full()))),
        }
    }
    if batch.is_empty() {
        return outcomes;
    }
    let one_lease = leases.iter().all(|lease| Some(lease) == leases.first());
    match ask(inputs, &batch, &leases).await {
        Err(error)
            if batch.len() > 1
                && (matches!(error.cause, Cause::Refused(_) | Cause::TooLarge(_))
                    // It does not say which.
                    || (error.cause == Cause::LeaseNotFound && !one_lease)) =>
        {
            for (attempt, lease) in batch.into_iter().zip(leases) {
                let answer = ask(inputs, std::slice::from_ref(&attempt), &[lease]).await;
                outcomes.extend(judge(vec![attempt], answer));
            }
        }
        answer => outcomes.extend(judge(batch, answer)),
    }
    outcomes
}

async fn ask(inputs: &Inputs, batch: &[Attempt], leases: &[LeaseId]) -> Result<TxnResult, Error> {
    let build = |(attempt, lease): (&Attempt, &LeaseId)| txn::build(attempt, &inputs.cluster, inputs.node_ip, *lease);
    let answer = inputs.store.txn(batch::together(batch.iter().zip(leases).map(build).collect())).await;
    if let Err(error) = &answer
        && error.cause == Cause::LeaseNotFound
        && let Some((lease, others)) = leases.split_first()
        && others.iter().all(|other| other == lease)
    {
        inputs.leases.handle_lease_not_found(*lease);
    }
    answer
}

fn judge(batch: Vec<Attempt>, answer: Result<TxnResult, Error>) -> impl Iterator<Item = (Attempt, Outcome)> {
    let outcomes = match answer {
        Ok(answer) => batch::outcomes(&batch, answer),
        Err(error) => vec![Outcome::Failed(error.full()); batch.len()],
    };
    batch.into_iter().zip(outcomes)
}

/// Deletes the slave key; with the store down its lease does, unless the labels come back before.
async fn forget(inputs: &Inputs, labels: &Labels) {
    let key = txn::slave_key(labels, inputs.node_ip);
    if let Err(error) = inputs.leases.delete(key.clone()).await {
        inputs.leases.release(&key);
        tracing::warn!(%labels, error = error.full(), "slave key stays until its lease ends");
    }
}
