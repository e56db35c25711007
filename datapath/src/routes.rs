//! The host's routes to the pods of other nodes: what the nodes ask for, change by change.
//!
//! The kernel's own list is read at the start, when the table has become complete, after a failure and on a timer; in
//! between a node that changes costs its own routes only.

use crate::{Config, Error, devices};
use ipnet::IpNet;
use model::Prefix;
use netlink::{Netlink, Route};
use statedb::{Change, Row, RowRef};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use tables::NodeRow;

/// Who asks for which destinations, and which of them the kernel may have otherwise.
pub(crate) struct Routes {
    config: Config,
    host: u32,
    nodes: BTreeMap<<NodeRow as Row>::Key, RowRef<NodeRow>>,
    /// How many ask for a destination.
    users: BTreeMap<IpNet, usize>,
    /// Destinations whose first user came, or whose last one went.
    due: BTreeSet<IpNet>,
    /// The kernel may differ anywhere.
    compare: bool,
    /// What nobody asks for goes.
    prune: bool,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Ensure(Route),
    Delete(IpNet),
}

impl Routes {
    /// Asks for the node's own CIDRs; `host` is the device that leads to pods.
    pub(crate) fn new(config: &Config, host: u32) -> Self {
        let mut routes = Self {
            config: config.clone(),
            host,
            nodes: BTreeMap::new(),
            users: BTreeMap::new(),
            due: BTreeSet::new(),
            compare: true,
            prune: false,
        };
        for destination in routes.destinations(config.pod_cidrs.iter().copied()) {
            routes.ask(destination);
        }
        routes
    }

    /// The next round compares everything.
    pub(crate) fn compare_next(&mut self) {
        self.compare = true;
    }

    /// A node came, changed or went.
    pub(crate) fn handle(&mut self, change: &Change<NodeRow>) {
        let row = change.row();
        let (now, before) = match change {
            Change::Upsert(_) => (Some(row), self.nodes.insert(row.key(), row.clone())),
            Change::Delete(_) => (None, self.nodes.remove(&row.key())),
        };
        // Asked for before it is given up: what stays is not touched.
        for destination in now.map(|row| self.destinations(row.node.pod_cidrs())).unwrap_or_default() {
            self.ask(destination);
        }
        for destination in before.map(|row| self.destinations(row.node.pod_cidrs())).unwrap_or_default() {
            self.give_up(destination);
        }
    }

    /// Makes it so; routes that nobody has asked for since the start go only once the nodes are `complete`.
    ///
    /// # Errors
    /// [`Error::Routes`]; the next call compares everything.
    pub(crate) fn apply(&mut self, complete: bool) -> Result<usize, Error> {
        self.compare |= complete != self.prune;
        self.prune = complete;
        if !self.compare && self.due.is_empty() {
            return Ok(0);
        }
        let done = self.carry_out().map_err(Error::Routes);
        self.compare = done.is_err();
        done
    }

    fn carry_out(&mut self) -> netlink::Result<usize> {
        let mut nl = Netlink::open()?;
        let steps = match self.compare {
            true => self.difference(&nl.routes(Some(self.host))?),
            false => self.take_due(),
        };
        for step in &steps {
            match step {
                Step::Ensure(route) => nl.ensure_route(route)?,
                Step::Delete(destination) => drop(nl.delete_route_if_exists(*destination, self.host)?),
            }
        }
        Ok(steps.len())
    }

    fn take_due(&mut self) -> Vec<Step> {
        let due = std::mem::take(&mut self.due);
        let step = |destination: IpNet| match self.users.contains_key(&destination) {
            true => Step::Ensure(self.route(destination)),
            false => Step::Delete(destination),
        };
        due.into_iter().map(step).collect()
    }

    fn difference(&mut self, actual: &[Route]) -> Vec<Step> {
        self.due.clear();
        let mut there: HashMap<IpNet, Vec<&Route>> = HashMap::new();
        for route in actual {
            there.entry(route.destination).or_default().push(route);
        }
        let wanted = self.users.keys().map(|destination| self.route(*destination));
        let lacking = wanted.filter(|route| !there.get(&route.destination).is_some_and(|all| all.contains(&route)));
        let mut steps: Vec<Step> = lacking.map(Step::Ensure).collect();
        if self.prune {
            let strays = actual.iter().map(|route| route.destination);
            let strays = strays.filter(|destination| is_ours(destination) && !self.users.contains_key(destination));
            steps.extend(strays.map(Step::Delete));
        }
        steps
    }

    fn ask(&mut self, destination: IpNet) {
        let users = self.users.entry(destination).or_default();
        *users += 1;
        if *users == 1 {
            self.due.insert(destination);
        }
    }

    fn give_up(&mut self, destination: IpNet) {
        let Some(users) = self.users.get_mut(&destination) else { return };
        *users -= 1;
        if *users == 0 {
            self.users.remove(&destination);
            self.due.insert(destination);
        }
    }

    fn destinations(&self, cidrs: impl Iterator<Item = Prefix>) -> Vec<IpNet> {
        let config = &self.config;
        cidrs
            .filter(|cidr| if cidr.is_ipv4() { config.router_ipv4.is_some() } else { config.router_ipv6.is_some() })
            // A CIDR that swallows everything is a mistake of its node, not a route.
            .filter(|cidr| cidr.bits() > 0)
            .map(devices::net)
            .collect()
    }

    fn route(&self, destination: IpNet) -> Route {
        devices::pod_route(&self.config, self.host, destination)
    }
}

/// The kernel's own routes of the device are to link-local destinations and to single addresses.
fn is_ours(destination: &IpNet) -> bool {
    let link_local = match destination.addr() {
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_multicast(),
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_multicast(),
    };
    !link_local && destination.prefix_len() < destination.max_prefix_len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Node;
    use statedb::{Changes, Writer, table};
    use std::sync::Arc;

    struct Bench {
        routes: Routes,
        nodes: Writer<NodeRow>,
        changes: Changes<NodeRow>,
    }

    impl Bench {
        fn new() -> Self {
            let mut config = Config::new(std::path::Path::new("/nowhere"));
            config.router_ipv4 = Some("10.1.0.1".parse().unwrap());
            config.pod_cidrs = vec!["10.1.0.0/24".parse().unwrap()];
            let (nodes, reader) = table();
            Self { routes: Routes::new(&config, 7), nodes, changes: reader.changes() }
        }

        fn put(&mut self, name: &str, cidrs: &[&str]) {
            let mut node = Node::new(name.parse().unwrap(), "east".parse().unwrap(), Default::default());
            node.ipv4_secondary_alloc_cidrs = cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect();
            self.nodes.upsert(NodeRow { node: Arc::new(node) });
        }

        fn delete(&mut self, name: &str) {
            self.nodes.delete(&("east".parse().unwrap(), name.parse().unwrap())).unwrap();
        }

        fn steps(&mut self) -> String {
            for change in self.changes.drain() {
                self.routes.handle(&change);
            }
            text(&self.routes.take_due())
        }
    }

    fn text(steps: &[Step]) -> String {
        let step = |step: &Step| match step {
            Step::Ensure(route) => format!("+{}", route.destination),
            Step::Delete(destination) => format!("-{destination}"),
        };
        steps.iter().map(step).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_node_that_changes_costs_its_own_routes_only() {
        let mut bench = Bench::new();
        bench.put("a", &["10.2.0.0/24", "0.0.0.0/0"]);
        bench.put("b", &["10.3.0.0/24", "fd00::/64"]);
        assert_eq!(bench.steps(), "+10.1.0.0/24 +10.2.0.0/24 +10.3.0.0/24");
        bench.put("a", &["10.2.0.0/24", "10.4.0.0/24"]);
        assert_eq!(bench.steps(), "+10.4.0.0/24");
        bench.put("a", &["10.4.0.0/24"]);
        assert_eq!(bench.steps(), "-10.2.0.0/24");
        bench.put("b", &["10.3.0.0/24", "10.4.0.0/24"]);
        bench.delete("a");
        assert_eq!(bench.steps(), "", "the other node still asks for it");
        bench.delete("b");
        assert_eq!(bench.steps(), "-10.3.0.0/24 -10.4.0.0/24");
    }

    #[test]
    fn a_comparison_finds_what_lacks_and_prunes_only_when_the_nodes_are_complete() {
        let mut bench = Bench::new();
        bench.put("a", &["10.2.0.0/24"]);
        bench.put("b", &["10.3.0.0/24"]);
        bench.steps();
        let route = |text: &str| bench.routes.route(text.parse().unwrap());
        let other_mtu = Route { mtu: Some(1), ..route("10.3.0.0/24") };
        let actual = [route("10.2.0.0/24"), other_mtu, route("10.9.0.0/24"), route("10.1.0.1/32")];
        assert_eq!(text(&bench.routes.difference(&actual)), "+10.1.0.0/24 +10.3.0.0/24");
        bench.routes.prune = true;
        assert_eq!(text(&bench.routes.difference(&actual)), "+10.1.0.0/24 +10.3.0.0/24 -10.9.0.0/24");
    }
}
