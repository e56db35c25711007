//! Requests that etcd refuses, with code and text; and what was once found by a random sequence.

use crate::{
    answer::Answer,
    op::{
        Against, Compare, Delete,
        End::{One, To},
        Key::{Empty, K},
        Lease::L,
        Op, Put, Range,
        Rev::{At, Compacted, Head},
        Step, Txn,
        Value::{Bulk, V},
        Who,
    },
    peer::Peer,
    random::{block_on, first_difference},
    servers::{self, Kind, Server},
};

const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const RESOURCE_EXHAUSTED: i32 = 8;
const FAILED_PRECONDITION: i32 = 9;
const OUT_OF_RANGE: i32 = 11;

/// Panics if the two servers answer this differently.
pub(crate) fn same(ops: &[Op]) {
    let Some(reference) = servers::reference_for("a case of the differential test") else { return };
    for subject in servers::subjects() {
        if let (Some((index, difference)), _) = first_difference(&reference, &subject, ops) {
            panic!("{subject:?} at {:?}: {difference:#?}", ops.get(index));
        }
    }
}

fn put(key: crate::op::Key) -> Put {
    Put { key, value: V(0), lease: L(0), prev_kv: false, ignore_value: false, ignore_lease: false }
}

fn sets(count: usize) -> Vec<Step> {
    (0..count).map(|_| Step::Get(Range::one())).collect()
}

fn txn(success: Vec<Step>) -> Op {
    Op::Txn(Txn { success, ..Txn::default() })
}

fn delete(key: crate::op::Key, end: crate::op::End) -> Step {
    Step::Del(Delete { key, end, prev_kv: false })
}

/// What is refused, with the code and the text.
fn refused() -> Vec<(Op, i32, &'static str)> {
    let range = Range::one;
    let empty_key = (INVALID_ARGUMENT, "etcdserver: key is not provided");
    let key_not_found = (INVALID_ARGUMENT, "etcdserver: key not found");
    let no_lease = (NOT_FOUND, "etcdserver: requested lease not found");
    let compacted = (OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted");
    let future = (OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision");
    let duplicate = (INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request");
    let too_many = (INVALID_ARGUMENT, "etcdserver: too many operations in txn request");
    let too_large = (INVALID_ARGUMENT, "etcdserver: request is too large");
    let sort = (INVALID_ARGUMENT, "etcdserver: invalid sort option");
    let compare = Compare { key: Empty, end: One, result: 0, against: Against::Version(0) };
    let nested = |depth: usize| {
        (0..depth)
            .fold(vec![Step::Get(Range::one())], |inner, _| vec![Step::Sub(Txn { success: inner, ..Txn::default() })])
    };
    [
        (Op::Range(Range { key: Empty, ..range() }), empty_key),
        (Op::Range(Range { rev: Head(1), ..range() }), future),
        (Op::Range(Range { rev: Head(1_000_000), serializable: true, ..range() }), future),
        (Op::Range(Range { rev: Compacted(-1), ..range() }), compacted),
        (Op::Range(Range { rev: Compacted(-1), count_only: true, ..range() }), compacted),
        (Op::Range(Range { order: 3, ..range() }), sort),
        (Op::Range(Range { target: -1, ..range() }), sort),
        (Op::Put(put(Empty)), empty_key),
        (Op::Put(Put { ignore_value: true, ..put(K(1)) }), (INVALID_ARGUMENT, "etcdserver: value is provided")),
        (
            Op::Put(Put { ignore_lease: true, lease: L(7), ..put(K(1)) }),
            (INVALID_ARGUMENT, "etcdserver: lease is provided"),
        ),
        (Op::Put(Put { ignore_lease: true, ..put(K(19)) }), key_not_found),
        (Op::Put(Put { lease: L(404), ..put(K(1)) }), no_lease),
        (Op::Put(Put { lease: L(-404), ..put(K(1)) }), no_lease),
        (Op::Put(Put { value: Bulk(1_600_000), ..put(K(1)) }), too_large),
        (Op::DeleteRange(Delete { key: Empty, end: One, prev_kv: false }), empty_key),
        (txn(sets(129)), too_many),
        (txn(vec![Step::Sub(Txn { success: sets(128), ..Txn::default() })]), too_many),
        (txn(nested(128)), too_many),
        (txn(vec![Step::Void]), key_not_found),
        (txn(vec![Step::Set(put(K(1))), Step::Set(put(K(1)))]), duplicate),
        (txn(vec![Step::Set(put(K(1))), delete(K(0), To(K(5)))]), duplicate),
        (
            txn(vec![delete(K(1), One), Step::Sub(Txn { failure: vec![Step::Set(put(K(1)))], ..Txn::default() })]),
            duplicate,
        ),
        (txn(vec![Step::Get(Range { rev: Compacted(-1), ..range() })]), compacted),
        (txn(vec![Step::Get(Range { rev: Head(1), ..range() })]), future),
        (txn(vec![Step::Set(Put { lease: L(404), ..put(K(1)) })]), no_lease),
        (Op::Txn(Txn { compare: vec![compare], ..Txn::default() }), empty_key),
        (Op::Compact { rev: Head(1), physical: false }, future),
        (Op::Compact { rev: Compacted(0), physical: true }, compacted),
        (Op::Compact { rev: At(-5), physical: false }, compacted),
        (Op::LeaseGrant { id: 7, ttl: 100 }, (FAILED_PRECONDITION, "etcdserver: lease already exists")),
        (Op::LeaseGrant { id: 8, ttl: 9_000_000_001 }, (OUT_OF_RANGE, "etcdserver: too large lease TTL")),
        (Op::LeaseRevoke { id: L(404) }, no_lease),
        (Op::LeaseRevoke { id: L(0) }, no_lease),
        (Op::HashKV { rev: Head(1) }, future),
        (Op::HashKV { rev: Compacted(-1) }, compacted),
        (Op::Alarm { action: 1, who: Who::Own, alarm: 1 }, (0, "")),
        (Op::Put(put(K(1))), (RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")),
        (Op::LeaseGrant { id: 9, ttl: 100 }, (RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")),
        (txn(vec![Step::Set(put(K(1)))]), (RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")),
    ]
    .into_iter()
    .map(|(op, (code, text))| (op, code, text))
    .collect()
}

/// Some revisions, the first half compacted, and lease 7.
fn prepared() -> Vec<Op> {
    let mut ops: Vec<Op> = (0..10).map(|n| Op::Put(put(K(n)))).collect();
    ops.push(Op::Compact { rev: Head(-5), physical: true });
    ops.push(Op::LeaseGrant { id: 7, ttl: 100 });
    ops
}

fn check_refusals(kind: &Kind) {
    let server = Server::start(kind);
    block_on(async {
        let mut peer = Peer::connect(&server.url).await;
        for op in prepared() {
            let answer = peer.answer(&op, 11, 0).await;
            assert!(!matches!(answer, Answer::Refused { .. }), "{kind:?}: {op:?}: {answer:?}");
        }
        for (op, code, text) in refused() {
            let answer = peer.answer(&op, 11, 6).await;
            let found = match &answer {
                Answer::Refused { code, message } => (*code, message.as_str()),
                _ => (0, ""),
            };
            assert_eq!(found, (code, text), "{kind:?}: {op:?}: {answer:?}");
        }
    });
}

#[test]
fn bad_requests_are_refused_with_code_and_text_as_by_etcd() {
    let test = "bad_requests_are_refused_with_code_and_text_as_by_etcd";
    for kind in servers::reference_for(test).into_iter().chain(servers::subjects()) {
        check_refusals(&kind);
    }
}

/// Not refused, although they look wrong.
#[test]
fn odd_requests_are_answered_as_by_etcd() {
    let mut ops = prepared();
    for range in [
        Range { end: To(K(0)), key: K(5), ..Range::one() },
        Range { limit: -1, end: crate::op::End::FromKey, ..Range::one() },
        Range { rev: At(-1), ..Range::one() },
        Range { mods: (At(-1), At(-1)), end: crate::op::End::FromKey, ..Range::one() },
        Range { mods: (Head(0), Head(-3)), end: crate::op::End::FromKey, ..Range::one() },
    ] {
        ops.push(Op::Range(range));
    }
    ops.push(Op::DeleteRange(Delete { key: K(5), end: To(K(1)), prev_kv: true }));
    ops.push(Op::LeaseGrant { id: -1, ttl: 100 });
    ops.push(Op::LeaseGrant { id: 0, ttl: 0 });
    ops.push(Op::LeaseKeepAlive { ids: vec![L(0), L(404), L(7)] });
    ops.push(Op::LeaseTimeToLive { id: L(404), keys: true });
    ops.push(txn(Vec::new()));
    ops.push(txn(sets(128)));
    same(&ops);
}

/// An alarm of damage, raised by hand: no change is taken any more, and reads are.
#[test]
fn an_alarm_of_corruption_stops_changes_as_in_etcd() {
    let mut ops = prepared();
    let corrupt = |action| Op::Alarm { action, who: Who::Own, alarm: 2 };
    ops.push(corrupt(1));
    ops.extend([
        Op::Range(Range::one()),
        Op::Range(Range { serializable: true, ..Range::one() }),
        Op::Put(put(K(1))),
        Op::DeleteRange(Delete { key: K(1), end: One, prev_kv: false }),
        txn(vec![Step::Get(Range::one())]),
        txn(vec![Step::Set(put(K(1)))]),
        Op::Compact { rev: Head(0), physical: false },
        Op::LeaseGrant { id: 8, ttl: 100 },
        Op::LeaseKeepAlive { ids: vec![L(7)] },
        Op::LeaseRevoke { id: L(7) },
        Op::Status,
        Op::Alarm { action: 1, who: Who::Own, alarm: 1 },
        Op::Put(put(K(1))),
        Op::Alarm { action: 0, who: Who::Everyone, alarm: 0 },
        corrupt(2),
        Op::Put(put(K(1))),
        Op::Alarm { action: 2, who: Who::Own, alarm: 1 },
        Op::Put(put(K(1))),
    ]);
    same(&ops);
}
