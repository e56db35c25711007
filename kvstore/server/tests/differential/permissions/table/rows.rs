//! Every request in every shape, and what it needs.

use super::{Ask, Need, OTHER, READER, ROOT, Row, WRITER};
use crate::op::{
    Against, Compare, Delete,
    End::{self, FromKey, One, Prefix, To},
    Key::{self, K},
    Lease::L,
    Op, Put, Range,
    Rev::{At, Head},
    Step, Txn,
    Value::V,
    Who,
};

pub(super) fn put(key: u8) -> Put {
    Put { key: K(key), value: V(0), lease: L(0), prev_kv: false, ignore_value: false, ignore_lease: false }
}

/// Ranges of keys, and whether all of them are granted: `a` is the first that is, `b` the first behind.
const SPANS: [(&str, Key, End, bool); 8] = [
    ("a key", K(4), One, true),
    ("a key outside", K(10), One, false),
    ("a range", K(1), To(K(10)), true),
    ("a range that goes on", K(4), To(K(11)), false),
    ("a range that begins before", K(0), To(K(4)), false),
    ("a prefix", K(3), Prefix, true),
    ("from key", K(4), FromKey, false),
    ("everything", Key::Nul, FromKey, false),
];

/// Every request about keys, as a part of a transaction.
fn steps() -> Vec<(String, Step, Vec<Need>)> {
    let mut steps = Vec::new();
    for (name, key, end, granted) in SPANS {
        for serializable in [false, true] {
            let range = Range { key, end, serializable, ..Range::one() };
            let name = format!("Range of {name}{}", if serializable { ", serializable" } else { "" });
            steps.push((name, Step::Get(range), vec![Need::Read(granted)]));
        }
        for prev_kv in [false, true] {
            let mut needs = vec![Need::Write(granted)];
            needs.extend(prev_kv.then_some(Need::Read(granted)));
            let name = format!("DeleteRange of {name}{}", if prev_kv { ", prev_kv" } else { "" });
            steps.push((name, Step::Del(Delete { key, end, prev_kv }), needs));
        }
    }
    for (name, key, granted) in [("a key", 4, true), ("a key outside", 10, false)] {
        for prev_kv in [false, true] {
            let mut needs = vec![Need::Write(granted)];
            needs.extend(prev_kv.then_some(Need::Read(granted)));
            let name = format!("Put of {name}{}", if prev_kv { ", prev_kv" } else { "" });
            steps.push((name, Step::Set(Put { prev_kv, ..put(key) }), needs));
        }
    }
    let leased = |lease| Step::Set(Put { lease: L(lease), ..put(4) });
    steps.push(("Put with one's own lease".to_owned(), leased(1), vec![Need::Write(true)]));
    steps.push(("Put with the lease of others".to_owned(), leased(2), vec![Need::Write(true), Need::Write(false)]));
    steps.push(("Put with a lease of nothing".to_owned(), leased(3), vec![Need::Write(true)]));
    steps
}

fn alone(step: &Step) -> Op {
    match step {
        Step::Get(range) => Op::Range(range.clone()),
        Step::Set(put) => Op::Put(put.clone()),
        Step::Del(delete) => Op::DeleteRange(delete.clone()),
        Step::Sub(txn) => Op::Txn(txn.clone()),
        Step::Void => panic!("nothing is no request"),
    }
}

/// Where in a transaction a step is: in a branch that is taken or not, on its own level or below.
fn placed(step: &Step) -> Vec<(&'static str, Txn)> {
    let taken = |step: Step| Txn { success: vec![step], ..Txn::default() };
    let not_taken = |step: Step| Txn { failure: vec![step], ..Txn::default() };
    vec![
        ("in a transaction", taken(step.clone())),
        ("in the branch not taken", not_taken(step.clone())),
        ("nested", taken(Step::Sub(taken(Step::Sub(taken(step.clone())))))),
        ("nested where it is not taken", not_taken(Step::Sub(not_taken(step.clone())))),
    ]
}

pub(super) fn key_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, step, needs) in steps() {
        rows.push(Row { name: name.clone(), ask: Ask::Op(alone(&step)), needs: needs.clone() });
        for (place, txn) in placed(&step) {
            rows.push(Row { name: format!("{name}, {place}"), ask: Ask::Op(Op::Txn(txn)), needs: needs.clone() });
        }
    }
    for (name, key, end, granted) in SPANS {
        let compare = Compare { key, end, result: 0, against: Against::Version(0) };
        let txn = Txn { compare: vec![compare], ..Txn::default() };
        let needs = vec![Need::Read(granted)];
        rows.push(Row { name: format!("Compare of {name}"), ask: Ask::Op(Op::Txn(txn.clone())), needs: needs.clone() });
        for (place, txn) in placed(&Step::Sub(txn)) {
            rows.push(Row {
                name: format!("Compare of {name}, {place}"),
                ask: Ask::Op(Op::Txn(txn)),
                needs: needs.clone(),
            });
        }
        let (key, end) = crate::request::span(key, end);
        let (key, end) = (key.to_vec(), end.to_vec());
        rows.push(Row { name: format!("Watch of {name}"), ask: Ask::Watch { key, end }, needs });
    }
    rows.push(Row {
        name: "Watch of no key".to_owned(),
        ask: Ask::Watch { key: Vec::new(), end: vec![0] },
        needs: vec![Need::Read(false)],
    });
    rows
}

/// Everything that is not about keys, and what of leases is.
pub(super) fn other_rows() -> Vec<Row> {
    let alarm = |action| Op::Alarm { action, who: Who::Own, alarm: 2 };
    let lease = |id| Op::LeaseRevoke { id: L(id) };
    let alive = |id| Op::LeaseKeepAlive { ids: vec![L(id)] };
    let left = |id, keys| Op::LeaseTimeToLive { id: L(id), keys };
    let (key, end) = (K(1), One);
    let user = OTHER;
    let ops = [
        (Op::Compact { rev: Head(-1_000), physical: false }, Need::Root),
        (Op::LeaseGrant { id: 9, ttl: 1_000 }, Need::User),
        (lease(1), Need::Write(true)),
        (lease(2), Need::Write(false)),
        (lease(3), Need::User),
        (lease(404), Need::User),
        (alive(1), Need::Write(true)),
        (alive(2), Need::Write(false)),
        (alive(3), Need::User),
        (left(1, true), Need::Read(true)),
        (left(2, true), Need::Read(false)),
        (left(3, true), Need::User),
        (left(2, false), Need::User),
        (Op::LeaseLeases, Need::Read(false)),
        (Op::MemberList { linearizable: false }, Need::User),
        (Op::MemberList { linearizable: true }, Need::User),
        (alarm(0), Need::User),
        (alarm(1), Need::Root),
        (alarm(2), Need::Root),
        (Op::Status, Need::User),
        (Op::Defragment, Need::Root),
        (Op::Hash, Need::Root),
        (Op::HashKV { rev: At(0) }, Need::Root),
        (Op::AuthEnable, Need::Root),
        (Op::AuthDisable, Need::Root),
        (Op::AuthStatus, Need::Root),
        (Op::UserAdd { user, password: 0, no_password: true }, Need::Root),
        (Op::UserGet { user }, Need::Root),
        (Op::UserGet { user: READER }, Need::Is(READER)),
        (Op::UserGet { user: WRITER }, Need::Is(WRITER)),
        (Op::UserList, Need::Root),
        (Op::UserPassword { user, password: 1 }, Need::Root),
        (Op::UserGrant { user, role: READER }, Need::Root),
        (Op::UserGrant { user, role: ROOT }, Need::Root),
        (Op::UserRevoke { user, role: READER }, Need::Root),
        (Op::UserDelete { user }, Need::Root),
        (Op::RoleAdd { role: OTHER }, Need::Root),
        (Op::RoleGet { role: OTHER }, Need::Root),
        (Op::RoleGet { role: READER }, Need::Is(READER)),
        (Op::RoleGet { role: WRITER }, Need::Is(WRITER)),
        (Op::RoleList, Need::Root),
        (Op::RoleGrant { role: OTHER, kind: 2, key, end }, Need::Root),
        (Op::RoleRevoke { role: OTHER, key, end }, Need::Root),
        (Op::RoleDelete { role: OTHER }, Need::Root),
    ];
    let mut rows: Vec<Row> = ops
        .into_iter()
        .map(|(op, need)| Row { name: format!("{op:?}"), ask: Ask::Op(op), needs: vec![need] })
        .collect();
    let (read, write) = (Need::Read, Need::Write);
    for (ask, needs) in [
        (Ask::Lock("a/lock"), vec![read(true), write(true)]),
        (Ask::Lock("b/lock"), vec![read(false), write(false)]),
        (Ask::Unlock("a/lock/1"), vec![write(true)]),
        (Ask::Unlock("b/lock/1"), vec![write(false)]),
        (Ask::Leader("a/election"), vec![read(true)]),
        (Ask::Leader("b/election"), vec![read(false)]),
    ] {
        rows.push(Row { name: format!("{ask:?}"), ask, needs });
    }
    let members = ["MemberAdd", "MemberRemove", "MemberUpdate", "MemberPromote"].map(Ask::Member);
    for ask in members.into_iter().chain([Ask::MoveLeader, Ask::Downgrade, Ask::Snapshot]) {
        rows.push(Row { name: format!("{ask:?}"), ask, needs: vec![Need::Root] });
    }
    rows
}
