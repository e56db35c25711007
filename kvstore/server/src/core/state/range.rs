//! Answers to Range: whole, or in steps that let others in between.

use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};

use crate::{
    core::{
        encode::{self, Header},
        failure::Failure,
        span::Span,
        store::{Kv, Order, Page, Select, Store},
    },
    pb::etcdserverpb::{
        self as pb,
        range_request::{SortOrder, SortTarget},
    },
};

/// Keys that one step reads: about a tenth of a millisecond.
const KEYS_A_STEP: usize = 500;

/// A range that is being read at its revision.
#[derive(Debug)]
pub(crate) struct RangeJob {
    request: pb::RangeRequest,
    span: Span,
    revision: i64,
    count: i64,
    taken: i64,
    next: Bytes,
    answer: BytesMut,
}

/// How far a job came.
#[derive(Debug)]
pub(crate) enum Step {
    Done(Bytes),
    Again(Box<RangeJob>),
}

// === impl RangeJob ===

impl RangeJob {
    /// Begins to answer, at the revision that the request names or the store has.
    ///
    /// # Errors
    /// When that revision is not there.
    pub(crate) fn begin(store: &Store, request: pb::RangeRequest, header: Header) -> Result<Step, Failure> {
        let revision = store.reads_at(request.revision, store.revision())?;
        if is_sorted_or_selected(&request) && !request.count_only {
            let mut response = whole(store, &request, store.revision())?;
            response.header = Some(header.message());
            return Ok(Step::Done(prost::Message::encode_to_vec(&response).into()));
        }
        let span = Span::new(request.key.clone(), request.range_end.clone());
        let count = if request.count_only || (request.limit > 0 && span.one().is_none()) {
            store.count(&span, revision)
        } else {
            0
        };
        let mut answer = BytesMut::with_capacity(256);
        header.put(&mut answer);
        let job = Self { next: request.key.clone(), request, span, revision, count, taken: 0, answer };
        if job.request.count_only { Ok(Step::Done(job.finish(false))) } else { job.step(store) }
    }

    /// Reads on.
    ///
    /// # Errors
    /// When the revision was compacted in the meantime.
    pub(crate) fn step(mut self, store: &Store) -> Result<Step, Failure> {
        if self.revision < store.compacted() {
            return Err(Failure::Compacted);
        }
        let rest = match self.span.one() {
            Some(_) => self.span.clone(),
            None => Span::new(self.next.clone(), self.request.range_end.clone()),
        };
        let limit = if self.request.limit > 0 { self.request.limit } else { i64::MAX };
        let mut here = 0;
        let page = store.each(&rest, self.revision, |kv| {
            if self.taken == limit || here == KEYS_A_STEP {
                return ControlFlow::Break(());
            }
            (self.taken, here) = (self.taken + 1, here + 1);
            let value = if self.request.keys_only { &[] } else { kv.value };
            Kv { value, ..kv }.put(&mut self.answer, 2);
            ControlFlow::Continue(())
        });
        match page {
            Page::Next(next) if self.taken < limit => {
                self.next = next;
                Ok(Step::Again(Box::new(self)))
            }
            Page::Next(_) => Ok(Step::Done(self.finish(true))),
            Page::Done => Ok(Step::Done(self.finish(false))),
        }
    }

    fn finish(mut self, more: bool) -> Bytes {
        encode::number(&mut self.answer, 3, u64::from(more));
        encode::number(&mut self.answer, 4, self.count.max(self.taken) as u64);
        self.answer.freeze()
    }
}

fn is_sorted_or_selected(request: &pb::RangeRequest) -> bool {
    order(request).is_some() || !select(request).is_everything()
}

/// By what, and whether downwards; `None` for the order of keys.
fn order(request: &pb::RangeRequest) -> Option<(Order, bool)> {
    let by = match request.sort_target() {
        SortTarget::Key => Order::Key,
        SortTarget::Version => Order::Version,
        SortTarget::Create => Order::Created,
        SortTarget::Mod => Order::Modified,
        SortTarget::Value => Order::Value,
    };
    match request.sort_order() {
        SortOrder::Descend => Some((by, true)),
        // Upwards is what a target other than the key means when no order is given.
        SortOrder::Ascend | SortOrder::None => (by != Order::Key).then_some((by, false)),
    }
}

fn select(request: &pb::RangeRequest) -> Select {
    Select {
        min_modified: request.min_mod_revision,
        max_modified: request.max_mod_revision,
        min_created: request.min_create_revision,
        max_created: request.max_create_revision,
    }
}

/// The answer at once; within a transaction `current` is the revision that it has come to.
pub(super) fn whole(store: &Store, request: &pb::RangeRequest, current: i64) -> Result<pb::RangeResponse, Failure> {
    let revision = store.reads_at(request.revision, current)?;
    let span = Span::new(request.key.clone(), request.range_end.clone());
    let header = Some(pb::ResponseHeader { revision: current, ..Default::default() });
    let limit = if request.limit > 0 { request.limit as usize } else { usize::MAX };
    // Without an order to sort in, etcd sorts by another target only what the limit lets through in the order of keys.
    let in_order = request.sort_order() == SortOrder::None && select(request).is_everything();
    let (mut kvs, mut count) = (Vec::new(), 0);
    if request.count_only {
        store.each(&span, revision, |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        return Ok(pb::RangeResponse { header, kvs: Vec::new(), more: false, count });
    }
    let select = select(request);
    store.each(&span, revision, |kv| {
        count += 1;
        if (!in_order || kvs.len() <= limit) && select.wants(&kv) {
            kvs.push(kv);
        }
        ControlFlow::Continue(())
    });
    if let Some((order, down)) = order(request) {
        kvs.sort_by(|a, b| if down { order.compare(b, a) } else { order.compare(a, b) });
    }
    let more = kvs.len() > limit;
    kvs.truncate(limit);
    let strip = |kv: &Kv| if request.keys_only { Kv { value: &[], ..*kv }.message() } else { kv.message() };
    Ok(pb::RangeResponse { header, kvs: kvs.iter().map(strip).collect(), more, count })
}
