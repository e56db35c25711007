//! Automatic compaction, as etcd's flags name it: every so often, or so many revisions behind.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How many times in its period, at most, etcd's periodic mode compacts.
const PARTS: u32 = 10;
/// How often revision mode looks.
const LOOK: Duration = Duration::from_secs(300);

/// When history is forgotten without being asked.
#[derive(Debug, Clone, Default)]
pub enum AutoCompaction {
    #[default]
    Off,
    /// What is older than the period.
    Periodic { period: Duration, seen: VecDeque<(Instant, i64)>, last: i64 },
    /// What is more than so many revisions old.
    Revision { keep: i64, looked: Option<Instant> },
}

// === impl AutoCompaction ===

impl AutoCompaction {
    pub fn periodic(period: Duration) -> Self {
        Self::Periodic { period, seen: VecDeque::new(), last: 0 }
    }

    pub fn revision(keep: i64) -> Self {
        Self::Revision { keep, looked: None }
    }

    pub(crate) fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// The revision to compact at now, if any.
    pub(crate) fn due(&mut self, now: Instant, revision: i64) -> Option<i64> {
        match self {
            Self::Off => None,
            Self::Periodic { period, seen, last } => {
                let step = (*period).min(Duration::from_secs(3600)) / PARTS;
                if seen.back().is_none_or(|(at, _)| now.duration_since(*at) >= step) {
                    seen.push_back((now, revision));
                }
                let mut old = None;
                while let Some((at, then)) = seen.front().copied()
                    && now.duration_since(at) >= *period
                {
                    seen.pop_front();
                    old = Some(then);
                }
                let due = old.filter(|old| *old > *last && *old > 1)?;
                *last = due;
                Some(due)
            }
            Self::Revision { keep, looked } => {
                if looked.is_some_and(|looked| now.duration_since(looked) < LOOK) {
                    return None;
                }
                *looked = Some(now);
                Some(revision - *keep).filter(|due| *due > 0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periodic_compacts_at_what_was_current_a_period_ago() {
        let start = Instant::now();
        let mut compaction = AutoCompaction::periodic(Duration::from_secs(100));
        let mut due = Vec::new();
        for second in 0..=130 {
            due.extend(compaction.due(start + Duration::from_secs(second), 10 + second as i64));
        }
        assert_eq!(due, [10, 20, 30, 40], "a tenth of the period apart, a whole period late");
    }

    #[test]
    fn revision_mode_keeps_so_many() {
        let start = Instant::now();
        let mut compaction = AutoCompaction::revision(1_000);
        assert_eq!(compaction.due(start, 900), None);
        assert_eq!(compaction.due(start + LOOK / 2, 1_900), None, "it looks each five minutes");
        assert_eq!(compaction.due(start + LOOK, 1_900), Some(900));
    }
}
