//! What a node's object says reaches the store, other nodes' kernels and pods: addresses, further ranges, health and ingress.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::demo::{SETTLE, dump};
use testbed::server::{PORT, Server, ask};
use testbed::{Bed, PodSpec, run, wait_until};

#[test]
fn a_nodes_object_reaches_the_store_other_kernels_and_its_pods() {
    let Some(_machine) = crate::machine("node objects") else { return };
    let folder = tempfile::tempdir().unwrap();
    let bed = crate::bed(crate::plan(folder.path(), 1));
    story(&mut bed.expect("the mesh comes up")).expect("the node is what its object says");
}

fn story(bed: &mut Bed) -> Result<()> {
    let cluster = bed.cluster("east")?.clone();
    let (first, second) = (cluster.nodes[0].clone(), cluster.nodes[1].clone());
    bed.add_pod("east", 0, PodSpec::new("demo", "near", "near"))?;
    let object = json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumNode",
        "metadata": {"name": second.name, "labels": {"zone": "z1"}, "annotations": {"network.cilium.io/wg-pub-key": "k="}},
        "spec": {
            "addresses": [{"type": "ExternalIP", "ip": "198.51.100.12"}, {"type": "Hostname", "ip": "198.51.100.13"}],
            "health": {"ipv4": "10.1.2.250"}, "ingress": {"ipv4": "10.1.2.251"},
            "ipam": {"podCIDRs": [second.range4.to_string(), "10.9.2.0/28"]},
        },
    });
    bed.manifests("east")?.write("node.yaml", &object.to_string())?;
    let via = second.ipv4.to_string();
    wait_until("the other node's kernel knows the addresses", SETTLE, || {
        let rows = dump::rows(bed, &first, "ipcache")?;
        for wanted in [
            format!("10.1.2.250/32 4 via {via}"),
            format!("10.1.2.251/32 8 via {via}"),
            format!("10.9.2.0/28 9 via {via}"),
            "198.51.100.12/32 6 via".to_owned(),
            "198.51.100.13/32 6 via".to_owned(),
        ] {
            ensure!(rows.iter().any(|row| row.starts_with(&wanted)), "no row {wanted:?} in {rows:#?}");
        }
        Ok(())
    })?;
    let (store, _) = bed.store("east")?;
    let key = format!("cilium/state/nodes/v1/east/{}", second.name);
    let value: Value = serde_json::from_str(store.etcdctl(&["get", "--print-value-only", &key])?.trim())?;
    ensure!(value["IPv4HealthIP"] == "10.1.2.250" && value["IPv4IngressIP"] == "10.1.2.251", "{value}");
    ensure!(value["WireguardPubKey"] == "k=" && value["Labels"]["zone"] == "z1", "{value}");

    // The first range is filled, and the next pod is one of the second.
    for number in 0..253 {
        let url = format!("http://localhost/v1/ipam?owner=filler-{number}");
        let socket = second.socket.display().to_string();
        let answer = run(&second.netns, &["curl", "-sS", "-X", "POST", "--unix-socket", &socket, &url])?;
        ensure!(!answer.contains("\"10.1.2.250\"") && !answer.contains("\"10.1.2.251\""), "the node's own: {answer}");
        if answer.contains("\"10.9.2.") {
            break;
        }
    }
    let pod = bed.add_pod("east", 1, PodSpec::new("demo", "far", "far")).context("add a pod")?;
    ensure!(pod.ipv4.to_string().starts_with("10.9.2."), "it has {}", pod.ipv4);
    let _servers = [Server::start(bed.pod("near")?)?, Server::start(bed.pod("far")?)?];
    for (from, to) in [("near", "far"), ("far", "near")] {
        let target = (bed.pod(to)?.ip(false), PORT).into();
        wait_until(&format!("{from} reaches {to}"), SETTLE, || {
            let name = ask(bed.pod(from)?, target, std::time::Duration::from_millis(700))?;
            ensure!(name == to, "{name} answers");
            Ok(())
        })?;
    }
    bed.manifests("east")?.remove("node.yaml")?;
    wait_until("the other node's kernel forgets them", SETTLE, || {
        let rows = dump::rows(bed, &first, "ipcache")?;
        ensure!(
            !rows.iter().any(|row| row.starts_with("10.1.2.250/32 ") || row.starts_with("10.9.2.0/28 ")),
            "{rows:#?}"
        );
        Ok(())
    })
}
