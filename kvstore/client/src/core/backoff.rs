//! How long to wait before trying again.

use std::time::Duration;

/// Doubles from `min` to `max`. The caller brings the randomness.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

// === impl Backoff ===

impl Backoff {
    /// Cilium's first wait for lists, and a lower bound than its minute: a store that is back shall be followed within
    /// seconds, and until then a try costs it nothing but a refused connection.
    pub const LIST: Self = Self { min: Duration::from_millis(50), max: Duration::from_secs(3), failures: 0 };

    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0 }
    }

    /// The next delay: at least half of the doubled value. `jitter` is in 0.0..1.0.
    pub fn next(&mut self, jitter: f64) -> Duration {
        let full = self.min.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(self.max);
        self.failures = (self.failures + 1).min(31);
        full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }

    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_bound_and_start_again() {
        let mut backoff = Backoff::LIST;
        let delays: Vec<u128> = (0..3).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(delays, [50, 100, 200]);
        for _ in 0..100 {
            backoff.next(1.0);
        }
        assert_eq!(backoff.next(1.0), Duration::from_secs(3));
        assert_eq!(backoff.next(0.0), Duration::from_millis(1500));
        backoff.reset();
        assert_eq!(backoff.next(0.0).as_millis(), 25);
    }
}
