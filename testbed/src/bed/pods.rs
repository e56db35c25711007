//! Pods and services of a mesh.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::pod::Sandbox;
use crate::{Bed, Manifests, Pod, PodSpec};

impl Bed {
    /// Makes a pod on a node: its object, its sandbox, CNI ADD.
    ///
    /// # Errors
    ///
    /// When its object cannot be written, or what the plugin answers.
    pub fn add_pod(&mut self, cluster: &str, node: usize, spec: PodSpec) -> Result<&Pod> {
        let cluster = self.cluster(cluster)?.clone();
        Manifests::open(&cluster.manifests)?.pod(&spec.namespace, &spec.name, &spec.labels)?;
        let name = spec.name.clone();
        let pod =
            Pod::add(&mut self.ledger, &self.parts.binaries.cni, &self.parts.plan.run_id, &cluster.nodes[node], spec)?;
        self.pods.insert(name.clone(), pod);
        self.save()?;
        self.pod(&name)
    }

    /// Writes pods' objects: what a kubelet has long before it asks for a network.
    ///
    /// # Errors
    ///
    /// When one cannot be written.
    pub fn announce_pods(&self, cluster: &str, specs: &[PodSpec]) -> Result<()> {
        let manifests = self.manifests(cluster)?;
        specs.iter().try_for_each(|spec| manifests.pod(&spec.namespace, &spec.name, &spec.labels))
    }

    /// CNI ADD for pods that were [announced](Self::announce_pods), `at_once` of them at a time; how long each took.
    ///
    /// # Errors
    ///
    /// What the plugin answers.
    pub fn connect_pods(
        &mut self,
        cluster: &str,
        node: usize,
        specs: Vec<PodSpec>,
        at_once: usize,
    ) -> Result<Vec<Duration>> {
        let node = self.cluster(cluster)?.nodes[node].clone();
        let mut times = Vec::new();
        let mut specs = specs.into_iter().peekable();
        while specs.peek().is_some() {
            let group: Vec<PodSpec> = specs.by_ref().take(at_once).collect();
            let create = |spec| Sandbox::create(&mut self.ledger, &self.parts.plan.run_id, spec);
            let sandboxes = group.into_iter().map(create).collect::<Result<Vec<_>>>()?;
            let plugin = &self.parts.binaries.cni;
            let connected: Vec<Result<(Pod, Duration)>> = std::thread::scope(|scope| {
                let connect = |sandbox: Sandbox| {
                    let started = Instant::now();
                    sandbox.connect(plugin, &node).map(|pod| (pod, started.elapsed()))
                };
                let running: Vec<_> =
                    sandboxes.into_iter().map(|sandbox| scope.spawn(move || connect(sandbox))).collect();
                running
                    .into_iter()
                    .map(|thread| thread.join().map_err(|_| anyhow!("a plugin's thread died"))?)
                    .collect()
            });
            for connected in connected {
                let (pod, time) = connected?;
                self.pods.insert(pod.spec.name.clone(), pod);
                times.push(time);
            }
        }
        self.save()?;
        Ok(times)
    }

    /// Deletes a pod: CNI DEL, its sandbox, its object.
    ///
    /// # Errors
    ///
    /// When there is no such pod, or what the plugin answers.
    pub fn remove_pod(&mut self, name: &str) -> Result<()> {
        let pod = self.pods.remove(name).with_context(|| format!("there is no pod {name}"))?;
        if let Some(mut server) = self.servers.remove(name) {
            server.kill()?;
        }
        let node = self.node(&pod.node)?.clone();
        let cluster = self.plan.clusters.iter().find(|cluster| cluster.nodes.contains(&node));
        let manifests = Manifests::open(&cluster.context("every node has a cluster")?.manifests)?;
        manifests.remove(&format!("pod-{}-{name}.yaml", pod.spec.namespace))?;
        pod.remove(&self.binaries.cni, &node)?;
        self.save()
    }

    /// Starts a server in a pod, as a process; it answers as [`server::Server`](crate::server::Server) does.
    ///
    /// # Errors
    ///
    /// When there is no such pod, or it does not start.
    pub fn serve(&mut self, pod: &str) -> Result<()> {
        let netns = self.pod(pod)?.netns.clone();
        let binary = self.binaries.causeway.with_file_name("testbed").display().to_string();
        let log = self.plan.dir.join(format!("pod-{pod}.log"));
        let process = self.spawn(pod, &netns, &log, &[binary, "serve".to_owned(), pod.to_owned()])?;
        self.servers.insert(pod.to_owned(), process);
        self.save()
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
        self.note_service(cluster, name, ips);
        Ok(())
    }

    /// Remembers a Service that was written.
    pub fn note_service(&mut self, cluster: &str, name: &str, ips: &[String]) {
        let key = (cluster.to_owned(), "demo".to_owned(), name.to_owned(), ips.to_vec());
        if !self.services.contains(&key) {
            self.services.push(key);
        }
    }
}
