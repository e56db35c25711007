//! The embedded store on a disk that loses, at each power cut, what was not synced: nothing acknowledged is lost,
//! revisions never go back, leases live on, and a watch goes on without gap or repeat.

#[path = "../../kvstore/server/tests/support/lazy_fs.rs"]
mod lazy_fs;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use etcd_client::{Client, EventType, LeaseGrantOptions, WatchOptions};
use lazy_fs::LazyFs;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use testbed::Binaries;

const ALL: usize = 200;
const SHORT: usize = 40;
const WRITERS: usize = 4;
const LEASE: i64 = 77;
const LEASE_SECS: i64 = 600;
/// A start takes a fraction of a second; a machine that is busy takes its time.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// What the store has promised so far.
#[derive(Default)]
struct Promised {
    /// The last acknowledged number of each writer.
    acknowledged: BTreeMap<usize, u64>,
    revision: i64,
    /// The last revision that the watch was told of.
    watched: i64,
    next: u64,
    leased: bool,
}

#[test]
fn acknowledged_writes_outlive_every_power_cut() {
    let long = std::env::var("CAUSEWAY_TEST_LONG").is_ok_and(|value| value == "1");
    let rounds = if long { ALL } else { SHORT };
    let ran = on_a_lazy_disk(|files, dir| (cut(files, dir, rounds), files.syncs()));
    let Some((ran, syncs)) = ran else { return };
    let lost = ran.expect("every promise is kept");
    println!("power cuts: ran {rounds} of {ALL}; {syncs} syncs, {lost} sectors and names lost on the way");
    // Few syncs are under way when the power goes; over all of them some are.
    assert!(!long || lost > 0, "a disk that loses nothing proves nothing");
}

/// With syncs that do nothing the same must fail, or it would prove only order.
#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let found = on_a_lazy_disk(|files, dir| {
        files.lie_about_syncs();
        cut(files, dir, SHORT)
    });
    if let Some(found) = found {
        let error = found.expect_err("lost writes are noticed");
        println!("without syncs: {error:#}");
    }
}

fn on_a_lazy_disk<T>(run: impl FnOnce(&LazyFs, &Path) -> T) -> Option<T> {
    // FUSE needs a mount, and the sandbox of the full run is where mounts go away by themselves.
    let _machine = crate::machine("power cuts")?;
    if let Some(missing) = LazyFs::missing() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "FUSE is required: {missing}");
        println!("SKIP power cuts: {missing}");
        return None;
    }
    let dir = tempfile::tempdir().expect("a folder for the disk");
    let files = LazyFs::mount(dir.path(), 11).expect("the lazy disk is mounted");
    Some(run(&files, dir.path()))
}

/// So many power cuts under load: how much the disk lost.
fn cut(files: &LazyFs, dir: &Path, rounds: usize) -> Result<u64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut random = SmallRng::seed_from_u64(5);
    let (mut promised, mut lost) = (Promised::default(), 0);
    for round in 0..rounds {
        let (mut store, url) = start(dir)?;
        let load = Duration::from_millis(random.random_range(5..120));
        let outcome = runtime.block_on(async {
            let mut client = connect(&mut store, &url).await?;
            check(&mut client, &mut promised).await?;
            write(&client, &mut store, &mut promised, load).await
        });
        // Nothing is in flight for the kernel when the process is gone; then the power goes.
        store.kill().ok();
        store.wait()?;
        files.crash();
        lost += files.lost();
        outcome.with_context(|| format!("round {round}"))?;
    }
    Ok(lost)
}

fn start(dir: &Path) -> Result<(Child, String)> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let url = format!("http://127.0.0.1:{port}");
    let store = Command::new(Binaries::beside_us()?.causeway)
        .args(["kvstore", "serve", &format!("--listen-client-urls={url}"), "--initial-cluster-token=cut"])
        .arg(format!("--data-dir={}", dir.join("data").display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok((store, url))
}

async fn connect(store: &mut Child, url: &str) -> Result<Client> {
    let began = std::time::Instant::now();
    while began.elapsed() < STARTS_WITHIN {
        ensure!(store.try_wait()?.is_none(), "the store refuses what the cut left");
        if let Ok(mut client) = Client::connect([url], None).await
            && client.get("a", None).await.is_ok()
        {
            return Ok(client);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("the store does not answer")
}

/// Everything that was promised before the cut.
async fn check(client: &mut Client, promised: &mut Promised) -> Result<()> {
    let now = client.get("a", None).await?.header().context("a header")?.revision();
    ensure!(now >= promised.revision, "revision {now} after {}", promised.revision);
    for (writer, acknowledged) in &promised.acknowledged {
        let found = client.get(format!("w/{writer}"), None).await?;
        let value = found.kvs().first().context("an acknowledged key is gone")?.value_str()?.parse::<u64>()?;
        ensure!(value >= *acknowledged, "writer {writer}: {value} after {acknowledged} was acknowledged");
    }
    if promised.leased {
        let left = client.lease_time_to_live(LEASE, None).await?;
        ensure!(left.granted_ttl() == LEASE_SECS && left.ttl() > LEASE_SECS - 60, "the lease has {} s", left.ttl());
    }
    // The watch goes on behind what it was told: every later revision comes once.
    if promised.watched > 0 && now > promised.watched {
        let from = WatchOptions::new().with_prefix().with_start_revision(promised.watched + 1);
        let mut events = client.watch("w/", Some(from)).await?;
        while promised.watched < now {
            let message =
                tokio::time::timeout(Duration::from_secs(10), events.message()).await??.context("the watch ended")?;
            ensure!(!message.canceled(), "the watch was cancelled");
            for event in message.events() {
                let kv = event.kv().context("an event has a key")?;
                ensure!(event.event_type() == EventType::Put, "nobody deletes here");
                ensure!(
                    kv.mod_revision() == promised.watched + 1,
                    "revision {} follows {}",
                    kv.mod_revision(),
                    promised.watched
                );
                promised.watched = kv.mod_revision();
            }
        }
    }
    (promised.revision, promised.watched) = (now, now);
    Ok(())
}

/// Writers that go on until the store is killed under them; what was acknowledged meanwhile is promised.
async fn write(client: &Client, store: &mut Child, promised: &mut Promised, load: Duration) -> Result<()> {
    if !promised.leased {
        let lease = LeaseGrantOptions::new().with_id(LEASE);
        client.clone().lease_grant(LEASE_SECS, Some(lease)).await.context("grant the lease")?;
        promised.leased = true;
    }
    let first = promised.next;
    promised.next += 1_000_000;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let mut client = client.clone();
        writers.spawn(async move {
            let mut last = None;
            for number in first.. {
                // An error is the kill: whether that write happened nobody knows.
                let Ok(answer) = client.put(format!("w/{writer}"), number.to_string(), None).await else { break };
                last = Some((number, answer.header().map_or(0, |header| header.revision())));
            }
            (writer, last)
        });
    }
    tokio::time::sleep(load).await;
    store.kill()?;
    while let Some(done) = writers.join_next().await {
        if let (writer, Some((number, revision))) = done? {
            promised.acknowledged.insert(writer, number);
            promised.revision = promised.revision.max(revision);
        }
    }
    Ok(())
}
