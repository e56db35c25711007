//! `causeway monitor`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use api::{Event, LabelledIdentity};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::client::{Socket, connect};
use crate::output::{Form, Output, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    output: Output,
    /// Only events of this type; may be given several times
    #[arg(long = "type", short = 't', value_parser = ["drop", "trace", "policy-verdict"])]
    types: Vec<String>,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let stream = connect(&args.socket.monitor()).await?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await.context("read events")? {
        let event: Event = serde_json::from_str(&line).context("understand an event of the agent")?;
        if !args.types.is_empty() && !args.types.contains(&event.kind) {
            continue;
        }
        match args.output.output {
            Form::Table => print(&format!("{}\n", show(&event)))?,
            Form::Json => print(&format!("{line}\n"))?,
            Form::Yaml => args.output.value(&[&event])?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `xx drop (Policy denied) ingress to endpoint 7, identity 1->2: tcp 10.0.0.1:1 -> 10.0.0.2:2 (labels -> labels)`.
fn show(event: &Event) -> String {
    let mark = match event.kind.as_str() {
        "drop" => "xx drop",
        "trace" => "-> trace",
        _ => "   Policy verdict",
    };
    let direction = event.direction.as_deref().unwrap_or("");
    let (source, destination) = (&event.source, &event.destination);
    let packet = match &event.tuple {
        Some(tuple) => format!(
            "{} {}:{} -> {}:{}",
            tuple.protocol, tuple.source, tuple.source_port, tuple.destination, tuple.destination_port
        ),
        None => format!("{} bytes", event.bytes),
    };
    format!(
        "{mark} ({}) {direction} endpoint {}, identity {}->{}: {packet} ({} -> {})",
        event.summary,
        event.endpoint,
        source.identity,
        destination.identity,
        labels(source),
        labels(destination)
    )
}

fn labels(identity: &LabelledIdentity) -> String {
    if identity.labels.is_empty() { "unknown".to_owned() } else { identity.labels.join(",") }
}
