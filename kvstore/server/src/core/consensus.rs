//! Raft, as the core uses it: what to write, then what is agreed.
//!
//! Facts of raft 0.7 that are respected here: a read index is silently dropped before the term's first commit, so it is
//! held until then; the election time-out is drawn from a thread's random source, so it is set anew from ours; nothing
//! may be proposed between a `Ready` and its advance, so it is advanced at once, and reported when it is on disk.

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
    /// The number of the last `Ready` that was taken, and of the last that is being written.
    taken: u64,
    written: u64,
    /// What the driver was not given yet.
    unwritten: Option<Writing>,
    agreed: Agreed,
    random: SmallRng,
    term: u64,
    /// A read waits for an index, or for the term's first commit.
    reads_wanted: bool,
    reads_asked: bool,
}

/// What must be on disk before the next step.
#[derive(Debug, Clone, Default, PartialEq)]
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
        Ok(Self {
            node,
            taken: 0,
            written: 0,
            unwritten: None,
            agreed: Agreed::default(),
            random,
            term,
            reads_wanted: false,
            reads_asked: false,
        })
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

    /// A read index that needs nobody else: nothing is agreed that one member does not know of.
    pub(crate) fn read_now(&mut self) -> Option<u64> {
        let raft = &self.node.raft;
        if !(raft.prs().is_singleton() && self.is_leader() && raft.commit_to_current_term()) || self.reads_asked {
            return None;
        }
        self.node.read_index(Vec::new());
        self.node.raft.read_states.pop().map(|read| read.index)
    }

    /// What to write next; `None` when there is nothing to do. More may be proposed while it is written.
    pub(crate) fn writing(&mut self) -> Option<Writing> {
        let mut asks = false;
        if self.reads_wanted && !self.reads_asked && self.is_leader() && self.node.raft.commit_to_current_term() {
            self.node.read_index(Vec::new());
            (self.reads_wanted, self.reads_asked, asks) = (false, true, true);
            self.unwritten.get_or_insert_default();
        }
        self.take_ready();
        self.written = self.taken;
        self.unwritten.take().map(|writing| Writing { asks, ..writing })
    }

    /// The last [`Writing`] is on disk.
    pub(crate) fn written(&mut self) -> Agreed {
        self.node.on_persist_ready(self.written);
        self.take_ready();
        self.node.advance_apply();
        std::mem::take(&mut self.agreed)
    }

    fn take_ready(&mut self) {
        if !self.node.has_ready() {
            return;
        }
        let mut ready = self.node.ready();
        self.taken = ready.number();
        let entries = ready.take_entries();
        let writing = self.unwritten.get_or_insert_default();
        if let Some((first, last)) = entries.first().zip(entries.last()) {
            let first = writing.entries.as_ref().map_or(first.index, |before| *before.start());
            writing.entries = Some(first..=last.index);
        }
        writing.must_sync |= ready.must_sync();
        let log = self.node.mut_store();
        log.append(entries);
        if let Some(hard_state) = ready.hs() {
            log.set_hard_state(hard_state);
            writing.hard_state = Some(hard_state.clone());
        }
        if let Some(read) = ready.take_read_states().last() {
            self.agreed.read_at = Some(read.index);
            self.reads_asked = false;
        }
        let committed = ready.take_committed_entries();
        let ours = |entry: &raft::eraftpb::Entry| (entry.index, entry.entry_type() == EntryType::EntryNormal);
        self.agreed.entries.extend(committed.iter().map(ours));
        self.node.advance_append_async(ready);
    }
}
