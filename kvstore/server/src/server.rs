//! A running store: its threads, and how it ends.

mod tls;

use std::{
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use runtime::Tasks;

use crate::{
    backups::Schedule,
    config::Config,
    core::Limits,
    disk::{RealFiles, WalOptions},
    driver::{Driver, Handle, RecoverError, Stopped, recover},
    edge::{ListenError, Listener, Served, TlsError, Workers},
    identity::identity,
    metrics::Metrics,
    passwords::Passwords,
    pb::etcdserverpb::Member,
    status::Shared,
    tokens::{self, TokenError},
};

/// One member leads as soon as its vote is on disk.
const LEADS_WITHIN: Duration = Duration::from_secs(30);

/// Why a store does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Data(#[from] RecoverError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Tokens(#[from] TokenError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(
        "{} holds a member of cluster {found:x}, and --initial-cluster-token {token:?} with --initial-advertise-peer-urls makes \
         cluster {wanted:x}: leave the token out to serve what is there, or name another --data-dir",
        data_dir.display()
    )]
    OtherCluster { data_dir: PathBuf, token: String, found: u64, wanted: u64 },
    #[error("snapshots cannot be saved in {}", dir.display())]
    Backups { dir: PathBuf, source: std::io::Error },
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    #[error("the store ended while it started")]
    Stopped(#[source] Stopped),
    #[error("the store has no leader after {} s: its disk may hang", LEADS_WITHIN.as_secs())]
    NoLeader,
}

/// Dropping it stops it.
pub struct Server {
    handle: Handle,
    driver: Option<JoinHandle<Result<(), Stopped>>>,
    workers: Workers,
    backups: Option<Schedule>,
    urls: Vec<String>,
}

// === impl Server ===

impl Server {
    /// Opens the data directory, recovers what is in it, and listens when there is a leader.
    ///
    /// # Errors
    /// When the directory cannot be used, a URL cannot be listened on, or tokens cannot be made as asked for.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let tokens = tokens::parse(&config.auth_token, config.auth_token_ttl)?;
        let limits = Limits {
            max_request_bytes: config.max_request_bytes,
            max_txn_ops: config.max_txn_ops,
            quota_bytes: config.quota_backend_bytes,
            notify_every: config.watch_progress_notify_interval,
        };
        let options = WalOptions {
            segment_bytes: config.wal_segment_bytes,
            sync: !config.unsafe_no_fsync,
            ..WalOptions::default()
        };
        let metrics = Metrics::new();
        let given = tls::given(&config, &metrics)?;
        let fresh = || identity(config.initial_cluster_token.as_deref(), &config.initial_advertise_peer_urls);
        let recovered = recover((Arc::new(RealFiles), &config.data_dir), options, limits, fresh)?;
        check_cluster(&config, recovered.core.state().cluster)?;
        let tls = given.or(tls::made(&config, &metrics)?);
        let bind = |urls: &[String]| -> Result<Vec<_>, _> {
            urls.iter().map(|url| Listener::bind(url, tls.as_ref())).collect()
        };
        let mut listeners = bind(&config.listen_client_urls)?;
        let urls: Vec<String> = listeners.iter().map(Listener::url).collect();
        listeners.extend(bind(&config.listen_metrics_urls)?.into_iter().map(Listener::only_pages));
        let client_urls = if config.advertise_client_urls.is_empty() { &urls } else { &config.advertise_client_urls };
        let member = Member {
            id: recovered.core.state().member,
            name: config.name.clone(),
            peer_ur_ls: config.initial_advertise_peer_urls.clone(),
            client_ur_ls: client_urls.clone(),
            is_learner: false,
        };
        let tasks = Tasks::default();
        let shared = Shared::with_metrics(member, config.max_request_bytes, metrics, tasks.clone());
        let shared = Arc::new(shared.with(tokens, Passwords::new(config.bcrypt_cost)));
        let driver = Driver::new(recovered, config.auto_compaction.clone(), shared.clone());
        let handle = driver.handle();
        let driver = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                let ended = driver.run();
                if let Err(error) = &ended {
                    tracing::error!(error = error as &dyn std::error::Error, "the store stops");
                }
                ended
            })
            .map_err(StartError::Thread)?;
        let served = Served::new(handle.clone(), shared.clone());
        let mut server = Self { handle, driver: Some(driver), workers: Workers::new(tasks), backups: None, urls };
        server.wait_for_leader(&shared)?;
        server.workers.start(config.workers.max(1), &served, listeners).map_err(StartError::Thread)?;
        if let Some(backups) = config.backups {
            let dir = backups.dir.clone();
            let begun = Schedule::start(backups, server.handle.clone());
            server.backups = Some(begun.map_err(|source| StartError::Backups { dir, source })?);
        }
        Ok(server)
    }

    /// Where clients reach it.
    pub fn client_urls(&self) -> &[String] {
        &self.urls
    }

    /// The store's thread ended by itself: its disk failed, or its log is not to be applied.
    pub fn has_ended(&self) -> bool {
        self.driver.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Stops it: what was acknowledged is on disk already.
    ///
    /// # Errors
    /// Why it had ended before.
    pub fn stop(mut self) -> Result<(), Stopped> {
        self.end()
    }

    fn wait_for_leader(&mut self, shared: &Shared) -> Result<(), StartError> {
        let began = Instant::now();
        while !shared.has_leader() {
            if self.has_ended() {
                return Err(self.end().err().map_or(StartError::NoLeader, StartError::Stopped));
            }
            if began.elapsed() > LEADS_WITHIN {
                return Err(StartError::NoLeader);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stopped> {
        self.handle.stop();
        let ended = match self.driver.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(_)) => Err(Stopped::Log("the store's thread ended by a mistake in it".to_owned())),
            None => Ok(()),
        };
        self.workers.stop();
        self.backups = None;
        ended
    }
}

/// etcd goes on with whatever lies there. But who names a cluster means that one.
fn check_cluster(config: &Config, found: u64) -> Result<(), StartError> {
    let Some(token) = config.initial_cluster_token.clone() else { return Ok(()) };
    let wanted = identity(Some(&token), &config.initial_advertise_peer_urls).cluster_id;
    if wanted == found {
        return Ok(());
    }
    Err(StartError::OtherCluster { data_dir: config.data_dir.clone(), token, found, wanted })
}

impl Drop for Server {
    fn drop(&mut self) {
        // Who wants to know calls `stop`.
        let _ = self.end();
    }
}
