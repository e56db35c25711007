//! Operations as etcd's messages, for one server at one moment.

use kvstore_server::pb::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
    compare::CompareTarget, compare::TargetUnion, request_op,
};

use crate::op::{self, Against, End, KEYS, Key, Lease, Rev, Step, Value};

/// What relative revisions and ids mean at this moment.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) head: i64,
    pub(crate) compacted: i64,
    /// The lease ids that this server chose, in order.
    pub(crate) chosen: &'a [i64],
}

pub(crate) fn key(key: Key) -> Vec<u8> {
    match key {
        Key::K(index) => KEYS[usize::from(index) % KEYS.len()].to_vec(),
        Key::Empty => Vec::new(),
        Key::Nul => vec![0],
    }
}

pub(crate) fn value(value: Value) -> Vec<u8> {
    match value {
        Value::Nothing => Vec::new(),
        Value::V(number) => format!("v{number}").into_bytes(),
        Value::Bulk(size) => vec![b'x'; size],
    }
}

fn end(first: Key, end: End) -> Vec<u8> {
    match end {
        End::One => Vec::new(),
        End::To(last) => key(last),
        End::FromKey => vec![0],
        // The first key after all that begin with this one.
        End::Prefix => {
            let mut bytes = key(first);
            while let Some(last) = bytes.pop() {
                if last < 0xff {
                    bytes.push(last + 1);
                    return bytes;
                }
            }
            vec![0]
        }
    }
}

/// A key and an end as the two fields of a request.
pub(crate) fn span(first: Key, last: End) -> (bytes::Bytes, bytes::Bytes) {
    (key(first).into(), end(first, last).into())
}

// === impl Moment ===

impl Moment<'_> {
    pub(crate) fn rev(&self, rev: Rev) -> i64 {
        match rev {
            Rev::At(revision) => revision,
            Rev::Head(more) => self.head + more,
            Rev::Compacted(more) => self.compacted + more,
        }
    }

    /// An id that no server has, if none was chosen yet.
    pub(crate) fn lease(&self, lease: Lease) -> i64 {
        match lease {
            Lease::L(id) => id,
            Lease::Chosen(n) => n.checked_rem(self.chosen.len()).map_or(987_654_321, |n| self.chosen[n]),
        }
    }

    pub(crate) fn range(&self, range: &op::Range) -> RangeRequest {
        RangeRequest {
            key: key(range.key).into(),
            range_end: end(range.key, range.end).into(),
            limit: range.limit,
            revision: self.rev(range.rev),
            sort_order: range.order,
            sort_target: range.target,
            serializable: range.serializable,
            keys_only: range.keys_only,
            count_only: range.count_only,
            min_mod_revision: self.rev(range.mods.0),
            max_mod_revision: self.rev(range.mods.1),
            min_create_revision: self.rev(range.creates.0),
            max_create_revision: self.rev(range.creates.1),
        }
    }

    pub(crate) fn put(&self, put: &op::Put) -> PutRequest {
        PutRequest {
            key: key(put.key).into(),
            value: value(put.value).into(),
            lease: self.lease(put.lease),
            prev_kv: put.prev_kv,
            ignore_value: put.ignore_value,
            ignore_lease: put.ignore_lease,
        }
    }

    pub(crate) fn delete(&self, delete: &op::Delete) -> DeleteRangeRequest {
        DeleteRangeRequest {
            key: key(delete.key).into(),
            range_end: end(delete.key, delete.end).into(),
            prev_kv: delete.prev_kv,
        }
    }

    fn compare(&self, compare: &op::Compare) -> Compare {
        let (target, union) = match compare.against {
            Against::Version(version) => (CompareTarget::Version as i32, Some(TargetUnion::Version(version))),
            Against::Create(rev) => (CompareTarget::Create as i32, Some(TargetUnion::CreateRevision(self.rev(rev)))),
            Against::Mod(rev) => (CompareTarget::Mod as i32, Some(TargetUnion::ModRevision(self.rev(rev)))),
            Against::Bytes(bytes) => (CompareTarget::Value as i32, Some(TargetUnion::Value(value(bytes).into()))),
            Against::Lease(lease) => (CompareTarget::Lease as i32, Some(TargetUnion::Lease(self.lease(lease)))),
            Against::Missing(target) => (target, None),
        };
        Compare {
            result: compare.result,
            target,
            key: key(compare.key).into(),
            target_union: union,
            range_end: end(compare.key, compare.end).into(),
        }
    }

    fn step(&self, step: &Step) -> RequestOp {
        let request = match step {
            Step::Get(range) => Some(request_op::Request::RequestRange(self.range(range))),
            Step::Set(put) => Some(request_op::Request::RequestPut(self.put(put))),
            Step::Del(delete) => Some(request_op::Request::RequestDeleteRange(self.delete(delete))),
            Step::Sub(txn) => Some(request_op::Request::RequestTxn(self.txn(txn))),
            Step::Void => None,
        };
        RequestOp { request }
    }

    pub(crate) fn txn(&self, txn: &op::Txn) -> TxnRequest {
        TxnRequest {
            compare: txn.compare.iter().map(|compare| self.compare(compare)).collect(),
            success: txn.success.iter().map(|step| self.step(step)).collect(),
            failure: txn.failure.iter().map(|step| self.step(step)).collect(),
        }
    }

    pub(crate) fn watch(&self, watch: &op::Watch) -> WatchCreateRequest {
        WatchCreateRequest {
            key: key(watch.key).into(),
            range_end: end(watch.key, watch.end).into(),
            start_revision: self.rev(watch.start),
            progress_notify: watch.progress_notify,
            filters: watch.filters.clone(),
            prev_kv: watch.prev_kv,
            watch_id: watch.id,
            fragment: watch.fragment,
        }
    }
}
