//! Equal watches, and the events that are on their way to all of them.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};

use super::{Outgoing, Spec, StreamId};
use crate::core::{
    encode::{self, Header},
    store::Kv,
};

/// A message ends with the revision that brings it here, so that a busy second is not one message.
const FULL_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) spec: Spec,
    /// Watches of this kind, synced or not.
    pub(super) users: usize,
    pub(super) members: BTreeSet<(StreamId, i64)>,
    pending: Pending,
}

/// Encoded events that were not sent yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    events: BytesMut,
    /// Where each event ends, for fragments.
    ends: Vec<usize>,
    revision: i64,
}

// === impl Group ===

impl Group {
    pub(super) fn new(spec: Spec) -> Self {
        Self { spec, users: 0, members: BTreeSet::new(), pending: Pending::default() }
    }

    pub(super) fn join(&mut self, stream: StreamId, id: i64) {
        self.members.insert((stream, id));
    }

    pub(super) fn leave(&mut self, stream: StreamId, id: i64) {
        self.members.remove(&(stream, id));
    }

    /// Adds an event, and sends those of older revisions when they are many. True when it is the first that waits.
    pub(super) fn add(
        &mut self,
        kv: &Kv,
        before: Option<&Kv>,
        header: Header,
        fragment: usize,
        out: &mut Vec<Outgoing>,
    ) -> bool {
        if !self.spec.wants(kv) {
            return false;
        }
        if self.pending.is_full_before(kv.modified) {
            let so_far = Header { revision: self.pending.revision, ..header };
            self.flush(so_far, fragment, out);
        }
        let first = self.pending.is_empty();
        self.pending.add(kv, before.filter(|_| self.spec.before));
        first
    }

    pub(super) fn flush(&mut self, header: Header, fragment: usize, out: &mut Vec<Outgoing>) {
        let fragment = self.spec.fragment.then_some(fragment);
        for body in self.pending.take(header, fragment) {
            let to =
                |(stream, watch): &(StreamId, i64)| Outgoing { stream: *stream, watch: *watch, body: body.clone() };
            out.extend(self.members.iter().map(to));
        }
    }
}

// === impl Spec ===

impl Spec {
    pub(super) fn wants(&self, kv: &Kv) -> bool {
        if kv.version == 0 { self.deletes } else { self.puts }
    }
}

// === impl Pending ===

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A change of this revision should be the first of the next message.
    pub(super) fn is_full_before(&self, revision: i64) -> bool {
        self.events.len() >= FULL_BYTES && revision > self.revision
    }

    pub(super) fn add(&mut self, kv: &Kv, before: Option<&Kv>) {
        encode::event(&mut self.events, kv, before);
        self.ends.push(self.events.len());
        self.revision = kv.modified;
    }

    /// The bodies to send: one, or as many fragments as it takes, all but the last marked.
    pub(super) fn take(&mut self, header: Header, fragment: Option<usize>) -> Vec<Bytes> {
        let events = self.events.split().freeze();
        let ends = std::mem::take(&mut self.ends);
        let mut cuts = Vec::new();
        if let Some(limit) = fragment {
            let mut start = 0;
            for pair in ends.windows(2) {
                if pair[1] - start > limit {
                    cuts.push(pair[0]);
                    start = pair[0];
                }
            }
        }
        if events.is_empty() {
            return Vec::new();
        }
        cuts.push(events.len());
        let mut start = 0;
        let last = events.len();
        let body = |end: usize| {
            let mut body = BytesMut::with_capacity(end - start + 64);
            header.put(&mut body);
            encode::number(&mut body, 7, u64::from(end != last));
            body.extend_from_slice(&events[start..end]);
            start = end;
            body.freeze()
        };
        cuts.into_iter().map(body).collect()
    }
}
