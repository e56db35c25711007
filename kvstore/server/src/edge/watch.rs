//! Watch streams: what the client asks goes to the hub, what the hub says waits in the stream's outbox.

use std::task::{Context, Poll};

use bytes::Bytes;
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming};

use super::{Outbox, Served, grpc::decode, outbox::Messages};
use crate::{
    core::StreamRequest,
    pb::etcdserverpb::{self as pb, watch_request::RequestUnion},
};

pub(super) struct Watching(pub(super) Served);

impl tower_service::Service<Request<Streaming<Bytes>>> for Watching {
    type Response = Response<Messages>;
    type Error = Status;
    type Future = std::future::Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        std::future::ready(Ok(Response::new(begin(&self.0, request.into_inner()))))
    }
}

/// The messages of a stream of requests. The stream is the client's: when it ends, so do its watches.
pub(super) fn begin(served: &Served, mut requests: Streaming<Bytes>) -> Messages {
    let Served { handle, shared } = served.clone();
    let outbox = Outbox::default();
    let stream = handle.open_stream(outbox.clone());
    let messages = outbox.messages(stream, handle.clone());
    shared.tasks.spawn_finite("watch requests", async move {
        while let Some(Ok(raw)) = requests.next().await {
            let Ok(asked) = decode::<pb::WatchRequest>(&raw) else { break };
            match asked.request_union {
                Some(RequestUnion::CreateRequest(create)) => handle.stream(stream, StreamRequest::Create(create)),
                Some(RequestUnion::CancelRequest(cancel)) => {
                    handle.stream(stream, StreamRequest::Cancel(cancel.watch_id));
                }
                Some(RequestUnion::ProgressRequest(_)) => handle.stream(stream, StreamRequest::Progress),
                None => {}
            }
        }
        outbox.close();
    });
    messages
}
