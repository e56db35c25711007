//! Whether a remote store is still being written to.

use std::time::{Duration, Instant};

/// A remote client reconnects when it saw no heartbeat event for two minutes, counted from its
/// connect. Only puts count, on our clock: the value is never looked at, and a delete is no life sign.
#[derive(Debug, Clone)]
pub struct HeartbeatWatchdog {
    last: Instant,
    limit: Duration,
}

// === impl HeartbeatWatchdog ===

impl HeartbeatWatchdog {
    pub const LIMIT: Duration = Duration::from_secs(120);

    pub fn new(now: Instant) -> Self {
        Self { last: now, limit: Self::LIMIT }
    }

    pub fn handle_heartbeat(&mut self, now: Instant) {
        self.last = now;
    }

    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last)
    }

    /// Whether to close the connection and start over.
    pub fn is_stale(&self, now: Instant) -> bool {
        self.age(now) >= self.limit
    }

    /// When to ask again.
    pub fn poll_timeout(&self) -> Instant {
        self.last + self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_of_two_minutes_is_stale() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut watchdog = HeartbeatWatchdog::new(start);
        assert!(!watchdog.is_stale(at(119)));
        assert!(watchdog.is_stale(at(120)));
        watchdog.handle_heartbeat(at(60));
        assert!(!watchdog.is_stale(at(179)));
        assert_eq!(watchdog.poll_timeout(), at(180));
    }
}
