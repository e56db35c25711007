//! What can be asked of the core, and how each question begins.

use std::time::Instant;

use bytes::Bytes;

use super::{
    Core, Failure, Job, MAX_PENDING, Pending, Token,
    auth::{Access, AuthRead, AuthWrite, Caller, Need},
    entry::{Entry, Kind},
    hash::HashJob,
    state::{self, Write},
};
use crate::pb::etcdserverpb as pb;

/// A question with one answer. Writes carry the request's bytes as they came.
#[derive(Debug)]
pub(crate) enum Request {
    Range(pb::RangeRequest),
    Put(pb::PutRequest, Bytes),
    DeleteRange(pb::DeleteRangeRequest, Bytes),
    Txn(pb::TxnRequest, Bytes),
    Compact(pb::CompactionRequest, Bytes),
    /// The id was chosen, when the client asked for any.
    LeaseGrant {
        id: i64,
        ttl_secs: i64,
        raw: Bytes,
    },
    LeaseRevoke(i64, Bytes),
    LeaseKeepAlive(i64),
    LeaseTimeToLive(pb::LeaseTimeToLiveRequest),
    LeaseLeases,
    Alarm(pb::AlarmRequest, Bytes),
    HashKv {
        revision: i64,
    },
    /// A change of users or roles, passwords hashed.
    Auth(AuthWrite, Bytes),
    AuthRead(AuthRead),
    /// What cannot be told before everything acknowledged so far is applied: answered with a header.
    Barrier(Need),
    /// How things are, at once.
    Header(Need),
    Status,
}

/// A question that waits for a read index.
#[derive(Debug)]
pub(crate) enum Read {
    Range(pb::RangeRequest),
    Txn(pb::TxnRequest, Bytes),
    Auth(AuthRead),
    Barrier(Need),
}

/// What happens on a watch stream.
#[derive(Debug)]
pub(crate) enum StreamRequest {
    Open,
    Create(pb::WatchCreateRequest, Caller),
    Cancel(i64),
    Progress,
    /// Its reader is behind.
    Full,
    /// Its reader has read.
    Ready,
    Close,
}

// === impl Core ===

impl Core {
    pub(crate) fn handle_request(&mut self, now: Instant, token: Token, caller: Caller, request: Request) {
        if let Err(failure) = self.begin(now, token, caller, request) {
            self.answer(token, Err(failure));
        }
    }

    fn begin(&mut self, now: Instant, token: Token, caller: Caller, request: Request) -> Result<(), Failure> {
        match request {
            Request::Range(range) => {
                state::check_range(&range)?;
                if range.serializable {
                    self.range(token, &caller, range)
                } else {
                    self.read(token, caller, Read::Range(range))
                }
            }
            Request::Put(put, raw) => {
                state::check_put(&put)?;
                self.fits(&raw)?;
                self.check_quota(raw.len())?;
                self.propose((token, &caller), (Kind::Put, 0, raw), Write::Put(put))
            }
            Request::DeleteRange(delete, raw) => {
                state::check_delete(&delete)?;
                self.fits(&raw)?;
                self.state.check_sound()?;
                self.propose((token, &caller), (Kind::DeleteRange, 0, raw), Write::DeleteRange(delete))
            }
            Request::Txn(txn, raw) => {
                state::check_txn(&txn, self.limits.max_txn_ops)?;
                if state::is_read_only(&txn) {
                    if state::is_serializable(&txn) {
                        return self.txn(token, &caller, txn, raw);
                    }
                } else {
                    // What could write is refused as a write, whichever branch it takes.
                    self.fits(&raw)?;
                    self.state.check_sound()?;
                    if state::puts(&txn) {
                        self.check_quota(raw.len())?;
                    }
                }
                // A transaction that writes nothing is a read: it goes through the log only if, at its read index, it
                // turns out to write.
                if self.state.would_only_read(&txn) {
                    self.read(token, caller, Read::Txn(txn, raw))
                } else {
                    self.propose_txn(token, &caller, txn, raw)
                }
            }
            Request::Compact(compact, raw) => {
                let by = self.state.auth.identify(&caller)?;
                self.state.auth.permit_root(&by)?;
                self.fits(&raw)?;
                self.propose((token, &caller), (Kind::Compact, 0, raw), Write::Compact(compact))
            }
            Request::LeaseGrant { id, ttl_secs, raw } => {
                self.check_quota(raw.len())?;
                self.propose((token, &caller), (Kind::LeaseGrant, id, raw), Write::LeaseGrant { id, ttl_secs })
            }
            Request::LeaseRevoke(id, raw) => {
                self.state.check_sound()?;
                self.propose((token, &caller), (Kind::LeaseRevoke, 0, raw), Write::LeaseRevoke(id))
            }
            Request::LeaseKeepAlive(id) => {
                self.lead()?;
                let by = self.state.auth.identify(&caller)?;
                self.state.auth.permit_user(&by)?;
                self.state.permit_lease(&by, id, Access::Write)?;
                let header = Some(self.header().message());
                let ttl = self.state.leases.keep_alive(now, id).unwrap_or(0);
                self.tell(token, &pb::LeaseKeepAliveResponse { header, id, ttl })
            }
            Request::LeaseTimeToLive(asked) => {
                self.lead()?;
                let by = self.state.auth.identify(&caller)?;
                self.state.auth.permit_user(&by)?;
                if asked.keys {
                    self.state.permit_lease(&by, asked.id, Access::Read)?;
                }
                let response = self.time_to_live(now, &asked);
                self.tell(token, &response)
            }
            Request::LeaseLeases => {
                self.lead()?;
                self.state.permit_leases(&self.state.auth.identify(&caller)?)?;
                let leases = self.state.leases.ids().into_iter().map(|id| pb::LeaseStatus { id }).collect();
                self.tell(token, &pb::LeaseLeasesResponse { header: Some(self.header().message()), leases })
            }
            Request::Alarm(alarm, raw) => self.propose((token, &caller), (Kind::Alarm, 0, raw), Write::Alarm(alarm)),
            Request::HashKv { revision } => {
                self.need(&caller, Need::Root)?;
                let reads_at = self.state.store.reads_at(revision, self.state.store.revision())?;
                // etcd takes a negative revision as it is: nothing had happened yet.
                let revision = if revision < 0 { revision } else { reads_at };
                let job = HashJob::new(&self.state, revision);
                self.work_on(token, Job::Hash(job));
                Ok(())
            }
            Request::Auth(change, raw) => {
                self.fits(&raw)?;
                self.propose((token, &caller), (change.kind(), 0, raw), Write::Auth(change))
            }
            Request::AuthRead(read) => self.read(token, caller, Read::Auth(read)),
            Request::Barrier(need) => self.read(token, caller, Read::Barrier(need)),
            Request::Header(need) => {
                self.need(&caller, need)?;
                self.answer_read_now(token)
            }
            Request::Status => {
                self.need(&caller, Need::User)?;
                let status = self.status();
                self.tell(token, &status)
            }
        }
    }

    pub(super) fn propose_txn(
        &mut self,
        token: Token,
        caller: &Caller,
        txn: pb::TxnRequest,
        raw: Bytes,
    ) -> Result<(), Failure> {
        self.propose((token, caller), (Kind::Txn, 0, raw), Write::Txn(txn))
    }

    pub(super) fn need(&self, caller: &Caller, need: Need) -> Result<(), Failure> {
        if need == Need::Nothing {
            return Ok(());
        }
        self.state.permit_need(&self.state.auth.identify(caller)?, need)
    }

    fn read(&mut self, token: Token, caller: Caller, read: Read) -> Result<(), Failure> {
        // A barrier is there to find out whether the store's thread and its disk go on.
        if !matches!(read, Read::Barrier(_))
            && self.consensus.read_now().is_some_and(|index| index <= self.state.applied)
        {
            self.answer_read(token, &caller, read);
            return Ok(());
        }
        self.reads.push((token, caller, read));
        self.consensus.want_read();
        Ok(())
    }

    /// What is not permitted does not get into the log; what is asked for again when it is applied.
    fn propose(
        &mut self,
        (token, caller): (Token, &Caller),
        (kind, chosen, request): (Kind, i64, Bytes),
        write: Write,
    ) -> Result<(), Failure> {
        if self.pending.len() >= MAX_PENDING {
            return Err(Failure::TooManyRequests);
        }
        let by = self.state.auth.identify(caller)?;
        self.state.permit(&by, &write)?;
        let id = self.boot.wrapping_add(token.0);
        let (auth_revision, principal) = (by.revision(), by.name().to_owned());
        let entry = Entry { kind, id, auth_revision, chosen, principal, request };
        if !self.consensus.propose(entry.encode()) {
            return Err(Failure::NoLeader);
        }
        let physical = matches!(&write, Write::Compact(compact) if compact.physical);
        self.pending.insert(id, Pending { token: Some(token), by, write, physical });
        Ok(())
    }

    fn lead(&self) -> Result<(), Failure> {
        if self.consensus.is_leader() { Ok(()) } else { Err(Failure::NoLeader) }
    }

    fn fits(&self, raw: &Bytes) -> Result<(), Failure> {
        if raw.len() > self.limits.max_request_bytes { Err(Failure::TooLarge) } else { Ok(()) }
    }

    /// Whether this much more may be stored. The first refusal raises the alarm, which the log then enforces.
    fn check_quota(&mut self, bytes: usize) -> Result<(), Failure> {
        self.state.check_sound()?;
        if self.is_full() {
            return Err(Failure::NoSpace);
        }
        if self.state.size() + bytes as u64 <= self.limits.quota_bytes {
            return Ok(());
        }
        self.raise_no_space();
        Err(Failure::NoSpace)
    }
}
