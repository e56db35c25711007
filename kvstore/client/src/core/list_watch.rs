//! A prefix, followed for ever: the rules.
//!
//! ```text
//! empty ──> listing ──> watching ──(watch ended)──> waiting ──> proving ──same store──> watching
//!              ^                                                   │
//!              └───────(compacted, a gap, or another store)────────┘
//! ```
//! The list is linearizable and pinned to one revision; the watch starts right after it. Whatever
//! interrupts it, the next step is never a guess: the store must first prove that it is the one we
//! knew. Then a watch goes on where it ended, or a list tells what changed, deletes included. A
//! store that cannot prove it is listed afresh and nothing is deleted: whoever reads decides.
//!
//! Proof, because etcd's cluster id says little (a wiped store comes back with the same one): same
//! cluster id, a revision not below ours, and the newest put that we know still there with its bytes,
//! either as the key's present state or at its own revision.

mod known;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use self::known::Known;
use super::{backoff::Backoff, pages::Pages};
use crate::{Cause, Error, KeyEvent, KeyValue, Range, RangeResult, Revision, WatchBatch};

/// What a reader learns, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Created(KeyValue),
    Modified(KeyValue),
    /// With proof: a delete event, or absence from a newer list of the same store.
    Deleted {
        key: Bytes,
        revision: Revision,
    },
    /// Once: everything that was there at the start has been told.
    ListDone,
    /// What follows comes from a store that may not be the one we knew. Keys that it does not have
    /// are not deleted; the next `Relisted` counts them.
    StoreUnknown,
    /// Told everything again. `unproven` keys are held although the store does not have them, until
    /// they appear, are deleted there, or their absence is accepted.
    Relisted {
        unproven: usize,
    },
}

/// What the driver must do. At most one request is out; asking for one ends an open watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answer with `handle_proof`.
    Prove(Range),
    /// Answer with `handle_page`.
    List(Range),
    /// Answer with `handle_batch` for each batch, and for the error that ends it.
    Watch {
        range: Range,
        from: Revision,
    },
    Emit(Vec<Event>),
}

#[derive(Debug)]
pub struct ListWatch {
    prefix: Bytes,
    state: State,
    known: Known,
    /// The store as we know it; `None` before the first answer, and after a store was found unknown.
    store: Option<Store>,
    pages: Pages,
    backoff: Backoff,
    done: bool,
    effects: VecDeque<Effect>,
}

#[derive(Debug)]
struct Store {
    cluster_id: u64,
    /// Everything up to here was told.
    revision: Revision,
    /// The newest put under the prefix.
    newest: Option<KeyValue>,
}

#[derive(Debug)]
enum State {
    Empty,
    Waiting {
        until: Instant,
        next: Next,
    },
    /// `old`: the second question, the key at its own revision.
    Proving {
        old: bool,
        next: Next,
    },
    Listing(Listing),
    Watching,
}

/// What to do once the store is proven to be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Watch,
    List,
}

#[derive(Debug)]
struct Listing {
    /// The first page's revision, to which the others are pinned; 0 before it.
    revision: Revision,
    start: Bytes,
    newest: Option<KeyValue>,
}

// === impl ListWatch ===

impl ListWatch {
    pub fn new(prefix: impl Into<Bytes>) -> Self {
        Self {
            prefix: prefix.into(),
            state: State::Empty,
            known: Known::default(),
            store: None,
            pages: Pages::new(),
            backoff: Backoff::LIST,
            done: false,
            effects: VecDeque::new(),
        }
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        if matches!(self.state, State::Empty) {
            self.list();
        }
        self.effects.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until, .. } => Some(until),
            _ => None,
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if let State::Waiting { until, next } = self.state
            && until <= now
        {
            self.resume(next);
        }
    }

    /// Tells everything again, if nothing else is going on.
    pub fn handle_relist(&mut self) {
        if matches!(self.state, State::Watching) {
            self.resume(Next::List);
        }
    }

    /// The reader has decided that what the store does not have is gone.
    pub fn handle_accept_absence(&mut self) {
        let revision = self.store.as_ref().map_or(0, |s| s.revision);
        let events = self.known.take_unproven().map(|key| Event::Deleted { key, revision }).collect();
        self.emit(events);
    }

    pub fn handle_proof(&mut self, now: Instant, answer: Result<RangeResult, Error>, jitter: f64) {
        let State::Proving { old, next } = self.state else { return };
        let Some(store) = &self.store else { return };
        let same = |found: &RangeResult| {
            let newest = store.newest.as_ref();
            found.kvs.first().zip(newest).is_some_and(|(a, b)| (a.mod_revision, &a.value) == (b.mod_revision, &b.value))
        };
        match answer {
            Ok(found) if found.header.cluster_id != store.cluster_id => self.unknown(),
            Ok(found) if found.header.revision < store.revision => self.unknown(),
            Ok(found) if same(&found) => match next {
                Next::Watch => self.watch(),
                Next::List => self.list(),
            },
            // Overwritten or deleted since: it must still be readable as it was.
            Ok(_) if !old => self.prove(true, next),
            Ok(_) => self.unknown(),
            Err(error) => match error.cause {
                Cause::Compacted(_) | Cause::FutureRevision | Cause::ClusterChanged { .. } => self.unknown(),
                _ => self.wait(now, jitter, next),
            },
        }
    }

    pub fn handle_page(&mut self, now: Instant, answer: Result<RangeResult, Error>, jitter: f64) {
        let State::Listing(listing) = &mut self.state else { return };
        let page = match answer {
            Ok(page) => page,
            Err(error) => {
                return match error.cause {
                    Cause::TooLarge(_) if self.pages.halve() => self.ask_page(),
                    _ => self.wait(now, jitter, Next::List),
                };
            }
        };
        if let Some(store) = &self.store
            && (page.header.cluster_id != store.cluster_id || page.header.revision < store.revision)
        {
            return self.unknown();
        }
        if listing.revision == 0 {
            listing.revision = page.header.revision;
        }
        let revision = listing.revision;
        self.pages.learn(page.kvs.len(), page.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum());
        let newest = page.kvs.iter().chain(&listing.newest).max_by_key(|kv| kv.mod_revision).cloned();
        listing.newest = newest.clone();
        // The next page starts right after the last key.
        let next = page.kvs.last().filter(|_| page.more).map(|kv| Bytes::from([&kv.key[..], b"\0"].concat()));
        let mut events = Vec::new();
        for kv in page.kvs {
            match self.known.see(&kv.key, kv.mod_revision) {
                known::Was::Absent => events.push(Event::Created(kv)),
                known::Was::Other => events.push(Event::Modified(kv)),
                known::Was::Same => {}
            }
        }
        if let Some(start) = next {
            listing.start = start;
            self.emit(events);
            return self.ask_page();
        }
        events.extend(self.known.take_absent().map(|key| Event::Deleted { key, revision }));
        events.push(if self.done { Event::Relisted { unproven: self.known.unproven() } } else { Event::ListDone });
        self.done = true;
        self.emit(events);
        self.store = Some(Store { cluster_id: page.header.cluster_id, revision, newest });
        self.backoff.reset();
        self.watch();
    }

    pub fn handle_batch(&mut self, now: Instant, answer: Result<WatchBatch, Error>, jitter: f64) {
        let (State::Watching, Some(store)) = (&self.state, &mut self.store) else { return };
        let batch = match answer {
            Ok(batch) => batch,
            Err(error) => {
                let next = if matches!(error.cause, Cause::Compacted(_)) { Next::List } else { Next::Watch };
                return self.wait(now, jitter, next);
            }
        };
        let revision_of = |event: &KeyEvent| match event {
            KeyEvent::Put(kv) => kv.mod_revision,
            KeyEvent::Delete { revision, .. } => *revision,
        };
        let foreign = batch.header.cluster_id != store.cluster_id;
        if foreign || batch.events.iter().any(|event| revision_of(event) <= store.revision) {
            // Another store answers, or it counts backwards: find out.
            return self.wait(now, jitter, Next::List);
        }
        let mut events = Vec::with_capacity(batch.events.len());
        for event in batch.events {
            store.revision = store.revision.max(revision_of(&event));
            match event {
                KeyEvent::Put(kv) => {
                    store.newest = Some(kv.clone());
                    let created = self.known.see(&kv.key, kv.mod_revision) == known::Was::Absent;
                    events.push(if created { Event::Created(kv) } else { Event::Modified(kv) });
                }
                KeyEvent::Delete { key, revision } => {
                    if self.known.forget(&key) {
                        events.push(Event::Deleted { key, revision });
                    }
                }
            }
        }
        self.backoff.reset();
        self.emit(events);
    }

    fn emit(&mut self, events: Vec<Event>) {
        if !events.is_empty() {
            self.effects.push_back(Effect::Emit(events));
        }
    }

    fn wait(&mut self, now: Instant, jitter: f64, next: Next) {
        let delay: Duration = self.backoff.next(jitter);
        self.state = State::Waiting { until: now + delay, next };
    }

    /// Before anything of a known store is believed, it must prove itself.
    fn resume(&mut self, next: Next) {
        match &self.store {
            Some(store) if store.newest.is_some() => self.prove(false, next),
            // Nothing of that store is held, so there is nothing to prove and nothing to lose.
            _ => self.list(),
        }
    }

    fn prove(&mut self, old: bool, next: Next) {
        let Some(newest) = self.store.as_ref().and_then(|store| store.newest.as_ref()) else { return self.list() };
        let revision = if old { newest.mod_revision } else { 0 };
        self.effects.push_back(Effect::Prove(Range::key(newest.key.clone()).at(revision)));
        self.state = State::Proving { old, next };
    }

    fn unknown(&mut self) {
        self.store = None;
        self.known.distrust();
        self.emit(vec![Event::StoreUnknown]);
        self.list();
    }

    fn list(&mut self) {
        self.known.start_list();
        let start = Range::prefix(self.prefix.clone()).key;
        self.state = State::Listing(Listing { revision: 0, start, newest: None });
        self.ask_page();
    }

    fn ask_page(&mut self) {
        let State::Listing(listing) = &self.state else { return };
        let whole = Range::prefix(self.prefix.clone());
        let page = Range { key: listing.start.clone(), ..whole }.limit(self.pages.limit()).at(listing.revision);
        self.effects.push_back(Effect::List(page));
    }

    fn watch(&mut self) {
        let from = self.store.as_ref().map_or(0, |store| store.revision) + 1;
        self.effects.push_back(Effect::Watch { range: Range::prefix(self.prefix.clone()), from });
        self.state = State::Watching;
    }
}

#[cfg(test)]
mod tests;
