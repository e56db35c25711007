//! The seam to a store: etcd, or the fake. One suite of tests runs against both.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;

use crate::{
    Error, Header, LeaseGrant, LeaseId, Range, RangeResult, Revision, ServerStatus, Txn, TxnResult, WatchBatch,
};

pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// One request each, with etcd's meaning. No retries, no limits: [`Client`](crate::Client) adds those.
pub trait Backend: Send + Sync + 'static {
    fn range(&self, range: Range) -> Pending<'_, RangeResult>;

    fn put(&self, key: Bytes, value: Bytes, lease: Option<LeaseId>) -> Pending<'_, Header>;

    /// The number of keys deleted: 0 if it was absent.
    fn delete(&self, key: Bytes) -> Pending<'_, (Header, i64)>;

    fn txn(&self, txn: Txn) -> Pending<'_, TxnResult>;

    /// Events of `range` from revision `from` on (0: from now). Ends when the store has no leader.
    fn watch(&self, range: Range, from: Revision) -> Pending<'_, Box<dyn WatchStream>>;

    fn lease_grant(&self, ttl: Duration) -> Pending<'_, LeaseGrant>;

    /// The time that the lease now has left.
    fn lease_keep_alive(&self, lease: LeaseId) -> Pending<'_, Duration>;

    /// The time that a lease has left, which is not touched by asking.
    fn lease_time_left(&self, lease: LeaseId) -> Pending<'_, Duration>;

    fn lease_revoke(&self, lease: LeaseId) -> Pending<'_, Header>;

    fn compact(&self, revision: Revision) -> Pending<'_, ()>;

    fn status(&self) -> Pending<'_, ServerStatus>;
}

/// An open watch. Dropping it ends it.
pub trait WatchStream: Send {
    /// Waits for the next batch, which may hold no event. After an error the stream is over.
    fn next(&mut self) -> Pending<'_, WatchBatch>;
}
