//! The thread that owns the disk and the timers: writes what was proposed in one sync, has it applied, answers.
//!
//! ```text
//!  clients ─> desk (the core behind a lock) ─> WAL (one sync for all that was proposed) ─> core ─> mailboxes ─> clients
//!                └─ reads are answered at once
//! ```
//! Nothing waits on a timer to form a batch: a batch is what came while the last one was synced. When a sync fails the
//! thread ends at once, and the process with it: what the disk holds is then unknown.

mod checkpoints;
mod clock;
mod compaction;
mod desk;
mod handle;
mod mailbox;
mod recover;
mod room;
mod snapshots;

#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::MutexGuard;

use crate::{
    audit,
    disk::{DiskError, Vote, Wal},
    status::Shared,
};
use checkpoints::{Checkpoints, Ended};
use desk::Front;
use snapshots::Snapshots;

pub use compaction::AutoCompaction;
pub(crate) use desk::Desk;
pub(crate) use handle::Handle;
pub(crate) use mailbox::Mailbox;
pub use recover::RecoverError;
pub(crate) use recover::{Recovered, recover};

/// etcd's heartbeat, a tenth of its election time-out.
const TICK: Duration = Duration::from_millis(100);
/// Metrics are counted once a second.
const TICKS_A_COUNT: u64 = 10;

/// Why the store ended.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    #[error("the disk failed, so nothing more can be promised")]
    Disk(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Log(String),
}

pub(crate) struct Driver {
    desk: Arc<Desk>,
    wal: Wal,
    checkpoints: Checkpoints,
    snapshots: Snapshots,
    compaction: AutoCompaction,
    shared: Arc<Shared>,
    next_tick: Instant,
    ticks: u64,
    warned: bool,
}

// === impl Driver ===

impl Driver {
    pub(crate) fn new(recovered: Recovered, compaction: AutoCompaction, shared: Arc<Shared>) -> Self {
        let Recovered { core, wal, checkpoints } = recovered;
        Self {
            desk: Desk::new(core),
            wal,
            checkpoints,
            snapshots: Snapshots::default(),
            compaction,
            shared,
            next_tick: Instant::now() + TICK,
            ticks: 0,
            warned: false,
        }
    }

    /// Where clients ask.
    pub(crate) fn handle(&self) -> Handle {
        Handle::new(self.desk.clone())
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// When the disk fails, or the log is not one that this version can apply.
    pub(crate) fn run(mut self) -> Result<(), Stopped> {
        let desk = self.desk.clone();
        self.turns(&desk)
    }

    fn turns(&mut self, desk: &Desk) -> Result<(), Stopped> {
        let mut more = true;
        loop {
            let mut front = desk.front();
            if !more {
                desk.wait(&mut front, self.next_tick);
            }
            if front.stopping {
                return Ok(());
            }
            more = self.turn(&mut front)?;
            let (deliveries, messages) = front.deliver();
            let audits = front.core.take_audits();
            // Those who wait for the lock come first, if this goes on.
            MutexGuard::unlock_fair(front);
            audits.iter().for_each(|audit| audit::record(&self.shared, audit));
            deliveries.send();
            self.shared.metrics.sent(messages);
        }
    }

    /// True if there is more to do at once.
    fn turn(&mut self, front: &mut MutexGuard<'_, Front>) -> Result<bool, Stopped> {
        let disk = |error: DiskError| Stopped::Disk(Box::new(error));
        if Instant::now() >= self.next_tick {
            self.next_tick = Instant::now() + TICK;
            self.tick(front);
        }
        let mut more = self.write(front).map_err(disk)?;
        if let Some(reason) = front.core.stopped() {
            return Err(Stopped::Log(reason.to_owned()));
        }
        more |= front.core.work();
        // Before anybody hears of it: an alarm that was raised shows.
        self.shared.observe(&front.core, None);
        more |= self.copy(front).map_err(disk)?;
        Ok(more)
    }

    fn tick(&mut self, front: &mut Front) {
        let now = front.now();
        front.core.handle_tick(now);
        if let Some(revision) = self.compaction.due(Instant::now(), front.core.state().store.revision()) {
            tracing::info!(revision, "compacting automatically");
            front.core.compact_own(revision);
        }
        self.ticks = self.ticks.wrapping_add(1);
        let counted = self.ticks % TICKS_A_COUNT == 1;
        self.shared.observe(&front.core, counted.then(|| self.wal.segments()));
        self.warn_of_history(front);
        self.look_after_room(front);
    }

    /// What was proposed goes to the disk, and what is then agreed is applied. True if there is more to write.
    fn write(&mut self, front: &mut MutexGuard<'_, Front>) -> Result<bool, DiskError> {
        let mut synced = false;
        // What comes while the disk writes is for the next turn: those who are done do not wait for it.
        while !synced && let Some(turn) = front.core.writing() {
            if let Some(indices) = &turn.entries {
                let entries = indices.clone().filter_map(|index| front.core.entry(index));
                self.wal.append_entries(
                    entries.map(|entry| (entry.index, entry.term, entry.entry_type as u8, [&entry.data[..]])),
                );
            }
            if let Some(hard_state) = &turn.hard_state {
                let &raft::eraftpb::HardState { term, vote, commit } = hard_state;
                self.wal.set_vote(Vote { term, vote, commit });
            }
            // What is committed follows from the entries: alone it need not be on disk at once.
            if turn.entries.is_some() || turn.must_sync {
                let began = Instant::now();
                MutexGuard::unlocked(front, || self.wal.sync())?;
                self.shared.metrics.synced(began.elapsed());
                synced = true;
            }
            let now = front.now();
            front.core.written(now);
            // At once: a fast client fills what is left before the next tick.
            self.look_after_room(front);
        }
        Ok(synced)
    }

    /// A checkpoint or a snapshot goes on by some frames. True if there is more to do at once.
    fn copy(&mut self, front: &mut Front) -> Result<bool, DiskError> {
        let now = Instant::now();
        front.snapshots.drain(..).for_each(|parts| self.snapshots.ask(parts));
        match self.checkpoints.finished(now, &mut front.core)? {
            Some(Ended::Written(index)) => self.wal.release(index)?,
            Some(Ended::NoRoom) => front.core.raise_no_space(),
            None => {}
        }
        if self.checkpoints.is_writing() {
            return Ok(self.checkpoints.go_on(&mut front.core));
        }
        if self.snapshots.is_writing() || self.snapshots.begin(&mut front.core) {
            return Ok(self.snapshots.go_on(&mut front.core));
        }
        if self.checkpoints.is_due(now, front.core.state().applied, self.wal.segments()) {
            self.checkpoints.begin(&mut front.core)?;
        }
        Ok(self.checkpoints.is_writing())
    }
}

impl Drop for Driver {
    /// However it ends, nobody waits for it.
    fn drop(&mut self) {
        self.desk.front().close();
    }
}
