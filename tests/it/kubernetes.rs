//! A real kube-apiserver on the embedded store: objects are created, watched, paged and updated while the store is killed
//! and started again, and nothing is lost. `cargo xtask interop` builds the server, which takes minutes.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testbed::Binaries;

const TOKEN: &str = "trial";

/// A process, ended when it goes out of scope.
struct Process(Child);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Embedded,
    Etcd,
}

// === impl Process ===

impl Process {
    fn start(program: &Path, words: &[String], log: &Path) -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = Command::new(program).args(words).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        Self(child.unwrap())
    }

    fn kill(&mut self) {
        drop((self.0.kill(), self.0.wait()));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn peer(name: &str) -> PathBuf {
    let target = Binaries::beside_us().unwrap().causeway.parent().unwrap().parent().unwrap().to_owned();
    target.join("peers").join(name)
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn store(kind: Kind, port: u16, dir: &Path) -> Process {
    let (url, peer_url) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()));
    let mut words: Vec<String> = match kind {
        Kind::Embedded => vec!["kvstore".to_owned(), "serve".to_owned()],
        Kind::Etcd => vec!["--log-level=error".to_owned()],
    };
    words.extend([
        format!("--data-dir={}", dir.join("data").display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer_url}"),
        format!("--initial-advertise-peer-urls={peer_url}"),
        format!("--initial-cluster=default={peer_url}"),
    ]);
    let program = match kind {
        Kind::Embedded => Binaries::beside_us().unwrap().causeway,
        Kind::Etcd => peer("etcd-3.6.16"),
    };
    Process::start(&program, &words, &dir.join("store.log"))
}

fn api_server(port: u16, store: u16, dir: &Path) -> Process {
    // The server makes it for its own certificate before it looks for one to sign tokens with.
    let key = dir.join("certificates/apiserver.key");
    let tokens = dir.join("tokens");
    std::fs::write(&tokens, format!("{TOKEN},admin,1,\"system:masters\"\n")).unwrap();
    let words = [
        format!("--etcd-servers=http://127.0.0.1:{store}"),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--cert-dir={}", dir.join("certificates").display()),
        format!("--token-auth-file={}", tokens.display()),
        format!("--service-account-key-file={}", key.display()),
        format!("--service-account-signing-key-file={}", key.display()),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
    ];
    Process::start(&peer("kube-apiserver"), &words, &dir.join("api-server.log"))
}

/// What the client measured.
fn trial(kind: Kind) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (store_port, port) = (free_port(), free_port());
    let mut running = store(kind, store_port, dir.path());
    let _api_server = api_server(port, store_port, dir.path());
    let mut client = Command::new(peer("kube-client"))
        .args([format!("--server=https://127.0.0.1:{port}"), format!("--token={TOKEN}")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut figures, mut killed) = (String::new(), false);
    for line in BufReader::new(client.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if line.starts_with("half of the objects") {
            running.kill();
            std::thread::sleep(Duration::from_millis(500));
            running = store(kind, store_port, dir.path());
            killed = true;
        } else {
            figures = line;
        }
    }
    let ended = client.wait_with_output().unwrap();
    let log = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.success() && killed,
        "{said}\nAPI server: {}\nstore: {}",
        log("api-server.log").lines().rev().take(20).collect::<Vec<_>>().join("\n"),
        log("store.log").lines().rev().take(20).collect::<Vec<_>>().join("\n")
    );
    figures
}

#[test]
fn a_kubernetes_api_server_loses_nothing_when_its_store_is_killed() {
    let _beside = crate::beside();
    if !peer("kube-apiserver").exists() || !peer("kube-client").exists() {
        println!("SKIP: there is no target/peers/kube-apiserver; cargo xtask interop builds it in about seven minutes");
        return;
    }
    let began = Instant::now();
    for kind in [Kind::Etcd, Kind::Embedded] {
        println!("kube-apiserver on {kind:?}: {}", trial(kind));
    }
    println!("{:.0} s", began.elapsed().as_secs_f64());
}
