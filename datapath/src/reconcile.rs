//! Carries the tables into the kernel: incremental rounds, whole comparisons at start, after a
//! failure and on a timer.
//!
//! It holds no clock and no task; [`crate::driver`] does. Nothing is ever deleted from the kernel
//! because a table is not filled yet: a comparison prunes only tables whose sources have all
//! reported (invariant 4), a round deletes only what the table itself deleted.

mod resync;
mod strays;

use self::strays::Strays;
use crate::{
    conntrack,
    kernel::{Kernel, KernelError},
    plan::{
        Op, apply,
        round::{Input, Planner},
    },
};
use model::{EndpointId, NumericIdentity};
use statedb::{Change, Changes, Reader, Snapshot, Writer};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use tables::{Endpoint, EndpointState, Frontend, IpcacheRow, PolicyMapRow, PolicyProgress, Realized};

/// The tables it reads.
#[derive(Clone)]
pub struct Tables {
    pub endpoints: Reader<Endpoint>,
    pub ipcache: Reader<IpcacheRow>,
    pub policy: Reader<PolicyMapRow>,
    pub progress: Reader<PolicyProgress>,
    pub frontends: Reader<Frontend>,
}

/// Positions in the tables' changes.
pub(crate) struct Feeds {
    pub(crate) endpoints: Changes<Endpoint>,
    pub(crate) ipcache: Changes<IpcacheRow>,
    pub(crate) policy: Changes<PolicyMapRow>,
    pub(crate) frontends: Changes<Frontend>,
    pub(crate) progress: Changes<PolicyProgress>,
}

/// How the last round went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Revisions of the tables that the kernel reflects.
    pub policy_revision: u64,
    pub ipcache_revision: u64,
    pub frontends_revision: u64,
    /// Policy sets that do not fit: their endpoints are locked down.
    pub overflowed: Vec<Overflow>,
    /// Endpoints that wait for their policy or their addresses.
    pub waiting: usize,
    /// Every table was compared with the kernel after its sources had all reported.
    pub pruned: bool,
    /// Why the last round failed.
    pub error: Option<String>,
    /// Collections of expired flows so far.
    pub gc: GcStatus,
}

/// Collections of expired flows so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcStatus {
    pub completed: u64,
    pub failed: u64,
    /// Flows that the last one left, and took.
    pub last: conntrack::Collected,
    /// How long the last one took.
    pub last_duration: std::time::Duration,
}

/// A policy set that does not fit its map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// The identity whose endpoints are locked down.
    pub set: u32,
    /// Rows that its policy needs.
    pub needed: usize,
    /// Rows that fit.
    pub max: u32,
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} rows needed, {} fit)", self.set, self.needed, self.max)
    }
}

/// The reconciler of every map.
pub struct Reconciler<K> {
    kernel: K,
    pub(crate) feeds: Feeds,
    realized: Writer<Realized>,
    planner: Planner,
    /// Endpoints that wait for policy or addresses.
    waiting: BTreeSet<EndpointId>,
    /// Endpoints that are to be taken off.
    leaving: BTreeMap<EndpointId, Endpoint>,
    /// The kernel may differ from the plan: compare everything.
    dirty: bool,
    pruned: Pruned,
    strays: Strays,
    status: Status,
}

/// Which tables were compared after they were complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pruned {
    endpoints: bool,
    ipcache: bool,
    policy: bool,
    frontends: bool,
}

/// One version of each table.
struct Versions {
    endpoints: Snapshot<Endpoint>,
    ipcache: Snapshot<IpcacheRow>,
    policy: Snapshot<PolicyMapRow>,
    frontends: Snapshot<Frontend>,
    progress: PolicyProgress,
}

impl<K: Kernel> Reconciler<K> {
    /// Starts with a comparison of everything.
    pub fn new(kernel: K, tables: &Tables, realized: Writer<Realized>) -> Self {
        let feeds = Feeds {
            endpoints: tables.endpoints.changes(),
            ipcache: tables.ipcache.changes(),
            policy: tables.policy.changes(),
            frontends: tables.frontends.changes(),
            progress: tables.progress.changes(),
        };
        Self {
            kernel,
            feeds,
            realized,
            planner: Planner::default(),
            waiting: BTreeSet::new(),
            leaving: BTreeMap::new(),
            dirty: true,
            pruned: Pruned::default(),
            strays: Strays::default(),
            status: Status::default(),
        }
    }

    /// Brings the kernel to what the tables say now.
    ///
    /// # Errors
    /// The first refusal of the kernel; the next call compares everything.
    pub fn round(&mut self) -> Result<&Status, KernelError> {
        let result = self.try_round();
        self.status.waiting = self.waiting.len();
        match result {
            Ok(()) => {
                self.status.error = None;
                Ok(&self.status)
            }
            Err(error) => {
                self.dirty = true;
                self.status.error = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// The next round compares everything.
    pub fn compare_next(&mut self) {
        self.dirty = true;
    }

    pub fn status(&self) -> &Status {
        &self.status
    }

    /// A collection of expired flows ended; `None`: it failed.
    pub(crate) fn note_collection(&mut self, collected: Option<conntrack::Collected>, took: std::time::Duration) {
        let gc = &mut self.status.gc;
        match collected {
            Some(collected) => (gc.completed, gc.last, gc.last_duration) = (gc.completed + 1, collected, took),
            None => gc.failed += 1,
        }
    }

    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// Stops; the kernel stays as it is.
    pub fn into_kernel(self) -> K {
        self.kernel
    }

    fn try_round(&mut self) -> Result<(), KernelError> {
        // Progress first: whatever policy revision it names is then part of what is drained below.
        let (_, progress) = self.feeds.progress.drain_with_snapshot();
        let policy_before = self.feeds.policy.drain();
        let (ipcache_changes, ipcache) = self.feeds.ipcache.drain_with_snapshot();
        let (policy_after, policy) = self.feeds.policy.drain_with_snapshot();
        let (frontend_changes, frontends) = self.feeds.frontends.drain_with_snapshot();
        let (endpoint_changes, endpoints) = self.feeds.endpoints.drain_with_snapshot();
        let versions = Versions {
            endpoints,
            ipcache,
            policy,
            frontends,
            progress: progress.get(&()).map_or_else(PolicyProgress::default, |row| (**row).clone()),
        };
        let complete = Pruned {
            endpoints: versions.endpoints.is_initialised(),
            ipcache: versions.ipcache.is_initialised(),
            policy: versions.policy.is_initialised(),
            frontends: versions.frontends.is_initialised(),
        };
        // A removed endpoint is taken off before anything else: nothing else depends on it.
        for change in &endpoint_changes {
            self.note_endpoint(change);
        }
        self.remove_leaving()?;
        if self.dirty {
            self.resync(&versions, complete)?;
            self.dirty = false;
        } else {
            self.strays.claim(&ipcache_changes);
            let input = Input { policy_before, ipcache: ipcache_changes, policy_after, frontends: frontend_changes };
            let round = self.planner.round(input, &versions.policy);
            for error in round.errors {
                tracing::error!(%error, "service left out");
            }
            self.apply(round.grow, &versions)?;
            for set in round.recheck {
                self.resync_set(set, &versions)?;
            }
            self.run_waiting(&versions)?;
            self.apply(round.shrink, &versions)?;
            if complete != self.pruned {
                self.prune(&versions, complete)?;
            }
        }
        self.pruned = complete;
        self.status.overflowed = self.overflows(&versions);
        self.status.policy_revision = versions.policy.revision();
        self.status.ipcache_revision = versions.ipcache.revision();
        self.status.frontends_revision = versions.frontends.revision();
        self.status.pruned = complete == Pruned { endpoints: true, ipcache: true, policy: true, frontends: true };
        Ok(())
    }

    /// Applies; a policy set without room is locked down and the rest goes on by comparison.
    fn apply(&mut self, plan: Vec<Op>, versions: &Versions) -> Result<(), KernelError> {
        match apply(&mut self.kernel, plan) {
            Err(KernelError::Full { map: crate::MapId::PolicySet(set) }) => {
                self.overflow(set)?;
                self.resync(versions, self.pruned)
            }
            other => other,
        }
    }

    fn overflow(&mut self, set: u32) -> Result<(), KernelError> {
        tracing::error!(set, "policy does not fit its map: its endpoints are locked down");
        let ops = self.planner.set_overflowed(set, true);
        apply(&mut self.kernel, ops)
    }

    fn overflows(&self, versions: &Versions) -> Vec<Overflow> {
        let overflow = |set: &u32| {
            let rows = versions.policy.range(|key| key.set.get().cmp(set));
            let needed = rows.map(|row| crate::plan::policy::keys(&row.key).count()).sum();
            Overflow { set: *set, needed, max: self.kernel.policy_max() }
        };
        self.planner.overflowed.iter().map(overflow).collect()
    }

    fn note_endpoint(&mut self, change: &Change<Endpoint>) {
        let row = change.row();
        let leaves = matches!(change, Change::Delete(_)) || row.state == EndpointState::Disconnecting;
        if leaves {
            self.waiting.remove(&row.id);
            self.leaving.insert(row.id, (**row).clone());
            return;
        }
        let runs = self.planner.running.get(&row.id.0);
        let same = runs.is_some_and(|runs| {
            Some(runs.identity) == row.identity.map(NumericIdentity::get)
                && runs.row.host_ifindex == row.host_ifindex
                && runs.row.ips().eq(row.ips())
                && (runs.row.mac, runs.row.host_mac) == (row.mac, row.host_mac)
        });
        if !same {
            self.waiting.insert(row.id);
        }
    }

    /// Programs off, rows out, flows forgotten; only then may its addresses be given to another.
    fn remove_leaving(&mut self) -> Result<(), KernelError> {
        if self.leaving.is_empty() {
            return Ok(());
        }
        let mut ips = Vec::new();
        for row in self.leaving.values() {
            self.kernel.detach(&row.host_ifname)?;
            let ops = self.planner.stop(row);
            apply(&mut self.kernel, ops)?;
            ips.extend(row.ips());
        }
        conntrack::forget(&mut self.kernel, &ips)?;
        for id in std::mem::take(&mut self.leaving).into_keys() {
            self.realized.delete(&id);
        }
        Ok(())
    }

    /// Starts every waiting endpoint whose policy and addresses are in the kernel.
    fn run_waiting(&mut self, versions: &Versions) -> Result<(), KernelError> {
        for id in self.waiting.clone() {
            let Some(row) = versions.endpoints.get(&id) else {
                self.waiting.remove(&id);
                continue;
            };
            let Some(identity) = row.identity else { continue };
            let known = versions.progress.endpoints >= row.revision();
            let addressed =
                row.ips().all(|ip| versions.ipcache.get(&ip.into()).is_some_and(|claim| claim.identity == identity));
            if !known || !addressed || row.host_ifindex == 0 {
                continue;
            }
            let ops = self.planner.run(row, identity.get());
            apply(&mut self.kernel, ops)?;
            self.kernel.attach(&row.host_ifname, row.host_ifindex)?;
            self.waiting.remove(&id);
            self.realized.upsert(Realized { id, identity });
        }
        Ok(())
    }
}
