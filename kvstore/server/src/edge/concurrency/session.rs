//! A client of our own store, on behalf of who called.

use bytes::Bytes;
use prost::Message;
use tokio_stream::StreamExt;
use tonic::Status;

use super::plain;
use crate::{
    core::{Caller, StreamRequest},
    edge::{
        Outbox, Served,
        outbox::Messages,
        unary::{self, Method},
    },
    pb::{etcdserverpb as pb, mvccpb},
};

/// etcd's, for who names no lease.
const TTL_SECS: i64 = 60;

#[derive(Clone)]
pub(super) struct Session {
    served: Served,
    caller: Caller,
}

/// Changes of a key, or of what begins with it.
pub(super) struct Changes(Messages);

// === impl Session ===

impl Session {
    pub(super) fn new(served: Served, caller: Caller) -> Self {
        Self { served, caller }
    }

    /// The lease that was named, or one of its own.
    pub(super) async fn lease(&self, named: i64) -> Result<i64, Status> {
        if named != 0 {
            return Ok(named);
        }
        let granted: pb::LeaseGrantResponse =
            self.ask(Method::LeaseGrant, &pb::LeaseGrantRequest { ttl: TTL_SECS, id: 0 }).await?;
        Ok(granted.id)
    }

    pub(super) async fn range(&self, range: &pb::RangeRequest) -> Result<pb::RangeResponse, Status> {
        self.ask(Method::Range, range).await
    }

    pub(super) async fn txn(&self, txn: &pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        self.ask(Method::Txn, txn).await
    }

    pub(super) async fn delete(&self, key: Bytes) -> Result<pb::DeleteRangeResponse, Status> {
        self.ask(Method::DeleteRange, &pb::DeleteRangeRequest { key, ..Default::default() }).await
    }

    /// From a revision on.
    pub(super) fn watch(&self, key: Bytes, range_end: Bytes, start_revision: i64) -> Changes {
        let (handle, outbox) = (&self.served.handle, Outbox::default());
        let stream = handle.open_stream(outbox.clone());
        let messages = outbox.messages(stream, handle.clone());
        let create = pb::WatchCreateRequest { key, range_end, start_revision, ..Default::default() };
        handle.stream(stream, StreamRequest::Create(create, self.caller.clone()));
        Changes(messages)
    }

    /// What must be done though its call is over.
    pub(super) fn afterwards(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.served.shared.tasks.spawn_finite(name, task);
    }

    async fn ask<A: Message + Default>(&self, method: Method, question: &impl Message) -> Result<A, Status> {
        let raw = question.encode_to_vec().into();
        let answer = Box::pin(unary::ask(&self.served, self.caller.clone(), method, raw)).await;
        let answer = answer.map_err(|status| plain(status.message()))?;
        A::decode(answer).map_err(|error| Status::internal(error.to_string()))
    }
}

// === impl Changes ===

impl Changes {
    /// The next ones, with the header that they came with.
    pub(super) async fn next(&mut self) -> Result<(Option<pb::ResponseHeader>, Vec<mvccpb::Event>), Status> {
        loop {
            let Some(raw) = self.0.next().await else { return Err(plain("lost watcher waiting for delete")) };
            let response = pb::WatchResponse::decode(raw?).map_err(|error| Status::internal(error.to_string()))?;
            if response.canceled {
                let reason = match response.compact_revision {
                    0 => response.cancel_reason.as_str(),
                    _ => "etcdserver: mvcc: required revision has been compacted",
                };
                return Err(plain(reason));
            }
            if !response.events.is_empty() {
                return Ok((response.header, response.events));
            }
        }
    }
}
