//! `causeway man [DIR]`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::output::print;

/// Print the manual page of `causeway`, or write one for every command into a directory
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory for causeway.1, causeway-status.1 and the others
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, command: clap::Command) -> Result<ExitCode> {
    match &args.dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).context("make the page")?;
            print(&String::from_utf8_lossy(&page))?;
        }
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
            clap_mangen::generate_to(command, dir).with_context(|| format!("write pages to {}", dir.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
