//! What the stack alone costs: a server of the same libraries that answers every call with the same small message.

use std::convert::Infallible;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tonic::{Response, Status};

use crate::client::Raw;

pub(crate) struct Echo {
    child: Child,
    pub(crate) port: u16,
}

#[derive(Clone)]
struct Answer;

impl tower_service::Service<tonic::Request<Bytes>> for Answer {
    type Response = Response<Bytes>;
    type Error = Status;
    type Future = std::future::Ready<Result<Response<Bytes>, Status>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Status>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: tonic::Request<Bytes>) -> Self::Future {
        std::future::ready(Ok(Response::new(Bytes::from_static(&[0; 24]))))
    }
}

/// The server itself, in a process of its own.
pub(crate) fn serve() -> Result<()> {
    let port = std::env::var("CAUSEWAY_BENCH_ECHO_PORT")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            connections.spawn(async move {
                let answer = |request: Request<Incoming>| async {
                    Ok::<_, Infallible>(tonic::server::Grpc::new(Raw).unary(Answer, request).await)
                };
                // A client that leaves is no failure.
                let _ =
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    })
}

// === impl Echo ===

impl Echo {
    pub(crate) fn start() -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(std::env::current_exe()?)
            .arg("echo")
            .env("CAUSEWAY_BENCH_ECHO_PORT", port.to_string())
            .stdout(Stdio::null())
            .spawn()
            .context("start the echo server")?;
        std::thread::sleep(Duration::from_millis(300));
        Ok(Self { child, port })
    }

    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, after) = stat.rsplit_once(')').context("the name ends with a bracket")?;
        let field = |n: usize| after.split_whitespace().nth(n).and_then(|word| word.parse::<u32>().ok());
        let (user, system) = field(11).zip(field(12)).context("fields 14 and 15 are times")?;
        Ok(Duration::from_millis(10) * (user + system))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // It ends only so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
