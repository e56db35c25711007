//! The thread that owns the core and the disk: takes what was asked, writes it in one sync, answers.
//!
//! ```text
//!  queue ─drain─> core ─> WAL (one sync for everything that waited) ─> core ─> answers, outboxes
//! ```
//! Nothing waits on a timer to form a batch: a batch is what came while the last one was synced. When a sync fails the
//! thread ends at once, and the process with it: what the disk holds is then unknown.

mod checkpoints;
mod clock;
mod compaction;
mod handle;
mod recover;
mod room;
mod snapshots;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{
    core::{Answer, Core, StreamId, StreamRequest, Token},
    disk::{DiskError, Vote, Wal},
    edge::Outbox,
    status::Shared,
};
use checkpoints::{Checkpoints, Ended};
use clock::LeaseClock;
use snapshots::Snapshots;

pub use compaction::AutoCompaction;
pub(crate) use handle::{Handle, Input};
pub use recover::RecoverError;
pub(crate) use recover::{Recovered, recover};

/// etcd's heartbeat, a tenth of its election time-out.
const TICK: Duration = Duration::from_millis(100);
/// Metrics are counted once a second.
const TICKS_A_COUNT: u64 = 10;
/// Requests that go into one sync: bounds what one turn holds in memory.
const BATCH: usize = 4_096;

/// Why the store ended.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    #[error("the disk failed, so nothing more can be promised")]
    Disk(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Log(String),
}

pub(crate) struct Driver {
    core: Core,
    wal: Wal,
    inputs: mpsc::Receiver<Input>,
    /// Who asked, by token from `first_token` on.
    asked: VecDeque<Option<oneshot::Sender<Answer>>>,
    first_token: u64,
    streams: HashMap<StreamId, Outbox>,
    checkpoints: Checkpoints,
    snapshots: Snapshots,
    compaction: AutoCompaction,
    shared: Arc<Shared>,
    clock: LeaseClock,
    next_tick: Instant,
    ticks: u64,
    stopping: bool,
    warned: bool,
}

// === impl Driver ===

impl Driver {
    pub(crate) fn new(
        recovered: Recovered,
        compaction: AutoCompaction,
        inputs: mpsc::Receiver<Input>,
        shared: Arc<Shared>,
    ) -> Self {
        let now = Instant::now();
        let Recovered { core, wal, checkpoints } = recovered;
        Self {
            core,
            wal,
            inputs,
            asked: VecDeque::new(),
            first_token: 0,
            streams: HashMap::new(),
            checkpoints,
            snapshots: Snapshots::default(),
            compaction,
            shared,
            clock: LeaseClock::new(now),
            next_tick: now + TICK,
            ticks: 0,
            stopping: false,
            warned: false,
        }
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// When the disk fails, or the log is not one that this version can apply.
    pub(crate) fn run(mut self) -> Result<(), Stopped> {
        let mut more = true;
        while !self.stopping {
            self.gather(more);
            let now = self.clock.now(Instant::now());
            if Instant::now() >= self.next_tick {
                self.next_tick = Instant::now() + TICK;
                self.tick(now);
            }
            self.write(now).map_err(|error| Stopped::Disk(Box::new(error)))?;
            if let Some(reason) = self.core.stopped() {
                return Err(Stopped::Log(reason.to_owned()));
            }
            more = self.core.work();
            // Before anybody hears of it: an alarm that was raised shows.
            self.shared.observe(&self.core, None);
            self.deliver();
            more |= self.copy().map_err(|error| Stopped::Disk(Box::new(error)))?;
        }
        for asked in self.asked.drain(..).flatten() {
            // Who does not wait any more is not told.
            let _ = asked.send(Err(crate::core::Failure::Stopped));
        }
        self.streams.values().for_each(Outbox::close);
        Ok(())
    }

    /// Takes what came: at once when there is other work, else waiting until the next tick.
    fn gather(&mut self, busy: bool) {
        let mut taken = 0;
        if !busy {
            let wait = self.next_tick.saturating_duration_since(Instant::now());
            match self.inputs.recv_timeout(wait) {
                Ok(input) => {
                    self.take(input);
                    taken = 1;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => return,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    self.stopping = true;
                    return;
                }
            }
        }
        while taken < BATCH
            && let Ok(input) = self.inputs.try_recv()
        {
            self.take(input);
            taken += 1;
        }
    }

    fn take(&mut self, input: Input) {
        let now = self.clock.now(Instant::now());
        match input {
            Input::Ask(request, answer) => {
                let token = Token(self.first_token + self.asked.len() as u64);
                self.asked.push_back(Some(answer));
                self.core.handle_request(now, token, request);
            }
            Input::Stream(stream, request) => {
                if matches!(request, StreamRequest::Close) {
                    self.streams.remove(&stream);
                }
                self.core.handle_stream(now, stream, request);
            }
            Input::Open(stream, outbox) => {
                self.streams.insert(stream, outbox);
                self.core.handle_stream(now, stream, StreamRequest::Open);
            }
            Input::Snapshot(parts) => self.snapshots.ask(parts),
            Input::Stop => self.stopping = true,
        }
    }

    fn tick(&mut self, now: Instant) {
        self.core.handle_tick(now);
        if let Some(revision) = self.compaction.due(Instant::now(), self.core.state().store.revision()) {
            tracing::info!(revision, "compacting automatically");
            self.core.compact_own(revision);
        }
        self.ticks = self.ticks.wrapping_add(1);
        let counted = self.ticks % TICKS_A_COUNT == 1;
        self.shared.observe(&self.core, counted.then(|| self.wal.segments()));
        self.warn_of_history();
        self.look_after_room();
    }

    /// Everything that was proposed goes to the disk, and what is then agreed is applied.
    fn write(&mut self, now: Instant) -> Result<(), DiskError> {
        while let Some(turn) = self.core.writing() {
            if let Some(indices) = &turn.entries {
                let entries = indices.clone().filter_map(|index| self.core.entry(index));
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
                self.wal.sync()?;
                self.shared.metrics.synced(began.elapsed());
            }
            self.core.written(now);
            // At once: a fast client fills what is left before the next tick.
            self.look_after_room();
        }
        Ok(())
    }

    fn deliver(&mut self) {
        for (token, answer) in self.core.take_answers() {
            let slot = token.0.checked_sub(self.first_token).and_then(|at| self.asked.get_mut(at as usize));
            if let Some(asked) = slot.and_then(Option::take) {
                // Who does not wait any more is not told.
                let _ = asked.send(answer);
            }
        }
        while self.asked.front().is_some_and(Option::is_none) {
            self.asked.pop_front();
            self.first_token += 1;
        }
        let outgoing = self.core.take_outgoing();
        if outgoing.is_empty() {
            return;
        }
        self.shared.metrics.sent(outgoing.len());
        let (mut touched, mut full) = (HashSet::new(), Vec::new());
        for message in outgoing {
            if let Some(outbox) = self.streams.get(&message.stream) {
                if outbox.push(message.watch, message.body) {
                    full.push(message.stream);
                }
                touched.insert(message.stream);
            }
        }
        for stream in full {
            self.core.handle_stream(self.clock.now(Instant::now()), stream, StreamRequest::Full);
        }
        touched.iter().filter_map(|stream| self.streams.get(stream)).for_each(Outbox::flush);
    }

    /// A checkpoint or a snapshot goes on by some frames. True if there is more to do at once.
    fn copy(&mut self) -> Result<bool, DiskError> {
        let now = Instant::now();
        match self.checkpoints.finished(now, &mut self.core)? {
            Some(Ended::Written(index)) => self.wal.release(index)?,
            Some(Ended::NoRoom) => self.core.raise_no_space(),
            None => {}
        }
        if self.checkpoints.is_writing() {
            return Ok(self.checkpoints.go_on(&mut self.core));
        }
        if self.snapshots.is_writing() || self.snapshots.begin(&mut self.core) {
            return Ok(self.snapshots.go_on(&mut self.core));
        }
        if self.checkpoints.is_due(now, self.core.state().applied, self.wal.segments()) {
            self.checkpoints.begin(&mut self.core)?;
        }
        Ok(self.checkpoints.is_writing())
    }
}
