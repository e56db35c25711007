//! CNI ADD: 200 pods one after the other, then 50 at once; and from the start of an ADD to the pod's first answered
//! connection to a pod on another node. The Pod objects are there before, as a kubelet has them. Needs root and the
//! release binaries; `cargo xtask bench cni`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::demo::percentiles;
use testbed::server::{self, Server};
use testbed::{Bed, Binaries, Plan, PodSpec};

const SEQUENCE: usize = 200;
const PARALLEL: usize = 50;
const CONNECTED: usize = 20;
/// A pod that takes longer has no network.
const LOST: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("causeway-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let run_id = format!("{:04x}", rand::random::<u16>());
    let plan = Plan::new(&run_id, &dir, 2);
    let mut bed = Bed::up(plan, Binaries::beside_us()?, &dir.join("ledger.json"), |line| eprintln!("{line}"))?;
    bed.add_pod("east", 1, PodSpec::new("demo", "server", "server"))?;
    let server = Server::start(bed.pod("server")?)?;
    let target = SocketAddr::new(bed.pod("server")?.ip(false), server::PORT);

    let firsts = first_connections(&mut bed, target)?;
    let sequence = adds(&mut bed, "seq", 0, SEQUENCE, 1)?;
    let parallel = adds(&mut bed, "par", 1, PARALLEL, PARALLEL)?;
    drop(server);
    bed.down()?;
    std::fs::remove_dir_all(&dir).ok();

    for (what, times, aim) in [
        (format!("CNI ADD, {SEQUENCE} in sequence"), sequence, r#","aim":25"#),
        (format!("CNI ADD, {PARALLEL} in parallel"), parallel, ""),
        (format!("CNI ADD to first answered connection, {CONNECTED} pods"), firsts, ""),
    ] {
        let (median, high) = percentiles(times);
        for (percentile, time, aim) in [("p50", median, ""), ("p99", high, aim)] {
            println!(r#"{{"name":"{what}, {percentile}","value":{:.2},"unit":"ms"{aim}}}"#, time.as_secs_f64() * 1e3);
        }
    }
    Ok(())
}

fn adds(bed: &mut Bed, name: &str, node: usize, count: usize, at_once: usize) -> Result<Vec<Duration>> {
    let specs: Vec<_> = (0..count).map(|pod| PodSpec::new("demo", &format!("{name}-{pod}"), "client")).collect();
    bed.announce_pods("east", &specs)?;
    // The agent reads them.
    std::thread::sleep(Duration::from_secs(1));
    bed.connect_pods("east", node, specs, at_once)
}

fn first_connections(bed: &mut Bed, target: SocketAddr) -> Result<Vec<Duration>> {
    let specs: Vec<_> = (0..CONNECTED).map(|pod| PodSpec::new("demo", &format!("first-{pod}"), "client")).collect();
    bed.announce_pods("east", &specs)?;
    std::thread::sleep(Duration::from_secs(1));
    let mut times = Vec::new();
    for spec in specs {
        let name = spec.name.clone();
        let started = Instant::now();
        bed.connect_pods("east", 0, vec![spec], 1)?;
        // The first try may wait for the server's side to learn the address: a SYN is sent again after a second, so
        // short tries tell the time better than one long one.
        while let Err(error) = server::ask(bed.pod(&name)?, target, Duration::from_millis(20)) {
            if started.elapsed() > LOST {
                return Err(error).context(format!("{name} never reaches {target}"));
            }
        }
        times.push(started.elapsed());
    }
    Ok(times)
}
