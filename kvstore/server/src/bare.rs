//! The core alone, for counting what it costs: no disk, no thread, no socket. What is proposed counts as written at once.

use std::time::Instant;

use bytes::Bytes;
use prost::Message;

use crate::{
    core::{
        Answer, Caller, Core, Limits, Request, StreamId, StreamRequest, Token, consensus::Consensus, raft_log::RaftLog,
        state::State,
    },
    pb::etcdserverpb as pb,
};

const LIMITS: Limits = Limits {
    max_request_bytes: 3 << 19,
    max_txn_ops: 128,
    quota_bytes: 8 << 30,
    notify_every: std::time::Duration::from_secs(600),
};
const STREAM: StreamId = StreamId(1);

pub struct Bare {
    core: Core,
    now: Instant,
    next: u64,
    told: usize,
}

// === impl Bare ===

impl Bare {
    /// # Panics
    /// When raft refuses an empty log.
    #[expect(clippy::new_without_default, reason = "what is made here has begun to work")]
    pub fn new() -> Self {
        let log = RaftLog::new(vec![1], raft::eraftpb::HardState::default(), (0, 0), Vec::new());
        let consensus = Consensus::new(1, log, 0, 1).expect("an empty log begins");
        let mut bare =
            Self { core: Core::new(consensus, State::new(1, 1), LIMITS, 1), now: Instant::now(), next: 0, told: 0 };
        bare.core.handle_stream(bare.now, STREAM, StreamRequest::Open);
        bare.settle();
        bare
    }

    /// A request as it comes from a client, and its answer; `None` when it was refused.
    pub fn put(&mut self, raw: Bytes) -> Option<Bytes> {
        let put = pb::PutRequest::decode(raw.clone()).ok()?;
        self.ask(Request::Put(put, raw)).ok()
    }

    /// The same of a range.
    pub fn range(&mut self, raw: Bytes) -> Option<Bytes> {
        let range = pb::RangeRequest::decode(raw).ok()?;
        self.ask(Request::Range(range)).ok()
    }

    /// Watches all that a request names, from now on.
    pub fn watch(&mut self, create: pb::WatchCreateRequest) {
        self.core.handle_stream(self.now, STREAM, StreamRequest::Create(create, Caller::default()));
        self.settle();
    }

    /// Messages of watches so far, their creations among them.
    pub fn told(&self) -> usize {
        self.told
    }

    fn ask(&mut self, request: Request) -> Answer {
        let token = Token(self.next);
        self.next += 1;
        self.core.handle_request(self.now, token, Caller::default(), request);
        self.settle();
        self.core.take_answer(token).unwrap_or(Err(crate::core::Failure::Stopped))
    }

    fn settle(&mut self) {
        loop {
            while self.core.writing().is_some() {
                self.core.written(self.now);
            }
            let more = self.core.work();
            self.told += self.core.take_outgoing().len();
            if !more {
                return;
            }
        }
    }
}
