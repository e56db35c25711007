//! `causeway`: every process and every user command in one binary.
//!
//! A command reads the agent's local API, the pinned maps (`bpf ...`), or a store (`kvstore ...`); it holds no logic of
//! its own beyond showing what it read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod client;
mod commands;
mod output;
mod usage;
mod view;

/// Cilium's etcd mode and ClusterMesh
#[derive(Parser)]
#[command(name = "causeway", version, propagate_version = true, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// The file that this process's clock obeys
    #[cfg(feature = "chaos")]
    #[arg(long, global = true, hide = true)]
    chaos_clock: Option<std::path::PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent of this node
    Agent(Box<agent::Args>),
    /// Run the operator of this cluster
    Operator(Box<operator::Args>),
    /// How the agent of this node stands
    Status(commands::status::Args),
    /// Pods of this node
    Endpoint(commands::endpoint::Args),
    /// Security identities
    Identity(commands::identity::Args),
    /// Prefixes and the identities behind them
    Ip(commands::ip::Args),
    /// Nodes of every cluster
    Node(commands::node::Args),
    /// Load-balanced addresses
    Service(commands::service::Args),
    /// Rules in force
    Policy(commands::policy::Args),
    /// What the kernel's maps hold
    Bpf(commands::bpf::Args),
    /// The maps of the kernel, and what was written to them
    Map(commands::map::Args),
    /// Drops, traces and verdicts as they happen
    Monitor(commands::monitor::Args),
    /// The agent's tables
    Statedb(commands::statedb::Args),
    /// Work on the key-value store
    Kvstore(commands::kvstore::Args),
    /// Remote clusters
    Clustermesh(commands::clustermesh::Args),
    /// Where a connection to a store fails
    Troubleshoot(commands::troubleshoot::Args),
    /// One archive of everything that a bug report needs, without secrets
    Bugtool(commands::bugtool::Args),
    /// What the agent counts
    Metrics(commands::metrics::Args),
    /// Completion for a shell
    Completion(commands::completion::Args),
    /// Manual pages
    Man(commands::man::Args),
    /// Break a kept demo, and prove what still holds
    Chaos(commands::chaos::Args),
    /// Remove pins, links, devices and routes that outlive the agent
    PostUninstallCleanup(commands::cleanup::Args),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let given: Vec<_> = std::env::args_os().collect();
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let given = match commands::kvstore::serve::gather(&given, |name| std::env::var(name).ok(), names) {
        Ok(None) => given,
        Ok(Some(gathered)) => {
            gathered.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            gathered.arguments
        }
        Err(refused) => {
            eprintln!("error: {refused}");
            return ExitCode::from(usage::WRONG);
        }
    };
    let (arguments, origins) = match with_sources(given) {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => return usage::refuse(&error, &origins),
    };
    #[cfg(feature = "chaos")]
    if let Some(Err(error)) = args.chaos_clock.map(runtime::follow_clock) {
        return failed(&anyhow::Error::new(error).context("obey --chaos-clock"));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("start the async runtime")),
    };
    match runtime.block_on(run(args.command)) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Agent(args) => agent::run(*args).await,
        Command::Operator(args) => {
            runtime::init_logging(&args.log, &[("clusterName", args.cluster_name.to_string())])
                .map_err(anyhow::Error::msg)?;
            operator::run(*args).await
        }
        Command::Status(args) => commands::status::run(args).await,
        Command::Endpoint(args) => commands::endpoint::run(args).await,
        Command::Identity(args) => commands::identity::run(args).await,
        Command::Ip(args) => commands::ip::run(args).await,
        Command::Node(args) => commands::node::run(args).await,
        Command::Service(args) => commands::service::run(args).await,
        Command::Policy(args) => commands::policy::run(args).await,
        Command::Bpf(args) => commands::bpf::run(args).await,
        Command::Map(args) => commands::map::run(args).await,
        Command::Monitor(args) => commands::monitor::run(args).await,
        Command::Statedb(args) => commands::statedb::run(args).await,
        Command::Kvstore(args) => commands::kvstore::run(args).await,
        Command::Clustermesh(args) => commands::clustermesh::run(args).await,
        Command::Chaos(args) => tokio::task::block_in_place(|| commands::chaos::run(args)),
        Command::Troubleshoot(args) => commands::troubleshoot::run(args).await,
        Command::Bugtool(args) => commands::bugtool::run(args).await,
        Command::Metrics(args) => commands::metrics::run(args).await,
        Command::Completion(args) => commands::completion::run(&args, Args::command()),
        Command::Man(args) => commands::man::run(&args, Args::command()),
        Command::PostUninstallCleanup(args) => commands::cleanup::run(&args),
    }
}

/// Processes also take options from the environment and from `--config-dir`: all arguments, and where those came from.
fn with_sources(mut given: Vec<OsString>) -> anyhow::Result<(Vec<OsString>, BTreeMap<String, String>)> {
    let process = given.get(1).and_then(|word| word.to_str()).filter(|word| ["agent", "operator"].contains(word));
    let Some(process) = process.map(str::to_owned) else { return Ok((given, BTreeMap::new())) };
    let command = Args::command();
    let Some(process) = command.find_subcommand(&process) else { return Ok((given, BTreeMap::new())) };
    let rest = given.split_off(2);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let gathered = runtime::gather_arguments(process, &rest, |name| std::env::var(name).ok(), names)?;
    for name in gathered.unknown {
        eprintln!("warning: --config-dir has a file {name:?}, which is no option of `causeway {}`", process.get_name());
    }
    given.extend(gathered.arguments);
    Ok((given, gathered.origins))
}

fn failed(error: &anyhow::Error) -> ExitCode {
    if error.is::<output::ReaderGone>() {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
