//! Lists as Cilium makes them, in pages of 256 pinned to a revision; and counts.

use anyhow::Result;
use kvstore_server::pb::etcdserverpb as pb;

use crate::client::Client;
use crate::memory::keys;
use crate::report::{compare, line};
use crate::server::{Server, Side};

const PAGE: i64 = 256;
const COUNTS: u32 = 200;

struct Taken {
    list_s: f64,
    count_us: f64,
    first_us: f64,
    last_us: f64,
}

pub(crate) fn run() -> Result<()> {
    for keys in [200_000, 500_000] {
        let (etcd, ours) = (take(Side::Etcd, keys)?, take(Side::Ours, keys)?);
        compare(
            &format!("list of {keys} keys by pages of 256: server CPU"),
            "s",
            Some(0.05),
            &[(etcd.list_s, ours.list_s)],
        )?;
        compare(&format!("count of {keys} keys: server CPU"), "us", Some(0.05), &[(etcd.count_us, ours.count_us)])?;
        line(
            &format!("list of {keys} keys: the first hundred pages against the last, ours"),
            ours.first_us / ours.last_us,
            "x",
            None,
        );
        line(
            &format!("list of {keys} keys: the first hundred pages against the last, etcd"),
            etcd.first_us / etcd.last_us,
            "x",
            None,
        );
    }
    Ok(())
}

fn take(side: Side, count: usize) -> Result<Taken> {
    let server = Server::start(side)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect(&server.url()).await?;
        client.fill(keys(count), &[b'v'; 208]).await?;
        let mut request =
            pb::RangeRequest { key: "c".into(), range_end: "d".into(), limit: PAGE, ..Default::default() };
        let (before, pages) = (server.cpu()?, count as i64 / PAGE);
        let (mut marks, mut page, mut seen) = (Vec::new(), 0, 0);
        loop {
            if page == 100 || page == pages - 100 || page == pages {
                marks.push(server.cpu()?);
            }
            let answer = client.range(request.clone()).await?;
            request.revision = answer.header.unwrap_or_default().revision;
            seen += answer.kvs.len();
            page += 1;
            match answer.kvs.last() {
                Some(last) if answer.more => request.key = [&last.key[..], &[0]].concat().into(),
                _ => break,
            }
        }
        anyhow::ensure!(seen == count, "{seen} of {count} keys came");
        let list = server.cpu()? - before;
        let before_counts = server.cpu()?;
        for _ in 0..COUNTS {
            let request =
                pb::RangeRequest { key: "c".into(), range_end: "d".into(), count_only: true, ..Default::default() };
            anyhow::ensure!(client.range(request).await?.count == count as i64, "a count is wrong");
        }
        let counted = server.cpu()? - before_counts;
        let part = |from: std::time::Duration, to: std::time::Duration| (to - from).as_secs_f64().max(0.01) * 1e4;
        Ok(Taken {
            list_s: list.as_secs_f64(),
            count_us: counted.as_secs_f64().max(0.01) * 1e6 / f64::from(COUNTS),
            first_us: part(before, marks[0]),
            last_us: part(marks[1], marks[2]),
        })
    })
}
