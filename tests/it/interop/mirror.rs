//! The stock mirror: `clustermesh-apiserver kvstoremesh` of three releases copies a running cluster of ours into another
//! cluster's store, becomes ready, and an agent of ours there lives from the copy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::demo::dump;
use testbed::{Bed, Binaries, PodSpec, Process, StoreKind, wait_until};

use super::fleet;

/// Until the mirror is complete, and until the agent has it.
const MIRRORED: Duration = Duration::from_secs(60);
const HEALTH: &str = "127.0.0.1:9880";

/// The releases, and whether each can be told where to put its shell's socket.
const RELEASES: [(&str, &str, bool); 3] = [
    ("1.20.2", "clustermesh-apiserver", true),
    ("1.19.4", "clustermesh-apiserver-1.19", false),
    ("1.18.6", "clustermesh-apiserver-1.18", false),
];

/// What is copied: ours, and where it lies in the mirror.
const COPIED: [(&str, &str, &str); 4] = [
    ("node", "cilium/state/nodes/v1/east/", "cilium/cache/nodes/v1/east/"),
    ("ip", "cilium/state/ip/v1/default/", "cilium/cache/ip/v1/east/"),
    ("identity", "cilium/state/identities/v1/id/", "cilium/cache/identities/v1/east/id/"),
    ("service", "cilium/state/services/v1/east/", "cilium/cache/services/v1/east/"),
];

#[test]
fn stock_kvstoremesh_of_three_releases_mirrors_our_cluster_for_our_agent() {
    let test = "stock_kvstoremesh_of_three_releases_mirrors_our_cluster_for_our_agent";
    let Some(_machine) = crate::machine(test) else { return };
    let ours = Binaries::beside_us().unwrap().causeway;
    let peers = ours.parent().unwrap().parent().unwrap().join("peers");
    let built = |(_, name, _): &&(&str, &str, bool)| peers.join(name).exists();
    let releases: Vec<_> = RELEASES.iter().filter(built).collect();
    if releases.len() < RELEASES.len() {
        println!(
            "SKIP: ran {} of {} releases; cargo xtask interop builds the others in minutes each",
            releases.len(),
            RELEASES.len()
        );
    }
    if releases.is_empty() {
        return;
    }
    for kind in fleet::kinds(test) {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut stage = Stage::set(kind, folder.path()).expect("our clusters come up");
        for (release, name, socket) in releases.iter().copied() {
            let started = Instant::now();
            let said = stage.mirrors(&peers.join(name), release, *socket);
            let said = said.unwrap_or_else(|error| panic!("{kind}: kvstoremesh {release}: {error:#}"));
            println!("{kind}: kvstoremesh {release}: {said} ({:.1} s)", started.elapsed().as_secs_f64());
        }
    }
}

/// East with its fleet, and west, whose agent reads of east what lies in west's own store.
struct Stage {
    bed: Bed,
    _fleet: Process,
}

impl Stage {
    fn set(kind: StoreKind, folder: &Path) -> Result<Self> {
        let plan = fleet::plan(kind, folder, &["east", "west"]);
        let mut bed = crate::bed(plan)?;
        bed.disconnect("west", "east")?;
        let fleet = fleet::start(&mut bed)?;
        Ok(Self { bed, _fleet: fleet })
    }

    fn mirrors(&mut self, program: &Path, release: &str, socket: bool) -> Result<String> {
        let home = self.bed.plan.dir.join(format!("kvstoremesh-{release}"));
        let mesh = home.join("mesh");
        std::fs::create_dir_all(&mesh)?;
        let file = |endpoint: &str| format!("endpoints:\n- {endpoint}\n");
        let (east, west) = (self.bed.stores["east"].endpoint.clone(), self.bed.stores["west"].endpoint.clone());
        std::fs::write(mesh.join("east"), file(&east))?;
        std::fs::write(home.join("local.yaml"), file(&west))?;
        let mut words = vec![program.display().to_string(), "kvstoremesh".to_owned()];
        words.extend([
            "--cluster-name=west".to_owned(),
            "--cluster-id=2".to_owned(),
            "--enable-gops=false".to_owned(),
            format!("--kvstore-opt=etcd.config={},etcd.qps=1000", home.join("local.yaml").display()),
            format!("--clustermesh-config={}", mesh.display()),
            format!("--health-port={}", HEALTH.rsplit(':').next().unwrap_or_default()),
            "--api-serve-addr=127.0.0.1:9889".to_owned(),
        ]);
        if socket {
            words.push(format!("--shell-sock-path={}", home.join("shell.sock").display()));
        }
        let netns = self.bed.cluster("west")?.store_netns.clone();
        let log = home.join("log");
        let mut process = self.bed.spawn("kvstoremesh", &netns, &log, &words)?;
        wait_until("it is ready", MIRRORED, || {
            process.check()?;
            let get = format!(
                "exec 3<>/dev/tcp/{}; printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3",
                HEALTH.replace(':', "/")
            );
            let answer = testbed::run(&netns, &["bash", "-c", &get])?;
            ensure!(answer.contains(" 200 "), "{answer}");
            Ok(())
        })?;
        let counts = wait_until("its copy is equal", MIRRORED, || self.is_copied())?;
        // West's agent is pointed to its own store, where the copy is.
        let client = self.bed.cluster("west")?.mesh.join("east");
        std::fs::write(&client, file(&west))?;
        let used = wait_until("our agent has what was copied", MIRRORED, || self.is_used())?;
        let late = format!("late-{}", release.replace('.', "-"));
        let ip = self.bed.add_pod("east", 0, PodSpec::new("demo", &late, "own"))?.ipv4.to_string();
        wait_until("a new pod reaches the kernel", MIRRORED, || {
            let rows = dump::rows(&self.bed, &self.bed.cluster("west")?.nodes[0], "ipcache")?;
            ensure!(rows.iter().any(|row| row.starts_with(&format!("{ip}/32 "))), "{ip} is not in the kernel");
            Ok(())
        })?;
        self.twin()?;
        let errors = std::fs::read_to_string(&log)?;
        // 1.19 has a shell for people, whose socket lies in a folder that is not here.
        let errors = errors.lines().filter(|line| line.contains("level=error") && !line.contains("shell.sock"));
        let errors: Vec<_> = errors.take(3).collect();
        ensure!(errors.is_empty(), "it logs errors: {errors:#?}");
        // The next release begins with nothing.
        std::fs::remove_file(&client)?;
        process.kill()?;
        for prefix in ["cilium/cache/", "cilium/synced/east/", "cilium/cluster-config/east", "cilium/kvstoremesh-lock/"]
        {
            self.bed.stores["west"].etcdctl(&["del", "--prefix", prefix])?;
        }
        Ok(format!("copied {counts}; our agent shows {used}; a planted value is noticed"))
    }

    /// Key by key and byte by byte.
    fn is_copied(&self) -> Result<String> {
        let mut counts = Vec::new();
        for (kind, from, to) in COPIED {
            let strip = |found: BTreeMap<String, String>, prefix: &str| -> BTreeMap<String, String> {
                found.into_iter().map(|(key, value)| (key.trim_start_matches(prefix).to_owned(), value)).collect()
            };
            let ours = strip(fleet::dump(&self.bed, "east", from)?, from);
            let copy = strip(fleet::dump(&self.bed, "west", to)?, to);
            ensure!(ours.len() >= fleet::least(kind), "{kind}: {} of {}", ours.len(), fleet::least(kind));
            ensure!(ours == copy, "{kind}: {} of ours, {} in the copy", ours.len(), copy.len());
            counts.push(format!("{} {kind}", ours.len()));
        }
        Ok(counts.join(", "))
    }

    /// The agent's tables and its kernel, against the source's keys.
    fn is_used(&self) -> Result<String> {
        let node = &self.bed.cluster("west")?.nodes[0];
        let table = |name: &str| -> Result<Vec<Value>> {
            let text = self.bed.causeway(node, &["statedb", "show", name, "-o", "json"])?;
            serde_json::from_str(&text).with_context(|| format!("read table {name}"))
        };
        let cell = |row: &Value, column: &str| row[column].as_str().unwrap_or_default().to_owned();
        let mut counts = Vec::new();
        let mut equal = |kind: &str, meant: BTreeSet<String>, shown: BTreeSet<String>| {
            let differs: Vec<_> = meant.symmetric_difference(&shown).take(3).collect();
            ensure!(differs.is_empty(), "{kind}: {} meant, {} shown, {differs:?}", meant.len(), shown.len());
            counts.push(format!("{} {kind}", meant.len()));
            Ok(())
        };
        let east = "clustermesh/east";
        let keys = |(_, from, _): (&str, &str, &str)| -> Result<BTreeMap<String, String>> {
            let found = fleet::dump(&self.bed, "east", from)?;
            Ok(found.into_iter().map(|(key, value)| (key.trim_start_matches(from).to_owned(), value)).collect())
        };
        let nodes = table("nodes")?
            .iter()
            .map(|row| cell(row, "Name"))
            .filter_map(|name| name.strip_prefix("east/").map(str::to_owned))
            .collect();
        equal("nodes", keys(COPIED[0])?.into_keys().collect(), nodes)?;
        let mut meant = BTreeSet::new();
        let mut kernel = BTreeSet::new();
        for (ip, value) in keys(COPIED[1])? {
            let value: Value = serde_json::from_str(&value)?;
            let host = value["HostIP"].as_str().unwrap_or_default();
            meant.insert(format!("{ip} {} {host}", value["ID"]));
            kernel.insert(format!("{ip}/{} {} via {host}", if ip.contains(':') { 128 } else { 32 }, value["ID"]));
        }
        let of_east = |row: &&Value| cell(row, "ORIGIN") == east;
        let ips = table("ips")?;
        let ips =
            ips.iter().filter(of_east).map(|row| ["IP", "IDENTITY", "HOST"].map(|column| cell(row, column)).join(" "));
        equal("ips", meant, ips.collect())?;
        let rows = dump::rows(&self.bed, node, "ipcache")?;
        let known = rows.intersection(&kernel).cloned().collect();
        equal("rows of the kernel", kernel, known)?;
        let identities = table("identities")?;
        let identities = identities.iter().filter(of_east).map(|row| cell(row, "ID")).collect();
        equal("identities", keys(COPIED[2])?.into_keys().collect(), identities)?;
        let services = table("global-services")?;
        let services =
            services.iter().filter(|row| cell(row, "CLUSTER") == "east").map(|row| cell(row, "SERVICE")).collect();
        equal("services", keys(COPIED[3])?.into_keys().collect(), services)?;
        Ok(counts.join(", "))
    }

    /// A value of the copy that is not the source's turns both checks red.
    fn twin(&self) -> Result<()> {
        let key = "cilium/cache/ip/v1/east/10.201.1.10";
        let west = &self.bed.stores["west"];
        let honest = west.etcdctl(&["get", "--print-value-only", key])?;
        let planted = honest.trim().replace("172.21.1.1\"", "172.21.1.2\"");
        ensure!(planted != honest.trim(), "{honest}");
        west.etcdctl(&["put", key, &planted])?;
        ensure!(self.is_copied().is_err(), "a planted value is not noticed");
        wait_until("a planted value is noticed in the agent", MIRRORED, || {
            ensure!(self.is_used().is_err(), "it is not");
            Ok(())
        })?;
        west.etcdctl(&["put", key, honest.trim()])?;
        wait_until("the agent follows", MIRRORED, || self.is_used()).map(drop)
    }
}
