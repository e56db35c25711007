//! The hold on mass deletes: a cluster that loses most of its keys at once has more likely lost a lease than its pods.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use statedb::{Row, RowRef};

/// Deletes within this time are one event.
pub const HOLD_WINDOW: Duration = Duration::from_secs(5);

/// More keys than this, and more than one in [`HOLD_SHARE`], are held.
pub const HOLD_MIN_KEYS: usize = 20;

/// One in twenty is five percent.
const HOLD_SHARE: usize = 20;

/// How long held rows stay.
pub const HOLD: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Hold<R: Row> {
    /// Keys gone within the window, with the row they had: it comes back if the others follow.
    recent: BTreeMap<R::Key, Gone<R>>,
    /// Rows that leave at this time.
    held: BTreeMap<R::Key, Instant>,
}

#[derive(Debug)]
struct Gone<R> {
    at: Instant,
    row: Option<RowRef<R>>,
}

/// What to do with keys that are gone.
#[derive(Debug, PartialEq)]
pub(super) struct Verdict<R: Row> {
    pub(super) delete: Vec<R::Key>,
    /// Left a moment ago, before it could be seen how many would.
    pub(super) restore: Vec<R>,
}

// === impl Hold ===

impl<R: Row> Hold<R> {
    pub(super) fn new() -> Self {
        Self { recent: BTreeMap::new(), held: BTreeMap::new() }
    }

    /// `suspicious` are keys that are held whatever their number, `left` is how many keys the prefix still has.
    pub(super) fn handle_gone(
        &mut self,
        now: Instant,
        gone: BTreeMap<R::Key, Option<RowRef<R>>>,
        suspicious: &BTreeSet<R::Key>,
        left: usize,
    ) -> Verdict<R> {
        self.recent.retain(|_, gone| now.saturating_duration_since(gone.at) < HOLD_WINDOW);
        let fresh: BTreeSet<R::Key> = gone.keys().cloned().collect();
        self.recent.extend(gone.into_iter().map(|(key, row)| (key, Gone { at: now, row })));
        let count = self.recent.len();
        if count <= HOLD_MIN_KEYS || count * HOLD_SHARE <= left + count {
            self.held.extend(suspicious.iter().map(|key| (key.clone(), now + HOLD)));
            let delete = fresh.difference(suspicious).cloned().collect();
            return Verdict { delete, restore: Vec::new() };
        }
        let mut restore = Vec::new();
        for (key, gone) in &mut self.recent {
            if self.held.contains_key(key) {
                continue;
            }
            self.held.insert(key.clone(), now + HOLD);
            let row = gone.row.take();
            if !fresh.contains(key) {
                restore.extend(row.map(|row| R::clone(&row)));
            }
        }
        Verdict { delete: Vec::new(), restore }
    }

    /// The key is back.
    pub(super) fn handle_put(&mut self, key: &R::Key) {
        self.recent.remove(key);
        self.held.remove(key);
    }

    /// The rows whose time is over.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<R::Key> {
        self.held.extract_if(.., |_, until| *until <= now).map(|(key, _)| key).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.held.values().min().copied()
    }

    /// Nothing went of late, and nothing is held.
    pub(super) fn is_idle(&self) -> bool {
        self.recent.is_empty() && self.held.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}
