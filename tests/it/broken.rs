//! Each checker of the proofs, on a system that is broken in the way that it is there to notice: it must fail.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use testbed::demo::{Stage, dump, policy, service, talk};
use testbed::flow::Flow;

#[test]
fn checkers_fail_on_broken_systems() {
    let Some(_machine) = crate::machine("broken") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut stage = crate::stage(folder.path()).expect("the mesh comes up");
    for (name, check) in [
        ("without its policy a forbidden flow is delivered", policy_removed as fn(&mut Stage) -> Result<()>),
        ("another identity on the wire", vni_altered),
        ("one backend only", one_backend_only),
        ("a lossy link", lossy_link),
        ("a row that went", row_gone),
    ] {
        check(&mut stage).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
}

/// A checker that should have failed and did not.
fn must_fail(what: &str, result: Result<()>) -> Result<()> {
    match result {
        Ok(()) => bail!("the checker did not notice: {what}"),
        Err(error) => {
            println!("noticed: {error:#}");
            Ok(())
        }
    }
}

fn policy_removed(stage: &mut Stage) -> Result<()> {
    let manifests = stage.bed.manifests("east")?;
    manifests.policy("demo", "echo", &policy::spec())?;
    stage.expect("intruder-a", "echo-b", false, false)?;
    let flow = Flow::start("intruder-a to echo-b", stage.pod("intruder-a")?, stage.pod("echo-b")?, false, 9201, 100)?;
    std::thread::sleep(Duration::from_millis(500));
    manifests.remove_policy("demo", "echo")?;
    stage.expect("intruder-a", "echo-b", false, true)?;
    std::thread::sleep(Duration::from_millis(500));
    must_fail("a forbidden flow was delivered", flow.stop()?.check_none_delivered())
}

fn vni_altered(stage: &mut Stage) -> Result<()> {
    let wanted = stage.identity_in_etcd("client-a", false)?;
    // What the wire would show if packets of client-a carried the identity of another pod.
    let vni = talk::vni_on_the_wire(stage, "intruder-a", "echo-b", false)?;
    ensure!(vni != wanted, "control: the two pods have identities of their own");
    must_fail("another identity on the wire", talk::check_vni("client-a", vni, wanted))
}

fn one_backend_only(stage: &mut Stage) -> Result<()> {
    stage.bed.add_service("east", "web", "web", &service::EAST.map(str::to_owned), &[])?;
    service::wait_for_backends(stage, "client-a", service::EAST[0], &["web-a", "web-b", "web-c"])?;
    for pod in ["web-b", "web-c"] {
        service::relabel(stage, pod, "retired")?;
    }
    service::wait_for_backends(stage, "client-a", service::EAST[0], &["web-a"])?;
    let answers = testbed::demo::ask_often(stage.pod("client-a")?, service::EAST[0].parse()?, 90)?;
    let count = |name: &'static str| (name, answers.get(name).copied().unwrap_or(0).into());
    let counts = ["web-a", "web-b", "web-c"].map(count).into();
    must_fail("one backend got everything", service::check_spread(&counts, 90))
}

fn lossy_link(stage: &mut Stage) -> Result<()> {
    stage.expect("client-a", "echo-b", false, true)?;
    let flow = Flow::start("client-a to echo-b", stage.pod("client-a")?, stage.pod("echo-b")?, false, 9202, 100)?;
    std::thread::sleep(Duration::from_millis(500));
    let uplink = stage.node_of("echo-b")?.uplink.clone();
    stage.bed.network.set_port(&uplink, false)?;
    std::thread::sleep(Duration::from_millis(300));
    stage.bed.network.set_port(&uplink, true)?;
    stage.expect("client-a", "echo-b", false, true)?;
    std::thread::sleep(Duration::from_millis(300));
    must_fail("datagrams were lost", flow.stop()?.check_all_delivered())
}

fn row_gone(stage: &mut Stage) -> Result<()> {
    let node = stage.node_of("client-a")?.clone();
    let before = dump::all(&stage.bed, &node)?;
    stage.bed.remove_pod("web-a")?;
    let after = dump::all(&stage.bed, &node)?;
    let gone: Vec<_> = before.difference(&after).cloned().collect();
    must_fail("rows went", if gone.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("{gone:?} went")) })
}
