//! The servers that are compared: etcd processes, and ours in this process.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Which server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An etcd of this path.
    Etcd(PathBuf),
    /// The etcd 3.4 of this path.
    Older(PathBuf),
    /// The store of this crate, in this process.
    Causeway,
}

pub(crate) struct Server {
    pub(crate) url: String,
    running: Running,
    older: bool,
    auth_token: String,
    directory: tempfile::TempDir,
}

/// The least: passwords are not what is tested.
const BCRYPT_COST: u32 = 4;

enum Running {
    Process(Child),
    Here(Option<kvstore_server::Server>),
}

fn peer(name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let path = target.join("peers").join(name);
    path.exists().then_some(path)
}

/// etcd 3.6.16 as `cargo xtask interop` builds it.
pub(crate) fn reference() -> Option<Kind> {
    peer("etcd-3.6.16").map(Kind::Etcd)
}

/// A binary that `cargo xtask interop` builds, or a loud skip.
pub(crate) fn peer_for(test: &str, name: &str) -> Option<PathBuf> {
    needed(test, peer(name), &format!("no target/peers/{name} (cargo xtask interop builds it, with Go)"))
}

/// The reference, or a loud skip; a failure where nothing may be skipped.
pub(crate) fn reference_for(test: &str) -> Option<Kind> {
    needed(test, reference(), "no target/peers/etcd-3.6.16 (cargo xtask interop builds it, with Go)")
}

/// What is compared with the reference.
pub(crate) fn subjects() -> Vec<Kind> {
    vec![Kind::Causeway]
}

/// Debian's etcd 3.4, or a loud skip.
pub(crate) fn older_for(test: &str) -> Option<Kind> {
    let path = PathBuf::from("/usr/bin/etcd");
    needed(test, path.exists().then_some(Kind::Older(path)), "no /usr/bin/etcd (Debian: etcd-server)")
}

fn needed<T>(test: &str, found: Option<T>, missing: &str) -> Option<T> {
    if found.is_none() {
        println!("SKIP {test}: {missing}");
        assert!(std::env::var_os("CI").is_none(), "{missing}, and in CI nothing may be skipped");
    }
    found
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Ours on the data of this directory. Its segments are small, so that it often writes its state out.
fn here(directory: &tempfile::TempDir, auth_token: &str) -> (kvstore_server::Server, String) {
    let config = kvstore_server::Config {
        name: "t".to_owned(),
        data_dir: directory.path().join("data"),
        listen_client_urls: vec!["http://127.0.0.1:0".to_owned()],
        unsafe_no_fsync: true,
        wal_segment_bytes: 32 << 10,
        auth_token: auth_token.to_owned(),
        bcrypt_cost: BCRYPT_COST,
        ..Default::default()
    };
    let server = apart(|| kvstore_server::Server::start(config).expect("the store starts"));
    let url = server.client_urls()[0].clone();
    (server, url)
}

/// On a thread of its own: a store starts and ends runtimes, which must not happen within one.
fn apart<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(run).join().expect("it does not panic"))
}

// === impl Server ===

impl Server {
    pub(crate) fn is_older(&self) -> bool {
        self.older
    }

    /// Whether ours has written its state out.
    pub(crate) fn has_checkpoint(&self) -> bool {
        let written = std::fs::read_dir(self.directory.path().join("data/checkpoints"));
        written.is_ok_and(|mut files| files.next().is_some())
    }

    /// Stops and starts it on its data; false for those that stay as they are.
    pub(crate) fn restart(&mut self) -> bool {
        let Running::Here(server) = &mut self.running else { return false };
        if let Some(server) = server.take() {
            apart(|| server.stop().expect("nothing had ended it"));
        }
        let (started, url) = here(&self.directory, &self.auth_token);
        (*server, self.url) = (Some(started), url);
        true
    }

    pub(crate) fn start(kind: &Kind) -> Self {
        Self::start_with(kind, "simple")
    }

    /// With another kind of tokens.
    pub(crate) fn start_with(kind: &Kind, auth_token: &str) -> Self {
        let auth_token = auth_token.to_owned();
        let directory = tempfile::tempdir().unwrap();
        match kind {
            Kind::Causeway => {
                let (server, url) = here(&directory, &auth_token);
                Self { url, running: Running::Here(Some(server)), older: false, auth_token, directory }
            }
            Kind::Etcd(path) | Kind::Older(path) => {
                let url = format!("http://127.0.0.1:{}", free_port());
                let peer = format!("http://127.0.0.1:{}", free_port());
                let log = std::fs::File::create(directory.path().join("log")).unwrap();
                let child = Command::new(path)
                    .args(["--name", "t", "--log-level", "error", "--unsafe-no-fsync"])
                    .args(["--auth-token", &auth_token, "--bcrypt-cost", &BCRYPT_COST.to_string()])
                    .arg("--data-dir")
                    .arg(directory.path().join("data"))
                    .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
                    .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                    .args(["--initial-cluster", &format!("t={peer}")])
                    .stdout(Stdio::null())
                    .stderr(log)
                    .spawn()
                    .unwrap();
                let older = matches!(kind, Kind::Older(_));
                Self { url, running: Running::Process(child), older, auth_token, directory }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match &mut self.running {
            Running::Process(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Running::Here(server) => apart(|| drop(server.take())),
        }
    }
}
