//! Rows of the ipcache that an earlier process left and the table has not named yet: they go when it is complete.

use crate::{
    MapId,
    plan::{Op, ipcache},
};
use statedb::Change;
use std::collections::BTreeSet;
use tables::IpcacheRow;

/// Rows by map and key.
#[derive(Debug, Default)]
pub(super) struct Strays(BTreeSet<(MapId, Vec<u8>)>);

impl Strays {
    /// What a comparison found too much of.
    pub(super) fn new(rows: impl Iterator<Item = (MapId, Vec<u8>)>) -> Self {
        Self(rows.collect())
    }

    /// The table has named these: what it says of them holds from now on.
    pub(super) fn claim(&mut self, changes: &[Change<IpcacheRow>]) {
        if self.0.is_empty() {
            return;
        }
        for change in changes {
            self.0.remove(&ipcache::locate(change.row().prefix));
        }
    }

    /// The steps that take away what is left.
    pub(super) fn take(&mut self) -> Vec<Op> {
        std::mem::take(&mut self.0).into_iter().map(|(map, key)| Op::Delete { map, key }).collect()
    }
}
