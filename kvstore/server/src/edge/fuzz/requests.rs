//! Requests that are nearly right: few keys, and numbers at their edges.

use bytes::Bytes;
use prost::Message;
use rand::{Rng, rngs::StdRng};

use crate::{
    core::{Caller, Proof},
    pb::{
        authpb::{Permission, UserAddOptions},
        etcdserverpb::{self as pb, request_op::Request, watch_request::RequestUnion},
    },
};

/// Every method that takes a message, as its path without the package.
pub(super) const METHODS: [&str; 38] = [
    "KV/Range",
    "KV/Put",
    "KV/DeleteRange",
    "KV/Txn",
    "KV/Compact",
    "Watch/Watch",
    "Lease/LeaseGrant",
    "Lease/LeaseRevoke",
    "Lease/LeaseKeepAlive",
    "Lease/LeaseTimeToLive",
    "Lease/LeaseLeases",
    "Cluster/MemberList",
    "Cluster/MemberAdd",
    "Maintenance/Alarm",
    "Maintenance/Status",
    "Maintenance/Defragment",
    "Maintenance/Hash",
    "Maintenance/HashKV",
    "Maintenance/MoveLeader",
    "Maintenance/Downgrade",
    "Auth/AuthEnable",
    "Auth/AuthDisable",
    "Auth/AuthStatus",
    "Auth/Authenticate",
    "Auth/UserAdd",
    "Auth/UserGet",
    "Auth/UserList",
    "Auth/UserDelete",
    "Auth/UserChangePassword",
    "Auth/UserGrantRole",
    "Auth/UserRevokeRole",
    "Auth/RoleAdd",
    "Auth/RoleGet",
    "Auth/RoleList",
    "Auth/RoleDelete",
    "Auth/RoleGrantPermission",
    "Auth/RoleRevokePermission",
    "grpc.health.v1.Health/Check",
];

pub(super) fn request(method: &str, dice: &mut StdRng) -> Vec<u8> {
    match method {
        "KV/Range" => range(dice).encode_to_vec(),
        "KV/Put" => put(dice).encode_to_vec(),
        "KV/DeleteRange" => delete(dice).encode_to_vec(),
        "KV/Txn" if dice.random_bool(0.02) => deep(dice.random_range(1..120)),
        "KV/Txn" => txn(dice, 3).encode_to_vec(),
        "KV/Compact" => pb::CompactionRequest { revision: number(dice), physical: dice.random() }.encode_to_vec(),
        "Watch/Watch" => watch(dice).encode_to_vec(),
        "Lease/LeaseGrant" => pb::LeaseGrantRequest { ttl: number(dice), id: lease(dice) }.encode_to_vec(),
        "Lease/LeaseRevoke" => pb::LeaseRevokeRequest { id: lease(dice) }.encode_to_vec(),
        "Lease/LeaseKeepAlive" => pb::LeaseKeepAliveRequest { id: lease(dice) }.encode_to_vec(),
        "Lease/LeaseTimeToLive" => pb::LeaseTimeToLiveRequest { id: lease(dice), keys: dice.random() }.encode_to_vec(),
        "Cluster/MemberList" => pb::MemberListRequest { linearizable: dice.random() }.encode_to_vec(),
        "Maintenance/Alarm" => alarm(dice).encode_to_vec(),
        _ if method.starts_with("Auth/") => auth(&method[5..], dice),
        "Maintenance/HashKV" => pb::HashKvRequest { revision: number(dice) }.encode_to_vec(),
        _ => Vec::new(),
    }
}

/// Few names, so that requests are about each other.
fn name(dice: &mut StdRng) -> String {
    ["root", "root", "root", "alice", "bob", ""][dice.random_range(0..6)].to_owned()
}

/// Mostly somebody who may everything, once there is somebody who may not.
pub(super) fn caller(dice: &mut StdRng) -> Caller {
    match dice.random_range(0..10) {
        0 => Caller::Nobody,
        1 => Caller::BadToken,
        2 | 3 => Caller::User { name: name(dice).into(), proof: Proof::Certificate },
        4 => Caller::User { name: name(dice).into(), proof: Proof::Signed { revision: dice.random_range(0..20) } },
        _ => Caller::User { name: "root".into(), proof: Proof::Certificate },
    }
}

fn auth(method: &str, dice: &mut StdRng) -> Vec<u8> {
    let (one, other) = (name(dice), name(dice));
    let password = ["", "secret", "other"][dice.random_range(0..3)].to_owned();
    match method {
        "Authenticate" => pb::AuthenticateRequest { name: one, password }.encode_to_vec(),
        "UserAdd" => {
            let options = dice.random_bool(0.9).then(|| UserAddOptions { no_password: dice.random_bool(0.9) });
            pb::AuthUserAddRequest { name: one, password, options, hashed_password: other }.encode_to_vec()
        }
        "UserChangePassword" => {
            let password = if dice.random_bool(0.9) { String::new() } else { password };
            pb::AuthUserChangePasswordRequest { name: one, password, hashed_password: other }.encode_to_vec()
        }
        "UserGrantRole" => pb::AuthUserGrantRoleRequest { user: one, role: other }.encode_to_vec(),
        "UserRevokeRole" => pb::AuthUserRevokeRoleRequest { name: one, role: other }.encode_to_vec(),
        "RoleGrantPermission" => {
            let (perm_type, key, range_end) = (dice.random_range(0..4), key(dice), key(dice));
            let perm = dice.random_bool(0.9).then_some(Permission { perm_type, key, range_end });
            pb::AuthRoleGrantPermissionRequest { name: one, perm }.encode_to_vec()
        }
        "RoleRevokePermission" => {
            pb::AuthRoleRevokePermissionRequest { role: one, key: key(dice), range_end: key(dice) }.encode_to_vec()
        }
        // The others have a name, which is the same field in all.
        _ => pb::AuthUserGetRequest { name: one }.encode_to_vec(),
    }
}

fn key(dice: &mut StdRng) -> Bytes {
    match dice.random_range(0..20) {
        0 => Bytes::new(),
        1 => Bytes::from_static(&[0]),
        2 => Bytes::from_static(&[0xff; 3]),
        3 => vec![b'l'; dice.random_range(1..400)].into(),
        _ => vec![b'a' + dice.random_range(0..8)].into(),
    }
}

fn end(dice: &mut StdRng) -> Bytes {
    if dice.random_bool(0.6) { Bytes::new() } else { key(dice) }
}

fn number(dice: &mut StdRng) -> i64 {
    match dice.random_range(0..20) {
        0 => i64::MIN,
        1 => i64::MAX,
        2 => i64::MAX - 1,
        3 => -1,
        4 => i64::from(u32::MAX),
        5 => 9_000_000_000,
        6..=9 => 0,
        _ => dice.random_range(0..300),
    }
}

/// A value of an enumeration of `count`, seldom one that it does not have.
fn one_of(count: i32, dice: &mut StdRng) -> i32 {
    if dice.random_bool(0.97) { dice.random_range(0..count) } else { [-1, count][dice.random_range(0..2)] }
}

fn lease(dice: &mut StdRng) -> i64 {
    if dice.random_bool(0.9) { dice.random_range(0..4) } else { number(dice) }
}

fn range(dice: &mut StdRng) -> pb::RangeRequest {
    let bound = |dice: &mut StdRng| if dice.random_bool(0.8) { 0 } else { number(dice) };
    pb::RangeRequest {
        key: key(dice),
        range_end: end(dice),
        limit: bound(dice),
        revision: bound(dice),
        sort_order: one_of(3, dice),
        sort_target: one_of(5, dice),
        serializable: dice.random(),
        keys_only: dice.random(),
        count_only: dice.random_bool(0.2),
        min_mod_revision: bound(dice),
        max_mod_revision: bound(dice),
        min_create_revision: bound(dice),
        max_create_revision: bound(dice),
    }
}

fn put(dice: &mut StdRng) -> pb::PutRequest {
    pb::PutRequest {
        key: key(dice),
        value: vec![dice.random(); dice.random_range(0..200)].into(),
        lease: if dice.random_bool(0.7) { 0 } else { lease(dice) },
        prev_kv: dice.random(),
        ignore_value: dice.random_bool(0.1),
        ignore_lease: dice.random_bool(0.1),
    }
}

fn delete(dice: &mut StdRng) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: key(dice), range_end: end(dice), prev_kv: dice.random() }
}

fn txn(dice: &mut StdRng, depth: u32) -> pb::TxnRequest {
    let ops = |dice: &mut StdRng| (0..dice.random_range(0..4)).map(|_| op(dice, depth)).collect();
    let compare = (0..dice.random_range(0..3)).map(|_| compare(dice)).collect();
    pb::TxnRequest { compare, success: ops(dice), failure: ops(dice) }
}

fn op(dice: &mut StdRng, depth: u32) -> pb::RequestOp {
    let request = match dice.random_range(0..10) {
        0..3 => Request::RequestRange(range(dice)),
        3..6 => Request::RequestPut(put(dice)),
        6..8 => Request::RequestDeleteRange(delete(dice)),
        8 if depth > 0 => Request::RequestTxn(txn(dice, depth - 1)),
        _ => return pb::RequestOp { request: None },
    };
    pb::RequestOp { request: Some(request) }
}

fn compare(dice: &mut StdRng) -> pb::Compare {
    use pb::compare::TargetUnion;
    let target_union = match dice.random_range(0..6) {
        0 => None,
        1 => Some(TargetUnion::Version(number(dice))),
        2 => Some(TargetUnion::CreateRevision(number(dice))),
        3 => Some(TargetUnion::ModRevision(number(dice))),
        4 => Some(TargetUnion::Lease(lease(dice))),
        _ => Some(TargetUnion::Value(key(dice))),
    };
    pb::Compare { result: one_of(4, dice), target: one_of(5, dice), key: key(dice), range_end: end(dice), target_union }
}

fn watch(dice: &mut StdRng) -> pb::WatchRequest {
    let request = match dice.random_range(0..10) {
        0 => None,
        1..3 => Some(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: watch_id(dice) })),
        3 => Some(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})),
        _ => Some(RequestUnion::CreateRequest(pb::WatchCreateRequest {
            key: key(dice),
            range_end: end(dice),
            start_revision: number(dice),
            progress_notify: dice.random(),
            filters: (0..dice.random_range(0..3)).map(|_| dice.random_range(-1..3)).collect(),
            prev_kv: dice.random(),
            watch_id: watch_id(dice),
            fragment: dice.random(),
        })),
    };
    pb::WatchRequest { request_union: request }
}

fn watch_id(dice: &mut StdRng) -> i64 {
    if dice.random_bool(0.9) { dice.random_range(0..30) } else { number(dice) }
}

/// Seldom one that stops writes for good.
fn alarm(dice: &mut StdRng) -> pb::AlarmRequest {
    let action = if dice.random_bool(0.03) { 1 } else { [0, 2, 2, 3, -1][dice.random_range(0..5)] };
    pb::AlarmRequest { action, member_id: dice.random_range(0..2), alarm: one_of(3, dice) }
}

/// Transactions in transactions.
fn deep(levels: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..levels {
        for tag in [0x22, 0x12] {
            let mut outer = vec![tag];
            prost::encode_length_delimiter(bytes.len(), &mut outer).unwrap();
            outer.append(&mut bytes);
            bytes = outer;
        }
    }
    bytes
}
