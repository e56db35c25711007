//! Watches: from now, from old revisions, from those to come, and wrong ones.

use rand::Rng;

use super::Generator;
use crate::op::{Op, Rev, Watch};

/// Ids that a sequence gives; 0 lets the server choose.
const IDS: i64 = 6;

/// Only here may watches wait for revisions to come: a stream with one of those makes no promise of progress.
pub(crate) const PATIENT: usize = 2;

impl Generator {
    pub(super) fn watch_op(&mut self) {
        let stream = self.stream();
        let op = match self.rng.random_range(0..100) {
            0..60 => Op::WatchCreate(self.watch(stream)),
            60..84 => Op::WatchCancel { stream, id: self.rng.random_range(0..=IDS) },
            84..90 => Op::WatchProgress { stream },
            90..94 => Op::WatchClose { stream },
            _ => Op::Settle,
        };
        self.push(op);
    }

    fn watch(&mut self, stream: usize) -> Watch {
        let start = match self.rng.random_range(0..20) {
            0..12 => Rev::At(0),
            12..14 => Rev::Head(1),
            14..17 => Rev::Head(-self.rng.random_range(0..30)),
            17..19 => Rev::Compacted(self.rng.random_range(-2..4)),
            _ if stream == PATIENT => Rev::Head(self.rng.random_range(2..40)),
            _ => Rev::At(self.rng.random_range(-2..2)),
        };
        let filters = match self.rng.random_range(0..20) {
            0..14 => Vec::new(),
            14..16 => vec![0],
            16..18 => vec![1],
            18 => vec![0, 1],
            _ => vec![5],
        };
        Watch {
            stream,
            id: if self.chance(60) { self.rng.random_range(1..=IDS) } else { 0 },
            key: self.key(),
            end: self.end(),
            start,
            filters,
            prev_kv: self.chance(40),
            fragment: self.chance(20),
            progress_notify: self.chance(20),
        }
    }
}
