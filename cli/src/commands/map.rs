//! `causeway map`: the kernel's maps, and what the agent wrote to them.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use api::{Map, MapEvent, MapRow, paths};

use crate::output::{Form, print, time_of_day, visible};
use crate::view::View;

/// Between two questions with --follow.
const POLL: Duration = Duration::from_millis(300);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    view: View,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// The maps, how full they are, and what went wrong with writes
    List {
        /// Also how much was written, and the last error
        #[arg(long)]
        verbose: bool,
    },
    /// The rows of one map
    Get {
        /// Its name, as `causeway map list` shows it
        name: String,
    },
    /// The agent's last writes to one map
    Events {
        /// Its name, as `causeway map list` shows it
        name: String,
        /// Go on with what is written from now on
        #[arg(long, short)]
        follow: bool,
    },
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    if let Command::Events { name, follow: true } = &args.command {
        return follow(&args.view, name).await;
    }
    args.view.show(async || list(&args.view, &args.command).await).await
}

async fn list(view: &View, command: &Command) -> Result<ExitCode> {
    match command {
        Command::List { verbose } => {
            let maps: Vec<Map> = view.socket.get(paths::MAP).await?;
            let head = ["Name", "Num entries", "Max entries", "Num errors", "Updates", "Deletes", "Last error"];
            let shown = if *verbose { head.len() } else { 4 };
            view.output.list(&head[..shown], &maps, |map| {
                let numbers = [map.entries.to_string(), map.capacity.to_string(), map.errors.to_string()];
                let mut row = vec![map.name.clone()];
                row.extend(numbers);
                row.extend([map.updates.to_string(), map.deletes.to_string()]);
                row.push(map.last_error.clone().unwrap_or_default());
                row.truncate(shown);
                row
            })?;
        }
        Command::Get { name } => {
            let rows: Vec<MapRow> = view.socket.get(&format!("{}/{name}", paths::MAP)).await?;
            view.output.list(&["Key", "Value"], &rows, |row| vec![row.key.clone(), row.value.clone()])?;
        }
        Command::Events { name, .. } => {
            let events: Vec<MapEvent> = view.socket.get(&format!("{}/{name}/events", paths::MAP)).await?;
            view.output.list(&["Time", "Action", "Key", "Value", "Error"], &events, |event| {
                let (time, action) = (time_of_day(event.time), event.action.clone());
                vec![time, action, event.key.clone(), event.value.clone(), event.error.clone().unwrap_or_default()]
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Events as they come, a line each.
async fn follow(view: &View, name: &str) -> Result<ExitCode> {
    let mut since = 0;
    loop {
        let path = format!("{}/{name}/events?since={since}", paths::MAP);
        let events: Vec<MapEvent> = view.socket.get(&path).await?;
        for event in &events {
            since = event.number + 1;
            if view.output.output == Form::Table {
                let error = event.error.as_deref().map(|error| format!(" failed: {error}")).unwrap_or_default();
                let line = format!("{} {} {} {}{error}", time_of_day(event.time), event.action, event.key, event.value);
                print(&format!("{}\n", visible(line.trim_end())))?;
            } else {
                print(&format!("{}\n", serde_json::to_string(event)?))?;
            }
        }
        tokio::time::sleep(POLL).await;
    }
}
