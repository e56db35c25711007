//! `causeway kvstore serve`: the embedded store, with etcd's flags.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kvstore_server::{AutoCompaction, Config, Server};

/// Flags of etcd 3.6 that this store does not honour yet: they are refused by name, never ignored.
const NOT_YET: [&str; 38] = [
    "auth-token",
    "auth-token-ttl",
    "auto-tls",
    "bcrypt-cost",
    "cert-file",
    "cipher-suites",
    "client-cert-allowed-hostname",
    "client-cert-auth",
    "client-crl-file",
    "compaction-batch-limit",
    "config-file",
    "cors",
    "corrupt-check-time",
    "discovery",
    "discovery-srv",
    "election-timeout",
    "enable-pprof",
    "force-new-cluster",
    "grpc-keepalive-interval",
    "grpc-keepalive-min-time",
    "grpc-keepalive-timeout",
    "heartbeat-interval",
    "host-whitelist",
    "key-file",
    "listen-client-http-urls",
    "listen-metrics-urls",
    "max-snapshots",
    "max-wals",
    "metrics",
    "peer-cert-file",
    "peer-client-cert-auth",
    "peer-key-file",
    "peer-trusted-ca-file",
    "snapshot-count",
    "tls-max-version",
    "tls-min-version",
    "trusted-ca-file",
    "wal-dir",
];

/// How often the process looks whether its store still runs.
const LOOK: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The member's name
    #[arg(long, default_value = "default")]
    name: String,
    /// Where its data lies; NAME.store by default
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Where clients are served: http://IP:PORT or unix:///PATH, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:2379")]
    listen_client_urls: Vec<String>,
    /// What member lists tell clients; what is listened on by default
    #[arg(long, value_delimiter = ',')]
    advertise_client_urls: Vec<String>,
    /// Accepted as etcd's; one member listens to no peers
    #[arg(long, value_delimiter = ',')]
    listen_peer_urls: Vec<String>,
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
    #[arg(long, default_value = "new", value_parser = ["new"])]
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
    /// Acknowledge what is not on disk: for tests only
    #[arg(long)]
    unsafe_no_fsync: bool,
    #[command(flatten)]
    log: runtime::LogOptions,
}

/// A flag of etcd's that is not honoured yet, among those given to `kvstore serve`.
pub(crate) fn not_yet(arguments: &[std::ffi::OsString]) -> Option<String> {
    let words: Vec<&str> = arguments.iter().skip(1).take(2).filter_map(|word| word.to_str()).collect();
    if words != ["kvstore", "serve"] {
        return None;
    }
    let given = arguments.iter().skip(3).filter_map(|word| word.to_str()?.strip_prefix("--"));
    let mut names = given.map(|word| word.split('=').next().unwrap_or(word));
    let name = names.find(|name| NOT_YET.contains(name))?;
    Some(format!(
        "--{name} is a flag of etcd that `causeway kvstore serve` does not honour yet: leave it out, or run etcd"
    ))
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
    tokio::task::spawn_blocking(move || server.stop()).await?.context("the store stopped by itself")?;
    Ok(ExitCode::SUCCESS)
}

fn config(args: Args) -> Result<Config> {
    check_cluster(&args)?;
    let defaults = Config::default();
    let quota = if args.quota_backend_bytes == 0 { defaults.quota_backend_bytes } else { args.quota_backend_bytes };
    Ok(Config {
        data_dir: args.data_dir.unwrap_or_else(|| PathBuf::from(format!("{}.store", args.name))),
        auto_compaction: auto_compaction(&args.auto_compaction_mode, &args.auto_compaction_retention)?,
        name: args.name,
        listen_client_urls: args.listen_client_urls,
        advertise_client_urls: args.advertise_client_urls,
        initial_advertise_peer_urls: args.initial_advertise_peer_urls,
        initial_cluster_token: args.initial_cluster_token,
        quota_backend_bytes: quota,
        max_request_bytes: args.max_request_bytes,
        max_txn_ops: args.max_txn_ops,
        watch_progress_notify_interval: args.watch_progress_notify_interval,
        unsafe_no_fsync: args.unsafe_no_fsync,
        wal_segment_bytes: defaults.wal_segment_bytes,
        workers: defaults.workers,
        tls: None,
        listen_metrics_urls: Vec::new(),
    })
}

fn check_cluster(args: &Args) -> Result<()> {
    let names: Vec<&str> = args.initial_cluster.iter().filter_map(|member| member.split('=').next()).collect();
    if names.len() > 1 {
        bail!(
            "--initial-cluster names {} members ({}), which needs several members, and this store has one: name only {}",
            names.len(),
            names.join(", "),
            args.name
        );
    }
    if let Some(name) = names.first().filter(|name| **name != args.name) {
        bail!("--initial-cluster names the member {name:?}, but --name is {:?}: they must be equal", args.name);
    }
    Ok(())
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

/// A duration as Go writes it, of whole numbers.
fn duration(text: &str) -> Result<Duration, String> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let number: u64 = number.parse().map_err(|_| format!("{text:?} is no duration such as 10m, 1h30m or 500ms"))?;
        total += match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.saturating_mul(60)),
            "h" => Duration::from_secs(number.saturating_mul(3600)),
            _ => return Err(format!("{text:?} needs a unit: ms, s, m or h, as in 10m")),
        };
        rest = tail;
    }
    if total.is_zero() { Err(format!("{text:?} must be longer than nothing")) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_go_writes_them() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "0s", "5", "m", "1d", "-1m", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_flag_that_is_not_honoured_is_named() {
        let given = |words: &[&str]| words.iter().map(Into::into).collect::<Vec<_>>();
        let refused = not_yet(&given(&["causeway", "kvstore", "serve", "--name=a", "--cert-file=x"]));
        assert!(refused.is_some_and(|text| text.starts_with("--cert-file is a flag of etcd")));
        assert_eq!(not_yet(&given(&["causeway", "kvstore", "serve", "--name=a"])), None);
        assert_eq!(not_yet(&given(&["causeway", "kvstore", "get", "--cert-file=x"])), None);
    }
}
