//! Policies by ranges of addresses, with packets to and from a host that is no pod; and numbers that outlive the agent.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use netlink::Namespace;
use serde_json::json;
use testbed::demo::{SETTLE, dump};
use testbed::server::{PORT, Server, ask};
use testbed::{Bed, PodSpec, run, wait_until};

/// Within the policy's range, and in what it leaves out.
const NEAR: &str = "198.51.100.7";
const FAR: &str = "198.51.100.99";

#[test]
fn policies_by_ranges_hold_and_their_numbers_outlive_the_agent() {
    let Some(_machine) = crate::machine("ranges") else { return };
    let folder = tempfile::tempdir().unwrap();
    let bed = crate::bed(crate::plan(folder.path(), 1));
    story(&mut bed.expect("the mesh comes up")).expect("ranges are told apart");
}

fn story(bed: &mut Bed) -> Result<()> {
    let cluster = bed.cluster("east")?.clone();
    let node = cluster.nodes[0].clone();
    let (outside, gateway) = (cluster.store_netns.clone(), cluster.store_ip.to_string());
    for address in [NEAR, FAR] {
        run(&outside, &["ip", "address", "add", &format!("{address}/32"), "dev", "lo"])?;
    }
    run(&node.netns, &["ip", "route", "add", "198.51.100.0/24", "via", &gateway])?;
    bed.add_pod("east", 0, PodSpec::new("demo", "web", "web"))?;
    let _server = Server::start(bed.pod("web")?)?;
    let testbed = bed.binaries.causeway.with_file_name("testbed").display().to_string();
    let log = bed.plan.dir.join("outside.log");
    let _outside = bed.spawn("outside", &outside, &log, &[testbed, "serve".to_owned(), "outside".to_owned()])?;
    let stage = Stage { outside, node_ip: node.ipv4.to_string(), range: node.range4.to_string() };
    for address in [NEAR, FAR] {
        stage.expect(bed, address, true, true).context("control, without a policy")?;
    }

    let egress = json!([{"toCIDRSet": [{"cidr": "198.51.100.0/24", "except": ["198.51.100.96/27"]}]}]);
    let spec = json!({
        "endpointSelector": {"matchLabels": {"app": "web"}}, "egress": egress, "ingress": [{"fromCIDR": [FAR]}],
    });
    bed.manifests("east")?.policy("demo", "ranges", &spec)?;
    // From the range with number 1 of this node's: the host, which always may, has number 1 too.
    stage.expect(bed, NEAR, true, false)?;
    stage.expect(bed, FAR, false, true)?;
    let numbers = bed.causeway(&node, &["statedb", "show", "cidr-identities"])?;
    for prefix in ["198.51.100.0/24", "198.51.100.96/27", FAR] {
        ensure!(numbers.contains(prefix), "{prefix} has no number: {numbers}");
    }
    let shown = bed.causeway(&node, &["identity", "list"])?;
    ensure!(shown.contains("cidr:198.51.100.96/27"), "identity list: {shown}");
    let rows = dump::rows(bed, &node, "ipcache")?;
    ensure!(rows.iter().any(|row| row.starts_with("198.51.100.96/27 1677721")), "the kernel's rows: {rows:?}");
    // Nothing of it is anybody else's business.
    let (store, _) = bed.store("east")?;
    let keys = store.etcdctl(&["get", "--prefix", "--keys-only", "cilium/"])?;
    ensure!(!keys.contains("16777") && !keys.contains("198.51"), "the store: {keys}");

    bed.agents.get_mut(&node.name).context("the node has an agent")?.kill()?;
    bed.restart(|parts| parts.agents.get_mut(&node.name))?;
    bed.wait_ready(&node)?;
    let after = bed.causeway(&node, &["statedb", "show", "cidr-identities"])?;
    ensure!(after == numbers, "before the restart\n{numbers}after it\n{after}");
    stage.expect(bed, NEAR, true, false)?;
    stage.expect(bed, FAR, false, true)?;

    bed.manifests("east")?.remove_policy("demo", "ranges")?;
    stage.expect(bed, FAR, true, true)?;
    wait_until("the ranges are gone from the kernel", SETTLE, || {
        let rows = dump::rows(bed, &node, "ipcache")?;
        ensure!(!rows.iter().any(|row| row.starts_with("198.51.100.")), "{rows:?}");
        Ok(())
    })
}

struct Stage {
    outside: String,
    node_ip: String,
    range: String,
}

impl Stage {
    /// Waits until the pod reaches the address, and is reached from it, or not.
    fn expect(&self, bed: &Bed, address: &str, reaches: bool, reached: bool) -> Result<()> {
        // The source of what is sent to pods is the route's.
        run(&self.outside, &["ip", "route", "replace", &self.range, "via", &self.node_ip, "src", address])?;
        let (pod, target) = (bed.pod("web")?, SocketAddr::new(address.parse::<IpAddr>()?, PORT));
        let inward = SocketAddr::new(pod.ipv4.into(), PORT);
        let within = Duration::from_millis(700);
        wait_until(&format!("{address} is reached: {reaches}, reaches: {reached}"), SETTLE, || {
            let out = ask(pod, target, within).is_ok_and(|name| name == "outside");
            let outside = Namespace::open(&self.outside)?;
            let back = outside.enter(|| {
                let mut stream = TcpStream::connect_timeout(&inward, within)?;
                stream.set_read_timeout(Some(within))?;
                let mut name = String::new();
                stream.read_to_string(&mut name).map(|_| name)
            })?;
            let back = back.is_ok_and(|name| name.trim_end() == "web");
            if (out, back) != (reaches, reached) {
                bail!("it is reached: {out}, reaches: {back}");
            }
            Ok(())
        })
    }
}
