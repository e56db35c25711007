//! The whole comparison: what the kernel has against what the tables say.

use super::{Pruned, Reconciler, Strays, Versions};
use crate::{
    MapId,
    addr::Address,
    conntrack,
    kernel::{Kernel, KernelError},
    plan::{Op, apply, difference, endpoint, ipcache, policy, service, service::Services},
};
use ebpf_abi::{Addr4, Addr6, Plain};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

impl<K: Kernel> Reconciler<K> {
    /// Compares everything; deletes only where `complete` says that the table is.
    pub(super) fn resync(&mut self, versions: &Versions, complete: Pruned) -> Result<(), KernelError> {
        let gone = self.fill_sets(versions)?;
        self.resync_ipcache(versions, complete.ipcache)?;
        self.resync_services(versions, complete.frontends)?;
        self.resync_endpoints(versions, complete.endpoints)?;
        self.run_waiting(versions)?;
        self.shrink_sets(gone, versions, complete)
    }

    /// Tables are complete, or no longer, that were not so before: what the kernel has beyond them goes. The ipcache, of
    /// half a million rows, is not read again for that: its strays are known.
    pub(super) fn prune(&mut self, versions: &Versions, complete: Pruned) -> Result<(), KernelError> {
        let before = self.pruned;
        if complete.ipcache {
            let strays = self.strays.take();
            apply(&mut self.kernel, strays)?;
        }
        if complete.frontends != before.frontends {
            self.resync_services(versions, complete.frontends)?;
        }
        if complete.endpoints != before.endpoints {
            self.resync_endpoints(versions, complete.endpoints)?;
        }
        if (complete.policy, complete.endpoints) != (before.policy, before.endpoints) {
            let gone = self.fill_sets(versions)?;
            self.shrink_sets(gone, versions, complete)?;
        }
        Ok(())
    }

    /// Writes what every set lacks and returns what they have too much.
    fn fill_sets(&mut self, versions: &Versions) -> Result<Vec<Op>, KernelError> {
        self.planner.held.clear();
        self.planner.sets = self.kernel.sets()?.into_iter().collect();
        let mut gone = Vec::new();
        for (set, rows) in &self.wanted_sets(versions) {
            gone.extend(self.fill_set(*set, rows)?);
        }
        Ok(gone)
    }

    fn wanted_sets(&self, versions: &Versions) -> BTreeMap<u32, crate::plan::Rows> {
        let used: BTreeSet<u32> = self.planner.running.values().map(|running| running.identity).collect();
        policy::wanted(versions.policy.iter().map(|row| &**row), &used)
    }

    fn shrink_sets(&mut self, gone: Vec<Op>, versions: &Versions, complete: Pruned) -> Result<(), KernelError> {
        if !complete.policy {
            return Ok(());
        }
        apply(&mut self.kernel, gone)?;
        // Endpoints that wait still run under the sets of an earlier process.
        if complete.endpoints && self.waiting.is_empty() {
            let mut ops = Vec::new();
            for set in self.planner.sets.iter().copied().collect::<Vec<_>>() {
                self.planner.drop_if_unused(set, &versions.policy, &mut ops);
            }
            apply(&mut self.kernel, ops)?;
        }
        Ok(())
    }

    /// Compares one set, whatever is in the way.
    pub(super) fn resync_set(&mut self, set: u32, versions: &Versions) -> Result<(), KernelError> {
        let rows = versions.policy.range(|key| key.set.get().cmp(&set)).map(|row| &**row);
        let mut wanted = policy::wanted(rows, &BTreeSet::from([set]));
        let rows = wanted.remove(&set).unwrap_or_default();
        let gone = self.fill_set(set, &rows)?;
        apply(&mut self.kernel, gone)
    }

    /// Writes what a set lacks and returns what it has too much. A set that is too large is locked
    /// down; one that was, and fits again, is opened.
    fn fill_set(&mut self, set: u32, rows: &crate::plan::Rows) -> Result<Vec<Op>, KernelError> {
        let map = MapId::PolicySet(set);
        let mut ops = Vec::new();
        self.planner.ensure_set(set, &mut ops);
        apply(&mut self.kernel, ops)?;
        let difference = difference(map, rows, self.kernel.dump(map)?);
        let was_overflowed = self.planner.overflowed.contains(&set);
        let mut deletes = difference.deletes;
        if was_overflowed {
            // Nobody gets through a locked door: make room first.
            apply(&mut self.kernel, std::mem::take(&mut deletes))?;
        }
        match apply(&mut self.kernel, difference.updates) {
            Ok(()) if was_overflowed => {
                tracing::info!(set, "policy fits its map again");
                let ops = self.planner.set_overflowed(set, false);
                apply(&mut self.kernel, ops)?;
            }
            Ok(()) => {}
            Err(KernelError::Full { .. }) => self.overflow(set)?,
            Err(error) => return Err(error),
        }
        Ok(deletes)
    }

    fn resync_ipcache(&mut self, versions: &Versions, prune: bool) -> Result<(), KernelError> {
        let mut actual = BTreeMap::new();
        for map in ipcache::MAPS {
            actual.insert(map, self.kernel.dump(map)?.into_iter().collect::<HashMap<_, _>>());
        }
        let mut updates = Vec::new();
        for row in versions.ipcache.iter() {
            let (map, key) = ipcache::locate(row.prefix);
            let value = ipcache::entry(row);
            if actual.get_mut(&map).and_then(|rows| rows.remove(&key)).as_deref() != Some(value.as_bytes()) {
                updates.push(Op::Update { map, key, value: value.as_bytes().to_vec() });
            }
        }
        // Neighbours of one map are one batch.
        updates.sort_by_key(Op::map);
        apply(&mut self.kernel, updates)?;
        let rest = actual.into_iter().flat_map(|(map, rows)| rows.into_keys().map(move |key| (map, key)));
        self.strays = Strays::new(rest);
        if prune {
            let strays = self.strays.take();
            apply(&mut self.kernel, strays)?;
        }
        Ok(())
    }

    fn resync_services(&mut self, versions: &Versions, prune: bool) -> Result<(), KernelError> {
        let mut dumps = BTreeMap::new();
        for map in service::MAPS {
            dumps.insert(map, self.kernel.dump(map)?);
        }
        if self.planner.services.is_empty() {
            self.planner.services = Services::restored(&dumps);
        }
        for row in versions.frontends.iter().filter(|row| service::supported(&row.addr)) {
            if let Err(error) = self.planner.services.upsert(row) {
                tracing::error!(%error, "service left out");
            }
        }
        let stale: Vec<_> =
            self.planner.services.frontends().filter(|addr| versions.frontends.get(addr).is_none()).collect();
        for addr in stale {
            self.planner.services.remove(addr);
        }
        let ops = self.planner.services.resync(dumps, prune);
        apply(&mut self.kernel, ops)
    }

    fn resync_endpoints(&mut self, versions: &Versions, prune: bool) -> Result<(), KernelError> {
        let running = self.planner.running.values().map(|running| (&running.row, running.identity, running.lockdown));
        let wanted = endpoint::wanted(running);
        for (map, rows) in wanted {
            let actual = self.kernel.dump(map)?;
            let owners: BTreeMap<Vec<u8>, u16> = actual
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), ebpf_abi::Endpoint::from_bytes(value)?.id)))
                .collect();
            let difference = difference(map, &rows, actual);
            apply(&mut self.kernel, difference.updates)?;
            // Rows of an earlier process stay while their endpoint waits for its policy.
            let orphans = difference.deletes.into_iter().filter(|op| match op {
                Op::Delete { key, .. } => {
                    let owner = owners.get(key).copied().map(model::EndpointId);
                    !owner.is_some_and(|id| self.waiting.contains(&id) && versions.endpoints.get(&id).is_some())
                }
                _ => false,
            });
            if prune {
                let orphans: Vec<Op> = orphans.collect();
                let ips: Vec<IpAddr> = orphans.iter().filter_map(address).collect();
                apply(&mut self.kernel, orphans)?;
                // They left while nobody looked; their addresses may be given out again.
                conntrack::forget(&mut self.kernel, &ips)?;
            }
        }
        if prune {
            let live: BTreeSet<&str> = versions.endpoints.iter().map(|row| &*row.host_ifname).collect();
            for interface in self.kernel.attached()? {
                if !live.contains(interface.as_str()) {
                    self.kernel.detach(&interface)?;
                }
            }
        }
        Ok(())
    }
}

/// The address that a deleted row of `endpoints*` was about.
fn address(op: &Op) -> Option<IpAddr> {
    match op {
        Op::Delete { map: MapId::Endpoints4, key } => Addr4::from_bytes(key).map(Address::ip),
        Op::Delete { map: MapId::Endpoints6, key } => Addr6::from_bytes(key).map(Address::ip),
        _ => None,
    }
}
