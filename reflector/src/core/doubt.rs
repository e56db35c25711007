//! What an unknown store does not have: when may it be believed gone?
//!
//! Once the nodes that publish are back and the prefix was listed twice with equal content, or once the operator's
//! heartbeats were fresh for as long as a lease lives: who was going to write again has done so by then.

use std::time::{Duration, Instant};

use crate::Evidence;

/// Between two lists that are compared.
const RELIST: Duration = Duration::from_secs(10);

/// The nodes prefix may notice a changed store this much earlier than another one.
const NOTICE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Doubt(Option<Unknown>);

#[derive(Debug)]
struct Unknown {
    since: Instant,
    /// Rows that the store does not have; 0 before it was listed.
    unproven: usize,
    equal_lists: u32,
    /// Something changed since the last list.
    changed: bool,
    next_list: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Relist,
    Accept,
}

// === impl Doubt ===

impl Doubt {
    pub(super) fn handle_unknown(&mut self, now: Instant) {
        let unknown = Unknown { since: now, unproven: 0, equal_lists: 0, changed: false, next_list: None };
        self.0 = Some(unknown);
    }

    pub(super) fn handle_change(&mut self) {
        if let Some(unknown) = &mut self.0 {
            unknown.changed = true;
        }
    }

    /// True when there is no doubt, because nothing is missing.
    pub(super) fn handle_relisted(&mut self, now: Instant, unproven: usize) -> bool {
        let Some(unknown) = &mut self.0 else { return unproven == 0 };
        if unproven == 0 {
            self.0 = None;
            return true;
        }
        let equal = !unknown.changed && unknown.unproven == unproven;
        unknown.equal_lists = if equal { unknown.equal_lists + 1 } else { 1 };
        unknown.unproven = unproven;
        unknown.changed = false;
        unknown.next_list = Some(now + RELIST);
        false
    }

    pub(super) fn decide(&mut self, now: Instant, evidence: &Evidence) -> Option<Decision> {
        let unknown = self.0.as_mut()?;
        // Not listed yet, or a list is under way.
        let next_list = unknown.next_list?;
        let fresh = evidence.fresh_since.map(|since| since.max(unknown.since) + evidence.lease_ttl);
        if fresh.is_some_and(|at| at <= now) {
            self.0 = None;
            return Some(Decision::Accept);
        }
        let nodes_back = evidence.nodes_back.is_some_and(|at| at + NOTICE >= unknown.since);
        if nodes_back && unknown.equal_lists >= 2 {
            self.0 = None;
            return Some(Decision::Accept);
        }
        if !nodes_back && !evidence.is_nodes {
            // Lists from before the nodes were back say nothing.
            unknown.equal_lists = 0;
            return None;
        }
        if next_list > now {
            return None;
        }
        unknown.next_list = None;
        Some(Decision::Relist)
    }

    /// When to decide again, though nothing happens: evidence grows with time.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.0.as_ref().map(|_| now + Duration::from_secs(1))
    }

    pub(super) fn unproven(&self) -> Option<usize> {
        self.0.as_ref().map(|unknown| unknown.unproven)
    }
}
