//! `causeway kvstore check`: whether a store is fast enough, and what data costs it, by etcdctl's measures.
//!
//! Source: etcd etcdctl/ctlv3/command/check.go of 3.6: loads, thresholds and texts.

mod datascale;
mod memory;
mod perf;
mod writers;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, DeleteOptions, GetOptions};
use kvstore::EtcdConfig;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Write for a minute, and judge throughput, the slowest write and how even they are
    Perf(perf::Args),
    /// Write many keys, and tell what they cost the store's process
    Datascale(datascale::Args),
}

/// How much is asked of the store.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Load {
    #[value(name = "s", alias = "small")]
    Small,
    #[value(name = "m", alias = "medium")]
    Medium,
    #[value(name = "l", alias = "large")]
    Large,
    #[value(name = "xl", alias = "xLarge")]
    ExtraLarge,
}

pub(crate) async fn run(command: Command, config: &EtcdConfig) -> Result<ExitCode> {
    match command {
        Command::Perf(args) => perf::run(&args, config).await,
        Command::Datascale(args) => datascale::run(&args, config).await,
    }
}

/// As many connections as etcdctl has; what is there already is nobody's to delete.
async fn connect(config: &EtcdConfig, count: usize, prefix: &str) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(kvstore::etcd_client(config).await?);
    }
    let options = GetOptions::new().with_prefix().with_limit(1);
    let found = clients[0].get(prefix, Some(options)).await.context("look for keys of the prefix")?;
    ensure!(
        found.kvs().is_empty(),
        "prefix {prefix:?} has keys: delete them with `causeway kvstore delete --recursive {prefix}`, or name another"
    );
    Ok(clients)
}

async fn clean_up(client: &mut Client, prefix: &str, compact: bool, defrag: bool) -> Result<()> {
    let deleted = client.delete(prefix, Some(DeleteOptions::new().with_prefix())).await.context("delete the keys")?;
    if compact {
        let revision = deleted.header().map_or(0, etcd_client::ResponseHeader::revision);
        client.compact(revision, None).await.context("compact")?;
    }
    if defrag {
        client.defragment().await.context("defragment")?;
    }
    Ok(())
}
