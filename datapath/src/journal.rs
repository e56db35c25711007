//! What was written to the kernel's maps: a bounded memory per map, counts, and whoever wants to hear of each row.
//!
//! Writes of the programs themselves (conntrack, counters) are not in it.

use crate::{MapId, describe, kernel::Pair};
use model::{L3n4Addr, NumericIdentity, Prefix};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::SystemTime,
};

/// Writes remembered per map.
const REMEMBERED: usize = 256;

/// Remembers and counts. Clones share.
#[derive(Clone, Default)]
pub struct Journal(Arc<Inner>);

#[derive(Default)]
struct Inner {
    maps: Mutex<Maps>,
    listener: RwLock<Option<Arc<dyn Listener>>>,
}

/// Hears of rows that the kernel took.
pub trait Listener: Send + Sync {
    /// Whether it wants to hear anything now; asked once a batch, before anything is worked out.
    fn listens(&self) -> bool;

    /// A row was written or deleted.
    fn hear(&self, seen: Seen);
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A row of the ipcache.
    Prefix(Prefix),
    /// A policy row with this peer.
    Identity(NumericIdentity),
    /// A backend that was written; of a deleted one only its number is known.
    Backend(L3n4Addr),
}

#[derive(Default)]
struct Maps {
    next: u64,
    by_name: BTreeMap<&'static str, Written>,
}

/// What was written to one map; policy sets count as one.
#[derive(Clone, Debug, Default)]
pub struct Written {
    pub updates: u64,
    pub deletes: u64,
    pub failed_updates: u64,
    pub failed_deletes: u64,
    pub last_error: Option<String>,
    events: VecDeque<MapEvent>,
}

/// One write.
#[derive(Clone, Debug)]
pub struct MapEvent {
    /// Grows by one with each write of any map.
    pub number: u64,
    pub at: SystemTime,
    pub map: MapId,
    pub key: Vec<u8>,
    /// `None`: a delete.
    pub value: Option<Vec<u8>>,
    /// Why it failed; a batch fails as a whole.
    pub error: Option<String>,
}

impl Journal {
    /// Sets who hears of every row that the kernel took.
    pub fn listen(&self, listener: Arc<dyn Listener>) {
        *self.0.listener.write() = Some(listener);
    }

    pub(crate) fn updated(&self, map: MapId, rows: &[Pair], error: Option<String>) {
        self.record(map, rows.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice()))), error);
    }

    pub(crate) fn deleted(&self, map: MapId, keys: &[Vec<u8>], error: Option<String>) {
        self.record(map, keys.iter().map(|key| (key.as_slice(), None)), error);
    }

    fn record<'a>(
        &self,
        map: MapId,
        rows: impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
        error: Option<String>,
    ) {
        if error.is_none()
            && let Some(listener) = self.0.listener.read().clone().filter(|listener| listener.listens())
        {
            rows.clone()
                .filter_map(|(key, value)| describe::seen(map, key, value))
                .for_each(|seen| listener.hear(seen));
        }
        let (count, at) = (rows.len(), SystemTime::now());
        let mut maps = self.0.maps.lock();
        let first = maps.next;
        maps.next += count as u64;
        let written = maps.by_name.entry(map.spec().name).or_default();
        // Of a batch that is larger than the memory only its end is kept.
        for (index, (key, value)) in rows.enumerate() {
            let counter = match (value.is_some(), error.is_some()) {
                (true, false) => &mut written.updates,
                (false, false) => &mut written.deletes,
                (true, true) => &mut written.failed_updates,
                (false, true) => &mut written.failed_deletes,
            };
            *counter += 1;
            if count - index > REMEMBERED {
                continue;
            }
            if written.events.len() == REMEMBERED {
                written.events.pop_front();
            }
            let (key, value) = (key.to_vec(), value.map(<[u8]>::to_vec));
            let number = first + index as u64;
            written.events.push_back(MapEvent { number, at, map, key, value, error: error.clone() });
        }
        if error.is_some() {
            written.last_error = error;
        }
    }

    /// What was written to a map; `None` when nothing was.
    pub fn written(&self, map: &str) -> Option<Written> {
        self.0.maps.lock().by_name.get(map).cloned()
    }

    /// Every map that was written to, without the single writes.
    pub fn counts(&self) -> Vec<(&'static str, Written)> {
        let maps = self.0.maps.lock();
        let without =
            |written: &Written| Written { events: VecDeque::new(), last_error: written.last_error.clone(), ..*written };
        maps.by_name.iter().map(|(name, written)| (*name, without(written))).collect()
    }
}

impl Written {
    /// The writes from number `since` on, as far as they are remembered.
    pub fn since(&self, since: u64) -> impl Iterator<Item = &MapEvent> {
        self.events.iter().filter(move |event| event.number >= since)
    }
}

impl MapEvent {
    /// Key and value as people read them.
    pub fn describe(&self) -> (String, String) {
        describe::row(self.map, &self.key, self.value.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: u32) -> Vec<Pair> {
        (0..count).map(|number| (number.to_ne_bytes().to_vec(), vec![0; 4])).collect()
    }

    #[test]
    fn memory_is_bounded_and_counts_are_not() {
        let journal = Journal::default();
        journal.updated(MapId::Policy, &rows(1000), None);
        journal.updated(MapId::Policy, &rows(10), None);
        journal.deleted(MapId::Policy, &[vec![1, 0, 0, 0]], Some("no".to_owned()));
        let written = journal.written("policy").unwrap();
        assert_eq!((written.updates, written.deletes, written.failed_deletes), (1010, 0, 1));
        assert_eq!(written.last_error.as_deref(), Some("no"));
        let numbers: Vec<u64> = written.since(0).map(|event| event.number).collect();
        assert_eq!((numbers.len(), numbers[0], numbers[255]), (REMEMBERED, 755, 1010));
        assert_eq!(written.since(1009).count(), 2);
        assert!(journal.written("ct4").is_none());
    }

    #[test]
    fn a_listener_hears_of_rows_that_the_kernel_took() {
        let journal = Journal::default();
        #[derive(Default)]
        struct Heard(Mutex<Vec<Seen>>);
        impl Listener for Heard {
            fn listens(&self) -> bool {
                self.0.lock().len() < 2
            }
            fn hear(&self, seen: Seen) {
                self.0.lock().push(seen);
            }
        }
        let heard = Arc::new(Heard::default());
        journal.listen(heard.clone());
        let address = |last: u8| vec![10, 0, 0, last];
        journal.updated(MapId::Policy, &rows(2), None);
        journal.updated(MapId::Ipcache4, &[(address(1), vec![0; 12])], Some("full".to_owned()));
        journal.updated(MapId::Ipcache4, &[(address(2), vec![0; 12])], None);
        journal.deleted(MapId::Ipcache4, &[address(3)], None);
        journal.deleted(MapId::Ipcache4, &[address(4)], None);
        let prefixes = ["10.0.0.2/32", "10.0.0.3/32"].map(|prefix| Seen::Prefix(prefix.parse().unwrap()));
        assert_eq!(*heard.0.lock(), prefixes, "until it wants no more");
    }
}
