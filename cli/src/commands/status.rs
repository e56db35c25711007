//! `causeway status`.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Result;
use api::{Healthz, MapUse, State, Status, paths};

use super::clustermesh;
use crate::output::{Form, Tone, paint, print, visible};
use crate::view::View;

/// A map this full is shown without being asked for.
const NOTEWORTHY: f64 = 0.5;

/// Exits with failure when the agent is degraded.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    view: View,
    /// One line, for probes
    #[arg(long, conflicts_with = "verbose")]
    brief: bool,
    /// Every controller, every map, every source
    #[arg(long)]
    verbose: bool,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    args.view
        .show(async || {
            let health: Healthz = args.view.socket.get(paths::HEALTHZ).await?;
            let degraded = health.cilium.state != State::Ok;
            match (args.brief, args.view.output.output) {
                (true, _) if degraded => print(&format!("degraded: {}\n", visible(&health.cilium.msg)))?,
                (true, _) => print("OK\n")?,
                (false, Form::Table) => print(&text(&health, args.verbose))?,
                (false, _) => args.view.output.value(&health)?,
            }
            Ok(if degraded { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        })
        .await
}

fn state(status: &Status) -> String {
    let tone = match status.state {
        State::Ok | State::Disabled => Tone::Good,
        State::Warning => Tone::Doubtful,
        State::Failure => Tone::Bad,
    };
    format!("{}   {}", paint(tone, &format!("{:?}", status.state)), visible(&status.msg))
}

fn text(health: &Healthz, verbose: bool) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a string does not fail.
        writeln!(text, "{:<15}{value}", format!("{name}:")).ok();
    };
    line("KVStore", &state(&health.kvstore));
    line("Causeway", &state(&health.cilium));
    line("Node", &health.node);
    let versions = &health.versions;
    let store = versions.store.as_deref().unwrap_or("store not known yet");
    line("Versions", &format!("causeway {}, kernel {}, {}", versions.causeway, versions.kernel, visible(store)));
    let pools: Vec<_> =
        health.ipam.iter().map(|pool| format!("{}/{} allocated from {}", pool.used, pool.total, pool.cidr)).collect();
    line("IPAM", &pools.join(", "));
    text + &clustermesh::block(&health.cluster_mesh)
        + &controllers(health, verbose)
        + &maps(&health.maps, verbose)
        + &rest(health, verbose)
}

fn controllers(health: &Healthz, verbose: bool) -> String {
    let healthy = health.controllers.iter().filter(|controller| controller.failing == 0).count();
    let mut text =
        format!("Controllers:   {healthy}/{} healthy, {} tasks running\n", health.controllers.len(), health.tasks);
    for controller in &health.controllers {
        if !verbose && controller.failing + controller.backlog == 0 {
            continue;
        }
        let counts = format!("{} waiting, {} failing", controller.backlog, controller.failing);
        let error = controller.last_error.as_deref().map(|error| format!(": {}", visible(error))).unwrap_or_default();
        let tone = if controller.failing > 0 { Tone::Bad } else { Tone::Good };
        writeln!(text, "   {}: {}{error}", controller.name, paint(tone, &counts)).ok();
    }
    text
}

fn maps(maps: &[MapUse], verbose: bool) -> String {
    let fullest = maps.iter().max_by(|a, b| a.pressure().total_cmp(&b.pressure()));
    let Some(fullest) = fullest else { return "BPF maps:      not readable\n".to_owned() };
    let show =
        |map: &MapUse| format!("{} {:.1} % ({} of {})", map.name, map.pressure() * 100.0, map.entries, map.capacity);
    let mut text = format!("BPF maps:      {}, fullest {}\n", maps.len(), show(fullest));
    for map in maps.iter().filter(|map| verbose || map.pressure() >= NOTEWORTHY) {
        writeln!(text, "   {}", show(map)).ok();
    }
    text
}

fn rest(health: &Healthz, verbose: bool) -> String {
    let mut text = String::new();
    let stalest = health.staleness.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds));
    if let (Some(stalest), false) = (stalest, verbose) {
        writeln!(
            text,
            "Staleness:     {} sources, at most {:.0} s ({})",
            health.staleness.len(),
            stalest.seconds,
            stalest.source
        )
        .ok();
    }
    for source in health.staleness.iter().filter(|_| verbose) {
        writeln!(text, "Staleness:     {}: {:.0} s", source.source, source.seconds).ok();
    }
    writeln!(text, "Global Identity Range: {}", health.identity_range).ok();
    for rejected in &health.rejected {
        writeln!(text, "Rejected keys: {}: {} (causeway statedb show rejected)", rejected.cluster, rejected.keys).ok();
    }
    for alarm in &health.alarms {
        writeln!(text, "Alarm:         {}", paint(Tone::Bad, &visible(alarm))).ok();
    }
    text
}
