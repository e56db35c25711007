//! From rows to ordered map operations: pure, so that order and content can be read and tested.
//!
//! ```text
//!   policy upserts ─> ipcache ─> endpoints ─> services ─> policy deletes ─> empty sets
//! ```
//! An address is resolved to an identity only once policy knows that identity, and policy forgets
//! it only after the last address is gone (invariant 9). Within a service: backends, slots, reverse
//! translation, frontend last; shrinking the other way round.

pub mod endpoint;
pub mod ipcache;
pub mod policy;
pub mod round;
pub mod service;

use crate::{
    MapId,
    kernel::{Kernel, Pair, Result},
};
use std::collections::{BTreeMap, HashMap};

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Update { map: MapId, key: Vec<u8>, value: Vec<u8> },
    Delete { map: MapId, key: Vec<u8> },
    CreateSet(u32),
    DropSet(u32),
}

impl Op {
    /// The map whose rows it is about; `None` for whole sets.
    #[must_use]
    pub fn map(&self) -> Option<MapId> {
        match self {
            Self::Update { map, .. } | Self::Delete { map, .. } => Some(*map),
            Self::CreateSet(_) | Self::DropSet(_) => None,
        }
    }
}

/// The wanted rows of one map.
pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What turns `actual` into `wanted`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub updates: Vec<Op>,
    pub deletes: Vec<Op>,
}

/// Compares a map's rows with what they shall be.
#[must_use]
pub fn difference(map: MapId, wanted: &Rows, actual: Vec<Pair>) -> Difference {
    let actual: HashMap<Vec<u8>, Vec<u8>> = actual.into_iter().collect();
    let updates = wanted
        .iter()
        .filter(|(key, value)| actual.get(*key) != Some(value))
        .map(|(key, value)| Op::Update { map, key: key.clone(), value: value.clone() })
        .collect();
    let mut gone: Vec<Vec<u8>> = actual.into_keys().filter(|key| !wanted.contains_key(key)).collect();
    gone.sort();
    let deletes = gone.into_iter().map(|key| Op::Delete { map, key }).collect();
    Difference { updates, deletes }
}

/// Executes a plan in order; neighbours of the same kind and map become one batch.
///
/// # Errors
/// The first refusal. What came before it is done, what comes after is not; the caller compares
/// and plans again.
pub fn apply(kernel: &mut impl Kernel, plan: Vec<Op>) -> Result<()> {
    let mut rest = plan.into_iter().peekable();
    while let Some(op) = rest.next() {
        match op {
            Op::Update { map, key, value } => {
                let mut rows = vec![(key, value)];
                while let Some(Op::Update { key, value, .. }) =
                    rest.next_if(|next| matches!(next, Op::Update { map: other, .. } if *other == map))
                {
                    rows.push((key, value));
                }
                kernel.update(map, &rows)?;
            }
            Op::Delete { map, key } => {
                let mut keys = vec![key];
                while let Some(Op::Delete { key, .. }) =
                    rest.next_if(|next| matches!(next, Op::Delete { map: other, .. } if *other == map))
                {
                    keys.push(key);
                }
                kernel.delete(map, &keys)?;
            }
            Op::CreateSet(set) => kernel.create_set(set)?,
            Op::DropSet(set) => kernel.drop_set(set)?,
        }
    }
    Ok(())
}
