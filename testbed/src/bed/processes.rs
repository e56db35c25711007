//! Operators and agents of a mesh, and its command line.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{Bed, ClusterPlan, NodePlan, process};

/// How long an agent may take until it is ready: programs are verified, stores listed, on a machine that may be starved.
const READY: Duration = Duration::from_secs(90);

impl Bed {
    /// Starts a cluster's operator on its first node.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start_operator(&mut self, cluster: &ClusterPlan) -> Result<()> {
        let node = &cluster.nodes[0];
        let mut words = vec![self.binaries.causeway.display().to_string(), "operator".to_owned()];
        words.extend(self.common_flags(cluster)?);
        words.extend(self.plan.operator_flags.iter().cloned());
        let log = self.plan.dir.join(&cluster.name).join("operator.log");
        let name = format!("operator of {}", cluster.name);
        let process = self.spawn(&name, &node.netns, &log, &words)?;
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
            format!("--clustermesh-config={}", cluster.mesh.display()),
            format!("--socket-path={}", node.socket.display()),
            format!("--state-dir={}", node.state_dir.display()),
            format!("--lib-dir={}", node.lib_dir.display()),
            format!("--bpf-root={}", node.bpf_root.display()),
            "--prometheus-serve-addr=127.0.0.1:9962".to_owned(),
        ]);
        // Otherwise the operator gives them.
        if !self.plan.agent_flags.iter().any(|flag| flag.starts_with("--ipam=")) {
            words.extend([format!("--ipv4-range={}", node.range4), format!("--ipv6-range={}", node.range6)]);
        }
        words.extend(self.plan.agent_flags.iter().cloned());
        let name = format!("agent of {}", node.name);
        let process = self.spawn(&name, &node.netns, &node.log, &words)?;
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

    fn common_flags(&self, cluster: &ClusterPlan) -> Result<Vec<String>> {
        let store = self.stores.get(&cluster.name).with_context(|| format!("{} has no store", cluster.name))?;
        Ok(vec![
            format!("--cluster-name={}", cluster.name),
            format!("--cluster-id={}", cluster.id),
            format!("--kvstore-opt=etcd.address={},etcd.qps=1000", store.endpoint),
            format!("--k8s-manifests={}", cluster.manifests.display()),
        ])
    }
}
