//! Room that runs out: told while there is time to do something about it.

use super::{Driver, Front};

impl Driver {
    /// Without compaction history grows until the quota refuses writes: who runs it is told while there is time.
    pub(super) fn warn_of_history(&mut self, front: &Front) {
        let (size, quota) = (front.core.state().size(), front.core.quota_bytes());
        if !self.warned && self.compaction.is_off() && size > quota / 2 {
            self.warned = true;
            tracing::warn!(
                size,
                quota,
                "half of --quota-backend-bytes is used and nothing compacts history: set --auto-compaction-retention, or compact"
            );
        }
    }

    /// The log's next segment is wanted when the one in use is half full. If there is no room for it, only what makes
    /// room is taken from now on: half a segment is left for that. The alarm stays until the operator has made room and
    /// disarms it.
    pub(super) fn look_after_room(&mut self, front: &mut Front) {
        let Some(error) = self.wal.take_housekeeping_failure() else { return };
        if !(error.is_full() && front.core.is_full()) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the log's next segment cannot be prepared, or old ones not removed");
        }
        if error.is_full() {
            front.core.raise_no_space();
        }
    }
}
