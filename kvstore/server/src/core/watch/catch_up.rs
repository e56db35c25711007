//! Watches that lag are told from the store's log, a bounded part a turn.

use super::{Hub, Place, StreamId, group::Pending};
use crate::{
    core::{encode::Header, store::Store},
    pb::etcdserverpb as pb,
};

/// Changes that one turn looks at, over all watches: about a millisecond.
const CHANGES_A_TURN: usize = 5_000;
/// Of them for one watch, so that others come to their turn.
const CHANGES_A_WATCH: usize = 1_000;

// === impl Hub ===

impl Hub {
    /// Somebody can be told more.
    pub(crate) fn is_behind(&self) -> bool {
        !self.lagging.is_empty()
    }

    /// Tells lagging watches the next part.
    pub(crate) fn catch_up(&mut self, store: &Store, header: Header) {
        let mut budget = CHANGES_A_TURN;
        while budget > 0 {
            let Some((stream, id)) = self.lagging.pop_front() else { return };
            budget = budget.saturating_sub(1 + self.tell(store, stream, id, header));
        }
    }

    /// The number of changes that were looked at.
    fn tell(&mut self, store: &Store, stream: StreamId, id: i64, header: Header) -> usize {
        let Some(row) = self.streams.get_mut(&stream).filter(|row| !row.full) else { return 0 };
        let Some(watch) = row.watches.get_mut(&id) else { return 0 };
        let Place::Lagging(next) = watch.place else { return 0 };
        if next < store.compacted() {
            self.forget(stream, id);
            self.say(
                stream,
                id,
                pb::WatchResponse {
                    canceled: true,
                    compact_revision: store.compacted(),
                    header: Some(header.message()),
                    ..Default::default()
                },
            );
            self.answer_progress(stream, header);
            return 1;
        }
        let spec = &self.groups[watch.group as usize].spec;
        let (mut seen, mut told, mut pending) = (0, next - 1, Pending::default());
        let mut rest = false;
        for (kv, before) in store.changes(next) {
            if kv.modified > told && (seen >= CHANGES_A_WATCH || pending.is_full_before(kv.modified)) {
                rest = true;
                break;
            }
            (seen, told) = (seen + 1, kv.modified);
            if spec.wants(&kv) && spec.span.contains(kv.key) {
                pending.add(&kv, before.as_ref().filter(|_| spec.before));
            }
        }
        let fragment = spec.fragment.then_some(self.fragment_bytes);
        let upto = if rest { told } else { self.published.max(told) };
        watch.quiet &= pending.is_empty();
        if rest || told > self.published {
            // What is applied but not published comes with the group's next message, or is told here now.
            watch.place = Place::Lagging(upto + 1);
        } else {
            watch.place = Place::Synced;
        }
        let (group, synced) = (watch.group, watch.place == Place::Synced);
        for body in pending.take(Header { revision: upto.max(told), ..header }, fragment) {
            self.out.push(super::Outgoing { stream, watch: id, body });
        }
        if synced {
            self.groups[group as usize].join(stream, id);
            self.answer_progress(stream, header);
        } else {
            self.lagging.push_back((stream, id));
        }
        seen
    }
}
