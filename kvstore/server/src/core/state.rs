//! What the log makes: keys, leases, alarms, users. Entries are applied in order; the same log makes the same state anywhere.

mod checks;
mod compare;
mod range;
mod txn;

use std::{collections::BTreeSet, time::Instant};

use bytes::Bytes;
use prost::Message;

use super::{
    auth::{Auth, AuthWrite, By},
    encode::Header,
    entry::{Entry, Kind},
    failure::Failure,
    leases::{self, Leases},
    span::Span,
    store::{Change, Store},
};
use crate::pb::etcdserverpb as pb;

pub(crate) use checks::{check_delete, check_put, check_range, check_txn, is_read_only, is_serializable, puts};
pub(crate) use range::{RangeJob, Step};

/// The only alarm that one member raises by itself.
pub(crate) const NO_SPACE: i32 = pb::AlarmType::Nospace as i32;
const CORRUPT: i32 = pb::AlarmType::Corrupt as i32;

/// A request of the log, decoded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Write {
    Put(pb::PutRequest),
    DeleteRange(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Compact(pb::CompactionRequest),
    LeaseGrant { id: i64, ttl_secs: i64 },
    LeaseRevoke(i64),
    LeaseExpire { ids: Vec<i64>, term: u64 },
    Alarm(pb::AlarmRequest),
    Auth(AuthWrite),
}

pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) leases: Leases,
    /// Raised alarms: kind and member.
    pub(crate) alarms: BTreeSet<(i32, u64)>,
    pub(crate) auth: Auth,
    pub(crate) applied: u64,
    pub(crate) applied_term: u64,
    pub(crate) cluster: u64,
    pub(crate) member: u64,
}

// === impl Write ===

impl Write {
    /// # Errors
    /// When the entry's bytes are no such request.
    pub(crate) fn decode(entry: &Entry) -> Result<Self, prost::DecodeError> {
        let bytes = entry.request.clone();
        if let Some(write) = AuthWrite::decode(entry.kind, bytes.clone())? {
            return Ok(Self::Auth(write));
        }
        Ok(match entry.kind {
            Kind::Put => Self::Put(pb::PutRequest::decode(bytes)?),
            Kind::DeleteRange => Self::DeleteRange(pb::DeleteRangeRequest::decode(bytes)?),
            Kind::Txn => Self::Txn(pb::TxnRequest::decode(bytes)?),
            Kind::Compact => Self::Compact(pb::CompactionRequest::decode(bytes)?),
            Kind::LeaseGrant => {
                let ttl_secs = pb::LeaseGrantRequest::decode(bytes)?.ttl;
                Self::LeaseGrant { id: entry.chosen, ttl_secs }
            }
            Kind::LeaseRevoke => Self::LeaseRevoke(pb::LeaseRevokeRequest::decode(bytes)?.id),
            Kind::LeaseExpire => {
                let ids = entry.request.chunks_exact(8);
                let ids = ids.map(|id| i64::from_le_bytes(std::array::from_fn(|i| id[i]))).collect();
                Self::LeaseExpire { ids, term: entry.chosen as u64 }
            }
            // The rest was decoded above.
            _ => Self::Alarm(pb::AlarmRequest::decode(bytes)?),
        })
    }
}

// === impl State ===

impl State {
    pub(crate) fn new(cluster: u64, member: u64) -> Self {
        Self {
            store: Store::new(),
            leases: Leases::default(),
            alarms: BTreeSet::new(),
            auth: Auth::default(),
            applied: 0,
            applied_term: 0,
            cluster,
            member,
        }
    }

    pub(crate) fn header(&self, term: u64) -> Header {
        Header { cluster: self.cluster, member: self.member, revision: self.store.revision(), term }
    }

    /// Applies an entry and makes its answer, if those whose it is may still do so. `now` is only when a lease's time
    /// begins here.
    pub(crate) fn apply(&mut self, now: Instant, term: u64, by: &By, write: &Write) -> Result<Bytes, Failure> {
        // Leases end all the same: who lost one has to be able to rely on that. Users are not what was damaged.
        if !matches!(write, Write::Alarm(_) | Write::LeaseExpire { .. } | Write::Auth(_)) {
            self.check_sound()?;
        }
        self.permit(by, write)?;
        match write {
            Write::Put(put) => {
                self.check_room()?;
                let mut response = self.put_alone(put)?;
                response.header = Some(self.header(term).message());
                Ok(response.encode_to_vec().into())
            }
            Write::DeleteRange(delete) => {
                let mut sub = 0;
                let mut response = self.delete_in(delete, &mut sub);
                self.commit(sub);
                response.header = Some(self.header(term).message());
                Ok(response.encode_to_vec().into())
            }
            Write::Txn(txn) => {
                if puts(txn) {
                    self.check_room()?;
                }
                let mut response = self.txn(txn)?;
                response.header = Some(self.header(term).message());
                Ok(response.encode_to_vec().into())
            }
            Write::Compact(compact) => {
                self.store.compact(compact.revision)?;
                Ok(pb::CompactionResponse { header: Some(self.header(term).message()) }.encode_to_vec().into())
            }
            Write::LeaseGrant { id, ttl_secs } => self.grant(now, term, *id, *ttl_secs),
            Write::LeaseRevoke(id) => {
                self.revoke(*id)?;
                Ok(pb::LeaseRevokeResponse { header: Some(self.header(term).message()) }.encode_to_vec().into())
            }
            Write::LeaseExpire { ids, term: seen } => {
                // A leader that lost its term does not know who was kept alive since.
                if *seen == term {
                    for id in ids {
                        // Revoked by its owner in the meantime: gone is gone.
                        let _ = self.revoke(*id);
                    }
                }
                Ok(Bytes::new())
            }
            Write::Alarm(alarm) => Ok(self.alarm(term, alarm).encode_to_vec().into()),
            Write::Auth(change) => {
                self.auth.change(change)?;
                // All their answers are this one.
                Ok(pb::AuthEnableResponse { header: Some(self.header(term).message()) }.encode_to_vec().into())
            }
        }
    }

    /// Accounted bytes of everything.
    pub(crate) fn size(&self) -> u64 {
        self.store.size() + self.leases.size() + self.auth.size()
    }

    /// Of them, what compaction has not let go of: what waits to be freed counts as free.
    pub(crate) fn size_in_use(&self) -> u64 {
        self.size().saturating_sub(self.store.unswept_bytes())
    }

    /// No client may change what somebody found to be damaged.
    pub(crate) fn check_sound(&self) -> Result<(), Failure> {
        let corrupt = self.alarms.iter().any(|(kind, _)| *kind == CORRUPT);
        if corrupt { Err(Failure::Corrupt) } else { Ok(()) }
    }

    fn check_room(&self) -> Result<(), Failure> {
        let full = self.alarms.iter().any(|(kind, _)| *kind == NO_SPACE);
        if full { Err(Failure::NoSpace) } else { Ok(()) }
    }

    /// The transaction's changes become a revision, if there are any.
    fn commit(&mut self, changes: u32) {
        if changes > 0 {
            self.store.commit();
        }
    }

    fn put_alone(&mut self, put: &pb::PutRequest) -> Result<pb::PutResponse, Failure> {
        self.check_lease(put)?;
        self.check_ignored(put, self.store.revision())?;
        let mut sub = 0;
        let response = self.put_in(put, &mut sub);
        self.commit(sub);
        Ok(response)
    }

    fn check_lease(&self, put: &pb::PutRequest) -> Result<(), Failure> {
        if put.lease != 0 && !self.leases.has(put.lease) { Err(Failure::LeaseNotFound) } else { Ok(()) }
    }

    fn check_ignored(&self, put: &pb::PutRequest, revision: i64) -> Result<(), Failure> {
        let ignores = put.ignore_value || put.ignore_lease;
        if ignores && self.store.get(&put.key, revision).is_none() { Err(Failure::KeyNotFound) } else { Ok(()) }
    }

    /// A put as a part of a transaction, which was checked.
    fn put_in(&mut self, put: &pb::PutRequest, sub: &mut u32) -> pb::PutResponse {
        let seen = self.store.revision() + i64::from(*sub > 0);
        let wants_before = put.prev_kv || put.ignore_value || put.ignore_lease;
        let before = if wants_before { self.store.get(&put.key, seen).map(|kv| kv.message()) } else { None };
        let kept = before.as_ref().filter(|_| put.ignore_value);
        let value = kept.map_or(&put.value, |before| &before.value).clone();
        let lease = before.as_ref().filter(|_| put.ignore_lease).map_or(put.lease, |before| before.lease);
        let change = self.store.put(&put.key, &value, lease, *sub);
        self.leases.note(&change);
        *sub += 1;
        pb::PutResponse { header: None, prev_kv: before.filter(|_| put.prev_kv) }
    }

    fn delete_in(&mut self, delete: &pb::DeleteRangeRequest, sub: &mut u32) -> pb::DeleteRangeResponse {
        let span = Span::new(delete.key.clone(), delete.range_end.clone());
        let seen = self.store.revision() + i64::from(*sub > 0);
        let mut prev_kvs = Vec::new();
        if delete.prev_kv {
            self.store.each(&span, seen, |kv| {
                prev_kvs.push(kv.message());
                std::ops::ControlFlow::Continue(())
            });
        }
        let changes: Vec<Change> = self.store.delete(&span, *sub);
        changes.iter().for_each(|change| self.leases.note(change));
        *sub += changes.len() as u32;
        pb::DeleteRangeResponse { header: None, deleted: changes.len() as i64, prev_kvs }
    }

    fn grant(&mut self, now: Instant, term: u64, id: i64, ttl_secs: i64) -> Result<Bytes, Failure> {
        self.check_room()?;
        if ttl_secs > leases::MAX_TTL_SECS {
            return Err(Failure::LeaseTtlTooLarge);
        }
        if self.leases.has(id) {
            return Err(Failure::LeaseExists);
        }
        let ttl = ttl_secs.max(leases::MIN_TTL_SECS);
        self.leases.grant(now, id, ttl);
        let header = Some(self.header(term).message());
        Ok(pb::LeaseGrantResponse { header, id, ttl, error: String::new() }.encode_to_vec().into())
    }

    /// All the lease's keys go at one revision, in order.
    fn revoke(&mut self, id: i64) -> Result<(), Failure> {
        let keys = self.leases.revoke(id).ok_or(Failure::LeaseNotFound)?;
        let mut names: Vec<Bytes> = keys.iter().map(|key| Bytes::copy_from_slice(self.store.name(*key))).collect();
        names.sort_unstable();
        let mut sub = 0;
        for name in names {
            sub += self.store.delete(&Span::new(name, Bytes::new()), sub).len() as u32;
        }
        self.commit(sub);
        Ok(())
    }

    fn alarm(&mut self, term: u64, request: &pb::AlarmRequest) -> pb::AlarmResponse {
        let row = (request.alarm, request.member_id);
        let mut shown = Vec::new();
        match request.action() {
            pb::alarm_request::AlarmAction::Get => {
                let wanted = |kind: i32| request.alarm == 0 || request.alarm == kind;
                shown = self.alarms.iter().copied().filter(|(kind, _)| wanted(*kind)).collect();
            }
            pb::alarm_request::AlarmAction::Activate => {
                if request.alarm != 0 {
                    self.alarms.insert(row);
                    shown.push(row);
                }
            }
            pb::alarm_request::AlarmAction::Deactivate => {
                if self.alarms.remove(&row) {
                    shown.push(row);
                }
            }
        }
        let alarms = shown.into_iter().map(|(alarm, member_id)| pb::AlarmMember { member_id, alarm }).collect();
        pb::AlarmResponse { header: Some(self.header(term).message()), alarms }
    }
}
