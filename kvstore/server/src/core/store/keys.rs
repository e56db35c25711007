//! What each key is called, and which version of it is the newest.

use super::{
    arena::Arena,
    bytes_slab::{BytesSlab, Handle},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct KeyId(pub(crate) u32);

#[derive(Debug)]
struct Row {
    name: Handle,
    len: u32,
    newest: u32,
    live: bool,
}

#[derive(Debug)]
pub(crate) struct Keys {
    rows: Arena<Row>,
    names: BytesSlab,
}

// === impl Keys ===

impl Keys {
    pub(crate) fn new() -> Self {
        Self { rows: Arena::new(), names: BytesSlab::new() }
    }

    pub(crate) fn insert(&mut self, key: &[u8], newest: u32, live: bool) -> KeyId {
        let name = self.names.insert(key);
        KeyId(self.rows.insert(Row { name, len: key.len() as u32, newest, live }))
    }

    pub(crate) fn remove(&mut self, id: KeyId) {
        self.names.remove(self.rows.get(id.0).name);
        self.rows.remove(id.0);
    }

    pub(crate) fn spell(&self, id: KeyId) -> &[u8] {
        let row = self.rows.get(id.0);
        self.names.get(row.name, row.len)
    }

    /// The newest version, in [`Versions`](super::versions::Versions).
    pub(crate) fn newest(&self, id: KeyId) -> u32 {
        self.rows.get(id.0).newest
    }

    /// Its newest version is not its deletion.
    pub(crate) fn is_live(&self, id: KeyId) -> bool {
        self.rows.get(id.0).live
    }

    pub(crate) fn set_newest(&mut self, id: KeyId, newest: u32, live: bool) {
        let row = self.rows.get_mut(id.0);
        (row.newest, row.live) = (newest, live);
    }

    /// Bytes that a key takes, its place in the index included.
    pub(crate) fn cost(&self, key: &[u8]) -> u64 {
        self.names.cost(key.len()) + (size_of::<Row>() + size_of::<KeyId>() * 3 / 2) as u64
    }
}
