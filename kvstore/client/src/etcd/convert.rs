//! Between our types and those of the etcd client.

use std::time::Duration;

use bytes::Bytes;
use etcd_client as pb;

use crate::{Cause, Compare, KeyValue, LeaseId, Op, OpResult, Range, Txn};

pub(super) fn get_options(range: &Range) -> pb::GetOptions {
    let options = pb::GetOptions::new().with_limit(range.limit.into()).with_revision(range.revision);
    match &range.end {
        Some(end) => options.with_range(&end[..]),
        None => options,
    }
}

pub(super) fn key_value(kv: pb::KeyValue) -> KeyValue {
    let (create_revision, mod_revision) = (kv.create_revision(), kv.mod_revision());
    let (version, lease) = (kv.version(), kv.lease());
    let (key, value) = kv.into_key_value();
    let lease = (lease != 0).then_some(LeaseId(lease));
    KeyValue { key: key.into(), value: value.into(), create_revision, mod_revision, version, lease }
}

pub(super) fn secs(secs: i64) -> Duration {
    Duration::from_secs(u64::try_from(secs).unwrap_or(0))
}

pub(super) fn txn(txn: Txn) -> pb::Txn {
    let compares: Vec<pb::Compare> = txn.compares.into_iter().map(compare).collect();
    let ops = |ops: Vec<Op>| ops.into_iter().map(op).collect::<Vec<pb::TxnOp>>();
    pb::Txn::new().when(compares).and_then(ops(txn.then)).or_else(ops(txn.or_else))
}

fn compare(compare: Compare) -> pb::Compare {
    const IS: pb::CompareOp = pb::CompareOp::Equal;
    match compare {
        Compare::Version(key, version) => pb::Compare::version(key, IS, version),
        Compare::CreateRevision(key, revision) => pb::Compare::create_revision(key, IS, revision),
        Compare::ModRevision(key, revision) => pb::Compare::mod_revision(key, IS, revision),
        Compare::Value(key, value) => pb::Compare::value(key, IS, value),
        // Every key of a range must satisfy a compare, and no key was created at revision 0.
        Compare::PrefixEmpty(prefix) => pb::Compare::create_revision(prefix, IS, 0).with_prefix(),
        // etcd fails a compare of values over an empty range.
        Compare::PrefixValue(prefix, value) => pb::Compare::value(prefix, IS, value).with_prefix(),
    }
}

fn op(op: Op) -> pb::TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            pb::TxnOp::put(key, value, lease.map(|lease| pb::PutOptions::new().with_lease(lease.0)))
        }
        Op::Delete { key } => pb::TxnOp::delete(key, None),
        Op::DeletePrefix { prefix } => pb::TxnOp::delete(prefix, Some(pb::DeleteOptions::new().with_prefix())),
        Op::Range(range) => pb::TxnOp::get(&range.key[..], Some(get_options(&range))),
        Op::Txn(nested) => pb::TxnOp::txn(txn(nested)),
    }
}

pub(super) fn op_result(result: pb::TxnOpResponse) -> OpResult {
    match result {
        pb::TxnOpResponse::Put(_) => OpResult::Put,
        pb::TxnOpResponse::Delete(answer) => OpResult::Deleted(answer.deleted()),
        pb::TxnOpResponse::Get(mut answer) => OpResult::Range(answer.take_kvs().into_iter().map(key_value).collect()),
        pb::TxnOpResponse::Txn(answer) => OpResult::Txn {
            succeeded: answer.succeeded(),
            results: answer.op_responses().into_iter().map(op_result).collect(),
        },
    }
}

pub(super) fn bytes(slice: &[u8]) -> Bytes {
    Bytes::copy_from_slice(slice)
}

/// etcd says what is wrong in the message of a gRPC status; its codes alone are too coarse.
pub(super) fn cause(error: pb::Error) -> Cause {
    let status = match error {
        pb::Error::GRpcStatus(status) => status,
        pb::Error::LeaseKeepAliveError(text) if text.contains("not found") => return Cause::LeaseNotFound,
        other => return Cause::Unavailable(other.to_string()),
    };
    let text = status.message().to_owned();
    let has = |part| text.contains(part);
    if has("requested lease not found") {
        return Cause::LeaseNotFound;
    }
    if has("required revision has been compacted") {
        return Cause::Compacted(0);
    }
    if has("required revision is a future revision") {
        return Cause::FutureRevision;
    }
    // The names of the codes, since tonic itself is no dependency of ours.
    match format!("{:?}", status.code()).as_str() {
        "Unavailable" | "Cancelled" | "Aborted" | "Unknown" | "DeadlineExceeded" | "Internal" => {
            Cause::Unavailable(text)
        }
        "OutOfRange" | "ResourceExhausted" if has("message") && (has("large") || has("larger")) => {
            Cause::TooLarge(text)
        }
        "ResourceExhausted" => Cause::Overloaded(text),
        "PermissionDenied" => Cause::PermissionDenied(text),
        "Unauthenticated" => Cause::Unauthenticated(text),
        _ => Cause::Refused(text),
    }
}
