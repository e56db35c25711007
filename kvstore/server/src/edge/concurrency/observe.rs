//! What leaders proclaim, one after another, for as long as somebody listens.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use prost::Message as _;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{session::Session, waiting::Queue};
use crate::{
    core::Caller,
    edge::{Served, grpc::decode},
    pb::{
        etcdserverpb as pb,
        mvccpb::{KeyValue, event::EventType},
        v3electionpb::{LeaderRequest, LeaderResponse},
    },
};

/// Proclamations that wait for a client: who reads slowly is told each of them, later.
const WAITING: usize = 1;

pub(in crate::edge) struct Observing(pub(in crate::edge) Served, pub(in crate::edge) Caller);

type Sender = tokio::sync::mpsc::Sender<Result<Bytes, Status>>;

impl tower_service::Service<Request<Bytes>> for Observing {
    type Response = Response<Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>>;
    type Error = Status;
    type Future = std::future::Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let session = Session::new(self.0.clone(), self.1.clone());
        let begun = decode::<LeaderRequest>(request.get_ref()).map(|asked| {
            let (sender, said) = tokio::sync::mpsc::channel(WAITING);
            let queue = Queue::new(&asked.name);
            let listening = session.clone();
            session.afterwards("an election is observed", async move {
                tokio::select! {
                    // etcd ends the stream without a word when it cannot go on.
                    _ = observe(&listening, &queue, &sender) => {}
                    () = sender.closed() => {}
                }
            });
            Response::new(Box::pin(ReceiverStream::new(said)) as Pin<Box<dyn Stream<Item = _> + Send>>)
        });
        std::future::ready(begun)
    }
}

async fn observe(session: &Session, queue: &Queue, sender: &Sender) -> Result<(), Status> {
    loop {
        let found = session.range(&queue.first()).await?;
        let revision = found.header.map_or(0, |header| header.revision);
        let (header, leader) = match found.kvs.into_iter().next() {
            Some(leader) => (found.header, leader),
            None => first_put(session, queue, revision).await?,
        };
        let from = header.map_or(0, |header| header.revision) + 1;
        let key = leader.key.clone();
        say(sender, header, leader).await?;
        follow(session, key, from, sender).await?;
    }
}

/// Until the leader is gone.
async fn follow(session: &Session, key: Bytes, from: i64, sender: &Sender) -> Result<(), Status> {
    let mut changes = session.watch(key, Bytes::new(), from);
    loop {
        let (header, events) = changes.next().await?;
        for event in events {
            match (event.r#type(), event.kv) {
                (EventType::Put, Some(kv)) => say(sender, header, kv).await?,
                _ => return Ok(()),
            }
        }
    }
}

/// Nobody leads: whoever comes first does.
async fn first_put(
    session: &Session,
    queue: &Queue,
    revision: i64,
) -> Result<(Option<pb::ResponseHeader>, KeyValue), Status> {
    let mut changes = queue.changes(session, revision);
    loop {
        let (header, events) = changes.next().await?;
        let put = events.into_iter().find(|event| event.r#type() == EventType::Put).and_then(|event| event.kv);
        if let Some(kv) = put {
            let header = header.map(|header| pb::ResponseHeader { revision: kv.mod_revision, ..header });
            return Ok((header, kv));
        }
    }
}

async fn say(sender: &Sender, header: Option<pb::ResponseHeader>, kv: KeyValue) -> Result<(), Status> {
    let message = LeaderResponse { header, kv: Some(kv) }.encode_to_vec().into();
    sender.send(Ok(message)).await.map_err(|_| Status::cancelled("nobody listens"))
}
