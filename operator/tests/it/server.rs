//! A real etcd on a loopback port, with a data directory of its own.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use kvstore::{Backend, Etcd, EtcdConfig};

pub(crate) struct Server {
    child: Option<Child>,
    directory: tempfile::TempDir,
    port: u16,
    peer_port: u16,
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

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// === impl Server ===

impl Server {
    pub(crate) async fn start() -> Self {
        let mut server = Self::stopped();
        server.run().await;
        server
    }

    pub(crate) fn stopped() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (port, peer_port) = (free_port(), free_port());
        Self { child: None, directory, port, peer_port }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts the process, if it does not run, and waits until it answers.
    pub(crate) async fn run(&mut self) {
        self.spawn();
        let client = Etcd::connect(&EtcdConfig::insecure(self.endpoint()), false).await.unwrap();
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

    fn spawn(&mut self) {
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
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
