//! What takes time, or much data: leases that end, answers in fragments, watches that compaction ends.

use std::time::{Duration, Instant};

use kvstore_server::pb::etcdserverpb::WatchCreateRequest;

use crate::{
    answer::Answer,
    op::{Key::K, Lease::L, Op, Put, Rev, Step, Txn, Value},
    peer::Peer,
    random::block_on,
    servers::{self, Kind, Server},
    stream::{ALL, Log, Said},
};

fn bare(key: u8) -> Put {
    let value = Value::Nothing;
    Put { key: K(key), value, lease: L(0), prev_kv: false, ignore_value: false, ignore_lease: false }
}

fn put(key: u8, value: Value, lease: i64) -> Op {
    Op::Put(Put { value, lease: L(lease), ..bare(key) })
}

/// The same with every server; each says what it saw, and all must say the same.
fn same_everywhere<T: std::fmt::Debug + PartialEq>(test: &str, run: impl AsyncFn(&mut Peer) -> T) {
    let mut first: Option<(Kind, T)> = None;
    for kind in servers::reference_for(test).into_iter().chain(servers::subjects()) {
        let server = Server::start(&kind);
        let seen = block_on(async { run(&mut Peer::connect(&server.url).await).await });
        match &first {
            Some((reference, expected)) => assert_eq!(&seen, expected, "{kind:?} differs from {reference:?}"),
            None => first = Some((kind, seen)),
        }
    }
}

async fn ok(peer: &mut Peer, op: Op) {
    let answer = peer.answer(&op, 0, 0).await;
    assert_eq!(answer.result(), "ok", "{op:?}");
}

/// Watches everything from the first revision.
fn everything(fragment: bool) -> WatchCreateRequest {
    let (key, range_end) = (vec![0].into(), vec![0].into());
    WatchCreateRequest { key, range_end, start_revision: 1, watch_id: 7, fragment, ..Default::default() }
}

fn said(log: &mut Log, id: i64) -> Vec<Said> {
    log.remove(&id).unwrap_or_default()
}

fn is_cancelled(log: &Log, id: i64) -> bool {
    log.get(&id).is_some_and(|said| matches!(said.last(), Some(Said::Cancelled { .. })))
}

#[test]
fn a_lease_ends_with_its_keys_after_its_time_and_soon() {
    same_everywhere("a_lease_ends_with_its_keys_after_its_time_and_soon", async |peer| {
        ok(peer, Op::LeaseGrant { id: 5, ttl: 100 }).await;
        ok(peer, Op::LeaseGrant { id: 6, ttl: 1 }).await;
        let granted = Instant::now();
        for key in 0..3 {
            ok(peer, put(key, Value::V(1), 6)).await;
        }
        ok(peer, put(3, Value::V(1), 5)).await;
        let stream = peer.stream(0).await;
        stream.create(everything(false)).await;
        let deleted = stream.until(|stream| stream.log.get(&7).is_some_and(|said| said.len() == 8)).await;
        let after = granted.elapsed();
        assert!(deleted && after >= Duration::from_millis(1_990), "after {after:?}: {:?}", stream.log);
        assert!(after < Duration::from_secs(4), "after {after:?}");
        let log = said(&mut stream.log, 7);
        let left = peer.answer(&Op::LeaseTimeToLive { id: L(6), keys: true }, 0, 0).await.masked(&peer.names());
        (log, left)
    });
}

#[test]
fn leases_are_listed_by_their_end() {
    same_everywhere("leases_are_listed_by_their_end", async |peer| {
        for (id, ttl) in [(3, 300), (1, 200), (2, 100)] {
            ok(peer, Op::LeaseGrant { id, ttl }).await;
        }
        let Answer::Leases(first) = peer.answer(&Op::LeaseLeases, 0, 0).await else { panic!("no list") };
        ok(peer, Op::LeaseRevoke { id: L(1) }).await;
        ok(peer, Op::LeaseGrant { id: 1, ttl: 1_000 }).await;
        let Answer::Leases(second) = peer.answer(&Op::LeaseLeases, 0, 0).await else { panic!("no list") };
        let ids: Vec<i64> = first.leases.iter().chain(&second.leases).map(|lease| lease.id).collect();
        assert_eq!(ids, [2, 1, 3, 2, 3, 1]);
        ids
    });
}

#[test]
fn what_is_too_long_for_one_answer_comes_in_fragments_where_they_are_wanted() {
    for fragment in [true, false] {
        let test = "what_is_too_long_for_one_answer_comes_in_fragments_where_they_are_wanted";
        same_everywhere(test, async |peer| {
            // One revision of two events, each with its value and the one before.
            let long = |key| Put { value: Value::Bulk(700_000), ..bare(key) };
            ok(peer, Op::Put(long(0))).await;
            ok(peer, Op::Put(long(1))).await;
            ok(peer, Op::Txn(Txn { success: vec![Step::Set(long(0)), Step::Set(long(1))], ..Txn::default() })).await;
            let stream = peer.stream(0).await;
            stream.create(WatchCreateRequest { start_revision: 4, prev_kv: true, ..everything(fragment) }).await;
            assert!(stream.settle(4).await);
            let said = said(&mut stream.log, 7);
            assert!(
                said.iter().all(|said| !matches!(said, Said::Broken(_))),
                "{:?}",
                said.iter().filter(|said| matches!(said, Said::Broken(_))).collect::<Vec<_>>()
            );
            assert_eq!(stream.fragments > 0, fragment);
            said.len()
        });
    }
}

/// etcd keeps the number of a watch that a compaction ended until its client cancels it too, and answers no request for
/// progress on that stream meanwhile. Ours lets go of it at once.
#[test]
fn a_watch_that_a_compaction_ended_keeps_its_number_in_etcd_only() {
    let test = "a_watch_that_a_compaction_ended_keeps_its_number_in_etcd_only";
    for kind in servers::reference_for(test).into_iter().chain(servers::subjects()) {
        let server = Server::start(&kind);
        let again = block_on(async {
            let mut peer = Peer::connect(&server.url).await;
            ok(&mut peer, put(0, Value::V(0), 0)).await;
            ok(&mut peer, put(0, Value::V(1), 0)).await;
            ok(&mut peer, Op::Compact { rev: Rev::At(3), physical: true }).await;
            let stream = peer.stream(0).await;
            stream.burying = false;
            stream.create(everything(false)).await;
            assert!(stream.until(|stream| is_cancelled(&stream.log, 7)).await, "{kind:?}");
            let ended = said(&mut stream.log, 7);
            assert_eq!(ended, [Said::Created, Said::Cancelled { compacted: 3, reason: String::new() }], "{kind:?}");
            stream.create(WatchCreateRequest { start_revision: 0, ..everything(false) }).await
        });
        let expected = if kind == Kind::Causeway { 7 } else { ALL };
        assert_eq!(again, Some(expected), "{kind:?}");
    }
}
