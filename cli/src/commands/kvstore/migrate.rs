//! `causeway kvstore migrate`: one etcd v3 store becomes another: keys, leases, roles and users are copied at one
//! revision, what changes after it is followed, and at the end both are compared.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use etcd_client::Client;

use crate::output::print;

mod access;
mod digest;
mod follow;
mod keys;
mod leases;

use access::Access;
use digest::Digest;
use follow::Follower;
use leases::Leases;

/// How long the cut-over waits until all is followed.
const DRAIN: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Store to copy: a URL, or a client file as etcd.config takes it
    #[arg(long)]
    from: String,
    /// Store that becomes it, without keys: a URL or a client file
    #[arg(long)]
    to: String,
    /// Cut over as soon as everything is copied; else changes are followed until Ctrl-C
    #[arg(long)]
    once: bool,
    /// At the cut-over raise the alarm NOSPACE at the source, so that nothing is put there any more
    #[arg(long)]
    freeze: bool,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let from = connect(&args.from).await.with_context(|| format!("reach --from {}", args.from))?;
    let to = connect(&args.to).await.with_context(|| format!("reach --to {}", args.to))?;
    tokio::select! {
        done = migrate(&args, from, to) => done,
        () = second_interrupt() => bail!("interrupted before the cut-over was done: nothing was taken from --from; empty --to before the next try"),
    }
}

async fn connect(place: &str) -> Result<Client> {
    let kind = if Path::new(place).is_file() { "etcd.config" } else { "etcd.address" };
    let options = kvstore::Options::parse(&format!("{kind}={place}"))?;
    Ok(kvstore::etcd_client(&options.etcd_config()?).await?)
}

async fn migrate(args: &Args, mut from: Client, mut to: Client) -> Result<ExitCode> {
    let clusters = (keys::cluster(&mut from).await?, keys::cluster(&mut to).await?);
    ensure!(clusters.0 != clusters.1, "--from and --to are the same store (cluster {:x})", clusters.0);
    let there = keys::count(&mut to).await?;
    ensure!(
        there == 0,
        "--to holds {there} keys, and a store becomes another only when it is empty: give it a new data directory"
    );
    let access = Access::read(&mut from).await?;
    access.write(&mut to).await?;
    let mut leases = Leases::default();
    for id in leases::all(&mut from).await? {
        leases.carry(&mut from, &mut to, id).await?;
    }
    let (revision, copied) = keys::copy(&mut from, &mut to, &mut leases).await?;
    print(&format!("copied {copied} keys at revision {revision}, {} leases, {}\n", leases.count(), access.counts()))?;
    print(&access.not_carried())?;
    print("not carried: revisions, versions and history: watches of clients begin anew\n")?;
    let mut follower = Follower::begin(from.clone(), to.clone(), leases, revision).await?;
    if !args.once {
        print("following changes; Ctrl-C cuts over\n")?;
        follower.follow_until(interrupt()).await?;
    }
    if args.freeze {
        freeze(&mut from).await?;
    }
    let revision = keys::revision(&mut from).await?;
    tokio::time::timeout(DRAIN, follower.follow_to(revision))
        .await
        .with_context(|| format!("revision {revision} was not reached in {} s", DRAIN.as_secs()))??;
    let at = follower.revision();
    let (source, copy) = (Digest::of(&mut from, at).await?, Digest::of(&mut to, 0).await?);
    ensure!(source == copy, "the copy differs: {source} at --from, {copy} at --to; is somebody writing to --to?");
    print(&format!("cut over at revision {at} of --from: {copy} on both\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// What is full takes no puts, and still serves reads, deletes and keep-alives.
async fn freeze(from: &mut Client) -> Result<()> {
    from.alarm(etcd_client::AlarmAction::Activate, etcd_client::AlarmType::Nospace, None)
        .await
        .context("raise the alarm NOSPACE at --from")?;
    print("the source takes no more puts; `causeway kvstore alarm disarm` there takes that back\n")
}

async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without signals it goes on until it is killed.
        std::future::pending::<()>().await;
    }
}

async fn second_interrupt() {
    interrupt().await;
    interrupt().await;
}
