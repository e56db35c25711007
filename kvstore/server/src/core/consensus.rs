//! Raft, as the core uses it: what to write, then what is agreed.
//!
//! Facts of raft 0.7 that are respected here: a read index is silently dropped before the term's first commit, so it is
//! held until then; the election time-out is drawn from a thread's random source, so it is set anew from ours.

use std::ops::RangeInclusive;

use raft::{
    Config, RawNode, StateRole,
    eraftpb::{EntryType, HardState},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::raft_log::RaftLog;

/// Ticks of 100 ms: etcd's default of 1 s for an election, a tenth of it for a heartbeat.
const ELECTION_TICKS: usize = 10;
const HEARTBEAT_TICKS: usize = 1;
/// Messages on their way to one follower.
const MAX_INFLIGHT: usize = 256;
const MAX_MESSAGE_BYTES: u64 = 1 << 20;

pub(crate) struct Consensus {
    node: RawNode<RaftLog>,
    /// Written, when the driver says so.
    ready: Option<raft::Ready>,
    random: SmallRng,
    term: u64,
    /// A read waits for an index, or for the term's first commit.
    reads_wanted: bool,
    reads_asked: bool,
}

/// What must be on disk before the next step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Writing {
    /// Indices of new entries, in [`Consensus::log`].
    pub(crate) entries: Option<RangeInclusive<u64>>,
    pub(crate) hard_state: Option<HardState>,
    /// Reads that were wanted until now are answered at the index that comes with it.
    pub(crate) asks: bool,
    pub(crate) must_sync: bool,
}

/// What is agreed.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    /// Indices to apply, in order; false: the entry holds nothing of ours.
    pub(crate) entries: Vec<(u64, bool)>,
    /// Reads that were asked for may be answered once this is applied.
    pub(crate) read_at: Option<u64>,
}

// === impl Consensus ===

impl Consensus {
    pub(crate) fn new(member: u64, log: RaftLog, applied: u64, seed: u64) -> Result<Self, raft::Error> {
        let config = Config {
            id: member,
            applied,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            max_size_per_msg: MAX_MESSAGE_BYTES,
            max_inflight_msgs: MAX_INFLIGHT,
            check_quorum: true,
            pre_vote: true,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut node = RawNode::new(&config, log, &logger)?;
        let alone = node.raft.prs().conf().voters().ids().iter().count() == 1;
        if alone {
            node.campaign()?;
        }
        let term = node.raft.term;
        let random = SmallRng::seed_from_u64(seed);
        Ok(Self { node, ready: None, random, term, reads_wanted: false, reads_asked: false })
    }

    pub(crate) fn log(&self) -> &RaftLog {
        self.node.store()
    }

    pub(crate) fn forget(&mut self, index: u64) {
        self.node.mut_store().forget(index);
    }

    pub(crate) fn term(&self) -> u64 {
        self.node.raft.term
    }

    /// 0 when there is none.
    pub(crate) fn leader(&self) -> u64 {
        self.node.raft.leader_id
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    pub(crate) fn committed(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    pub(crate) fn tick(&mut self) {
        self.node.tick();
        if self.term != self.node.raft.term {
            self.term = self.node.raft.term;
            let ticks = self.random.random_range(ELECTION_TICKS..2 * ELECTION_TICKS);
            self.node.raft.set_randomized_election_timeout(ticks);
        }
    }

    /// False when there is no leader to take it.
    pub(crate) fn propose(&mut self, data: Vec<u8>) -> bool {
        self.is_leader() && self.node.propose(Vec::new(), data).is_ok()
    }

    pub(crate) fn want_read(&mut self) {
        self.reads_wanted = true;
    }

    /// What to write next; `None` when there is nothing to do.
    pub(crate) fn writing(&mut self) -> Option<Writing> {
        let mut asks = false;
        if self.reads_wanted && !self.reads_asked && self.is_leader() && self.node.raft.commit_to_current_term() {
            self.node.read_index(Vec::new());
            (self.reads_wanted, self.reads_asked, asks) = (false, true, true);
        }
        if self.ready.is_some() || !self.node.has_ready() {
            return None;
        }
        let mut ready = self.node.ready();
        let entries = ready.take_entries();
        let indices = entries.first().zip(entries.last()).map(|(first, last)| first.index..=last.index);
        let hard_state = ready.hs().cloned();
        let must_sync = ready.must_sync();
        let log = self.node.mut_store();
        log.append(entries);
        if let Some(hard_state) = &hard_state {
            log.set_hard_state(hard_state);
        }
        self.ready = Some(ready);
        Some(Writing { entries: indices, hard_state, asks, must_sync })
    }

    /// The last [`Writing`] is on disk.
    pub(crate) fn written(&mut self) -> Agreed {
        let Some(mut ready) = self.ready.take() else { return Agreed::default() };
        let read_at = ready.take_read_states().last().map(|read| read.index);
        if read_at.is_some() {
            self.reads_asked = false;
        }
        let mut committed = ready.take_committed_entries();
        let mut light = self.node.advance(ready);
        committed.extend(light.take_committed_entries());
        let entries =
            committed.iter().map(|entry| (entry.index, entry.entry_type() == EntryType::EntryNormal)).collect();
        Agreed { entries, read_at }
    }
}
