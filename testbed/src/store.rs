//! A cluster's store in a namespace of its own: ours, or Debian's etcd.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
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
        let peer = "http://127.0.0.1:2380";
        let mut words = match kind {
            StoreKind::Embedded => {
                vec![binaries.causeway.display().to_string(), "kvstore".to_owned(), "serve".to_owned()]
            }
            StoreKind::Etcd => vec!["etcd".to_owned()],
        };
        for (flag, value) in [
            ("name", cluster.name.as_str()),
            ("data-dir", &data_dir.display().to_string()),
            ("listen-client-urls", &endpoint),
            ("advertise-client-urls", &endpoint),
            ("listen-peer-urls", peer),
            ("initial-advertise-peer-urls", peer),
            ("initial-cluster", &format!("{}={peer}", cluster.name)),
            // Without a token of its own a wiped store would come back with the same cluster id.
            ("initial-cluster-token", &token),
            // Users of the demo may leave it running.
            ("auto-compaction-retention", "1h"),
        ] {
            words.push(format!("--{flag}={value}"));
        }
        // etcd refuses group-readable data.
        std::fs::create_dir_all(&data_dir)?;
        std::fs::set_permissions(&data_dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
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

    /// What etcdctl prints: the witness that knows nothing of us.
    ///
    /// # Errors
    ///
    /// When etcdctl fails.
    pub fn etcdctl(&self, words: &[&str]) -> Result<String> {
        let endpoints = format!("--endpoints={}", self.endpoint);
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
