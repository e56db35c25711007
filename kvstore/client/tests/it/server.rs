//! Real servers on a loopback port, with a data directory of their own: etcd, and the embedded store.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use kvstore::{Backend, Etcd, EtcdConfig};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Embedded,
    Etcd,
}

pub(crate) struct Server {
    kind: Kind,
    embedded: Option<kvstore_server::Server>,
    child: Option<Child>,
    directory: tempfile::TempDir,
    port: u16,
    peer_port: u16,
    extra: Vec<String>,
    scheme: &'static str,
}

/// True if there is an etcd; otherwise says that the test is skipped, or fails it where it must run.
pub(crate) fn available(test: &str) -> bool {
    let found = Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        println!("SKIP {test}: no etcd in PATH (Debian: etcd-server)");
        assert!(std::env::var_os("CI").is_none(), "etcd is missing, and in CI nothing may be skipped");
    }
    found
}

/// Every server that there is.
pub(crate) fn kinds(test: &str) -> Vec<Kind> {
    if available(test) { vec![Kind::Embedded, Kind::Etcd] } else { vec![Kind::Embedded] }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// === impl Server ===

impl Server {
    pub(crate) async fn start(kind: Kind) -> Self {
        println!("on {kind:?}");
        let mut server = Self::stopped(kind);
        server.run().await;
        server
    }

    pub(crate) fn stopped(kind: Kind) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (port, peer_port) = (free_port(), free_port());
        Self { kind, embedded: None, child: None, directory, port, peer_port, extra: Vec::new(), scheme: "http" }
    }

    /// With `https`, and these flags.
    pub(crate) fn tls(flags: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let mut server = Self::stopped(Kind::Etcd);
        server.scheme = "https";
        server.extra = flags(server.directory.path());
        server
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    pub(crate) async fn client(&self) -> Arc<dyn Backend> {
        Arc::new(Etcd::connect(&EtcdConfig::insecure(self.endpoint()), false).unwrap())
    }

    /// Starts the process, if it does not run, and waits until it answers.
    pub(crate) async fn run(&mut self) {
        self.spawn();
        if self.scheme == "http" {
            let client = self.client().await;
            for _ in 0..200 {
                if let Ok(Ok(status)) = tokio::time::timeout(Duration::from_millis(500), client.status()).await
                    && status.has_leader
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("etcd did not come up; its log is {}", self.directory.path().join("log").display());
        }
    }

    /// Starts it and asks it nothing: it may want to know who asks.
    pub(crate) fn run_unasked(&mut self) {
        self.spawn();
    }

    fn spawn(&mut self) {
        if self.kind == Kind::Embedded {
            let config = kvstore_server::Config {
                name: "t".to_owned(),
                data_dir: self.directory.path().join("data"),
                listen_client_urls: vec![self.endpoint()],
                initial_cluster_token: Some("t".to_owned()),
                unsafe_no_fsync: true,
                ..kvstore_server::Config::default()
            };
            self.embedded = Some(kvstore_server::Server::start(config).unwrap());
            return;
        }
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.directory.path().join("log")).unwrap();
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let child = Command::new("etcd")
            .args(["--name", "t", "--initial-cluster-token", "t", "--log-level", "error", "--unsafe-no-fsync"])
            .arg("--data-dir")
            .arg(self.directory.path().join("data"))
            .args(["--listen-client-urls", &self.endpoint(), "--advertise-client-urls", &self.endpoint()])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("t={peer}")])
            .args(&self.extra)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    pub(crate) fn kill(&mut self) {
        self.embedded = None;
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Kills it and removes its data. With the same token it comes back with the same cluster id.
    pub(crate) fn wipe(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.directory.path().join("data")).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
