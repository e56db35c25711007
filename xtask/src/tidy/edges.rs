//! Dependencies point down: which crate may use which. Adding an edge is a design change, made here and in
//! ARCHITECTURE.md.

use serde_json::Value;

use super::{members, own_dependencies};

/// Crates that any crate with a driver may use.
const RUNTIME: &str = "runtime";

/// Each crate with what it may use, lowest first.
const EDGES: [(&str, &[&str]); 29] = [
    ("model", &[]),
    ("ebpf-abi", &[]),
    ("runtime", &[]),
    ("netlink", &[]),
    ("certificates", &[]),
    ("xtask", &[]),
    ("api", &["model"]),
    ("statedb", &["runtime"]),
    ("kvstore", &["runtime", "certificates"]),
    ("kvstore-server", &["runtime", "certificates"]),
    ("testbed", &["ebpf-abi", "runtime", "netlink"]),
    ("wire", &["model"]),
    ("tables", &["model", "statedb"]),
    ("cni", &["api", "model", "netlink"]),
    ("identity-allocator", &["model", "wire", "kvstore", "statedb", "tables"]),
    ("reflector", &["model", "kvstore", "wire", "statedb", "tables"]),
    ("endpoint", &["model", "statedb", "tables"]),
    ("ipcache", &["model", "statedb", "tables"]),
    ("policy", &["model", "statedb", "tables"]),
    ("loadbalancer", &["model", "statedb", "tables"]),
    ("ipam", &["model", "statedb", "tables"]),
    ("k8s", &["model", "statedb", "tables"]),
    ("datapath", &["ebpf-abi", "model", "netlink", "statedb", "tables"]),
    ("clustermesh", &["model", "wire", "kvstore", "statedb", "tables", "reflector"]),
    (
        "agent",
        &[
            "api",
            "model",
            "wire",
            "kvstore",
            "statedb",
            "tables",
            "endpoint",
            "ipcache",
            "policy",
            "loadbalancer",
            "ipam",
            "identity-allocator",
            "reflector",
            "clustermesh",
            "k8s",
            "datapath",
            "netlink",
        ],
    ),
    ("operator", &["model", "wire", "kvstore", "statedb", "tables", "loadbalancer", "reflector", "k8s", "ipam"]),
    (
        "cli",
        &[
            "agent",
            "certificates",
            "chaos",
            "operator",
            "api",
            "model",
            "wire",
            "kvstore",
            "kvstore-server",
            "datapath",
            "netlink",
            "runtime",
        ],
    ),
    ("chaos", &["testbed", "ebpf-abi", "netlink"]),
    ("tests", &[]),
];

/// Edges that the design does not have, and crates that it does not know.
pub(super) fn check(metadata: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in members(metadata) {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
            complaints.push(format!("{name}: not in the list of crates (xtask/src/tidy/edges.rs)"));
            continue;
        };
        for used in own_dependencies(package) {
            let runtime = used == RUNTIME && !allowed.is_empty();
            if !allowed.contains(&used) && !runtime {
                complaints.push(format!("{name} may not use {used}: dependencies point down, see ARCHITECTURE.md"));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixture_with_a_wrong_edge_and_an_unknown_crate_is_rejected() {
        let fixture = include_str!("../../fixtures/edges.json");
        let complaints = check(&serde_json::from_str(fixture).unwrap());
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints[0].starts_with("policy may not use kvstore"), "{complaints:?}");
        assert!(complaints[1].starts_with("utils: not in the list"), "{complaints:?}");
    }
}
