//! The state as frames, for a checkpoint: written a slice at a time while writes go on, read at once.
//!
//! ```text
//!  head: where the log was, revisions, members, leases, alarms, users | frames of keys with their versions | ...
//! ```
//! It is the state at the index where it began: later versions are left out, and compaction frees nothing meanwhile.

use std::{ops::ControlFlow, time::Instant};

use bytes::Bytes;
use prost::Message;

use super::{
    auth::{Auth, AuthRows},
    leases::Leases,
    state::State,
    store::{KeyDump, Store, VersionDump},
};

/// The version of these frames.
const FORMAT: u32 = 2;
/// Those without users: written as long as there are none, and read.
const WITHOUT_USERS: u32 = 1;
/// A frame ends with the key that brings it here: about a millisecond's work.
const FRAME_BYTES: usize = 256 << 10;
const FRAME_KEYS: usize = 1_000;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Head {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    #[prost(uint64, tag = "2")]
    pub(crate) cluster: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) member: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) index: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) term: u64,
    #[prost(int64, tag = "6")]
    pub(crate) revision: i64,
    #[prost(int64, tag = "7")]
    pub(crate) compacted: i64,
    #[prost(message, repeated, tag = "8")]
    pub(crate) leases: Vec<LeaseRow>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) alarms: Vec<AlarmRow>,
    #[prost(message, optional, tag = "10")]
    pub(crate) auth: Option<AuthRows>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct LeaseRow {
    #[prost(int64, tag = "1")]
    pub(crate) id: i64,
    #[prost(int64, tag = "2")]
    pub(crate) ttl_secs: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AlarmRow {
    #[prost(int32, tag = "1")]
    pub(crate) kind: i32,
    #[prost(uint64, tag = "2")]
    pub(crate) member: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Keys {
    #[prost(message, repeated, tag = "1")]
    keys: Vec<KeyRow>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyRow {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(message, repeated, tag = "2")]
    versions: Vec<VersionRow>,
}

#[derive(Clone, PartialEq, Message)]
struct VersionRow {
    #[prost(int64, tag = "1")]
    revision: i64,
    #[prost(uint32, tag = "2")]
    sub: u32,
    #[prost(int64, tag = "3")]
    created: i64,
    #[prost(int64, tag = "4")]
    version: i64,
    #[prost(int64, tag = "5")]
    lease: i64,
    #[prost(bytes = "bytes", tag = "6")]
    value: Bytes,
}

/// A checkpoint's frames that are not a state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error("the checkpoint has no head")]
    NoHead,
    #[error(
        "the checkpoint's contents have format {0}, and this version reads format {FORMAT}: run the version that wrote it"
    )]
    Format(u32),
    #[error("the checkpoint's {what} do not decode")]
    Decode { what: &'static str, source: prost::DecodeError },
    #[error("the checkpoint's keys are not in order: {0}")]
    Order(String),
}

/// A checkpoint on its way out.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    head: Option<Head>,
    revision: i64,
    next: Option<Bytes>,
}

// === impl Checkpointer ===

impl Checkpointer {
    pub(crate) fn new(state: &State) -> Self {
        let leases = state.leases.rows().map(|(id, ttl_secs)| LeaseRow { id, ttl_secs }).collect();
        let alarms = state.alarms.iter().map(|(kind, member)| AlarmRow { kind: *kind, member: *member }).collect();
        let auth = state.auth.rows();
        let head = Head {
            // A version that knows no users would let everybody in.
            format: if auth.is_some() { FORMAT } else { WITHOUT_USERS },
            cluster: state.cluster,
            member: state.member,
            index: state.applied,
            term: state.applied_term,
            revision: state.store.revision(),
            compacted: state.store.compacted(),
            leases,
            alarms,
            auth,
        };
        Self { head: Some(head), revision: state.store.revision(), next: Some(Bytes::from_static(&[0])) }
    }

    /// The next frame; `None` at the end.
    pub(crate) fn next(&mut self, state: &State) -> Option<Vec<u8>> {
        if let Some(head) = self.head.take() {
            return Some(head.encode_to_vec());
        }
        let start = self.next.take()?;
        let (mut keys, mut bytes) = (Keys::default(), 0);
        self.next = state.store.dump(&start, self.revision, |dump| {
            bytes += dump.key.len() + dump.versions.iter().map(|version| version.value.len()).sum::<usize>();
            keys.keys.push(dump.into());
            let full = bytes >= FRAME_BYTES || keys.keys.len() >= FRAME_KEYS;
            if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        Some(keys.encode_to_vec())
    }
}

/// The state that frames hold, at `now` with every lease's whole time.
///
/// # Errors
/// When they are not what this version writes.
pub(crate) fn load<E: From<CheckpointError>>(
    now: Instant,
    mut frames: impl Iterator<Item = Result<Vec<u8>, E>>,
) -> Result<State, E> {
    let head = frames.next().ok_or(CheckpointError::NoHead)??;
    let head = Head::decode(&head[..]).map_err(|source| CheckpointError::Decode { what: "head", source })?;
    if ![WITHOUT_USERS, FORMAT].contains(&head.format) {
        return Err(CheckpointError::Format(head.format).into());
    }
    let mut leases = Leases::default();
    head.leases.iter().for_each(|lease| leases.grant(now, lease.id, lease.ttl_secs));
    let mut failed = None;
    let mut last = Bytes::new();
    let keys = frames.map_while(|frame| {
        let keys = frame.and_then(|frame| {
            Keys::decode(Bytes::from(frame)).map_err(|source| CheckpointError::Decode { what: "keys", source }.into())
        });
        match keys {
            Ok(keys) => Some(keys.keys),
            Err(error) => {
                failed = Some(error);
                None
            }
        }
    });
    let mut unordered = None;
    let keys = keys.flatten().map_while(|row| {
        if row.key <= last || row.versions.is_empty() {
            unordered = Some(String::from_utf8_lossy(&row.key).into_owned());
            return None;
        }
        last = row.key.clone();
        Some(KeyDump::from(row))
    });
    let store = Store::load(head.revision, head.compacted, keys, |lease, key| leases.attach(lease, key));
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some(key) = unordered {
        return Err(CheckpointError::Order(key).into());
    }
    let alarms = head.alarms.iter().map(|alarm| (alarm.kind, alarm.member)).collect();
    Ok(State {
        store,
        leases,
        alarms,
        auth: head.auth.map(Auth::from).unwrap_or_default(),
        applied: head.index,
        applied_term: head.term,
        cluster: head.cluster,
        member: head.member,
    })
}

impl From<KeyDump> for KeyRow {
    fn from(dump: KeyDump) -> Self {
        let versions = dump.versions.into_iter().map(|version| VersionRow {
            revision: version.revision,
            sub: version.sub,
            created: version.created,
            version: version.version,
            lease: version.lease,
            value: version.value,
        });
        Self { key: dump.key, versions: versions.collect() }
    }
}

impl From<KeyRow> for KeyDump {
    fn from(row: KeyRow) -> Self {
        let versions = row.versions.into_iter().map(|version| VersionDump {
            revision: version.revision,
            sub: version.sub,
            created: version.created,
            version: version.version,
            lease: version.lease,
            value: version.value,
        });
        Self { key: row.key, versions: versions.collect() }
    }
}
