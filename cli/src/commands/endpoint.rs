//! `causeway endpoint`.

use std::process::ExitCode;

use anyhow::Result;
use api::{Endpoint, EndpointChange, EndpointHealth, paths};

use crate::output::{Form, print, time_of_day, visible};
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
    /// Every pod of this node
    List,
    /// One, by number, container-id:ID, cni-attachment-id:ID:INTERFACE or pod-name:NAMESPACE:NAME
    Get {
        /// Which
        id: String,
    },
    /// What happened to one, with times and reasons; of a deleted one too, by its number
    Log {
        /// Which, as for get
        id: String,
    },
    /// How one stands, part by part; fails when it is not well
    Health {
        /// Which, as for get
        id: String,
    },
}

const HEAD: [&str; 8] =
    ["ENDPOINT", "POLICY (ingress)", "POLICY (egress)", "IDENTITY", "LABELS", "IPv6", "IPv4", "STATUS"];

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    args.view.show(async || list(&args.view, &args.command).await).await
}

async fn list(view: &View, command: &Command) -> Result<ExitCode> {
    match command {
        Command::List => {
            let endpoints: Vec<Endpoint> = view.socket.get(paths::ENDPOINT).await?;
            view.output.list(&HEAD, &endpoints, row)?;
        }
        Command::Get { id } => {
            let endpoint: Endpoint = view.socket.get(&format!("{}/{id}", paths::ENDPOINT)).await?;
            view.output.value(&endpoint)?;
        }
        Command::Log { id } => {
            let path = format!("{}/{id}/{}", paths::ENDPOINT, paths::LOG);
            let log: Vec<EndpointChange> = view.socket.get(&path).await?;
            view.output.list(&["TIME", "STATE", "REASON"], &log, |change| {
                vec![time_of_day(change.time), change.state.clone(), change.reason.clone()]
            })?;
        }
        Command::Health { id } => {
            let path = format!("{}/{id}/{}", paths::ENDPOINT, paths::ENDPOINT_HEALTH);
            let health: EndpointHealth = view.socket.get(&path).await?;
            match view.output.output {
                Form::Table => print(&health_text(&health))?,
                _ => view.output.value(&health)?,
            }
            return Ok(if health.overall_health == "OK" { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn health_text(health: &EndpointHealth) -> String {
    let mut text = format!("Overall Health: {}\n", health.overall_health);
    text += &format!("BPF Health:     {}\nPolicy Health:  {}\n", health.bpf, health.policy);
    text += &format!("Connected:      {}\n", if health.connected { "yes" } else { "no" });
    text + &health.problems.iter().map(|problem| format!("   {}\n", visible(problem))).collect::<String>()
}

fn row(endpoint: &Endpoint) -> Vec<String> {
    let status = &endpoint.status;
    let enforced = |enforced: bool| if enforced { "Enabled" } else { "Disabled" }.to_owned();
    let (identity, labels) = match &status.identity {
        Some(identity) => (identity.id.to_string(), identity.labels.join("\n")),
        None => Default::default(),
    };
    let address = status.networking.addressing.first().cloned().unwrap_or_default();
    vec![
        endpoint.id.to_string(),
        enforced(status.policy.ingress_enforced),
        enforced(status.policy.egress_enforced),
        identity,
        labels,
        address.ipv6.map(|ip| ip.to_string()).unwrap_or_default(),
        address.ipv4.map(|ip| ip.to_string()).unwrap_or_default(),
        status.state.clone(),
    ]
}
