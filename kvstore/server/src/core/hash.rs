//! A hash of all that is stored at a revision: equal on every member that has the same revision and compact revision.

use std::ops::ControlFlow;

use bytes::Bytes;
use prost::Message;

use super::{Answer, Failure, state::State, store::KeyDump};
use crate::pb::etcdserverpb as pb;

/// Keys that one step takes in.
const KEYS_A_STEP: usize = 500;

#[derive(Debug)]
pub(crate) struct HashJob {
    revision: i64,
    compacted: i64,
    next: Bytes,
    hash: u32,
}

// === impl HashJob ===

impl HashJob {
    pub(crate) fn new(state: &State, revision: i64) -> Self {
        Self { revision, compacted: state.store.compacted(), next: Bytes::from_static(&[0]), hash: 0 }
    }

    /// Goes on by a slice; the answer when it is done.
    pub(crate) fn step(&mut self, state: &State, term: u64) -> Option<Answer> {
        if state.store.compacted() != self.compacted {
            if (0..state.store.compacted()).contains(&self.revision) {
                return Some(Err(Failure::Compacted));
            }
            *self = Self::new(state, self.revision);
        }
        let (compacted, mut hash) = (self.compacted, self.hash);
        let mut keys = 0;
        let next = state.store.dump(&self.next, self.revision, |key| {
            hash = add(hash, compacted, &key);
            keys += 1;
            if keys == KEYS_A_STEP { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.hash = hash;
        match next {
            Some(next) => {
                self.next = next;
                None
            }
            None => Some(Ok(pb::HashKvResponse {
                header: Some(state.header(term).message()),
                hash: self.hash,
                compact_revision: self.compacted,
                hash_revision: self.revision,
            }
            .encode_to_vec()
            .into())),
        }
    }
}

impl State {
    /// The hash of everything at the current revision, users included, at once.
    pub(crate) fn hash(&self) -> u32 {
        let mut job = HashJob::new(self, self.store.revision());
        while job.step(self, 0).is_none() {}
        self.auth.hash(job.hash)
    }
}

/// Takes in a key's versions that can still be read: how far compaction has swept makes no difference.
fn add(mut hash: u32, compacted: i64, dump: &KeyDump) -> u32 {
    let visible = dump.versions.iter().rposition(|version| version.revision <= compacted).unwrap_or(0);
    for version in &dump.versions[visible..] {
        if version.version == 0 && version.revision <= compacted {
            continue;
        }
        hash = crc32c::crc32c_append(hash, &dump.key);
        for number in [version.revision, i64::from(version.sub), version.created, version.version, version.lease] {
            hash = crc32c::crc32c_append(hash, &number.to_le_bytes());
        }
        hash = crc32c::crc32c_append(hash, &version.value);
    }
    hash
}
