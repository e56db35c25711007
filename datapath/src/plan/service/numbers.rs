//! Numbers that name things in maps: stable while in use, reused as late as possible.

use model::L3n4Addr;
use std::collections::{BTreeMap, BTreeSet};

/// Numbers from 1; 0 means "none" in the maps.
#[derive(Debug)]
pub(super) struct Numbers<N> {
    by_addr: BTreeMap<L3n4Addr, N>,
    used: BTreeSet<N>,
    last: u32,
}

impl<N> Default for Numbers<N> {
    fn default() -> Self {
        Self { by_addr: BTreeMap::new(), used: BTreeSet::new(), last: 0 }
    }
}

impl<N: Copy + Ord + TryFrom<u32> + Into<u32>> Numbers<N> {
    /// Takes a number over from the maps; the first claim to it holds.
    pub(super) fn restore(&mut self, addr: L3n4Addr, number: N) {
        if number.into() != 0 && !self.by_addr.contains_key(&addr) && self.used.insert(number) {
            self.by_addr.insert(addr, number);
            self.last = self.last.max(number.into());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_addr.is_empty()
    }

    pub(super) fn get(&self, addr: &L3n4Addr) -> Option<N> {
        self.by_addr.get(addr).copied()
    }

    /// The address's number, a new one if it has none. A conntrack entry may still name a released
    /// number, so the search goes on from the last one given.
    pub(super) fn take(&mut self, addr: L3n4Addr) -> Option<N> {
        if let Some(number) = self.by_addr.get(&addr) {
            return Some(*number);
        }
        for _ in 0..=self.used.len() + 1 {
            self.last = self.last.wrapping_add(1);
            let number = match N::try_from(self.last) {
                Ok(number) if self.last != 0 => number,
                _ => {
                    self.last = 1;
                    N::try_from(1).ok()?
                }
            };
            if self.used.insert(number) {
                self.by_addr.insert(addr, number);
                return Some(number);
            }
        }
        None
    }

    pub(super) fn release(&mut self, addr: L3n4Addr) -> Option<N> {
        let number = self.by_addr.remove(&addr)?;
        self.used.remove(&number);
        Some(number)
    }
}
