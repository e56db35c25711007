//! Connections: each is served until it ends or the server stops; silent and slow ones are bounded.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use runtime::Tasks;
use tokio::sync::Semaphore;

use super::{Listener, grpc, lean, pages};
use crate::{driver::Handle, status::Shared};

/// A client that sends no request head for so long is gone, or is no client.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without traffic is asked whether it is alive, and closed when it does not answer: etcd's defaults are
/// 2 h and 20 s; shorter finds dead watchers before their memory counts.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Requests that one connection may have open. etcd has no bound; clients wait for a place.
const MAX_STREAMS: u32 = 100_000;
/// Connections at once. Half of a common limit of open files is left for the disk.
const MAX_CONNECTIONS: usize = 10_240;
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
}

/// Accepts until the tasks stop.
pub(crate) async fn serve(listener: Listener, served: Served, tasks: Tasks) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
    let stopping = tasks.stopping();
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let socket = tokio::select! {
            () = stopping.cancelled() => return,
            socket = listener.accept() => socket,
        };
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => {
                // Out of files, or a client that left: the next may fare better.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (builder, served, stopping) = (builder.clone(), served.clone(), stopping.clone());
        tasks.spawn_finite("store connection", async move {
            let connection = builder
                .serve_connection(TokioIo::new(socket), service_fn(move |request| answer(served.clone(), request)));
            tokio::pin!(connection);
            tokio::select! {
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(error, "a connection ended");
                    }
                }
                () = stopping.cancelled() => {}
            }
            drop(place);
        });
    }
}

async fn answer(served: Served, request: Request<Incoming>) -> Result<Response<lean::Body>, Infallible> {
    let is_grpc = request
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    Ok(if is_grpc {
        grpc::answer(&served, request).await
    } else {
        Box::pin(pages::answer(&served, &request)).await.map(lean::Body::Other)
    })
}
