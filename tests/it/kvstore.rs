//! The embedded store as an operator runs it: its flags, its tools, what it refuses, and what outlives a crash.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use testbed::Binaries;

struct Store {
    child: Child,
    url: String,
}

fn causeway(words: &[&str]) -> Output {
    let binaries = Binaries::beside_us().unwrap();
    Command::new(binaries.causeway).args(words).output().unwrap()
}

/// What it prints; it must succeed.
fn told(words: &[&str]) -> String {
    let output = causeway(words);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The first line of its complaint; it must fail.
fn refused(words: &[&str]) -> String {
    let output = causeway(words);
    assert!(!output.status.success(), "{words:?} succeeded");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

fn free_url() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}")
}

// === impl Store ===

impl Store {
    fn start(data: &Path, flags: &[&str]) -> Self {
        Self::at(free_url(), data, flags)
    }

    fn at(url: String, data: &Path, flags: &[&str]) -> Self {
        let store = Self::spawn(url, data, flags);
        let began = Instant::now();
        while !store.try_run(&["endpoint", "health"]).status.success() {
            assert!(began.elapsed() < Duration::from_secs(20), "the store does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        store
    }

    /// One that asks who this is, and so tells nobody how it is.
    fn serving(url: String, data: &Path, flags: &[&str]) -> Self {
        let store = Self::spawn(url, data, flags);
        let address = store.url.trim_start_matches("http://").to_owned();
        let began = Instant::now();
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "nobody listens");
            std::thread::sleep(Duration::from_millis(20));
        }
        store
    }

    fn spawn(url: String, data: &Path, flags: &[&str]) -> Self {
        let binaries = Binaries::beside_us().unwrap();
        let log = data.with_extension("log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = Command::new(binaries.causeway)
            .args(["kvstore", "serve", &format!("--listen-client-urls={url}")])
            .arg(format!("--data-dir={}", data.display()))
            .args(flags)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, url }
    }

    fn try_run(&self, words: &[&str]) -> Output {
        let option = format!("--kvstore-opt=etcd.address={}", self.url);
        causeway(&[&["kvstore", option.as_str()], words].concat())
    }

    fn run(&self, words: &[&str]) -> String {
        let option = format!("--kvstore-opt=etcd.address={}", self.url);
        told(&[&["kvstore", option.as_str()], words].concat())
    }

    fn set(&self, key: &str, value: &str) {
        self.run(&["set", "--key", key, "--value", value]);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The hard way: nothing may depend on a clean end.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    let _beside = crate::beside();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let store = Store::start(&data, &[]);
    for number in 0..20 {
        store.set(&format!("k/{number:02}"), "v");
    }
    let lease = store.run(&["lease", "grant", "600", "--id", "abc"]);
    assert!(lease.contains("lease 0000000000000abc granted with TTL(600s)"), "{lease}");
    let hash = store.run(&["endpoint", "hashkv"]);
    drop(store);
    let store = Store::start(&data, &[]);
    assert_eq!(store.run(&["get", "--recursive", "k/"]).lines().count(), 20);
    assert_eq!(store.run(&["endpoint", "hashkv"]), hash, "the state is the same, to the byte");
    assert!(store.run(&["lease", "list"]).contains("found 1 leases"));
    assert!(store.run(&["lease", "timetolive", "abc", "--keys"]).contains("TTL(600s)"));
    assert!(store.run(&["lease", "keep-alive", "abc"]).contains("kept alive"));
    assert!(store.run(&["lease", "revoke", "abc"]).contains("revoked"));
}

#[test]
fn a_snapshot_begins_a_new_cluster_with_later_revisions() {
    let _beside = crate::beside();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let store = Store::start(&path("data"), &[]);
    for number in 0..50 {
        store.set(&format!("k/{number:02}"), &"v".repeat(1_000));
    }
    store.run(&["compact", "20", "--physical"]);
    store.run(&["defrag"]);
    let file = path("snapshot");
    let saved = store.run(&["snapshot", "save", file.to_str().unwrap()]);
    assert!(saved.contains("revision 51, 50 keys"), "{saved}");
    let status = store.run(&["status"]);
    assert!(status.contains("version 3.6.16") && status.contains("revision 51"), "{status}");
    assert!(store.run(&["alarm", "list"]).is_empty());
    drop(store);

    let file = file.to_str().unwrap();
    assert!(told(&["kvstore", "snapshot", "status", file]).contains("revision 51"));
    let restored = path("restored");
    let to = format!("--data-dir={}", restored.display());
    let done = told(&["kvstore", "snapshot", "restore", file, &to, "--bump-revision=1000", "--mark-compacted"]);
    assert!(done.contains("revision 1051"), "{done}");
    let taken = refused(&["kvstore", "snapshot", "restore", file, &to]);
    assert!(taken.contains("holds a member already"), "{taken}");

    let store = Store::start(&restored, &[]);
    assert_eq!(store.run(&["get", "--recursive", "k/"]).lines().count(), 50);
    store.set("after", "v");
    let now = store.run(&["status"]);
    assert!(now.contains("revision 1052"), "{now}");
    let id = |text: &str| text.split("cluster ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    assert_ne!(id(&status), id(&now), "a restored cluster is another");
    let old = store.try_run(&["compact", "900"]);
    assert!(String::from_utf8_lossy(&old.stderr).contains("required revision has been compacted"));
}

/// Row 44: nothing is written when a snapshot is not what it should be.
#[test]
fn scheduled_snapshots_are_whole_and_the_newest_are_kept() {
    let _beside = crate::beside();
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved");
    let names = || {
        let names = std::fs::read_dir(&saved).into_iter().flatten().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> = names.filter(|path| path.extension().is_some_and(|end| end == "db")).collect();
        names.sort();
        names
    };
    let to = format!("--backup-dir={}", saved.display());
    let store = Store::start(&dir.path().join("data"), &[&to, "--backup-interval=200ms", "--backup-retention=2"]);
    store.run(&["set", "--key", "k", "--value", "v"]);
    let (first, began) = (names(), Instant::now());
    // Until none of the first is left, and there are as many as are kept.
    while names().len() != 2 || names().iter().any(|name| first.contains(name)) {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", names());
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(store);
    let kept = names();
    assert!((1..=3).contains(&kept.len()), "{kept:?}");
    let newest = kept.last().unwrap().display().to_string();
    let restored = dir.path().join("restored");
    told(&["kvstore", "snapshot", "restore", &newest, "--data-dir", &restored.display().to_string()]);
    let store = Store::start(&restored, &[]);
    assert!(store.run(&["get", "k"]).contains('v'));
    assert!(refused(&["kvstore", "serve", "--backup-interval=1h"]).contains("--backup-dir"));
}

#[test]
fn a_snapshot_that_is_not_whole_restores_nothing() {
    let _beside = crate::beside();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let store = Store::start(&path("data"), &[]);
    store.set("k", &"v".repeat(3_000));
    let good = path("good");
    store.run(&["snapshot", "save", good.to_str().unwrap()]);
    let bytes = std::fs::read(&good).unwrap();
    let mut flipped = bytes.clone();
    flipped[700] ^= 1;
    let cases: [(&str, Vec<u8>, &str); 4] = [
        ("truncated", bytes[..bytes.len() - 40].to_vec(), "truncated"),
        ("flipped", flipped, "flipped"),
        ("empty", Vec::new(), "empty"),
        ("text", b"no snapshot".repeat(100), "text"),
    ];
    for (name, bytes, named) in cases {
        let file = path(name);
        std::fs::write(&file, bytes).unwrap();
        let target = path("target");
        let to = format!("--data-dir={}", target.display());
        let line = refused(&["kvstore", "snapshot", "restore", file.to_str().unwrap(), &to]);
        assert!(line.starts_with("error: ") && line.contains(named), "{name}: {line}");
        assert!(!target.exists(), "{name}: something was written");
    }
}

#[test]
fn what_is_not_honoured_is_refused_by_name() {
    let _beside = crate::beside();
    let serve = |flag: &str| refused(&["kvstore", "serve", flag]);
    assert!(serve("--wal-dir=x").contains("--wal-dir is a flag of etcd"), "{}", serve("--wal-dir=x"));
    assert!(serve("--enable-pprof").contains("--enable-pprof"));
    assert!(serve("--nonsense").contains("--nonsense"));
    let several = serve("--initial-cluster=default=http://127.0.0.1:1,b=http://127.0.0.1:2");
    assert!(several.contains("needs several members"), "{several}");
    let other = serve("--initial-cluster=other=http://127.0.0.1:1");
    assert!(other.contains("\"other\"") && other.contains("--name"), "{other}");
    let folder = tempfile::tempdir().unwrap();
    let data = format!("--data-dir={}", folder.path().join("d").display());
    for (url, rule) in [
        ("https://127.0.0.1:0", "https:// needs --cert-file and --key-file, or --auto-tls"),
        ("127.0.0.1:2379", "must begin with http://, https:// or unix://"),
        ("http://example.org:2379", "must name an IP address and a port"),
        ("http://127.0.0.1:70000", "must name an IP address and a port"),
    ] {
        let line = refused(&["kvstore", "serve", &data, &format!("--listen-client-urls={url}")]);
        assert!(line.contains(rule) && line.contains(url), "{url}: {line}");
    }
}

#[test]
fn a_data_directory_serves_one_store_and_a_unix_socket_serves_too() {
    let _beside = crate::beside();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let url = format!("unix://{}", folder.path().join("store.sock").display());
    let mut child = Command::new(Binaries::beside_us().unwrap().causeway)
        .args(["kvstore", "serve", &format!("--listen-client-urls={url}"), &format!("--data-dir={}", data.display())])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let socket = folder.path().join("store.sock");
    let began = Instant::now();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody listens on the socket");
        std::thread::sleep(Duration::from_millis(20));
    }
    let second = refused(&["kvstore", "serve", &format!("--data-dir={}", data.display())]);
    assert!(second.contains(data.to_str().unwrap()), "{second}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A store with users, by our own commands: root's and alice's passwords, what alice may, and what outlives a crash and a
/// restore from a snapshot.
#[test]
fn users_may_what_they_were_granted_and_outlive_the_store() {
    let _beside = crate::beside();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let quick = ["--bcrypt-cost=4"];
    let store = Store::start(&path("data"), &quick);
    assert!(store.run(&["auth", "status"]).starts_with("Authentication Status: false\nAuthRevision: 1\n"));
    assert_eq!(store.run(&["user", "add", "root", "--new-user-password=geheim"]), "User root created\n");
    assert_eq!(store.run(&["user", "add", "alice:geheim2"]), "User alice created\n");
    store.run(&["user", "add", "remote", "--no-password"]);
    store.run(&["role", "add", "own"]);
    assert_eq!(store.run(&["role", "grant-permission", "own", "readwrite", "k/", "--prefix"]), "Role own updated\n");
    assert_eq!(store.run(&["user", "grant-role", "alice", "own"]), "Role own is granted to user alice\n");
    assert_eq!(store.run(&["auth", "enable"]), "Authentication Enabled\n");

    let refused = |store: &Store, words: &[&str]| {
        let output = store.try_run(words);
        assert!(!output.status.success(), "{words:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let check = |store: &Store| {
        store.run(&["--user=alice:geheim2", "set", "--key=k/1", "--value=v"]);
        assert_eq!(store.run(&["--user=alice:geheim2", "get", "k/1"]), "k/1 => v\n");
        assert!(refused(store, &["--user=alice:geheim2", "get", "j"]).contains("permission denied"));
        assert!(refused(store, &["--user=alice:b", "get", "k/1"]).contains("authentication failed"));
        assert!(refused(store, &["get", "k/1"]).contains("user name is empty"));
        assert!(refused(store, &["--user=alice:geheim2", "user", "list"]).contains("permission denied"));
        assert_eq!(store.run(&["--user=root", "--password=geheim", "user", "list"]), "alice\nremote\nroot\n");
        let shown = "User: alice\n\nRole own\nKV Read:\n\t[k/, k0) (prefix k/)\nKV Write:\n\t[k/, k0) (prefix k/)\n";
        assert_eq!(store.run(&["--user=root:geheim", "user", "get", "alice", "--detail"]), shown);
    };
    check(&store);
    assert!(
        refused(&store, &["--user=alice:geheim2", "snapshot", "save", path("no").to_str().unwrap()]).contains("denied")
    );
    let file = path("snapshot");
    store.run(&["--user=root:geheim", "snapshot", "save", file.to_str().unwrap()]);
    // It is killed the hard way.
    let url = store.url.clone();
    drop(store);
    let store = Store::serving(url, &path("data"), &quick);
    check(&store);
    drop(store);
    let restored = path("restored");
    told(&["kvstore", "snapshot", "restore", file.to_str().unwrap(), &format!("--data-dir={}", restored.display())]);
    let store = Store::serving(free_url(), &restored, &quick);
    check(&store);
    assert_eq!(store.run(&["--user=root:geheim", "auth", "disable"]), "Authentication Disabled\n");
    assert_eq!(store.run(&["get", "k/1"]), "k/1 => v\n");
    let log = std::fs::read_to_string(path("data.log")).unwrap();
    for line in [
        r#"subsys=audit who="" what=UserAdd target="user \"alice\"""#,
        r#"subsys=audit who=alice what=Range reason="etcdserver: permission denied""#,
        r#"subsys=audit who=alice what=Authenticate reason="etcdserver: authentication failed"#,
        r#"subsys=audit who=alice what=Auth/UserList reason="etcdserver: permission denied""#,
        r#"subsys=audit who="" what=Range reason="etcdserver: user name is empty""#,
        r#"subsys=audit who=alice what=Snapshot reason="etcdserver: permission denied""#,
    ] {
        assert!(log.contains(line), "no line with {line} in:\n{log}");
    }
    assert!(!log.contains("geheim") && !log.contains("$2b$"), "a password or a hash is in the log:\n{log}");
    let bad = |text: &str| {
        let data = format!("--data-dir={}", path("bad").display());
        self::refused(&["kvstore", "serve", &data, &format!("--auth-token={text}")])
    };
    assert!(bad("basic").contains("--auth-token \"basic\" is neither simple nor jwt"), "{}", bad("basic"));
    assert!(bad("jwt,sign-method=RS256").contains("RS256 needs priv-key"), "{}", bad("jwt,sign-method=RS256"));
    assert!(!path("bad").exists(), "something was written");
}

/// What is full says so, takes no more, and lets room be made.
#[test]
fn a_full_store_refuses_writes_and_recovers() {
    let _beside = crate::beside();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(&folder.path().join("data"), &["--quota-backend-bytes=200000"]);
    let value = "v".repeat(10_000);
    let full = (0..100).find_map(|number| {
        let output = store.try_run(&["set", "--key", &format!("k/{number}"), "--value", &value]);
        (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    });
    assert!(full.is_some_and(|text| text.contains("mvcc: database space exceeded")));
    assert!(store.run(&["alarm", "list"]).contains("NOSPACE"));
    assert!(!store.try_run(&["endpoint", "health"]).status.success(), "an alarm is not healthy");
    assert!(!store.try_run(&["set", "--key", "small", "--value", "v"]).status.success());
    store.run(&["delete", "--recursive", "k/"]);
    let status = store.run(&["status"]);
    let revision = status.split("revision ").nth(1).unwrap().split([',', '\n']).next().unwrap().to_owned();
    store.run(&["compact", &revision, "--physical"]);
    store.run(&["alarm", "disarm"]);
    store.set("small", "v");
}

/// As an operator would have it: flags from the environment, TLS, and a service manager that waits to be told.
#[test]
fn a_store_with_tls_is_reached_by_commands_and_tells_systemd() {
    let _beside = crate::beside();
    let folder = tempfile::tempdir().unwrap();
    let told = std::os::unix::net::UnixDatagram::bind(folder.path().join("notify")).unwrap();
    told.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let url = free_url().replace("http://", "https://");
    let data = folder.path().join("data");
    let mut child = Command::new(Binaries::beside_us().unwrap().causeway)
        .args(["kvstore", "serve", "--auto-tls"])
        .env("ETCD_DATA_DIR", &data)
        .env("ETCD_LISTEN_CLIENT_URLS", &url)
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut buffer = [0; 256];
    let mut next = || {
        let length = told.recv(&mut buffer).expect("systemd is told in time");
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    assert_eq!(next(), "READY=1");
    let at = format!("--kvstore-opt=etcd.address={url}");
    let ca = format!("--cacert={}", data.join("fixtures/client/cert.pem").display());
    let run = |words: &[&str]| {
        let output = causeway(&[&["kvstore", &at, &ca], words].concat());
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&text));
        String::from_utf8_lossy(&text).into_owned()
    };
    run(&["set", "--key", "k", "--value", "v"]);
    assert_eq!(run(&["get", "k"]), "k => v\n");
    let members = run(&["member", "list"]);
    assert!(members.contains(", started, default, ") && members.contains(&url), "{members}");
    // How fast this machine is, is not the question: the exit code says what the last line says.
    let output = causeway(&["kvstore", &at, &ca, "check", "perf", "--seconds", "1"]);
    let verdict = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(verdict.contains("Throughput") && verdict.contains("Slowest request took "), "{verdict}");
    assert_eq!(verdict.lines().last(), Some(if output.status.success() { "PASS" } else { "FAIL" }), "{verdict}");
    let without = refused(&["kvstore", &at, "get", "k"]);
    assert!(without.contains("https endpoints need trusted-ca-file"), "{without}");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(next(), "STOPPING=1");
    assert!(child.wait().unwrap().success());
}
