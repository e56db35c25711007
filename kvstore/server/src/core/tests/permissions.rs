//! Permissions change while requests are on their way: what decides is when they are applied, or answered.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::{Answer, Caller, Machine, Request, StreamRequest, Token, load, text};
use crate::{
    core::{Failure, Proof, auth::AuthWrite},
    pb::{
        authpb::{Permission, permission::Type},
        etcdserverpb as pb,
    },
};

fn user(name: &str) -> Caller {
    Caller::User { name: Arc::from(name), proof: Proof::Certificate }
}

fn put(key: &str) -> Request {
    let put = pb::PutRequest { key: text(key), value: text("x"), ..Default::default() };
    let raw = put.encode_to_vec().into();
    Request::Put(put, raw)
}

fn range(key: &str, end: &str) -> Request {
    Request::Range(pb::RangeRequest { key: text(key), range_end: text(end), ..Default::default() })
}

fn revoke(key: &str, end: &str) -> Request {
    let (role, key, range_end) = ("own".to_owned(), text(key), text(end));
    let asked = pb::AuthRoleRevokePermissionRequest { role, key, range_end };
    let raw = asked.encode_to_vec().into();
    Request::Auth(AuthWrite::RoleRevokePermission(asked), raw)
}

fn grant(key: &str, end: &str) -> Request {
    let perm = Some(Permission { perm_type: Type::Readwrite as i32, key: text(key), range_end: text(end) });
    let asked = pb::AuthRoleGrantPermissionRequest { name: "own".to_owned(), perm };
    let raw = asked.encode_to_vec().into();
    Request::Auth(AuthWrite::RoleGrantPermission(asked), raw)
}

/// root, and alice whose are the keys from `a` to `c`.
fn machine() -> Machine {
    let mut machine = Machine::new();
    let add = |name: &str| pb::AuthUserAddRequest { name: name.to_owned(), ..Default::default() };
    let give = |user: &str, role: &str| pb::AuthUserGrantRoleRequest { user: user.to_owned(), role: role.to_owned() };
    for write in [
        AuthWrite::UserAdd(add("root")),
        AuthWrite::UserGrantRole(give("root", "root")),
        AuthWrite::UserAdd(add("alice")),
        AuthWrite::RoleAdd(pb::AuthRoleAddRequest { name: "own".to_owned() }),
        AuthWrite::UserGrantRole(give("alice", "own")),
    ] {
        let raw: Bytes = match &write {
            AuthWrite::UserAdd(asked) => asked.encode_to_vec(),
            AuthWrite::UserGrantRole(asked) => asked.encode_to_vec(),
            AuthWrite::RoleAdd(asked) => asked.encode_to_vec(),
            _ => Vec::new(),
        }
        .into();
        machine.ask(Request::Auth(write, raw)).unwrap();
    }
    machine.ask(grant("a", "c")).unwrap();
    machine.ask(Request::Auth(AuthWrite::Enable, Bytes::new())).unwrap();
    machine.caller = user("root");
    machine
}

/// Asks all of it before anything is written.
fn at_once(machine: &mut Machine, requests: Vec<(Caller, Request)>) -> Vec<Answer> {
    let first = machine.next + 1;
    for (caller, request) in requests {
        machine.next += 1;
        machine.core.handle_request(machine.now, Token(machine.next), caller, request);
    }
    machine.settle();
    let mut answers = machine.core.take_answers();
    answers.sort_by_key(|(token, _)| *token);
    assert_eq!(answers.first().map(|(token, _)| token.0), Some(first));
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[test]
fn a_write_that_was_permitted_when_it_was_proposed_is_refused_when_it_no_longer_is() {
    let mut machine = machine();
    let answers = at_once(
        &mut machine,
        vec![
            (user("alice"), put("a/1")),
            (user("root"), revoke("a", "c")),
            (user("alice"), put("a/2")),
            (user("root"), put("a/3")),
        ],
    );
    assert!(answers[0].is_ok() && answers[1].is_ok());
    // etcd's: the client is to ask again, whatever it may now.
    assert_eq!(answers[2], Err(Failure::AuthOldRevision));
    assert_eq!(answers[3], Err(Failure::AuthOldRevision));
    assert_eq!(machine.keys(), ["a/1"]);
}

#[test]
fn what_was_asked_by_nobody_is_refused_when_permissions_are_asked_for_meanwhile() {
    let mut machine = machine();
    machine.ask(Request::Auth(AuthWrite::Disable, Bytes::new())).unwrap();
    let compact = || {
        let compact = pb::CompactionRequest { revision: 1, physical: false };
        let raw = compact.encode_to_vec().into();
        Request::Compact(compact, raw)
    };
    let nobody = Caller::Nobody;
    let answers = at_once(
        &mut machine,
        vec![
            (nobody.clone(), Request::Auth(AuthWrite::Enable, Bytes::new())),
            (nobody.clone(), put("a/1")),
            (nobody.clone(), compact()),
            (nobody, grant("a", "\0")),
        ],
    );
    assert!(answers[0].is_ok());
    assert_eq!(answers[1..], [const { Err(Failure::UserEmpty) }; 3]);
    // The store's own compactions go on.
    machine.core.compact_own(1);
    machine.settle();
    assert_eq!(machine.core.state().store.compacted(), 1);
}

/// A refused write changes nothing, and is not in the log when it was refused before.
#[test]
fn what_is_not_permitted_does_not_reach_the_log() {
    let mut machine = machine();
    let entries = machine.log.len();
    machine.caller = user("alice");
    assert_eq!(machine.ask(put("c")), Err(Failure::PermissionDenied));
    assert_eq!(machine.ask(grant("a", "\0")), Err(Failure::PermissionDenied));
    machine.caller = user("mallory");
    assert_eq!(machine.ask(put("a")), Err(Failure::PermissionDenied));
    machine.caller = Caller::BadToken;
    assert_eq!(machine.ask(range("a", "")), Err(Failure::InvalidAuthToken));
    assert_eq!(machine.log.len(), entries);
}

#[test]
fn a_long_read_ends_when_permissions_change_meanwhile() {
    let mut machine = machine();
    for i in 0..2_000 {
        machine.put(&format!("a/{i}"), "x");
    }
    machine.next += 1;
    let token = Token(machine.next);
    machine.core.handle_request(machine.now, token, user("alice"), range("a", "b"));
    // Far enough to begin with it, not to its end.
    while machine.core.writing().is_some() {
        machine.core.written(machine.now);
    }
    assert_eq!(machine.core.take_answers(), []);
    machine.next += 1;
    machine.core.handle_request(machine.now, Token(machine.next), user("root"), revoke("a", "c"));
    machine.settle();
    let answers = machine.core.take_answers();
    assert!(answers.contains(&(token, Err(Failure::AuthOldRevision))), "{answers:?}");
}

/// What each watch was told: `+key`, or why it ended.
fn told(machine: &mut Machine) -> Vec<String> {
    let outgoing = std::mem::take(&mut machine.outgoing);
    let shown = outgoing.iter().flat_map(|sent| {
        let message = pb::WatchResponse::decode(sent.body.clone()).unwrap();
        let events = message.events.iter().map(|event| {
            let key = &event.kv.as_ref().unwrap().key;
            format!("{}.{}: +{}", sent.stream.0, sent.watch, key.escape_ascii())
        });
        let mut lines: Vec<String> = events.collect();
        if message.canceled {
            lines.push(format!("{}.{}: {}", sent.stream.0, sent.watch, message.cancel_reason));
        }
        lines
    });
    shown.collect()
}

#[test]
fn a_watch_ends_with_the_permission_and_tells_nothing_of_what_came_after() {
    let mut machine = machine();
    for stream in [1, 2] {
        machine.stream(stream, StreamRequest::Open);
    }
    for (stream, name, key, end) in [(1, "alice", "a", "b"), (1, "alice", "b", ""), (2, "root", "a", "b")] {
        let create = pb::WatchCreateRequest { key: text(key), range_end: text(end), ..Default::default() };
        machine.stream(stream, StreamRequest::Create(create, user(name)));
    }
    assert_eq!(told(&mut machine), [""; 0]);
    machine.ask(grant("b", "")).unwrap();
    assert_eq!(told(&mut machine), [""; 0], "a change that takes nothing from it");
    // In one write of the log: before, the change, after.
    let answers = at_once(
        &mut machine,
        vec![(user("root"), put("a/1")), (user("root"), revoke("a", "c")), (Caller::Nobody, put("b"))],
    );
    assert!(answers[0].is_ok() && answers[1].is_ok());
    machine.put("a/2", "x");
    machine.put("b", "x");
    let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    assert_eq!(
        told(&mut machine),
        [
            "1.0: +a/1".to_owned(),
            "2.0: +a/1".to_owned(),
            format!("1.0: {denied}"),
            "2.0: +a/2".to_owned(),
            "1.1: +b".to_owned()
        ]
    );
}

#[test]
fn a_watch_ends_with_its_user_and_when_everybody_is_asked() {
    let mut machine = machine();
    machine.ask(Request::Auth(AuthWrite::Disable, Bytes::new())).unwrap();
    for stream in [1, 2] {
        machine.stream(stream, StreamRequest::Open);
    }
    let create = |key: &str| pb::WatchCreateRequest { key: text(key), ..Default::default() };
    machine.stream(1, StreamRequest::Create(create("a"), Caller::Nobody));
    machine.stream(2, StreamRequest::Create(create("a"), user("alice")));
    machine.ask(Request::Auth(AuthWrite::Enable, Bytes::new())).unwrap();
    let reason = |failure: Failure| failure.reason();
    assert_eq!(told(&mut machine), [format!("1.0: {}", reason(Failure::UserEmpty))]);
    let delete = pb::AuthUserDeleteRequest { name: "alice".to_owned() };
    let raw = delete.encode_to_vec().into();
    machine.ask(Request::Auth(AuthWrite::UserDelete(delete), raw)).unwrap();
    assert_eq!(told(&mut machine), [format!("2.0: {}", reason(Failure::PermissionDenied))]);
}

#[test]
fn users_are_in_checkpoints_and_in_the_log() {
    let mut machine = machine();
    let frames = machine.checkpoint();
    let loaded = load(machine.now, frames);
    assert_eq!(loaded.auth, machine.core.state().auth);
    assert_eq!(loaded.hash(), machine.core.state().hash());
    let log = super::RaftLog::new(vec![1], machine.hard_state.clone(), (0, 0), machine.log.clone());
    let again = Machine::with(super::State::new(7, 1), log, 0);
    assert_eq!(again.core.state().auth, machine.core.state().auth);
}

#[test]
fn each_change_is_recorded_once_and_without_passwords() {
    let mut machine = machine();
    machine.core.take_audits();
    machine.ask(grant("a", "\0")).unwrap();
    machine.caller = user("alice");
    machine.ask(grant("a", "\0")).unwrap_err();
    let audits = machine.core.take_audits();
    let shown: Vec<String> = audits.iter().map(|audit| format!("{audit:?}")).collect();
    assert_eq!(
        shown,
        [
            r#"Changed { who: "root", what: RoleGrantPermission, target: "role \"own\", READWRITE [a, \\x00)", revision: 8 }"#
        ]
    );
}
