//! A token bucket: how many requests a second.

use std::time::{Duration, Instant};

/// Holds at most one second's worth of tokens. May go into debt: each debtor waits its turn.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_sec: f64,
    tokens: f64,
    at: Instant,
}

// === impl Bucket ===

impl Bucket {
    /// `per_sec` of 0: no limit.
    pub(crate) fn new(now: Instant, per_sec: u32) -> Self {
        Self { per_sec: per_sec.into(), tokens: per_sec.into(), at: now }
    }

    /// Another rate from now on; a debt stays, savings beyond a second's worth do not.
    pub(crate) fn set_rate(&mut self, now: Instant, per_sec: u32) {
        self.take(now);
        self.per_sec = per_sec.into();
        self.tokens = (self.tokens + 1.0).min(self.per_sec);
    }

    /// Takes a token; the request may go out after the delay.
    pub(crate) fn take(&mut self, now: Instant) -> Duration {
        if self.per_sec == 0.0 {
            return Duration::ZERO;
        }
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.per_sec;
        self.at = self.at.max(now);
        self.tokens = (self.tokens + earned).min(self.per_sec) - 1.0;
        Duration::from_secs_f64((-self.tokens).max(0.0) / self.per_sec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_waits_its_turn() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start, 10);
        let delays: Vec<u128> = (0..13).map(|_| bucket.take(start).as_millis()).collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 200, 300]);
        assert_eq!(bucket.take(start + Duration::from_millis(400)).as_millis(), 0);
        bucket.set_rate(start, 1000);
        assert!(bucket.take(start + Duration::from_millis(400)).as_millis() < 3, "a faster rate holds at once");
        assert_eq!(Bucket::new(start, 0).take(start), Duration::ZERO);
    }
}
