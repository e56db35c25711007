//! A kernel in memory: what the reconcilers did, and switches to make it fail.

use super::{Kernel, KernelError, Pair, Result};
use crate::MapId;
use std::collections::{BTreeMap, BTreeSet};

/// Maps as trees, with the limits of the real ones.
#[derive(Debug, Default, Clone)]
pub struct Fake {
    maps: BTreeMap<MapId, BTreeMap<Vec<u8>, Vec<u8>>>,
    sets: BTreeSet<u32>,
    attached: BTreeMap<String, u32>,
    limits: BTreeMap<MapId, usize>,
    failing: Option<MapId>,
    journal: Vec<String>,
}

impl Fake {
    /// No more than `rows` in `map`.
    pub fn limit(&mut self, map: MapId, rows: usize) {
        self.limits.insert(map, rows);
    }

    /// Every write to `map` fails until `None` is set.
    pub fn fail(&mut self, map: Option<MapId>) {
        self.failing = map;
    }

    /// What was done since the last call, one line a verb, in order.
    pub fn take_journal(&mut self) -> Vec<String> {
        std::mem::take(&mut self.journal)
    }

    /// The rows of a map.
    pub fn rows(&self, map: MapId) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.maps.get(&map).cloned().unwrap_or_default()
    }

    fn check(&self, operation: &'static str, map: MapId, count: usize) -> Result<()> {
        if self.failing == Some(map) {
            let source = std::io::Error::other("told to fail");
            return Err(KernelError::Map { operation, map, count, source });
        }
        Ok(())
    }
}

impl Kernel for Fake {
    fn policy_max(&self) -> u32 {
        MapId::PolicySet(0).spec().max_entries
    }

    fn update(&mut self, map: MapId, rows: &[Pair]) -> Result<()> {
        self.check("update", map, rows.len())?;
        if let MapId::PolicySet(set) = map
            && !self.sets.contains(&set)
        {
            return Err(KernelError::Open { map, source: std::io::Error::from_raw_os_error(libc::ENOENT) });
        }
        self.journal.push(format!("update {map} {}", rows.len()));
        let limit = self.limits.get(&map).copied().unwrap_or(map.spec().max_entries as usize);
        let table = self.maps.entry(map).or_default();
        for (key, value) in rows {
            assert_eq!((key.len(), value.len()), (map.key_len(), map.value_len()), "sizes of {map}");
            if !table.contains_key(key) && table.len() >= limit {
                return Err(KernelError::Full { map });
            }
            table.insert(key.clone(), value.clone());
        }
        Ok(())
    }

    fn delete(&mut self, map: MapId, keys: &[Vec<u8>]) -> Result<()> {
        self.check("delete", map, keys.len())?;
        self.journal.push(format!("delete {map} {}", keys.len()));
        let table = self.maps.entry(map).or_default();
        for key in keys {
            table.remove(key);
        }
        Ok(())
    }

    fn lookup(&mut self, map: MapId, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.maps.get(&map).and_then(|table| table.get(key)).cloned())
    }

    fn dump(&mut self, map: MapId) -> Result<Vec<Pair>> {
        Ok(self.rows(map).into_iter().collect())
    }

    fn create_set(&mut self, set: u32) -> Result<()> {
        if self.sets.insert(set) {
            self.journal.push(format!("create policy set {set}"));
        }
        Ok(())
    }

    fn drop_set(&mut self, set: u32) -> Result<()> {
        if self.sets.remove(&set) {
            self.journal.push(format!("drop policy set {set}"));
        }
        self.maps.remove(&MapId::PolicySet(set));
        Ok(())
    }

    fn sets(&mut self) -> Result<Vec<u32>> {
        Ok(self.sets.iter().copied().collect())
    }

    fn attach(&mut self, interface: &str, ifindex: u32) -> Result<()> {
        self.journal.push(format!("attach {interface}"));
        self.attached.insert(interface.to_owned(), ifindex);
        Ok(())
    }

    fn detach(&mut self, interface: &str) -> Result<()> {
        if self.attached.remove(interface).is_some() {
            self.journal.push(format!("detach {interface}"));
        }
        Ok(())
    }

    fn attached(&mut self) -> Result<Vec<String>> {
        Ok(self.attached.keys().cloned().collect())
    }
}
