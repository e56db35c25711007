//! Our allocators, each with a client, leases and a watch of its own, as so many agents have them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kvstore::{Backend, Leases};
use model::{ClusterId, ClusterIdLayout, ClusterName, Labels};
use parking_lot::Mutex;
use runtime::Tasks;
use statedb::{Change, Snapshot, Writer, table};
use tables::{Grant, Identity, IdentityGrant, IdentityRequest};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::{content::CLUSTER, costs, part, read, server};

/// Who waits for which label set.
type Waiting = Arc<Mutex<HashMap<Labels, oneshot::Sender<Grant>>>>;

/// A node's allocator.
#[derive(Clone)]
struct Node {
    wanted: Writer<IdentityRequest>,
    waiting: Waiting,
}

/// `ENDPOINT NODES`, and then "take RUN COUNT WORKERS".
pub(crate) fn play(words: &[String]) -> Result<()> {
    let [endpoint, nodes] = words else { bail!("allocate ENDPOINT NODES") };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (tasks, files) = (Tasks::default(), tempfile::tempdir()?);
    let nodes: Vec<Node> = runtime.block_on(async {
        let mut all = Vec::new();
        for number in 0..nodes.parse::<u8>()? {
            all.push(node(&tasks, endpoint, number, files.path().join(number.to_string())).await?);
        }
        Ok::<_, anyhow::Error>(all)
    })?;
    part::play(String::new(), |command| {
        let words: Vec<&str> = command.split(' ').collect();
        let ["take", run, count, workers] = words[..] else { bail!("there is no such command") };
        let (count, workers): (usize, usize) = (count.parse()?, workers.parse()?);
        let started = Instant::now();
        runtime.block_on(take(&nodes, run, count, workers))?;
        let (taken, seconds) = (count * nodes.len(), started.elapsed().as_secs_f64());
        Ok(format!(r#"{{"taken":{taken},"seconds":{seconds:.4},{}}}"#, costs::fields()?))
    })
}

async fn take(nodes: &[Node], run: &str, count: usize, workers: usize) -> Result<()> {
    let mut all = JoinSet::new();
    for (node, worker) in nodes.iter().flat_map(|node| (0..workers).map(move |worker| (node.clone(), worker))) {
        let run = run.to_owned();
        all.spawn(async move {
            for number in (worker..count).step_by(workers) {
                node.take(labels(&run, number)?).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    Ok(())
}

/// As the peer's.
fn labels(run: &str, number: usize) -> Result<Labels> {
    let text = format!(
        "k8s:app=app-{run}-{number:06};k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop;k8s:io.cilium.k8s.policy.cluster=east;k8s:io.cilium.k8s.policy.serviceaccount=default;k8s:io.kubernetes.pod.namespace=shop;"
    );
    Ok(wire::labels::decode("", text.as_bytes())?)
}

impl Node {
    async fn take(&self, labels: Labels) -> Result<()> {
        let (sender, granted) = oneshot::channel();
        self.waiting.lock().insert(labels.clone(), sender);
        self.wanted.upsert(IdentityRequest { labels });
        match granted.await.context("the allocator has ended")? {
            Grant::Identity(_) => Ok(()),
            refused => bail!("{refused:?}"),
        }
    }
}

async fn node(tasks: &Tasks, endpoint: &str, number: u8, file: std::path::PathBuf) -> Result<Node> {
    let store: Arc<dyn Backend> = server::client(endpoint, 0).await?;
    let leases = Leases::new(Arc::clone(&store), Duration::from_secs(900));
    tasks.spawn("leases", Arc::clone(&leases).keep_alive());
    let (cluster, id) = (CLUSTER.0.parse::<ClusterName>()?, ClusterId::try_new(CLUSTER.1)?);
    let ((wanted, requests), (grants, granted)) = (table(), table::<IdentityGrant>());
    let (shown, identities) = table::<Identity>();
    let layout = ClusterIdLayout::Max255;
    tasks.spawn("identities", read::import(Arc::clone(&store), cluster.clone()).identities(id, layout, shown));
    let synced = identities.clone();
    let inputs = identity_allocator::Inputs {
        requests,
        identities,
        grants,
        store,
        leases,
        cluster,
        range: layout.allocation_range(id),
        node_ip: std::net::Ipv4Addr::new(192, 0, 2, number + 1).into(),
        file,
    };
    tasks.spawn("allocator", identity_allocator::run(inputs));
    let waiting = Waiting::default();
    let (hearing, mut answers) = (Arc::clone(&waiting), granted.changes());
    tasks.spawn("grants", async move {
        loop {
            for change in answers.drain() {
                let Change::Upsert(row) = change else { continue };
                // A failure that is tried again is no answer yet.
                if let (Grant::Identity(_), Some(waiter)) = (&row.grant, hearing.lock().remove(&row.labels)) {
                    // A worker that has gone wants no answer.
                    waiter.send(row.grant.clone()).ok();
                }
            }
            answers.wait().await;
        }
    });
    let ready = synced.wait_for(Snapshot::is_initialised);
    ensure!(tokio::time::timeout(Duration::from_secs(20), ready).await.is_ok(), "the store is not read");
    Ok(Node { wanted, waiting })
}
