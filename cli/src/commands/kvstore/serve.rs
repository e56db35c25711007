//! `causeway kvstore serve`: the embedded store, with etcd's flags.

mod cluster;
mod duration;
mod file;
mod flags;
mod gather;
mod peers;
mod tls;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use kvstore_server::{AutoCompaction, Backups, Config, Server};

use duration::duration;

pub(crate) use gather::gather;

/// How often the process looks whether its store still runs.
const LOOK: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// etcd's configuration in YAML; flags and ETCD_* variables are then ignored
    #[arg(long)]
    config_file: Option<PathBuf>,
    /// The member's name
    #[arg(long, default_value = "default")]
    name: String,
    /// Where its data lies; NAME.store by default
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Where clients are served: http://IP:PORT, https://IP:PORT or unix:///PATH, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:2379")]
    listen_client_urls: Vec<String>,
    /// Where health and metrics are served, beside where clients are
    #[arg(long, value_delimiter = ',')]
    listen_client_http_urls: Vec<String>,
    /// Where nothing but health and metrics is served
    #[arg(long, value_delimiter = ',')]
    listen_metrics_urls: Vec<String>,
    /// What member lists tell clients; what is listened on by default
    #[arg(long, value_delimiter = ',')]
    advertise_client_urls: Vec<String>,
    /// What member lists tell peers
    #[arg(long, value_delimiter = ',', default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: Vec<String>,
    /// This member: NAME=URL
    #[arg(long, value_delimiter = ',')]
    initial_cluster: Vec<String>,
    /// The cluster's id follows from it; random without one
    #[arg(long)]
    initial_cluster_token: Option<String>,
    /// new: a member is begun if there is none
    #[arg(long, default_value = "new", value_parser = ["new", "existing"])]
    initial_cluster_state: String,
    /// Bytes at which writes are refused; 0 is 2 GiB
    #[arg(long, default_value_t = 0)]
    quota_backend_bytes: u64,
    /// Largest request
    #[arg(long, default_value_t = 3 << 19)]
    max_request_bytes: usize,
    /// Operations that a transaction may have
    #[arg(long, default_value_t = 128)]
    max_txn_ops: usize,
    /// periodic or revision
    #[arg(long, default_value = "periodic", value_parser = ["periodic", "revision"])]
    auto_compaction_mode: String,
    /// How long (1h, 30m; a number is hours), or how many revisions, history is kept; 0 is for ever
    #[arg(long, default_value = "0")]
    auto_compaction_retention: String,
    /// How often a watch that asked for it is told that nothing happened
    #[arg(long, default_value = "10m", value_parser = duration)]
    watch_progress_notify_interval: Duration,
    /// How users' tokens are made: simple, or jwt,sign-method=M,priv-key=FILE[,pub-key=FILE][,ttl=D]
    #[arg(long, default_value = "simple")]
    auth_token: String,
    /// Seconds that a simple token lives after it was used
    #[arg(long, default_value_t = 300)]
    auth_token_ttl: u64,
    /// How long a password's hash takes, from 4 to 31: each step doubles it
    #[arg(long, default_value_t = 10)]
    bcrypt_cost: u32,
    /// Where snapshots are saved on a schedule; nowhere by default
    #[arg(long)]
    backup_dir: Option<PathBuf>,
    /// How often a snapshot is saved there
    #[arg(long, default_value = "1h", value_parser = duration, requires = "backup_dir")]
    backup_interval: Duration,
    /// How many of them are kept
    #[arg(long, default_value_t = 24, requires = "backup_dir", value_parser = clap::value_parser!(u32).range(1..))]
    backup_retention: u32,
    /// Acknowledge what is not on disk: for tests only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    unsafe_no_fsync: Option<bool>,
    #[command(flatten)]
    tls: tls::Args,
    #[command(flatten)]
    log: runtime::LogOptions,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    runtime::init_logging(&args.log, &[("member", args.name.clone())]).map_err(anyhow::Error::msg)?;
    let config = config(args)?;
    let quota = config.quota_backend_bytes;
    let data_dir = config.data_dir.clone();
    let server = tokio::task::spawn_blocking(move || Server::start(config))
        .await?
        .with_context(|| format!("start the store in {}", data_dir.display()))?;
    tracing::info!(urls = %server.client_urls().join(","), data_dir = %data_dir.display(), quota, "the store serves clients");
    tell_systemd(sd_notify::NotifyState::Ready);
    let ended = async {
        while !server.has_ended() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        signal = runtime::terminated() => {
            signal.context("listen for signals")?;
        }
        () = ended => {}
    }
    tell_systemd(sd_notify::NotifyState::Stopping);
    tokio::task::spawn_blocking(move || server.stop()).await?.context("the store stopped by itself")?;
    Ok(ExitCode::SUCCESS)
}

/// Where nobody asked to be told, nobody is.
fn tell_systemd(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

fn config(args: Args) -> Result<Config> {
    cluster::check(&args)?;
    let defaults = Config::default();
    let quota = if args.quota_backend_bytes == 0 { defaults.quota_backend_bytes } else { args.quota_backend_bytes };
    let (every, keep) = (args.backup_interval, args.backup_retention as usize);
    anyhow::ensure!(!every.is_zero(), "--backup-interval 0s would save snapshots without end: give at least a second");
    let backups = args.backup_dir.map(|dir| Backups { dir, every, keep });
    let tls = args.tls.source(&args.listen_client_urls)?;
    let listen_metrics_urls = [args.listen_metrics_urls, args.listen_client_http_urls].concat();
    Ok(Config {
        data_dir: args.data_dir.unwrap_or_else(|| PathBuf::from(format!("{}.store", args.name))),
        auto_compaction: auto_compaction(&args.auto_compaction_mode, &args.auto_compaction_retention)?,
        backups,
        name: args.name,
        listen_client_urls: args.listen_client_urls,
        advertise_client_urls: args.advertise_client_urls,
        initial_advertise_peer_urls: args.initial_advertise_peer_urls,
        initial_cluster_token: args.initial_cluster_token,
        quota_backend_bytes: quota,
        max_request_bytes: args.max_request_bytes,
        max_txn_ops: args.max_txn_ops,
        watch_progress_notify_interval: args.watch_progress_notify_interval,
        auth_token: args.auth_token,
        auth_token_ttl: Duration::from_secs(args.auth_token_ttl),
        bcrypt_cost: args.bcrypt_cost,
        unsafe_no_fsync: args.unsafe_no_fsync == Some(true),
        wal_segment_bytes: defaults.wal_segment_bytes,
        workers: defaults.workers,
        tls,
        listen_metrics_urls,
    })
}

fn auto_compaction(mode: &str, retention: &str) -> Result<AutoCompaction> {
    let how = "a duration such as 1h or 30m, or a number of hours";
    if retention == "0" {
        return Ok(AutoCompaction::Off);
    }
    if mode == "revision" {
        let keep = retention.parse().ok().filter(|keep| *keep > 0);
        let keep =
            keep.with_context(|| format!("--auto-compaction-retention {retention:?} is no number of revisions"))?;
        return Ok(AutoCompaction::revision(keep));
    }
    let period = match retention.parse::<u64>() {
        Ok(hours) => Duration::from_secs(hours * 3600),
        Err(_) => {
            duration(retention).ok().with_context(|| format!("--auto-compaction-retention {retention:?}: {how}"))?
        }
    };
    Ok(AutoCompaction::periodic(period))
}
