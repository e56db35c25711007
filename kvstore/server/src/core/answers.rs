//! Answers: what is read when its time has come, by those who may.

use std::time::Instant;

use bytes::Bytes;
use prost::Message;

use super::{
    Core, Failure, Job, Token, Work,
    auth::{AuthRead, By, Caller},
    request::Read,
    state::{RangeJob, Step},
};
use crate::pb::etcdserverpb as pb;

// === impl Core ===

impl Core {
    /// Answers a read whose time has come.
    pub(super) fn answer_read(&mut self, token: Token, caller: &Caller, read: Read) {
        let begun = match read {
            Read::Range(range) => self.range(token, caller, range),
            Read::Txn(txn, raw) => self.txn(token, caller, txn, raw),
            Read::Auth(read) => self.auth_read(token, caller, &read),
            Read::Barrier(need) => self.need(caller, need).and_then(|()| self.answer_read_now(token)),
        };
        if let Err(failure) = begun {
            self.answer(token, Err(failure));
        }
    }

    /// An answer that is only a header.
    pub(super) fn answer_read_now(&mut self, token: Token) -> Result<(), Failure> {
        let header = Some(self.header().message());
        self.tell(token, &pb::MemberListResponse { header, members: Vec::new() })
    }

    pub(super) fn status(&self) -> pb::StatusResponse {
        let errors = self.state.alarms.iter().map(|(kind, member)| {
            let name = pb::AlarmType::try_from(*kind).map_or("UNKNOWN", |alarm| alarm.as_str_name());
            // As protobuf's text form has it, which leaves out a member 0.
            let member = if *member == 0 { String::new() } else { format!("memberID:{member} ") };
            format!("{member}alarm:{name} ")
        });
        pb::StatusResponse {
            header: Some(self.header().message()),
            version: crate::status::ETCD_VERSION.to_owned(),
            db_size: self.state.size() as i64,
            leader: self.consensus.leader(),
            raft_index: self.consensus.committed(),
            raft_term: self.consensus.term(),
            raft_applied_index: self.state.applied,
            errors: errors.collect(),
            db_size_in_use: self.state.size_in_use() as i64,
            is_learner: false,
            storage_version: crate::status::ETCD_CLUSTER_VERSION.to_owned(),
            db_size_quota: self.limits.quota_bytes as i64,
            downgrade_info: Some(pb::DowngradeInfo::default()),
        }
    }

    /// Asked when it is answered, not when it came: that is when it has to be permitted.
    pub(super) fn range(&mut self, token: Token, caller: &Caller, range: pb::RangeRequest) -> Result<(), Failure> {
        let by = self.state.auth.identify(caller)?;
        self.state.permit_range(&by, &range)?;
        match RangeJob::begin(&self.state.store, range, self.header())? {
            Step::Done(answer) => self.answer(token, Ok(answer)),
            Step::Again(job) => self.work_on(token, Job::Range(job)),
        }
        Ok(())
    }

    pub(super) fn txn(
        &mut self,
        token: Token,
        caller: &Caller,
        txn: pb::TxnRequest,
        raw: Bytes,
    ) -> Result<(), Failure> {
        let by = self.state.auth.identify(caller)?;
        self.state.permit_txn(&by, &txn)?;
        match self.state.read_txn(&txn, self.consensus.term()) {
            Some(response) => self.tell(token, &response?),
            None => self.propose_txn(token, caller, txn, raw),
        }
    }

    pub(super) fn auth_read(&mut self, token: Token, caller: &Caller, read: &AuthRead) -> Result<(), Failure> {
        // Who asks for a token has none, or one that is over.
        let by = match read {
            AuthRead::Credential(_) => By::Nobody,
            _ => self.state.auth.identify(caller)?,
        };
        let answer = self.state.auth.read(&by, read, self.header(), self.state.applied)?;
        self.answer(token, Ok(answer));
        Ok(())
    }

    pub(super) fn work_on(&mut self, token: Token, job: Job) {
        let permitted_at = self.state.auth.is_enabled().then(|| self.state.auth.revision());
        self.jobs.push_back(Work { token, permitted_at, job });
    }

    pub(super) fn time_to_live(&self, now: Instant, asked: &pb::LeaseTimeToLiveRequest) -> pb::LeaseTimeToLiveResponse {
        let header = Some(self.header().message());
        let Some(standing) = self.state.leases.standing(now, asked.id) else {
            return pb::LeaseTimeToLiveResponse { header, id: asked.id, ttl: -1, ..Default::default() };
        };
        let mut keys: Vec<Bytes> = Vec::new();
        if asked.keys {
            keys.extend(self.state.leases.keys(asked.id).map(|key| Bytes::copy_from_slice(self.state.store.name(key))));
            keys.sort_unstable();
        }
        let (ttl, granted_ttl) = (standing.left_secs, standing.granted_secs);
        pb::LeaseTimeToLiveResponse { header, id: asked.id, ttl, granted_ttl, keys }
    }

    pub(super) fn tell(&mut self, token: Token, message: &impl Message) -> Result<(), Failure> {
        self.answer(token, Ok(message.encode_to_vec().into()));
        Ok(())
    }
}
