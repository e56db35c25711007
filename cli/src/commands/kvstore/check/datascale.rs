//! `check datascale`: what keys cost the store's process.

use std::process::ExitCode;

use anyhow::Result;
use kvstore::EtcdConfig;

use super::writers::{Until, Work, write};
use super::{Load, clean_up, connect, memory};
use crate::output::print;

#[derive(clap::Args)]
#[group(id = "datascale")]
pub(crate) struct Args {
    /// s, m, l or xl: 10,000, 100,000, 1,000,000 or 3,000,000 keys of 50, 200, 500 or 1,000 clients
    #[arg(long, value_enum, default_value = "s")]
    load: Load,
    /// What keys begin with
    #[arg(long, default_value = "/etcdctl-check-datascale/")]
    prefix: String,
    /// Compact afterwards
    #[arg(long)]
    auto_compact: bool,
    /// Defragment afterwards
    #[arg(long)]
    auto_defrag: bool,
}

/// Of a key and of a value: together 1 KiB.
const BYTES: usize = 512;

pub(super) async fn run(args: &Args, config: &EtcdConfig) -> Result<ExitCode> {
    let (count, clients) = match args.load {
        Load::Small => (10_000, 50),
        Load::Medium => (100_000, 200),
        Load::Large => (1_000_000, 500),
        Load::ExtraLarge => (3_000_000, 1_000),
    };
    let mut connected = connect(config, clients, &args.prefix).await?;
    let before = memory::resident_bytes(config).await?;
    print(&format!(
        "Start data scale check for work load [{count} key-value pairs, {} bytes per key-value, {clients} concurrent \
         clients].\n",
        2 * BYTES
    ))?;
    let work = Work {
        prefix: args.prefix.clone(),
        key_bytes: BYTES,
        value_bytes: BYTES,
        per_sec: None,
        until: Until::Written(count),
    };
    let report = write(&connected, work).await?;
    let after = memory::resident_bytes(config).await?;
    clean_up(&mut connected[0], &args.prefix, args.auto_compact, args.auto_defrag).await?;
    if !report.errors.is_empty() {
        let errors = report.errors.iter().map(|(error, count)| format!("FAIL: ERROR({error}) -> {count}\n"));
        print(&format!("FAIL: too many errors\n{}", errors.collect::<String>()))?;
        return Ok(ExitCode::FAILURE);
    }
    let used = (after - before) / (1 << 20) as f64;
    print(&format!("PASS: Approximate system memory used : {used:.2} MB.\n"))?;
    Ok(ExitCode::SUCCESS)
}
