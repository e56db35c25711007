//! Who may ask what: the rules written down once, and every request in every shape by every kind of user held against
//! them, with both servers.
//!
//! ```text
//!  reader: role "reader", READ  of [a, b)      nobody: no token          root: everything
//!  writer: role "writer", WRITE of [a, b)      forged: a token that nobody gave
//! ```

mod ask;
mod rows;

use crate::{
    admin::USERS,
    op::{End::Prefix, Guise, Key::K, Lease::L, Op, Put, Who},
    peer::Peer,
    random::block_on,
    servers::{self, Kind, Server},
};
use ask::Ask;
use rows::{key_rows, other_rows, put};

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
                let (expected, text) = (verdict(who, &row.needs), row.ask.of(&mut peer).await);
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
