//! An address prefix in all its troubles.

use std::time::{Duration, Instant};

use kvstore::{Event, KeyValue};
use model::{ClusterId, ClusterIdLayout, Source};
use statedb::{Reader, Row, Writer};
use tables::{IpClaim, Origin};

use super::*;
use crate::{IpDecode, NodeDecode};

pub(crate) fn kv(key: &str, value: &str, revision: i64) -> KeyValue {
    KeyValue {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease: None,
    }
}

const PREFIX: &str = "cilium/state/ip/v1/default/";

struct Bench {
    core: Core<IpDecode>,
    writer: Writer<IpClaim>,
    reader: Reader<IpClaim>,
    start: Instant,
    evidence: Evidence,
}

impl Bench {
    fn new() -> Self {
        let decode = IpDecode {
            origin: Origin::new(Source::Kvstore, "east".parse().unwrap()),
            cluster_id: ClusterId::try_new(1).unwrap(),
            layout: ClusterIdLayout::Max255,
            border: None,
        };
        let (writer, reader) = statedb::table();
        let lease_ttl = Duration::from_secs(900);
        let evidence = Evidence { nodes_back: None, fresh_since: None, lease_ttl, is_nodes: false };
        Self { core: Core::new(decode, PREFIX.to_owned(), 10_000), writer, reader, start: Instant::now(), evidence }
    }

    fn at(&self, secs: f64) -> Instant {
        self.start + Duration::from_secs_f64(secs)
    }

    /// What else than rows came out, a line each.
    fn feed(&mut self, secs: f64, events: Vec<Event>) -> Vec<String> {
        let rows = self.reader.snapshot();
        self.core.handle_events(self.at(secs), events, &rows);
        self.tick(secs)
    }

    fn tick(&mut self, secs: f64) -> Vec<String> {
        self.core.handle_timeout(self.at(secs), &self.evidence);
        let mut lines = Vec::new();
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Upsert(row) => drop(self.writer.upsert(row)),
                Effect::Delete(key) => drop(self.writer.delete(&key)),
                Effect::Reject(rejected) => lines.push(format!("reject {}", rejected.key)),
                Effect::Forgive((_, key)) => lines.push(format!("forgive {key}")),
                Effect::Alarm(alarm) => lines.push(format!("alarm {}", alarm.name)),
                Effect::ClearAlarm(name) => lines.push(format!("clear {name}")),
                Effect::Done { .. } => lines.push("done".to_owned()),
                Effect::Proven => lines.push("proven".to_owned()),
                Effect::Relist => lines.push("relist".to_owned()),
                Effect::AcceptAbsence => lines.push("accept".to_owned()),
            }
        }
        lines
    }

    fn rows(&self) -> usize {
        self.reader.snapshot().len()
    }
}

fn ip(n: usize) -> String {
    format!("10.1.{}.{}", n / 250, n % 250 + 1)
}

fn put(n: usize) -> KeyValue {
    kv(&format!("{PREFIX}{}", ip(n)), &format!(r#"{{"IP":"{}","ID":65537}}"#, ip(n)), 1)
}

fn created(range: std::ops::Range<usize>) -> Vec<Event> {
    range.map(|n| Event::Created(put(n))).collect()
}

fn deleted(range: std::ops::Range<usize>) -> Vec<Event> {
    range.map(|n| Event::Deleted { key: format!("{PREFIX}{}", ip(n)).into(), revision: 2 + n as i64 }).collect()
}

#[test]
fn a_mass_delete_is_held_and_a_put_wins_at_once() {
    let mut bench = Bench::new();
    bench.feed(0.0, created(0..100));
    assert_eq!(bench.feed(0.0, vec![Event::ListDone]), ["done"]);
    assert_eq!(bench.feed(10.0, deleted(0..60)), ["alarm kvstore/east/ip/mass-delete"]);
    assert_eq!(bench.rows(), 100);
    bench.feed(12.0, vec![Event::Created(put(3))]);
    assert!(bench.tick(39.9).is_empty());
    assert_eq!(bench.rows(), 100);
    assert_eq!(bench.tick(40.0), ["clear kvstore/east/ip/mass-delete"]);
    assert_eq!(bench.rows(), 41, "60 left, one of them had come back");
}

#[test]
fn keys_that_go_at_one_revision_are_held_few_as_they_may_be() {
    // A revoked lease took a node with two pods out of every other node's datapath for a second.
    let mut bench = Bench::new();
    bench.feed(0.0, created(0..10));
    bench.feed(0.0, vec![Event::ListDone]);
    let lost = |n| Event::Deleted { key: format!("{PREFIX}{}", ip(n)).into(), revision: 50 };
    let meant = Event::Deleted { key: format!("{PREFIX}{}", ip(7)).into(), revision: 51 };
    assert_eq!(bench.feed(10.0, vec![lost(0), lost(1), meant]), ["alarm kvstore/east/ip/mass-delete"]);
    assert_eq!(bench.rows(), 9, "the one that somebody meant is gone");
    assert_eq!(
        bench.feed(10.5, vec![Event::Created(put(0)), Event::Created(put(1))]),
        ["clear kvstore/east/ip/mass-delete"]
    );
    bench.tick(60.0);
    assert_eq!(bench.rows(), 9);
    bench.feed(70.0, vec![lost(0), lost(1), Event::Relisted { unproven: 0 }]);
    assert_eq!(bench.rows(), 7, "a list tells everything at its own revision");
}

#[test]
fn a_node_is_held_for_its_owner_to_come_back() {
    let cluster: model::ClusterName = "east".parse().unwrap();
    let id = ClusterId::try_new(1).unwrap();
    let decode = NodeDecode { cluster, cluster_id: id, source: Source::Kvstore, own: None, border: None };
    let mut core = Core::new(decode, "n/".to_owned(), 10);
    let (_, reader) = statedb::table();
    let now = Instant::now();
    let valid = kv("n/a", r#"{"Name":"a","Cluster":"east","ClusterID":1}"#, 1);
    core.handle_events(now, vec![Event::Created(valid), Event::ListDone], &reader.snapshot());
    while core.poll_effect().is_some() {}
    core.handle_events(now, vec![Event::Deleted { key: "n/a".into(), revision: 9 }], &reader.snapshot());
    assert!(matches!(core.poll_effect(), Some(Effect::Alarm(_))));
    assert_eq!(core.poll_effect(), None);
    let lease_ttl = Duration::from_secs(900);
    let evidence = Evidence { nodes_back: None, fresh_since: None, lease_ttl, is_nodes: true };
    core.handle_timeout(now + HOLD, &evidence);
    assert!(matches!(core.poll_effect(), Some(Effect::Delete(_))));
}

#[test]
fn deletes_that_trickle_count_together_and_what_left_first_comes_back() {
    let mut bench = Bench::new();
    bench.feed(0.0, created(0..100));
    for n in 0..20 {
        bench.feed(10.0 + n as f64 / 10.0, deleted(n..n + 1));
    }
    assert_eq!(bench.rows(), 80, "twenty are no mass");
    bench.feed(12.5, deleted(20..21));
    assert_eq!(bench.rows(), 100, "the one and twentieth makes it one");
    bench.tick(42.5);
    assert_eq!(bench.rows(), 79);
}

#[test]
fn few_slow_or_relatively_few_deletes_leave_at_once() {
    fn check(keys: usize, gone: usize, pause_secs: f64, left: usize) {
        let mut bench = Bench::new();
        bench.feed(0.0, created(0..keys));
        for n in 0..gone {
            bench.feed(10.0 + n as f64 * pause_secs, deleted(n..n + 1));
        }
        assert_eq!(bench.rows(), left, "{gone} of {keys}");
    }
    check(20, 20, 0.0, 0);
    check(100, 100, 0.3, 0);
    check(1000, 50, 0.0, 950);
    check(1000, 51, 0.0, 1000);
}

#[test]
fn a_refused_address_ends_the_claim_it_replaces_and_a_valid_one_ends_the_quarantine() {
    let mut bench = Bench::new();
    bench.feed(0.0, created(0..1));
    let key = format!("{PREFIX}{}", ip(0));
    let foreign = kv(&key, r#"{"IP":"10.1.0.1","ID":131073}"#, 2);
    assert_eq!(bench.feed(1.0, vec![Event::Modified(foreign)]), [format!("reject {key}")]);
    assert_eq!(bench.rows(), 0);
    assert_eq!(bench.feed(2.0, vec![Event::Modified(put(0))]), [format!("forgive {key}")]);
    assert_eq!(bench.rows(), 1);
    bench.feed(3.0, vec![Event::Modified(kv(&key, "not json", 3))]);
    assert_eq!(bench.feed(4.0, deleted(0..1)), [format!("forgive {key}")]);
}

#[test]
fn a_refused_node_leaves_the_last_valid_row() {
    let cluster: model::ClusterName = "east".parse().unwrap();
    let id = ClusterId::try_new(1).unwrap();
    let decode = NodeDecode { cluster, cluster_id: id, source: Source::Kvstore, own: None, border: None };
    let mut core = Core::new(decode, "n/".to_owned(), 10);
    let (_, reader) = statedb::table();
    let now = Instant::now();
    let valid = kv("n/a", r#"{"Name":"a","Cluster":"east","ClusterID":1}"#, 1);
    core.handle_events(now, vec![Event::Created(valid)], &reader.snapshot());
    assert!(matches!(core.poll_effect(), Some(Effect::Upsert(_))));
    core.handle_events(now, vec![Event::Modified(kv("n/a", "{", 2)), Event::ListDone], &reader.snapshot());
    assert!(matches!(core.poll_effect(), Some(Effect::Reject(_))));
    let Some(Effect::Done { keep }) = core.poll_effect() else { panic!("the list is done") };
    assert_eq!(keep.len(), 1, "a restored row of a quarantined key stays too");
    assert_eq!(core.poll_effect(), None);
}

#[test]
fn an_unknown_store_is_believed_after_the_nodes_and_two_equal_lists() {
    let mut bench = Bench::new();
    bench.feed(0.0, created(0..5));
    bench.feed(0.0, vec![Event::ListDone]);
    let lines = bench.feed(10.0, vec![Event::StoreUnknown, Event::Relisted { unproven: 3 }]);
    assert_eq!(lines, ["alarm kvstore/east/ip/store-unknown"]);
    assert!(bench.tick(100.0).is_empty(), "the nodes are not back");
    bench.evidence.nodes_back = Some(bench.at(100.0));
    assert_eq!(bench.tick(101.0), ["relist"]);
    assert!(bench.tick(102.0).is_empty(), "one list at a time");
    bench.feed(102.0, vec![Event::Relisted { unproven: 3 }]);
    assert_eq!(bench.tick(112.0), ["relist"]);
    bench.feed(112.0, vec![Event::Modified(put(1)), Event::Relisted { unproven: 2 }]);
    assert_eq!(bench.tick(122.0), ["relist"], "the last two differed");
    let lines = bench.feed(122.0, vec![Event::Relisted { unproven: 2 }]);
    assert_eq!(lines, ["accept", "proven", "clear kvstore/east/ip/store-unknown"]);
    assert_eq!(bench.rows(), 5, "the follower tells the deletes");
}

#[test]
fn or_after_fresh_heartbeats_for_a_lease_ttl() {
    let mut bench = Bench::new();
    bench.feed(0.0, created(0..5));
    bench.evidence.fresh_since = Some(bench.at(0.0));
    bench.feed(10.0, vec![Event::StoreUnknown, Event::Relisted { unproven: 3 }]);
    assert!(bench.tick(909.0).is_empty());
    assert_eq!(bench.tick(910.0), ["accept", "proven", "clear kvstore/east/ip/store-unknown"]);
}

#[test]
fn nothing_is_in_doubt_when_everything_is_back() {
    let mut bench = Bench::new();
    bench.feed(0.0, created(0..5));
    let lines = bench.feed(10.0, vec![Event::StoreUnknown, Event::Relisted { unproven: 0 }]);
    assert_eq!(lines, ["alarm kvstore/east/ip/store-unknown", "proven", "clear kvstore/east/ip/store-unknown"]);
}

#[test]
fn beyond_the_quota_keys_are_refused() {
    let mut bench = Bench::new();
    bench.core.quota = 3;
    assert_eq!(bench.feed(0.0, created(0..4)), [format!("reject {PREFIX}{}", ip(3))]);
    assert_eq!(bench.rows(), 3);
}

#[test]
fn rows_are_keyed_as_their_keys_are() {
    let bench = Bench::new();
    let mut bench = bench;
    bench.feed(0.0, created(0..1));
    let row = bench.reader.snapshot().iter().next().cloned().unwrap();
    assert_eq!(bench.core.decode().row_key(&ip(0)), Some(row.key()));
}

/// Refuses every address while it is up.
struct Wall(std::sync::atomic::AtomicBool);

impl Wall {
    fn set(&self, up: bool) {
        self.0.store(up, std::sync::atomic::Ordering::Relaxed);
    }
}

impl crate::Border for Wall {
    fn node(&self, _node: &model::Node) -> Result<(), String> {
        Ok(())
    }

    fn ip(&self, entry: &model::IpEntry) -> Result<(), String> {
        match self.0.load(std::sync::atomic::Ordering::Relaxed) {
            true => Err(format!("{} is ours", entry.prefix)),
            false => Ok(()),
        }
    }

    fn service(&self, service: model::GlobalService) -> Result<(model::GlobalService, Option<String>), String> {
        Ok((service, None))
    }

    fn slice(&self, slice: model::EndpointSlice) -> Result<(model::EndpointSlice, Option<String>), String> {
        Ok((slice, None))
    }

    fn versions(&self) -> tokio::sync::watch::Receiver<crate::BorderVersion> {
        tokio::sync::watch::Sender::new(crate::BorderVersion::default()).subscribe()
    }
}

#[test]
fn claims_are_judged_again_when_others_say_more() {
    let mut bench = Bench::new();
    let wall = Arc::new(Wall(false.into()));
    let decode = IpDecode {
        origin: Origin::new(Source::ClusterMesh, "east".parse().unwrap()),
        cluster_id: ClusterId::try_new(1).unwrap(),
        layout: ClusterIdLayout::Max255,
        border: Some(wall.clone()),
    };
    bench.core = Core::new(decode, PREFIX.to_owned(), 10_000);
    bench.feed(0.0, created(0..2));
    let border = |bench: &mut Bench, ours: bool| {
        let rows = bench.reader.snapshot();
        bench.core.handle_border(ours, &rows);
        bench.tick(1.0)
    };
    let reject = |n: usize| format!("reject {PREFIX}{}", ip(n));
    let forgive = |n: usize| format!("forgive {PREFIX}{}", ip(n));
    let (alarm, clear) = ("alarm kvstore/east/ip/claims".to_owned(), "clear kvstore/east/ip/claims".to_owned());
    wall.set(true);
    assert!(border(&mut bench, false).is_empty(), "what others say takes nothing away");
    assert_eq!(border(&mut bench, true), [reject(0), alarm.clone(), reject(1), alarm.clone()]);
    assert_eq!(bench.rows(), 0, "what has become ours is not theirs");
    assert_eq!(bench.feed(2.0, created(2..3)), [reject(2), alarm]);
    assert!(border(&mut bench, true).is_empty(), "nothing is said twice");
    wall.set(false);
    let lines = border(&mut bench, false);
    assert_eq!(lines, [forgive(0), forgive(1), forgive(2), clear]);
    assert_eq!(bench.rows(), 3);
}
