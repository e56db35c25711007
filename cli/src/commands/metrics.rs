//! `causeway metrics`: what the agent counts, without a Prometheus.

use std::process::ExitCode;

use anyhow::Result;
use api::{Metric, paths};

use crate::client::encode;
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
    /// Every metric, or those whose name holds a pattern
    List {
        /// Part of the name
        #[arg(long, short = 'p', value_name = "PATTERN")]
        match_pattern: Option<String>,
    },
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    args.view.show(async || list(&args.view, &args.command).await).await
}

async fn list(view: &View, command: &Command) -> Result<ExitCode> {
    let Command::List { match_pattern } = command;
    let pattern = match_pattern.as_deref().unwrap_or_default();
    let metrics: Vec<Metric> = view.socket.get(&format!("{}?pattern={}", paths::METRICS, encode(pattern))).await?;
    view.output.list(&["Metric", "Labels", "Value"], &metrics, |metric| {
        let labels = metric.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>();
        vec![metric.name.clone(), labels.join(" "), format!("{}", metric.value)]
    })?;
    Ok(ExitCode::SUCCESS)
}
