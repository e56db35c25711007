//! Ranges of pod addresses, by the names of the pools that they are cut from.

use std::{collections::BTreeMap, sync::Arc};

use crate::Prefix;

/// The pool of whom nobody asked otherwise.
pub const DEFAULT_POOL: &str = "default";

/// A node's range.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodRange {
    pub pool: Arc<str>,
    pub cidr: Prefix,
}

/// How many addresses a node wants of each pool.
pub type RangeDemand = BTreeMap<Arc<str>, Wanted>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    pub ipv4: u32,
    pub ipv6: u32,
}

// === impl PodRange ===

impl PodRange {
    pub fn new(pool: &str, cidr: Prefix) -> Self {
        Self { pool: pool.into(), cidr }
    }
}

// === impl Wanted ===

impl Wanted {
    pub fn of(self, ipv4: bool) -> u32 {
        if ipv4 { self.ipv4 } else { self.ipv6 }
    }
}
