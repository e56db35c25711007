//! What a request must be before anything is asked of the state. Source: etcd api/v3rpc/key.go of 3.6.

use bytes::Bytes;

use crate::{
    core::{failure::Failure, span::Span},
    pb::etcdserverpb::{self as pb, request_op::Request},
};

pub(crate) fn check_range(range: &pb::RangeRequest) -> Result<(), Failure> {
    if range.key.is_empty() {
        return Err(Failure::EmptyKey);
    }
    let known = pb::range_request::SortOrder::try_from(range.sort_order).is_ok()
        && pb::range_request::SortTarget::try_from(range.sort_target).is_ok();
    if known { Ok(()) } else { Err(Failure::InvalidSort) }
}

pub(crate) fn check_put(put: &pb::PutRequest) -> Result<(), Failure> {
    if put.key.is_empty() {
        Err(Failure::EmptyKey)
    } else if put.ignore_value && !put.value.is_empty() {
        Err(Failure::ValueProvided)
    } else if put.ignore_lease && put.lease != 0 {
        Err(Failure::LeaseProvided)
    } else {
        Ok(())
    }
}

pub(crate) fn check_delete(delete: &pb::DeleteRangeRequest) -> Result<(), Failure> {
    if delete.key.is_empty() { Err(Failure::EmptyKey) } else { Ok(()) }
}

pub(crate) fn check_txn(txn: &pb::TxnRequest, max_ops: usize) -> Result<(), Failure> {
    check_ops(txn, max_ops)?;
    Written::of(&txn.success)?;
    Written::of(&txn.failure)?;
    Ok(())
}

/// Each branch and the compares have at most so many parts; a nested transaction has what its parent leaves.
fn check_ops(txn: &pb::TxnRequest, max_ops: usize) -> Result<(), Failure> {
    let ops = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    if ops > max_ops {
        return Err(Failure::TooManyOps);
    }
    if txn.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Failure::EmptyKey);
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match &op.request {
            Some(Request::RequestRange(range)) => check_range(range)?,
            Some(Request::RequestPut(put)) => check_put(put)?,
            Some(Request::RequestDeleteRange(delete)) => check_delete(delete)?,
            Some(Request::RequestTxn(txn)) => check_ops(txn, max_ops - ops)?,
            None => return Err(Failure::KeyNotFound),
        }
    }
    Ok(())
}

/// What a branch writes: no key may be put twice, or put and deleted.
struct Written {
    puts: Vec<Bytes>,
    deletes: Vec<Span>,
}

impl Written {
    fn of(ops: &[pb::RequestOp]) -> Result<Self, Failure> {
        let deletes = ops.iter().filter_map(|op| match &op.request {
            // etcd does not see a deletion without end here, so it allows a put beside one.
            Some(Request::RequestDeleteRange(delete)) if delete.range_end[..] != [0] => {
                Some(Span::new(delete.key.clone(), delete.range_end.clone()))
            }
            _ => None,
        });
        let mut written = Self { puts: Vec::new(), deletes: deletes.collect() };
        for op in ops {
            if let Some(Request::RequestTxn(txn)) = &op.request {
                let (then, or_else) = (Self::of(&txn.success)?, Self::of(&txn.failure)?);
                then.puts.iter().try_for_each(|key| written.put(key))?;
                // Only one of the two branches happens.
                or_else.puts.iter().filter(|key| !then.puts.contains(key)).try_for_each(|key| written.put(key))?;
                written.deletes.extend(then.deletes);
                written.deletes.extend(or_else.deletes);
            }
        }
        for op in ops {
            if let Some(Request::RequestPut(put)) = &op.request {
                written.put(&put.key)?;
            }
        }
        Ok(written)
    }

    fn put(&mut self, key: &Bytes) -> Result<(), Failure> {
        if self.puts.contains(key) || self.deletes.iter().any(|span| span.contains(key)) {
            return Err(Failure::DuplicateKey);
        }
        self.puts.push(key.clone());
        Ok(())
    }
}

fn ops(txn: &pb::TxnRequest) -> impl Iterator<Item = &Request> {
    txn.success.iter().chain(&txn.failure).filter_map(|op| op.request.as_ref())
}

pub(crate) fn is_read_only(txn: &pb::TxnRequest) -> bool {
    ops(txn).all(|op| match op {
        Request::RequestRange(_) => true,
        Request::RequestTxn(txn) => is_read_only(txn),
        Request::RequestPut(_) | Request::RequestDeleteRange(_) => false,
    })
}

/// Every part may be answered from what this member has.
pub(crate) fn is_serializable(txn: &pb::TxnRequest) -> bool {
    ops(txn).all(|op| match op {
        Request::RequestRange(range) => range.serializable,
        Request::RequestTxn(txn) => is_serializable(txn),
        Request::RequestPut(_) | Request::RequestDeleteRange(_) => false,
    })
}

/// Any branch may put.
pub(crate) fn puts(txn: &pb::TxnRequest) -> bool {
    ops(txn).any(|op| match op {
        Request::RequestPut(_) => true,
        Request::RequestTxn(txn) => puts(txn),
        Request::RequestRange(_) | Request::RequestDeleteRange(_) => false,
    })
}
