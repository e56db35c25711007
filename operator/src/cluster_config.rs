//! `cilium/cluster-config/<cluster>`: without it no other cluster reads us.
//!
//! It is written unless what stands there means the same: two writers with different bytes would never come to rest.
//! After a wipe of the store it is written last: readers without canaries then wait for it, instead of deleting what a
//! store that is still being filled does not have.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kvstore::{Backend, Event, follow};
use model::ClusterName;
use reflector::StoreHealth;
use tokio::sync::watch;
use wire::cluster_config::{self, ClusterConfig};

/// After a wipe, nodes that have not published again by then are not waited for.
pub const REFILL_WINDOW: Duration = Duration::from_secs(300);

/// The watch of the nodes may notice a wipe this much earlier than that of the key.
const NOTICE: Duration = Duration::from_secs(5);

/// The first repair of a foreign change comes within this time; the next ones are twice as late each.
const REPAIR: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

/// Without a foreign change for so long, repairs are quick again.
const QUIET: Duration = Duration::from_secs(300);

/// Decides when to write the key.
pub struct Enforcer {
    key: String,
    wanted: ClusterConfig,
    /// Whether the store was listed; before, nothing is known.
    listed: bool,
    right: bool,
    wiped: Option<Instant>,
    due: Option<Instant>,
    backoff: kvstore::Backoff,
    last_repair: Option<Instant>,
}

// === impl Enforcer ===

impl Enforcer {
    /// Nothing is known of the store yet.
    pub fn new(cluster: &ClusterName, wanted: ClusterConfig) -> Self {
        Self {
            key: cluster_config::key(cluster),
            wanted,
            listed: false,
            right: false,
            wiped: None,
            due: None,
            backoff: kvstore::Backoff::new(REPAIR.0, REPAIR.1),
            last_repair: None,
        }
    }

    /// What the watch of the key told.
    pub fn handle_event(&mut self, now: Instant, event: &Event, jitter: f64) {
        match event {
            Event::Created(kv) | Event::Modified(kv) if kv.key == self.key.as_bytes() => {
                let there = cluster_config::decode(&self.key, &kv.value);
                self.right = kv.lease.is_none() && there.is_ok_and(|there| there == self.wanted);
                self.repair(now, jitter);
            }
            Event::Deleted { key, .. } if key == self.key.as_bytes() => {
                self.right = false;
                self.repair(now, jitter);
            }
            Event::ListDone => {
                self.listed = true;
                if !self.right {
                    self.due = Some(now);
                }
            }
            Event::StoreUnknown => {
                self.right = false;
                self.due = None;
                self.wiped = Some(now);
            }
            _ => {}
        }
    }

    /// Whether to write now. `nodes_back`: when the nodes that we knew had all published again.
    pub fn poll_write(&mut self, now: Instant, nodes_back: Option<Instant>) -> bool {
        if let Some(since) = self.wiped {
            if self.right {
                self.wiped = None;
            } else if now >= since + REFILL_WINDOW || nodes_back.is_some_and(|at| at + NOTICE >= since) {
                self.wiped = None;
                self.due = Some(now);
            }
        }
        self.wiped.is_none() && self.due.take_if(|due| *due <= now).is_some()
    }

    /// It was not written.
    pub fn handle_failed(&mut self, now: Instant, jitter: f64) {
        self.due = Some(now + self.backoff.next(jitter));
    }

    /// When to ask again.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        // Nodes come back without telling us.
        self.due.or(self.wiped.map(|_| now + Duration::from_secs(1)))
    }

    fn repair(&mut self, now: Instant, jitter: f64) {
        if self.right {
            self.due = None;
        } else if self.listed && self.due.is_none() && self.wiped.is_none() {
            if self.last_repair.is_none_or(|last| now.saturating_duration_since(last) > QUIET) {
                self.backoff.reset();
            }
            self.last_repair = Some(now);
            self.due = Some(now + self.backoff.next(jitter));
        }
    }
}

/// Enforces the key until the future is dropped, whenever we lead. It watches all along: a wipe costs the leader its
/// lock, and who leads next must still know of it.
pub(crate) async fn run(
    store: Arc<dyn Backend>,
    cluster: ClusterName,
    wanted: ClusterConfig,
    health: Arc<StoreHealth>,
    mut leading: watch::Receiver<bool>,
) {
    let key = cluster_config::key(&cluster);
    let value = cluster_config::encode(&wanted);
    let (mut follower, driver) = follow(Arc::clone(&store), key.clone());
    let mut enforcer = Enforcer::new(&cluster, wanted);
    let enforce = async {
        loop {
            let leads = *leading.borrow_and_update();
            let timeout = enforcer.poll_timeout(runtime::now()).filter(|_| leads);
            tokio::select! {
                events = follower.next() => {
                    let Some(events) = events else { return };
                    for event in &events {
                        enforcer.handle_event(runtime::now(), event, rand::random());
                    }
                }
                () = runtime::sleep_until(timeout) => {}
                changed = leading.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            if *leading.borrow() && enforcer.poll_write(runtime::now(), health.nodes_back()) {
                match store.put(key.clone().into(), value.clone().into(), None).await {
                    Ok(_) => tracing::info!(key, "cluster configuration written"),
                    Err(error) => {
                        tracing::warn!(error = error.full(), "cluster configuration is not written");
                        enforcer.handle_failed(runtime::now(), rand::random());
                    }
                }
            }
        }
    };
    tokio::select! {
        () = driver => {}
        () = enforce => {}
    }
}

#[cfg(test)]
mod tests {
    use kvstore::{KeyValue, LeaseId};
    use model::ClusterId;

    use super::*;

    struct Bench {
        enforcer: Enforcer,
        start: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let wanted = ClusterConfig {
                id: ClusterId::try_new(2).unwrap(),
                max_connected_clusters: 255,
                service_exports_enabled: Some(false),
                ..ClusterConfig::default()
            };
            Self { enforcer: Enforcer::new(&"east".parse().unwrap(), wanted), start: Instant::now() }
        }

        fn at(&self, secs: f64) -> Instant {
            self.start + Duration::from_secs_f64(secs)
        }

        fn event(&mut self, secs: f64, event: Event) {
            self.enforcer.handle_event(self.at(secs), &event, 1.0);
        }

        fn writes(&mut self, secs: f64) -> bool {
            self.enforcer.poll_write(self.at(secs), None)
        }
    }

    fn put(value: &str, lease: Option<LeaseId>) -> Event {
        Event::Modified(KeyValue {
            key: "cilium/cluster-config/east".into(),
            value: value.to_owned().into(),
            create_revision: 1,
            mod_revision: 1,
            version: 1,
            lease,
        })
    }

    const RIGHT: &str = r#"{"id":2,"capabilities":{"maxConnectedClusters":255,"serviceExportsEnabled":false}}"#;

    #[test]
    fn what_means_the_same_is_left_alone() {
        fn check(value: &str, lease: Option<LeaseId>, writes: bool) {
            let mut bench = Bench::new();
            bench.event(0.0, put(value, lease));
            assert!(!bench.writes(0.0), "before the list is complete nothing is known");
            bench.event(0.0, Event::ListDone);
            assert_eq!(bench.writes(0.0), writes, "{value}");
        }
        check(RIGHT, None, false);
        check(
            r#"{"capabilities":{"serviceExportsEnabled":false,"maxConnectedClusters":255,"new":1},"ID":2}"#,
            None,
            false,
        );
        check(RIGHT, Some(LeaseId(7)), true);
        check(r#"{"id":3,"capabilities":{"maxConnectedClusters":255,"serviceExportsEnabled":false}}"#, None, true);
        check("no json", None, true);
    }

    #[test]
    fn another_writer_is_corrected_ever_more_slowly() {
        let mut bench = Bench::new();
        bench.event(0.0, Event::ListDone);
        assert!(bench.writes(0.0));
        let (mut now, mut waits) = (0.0, Vec::new());
        for _ in 0..4 {
            bench.event(now, put("{}", None));
            assert!(!bench.writes(now));
            let due = bench.enforcer.poll_timeout(bench.at(now)).unwrap();
            waits.push((due - bench.at(now)).as_millis());
            now = (due - bench.start).as_secs_f64() + 0.001;
            assert!(bench.writes(now));
            bench.event(now, put(RIGHT, None));
        }
        assert_eq!(waits, [250, 500, 1000, 2000]);
    }

    #[test]
    fn after_a_wipe_it_is_written_last() {
        let mut bench = Bench::new();
        bench.event(0.0, put(RIGHT, None));
        bench.event(0.0, Event::ListDone);
        bench.event(10.0, Event::StoreUnknown);
        bench.event(10.0, Event::Relisted { unproven: 1 });
        assert!(!bench.writes(11.0) && !bench.writes(309.0));
        let (at, back) = (bench.at(60.0), bench.at(50.0));
        assert!(bench.enforcer.poll_write(at, Some(back)), "the nodes are back");
        bench.event(70.0, Event::StoreUnknown);
        assert!(!bench.writes(369.0));
        assert!(bench.writes(370.0), "the window is over");
        bench.event(400.0, Event::StoreUnknown);
        bench.event(401.0, put(RIGHT, None));
        assert!(!bench.writes(1000.0), "it was the same store");
    }
}
