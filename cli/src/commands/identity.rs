//! `causeway identity`.

use std::process::ExitCode;

use anyhow::Result;
use api::{Identity, paths};

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
    args.view.show(async || list(&args.view, &args.command).await).await
}

async fn list(view: &View, command: &Command) -> Result<ExitCode> {
    let row = |identity: &Identity| vec![identity.id.to_string(), identity.labels.join("\n")];
    match command {
        Command::List => {
            let identities: Vec<Identity> = view.socket.get(paths::IDENTITY).await?;
            view.output.list(&HEAD, &identities, row)?;
        }
        Command::Get { id } => {
            let identity: Identity = view.socket.get(&format!("{}/{id}", paths::IDENTITY)).await?;
            view.output.list(&HEAD, &[identity], row)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
