//! A million keys: memory after a compaction, also when it is scarce, and how soon a killed server answers again.

use anyhow::Result;
use kvstore_server::pb::etcdserverpb as pb;

use crate::client::Client;
use crate::report::compare;
use crate::server::{Server, Side};
use crate::squeeze::Cgroup;

const KEYS: usize = 1_000_000;
const VALUE: usize = 208;

pub(crate) fn run() -> Result<()> {
    let (mut anonymous, mut total, mut restart, mut load) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let taken = (take(Side::Etcd)?, take(Side::Ours)?);
    for (values, at) in [(&mut anonymous, 0), (&mut total, 1), (&mut restart, 2), (&mut load, 3)] {
        values.push((taken.0[at], taken.1[at]));
    }
    compare("1M keys (48 + 208 B): anonymous memory", "MB", Some(0.5), &anonymous)?;
    compare("1M keys: anonymous and file-backed memory", "MB", Some(0.5), &total)?;
    if taken.0[4] > 0.0 {
        compare(
            "1M keys: what is left in a memory cgroup that is squeezed",
            "MB",
            Some(0.5),
            &[(taken.0[4], taken.1[4])],
        )?;
    } else {
        eprintln!("left out: what is left in a squeezed cgroup; it needs root and /sys/fs/cgroup/memory");
    }
    compare("1M keys: killed to first linearizable read", "s", Some(0.5), &restart)?;
    compare("1M keys: CPU of the load and a compaction", "s", None, &load)
}

/// In an order that is not the keys'.
pub(crate) fn keys(count: usize) -> impl Iterator<Item = Vec<u8>> {
    // A prime beside a power of ten visits every number once.
    (0..count).map(move |n| format!("cilium/state/ip/v1/default/{:021}", n * 7_368_787 % count).into_bytes())
}

fn take(side: Side) -> Result<[f64; 5]> {
    let cgroup = Cgroup::create();
    let server = match &cgroup {
        Some(cgroup) => Server::start_within(side, cgroup.members())?,
        None => Server::start(side)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect(&server.url()).await?;
        let value = vec![b'v'; VALUE];
        client.fill(keys(KEYS), &value).await?;
        client.fill(keys(KEYS).take(KEYS / 10), &value).await?;
        let revision = client.get(b"a").await?.header.unwrap_or_default().revision;
        let compact = pb::CompactionRequest { revision, physical: true };
        client.ask::<pb::CompactionResponse>("/etcdserverpb.KV/Compact", &compact).await?;
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        anyhow::Ok(())
    })?;
    let (anonymous, file) = server.memory()?;
    let cpu = server.cpu()?.as_secs_f64();
    let left = cgroup.as_ref().map_or(Ok(0.0), Cgroup::squeeze)?;
    let (server, restart) = server.crash_and_restart()?;
    let all = runtime.block_on(async {
        let client = Client::connect(&server.url()).await?;
        let request =
            pb::RangeRequest { key: "c".into(), range_end: "d".into(), count_only: true, ..Default::default() };
        anyhow::Ok(client.range(request).await?.count)
    })?;
    anyhow::ensure!(all == KEYS as i64, "{side:?} has {all} keys after its restart");
    drop(server);
    Ok([anonymous, anonymous + file, restart.as_secs_f64(), cpu, left])
}
