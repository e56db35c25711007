//! A node explains itself: status, verdicts, events, maps, metrics and logs, on one live mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::demo::{SETTLE, Stage, policy};
use testbed::{NodePlan, wait_until};

#[test]
fn a_node_explains_itself() {
    let Some(_machine) = crate::machine("explains") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut stage = crate::stage(folder.path()).expect("the mesh comes up");
    let (ips, annotations) = (["10.101.0.10".to_owned()], [("service.cilium.io/global", "true")]);
    stage.bed.add_service("east", "web", "web", &ips, &annotations).expect("a service");
    status(&stage).expect("status says how everything stands");
    verdicts(&stage).expect("policy explain says what the traffic does");
    events(&stage).expect("monitor, endpoint log and map events tell what happened");
    maps(&stage).expect("the kernel's maps are shown");
    metrics(&stage).expect("metrics carry Cilium's names and pass promtool");
    terminals(&stage).expect("output fits pipes, watches and terminals");
    troubleshoot(&stage).expect("troubleshoot finds what is wrong with a connection");
    outage(&mut stage).expect("an outage is logged once and shown");
}

fn run(stage: &Stage, node: &NodePlan, words: &str) -> Result<String> {
    stage.bed.causeway(node, &words.split(' ').collect::<Vec<_>>())
}

/// What a command that must fail prints.
fn refused(stage: &Stage, node: &NodePlan, words: &str) -> Result<String> {
    let answer = run(stage, node, words);
    Ok(answer.err().with_context(|| format!("`{words}` succeeds"))?.to_string())
}

fn json(stage: &Stage, node: &NodePlan, words: &str) -> Result<Value> {
    let text = run(stage, node, &format!("{words} -o json"))?;
    serde_json::from_str(&text).with_context(|| format!("`{words}`: {text}"))
}

fn all(text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    Ok(())
}

fn status(stage: &Stage) -> Result<()> {
    let node = stage.node_of("client-a")?;
    let text = run(stage, node, "status --verbose")?;
    all(&text, &["1/1 connected", "lock leases=1", "has-quorum=true", "heartbeat ", "Versions:      causeway 0.1.0"])?;
    all(
        &text,
        &["datapath-ipcache: 0 waiting", "export-to-kvstore", "tasks running", "ipcache4 0.0 % (", "west/ip: "],
    )?;
    all(&text, &["west: ready, 2 nodes", "cluster-id=2", "0 reconnections (last: never)", "staleness: "])?;
    let value = json(stage, node, "status")?;
    ensure!(value["kvstore-detail"]["quorum"] == true && value["tasks"].as_u64() > Some(10), "{value:#}");
    ensure!(value["maps"].as_array().is_some_and(|maps| maps.len() > 10), "{value:#}");
    let mesh = json(stage, node, "clustermesh status")?;
    ensure!(mesh["clusters"][0]["staleness"].is_number() && mesh["clusters"][0]["ready"] == true, "{mesh:#}");
    Ok(())
}

fn verdicts(stage: &Stage) -> Result<()> {
    let node = stage.node_of("echo-b")?;
    let explain = "policy explain demo/client-a demo/echo-b 8080";
    all(&run(stage, node, explain)?, &["Verdict:     ALLOWED", "no rule selects it for ingress", "does the same"])?;
    stage.bed.manifests("east")?.policy("demo", "echo", &policy::spec())?;
    stage.expect("intruder-a", "echo-b", false, false)?;
    let port = testbed::server::PORT;
    let allowed = run(stage, node, &format!("policy explain demo/client-a demo/echo-b {port}"))?;
    all(
        &allowed,
        &["Verdict:     ALLOWED", "decided by    demo/echo (", ".yaml:", "without demo/echo", "does the same"],
    )?;
    let words = format!("policy explain demo/intruder-a demo/echo-b {port}");
    let denied = refused(stage, node, &words)?;
    all(
        &denied,
        &["Verdict:     DENIED", "default deny: no rule allows identity", "enforced by   demo/echo (", "does the same"],
    )?;
    all(&denied, &["where this peer has \"intruder\"", "to change it  add to demo/echo (", "or remove demo/echo ("])?;
    // Every way to name a party comes to the same.
    let ip = stage.pod("intruder-a")?.ipv4;
    let echo = json(stage, node, "endpoint get pod-name:demo:echo-b")?["id"].as_u64().context("an id")?;
    let identity = stage.identity_in_etcd("intruder-a", false)?;
    for source in
        [format!("ip:{ip}"), ip.to_string(), format!("identity:{identity}"), "east/demo/intruder-a".to_owned()]
    {
        let text = refused(stage, node, &format!("policy explain {source} endpoint:{echo} {port}/TCP"))?;
        ensure!(text.contains("Verdict:     DENIED"), "{source}: {text}");
    }
    let flags = format!("policy trace --src-identity {identity} --dst-k8s-pod demo:echo-b --dport {port}/TCP");
    all(&refused(stage, node, &flags)?, &["Verdict:     DENIED"])?;
    let flags = format!(
        "policy trace -s k8s:app=client -s k8s:io.kubernetes.pod.namespace=demo --dst-endpoint {echo} --dport {port}"
    );
    all(&run(stage, node, &flags)?, &["Verdict:     ALLOWED", "labels k8s:app=client"])?;
    // A service stands for its backends, another cluster decides for itself, and the unknown is named.
    let service = run(stage, node, "policy explain demo/client-a 10.101.0.10 80")?;
    all(&service, &["10.101.0.10:80/TCP is service demo/", "policy sees its backend", "Verdict:     ALLOWED"])?;
    let elsewhere = refused(stage, node, &format!("policy explain demo/client-a west/demo/echo-w {port}"))?;
    all(&elsewhere, &["DECIDED ELSEWHERE", "cluster west decides by its own rules"])?;
    all(
        &refused(stage, node, "policy explain demo/nobody demo/echo-b 80")?,
        &["no cluster has an address of pod demo/nobody"],
    )?;
    all(&refused(stage, node, "policy explain 1.2.3.4 demo/echo-b http")?, &["\"http\" is not a port"])?;
    let world = refused(stage, node, &format!("policy explain 203.0.113.9 demo/echo-b {port} -o json"))?;
    all(&world, &["\"verdict\": \"denied\"", "reserved:world-ipv4", "entity of world-ipv4"])
}

fn events(stage: &Stage) -> Result<()> {
    let node = stage.node_of("echo-b")?;
    let echo = json(stage, node, "endpoint get pod-name:demo:echo-b")?["id"].as_u64().context("an id")?;
    let web = json(stage, node, "endpoint get pod-name:demo:web-b")?["id"].as_u64().context("an id")?;
    let (binary, socket) = (stage.bed.binaries.causeway.display(), node.socket.display());
    let watch = |filter: &str| format!("CAUSEWAY_SOCK={socket} timeout 4 {binary} monitor {filter}; true");
    let listen = |filters: [String; 3]| -> Result<Vec<String>> {
        let netns = node.netns.clone();
        let waiting = filters.map(|filter| {
            let netns = netns.clone();
            std::thread::spawn(move || testbed::run(&netns, &["bash", "-c", &filter]))
        });
        std::thread::sleep(Duration::from_millis(1500));
        ensure!(!stage.reaches("intruder-a", "echo-b", false)?, "control: the policy holds");
        waiting.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a listener died"))?).collect()
    };
    let found = listen([
        watch(&format!("-t drop --to {echo} -vv")),
        watch(&format!("--related-to {web}")),
        watch(&format!("-t drop --related-to {echo} -j")),
    ])?;
    all(&found[0], &["xx drop (Policy denied) ingress", &format!("->{echo}, "), ".rs:", "app=intruder"])?;
    ensure!(found[1].is_empty(), "nothing was sent to or by {web}: {}", found[1]);
    let event: Value = serde_json::from_str(found[2].lines().next().context("an event")?)?;
    ensure!(event["destination_endpoint"] == echo && event["type"] == "drop" && event["reason"] == 133, "{event:#}");
    // The agent's own.
    let log = run(stage, node, &format!("endpoint log {echo}"))?;
    all(&log, &["waiting-for-identity", "created by CNI", "identity ", "ready", "its programs are attached"])?;
    all(&run(stage, node, &format!("endpoint health {echo}"))?, &["Overall Health: OK", "Connected:      yes"])?;
    all(&refused(stage, node, "endpoint health 65000")?, &["there is no endpoint 65000"])?;
    let written = run(stage, node, "map events policy_set")?;
    all(&written, &["update", "set=", "ingress identity=", "allow precedence="])?;
    stage.bed.manifests("east")?.remove_policy("demo", "echo")?;
    stage.expect("intruder-a", "echo-b", false, true)
}

fn maps(stage: &Stage) -> Result<()> {
    let node = stage.node_of("client-a")?;
    let client = json(stage, node, "endpoint get pod-name:demo:client-a")?["id"].as_u64().context("an id")?;
    let ip = stage.pod("client-a")?.ipv4.to_string();
    all(&run(stage, node, "map list --verbose")?, &["Num entries", "Updates", "ipcache4", "policy_set", "ct6"])?;
    all(&run(stage, node, "map get ipcache4")?, &[&ip, "identity=", "tunnelendpoint="])?;
    all(&run(stage, node, "map events ipcache4")?, &["update", "identity="])?;
    all(&refused(stage, node, "map get frob")?, &["there is no map \"frob\"; there are ifaces"])?;
    all(&run(stage, node, "bpf lb list --frontends")?, &["10.101.0.10:80/TCP"])?;
    all(&run(stage, node, "bpf lb list --revnat")?, &["10.101.0.10:80"])?;
    all(&run(stage, node, "bpf lb list --backends")?, &["active", "/TCP"])?;
    ensure!(stage.reaches("client-a", "echo-b", false)?, "a connection to look at");
    let flows = run(stage, node, &format!("bpf ct list {client} -d"))?;
    all(&flows, &[&ip, " sec(s)"])?;
    ensure!(flows.lines().skip(1).all(|line| line.contains(&ip)), "only its own: {flows}");
    all(&run(stage, node, &format!("bpf ct flush {client}"))?, &["connections forgotten"])?;
    ensure!(!run(stage, node, "bpf ct list")?.contains(&format!(" {ip}:")), "nothing of {ip} is left");
    all(&refused(stage, node, "bpf ct list 65000")?, &["there is no endpoint 65000"])
}

/// Names with the labels that Cilium's dashboards ask by.
const METRICS: [(&str, &[&str]); 24] = [
    ("cilium_version", &["arch", "version"]),
    ("cilium_endpoint", &[]),
    ("cilium_endpoint_state", &["state"]),
    ("cilium_identity", &["type"]),
    ("cilium_policy", &[]),
    ("cilium_policy_max_revision", &[]),
    ("cilium_policy_endpoint_enforcement_status", &["enforcement"]),
    ("cilium_controllers_failing", &[]),
    ("cilium_ip_addresses", &["family"]),
    ("cilium_ipam_capacity", &["family"]),
    ("cilium_nodes_all_num", &[]),
    ("cilium_bpf_map_pressure", &["map_name"]),
    ("cilium_bpf_map_capacity", &["map_group"]),
    ("cilium_bpf_map_ops_total", &["map_name", "operation", "outcome"]),
    ("cilium_datapath_conntrack_gc_runs_total", &["family", "protocol", "status"]),
    ("cilium_drop_count_total", &["direction", "reason"]),
    ("cilium_forward_count_total", &["direction"]),
    ("cilium_kvstore_operations_duration_seconds_count", &["action", "kind", "outcome", "scope"]),
    ("cilium_kvstore_sync_queue_size", &["scope", "source_cluster"]),
    ("cilium_kvstore_initial_sync_completed", &["action", "scope", "source_cluster"]),
    ("cilium_clustermesh_remote_clusters", &["source_cluster", "source_node_name"]),
    ("cilium_clustermesh_remote_cluster_readiness_status", &["source_cluster", "source_node_name", "target_cluster"]),
    ("cilium_clustermesh_remote_cluster_failures", &["source_cluster", "source_node_name", "target_cluster"]),
    ("causeway_propagation_seconds_count", &["resource", "source_cluster"]),
];

fn metrics(stage: &Stage) -> Result<()> {
    let node = stage.node_of("echo-b")?;
    let text = scrape(&node.netns, 9962)?;
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let labels = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
        let names = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name);
        found.entry(name).or_default().extend(names);
    }
    for (name, labels) in METRICS {
        let there = found.get(name).with_context(|| format!("no metric {name}"))?;
        let expected: BTreeSet<&str> = labels.iter().copied().collect();
        ensure!(*there == expected, "{name} has labels {there:?}, not {expected:?}");
    }
    for line in [
        "cilium_endpoint_state{state=\"ready\"} 4",
        "cilium_clustermesh_remote_cluster_readiness_status{source_cluster=\"east\",source_node_name=\"east-2\",target_cluster=\"west\"} 1",
        "cilium_clustermesh_remote_cluster_nodes{source_cluster=\"east\",source_node_name=\"east-2\",target_cluster=\"west\"} 2",
        "causeway_propagation_seconds_count{resource=\"ip\",source_cluster=\"west\"}",
        "causeway_propagation_seconds_count{resource=\"ip\",source_cluster=\"east\"}",
    ] {
        ensure!(text.contains(line), "{line} is missing in:\n{text}");
    }
    promtool(&text)?;
    let operator = scrape(&stage.node_of("client-a")?.netns, 9234)?;
    all(
        &operator,
        &[
            "cilium_operator_version{",
            "cilium_operator_leader 1",
            "cilium_operator_kvstore_operations_duration_seconds_count",
        ],
    )?;
    promtool(&operator)?;
    let listed = json(stage, node, "metrics list -p map_pressure")?;
    let names = listed.as_array().context("a list")?;
    ensure!(!names.is_empty() && names.iter().all(|row| row["name"] == "cilium_bpf_map_pressure"), "{listed:#}");
    Ok(())
}

fn scrape(netns: &str, port: u16) -> Result<String> {
    let get = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3");
    let answer = testbed::run(netns, &["bash", "-c", &get])?;
    Ok(answer.split_once("\r\n\r\n").context("an answer with a body")?.1.to_owned())
}

/// Form, types, help and naming.
fn promtool(text: &str) -> Result<()> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut check = Command::new("promtool");
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().context("run promtool: `cargo xtask setup` installs it")?;
    check.stdin.take().context("a pipe")?.write_all(text.as_bytes())?;
    let output = check.wait_with_output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "promtool: {said}");
    Ok(())
}

fn terminals(stage: &Stage) -> Result<()> {
    let node = stage.node_of("client-a")?;
    let (binary, socket) = (stage.bed.binaries.causeway.display(), node.socket.display());
    let bash = |script: &str| {
        let script = format!(
            "export CAUSEWAY_SOCK={socket}; set -o pipefail; {}",
            script.replace("causeway ", &format!("{binary} "))
        );
        testbed::run(&node.netns, &["bash", "-c", &script])
    };
    // A reader that goes away is no error, even while watching.
    bash("causeway statedb show ips | head -1")?;
    bash("causeway status --watch=1 | head -3")?;
    bash("causeway monitor -t agent & sleep 0.2; kill $!; wait $! ; true")?;
    let twice = bash("timeout 3 causeway status --brief --watch=1 ; true")?;
    ensure!(twice.matches("OK\n").count() >= 2, "{twice:?}");
    // On a terminal: colour, unless NO_COLOR is set, and lines that fit.
    let terminal = |before: &str, words: &str| {
        bash(&format!("{before} script -qec 'stty cols 100; causeway {words}' /dev/null | cat"))
    };
    ensure!(terminal("TERM=xterm", "status")?.contains("\x1b[32mOk"), "colour on a terminal");
    ensure!(!terminal("TERM=xterm NO_COLOR=1", "status")?.contains('\x1b'), "NO_COLOR");
    ensure!(!bash("causeway status")?.contains('\x1b'), "no colour into a pipe");
    let narrow = terminal("", "identity list")?;
    ensure!(narrow.lines().all(|line| line.trim_end().chars().count() <= 100), "{narrow}");
    let piped = bash("causeway node list")?;
    ensure!(piped.lines().count() == 5, "a row a line in a pipe: {piped}");
    Ok(())
}

fn troubleshoot(stage: &Stage) -> Result<()> {
    let node = stage.node_of("client-a")?;
    let store = &stage.bed.stores["east"].endpoint;
    let text = run(stage, node, &format!("troubleshoot kvstore --kvstore-opt etcd.address={store}"))?;
    all(
        &text,
        &[
            "✅ name resolved",
            "✅ TCP connection",
            "✅ etcd 3.",
            "connected, cluster ID",
            "heartbeat 20",
            "cilium/cluster-config/east",
        ],
    )?;
    let mesh = stage.bed.cluster("east")?.mesh.display().to_string();
    let text = run(stage, node, &format!("troubleshoot clustermesh --clustermesh-config {mesh}"))?;
    all(&text, &["west:", "cilium/cluster-config/west", "cilium/state/ip/v1/ may be read and holds keys"])?;
    ensure!(!text.contains('❌'), "{text}");
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("north"), "endpoints: [\"http://127.0.0.1:1\"]\n")?;
    std::fs::write(folder.path().join("south"), format!("endpoints: [\"{store}\"]\n"))?;
    let dir = folder.path().display();
    let text = refused(stage, node, &format!("troubleshoot clustermesh --clustermesh-config {dir} --timeout 1s"))?;
    all(&text, &["❌ TCP connection fails: 127.0.0.1:1: Connection refused", "no cilium/cluster-config/south"])?;
    all(&refused(stage, node, "troubleshoot kvstore --etcd-config /nowhere")?, &["/nowhere"])
}

/// etcd dies under everything: the log says so once, the status says since when, and no line stands there twice.
fn outage(stage: &mut Stage) -> Result<()> {
    let node = stage.node_of("client-a")?.clone();
    stage.bed.store("east")?.0.process.kill()?;
    wait_until("the status says that etcd is gone", SETTLE * 2, || {
        let text = refused(stage, &node, "status")?;
        all(&text, &["KVStore:       Failure", "last answer ", "has-quorum", "Causeway:      Warning   kvstore"])
            .or_else(|_| all(&text, &["KVStore:       Failure", "last answer ", "Causeway:      Warning   kvstore"]))
    })?;
    let brief = refused(stage, &node, "status --brief")?;
    ensure!(brief.contains("degraded: kvstore"), "{brief}");
    std::thread::sleep(Duration::from_secs(8));
    let (store, ledger) = stage.bed.store("east")?;
    store.restart(ledger)?;
    wait_until("the status is well again", SETTLE * 3, || run(stage, &node, "status --brief").map(|_| ()))?;
    wait_until("the log tells both ends of it", SETTLE, || {
        let log = std::fs::read_to_string(&node.log).context("the agent's log")?;
        all(&log, &["kvstore does not answer", "kvstore answers again"])
    })?;
    let log = std::fs::read_to_string(&node.log).context("the agent's log")?;
    let mut before: Option<(&str, &str)> = None;
    for line in log.lines() {
        ensure!(line.starts_with("time=20") && !line.contains('\x1b'), "not a log line: {line:?}");
        all(line, &["level=", "msg=", "subsys=", "clusterName=east", "nodeName=east-1"])?;
        let (time, rest) = line.split_once(' ').context("a time and the rest")?;
        // To the second: two of the same within it are one event said twice.
        let second = time.split('.').next().unwrap_or(time);
        ensure!(before != Some((second, rest)), "said twice: {line}");
        before = Some((second, rest));
    }
    Ok(())
}
