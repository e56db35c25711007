//! Forgetting. A compaction names a revision; from then on nothing before it can be read. What only such reads could see
//! is freed afterwards, in slices, so that no write waits for it.
//!
//! Changes at the compact revision itself stay in the log, deletions too: a watch may begin there.

use super::Store;
use crate::core::failure::Failure;

// === impl Store ===

impl Store {
    /// Nothing before this revision is readable from now on.
    ///
    /// # Errors
    /// When that is so already, or the revision is not there yet.
    pub(crate) fn compact(&mut self, revision: i64) -> Result<(), Failure> {
        if revision <= self.compacted {
            return Err(Failure::Compacted);
        }
        if revision > self.revision {
            return Err(Failure::FutureRevision);
        }
        self.compacted = revision;
        Ok(())
    }

    /// While held, nothing is freed: a checkpoint is being read.
    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// Whether [`sweep`](Self::sweep) has work.
    pub(crate) fn is_swept(&self) -> bool {
        self.swept == self.compacted
    }

    /// An estimate of what is still to be freed.
    pub(crate) fn unswept_bytes(&self) -> u64 {
        if self.is_swept() {
            return 0;
        }
        let waiting = self.versions.logged_before(self.compacted) as u64;
        waiting * self.versions.cost(0)
    }

    /// Frees what compaction let go of, at most so many changes. True when done.
    pub(crate) fn sweep(&mut self, mut changes: usize) -> bool {
        if self.held {
            return self.is_swept();
        }
        while let Some((revision, number)) = self.versions.oldest_logged() {
            if revision > self.compacted || (revision == self.compacted && self.swept == revision) {
                break;
            }
            if changes == 0 {
                return false;
            }
            changes -= 1;
            if revision == self.compacted {
                // These stay logged, and are seen again by the next compaction: only what they replaced goes.
                self.sweep_at_compacted();
                break;
            }
            self.forget_older(number);
            let version = *self.versions.get(number);
            if version.is_delete() {
                self.drop_version(number);
                if version.newer == super::versions::NONE {
                    self.index.remove(&self.keys, version.key);
                    self.size = self.size.saturating_sub(self.keys.cost(self.keys.spell(version.key)));
                    self.keys.remove(version.key);
                }
            }
            self.versions.forget_oldest();
        }
        self.swept = self.compacted;
        true
    }

    fn sweep_at_compacted(&mut self) {
        let at: Vec<u32> = self
            .versions
            .since(self.compacted)
            .take_while(|number| self.versions.get(*number).revision == self.compacted)
            .collect();
        at.into_iter().for_each(|number| self.forget_older(number));
    }

    /// What a version replaced before the compact revision cannot be seen any more.
    fn forget_older(&mut self, number: u32) {
        let older = self.versions.get(number).older;
        if older != super::versions::NONE && self.versions.get(older).revision < self.compacted {
            self.drop_version(older);
        }
    }

    fn drop_version(&mut self, number: u32) {
        let len = self.versions.value(self.versions.get(number)).len();
        self.size = self.size.saturating_sub(self.versions.cost(len));
        self.versions.remove(number);
    }
}
