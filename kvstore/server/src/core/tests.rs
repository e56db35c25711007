//! The core without a disk: what is written is at once on it.

mod durability;
mod expiry;
mod memory;
mod permissions;
mod watching;

use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use raft::eraftpb::HardState;

use super::{
    Answer, Caller, Core, Limits, Outgoing, Request, StreamId, StreamRequest, Token, checkpoint, consensus::Consensus,
    raft_log::RaftLog, state::State,
};
use crate::pb::etcdserverpb as pb;

/// A core, a clock, and the log that a disk would hold.
struct Machine {
    core: Core,
    now: Instant,
    next: u64,
    /// Who asks from now on.
    caller: Caller,
    outgoing: Vec<Outgoing>,
    log: Vec<raft::eraftpb::Entry>,
    hard_state: HardState,
}

const LIMITS: Limits = Limits {
    max_request_bytes: 1 << 20,
    max_txn_ops: 128,
    quota_bytes: 1 << 30,
    notify_every: Duration::from_secs(600),
};

// === impl Machine ===

impl Machine {
    fn new() -> Self {
        let log = RaftLog::new(vec![1], HardState::default(), (0, 0), Vec::new());
        Self::with(State::new(7, 1), log, 0)
    }

    fn with(state: State, log: RaftLog, applied: u64) -> Self {
        let consensus = Consensus::new(1, log, applied, 5).unwrap();
        let core = Core::new(consensus, state, LIMITS, 99);
        let mut machine = Self {
            core,
            now: Instant::now(),
            next: 0,
            caller: Caller::Nobody,
            outgoing: Vec::new(),
            log: Vec::new(),
            hard_state: HardState::default(),
        };
        machine.settle();
        machine
    }

    /// Everything that can happen without another request happens.
    fn settle(&mut self) {
        loop {
            while let Some(turn) = self.core.writing() {
                for index in turn.entries.into_iter().flatten() {
                    self.log.push(self.core.entry(index).unwrap().clone());
                }
                if let Some(hard_state) = turn.hard_state {
                    self.hard_state = hard_state;
                }
                self.core.written(self.now);
            }
            let more = self.core.work();
            self.outgoing.extend(self.core.take_outgoing());
            assert_eq!(self.core.stopped(), None);
            if !more {
                return;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.core.handle_tick(self.now);
        self.settle();
    }

    fn ask(&mut self, request: Request) -> Answer {
        self.next += 1;
        let token = Token(self.next);
        self.core.handle_request(self.now, token, self.caller.clone(), request);
        self.settle();
        let answers = self.core.take_answers();
        assert_eq!(answers.len(), 1, "one answer a request");
        assert_eq!(answers[0].0, token);
        answers.into_iter().next().unwrap().1
    }

    /// The revision after it.
    fn put(&mut self, key: &str, value: &str) -> i64 {
        self.put_leased(key, value, 0)
    }

    fn put_leased(&mut self, key: &str, value: &str, lease: i64) -> i64 {
        let put = pb::PutRequest { key: text(key), value: text(value), lease, ..Default::default() };
        let raw = put.encode_to_vec().into();
        let answer = self.ask(Request::Put(put, raw)).unwrap();
        pb::PutResponse::decode(answer).unwrap().header.unwrap().revision
    }

    fn delete(&mut self, key: &str) -> i64 {
        let delete = pb::DeleteRangeRequest { key: text(key), ..Default::default() };
        let raw = delete.encode_to_vec().into();
        let answer = self.ask(Request::DeleteRange(delete, raw)).unwrap();
        pb::DeleteRangeResponse::decode(answer).unwrap().deleted
    }

    fn compact(&mut self, revision: i64) {
        let compact = pb::CompactionRequest { revision, physical: true };
        let raw = compact.encode_to_vec().into();
        self.ask(Request::Compact(compact, raw)).unwrap();
    }

    fn keys(&mut self) -> Vec<String> {
        let range = pb::RangeRequest { key: text("\0"), range_end: text("\0"), ..Default::default() };
        let answer = pb::RangeResponse::decode(self.ask(Request::Range(range)).unwrap()).unwrap();
        answer.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
    }

    fn grant(&mut self, id: i64, ttl_secs: i64) {
        let raw = pb::LeaseGrantRequest { ttl: ttl_secs, id }.encode_to_vec().into();
        self.ask(Request::LeaseGrant { id, ttl_secs, raw }).unwrap();
    }

    fn stream(&mut self, stream: u64, request: StreamRequest) {
        self.core.handle_stream(self.now, StreamId(stream), request);
        self.settle();
    }

    fn watch(&mut self, stream: u64, prefix: &str, from: i64) {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().unwrap() += 1;
        let create = pb::WatchCreateRequest {
            key: text(prefix),
            range_end: end.into(),
            start_revision: from,
            ..Default::default()
        };
        self.stream(stream, StreamRequest::Create(create, self.caller.clone()));
    }

    /// What was sent since the last time, as `watch:event,event` a message.
    fn sent(&mut self) -> Vec<String> {
        let shown = |sent: &Outgoing| {
            let message = pb::WatchResponse::decode(sent.body.clone()).unwrap();
            let events = message.events.iter().map(|event| {
                let kv = event.kv.as_ref().unwrap();
                let sign = if event.r#type == 1 { '-' } else { '+' };
                format!("{sign}{}@{}", String::from_utf8_lossy(&kv.key), kv.mod_revision)
            });
            let events: Vec<String> = events.collect();
            match (message.created, message.canceled) {
                (true, false) => format!("{}: created", sent.watch),
                (_, true) => format!("{}: cancelled, compacted {}", sent.watch, message.compact_revision),
                _ => format!("{}: {}", sent.watch, events.join(" ")),
            }
        };
        std::mem::take(&mut self.outgoing).iter().map(shown).collect()
    }

    fn checkpoint(&mut self) -> Vec<Vec<u8>> {
        self.core.begin_checkpoint();
        std::iter::from_fn(|| self.core.next_frame()).collect()
    }
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// The state in a checkpoint.
fn load(now: Instant, frames: Vec<Vec<u8>>) -> State {
    checkpoint::load::<checkpoint::CheckpointError>(now, frames.into_iter().map(Ok)).unwrap()
}
