//! From the start of the CNI plugin's ADD to the first answered TCP connection of the new pod, to a pod on another node;
//! the median of twenty pods. Needs root and the release binaries; `cargo xtask bench cni`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::server::{self, Server};
use testbed::{Bed, Binaries, Plan, PodSpec};

const PODS: usize = 20;
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
    let (mut adds, mut firsts) = (Vec::new(), Vec::new());
    for pod in 0..PODS {
        let name = format!("pod-{pod}");
        let started = Instant::now();
        bed.add_pod("east", 0, PodSpec::new("demo", &name, "client"))?;
        let added = started.elapsed();
        // The first try may wait for the server's side to learn the address: a SYN is sent again after a second, so
        // short tries tell the time better than one long one.
        while let Err(error) = server::ask(bed.pod(&name)?, target, Duration::from_millis(20)) {
            if started.elapsed() > LOST {
                return Err(error).context(format!("{name} never reaches {target}"));
            }
        }
        adds.push(added);
        firsts.push(started.elapsed());
    }
    drop(server);
    bed.down()?;
    std::fs::remove_dir_all(&dir).ok();
    let (add, add_high) = testbed::demo::percentiles(adds);
    let (first, first_high) = testbed::demo::percentiles(firsts);
    for (name, time) in [
        ("CNI ADD to first answered connection, median", first),
        ("CNI ADD to first answered connection, slowest", first_high),
        ("CNI ADD alone, median", add),
        ("CNI ADD alone, slowest", add_high),
    ] {
        println!(r#"{{"name":"{name} of {PODS} pods","value":{:.2},"unit":"ms"}}"#, time.as_secs_f64() * 1e3);
    }
    Ok(())
}
