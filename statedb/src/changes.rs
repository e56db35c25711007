//! What changed since a reader last looked.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Reader, Row, RowRef, Snapshot, Watch};

/// One change of a table.
#[derive(Debug, Clone)]
pub enum Change<R> {
    /// The row is new, or replaced the one of its key.
    Upsert(RowRef<R>),
    /// The row went; this is what it last was.
    Delete(RowRef<R>),
}

/// A reader's position in a table's changes.
///
/// While it lives, deletions it has not seen are remembered, so a reader that stops reading must be dropped.
pub struct Changes<R: Row> {
    reader: Reader<R>,
    watch: Watch,
    id: u64,
    seen: u64,
}

impl<R> Change<R> {
    /// The row, whether it came or went.
    pub fn row(&self) -> &RowRef<R> {
        match self {
            Self::Upsert(row) | Self::Delete(row) => row,
        }
    }
}

impl<R: Row> Changes<R> {
    pub(crate) fn new(reader: Reader<R>) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let mut watch = reader.watch();
        reader.register(id, 0);
        // What is there already counts as a change, so the first wait must not sleep through it.
        watch.mark_changed();
        Self { reader, watch, id, seen: 0 }
    }

    /// The changes since the last call in the order of their revisions, one for each key that differs.
    ///
    /// A row written and deleted between two calls shows as one deletion.
    pub fn drain(&mut self) -> Vec<Change<R>> {
        self.drain_with_snapshot().0
    }

    /// As [`drain`](Self::drain), with the version of the table up to which the changes lead.
    pub fn drain_with_snapshot(&mut self) -> (Vec<Change<R>>, Snapshot<R>) {
        let snapshot = self.reader.snapshot();
        let state = &snapshot.0;
        let after = self.seen;
        let from = |revision: &u64| revision.cmp(&(after + 1));
        let mut written = state.by_revision.iter_from(from).peekable();
        let mut deleted = state
            .graveyard
            .iter_from(from)
            // A key deleted and written again shows as the write alone.
            .filter(|(_, row)| state.rows.get(&row.key()).is_none())
            .peekable();
        let mut changes = Vec::new();
        loop {
            let write_first = match (written.peek(), deleted.peek()) {
                (None, None) => break,
                (Some((write, _)), Some((delete, _))) => write < delete,
                (write, _) => write.is_some(),
            };
            if write_first {
                changes.extend(written.next().map(|(_, row)| Change::Upsert(row.clone())));
            } else {
                changes.extend(deleted.next().map(|(_, row)| Change::Delete(row.clone())));
            }
        }
        self.seen = snapshot.revision();
        self.reader.register(self.id, self.seen);
        (changes, snapshot)
    }

    /// Waits until there may be something to see. Cancel safe.
    pub async fn wait(&mut self) {
        self.watch.changed().await;
    }
}

impl<R: Row> Drop for Changes<R> {
    fn drop(&mut self) {
        self.reader.unregister(self.id);
    }
}
