//! Pods: sandboxes that the CNI plugin connects, as a container runtime would ask it to.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use netlink::Namespace;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Labels, Ledger, NodePlan, network, process};

/// How often a runtime calls ADD for a pod before we call it lost.
const TRIES: usize = 10;
/// What the plugin answers when a later call may succeed: the specification's code.
const TRY_AGAIN: &str = "\"code\":11,";

/// A pod to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodSpec {
    /// Its namespace.
    pub namespace: String,
    /// Its name, unique in the mesh.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
}

/// A connected sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pod {
    /// What was asked for.
    pub spec: PodSpec,
    /// The name of its network namespace.
    pub netns: String,
    /// The node it runs on.
    pub node: String,
    /// Its addresses.
    pub ipv4: Ipv4Addr,
    /// And the IPv6 one.
    pub ipv6: Ipv6Addr,
    /// Opened at the first use, so that a pod can be read back from a file.
    #[serde(skip)]
    sandbox: OnceLock<Namespace>,
}

/// A sandbox that is not connected yet.
pub(crate) struct Sandbox {
    spec: PodSpec,
    netns: String,
    namespace: Namespace,
}

// === impl PodSpec ===

impl PodSpec {
    /// A pod with label `app`.
    pub fn new(namespace: &str, name: &str, app: &str) -> Self {
        let labels = [("app".to_owned(), app.to_owned())].into();
        Self { namespace: namespace.to_owned(), name: name.to_owned(), labels }
    }
}

// === impl Sandbox ===

impl Sandbox {
    /// A namespace without an interface.
    pub(crate) fn create(ledger: &mut Ledger, run_id: &str, spec: PodSpec) -> Result<Self> {
        let netns = format!("cw{run_id}-p-{}", spec.name);
        let namespace = network::namespace(ledger, &netns)?;
        Ok(Self { spec, netns, namespace })
    }

    /// Calls CNI ADD on its node, again as runtimes do when the plugin asks for it.
    pub(crate) fn connect(self, plugin: &Path, node: &NodePlan) -> Result<Pod> {
        let Self { spec, netns, namespace } = self;
        let add = || call(plugin, "ADD", node, &netns, &spec);
        let asks_again =
            |answer: &Result<String>| answer.as_ref().err().is_some_and(|error| error.to_string().contains(TRY_AGAIN));
        let again = std::iter::repeat_with(add).take(TRIES).find(|answer| !asks_again(answer));
        let answer = again.unwrap_or_else(add).inspect_err(|_| {
            // Nobody would ever use it, and its name would be taken.
            Namespace::delete_if_exists(&netns).ok();
        })?;
        let answer: Value = serde_json::from_str(&answer).with_context(|| format!("CNI ADD answers {answer}"))?;
        let ips: Vec<IpAddr> = answer["ips"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|ip| ip["address"].as_str()?.split('/').next()?.parse().ok())
            .collect();
        let ipv4 = ips.iter().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None });
        let ipv6 = ips.iter().find_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None });
        let (Some(ipv4), Some(ipv6)) = (ipv4, ipv6) else {
            bail!("CNI ADD gave no address of both families: {answer}")
        };
        Ok(Pod { spec, netns, node: node.name.clone(), ipv4, ipv6, sandbox: OnceLock::from(namespace) })
    }
}

// === impl Pod ===

impl Pod {
    /// Makes the sandbox and calls CNI ADD on its node.
    ///
    /// # Errors
    ///
    /// What the plugin answers.
    pub fn add(ledger: &mut Ledger, plugin: &Path, run_id: &str, node: &NodePlan, spec: PodSpec) -> Result<Self> {
        Sandbox::create(ledger, run_id, spec)?.connect(plugin, node)
    }

    /// Calls CNI DEL and removes the sandbox.
    ///
    /// # Errors
    ///
    /// What the plugin answers.
    pub fn remove(self, plugin: &Path, node: &NodePlan) -> Result<()> {
        call(plugin, "DEL", node, &self.netns, &self.spec)?;
        Namespace::delete_if_exists(&self.netns)?;
        Ok(())
    }

    /// Runs `work` inside the pod.
    ///
    /// # Errors
    ///
    /// When the sandbox cannot be entered.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let sandbox = match self.sandbox.get() {
            Some(sandbox) => sandbox,
            None => {
                let opened = Namespace::open(&self.netns).with_context(|| format!("enter {}", self.netns))?;
                self.sandbox.get_or_init(|| opened)
            }
        };
        Ok(sandbox.enter(work)?)
    }

    /// Its address of a family.
    pub fn ip(&self, ipv6: bool) -> IpAddr {
        if ipv6 { self.ipv6.into() } else { self.ipv4.into() }
    }
}

/// One call of the plugin in the node's namespace; what it prints.
///
/// # Errors
///
/// What the plugin answers.
pub(crate) fn call(plugin: &Path, command: &str, node: &NodePlan, netns: &str, spec: &PodSpec) -> Result<String> {
    let conf = serde_json::json!({
        "cniVersion": "1.0.0", "name": "causeway", "type": "causeway-cni", "socket-path": node.socket,
    });
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={}", spec.namespace, spec.name);
    let mut child = process::inside(&node.netns)
        .arg(plugin)
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", netns)
        .env("CNI_NETNS", format!("{}/{netns}", netlink::NETNS_DIR))
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", plugin.parent().unwrap_or(Path::new("/")))
        .env("CNI_ARGS", args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", plugin.display()))?;
    if let Some(stdin) = child.stdin.as_mut() {
        stdin.write_all(conf.to_string().as_bytes()).context("hand the plugin its configuration")?;
    }
    let output = child.wait_with_output().context("wait for the plugin")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("CNI {command} of {}/{} on {}: {text}", spec.namespace, spec.name, node.name);
    }
    Ok(text)
}
