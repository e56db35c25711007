//! The store as a machine: requests, ticks and finished writes in; answers, watch messages and writes out. It has no
//! clock, socket, task, disk or random source.
//!
//! ```text
//!  handle_request ─┬─ reads ──> wait for a read index ──> answered from the state
//!                  └─ writes ─> proposed ─> writing() ─> [disk] ─> written() ─> applied ─> answered, published
//! ```
//! Nothing is applied before it is written. Long work (large ranges, hashes, compaction, watches that lag) goes in
//! slices, one a turn.

mod answers;
mod audit;
pub(crate) mod auth;
pub(crate) mod checkpoint;
pub(crate) mod consensus;
mod encode;
mod entry;
mod failure;
mod hash;
mod leases;
pub(crate) mod raft_log;
mod request;
mod span;
pub(crate) mod state;
mod store;
mod turn;
mod watch;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use auth::By;
use checkpoint::Checkpointer;
use consensus::Consensus;
use entry::Entry;
use hash::HashJob;
use state::{RangeJob, State, Write};
use watch::Hub;

pub(crate) use audit::Audit;
pub(crate) use auth::{Caller, Proof};
pub(crate) use encode::varint;
pub(crate) use failure::Failure;
pub(crate) use request::{Read, Request, StreamRequest};
pub(crate) use watch::{Outgoing, StreamId};

/// Finds the one who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) u64);

/// An answer's message, encoded.
pub(crate) type Answer = Result<Bytes, Failure>;

/// Bounds, each with etcd's name and default where etcd has it.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) max_request_bytes: usize,
    pub(crate) max_txn_ops: usize,
    pub(crate) quota_bytes: u64,
    pub(crate) notify_every: Duration,
}

/// Writes that may wait for the disk: etcd's bound of commits that are not applied.
const MAX_PENDING: usize = 5_000;

/// A request that waits for its entry to be applied.
struct Pending {
    token: Option<Token>,
    by: By,
    write: Write,
    physical: bool,
}

/// Long work, and the revision of the permissions at which it was let begin.
struct Work {
    token: Token,
    permitted_at: Option<u64>,
    job: Job,
}

enum Job {
    Range(Box<RangeJob>),
    Hash(HashJob),
}

pub(crate) struct Core {
    consensus: Consensus,
    state: State,
    hub: Hub,
    limits: Limits,
    /// Added to a token to make a request id, so that ids of an earlier run are never ours.
    boot: u64,
    next_own: u64,
    pending: HashMap<u64, Pending>,
    /// Reads that came after the last read index was asked for, and those that wait for its answer.
    reads: Vec<(Token, Caller, Read)>,
    asked: Vec<(Token, Caller, Read)>,
    jobs: VecDeque<Work>,
    /// Compactions that are answered when nothing is left to free.
    sweeping: Vec<(Token, Bytes)>,
    checkpointer: Option<Checkpointer>,
    /// An alarm is on its way through the log.
    space_alarmed: bool,
    answers: Vec<(Token, Answer)>,
    audits: Vec<Audit>,
    stopped: Option<String>,
}

// === impl Core ===

impl Core {
    pub(crate) fn new(consensus: Consensus, state: State, limits: Limits, boot: u64) -> Self {
        let hub = Hub::new(state.store.revision(), limits.max_request_bytes, limits.notify_every);
        Self {
            consensus,
            state,
            hub,
            limits,
            boot,
            next_own: 0,
            pending: HashMap::new(),
            reads: Vec::new(),
            asked: Vec::new(),
            jobs: VecDeque::new(),
            sweeping: Vec::new(),
            checkpointer: None,
            space_alarmed: false,
            answers: Vec::new(),
            audits: Vec::new(),
            stopped: None,
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn consensus(&self) -> &Consensus {
        &self.consensus
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// The answer to a request that needed nothing but what is applied.
    pub(crate) fn take_answer(&mut self, token: Token) -> Option<Answer> {
        self.answers.pop_if(|(answered, _)| *answered == token).map(|(_, answer)| answer)
    }

    pub(crate) fn take_answers(&mut self) -> Vec<(Token, Answer)> {
        std::mem::take(&mut self.answers)
    }

    pub(crate) fn take_audits(&mut self) -> Vec<Audit> {
        std::mem::take(&mut self.audits)
    }

    pub(crate) fn take_outgoing(&mut self) -> Vec<Outgoing> {
        self.hub.take_outgoing()
    }

    /// Why the log cannot be applied by this version: the process must end.
    pub(crate) fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    pub(crate) fn handle_tick(&mut self, now: Instant) {
        self.consensus.tick();
        self.hub.notify(now, self.header());
        self.expire(now);
    }

    pub(crate) fn handle_stream(&mut self, now: Instant, stream: StreamId, request: StreamRequest) {
        let header = self.header();
        match request {
            StreamRequest::Open => self.hub.open(now, stream),
            StreamRequest::Create(create, caller) => {
                let permitted = self.state.auth.permit_watch(&caller, &watch::span(&create));
                if let Err(failure) = permitted {
                    self.audits.push(Audit::Refused { caller: caller.clone(), failure });
                }
                self.hub.create(stream, &create, (caller, permitted), header);
            }
            StreamRequest::Cancel(id) => self.hub.cancel(stream, id, header),
            StreamRequest::Progress => self.hub.ask_progress(stream, header),
            StreamRequest::Full => self.hub.set_full(stream),
            StreamRequest::Ready => self.hub.set_ready(stream),
            StreamRequest::Close => self.hub.close(stream),
        }
    }

    /// Begins a checkpoint of what is applied now.
    pub(crate) fn begin_checkpoint(&mut self) -> (u64, u64) {
        self.state.store.hold(true);
        self.checkpointer = Some(Checkpointer::new(&self.state));
        (self.state.applied, self.state.applied_term)
    }

    /// The checkpoint's next frame; `None` when it is complete.
    pub(crate) fn next_frame(&mut self) -> Option<Vec<u8>> {
        let frame = self.checkpointer.as_mut().and_then(|checkpointer| checkpointer.next(&self.state));
        if frame.is_none() {
            self.end_checkpoint();
        }
        frame
    }

    /// The checkpoint is not wanted any more.
    pub(crate) fn end_checkpoint(&mut self) {
        self.checkpointer = None;
        self.state.store.hold(false);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.state.alarms.iter().any(|(kind, _)| *kind == state::NO_SPACE)
    }

    pub(crate) fn quota_bytes(&self) -> u64 {
        self.limits.quota_bytes
    }

    /// Compacts without being asked.
    pub(crate) fn compact_own(&mut self, revision: i64) {
        let compact = crate::pb::etcdserverpb::CompactionRequest { revision, physical: false };
        let raw = prost::Message::encode_to_vec(&compact).into();
        self.propose_own((entry::Kind::Compact, 0, raw), Write::Compact(compact));
    }

    /// What takes room is refused from here on, by the log, until somebody disarms the alarm.
    pub(crate) fn raise_no_space(&mut self) {
        if self.space_alarmed || self.is_full() {
            return;
        }
        let alarm = crate::pb::etcdserverpb::AlarmRequest {
            action: crate::pb::etcdserverpb::alarm_request::AlarmAction::Activate as i32,
            member_id: self.state.member,
            alarm: state::NO_SPACE,
        };
        let raw = prost::Message::encode_to_vec(&alarm).into();
        self.space_alarmed = self.propose_own((entry::Kind::Alarm, 0, raw), Write::Alarm(alarm));
    }

    fn header(&self) -> encode::Header {
        self.state.header(self.consensus.term())
    }

    fn answer(&mut self, token: Token, answer: Answer) {
        self.answers.push((token, answer));
    }

    /// Leases whose time is over end through the log.
    fn expire(&mut self, now: Instant) {
        if !self.consensus.is_leader() || self.pending.len() >= MAX_PENDING {
            return;
        }
        loop {
            let ids = self.state.leases.expired(now);
            if ids.is_empty() {
                return;
            }
            let term = self.consensus.term();
            let request = ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>().into();
            let write = Write::LeaseExpire { ids: ids.clone(), term };
            let entry = (entry::Kind::LeaseExpire, term as i64, request);
            if !self.propose_own(entry, write) {
                self.state.leases.retry(now, &ids);
                return;
            }
        }
    }

    /// What nobody asked for: expiries and alarms.
    fn propose_own(&mut self, (kind, chosen, request): (entry::Kind, i64, Bytes), write: Write) -> bool {
        // Tokens of requests count upwards from 0; these come down from the top.
        self.next_own += 1;
        let id = self.boot.wrapping_sub(self.next_own);
        let by = By::Store;
        let entry = Entry { kind, id, auth_revision: by.revision(), chosen, principal: String::new(), request };
        let proposed = self.consensus.propose(entry.encode());
        if proposed {
            self.pending.insert(id, Pending { token: None, by, write, physical: false });
        }
        proposed
    }
}
