//! One turn: what was agreed is applied and answered, and long work goes on by a slice.

use std::{ops::RangeInclusive, time::Instant};

use raft::eraftpb::HardState;

use super::{
    Audit, Core, Failure, Job, Work,
    auth::{Access, By},
    consensus::Writing,
    entry::Entry,
    state::{Step, Write},
};

/// Changes that one turn of compaction frees: about half a millisecond.
const SWEEP_A_TURN: usize = 2_000;
/// Long jobs that go on in one turn.
const JOBS_A_TURN: usize = 8;

/// What must be written before the turn goes on.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) entries: Option<RangeInclusive<u64>>,
    pub(crate) hard_state: Option<HardState>,
    /// It may not be answered or applied before it is on disk.
    pub(crate) must_sync: bool,
}

// === impl Core ===

impl Core {
    /// What to write next. [`written`](Self::written) must follow before this is asked again; requests may come between.
    pub(crate) fn writing(&mut self) -> Option<Turn> {
        let Writing { entries, hard_state, asks, must_sync } = self.consensus.writing()?;
        if asks {
            self.asked.append(&mut self.reads);
        }
        Some(Turn { entries, hard_state, must_sync })
    }

    /// An entry that is to be written: term, and its bytes; empty when raft made it.
    pub(crate) fn entry(&self, index: u64) -> Option<&raft::eraftpb::Entry> {
        self.consensus.log().get(index)
    }

    /// What [`writing`](Self::writing) named is on disk.
    pub(crate) fn written(&mut self, now: Instant) {
        let agreed = self.consensus.written();
        for (index, ours) in &agreed.entries {
            self.apply(now, *index, *ours);
        }
        if let Some((last, _)) = agreed.entries.last() {
            // Alone, nobody will ask for what is applied.
            self.consensus.forget(*last);
        }
        if agreed.read_at.is_some_and(|index| index <= self.state.applied) {
            for (token, caller, read) in std::mem::take(&mut self.asked) {
                self.answer_read(token, &caller, read);
            }
        }
        if !self.reads.is_empty() {
            self.consensus.want_read();
        }
        let header = self.header();
        self.hub.publish(&self.state.store, header);
    }

    /// Long work goes on. True if there is more.
    pub(crate) fn work(&mut self) -> bool {
        for _ in 0..JOBS_A_TURN.min(self.jobs.len()) {
            let Some(Work { token, permitted_at, job }) = self.jobs.pop_front() else { break };
            // Permissions that changed while it went on: etcd lets the client ask again too.
            let now = self.state.auth.is_enabled().then(|| self.state.auth.revision());
            if now.is_some() && permitted_at != now {
                self.answer(token, Err(Failure::AuthOldRevision));
                continue;
            }
            match job {
                Job::Range(job) => match job.step(&self.state.store) {
                    Ok(Step::Done(answer)) => self.answer(token, Ok(answer)),
                    Ok(Step::Again(job)) => {
                        self.jobs.push_back(Work { token, permitted_at, job: Job::Range(job) });
                    }
                    Err(failure) => self.answer(token, Err(failure)),
                },
                Job::Hash(mut job) => match job.step(&self.state, self.consensus.term()) {
                    Some(answer) => self.answer(token, answer),
                    None => self.jobs.push_back(Work { token, permitted_at, job: Job::Hash(job) }),
                },
            }
        }
        if self.hub.is_behind() {
            let header = self.header();
            self.hub.catch_up(&self.state.store, header);
        }
        if !self.state.store.is_swept() {
            self.state.store.sweep(SWEEP_A_TURN);
        }
        if self.state.store.is_swept() {
            for (token, answer) in std::mem::take(&mut self.sweeping) {
                self.answer(token, Ok(answer));
            }
        }
        let sweeps = !self.state.store.is_swept() && !self.state.store.is_held();
        !self.jobs.is_empty() || self.hub.is_behind() || sweeps
    }

    fn apply(&mut self, now: Instant, index: u64, ours: bool) {
        let Some(entry) = self.consensus.log().get(index) else {
            self.stopped = Some(format!("entry {index} of the log is agreed but not here"));
            return;
        };
        let term = entry.term;
        let (pending, unknown) = match (ours, entry.data.is_empty()) {
            (true, false) => {
                let pending = Entry::peek_id(&entry.data).and_then(|id| self.pending.remove(&id));
                let unknown = pending.is_none().then(|| decode(&entry.data));
                (pending, unknown)
            }
            _ => (None, None),
        };
        self.state.applied = index;
        self.state.applied_term = term;
        match (pending, unknown) {
            (Some(pending), _) => {
                if matches!(pending.write, Write::Alarm(_)) {
                    self.space_alarmed = false;
                }
                let answer = self.state.apply(now, term, &pending.by, &pending.write);
                self.note_auth(&pending.by, &pending.write, answer.is_ok());
                let Some(token) = pending.token else { return };
                match answer {
                    Ok(answer) if pending.physical && !self.state.store.is_swept() => {
                        self.sweeping.push((token, answer));
                    }
                    answer => self.answer(token, answer),
                }
            }
            (None, Some(Ok((by, write)))) => {
                // Who asked is gone; a refusal changed nothing.
                let _: Result<_, Failure> = self.state.apply(now, term, &by, &write);
            }
            (None, Some(Err(reason))) => {
                self.stopped = Some(format!("entry {index} of the log cannot be applied: {reason}"));
            }
            (None, None) => {}
        }
    }

    /// Users or roles changed: it is recorded, and no watch tells its owner of what came after, if it is not for them.
    fn note_auth(&mut self, by: &By, write: &Write, done: bool) {
        let Write::Auth(change) = write else { return };
        if !done {
            return;
        }
        self.audits.push(Audit::Changed {
            who: by.name().to_owned(),
            what: change.kind(),
            target: change.target(),
            revision: self.state.auth.revision(),
        });
        let header = self.header();
        self.hub.publish(&self.state.store, header);
        let auth = &self.state.auth;
        self.hub.check_again(header, |caller, span| {
            let by = auth.identify(caller)?.at(auth.revision());
            auth.permit_keys(&by, Access::Read, span)
        });
    }
}

fn decode(data: &[u8]) -> Result<(By, Write), String> {
    let entry = Entry::decode(data).map_err(|error| error.to_string())?;
    let write = Write::decode(&entry).map_err(|error| format!("its {:?} request: {error}", entry.kind))?;
    Ok((By::of(&entry), write))
}
