//! Many nodes of one cluster in one process: `fleet --nodes 50 --pods 5` and the agent's flags. With `--churn` pods come
//! and go for ever, at most `--pods` a node at a time.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use model::{NamedPort, Prefix, Protocol};
use runtime::Tasks;
use tables::{MacAddr, Pod};
use tokio::task::JoinSet;

/// Label sets that all pods share.
const APPS: u16 = 100;

#[derive(Parser)]
struct Fleet {
    /// How many nodes
    #[arg(long)]
    nodes: u8,
    /// How many pods each has
    #[arg(long)]
    pods: u8,
    /// Pods come and go, each with one of so many label sets
    #[arg(long)]
    churn: Option<u16>,
    /// The number of the first node
    #[arg(long, default_value_t = 1)]
    first: u8,
    /// Where their files lie
    #[arg(long)]
    dir: PathBuf,
    #[command(flatten)]
    agent: agent::Args,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let fleet = Arc::new(Fleet::parse());
    runtime::init_logging(&fleet.agent.log, &[]).map_err(anyhow::Error::msg)?;
    let tasks = Tasks::default();
    let mut joining = JoinSet::new();
    for number in (fleet.first..).take(fleet.nodes.into()) {
        let (fleet, tasks, args) = (Arc::clone(&fleet), tasks.clone(), fleet.node(number)?);
        joining.spawn(async move {
            let member = agent::fleet::join(&tasks, &args).await?;
            match fleet.churn {
                Some(sets) => tasks.spawn("churn", async move { fleet.churn(member, number, sets).await }),
                None => {
                    for pod in 0..fleet.pods {
                        let app = (u16::from(number - 1) * u16::from(fleet.pods) + u16::from(pod)) % APPS + 1;
                        let (object, request) = fleet.pod(number, pod, app);
                        member.add_surely(object, request).await;
                    }
                    // Its pods are there as long as the manager of its endpoints.
                    tasks.spawn("pods", async move {
                        std::future::pending::<()>().await;
                        drop(member);
                    });
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(joined) = joining.join_next().await {
        joined.context("a node's task died")??;
    }
    println!("ready");
    tokio::select! {
        signal = runtime::terminated() => signal.map(|_| ExitCode::SUCCESS).context("listen for signals"),
        task = tasks.died() => anyhow::bail!("the task {task} died"),
    }
}

impl Fleet {
    fn node(&self, number: u8) -> Result<agent::Args> {
        let mut args = self.agent.clone();
        let id = self.agent.cluster_id.get() as u8;
        args.node_name = Some(format!("{}-f{number}", args.cluster_name));
        args.ipv4_node = Some(Ipv4Addr::new(172, 21, id, number));
        args.ipv6_node = Some(Ipv6Addr::new(0xfd03, id.into(), 0, 0, 0, 0, 0, number.into()));
        args.ipv4_range = Some(Prefix::try_new(Ipv4Addr::new(10, 200 + id, number, 0).into(), 24)?);
        args.ipv6_range = Some(Prefix::try_new(range6(id, number).into(), 64)?);
        args.state_dir = self.dir.join(format!("{number}/state"));
        args.lib_dir = self.dir.join(format!("{number}/lib"));
        for folder in [&args.state_dir, &args.lib_dir] {
            std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        Ok(args)
    }

    async fn churn(&self, member: agent::fleet::Member, node: u8, sets: u16) {
        let mut there = VecDeque::new();
        for pod in (0..=200).cycle() {
            if there.len() >= usize::from(self.pods)
                && let Some((object, id)) = there.pop_front()
            {
                member.remove(&object, id).await;
            }
            let (object, request) = self.pod(node, pod, rand::random_range(1..=sets));
            // One that is refused, or not answered, is left out.
            if let Ok(id) = member.add(object.clone(), request).await {
                there.push_back((object, id));
            }
        }
    }

    fn pod(&self, node: u8, pod: u8, app: u16) -> (Pod, endpoint::CreateRequest) {
        let id = self.agent.cluster_id.get() as u8;
        let (namespace, name): (Arc<str>, Arc<str>) = ("demo".into(), format!("pod-{node}-{pod}").into());
        let mut labels = BTreeMap::from([("app".to_owned(), format!("app-{app}"))]);
        if app % 10 == 9 {
            labels.extend([("empty", ""), ("example.com/a.b_c-d", "x.y-1")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        }
        let port = |name: &str, port| NamedPort { name: name.into(), port, proto: Protocol::Tcp };
        let object = Pod {
            namespace: Arc::clone(&namespace),
            name: Arc::clone(&name),
            labels,
            service_account: format!("sa-{}", app % 7).into(),
            named_ports: if app.is_multiple_of(2) {
                vec![port("http", 8080), port("metrics", 9090)]
            } else {
                Vec::new()
            },
            pools: Default::default(),
        };
        let request = endpoint::CreateRequest {
            container_id: format!("{node}-{pod}").into(),
            netns: "".into(),
            container_ifname: "eth0".into(),
            host_ifname: format!("lxc{node}x{pod}").into(),
            host_ifindex: 0,
            mac: MacAddr::default(),
            host_mac: MacAddr::default(),
            ipv4: Some(Ipv4Addr::new(10, 200 + id, node, 10 + pod)),
            ipv6: Some(Ipv6Addr::from(u128::from(range6(id, node)) + 0x10 + u128::from(pod))),
            namespace,
            pod_name: name,
        };
        (object, request)
    }
}

fn range6(id: u8, node: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd21, id.into(), node.into(), 0, 0, 0, 0, 0)
}
