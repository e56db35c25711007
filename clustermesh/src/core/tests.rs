//! Stories of one remote cluster.

use model::ClusterIdLayout;

use wire::cluster_config::SliceExport;

use super::*;
use crate::Own;

struct Bench {
    core: Core,
    ids: Ids,
    start: Instant,
}

impl Bench {
    fn new() -> Self {
        let own =
            Own { name: "east".parse().unwrap(), id: ClusterId::try_new(1).unwrap(), layout: ClusterIdLayout::Max255 };
        let start = Instant::now();
        Self { core: Core::new(start, "west".parse().unwrap(), ServiceMode::PreferLegacy), ids: Ids::new(own), start }
    }

    fn at(&self, secs: u64) -> Instant {
        self.start + Duration::from_secs(secs)
    }

    fn tick(&mut self, secs: u64) -> String {
        self.core.handle_timeout(self.at(secs), 1.0);
        self.effects()
    }

    fn connected(&mut self, secs: u64) -> String {
        self.core.handle_connected(self.at(secs), Ok(()), 1.0);
        self.effects()
    }

    fn config(&mut self, secs: u64, config: Option<ClusterConfig>) -> String {
        self.core.handle_config(self.at(secs), Ok(config), &mut self.ids, 1.0);
        self.effects()
    }

    fn effects(&mut self) -> String {
        let mut words = Vec::new();
        while let Some(effect) = self.core.poll_effect() {
            words.push(match effect {
                Effect::Start { id, cached } => format!("start {id}{}", if cached { " cached" } else { "" }),
                Effect::Open(resource) => format!("open {}", resource.path()),
                Effect::Backends(form) => form.map_or("no backends", Resource::path).to_owned(),
                Effect::Failed(why) => format!("failed: {why}"),
                other => format!("{other:?}").to_lowercase(),
            });
        }
        words.join(", ")
    }
}

fn config(id: u32) -> ClusterConfig {
    ClusterConfig { id: ClusterId::try_new(id).unwrap(), max_connected_clusters: 255, ..ClusterConfig::default() }
}

const ALL: &str = "open nodes/v1, open ip/v1, open identities/v1, open services/v1";

#[test]
fn a_reconnect_keeps_the_imports_and_a_new_id_drains_them() {
    let mut bench = Bench::new();
    assert_eq!(bench.tick(0), "connect");
    assert_eq!(bench.connected(0), "readconfig");
    assert_eq!(bench.config(0, Some(config(2))), format!("start 2, services/v1, {ALL}"));
    bench.core.handle_heartbeat(bench.at(60));
    assert_eq!(bench.tick(179), "");
    assert_eq!(bench.tick(180), "failed: no heartbeat for 120 s, close");
    assert_eq!(bench.tick(181), "connect");
    assert_eq!(bench.connected(181), "readconfig");
    assert_eq!(bench.config(181, Some(config(2))), ALL);
    assert_eq!(bench.tick(301), "failed: no heartbeat for 120 s, close", "counted from the connect");
    bench.tick(303);
    bench.connected(303);
    assert_eq!(bench.config(303, Some(config(3))), format!("drain, start 3, services/v1, {ALL}"));
}

#[test]
fn a_cluster_that_changes_its_form_keeps_everything_else() {
    let mut bench = Bench::new();
    bench.tick(0);
    bench.connected(0);
    let exporting = |endpoint_slices| ClusterConfig { endpoint_slices, ..config(2) };
    bench.config(0, Some(exporting(SliceExport::ServicesAndEndpointSlices)));
    assert!(bench.core.is_open(Resource::Services) && !bench.core.is_open(Resource::EndpointSlices));
    bench.tick(180);
    bench.tick(181);
    bench.connected(181);
    let all = "open nodes/v1, open ip/v1, open identities/v1, open endpointslices/v1";
    let answer = bench.config(181, Some(exporting(SliceExport::EndpointSlicesOnly)));
    assert_eq!(answer, format!("endpointslices/v1, {all}"));
}

#[test]
fn canaries_open_what_they_stand_for_once() {
    let mut bench = Bench::new();
    bench.tick(0);
    bench.connected(0);
    let canaries = ClusterConfig { synced_canaries: true, cached: true, ..config(2) };
    assert_eq!(bench.config(0, Some(canaries)), "start 2 cached, services/v1, watchcanaries");
    for (resource, expect) in [
        (Resource::Ip, "open ip/v1"),
        (Resource::Ip, ""),
        (Resource::ServiceExports, ""),
        (Resource::Nodes, "open nodes/v1"),
    ] {
        bench.core.handle_canary(resource);
        assert_eq!(bench.effects(), expect, "{resource:?}");
    }
}

#[test]
fn without_a_configuration_it_asks_for_three_minutes() {
    let mut bench = Bench::new();
    bench.tick(0);
    bench.connected(0);
    let (mut asked, mut now) = (1, 0);
    loop {
        match bench.config(now, None) {
            end if !end.is_empty() => {
                assert_eq!(end, "failed: failed to retrieve cluster configuration: not found, close");
                break;
            }
            _ => {
                let next = bench.core.poll_timeout().unwrap();
                assert!(next - bench.at(now) <= Duration::from_secs(30));
                now = (next - bench.start).as_secs();
                assert_eq!(bench.tick(now), "readconfig");
                asked += 1;
            }
        }
    }
    assert!((180..=210).contains(&now) && asked > 6, "{asked} times in {now} s");
}

#[test]
fn what_is_refused_is_tried_again_later() {
    let mut bench = Bench::new();
    bench.tick(0);
    bench.connected(0);
    let refused = bench.config(0, Some(config(1)));
    assert_eq!(refused, "failed: cluster configuration refused: clusterID 1 is assigned to the local cluster, close");
    assert!(matches!(bench.core.phase(), Phase::Waiting { .. }));
    assert_eq!(bench.tick(1), "connect");
}

#[test]
fn a_changed_file_reconnects_at_once_without_drain() {
    let mut bench = Bench::new();
    bench.tick(0);
    bench.connected(0);
    bench.config(0, Some(config(2)));
    bench.core.handle_file_changed(bench.at(5));
    assert_eq!(bench.effects(), "close");
    assert_eq!(bench.tick(5), "connect");
    bench.connected(5);
    assert_eq!(bench.config(5, Some(config(2))), ALL);
    bench.core.handle_broken(bench.at(6), "store changed".to_owned(), 1.0);
    assert_eq!(bench.effects(), "failed: store changed, close");
}
