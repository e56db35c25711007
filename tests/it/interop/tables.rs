//! What an agent of ours knows of a cluster, as sets of lines that can be compared with what Cilium meant.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::demo::dump;
use testbed::{Bed, NodePlan};

/// Lines by table.
pub(super) type Known = BTreeMap<&'static str, BTreeSet<String>>;

/// Whose rows count.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    /// The cluster.
    pub(super) cluster: &'a str,
    /// Its number.
    pub(super) id: u32,
    /// How its rows came: `kvstore` or `clustermesh`.
    pub(super) source: &'a str,
}

impl Of<'_> {
    /// Whether an address is one that Cilium's side gives out for this cluster.
    fn owns(self, prefix: &str) -> bool {
        let Self { id, .. } = self;
        let ranges = [
            format!("10.{}.", 100 + id),
            format!("172.20.{id}."),
            format!("203.0.{}.", 112 + id),
            format!("fd02:{id}:"),
            format!("fd20:{id}:"),
        ];
        ranges.iter().any(|range| prefix.starts_with(range.as_str()))
    }
}

/// What Cilium said that it publishes: lines of a kind and its JSON.
pub(super) fn meant(lines: &[String], of: Of<'_>) -> Result<Known> {
    let mut known = empty();
    let mut add = |table: &'static str, line: String| known.entry(table).or_default().extend([line]);
    for line in lines {
        let (kind, json) = line.split_once(' ').context("a kind and its JSON")?;
        let object: Value = serde_json::from_str(json).with_context(|| line.clone())?;
        match kind {
            "node" => {
                add("nodes", node_line(&object, of)?);
                for line in node_addresses(&object)? {
                    add("bpf ipcache", line);
                }
            }
            "ip" => {
                let (ip, host) = (text(&object["ip"])?, text(&object["host"])?);
                add("ips", format!("{ip} {} {host} {} {}", object["id"], text(&object["pod"])?, of.source));
                add("bpf ipcache", format!("{} {} via {host}", host_prefix(&ip)?, object["id"]));
            }
            "identity" => {
                add("identities", format!("{} {}", object["id"], labels(text(&object["labels"])?.split(';'))))
            }
            "service" => {
                let backends = object["backends"].as_object().context("backends")?;
                let ips: BTreeSet<IpAddr> = backends.keys().map(|ip| ip.parse()).collect::<Result<_, _>>()?;
                let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
                let name = text(&object["name"])?;
                add(
                    "global-services",
                    format!("{}/{name} {} true {}", text(&object["namespace"])?, of.cluster, ips.join(",")),
                );
                for line in balanced(&name, backends)? {
                    add("bpf lb", line);
                }
            }
            other => anyhow::bail!("what is {other:?}?"),
        }
    }
    Ok(known)
}

/// What our agent shows, in the same words.
pub(super) fn shown(bed: &Bed, node: &NodePlan, of: Of<'_>) -> Result<Known> {
    let rows = |words: &[&str]| -> Result<Vec<Value>> {
        let all = [words, &["-o", "json"]].concat();
        serde_json::from_str(&bed.causeway(node, &all)?).with_context(|| format!("read what {words:?} prints"))
    };
    let cell = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let origin = format!("{}/{}", of.source, of.cluster);
    let mut known = empty();
    let mut add = |table: &'static str, line: String| known.entry(table).or_default().extend([line]);
    for row in rows(&["node", "list"])? {
        let name = cell(&row, "name");
        if name.starts_with(&format!("{}/{}-stock-", of.cluster, of.cluster)) {
            let family = |family: &str| {
                let address = &row["primary-address"][family];
                format!("{} {}", cell(address, "ip"), cell(address, "alloc-range"))
            };
            add("nodes", format!("{name} {} {} {}", family("ipv4"), family("ipv6"), cell(&row, "source")));
        }
    }
    for row in rows(&["statedb", "show", "ips"])? {
        let ip = cell(&row, "IP");
        if of.owns(&ip) {
            let line = format!("{ip} {} {} {}", cell(&row, "IDENTITY"), cell(&row, "HOST"), cell(&row, "POD"));
            ensure!(cell(&row, "ORIGIN") == origin, "{ip} comes from {}, not {origin}", cell(&row, "ORIGIN"));
            add("ips", format!("{line} {}", of.source));
        }
    }
    for row in rows(&["identity", "list"])? {
        let id = row["id"].as_u64().context("an identity has a number")?;
        if id >> 16 == u64::from(of.id) {
            let all = row["labels"].as_array().context("labels")?;
            add("identities", format!("{id} {}", labels(all.iter().filter_map(Value::as_str))));
        }
    }
    for row in rows(&["statedb", "show", "global-services"])? {
        if cell(&row, "CLUSTER") == of.cluster {
            let columns = ["SERVICE", "CLUSTER", "SHARED", "BACKENDS"].map(|column| cell(&row, column));
            add("global-services", columns.join(" "));
        }
    }
    for line in dump::rows(bed, node, "ipcache")?.into_iter().filter(|line| of.owns(line)) {
        add("bpf ipcache", line);
    }
    if of.source == "clustermesh" {
        for line in dump::rows(bed, node, "lb")?
            .into_iter()
            .filter(|line| line.starts_with("10.96.") || line.starts_with("[fd96::"))
        {
            add("bpf lb", line);
        }
    }
    Ok(known)
}

/// How many lines of each table are equal.
pub(super) fn compare(meant: &Known, shown: &Known) -> Result<String> {
    let mut counts = Vec::new();
    for (table, meant) in meant {
        let shown = shown.get(table).context("every table is compared")?;
        let missing: Vec<_> = meant.difference(shown).take(3).collect();
        let extra: Vec<_> = shown.difference(meant).take(3).collect();
        ensure!(
            missing.is_empty() && extra.is_empty(),
            "{table}: {} are meant, {} are shown; missing {missing:#?}, not meant {extra:#?}",
            meant.len(),
            shown.len()
        );
        counts.push(format!("{} {table}", meant.len()));
    }
    Ok(counts.join(", "))
}

fn empty() -> Known {
    ["nodes", "ips", "identities", "global-services", "bpf ipcache", "bpf lb"]
        .map(|table| (table, BTreeSet::new()))
        .into()
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("{value} is no text"))
}

/// Sorted, with the equals sign of an empty value.
fn labels<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let full = |label: &str| if label.contains('=') { label.to_owned() } else { format!("{label}=") };
    let set: BTreeSet<String> = all.filter(|label| !label.is_empty()).map(full).collect();
    set.into_iter().collect::<Vec<_>>().join(";")
}

fn host_prefix(ip: &str) -> Result<String> {
    let parsed: IpAddr = ip.parse().with_context(|| ip.to_owned())?;
    Ok(format!("{parsed}/{}", if parsed.is_ipv4() { 32 } else { 128 }))
}

fn of_kind<'a>(node: &'a Value, kind: &'a str) -> impl Iterator<Item = IpAddr> + 'a {
    let all = node["IPAddresses"].as_array().into_iter().flatten();
    all.filter(move |address| address["Type"] == kind).filter_map(|address| address["IP"].as_str()?.parse().ok())
}

fn cidr(value: &Value) -> Result<String> {
    let ip: IpAddr = text(&value["IP"])?.parse()?;
    Ok(format!("{ip}/{}", if ip.is_ipv4() { 24 } else { 64 }))
}

fn node_line(node: &Value, of: Of<'_>) -> Result<String> {
    let first = |ipv4: bool| of_kind(node, "InternalIP").find(|ip| ip.is_ipv4() == ipv4).context("an internal address");
    Ok(format!(
        "{}/{} {} {} {} {} {}",
        of.cluster,
        text(&node["Name"])?,
        first(true)?,
        cidr(&node["IPv4AllocCIDR"])?,
        first(false)?,
        cidr(&node["IPv6AllocCIDR"])?,
        of.source
    ))
}

/// What the kernel shall know of a node: its addresses are remote-node (6), those in its pods' ranges behind its tunnel,
/// with health (4), ingress (8) and, for the rest of the ranges, world (9, 10).
fn node_addresses(node: &Value) -> Result<Vec<String>> {
    let tunnel = of_kind(node, "InternalIP").find(IpAddr::is_ipv4).context("an IPv4 address")?;
    let none = "null";
    let mut lines = Vec::new();
    for ip in of_kind(node, "InternalIP").chain(of_kind(node, "ExternalIP")) {
        lines.push(format!("{} 6 via {none}", host_prefix(&ip.to_string())?));
    }
    for ip in of_kind(node, "CiliumInternalIP") {
        lines.push(format!("{} 6 via {tunnel}", host_prefix(&ip.to_string())?));
    }
    for (field, id) in [("IPv4HealthIP", 4), ("IPv6HealthIP", 4), ("IPv4IngressIP", 8), ("IPv6IngressIP", 8)] {
        let ip = text(&node[field])?;
        if !ip.is_empty() {
            lines.push(format!("{} {id} via {tunnel}", host_prefix(&ip)?));
        }
    }
    let secondary = node["IPv4SecondaryAllocCIDRs"].as_array().into_iter().flatten();
    for range in [&node["IPv4AllocCIDR"], &node["IPv6AllocCIDR"]].into_iter().chain(secondary) {
        let range = cidr(range)?;
        lines.push(format!("{range} {} via {tunnel}", if range.contains(':') { 10 } else { 9 }));
    }
    Ok(lines)
}

/// The rows of the local Service of this name, which has no pods of its own: its frontends lead to these backends.
fn balanced(name: &str, backends: &serde_json::Map<String, Value>) -> Result<Vec<String>> {
    let number = name.strip_prefix("svc-").context("services are numbered")?;
    let mut places: BTreeMap<bool, Vec<String>> = BTreeMap::new();
    for (ip, ports) in backends {
        let ip: IpAddr = ip.parse()?;
        for port in ports.as_object().context("ports by name")?.values() {
            let port = port["Port"].as_u64().and_then(|port| u16::try_from(port).ok()).context("a port")?;
            places.entry(ip.is_ipv4()).or_default().push(format!("{}/TCP", std::net::SocketAddr::new(ip, port)));
        }
    }
    let line = |(ipv4, mut places): (bool, Vec<String>)| {
        places.sort_unstable();
        let frontend = if ipv4 { format!("10.96.0.{number}:80/TCP") } else { format!("[fd96::{number}]:80/TCP") };
        format!("{frontend} -> {}", places.join(" "))
    };
    Ok(places.into_iter().map(line).collect())
}
