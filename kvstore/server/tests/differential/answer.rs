//! What a server answered, without what two servers need not agree on.

use kvstore_server::pb::{
    etcdserverpb::{
        AlarmResponse, AuthEnableResponse, AuthRoleGetResponse, AuthStatusResponse, AuthUserListResponse,
        AuthenticateResponse, CompactionResponse, DefragmentResponse, DeleteRangeResponse, HashKvResponse,
        HashResponse, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse,
        LeaseTimeToLiveResponse, MemberListResponse, PutResponse, RangeResponse, ResponseHeader, StatusResponse,
        TxnResponse, response_op::Response,
    },
    mvccpb::KeyValue,
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Range(RangeResponse),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
    Grant(LeaseGrantResponse),
    Revoke(LeaseRevokeResponse),
    KeepAlive(Vec<LeaseKeepAliveResponse>),
    TimeToLive(LeaseTimeToLiveResponse),
    Leases(LeaseLeasesResponse),
    Members(MemberListResponse),
    Status(StatusResponse),
    Alarm(AlarmResponse),
    Defragment(DefragmentResponse),
    Hash(HashResponse),
    HashKV(HashKvResponse),
    /// Nothing but a header, as most requests about users are answered.
    Done(AuthEnableResponse),
    AuthStatus(AuthStatusResponse),
    Token(AuthenticateResponse),
    /// Of users, or of roles: the answers are made alike.
    Names(AuthUserListResponse),
    Role(AuthRoleGetResponse),
    /// A gRPC status.
    Refused {
        code: i32,
        message: String,
    },
    /// What watches delivered is compared by itself.
    Watch,
    /// Nothing came in time.
    Silence,
}

/// Ids that each server chooses for itself, as the number of the choice.
pub(crate) const FIRST_CHOSEN: i64 = 1 << 40;

/// What stands for a server's own member id in a comparison.
pub(crate) const OWN: u64 = 1;

/// What is known of one server's own choices.
pub(crate) struct Names<'a> {
    pub(crate) member: u64,
    pub(crate) chosen: &'a [i64],
}

// === impl Answer ===

impl Answer {
    /// Everything that two servers must agree on. Left out: ids of clusters, terms, remaining TTL, sizes, hash values,
    /// addresses. That they are there at all is kept, as 1.
    pub(crate) fn masked(mut self, names: &Names<'_>) -> Self {
        if let Some(header) = self.header() {
            names.header(header);
        }
        match &mut self {
            Self::Range(range) => range.kvs.iter_mut().for_each(|kv| names.kv(kv)),
            Self::Put(put) => put.prev_kv.iter_mut().for_each(|kv| names.kv(kv)),
            Self::DeleteRange(delete) => delete.prev_kvs.iter_mut().for_each(|kv| names.kv(kv)),
            Self::Txn(txn) => names.txn(txn),
            Self::Grant(grant) => grant.id = names.lease(grant.id),
            Self::KeepAlive(responses) => {
                for response in responses {
                    response.header.iter_mut().for_each(|header| names.header(header));
                    response.id = names.lease(response.id);
                }
            }
            Self::TimeToLive(response) => {
                response.id = names.lease(response.id);
                response.ttl = response.ttl.signum();
                response.keys.sort();
            }
            Self::Leases(response) => {
                response.leases.iter_mut().for_each(|lease| lease.id = names.lease(lease.id));
                response.leases.sort_by_key(|lease| lease.id);
            }
            Self::Members(response) => {
                for member in &mut response.members {
                    member.id = names.member(member.id);
                    member.peer_ur_ls.iter_mut().for_each(String::clear);
                    member.client_ur_ls.iter_mut().for_each(String::clear);
                }
            }
            Self::Status(status) => names.status(status),
            Self::Alarm(response) => {
                response.alarms.iter_mut().for_each(|alarm| alarm.member_id = names.member(alarm.member_id));
                // etcd has them in no order.
                response.alarms.sort_by_key(|alarm| (alarm.alarm, alarm.member_id));
            }
            Self::Hash(response) => response.hash = 0,
            Self::HashKV(response) => response.hash = 0,
            Self::Token(response) => response.token = shape(&response.token),
            _ => {}
        }
        self
    }

    pub(crate) fn header(&mut self) -> Option<&mut ResponseHeader> {
        match self {
            Self::Range(response) => response.header.as_mut(),
            Self::Put(response) => response.header.as_mut(),
            Self::DeleteRange(response) => response.header.as_mut(),
            Self::Txn(response) => response.header.as_mut(),
            Self::Compact(response) => response.header.as_mut(),
            Self::Grant(response) => response.header.as_mut(),
            Self::Revoke(response) => response.header.as_mut(),
            Self::TimeToLive(response) => response.header.as_mut(),
            Self::Leases(response) => response.header.as_mut(),
            Self::Members(response) => response.header.as_mut(),
            Self::Status(response) => response.header.as_mut(),
            Self::Alarm(response) => response.header.as_mut(),
            Self::Defragment(response) => response.header.as_mut(),
            Self::Hash(response) => response.header.as_mut(),
            Self::HashKV(response) => response.header.as_mut(),
            Self::Done(response) => response.header.as_mut(),
            Self::AuthStatus(response) => response.header.as_mut(),
            Self::Token(response) => response.header.as_mut(),
            Self::Names(response) => response.header.as_mut(),
            Self::Role(response) => response.header.as_mut(),
            Self::KeepAlive(_) | Self::Refused { .. } | Self::Watch | Self::Silence => None,
        }
    }

    /// "ok", or the text of the refusal.
    pub(crate) fn result(&self) -> String {
        match self {
            Self::Refused { message, .. } => message.clone(),
            Self::Silence => "silence".to_owned(),
            _ => "ok".to_owned(),
        }
    }
}

/// A simple token without what is random in it: letters, a dot, and whether a number follows.
fn shape(token: &str) -> String {
    let (letters, index) = token.split_once('.').unwrap_or((token, ""));
    let letters = letters.chars().map(|c| if c.is_ascii_alphabetic() { 'x' } else { c });
    format!("{}.{}", letters.collect::<String>(), index.parse::<u64>().is_ok())
}

// === impl Names ===

impl Names<'_> {
    fn header(&self, header: &mut ResponseHeader) {
        header.cluster_id = header.cluster_id.min(1);
        header.member_id = self.member(header.member_id);
        header.raft_term = header.raft_term.min(1);
    }

    fn member(&self, id: u64) -> u64 {
        if id == self.member { OWN } else { id }
    }

    fn lease(&self, id: i64) -> i64 {
        match self.chosen.iter().position(|chosen| *chosen == id) {
            Some(position) => FIRST_CHOSEN + i64::try_from(position).unwrap(),
            None => id,
        }
    }

    pub(crate) fn kv(&self, kv: &mut KeyValue) {
        kv.lease = self.lease(kv.lease);
    }

    fn txn(&self, txn: &mut TxnResponse) {
        txn.header.iter_mut().for_each(|header| self.header(header));
        for response in txn.responses.iter_mut().filter_map(|op| op.response.as_mut()) {
            let header = match response {
                Response::ResponseRange(range) => {
                    range.kvs.iter_mut().for_each(|kv| self.kv(kv));
                    &mut range.header
                }
                Response::ResponsePut(put) => {
                    put.prev_kv.iter_mut().for_each(|kv| self.kv(kv));
                    &mut put.header
                }
                Response::ResponseDeleteRange(delete) => {
                    delete.prev_kvs.iter_mut().for_each(|kv| self.kv(kv));
                    &mut delete.header
                }
                Response::ResponseTxn(txn) => {
                    self.txn(txn);
                    continue;
                }
            };
            header.iter_mut().for_each(|header| self.header(header));
        }
    }

    fn status(&self, status: &mut StatusResponse) {
        status.leader = self.member(status.leader);
        status.raft_index = status.raft_index.min(1);
        status.raft_applied_index = status.raft_applied_index.min(1);
        status.raft_term = status.raft_term.min(1);
        (status.db_size, status.db_size_in_use) = (0, 0);
        let own = self.member.to_string();
        status.errors.iter_mut().for_each(|error| *error = error.replace(&own, "OWN"));
        status.errors.sort();
    }
}
