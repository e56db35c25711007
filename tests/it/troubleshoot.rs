//! `causeway troubleshoot` on TLS: a good connection in every part, and each part broken in turn.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use testbed::Binaries;

use crate::secrets::{Running, port};

#[test]
fn a_tls_connection_is_explained_part_by_part() {
    let _beside = crate::beside();
    if !Path::new("/usr/bin/etcd").exists() {
        println!("SKIP troubleshoot: etcd is not installed; `cargo xtask setup` installs it");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let files = Files::make(folder.path()).expect("certificates");
    let (_etcd, endpoint) = etcd(folder.path(), &files).expect("etcd with TLS");
    let check = |ca: &Path, cert: &Path, key: &Path, ok: bool, expected: &[&str]| {
        let (success, text) = troubleshoot(folder.path(), &endpoint, ca, cert, key).expect("it runs");
        for part in expected {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
        assert_eq!(success, ok, "{text}");
    };
    let Files { ca, client, key, other_ca, expired, .. } = &files;
    check(
        ca,
        client,
        key,
        true,
        &[
            "✅ name resolved to 127.0.0.1",
            "TLS TLSv1_3, TLS13_",
            "subject \"CN=server\", issuer \"CN=mesh-ca\", valid from ",
            "Root CA:",
            "subject \"CN=remote\"",
            "signed by CN=mesh-ca",
            "✅ private key in ",
            "✅ etcd 3.",
            "connected, cluster ID",
            "⚠️  no cilium/.heartbeat: does the cluster's operator run?",
        ],
    );
    check(other_ca, client, key, false, &["❌ TLS: ", "issuer \"CN=mesh-ca\" is not in the root CA file"]);
    check(ca, expired, key, false, &["❌ serial ", ": expired "]);
    check(ca, client, ca, false, &["❌ private key in "]);
    check(ca, Path::new("/nowhere.crt"), key, false, &["❌ /nowhere.crt: "]);
}

struct Files {
    ca: PathBuf,
    server: PathBuf,
    client: PathBuf,
    key: PathBuf,
    other_ca: PathBuf,
    expired: PathBuf,
}

impl Files {
    /// All leaves share one key, which is what matters least here.
    fn make(folder: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let authority = |name: &str| -> Result<CertifiedIssuer<'static, KeyPair>> {
            let mut params = CertificateParams::new(Vec::new())?;
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
        };
        let (ca, other) = (authority("mesh-ca")?, authority("other-ca")?);
        let leaf = |name: &str, until: Option<i32>| -> Result<String> {
            let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
            params.distinguished_name.push(DnType::CommonName, name);
            if let Some(year) = until {
                params.not_before = date_time_ymd(year - 1, 1, 1);
                params.not_after = date_time_ymd(year, 1, 1);
            }
            Ok(params.signed_by(&key, &ca)?.pem())
        };
        let write = |name: &str, text: String| -> Result<PathBuf> {
            let path = folder.join(name);
            std::fs::write(&path, text)?;
            // Private keys must be nobody else's business, and it hurts nothing else.
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            Ok(path)
        };
        Ok(Self {
            ca: write("ca.crt", ca.pem())?,
            server: write("server.crt", leaf("server", None)?)?,
            client: write("client.crt", leaf("remote", None)?)?,
            key: write("leaf.key", key.serialize_pem())?,
            other_ca: write("other-ca.crt", other.pem())?,
            expired: write("expired.crt", leaf("remote", Some(2020))?)?,
        })
    }
}

fn etcd(folder: &Path, files: &Files) -> Result<(Running, String)> {
    let (client, peer) = (format!("https://127.0.0.1:{}", port()), format!("http://127.0.0.1:{}", port()));
    let mut etcd = Command::new("etcd");
    etcd.arg(format!("--data-dir={}", folder.join("data").display()));
    etcd.args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")]);
    etcd.args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")]);
    etcd.arg(format!("--initial-cluster=default={peer}")).arg("--client-cert-auth");
    etcd.arg(format!("--trusted-ca-file={}", files.ca.display()));
    etcd.arg(format!("--cert-file={}", files.server.display())).arg(format!("--key-file={}", files.key.display()));
    let running = Running(etcd.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start etcd")?);
    let address = client.trim_start_matches("https://").to_owned();
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(&address).is_err() {
        ensure!(Instant::now() < deadline, "etcd does not listen");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok((running, client))
}

fn troubleshoot(folder: &Path, endpoint: &str, ca: &Path, cert: &Path, key: &Path) -> Result<(bool, String)> {
    let config = folder.join("etcd.config");
    let (ca, cert, key) = (ca.display(), cert.display(), key.display());
    let text = format!("endpoints: [\"{endpoint}\"]\ntrusted-ca-file: {ca}\ncert-file: {cert}\nkey-file: {key}\n");
    std::fs::write(&config, text)?;
    let mut command = Command::new(Binaries::beside_us()?.causeway);
    command.args(["troubleshoot", "kvstore", "--timeout=3s", "--etcd-config"]).arg(config);
    let output = command.stdin(Stdio::null()).output().context("run it")?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}
