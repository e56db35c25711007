//! `causeway policy`.

use std::process::ExitCode;

use anyhow::Result;
use api::{PolicyEntry, Selector, paths};

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
    /// The rules in force
    Get,
    /// The selectors in use, and whom they select
    Selectors,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Get => {
            let rules: Vec<PolicyEntry> = args.socket.get(paths::POLICY).await?;
            args.output.list(&["POLICY", "FROM FILE", "SUBJECT", "INGRESS", "EGRESS"], &rules, |rule| {
                vec![
                    rule.policy.clone(),
                    rule.place.clone().unwrap_or_default(),
                    rule.subject.replace(',', "\n"),
                    rule.ingress.join("\n"),
                    rule.egress.join("\n"),
                ]
            })?;
        }
        Command::Selectors => {
            let selectors: Vec<Selector> = args.socket.get(paths::SELECTORS).await?;
            args.output.list(&["SELECTOR", "USERS", "IDENTITIES"], &selectors, |selector| {
                let identities = selector.identities.iter().map(ToString::to_string).collect::<Vec<_>>();
                vec![selector.selector.replace(',', "\n"), selector.users.to_string(), identities.join("\n")]
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
