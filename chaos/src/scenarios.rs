//! The stories, by what they break.

pub(crate) mod agent;
pub(crate) mod clock;
pub(crate) mod lease;
pub(crate) mod limits;
pub(crate) mod link;
pub(crate) mod machine;
pub(crate) mod mesh;
pub(crate) mod operator;
pub(crate) mod past;
pub(crate) mod store;
pub(crate) mod teeth;
pub(crate) mod upgrade;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testbed::{NodePlan, Process};

use crate::run::Run;

impl Run {
    /// How much of it is done: everything when this run may be long, else a part, which the report names.
    fn count(&mut self, short: u64, full: u64, what: &str) -> u64 {
        if self.long {
            return full;
        }
        self.figures.shortened = Some(format!("ran {short} of {full} {what}"));
        short
    }

    /// As [`count`](Self::count), in seconds.
    fn time(&mut self, short: Duration, full: Duration) -> Duration {
        Duration::from_secs(self.count(short.as_secs(), full.as_secs(), "seconds"))
    }

    /// An agent's process.
    fn agent(&mut self, node: &str) -> Result<&mut Process> {
        self.stage.bed.agents.get_mut(node).with_context(|| format!("{node} has no agent"))
    }

    /// Starts an agent that has ended, and waits until it is ready.
    fn start_agent(&mut self, node: &str) -> Result<()> {
        self.stage.bed.restart(|parts| parts.agents.get_mut(node))?;
        let node = self.node(node)?;
        self.stage.bed.wait_ready(&node)
    }

    /// Ends an agent, starts another command line in its place, and waits until it is ready.
    fn become_agent(&mut self, node: &str, words: Vec<String>) -> Result<()> {
        self.agent(node)?.stop()?;
        self.stage.bed.restart_agent_as(node, words)?;
        let node = self.node(node)?;
        self.stage.bed.wait_ready(&node)
    }

    /// Notes what an agent says of itself while something is broken.
    fn said(&mut self, node: &str) -> Result<()> {
        let node = self.node(node)?;
        let said = self.stage.bed.causeway(&node, &["status", "--brief"]);
        let said = said.unwrap_or_else(|error| format!("{error:#}"));
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        self.says(format!("{}: {last}", node.name));
        Ok(())
    }

    /// Waits until an agent's status names its store as failing, and notes what it says.
    fn store_is_missed(&mut self, node: &str, within: Duration) -> Result<()> {
        let since = Instant::now();
        let line = testbed::wait_until("the agent misses its store", within, || {
            let complaint = self.complaint(node)?;
            let line = complaint.lines().find(|line| line.starts_with("KVStore") && line.contains("Failure"));
            line.map(str::to_owned).with_context(|| format!("status does not name the store: {complaint}"))
        })?;
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        self.evidence(format!("{node} says so after {:.0} s", since.elapsed().as_secs_f64()));
        self.says(format!("{node}: {words}"));
        Ok(())
    }

    /// A node's plan.
    fn node(&self, node: &str) -> Result<NodePlan> {
        self.stage.bed.node(node).cloned()
    }

    /// Proves from a node that nobody listens at a store's address.
    fn refused(&self, node: &str, store: Ipv4Addr) -> Result<String> {
        let endpoint = SocketAddr::new(store.into(), 2379);
        let netns = netlink::Namespace::open(&self.node(node)?.netns)?;
        // The threads of a killed process end one after the other, and its sockets with the last.
        testbed::wait_until("nobody listens any more", Duration::from_secs(2), || {
            match netns.enter(|| TcpStream::connect_timeout(&endpoint, Duration::from_secs(1)))? {
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    Ok(format!("{endpoint} refuses"))
                }
                other => bail!("a connection to {endpoint} ends with {other:?}"),
            }
        })
    }

    /// What a degraded agent says of itself.
    fn complaint(&self, node: &str) -> Result<String> {
        let node = self.node(node)?;
        match self.stage.bed.causeway(&node, &["status"]) {
            Ok(text) => bail!("the agent calls itself well: {text}"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }
}
