//! An attempt as a transaction, and its answer as an outcome.

use std::net::IpAddr;

use bytes::Bytes;
use kvstore::{Compare, LeaseId, Op, OpResult, Range, Txn, TxnResult};
use model::ClusterName;
use wire::{identity, own};

use crate::{Attempt, Mode, Outcome};

/// Order of the look-ups in the else branch.
const LOCKS: usize = 0;
const NUMBER_LOCKS: usize = 1;
const MASTER: usize = 2;
const USERS: usize = 3;

/// The slave key of an attempt's labels on this node.
pub(crate) fn slave_key(labels: &model::Labels, node_ip: IpAddr) -> Bytes {
    identity::value_key(labels, node_ip).into()
}

/// The transaction: all compares hold and the keys are put, or nothing happens and it is said why.
pub(crate) fn build(attempt: &Attempt, cluster: &ClusterName, node_ip: IpAddr, lease: LeaseId) -> Txn {
    let Attempt { labels, number, mode } = attempt;
    let master: Bytes = identity::id_key(*number).into();
    let value: Bytes = identity::encode(labels).into();
    let locks: Bytes = format!("{}/", identity::lock_path(labels)).into();
    let number_locks: Bytes = format!("{}/", identity::id_lock_path(*number)).into();
    let users: Bytes = identity::value_prefix(labels).into();
    let freed: Bytes = own::freed_key(cluster, *number).into();
    let mut compares = vec![Compare::PrefixEmpty(locks.clone()), Compare::PrefixEmpty(number_locks.clone())];
    let mut puts = Vec::new();
    match mode {
        Mode::Known => compares.push(Compare::Value(master.clone(), value)),
        Mode::New | Mode::Recreate => {
            compares.push(Compare::Version(master.clone(), 0));
            compares.push(Compare::Version(freed, 0));
            if *mode == Mode::New {
                compares.push(Compare::PrefixEmpty(users.clone()));
            }
            puts.push(Op::put(master.clone(), value, None));
        }
    }
    let slave = slave_key(labels, node_ip);
    puts.push(Op::put(slave, identity::encode_number(*number), Some(lease)));
    let look = |range: Range| Op::Range(range.limit(8));
    Txn::when(compares).then(puts).or_else([
        look(Range::prefix(locks)),
        look(Range::prefix(number_locks)),
        look(Range::key(master)),
        look(Range::prefix(users)),
    ])
}

/// What the answer says.
pub(crate) fn outcome(attempt: &Attempt, answer: TxnResult) -> Outcome {
    if answer.succeeded {
        return Outcome::Done;
    }
    let found = |at: usize| match answer.results.get(at) {
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
    let user = found(USERS).iter().find(of_ours).and_then(|kv| {
        let key = String::from_utf8_lossy(&kv.key);
        identity::decode_number(&key, &kv.value).ok()
    });
    match (attempt.mode, user) {
        (Mode::New, Some(number)) => Outcome::InUse(number),
        (Mode::Known, _) if found(MASTER).is_empty() => Outcome::Missing,
        (Mode::Known, _) => Outcome::Different,
        (Mode::Recreate, _) if found(MASTER).iter().any(|kv| kv.value == ours) => Outcome::Different,
        _ => Outcome::Taken,
    }
}
