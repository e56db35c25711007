//! One round: what changed in the tables becomes one ordered list of steps.

use crate::plan::{Op, endpoint, ipcache, policy, service, service::Services};
use statedb::{Change, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use tables::{Endpoint, Frontend, IpcacheRow, PolicyKey, PolicyMapRow};

/// What the tables say since the last round.
///
/// Policy is read before and after the ipcache: rows of the second reading may be what the ipcache
/// rows wait for, but its removals may belong to ipcache removals not yet seen, and wait.
#[derive(Default)]
pub struct Input {
    pub policy_before: Vec<Change<PolicyMapRow>>,
    pub ipcache: Vec<Change<IpcacheRow>>,
    pub policy_after: Vec<Change<PolicyMapRow>>,
    pub frontends: Vec<Change<Frontend>>,
}

/// An endpoint as the kernel has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    pub row: Endpoint,
    pub identity: u32,
    pub lockdown: bool,
}

/// What was planned so far.
#[derive(Default)]
pub struct Planner {
    pub(crate) services: Services,
    /// Policy rows that go with the next round.
    pub(crate) held: BTreeSet<PolicyKey>,
    /// Sets the kernel has.
    pub(crate) sets: BTreeSet<u32>,
    /// Sets whose rows do not fit.
    pub(crate) overflowed: BTreeSet<u32>,
    pub(crate) running: BTreeMap<u16, Running>,
}

/// The steps of a round in three stages; endpoints come between the last two.
#[derive(Default, Debug)]
pub struct Round {
    pub grow: Vec<Op>,
    pub shrink: Vec<Op>,
    /// Overflowed sets that changed: they are compared as a whole.
    pub recheck: BTreeSet<u32>,
    pub errors: Vec<service::Exhausted>,
}

impl Planner {
    /// Plans what the changes ask for.
    pub fn round(&mut self, input: Input, policy: &Snapshot<PolicyMapRow>) -> Round {
        let mut round = Round::default();
        let mut deletes = std::mem::take(&mut self.held);
        let mut upserts = BTreeMap::new();
        for (early, change) in
            input.policy_before.iter().map(|c| (true, c)).chain(input.policy_after.iter().map(|c| (false, c)))
        {
            let key = change.row().key;
            deletes.remove(&key);
            self.held.remove(&key);
            upserts.remove(&key);
            match change {
                Change::Upsert(row) => {
                    upserts.insert(key, row.clone());
                }
                Change::Delete(_) if early => {
                    deletes.insert(key);
                }
                Change::Delete(_) => {
                    self.held.insert(key);
                }
            }
        }
        for row in upserts.values() {
            let set = row.key.set.get();
            if self.overflowed.contains(&set) {
                round.recheck.insert(set);
                continue;
            }
            self.ensure_set(set, &mut round.grow);
            round.grow.extend(policy::upserts(row));
        }
        round.grow.extend(input.ipcache.iter().map(|change| match change {
            Change::Upsert(row) => ipcache::upsert(row),
            Change::Delete(row) => ipcache::delete(row.prefix),
        }));
        for change in &input.frontends {
            match change {
                Change::Upsert(row) if service::supported(&row.addr) => match self.services.upsert(row) {
                    Ok(ops) => round.grow.extend(ops),
                    Err(error) => round.errors.push(error),
                },
                Change::Upsert(_) => {}
                Change::Delete(row) => round.grow.extend(self.services.remove(row.addr)),
            }
        }
        let mut touched = BTreeSet::new();
        for key in &deletes {
            touched.insert(key.set.get());
            if self.overflowed.contains(&key.set.get()) {
                round.recheck.insert(key.set.get());
            } else {
                round.shrink.extend(policy::deletes(key));
            }
        }
        for set in touched {
            self.drop_if_unused(set, policy, &mut round.shrink);
        }
        round
    }

    /// The set exists from here on.
    pub(crate) fn ensure_set(&mut self, set: u32, ops: &mut Vec<Op>) {
        if self.sets.insert(set) {
            ops.push(Op::CreateSet(set));
        }
    }

    /// A set without rows that protects no endpoint goes.
    pub(crate) fn drop_if_unused(&mut self, set: u32, policy: &Snapshot<PolicyMapRow>, ops: &mut Vec<Op>) {
        let used = self.running.values().any(|running| running.identity == set);
        let empty = policy.range(|key| key.set.get().cmp(&set)).next().is_none();
        let waits = self.held.iter().any(|key| key.set.get() == set);
        if !used && empty && !waits && self.sets.remove(&set) {
            self.overflowed.remove(&set);
            ops.push(Op::DropSet(set));
        }
    }

    /// The steps that put an endpoint under its policy. Its programs are attached after them.
    pub(crate) fn run(&mut self, row: &Endpoint, identity: u32) -> Vec<Op> {
        let mut ops = Vec::new();
        self.ensure_set(identity, &mut ops);
        let lockdown = self.overflowed.contains(&identity);
        let running = Running { row: row.clone(), identity, lockdown };
        ops.extend(update(endpoint::rows(row, identity, lockdown)));
        if let Some(old) = self.running.insert(row.id.0, running) {
            let kept: BTreeSet<_> = ops.iter().filter_map(place).collect();
            let gone = delete(endpoint::rows(&old.row, old.identity, old.lockdown));
            let gone: Vec<Op> = gone.filter(|op| place(op).is_none_or(|place| !kept.contains(&place))).collect();
            ops.extend(gone);
        }
        ops
    }

    /// The steps that remove it. Its programs are detached before them.
    pub(crate) fn stop(&mut self, row: &Endpoint) -> Vec<Op> {
        let row = self.running.remove(&row.id.0).map_or_else(|| row.clone(), |running| running.row);
        delete(endpoint::rows(&row, 0, false)).collect()
    }

    /// Locks the endpoints of a set, or unlocks them.
    pub(crate) fn set_overflowed(&mut self, set: u32, overflowed: bool) -> Vec<Op> {
        let changed = if overflowed { self.overflowed.insert(set) } else { self.overflowed.remove(&set) };
        let mut ops = Vec::new();
        if changed {
            for running in self.running.values_mut().filter(|running| running.identity == set) {
                running.lockdown = overflowed;
                ops.extend(update(endpoint::rows(&running.row, running.identity, overflowed)));
            }
        }
        ops
    }
}

fn update(rows: Vec<(crate::MapId, Vec<u8>, Vec<u8>)>) -> impl Iterator<Item = Op> {
    rows.into_iter().map(|(map, key, value)| Op::Update { map, key, value })
}

fn delete(rows: Vec<(crate::MapId, Vec<u8>, Vec<u8>)>) -> impl Iterator<Item = Op> {
    rows.into_iter().map(|(map, key, _)| Op::Delete { map, key })
}

fn place(op: &Op) -> Option<(crate::MapId, Vec<u8>)> {
    match op {
        Op::Update { map, key, .. } | Op::Delete { map, key } => Some((*map, key.clone())),
        Op::CreateSet(_) | Op::DropSet(_) => None,
    }
}
