//! Identity numbers that nobody uses any more: which to take back, and when.
//!
//! ```text
//!   round: every number and every user ──> unused ──marked──> next round: unused still, unchanged ──> collect it
//! ```
//! Two rounds, as in Cilium: whoever takes a number up again in between touches its key, or has a user's key. What is
//! decided here is only proposed: the transaction that collects compares again (design.md, decision 3). A number that
//! was collected stays out of use for as long as an allocator may still believe in it.

mod driver;
mod txn;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use kvstore::Header;
use model::NumericIdentity;

pub(crate) use driver::{Inputs, Metrics, run};

/// How often numbers are collected, and how fast; the names are those of Cilium's flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// `--identity-gc-interval`: between two rounds.
    pub interval: Duration,
    /// `--identity-gc-rate-interval`: the time in which at most `rate_limit` are collected.
    pub rate_interval: Duration,
    /// `--identity-gc-rate-limit`.
    pub rate_limit: u32,
}

/// A number without a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unused {
    pub(crate) number: NumericIdentity,
    /// As they stand in the store: ours or not, the keys of users are named by them.
    pub(crate) labels: String,
    pub(crate) mod_revision: i64,
}

/// What a round found in the store, all at one revision.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) header: Header,
    pub(crate) masters: Vec<Unused>,
    /// Label strings with at least one user.
    pub(crate) used: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Read everything and answer with [`Collector::handle_round`].
    Look,
    /// Answer with [`Collector::handle_outcome`].
    Collect(Unused),
}

/// What became of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Collected,
    /// It is used again, or was touched, or somebody holds a lock on it.
    Kept,
    /// The store did not answer.
    Failed,
}

/// Of the last complete round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stats {
    pub(crate) alive: usize,
    pub(crate) deleted: usize,
}

pub(crate) struct Collector {
    range: RangeInclusive<u32>,
    pace: Pace,
    /// Unused in the last round.
    marked: BTreeMap<NumericIdentity, Unused>,
    queue: VecDeque<Unused>,
    /// The store of the last round.
    store: Header,
    next_round: Instant,
    /// How many may be collected now.
    allowance: f64,
    counted: Instant,
    stats: Stats,
}

// === impl Pace ===

impl Default for Pace {
    /// Cilium's.
    fn default() -> Self {
        Self { interval: Duration::from_secs(900), rate_interval: Duration::from_secs(60), rate_limit: 2500 }
    }
}

// === impl Collector ===

impl Collector {
    /// The first round is at once: it only marks.
    pub(crate) fn new(now: Instant, range: RangeInclusive<u32>, pace: Pace) -> Self {
        Self {
            range,
            pace,
            marked: BTreeMap::new(),
            queue: VecDeque::new(),
            store: Header::default(),
            next_round: now,
            allowance: pace.rate_limit.into(),
            counted: now,
            stats: Stats::default(),
        }
    }

    /// What a round found; `None`: the store did not answer, and nothing changes but the time of the next one.
    pub(crate) fn handle_round(&mut self, now: Instant, found: Option<Found>) {
        self.next_round = now + self.pace.interval;
        let Some(found) = found else { return };
        // A number that was unused in another store says nothing about this one.
        if found.header.cluster_id != self.store.cluster_id || found.header.revision < self.store.revision {
            self.marked.clear();
        }
        self.store = found.header;
        self.stats = Stats::default();
        let before = std::mem::take(&mut self.marked);
        // That nobody uses any number is what a loss of every lease looks like: their owners will put them again.
        let nobody = found.used.is_empty();
        self.queue.clear();
        for master in found.masters.into_iter().filter(|master| self.range.contains(&master.number.get())) {
            self.stats.alive += 1;
            if nobody || found.used.contains(&master.labels) {
                continue;
            }
            if before.get(&master.number) == Some(&master) {
                self.queue.push_back(master.clone());
            }
            self.marked.insert(master.number, master);
        }
    }

    pub(crate) fn handle_outcome(&mut self, number: NumericIdentity, outcome: Outcome) {
        match outcome {
            Outcome::Collected => {
                self.marked.remove(&number);
                self.stats.alive = self.stats.alive.saturating_sub(1);
                self.stats.deleted += 1;
            }
            // It must be found unused twice more.
            Outcome::Kept => drop(self.marked.remove(&number)),
            // Unused it still is: the next round tries again.
            Outcome::Failed => {}
        }
    }

    pub(crate) fn poll_effect(&mut self, now: Instant) -> Option<Effect> {
        self.earn(now);
        if self.queue.is_empty() && now >= self.next_round {
            return Some(Effect::Look);
        }
        if self.allowance < 1.0 {
            return None;
        }
        let next = self.queue.pop_front()?;
        self.allowance -= 1.0;
        Some(Effect::Collect(next))
    }

    pub(crate) fn poll_timeout(&self) -> Instant {
        if self.queue.is_empty() {
            return self.next_round;
        }
        self.counted + self.pace.rate_interval.mul_f64((1.0 - self.allowance).max(0.0) / self.limit())
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats
    }

    fn limit(&self) -> f64 {
        self.pace.rate_limit.max(1).into()
    }

    fn earn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted).as_secs_f64();
        self.counted = self.counted.max(now);
        let earned = passed / self.pace.rate_interval.as_secs_f64().max(1e-3) * self.limit();
        self.allowance = (self.allowance + earned).min(self.limit());
    }
}

#[cfg(test)]
mod tests;
