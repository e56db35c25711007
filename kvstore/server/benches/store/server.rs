//! One side: a server process on a data directory of its own, and what it costs.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::client::Client;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Etcd,
    Ours,
}

/// Peer, ours, ours, peer, ...: each pair is of neighbours.
pub(crate) const PAIR: [Side; 2] = [Side::Etcd, Side::Ours];

/// How clients come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Plain,
    Tls,
}

pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    side: Side,
    dir: TempDir,
    cgroup: Option<PathBuf>,
    entry: Entry,
}

/// Hundredths of a second, as the kernel counts.
const TICK: Duration = Duration::from_millis(10);

// === impl Server ===

impl Server {
    pub(crate) fn start(side: Side) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("causeway-bench-").tempdir()?;
        Self::start_in(side, dir, None, Entry::Plain)
    }

    pub(crate) fn start_by(side: Side, entry: Entry) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("causeway-bench-").tempdir()?;
        Self::start_in(side, dir, None, entry)
    }

    /// A server that writes its number to this file before it begins.
    pub(crate) fn start_within(side: Side, cgroup: PathBuf) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("causeway-bench-").tempdir()?;
        Self::start_in(side, dir, Some(cgroup), Entry::Plain)
    }

    fn start_in(side: Side, dir: TempDir, cgroup: Option<PathBuf>, entry: Entry) -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let peer_port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let url = format!("{}://127.0.0.1:{port}", if entry == Entry::Tls { "https" } else { "http" });
        let peer = format!("http://127.0.0.1:{peer_port}");
        let program = binary(if side == Side::Etcd { "CAUSEWAY_BENCH_ETCD" } else { "CAUSEWAY_BENCH_CAUSEWAY" })?;
        let mut command = match &cgroup {
            None => Command::new(program),
            Some(members) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(members).arg(program);
                shell
            }
        };
        if side == Side::Ours {
            command.args(["kvstore", "serve"]);
        }
        command
            .args(["--name=bench", "--initial-cluster-token=bench", "--quota-backend-bytes=8589934592"])
            .arg(format!("--data-dir={}", dir.path().join("data").display()))
            .arg(format!("--listen-client-urls={url}"))
            .arg(format!("--advertise-client-urls={url}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=bench={peer}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if entry == Entry::Tls {
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
            for (flag, name, text) in [
                ("--cert-file", "server.crt", made.cert.pem()),
                ("--key-file", "server.key", made.signing_key.serialize_pem()),
            ] {
                let path = dir.path().join(name);
                std::fs::write(&path, text)?;
                std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
                command.arg(format!("{flag}={}", path.display()));
            }
        }
        let child = command.spawn().with_context(|| format!("start {side:?}"))?;
        let mut server = Self { child, port, side, dir, cgroup, entry };
        server.wait()?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it and starts it on the same data: how long until it answered a linearizable read.
    pub(crate) fn crash_and_restart(self) -> Result<(Self, Duration)> {
        let mut this = self;
        this.child.kill()?;
        this.child.wait()?;
        let side = this.side;
        let dir = std::mem::replace(&mut this.dir, tempfile::tempdir()?);
        let began = Instant::now();
        let server = Self::start_in(side, dir, this.cgroup.take(), Entry::Plain)?;
        Ok((server, began.elapsed()))
    }

    /// CPU that it has used.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, after) = stat.rsplit_once(')').context("the name ends with a bracket")?;
        let field = |n: usize| after.split_whitespace().nth(n).and_then(|word| word.parse::<u32>().ok());
        let (user, system) = field(11).zip(field(12)).context("fields 14 and 15 are times")?;
        Ok(TICK * (user + system))
    }

    /// Anonymous and file-backed resident memory, in megabytes.
    pub(crate) fn memory(&self) -> Result<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a size")?;
            Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? * 1024.0 / 1e6)
        };
        Ok((field("RssAnon:")?, field("RssFile:")?))
    }

    fn wait(&mut self) -> Result<()> {
        let began = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        loop {
            ensure!(self.child.try_wait()?.is_none(), "{:?} ended", self.side);
            ensure!(began.elapsed() < Duration::from_secs(60), "{:?} does not answer", self.side);
            let listens = std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            if listens && self.entry == Entry::Tls {
                // The first request waits for the rest.
                return Ok(());
            }
            let answered = runtime.block_on(async {
                let client = Client::connect(&self.url()).await?;
                client.get(b"a").await
            });
            if answered.is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary(variable: &str) -> Result<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .with_context(|| format!("{variable} names no binary: run cargo xtask bench store"))
}
