//! `causeway identity`.

use std::process::ExitCode;

use anyhow::Result;
use api::{Identity, paths};

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
    /// Every identity that this node knows
    List,
    /// One, by number
    Get {
        /// Which
        id: u32,
    },
}

const HEAD: [&str; 2] = ["ID", "LABELS"];

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let row = |identity: &Identity| vec![identity.id.to_string(), identity.labels.join("\n")];
    match args.command {
        Command::List => {
            let identities: Vec<Identity> = args.socket.get(paths::IDENTITY).await?;
            args.output.list(&HEAD, &identities, row)?;
        }
        Command::Get { id } => {
            let identity: Identity = args.socket.get(&format!("{}/{id}", paths::IDENTITY)).await?;
            args.output.list(&HEAD, &[identity], row)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
