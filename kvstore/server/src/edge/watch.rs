//! Watch streams: what the client asks goes to the hub, what the hub says waits in the stream's outbox.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderValue;
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming};

use super::{Outbox, Served, grpc::decode, outbox::Messages};
use crate::{
    core::StreamRequest,
    pb::etcdserverpb::{self as pb, watch_request::RequestUnion},
};

pub(super) struct Watching(pub(super) Served, pub(super) Option<HeaderValue>);

impl tower_service::Service<Request<Streaming<Bytes>>> for Watching {
    type Response = Response<Messages>;
    type Error = Status;
    type Future = std::future::Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        std::future::ready(Ok(Response::new(begin(&self.0, self.1.clone(), request.into_inner()))))
    }
}

/// The messages of a stream of requests. The stream is the client's: when it ends, so do its watches.
pub(super) fn begin(served: &Served, token: Option<HeaderValue>, mut requests: Streaming<Bytes>) -> Messages {
    let served = served.clone();
    let (handle, shared) = (served.handle.clone(), served.shared.clone());
    let outbox = Outbox::default();
    let stream = handle.open_stream(outbox.clone());
    let messages = outbox.messages(stream, handle.clone());
    shared.tasks.spawn_finite("watch requests", async move {
        while let Some(Ok(raw)) = requests.next().await {
            let Ok(asked) = decode::<pb::WatchRequest>(&raw) else { break };
            match asked.request_union {
                Some(RequestUnion::CreateRequest(create)) => {
                    // A token may be over by the next watch.
                    let caller = served.caller(token.as_ref());
                    handle.stream(stream, StreamRequest::Create(create, caller));
                }
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
