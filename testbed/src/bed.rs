//! A running mesh.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    ClusterPlan, Ledger, Leftovers, Manifests, Network, NodePlan, Plan, Pod, PodSpec, Process, Store, process,
    take_down,
};

/// How long an agent may take until it is ready: programs are verified, stores listed.
const READY: Duration = Duration::from_secs(30);

/// The programs under test.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `causeway`.
    pub causeway: PathBuf,
    /// `causeway-cni`.
    pub cni: PathBuf,
}

/// A mesh of clusters. Dropping it takes everything down, unless it was [kept](Bed::keep).
#[derive(Debug)]
pub struct Bed {
    /// Names and addresses.
    pub plan: Plan,
    /// The programs.
    pub binaries: Binaries,
    /// The underlay.
    pub network: Network,
    /// Each cluster's store.
    pub stores: BTreeMap<String, Store>,
    /// Each cluster's operator.
    pub operators: BTreeMap<String, Process>,
    /// Each node's agent.
    pub agents: BTreeMap<String, Process>,
    /// Pods by name.
    pub pods: BTreeMap<String, Pod>,
    /// Services: cluster, namespace, name, addresses.
    pub services: Vec<(String, String, String, Vec<String>)>,
    ledger: Ledger,
    kept: bool,
    files_kept: bool,
}

impl Binaries {
    /// The binaries beside the one that runs.
    ///
    /// # Errors
    ///
    /// When they were not built.
    pub fn beside_us() -> Result<Self> {
        let own = std::env::current_exe().context("find our own binary")?;
        // A test binary lies one folder deeper.
        let folders = own.ancestors().skip(1).take(2);
        let found = folders.map(|folder| (folder.join("causeway"), folder.join("causeway-cni")));
        let found = found.into_iter().find(|(causeway, cni)| causeway.exists() && cni.exists());
        let (causeway, cni) =
            found.with_context(|| format!("no causeway and causeway-cni beside {}: build them", own.display()))?;
        Ok(Self { causeway, cni })
    }
}

// === impl Bed ===

impl Bed {
    /// Makes the underlay, stores, operators and agents of a plan, and waits until every agent is ready.
    ///
    /// # Errors
    ///
    /// When a part does not come up; everything is taken down again.
    pub fn up(plan: Plan, binaries: Binaries, ledger_file: &Path, mut progress: impl FnMut(&str)) -> Result<Self> {
        let mut ledger = Ledger::create(&plan.run_id, ledger_file)?;
        ledger.ensure_bpffs(Path::new("/sys/fs/bpf"))?;
        ledger.pins(Path::new(&format!("/sys/fs/bpf/cw{}", plan.run_id)))?;
        let network = Network::create(&plan, &mut ledger);
        let network = match network {
            Ok(network) => network,
            Err(error) => {
                take_down(&ledger).ok();
                return Err(error);
            }
        };
        let mut bed = Self {
            plan,
            binaries,
            network,
            stores: BTreeMap::new(),
            operators: BTreeMap::new(),
            agents: BTreeMap::new(),
            pods: BTreeMap::new(),
            services: Vec::new(),
            ledger,
            kept: false,
            files_kept: false,
        };
        progress("underlay: a bridge, and a namespace for each node and store");
        for cluster in bed.plan.clusters.clone() {
            let store = Store::start(&bed.plan, &cluster, &mut bed.ledger)?;
            progress(&format!("{}: etcd at {}", cluster.name, store.endpoint));
            bed.stores.insert(cluster.name.clone(), store);
            Manifests::open(&cluster.manifests)?.namespace("demo")?;
        }
        bed.write_mesh_files()?;
        for cluster in bed.plan.clusters.clone().into_iter().filter(|cluster| !cluster.nodes.is_empty()) {
            bed.start_operator(&cluster)?;
            for node in &cluster.nodes {
                bed.start_agent(&cluster, node)?;
            }
        }
        for cluster in bed.plan.clusters.clone() {
            for node in &cluster.nodes {
                bed.wait_ready(node)?;
            }
            progress(&format!("{}: operator and {} agents ready", cluster.name, cluster.nodes.len()));
        }
        Ok(bed)
    }

    /// One client file a remote cluster, in every cluster.
    fn write_mesh_files(&self) -> Result<()> {
        for cluster in &self.plan.clusters {
            fs::create_dir_all(&cluster.mesh)?;
            for remote in self.plan.clusters.iter().filter(|remote| remote.name != cluster.name) {
                self.connect(&cluster.name, &remote.name)?;
            }
        }
        Ok(())
    }

    /// Writes the client file by which `cluster` reaches `remote`.
    ///
    /// # Errors
    ///
    /// When there is no such cluster or the file cannot be written.
    pub fn connect(&self, cluster: &str, remote: &str) -> Result<()> {
        let file = self.cluster(cluster)?.mesh.join(remote);
        let endpoint = format!("http://{}:2379", self.cluster(remote)?.store_ip);
        fs::write(&file, format!("endpoints:\n- {endpoint}\n")).with_context(|| format!("write {}", file.display()))
    }

    /// Removes that file.
    ///
    /// # Errors
    ///
    /// When there is no such cluster or the file cannot be removed.
    pub fn disconnect(&self, cluster: &str, remote: &str) -> Result<()> {
        let file = self.cluster(cluster)?.mesh.join(remote);
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))
    }

    /// Starts a cluster's operator on its first node.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start_operator(&mut self, cluster: &ClusterPlan) -> Result<()> {
        let node = &cluster.nodes[0];
        let mut words = vec![self.binaries.causeway.display().to_string(), "operator".to_owned()];
        words.extend(self.common_flags(cluster)?);
        let log = self.plan.dir.join(&cluster.name).join("operator.log");
        let name = format!("operator of {}", cluster.name);
        let process = Process::start(&mut self.ledger, &name, &node.netns, &log, &words)?;
        self.operators.insert(cluster.name.clone(), process);
        Ok(())
    }

    /// Starts a node's agent.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start_agent(&mut self, cluster: &ClusterPlan, node: &NodePlan) -> Result<()> {
        for folder in [node.socket.parent().unwrap_or(&node.state_dir), &node.state_dir, &node.lib_dir] {
            fs::create_dir_all(folder)?;
        }
        let mut words = vec![self.binaries.causeway.display().to_string(), "agent".to_owned()];
        words.extend(self.common_flags(cluster)?);
        words.extend([
            format!("--node-name={}", node.name),
            format!("--ipv4-node={}", node.ipv4),
            format!("--ipv6-node={}", node.ipv6),
            format!("--ipv4-range={}", node.range4),
            format!("--ipv6-range={}", node.range6),
            format!("--clustermesh-config={}", cluster.mesh.display()),
            format!("--socket-path={}", node.socket.display()),
            format!("--state-dir={}", node.state_dir.display()),
            format!("--lib-dir={}", node.lib_dir.display()),
            format!("--bpf-root={}", node.bpf_root.display()),
            "--prometheus-serve-addr=127.0.0.1:9962".to_owned(),
        ]);
        words.extend(self.plan.agent_flags.iter().cloned());
        let name = format!("agent of {}", node.name);
        let process = Process::start(&mut self.ledger, &name, &node.netns, &node.log, &words)?;
        self.agents.insert(node.name.clone(), process);
        Ok(())
    }

    /// Waits until a node's agent says that it is ready.
    ///
    /// # Errors
    ///
    /// When it has ended, or is not ready in time.
    pub fn wait_ready(&mut self, node: &NodePlan) -> Result<()> {
        process::wait_until(&format!("agent of {} is ready", node.name), READY, || {
            if let Some(agent) = self.agents.get_mut(&node.name) {
                agent.check()?;
            }
            let status = self.causeway(node, &["status", "-o", "json"]);
            // A degraded agent exits with failure and still prints.
            let text = status.unwrap_or_else(|error| error.to_string());
            let start = text.find('{').with_context(|| text.clone())?;
            let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
            let status = values.next().context("status is empty")??;
            let waiting = status["waiting-for"].as_array().context("status has no waiting-for")?;
            anyhow::ensure!(waiting.is_empty(), "waiting for {waiting:?}");
            Ok(())
        })
    }

    /// Runs a command of the CLI on a node; its output.
    ///
    /// # Errors
    ///
    /// When it fails, with what it printed.
    pub fn causeway(&self, node: &NodePlan, words: &[&str]) -> Result<String> {
        let (binary, socket) = (self.binaries.causeway.display().to_string(), node.socket.display().to_string());
        let root = node.bpf_root.display().to_string();
        let (socket, root) = (format!("CAUSEWAY_SOCK={socket}"), format!("CAUSEWAY_BPF_ROOT={root}"));
        let mut all = vec!["env", &socket, &root, &binary];
        all.extend(words);
        process::run(&node.netns, &all)
    }

    /// Makes a pod on a node: its object, its sandbox, CNI ADD.
    ///
    /// # Errors
    ///
    /// When its object cannot be written, or what the plugin answers.
    pub fn add_pod(&mut self, cluster: &str, node: usize, spec: PodSpec) -> Result<&Pod> {
        let cluster = self.cluster(cluster)?.clone();
        Manifests::open(&cluster.manifests)?.pod(&spec.namespace, &spec.name, &spec.labels)?;
        let name = spec.name.clone();
        let pod = Pod::add(&mut self.ledger, &self.binaries.cni, &self.plan.run_id, &cluster.nodes[node], spec)?;
        self.pods.insert(name.clone(), pod);
        self.pod(&name)
    }

    /// Deletes a pod: CNI DEL, its sandbox, its object.
    ///
    /// # Errors
    ///
    /// When there is no such pod, or what the plugin answers.
    pub fn remove_pod(&mut self, name: &str) -> Result<()> {
        let pod = self.pods.remove(name).with_context(|| format!("there is no pod {name}"))?;
        let node = self.node(&pod.node)?.clone();
        let cluster = self.plan.clusters.iter().find(|cluster| cluster.nodes.contains(&node));
        let manifests = Manifests::open(&cluster.context("every node has a cluster")?.manifests)?;
        manifests.remove(&format!("pod-{}-{name}.yaml", pod.spec.namespace))?;
        pod.remove(&self.binaries.cni, &node)
    }

    /// Writes a Service and remembers it.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn add_service(
        &mut self,
        cluster: &str,
        name: &str,
        app: &str,
        ips: &[String],
        annotations: &[(&str, &str)],
    ) -> Result<()> {
        self.manifests(cluster)?.service("demo", name, app, ips, annotations)?;
        let key = (cluster.to_owned(), "demo".to_owned(), name.to_owned(), ips.to_vec());
        if !self.services.contains(&key) {
            self.services.push(key);
        }
        Ok(())
    }

    /// A pod by name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn pod(&self, name: &str) -> Result<&Pod> {
        self.pods.get(name).with_context(|| format!("there is no pod {name}"))
    }

    /// A cluster by name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn cluster(&self, name: &str) -> Result<&ClusterPlan> {
        self.plan.cluster(name).with_context(|| format!("there is no cluster {name}"))
    }

    /// A node by name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn node(&self, name: &str) -> Result<&NodePlan> {
        let mut nodes = self.plan.clusters.iter().flat_map(|cluster| &cluster.nodes);
        nodes.find(|node| node.name == name).with_context(|| format!("there is no node {name}"))
    }

    /// A cluster's manifests.
    ///
    /// # Errors
    ///
    /// When there is no such cluster.
    pub fn manifests(&self, cluster: &str) -> Result<Manifests> {
        Manifests::open(&self.cluster(cluster)?.manifests)
    }

    /// A cluster's store, and the ledger that its restart is noted in.
    ///
    /// # Errors
    ///
    /// When there is no such cluster.
    pub fn store(&mut self, cluster: &str) -> Result<(&mut Store, &mut Ledger)> {
        let store = self.stores.get_mut(cluster).with_context(|| format!("there is no store of {cluster}"))?;
        Ok((store, &mut self.ledger))
    }

    /// Starts a program in a namespace; it is taken down with the rest.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn spawn(&mut self, name: &str, netns: &str, log: &Path, words: &[String]) -> Result<Process> {
        Process::start(&mut self.ledger, name, netns, log, words)
    }

    /// Makes a sandbox without a pod in it; its name.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn sandbox(&mut self, name: &str) -> Result<String> {
        let netns = format!("cw{}-{name}", self.plan.run_id);
        crate::network::namespace(&mut self.ledger, &netns)?;
        Ok(netns)
    }

    /// Leaves everything running and writes the description of it.
    ///
    /// # Errors
    ///
    /// When the description cannot be written.
    pub fn keep(mut self, description: &Path) -> Result<Value> {
        let described = self.describe();
        fs::write(description, format!("{described:#}\n"))
            .with_context(|| format!("write {}", description.display()))?;
        self.kept = true;
        Ok(described)
    }

    /// Leaves logs and manifests behind when the rest is taken down.
    pub fn keep_files(&mut self) {
        self.files_kept = true;
    }

    /// Takes everything down now and says what there was.
    ///
    /// # Errors
    ///
    /// When something cannot be removed.
    pub fn down(mut self) -> Result<Leftovers> {
        self.kept = true;
        let found = take_down(&self.ledger)?;
        fs::remove_dir_all(&self.plan.dir).ok();
        Ok(found)
    }

    fn common_flags(&self, cluster: &ClusterPlan) -> Result<Vec<String>> {
        let store = self.stores.get(&cluster.name).with_context(|| format!("{} has no store", cluster.name))?;
        Ok(vec![
            format!("--cluster-name={}", cluster.name),
            format!("--cluster-id={}", cluster.id),
            format!("--kvstore-opt=etcd.address={},etcd.qps=1000", store.endpoint),
            format!("--k8s-manifests={}", cluster.manifests.display()),
        ])
    }

    /// Everything that somebody needs to enter the mesh.
    fn describe(&self) -> Value {
        let node = |node: &NodePlan| {
            json!({
                "name": node.name, "netns": node.netns, "ipv4": node.ipv4, "ipv6": node.ipv6, "socket": node.socket,
                "pid": self.agents.get(&node.name).map(Process::pid), "bpf_root": node.bpf_root,
                "state_dir": node.state_dir, "lib_dir": node.lib_dir, "log": node.log, "uplink": node.uplink,
            })
        };
        let pod = |pod: &Pod| {
            json!({
                "namespace": pod.spec.namespace, "name": pod.spec.name, "netns": pod.netns, "node": pod.node,
                "ipv4": pod.ipv4, "ipv6": pod.ipv6, "identity": self.identity(pod),
            })
        };
        let cluster = |cluster: &ClusterPlan| {
            let store = self.stores.get(&cluster.name);
            let belongs = |pod: &&Pod| cluster.nodes.iter().any(|node| node.name == pod.node);
            let services = self.services.iter().filter(|(of, ..)| *of == cluster.name);
            let family = |ips: &[String], ipv6: bool| ips.iter().find(|ip| ip.contains(':') == ipv6).cloned();
            let service = |(_, namespace, name, ips): &(String, String, String, Vec<String>)| {
                json!({
                    "namespace": namespace, "name": name, "ipv4": family(ips, false), "ipv6": family(ips, true),
                    "port": 80,
                })
            };
            json!({
                "name": cluster.name, "id": cluster.id, "manifests": cluster.manifests,
                "store": {
                    "netns": cluster.store_netns,
                    "endpoints": store.map(|store| vec![store.endpoint.clone()]),
                    "pid": store.map(|store| store.process.pid()),
                    "data_dir": store.map(|store| store.data_dir.clone()),
                    "log": store.map(|store| store.process.log().to_owned()),
                },
                "operator": {
                    "netns": cluster.nodes.first().map(|node| &node.netns), "pid": self.operators.get(&cluster.name).map(Process::pid),
                },
                "nodes": cluster.nodes.iter().map(node).collect::<Vec<_>>(),
                "pods": self.pods.values().filter(belongs).map(pod).collect::<Vec<_>>(),
                "services": services.map(service).collect::<Vec<_>>(),
            })
        };
        json!({
            "run_id": self.plan.run_id, "binary": self.binaries.causeway,
            "clusters": self.plan.clusters.iter().map(cluster).collect::<Vec<_>>(),
        })
    }

    fn identity(&self, pod: &Pod) -> Option<u64> {
        let node = self.node(&pod.node).ok()?;
        let id = format!("pod-name:{}:{}", pod.spec.namespace, pod.spec.name);
        let text = self.causeway(node, &["endpoint", "get", &id, "-o", "json"]).ok()?;
        serde_json::from_str::<Value>(&text).ok()?["status"]["identity"]["id"].as_u64()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = take_down(&self.ledger) {
            eprintln!("could not take everything down: {error:#}; repeat with --down");
        }
        // Logs of a run that failed are worth keeping.
        if !std::thread::panicking() && !self.files_kept {
            fs::remove_dir_all(&self.plan.dir).ok();
        }
    }
}
