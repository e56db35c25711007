//! Services: numbers are local to the node and survive restarts in the maps themselves.

mod numbers;
mod rows;

use crate::{
    kernel::Pair,
    plan::{Op, Rows, difference},
};
use ebpf_abi::BackendState as State;
use model::{BackendState, L3n4Addr, Protocol};
use numbers::Numbers;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};
use tables::Frontend;

pub use rows::MAPS;

/// No number is left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no number is left for {what} {addr}")]
pub struct Exhausted {
    what: &'static str,
    addr: L3n4Addr,
}

/// What the kernel holds of a frontend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Realized {
    number: u16,
    /// Backends by slot, the first being slot 1.
    slots: Vec<u32>,
    /// Every backend it refers to, draining ones included, with the state it gives them.
    uses: BTreeMap<L3n4Addr, u8>,
}

/// Numbers services and backends, and knows what the maps hold.
#[derive(Debug, Default)]
pub struct Services {
    numbers: Numbers<u16>,
    backend_numbers: Numbers<u32>,
    frontends: BTreeMap<L3n4Addr, Realized>,
    /// Who uses a backend, and as what.
    users: BTreeMap<L3n4Addr, BTreeMap<L3n4Addr, u8>>,
    /// What state the map gives a backend.
    states: BTreeMap<L3n4Addr, u8>,
    addresses: BTreeMap<IpAddr, BTreeSet<L3n4Addr>>,
}

impl Services {
    /// Learns numbers from the maps of an earlier process. The rows themselves are compared by [`Self::resync`].
    #[must_use]
    pub fn restored(dumps: &BTreeMap<crate::MapId, Vec<Pair>>) -> Self {
        let mut services = Self::default();
        for (addr, number) in rows::service_numbers(dumps) {
            services.numbers.restore(addr, number);
        }
        for (addr, number) in rows::backend_numbers(dumps) {
            services.backend_numbers.restore(addr, number);
        }
        services
    }

    /// The steps that make a frontend so: new backends, slots, reverse translation, frontend, then
    /// what nobody uses any more; when it shrinks, the frontend comes before its slots.
    ///
    /// # Errors
    /// [`Exhausted`]; nothing is changed then.
    pub fn upsert(&mut self, frontend: &Frontend) -> Result<Vec<Op>, Exhausted> {
        let addr = frontend.addr;
        let number = self.numbers.take(addr).ok_or(Exhausted { what: "service", addr })?;
        let mut uses = BTreeMap::new();
        for backend in &frontend.draining {
            uses.insert(backend.addr, State::TERMINATING);
        }
        for backend in &frontend.backends {
            uses.insert(backend.addr, state(backend.state));
        }
        let mut slots = Vec::with_capacity(frontend.backends.len());
        for backend in &frontend.backends {
            let Some(id) = self.backend_numbers.take(backend.addr) else {
                return Err(Exhausted { what: "backend", addr: backend.addr });
            };
            slots.push(id);
        }
        let wanted = Realized { number, slots, uses };
        let known = self.frontends.get(&addr).cloned();
        if known.as_ref() == Some(&wanted) {
            return Ok(Vec::new());
        }
        let old = known.clone().unwrap_or_default();
        let mut ops = Vec::new();
        for (backend, state) in &wanted.uses {
            self.users.entry(*backend).or_default().insert(addr, *state);
            self.write_backend(*backend, &mut ops)?;
        }
        let changed_slots = wanted.slots.iter().enumerate().filter(|(slot, id)| old.slots.get(*slot) != Some(*id));
        let slot_ops: Vec<Op> = changed_slots.map(|(slot, id)| rows::slot(addr, slot + 1, *id)).collect();
        let master = rows::master(addr, wanted.slots.len(), number);
        let count_changed = known.is_none() || old.slots.len() != wanted.slots.len();
        if wanted.slots.len() < old.slots.len() {
            ops.push(master);
            ops.extend(slot_ops);
            ops.extend((wanted.slots.len()..old.slots.len()).map(|slot| rows::delete_slot(addr, slot + 1)));
        } else {
            ops.extend(slot_ops);
            if known.is_none() {
                ops.push(rows::reverse(addr, number));
                if self.addresses.entry(addr.ip).or_default().is_empty() {
                    ops.push(rows::address(addr.ip));
                }
            }
            if count_changed {
                ops.push(master);
            }
        }
        self.addresses.entry(addr.ip).or_default().insert(addr);
        for backend in old.uses.keys().filter(|backend| !wanted.uses.contains_key(backend)) {
            self.release(addr, *backend, &mut ops)?;
        }
        self.frontends.insert(addr, wanted);
        Ok(ops)
    }

    /// The steps that remove a frontend, the reverse order.
    pub fn remove(&mut self, addr: L3n4Addr) -> Vec<Op> {
        let Some(old) = self.frontends.remove(&addr) else { return Vec::new() };
        let mut ops = vec![rows::delete_slot(addr, 0)];
        ops.extend((0..old.slots.len()).map(|slot| rows::delete_slot(addr, slot + 1)));
        ops.push(rows::delete_reverse(addr, old.number));
        if let Some(ports) = self.addresses.get_mut(&addr.ip) {
            ports.remove(&addr);
            if ports.is_empty() {
                self.addresses.remove(&addr.ip);
                ops.push(rows::delete_address(addr.ip));
            }
        }
        for backend in old.uses.keys() {
            // Releasing needs no new number, the only thing that can fail.
            let _ = self.release(addr, *backend, &mut ops);
        }
        self.numbers.release(addr);
        ops
    }

    /// Compares the maps with what was planned so far; deletes what is in no plan when `prune` is set.
    #[must_use]
    pub fn resync(&self, dumps: BTreeMap<crate::MapId, Vec<Pair>>, prune: bool) -> Vec<Op> {
        let mut wanted = self.wanted();
        let mut updates = BTreeMap::new();
        let mut deletes = BTreeMap::new();
        for (map, actual) in dumps {
            let difference = difference(map, &wanted.remove(&map).unwrap_or_default(), actual);
            updates.insert(map, difference.updates);
            deletes.insert(map, difference.deletes);
        }
        // MAPS is in writer order; frontends (slot 0) come after their slots within a map, see `rows`.
        let mut ops: Vec<Op> = MAPS.iter().flat_map(|map| updates.remove(map).unwrap_or_default()).collect();
        rows::frontends_last(&mut ops);
        if prune {
            let mut gone: Vec<Op> = MAPS.iter().rev().flat_map(|map| deletes.remove(map).unwrap_or_default()).collect();
            rows::frontends_first(&mut gone);
            ops.extend(gone);
        }
        ops
    }

    /// Frontends in the plan.
    pub fn frontends(&self) -> impl Iterator<Item = L3n4Addr> {
        self.frontends.keys().copied()
    }

    fn wanted(&self) -> BTreeMap<crate::MapId, Rows> {
        let mut wanted: BTreeMap<crate::MapId, Rows> = MAPS.into_iter().map(|map| (map, Rows::new())).collect();
        let mut add = |op: Op| {
            if let Op::Update { map, key, value } = op {
                wanted.entry(map).or_default().insert(key, value);
            }
        };
        for (addr, realized) in &self.frontends {
            realized.slots.iter().enumerate().for_each(|(slot, id)| add(rows::slot(*addr, slot + 1, *id)));
            add(rows::reverse(*addr, realized.number));
            add(rows::master(*addr, realized.slots.len(), realized.number));
            add(rows::address(addr.ip));
        }
        for (addr, state) in &self.states {
            if let Some(id) = self.backend_numbers.get(addr) {
                add(rows::backend(*addr, id, *state));
            }
        }
        wanted
    }

    /// Writes a backend's row when it is new or its state changed.
    fn write_backend(&mut self, backend: L3n4Addr, ops: &mut Vec<Op>) -> Result<(), Exhausted> {
        // Any user for whom it is active makes it active: the byte is one for all services.
        let Some(state) = self.users.get(&backend).and_then(|users| users.values().min().copied()) else {
            return Ok(());
        };
        let id = self.backend_numbers.take(backend).ok_or(Exhausted { what: "backend", addr: backend })?;
        if self.states.insert(backend, state) != Some(state) {
            ops.push(rows::backend(backend, id, state));
        }
        Ok(())
    }

    /// `frontend` no longer uses `backend`.
    fn release(&mut self, frontend: L3n4Addr, backend: L3n4Addr, ops: &mut Vec<Op>) -> Result<(), Exhausted> {
        let Some(users) = self.users.get_mut(&backend) else { return Ok(()) };
        users.remove(&frontend);
        if !users.is_empty() {
            return self.write_backend(backend, ops);
        }
        self.users.remove(&backend);
        self.states.remove(&backend);
        if let Some(id) = self.backend_numbers.release(backend) {
            ops.push(rows::delete_backend(backend, id));
        }
        Ok(())
    }
}

fn state(state: BackendState) -> u8 {
    match state {
        BackendState::Active => State::ACTIVE,
        BackendState::Terminating => State::TERMINATING,
        BackendState::Quarantined => State::QUARANTINED,
        BackendState::Maintenance => State::MAINTENANCE,
    }
}

/// Whether the programs can translate it.
#[must_use]
pub fn supported(addr: &L3n4Addr) -> bool {
    matches!(addr.proto, Protocol::Tcp | Protocol::Udp)
}

impl Services {
    /// Nothing was planned or restored yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frontends.is_empty() && self.numbers.is_empty()
    }
}
