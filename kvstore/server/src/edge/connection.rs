//! Connections: each is served until it ends or the server stops; silent and slow ones are bounded.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};

use super::{
    Peer,
    counted::{Counted, counted},
    door::Guest,
    gathered::Gathered,
    grpc, lean,
    listener::Arrival,
    pages,
};
use crate::{core::Caller, driver::Handle, status::Shared};

/// A client that sends no request head for so long is gone, or is no client.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without traffic is asked whether it is alive, and closed when it does not answer: etcd's defaults are
/// 2 h and 20 s; shorter finds dead watchers before their memory counts.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Requests that one connection may have open. etcd has no bound; clients wait for a place.
const MAX_STREAMS: u32 = 100_000;
/// What a client may send before we have taken it, a stream and a connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// Unsent answers that one stream may hold.
const SEND_BUFFER_BYTES: usize = 256 << 10;

/// What a connection needs.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) handle: Handle,
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: Peer,
}

// === impl Served ===

impl Served {
    pub(crate) fn new(handle: Handle, shared: Arc<Shared>) -> Self {
        Self { handle, shared, peer: Peer::default() }
    }

    /// Who makes a request with this token.
    pub(super) fn caller(&self, token: Option<&HeaderValue>) -> Caller {
        self.peer.caller(&self.shared.tokens, token)
    }
}

/// How connections are served, all alike.
pub(super) fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES);
    builder
}

/// Serves one connection until it ends or is dropped.
pub(super) async fn serve(builder: Builder<TokioExecutor>, arrival: Arrival, guest: Guest, served: Served) {
    let shared = served.shared.clone();
    let Some((socket, peer)) = shared.door.greet(arrival, &guest).await else { return };
    let asking = guest.asking();
    let served = Served { peer, ..served };
    let service = service_fn(move |request| {
        asking.note();
        answer(served.clone(), request)
    });
    tokio::select! {
        ended = builder.serve_connection(TokioIo::new(Gathered::new(socket)), service) => {
            if let Err(error) = ended {
                shared.door.ended(&*error);
                tracing::debug!(error, "a connection ended");
            }
        }
        () = guest.asked_to_leave() => {}
    }
}

async fn answer(served: Served, request: Request<Incoming>) -> Result<Response<Counted>, Infallible> {
    let is_grpc = request
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    Ok(if is_grpc && !served.peer.only_pages {
        let call = served.shared.metrics.calls.begin(request.uri().path());
        counted(grpc::answer(&served, request).await, call)
    } else {
        counted(Box::pin(pages::answer(&served, &request)).await.map(lean::Body::Other), None)
    })
}
