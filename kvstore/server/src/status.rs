//! What the edge shows of the store without asking the driver.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use runtime::Tasks;

use crate::{
    audit::Refusals,
    core::{Caller, Core, Failure},
    edge::Door,
    metrics::Metrics,
    passwords::{self, Passwords},
    pb::etcdserverpb::Member,
    tokens::{self, Tokens},
};

/// The version of etcd whose API this is: clients choose by it what they may ask.
pub const ETCD_VERSION: &str = "3.6.16";
pub(crate) const ETCD_CLUSTER_VERSION: &str = "3.6.0";
/// etcd's bound for the read of a health check: the election time-out and five seconds.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(6);

pub(crate) struct Shared {
    leader: AtomicU64,
    full: AtomicBool,
    corrupt: AtomicBool,
    pub(crate) max_request_bytes: usize,
    pub(crate) member: Member,
    pub(crate) metrics: Metrics,
    pub(crate) door: Door,
    pub(crate) tasks: Tasks,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
    refusals: Refusals,
}

// === impl Shared ===

impl Shared {
    #[cfg(test)]
    pub(crate) fn new(member: Member, max_request_bytes: usize, tasks: Tasks) -> Self {
        Self::with_metrics(member, max_request_bytes, Metrics::new(), tasks)
    }

    pub(crate) fn with_metrics(member: Member, max_request_bytes: usize, metrics: Metrics, tasks: Tasks) -> Self {
        Self {
            leader: AtomicU64::new(0),
            full: AtomicBool::new(false),
            corrupt: AtomicBool::new(false),
            max_request_bytes,
            member,
            door: Door::new(metrics.connections.clone()),
            metrics,
            tasks,
            tokens: tokens::simple(),
            passwords: Passwords::new(passwords::DEFAULT_COST),
            refusals: Refusals::default(),
        }
    }

    /// With other tokens and passwords than etcd's defaults.
    pub(crate) fn with(self, tokens: Tokens, passwords: Passwords) -> Self {
        Self { tokens, passwords, ..self }
    }

    /// A request was refused; recorded if that was for who asked.
    pub(crate) fn refused(&self, caller: &Caller, what: &str, failure: Failure) {
        if self.refusals.refused(caller, what, failure) {
            self.metrics.refused();
        }
    }

    /// A password was not the user's.
    pub(crate) fn not_authenticated(&self, user: &str, failure: Failure) {
        self.refusals.not_authenticated(user, failure);
        self.metrics.refused();
    }

    pub(crate) fn has_leader(&self) -> bool {
        self.leader.load(Ordering::Relaxed) != 0
    }

    /// Its quota is used up.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Somebody found its data damaged.
    pub(crate) fn is_corrupt(&self) -> bool {
        self.corrupt.load(Ordering::Relaxed)
    }

    /// Takes over what changed: the driver does so each tick, and counts with `segments` of the log now and then.
    pub(crate) fn observe(&self, core: &Core, segments: Option<usize>) {
        self.leader.store(core.consensus().leader(), Ordering::Relaxed);
        self.full.store(core.is_full(), Ordering::Relaxed);
        self.corrupt.store(core.state().check_sound().is_err(), Ordering::Relaxed);
        if let Some(segments) = segments {
            self.metrics.observe(core, segments);
        }
    }
}

pub(crate) fn version_json() -> String {
    format!(
        r#"{{"etcdserver":"{ETCD_VERSION}","etcdcluster":"{ETCD_CLUSTER_VERSION}","storage":"{ETCD_CLUSTER_VERSION}","causeway":"{}"}}"#,
        env!("CARGO_PKG_VERSION")
    )
}
