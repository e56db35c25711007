//! A cluster's store in a namespace of its own: ours, or Debian's etcd.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{Binaries, ClusterPlan, Ledger, Plan, Process, process};

/// What a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum StoreKind {
    /// `causeway kvstore serve`
    #[default]
    Embedded,
    /// Debian's etcd
    Etcd,
}

/// A running store.
#[derive(Debug, Serialize, Deserialize)]
pub struct Store {
    /// Where clients reach it.
    pub endpoint: String,
    /// Its data.
    pub data_dir: PathBuf,
    /// The process.
    pub process: Process,
    kind: StoreKind,
    netns: String,
}

impl Store {
    /// Starts a cluster's store and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not answer within ten seconds.
    pub fn start(plan: &Plan, binaries: &Binaries, cluster: &ClusterPlan, ledger: &mut Ledger) -> Result<Self> {
        let kind = plan.store;
        let home = plan.dir.join(&cluster.name).join("store");
        let endpoint = format!("http://{}:2379", cluster.store_ip);
        let data_dir = home.join("data");
        let token = format!("{}-{}", plan.run_id, cluster.name);
        let words = words(kind, binaries, &cluster.name, &endpoint, &data_dir, &token);
        private_dir(&data_dir)?;
        let netns = cluster.store_netns.clone();
        let process = Process::start(ledger, "store", &netns, &home.join("store.log"), &words)?;
        let mut store = Self { endpoint, data_dir, process, kind, netns };
        store.wait()?;
        Ok(store)
    }

    /// Starts it again on the same data after a [`Process::kill`].
    ///
    /// # Errors
    ///
    /// When it does not answer within ten seconds.
    pub fn restart(&mut self, ledger: &mut Ledger) -> Result<()> {
        self.process.restart(ledger)?;
        self.wait()
    }

    /// Removes its data after a [`Process::kill`]: the next start is an empty store with the same cluster id.
    ///
    /// # Errors
    ///
    /// When the data cannot be removed.
    pub fn wipe(&self) -> Result<()> {
        let parts: &[&str] = match self.kind {
            StoreKind::Embedded => &["wal", "checkpoints"],
            StoreKind::Etcd => &["member"],
        };
        for part in parts.iter().map(|part| self.data_dir.join(part)) {
            std::fs::remove_dir_all(&part).with_context(|| format!("remove {}", part.display()))?;
        }
        Ok(())
    }

    /// Moves to a store of a kind under the same address, as an operator does it: one beside it becomes its copy, and takes
    /// its place.
    ///
    /// # Errors
    ///
    /// When the copy is none, or does not answer in its place.
    pub fn migrate(&mut self, kind: StoreKind, binaries: &Binaries, ledger: &mut Ledger) -> Result<()> {
        let home = self.data_dir.parent().context("data lies in a folder")?.to_owned();
        // A cluster id of its own, and data of its own.
        let moved = (0..).map(|number| format!("moved-{number}")).find(|name| !home.join(name).exists());
        let name = moved.context("there are names enough")?;
        let data_dir = home.join(&name);
        private_dir(&data_dir)?;
        let beside = self.endpoint.replace(":2379", ":2479");
        let at = |endpoint: &str| words(kind, binaries, &name, endpoint, &data_dir, &format!("{}-{name}", self.netns));
        let log = home.join(format!("{name}.log"));
        let mut copy = Process::start(ledger, "store", &self.netns, &log, &at(&beside))?;
        process::wait_until("the copy answers", Duration::from_secs(10), || {
            copy.check()?;
            self.etcdctl_at(&beside, &["endpoint", "health"]).map(|_| ())
        })?;
        let causeway = binaries.causeway.display().to_string();
        let words = ["kvstore", "migrate", "--from", &self.endpoint, "--to", &beside, "--once", "--freeze"];
        let said = process::run(&self.netns, &[&[causeway.as_str()], &words[..]].concat())?;
        ensure!(said.contains("cut over at revision"), "{said}");
        self.process.kill()?;
        copy.stop()?;
        copy.restart_as(ledger, at(&self.endpoint))?;
        (self.process, self.kind, self.data_dir) = (copy, kind, data_dir);
        self.wait()
    }

    /// Writes what it holds to a file.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn save(&self, binaries: &Binaries, file: &Path) -> Result<()> {
        let file = file.display().to_string();
        match self.kind {
            StoreKind::Etcd => self.etcdctl(&["snapshot", "save", &file]).map(|_| ()),
            StoreKind::Embedded => self.ours(binaries, &["snapshot", "save", &file]).map(|_| ()),
        }
    }

    /// Puts what such a file holds in the place of its data after a [`Process::kill`]: under the same cluster id, at the
    /// revision that it had then.
    ///
    /// # Errors
    ///
    /// When the file cannot be restored.
    pub fn go_back(&self, binaries: &Binaries, file: &Path) -> Result<()> {
        let flag = |name: &str| {
            let start = format!("--{name}=");
            let word = self.process.words().iter().find(|word| word.starts_with(&start));
            word.cloned().with_context(|| format!("the store was started without {start}"))
        };
        let file = file.display().to_string();
        let (token, peer) = (flag("initial-cluster-token")?, flag("initial-advertise-peer-urls")?);
        self.wipe()?;
        let beside = self.data_dir.with_extension("restored");
        let dir = format!("--data-dir={}", beside.display());
        let mut words = vec!["snapshot", "restore", &file, &dir, &token, &peer];
        let (name, members) = (flag("name")?, flag("initial-cluster")?);
        match self.kind {
            StoreKind::Etcd => {
                words.extend([name.as_str(), members.as_str()]);
                self.etcdctl(&words)?;
            }
            StoreKind::Embedded => drop(self.ours(binaries, &words)?),
        }
        std::fs::remove_dir_all(&self.data_dir)?;
        std::fs::rename(&beside, &self.data_dir).context("put what was restored in its place")?;
        Ok(())
    }

    /// Writes ten thousand keys that mean nothing: its revision rises by as many.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn age(&self, binaries: &Binaries) -> Result<()> {
        self.ours(binaries, &["check", "datascale", "--load=s"]).map(|_| ())
    }

    fn ours(&self, binaries: &Binaries, words: &[&str]) -> Result<String> {
        let causeway = binaries.causeway.display().to_string();
        let address = format!("--kvstore-opt=etcd.address={}", self.endpoint);
        let all = [&[causeway.as_str(), "kvstore"], words];
        let mut all = all.concat();
        if words[0] != "snapshot" || words[1] == "save" {
            all.push(&address);
        }
        process::run(&self.netns, &all)
    }

    /// What it is.
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// What etcdctl prints: the witness that knows nothing of us.
    ///
    /// # Errors
    ///
    /// When etcdctl fails.
    pub fn etcdctl(&self, words: &[&str]) -> Result<String> {
        self.etcdctl_at(&self.endpoint, words)
    }

    fn etcdctl_at(&self, endpoint: &str, words: &[&str]) -> Result<String> {
        let endpoints = format!("--endpoints={endpoint}");
        let mut all = vec!["env", "ETCDCTL_API=3", "etcdctl", &endpoints, "--dial-timeout=1s", "--command-timeout=2s"];
        all.extend(words);
        process::run(&self.netns, &all)
    }

    fn wait(&mut self) -> Result<()> {
        process::wait_until("the store answers", Duration::from_secs(10), || {
            self.process.check()?;
            self.etcdctl(&["endpoint", "health"]).map(|_| ())
        })
    }
}

/// The command line of a store.
fn words(
    kind: StoreKind,
    binaries: &Binaries,
    name: &str,
    endpoint: &str,
    data_dir: &Path,
    token: &str,
) -> Vec<String> {
    let peer = "http://127.0.0.1:2380";
    let mut words = match kind {
        StoreKind::Embedded => vec![binaries.causeway.display().to_string(), "kvstore".to_owned(), "serve".to_owned()],
        StoreKind::Etcd => vec!["etcd".to_owned()],
    };
    // Two servers of one namespace, and one member has no peers.
    let listen = if endpoint.ends_with(":2479") { "http://127.0.0.1:2480" } else { peer };
    for (flag, value) in [
        ("name", name),
        ("data-dir", &data_dir.display().to_string()),
        ("listen-client-urls", endpoint),
        ("advertise-client-urls", endpoint),
        ("listen-peer-urls", listen),
        ("initial-advertise-peer-urls", peer),
        ("initial-cluster", &format!("{name}={peer}")),
        // Without a token of its own a wiped store would come back with the same cluster id.
        ("initial-cluster-token", token),
        // Users of the demo may leave it running.
        ("auto-compaction-retention", "1h"),
    ] {
        words.push(format!("--{flag}={value}"));
    }
    words
}

/// etcd refuses group-readable data.
fn private_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

impl std::fmt::Display for StoreKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Etcd => "etcd",
        })
    }
}

impl std::str::FromStr for StoreKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "embedded" => Ok(Self::Embedded),
            "etcd" => Ok(Self::Etcd),
            _ => Err(format!("{text:?} is no kind of store: embedded, or etcd")),
        }
    }
}
