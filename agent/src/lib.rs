//! The agent of a node: composition only. Tables in the middle, controllers between them, edges around.
//!
//! ```text
//!   etcd ──reflector──> nodes ips identities ──ipcache, policy, loadbalancer──> datapath ──> kernel
//!   remote etcd ──clustermesh──> the same tables, by cluster
//!   CNI, CLI ──local API──> endpoint, ipam                exports ──reflector──> etcd
//!   manifests ──k8s──> pods namespaces services rules
//! ```
//! Stopping it removes nothing: programs and maps go on without it.

mod alarms;
mod api_server;
mod args;
mod arrivals;
mod assemble;
mod database;
mod exports;
pub mod fleet;
mod history;
mod logic;
mod metrics;
mod monitor;
mod node;
mod node_events;
mod own_node;
mod preflight;
mod ranges;
mod readiness;
mod registration;
mod restore;
mod snapshots;
mod status;
mod store;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use runtime::{Stopped, Tasks};

pub use args::Args;
pub use ranges::PreAllocation;

/// How long tasks may drain.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the agent until it is told to stop or one of its tasks dies.
///
/// # Errors
///
/// When it cannot start: the sentence says what, where and how to fix it.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let ids = [("clusterName", args.cluster_name.to_string()), ("nodeName", args.node()?.to_string())];
    runtime::init_logging(&args.log, &ids).map_err(anyhow::Error::msg)?;
    let tasks = Tasks::default();
    let _held = assemble::assemble(&tasks, &args).await?;
    let code = tokio::select! {
        signal = runtime::terminated() => {
            let signal = signal.context("listen for signals")?;
            tracing::info!(signal, "stopping; the datapath goes on");
            ExitCode::SUCCESS
        }
        task = tasks.died() => {
            tracing::error!(task, "a task died; ending so that the agent starts afresh");
            ExitCode::FAILURE
        }
    };
    if let Stopped::Aborted(tasks) = tasks.stop(GRACE).await {
        tracing::warn!(?tasks, "tasks did not end in time");
    }
    Ok(code)
}
