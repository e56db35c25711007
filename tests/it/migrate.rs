//! One store becomes another while somebody writes: etcd the embedded one, and back.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions, LeaseGrantOptions, Permission, PutOptions, UserAddOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::Binaries;

const KEYS: usize = 2_500;
const LEASE: i64 = 0x1234_5678;
const TTL_SECS: i64 = 4;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Etcd,
    Embedded,
}

/// A server process, ended when it goes out of scope.
struct Server {
    child: Child,
    url: String,
}

/// Keys with their values and leases.
type Held = BTreeMap<Vec<u8>, (Vec<u8>, i64)>;

fn free_url() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}")
}

// === impl Server ===

impl Server {
    async fn start(kind: Kind, data: &Path) -> Self {
        let (url, peer) = (free_url(), free_url());
        let mut command = match kind {
            Kind::Etcd => Command::new("etcd"),
            Kind::Embedded => {
                let mut command = Command::new(Binaries::beside_us().unwrap().causeway);
                command.args(["kvstore", "serve"]);
                command
            }
        };
        let child = command
            .arg(format!("--data-dir={}", data.display()))
            .arg(format!("--listen-client-urls={url}"))
            .arg(format!("--advertise-client-urls={url}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=default={peer}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, url };
        let began = Instant::now();
        while server.try_client().await.is_none() {
            assert!(began.elapsed() < Duration::from_secs(20), "{kind:?} does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    async fn try_client(&self) -> Option<Client> {
        let mut client = Client::connect([&self.url], None).await.ok()?;
        client.status().await.ok()?;
        Some(client)
    }

    async fn client(&self) -> Client {
        self.try_client().await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}

/// The command, under way: what it prints comes line by line.
fn migrate(
    from: &Server,
    to: &Server,
    flags: &[&str],
) -> (Child, std::io::Lines<BufReader<std::process::ChildStdout>>) {
    let mut child = Command::new(Binaries::beside_us().unwrap().causeway)
        .args(["kvstore", "migrate", "--from", &from.url, "--to", &to.url])
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// The rest of what it says, and whether it went well.
fn finished(child: Child, lines: impl Iterator<Item = std::io::Result<String>>) -> (bool, String) {
    let said: String = lines.map(|line| line.unwrap() + "\n").collect();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), said + &String::from_utf8_lossy(&output.stderr))
}

async fn fill(client: &mut Client) {
    for number in 0..KEYS {
        client.put(format!("k/{number:05}"), vec![b'v'; number % 700], None).await.unwrap();
    }
    client.role_add("remote").await.unwrap();
    client.role_grant_permission("remote", Permission::read("cilium/").with_prefix()).await.unwrap();
    client.user_add("remote-west", "", Some(UserAddOptions::new().with_no_pwd())).await.unwrap();
    client.user_grant_role("remote-west", "remote").await.unwrap();
    // Last: from now on it must be kept alive.
    client.lease_grant(TTL_SECS, Some(LeaseGrantOptions::new().with_id(LEASE))).await.unwrap();
    for number in 0..20 {
        let options = PutOptions::new().with_lease(LEASE);
        client.put(format!("leased/{number}"), "v", Some(options)).await.unwrap();
    }
}

async fn held(client: &mut Client) -> Held {
    let answer = client.get("\0", Some(GetOptions::new().with_all_keys())).await.unwrap();
    answer.kvs().iter().map(|kv| (kv.key().to_vec(), (kv.value().to_vec(), kv.lease()))).collect()
}

/// Somebody writes, and the owner of the lease keeps it alive at the source, until told to stop.
async fn work(mut client: Client, stop: tokio::sync::watch::Receiver<bool>) -> usize {
    let (mut keeper, _kept) = client.lease_keep_alive(LEASE).await.unwrap();
    let mut writes = 0;
    while !*stop.borrow() {
        client.put(format!("k/{:05}", writes * 7 % KEYS), format!("new {writes}"), None).await.unwrap();
        client.delete(format!("k/{:05}", writes * 11 % KEYS), None).await.unwrap();
        if writes % 20 == 0 {
            keeper.keep_alive().await.unwrap();
        }
        writes += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    writes
}

async fn story(from: Kind, to: Kind) {
    let dir = tempfile::tempdir().unwrap();
    let from = Server::start(from, &dir.path().join("from")).await;
    let to = Server::start(to, &dir.path().join("to")).await;
    let (mut source, mut copy) = (from.client().await, to.client().await);
    fill(&mut source).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writer = async {
        let writes = work(from.client().await, stopped).await;
        assert!(writes > 100, "{writes} writes in between");
    };
    let command = async {
        let (child, mut lines) = migrate(&from, &to, &[]);
        let mut said = String::new();
        while !said.contains("following changes") {
            said += &tokio::task::block_in_place(|| lines.next()).expect("it follows").unwrap();
        }
        assert!(said.contains("1 leases, 1 roles, 1 users"), "{said}");
        // Longer than the lease lives by itself: at the copy nobody but the command keeps it alive.
        tokio::time::sleep(Duration::from_secs(2 * TTL_SECS as u64)).await;
        stop.send(true).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        let (well, said) = tokio::task::block_in_place(|| finished(child, lines));
        assert!(well && said.contains("cut over at revision"), "{said}");
    };
    tokio::join!(writer, command);
    let there = held(&mut copy).await;
    assert_eq!(there, held(&mut source).await);
    assert!(there.values().any(|(_, lease)| *lease == LEASE));
    assert!(copy.lease_time_to_live(LEASE, None).await.unwrap().ttl() > 0);
    assert_eq!(copy.user_get("remote-west").await.unwrap().roles(), ["remote"]);
    let permissions = copy.role_get("remote").await.unwrap().permissions();
    assert_eq!((permissions[0].key(), permissions[0].range_end()), (&b"cilium/"[..], &b"cilium0"[..]));
}

#[test]
fn etcd_becomes_an_embedded_store_while_somebody_writes() {
    crate::beside_meshes(story(Kind::Etcd, Kind::Embedded));
}

#[test]
fn an_embedded_store_becomes_etcd_while_somebody_writes() {
    crate::beside_meshes(story(Kind::Embedded, Kind::Etcd));
}

#[test]
fn a_frozen_source_takes_no_puts_and_what_holds_keys_is_no_destination() {
    crate::beside_meshes(async {
        let dir = tempfile::tempdir().unwrap();
        let from = Server::start(Kind::Etcd, &dir.path().join("from")).await;
        let to = Server::start(Kind::Embedded, &dir.path().join("to")).await;
        let mut source = from.client().await;
        source.put("a", "1", None).await.unwrap();
        let (child, lines) = migrate(&from, &to, &["--once", "--freeze"]);
        let (well, said) = tokio::task::block_in_place(|| finished(child, lines));
        assert!(well && said.contains("1 keys, hash"), "{said}");
        let refused = source.put("b", "2", None).await.unwrap_err().to_string();
        assert!(refused.contains("database space exceeded"), "{refused}");
        for (from, to, why) in [(&from, &to, "--to holds 1 keys"), (&from, &from, "are the same store")] {
            let (child, lines) = migrate(from, to, &["--once"]);
            let (well, said) = tokio::task::block_in_place(|| finished(child, lines));
            assert!(!well && said.contains(why), "{said}");
        }
        assert_eq!(held(&mut to.client().await).await.len(), 1);
    });
}
