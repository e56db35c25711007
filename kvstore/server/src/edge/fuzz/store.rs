//! A store without a disk or a thread, behind the edge's decoding.

use std::{
    collections::HashMap,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use raft::eraftpb::{Entry, HardState};
use runtime::Tasks;
use tonic::Status;

use crate::{
    core::{
        Caller, Core, Limits, Request, StreamId, StreamRequest, consensus::Consensus, raft_log::RaftLog, state::State,
    },
    driver::{Desk, Handle},
    edge::{
        Served,
        grpc::{decode, status},
        unary::{self, Method},
    },
    passwords::Passwords,
    pb::etcdserverpb::{self as pb, watch_request::RequestUnion},
    status::Shared,
    tokens,
};

/// Turns after which what was asked must be done.
const MAX_TURNS: usize = 10_000;
const STREAM: StreamId = StreamId(1);
const LIMITS: Limits =
    Limits { max_request_bytes: 2 << 10, max_txn_ops: 16, quota_bytes: 1 << 30, notify_every: Duration::from_secs(5) };

/// An answer's beginning, which all answers of a store have.
#[derive(Clone, PartialEq, prost::Message)]
struct Headed {
    #[prost(message, optional, tag = "1")]
    header: Option<pb::ResponseHeader>,
}

pub(super) struct Store {
    desk: Arc<Desk>,
    /// Time that passed at once.
    ahead: Duration,
    served: Served,
    /// Who asks from now on.
    pub(super) caller: Caller,
    /// Watch messages, decoded: number of the watch, message.
    told: Vec<(i64, pb::WatchResponse)>,
    log: Vec<Entry>,
    hard_state: HardState,
}

// === impl Store ===

impl Store {
    pub(super) fn new() -> Self {
        Self::with(Vec::new(), HardState::default())
    }

    fn with(log: Vec<Entry>, hard_state: HardState) -> Self {
        let log = RaftLog::new(vec![1], hard_state, (0, 0), log);
        let consensus = Consensus::new(1, log, 0, 5).unwrap();
        let shared = Shared::new(pb::Member::default(), LIMITS.max_request_bytes, Tasks::default());
        let shared = Arc::new(shared.with(tokens::simple(), Passwords::new(4)));
        let desk = Desk::new(Core::new(consensus, State::new(7, 1), LIMITS, 99));
        let handle = Handle::new(desk.clone());
        let mut store = Self {
            desk,
            ahead: Duration::ZERO,
            served: Served::new(handle, shared),
            caller: Caller::Nobody,
            told: Vec::new(),
            log: Vec::new(),
            hard_state: HardState::default(),
        };
        store.desk.front().core.handle_stream(Instant::now(), STREAM, StreamRequest::Open);
        store.settle();
        store
    }

    /// Asks; true if it was not refused.
    pub(super) fn ask(&mut self, method: &str, bytes: Vec<u8>) -> bool {
        let raw = Bytes::from(bytes);
        if method == "Watch/Watch" {
            return self.watch(&raw);
        }
        let served = self.served.clone();
        let caller = self.caller.clone();
        let answer = if method == "Lease/LeaseKeepAlive" {
            self.drive(async {
                let asked: pb::LeaseKeepAliveRequest = decode(&raw)?;
                served.handle.ask(caller, Request::LeaseKeepAlive(asked.id)).await.map_err(status)
            })
        } else {
            let path =
                if method.starts_with("grpc.") { format!("/{method}") } else { format!("/etcdserverpb.{method}") };
            let method = Method::find(&path).unwrap();
            self.drive(unary::ask(&served, caller, method, raw))
        };
        let Ok(answer) = answer else { return false };
        if !["Maintenance/Defragment", "grpc.health.v1.Health/Check"].contains(&method) {
            let header =
                <Headed as prost::Message>::decode(answer).unwrap().header.expect("an answer without a header");
            assert_eq!((header.cluster_id, header.member_id), (7, 1));
        }
        true
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.ahead += time;
        self.desk.front().core.handle_tick(Instant::now() + self.ahead);
        self.settle();
        self.check_told();
        self.told.clear();
    }

    /// The log makes the same state again.
    pub(super) fn check_replay(&self) {
        let again = Self::with(self.log.clone(), self.hard_state.clone());
        let (one, other) = (self.desk.front(), again.desk.front());
        let (one, other) = (one.core.state(), other.core.state());
        assert_eq!(one.store.revision(), other.store.revision());
        assert_eq!(one.store.compacted(), other.store.compacted());
        assert_eq!(one.hash(), other.hash());
        let leases = |state: &State| state.leases.rows().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(leases(one), leases(other));
        assert_eq!(one.alarms, other.alarms);
        assert_eq!(one.size(), other.size());
    }

    /// Each creation and each cancellation of a watch that is there is answered once.
    fn watch(&mut self, raw: &Bytes) -> bool {
        let Ok(asked) = decode::<pb::WatchRequest>(raw) else { return false };
        self.told.clear();
        let watches = self.desk.front().core.hub().watch_count();
        let (request, created) = match asked.request_union {
            Some(RequestUnion::CreateRequest(create)) => (StreamRequest::Create(create, self.caller.clone()), 1),
            Some(RequestUnion::CancelRequest(cancel)) => (StreamRequest::Cancel(cancel.watch_id), 0),
            Some(RequestUnion::ProgressRequest(_)) => (StreamRequest::Progress, 0),
            None => return true,
        };
        self.desk.front().core.handle_stream(Instant::now() + self.ahead, STREAM, request);
        self.settle();
        self.check_told();
        assert_eq!(self.told.iter().filter(|(_, message)| message.created).count(), created);
        let ended = self.told.iter().filter(|(_, message)| message.canceled && !message.created).count();
        let refused = self.told.iter().any(|(_, message)| message.canceled && message.created);
        let begun = created - usize::from(refused);
        assert_eq!(self.desk.front().core.hub().watch_count(), watches + begun - ended, "{:?}", self.told);
        !refused
    }

    /// Revisions of one watch never fall.
    fn check_told(&self) {
        let mut last: HashMap<i64, i64> = HashMap::new();
        for (watch, message) in &self.told {
            for event in &message.events {
                let revision = event.kv.as_ref().unwrap().mod_revision;
                assert!(last.insert(*watch, revision).is_none_or(|before| before <= revision));
                assert!(message.header.unwrap().revision >= revision);
            }
        }
    }

    /// Runs a call to its answer: there is one, and it leaves nothing behind.
    fn drive(&mut self, call: impl Future<Output = Result<Bytes, Status>>) -> Result<Bytes, Status> {
        let mut call = pin!(call);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..4 {
            if let Poll::Ready(answer) = call.as_mut().poll(&mut context) {
                assert_eq!(self.desk.front().waiting(), 0, "an answer, and somebody still waits");
                self.check_told();
                self.told.clear();
                return answer;
            }
            self.settle();
        }
        panic!("a call that does not end");
    }

    /// Everything that can happen without another request happens.
    fn settle(&mut self) {
        let mut front = self.desk.front();
        for _ in 0..MAX_TURNS {
            let now = Instant::now() + self.ahead;
            while let Some(turn) = front.core.writing() {
                for index in turn.entries.into_iter().flatten() {
                    self.log.push(front.core.entry(index).unwrap().clone());
                }
                self.hard_state = turn.hard_state.unwrap_or_else(|| self.hard_state.clone());
                front.core.written(now);
            }
            let more = front.core.work();
            assert_eq!(front.core.stopped(), None);
            for sent in front.core.take_outgoing() {
                assert_eq!(sent.stream, STREAM);
                self.told.push((sent.watch, <pb::WatchResponse as prost::Message>::decode(sent.body).unwrap()));
            }
            front.deliver().0.send();
            if !more {
                return;
            }
        }
        panic!("still at work after {MAX_TURNS} turns");
    }
}
