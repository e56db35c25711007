//! What an operator does with any etcd v3 store: compaction, alarms, leases, and how an endpoint stands.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use etcd_client::{AlarmAction, AlarmType, Client, CompactionOptions, LeaseGrantOptions, LeaseTimeToLiveOptions};

use crate::output::print;

#[derive(clap::Subcommand)]
pub(crate) enum Alarm {
    /// Print the alarms that are raised
    List,
    /// Clear them all
    Disarm,
}

#[derive(clap::Subcommand)]
pub(crate) enum Lease {
    /// Grant a lease
    Grant {
        /// Seconds
        ttl: i64,
        /// Its id, in hexadecimal; chosen by the store without one
        #[arg(long, value_parser = id)]
        id: Option<i64>,
    },
    /// End a lease, and delete its keys
    Revoke {
        /// The lease, in hexadecimal
        #[arg(value_parser = id)]
        lease: i64,
    },
    /// Give a lease its whole time again, once
    KeepAlive {
        /// The lease, in hexadecimal
        #[arg(value_parser = id)]
        lease: i64,
    },
    /// How long a lease lasts
    Timetolive {
        /// The lease, in hexadecimal
        #[arg(value_parser = id)]
        lease: i64,
        /// Print the keys that it holds
        #[arg(long)]
        keys: bool,
    },
    /// Print every lease
    List,
}

#[derive(clap::Subcommand)]
pub(crate) enum Endpoint {
    /// Version, size, leader and indices
    Status,
    /// Whether a linearizable read goes through, and how fast
    Health,
    /// The hash of what is stored at a revision
    Hashkv {
        /// The revision; 0 is the newest
        #[arg(long, default_value_t = 0)]
        rev: i64,
    },
}

#[derive(clap::Subcommand)]
pub(crate) enum Member {
    /// Print each: id, status, name, URLs for peers and for clients, whether it learns
    List,
}

fn id(text: &str) -> Result<i64, String> {
    i64::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|_| format!("{text:?} is no hexadecimal number"))
}

pub(crate) async fn compact(mut client: Client, revision: i64, physical: bool) -> Result<ExitCode> {
    let options = if physical { CompactionOptions::new().with_physical() } else { CompactionOptions::new() };
    client.compact(revision, Some(options)).await.context("compact")?;
    print(&format!("compacted revision {revision}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// In etcdctl's form. A member that has not started has no name yet.
pub(crate) async fn members(mut client: Client) -> Result<ExitCode> {
    let listed = client.member_list().await.context("list the members")?;
    let lines = listed.members().iter().map(|member| {
        let status = if member.name().is_empty() { "unstarted" } else { "started" };
        let (peers, clients) = (member.peer_urls().join(","), member.client_urls().join(","));
        format!("{:x}, {status}, {}, {peers}, {clients}, {}\n", member.id(), member.name(), member.is_learner())
    });
    print(&lines.collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn defrag(mut client: Client) -> Result<ExitCode> {
    client.defragment().await.context("defragment")?;
    print("defragmented\n")?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn alarm(mut client: Client, command: &Alarm) -> Result<ExitCode> {
    let raised = client.alarm(AlarmAction::Get, AlarmType::None, None).await.context("list alarms")?;
    let mut lines = String::new();
    for alarm in raised.alarms() {
        let name = match alarm.alarm() {
            AlarmType::Nospace => "NOSPACE",
            AlarmType::Corrupt => "CORRUPT",
            AlarmType::None => "NONE",
        };
        if let Alarm::Disarm = command {
            let mut of = etcd_client::AlarmOptions::new();
            of.with_member(alarm.member_id());
            client.alarm(AlarmAction::Deactivate, alarm.alarm(), Some(of)).await.context("clear an alarm")?;
        }
        lines.push_str(&format!("memberID:{} alarm:{name}\n", alarm.member_id()));
    }
    print(&lines)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn lease(mut client: Client, command: Lease) -> Result<ExitCode> {
    let text = match command {
        Lease::Grant { ttl, id } => {
            let options = id.map(|id| LeaseGrantOptions::new().with_id(id));
            let granted = client.lease_grant(ttl, options).await.context("grant a lease")?;
            format!("lease {:016x} granted with TTL({}s)\n", granted.id(), granted.ttl())
        }
        Lease::Revoke { lease } => {
            client.lease_revoke(lease).await.with_context(|| format!("revoke lease {lease:016x}"))?;
            format!("lease {lease:016x} revoked\n")
        }
        Lease::KeepAlive { lease } => {
            let (mut keeper, mut answers) = client.lease_keep_alive(lease).await.context("keep the lease alive")?;
            keeper.keep_alive().await.context("keep the lease alive")?;
            let answer = answers.message().await.context("keep the lease alive")?;
            match answer.map_or(0, |answer| answer.ttl()) {
                0 => anyhow::bail!("lease {lease:016x} expired or was revoked"),
                ttl => format!("lease {lease:016x} kept alive with TTL({ttl})\n"),
            }
        }
        Lease::Timetolive { lease, keys } => {
            let options = if keys { LeaseTimeToLiveOptions::new().with_keys() } else { LeaseTimeToLiveOptions::new() };
            let left = client.lease_time_to_live(lease, Some(options)).await.context("ask for the lease")?;
            if left.ttl() < 0 {
                anyhow::bail!("lease {lease:016x} is not there: it ended, or was never granted");
            }
            let names: Vec<_> = left.keys().iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
            let held = if keys { format!(", attached keys({})", names.join(" ")) } else { String::new() };
            format!("lease {lease:016x} granted with TTL({}s), remaining({}s){held}\n", left.granted_ttl(), left.ttl())
        }
        Lease::List => {
            let leases = client.leases().await.context("list leases")?;
            let lines = leases.leases().iter().map(|lease| format!("{:016x}\n", lease.id()));
            format!("found {} leases\n{}", leases.leases().len(), lines.collect::<String>())
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn endpoint(mut client: Client, command: &Endpoint) -> Result<ExitCode> {
    let text = match command {
        Endpoint::Status => {
            let status = client.status().await.context("ask for the status")?;
            let header = status.header().context("a status without a header")?;
            format!(
                "member {:x} of cluster {:x}, version {}, size {} bytes ({} in use), leader {:x}, term {}, \
                 index {}, applied {}, revision {}{}\n",
                header.member_id(),
                header.cluster_id(),
                status.version(),
                status.db_size(),
                status.raft_used_db_size(),
                status.leader(),
                status.raft_term(),
                status.raft_index(),
                status.raft_applied_index(),
                header.revision(),
                status.errors().iter().map(|error| format!(", {error}")).collect::<String>(),
            )
        }
        Endpoint::Health => {
            let began = Instant::now();
            client.get("health", None).await.context("unhealthy: a linearizable read failed")?;
            let raised = client.alarm(AlarmAction::Get, AlarmType::None, None).await.context("list alarms")?;
            if !raised.alarms().is_empty() {
                anyhow::bail!(
                    "unhealthy: {} alarms are raised, see `causeway kvstore alarm list`",
                    raised.alarms().len()
                );
            }
            format!("healthy: a linearizable read took {:.1} ms\n", began.elapsed().as_secs_f64() * 1e3)
        }
        Endpoint::Hashkv { rev } => {
            let hash = client.hash_kv(*rev).await.context("ask for the hash")?;
            format!("{:x}, compact revision {}\n", hash.hash(), hash.compact_version())
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
