//! The table of scenarios.

use anyhow::Result;

use crate::run::Run;
use crate::scenarios::{agent, clock, lease, limits, link, machine, mesh, operator, past, store, teeth, upgrade};

/// One fault, or one story of faults.
pub struct Scenario {
    /// As `causeway chaos run` takes it.
    pub name: &'static str,
    /// What is broken, and what must hold.
    pub what: &'static str,
    /// How long it takes, in seconds, about.
    pub seconds: u32,
    /// Breaks and heals.
    pub(crate) act: fn(&mut Run) -> Result<()>,
    /// How it is judged.
    pub(crate) kind: Judged,
    /// A run of all has time for it only when it may be long.
    pub(crate) only_long: bool,
}

/// How a scenario is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    /// Everything holds, and in the end every map is as before.
    AsBefore,
    /// Everything holds; addresses or identities may be others in the end.
    Holds,
    /// It breaks the datapath itself: every check must fail on it.
    Teeth,
}

use Judged::{AsBefore, Holds, Teeth};

const fn row(
    name: &'static str,
    what: &'static str,
    seconds: u32,
    act: fn(&mut Run) -> Result<()>,
    kind: Judged,
) -> Scenario {
    Scenario { name, what, seconds, act, kind, only_long: false }
}

/// Every scenario, in the order of `causeway chaos run all`.
pub const SCENARIOS: &[Scenario] = &[
    row(
        "agent-killed",
        "agents are killed and started 100 times while labels and rules change",
        80,
        agent::killed,
        Holds,
    ),
    row(
        "agent-stopped",
        "one agent is stopped and one stands still for a minute of remote changes",
        35,
        agent::stopped,
        Holds,
    ),
    row("agent-without-store", "an agent starts while etcd is down", 20, agent::without_store, AsBefore),
    row(
        "agent-upgraded",
        "agents become a version with another conntrack layout, and go back",
        30,
        upgrade::and_back,
        AsBefore,
    ),
    row(
        "machine-restarted",
        "a node comes back without maps, links and state; its pods are added again",
        25,
        machine::restarted,
        Holds,
    ),
    row("operator-killed", "the operator is killed and started", 10, operator::killed, AsBefore),
    row(
        "operator-doubled",
        "two operators at once: one leads; it is killed and the other follows",
        45,
        operator::doubled,
        AsBefore,
    ),
    row(
        "operator-gone",
        "no operator for a day of scaled time; it comes back and collects",
        70,
        operator::gone,
        AsBefore,
    ),
    row("clock-jumped", "the clocks of a cluster's processes jump by an hour", 60, clock::jumped, AsBefore),
    row("heartbeat-lost", "a heartbeat stops, becomes nonsense, and goes", 20, operator::heartbeat_lost, AsBefore),
    row("store-killed", "the own store is killed and started", 20, store::killed, AsBefore),
    row("store-paused", "the own store stands still", 25, store::paused, AsBefore),
    row("store-slow", "the own store answers once in two seconds", 15, store::slow, AsBefore),
    row("store-blackholed", "the own store's link drops everything", 25, link::blackholed, AsBefore),
    row(
        "store-half-open",
        "the own store starts anew and its clients do not hear of it",
        10,
        link::half_open,
        AsBefore,
    ),
    row("store-flapping", "the own store's link comes and goes", 35, link::flapping, AsBefore),
    row("store-wiped", "the own store comes back empty, with the same cluster id", 15, past::wiped, AsBefore),
    row(
        "store-refilled",
        "the own store comes back empty, with the same cluster id and a higher revision",
        60,
        past::refilled,
        AsBefore,
    ),
    row("store-restored", "an old snapshot becomes the own store", 20, past::restored, AsBefore),
    row("watch-compacted", "what a watch has not told yet is compacted away", 20, past::compacted, AsBefore),
    row("requests-limited", "an agent may ask its store twice a second", 30, limits::requests, AsBefore),
    row("leases-revoked", "every lease of a cluster's store is revoked", 15, lease::all_revoked, AsBefore),
    row("lease-revoked", "one agent's lease is revoked", 10, lease::one_revoked, AsBefore),
    Scenario {
        only_long: true,
        ..row("lease-outlived", "an agent stands still until its lease has ended", 60, lease::outlived, AsBefore)
    },
    row("mesh-cut", "the link between the clusters is cut both ways", 25, mesh::cut, AsBefore),
    row(
        "mesh-cut-one-way",
        "the link between the clusters is cut in one direction, then in the other",
        40,
        mesh::cut_one_way,
        AsBefore,
    ),
    row("remote-store-killed", "the other cluster's etcd is killed and started", 25, mesh::store_killed, AsBefore),
    row(
        "remote-store-wiped",
        "the other cluster's etcd comes back empty, with the same cluster id",
        40,
        mesh::store_wiped,
        AsBefore,
    ),
    row(
        "cluster-removed",
        "the other cluster's configuration is removed and added again",
        15,
        mesh::cluster_removed,
        AsBefore,
    ),
    row("teeth", "the datapath itself is broken: every check must notice", 15, teeth::every_check_bites, Teeth),
];
