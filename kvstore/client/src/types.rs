//! Requests and results, as etcd v3 means them.

use std::{fmt, time::Duration};

use bytes::Bytes;

/// A store's clock: each write has the next one. 0 in a request means "the newest".
pub type Revision = i64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// On every answer: which store it is, and how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    pub cluster_id: u64,
    pub revision: Revision,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Bytes,
    pub value: Bytes,
    pub create_revision: Revision,
    pub mod_revision: Revision,
    /// Writes since the key was created; 1 for the first.
    pub version: i64,
    pub lease: Option<LeaseId>,
}

/// Keys in `[key, end)`, in order. Linearizable unless it reads an old revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub key: Bytes,
    /// `None`: this one key.
    pub end: Option<Bytes>,
    /// 0: no limit.
    pub limit: u32,
    pub revision: Revision,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeResult {
    pub header: Header,
    pub kvs: Vec<KeyValue>,
    /// There are more keys than the limit let through.
    pub more: bool,
}

/// What must hold for a transaction's first branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// Version 0: the key is absent.
    Version(Bytes, i64),
    CreateRevision(Bytes, Revision),
    ModRevision(Bytes, Revision),
    /// Never holds for an absent key.
    Value(Bytes, Bytes),
    /// No key has this prefix.
    PrefixEmpty(Bytes),
    /// Every key with this prefix has this value, and there is one.
    PrefixValue(Bytes, Bytes),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Put {
        key: Bytes,
        value: Bytes,
        lease: Option<LeaseId>,
    },
    Delete {
        key: Bytes,
    },
    DeletePrefix {
        prefix: Bytes,
    },
    Range(Range),
    /// Its compares are looked at before anything of the whole is done.
    Txn(Txn),
}

/// All compares hold: `then`; otherwise `or_else`. All of a branch or none of it happens, at one
/// revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub then: Vec<Op>,
    pub or_else: Vec<Op>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnResult {
    pub header: Header,
    pub succeeded: bool,
    /// One for each operation of the branch that was taken.
    pub results: Vec<OpResult>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpResult {
    Put,
    Deleted(i64),
    Range(Vec<KeyValue>),
    Txn { succeeded: bool, results: Vec<OpResult> },
}

/// One change of a watched key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyEvent {
    Put(KeyValue),
    Delete { key: Bytes, revision: Revision },
}

/// All events of the revisions that it spans: a revision is never split over two batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchBatch {
    pub header: Header,
    pub events: Vec<KeyEvent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseGrant {
    pub id: LeaseId,
    /// What the store gives, which may be more than was asked for.
    pub ttl: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    pub header: Header,
    pub version: String,
    pub has_leader: bool,
    pub db_size: i64,
}

/// The first key after all keys with this prefix; `None` if there is none (all bytes are 0xff).
pub fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let keep = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end.into())
}

// === impl Range ===

impl Range {
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), end: None, limit: 0, revision: 0 }
    }

    /// Every key with this prefix. The empty prefix means every key.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let prefix = prefix.into();
        // etcd reads the end `\0` as "no end".
        let end = prefix_end(&prefix).unwrap_or_else(|| Bytes::from_static(b"\0"));
        let key = if prefix.is_empty() { Bytes::from_static(b"\0") } else { prefix };
        Self { key, end: Some(end), limit: 0, revision: 0 }
    }

    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    pub fn at(mut self, revision: Revision) -> Self {
        self.revision = revision;
        self
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            None => self.key == key,
            Some(end) => key >= &self.key[..] && (end.as_ref() == b"\0" || key < &end[..]),
        }
    }
}

// === impl Txn ===

impl Txn {
    pub fn when(compares: impl IntoIterator<Item = Compare>) -> Self {
        Self { compares: compares.into_iter().collect(), ..Self::default() }
    }

    pub fn then(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        self.then.extend(ops);
        self
    }

    pub fn or_else(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        self.or_else.extend(ops);
        self
    }

    /// The key that an error about this transaction names: the first it would write.
    pub(crate) fn subject(&self) -> Bytes {
        let of = |op: &Op| match op {
            Op::Put { key, .. } | Op::Delete { key } => key.clone(),
            Op::DeletePrefix { prefix } => prefix.clone(),
            Op::Range(range) => range.key.clone(),
            Op::Txn(txn) => txn.subject(),
        };
        self.then.first().or(self.or_else.first()).map(of).unwrap_or_default()
    }
}

// === impl Op ===

impl Op {
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>, lease: Option<LeaseId>) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease }
    }

    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self::Delete { key: key.into() }
    }
}

/// As etcd's tools and lock keys print it.
impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(prefix_end(b"a/").as_deref(), Some(&b"a0"[..]));
        assert_eq!(prefix_end(b"a\xff").as_deref(), Some(&b"b"[..]));
        assert_eq!(prefix_end(b"\xff\xff"), None);
        let range = Range::prefix("v1/east");
        assert!(range.contains(b"v1/east-2") && !range.contains(b"v1/eas") && !range.contains(b"v1/easu"));
        assert!(Range::prefix("").contains(b"anything"));
        assert!(Range::prefix(&b"\xff"[..]).contains(b"\xff\xff"));
        assert!(Range::key("a").contains(b"a") && !Range::key("a").contains(b"ab"));
    }
}
