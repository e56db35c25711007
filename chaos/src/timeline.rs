//! What happened when, in seconds since the scenario began.

use std::time::Instant;

use serde::Serialize;

/// A scenario's events, in order.
#[derive(Debug)]
pub(crate) struct Timeline {
    start: Instant,
    pub(crate) entries: Vec<Entry>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Seconds since the scenario began.
    pub at: f64,
    /// What kind of event.
    pub kind: EntryKind,
    /// What happened.
    pub text: String,
}

/// What kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// Something was broken.
    Inject,
    /// Proof that it is broken.
    Evidence,
    /// It was mended.
    Heal,
    /// What an agent said of itself meanwhile.
    Said,
    /// Something was seen to hold.
    Check,
}

// === impl Timeline ===

impl Timeline {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), entries: Vec::new() }
    }

    pub(crate) fn add(&mut self, kind: EntryKind, text: impl Into<String>) {
        self.entries.push(Entry { at: self.seconds(Instant::now()), kind, text: text.into() });
    }

    pub(crate) fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.start).as_secs_f64()
    }
}
