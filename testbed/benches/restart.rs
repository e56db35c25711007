//! An agent's restart with 50,000 remote endpoints: from the start of the process until it says that it is ready, and
//! what it then has in memory; beside it an agent that has none. Needs root and the release binaries;
//! `cargo xtask bench restart`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, PutOptions, Txn, TxnOp};
use testbed::{Bed, Binaries, Plan, wait_until};

const ENDPOINTS: u32 = 50_000;
const IDENTITIES: u32 = 500;
/// Starts that are timed.
const ROUNDS: usize = 5;
/// etcd's limit of operations in a transaction.
const BATCH: usize = 128;

fn main() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("causeway-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let run_id = format!("{:04x}", rand::random::<u16>());
    let plan = Plan::new(&run_id, &dir, 2);
    let mut bed = Bed::up(plan, Binaries::beside_us()?, &dir.join("ledger.json"), |line| eprintln!("{line}"))?;
    let (few, _) = restarts(&mut bed)?;
    fill(&bed)?;
    let node = bed.node("east-1")?.clone();
    wait_until("every endpoint is in the kernel", Duration::from_secs(120), || {
        let rows = testbed::demo::dump::rows(&bed, &node, "ipcache")?.len();
        ensure!(rows >= ENDPOINTS as usize, "{rows} rows");
        Ok(())
    })?;
    // A snapshot is written at most every ten seconds.
    std::thread::sleep(Duration::from_secs(12));
    let (many, memory) = restarts(&mut bed)?;
    bed.down()?;
    std::fs::remove_dir_all(&dir).ok();
    let remote = format!("{ENDPOINTS} remote endpoints");
    println!(
        r#"{{"name":"restart to ready, {remote}, median of {ROUNDS}","value":{:.0},"unit":"ms","aim":2000}}"#,
        ms(many)
    );
    println!(r#"{{"name":"restart to ready, none, median of {ROUNDS}","value":{:.0},"unit":"ms"}}"#, ms(few));
    println!(r#"{{"name":"resident memory when ready, {remote}","value":{:.0},"unit":"MB","aim":60}}"#, memory);
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The median time to ready, and the resident memory of the last start in megabytes.
fn restarts(bed: &mut Bed) -> Result<(Duration, f64)> {
    let node = bed.node("east-1")?.clone();
    let mut times = Vec::new();
    let mut memory = 0.0;
    for _ in 0..ROUNDS {
        bed.agents.get_mut("east-1").context("the node has an agent")?.kill()?;
        let started = Instant::now();
        bed.restart(|parts| parts.agents.get_mut("east-1"))?;
        bed.wait_ready(&node)?;
        times.push(started.elapsed());
        // Remote clusters are none of readiness's business: let the agent take them in.
        std::thread::sleep(Duration::from_secs(3));
        memory = resident(bed.agents["east-1"].pid())?;
    }
    times.sort_unstable();
    Ok((times[ROUNDS / 2], memory))
}

fn resident(pid: i32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("read the agent's status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("it has a resident size")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().context("it is in kB")?;
    Ok(kib * 1024.0 / 1e6)
}

/// West's store gets endpoints as if its nodes had them.
fn fill(bed: &Bed) -> Result<()> {
    let cluster = bed.cluster("west")?;
    let (store, host) = (bed.stores["west"].endpoint.clone(), "192.168.240.99");
    let netns = netlink::Namespace::open(&cluster.nodes[0].netns)?;
    let first_identity = (cluster.id << 16) + 20_000;
    netns.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut client = Client::connect([&store], None).await.context("reach etcd")?;
            // Addresses count only within what a node of their cluster declares.
            let node = format!(
                r#"{{"Name":"bench","Cluster":"west","IPAddresses":[{{"Type":"InternalIP","IP":"{host}"}}],"IPv4AllocCIDR":{{"IP":"10.128.0.0","Mask":"//8AAA=="}},"ClusterID":{},"Source":"local"}}"#,
                cluster.id
            );
            client.put("cilium/state/nodes/v1/west/bench", node, None).await.context("put the node")?;
            let identities = (0..IDENTITIES).map(|number| {
                let labels = format!(
                    "k8s:app=bench-{number};k8s:io.cilium.k8s.policy.cluster=west;k8s:io.kubernetes.pod.namespace=demo;"
                );
                (format!("cilium/state/identities/v1/id/{}", first_identity + number), labels)
            });
            let ips = (0..ENDPOINTS).map(|number| {
                // 10.128.0.0/16 belongs to nobody else here.
                let ip = std::net::Ipv4Addr::from(0x0a80_0000 + number);
                let identity = first_identity + number % IDENTITIES;
                let value = format!(
                    r#"{{"IP":"{ip}","Mask":null,"HostIP":"{host}","ID":{identity},"Key":0,"Metadata":"cilium-global:west:west-1:{number}","K8sNamespace":"demo","K8sPodName":"bench-{number}"}}"#
                );
                (format!("cilium/state/ip/v1/default/{ip}"), value)
            });
            let pairs: Vec<(String, String)> = identities.chain(ips).collect();
            for batch in pairs.chunks(BATCH) {
                let puts = batch.iter().map(|(key, value)| TxnOp::put(key.as_str(), value.as_str(), None::<PutOptions>));
                client.txn(Txn::new().and_then(puts.collect::<Vec<_>>())).await.context("put a batch")?;
            }
            Ok(())
        })
    })?
}
