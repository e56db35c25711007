//! A node that was switched off: nothing is left of it but what is under `--lib-dir`.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::flow::{Flow, Receiver, Sender};

use crate::paths::{self, Path};
use crate::probes::RATE;
use crate::run::Run;

/// The node.
const NODE: &str = "east-1";
/// Within which everything flows again, counted from the agent's start.
const RECOVERED: Duration = Duration::from_secs(10);

/// Maps, links and state go; pods are added again, in another order, so that addresses change hands.
pub(crate) fn restarted(run: &mut Run) -> Result<()> {
    let node = run.node(NODE)?;
    let touched: Vec<Path> =
        paths::all().into_iter().filter(|path| path.touches_node(&run.stage, NODE).unwrap_or(false)).collect();
    let is_touched = |path: &Path| touched.contains(path) || path.from == "client-a" || path.to == "client-a";
    let records = run.probes.stop(is_touched)?;
    run.records.records.extend(records);

    run.inject(format!("{NODE} is switched off: its agent, pods, interfaces, maps, links and --state-dir go"));
    run.agent(NODE)?.kill()?;
    let pods: Vec<String> =
        run.stage.bed.pods.values().filter(|pod| pod.node == NODE).map(|pod| pod.spec.name.clone()).collect();
    let before: BTreeMap<String, _> =
        pods.iter().map(|pod| Ok((pod.clone(), run.stage.pod(pod)?.ipv4))).collect::<Result<_>>()?;
    // Not CNI's delete: nobody is told.
    let mut specs = Vec::new();
    for pod in &pods {
        if let Some(mut server) = run.stage.bed.servers.remove(pod) {
            server.kill()?;
        }
        let gone = run.stage.bed.pods.remove(pod).context("it was listed")?;
        netlink::Namespace::delete_if_exists(&gone.netns)?;
        specs.push(gone.spec);
    }
    unpin(&node.bpf_root)?;
    let netns = netlink::Namespace::open(&node.netns)?;
    let links = netns.enter(|| -> netlink::Result<usize> {
        let mut netlink = netlink::Netlink::open()?;
        let mut gone = 0;
        for link in netlink.links()? {
            if link.name.starts_with("causeway_") || link.name.starts_with("lxc") {
                // The other end of a pair may have gone with it.
                gone += usize::from(netlink.delete_link(&link.name).is_ok());
            }
        }
        Ok(gone)
    })??;
    fs::remove_dir_all(&node.state_dir).with_context(|| format!("remove {}", node.state_dir.display()))?;
    ensure!(!node.bpf_root.join("maps").exists(), "maps are still pinned");
    run.evidence(format!("{} pods, {links} interfaces and every pin are gone", pods.len()));

    // From elsewhere, what is forbidden towards this node is tried all along.
    let mut outside: Vec<(Path, Sender, std::net::SocketAddr)> = Vec::new();
    for path in touched.iter().filter(|path| !path.allowed && !pods.iter().any(|pod| pod == path.from)) {
        let old = if path.ipv6 { continue } else { before[path.to] };
        let target = std::net::SocketAddr::new(old.into(), path.port);
        let sender = Sender::start(&path.name(), run.stage.pod(path.from)?, target, RATE)?;
        outside.push((path.clone(), sender, target));
    }

    let started = Instant::now();
    run.stage.bed.restart(|parts| parts.agents.get_mut(NODE))?;
    testbed::wait_until("the agent answers", RECOVERED, || {
        run.stage.bed.causeway(&node, &["endpoint", "list"]).map(|_| ())
    })?;
    // Strangers first: they get the addresses that others had.
    specs.sort_by_key(|spec| (spec.name.starts_with("client"), std::cmp::Reverse(spec.name.clone())));
    let mut moved = 0;
    for spec in specs {
        let name = spec.name.clone();
        run.stage.bed.add_pod("east", 0, spec).with_context(|| format!("add {name} again"))?;
        moved += usize::from(run.stage.pod(&name)?.ipv4 != before[&name]);
        // What it may not send, it tries at once.
        for path in
            touched.iter().filter(|path| !path.allowed && path.from == name && !pods.iter().any(|pod| pod == path.to))
        {
            let flow = Flow::through(
                &path.name(),
                run.stage.pod(path.from)?,
                run.stage.pod(path.to)?,
                path.target(&run.stage)?,
                RATE,
            )?;
            run.probes.add(path.clone(), flow);
        }
    }
    run.evidence(format!("{moved} of {} pods have an address that another had", pods.len()));
    for (path, sender, target) in outside {
        // Whoever has the address now listens: if it is not the old one, policy for it may be another.
        let holder = run.stage.bed.pods.values().find(|pod| std::net::IpAddr::from(pod.ipv4) == target.ip());
        let protected = holder.filter(|pod| pod.spec.labels["app"] != "intruder");
        let mut flow = Flow::from_sender(sender);
        if let Some(pod) = protected {
            flow.listen(Receiver::start(pod, path.ipv6, path.port)?);
        }
        run.probes.add(path, flow);
    }
    run.stage.bed.wait_ready(&node)?;
    let left = RECOVERED.saturating_sub(started.elapsed());
    for path in touched.iter().filter(|path| path.allowed) {
        testbed::wait_until(&format!("{} flows again", path.name()), left, || {
            let (from, to) = (run.stage.pod(path.from)?, run.stage.pod(path.to)?);
            let flow = Flow::through(&path.name(), from, to, path.target(&run.stage)?, RATE)?;
            std::thread::sleep(Duration::from_millis(30));
            ensure!(!flow.stop()?.answered.is_empty(), "no answer");
            Ok(())
        })?;
    }
    run.holds("everything flows again", format!("{:.1} s after the agent's start", started.elapsed().as_secs_f64()));
    run.heal("the node is back");
    let stage = &run.stage;
    run.probes.start(stage, |path| is_touched(path) && path.allowed)?;
    let inside = |path: &Path| pods.iter().any(|pod| pod == path.to) && !path.allowed;
    run.probes.start(stage, |path| inside(path) && (path.ipv6 || pods.iter().any(|pod| pod == path.from)))?;
    for pod in pods {
        run.stage.bed.serve(&pod)?;
    }
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

/// Removes every pin below a directory; the directory stays.
fn unpin(root: &std::path::Path) -> Result<()> {
    for entry in fs::read_dir(root).with_context(|| format!("list {}", root.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            unpin(&path)?;
            fs::remove_dir(&path).with_context(|| format!("remove {}", path.display()))?;
        } else {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}
