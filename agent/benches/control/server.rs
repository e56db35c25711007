//! A store: etcd, or ours, on a data directory of its own.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kvstore::{Backend, Client};
use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Etcd,
    Ours,
}

/// A running store. Dropping it ends it.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    _data: TempDir,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Result<Self> {
        let data = tempfile::Builder::new().prefix("causeway-bench-").tempdir()?;
        let port = |at: &str| -> Result<u16> { Ok(std::net::TcpListener::bind(at)?.local_addr()?.port()) };
        let url = format!("http://127.0.0.1:{}", port("127.0.0.1:0")?);
        let peer = format!("http://127.0.0.1:{}", port("127.0.0.1:0")?);
        let mut command = match kind {
            Kind::Etcd => Command::new(binary("CAUSEWAY_BENCH_ETCD")?),
            Kind::Ours => Command::new(binary("CAUSEWAY_BENCH_CAUSEWAY")?),
        };
        if kind == Kind::Ours {
            command.args(["kvstore", "serve"]);
        }
        command
            .args(["--name=bench", "--initial-cluster-token=bench", "--quota-backend-bytes=8589934592"])
            .arg(format!("--data-dir={}", data.path().join("data").display()))
            .args([format!("--listen-client-urls={url}"), format!("--advertise-client-urls={url}")])
            .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
            .arg(format!("--initial-cluster=bench={peer}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("start {kind:?}"))?;
        let server = Self { child, url, _data: data };
        let began = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let client = client(&server.url, 0).await?;
            while client.status().await.is_err() {
                ensure!(began.elapsed() < Duration::from_secs(30), "{kind:?} does not answer");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(server)
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client without limits, but for the keys of a page.
pub(crate) async fn client(url: &str, page: u32) -> Result<Arc<Client>> {
    let options = format!("etcd.address={url},etcd.qps=0,etcd.limit={page}");
    Ok(kvstore::Options::parse(&options)?.connect().await?)
}

/// A program that `cargo xtask bench` has built.
pub(crate) fn binary(variable: &str) -> Result<std::path::PathBuf> {
    let path = std::env::var_os(variable).map(Into::into);
    path.with_context(|| format!("{variable} names no binary: run cargo xtask bench control"))
}
