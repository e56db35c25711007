//! `causeway ip`.

use std::process::ExitCode;

use anyhow::Result;
use api::{IpEntry, paths};

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
    /// Every prefix that this node knows
    List,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    args.view.show(async || list(&args.view, &args.command).await).await
}

async fn list(view: &View, command: &Command) -> Result<ExitCode> {
    let Command::List = command;
    let entries: Vec<IpEntry> = view.socket.get(paths::IP).await?;
    view.output.list(&["IP", "IDENTITY", "HOST", "SOURCE"], &entries, |entry| {
        let host = entry.host_ip.clone().unwrap_or_default();
        vec![entry.cidr.clone(), entry.identity.to_string(), host, entry.metadata.source.clone()]
    })?;
    Ok(ExitCode::SUCCESS)
}
