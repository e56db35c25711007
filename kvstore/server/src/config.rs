//! How a store is run. Names and defaults are etcd's.

use std::{path::PathBuf, time::Duration};

use crate::{backups::Backups, disk::WalOptions, driver::AutoCompaction, edge::TlsConfig};

/// etcd's default, and its recommended bound.
const QUOTA_BYTES: u64 = 2 << 30;
const MAX_REQUEST_BYTES: usize = 3 << 19;
const MAX_TXN_OPS: usize = 128;
const NOTIFY_EVERY: Duration = Duration::from_secs(600);

/// What `https://` URLs show.
#[derive(Debug, Clone)]
pub enum TlsSource {
    /// Certificates of somebody else's making.
    Files(TlsConfig),
    /// A certificate that is made beside the data, for so many years.
    Auto { years: u32 },
}

#[derive(Debug, Clone)]
pub struct Config {
    /// The member's name, as member lists show it.
    pub name: String,
    pub data_dir: PathBuf,
    /// `http://IP:PORT`, `https://IP:PORT` or `unix://PATH`; port 0 takes one that is free.
    pub listen_client_urls: Vec<String>,
    /// Where only health and metrics are served: no request for keys, whatever it may show.
    pub listen_metrics_urls: Vec<String>,
    /// For `https://` URLs.
    pub tls: Option<TlsSource>,
    /// What member lists tell clients; what is listened on, when empty.
    pub advertise_client_urls: Vec<String>,
    /// What member lists tell peers. One member listens on none.
    pub initial_advertise_peer_urls: Vec<String>,
    /// With a token the cluster's id follows from it, as in etcd; without one it is random.
    pub initial_cluster_token: Option<String>,
    /// Accounted bytes beyond which writes are refused.
    pub quota_backend_bytes: u64,
    pub max_request_bytes: usize,
    pub max_txn_ops: usize,
    pub watch_progress_notify_interval: Duration,
    pub auto_compaction: AutoCompaction,
    /// Snapshots on a schedule.
    pub backups: Option<Backups>,
    /// Acknowledges what is not on disk: for tests only.
    pub unsafe_no_fsync: bool,
    /// Of one segment of the log; when there are a few, the state is written out and the log begins anew. Small ones are
    /// for tests.
    pub wal_segment_bytes: u64,
    /// How users' tokens are made: `simple`, or `jwt,sign-method=...,priv-key=...`.
    pub auth_token: String,
    /// How long a simple token lives after it was used.
    pub auth_token_ttl: Duration,
    /// How long a password's hash takes: each step doubles it.
    pub bcrypt_cost: u32,
    /// Threads that serve clients, beside the one that writes.
    pub workers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            data_dir: PathBuf::from("default.etcd"),
            listen_client_urls: vec!["http://127.0.0.1:2379".to_owned()],
            listen_metrics_urls: Vec::new(),
            tls: None,
            advertise_client_urls: Vec::new(),
            initial_advertise_peer_urls: vec!["http://localhost:2380".to_owned()],
            initial_cluster_token: None,
            quota_backend_bytes: QUOTA_BYTES,
            max_request_bytes: MAX_REQUEST_BYTES,
            max_txn_ops: MAX_TXN_OPS,
            watch_progress_notify_interval: NOTIFY_EVERY,
            auto_compaction: AutoCompaction::Off,
            backups: None,
            unsafe_no_fsync: false,
            wal_segment_bytes: WalOptions::default().segment_bytes,
            auth_token: "simple".to_owned(),
            auth_token_ttl: Duration::from_secs(300),
            bcrypt_cost: crate::passwords::DEFAULT_COST,
            workers: std::thread::available_parallelism().map_or(2, usize::from).min(8),
        }
    }
}
