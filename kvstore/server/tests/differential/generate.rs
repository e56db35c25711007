//! A sequence of operations from a seed. It knows nothing of what servers answer.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{
    op::{Delete, End, KEYS, Key, Lease, Op, Put, Range, Rev, Value, Who},
    peer::STREAMS,
};

mod permissions;
mod transactions;
mod watching;

/// Lease ids that a sequence gives; small, so that they are taken often.
const LEASES: i64 = 6;

/// Far longer than a run.
const LONG_TTL: i64 = 100_000;

/// Operations between two restarts of ours.
const RESTART_EVERY: u32 = 400;

pub(crate) struct Generator {
    rng: StdRng,
    ops: Vec<Op>,
    /// Ranges that hold no key are left out: whether etcd permits one depends on how its tree of permissions grew.
    forwards: bool,
    last: Key,
}

/// The sequence of this seed.
pub(crate) fn sequence(seed: u64, length: usize) -> Vec<Op> {
    let (rng, last) = (StdRng::seed_from_u64(seed), Key::Nul);
    let mut generator = Generator { rng, ops: Vec::new(), forwards: false, last };
    while generator.ops.len() < length {
        generator.step();
    }
    generator.ops.truncate(length);
    generator.ops
}

/// The sequence of this seed in a store with users, most of whom may not do everything.
pub(crate) fn sequence_with_users(seed: u64, length: usize) -> Vec<Op> {
    let (rng, last) = (StdRng::seed_from_u64(seed), Key::Nul);
    let mut generator = Generator { rng, ops: permissions::beginning(), forwards: true, last };
    while generator.ops.len() < length {
        generator.step_with_users();
    }
    generator.ops.truncate(length);
    generator.ops
}

// === impl Generator ===

impl Generator {
    fn step(&mut self) {
        if self.rng.random_ratio(1, RESTART_EVERY) {
            self.push(Op::Restart);
        }
        match self.rng.random_range(0..1000) {
            0..260 => self.range_op(),
            260..465 => self.put_op(),
            465..545 => self.delete_op(),
            545..765 => self.txn_op(),
            765..785 => self.compact_op(),
            785..875 => self.watch_op(),
            875..955 => self.lease_op(),
            955..970 => self.alarm_ops(),
            _ => self.maintenance_op(),
        }
    }

    fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }

    fn key(&mut self) -> Key {
        self.last = match self.rng.random_range(0..200) {
            0..3 => Key::Empty,
            3..6 => Key::Nul,
            _ => Key::K(self.rng.random_range(0..KEYS.len()).try_into().unwrap()),
        };
        self.last
    }

    /// Of the key that was drawn last.
    fn end(&mut self) -> End {
        let first = self.last;
        match self.rng.random_range(0..10) {
            0..4 => End::One,
            4..7 => match (first, self.key()) {
                (Key::K(first), Key::K(last)) if self.forwards && last <= first => End::One,
                (_, last) => End::To(last),
            },
            7..9 => End::Prefix,
            _ => End::FromKey,
        }
    }

    /// More often one key than a range.
    fn narrow_end(&mut self) -> End {
        if self.chance(70) { End::One } else { self.end() }
    }

    fn value(&mut self) -> Value {
        match self.rng.random_range(0..20) {
            0 => Value::Nothing,
            1 => Value::Bulk(self.rng.random_range(1..5000)),
            _ => Value::V(self.rng.random_range(0..6)),
        }
    }

    /// A revision to read at: mostly none given, else around what is readable.
    fn rev(&mut self) -> Rev {
        match self.rng.random_range(0..20) {
            0..11 => Rev::At(0),
            11..14 => Rev::Head(-self.rng.random_range(0..20)),
            14..16 => Rev::Compacted(self.rng.random_range(-1..6)),
            16 => Rev::Head(1),
            17 => Rev::At(self.rng.random_range(-2..3)),
            18 => Rev::Head(self.rng.random_range(2..50)),
            _ => Rev::Compacted(self.rng.random_range(0..30)),
        }
    }

    /// One side of a filter on revisions.
    fn bound(&mut self, percent: u32) -> Rev {
        if self.chance(percent) { Rev::Head(-self.rng.random_range(0..60)) } else { Rev::At(0) }
    }

    fn lease(&mut self) -> Lease {
        if self.chance(20) {
            Lease::Chosen(self.rng.random_range(0..8))
        } else {
            Lease::L(self.rng.random_range(1..=LEASES))
        }
    }

    fn maybe_lease(&mut self, percent: u32) -> Lease {
        if self.chance(percent) { self.lease() } else { Lease::L(0) }
    }

    fn range(&mut self) -> Range {
        let filtered = self.chance(25);
        let percent = if filtered { 40 } else { 0 };
        Range {
            key: self.key(),
            end: self.end(),
            limit: if self.chance(30) { self.rng.random_range(-1..6) } else { 0 },
            rev: self.rev(),
            order: if self.chance(35) { self.rng.random_range(0..3) } else { 0 },
            target: if self.chance(35) { self.rng.random_range(0..5) } else { 0 },
            serializable: self.chance(25),
            keys_only: self.chance(15),
            count_only: self.chance(12),
            mods: (self.bound(percent), self.bound(percent)),
            creates: (self.bound(percent), self.bound(percent)),
        }
    }

    fn range_op(&mut self) {
        let mut range = self.range();
        if self.chance(1) {
            range.order = 7;
        } else if self.chance(1) {
            range.target = 9;
        }
        self.push(Op::Range(range));
    }

    fn put(&mut self) -> Put {
        let (ignore_value, ignore_lease) = (self.chance(8), self.chance(8));
        // Mostly as it must be: without what is to be ignored.
        let value = if ignore_value && self.chance(80) { Value::Nothing } else { self.value() };
        let lease = if ignore_lease && self.chance(65) { Lease::L(0) } else { self.maybe_lease(30) };
        Put { key: self.key(), value, lease, prev_kv: self.chance(30), ignore_value, ignore_lease }
    }

    fn put_op(&mut self) {
        let put = self.put();
        self.push(Op::Put(put));
    }

    fn delete(&mut self) -> Delete {
        Delete { key: self.key(), end: self.narrow_end(), prev_kv: self.chance(40) }
    }

    fn delete_op(&mut self) {
        let delete = self.delete();
        self.push(Op::DeleteRange(delete));
    }

    fn compact_op(&mut self) {
        let rev = match self.rng.random_range(0..10) {
            0..5 => Rev::Head(-self.rng.random_range(0..80)),
            5..7 => Rev::Compacted(self.rng.random_range(0..20)),
            7 => Rev::Head(self.rng.random_range(1..5)),
            8 => Rev::At(self.rng.random_range(-1..2)),
            _ => Rev::Head(0),
        };
        let physical = self.chance(30);
        self.push(Op::Compact { rev, physical });
    }

    fn lease_op(&mut self) {
        let op = match self.rng.random_range(0..100) {
            0..25 => {
                Op::LeaseGrant { id: self.rng.random_range(1..=LEASES), ttl: LONG_TTL + self.rng.random_range(0..9) }
            }
            25..32 => Op::LeaseGrant { id: 0, ttl: LONG_TTL },
            32..37 => {
                Op::LeaseGrant { id: self.rng.random_range(-1..3), ttl: 9_000_000_000 + self.rng.random_range(0..3) }
            }
            37..41 => {
                // A short one would end by itself at some time: it goes at once.
                let id = 100;
                let ttl = self.rng.random_range(-2..3);
                self.push(Op::LeaseGrant { id, ttl });
                Op::LeaseRevoke { id: Lease::L(id) }
            }
            41..58 => Op::LeaseRevoke { id: self.maybe_lease(95) },
            58..74 => {
                let ids = (0..self.rng.random_range(1..4)).map(|_| self.maybe_lease(90)).collect();
                Op::LeaseKeepAlive { ids }
            }
            74..92 => Op::LeaseTimeToLive { id: self.maybe_lease(95), keys: self.chance(70) },
            _ => Op::LeaseLeases,
        };
        self.push(op);
    }

    /// An alarm is asked for, or raised, met by a few writes, and put out.
    fn alarm_ops(&mut self) {
        const NOSPACE: i32 = 1;
        let who = *[Who::Own, Who::Own, Who::Stranger, Who::Everyone].choose(&mut self.rng).expect("not empty");
        match self.rng.random_range(0..10) {
            0..4 => {
                let alarm = self.rng.random_range(0..2);
                self.push(Op::Alarm { action: 0, who, alarm });
            }
            4..6 => self.push(Op::Alarm { action: 2, who, alarm: NOSPACE }),
            _ => {
                self.push(Op::Alarm { action: 1, who, alarm: NOSPACE });
                for _ in 0..self.rng.random_range(0..8) {
                    match self.rng.random_range(0..6) {
                        0 => self.put_op(),
                        1 => self.txn_op(),
                        2 => self.lease_op(),
                        3 => self.delete_op(),
                        4 => self.push(Op::Alarm { action: 0, who: Who::Everyone, alarm: 0 }),
                        _ => self.push(Op::Status),
                    }
                }
                self.push(Op::Alarm { action: 2, who, alarm: NOSPACE });
            }
        }
    }

    fn maintenance_op(&mut self) {
        let op = match self.rng.random_range(0..20) {
            0..3 => Op::MemberList { linearizable: self.chance(50) },
            3..6 => Op::Status,
            6 => Op::Defragment,
            7..9 => Op::Hash,
            9 => Op::HashKV { rev: Rev::Head(1) },
            10..12 => Op::HashKV { rev: Rev::Compacted(-1) },
            _ => Op::HashKV { rev: self.rev() },
        };
        self.push(op);
    }

    fn stream(&mut self) -> usize {
        self.rng.random_range(0..STREAMS)
    }
}
