//! The watch hub: who wants to know of which keys, and how far each was told.
//!
//! ```text
//!  applied changes ──> matcher ──> groups of equal watches (an event is encoded once for all) ──> outgoing messages
//!                                     ^                                                    │
//!                  lagging watches ───┴── catch up from the store's log, a slice a turn ───┘
//! ```
//! A stream whose reader is slow is told nothing more until it has read: its watches lag, which costs a revision each,
//! and go on from the log. What compaction took before they came to it cancels them, with the compact revision. Nothing
//! is skipped, and a revision is never split, but into fragments for those who asked for them.

mod catch_up;
mod check_again;
mod group;
mod matcher;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::{auth::Caller, encode::Header, failure::Failure, span::Span, store::Store};
use crate::pb::etcdserverpb as pb;
use group::Group;
use matcher::Matcher;

/// A client's watch stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StreamId(pub(crate) u64);

/// A message for a stream. The body is shared with every other watch that gets the same; the watch's number is put
/// before it when it is sent, for protobuf's fields may come in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) stream: StreamId,
    pub(crate) watch: i64,
    pub(crate) body: Bytes,
}

/// Watches of one stream: beyond any client known, and a bound on what one can make us remember.
const MAX_WATCHES: usize = 100_000;
/// The number in an answer that concerns no watch, or all.
const NO_WATCH: i64 = -1;

/// What a watch wants. Equal watches are served together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Spec {
    span: Span,
    puts: bool,
    deletes: bool,
    before: bool,
    fragment: bool,
}

type GroupId = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Told of everything that was published.
    Synced,
    /// To be told from this revision on.
    Lagging(i64),
    /// Wants nothing before this revision, which is not there yet.
    Early(i64),
}

#[derive(Debug)]
struct Watch {
    group: GroupId,
    place: Place,
    /// The revision that it was asked to begin at; 0 is from now on.
    from: i64,
    notify: bool,
    /// Nothing was sent since the last notification.
    quiet: bool,
}

#[derive(Debug)]
struct Stream {
    /// Who created the last watch, and so all of them: a stream's head names one.
    caller: Caller,
    watches: BTreeMap<i64, Watch>,
    next_id: i64,
    full: bool,
    progress_asked: bool,
    notify_at: Instant,
}

#[derive(Debug)]
pub(crate) struct Hub {
    streams: HashMap<StreamId, Stream>,
    groups: Vec<Group>,
    free: Vec<GroupId>,
    by_spec: HashMap<Spec, GroupId>,
    matcher: Matcher,
    lagging: VecDeque<(StreamId, i64)>,
    early: BTreeSet<(i64, StreamId, i64)>,
    /// Every change up to this revision was published.
    published: i64,
    /// Fragments are at most this long, as far as events can be split.
    fragment_bytes: usize,
    notify_every: Duration,
    out: Vec<Outgoing>,
}

/// The keys that a watch is on: no key is the first of all.
pub(crate) fn span(request: &pb::WatchCreateRequest) -> Span {
    let key = if request.key.is_empty() { Bytes::from_static(&[0]) } else { request.key.clone() };
    Span::new(key, request.range_end.clone())
}

// === impl Hub ===

impl Hub {
    pub(crate) fn new(revision: i64, fragment_bytes: usize, notify_every: Duration) -> Self {
        Self {
            streams: HashMap::new(),
            groups: Vec::new(),
            free: Vec::new(),
            by_spec: HashMap::new(),
            matcher: Matcher::default(),
            lagging: VecDeque::new(),
            early: BTreeSet::new(),
            published: revision,
            fragment_bytes,
            notify_every,
            out: Vec::new(),
        }
    }

    pub(crate) fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.out)
    }

    pub(crate) fn stream_count(&self) -> usize {
        self.streams.len()
    }

    pub(crate) fn watch_count(&self) -> usize {
        self.streams.values().map(|stream| stream.watches.len()).sum()
    }

    /// Watches that have not been told everything.
    pub(crate) fn slow_count(&self) -> usize {
        let lags = |watch: &&Watch| matches!(watch.place, Place::Lagging(_));
        self.streams.values().map(|stream| stream.watches.values().filter(lags).count()).sum()
    }

    pub(crate) fn open(&mut self, now: Instant, stream: StreamId) {
        let notify_at = now + self.notify_every;
        self.streams.insert(
            stream,
            Stream {
                caller: Caller::Nobody,
                watches: BTreeMap::new(),
                next_id: 0,
                full: false,
                progress_asked: false,
                notify_at,
            },
        );
    }

    pub(crate) fn close(&mut self, stream: StreamId) {
        let ids: Vec<i64> = self.streams.get(&stream).into_iter().flat_map(|s| s.watches.keys().copied()).collect();
        for id in ids {
            self.forget(stream, id);
        }
        self.streams.remove(&stream);
    }

    pub(crate) fn create(
        &mut self,
        stream: StreamId,
        request: &pb::WatchCreateRequest,
        (caller, permitted): (Caller, Result<(), Failure>),
        header: Header,
    ) {
        let spec = Spec {
            span: span(request),
            puts: !request.filters.contains(&(pb::watch_create_request::FilterType::Noput as i32)),
            deletes: !request.filters.contains(&(pb::watch_create_request::FilterType::Nodelete as i32)),
            before: request.prev_kv,
            fragment: request.fragment,
        };
        let Some(row) = self.streams.get(&stream) else { return };
        let refusal = if request.start_revision < 0 {
            Some(Failure::Compacted.to_string())
        } else if let Err(failure) = permitted {
            Some(failure.reason())
        } else if spec.span.is_empty() {
            Some("mvcc: watcher range is empty".to_owned())
        } else if request.watch_id != 0 && row.watches.contains_key(&request.watch_id) {
            Some("mvcc: duplicate watch ID provided on the WatchStream".to_owned())
        } else if row.watches.len() >= MAX_WATCHES {
            Some("etcdserver: too many watches on one stream".to_owned())
        } else {
            None
        };
        if let Some(reason) = refusal {
            self.say(
                stream,
                NO_WATCH,
                pb::WatchResponse {
                    created: true,
                    canceled: true,
                    cancel_reason: reason,
                    header: Some(header.message()),
                    ..Default::default()
                },
            );
            return;
        }
        let id = self.number(stream, request.watch_id);
        let group = self.group(spec);
        let wanted = request.start_revision;
        let place = if wanted == 0 || wanted == self.published + 1 {
            Place::Synced
        } else if wanted > self.published {
            self.early.insert((wanted, stream, id));
            Place::Early(wanted)
        } else {
            self.lagging.push_back((stream, id));
            Place::Lagging(wanted)
        };
        self.groups[group as usize].users += 1;
        if place == Place::Synced {
            self.groups[group as usize].join(stream, id);
        }
        if let Some(row) = self.streams.get_mut(&stream) {
            row.caller = caller;
            row.watches.insert(id, Watch { group, place, from: wanted, notify: request.progress_notify, quiet: true });
        }
        self.say(stream, id, pb::WatchResponse { created: true, header: Some(header.message()), ..Default::default() });
    }

    pub(crate) fn cancel(&mut self, stream: StreamId, id: i64, header: Header) {
        if self.forget(stream, id) {
            self.say(
                stream,
                id,
                pb::WatchResponse { canceled: true, header: Some(header.message()), ..Default::default() },
            );
        }
    }

    /// Answered once every watch of the stream was told everything. Not at all if one begins later: its client would be
    /// told of a revision before the first it asked for.
    pub(crate) fn ask_progress(&mut self, stream: StreamId, header: Header) {
        if let Some(row) = self.streams.get_mut(&stream) {
            row.progress_asked = row.watches.values().all(|watch| watch.from <= self.published);
        }
        self.answer_progress(stream, header);
    }

    /// Tells everybody of what the store applied since the last time.
    pub(crate) fn publish(&mut self, store: &Store, header: Header) {
        if store.revision() == self.published {
            return;
        }
        let mut touched = Vec::new();
        for (kv, before) in store.changes(self.published + 1) {
            for group in self.matcher.find(kv.key) {
                let row = &mut self.groups[group as usize];
                if row.members.is_empty() {
                    continue;
                }
                if row.add(&kv, before.as_ref(), header, self.fragment_bytes, &mut self.out) {
                    touched.push(group);
                }
            }
        }
        for group in touched {
            self.groups[group as usize].flush(header, self.fragment_bytes, &mut self.out);
        }
        for sent in &self.out {
            if let Some(watch) = self.streams.get_mut(&sent.stream).and_then(|s| s.watches.get_mut(&sent.watch)) {
                watch.quiet = false;
            }
        }
        self.published = store.revision();
        self.wake_early();
    }

    /// The stream's reader is behind: its watches lag from here on.
    pub(crate) fn set_full(&mut self, stream: StreamId) {
        let next = self.published + 1;
        let Some(row) = self.streams.get_mut(&stream).filter(|row| !row.full) else { return };
        row.full = true;
        for (id, watch) in &mut row.watches {
            if watch.place == Place::Synced {
                watch.place = Place::Lagging(next);
                self.groups[watch.group as usize].leave(stream, *id);
            }
        }
    }

    /// The stream's reader has read.
    pub(crate) fn set_ready(&mut self, stream: StreamId) {
        let Some(row) = self.streams.get_mut(&stream).filter(|row| row.full) else { return };
        row.full = false;
        let behind = row.watches.iter().filter(|(_, watch)| matches!(watch.place, Place::Lagging(_)));
        self.lagging.extend(behind.map(|(id, _)| (stream, *id)));
    }

    /// Sends the notifications that are due.
    pub(crate) fn notify(&mut self, now: Instant, header: Header) {
        let mut due = Vec::new();
        for (stream, row) in self.streams.iter_mut().filter(|(_, row)| row.notify_at <= now) {
            row.notify_at = now + self.notify_every;
            for (id, watch) in row.watches.iter_mut().filter(|(_, watch)| watch.notify) {
                if watch.quiet && watch.place == Place::Synced && watch.from <= self.published && !row.full {
                    due.push((*stream, *id));
                }
                watch.quiet = true;
            }
        }
        for (stream, id) in due {
            self.say(stream, id, pb::WatchResponse { header: Some(header.message()), ..Default::default() });
        }
    }

    fn answer_progress(&mut self, stream: StreamId, header: Header) {
        let Some(row) = self.streams.get_mut(&stream) else { return };
        let told = row.watches.values().all(|watch| !matches!(watch.place, Place::Lagging(_)));
        if row.progress_asked && told {
            row.progress_asked = false;
            self.say(stream, NO_WATCH, pb::WatchResponse { header: Some(header.message()), ..Default::default() });
        }
    }

    fn wake_early(&mut self) {
        while let Some((wanted, stream, id)) = self.early.first().copied()
            && wanted <= self.published + 1
        {
            self.early.pop_first();
            let Some(watch) = self.streams.get_mut(&stream).and_then(|row| row.watches.get_mut(&id)) else { continue };
            watch.place = Place::Lagging(wanted);
            self.lagging.push_back((stream, id));
        }
    }

    /// The number asked for, or the next that is free.
    fn number(&mut self, stream: StreamId, asked: i64) -> i64 {
        let Some(row) = self.streams.get_mut(&stream) else { return asked };
        if asked != 0 {
            return asked;
        }
        while row.watches.contains_key(&row.next_id) {
            row.next_id += 1;
        }
        row.next_id += 1;
        row.next_id - 1
    }

    fn group(&mut self, spec: Spec) -> GroupId {
        if let Some(group) = self.by_spec.get(&spec) {
            return *group;
        }
        let row = Group::new(spec.clone());
        let group = match self.free.pop() {
            Some(group) => {
                self.groups[group as usize] = row;
                group
            }
            None => {
                self.groups.push(row);
                self.groups.len() as GroupId - 1
            }
        };
        self.matcher.add(&spec.span, group);
        self.by_spec.insert(spec, group);
        group
    }

    fn forget(&mut self, stream: StreamId, id: i64) -> bool {
        let Some(watch) = self.streams.get_mut(&stream).and_then(|row| row.watches.remove(&id)) else { return false };
        match watch.place {
            Place::Synced => self.groups[watch.group as usize].leave(stream, id),
            Place::Early(wanted) => {
                self.early.remove(&(wanted, stream, id));
            }
            Place::Lagging(_) => {}
        }
        let group = &mut self.groups[watch.group as usize];
        group.users -= 1;
        if group.users == 0 {
            let spec = group.spec.clone();
            self.matcher.remove(&spec.span, watch.group);
            self.by_spec.remove(&spec);
            self.free.push(watch.group);
        }
        true
    }

    fn say(&mut self, stream: StreamId, watch: i64, message: pb::WatchResponse) {
        let mut body = BytesMut::with_capacity(message.encoded_len());
        // A buffer that grows takes every message.
        message.encode_raw(&mut body);
        self.out.push(Outgoing { stream, watch, body: body.freeze() });
    }
}
