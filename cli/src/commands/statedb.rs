//! `causeway statedb`.

use std::process::ExitCode;

use anyhow::Result;
use api::{Table, paths};

use crate::client::Socket;
use crate::output::{Form, Output, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// The tables
    List,
    /// The rows of one
    Show {
        /// Its name
        table: String,
    },
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    match args.command.unwrap_or(Command::List) {
        Command::List => {
            let tables: Vec<Table> = args.socket.get(paths::STATEDB).await?;
            args.output.list(&["NAME", "ROWS", "REVISION", "PENDING"], &tables, |table| {
                let (rows, revision) = (table.rows.to_string(), table.revision.to_string());
                vec![table.name.clone(), rows, revision, table.pending.join(", ")]
            })?;
        }
        Command::Show { table } => {
            let path = format!("{}/{table}", paths::STATEDB);
            match args.output.output {
                Form::Table => print(&args.socket.text(&format!("{path}?format=text")).await?)?,
                _ => args.output.value(&args.socket.get::<serde_json::Value>(&path).await?)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
