//! A place in a queue of keys: waiting for those who came before, and leaving when nobody waits any more.

use bytes::Bytes;
use tonic::Status;

use super::session::Session;
use crate::pb::{
    etcdserverpb::{
        self as pb,
        range_request::{SortOrder, SortTarget},
    },
    mvccpb::event::EventType,
};

/// Keys of one name: those that begin with it and a slash.
pub(super) struct Queue {
    pub(super) prefix: Bytes,
    end: Bytes,
}

/// A key that is to go if its owner goes while it waits.
pub(super) struct Place {
    session: Session,
    key: Bytes,
    /// Only this one: whoever deleted it and took its name is not ours to delete.
    revision: Option<i64>,
    waiting: bool,
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(name: &[u8]) -> Self {
        let prefix = [name, b"/"].concat();
        // A slash is not the last byte there is.
        let end = [name, b"0"].concat();
        Self { prefix: prefix.into(), end: end.into() }
    }

    /// A lease's key, as Go prints a number.
    pub(super) fn key(&self, lease: i64) -> Bytes {
        let sign = if lease < 0 { "-" } else { "" };
        [&self.prefix, format!("{sign}{:x}", lease.unsigned_abs()).as_bytes()].concat().into()
    }

    /// Who is first.
    pub(super) fn first(&self) -> pb::RangeRequest {
        self.by_creation(SortOrder::Ascend, 0)
    }

    /// Waits until all that were created up to a revision are gone.
    pub(super) async fn wait(&self, session: &Session, up_to: i64) -> Result<(), Status> {
        loop {
            let before = session.range(&self.by_creation(SortOrder::Descend, up_to)).await?;
            let Some(last) = before.kvs.into_iter().next() else { return Ok(()) };
            let revision = before.header.map_or(0, |header| header.revision);
            let mut changes = session.watch(last.key, Bytes::new(), revision);
            let gone = |event: &crate::pb::mvccpb::Event| event.r#type() == EventType::Delete;
            while !changes.next().await?.1.iter().any(gone) {}
        }
    }

    pub(super) fn changes(&self, session: &Session, from: i64) -> super::session::Changes {
        session.watch(self.prefix.clone(), self.end.clone(), from)
    }

    fn by_creation(&self, order: SortOrder, max_create_revision: i64) -> pb::RangeRequest {
        pb::RangeRequest {
            key: self.prefix.clone(),
            range_end: self.end.clone(),
            limit: 1,
            sort_order: order.into(),
            sort_target: SortTarget::Create.into(),
            max_create_revision,
            ..Default::default()
        }
    }
}

// === impl Place ===

impl Place {
    pub(super) fn new(session: &Session, key: Bytes, revision: Option<i64>) -> Self {
        Self { session: session.clone(), key, revision, waiting: true }
    }

    /// Waiting is over.
    pub(super) fn keep(mut self) {
        self.waiting = false;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.waiting {
            return;
        }
        let (session, key, revision) = (self.session.clone(), std::mem::take(&mut self.key), self.revision);
        self.session.afterwards("a place in a queue is given up", async move {
            let left = match revision {
                None => session.delete(key).await.map(drop),
                Some(revision) => session.txn(&only_if(&key, revision, delete(&key))).await.map(drop),
            };
            if let Err(status) = left {
                tracing::warn!(error = status.message(), "a place in a queue stays until its lease ends");
            }
        });
    }
}

/// A write if the key is the one that was created then.
pub(super) fn only_if(key: &Bytes, created: i64, then: pb::RequestOp) -> pb::TxnRequest {
    use pb::compare::{CompareResult, CompareTarget, TargetUnion};
    let compare = pb::Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::CreateRevision(created)),
        ..Default::default()
    };
    pb::TxnRequest { compare: vec![compare], success: vec![then], failure: Vec::new() }
}

pub(super) fn delete(key: &Bytes) -> pb::RequestOp {
    op(pb::request_op::Request::RequestDeleteRange(pb::DeleteRangeRequest { key: key.clone(), ..Default::default() }))
}

pub(super) fn put(key: &Bytes, value: Bytes, lease: i64) -> pb::RequestOp {
    let put = pb::PutRequest { key: key.clone(), value, lease, ..Default::default() };
    op(pb::request_op::Request::RequestPut(put))
}

pub(super) fn range(range: pb::RangeRequest) -> pb::RequestOp {
    op(pb::request_op::Request::RequestRange(range))
}

/// What a range of a transaction found.
pub(super) fn found(response: &pb::TxnResponse, at: usize) -> Option<&crate::pb::mvccpb::KeyValue> {
    match response.responses.get(at)?.response.as_ref()? {
        pb::response_op::Response::ResponseRange(range) => range.kvs.first(),
        _ => None,
    }
}

fn op(request: pb::request_op::Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}
