//! Users and what they may, on both servers.

mod table;
mod tokens;
mod watches;

use std::time::Instant;

use crate::{
    generate,
    op::{End, Guise, Key, Op},
    peer::Peer,
    random::{self, Sequence},
    servers::{self, Kind},
};

/// root and alice, who may what is granted to role 1; both logged in, and root asks.
async fn with_alice(peer: &mut Peer, granted: &[(i32, Key, End)]) {
    let add = |user| Op::UserAdd { user, password: 0, no_password: false };
    let mut ops = vec![add(0), Op::UserGrant { user: 0, role: 0 }, add(1), Op::RoleAdd { role: 1 }];
    ops.extend(granted.iter().map(|(kind, key, end)| Op::RoleGrant { role: 1, kind: *kind, key: *key, end: *end }));
    ops.extend([Op::UserGrant { user: 1, role: 1 }, Op::AuthEnable]);
    ops.extend([Op::Login { user: 0, password: 0 }, Op::Login { user: 1, password: 0 }, Op::As(Guise::U(0))]);
    for op in ops {
        assert_eq!(peer.answer(&op, 1, 0).await.result(), "ok", "{op:?}");
    }
}

/// Random changes of users and roles, and requests of theirs in between.
#[test]
fn a_store_with_users_does_not_differ_from_etcd() {
    let Some(etcd) = servers::reference_for("a_store_with_users_does_not_differ_from_etcd") else { return };
    let started = Instant::now();
    let sequence: Sequence = generate::sequence_with_users;
    let coverage = random::equal_over(&etcd, &Kind::Causeway, random::operations() / 2, sequence);
    println!(
        "{} operations of users without a difference, {:.0} s",
        coverage.operations,
        started.elapsed().as_secs_f64()
    );
    if std::env::var_os("CAUSEWAY_DIFF_TABLE").is_some() {
        println!("{}", coverage.table());
    }
    assert_eq!(coverage.missing_with_users(), Vec::<String>::new(), "pairs that were met too rarely");
}
