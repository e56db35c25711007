//! Canaries planted wherever a secret may stand: none of them is in a log, not even at debug level, nor in the archive of
//! `causeway bugtool`. And what a shell asks for: completion, manual pages.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::Binaries;

const PASSWORD: &str = "canary-etcd-password-7d1f";
const OTHERS: [&str; 4] = [
    "canary-environment-token-55a2",
    "canary-url-password-91cc",
    "Q0FOQVJZLUtFWS1NQVRFUklBTA",
    "canary-option-secret-20be",
];

/// Ends with its test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn no_secret_leaves_by_a_log_or_by_an_archive() {
    let _beside = crate::beside();
    if !Path::new("/usr/bin/etcd").exists() {
        println!("SKIP secrets: etcd is not installed; `cargo xtask setup` installs it");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let _etcd = etcd_with_password(folder.path()).expect("etcd with users");
    let log = operator_at_debug_level(folder.path()).expect("an operator that logs in");
    let all: Vec<&str> = OTHERS.into_iter().chain([PASSWORD]).collect();
    assert!(log.contains("level=debug") && log.contains("leading"), "control: it works and says much: {log}");
    for canary in &all {
        assert!(!log.contains(canary), "{canary} is in the log");
    }
    let (names, content) = archive(folder.path()).expect("an archive");
    assert!(names.iter().any(|name| name.ends_with("system/links.txt")), "{names:?}");
    assert!(content.contains("username: root") && content.contains("REDACTED"), "control: the files are in it");
    for canary in &all {
        assert!(!content.contains(canary), "{canary} is in the archive");
    }
}

pub(crate) fn port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

fn endpoint_file(folder: &Path) -> std::path::PathBuf {
    folder.join("endpoint")
}

fn etcd_with_password(folder: &Path) -> Result<Running> {
    let (client, peer) = (format!("http://127.0.0.1:{}", port()), format!("http://127.0.0.1:{}", port()));
    std::fs::write(endpoint_file(folder), &client)?;
    let mut etcd = Command::new("etcd");
    etcd.arg(format!("--data-dir={}", folder.join("data").display()));
    etcd.args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")]);
    etcd.args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")]);
    etcd.arg(format!("--initial-cluster=default={peer}")).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(etcd.spawn().context("start etcd")?);
    let ctl = |words: &[&str]| {
        let mut ctl = Command::new("etcdctl");
        let done = ctl.env("ETCDCTL_API", "3").arg(format!("--endpoints={client}")).args(words).output();
        done.is_ok_and(|output| output.status.success())
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !ctl(&["endpoint", "health"]) {
        ensure!(Instant::now() < deadline, "etcd does not answer");
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(ctl(&["user", "add", &format!("root:{PASSWORD}")]), "add a user");
    ensure!(ctl(&["user", "grant-role", "root", "root"]), "grant a role");
    ensure!(ctl(&["auth", "enable"]), "enable authentication");
    Ok(running)
}

/// Its log after it has become leader, with canaries in its configuration and environment.
fn operator_at_debug_level(folder: &Path) -> Result<String> {
    let endpoint = std::fs::read_to_string(endpoint_file(folder))?;
    let config = folder.join("etcd.config");
    std::fs::write(&config, format!("endpoints: [\"{endpoint}\"]\nusername: root\npassword: {PASSWORD}\n"))?;
    let log = folder.join("operator.log");
    let mut operator = Command::new(Binaries::beside_us()?.causeway);
    operator.args(["operator", "--cluster-name=east", "--cluster-id=1", "--log-level=debug"]);
    operator.arg(format!("--kvstore-opt=etcd.config={}", config.display()));
    operator.arg(format!("--operator-api-serve-addr=127.0.0.1:{}", port()));
    operator.env("CAUSEWAY_REGISTRY_TOKEN", OTHERS[0]).stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
    let _running = Running(operator.spawn().context("start an operator")?);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(&log)?;
        if text.contains("msg=leading") {
            // A while longer: it works now.
            std::thread::sleep(Duration::from_secs(1));
            return Ok(std::fs::read_to_string(&log)?);
        }
        ensure!(Instant::now() < deadline, "the operator does not lead: {text}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Names and content of an archive that canaries were offered to.
fn archive(folder: &Path) -> Result<(Vec<String>, String)> {
    let mesh = folder.join("west");
    std::fs::write(&mesh, format!("endpoints: [\"http://root:{}@10.0.0.1:2379\"]\n", OTHERS[1]))?;
    let key = folder.join("client.key");
    std::fs::write(&key, format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", OTHERS[2]))?;
    let options = folder.join("arguments.txt");
    // What one file calls a secret stands elsewhere without a name.
    let leak = folder.join("leak.txt");
    std::fs::write(&options, format!("agent --hubble-secret {} --other x\nCAUSEWAY_TOKEN={}\n", OTHERS[3], OTHERS[0]))?;
    std::fs::write(&leak, format!("dial {PASSWORD} {} {} {}\n", OTHERS[0], OTHERS[1], OTHERS[3]))?;
    let mut bugtool = Command::new(Binaries::beside_us()?.causeway);
    bugtool.args(["bugtool", "--output=tar", "--archive-prefix=test", "--socket-path=/nowhere.sock"]);
    bugtool.arg(format!("--tmp={}", folder.display()));
    for file in [&mesh, &key, &options, &leak, &folder.join("etcd.config"), &folder.join("operator.log")] {
        bugtool.arg("--include").arg(file);
    }
    let output = bugtool.stdin(Stdio::null()).output().context("run bugtool")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = String::from_utf8(output.stdout)?.trim().to_owned();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path)?.permissions()) & 0o777;
    ensure!(mode == 0o600, "the archive has mode {mode:o}");
    let listed = Command::new("tar").args(["-tf", &path]).output().context("run tar")?;
    let mut content = String::new();
    let mut raw = Vec::new();
    std::fs::File::open(&path)?.read_to_end(&mut raw)?;
    content.push_str(&String::from_utf8_lossy(&raw));
    let names = String::from_utf8(listed.stdout)?.lines().map(str::to_owned).collect();
    Ok((names, content))
}

#[test]
fn shells_are_completed_and_manual_pages_written() {
    let _beside = crate::beside();
    let binary = Binaries::beside_us().expect("binaries are built").causeway;
    let run = |words: &[&str]| {
        let output = Command::new(&binary).args(words).stdin(Stdio::null()).output().expect("it starts");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for (shell, mark) in [
        ("bash", "complete -F _causeway"),
        ("zsh", "#compdef causeway"),
        ("fish", "complete -c causeway"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let (ok, text) = run(&["completion", shell]);
        assert!(ok && text.contains(mark) && text.contains("troubleshoot"), "{shell}: {text:.200}");
    }
    assert!(!run(&["completion", "tcsh"]).0);
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    assert!(run(&["man", pages.to_str().unwrap()]).0);
    for page in ["causeway.1", "causeway-status.1", "causeway-policy-explain.1", "causeway-agent.1"] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".TH"), "{page}");
    }
    let (ok, text) = run(&["man"]);
    assert!(ok && text.contains(".TH causeway"), "{text:.200}");
    let (ok, text) = run(&["bugtool", "--dry-run"]);
    assert!(ok && text.contains("statedb/rejected.txt") && text.contains("ip -d -s link"), "{text}");
}
