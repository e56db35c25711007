//! Pools of pod addresses (`--ipam=multi-pool`): ranges come as pods need them, none overlaps, and they outlive agents and
//! operators.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testbed::demo::SETTLE;
use testbed::server::{PORT, ask};
use testbed::{Bed, Plan, PodSpec, wait_until};

/// More than a range of the pool has.
const PODS: usize = 7;

#[test]
fn pods_get_addresses_of_the_pools_that_they_name() {
    let Some(_machine) = crate::machine("pools") else { return };
    let folder = tempfile::tempdir().unwrap();
    let operator_flags =
        ["--ipam=multi-pool", "--cluster-pool-ipv4-cidr=10.88.0.0/16", "--cluster-pool-ipv6-cidr=fd88::/104"];
    let plan = Plan {
        agent_flags: vec!["--ipam=multi-pool".to_owned()],
        operator_flags: operator_flags.map(str::to_owned).to_vec(),
        ..crate::plan(folder.path(), 1)
    };
    story(&mut crate::bed(plan).expect("the mesh comes up")).expect("addresses come from the pools");
}

fn story(bed: &mut Bed) -> Result<()> {
    let manifests = bed.manifests("east")?;
    let pool = json!({
        "apiVersion": "cilium.io/v2alpha1", "kind": "CiliumPodIPPool", "metadata": {"name": "blue"},
        "spec": {"ipv4": {"cidrs": ["10.77.0.0/24"], "maskSize": 29}, "ipv6": {"cidrs": ["fd77::/120"], "maskSize": 125}},
    });
    manifests.write("pool.yaml", &pool.to_string())?;
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "painted", "annotations": {"ipam.cilium.io/ip-pool": "blue"}},
    });
    manifests.write("namespace-painted.yaml", &namespace.to_string())?;
    bed.add_pod("east", 0, PodSpec::new("demo", "plain", "plain"))?;
    for number in 0..PODS {
        bed.add_pod("east", 0, PodSpec::new("painted", &format!("near-{number}"), "near"))?;
    }
    bed.add_pod("east", 1, PodSpec::new("painted", "far", "far"))?;
    bed.serve("far")?;

    ensure!(bed.pod("plain")?.ipv4.octets()[..2] == [10, 88], "a pod that names none: {}", bed.pod("plain")?.ipv4);
    let near = (0..PODS).map(|number| bed.pod(&format!("near-{number}")).map(|pod| pod.ipv4));
    let near = near.collect::<Result<Vec<_>>>()?;
    let far = bed.pod("far")?.ipv4;
    ensure!(near.iter().chain([&far]).all(|ip| ip.octets()[..3] == [10, 77, 0]), "{near:?} and {far}");
    // A range has eight addresses.
    let ranges = |ips: &[std::net::Ipv4Addr]| ips.iter().map(|ip| ip.octets()[3] / 8).collect::<BTreeSet<u8>>();
    ensure!(ranges(&near).len() == 2 && ranges(&near).is_disjoint(&ranges(&[far])), "{near:?} and {far}");
    let reaches = |bed: &Bed, from: &str| -> Result<()> {
        let pod = bed.pod("far")?;
        for ip in [IpAddr::from(pod.ipv4), IpAddr::from(pod.ipv6)] {
            let name = ask(bed.pod(from)?, SocketAddr::new(ip, PORT), Duration::from_secs(10))?;
            ensure!(name == "far", "{ip} is {name}");
        }
        Ok(())
    };
    wait_until("the server listens", SETTLE, || reaches(bed, "plain"))?;
    for from in ["near-0", &format!("near-{}", PODS - 1)] {
        reaches(bed, from).with_context(|| format!("from {from}"))?;
    }

    // Neither side need be there for the ranges to be.
    let node = bed.cluster("east")?.nodes[0].clone();
    bed.operators.get_mut("east").context("east has an operator")?.kill()?;
    bed.agents.get_mut(&node.name).context("the node has an agent")?.kill()?;
    bed.restart(|parts| parts.agents.get_mut(&node.name))?;
    bed.wait_ready(&node)?;
    let late = bed.add_pod("east", 0, PodSpec::new("painted", "late", "late"))?.ipv4;
    ensure!(!near.contains(&late) && ranges(&[late]).is_subset(&ranges(&near)), "{late} beside {near:?}");
    reaches(bed, "late").context("after the agent's restart, without an operator")
}
