//! One sequence, sent to two servers in step; the first thing they disagree on.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use crate::{
    answer::{Answer, Names},
    coverage::Coverage,
    differences,
    lies::Liar,
    older,
    op::{Op, Range, Watch},
    peer::{Peer, STREAMS},
    servers::Server,
    stream::{ALL, Log, Said},
    ties,
};

/// Longer than the time in which etcd looks after watches that lag behind (100 ms).
const QUIET: Duration = Duration::from_millis(160);

/// What the two servers answered to one operation.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) reference: String,
    pub(crate) subject: String,
}

pub(crate) struct Lockstep {
    /// The reference's and the subject's.
    servers: (Server, Server),
    pub(crate) reference: Peer,
    pub(crate) subject: Peer,
    /// The newest revision that the reference spoke of, and its last compaction.
    head: i64,
    compacted: i64,
    /// Where the living watches of each stream began.
    watches: [BTreeMap<i64, i64>; STREAMS],
    /// Streams with a watch from before the compaction, whose end is on its way.
    doomed: [bool; STREAMS],
    /// Streams with a watch that began in the past.
    lagging: [bool; STREAMS],
    pub(crate) coverage: Coverage,
    pub(crate) liar: Option<Liar>,
    /// The reference is etcd 3.4: only what it answers like 3.6 is compared.
    older: bool,
}

// === impl Lockstep ===

impl Lockstep {
    pub(crate) async fn new(reference: Server, subject: Server) -> Self {
        let older = reference.is_older();
        let servers = (reference, subject);
        let (reference, subject) = &servers;
        let (reference, subject) = tokio::join!(Peer::connect(&reference.url), Peer::connect(&subject.url));
        let (watches, doomed, lagging, coverage) = Default::default();
        Self {
            servers,
            reference,
            subject,
            head: 1,
            compacted: 0,
            watches,
            doomed,
            lagging,
            coverage,
            liar: None,
            older,
        }
    }

    /// The first operation that is answered differently, and both answers.
    pub(crate) async fn run(&mut self, ops: &[Op]) -> Option<(usize, Difference)> {
        for (index, op) in ops.iter().chain([&Op::Settle]).enumerate() {
            if let Err(difference) = self.step(op).await {
                return Some((index, *difference));
            }
        }
        None
    }

    pub(crate) async fn step(&mut self, op: &Op) -> Result<(), Box<Difference>> {
        if self.older && !older::alike(op, &self.reference.moment(self.head, self.compacted)) {
            return Ok(());
        }
        match op {
            Op::WatchCreate(watch) => return self.watch(op, watch).await,
            Op::WatchCancel { stream, id } => return self.cancel(op, stream % STREAMS, *id).await,
            Op::WatchProgress { stream } => return self.settle(stream % STREAMS).await,
            Op::WatchClose { stream } => return self.close(stream % STREAMS).await,
            Op::Settle => return self.settle_all().await,
            Op::Restart => return self.restart().await,
            // A watch that lags behind would be cancelled or not, as it comes.
            Op::Compact { .. } => self.settle_all().await?,
            _ => {}
        }
        let (head, compacted) = (self.head, self.compacted);
        let (reference, subject) =
            tokio::join!(self.reference.answer(op, head, compacted), self.subject.answer(op, head, compacted));
        self.note(op, &reference);
        let mut reference = reference.masked(&self.reference.names());
        let mut subject = subject.masked(&self.subject.names());
        self.coverage.count(op, &reference.result());
        if let Some(liar) = &mut self.liar {
            liar.answer(&mut subject);
        }
        ties::ordered(op, &mut reference);
        ties::ordered(op, &mut subject);
        if self.older {
            older::mask(&mut reference);
            older::mask(&mut subject);
        }
        if differences::intended(op, self.compacted, &reference, &subject) {
            return Ok(());
        }
        same(&reference, &subject)
    }

    /// Keeps the newest revision and the last compaction.
    fn note(&mut self, op: &Op, answer: &Answer) {
        if let (Op::Compact { rev, .. }, Answer::Compact(_)) = (op, answer) {
            self.compacted = self.reference.moment(self.head, self.compacted).rev(*rev);
        }
        if let Some(header) = answer.clone().header() {
            self.head = self.head.max(header.revision);
        }
    }

    async fn watch(&mut self, op: &Op, watch: &Watch) -> Result<(), Box<Difference>> {
        let stream = watch.stream % STREAMS;
        if self.doomed[stream] {
            // The id is taken until the end has come.
            self.settle(stream).await?;
        }
        let (head, compacted) = (self.head, self.compacted);
        let request = self.reference.moment(head, compacted).watch(watch);
        let (reference, subject) = tokio::join!(self.reference.stream(stream), self.subject.stream(stream));
        let (ours, theirs) = tokio::join!(reference.create(request.clone()), subject.create(request.clone()));
        same(&ours, &theirs)?;
        let Some(id) = ours else { return Err(silent("a create request")) };
        let refusal = match reference.log.get(&ALL).and_then(|said| said.last()) {
            Some(Said::Cancelled { reason, .. }) if id == ALL => reason.clone(),
            _ => "ok".to_owned(),
        };
        self.coverage.count(op, &refusal);
        self.doomed[stream] = (1..compacted).contains(&request.start_revision);
        self.lagging[stream] |= (1..=head).contains(&request.start_revision);
        if id != ALL {
            self.watches[stream].insert(id, request.start_revision);
        }
        Ok(())
    }

    async fn cancel(&mut self, op: &Op, stream: usize, id: i64) -> Result<(), Box<Difference>> {
        // Events that are on their way may or may not overtake the cancellation.
        self.settle(stream).await?;
        let known = self.watches[stream].contains_key(&id);
        let (reference, subject) = tokio::join!(self.reference.stream(stream), self.subject.stream(stream));
        tokio::join!(reference.cancel(id), subject.cancel(id));
        self.coverage.count(op, if known { "ok" } else { "silence" });
        if known {
            let done = |log: &Log| log.get(&id).is_some_and(|said| matches!(said.last(), Some(Said::Cancelled { .. })));
            let (ours, theirs) =
                tokio::join!(reference.until(|stream| done(&stream.log)), subject.until(|stream| done(&stream.log)));
            same(&ours, &theirs)?;
        }
        self.settle(stream).await
    }

    async fn close(&mut self, stream: usize) -> Result<(), Box<Difference>> {
        self.settle(stream).await?;
        (self.reference.streams[stream], self.subject.streams[stream]) = (None, None);
        self.watches[stream].clear();
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), Box<Difference>> {
        for stream in 0..STREAMS {
            self.close(stream).await?;
        }
        if self.servers.1.restart() {
            self.subject.reconnect(&self.servers.1.url).await;
            // Simple tokens end with the process.
            self.reference.tokens.clear();
            let from = if self.servers.1.has_checkpoint() { "from a checkpoint" } else { "from the log" };
            self.coverage.add_one("Restart", from);
        }
        Ok(())
    }

    async fn settle_all(&mut self) -> Result<(), Box<Difference>> {
        for stream in 0..STREAMS {
            self.settle(stream).await?;
        }
        Ok(())
    }

    /// Waits until both servers have delivered everything on this stream, and compares it.
    async fn settle(&mut self, stream: usize) -> Result<(), Box<Difference>> {
        if self.reference.streams[stream].is_none() {
            return Ok(());
        }
        // The answer to a revocation, for one, carries the revision before it.
        let read = Op::Range(Range::one());
        let mut answer = self.reference.answer(&read, 0, 0).await;
        self.head = self.head.max(answer.header().map_or(0, |header| header.revision));
        let head = self.head;
        let waits = self.watches[stream].values().any(|start| *start > head);
        let (reference, subject) = tokio::join!(self.reference.stream(stream), self.subject.stream(stream));
        if waits {
            // No progress is promised for a stream with a watch on what is to come.
            if self.older {
                tokio::join!(reference.still(QUIET), subject.still(QUIET));
            } else {
                let promised = tokio::join!(reference.quiet(QUIET), subject.quiet(QUIET));
                same(&promised.0, &promised.1)?;
            }
        } else {
            let settled = if self.older {
                // It promises progress before it has delivered; see below.
                let settled = subject.settle(head).await;
                (settled, settled)
            } else {
                tokio::join!(reference.settle(head), subject.settle(head))
            };
            same(&settled.0, &settled.1)?;
            if !settled.0 {
                return Err(silent("a progress request"));
            }
        }
        if self.older {
            if self.lagging[stream] {
                // Nothing else tells when it is up to date.
                reference.still(QUIET).await;
            }
            let due = |log: &Log| log.iter().map(|(id, said)| (*id, said.len())).collect::<BTreeMap<_, _>>();
            let all = due(&subject.log);
            reference.until(|stream| due(&stream.log) == all).await;
        }
        (self.doomed[stream], self.lagging[stream]) = (false, false);
        let ours = std::mem::take(&mut reference.log);
        let theirs = std::mem::take(&mut subject.log);
        self.compare(stream, ours, theirs)
    }

    fn compare(&mut self, stream: usize, reference: Log, mut subject: Log) -> Result<(), Box<Difference>> {
        if let Some(liar) = &mut self.liar {
            liar.log(&mut subject);
        }
        let reference = masked(reference, &self.reference.names());
        let subject = masked(subject, &self.subject.names());
        for (id, said) in &reference {
            if matches!(said.last(), Some(Said::Cancelled { .. })) {
                self.watches[stream].remove(id);
            }
            self.coverage.watched(said);
        }
        for (id, said) in &reference {
            let theirs = subject.get(id).map(Vec::as_slice).unwrap_or_default();
            same(&(stream, id, said.as_slice()), &(stream, id, theirs))?;
        }
        same(&reference, &subject)
    }
}

fn masked(mut log: Log, names: &Names<'_>) -> Log {
    for said in log.values_mut().flatten() {
        if let Said::Event(event) = said {
            event.kv.iter_mut().chain(&mut event.prev_kv).for_each(|kv| names.kv(kv));
        }
    }
    log
}

fn same<T: Debug + PartialEq>(reference: &T, subject: &T) -> Result<(), Box<Difference>> {
    if reference == subject {
        return Ok(());
    }
    Err(Box::new(Difference { reference: format!("{reference:?}"), subject: format!("{subject:?}") }))
}

fn silent(what: &str) -> Box<Difference> {
    let silence = format!("no answer to {what}");
    Box::new(Difference { reference: silence.clone(), subject: silence })
}
