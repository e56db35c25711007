//! Signed tokens: made by one server and taken by the other, and where ours is stricter.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use ring::hmac;

use super::with_alice;
use crate::{
    op::{End::Prefix, Guise, Key::K, Op, Range, Rev::Head},
    peer::Peer,
    random::block_on,
    servers::{self, Kind, Server},
};

const SECRET: &[u8] = b"a secret of some length, as bytes";

/// What `--auth-token` says, and the directory that its key is in.
fn signed() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, SECRET).unwrap();
    let option = format!("jwt,sign-method=HS256,priv-key={},ttl=10m", path.display());
    (dir, option)
}

/// A token for a user who need not be there.
fn token(user: &str, revision: u64) -> String {
    let part = |text: String| BASE64.encode(text);
    let head = part(r#"{"alg":"HS256","typ":"JWT"}"#.to_owned());
    let claims = part(format!(r#"{{"exp":33000000000,"revision":{revision},"username":"{user}"}}"#));
    let message = format!("{head}.{claims}");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    format!("{message}.{}", BASE64.encode(signature))
}

/// What each of these is answered by a server with signed tokens.
fn answers(kind: &Kind, after: &[Op], asked: &[(Guise, Op)]) -> Vec<String> {
    let (_dir, option) = signed();
    let server = Server::start_with(kind, &option);
    block_on(async {
        let mut peer = Peer::connect(&server.url).await;
        with_alice(&mut peer, &[(2, K(1), Prefix)]).await;
        let status = peer.answer(&Op::AuthStatus, 1, 0).await;
        let crate::answer::Answer::AuthStatus(status) = status else { panic!("{status:?}") };
        // Nobody whom the server knows, at the revision that is.
        peer.tokens.insert(3, token("nobody", status.auth_revision));
        for op in after {
            assert_eq!(peer.answer(op, 1, 0).await.result(), "ok", "{op:?}");
        }
        let mut said = Vec::new();
        for (who, op) in asked {
            peer.guise = *who;
            said.push(peer.answer(op, 1, 0).await.result());
        }
        said
    })
}

fn both(test: &str, after: &[Op], asked: &[(Guise, Op)]) -> Option<(Vec<String>, Vec<String>)> {
    let etcd = servers::reference_for(test)?;
    Some((answers(&etcd, after, asked), answers(&Kind::Causeway, after, asked)))
}

const ALICE: Guise = Guise::U(1);
const ROOT: Guise = Guise::U(0);

fn read() -> Op {
    Op::Range(Range { key: K(4), ..Range::one() })
}

/// Whatever changes, a signed token is of its revision where keys are concerned.
#[test]
fn signed_tokens_are_taken_as_by_etcd() {
    let asked = [
        (ALICE, read()),
        (ALICE, Op::Range(Range { key: K(12), ..Range::one() })),
        (ALICE, Op::UserGet { user: 1 }),
        (ALICE, Op::UserList),
        (ROOT, Op::UserList),
        (ROOT, Op::RoleAdd { role: 2 }),
        (ROOT, Op::RoleAdd { role: 3 }),
        (ALICE, read()),
        (ALICE, Op::Range(Range { key: K(4), serializable: true, ..Range::one() })),
        (ALICE, Op::DeleteRange(crate::op::Delete { key: K(4), end: Prefix, prev_kv: false })),
        (ROOT, read()),
        (ALICE, Op::Login { user: 1, password: 0 }),
        (ALICE, read()),
        (Guise::U(3), read()),
    ];
    let Some((theirs, ours)) = both("signed_tokens_are_taken_as_by_etcd", &[], &asked) else { return };
    assert_eq!(theirs, ours);
    let old = "etcdserver: revision of auth store is old";
    assert_eq!(theirs[7..11], [old; 4]);
}

/// Listed differences: whose signature or certificate names nobody that is known has the rights of a user in etcd where
/// no keys are concerned; and a signed token of root's outlives root's password there.
#[test]
fn who_is_not_known_is_nobody_here() {
    let test = "who_is_not_known_is_nobody_here";
    let asked = [
        (Guise::U(3), Op::LeaseGrant { id: 5, ttl: 100 }),
        (Guise::U(3), Op::Status),
        (Guise::U(3), Op::MemberList { linearizable: false }),
    ];
    let Some((theirs, ours)) = both(test, &[], &asked) else { return };
    assert_eq!(theirs, ["ok"; 3]);
    assert_eq!(ours, ["etcdserver: permission denied"; 3]);
    let changed = [Op::UserPassword { user: 0, password: 1 }];
    let compact = [(ROOT, Op::Compact { rev: Head(0), physical: false }), (ROOT, Op::UserList)];
    let Some((theirs, ours)) = both(test, &changed, &compact) else { return };
    assert_eq!(theirs, ["ok"; 2]);
    assert_eq!(ours, ["etcdserver: revision of auth store is old"; 2]);
}
