//! A cluster's store: Debian's etcd in a namespace of its own.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{ClusterPlan, Ledger, Plan, Process, process};

/// A running etcd.
#[derive(Debug, Serialize, Deserialize)]
pub struct Store {
    /// Where clients reach it.
    pub endpoint: String,
    /// Its data.
    pub data_dir: PathBuf,
    /// The process.
    pub process: Process,
    netns: String,
}

impl Store {
    /// Starts a cluster's etcd and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not answer within ten seconds.
    pub fn start(plan: &Plan, cluster: &ClusterPlan, ledger: &mut Ledger) -> Result<Self> {
        let home = plan.dir.join(&cluster.name).join("etcd");
        let endpoint = format!("http://{}:2379", cluster.store_ip);
        let data_dir = home.join("data");
        let token = format!("{}-{}", plan.run_id, cluster.name);
        let peer = "http://127.0.0.1:2380";
        let mut words = vec!["etcd".to_owned()];
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
        ] {
            words.push(format!("--{flag}={value}"));
        }
        // etcd refuses group-readable data.
        std::fs::create_dir_all(&data_dir)?;
        std::fs::set_permissions(&data_dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        let netns = cluster.store_netns.clone();
        let process = Process::start(ledger, "etcd", &netns, &home.join("etcd.log"), &words)?;
        let mut store = Self { endpoint, data_dir, process, netns };
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
        let member = self.data_dir.join("member");
        std::fs::remove_dir_all(&member).with_context(|| format!("remove {}", member.display()))
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
        process::wait_until("etcd answers", Duration::from_secs(10), || {
            self.process.check()?;
            self.etcdctl(&["endpoint", "health"]).map(|_| ())
        })
    }
}
