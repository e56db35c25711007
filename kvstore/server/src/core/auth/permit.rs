//! Whose each request may be: asked before it is proposed, and again when it is applied.
//!
//! Source: etcd server/etcdserver/apply/apply_auth.go and v3_server.go of 3.6.

use bytes::Bytes;

use super::{Access, By};
use crate::{
    core::{
        failure::Failure,
        span::Span,
        state::{State, Write},
    },
    pb::etcdserverpb::{self as pb, request_op::Request},
};

/// Who may ask what concerns no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    User,
    Root,
}

// === impl State ===

impl State {
    /// # Errors
    /// When the write is not for this one to make, as permissions are now.
    pub(crate) fn permit(&self, by: &By, write: &Write) -> Result<(), Failure> {
        if !self.auth.is_enabled() {
            return Ok(());
        }
        match write {
            Write::Put(put) => self.permit_put(by, put),
            Write::DeleteRange(delete) => self.permit_delete(by, delete),
            Write::Txn(txn) => self.permit_txn(by, txn),
            Write::LeaseGrant { .. } => self.auth.permit_user(by),
            Write::LeaseRevoke(id) => {
                self.auth.permit_user(by)?;
                self.permit_lease(by, *id, Access::Write)
            }
            Write::LeaseExpire { .. } => Ok(()),
            Write::Compact(_) | Write::Auth(_) => self.auth.permit_root(by),
            Write::Alarm(alarm) => self.permit_need(by, alarm_need(alarm)),
        }
    }

    pub(crate) fn permit_need(&self, by: &By, need: Need) -> Result<(), Failure> {
        match need {
            Need::Nothing => Ok(()),
            Need::User => self.auth.permit_user(by),
            Need::Root => self.auth.permit_root(by),
        }
    }

    pub(crate) fn permit_range(&self, by: &By, range: &pb::RangeRequest) -> Result<(), Failure> {
        self.permit_span(by, Access::Read, &range.key, &range.range_end)
    }

    /// Its compares, and both branches whichever is taken: what a transaction tells is more than what it returns.
    pub(crate) fn permit_txn(&self, by: &By, txn: &pb::TxnRequest) -> Result<(), Failure> {
        if !self.auth.is_enabled() {
            return Ok(());
        }
        // Also one that does nothing: etcd answers that to anybody.
        self.auth.permit_user(by)?;
        for compare in &txn.compare {
            self.permit_span(by, Access::Read, &compare.key, &compare.range_end)?;
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match &op.request {
                Some(Request::RequestRange(range)) => self.permit_range(by, range)?,
                Some(Request::RequestPut(put)) => self.permit_put(by, put)?,
                Some(Request::RequestDeleteRange(delete)) => self.permit_delete(by, delete)?,
                Some(Request::RequestTxn(txn)) => self.permit_txn(by, txn)?,
                None => {}
            }
        }
        Ok(())
    }

    /// All keys that go with the lease must be the user's, unless it is root. A lease that is not there has none.
    pub(crate) fn permit_lease(&self, by: &By, id: i64, access: Access) -> Result<(), Failure> {
        if self.auth.permit_root(by).is_ok() {
            return Ok(());
        }
        for key in self.leases.keys(id) {
            let span = Span::new(Bytes::copy_from_slice(self.store.name(key)), Bytes::new());
            self.auth.permit_keys(by, access, &span)?;
        }
        Ok(())
    }

    /// Names of leases are for those who may read all that is attached to any.
    pub(crate) fn permit_leases(&self, by: &By) -> Result<(), Failure> {
        self.auth.permit_user(by)?;
        self.leases.ids().into_iter().try_for_each(|id| self.permit_lease(by, id, Access::Read))
    }

    fn permit_put(&self, by: &By, put: &pb::PutRequest) -> Result<(), Failure> {
        self.permit_span(by, Access::Write, &put.key, &Bytes::new())?;
        if put.lease != 0 {
            // Whoever may not delete what is attached may not decide how long it lives.
            self.permit_lease(by, put.lease, Access::Write)?;
        }
        if put.prev_kv { self.permit_span(by, Access::Read, &put.key, &Bytes::new()) } else { Ok(()) }
    }

    fn permit_delete(&self, by: &By, delete: &pb::DeleteRangeRequest) -> Result<(), Failure> {
        self.permit_span(by, Access::Write, &delete.key, &delete.range_end)?;
        if delete.prev_kv { self.permit_span(by, Access::Read, &delete.key, &delete.range_end) } else { Ok(()) }
    }

    fn permit_span(&self, by: &By, access: Access, key: &Bytes, end: &Bytes) -> Result<(), Failure> {
        if !self.auth.is_enabled() {
            return Ok(());
        }
        self.auth.permit_keys(by, access, &Span::new(key.clone(), end.clone()))
    }
}

/// Alarms are for all users to see, and for root to raise and disarm.
pub(crate) fn alarm_need(alarm: &pb::AlarmRequest) -> Need {
    if alarm.action == pb::alarm_request::AlarmAction::Get as i32 { Need::User } else { Need::Root }
}
