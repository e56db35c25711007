//! One operation of a sequence, written so that it means the same on any server and prints as Rust.
//!
//! Revisions and lease ids are relative to what the servers answered before: an operation that is left out while a
//! sequence is shrunk does not turn all others into requests for other revisions.

pub(crate) use crate::admin::Guise;

/// A key of the small key space, or one that no server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// One of [`KEYS`].
    K(u8),
    Empty,
    Nul,
}

/// In byte order; prefixes of each other, bytes at both ends.
pub(crate) const KEYS: [&[u8]; 20] = [
    b"\x01",
    b"a",
    b"a\x00",
    b"a/",
    b"a/1",
    b"a/2",
    b"a/2/x",
    b"a/3",
    b"a0",
    b"ab",
    b"b",
    b"b/1",
    b"b/2",
    b"c",
    b"d/\xff",
    b"d/\xff\xff",
    b"e",
    b"f",
    b"\xff",
    b"\xff\xff",
];

/// Where a range ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    One,
    To(Key),
    Prefix,
    FromKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Nothing,
    V(u8),
    /// So many bytes.
    Bulk(usize),
}

/// A revision, relative to what was answered so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rev {
    At(i64),
    /// The last revision, and this many more.
    Head(i64),
    /// The last compaction, and this many more.
    Compacted(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lease {
    L(i64),
    /// The id that the server chose in the n-th grant without one.
    Chosen(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Everyone,
    Own,
    Stranger,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) key: Key,
    pub(crate) end: End,
    pub(crate) limit: i64,
    pub(crate) rev: Rev,
    pub(crate) order: i32,
    pub(crate) target: i32,
    pub(crate) serializable: bool,
    pub(crate) keys_only: bool,
    pub(crate) count_only: bool,
    pub(crate) mods: (Rev, Rev),
    pub(crate) creates: (Rev, Rev),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Put {
    pub(crate) key: Key,
    pub(crate) value: Value,
    pub(crate) lease: Lease,
    pub(crate) prev_kv: bool,
    pub(crate) ignore_value: bool,
    pub(crate) ignore_lease: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delete {
    pub(crate) key: Key,
    pub(crate) end: End,
    pub(crate) prev_kv: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Against {
    Version(i64),
    Create(Rev),
    Mod(Rev),
    Bytes(Value),
    Lease(Lease),
    /// The target of this number, and nothing to compare with.
    Missing(i32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compare {
    pub(crate) key: Key,
    pub(crate) end: End,
    pub(crate) result: i32,
    pub(crate) against: Against,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Get(Range),
    Set(Put),
    Del(Delete),
    Sub(Txn),
    /// A request without content.
    Void,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Txn {
    pub(crate) compare: Vec<Compare>,
    pub(crate) success: Vec<Step>,
    pub(crate) failure: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) stream: usize,
    pub(crate) id: i64,
    pub(crate) key: Key,
    pub(crate) end: End,
    pub(crate) start: Rev,
    pub(crate) filters: Vec<i32>,
    pub(crate) prev_kv: bool,
    pub(crate) fragment: bool,
    pub(crate) progress_notify: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Range(Range),
    Put(Put),
    DeleteRange(Delete),
    Txn(Txn),
    Compact {
        rev: Rev,
        physical: bool,
    },
    WatchCreate(Watch),
    WatchCancel {
        stream: usize,
        id: i64,
    },
    /// A progress request on its own; the comparison of watches asks for more of them.
    WatchProgress {
        stream: usize,
    },
    /// Everything due is delivered and compared, then the stream is closed.
    WatchClose {
        stream: usize,
    },
    /// Everything due is delivered and compared.
    Settle,
    /// Ours is stopped and started again; streams are opened anew.
    Restart,
    LeaseGrant {
        id: i64,
        ttl: i64,
    },
    LeaseRevoke {
        id: Lease,
    },
    LeaseKeepAlive {
        ids: Vec<Lease>,
    },
    LeaseTimeToLive {
        id: Lease,
        keys: bool,
    },
    LeaseLeases,
    MemberList {
        linearizable: bool,
    },
    Status,
    Alarm {
        action: i32,
        who: Who,
        alarm: i32,
    },
    Defragment,
    Hash,
    HashKV {
        rev: Rev,
    },
    As(Guise),
    AuthEnable,
    AuthDisable,
    AuthStatus,
    /// A token that is got is kept for its user.
    Login {
        user: u8,
        password: u8,
    },
    UserAdd {
        user: u8,
        password: u8,
        no_password: bool,
    },
    UserGet {
        user: u8,
    },
    UserList,
    UserDelete {
        user: u8,
    },
    UserPassword {
        user: u8,
        password: u8,
    },
    UserGrant {
        user: u8,
        role: u8,
    },
    UserRevoke {
        user: u8,
        role: u8,
    },
    RoleAdd {
        role: u8,
    },
    RoleGet {
        role: u8,
    },
    RoleList,
    RoleDelete {
        role: u8,
    },
    RoleGrant {
        role: u8,
        kind: i32,
        key: Key,
        end: End,
    },
    /// Without saying what.
    RoleGrantNothing {
        role: u8,
    },
    RoleRevoke {
        role: u8,
        key: Key,
        end: End,
    },
}

// === impl Range ===

impl Range {
    /// A plain read of one key.
    pub(crate) fn one() -> Self {
        Self {
            key: Key::K(0),
            end: End::One,
            limit: 0,
            rev: Rev::At(0),
            order: 0,
            target: 0,
            serializable: false,
            keys_only: false,
            count_only: false,
            mods: (Rev::At(0), Rev::At(0)),
            creates: (Rev::At(0), Rev::At(0)),
        }
    }
}
