//! `causeway node`.

use std::process::ExitCode;

use anyhow::Result;
use api::{FamilyAddress, Node, paths};

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
    /// Every node of every cluster
    List,
}

const HEAD: [&str; 6] = ["Name", "IPv4 Address", "Endpoint CIDR", "IPv6 Address", "Endpoint CIDR", "Source"];

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    args.view.show(async || list(&args.view, &args.command).await).await
}

async fn list(view: &View, command: &Command) -> Result<ExitCode> {
    let Command::List = command;
    let nodes: Vec<Node> = view.socket.get(paths::NODES).await?;
    view.output.list(&HEAD, &nodes, |node| {
        let family = |family: &Option<FamilyAddress>| {
            family.as_ref().map(|family| (family.ip.clone(), family.alloc_range.clone())).unwrap_or_default()
        };
        let (ipv4, range4) = family(&node.primary_address.ipv4);
        let (ipv6, range6) = family(&node.primary_address.ipv6);
        vec![node.name.clone(), ipv4, range4, ipv6, range6, node.source.clone()]
    })?;
    Ok(ExitCode::SUCCESS)
}
