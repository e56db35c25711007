//! `causeway ip`.

use std::process::ExitCode;

use anyhow::Result;
use api::{IpEntry, paths};

use crate::client::Socket;
use crate::output::Output;

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
    /// Every prefix that this node knows
    List,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let Command::List = args.command;
    let entries: Vec<IpEntry> = args.socket.get(paths::IP).await?;
    args.output.list(&["IP", "IDENTITY", "HOST", "SOURCE"], &entries, |entry| {
        let host = entry.host_ip.clone().unwrap_or_default();
        vec![entry.cidr.clone(), entry.identity.to_string(), host, entry.metadata.source.clone()]
    })?;
    Ok(ExitCode::SUCCESS)
}
