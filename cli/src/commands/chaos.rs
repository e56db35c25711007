//! `causeway chaos`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;

use crate::output::{Form, Output, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// What can be broken
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Break a kept demo, mend it, and say what held; exits with failure when something did not
    Run {
        /// Names of scenarios, or `all`
        #[arg(required = true)]
        scenarios: Vec<String>,
        /// Full counts and times, and what a run of all has no time for
        #[arg(long)]
        long: bool,
        #[command(flatten)]
        demo: Demo,
        #[command(flatten)]
        output: Output,
    },
    /// The report of the last run
    Report {
        /// Which form
        #[arg(long, default_value = "text", value_parser = ["text", "table", "json", "html"])]
        format: String,
        #[command(flatten)]
        demo: Demo,
    },
}

#[derive(clap::Args)]
struct Demo {
    /// Where the files of `cargo xtask demo --keep` lie
    #[arg(long, env = "CAUSEWAY_DEMO_DIR", default_value = "target/demo")]
    demo_dir: PathBuf,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::List { output } => {
            let rows: Vec<_> = chaos::SCENARIOS
                .iter()
                .map(|row| json!({"name": row.name, "seconds": row.seconds, "what": row.what}))
                .collect();
            let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            output.list(&["NAME", "SECONDS", "WHAT"], &rows, |row| {
                ["name", "seconds", "what"].map(|field| text(&row[field])).into()
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Run { scenarios, long, demo, output } => {
            let options = chaos::Options { demo_dir: demo.demo_dir.clone(), scenarios, long };
            let report = chaos::run(&options, |line| {
                // The report is on standard output when it is for machines.
                match output.output {
                    Form::Table => drop(print(&format!("{line}\n"))),
                    _ => eprintln!("{line}"),
                }
            })?;
            let folder = report.save(&demo.demo_dir)?;
            match output.output {
                Form::Table => print(&format!("report: {}\n", folder.join("report.html").display()))?,
                Form::Json => print(&report.json()?)?,
                Form::Yaml => output.value(&report)?,
            }
            Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Report { format, demo } => {
            let name = if format == "text" { "report.txt".to_owned() } else { format!("report.{format}") };
            let file = demo.demo_dir.join("chaos").join(name);
            let text = std::fs::read_to_string(&file).with_context(|| {
                format!("read {}: `causeway chaos run` writes it, and --demo-dir says where", file.display())
            })?;
            print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
