//! We write, Cilium reads: the readers of an agent of the same cluster, and the whole remote-cluster code of an agent of
//! another one, take a running cluster of ours without a complaint, and each value is what Cilium would write for it. The
//! second keeps what it shall through our restart, the store's, the loss of every lease, and a wipe.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use testbed::{Bed, Process, StoreKind, wait_until};

use super::fleet;
use super::peer::{self, Peer};

/// Until Cilium's readers have what is there.
const SHOWN: Duration = Duration::from_secs(40);
/// Until everything is back after an outage: a stock client notices a lost store late.
const BACK: Duration = Duration::from_secs(120);

const KINDS: [&str; 4] = ["node", "ip", "identity", "service"];

#[test]
fn cilium_reads_what_we_write_and_keeps_it_through_outages() {
    let test = "cilium_reads_what_we_write_and_keeps_it_through_outages";
    let Some(_machine) = crate::machine(test) else { return };
    if peer::binary(test, "interop-cilium").is_none() {
        return;
    }
    for kind in fleet::kinds(test) {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut stage = Stage::set(kind, folder.path()).expect("our cluster comes up");
        for (what, step) in [
            ("inside our cluster", Stage::inside as fn(&mut Stage) -> Result<String>),
            ("planted values", Stage::twins),
            ("an agent of another cluster", Stage::joins),
            ("values planted before it", Stage::stock_twins),
            ("agents, operator restarted", Stage::restarts),
            ("store restarted", Stage::store_restarts),
            ("every lease revoked", Stage::leases_end),
            ("store wiped", Stage::wiped),
        ] {
            let started = Instant::now();
            let observed = step(&mut stage).unwrap_or_else(|error| panic!("{kind}: {what}: {error:#}"));
            println!("{kind}: {what}: {observed} ({:.1} s)", started.elapsed().as_secs_f64());
        }
    }
}

/// What Cilium's agent knows, and how often it was told to forget some of it.
type Counts = BTreeMap<String, Vec<usize>>;

struct Stage {
    bed: Bed,
    fleet: Process,
    inside: Peer,
    stock: Peer,
    mesh: std::path::PathBuf,
    /// What the agent of another cluster knew when all was well.
    full: Counts,
}

impl Stage {
    fn set(kind: StoreKind, folder: &std::path::Path) -> Result<Self> {
        let plan = fleet::plan(kind, folder, &["east"]);
        let mut bed = crate::bed(plan)?;
        let fleet = fleet::start(&mut bed)?;
        let mesh = bed.plan.dir.join("stock-mesh");
        std::fs::create_dir_all(&mesh)?;
        let (netns, endpoint) = (bed.cluster("east")?.store_netns.clone(), bed.stores["east"].endpoint.clone());
        std::fs::write(mesh.join("east"), format!("endpoints:\n- {endpoint}\n"))?;
        let flags = ["-cluster=east".to_owned(), "-id=1".to_owned(), format!("-endpoint={endpoint}")];
        let inside = Peer::start(&netns, "inside", &flags)?;
        let flags = ["-cluster=stock".to_owned(), "-id=99".to_owned(), format!("-mesh={}", mesh.display())];
        let stock = Peer::start(&netns, "stock", &flags)?;
        Ok(Self { bed, fleet, inside, stock, mesh, full: Counts::new() })
    }

    /// Readers take everything, and every value is as Cilium would write it.
    fn inside(&mut self) -> Result<String> {
        let inside = &mut self.inside;
        wait_until("Cilium's readers have what we wrote", SHOWN, || complete(&inside.counts("counts", "count")?))?;
        let lines = wait_until("every value is as Cilium writes it", SHOWN, || {
            let lines = inside.ask("bytes")?;
            let differs: Vec<_> = lines.iter().filter(|line| line.starts_with("differs ")).take(5).collect();
            ensure!(differs.is_empty(), "{differs:#?}");
            Ok(lines)
        })?;
        let mut said = Vec::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let ["equal", kind, equal, all, other_lease] = words[..] else { bail!("what is {line:?}?") };
            ensure!(equal == all && all.parse::<usize>()? >= fleet::least(kind), "{line}");
            // What the operator writes outlives it: docs/compatibility.md.
            let expected = if matches!(kind, "service" | "config") { all } else { "0" };
            ensure!(
                other_lease == expected,
                "{other_lease} of {all} keys of kind {kind} have a lease where they should not, or none"
            );
            said.push(format!("{equal} {kind}"));
        }
        self.inside.check_silent()?;
        Ok(format!("equal byte for byte: {}", said.join(", ")))
    }

    /// A value that Cilium would write otherwise, and one that it refuses, must be noticed.
    fn twins(&mut self) -> Result<String> {
        let store = &self.bed.stores["east"];
        let node = "cilium/state/nodes/v1/east/planted";
        let honest = fleet::dump(&self.bed, "east", "cilium/state/nodes/v1/east/east-f1")?;
        let honest = honest.get("cilium/state/nodes/v1/east/east-f1").context("a node")?.replace("east-f1", "planted");
        let address = "cilium/state/ip/v1/default/10.201.1.250";
        let pair = r#"{"IP":"10.201.1.250","Mask":null,"HostIP":"172.21.1.1","ID":65599,"Key":0, "Metadata":""}"#;
        for (key, value, says) in [
            (node, honest.replacen(':', ": ", 1), "and would be"),
            (node, honest.replace("\"ClusterID\":1", "\"ClusterID\":2"), "unexpected cluster ID"),
            (address, pair.to_owned(), "and would be"),
            (address, pair.replace("10.201.1.250", "10.201.1.251"), "does not match key"),
        ] {
            store.etcdctl(&["put", key, &value])?;
            let lines = self.inside.ask("bytes")?;
            let red = lines.iter().any(|line| line.starts_with(&format!("differs {key} ")) && line.contains(says));
            ensure!(red, "{value} at {key} is not noticed");
            store.etcdctl(&["del", key])?;
        }
        self.inside.complaints.clear();
        Ok("4 of 4 are noticed".to_owned())
    }

    fn joins(&mut self) -> Result<String> {
        let stock = &mut self.stock;
        self.full = wait_until("Cilium's agent is ready", SHOWN, || {
            ready(stock)?;
            let counts = stock.counts("status", "count")?;
            complete(&counts)?;
            Ok(counts)
        })?;
        // It was there when values were planted, and may be behind: the last of each kind is a delete of what it refused.
        wait_until("Cilium's agent has passed the planted values", SHOWN, || {
            stock.ask("status")?;
            for key in ["planted", "10.201.1.250"] {
                let passed = |line: &String| line.contains("unknown key") && line.contains(&format!("key={key}"));
                ensure!(stock.complaints.iter().any(passed), "no complaint about {key} in {:#?}", stock.complaints);
            }
            Ok(())
        })?;
        stock.complaints.clear();
        let config = fleet::dump(&self.bed, "east", "cilium/cluster-config/east")?;
        ensure!(config.len() == 1, "{config:?}");
        Ok(text(&self.full))
    }

    /// A value that it must complain of, and an object that is taken back, must be noticed.
    fn stock_twins(&mut self) -> Result<String> {
        self.follows("joined")?;
        self.stock.check_silent()?;
        let honest = fleet::dump(&self.bed, "east", "cilium/state/nodes/v1/east/east-f1")?;
        let honest = honest.get("cilium/state/nodes/v1/east/east-f1").context("a node")?.replace("east-f1", "planted");
        let (key, store) = ("cilium/state/nodes/v1/east/planted", &self.bed.stores["east"]);
        store.etcdctl(&["put", key, &honest.replace("\"ClusterID\":1", "\"ClusterID\":2")])?;
        let stock = &mut self.stock;
        wait_until("a node of a wrong cluster is complained of", SHOWN, || {
            stock.ask("status")?;
            ensure!(stock.check_silent().is_err(), "it is silent");
            Ok(())
        })?;
        store.etcdctl(&["put", key, &honest])?;
        let before = self.full.clone();
        self.full = wait_until("the planted node is there", SHOWN, || {
            let counts = stock.counts("status", "count")?;
            ensure!(counts["node"][0] > before["node"][0], "{counts:?}");
            Ok(counts)
        })?;
        store.etcdctl(&["del", key])?;
        wait_until("the planted node is taken back", SHOWN, || {
            let counts = stock.counts("status", "count")?;
            ensure!(counts["node"][1] > before["node"][1], "{counts:?}");
            Ok(())
        })?;
        let noticed = self.kept_within(&KINDS, Duration::from_secs(5));
        ensure!(noticed.is_err(), "a node was taken back and nobody noticed");
        self.full = self.stock.counts("status", "count")?;
        ensure!(self.full["node"][1] == before["node"][1] + 1, "{:?}", self.full);
        self.stock.complaints.clear();
        Ok("2 of 2 are noticed".to_owned())
    }

    fn restarts(&mut self) -> Result<String> {
        for node in self.bed.cluster("east")?.nodes.clone() {
            self.bed.agents.get_mut(&node.name).context("an agent")?.kill()?;
            self.bed.restart(|parts| parts.agents.get_mut(&node.name))?;
            self.bed.wait_ready(&node)?;
        }
        self.bed.operators.get_mut("east").context("an operator")?.kill()?;
        self.bed.restart(|parts| parts.operators.get_mut("east"))?;
        self.fleet.kill()?;
        let words = self.fleet.words().to_vec();
        let log = self.fleet.log().to_owned();
        let netns = self.bed.cluster("east")?.store_netns.clone();
        self.fleet = self.bed.spawn("fleet", &netns, &log, &words)?;
        fleet::wait_ready(&mut self.fleet, 2)?;
        std::thread::sleep(Duration::from_secs(2));
        self.kept(&KINDS)
    }

    fn store_restarts(&mut self) -> Result<String> {
        let (store, ledger) = self.bed.store("east")?;
        store.process.kill()?;
        store.restart(ledger)?;
        self.kept(&KINDS)?;
        self.follows("after-restart")
    }

    /// Nodes and addresses go with their leases and are put again at once; identities and services have none.
    fn leases_end(&mut self) -> Result<String> {
        let store = &self.bed.stores["east"];
        let list = store.etcdctl(&["lease", "list"])?;
        let leases: Vec<&str> = list.lines().filter(|line| line.len() == 16 && !line.contains(' ')).collect();
        ensure!(leases.len() > 50, "{list}");
        for lease in &leases {
            store.etcdctl(&["lease", "revoke", lease]).ok();
        }
        let (before, stock) = (self.full.clone(), &mut self.stock);
        let after = wait_until("everything is published again", BACK, || {
            ready(stock)?;
            let counts = stock.counts("status", "count")?;
            for (kind, now) in &counts {
                ensure!(now[0] >= before[kind][0], "{kind}: {} of {}", now[0], before[kind][0]);
            }
            ensure!(counts["node"][1] > 0, "no lease was lost");
            Ok(counts)
        })?;
        for kind in ["identity", "service"] {
            ensure!(
                after[kind][1] == before[kind][1],
                "{} of kind {kind} were taken back",
                after[kind][1] - before[kind][1]
            );
        }
        let taken = |kind: &str| after[kind][1] - before[kind][1];
        let said = format!(
            "{} leases; {} nodes and {} ips went and came back; {}",
            leases.len(),
            taken("node"),
            taken("ip"),
            text(&after)
        );
        self.full = after;
        Ok(said)
    }

    /// An empty store under the same id, to which Cilium's agent connects at once: without a cluster configuration it
    /// waits, so it must be there last.
    fn wiped(&mut self) -> Result<String> {
        let (store, ledger) = self.bed.store("east")?;
        store.process.kill()?;
        store.wipe()?;
        store.restart(ledger)?;
        let file = self.mesh.join("east");
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(&file, text + "\n")?;
        self.kept(&KINDS)?;
        self.follows("after-wipe")
    }

    /// Waits until Cilium's agent is ready with what it had; nothing of these kinds may have been taken back meanwhile.
    fn kept(&mut self, kinds: &[&str]) -> Result<String> {
        self.kept_within(kinds, BACK)
    }

    fn kept_within(&mut self, kinds: &[&str], time: Duration) -> Result<String> {
        let (before, stock) = (self.full.clone(), &mut self.stock);
        let after = wait_until("Cilium's agent is ready with all it had", time, || {
            ready(stock)?;
            let counts = stock.counts("status", "count")?;
            for kind in kinds {
                ensure!(counts[*kind][0] >= before[*kind][0], "{kind}: {} of {}", counts[*kind][0], before[*kind][0]);
            }
            Ok(counts)
        })?;
        for kind in kinds {
            let (was, is) = (before[*kind][1], after[*kind][1]);
            ensure!(is == was, "{} of kind {kind} were taken back", is - was);
        }
        self.full = after;
        Ok(format!("{}, none taken back", text(&self.full)))
    }

    /// A new Service reaches Cilium's agent.
    fn follows(&mut self, name: &str) -> Result<String> {
        let ips = ["10.98.1.1".to_owned()];
        self.bed.manifests("east")?.service("demo", name, "app-1", &ips, &[("service.cilium.io/global", "true")])?;
        let wanted = format!("service east/demo/{name} ");
        let stock = &mut self.stock;
        wait_until("a new service reaches Cilium's agent", BACK, || {
            ensure!(stock.ask("show")?.iter().any(|line| line.starts_with(&wanted)), "no {wanted}");
            Ok(())
        })?;
        self.full = self.stock.counts("status", "count")?;
        Ok(format!("{}, none taken back, a new service follows", text(&self.full)))
    }
}

/// As many objects as the fleet has, at least.
fn complete(counts: &Counts) -> Result<()> {
    for kind in KINDS {
        let found = counts.get(kind).with_context(|| format!("no count of kind {kind}"))?[0];
        ensure!(found >= fleet::least(kind), "{kind}: {found} of {}", fleet::least(kind));
    }
    Ok(())
}

fn ready(stock: &mut Peer) -> Result<()> {
    let lines = stock.ask("status")?;
    let line = lines.iter().find_map(|line| line.strip_prefix("remote ")).context("it knows of a remote cluster")?;
    ensure!(line.contains("\"ready\":true"), "{line}");
    Ok(())
}

fn text(counts: &Counts) -> String {
    KINDS.map(|kind| format!("{} {kind}", counts[kind][0])).join(", ")
}
