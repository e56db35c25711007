//! Who may ask what: the rules written down once, and every request in every shape by every kind of user held against
//! them, with both servers.
//!
//! ```text
//!  reader: role "reader", READ  of [a, b)      nobody: no token          root: everything
//!  writer: role "writer", WRITE of [a, b)      forged: a token that nobody gave
//! ```

use kvstore_server::pb::etcdserverpb::{
    self as pb, DowngradeRequest, MemberAddRequest, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, SnapshotRequest, SnapshotResponse,
};
use tonic::Status;

use crate::{
    answer::Answer,
    op::{
        Against, Compare, Delete,
        End::{self, FromKey, One, Prefix, To},
        Guise,
        Key::{self, K},
        Lease::L,
        Op, Put, Range,
        Rev::{At, Head},
        Step, Txn, USERS,
        Value::V,
        Who,
    },
    peer::Peer,
    random::block_on,
    servers::{self, Kind, Server},
};

const ROOT: u8 = 0;
const READER: u8 = 1;
const WRITER: u8 = 2;
/// Somebody whom requests are about.
const OTHER: u8 = 3;

/// At least so many cells: one that is lost is noticed.
const CELLS: usize = 1_400;

/// What a request needs, besides somebody who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// To read, or to write, keys that are all granted (`true`) or not all (`false`).
    Read(bool),
    Write(bool),
    User,
    Root,
    /// To be this user.
    Is(u8),
}

/// What is asked.
#[derive(Clone, Debug)]
enum Ask {
    Op(Op),
    Watch { key: Vec<u8>, end: Vec<u8> },
    Member(&'static str),
    MoveLeader,
    Downgrade,
    Snapshot,
}

struct Row {
    name: String,
    ask: Ask,
    needs: Vec<Need>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Denied,
    NoUser,
    BadToken,
}

/// The rules.
fn verdict(who: Guise, needs: &[Need]) -> Verdict {
    let meets = |user: u8, need: &Need| match need {
        Need::User => true,
        Need::Read(granted) => user == READER && *granted,
        Need::Write(granted) => user == WRITER && *granted,
        Need::Is(whom) => user == *whom,
        Need::Root => false,
    };
    match who {
        Guise::Nobody => Verdict::NoUser,
        Guise::Forged => Verdict::BadToken,
        Guise::U(ROOT) => Verdict::Allowed,
        Guise::U(user) if needs.iter().all(|need| meets(user, need)) => Verdict::Allowed,
        Guise::U(_) => Verdict::Denied,
    }
}

fn put(key: u8) -> Put {
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

fn key_rows() -> Vec<Row> {
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
fn other_rows() -> Vec<Row> {
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
    let members = ["MemberAdd", "MemberRemove", "MemberUpdate", "MemberPromote"].map(Ask::Member);
    for ask in members.into_iter().chain([Ask::MoveLeader, Ask::Downgrade, Ask::Snapshot]) {
        rows.push(Row { name: format!("{ask:?}"), ask, needs: vec![Need::Root] });
    }
    rows
}

/// Users, roles, keys and leases as the rules have them; root asks afterwards.
async fn prepare(peer: &mut Peer) {
    let add = |user| Op::UserAdd { user, password: 0, no_password: false };
    let (key, end) = (K(1), Prefix);
    let mut ops = vec![add(ROOT), Op::UserGrant { user: ROOT, role: ROOT }, add(READER), add(WRITER)];
    ops.extend([Op::RoleAdd { role: READER }, Op::RoleAdd { role: WRITER }]);
    ops.extend([Op::RoleGrant { role: READER, kind: 0, key, end }, Op::RoleGrant { role: WRITER, kind: 1, key, end }]);
    ops.extend([Op::UserGrant { user: READER, role: READER }, Op::UserGrant { user: WRITER, role: WRITER }]);
    ops.push(Op::AuthEnable);
    for op in ops {
        let answer = peer.answer(&op, 1, 0).await;
        assert_eq!(answer.result(), "ok", "{op:?}");
    }
    login(peer).await;
}

async fn login(peer: &mut Peer) {
    for user in [ROOT, READER, WRITER] {
        let answer = peer.answer(&Op::Login { user, password: 0 }, 1, 0).await;
        assert_eq!(answer.result(), "ok", "{}", USERS[usize::from(user)]);
    }
}

/// What earlier requests took away is there again: leases 1 of a granted key, 2 of another, 3 of none.
async fn restore(peer: &mut Peer) {
    peer.guise = Guise::U(ROOT);
    for id in [1, 2, 3] {
        // Mostly it is there still.
        let _ = peer.answer(&Op::LeaseGrant { id, ttl: 10_000 }, 1, 0).await;
    }
    let leased = |key, lease| Op::Put(Put { lease: L(lease), ..put(key) });
    for op in [leased(5, 1), leased(11, 2), Op::Put(put(4))] {
        assert_eq!(peer.answer(&op, 1, 0).await.result(), "ok", "{op:?}");
    }
}

async fn ask(peer: &mut Peer, ask: &Ask) -> String {
    let done =
        |result: Result<(), Status>| result.map_or_else(|status| status.message().to_owned(), |()| "ok".to_owned());
    match ask {
        Ask::Op(op) => match peer.answer(op, 1_000, 0).await {
            // The head is not followed here: a compaction of the future is one that was let through.
            Answer::Refused { message, .. } => message,
            _ => "ok".to_owned(),
        },
        Ask::Watch { key, end } => {
            let (key, range_end) = (key.clone().into(), end.clone().into());
            let mut watch = peer.watch(pb::WatchCreateRequest { key, range_end, ..Default::default() }).await;
            let answer = watch.message().await.unwrap().expect("an answer");
            if answer.canceled { answer.cancel_reason } else { "ok".to_owned() }
        }
        Ask::Member("MemberAdd") => {
            // One that is there already: nothing comes of it.
            let list: Result<MemberListResponse, _> =
                peer.unary("Cluster/MemberList", MemberListRequest { linearizable: false }).await;
            let peer_ur_ls = list.map(|list| list.members[0].peer_ur_ls.clone());
            // Who may not see it may not add either.
            let peer_ur_ls = peer_ur_ls.unwrap_or_else(|_| vec!["http://127.0.0.1:9".to_owned()]);
            let request = MemberAddRequest { peer_ur_ls, is_learner: false };
            done(peer.unary::<_, pb::MemberAddResponse>("Cluster/MemberAdd", request).await.map(drop))
        }
        Ask::Member("MemberRemove") => done(
            peer.unary::<_, pb::MemberRemoveResponse>("Cluster/MemberRemove", MemberRemoveRequest { id: 404 })
                .await
                .map(drop),
        ),
        Ask::Member("MemberUpdate") => {
            let request = MemberUpdateRequest { id: 404, peer_ur_ls: vec!["http://127.0.0.1:9".to_owned()] };
            done(peer.unary::<_, pb::MemberUpdateResponse>("Cluster/MemberUpdate", request).await.map(drop))
        }
        Ask::Member(_) => done(
            peer.unary::<_, pb::MemberPromoteResponse>("Cluster/MemberPromote", MemberPromoteRequest { id: 404 })
                .await
                .map(drop),
        ),
        Ask::MoveLeader => {
            let request = MoveLeaderRequest { target_id: 404 };
            done(peer.unary::<_, pb::MoveLeaderResponse>("Maintenance/MoveLeader", request).await.map(drop))
        }
        Ask::Downgrade => {
            let request = DowngradeRequest { action: 0, version: "3.5.0".to_owned() };
            done(peer.unary::<_, pb::DowngradeResponse>("Maintenance/Downgrade", request).await.map(drop))
        }
        Ask::Snapshot => {
            done(peer.many::<_, SnapshotResponse>("Maintenance/Snapshot", SnapshotRequest {}).await.map(drop))
        }
    }
}

/// A refusal for who one is; any other answer was one to somebody who may ask.
fn read(text: &str) -> Verdict {
    match text {
        _ if text.ends_with("etcdserver: permission denied") => Verdict::Denied,
        _ if text.ends_with("etcdserver: user name is empty") => Verdict::NoUser,
        _ if text.ends_with("etcdserver: invalid auth token") => Verdict::BadToken,
        _ => Verdict::Allowed,
    }
}

/// The cells that are not as the rules say, and how many there are.
fn held_against_the_rules(kind: &Kind) -> (Vec<String>, usize) {
    let server = Server::start(kind);
    let rows: Vec<Row> = key_rows().into_iter().chain(other_rows()).collect();
    block_on(async {
        let mut peer = Peer::connect(&server.url).await;
        prepare(&mut peer).await;
        let (mut wrong, mut cells) = (Vec::new(), 0);
        for row in &rows {
            // root last: what it does is undone afterwards.
            for who in [Guise::Nobody, Guise::Forged, Guise::U(READER), Guise::U(WRITER), Guise::U(ROOT)] {
                restore(&mut peer).await;
                peer.guise = who;
                let (expected, text) = (verdict(who, &row.needs), ask(&mut peer, &row.ask).await);
                cells += 1;
                if read(&text) != expected {
                    wrong.push(format!("{} by {who:?}: {expected:?} by the rules, answered {text:?}", row.name));
                }
            }
            match &row.ask {
                Ask::Op(Op::AuthDisable) => {
                    peer.guise = Guise::Nobody;
                    assert_eq!(peer.answer(&Op::AuthEnable, 1, 0).await.result(), "ok");
                    login(&mut peer).await;
                }
                Ask::Op(Op::Alarm { action: 1, .. }) => {
                    peer.guise = Guise::U(ROOT);
                    let disarm = Op::Alarm { action: 2, who: Who::Own, alarm: 2 };
                    assert_eq!(peer.answer(&disarm, 1, 0).await.result(), "ok");
                }
                _ => {}
            }
        }
        (wrong, cells)
    })
}

#[test]
fn every_request_is_for_whom_the_rules_say() {
    let test = "every_request_is_for_whom_the_rules_say";
    let servers = servers::reference_for(test).into_iter().chain(servers::subjects());
    for kind in servers {
        let (wrong, cells) = held_against_the_rules(&kind);
        println!("{kind:?}: {cells} cells, {} not as the rules say", wrong.len());
        assert_eq!(wrong, Vec::<String>::new(), "{kind:?}");
        assert!(cells >= CELLS, "{kind:?}: only {cells} cells");
    }
}

/// The rules are no tautology: each verdict is the expected one of some cells, and of many.
#[test]
fn the_rules_deny_and_allow() {
    let mut counts = [0; 4];
    for row in key_rows().iter().chain(&other_rows()) {
        for who in [Guise::Nobody, Guise::Forged, Guise::U(READER), Guise::U(WRITER), Guise::U(ROOT)] {
            counts[verdict(who, &row.needs) as usize] += 1;
        }
    }
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
}
