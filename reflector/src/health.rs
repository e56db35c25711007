//! How fresh what we know of each store is, and what speaks for an unknown one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvstore::Event;
use model::ClusterName;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Between two questions: a list costs the store something.
const ASK: Duration = Duration::from_secs(10);

/// The stores of a process by cluster, for status and metrics.
#[derive(Clone, Default)]
pub struct Freshness(Arc<Mutex<BTreeMap<ClusterName, Arc<StoreHealth>>>>);

/// What is known of one store's liveness; shared by its imports.
pub struct StoreHealth {
    lease_ttl: Duration,
    state: Mutex<State>,
    /// The nodes are to be listed: somebody doubts the store.
    nodes_wanted: Notify,
}

#[derive(Default)]
struct State {
    prefixes: BTreeMap<&'static str, Prefix>,
    last_heartbeat: Option<Instant>,
    /// Since when no heartbeat was late.
    fresh_since: Option<Instant>,
    nodes_back: Option<Instant>,
    /// When they were last asked for.
    nodes_asked: Option<Instant>,
}

#[derive(Default, Clone, Copy)]
struct Prefix {
    last_event: Option<Instant>,
    /// The last complete list.
    last_list: Option<Instant>,
}

/// What speaks for believing an unknown store.
#[derive(Debug, Clone, Copy)]
pub struct Evidence {
    /// When the nodes that we knew were all found in it.
    pub nodes_back: Option<Instant>,
    /// Since when the operator's heartbeats have been coming in time.
    pub fresh_since: Option<Instant>,
    /// How long keys outlive their writer.
    pub lease_ttl: Duration,
    /// Whether this is the prefix of the nodes themselves.
    pub is_nodes: bool,
}

/// One line of a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceAge {
    /// The cluster.
    pub cluster: ClusterName,
    /// What of it.
    pub resource: &'static str,
    /// How stale it may be: since the last event, list or heartbeat. `None` before the first list.
    pub age: Option<Duration>,
    /// Since the last change.
    pub since_event: Option<Duration>,
}

// === impl Freshness ===

impl Freshness {
    /// The health of a cluster's store; made when it is first asked for.
    pub fn store(&self, cluster: &ClusterName, lease_ttl: Duration) -> Arc<StoreHealth> {
        let mut stores = self.0.lock();
        Arc::clone(stores.entry(cluster.clone()).or_insert_with(|| StoreHealth::new(lease_ttl)))
    }

    /// The cluster is no longer followed.
    pub fn remove(&self, cluster: &ClusterName) {
        self.0.lock().remove(cluster);
    }

    /// How long ago the last heartbeat of each cluster was; clusters without one are left out.
    pub fn heartbeats(&self, now: Instant) -> Vec<(ClusterName, Duration)> {
        let stores = self.0.lock();
        stores.iter().filter_map(|(cluster, store)| Some((cluster.clone(), store.heartbeat_age(now)?))).collect()
    }

    /// Every followed prefix, by cluster.
    pub fn ages(&self, now: Instant) -> Vec<SourceAge> {
        let stores = self.0.lock();
        stores.iter().flat_map(|(cluster, store)| store.ages(now, cluster)).collect()
    }
}

// === impl StoreHealth ===

impl StoreHealth {
    /// Nothing is known yet. Keys of the store outlive their writers by `lease_ttl`.
    pub fn new(lease_ttl: Duration) -> Arc<Self> {
        Arc::new(Self { lease_ttl, state: Mutex::default(), nodes_wanted: Notify::new() })
    }

    /// A heartbeat was seen.
    pub fn handle_heartbeat(&self, now: Instant) {
        let mut state = self.state.lock();
        let stale = Duration::from_secs(wire::heartbeat::STALE_SECS);
        let in_time = state.last_heartbeat.is_some_and(|last| now.saturating_duration_since(last) < stale);
        if !in_time {
            state.fresh_since = Some(now);
        }
        state.last_heartbeat = Some(now);
    }

    /// How long ago the last heartbeat was.
    pub fn heartbeat_age(&self, now: Instant) -> Option<Duration> {
        self.state.lock().last_heartbeat.map(|last| now.saturating_duration_since(last))
    }

    /// When the nodes that we knew were all found in a store that was not the one we knew.
    pub fn nodes_back(&self) -> Option<Instant> {
        self.state.lock().nodes_back
    }

    pub(crate) fn handle_events(&self, now: Instant, resource: &'static str, events: &[Event]) {
        let listed = events.iter().any(|event| matches!(event, Event::ListDone | Event::Relisted { .. }));
        let mut state = self.state.lock();
        if resource == "nodes" && events.contains(&Event::StoreUnknown) {
            // That they came back to the store before says nothing of this one.
            state.nodes_back = None;
        }
        let prefix = state.prefixes.entry(resource).or_default();
        prefix.last_event = Some(now);
        if listed {
            prefix.last_list = Some(now);
        }
    }

    pub(crate) fn handle_nodes_back(&self, now: Instant) {
        self.state.lock().nodes_back = Some(now);
    }

    /// A prefix lacks keys that we knew. The nodes' own may lack none and their watch just go on: that they are all there
    /// is said by a list only, and nobody makes one unasked.
    pub(crate) fn ask_for_nodes(&self, now: Instant) {
        let mut state = self.state.lock();
        if state.nodes_asked.is_none_or(|asked| now.saturating_duration_since(asked) >= ASK) {
            state.nodes_asked = Some(now);
            self.nodes_wanted.notify_one();
        }
    }

    /// Returns when the nodes are to be listed.
    pub(crate) async fn nodes_wanted(&self) {
        self.nodes_wanted.notified().await;
    }

    pub(crate) fn evidence(&self, now: Instant, resource: &str) -> Evidence {
        let state = self.state.lock();
        let stale = Duration::from_secs(wire::heartbeat::STALE_SECS);
        let fresh = state.last_heartbeat.is_some_and(|last| now.saturating_duration_since(last) < stale);
        Evidence {
            nodes_back: state.nodes_back,
            fresh_since: state.fresh_since.filter(|_| fresh),
            lease_ttl: self.lease_ttl,
            is_nodes: resource == "nodes",
        }
    }

    fn ages(&self, now: Instant, cluster: &ClusterName) -> Vec<SourceAge> {
        let state = self.state.lock();
        let since = |at: Instant| now.saturating_duration_since(at);
        let age = |(resource, prefix): (&&'static str, &Prefix)| {
            // A heartbeat on the same connection shows that a quiet prefix is quiet, not cut off.
            let last = prefix
                .last_list
                .map(|list| list.max(prefix.last_event.unwrap_or(list)).max(state.last_heartbeat.unwrap_or(list)));
            SourceAge {
                cluster: cluster.clone(),
                resource,
                age: last.map(since),
                since_event: prefix.last_event.map(since),
            }
        };
        state.prefixes.iter().map(age).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_came_back_to_a_store_say_nothing_of_the_next_one() {
        let (health, now) = (StoreHealth::new(Duration::from_secs(900)), runtime::now());
        health.handle_nodes_back(now);
        health.handle_events(now, "ip", &[Event::StoreUnknown]);
        assert!(health.nodes_back().is_some(), "the nodes' own list may have come first");
        health.handle_events(now, "nodes", &[Event::StoreUnknown, Event::Relisted { unproven: 51 }]);
        assert!(health.nodes_back().is_none() && health.evidence(now, "nodes").nodes_back.is_none());
    }

    #[test]
    fn heartbeats_are_fresh_since_the_last_gap() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let health = StoreHealth::new(Duration::from_secs(900));
        assert_eq!(health.evidence(at(0), "ip").fresh_since, None);
        for secs in [0, 60, 120, 300, 360] {
            health.handle_heartbeat(at(secs));
        }
        assert_eq!(health.evidence(at(400), "ip").fresh_since, Some(at(300)));
        assert_eq!(health.evidence(at(500), "ip").fresh_since, None, "late again");
    }

    #[test]
    fn a_quiet_prefix_is_as_fresh_as_the_last_heartbeat() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let freshness = Freshness::default();
        let health = freshness.store(&"east".parse().unwrap(), Duration::from_secs(900));
        health.handle_events(at(0), "ip", &[Event::ListDone]);
        health.handle_heartbeat(at(50));
        let ages = freshness.ages(at(60));
        assert_eq!((ages[0].age, ages[0].since_event), (Some(Duration::from_secs(10)), Some(Duration::from_secs(60))));
    }
}
