//! Every list of the command line, in every form, on a live mesh.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::demo::Stage;

/// Commands that list something, with a heading of their table and a word that must be in it.
const LISTS: [(&str, &str, &str); 17] = [
    ("endpoint list", "IDENTITY", "app=client"),
    ("identity list", "LABELS", "reserved:host"),
    ("ip list", "IDENTITY", "10.1.1.1/32"),
    ("node list", "Endpoint CIDR", "west/west-1"),
    ("service list", "Frontend", "10.101.0.10:80/TCP"),
    ("policy get", "SUBJECT", ""),
    ("policy selectors", "IDENTITIES", ""),
    ("bpf ipcache list", "TUNNELENDPOINT", "10.1.1.1/32"),
    ("bpf policy list", "PORT/PROTO", "ingress"),
    ("bpf lb list", "BACKEND ADDRESS", "10.101.0.10:80/TCP"),
    ("bpf ct list global", "EXPIRES", ""),
    ("bpf metrics list", "REASON", ""),
    ("bpf endpoint list", "ENDPOINT", ""),
    ("statedb", "REVISION", "ipcache"),
    ("statedb show nodes", "Source", "west/west-2"),
    ("statedb show remote-clusters", "READY", "west"),
    ("statedb show identities", "LABELS", "policy.cluster=west"),
];

/// Runs them all.
pub(crate) fn every_list_prints(stage: &Stage) -> Result<()> {
    let node = stage.node_of("client-a")?;
    for (command, heading, word) in LISTS {
        let words: Vec<&str> = command.split(' ').collect();
        let table = stage.bed.causeway(node, &words)?;
        ensure!(table.contains(heading) && table.contains(word), "`{command}` lacks {heading:?} or {word:?}:\n{table}");
        let json = stage.bed.causeway(node, &[&words[..], &["-o", "json"]].concat())?;
        let rows: Value = serde_json::from_str(&json).with_context(|| format!("`{command} -o json`"))?;
        ensure!(rows.is_array(), "`{command} -o json` is no list: {json}");
        let yaml = stage.bed.causeway(node, &[&words[..], &["-o", "yaml"]].concat())?;
        ensure!(!yaml.trim().is_empty(), "`{command} -o yaml` prints nothing");
    }
    let status = stage.bed.causeway(node, &["status"])?;
    ensure!(status.contains("1/1 remote clusters ready") && status.contains("KVStore:       Ok"), "{status}");
    ensure!(stage.bed.causeway(node, &["status", "--brief"])? == "OK\n", "status --brief");
    let mesh = stage.bed.causeway(node, &["clustermesh", "status"])?;
    ensure!(mesh.contains("west: ready"), "{mesh}");
    let one = stage.bed.causeway(node, &["endpoint", "get", "pod-name:demo:client-a", "-o", "json"])?;
    let one: Value = serde_json::from_str(&one)?;
    ensure!(one["status"]["state"] == "ready", "{one:#}");
    kvstore(stage)?;
    metrics(stage)?;
    refusals(stage)
}

fn kvstore(stage: &Stage) -> Result<()> {
    let node = stage.node_of("client-a")?;
    let store = format!("--kvstore-opt=etcd.address={}", stage.bed.stores["east"].endpoint);
    let run = |words: &[&str]| stage.bed.causeway(node, &[&["kvstore", &store], words].concat());
    run(&["set", "--key", "causeway-test/a", "--value", "1"])?;
    run(&["set", "--key", "causeway-test/b", "--value", "2"])?;
    ensure!(run(&["get", "causeway-test/a"])? == "causeway-test/a => 1\n");
    ensure!(run(&["get", "--recursive", "causeway-test/"])?.lines().count() == 2);
    ensure!(run(&["delete", "--recursive", "causeway-test/"])? == "2 keys deleted\n");
    let config = run(&["get", "cilium/cluster-config/east"])?;
    let expected = r#"{"id":1,"capabilities":{"maxConnectedClusters":255,"serviceExportsEnabled":false}}"#;
    ensure!(config.contains(expected), "{config}");
    ensure!(
        run(&["get", "cilium/.heartbeat"])?.contains("cilium/.heartbeat => 20"),
        "the operator's heartbeat is there"
    );
    Ok(())
}

/// Metrics carry Cilium's names.
fn metrics(stage: &Stage) -> Result<()> {
    let netns = &stage.node_of("client-a")?.netns;
    let get = "exec 3<>/dev/tcp/127.0.0.1/9962; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
    let text = testbed::run(netns, &["bash", "-c", get])?;
    ensure!(text.contains("cilium_forward_count_total{direction=\"EGRESS\"}"), "{text}");
    ensure!(text.contains("cilium_drop_count_total{direction=\"INGRESS\",reason=\"Policy denied\"}"), "{text}");
    Ok(())
}

/// Bad input is answered with a sentence that says how to go on.
fn refusals(stage: &Stage) -> Result<()> {
    let node = stage.node_of("client-a")?;
    for (command, expected) in [
        ("endpoint get 65000", "there is no endpoint 65000"),
        ("endpoint get frob:1", "is none of cilium-local, container-id"),
        ("identity get 1999999", "there is no identity 1999999"),
        ("statedb show frob", "there is no table \"frob\"; there are"),
        ("bpf ipcache list --bpf-root /sys/fs/bpf/nowhere", "--bpf-root chooses another place"),
        ("status --socket-path /nowhere.sock", "is it running?"),
        ("kvstore --kvstore-opt etcd.frob=1 get x", "etcd.frob"),
        ("post-uninstall-cleanup --force", "stop it first"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let answer = stage.bed.causeway(node, &words);
        let error = answer.err().with_context(|| format!("`{command}` succeeds"))?.to_string();
        ensure!(error.contains(expected) && !error.contains("panicked"), "`{command}`: {error}");
    }
    Ok(())
}
