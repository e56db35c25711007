//! The store's metrics, with etcd's names where they mean the same.

mod calls;
mod connections;

use std::time::Duration;

use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};
use runtime::metrics::{register, text};

use crate::core::Core;

pub(crate) use calls::{Call, Calls};
pub(crate) use connections::Connections;

pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) connections: Connections,
    pub(crate) calls: Calls,
    leader_changes: IntCounter,
    resident: IntGauge,
    commits: Histogram,
    has_leader: IntGauge,
    is_leader: IntGauge,
    applied: IntGauge,
    committed: IntGauge,
    pending: IntGauge,
    db_bytes: IntGauge,
    db_in_use: IntGauge,
    quota: IntGauge,
    keys: IntGauge,
    revision: IntGauge,
    compact_revision: IntGauge,
    streams: IntGauge,
    watches: IntGauge,
    slow_watches: IntGauge,
    leases: IntGauge,
    auth_revision: IntGauge,
    refused: IntCounter,
    events: IntCounter,
    syncs: Histogram,
    segments: IntGauge,
    start: Gauge,
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help).expect("the names below are valid"))
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let gauge = |name, help| gauge(&registry, name, help);
        let syncs = HistogramOpts::new("etcd_disk_wal_fsync_duration_seconds", "Time of a sync of the log.")
            .buckets(prometheus::exponential_buckets(0.000_05, 2.0, 18).expect("the start and factor are valid"));
        // What backs the state is the log: a commit is its sync.
        let commits = HistogramOpts::new(
            "etcd_disk_backend_commit_duration_seconds",
            "Time until what was written is kept: a sync of the log.",
        )
        .buckets(prometheus::exponential_buckets(0.001, 2.0, 14).expect("the start and factor are valid"));
        let counter = |name, help| register(&registry, IntCounter::new(name, help).expect("the names below are valid"));
        // One member's proposals do not fail: what cannot be synced ends the process.
        counter("etcd_server_proposals_failed_total", "The total number of failed proposals seen.");
        let version = IntGauge::with_opts(
            Opts::new(
                "etcd_server_version",
                "Which version is running. 1 for 'server_version' label with current version.",
            )
            .const_label("server_version", crate::status::ETCD_VERSION),
        );
        register(&registry, version.expect("the name is valid")).set(1);
        Self {
            connections: Connections::new(&registry),
            calls: Calls::new(&registry),
            leader_changes: counter("etcd_server_leader_changes_seen_total", "The number of leader changes seen."),
            resident: gauge("process_resident_memory_bytes", "Resident memory size in bytes."),
            commits: register(&registry, Histogram::with_opts(commits).expect("the name is valid")),
            has_leader: gauge("etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not."),
            is_leader: gauge("etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise."),
            applied: gauge("etcd_server_proposals_applied_total", "The index of the last entry that is applied."),
            committed: gauge("etcd_server_proposals_committed_total", "The index of the last entry that is agreed."),
            pending: gauge("etcd_server_proposals_pending", "Writes that wait to be agreed."),
            db_bytes: gauge("etcd_mvcc_db_total_size_in_bytes", "Accounted bytes of keys, values, history and index."),
            db_in_use: gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Of them, what compaction has not let go of."),
            quota: gauge("etcd_server_quota_backend_bytes", "The bytes at which writes are refused."),
            keys: gauge("etcd_debugging_mvcc_keys_total", "Live keys."),
            revision: gauge("etcd_debugging_mvcc_current_revision", "The current revision."),
            compact_revision: gauge("etcd_debugging_mvcc_compact_revision", "The last compact revision."),
            streams: gauge("etcd_debugging_mvcc_watch_stream_total", "Open watch streams."),
            watches: gauge("etcd_debugging_mvcc_watcher_total", "Watches."),
            slow_watches: gauge("etcd_debugging_mvcc_slow_watcher_total", "Watches that are behind."),
            leases: gauge("causeway_store_leases", "Leases that live."),
            auth_revision: gauge("etcd_debugging_auth_revision", "The current revision of auth store."),
            refused: register(
                &registry,
                IntCounter::new(
                    "causeway_store_refused_total",
                    "Requests and passwords that were refused for who asked.",
                )
                .expect("the name is valid"),
            ),
            segments: gauge("causeway_store_wal_segments", "Segments of the log since the last checkpoint."),
            events: register(
                &registry,
                IntCounter::new("causeway_store_watch_messages_total", "Messages sent to watches.")
                    .expect("the name is valid"),
            ),
            syncs: register(&registry, Histogram::with_opts(syncs).expect("the name is valid")),
            start: {
                let start = Gauge::new("process_start_time_seconds", "Start of the process since the epoch.");
                register(&registry, start.expect("the name is valid"))
            },
            registry,
        }
        .started()
    }

    pub(crate) fn text(&self) -> String {
        self.resident.set(resident_bytes().unwrap_or(0));
        text(&self.registry).unwrap_or_else(|error| format!("# {error}\n"))
    }

    pub(crate) fn synced(&self, took: Duration) {
        self.syncs.observe(took.as_secs_f64());
        self.commits.observe(took.as_secs_f64());
    }

    pub(crate) fn sent(&self, messages: usize) {
        self.events.inc_by(messages as u64);
    }

    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    pub(crate) fn observe(&self, core: &Core, segments: usize) {
        let (state, consensus, hub) = (core.state(), core.consensus(), core.hub());
        let has_leader = i64::from(consensus.leader() != 0);
        if has_leader != self.has_leader.get() {
            self.leader_changes.inc_by(has_leader as u64);
        }
        self.has_leader.set(has_leader);
        self.is_leader.set(i64::from(consensus.is_leader()));
        self.applied.set(state.applied as i64);
        self.committed.set(consensus.committed() as i64);
        self.pending.set(core.pending_count() as i64);
        self.db_bytes.set(state.size() as i64);
        self.db_in_use.set(state.size_in_use() as i64);
        self.quota.set(core.quota_bytes() as i64);
        self.keys.set(state.store.key_count() as i64);
        self.revision.set(state.store.revision());
        self.compact_revision.set(state.store.compacted().max(0));
        self.streams.set(hub.stream_count() as i64);
        self.watches.set(hub.watch_count() as i64);
        self.slow_watches.set(hub.slow_count() as i64);
        self.leases.set(state.leases.count() as i64);
        self.auth_revision.set(state.auth.revision() as i64);
        self.segments.set(segments as i64);
    }

    fn started(self) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        self.start.set(now.as_secs_f64());
        self
    }
}

/// By pages, of Linux' own counting.
fn resident_bytes() -> Option<i64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = statm.split(' ').nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * page)
}
