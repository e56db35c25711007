//! A running mesh.

mod describe;
mod pods;
mod processes;

use std::collections::BTreeMap;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    Binaries, ClusterPlan, Ledger, Leftovers, Manifests, Network, NodePlan, Plan, Pod, Process, Store, take_down,
};

/// A mesh of clusters. Dropping it takes everything down, unless it was [kept](Bed::keep) or [attached](Bed::attach).
#[derive(Debug)]
pub struct Bed {
    /// The underlay.
    pub network: Network,
    parts: Parts,
    ledger: Ledger,
    /// Where its parts are written down, for who works on it later; `None` while it is ours alone.
    kept: Option<PathBuf>,
    files_kept: bool,
}

/// What a mesh is made of; a [`Bed`] derefs to it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Parts {
    /// Names and addresses.
    pub plan: Plan,
    /// The programs.
    pub binaries: Binaries,
    /// Each cluster's store.
    pub stores: BTreeMap<String, Store>,
    /// Each cluster's operator.
    pub operators: BTreeMap<String, Process>,
    /// Each node's agent.
    pub agents: BTreeMap<String, Process>,
    /// Pods by name.
    pub pods: BTreeMap<String, Pod>,
    /// Servers that are processes, by the name of their pod.
    pub servers: BTreeMap<String, Process>,
    /// Services: cluster, namespace, name, addresses.
    pub services: Vec<(String, String, String, Vec<String>)>,
}

// === impl Parts ===

impl Parts {
    fn new(plan: Plan, binaries: Binaries) -> Self {
        Self {
            plan,
            binaries,
            stores: BTreeMap::new(),
            operators: BTreeMap::new(),
            agents: BTreeMap::new(),
            pods: BTreeMap::new(),
            servers: BTreeMap::new(),
            services: Vec::new(),
        }
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
        let mut bed = Self { parts: Parts::new(plan, binaries), network, ledger, kept: None, files_kept: false };
        progress("underlay: a bridge, and a namespace for each node and store");
        for cluster in bed.plan.clusters.clone() {
            let store = Store::start(&bed.parts.plan, &bed.parts.binaries, &cluster, &mut bed.ledger)?;
            progress(&format!("{}: {} store at {}", cluster.name, bed.plan.store, store.endpoint));
            bed.stores.insert(cluster.name.clone(), store);
            Manifests::open(&cluster.manifests)?.namespace("demo")?;
        }
        bed.write_mesh_files()?;
        // A cluster without nodes is a store: whoever writes it is the cluster.
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

    /// One client file a remote cluster, in every cluster. A store alone is joined by hand: it may not be one at first.
    fn write_mesh_files(&self) -> Result<()> {
        for cluster in &self.plan.clusters {
            fs::create_dir_all(&cluster.mesh)?;
            for remote in
                self.plan.clusters.iter().filter(|remote| remote.name != cluster.name && !remote.nodes.is_empty())
            {
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

    /// Starts a process of this mesh again after it has ended: `which` chooses it.
    ///
    /// # Errors
    ///
    /// When there is no such process, it still runs, or it does not start.
    pub fn restart(&mut self, which: impl FnOnce(&mut Parts) -> Option<&mut Process>) -> Result<()> {
        let process = which(&mut self.parts).context("the mesh has no such process")?;
        process.restart(&mut self.ledger)?;
        self.save()
    }

    /// Starts an agent that has ended as another command line, such as another version of the binary.
    ///
    /// # Errors
    ///
    /// When there is no such agent, it still runs, or it does not start.
    pub fn restart_agent_as(&mut self, node: &str, words: Vec<String>) -> Result<()> {
        self.restart_as(|parts| parts.agents.get_mut(node), words)
    }

    /// Starts a process that has ended as another command line: `which` chooses it.
    ///
    /// # Errors
    ///
    /// When there is no such process, it still runs, or it does not start.
    pub fn restart_as(
        &mut self,
        which: impl FnOnce(&mut Parts) -> Option<&mut Process>,
        words: Vec<String>,
    ) -> Result<()> {
        let process = which(&mut self.parts).context("the mesh has no such process")?;
        process.restart_as(&mut self.ledger, words)?;
        self.save()
    }

    /// A cluster's store, and the ledger that its restart is noted in.
    ///
    /// # Errors
    ///
    /// When there is no such cluster.
    pub fn store(&mut self, cluster: &str) -> Result<(&mut Store, &mut Ledger)> {
        let store = self.parts.stores.get_mut(cluster).with_context(|| format!("there is no store of {cluster}"))?;
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
        self.kept = Some(PathBuf::new());
        self.ledger.reread()?;
        let found = take_down(&self.ledger)?;
        fs::remove_dir_all(&self.plan.dir).ok();
        Ok(found)
    }
}

impl Deref for Bed {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl DerefMut for Bed {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.parts
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if self.kept.is_some() {
            return;
        }
        if let Err(error) = self.ledger.reread().and_then(|()| take_down(&self.ledger)) {
            eprintln!("could not take everything down: {error:#}; repeat with --down");
        }
        // Logs of a run that failed are worth keeping.
        if !std::thread::panicking() && !self.files_kept {
            fs::remove_dir_all(&self.plan.dir).ok();
        }
    }
}
