//! Putting raft's log together again from records in the order in which they were written.

use crate::disk::wal::record::Record;
use crate::disk::wal::{LogEntry, Vote};

/// The log so far.
#[derive(Debug)]
pub(super) struct Assembly {
    after_index: u64,
    pub(super) vote: Option<Vote>,
    pub(super) entries: Vec<LogEntry>,
}

// === impl Assembly ===

impl Assembly {
    /// A log whose entries up to `after_index` are known from a checkpoint.
    pub(super) fn new(after_index: u64) -> Self {
        Self { after_index, vote: None, entries: Vec::new() }
    }

    pub(super) fn vote(&mut self, vote: Vote) {
        self.vote = Some(vote);
    }

    pub(super) fn take(&mut self, record: Record<'_>) -> Result<(), String> {
        match record {
            Record::Vote(vote) => self.vote(vote),
            Record::Entry { index, term, kind, data } => {
                if index <= self.after_index {
                    // Known already; but what came after it, it replaced.
                    self.entries.clear();
                    return Ok(());
                }
                let place = index - self.after_index - 1;
                if place > self.entries.len() as u64 {
                    let last = self.after_index + self.entries.len() as u64;
                    return Err(format!("entry {index} follows entry {last}: those between are missing"));
                }
                self.entries.truncate(place as usize);
                self.entries.push(Record::entry(index, term, kind, data));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(after_index: u64, appended: &[(u64, u64)], expected: Result<&[(u64, u64)], &str>) {
        let mut log = Assembly::new(after_index);
        let result = (appended.iter())
            .try_for_each(|&(index, term)| log.take(Record::Entry { index, term, kind: 0, data: b"" }))
            .map(|()| log.entries.iter().map(|entry| (entry.index, entry.term)).collect::<Vec<_>>());
        assert_eq!(result.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn later_entry_replaces_its_index_and_all_after_it() {
        check(0, &[(1, 1), (2, 1), (3, 1)], Ok(&[(1, 1), (2, 1), (3, 1)]));
        check(0, &[(1, 1), (2, 1), (3, 1), (2, 2)], Ok(&[(1, 1), (2, 2)]));
    }

    #[test]
    fn entries_of_the_checkpoint_are_left_out_and_still_replace_what_follows() {
        check(2, &[(1, 1), (2, 1), (3, 1)], Ok(&[(3, 1)]));
        check(2, &[(1, 1), (2, 1), (3, 1), (2, 2), (3, 2)], Ok(&[(3, 2)]));
        // A checkpoint that came from elsewhere may be ahead of the log.
        check(9, &[(1, 1), (2, 1)], Ok(&[]));
    }

    #[test]
    fn gap_is_refused() {
        check(0, &[(1, 1), (3, 1)], Err("entry 3 follows entry 1: those between are missing"));
        check(5, &[(7, 1)], Err("entry 7 follows entry 5: those between are missing"));
    }
}
