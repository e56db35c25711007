//! `causeway clustermesh`.

use std::process::ExitCode;

use anyhow::Result;
use api::{ClusterMesh, Healthz, RemoteCluster, paths};

use crate::client::Socket;
use crate::output::{Form, Output, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// How each remote cluster stands; fails when one is not ready
    Status,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let Command::Status = args.command;
    let health: Healthz = args.socket.get(paths::HEALTHZ).await?;
    let mesh = health.cluster_mesh;
    match args.output.output {
        Form::Table => print(&block(&mesh))?,
        _ => args.output.value(&mesh)?,
    }
    let ready = mesh.clusters.iter().all(|cluster| cluster.ready);
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The block of `causeway status`.
pub(crate) fn block(mesh: &ClusterMesh) -> String {
    let ready = mesh.clusters.iter().filter(|cluster| cluster.ready).count();
    let head = format!(
        "ClusterMesh:   {ready}/{} remote clusters ready, {} global services\n",
        mesh.clusters.len(),
        mesh.num_global_services
    );
    head + &mesh.clusters.iter().map(lines).collect::<String>()
}

fn lines(cluster: &RemoteCluster) -> String {
    let state = if cluster.ready { "ready" } else { "not-ready" };
    let last = match cluster.last_failure {
        Some(seconds) => format!("{seconds} s since 1970"),
        None => "never".to_owned(),
    };
    let (config, synced) = (&cluster.config, &cluster.synced);
    let exports = match config.service_exports_enabled {
        Some(true) => "enabled",
        Some(false) => "disabled",
        None => "unsupported",
    };
    format!(
        "   {}: {state}, {} nodes, {} endpoints, {} identities, {} services, {} reconnections (last: {last})\n   \
         └  {}\n   \
         └  remote configuration: expected={}, retrieved={}, cluster-id={}, kvstoremesh={}, sync-canaries={}, \
         service-exports={exports}\n   \
         └  synchronization status: nodes={}, endpoints={}, identities={}, services={}\n",
        cluster.name,
        cluster.num_nodes,
        cluster.num_endpoints,
        cluster.num_identities,
        cluster.num_shared_services,
        cluster.num_failures,
        cluster.status,
        config.required,
        config.retrieved,
        config.cluster_id,
        config.kvstoremesh,
        config.sync_canaries,
        synced.nodes,
        synced.endpoints,
        synced.identities,
        synced.services,
    )
}
