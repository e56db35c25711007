//! How a log is kept.

use crate::disk::files::SECTOR;

/// Large enough that a new one is rare (45,000 puts of 256 bytes), and small because all of the last one is read at each
/// start and all of the first one written before a new member answers: 64 MiB cost 100 and 400 ms on a small machine.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// How a log is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WalOptions {
    /// Capacity of a segment. A batch that needs more gets a segment of its own size.
    pub(crate) segment_bytes: u64,
    /// Who prepares the next segment and removes old ones.
    pub(crate) prepare: Prepare,
    /// Whether batches are synced. Without it an acknowledged write does not survive a power cut.
    pub(crate) sync: bool,
}

/// Who prepares the next segment once the active one is half full, and removes those that were released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prepare {
    /// A thread, so that nobody waits for it.
    Thread,
    /// Whoever syncs: for tests that count steps.
    Caller,
    /// Whoever syncs, and only when it is needed.
    WhenNeeded,
}

// === impl WalOptions ===

impl Default for WalOptions {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, prepare: Prepare::Thread, sync: true }
    }
}

impl WalOptions {
    /// A segment is whole sectors, and holds more than its header.
    pub(super) fn aligned(self) -> Self {
        let sector = SECTOR as u64;
        Self { segment_bytes: self.segment_bytes.max(2 * sector).next_multiple_of(sector), ..self }
    }
}
