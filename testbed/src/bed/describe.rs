//! A mesh on disk: for people (`demo.json`), and for who goes on with it (`bed.json`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::bed::Parts;
use crate::{Bed, ClusterPlan, Ledger, Network, NodePlan, Pod, Process};

/// The file of a kept mesh's parts, beside its ledger.
const PARTS: &str = "bed.json";
/// And its ledger.
const LEDGER: &str = "ledger.json";
/// And the description for people.
const DESCRIPTION: &str = "demo.json";

impl Bed {
    /// The mesh that a demo has left running in this directory.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn attach(dir: &Path) -> Result<Self> {
        let none = || format!("no demo runs from {}: start one with `cargo xtask demo --keep`", dir.display());
        let ledger = Ledger::open(&dir.join(LEDGER))?.with_context(none)?;
        let file = dir.join(PARTS);
        let text = fs::read(&file).with_context(none)?;
        let parts: Parts =
            serde_json::from_slice(&text).with_context(|| format!("{} is not of this version", file.display()))?;
        if parts.plan.run_id != ledger.run_id {
            bail!("{} is of run {}, the ledger of run {}", file.display(), parts.plan.run_id, ledger.run_id);
        }
        let network = Network::attach(&parts.plan).with_context(none)?;
        Ok(Self { parts, network, ledger, kept: Some(file), files_kept: true })
    }

    /// Leaves everything running from now on, and writes down in `dir` what it is.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn keep(&mut self, dir: &Path) -> Result<PathBuf> {
        self.share(dir)?;
        self.kept = Some(dir.join(PARTS));
        let description = dir.join(DESCRIPTION);
        fs::write(&description, format!("{:#}\n", self.describe()))
            .with_context(|| format!("write {}", description.display()))?;
        Ok(description)
    }

    /// Writes down what it is, so that another process can [attach](Self::attach) while we still own it.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn share(&self, dir: &Path) -> Result<()> {
        write(&dir.join(PARTS), &self.parts)
    }

    /// Takes over what another process has changed in a [shared](Self::share) mesh.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn reload(&mut self, dir: &Path) -> Result<()> {
        let file = dir.join(PARTS);
        let text = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        self.parts = serde_json::from_slice(&text).with_context(|| format!("understand {}", file.display()))?;
        self.ledger.reread()
    }

    /// Writes down what has changed in an attached mesh.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn save(&self) -> Result<()> {
        match &self.kept {
            Some(file) => write(file, &self.parts),
            None => Ok(()),
        }
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
                    "netns": cluster.nodes.first().map(|node| &node.netns),
                    "pid": self.operators.get(&cluster.name).map(Process::pid),
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

fn write(file: &Path, parts: &Parts) -> Result<()> {
    let temporary = file.with_extension("tmp");
    fs::write(&temporary, serde_json::to_vec_pretty(parts)?)
        .and_then(|()| fs::rename(&temporary, file))
        .with_context(|| format!("write {}", file.display()))
}
