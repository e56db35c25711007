//! What ours answers differently on purpose: each with its reason, and each tested to be different still.

use crate::{
    answer::Answer,
    op::{
        Against, Compare, Delete,
        End::{self, FromKey, One, To},
        Guise,
        Key::{self, K},
        Lease::L,
        Op, Put, Range,
        Rev::{At, Head},
        Step, Txn,
        Value::{Nothing, V},
    },
    peer::Peer,
    random::block_on,
    servers::{self, Kind, Server},
};

/// A request, after what led to it, and both answers.
struct Row {
    reason: &'static str,
    before: Vec<Op>,
    request: Op,
    reference: &'static str,
    ours: &'static str,
}

/// Whether a random sequence came upon one of the listed differences.
pub(crate) fn intended(op: &Op, compacted: i64, reference: &Answer, subject: &Answer) -> bool {
    match (reference, subject) {
        // What names no keys: etcd answers it to everybody.
        (Answer::Txn(_), Answer::Refused { message, .. }) => {
            matches!(op, Op::Txn(txn) if names_nothing(txn)) && REFUSALS.contains(&message.as_str())
        }
        // The first row: what etcd remembers is of revisions up to the last compaction.
        (Answer::HashKV(theirs), Answer::HashKV(ours)) => {
            theirs.compact_revision <= ours.compact_revision && (0..=compacted).contains(&theirs.hash_revision)
        }
        (Answer::HashKV(theirs), Answer::Refused { message, .. }) => {
            message.ends_with("required revision has been compacted") && theirs.hash_revision < compacted
        }
        _ => false,
    }
}

/// For who one is.
const REFUSALS: [&str; 3] =
    ["etcdserver: user name is empty", "etcdserver: permission denied", "etcdserver: revision of auth store is old"];

fn names_nothing(txn: &Txn) -> bool {
    let names_nothing = |step: &Step| matches!(step, Step::Sub(txn) if names_nothing(txn));
    txn.compare.is_empty() && txn.success.iter().chain(&txn.failure).all(names_nothing)
}

/// root and alice, who may what is granted to role 1, and is the one who asks.
fn with_alice(granted: &[(i32, Key, End)]) -> Vec<Op> {
    let add = |user| Op::UserAdd { user, password: 0, no_password: false };
    let mut ops = vec![add(0), Op::UserGrant { user: 0, role: 0 }, add(1), Op::RoleAdd { role: 1 }];
    ops.extend(granted.iter().map(|(kind, key, end)| Op::RoleGrant { role: 1, kind: *kind, key: *key, end: *end }));
    ops.extend([Op::UserGrant { user: 1, role: 1 }, Op::AuthEnable]);
    ops.extend([Op::Login { user: 1, password: 0 }, Op::As(Guise::U(1))]);
    ops
}

fn rows() -> Vec<Row> {
    let put = |key, value| Put { key, value, lease: L(0), prev_kv: false, ignore_value: false, ignore_lease: false };
    let nested = |depth: usize| {
        let get = Step::Get(Range::one());
        (0..depth).fold(Txn { success: vec![get], ..Txn::default() }, |inner, _| Txn {
            success: vec![Step::Sub(inner)],
            ..Txn::default()
        })
    };
    let unmet = Compare { key: K(0), end: One, result: 0, against: Against::Version(5) };
    let delete_all = Step::Del(Delete { key: K(0), end: FromKey, prev_kv: false });
    let keep_value = Step::Set(Put { ignore_value: true, ..put(K(1), Nothing) });
    vec![
        Row {
            reason: "etcd remembers the hashes that it made while it compacted, for a check of members against each other; \
                     ours hashes what there is",
            before: vec![
                Op::Put(put(K(1), V(1))),
                Op::Put(put(K(1), V(2))),
                Op::Compact { rev: Head(-1), physical: true },
                Op::Put(put(K(1), V(3))),
                Op::Compact { rev: Head(0), physical: true },
            ],
            request: Op::HashKV { rev: At(2) },
            reference: "ok",
            ours: "etcdserver: mvcc: required revision has been compacted",
        },
        Row {
            reason: "a message nests at most a hundred deep here, which is about 48 transactions; etcd's bound is the number \
                     of operations",
            before: Vec::new(),
            request: Op::Txn(Txn { compare: vec![unmet], ..nested(60) }),
            reference: "ok",
            ours: "etcdserver: too many operations in txn request",
        },
        Row {
            reason: "etcd does not see that a deletion up to the end of all keys overlaps a put, and ends with a panic when \
                     that put keeps the value of a key that is gone",
            before: vec![Op::Put(put(K(1), V(1)))],
            request: Op::Txn(Txn { success: vec![delete_all.clone(), keep_value], ..Txn::default() }),
            reference: "transport error",
            ours: "ok",
        },
        Row {
            reason: "of what such a transaction put, compaction at its revision leaves etcd nothing, and etcd ends when it is \
                     asked for it",
            before: vec![
                Op::Put(put(K(1), V(1))),
                Op::Txn(Txn { success: vec![delete_all, Step::Set(put(K(1), V(2)))], ..Txn::default() }),
                Op::Compact { rev: Head(0), physical: true },
            ],
            request: Op::Range(Range { key: K(1), ..Range::one() }),
            reference: "transport error",
            ours: "ok",
        },
        Row {
            reason: "a transaction that names no keys is answered by etcd to everybody; here nothing is told to nobody",
            before: [with_alice(&[]), vec![Op::As(Guise::Nobody)]].concat(),
            request: Op::Txn(Txn::default()),
            reference: "ok",
            ours: "etcdserver: user name is empty",
        },
        Row {
            reason: "etcd overlooks a permission behind another that begins with the same key: granted again for reading \
                     only, it stays one for writing",
            before: with_alice(&[(0, K(10), To(K(13))), (2, K(10), To(K(16))), (0, K(10), To(K(16)))]),
            request: Op::Put(put(K(14), V(1))),
            reference: "ok",
            ours: "etcdserver: permission denied",
        },
        Row {
            reason: "whether etcd permits a range that holds no key depends on how its tree of permissions grew; here it is \
                     whether its first key is permitted",
            before: with_alice(&[(0, K(13), One), (0, K(16), To(K(18)))]),
            request: Op::Range(Range { key: K(17), end: To(K(0)), ..Range::one() }),
            reference: "etcdserver: permission denied",
            ours: "ok",
        },
    ]
}

fn answer(kind: &Kind, row: &Row) -> String {
    let server = Server::start(kind);
    block_on(async {
        let mut peer = Peer::connect(&server.url).await;
        let mut head = 1;
        for op in &row.before {
            let mut answer = peer.answer(op, head, 0).await;
            assert_eq!(answer.result(), "ok", "{kind:?}: {op:?}");
            head = answer.header().map_or(head, |header| header.revision);
        }
        peer.answer(&row.request, head, 0).await.result()
    })
}

#[test]
fn every_listed_difference_is_still_one() {
    let Some(etcd) = servers::reference_for("every_listed_difference_is_still_one") else { return };
    for row in rows() {
        let (theirs, ours) = (answer(&etcd, &row), answer(&Kind::Causeway, &row));
        assert_ne!(theirs, ours, "no longer a difference: {}", row.reason);
        assert_eq!((theirs.as_str(), ours.as_str()), (row.reference, row.ours), "{}", row.reason);
    }
}
