//! The record of who changed permissions, and who was refused: lines of the tracing target `audit`. No password, no hash
//! and no token is ever in one.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use crate::{
    core::{Audit, Caller, Failure},
    status::Shared,
};

/// Lines about refusals in a second: one who is refused a thousand times must not fill the disk with it.
const LINES_A_SECOND: u64 = 20;

/// What the core has to tell.
pub(crate) fn record(shared: &Shared, audit: &Audit) {
    match audit {
        Audit::Changed { who, what, target, revision } => {
            tracing::info!(target: "audit", who, what = ?what, target, revision, "permissions changed");
        }
        Audit::Refused { caller, failure } => shared.refused(caller, "Watch", *failure),
    }
}

/// Bounds the lines about refusals.
#[derive(Debug)]
pub(crate) struct Refusals {
    began: Instant,
    second: AtomicU64,
    lines: AtomicU64,
}

// === impl Refusals ===

impl Default for Refusals {
    fn default() -> Self {
        Self { began: Instant::now(), second: AtomicU64::new(0), lines: AtomicU64::new(0) }
    }
}

impl Refusals {
    /// A request that was not for the one who made it; false if it was refused for something else.
    pub(crate) fn refused(&self, caller: &Caller, what: &str, failure: Failure) -> bool {
        let denied = match failure {
            Failure::PermissionDenied | Failure::InvalidAuthToken | Failure::UserEmpty => true,
            // Of a user whom a request is about it says nothing.
            Failure::UserNotFound => !what.starts_with("Auth/User"),
            _ => false,
        };
        if denied && self.has_room() {
            let who = caller.name().unwrap_or_default();
            tracing::warn!(target: "audit", who, what, reason = %failure, "refused");
        }
        denied
    }

    /// A user and a password that did not match.
    pub(crate) fn not_authenticated(&self, user: &str, failure: Failure) {
        if self.has_room() {
            tracing::warn!(target: "audit", who = user, what = "Authenticate", reason = %failure, "refused");
        }
    }

    fn has_room(&self) -> bool {
        let second = self.began.elapsed().as_secs();
        if self.second.swap(second, Ordering::Relaxed) != second {
            let lines = self.lines.swap(0, Ordering::Relaxed);
            if lines > LINES_A_SECOND {
                tracing::warn!(target: "audit", left_out = lines - LINES_A_SECOND, "more was refused in a second");
            }
        }
        self.lines.fetch_add(1, Ordering::Relaxed) < LINES_A_SECOND
    }
}
