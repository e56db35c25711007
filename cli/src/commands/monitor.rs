//! `causeway monitor`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use api::{Event, LabelledIdentity};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::client::{Socket, connect};
use crate::output::{Form, Output, Tone, paint, print, time_of_day, visible};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    output: Output,
    /// Only events of this type; may be given several times
    #[arg(long = "type", short = 't', value_parser = ["drop", "trace", "policy-verdict", "agent"])]
    types: Vec<String>,
    /// Only what this endpoint of the node sent; may be given several times
    #[arg(long, value_name = "ENDPOINT")]
    from: Vec<u16>,
    /// Only what is for this endpoint of the node; may be given several times
    #[arg(long, value_name = "ENDPOINT")]
    to: Vec<u16>,
    /// Only what this endpoint of the node sent or what is for it; may be given several times
    #[arg(long, value_name = "ENDPOINT")]
    related_to: Vec<u16>,
    /// Also the time and both endpoints; twice: also what the program said of itself
    #[arg(long, short, action = clap::ArgAction::Count)]
    verbose: u8,
    /// The same as --output=json
    #[arg(long, short)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let stream = connect(&args.socket.monitor()).await?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await.context("read events")? {
        let event: Event = serde_json::from_str(&line).context("understand an event of the agent")?;
        if !args.wants(&event) {
            continue;
        }
        match args.output.output {
            _ if args.json => print(&format!("{line}\n"))?,
            Form::Json => print(&format!("{line}\n"))?,
            Form::Table => print(&format!("{}\n", show(&event, args.verbose)))?,
            Form::Yaml => args.output.value(&[&event])?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// Types and ends must both fit; of several ends any.
    fn wants(&self, event: &Event) -> bool {
        let kind = self.types.is_empty() || self.types.contains(&event.kind);
        let (source, destination) = (&event.source_endpoint, &event.destination_endpoint);
        let anybody = self.from.is_empty() && self.to.is_empty() && self.related_to.is_empty();
        let related = |id: &u16| id == source || id == destination || *id == event.endpoint;
        let ends = self.from.contains(source) || self.to.contains(destination) || self.related_to.iter().any(related);
        kind && (anybody || ends)
    }
}

/// `xx drop (Policy denied) ingress to endpoint 7, identity 1->2: tcp 10.0.0.1:1 -> 10.0.0.2:2 (labels -> labels)`.
fn show(event: &Event, verbose: u8) -> String {
    let time = if verbose > 0 { format!("{} ", time_of_day(event.time)) } else { String::new() };
    if event.kind == "agent" {
        return format!("{time}>> {}", visible(&event.summary));
    }
    let mark = match event.kind.as_str() {
        "drop" => paint(Tone::Bad, "xx drop"),
        "trace" => "-> trace".to_owned(),
        _ => "   Policy verdict".to_owned(),
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
    let mut line = format!(
        "{time}{mark} ({}) {direction} endpoint {}, identity {}->{}: {packet} ({} -> {})",
        event.summary,
        event.endpoint,
        source.identity,
        destination.identity,
        visible(&labels(source)),
        visible(&labels(destination))
    );
    if verbose > 0 {
        line +=
            &format!(", endpoints {}->{}, {} bytes", event.source_endpoint, event.destination_endpoint, event.bytes);
    }
    if verbose > 1 {
        line += &format!(", {}", event.detail.join(", "));
    }
    line
}

fn labels(identity: &LabelledIdentity) -> String {
    if identity.labels.is_empty() { "unknown".to_owned() } else { identity.labels.join(",") }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn filters_take_what_fits_type_and_either_end() {
        let event = |kind: &str, source_endpoint: u16, destination_endpoint: u16| Event {
            time: 0,
            kind: kind.to_owned(),
            summary: String::new(),
            reason: 0,
            direction: None,
            endpoint: source_endpoint,
            source_endpoint,
            destination_endpoint,
            source: LabelledIdentity { identity: 0, labels: Vec::new() },
            destination: LabelledIdentity { identity: 0, labels: Vec::new() },
            tuple: None,
            bytes: 0,
            detail: Vec::new(),
        };
        let check = |words: &str, event: &Event, wanted: bool| {
            let words = std::iter::once("monitor").chain(words.split_whitespace());
            let args = Command::try_parse_from(words.clone()).unwrap().args;
            assert_eq!(args.wants(event), wanted, "{:?}", words.collect::<Vec<_>>());
        };
        let drop = event("drop", 7, 8);
        check("", &drop, true);
        check("-t drop", &drop, true);
        check("-t trace -t policy-verdict", &drop, false);
        check("--from 7", &drop, true);
        check("--from 8", &drop, false);
        check("--to 8", &drop, true);
        check("--to 7 --to 9", &drop, false);
        check("--related-to 8", &drop, true);
        check("--related-to 9 --from 7", &drop, true);
        check("--related-to 9", &drop, false);
        check("-t trace --from 7", &drop, false);
        check("--related-to 7", &event("agent", 7, 7), true);
    }
}
