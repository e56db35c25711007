//! `causeway policy`.

mod explain;

use std::process::ExitCode;

use anyhow::Result;
use api::{PolicyEntry, Selector, paths};

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
    /// The rules in force
    Get,
    /// The selectors in use, and whom they select
    Selectors,
    /// Why a connection is let through or not, by which rule, and what would change it
    Explain(explain::Explain),
    /// The same, asked with the flags of cilium-dbg
    Trace(explain::Trace),
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    args.view.show(async || list(&args.view, &args.command).await).await
}

async fn list(view: &View, command: &Command) -> Result<ExitCode> {
    match command {
        Command::Get => {
            let rules: Vec<PolicyEntry> = view.socket.get(paths::POLICY).await?;
            view.output.list(&["POLICY", "FROM FILE", "SUBJECT", "INGRESS", "EGRESS"], &rules, |rule| {
                vec![
                    rule.policy.clone(),
                    rule.place.clone().unwrap_or_default(),
                    rule.subject.replace(',', "\n"),
                    rule.ingress.join("\n"),
                    rule.egress.join("\n"),
                ]
            })?;
        }
        Command::Explain(question) => return question.run(view).await,
        Command::Trace(question) => return question.run(view).await,
        Command::Selectors => {
            let selectors: Vec<Selector> = view.socket.get(paths::SELECTORS).await?;
            view.output.list(&["SELECTOR", "USERS", "IDENTITIES"], &selectors, |selector| {
                let identities = selector.identities.iter().map(ToString::to_string).collect::<Vec<_>>();
                vec![selector.selector.replace(',', "\n"), selector.users.to_string(), identities.join("\n")]
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
