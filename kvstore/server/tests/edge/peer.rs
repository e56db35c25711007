//! Programs of others that `cargo xtask interop` builds.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A binary, or a loud skip; a failure where nothing may be skipped.
pub(crate) fn peer(test: &str, name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let path = target.join("peers").join(name);
    if path.exists() {
        return Some(path);
    }
    let missing = format!("no target/peers/{name} (cargo xtask interop builds it, with Go)");
    println!("SKIP {test}: {missing}");
    assert!(std::env::var_os("CI").is_none(), "{missing}, and in CI nothing may be skipped");
    None
}

/// Runs a program with words, and keeps the runtime's threads free meanwhile.
pub(crate) async fn run(program: &Path, words: Vec<String>) -> Output {
    let program = program.to_owned();
    tokio::task::spawn_blocking(move || Command::new(program).args(words).output().unwrap()).await.unwrap()
}

/// An etcd of its own.
pub(crate) struct Etcd {
    child: std::process::Child,
    pub(crate) url: String,
    _directory: tempfile::TempDir,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// === impl Etcd ===

impl Etcd {
    /// `None` after a loud skip.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        let binary = peer(test, "etcd-3.6.16")?;
        let directory = tempfile::tempdir().unwrap();
        let (url, peer) = (format!("http://127.0.0.1:{}", free_port()), format!("http://127.0.0.1:{}", free_port()));
        let child = Command::new(binary)
            .args(["--name=t", "--log-level=error", "--unsafe-no-fsync"])
            .arg(format!("--data-dir={}", directory.path().join("data").display()))
            .args([format!("--listen-client-urls={url}"), format!("--advertise-client-urls={url}")])
            .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
            .arg(format!("--initial-cluster=t={peer}"))
            .spawn()
            .unwrap();
        let etcd = Self { child, url, _directory: directory };
        for _ in 0..200 {
            if let Ok(mut client) = etcd_client::Client::connect([etcd.url.as_str()], None).await
                && client.get("ready", None).await.is_ok()
            {
                return Some(etcd);
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("etcd does not answer");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
