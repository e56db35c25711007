//! `causeway kvstore snapshot`: save a running store, look into a file, begin a member from one.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use kvstore_server::snapshot::{Restore, Summary, restore, summary};
use tokio::io::AsyncWriteExt;

use crate::output::print;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Copy a running store of ours into a file, and check the copy
    Save {
        /// The file
        file: PathBuf,
    },
    /// What a snapshot file of ours holds, after checking all of it
    Status {
        /// The file
        file: PathBuf,
    },
    /// Begin a member of a new cluster from a snapshot file of ours
    Restore {
        /// The file
        file: PathBuf,
        /// Where the member's data is to lie: empty, or not there
        #[arg(long)]
        data_dir: PathBuf,
        /// The new cluster's id follows from it; random without one
        #[arg(long)]
        initial_cluster_token: Option<String>,
        /// What member lists tell peers
        #[arg(long, value_delimiter = ',', default_value = "http://localhost:2380")]
        initial_advertise_peer_urls: Vec<String>,
        /// Raise the revision by so much, so that no client sees one for the second time
        #[arg(long, default_value_t = 0)]
        bump_revision: i64,
        /// Cancel watches that begin before the restored revision, so that clients list anew
        #[arg(long, requires = "bump_revision")]
        mark_compacted: bool,
    },
}

/// Copies what the store sends, and keeps it only if it is whole.
pub(crate) async fn save(mut client: etcd_client::Client, file: PathBuf) -> Result<ExitCode> {
    let part = file.with_extension("part");
    let mut to = tokio::fs::File::create(&part).await.with_context(|| format!("create {}", part.display()))?;
    let mut stream = client.snapshot().await.context("ask for a snapshot")?;
    while let Some(piece) = stream.message().await.context("receive the snapshot")? {
        to.write_all(piece.blob()).await.with_context(|| format!("write {}", part.display()))?;
    }
    to.sync_all().await.with_context(|| format!("sync {}", part.display()))?;
    let path = part.clone();
    let checked = tokio::task::spawn_blocking(move || summary(&path)).await?;
    let checked = checked.with_context(|| {
        format!("check what was received, left in {} (an etcd's snapshot is checked by etcdutl)", part.display())
    })?;
    std::fs::rename(&part, &file).with_context(|| format!("rename {} to {}", part.display(), file.display()))?;
    print(&format!("saved {}\n{}", file.display(), shown(&checked)))?;
    Ok(ExitCode::SUCCESS)
}

/// What needs no running store.
pub(crate) fn offline(command: Command) -> Result<ExitCode> {
    let done = match command {
        Command::Save { .. } => bail!("to save a snapshot takes a running store"),
        Command::Status { file } => summary(&file)?,
        Command::Restore {
            file,
            data_dir,
            initial_cluster_token,
            initial_advertise_peer_urls,
            bump_revision,
            mark_compacted,
        } => {
            ensure!(bump_revision >= 0, "--bump-revision {bump_revision} would take the revision back: give 0 or more");
            let to =
                Restore { data_dir, initial_cluster_token, initial_advertise_peer_urls, bump_revision, mark_compacted };
            let done = restore(&file, &to)?;
            print(&format!("restored into {}\n", to.data_dir.display()))?;
            done
        }
    };
    print(&shown(&done))?;
    Ok(ExitCode::SUCCESS)
}

fn shown(summary: &Summary) -> String {
    let Summary { hash, revision, total_keys, total_bytes, cluster_id } = summary;
    format!("hash {hash:x}, revision {revision}, {total_keys} keys, {total_bytes} bytes, cluster {cluster_id:x}\n")
}
