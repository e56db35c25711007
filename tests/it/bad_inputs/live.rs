//! A cluster that runs, is fed keys, manifests and client files, and must show what it refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use etcd_client::Client;
use netlink::Namespace;
use serde_json::Value;
use testbed::{Bed, Manifests, PodSpec, wait_until};

use super::case::{Action, Case, matches};

/// Clusters that write into the same store, with their configurations: one shares services, one endpoint slices.
const PEERS: [(&str, &str); 2] = [
    ("peer", r#"{"id":5,"capabilities":{"maxConnectedClusters":255,"serviceExportsEnabled":false}}"#),
    (
        "sliced",
        r#"{"id":6,"capabilities":{"maxConnectedClusters":255,"endpointSlicesExportMode":"endpointslices-only"}}"#,
    ),
];

/// Ports of the etcds with TLS: good, with another name, expired.
const TLS_PORT: u16 = 2479;

/// How long a refusal may take to show.
const LIMIT: Duration = Duration::from_secs(2);

/// On a machine with other work everything at once may take longer; it is said when it does.
const PATIENCE: Duration = Duration::from_secs(15);

/// One node with its store; the second node's namespace has no agent.
pub(crate) struct Live {
    bed: Bed,
    spare: (String, Ipv4Addr),
    sandbox: String,
    manifests: Manifests,
}

// === impl Live ===

impl Live {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let mut plan = crate::plan(folder, 1);
        plan.clusters[0].nodes.truncate(1);
        // The least there is: a policy that does not fit is then one that a person can read.
        plan.agent_flags.push("--bpf-policy-map-max=256".to_owned());
        let mut bed = crate::bed(plan)?;
        let cluster = bed.cluster("east")?.clone();
        // What it leaves in its namespace goes with the namespace; nobody else uses that.
        let spare = cluster.store_netns.clone();
        let manifests = bed.manifests("east")?;
        let sandbox = bed.sandbox("bad")?;
        for number in 1..=8 {
            let name = format!("fat-{number}");
            bed.add_pod("east", 0, PodSpec::new("demo", &name, &name)).with_context(|| format!("make pod {name}"))?;
        }
        let certs = folder.join("certs");
        super::certificates::make(&certs)?;
        for (number, server) in (0..).zip(["server", "misnamed-server", "expired-server"]) {
            tls_store(&mut bed, &spare, cluster.store_ip, TLS_PORT + number, &certs, server)?;
        }
        Ok(Self { bed, spare: (spare, cluster.store_ip), sandbox, manifests })
    }

    pub(crate) fn run_id(&self) -> &str {
        &self.bed.plan.run_id
    }

    pub(crate) fn endpoint(&self) -> String {
        self.bed.stores["east"].endpoint.clone()
    }

    pub(crate) fn spare_netns(&self) -> &str {
        &self.spare.0
    }

    pub(crate) fn spare_ip(&self) -> Ipv4Addr {
        self.spare.1
    }

    pub(crate) fn sandbox(&self) -> &str {
        &self.sandbox
    }

    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let node = &self.bed.plan.clusters[0].nodes[0];
        let pid = self.bed.agents[&node.name].pid();
        vec![
            ("LIVE_SOCKET", node.socket.display().to_string()),
            ("LIVE_STATE", node.state_dir.display().to_string()),
            ("LIVE_LIB", node.lib_dir.display().to_string()),
            ("LIVE_BPF", node.bpf_root.display().to_string()),
            ("LIVE_PID", pid.to_string()),
            ("LIVE_NETNS", format!("{}/{}", netlink::NETNS_DIR, node.netns)),
            ("TLS_GOOD", format!("https://{}:{TLS_PORT}", self.spare.1)),
            ("TLS_MISNAMED", format!("https://{}:{}", self.spare.1, TLS_PORT + 1)),
            ("TLS_EXPIRED", format!("https://{}:{}", self.spare.1, TLS_PORT + 2)),
            ("SANDBOX", format!("{}/{}", netlink::NETNS_DIR, self.sandbox)),
        ]
    }

    /// Feeds all files at once and looks until each shows what it shall.
    pub(crate) fn check<'a>(&mut self, cases: &[&'a Case]) -> Vec<(&'a Case, Result<()>)> {
        let fed = self.feed(cases);
        let started = Instant::now();
        let mut open: BTreeMap<&str, (&Case, String)> =
            cases.iter().map(|case| (case.name.as_str(), (*case, "never looked at".to_owned()))).collect();
        let mut slow = BTreeSet::new();
        while fed.is_ok() && !open.is_empty() && started.elapsed() < PATIENCE {
            let late = started.elapsed() > LIMIT;
            match self.tables(cases) {
                Ok(tables) => open.retain(|name, (case, why)| match shows(case, &tables) {
                    Ok(()) => {
                        if late {
                            slow.insert((*name).to_owned());
                        }
                        false
                    }
                    Err(error) => {
                        *why = format!("{error:#}");
                        true
                    }
                }),
                Err(error) => open.values_mut().for_each(|(_, why)| *why = format!("{error:#}")),
            }
        }
        if !slow.is_empty() {
            println!("shown only after more than {} s: {slow:?}", LIMIT.as_secs());
        }
        let failed = fed.err().map(|error| format!("{error:#}"));
        let result = |case: &&'a Case| {
            let why = failed.clone().or_else(|| open.get(case.name.as_str()).map(|(_, why)| why.clone()));
            (*case, why.map_or(Ok(()), |why| Err(anyhow!(why))))
        };
        cases.iter().map(result).collect()
    }

    /// The agent lives, has lost nothing that was good and logged no panic.
    pub(crate) fn check_unharmed(&mut self) -> Result<()> {
        let node = self.bed.plan.clusters[0].nodes[0].clone();
        let parts = &mut *self.bed;
        for agent in parts.agents.values_mut().chain(parts.operators.values_mut()) {
            agent.check()?;
            let log = std::fs::read_to_string(agent.log())?;
            ensure!(!log.contains("panicked"), "a panic in {}", agent.log().display());
        }
        self.bed.causeway(&node, &["status", "-o", "json"]).or_else(|error| {
            // Degraded it may be: there are keys that it refuses.
            let text = error.to_string();
            if text.contains("\"kvstore\"") { Ok(text) } else { Err(error) }
        })?;
        Ok(())
    }

    /// Every key and value of the store.
    pub(crate) fn all_keys(&self) -> Result<String> {
        self.bed.stores["east"].etcdctl(&["get", "--prefix", ""])
    }

    fn feed(&self, cases: &[&Case]) -> Result<()> {
        self.feed_manifests(cases)?;
        let mesh = &self.bed.cluster("east")?.mesh;
        let value = |case: &Case| case.files.get("value").cloned();
        let mut puts: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for case in cases {
            match &case.action {
                Action::Put(key) => {
                    for (name, bytes) in &case.files {
                        puts.extend(name.strip_prefix("also ").map(|key| (key.as_bytes().to_vec(), bytes.clone())));
                    }
                    puts.push((key.clone(), value(case).context("a put has a section `value`")?));
                }
                Action::Remote(name) => {
                    puts.extend(value(case).map(|value| (format!("cilium/cluster-config/{name}").into_bytes(), value)));
                }
                _ => {}
            }
        }
        // The store is a remote cluster too, for what agents read of remote clusters only.
        puts.extend(PEERS.map(|(peer, config)| (format!("cilium/cluster-config/{peer}").into_bytes(), config.into())));
        let distinct: BTreeSet<_> = puts.iter().map(|(key, _)| key).collect();
        ensure!(distinct.len() == puts.len(), "two files put the same key");
        let endpoint = self.endpoint();
        Namespace::open(&self.spare.0)?.enter(|| put_all(&endpoint, &puts))??;
        for (peer, _) in PEERS {
            std::fs::write(mesh.join(peer), format!("endpoints:\n- {endpoint}\n"))?;
        }
        wait_until("the store is a remote cluster too", PATIENCE, || {
            let table = self.table("remote-clusters")?;
            let ready = |peer| table.lines().any(|line| line.starts_with(peer) && line.contains("true"));
            ensure!(PEERS.iter().all(|(peer, _)| ready(*peer)), "{table}");
            Ok(())
        })?;
        for case in cases {
            if let Action::Remote(name) = &case.action {
                let text = case.files.get("client").cloned();
                let text = text.unwrap_or_else(|| format!("endpoints:\n- {endpoint}\n").into_bytes());
                std::fs::write(mesh.join(name), text)?;
            }
        }
        Ok(())
    }

    fn feed_manifests(&self, cases: &[&Case]) -> Result<()> {
        let manifests = || cases.iter().filter(|case| case.action == Action::Manifest);
        let write = |case: &Case, section: &str| {
            let file = format!("{}.yaml", case.name.replace('/', "-").trim_end_matches(".txt"));
            match case.files.get(section) {
                Some(bytes) => self.manifests.write_bytes(&file, bytes),
                None => Ok(()),
            }
        };
        for case in manifests() {
            write(case, "before.yaml")?;
        }
        let rules = manifests().filter(|case| case.files.contains_key("before.yaml")).count();
        wait_until("the rules of before are in force", PATIENCE, || {
            let table = self.table("policy-rules")?;
            ensure!(table.lines().filter(|line| line.contains("before")).count() >= rules, "{table}");
            Ok(())
        })?;
        manifests().try_for_each(|case| write(case, "manifest.yaml"))
    }

    fn table(&self, name: &str) -> Result<String> {
        let node = &self.bed.plan.clusters[0].nodes[0];
        self.bed.causeway(node, &["statedb", "show", name])
    }

    fn tables(&self, cases: &[&Case]) -> Result<Tables> {
        let node = &self.bed.plan.clusters[0].nodes[0];
        let mut named: BTreeSet<&str> = ["alarms", "remote-clusters"].into();
        named.extend(cases.iter().flat_map(|case| case.accepted.iter().map(|(table, _)| table.as_str())));
        let text = self.bed.causeway(node, &["statedb", "show", "rejected", "-o", "json"])?;
        let rows: Vec<Value> = serde_json::from_str(&text).context("table rejected")?;
        let cell = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let rejected = rows.iter().map(|row| ((cell(row, "CLUSTER"), cell(row, "KEY")), cell(row, "ERROR"))).collect();
        let texts = named.into_iter().map(|name| Ok((name.to_owned(), self.table(name)?))).collect::<Result<_>>()?;
        Ok(Tables { rejected, texts })
    }
}

/// An etcd that asks for client certificates of `ca`, with one of the server certificates.
fn tls_store(bed: &mut Bed, netns: &str, ip: Ipv4Addr, port: u16, certs: &Path, server: &str) -> Result<()> {
    let home = certs.with_file_name(format!("etcd-{server}"));
    std::fs::create_dir_all(home.join("data"))?;
    std::fs::set_permissions(home.join("data"), std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let file = |name: String| certs.join(name).display().to_string();
    let peer = format!("http://127.0.0.1:{}", port + 100);
    let mut words = vec!["etcd".to_owned(), "--client-cert-auth".to_owned()];
    for (flag, value) in [
        ("name", server.to_owned()),
        ("data-dir", home.join("data").display().to_string()),
        ("listen-client-urls", format!("https://{ip}:{port}")),
        ("advertise-client-urls", format!("https://{ip}:{port}")),
        ("listen-peer-urls", peer.clone()),
        ("initial-advertise-peer-urls", peer.clone()),
        ("initial-cluster", format!("{server}={peer}")),
        ("cert-file", file(format!("{server}.crt"))),
        ("key-file", file(format!("{server}.key"))),
        ("trusted-ca-file", file("ca.crt".to_owned())),
    ] {
        words.push(format!("--{flag}={value}"));
    }
    bed.spawn(&format!("etcd with {server}"), netns, &home.join("etcd.log"), &words)?;
    wait_until("an etcd with TLS listens", PATIENCE, || {
        let netns = Namespace::open(netns)?;
        netns.enter(|| std::net::TcpStream::connect((ip, port)).map(drop))?.context("connect")
    })
}

/// What an operator can see.
struct Tables {
    /// By cluster and key.
    rejected: BTreeMap<(String, String), String>,
    texts: BTreeMap<String, String>,
}

fn shows(case: &Case, tables: &Tables) -> Result<()> {
    let line = |table: &str, regexes: &[&str]| {
        let text = tables.texts.get(table).map(String::as_str).unwrap_or_default();
        let found = text.lines().any(|line| regexes.iter().all(|regex| matches(regex, line)));
        ensure!(found, "no line of {table} has {regexes:?}");
        Ok(())
    };
    let says: Vec<&str> = case.says.iter().map(String::as_str).collect();
    match &case.action {
        Action::Put(key) => {
            let key = String::from_utf8_lossy(key).into_owned();
            let peer = PEERS.iter().find(|(peer, _)| key.contains(&format!("/{peer}/")));
            let cluster = peer.map_or("east", |(peer, _)| *peer);
            match (tables.rejected.get(&(cluster.to_owned(), key.clone())), says.is_empty()) {
                (Some(error), false) => ensure!(case.is_said(error), "it says: {error}"),
                (None, false) if case.accepted.is_empty() => return Err(anyhow!("{key} is not rejected")),
                (None, false) => line("alarms", &says)?,
                (Some(error), true) => return Err(anyhow!("{key} is rejected: {error}")),
                (None, true) => {}
            }
        }
        Action::Manifest if !says.is_empty() => line("alarms", &says)?,
        Action::Remote(name) => {
            let name = format!("(?i)(^|/){}\\b", regex::escape(name));
            let with_name: Vec<&str> = says.iter().copied().chain([name.as_str()]).collect();
            line("remote-clusters", &with_name).or_else(|_| line("alarms", &with_name))?;
        }
        _ => {}
    }
    case.accepted.iter().try_for_each(|(table, regex)| line(table, &[regex]))
}

fn put_all(endpoint: &str, puts: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = Client::connect([endpoint], None).await?;
        for (key, value) in puts {
            let named = || format!("put {}", String::from_utf8_lossy(key));
            client.put(key.clone(), value.clone(), None).await.with_context(named)?;
        }
        Ok(())
    })
}
