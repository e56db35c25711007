//! Cilium's own kvstoremesh between two embedded stores, over TLS and with the users and roles of `etcdinit`: what it
//! mirrors equals what it wrote between two etcd, and it may read no more than it was granted.
//! `cargo xtask interop` builds it, which takes minutes.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, Permission, TlsOptions, UserAddOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use testbed::Binaries;

/// What Cilium 1.20.2 wrote for cluster east, and what its kvstoremesh made of it.
const SOURCE: &str = include_str!("../../wire/testdata/apiserver-mode.txt");
const MIRROR: &str = include_str!("../../wire/testdata/kvstoremesh-mirror.txt");
const WITHIN: Duration = Duration::from_secs(60);

/// A process, ended when it goes out of scope.
struct Process(Child);

struct Authority(CertifiedIssuer<'static, KeyPair>, PathBuf);

/// A store with TLS that asks every client for a certificate.
struct Store {
    process: Process,
    port: u16,
    dir: PathBuf,
}

// === impl Process ===

impl Process {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        Self(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop((self.0.kill(), self.0.wait()));
    }
}

// === impl Authority ===

impl Authority {
    fn new(dir: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "mesh-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(dir.join("ca.crt"), issuer.pem()).unwrap();
        Self(issuer, dir.to_owned())
    }

    /// A certificate for this name, and its key.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let (cert_path, key_path) = (self.1.join(format!("{name}.crt")), self.1.join(format!("{name}.key")));
        std::fs::write(&cert_path, certificate.pem()).unwrap();
        std::fs::write(&key_path, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key_path, std::fs::Permissions::from_mode(0o600)).unwrap();
        (cert_path, key_path)
    }

    fn path(&self) -> PathBuf {
        self.1.join("ca.crt")
    }

    /// A client file, as Cilium has it.
    fn client_file(&self, path: &Path, port: u16, name: &str) {
        let (cert, key) = self.issue(name);
        let text = format!(
            "endpoints:\n- https://127.0.0.1:{port}\ntrusted-ca-file: {}\ncert-file: {}\nkey-file: {}\n",
            self.path().display(),
            cert.display(),
            key.display()
        );
        std::fs::write(path, text).unwrap();
    }
}

// === impl Store ===

impl Store {
    fn start(authority: &Authority, dir: PathBuf) -> Self {
        std::fs::create_dir_all(&dir).unwrap();
        let port = free_port();
        let process = Self::spawn(authority, &dir, port);
        Self { process, port, dir }
    }

    fn spawn(authority: &Authority, dir: &Path, port: u16) -> Process {
        let (cert, key) = authority.issue("server");
        let mut command = Command::new(Binaries::beside_us().unwrap().causeway);
        command
            .args(["kvstore", "serve", "--client-cert-auth"])
            .arg(format!("--data-dir={}", dir.join("data").display()))
            .arg(format!("--listen-client-urls=https://127.0.0.1:{port}"))
            .arg(format!("--cert-file={}", cert.display()))
            .arg(format!("--key-file={}", key.display()))
            .arg(format!("--trusted-ca-file={}", authority.path().display()));
        Process::start(&mut command, &dir.join("log"))
    }

    fn crash_and_start(&mut self, authority: &Authority) {
        drop((self.process.0.kill(), self.process.0.wait()));
        self.process = Self::spawn(authority, &self.dir, self.port);
    }

    async fn client(&self, authority: &Authority, name: &str) -> Client {
        let (cert, key) = authority.issue(name);
        let read = |path: &Path| std::fs::read(path).unwrap();
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(read(&authority.path())))
            .identity(Identity::from_pem(read(&cert), read(&key)));
        let began = Instant::now();
        loop {
            let options = ConnectOptions::new().with_tls(tls.clone());
            if let Ok(mut client) = Client::connect([format!("https://127.0.0.1:{}", self.port)], Some(options)).await
                && client.get("cilium/.heartbeat", None).await.is_ok()
            {
                return client;
            }
            assert!(began.elapsed() < WITHIN, "{}", std::fs::read_to_string(self.dir.join("log")).unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Keys and values of a dump. What is not text is left in its base64: kvstoremesh copies bytes.
fn dump(text: &str) -> BTreeMap<String, String> {
    let blocks = text.split("\n\n").filter_map(|block| {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Some((field("key ")?.to_owned(), field("value ")?.to_owned()))
    });
    blocks.collect()
}

/// Users and roles as Cilium's `etcdinit` makes them; auth last.
async fn etcdinit(client: &mut Client, cluster: &str) {
    let local = [".heartbeat", "cache/", "cluster-config/", "synced/"].map(|path| format!("cilium/{path}"));
    let remote = ["cilium/.heartbeat".to_owned(), "cilium/state/".to_owned(), format!("cilium/synced/{cluster}/")];
    for (role, prefixes) in [("local", &local[..]), ("remote", &remote[..])] {
        client.role_add(role).await.unwrap();
        for prefix in prefixes {
            client.role_grant_permission(role, Permission::read(prefix.as_str()).with_prefix()).await.unwrap();
        }
    }
    let config = Permission::read(format!("cilium/cluster-config/{cluster}"));
    client.role_grant_permission("remote", config).await.unwrap();
    let admin = format!("admin-{cluster}");
    for (user, role) in [("root", "root"), (admin.as_str(), "root"), ("remote", "remote")] {
        client.user_add(user, "", Some(UserAddOptions::new().with_no_pwd())).await.unwrap();
        client.user_grant_role(user, role).await.unwrap();
    }
    client.auth_enable().await.unwrap();
}

fn is_ready(port: u16) -> bool {
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut answer = String::new();
    let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\r\n");
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
}

#[test]
fn stock_kvstoremesh_mirrors_over_tls_what_its_user_may_read() {
    crate::beside_meshes(async {
        let peers = Binaries::beside_us().unwrap().causeway.parent().unwrap().parent().unwrap().join("peers");
        let program = peers.join("clustermesh-apiserver");
        if !program.exists() {
            println!(
                "SKIP: there is no target/peers/clustermesh-apiserver; cargo xtask interop builds it in about five minutes"
            );
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path());
        let mut east = Store::start(&authority, dir.path().join("east"));
        let west = Store::start(&authority, dir.path().join("west"));
        let (mut root, mut local) = (east.client(&authority, "root").await, west.client(&authority, "root").await);
        etcdinit(&mut root, "east").await;
        etcdinit(&mut local, "west").await;
        for (key, value) in dump(SOURCE) {
            root.put(key, value, None).await.unwrap();
        }
        root.put("cilium/not-granted", "secret", None).await.unwrap();

        std::fs::create_dir(dir.path().join("mesh")).unwrap();
        authority.client_file(&dir.path().join("mesh/east"), east.port, "remote");
        authority.client_file(&dir.path().join("local.yaml"), west.port, "admin-west");
        let health = free_port();
        let mut command = Command::new(program);
        command
            .args(["kvstoremesh", "--cluster-name=west", "--cluster-id=1", "--enable-heartbeat", "--enable-gops=false"])
            .arg(format!("--kvstore-opt=etcd.config={}", dir.path().join("local.yaml").display()))
            .arg(format!("--clustermesh-config={}", dir.path().join("mesh").display()))
            .arg(format!("--health-port={health}"))
            .arg(format!("--api-serve-addr=127.0.0.1:{}", free_port()))
            .arg(format!("--shell-sock-path={}", dir.path().join("shell.sock").display()));
        let log = dir.path().join("kvstoremesh.log");
        let _mesh = Process::start(&mut command, &log);
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let began = Instant::now();
        while !is_ready(health) {
            assert!(began.elapsed() < WITHIN, "it does not become ready: {}", said());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let wanted: BTreeMap<_, _> =
            dump(MIRROR).into_iter().filter(|(key, _)| key.starts_with("cilium/cache/")).collect();
        let found = async |client: &mut Client| {
            let answer = client.get("cilium/cache/", Some(GetOptions::new().with_prefix())).await.unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            answer.kvs().iter().map(|kv| (text(kv.key()), text(kv.value()))).collect::<BTreeMap<_, _>>()
        };
        assert!(wanted.len() >= 30, "{} keys are compared", wanted.len());
        assert_eq!(found(&mut local).await, wanted);

        // It may read no more than that, and write nothing.
        let mut remote = east.client(&authority, "remote").await;
        for refused in [
            remote.get("cilium/not-granted", None).await.map(drop),
            remote.get("cilium/", Some(GetOptions::new().with_prefix())).await.map(drop),
            remote.put("cilium/state/nodes/v1/east/mine", "", None).await.map(drop),
        ] {
            assert!(refused.unwrap_err().to_string().contains("etcdserver: permission denied"));
        }

        // The source dies and comes back; what is new afterwards is mirrored, too.
        east.crash_and_start(&authority);
        let mut root = east.client(&authority, "root").await;
        root.put("cilium/state/nodes/v1/east/late", "{}", None).await.unwrap();
        let began = Instant::now();
        while !found(&mut local).await.contains_key("cilium/cache/nodes/v1/east/late") {
            assert!(began.elapsed() < WITHIN, "the new node is not mirrored: {}", said());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(found(&mut local).await.len(), wanted.len() + 1);
    });
}
