//! `causeway status`.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Result;
use api::{Healthz, State, paths};

use super::clustermesh;
use crate::client::Socket;
use crate::output::{Form, Output, print};

/// Exits with failure when the agent is degraded.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    output: Output,
    /// One word, for probes
    #[arg(long)]
    brief: bool,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let health: Healthz = args.socket.get(paths::HEALTHZ).await?;
    let degraded = health.cilium.state != State::Ok;
    match (args.brief, args.output.output) {
        (true, _) => print(if degraded { "degraded\n" } else { "OK\n" })?,
        (false, Form::Table) => print(&text(&health))?,
        (false, _) => args.output.value(&health)?,
    }
    Ok(if degraded { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn text(health: &Healthz) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a string does not fail.
        writeln!(text, "{:<15}{value}", format!("{name}:")).ok();
    };
    line("KVStore", &format!("{:?}   {}", health.kvstore.state, health.kvstore.msg));
    line("Causeway", &format!("{:?}   {}", health.cilium.state, health.cilium.msg));
    line("Node", &health.node);
    let pools: Vec<_> =
        health.ipam.iter().map(|pool| format!("{}/{} allocated from {}", pool.used, pool.total, pool.cidr)).collect();
    line("IPAM", &pools.join(", "));
    let mut text = text + &clustermesh::block(&health.cluster_mesh);
    let healthy = health.controllers.iter().filter(|controller| controller.failing == 0).count();
    writeln!(text, "Controllers:   {healthy}/{} healthy", health.controllers.len()).ok();
    for controller in health.controllers.iter().filter(|controller| controller.failing + controller.backlog > 0) {
        let error = controller.last_error.as_deref().unwrap_or("waiting");
        writeln!(
            text,
            "   {}: {} waiting, {} failing: {error}",
            controller.name, controller.backlog, controller.failing
        )
        .ok();
    }
    for source in &health.staleness {
        writeln!(text, "Staleness:     {}: {:.0} s", source.source, source.seconds).ok();
    }
    writeln!(text, "Global Identity Range: {}", health.identity_range).ok();
    for alarm in &health.alarms {
        writeln!(text, "Alarm:         {alarm}").ok();
    }
    text
}
