//! `causeway kvstore`: any etcd, by address or client file; and the embedded store.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kvstore::{Backend, Event, KeyValue, Range};

use crate::output::print;

mod auth;
mod check;
mod migrate;
mod operate;
mod password;
mod role;
pub(crate) mod serve;
mod snapshot;
mod user;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kind of the store: etcd
    #[arg(long, global = true, default_value = "etcd")]
    kvstore: String,
    /// etcd.address=URL or etcd.config=FILE
    #[arg(long, global = true, env = "CAUSEWAY_KVSTORE_OPT", default_value = "etcd.address=http://127.0.0.1:2379")]
    kvstore_opt: String,
    #[command(flatten)]
    login: password::Login,
    /// Authorities that issued the store's certificate, PEM
    #[arg(long, env = "ETCDCTL_CACERT")]
    cacert: Option<PathBuf>,
    /// Our certificate for the store, PEM
    #[arg(long, env = "ETCDCTL_CERT", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key
    #[arg(long, env = "ETCDCTL_KEY", requires = "cert")]
    key: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Print a key, or every key that begins with it
    Get {
        /// Every key that begins with KEY
        #[arg(long)]
        recursive: bool,
        /// The key
        key: String,
    },
    /// Write a key
    Set {
        /// The key
        #[arg(long)]
        key: String,
        /// Its value
        #[arg(long)]
        value: String,
    },
    /// Delete a key, or every key that begins with it
    Delete {
        /// Every key that begins with KEY
        #[arg(long)]
        recursive: bool,
        /// The key
        key: String,
    },
    /// Print what is there and then each change of keys that begin with PREFIX
    Watch {
        /// The prefix
        prefix: String,
    },
    /// Run the embedded store: an etcd v3 server of one member
    Serve(Box<serve::Args>),
    /// How the store stands: member, version, size, leader, indices
    Status,
    /// Forget history before a revision
    Compact {
        /// The revision
        revision: i64,
        /// Wait until its room is free
        #[arg(long)]
        physical: bool,
    },
    /// Give room that is free back to the system, where the store can
    Defrag,
    /// What the store warns of
    #[command(subcommand)]
    Alarm(operate::Alarm),
    /// Leases
    #[command(subcommand)]
    Lease(operate::Lease),
    /// How an endpoint stands
    #[command(subcommand)]
    Endpoint(operate::Endpoint),
    /// The store's members
    #[command(subcommand)]
    Member(operate::Member),
    /// Whether the store is fast enough, and what data costs it
    #[command(subcommand)]
    Check(check::Command),
    /// Copies of a store
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// Make one store of another: keys, leases, users and roles; follow what changes, then cut over
    Migrate(migrate::Args),
    /// Users of the store
    #[command(subcommand)]
    User(user::Command),
    /// What users may
    #[command(subcommand)]
    Role(role::Command),
    /// Whether the store asks who its clients are
    #[command(subcommand)]
    Auth(auth::Command),
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    if args.kvstore != "etcd" {
        bail!("--kvstore {:?} is not supported; supported is etcd", args.kvstore);
    }
    let command = match args.command {
        Command::Serve(args) => return serve::run(*args).await,
        Command::Migrate(args) => return migrate::run(args).await,
        Command::Snapshot(command @ (snapshot::Command::Status { .. } | snapshot::Command::Restore { .. })) => {
            return tokio::task::block_in_place(|| snapshot::offline(command));
        }
        command => command,
    };
    let files = kvstore::ClientFiles { ca: args.cacert, cert: args.cert, key: args.key };
    let options = kvstore::Options { files, user: args.login.user()?, ..kvstore::Options::parse(&args.kvstore_opt)? };
    let at = format!("use the store at {} (--kvstore-opt chooses another)", args.kvstore_opt);
    let done = match command {
        Command::Get { .. } | Command::Set { .. } | Command::Delete { .. } | Command::Watch { .. } => {
            execute(command, options.connect().await?).await
        }
        command => {
            let config = options.etcd_config()?;
            let client = kvstore::etcd_client(&config).await?;
            match command {
                Command::Auth(command) => auth::run(client, &command, &config).await,
                Command::Check(command) => check::run(command, &config).await,
                command => operate(command, client).await,
            }
        }
    };
    done.context(at)
}

/// What goes beyond keys.
async fn operate(command: Command, client: etcd_client::Client) -> Result<ExitCode> {
    match command {
        Command::Status => operate::endpoint(client, &operate::Endpoint::Status).await,
        Command::Compact { revision, physical } => operate::compact(client, revision, physical).await,
        Command::Defrag => operate::defrag(client).await,
        Command::Alarm(command) => operate::alarm(client, &command).await,
        Command::Lease(command) => operate::lease(client, command).await,
        Command::Endpoint(command) => operate::endpoint(client, &command).await,
        Command::Member(operate::Member::List) => operate::members(client).await,
        Command::Snapshot(snapshot::Command::Save { file }) => snapshot::save(client, file).await,
        Command::User(command) => user::run(client, command).await,
        Command::Role(command) => role::run(client, command).await,
        other => unreachable!("{} is taken elsewhere", other.name()),
    }
}

async fn execute(command: Command, store: Arc<kvstore::Client>) -> Result<ExitCode> {
    match command {
        Command::Get { recursive, key } => {
            let range = if recursive { Range::prefix(key.clone()) } else { Range::key(key.clone()) };
            let found = all(&*store, range).await?;
            if found.is_empty() && !recursive {
                bail!("there is no key {key}");
            }
            print(&found.iter().map(line).collect::<String>())?;
        }
        Command::Set { key, value } => {
            store.put(key.into(), value.into(), None).await.context("write the key")?;
        }
        Command::Delete { recursive, key } => {
            let mut deleted = 0;
            if recursive {
                for kv in all(&*store, Range::prefix(key.clone())).await? {
                    deleted += store.delete(kv.key).await.context("delete a key")?.1;
                }
            } else {
                deleted = store.delete(key.clone().into()).await.context("delete the key")?.1;
            }
            print(&format!("{deleted} keys deleted\n"))?;
        }
        Command::Watch { prefix } => {
            let (mut follower, driver) = kvstore::follow(store, prefix);
            let show = async {
                while let Some(events) = follower.next().await {
                    for event in events {
                        print(&shown(&event))?;
                    }
                }
                anyhow::Ok(())
            };
            tokio::select! {
                () = driver => {}
                done = show => done?,
            }
        }
        other => unreachable!("{} is taken elsewhere", other.name()),
    }
    Ok(ExitCode::SUCCESS)
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::Set { .. } => "set",
            Self::Delete { .. } => "delete",
            Self::Watch { .. } => "watch",
            Self::Serve(_) => "serve",
            Self::Status => "status",
            Self::Compact { .. } => "compact",
            Self::Defrag => "defrag",
            Self::Alarm(_) => "alarm",
            Self::Lease(_) => "lease",
            Self::Endpoint(_) => "endpoint",
            Self::Migrate(_) => "migrate",
            Self::Member(_) => "member",
            Self::Check(_) => "check",
            Self::Snapshot(_) => "snapshot",
            Self::User(_) => "user",
            Self::Role(_) => "role",
            Self::Auth(_) => "auth",
        }
    }
}

/// Every key of a range, a page at a time, all of one revision.
async fn all(store: &dyn Backend, range: Range) -> Result<Vec<KeyValue>> {
    let mut found: Vec<KeyValue> = Vec::new();
    let mut next = range.clone().limit(1000);
    loop {
        let page = store.range(next.clone()).await.context("read keys")?;
        let last = page.kvs.last().map(|kv| kv.key.clone());
        found.extend(page.kvs);
        let Some(last) = last.filter(|_| page.more) else { return Ok(found) };
        next.key = [&last[..], b"\0"].concat().into();
        next.revision = if next.revision == 0 { page.header.revision } else { next.revision };
    }
}

fn line(kv: &KeyValue) -> String {
    format!("{} => {}\n", String::from_utf8_lossy(&kv.key), String::from_utf8_lossy(&kv.value))
}

fn shown(event: &Event) -> String {
    match event {
        Event::Created(kv) => format!("create {}", line(kv)),
        Event::Modified(kv) => format!("modify {}", line(kv)),
        Event::Deleted { key, .. } => format!("delete {}\n", String::from_utf8_lossy(key)),
        Event::ListDone => "listdone\n".to_owned(),
        Event::StoreUnknown => "the store may be another one: nothing is taken as deleted\n".to_owned(),
        Event::Relisted { unproven } => format!("listed again, {unproven} keys are not there\n"),
    }
}
