//! `causeway statedb`.

use std::process::ExitCode;

use anyhow::Result;
use api::{Table, paths};

use crate::output::{Form, print};
use crate::view::View;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    view: View,
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
    args.view.show(async || list(&args.view, &args.command).await).await
}

async fn list(view: &View, command: &Option<Command>) -> Result<ExitCode> {
    match command.as_ref().unwrap_or(&Command::List) {
        Command::List => {
            let tables: Vec<Table> = view.socket.get(paths::STATEDB).await?;
            view.output.list(&["NAME", "ROWS", "REVISION", "PENDING"], &tables, |table| {
                let (rows, revision) = (table.rows.to_string(), table.revision.to_string());
                vec![table.name.clone(), rows, revision, table.pending.join(", ")]
            })?;
        }
        Command::Show { table } => {
            let path = format!("{}/{table}", paths::STATEDB);
            match view.output.output {
                Form::Table => print(&view.socket.text(&format!("{path}?format=text")).await?)?,
                _ => view.output.value(&view.socket.get::<serde_json::Value>(&path).await?)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
