//! `causeway clustermesh`.

use std::process::ExitCode;

use anyhow::Result;
use api::{ClusterMesh, Healthz, RemoteCluster, paths};

use crate::output::{Form, Tone, paint, print, visible};
use crate::view::View;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    view: View,
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
    args.view
        .show(async || {
            let health: Healthz = args.view.socket.get(paths::HEALTHZ).await?;
            let mesh = health.cluster_mesh;
            match args.view.output.output {
                Form::Table => print(&block(&mesh))?,
                _ => args.view.output.value(&mesh)?,
            }
            let ready = mesh.clusters.iter().all(|cluster| cluster.ready);
            Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
        .await
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
    let state = if cluster.ready { paint(Tone::Good, "ready") } else { paint(Tone::Bad, "not-ready") };
    let last = cluster.last_failure.map_or_else(|| "never".to_owned(), |at| format!("{} ago", ago(at)));
    let (config, synced) = (&cluster.config, &cluster.synced);
    let slices = match config.endpoint_slices_export_mode.as_str() {
        "" => "none",
        mode => mode,
    };
    let exports = match config.service_exports_enabled {
        Some(true) => "enabled",
        Some(false) => "disabled",
        None => "unsupported",
    };
    format!(
        "   {}: {state}, {} nodes, {} endpoints, {} identities, {} services, {} endpoint slices, \
         {} reconnections (last: {last})\n   \
         └  {}\n   \
         └  remote configuration: expected={}, retrieved={}, cluster-id={}, kvstoremesh={}, sync-canaries={}, \
         service-exports={exports}, endpoint-slices={slices}\n   \
         └  synchronization status: nodes={}, endpoints={}, identities={}, services={}, endpoint-slices={}\n   \
         └  {}\n",
        cluster.name,
        cluster.num_nodes,
        cluster.num_endpoints,
        cluster.num_identities,
        cluster.num_shared_services,
        cluster.num_endpoint_slices,
        cluster.num_failures,
        visible(&cluster.status),
        config.required,
        config.retrieved,
        config.cluster_id,
        config.kvstoremesh,
        config.sync_canaries,
        synced.nodes,
        synced.endpoints,
        synced.identities,
        synced.services,
        synced.endpoint_slices.map_or_else(|| "not read".to_owned(), |synced| synced.to_string()),
        freshness(cluster),
    )
}

/// How old what we know of it may be, and what of it is not used.
fn freshness(cluster: &RemoteCluster) -> String {
    let age = |age: Option<f64>| age.map_or_else(|| "not known".to_owned(), |seconds| format!("{seconds:.0} s"));
    let rejected = match cluster.num_rejected {
        0 => String::new(),
        keys => format!(", {keys} keys rejected (causeway statedb show rejected)"),
    };
    format!("staleness: {}, heartbeat: {}{rejected}", age(cluster.staleness), age(cluster.heartbeat_age))
}

/// How long ago a time is, given in seconds since 1970.
fn ago(at: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    match now.saturating_sub(at) {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
