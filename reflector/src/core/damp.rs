//! A key that changes without rest is followed once a second: whoever flaps shall not make our kernel flap.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kvstore::Event;

/// How long changes of a key are counted together.
pub const DAMP_WINDOW: Duration = Duration::from_secs(1);

/// A pod that is rescheduled changes its key a few times a second. Whoever waits for each change to arrive before making
/// the next one, as measurements do, makes some hundred; nothing honest does so for long.
pub const DAMP_FREE: u32 = 200;

/// Counts changes by key and keeps the last one of those that have too many.
#[derive(Debug, Default)]
pub(super) struct Damp {
    since: Option<Instant>,
    counts: BTreeMap<String, u32>,
    deferred: BTreeMap<String, Event>,
    /// Keys were held back in the window before.
    probation: bool,
}

// === impl Damp ===

impl Damp {
    /// The event, when it may be applied now; else it is kept, in place of an earlier one of the key.
    pub(super) fn admit(&mut self, now: Instant, name: &str, event: Event) -> Option<Event> {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= DAMP_WINDOW && self.deferred.is_empty() {
            self.since = Some(now);
            self.counts.clear();
            self.probation = false;
        }
        let count = self.counts.entry(name.to_owned()).or_default();
        *count += 1;
        if *count <= DAMP_FREE {
            return Some(event);
        }
        self.deferred.insert(name.to_owned(), event);
        None
    }

    /// What was kept, when its time has come. Its keys stay on probation for another window.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Event> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.probation = false;
        self.take_all(now)
    }

    /// What was kept, now.
    pub(super) fn take_all(&mut self, now: Instant) -> Vec<Event> {
        let deferred = std::mem::take(&mut self.deferred);
        if !deferred.is_empty() {
            self.since = Some(now);
            self.probation = true;
            self.counts = deferred.keys().map(|name| (name.clone(), DAMP_FREE)).collect();
        }
        deferred.into_values().collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.is_flapping().then(|| self.since.map(|since| since + DAMP_WINDOW)).flatten()
    }

    /// Whether keys wait, or waited a moment ago.
    pub(super) fn is_flapping(&self) -> bool {
        self.probation || !self.deferred.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::kv;

    #[test]
    fn a_flapping_key_is_applied_once_a_second_and_others_at_once() {
        let start = Instant::now();
        let (mut damp, mut applied, mut last) = (Damp::default(), 0, 0);
        // A thousand changes a second for five seconds.
        for change in 0..5000 {
            let now = start + Duration::from_millis(change);
            applied += damp.take_due(now).len();
            let event = Event::Modified(kv("p/a", "x", change as i64));
            applied += usize::from(damp.admit(now, "a", event).is_some());
            if change == 2500 {
                assert!(damp.admit(now, "b", Event::Created(kv("p/b", "x", 1))).is_some());
            }
        }
        assert!((204..=206).contains(&applied), "two hundred at first, then one a second: {applied}");
        for event in damp.take_due(start + Duration::from_secs(7)) {
            if let Event::Modified(kv) = event {
                last = kv.mod_revision;
            }
        }
        assert_eq!(last, 4999, "the last change is never lost");
        // After a quiet second it is as others.
        let quiet = start + Duration::from_secs(9);
        assert!(damp.admit(quiet, "a", Event::Modified(kv("p/a", "x", 5001))).is_some());
    }
}
