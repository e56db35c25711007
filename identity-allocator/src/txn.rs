//! An attempt as a transaction, and its answer as an outcome.
//!
//! Nodes that begin with the same labels at one time try the same number first (`pick.rs`). An attempt to make it therefore
//! goes on, where that fails, as one to use it: whoever comes second has the number by the same request.

use std::net::IpAddr;

use bytes::Bytes;
use kvstore::{Compare, LeaseId, Op, OpResult, Range, Txn};
use model::{ClusterName, NumericIdentity};
use wire::{identity, own};

use crate::{Attempt, Mode, Outcome, Users};

/// Order of the look-ups in the else branch.
const LOCKS: usize = 0;
const NUMBER_LOCKS: usize = 1;
const MASTER: usize = 2;
const USERS: usize = 3;

/// How many users of a label set are looked at when an attempt fails; with more the rest is taken to be like these.
const MAX_USERS: u32 = 256;

/// The slave key of an attempt's labels on this node.
pub(crate) fn slave_key(labels: &model::Labels, node_ip: IpAddr) -> Bytes {
    identity::value_key(labels, node_ip).into()
}

/// The transaction: all compares hold and the keys are put, or nothing happens and it is said why.
pub(crate) fn build(attempt: &Attempt, cluster: &ClusterName, node_ip: IpAddr, lease: LeaseId) -> Txn {
    let then_use = (attempt.mode, &attempt.users) == (Mode::New, &Users::Nobody);
    let made = branch(attempt, cluster, node_ip, lease);
    if !then_use {
        return made.or_else(looks(attempt));
    }
    let use_it = Attempt { mode: Mode::Known, users: Users::All, ..attempt.clone() };
    made.or_else([Op::Txn(branch(&use_it, cluster, node_ip, lease).or_else(looks(attempt)))])
}

/// Why it was not done.
fn looks(attempt: &Attempt) -> [Op; 4] {
    let look = |range: Range, limit| Op::Range(range.limit(limit));
    [
        look(Range::prefix(locks(attempt)), 1),
        look(Range::prefix(number_locks(attempt)), 1),
        look(Range::key(identity::id_key(attempt.number)), 1),
        look(Range::prefix(identity::value_prefix(&attempt.labels)), MAX_USERS),
    ]
}

fn locks(attempt: &Attempt) -> Bytes {
    format!("{}/", identity::lock_path(&attempt.labels)).into()
}

fn number_locks(attempt: &Attempt) -> Bytes {
    format!("{}/", identity::id_lock_path(attempt.number)).into()
}

fn branch(attempt: &Attempt, cluster: &ClusterName, node_ip: IpAddr, lease: LeaseId) -> Txn {
    let Attempt { labels, number, mode, .. } = attempt;
    let master: Bytes = identity::id_key(*number).into();
    let value: Bytes = identity::encode(labels).into();
    let users: Bytes = identity::value_prefix(labels).into();
    let freed: Bytes = own::freed_key(cluster, *number).into();
    let mut compares = vec![Compare::PrefixEmpty(locks(attempt)), Compare::PrefixEmpty(number_locks(attempt))];
    let mut puts = Vec::new();
    match mode {
        Mode::Known => compares.push(Compare::Value(master.clone(), value)),
        Mode::New | Mode::Recreate => {
            compares.push(Compare::Version(master.clone(), 0));
            compares.push(Compare::Version(freed, 0));
            puts.push(Op::put(master, value, None));
        }
    }
    let text: Bytes = identity::encode_number(*number).into();
    compares.push(match &attempt.users {
        Users::Nobody => Compare::PrefixEmpty(users),
        Users::All => Compare::PrefixValue(users, text.clone()),
        Users::One(key) => Compare::Value(key.clone(), text.clone()),
    });
    let slave = slave_key(labels, node_ip);
    puts.push(Op::put(slave, text, Some(lease)));
    Txn::when(compares).then(puts)
}

/// What the answer says.
pub(crate) fn outcome(attempt: &Attempt, succeeded: bool, results: &[OpResult]) -> Outcome {
    if succeeded {
        return Outcome::Done;
    }
    if let [OpResult::Txn { succeeded, results }] = results {
        return outcome(attempt, *succeeded, results);
    }
    let found = |at: usize| match results.get(at) {
        Some(OpResult::Range(kvs)) => kvs.as_slice(),
        _ => &[],
    };
    if !found(LOCKS).is_empty() || !found(NUMBER_LOCKS).is_empty() {
        return Outcome::Locked;
    }
    let ours = identity::encode(&attempt.labels);
    // A prefix also finds longer label sets: only keys of exactly these labels count.
    let of_ours = |kv: &&kvstore::KeyValue| {
        let parsed = std::str::from_utf8(&kv.key).ok().and_then(identity::parse_value_key);
        parsed.is_some_and(|(labels, _)| labels.as_bytes() == ours)
    };
    let users: Vec<(NumericIdentity, Bytes)> = found(USERS)
        .iter()
        .filter(of_ours)
        .filter_map(|kv| {
            let number = identity::decode_number(&String::from_utf8_lossy(&kv.key), &kv.value).ok()?;
            Some((number, kv.key.clone()))
        })
        .collect();
    let as_meant = match &attempt.users {
        Users::Nobody => users.is_empty(),
        Users::All => !users.is_empty() && users.iter().all(|(number, _)| *number == attempt.number),
        Users::One(key) => users.iter().any(|(number, user)| (*number, user) == (attempt.number, key)),
    };
    let has_ours = found(MASTER).iter().any(|kv| kv.value == ours);
    match attempt.mode {
        Mode::Known if found(MASTER).is_empty() => Outcome::Missing,
        Mode::Known if !has_ours => Outcome::Different,
        _ if !as_meant => Outcome::Users(users),
        Mode::Recreate if has_ours => Outcome::Different,
        _ => Outcome::Taken,
    }
}
