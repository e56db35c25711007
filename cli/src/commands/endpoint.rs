//! `causeway endpoint`.

use std::process::ExitCode;

use anyhow::Result;
use api::{Endpoint, paths};

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
    }
    Ok(ExitCode::SUCCESS)
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
