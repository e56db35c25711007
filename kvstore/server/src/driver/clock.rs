//! The clock of leases: it leaves out time in which this process did not run, for nobody could keep a lease alive then.

use std::time::{Duration, Instant};

/// The driver looks at the clock at least each tenth of a second; a longer gap is a pause, or a disk that hangs.
const LONGEST_GAP: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct LeaseClock {
    last: Instant,
    paused: Duration,
}

// === impl LeaseClock ===

impl LeaseClock {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: now, paused: Duration::ZERO }
    }

    pub(super) fn now(&mut self, now: Instant) -> Instant {
        let gap = now.saturating_duration_since(self.last);
        self.paused += gap.saturating_sub(LONGEST_GAP);
        self.last = now;
        // The sum of pauses is at most the time since the start.
        now - self.paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_counts_as_a_second_and_no_time_is_counted_twice() {
        let start = Instant::now();
        let mut clock = LeaseClock::new(start);
        let at = |secs: u64| start + Duration::from_secs(secs);
        assert_eq!(clock.now(at(1)), at(1));
        assert_eq!(clock.now(at(31)), at(2), "thirty seconds of pause");
        assert_eq!(clock.now(at(32)), at(3));
    }
}
