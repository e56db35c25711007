//! The raft log in memory, as far as it is not in a checkpoint.

use std::collections::VecDeque;

use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState, Snapshot},
};

#[derive(Debug)]
pub(crate) struct RaftLog {
    hard_state: HardState,
    members: ConfState,
    /// Index and term of the entry before the first.
    before: (u64, u64),
    entries: VecDeque<Entry>,
}

// === impl RaftLog ===

impl RaftLog {
    /// What a checkpoint holds is committed, also when the last hard state was written before it was.
    pub(crate) fn new(members: Vec<u64>, hard_state: HardState, before: (u64, u64), entries: Vec<Entry>) -> Self {
        let hard_state = HardState { commit: hard_state.commit.max(before.0), ..hard_state };
        let members = ConfState { voters: members, ..ConfState::default() };
        Self { hard_state, members, before, entries: entries.into() }
    }

    pub(crate) fn set_hard_state(&mut self, hard_state: &HardState) {
        self.hard_state = hard_state.clone();
    }

    /// Adds entries behind the last, or in place of those with the same index and their followers.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        if let Some(first) = entries.first() {
            self.entries.truncate((first.index - self.before.0 - 1) as usize);
        }
        self.entries.extend(entries);
    }

    pub(crate) fn get(&self, index: u64) -> Option<&Entry> {
        self.entries.get(index.checked_sub(self.before.0 + 1)? as usize)
    }

    /// Forgets entries up to this one.
    pub(crate) fn forget(&mut self, index: u64) {
        while let Some(entry) = self.entries.front()
            && entry.index <= index
        {
            self.before = (entry.index, entry.term);
            self.entries.pop_front();
        }
    }
}

impl Storage for RaftLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.members.clone()))
    }

    /// What is to be sent is copied whole; what is about to be applied is read here by its index, so it comes without
    /// its data.
    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.before.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let range = (low - self.before.0 - 1) as usize..(high - self.before.0 - 1) as usize;
        if range.end > self.entries.len() {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let held = self.entries.range(range);
        if context.can_async() {
            let mut whole = held.cloned().collect();
            raft::util::limit_size(&mut whole, max_size.into());
            return Ok(whole);
        }
        Ok(held
            .map(|entry| Entry {
                entry_type: entry.entry_type,
                term: entry.term,
                index: entry.index,
                ..Entry::default()
            })
            .collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.before.0 {
            return Ok(self.before.1);
        }
        if index < self.before.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        self.get(index).map(|entry| entry.term).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.before.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.before.0 + self.entries.len() as u64)
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        // One member sends no snapshots.
        Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
