//! Our read side of an agent, from the cluster's store to the kernel's map: the parts that the agent itself runs, as far
//! as a stage says. Stages are told apart by what they cost more.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use datapath::{Journal, Listener, Seen};
use kvstore::{Backend, Event, follow};
use model::{ClusterId, ClusterIdLayout, ClusterName, Source};
use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;
use reflector::{Import, Metrics, StoreHealth};
use runtime::Tasks;
use statedb::{Reader, Row, Snapshot, Writer, table};
use tables::{Endpoint, Frontend, Identity, IpClaim, IpcacheRow, NodeRow, PolicyMapRow, PolicyProgress, Realized};
use tokio::sync::watch;

use crate::{content::CLUSTER, costs, part, server};

/// The node that reads, which has no pods.
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 1);
/// Addresses of pods and of nodes.
const IPCACHE_MAX: u32 = 1 << 20;

struct Table<R: Row>(Writer<R>, Reader<R>);

/// What flows from the store to the kernel.
struct Tables {
    nodes: Table<NodeRow>,
    identities: Table<Identity>,
    ips: Table<IpClaim>,
    ipcache: Table<IpcacheRow>,
    policy: Table<PolicyMapRow>,
    progress: Table<PolicyProgress>,
    // A node without pods, rules and services.
    endpoints: Table<Endpoint>,
    frontends: Table<Frontend>,
    realized: Table<Realized>,
}

/// When addresses were in the kernel, by the monotonic clock.
#[derive(Default)]
struct Stamps(Mutex<Option<BTreeMap<IpAddr, i64>>>);

impl Listener for Stamps {
    fn listens(&self) -> bool {
        self.0.lock().is_some()
    }

    fn hear(&self, seen: Seen) {
        if let (Seen::Prefix(prefix), Some(stamps)) = (seen, &mut *self.0.lock()) {
            stamps.insert(prefix.addr(), monotonic());
        }
    }
}

/// Nanoseconds since the machine started, the same for every process.
pub(crate) fn monotonic() -> i64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| now.tv_sec() * 1_000_000_000 + now.tv_nsec())
}

/// `ENDPOINT STAGE PAGE`, and then "stamps" and "costs" as the peer knows them.
pub(crate) fn play(words: &[String]) -> Result<()> {
    let [endpoint, stage, page] = words else { bail!("read ENDPOINT STAGE PAGE") };
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let root = PathBuf::from(format!("/sys/fs/bpf/causeway-bench-{}", std::process::id()));
    let (stamps, tasks) = (Arc::new(Stamps::default()), Tasks::default());
    let (ips, nodes, identities) = runtime.block_on(async {
        let store: Arc<dyn Backend> = server::client(endpoint, page.parse()?).await?;
        match stage.as_str() {
            "list" => list(&store).await,
            _ => read(&tasks, store, stage, &root, &stamps).await,
        }
    })?;
    *stamps.0.lock() = Some(BTreeMap::new());
    let first = format!(
        r#"{{"ips":{ips},"nodes":{nodes},"identities":{identities},"seconds":{:.3},{}}}"#,
        started.elapsed().as_secs_f64(),
        costs::fields()?
    );
    part::play(first, |command| match command {
        "stamps" => {
            let stamps = stamps.0.lock().replace(BTreeMap::new()).unwrap_or_default();
            let lines: Vec<String> = stamps.iter().map(|(ip, at)| format!("stamp {ip} {at}")).collect();
            Ok(lines.join("\n"))
        }
        "costs" => Ok(format!("{{{}}}", costs::fields()?)),
        "leave" => {
            if root.exists() {
                std::fs::remove_dir_all(&root)?;
            }
            Ok(String::new())
        }
        _ => bail!("there is no such command"),
    })
}

/// Takes what the store sends, and drops it.
async fn list(store: &Arc<dyn Backend>) -> Result<(usize, usize, usize)> {
    let count = |prefix: String| {
        let (mut follower, driver) = follow(Arc::clone(store), prefix);
        async move {
            let mut count = 0;
            let taken = async {
                while let Some(events) = follower.next().await {
                    count += events.iter().filter(|event| matches!(event, Event::Created(_))).count();
                    if events.iter().any(|event| matches!(event, Event::ListDone)) {
                        break;
                    }
                }
            };
            tokio::select! {
                () = driver => {}
                () = taken => {}
            }
            count
        }
    };
    let name: ClusterName = CLUSTER.0.parse()?;
    let state = wire::Source::State;
    let prefixes = (wire::ip::prefix(state), wire::node::prefix(state, &name), wire::identity::id_prefix(state));
    Ok(tokio::join!(count(prefixes.0), count(prefixes.1), count(prefixes.2)))
}

async fn read(
    tasks: &Tasks,
    store: Arc<dyn Backend>,
    stage: &str,
    root: &Path,
    stamps: &Arc<Stamps>,
) -> Result<(usize, usize, usize)> {
    fn make<R: Row>() -> Table<R> {
        let (writer, reader) = table();
        Table(writer, reader)
    }
    let tables = Tables {
        nodes: make(),
        identities: make(),
        ips: make(),
        ipcache: make(),
        policy: make(),
        progress: make(),
        endpoints: make(),
        frontends: make(),
        realized: make(),
    };
    let (cluster, id) = (CLUSTER.0.parse::<ClusterName>()?, ClusterId::try_new(CLUSTER.1)?);
    let layout = ClusterIdLayout::Max255;
    let import = import(store, cluster.clone());
    tasks.spawn("nodes", import.clone().nodes(id, None, tables.nodes.0.clone()));
    tasks.spawn("identities", import.clone().identities(id, layout, tables.identities.0.clone()));
    tasks.spawn("ips", import.ips(id, layout, tables.ips.0.clone()));
    let mut kernel = None;
    if stage != "table" {
        merge(tasks, &tables, cluster)?;
    }
    if stage == "map" {
        kernel = Some(write(tasks, &tables, root, stamps)?);
    }
    let ips = tables.ips.1.wait_for(Snapshot::is_initialised).await.len();
    let nodes = tables.nodes.1.wait_for(Snapshot::is_initialised).await.len();
    let identities = tables.identities.1.wait_for(Snapshot::is_initialised).await.len();
    if stage != "table" {
        let merged = |ipcache: &Snapshot<IpcacheRow>| ipcache.is_initialised() && ipcache.len() >= ips;
        let revision = tables.ipcache.1.wait_for(merged).await.revision();
        if let Some(kernel) = &mut kernel {
            kernel.wait_for(|status| status.pruned && status.ipcache_revision >= revision).await?;
        }
    }
    Ok((ips, nodes, identities))
}

/// How the cluster's own store is read.
pub(crate) fn import(store: Arc<dyn Backend>, cluster: ClusterName) -> Import {
    Import {
        store,
        cluster,
        source: Source::Kvstore,
        cached: false,
        rejected: table().0,
        alarms: table().0,
        metrics: Metrics::unregistered(),
        health: StoreHealth::new(Duration::from_secs(900)),
        border: None,
        exporter: None,
        quota: usize::MAX,
    }
}

/// Claims become rows, each after policy has seen its identity.
fn merge(tasks: &Tasks, tables: &Tables, cluster: ClusterName) -> Result<()> {
    let inputs = policy::Inputs {
        rules: table().1,
        identities: tables.identities.1.clone(),
        endpoints: tables.endpoints.1.clone(),
        ipcache: tables.ipcache.1.clone(),
        map: tables.policy.0.clone(),
        progress: tables.progress.0.clone(),
        selectors: table().0,
    };
    let options = policy::Options {
        enable: "default".parse().map_err(anyhow::Error::msg)?,
        cluster: cluster.to_string().into(),
        allow_localhost: true,
    };
    tasks.spawn("policy", policy::run(inputs, options));
    let inputs = ipcache::Inputs {
        endpoints: tables.endpoints.1.clone(),
        nodes: tables.nodes.1.clone(),
        ips: tables.ips.1.clone(),
        cidrs: table().1,
        identities: tables.identities.1.clone(),
        progress: tables.progress.1.clone(),
        ipcache: tables.ipcache.0.clone(),
        own: ipcache::Own { cluster, name: "bench".parse()?, ips: vec![OWN.into()], dual_stack: false },
    };
    tasks.spawn("ipcache", ipcache::run(inputs));
    Ok(())
}

/// Rows become what the kernel has.
fn write(
    tasks: &Tasks,
    tables: &Tables,
    root: &Path,
    stamps: &Arc<Stamps>,
) -> Result<watch::Receiver<datapath::Status>> {
    let mut config = datapath::Config::new(root);
    config.router_ipv4 = Some(ROUTER);
    config.pod_cidrs = vec!["10.250.0.0/24".parse()?];
    config.ipcache_max = IPCACHE_MAX;
    let journal = Journal::default();
    journal.listen(Arc::clone(stamps) as Arc<dyn Listener>);
    let inputs = datapath::driver::Inputs {
        datapath: datapath::Datapath::start(config).context("start the datapath")?,
        tables: datapath::Tables {
            endpoints: tables.endpoints.1.clone(),
            ipcache: tables.ipcache.1.clone(),
            policy: tables.policy.1.clone(),
            progress: tables.progress.1.clone(),
            frontends: tables.frontends.1.clone(),
        },
        nodes: tables.nodes.1.clone(),
        realized: tables.realized.0.clone(),
        journal,
    };
    let (sender, status) = watch::channel(datapath::Status::default());
    tasks.spawn("datapath", datapath::driver::run(inputs, sender));
    Ok(status)
}
