//! Ranges sorted by something that several keys share.
//!
//! etcd sorts with an algorithm that keeps the order of equals only up to twelve items, so the order among equals is
//! nobody's promise. Both answers are brought into key order among equals; where a limit cut through equals, those are
//! left out.

use std::cmp::Ordering;

use kvstore_server::pb::{
    etcdserverpb::{RangeResponse, TxnResponse, response_op::Response},
    mvccpb::KeyValue,
};

use crate::{
    answer::Answer,
    op::{Op, Range, Step, Txn},
};

/// Below this the order of equals is compared too.
const STABLE: i64 = 12;

pub(crate) fn ordered(op: &Op, answer: &mut Answer) {
    match (op, answer) {
        (Op::Range(range), Answer::Range(response)) => order(range, response),
        (Op::Txn(txn), Answer::Txn(response)) => order_txn(txn, response),
        _ => {}
    }
}

fn order_txn(txn: &Txn, response: &mut TxnResponse) {
    let steps = if response.succeeded { &txn.success } else { &txn.failure };
    for (step, response) in steps.iter().zip(&mut response.responses) {
        match (step, &mut response.response) {
            (Step::Get(range), Some(Response::ResponseRange(response))) => order(range, response),
            (Step::Sub(txn), Some(Response::ResponseTxn(response))) => order_txn(txn, response),
            _ => {}
        }
    }
}

fn order(range: &Range, response: &mut RangeResponse) {
    let by_target = |a: &KeyValue, b: &KeyValue| match range.target {
        1 => a.version.cmp(&b.version),
        2 => a.create_revision.cmp(&b.create_revision),
        3 => a.mod_revision.cmp(&b.mod_revision),
        4 => a.value.cmp(&b.value),
        _ => Ordering::Less,
    };
    if !(1..=4).contains(&range.target) || response.count <= STABLE {
        return;
    }
    response.kvs.sort_by(|a, b| by_target(a, b).then_with(|| a.key.cmp(&b.key)));
    if range.order == 2 {
        response.kvs.sort_by(|a, b| by_target(b, a));
    }
    let cut = response.kvs.last().cloned();
    if let (true, Some(cut)) = (response.more, cut) {
        response.kvs.retain(|kv| by_target(kv, &cut) != Ordering::Equal);
    }
}
