//! `/metrics`: Cilium's names for what the agent's tables and parts say at the moment of asking.
//!
//! What is counted as it happens registers itself where it happens; this is the rest.

use std::sync::Arc;

use model::Direction;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, Opts};
use statedb::{Reader, Row};
use tables::EndpointState;

use crate::status::Health;

/// Everything that is worked out when asked.
pub(crate) struct StatusMetrics {
    pub(crate) health: Arc<Health>,
    pub(crate) journal: datapath::Journal,
}

/// One sample: label values, and the value.
type Sample = (Vec<String>, f64);

impl Collector for StatusMetrics {
    /// Families are not known beforehand: a registry takes collectors without descriptions.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let parts =
            [self.agent(), self.endpoints(), self.identities(), self.policy(), self.maps(), self.mesh(), self.store()];
        parts.into_iter().flatten().collect()
    }
}

impl StatusMetrics {
    fn agent(&self) -> Vec<MetricFamily> {
        let health = &self.health;
        let controllers = health.controllers();
        let failing = controllers.iter().filter(|controller| controller.failing > 0).count();
        let backlog = controllers.iter().map(|row| (vec![row.name.clone()], row.backlog as f64)).collect();
        let version = vec![env!("CARGO_PKG_VERSION").to_owned(), std::env::consts::ARCH.to_owned()];
        let pools = health.pools();
        // A family may have several ranges.
        let of_family = |value: &dyn Fn(&api::IpamStatus) -> f64| {
            let sum = |ipv4: bool| pools.iter().filter(|pool| pool.cidr.contains(':') != ipv4).map(value).sum::<f64>();
            let has = |ipv4: bool| pools.iter().any(|pool| pool.cidr.contains(':') != ipv4);
            let families = [("ipv4", true), ("ipv6", false)].into_iter().filter(|(_, ipv4)| has(*ipv4));
            families.map(|(name, ipv4)| (vec![name.to_owned()], sum(ipv4))).collect()
        };
        let used = of_family(&|pool| pool.used as f64);
        let capacity = of_family(&|pool| pool.total.parse().unwrap_or(f64::MAX));
        let tables = &health.tables;
        vec![
            gauge("cilium_version", "Version of the agent", &["version", "arch"], vec![(version, 1.0)]),
            gauge("cilium_controllers_failing", "Controllers whose last try failed", &[], one(failing)),
            gauge("causeway_controller_backlog", "Items that wait in a controller", &["name"], backlog),
            gauge("cilium_ip_addresses", "Addresses of pods in use", &["family"], used),
            gauge("cilium_ipam_capacity", "Addresses that pods can have", &["family"], capacity),
            gauge("cilium_nodes_all_num", "Nodes of every cluster", &[], one(tables.nodes.read.snapshot().len())),
            gauge("causeway_alarms", "Alarms that are on", &[], one(tables.alarms.read.snapshot().len())),
            gauge("causeway_tasks", "Tasks that run", &[], one(health.tasks.names().len())),
        ]
    }

    fn endpoints(&self) -> Vec<MetricFamily> {
        let rows = self.health.tables.endpoints.read.snapshot();
        let states = [
            EndpointState::WaitingForIdentity,
            EndpointState::Regenerating,
            EndpointState::Ready,
            EndpointState::Restoring,
            EndpointState::Disconnecting,
        ];
        let count = |state: EndpointState| rows.iter().filter(|row| row.state == state).count() as f64;
        let by_state = states.map(|state| (vec![state.to_string()], count(state))).into();
        let largest = rows.iter().map(|row| row.host_ifindex).max().unwrap_or_default();
        vec![
            gauge("cilium_endpoint", "Endpoints of this node", &[], one(rows.len())),
            gauge("cilium_endpoint_state", "Endpoints by state", &["state"], by_state),
            gauge("cilium_endpoint_max_ifindex", "Largest interface index of an endpoint", &[], one(largest as usize)),
        ]
    }

    fn identities(&self) -> Vec<MetricFamily> {
        let rows = self.health.tables.identities.read.snapshot();
        let reserved = rows.iter().take_while(|row| row.id.is_reserved()).count();
        let types = [("reserved", reserved), ("cluster_local", rows.len() - reserved)];
        let types = types.map(|(kind, count)| (vec![kind.to_owned()], count as f64)).into();
        let mut sources: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
        for row in rows.iter() {
            let named: std::collections::BTreeSet<&str> = row.labels.iter().map(|label| label.source()).collect();
            named.into_iter().for_each(|source| *sources.entry(source).or_default() += 1);
        }
        let sources = sources.into_iter().map(|(source, count)| (vec![source.to_owned()], count as f64)).collect();
        vec![
            gauge("cilium_identity", "Identities that this node knows", &["type"], types),
            gauge("cilium_identity_label_sources", "Identities with a label of a source", &["source"], sources),
        ]
    }

    fn policy(&self) -> Vec<MetricFamily> {
        let tables = &self.health.tables;
        let rules = tables.rules.read.snapshot();
        let objects: std::collections::BTreeSet<_> =
            rules.iter().map(|row| (&row.rule.resource.namespace, &row.rule.resource.name)).collect();
        let endpoints = tables.endpoints.read.snapshot();
        let enforcement = |row: &tables::Endpoint| {
            let on = |direction| row.identity.is_some_and(|set| crate::api_server::enforced(tables, set, direction));
            match (on(Direction::Ingress), on(Direction::Egress)) {
                (true, true) => "both",
                (true, false) => "ingress",
                (false, true) => "egress",
                (false, false) => "none",
            }
        };
        let mut counts = std::collections::BTreeMap::from([("both", 0), ("egress", 0), ("ingress", 0), ("none", 0)]);
        endpoints.iter().for_each(|row| *counts.entry(enforcement(row)).or_default() += 1);
        let counts = counts.into_iter().map(|(kind, count)| (vec![kind.to_owned()], f64::from(count))).collect();
        let selectors = tables.selectors.read.snapshot();
        let widest = selectors.iter().map(|row| row.identities.len()).max().unwrap_or_default();
        let help = "Identities that the widest selector in use selects";
        vec![
            gauge("cilium_policy", "Policies in force", &[], one(objects.len())),
            gauge("cilium_policy_max_revision", "Revision of the policies", &[], one(rules.revision() as usize)),
            gauge("cilium_policy_endpoint_enforcement_status", "Endpoints by enforcement", &["enforcement"], counts),
            gauge(
                "cilium_policy_selector_match_count_max",
                help,
                &["class"],
                vec![(vec!["all".to_owned()], widest as f64)],
            ),
        ]
    }

    fn maps(&self) -> Vec<MetricFamily> {
        let uses = self.health.maps.get();
        let pressure = uses.iter().map(|map| (vec![map.name.clone()], map.pressure())).collect();
        let capacity = uses.iter().map(|map| (vec![map.name.clone()], map.capacity as f64)).collect();
        let ops = self.journal.counts().into_iter().flat_map(|(name, written)| {
            let sample = |operation: &str, outcome: &str, count: u64| {
                ([name, operation, outcome].map(str::to_owned).to_vec(), count as f64)
            };
            [
                sample("update", "success", written.updates),
                sample("update", "fail", written.failed_updates),
                sample("delete", "success", written.deletes),
                sample("delete", "fail", written.failed_deletes),
            ]
        });
        let (mut events, mut errors) = ([0; 2], [0; 2]);
        for (_, written) in self.journal.counts().into_iter().filter(|(name, _)| name.starts_with("ipcache")) {
            events = [events[0] + written.updates, events[1] + written.deletes];
            errors = [errors[0] + written.failed_updates, errors[1] + written.failed_deletes];
        }
        let kinds = ["upsert", "delete"].map(str::to_owned);
        let events = kinds.iter().zip(events).map(|(kind, count)| (vec![kind.clone()], count as f64)).collect();
        let error = |(kind, count): (&String, u64)| (vec![kind.clone(), "map_write".to_owned()], count as f64);
        let errors = kinds.iter().zip(errors).map(error).collect();
        let gc = self.health.datapath.borrow().gc;
        let any = |status: &str| ["any", "any", status].map(str::to_owned).to_vec();
        let runs = vec![(any("completed"), gc.completed as f64), (any("uncompleted"), gc.failed as f64)];
        let entries = vec![
            (["any", "any", "alive"].map(str::to_owned).to_vec(), gc.last.live as f64),
            (["any", "any", "deleted"].map(str::to_owned).to_vec(), gc.last.deleted as f64),
        ];
        let took = vec![(any("completed"), gc.last_duration.as_secs_f64())];
        let labels = &["family", "protocol", "status"];
        vec![
            gauge("cilium_bpf_map_pressure", "Share of a map that is used, 0 to 1", &["map_name"], pressure),
            gauge("cilium_bpf_map_capacity", "Rows that a map holds at most", &["map_group"], capacity),
            counter(
                "cilium_bpf_map_ops_total",
                "Rows written to and deleted from a map",
                &["map_name", "operation", "outcome"],
                ops.collect(),
            ),
            counter("cilium_ipcache_events_total", "Rows of the ipcache that came and went", &["type"], events),
            counter("cilium_ipcache_errors_total", "Rows of the ipcache that failed", &["type", "error"], errors),
            counter("cilium_datapath_conntrack_gc_runs_total", "Collections of expired flows", labels, runs),
            gauge("cilium_datapath_conntrack_gc_entries", "Flows that the last collection saw", labels, entries),
            gauge("causeway_conntrack_gc_last_duration_seconds", "Seconds of the last collection", labels, took),
        ]
    }

    fn mesh(&self) -> Vec<MetricFamily> {
        let health = &self.health;
        let mesh = health.mesh();
        let node = health.node.rsplit('/').next().unwrap_or_default();
        let us = || vec![health.cluster.to_string(), node.to_owned()];
        let each = |value: &dyn Fn(&api::RemoteCluster) -> f64| -> Vec<Sample> {
            let sample = |cluster: &api::RemoteCluster| ([us(), vec![cluster.name.clone()]].concat(), value(cluster));
            mesh.clusters.iter().map(sample).collect()
        };
        let name = |what: &str| format!("cilium_clustermesh_remote_cluster_{what}");
        let labels = &["source_cluster", "source_node_name", "target_cluster"];
        let remote = |what: &str, help: &str, value: &dyn Fn(&api::RemoteCluster) -> f64| {
            gauge(&name(what), help, labels, each(value))
        };
        let ages = self.health.store.freshness.ages(runtime::now());
        let age = |age: &reflector::SourceAge| {
            Some((vec![age.cluster.to_string(), age.resource.to_owned()], age.age?.as_secs_f64()))
        };
        vec![
            gauge(
                "cilium_clustermesh_remote_clusters",
                "Remote clusters configured",
                &["source_cluster", "source_node_name"],
                vec![(us(), mesh.clusters.len() as f64)],
            ),
            gauge(
                "cilium_clustermesh_global_services",
                "Services that clusters share",
                &["source_cluster", "source_node_name"],
                vec![(us(), mesh.num_global_services as f64)],
            ),
            remote("failures", "Failed or lost connections", &|one| one.num_failures as f64),
            remote("last_failure_ts", "When the last one was", &|one| one.last_failure.unwrap_or_default() as f64),
            remote("readiness_status", "1 when ready", &|one| f64::from(u8::from(one.ready))),
            remote("nodes", "Its nodes", &|one| one.num_nodes as f64),
            remote("endpoints", "Its addresses", &|one| one.num_endpoints as f64),
            remote("services", "The services that it shares", &|one| one.num_shared_services as f64),
            remote("endpoint_slices", "Endpoint slices of the services that it shares", &|one| {
                one.num_endpoint_slices as f64
            }),
            remote("identities", "Its identities", &|one| one.num_identities as f64),
            remote("rejected_keys", "Its keys that broke a rule", &|one| one.num_rejected as f64),
            gauge(
                "causeway_source_staleness_seconds",
                "Seconds for which a source may be out of date",
                &["source_cluster", "resource"],
                ages.iter().filter_map(age).collect(),
            ),
        ]
    }

    fn store(&self) -> Vec<MetricFamily> {
        let health = &self.health;
        let connection = health.store.client.connection_status();
        let tables = &health.tables;
        let synced = [
            initial("nodes/v1", &tables.nodes.read, health),
            initial("ip/v1", &tables.ips.read, health),
            initial("identities/v1", &tables.identities.read, health),
            initial("services/v1", &tables.global_services.read, health),
            initial("endpointslices/v1", &tables.remote_slices.read, health),
        ];
        let beats = health.store.freshness.heartbeats(runtime::now()).into_iter();
        let beats = beats.map(|(cluster, age)| (vec![cluster.to_string()], age.as_secs_f64()));
        let exports = health.store.exports.summary();
        let queue = vec![(vec!["all".to_owned(), health.cluster.to_string()], exports.backlog as f64)];
        vec![
            gauge(
                "causeway_kvstore_connected",
                "1 when the last request was answered",
                &[],
                one(usize::from(connection.connected)),
            ),
            counter(
                "cilium_kvstore_quorum_errors_total",
                "Checks of the store's quorum that failed",
                &["error"],
                vec![(vec!["lock timeout".to_owned()], health.store.quorum.status().errors as f64)],
            ),
            gauge(
                "causeway_kvstore_heartbeat_age_seconds",
                "Seconds since a store's last heartbeat was seen",
                &["source_cluster"],
                beats.collect(),
            ),
            counter("causeway_kvstore_failures_total", "Requests that failed", &[], one(connection.failures as usize)),
            gauge(
                "cilium_kvstore_sync_queue_size",
                "Keys that wait to be written",
                &["scope", "source_cluster"],
                queue,
            ),
            gauge(
                "cilium_kvstore_initial_sync_completed",
                "1 when a prefix was listed completely",
                &["scope", "source_cluster", "action"],
                synced.concat(),
            ),
        ]
    }
}

/// Whether each cluster's part of a table was listed.
fn initial<R: Row>(scope: &str, table: &Reader<R>, health: &Health) -> Vec<Sample> {
    let rows = table.snapshot();
    let own = (scope != "services/v1").then(|| (health.cluster.to_string(), tables::KVSTORE.to_owned()));
    let remotes = health.tables.remote_clusters.read.snapshot();
    let remotes = remotes.iter().map(|row| (row.name.to_string(), format!("clustermesh/{}", row.name)));
    let sample = |(cluster, source): (String, String)| {
        let done = !rows.pending().any(|pending| pending == source);
        (vec![scope.to_owned(), cluster, "read".to_owned()], f64::from(u8::from(done)))
    };
    own.into_iter().chain(remotes).map(sample).collect()
}

fn one(value: usize) -> Vec<Sample> {
    vec![(Vec::new(), value as f64)]
}

fn gauge(name: &str, help: &str, labels: &[&str], samples: Vec<Sample>) -> MetricFamily {
    let vec = GaugeVec::new(Opts::new(name, help), labels).expect("names and labels are constants that parse");
    for (values, value) in samples {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        vec.with_label_values(&values).set(value);
    }
    family(&vec)
}

fn counter(name: &str, help: &str, labels: &[&str], samples: Vec<Sample>) -> MetricFamily {
    let vec = CounterVec::new(Opts::new(name, help), labels).expect("names and labels are constants that parse");
    for (values, value) in samples {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        vec.with_label_values(&values).inc_by(value);
    }
    family(&vec)
}

/// A vector is one family.
fn family(vec: &impl Collector) -> MetricFamily {
    vec.collect().pop().unwrap_or_default()
}
