//! What every command that shows something of the agent takes: where the agent is, in which form, and how often.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::client::Socket;
use crate::output::{Form, Output, ReaderGone, print};

/// Where, how, and whether again.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct View {
    #[command(flatten)]
    pub(crate) socket: Socket,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Print again every SECONDS until stopped
    #[arg(long, short = 'w', global = true, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
}

// === impl View ===

impl View {
    /// Shows once, or with `--watch` again and again; a failure then is shown too, and does not end it.
    pub(crate) async fn show(&self, round: impl AsyncFn() -> Result<ExitCode>) -> Result<ExitCode> {
        let Some(seconds) = self.watch else { return round().await };
        let terminal = std::io::stdout().is_terminal();
        loop {
            if terminal && self.output.output == Form::Table {
                print("\x1b[H\x1b[2J")?;
            }
            if let Err(error) = round().await {
                if error.is::<ReaderGone>() {
                    return Err(error);
                }
                eprintln!("error: {error:#}");
            }
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            if !terminal && self.output.output == Form::Table {
                print("\n")?;
            }
        }
    }
}
