//! `causeway troubleshoot`: a connection to a store, step by step, without any agent.

mod certificates;
mod endpoint;
mod report;
mod store;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use kvstore::{EtcdConfig, load_config};

use self::report::Report;
use crate::output::{Form, Output, print};

/// Exits with failure when any step fails
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
    /// How long each step may take
    #[arg(long, global = true, default_value = "5s", value_parser = timeout)]
    timeout: Duration,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// The cluster's own store
    Kvstore {
        /// The client's configuration
        #[arg(long, default_value = "/var/lib/etcd-config/etcd.config", conflicts_with = "kvstore_opt")]
        etcd_config: PathBuf,
        /// In its place: etcd.address=URL or etcd.config=FILE, as the agent has it
        #[arg(long)]
        kvstore_opt: Option<String>,
    },
    /// The stores of remote clusters
    Clustermesh {
        /// Only these clusters
        names: Vec<String>,
        /// The directory with a client configuration per remote cluster
        #[arg(long, default_value = "/var/lib/cilium/clustermesh/")]
        clustermesh_config: PathBuf,
    },
}

fn timeout(text: &str) -> Result<Duration, String> {
    let time = kvstore::duration(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| format!("{text:?} is not a time such as 5s"))
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let mut reports = Vec::new();
    match &args.command {
        Command::Kvstore { etcd_config, kvstore_opt } => {
            let (place, config) = match kvstore_opt {
                Some(option) => (option.clone(), kvstore::Options::parse(option)?.etcd_config().map_err(whole)),
                None => (etcd_config.display().to_string(), load_config(etcd_config).map_err(whole)),
            };
            reports.push(examine("own cluster", &place, config, None, args.timeout).await);
        }
        Command::Clustermesh { names, clustermesh_config } => {
            for (name, path) in remotes(clustermesh_config, names)? {
                let place = path.display().to_string();
                reports
                    .push(examine(&name, &place, load_config(&path).map_err(whole), Some(&name), args.timeout).await);
            }
        }
    }
    match args.output.output {
        Form::Table => print(&reports.iter().map(Report::text).collect::<Vec<_>>().join("\n"))?,
        _ => args.output.value(&reports)?,
    }
    let failed = reports.iter().any(Report::failed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// An error with its causes.
fn whole(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::new(error))
}

/// The client files of a directory, or those with these names.
fn remotes(dir: &Path, names: &[String]) -> Result<Vec<(String, PathBuf)>> {
    if !names.is_empty() {
        return Ok(names.iter().map(|name| (name.clone(), dir.join(name))).collect());
    }
    let reading = || format!("read {}: --clustermesh-config chooses another directory", dir.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let client_file = std::fs::read_to_string(&path).is_ok_and(|text| text.contains("endpoints:"));
        if !name.starts_with('.') && client_file {
            found.push((name, path));
        }
    }
    anyhow::ensure!(!found.is_empty(), "{} holds no client configuration of a remote cluster", dir.display());
    found.sort();
    Ok(found)
}

/// Every step of a connection.
async fn examine(
    name: &str,
    place: &str,
    config: Result<EtcdConfig, String>,
    remote: Option<&str>,
    timeout: Duration,
) -> Report {
    let mut report = Report::new(name);
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            report.bad("Configuration", format!("{place}: {error}"));
            return report;
        }
    };
    report.good("Configuration", place.to_owned());
    for address in &config.endpoints {
        endpoint::check(&mut report, &config, address, timeout).await;
    }
    certificates::check(&mut report, &config);
    store::check(&mut report, &config, remote, timeout).await;
    report
}
