//! Who is meant by a pod, an endpoint, an address, an identity or labels.

use std::net::IpAddr;

use model::{EndpointId, Label, Labels, NumericIdentity, Prefix};
use policy::explain::Party;

use crate::api_server::Shared;

/// A party with the name that it is shown by.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) endpoint: Option<EndpointId>,
    pub(super) ip: Option<IpAddr>,
    pub(super) party: Party,
}

/// The forms, for error messages.
const FORMS: &str = "a pod NAMESPACE/NAME (or CLUSTER/NAMESPACE/NAME), endpoint:N, ip:ADDRESS, identity:N or labels such \
                     as k8s:app=web,reserved:world";

/// Finds a party: `pod:`, `endpoint:`, `ip:`, `identity:`, `labels:` say what follows; without them it is guessed.
pub(super) fn find(shared: &Shared, text: &str) -> Result<Found, String> {
    let (kind, rest) = match text.split_once(':') {
        Some((kind @ ("pod" | "endpoint" | "ip" | "identity" | "labels"), rest)) => (kind, rest),
        _ => (guess(shared, text), text),
    };
    match kind {
        "ip" => by_ip(shared, rest),
        "endpoint" => by_endpoint(shared, rest),
        "identity" => by_identity(shared, rest),
        "labels" => by_labels(shared, rest),
        _ => by_pod(shared, rest),
    }
}

/// A number is an endpoint of this node where there is one, else an identity.
fn guess(shared: &Shared, text: &str) -> &'static str {
    if text.parse::<IpAddr>().is_ok() {
        return "ip";
    }
    if text.parse::<u32>().is_ok() {
        let endpoint = text.parse::<EndpointId>().ok();
        let known = endpoint.is_some_and(|id| shared.tables.endpoints.read.snapshot().get(&id).is_some());
        return if known { "endpoint" } else { "identity" };
    }
    if text.contains('=') || text.starts_with("reserved:") || !text.contains('/') { "labels" } else { "pod" }
}

fn by_endpoint(shared: &Shared, text: &str) -> Result<Found, String> {
    let id: EndpointId = text.parse().map_err(|_| format!("{text:?} is not an endpoint's number"))?;
    let row = shared.tables.endpoints.read.snapshot().get(&id).cloned();
    let row =
        row.ok_or_else(|| format!("there is no endpoint {id} on this node; `causeway endpoint list` shows them"))?;
    let identity = row.identity.ok_or_else(|| format!("endpoint {id} has no identity yet"))?;
    Ok(Found {
        name: format!("{}/{}", row.namespace, row.pod_name),
        endpoint: Some(id),
        ip: row.ips().next(),
        party: Party { identity, labels: row.labels.clone() },
    })
}

/// An endpoint of this node, or an address that some cluster says is a pod's; our own cluster first.
fn by_pod(shared: &Shared, text: &str) -> Result<Found, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (cluster, namespace, name) = match parts[..] {
        [namespace, name] => (None, namespace, name),
        [cluster, namespace, name] => (Some(cluster), namespace, name),
        _ => return Err(format!("{text:?} names no party: give {FORMS}")),
    };
    let own = &*shared.policy.cluster;
    if cluster.is_none_or(|cluster| cluster == own) {
        let pod = format!("{namespace}/{name}");
        let local = shared.tables.endpoints.read.snapshot().by("pod", pod.as_str()).next().map(|row| row.id);
        if let Some(id) = local {
            return by_endpoint(shared, &id.to_string());
        }
    }
    let ips = shared.tables.ips.read.snapshot();
    let named = ips
        .iter()
        .map(|row| (row, &row.entry.texts))
        .filter(|(_, texts)| (texts.namespace(), texts.pod_name()) == (Some(namespace), Some(name)))
        .map(|(row, _)| row);
    let mut named = named.filter(|row| cluster.is_none_or(|cluster| row.origin.cluster.as_str() == cluster));
    let row = named.by_ref().min_by_key(|row| row.origin.cluster.as_str() != own);
    let row = row.ok_or_else(|| format!("no cluster has an address of pod {text}; parties are {FORMS}"))?;
    let mut found = by_identity(shared, &row.entry.identity.to_string())?;
    found.name = format!("{}/{namespace}/{name}", row.origin.cluster);
    found.ip = Some(row.entry.prefix.addr());
    Ok(found)
}

/// As the kernel resolves an address: an endpoint, the longest prefix, else the world.
fn by_ip(shared: &Shared, text: &str) -> Result<Found, String> {
    let ip: IpAddr = text.parse().map_err(|_| format!("{text:?} is not an address"))?;
    let endpoints = shared.tables.endpoints.read.snapshot();
    let mut found = match endpoints.iter().find(|row| row.ips().any(|own| own == ip)) {
        Some(row) if row.identity.is_some() => by_endpoint(shared, &row.id.to_string())?,
        _ => {
            let rows = shared.tables.ipcache.read.snapshot();
            let exact = rows.get(&Prefix::host(ip));
            let covering = || rows.iter().filter(|row| row.prefix.contains(ip)).max_by_key(|row| row.prefix.bits());
            let world = if ip.is_ipv4() { NumericIdentity::WORLD_IPV4 } else { NumericIdentity::WORLD_IPV6 };
            let identity = exact.or_else(covering).map_or(world, |row| row.identity);
            by_identity(shared, &identity.to_string())?
        }
    };
    found.name = match found.endpoint {
        Some(_) => format!("{} ({ip})", found.name),
        None => ip.to_string(),
    };
    found.ip = Some(ip);
    Ok(found)
}

fn by_identity(shared: &Shared, text: &str) -> Result<Found, String> {
    let identity: NumericIdentity = text.parse().map_err(|_| format!("{text:?} is not an identity's number"))?;
    let known = shared.tables.identities.read.snapshot().get(&identity).map(|row| row.labels.clone());
    let reserved = identity.reserved().map(|reserved| reserved.labels());
    let labels = known.or(reserved);
    let labels =
        labels.ok_or_else(|| format!("there is no identity {identity}; `causeway identity list` shows them"))?;
    Ok(Found { name: format!("identity {identity}"), endpoint: None, ip: None, party: Party { identity, labels } })
}

/// The identity of exactly these labels where there is one; else labels without an identity.
fn by_labels(shared: &Shared, text: &str) -> Result<Found, String> {
    let parse = |label: &str| {
        let label = if label.contains(':') { label.to_owned() } else { format!("{}:{label}", Label::K8S) };
        label.parse::<Label>().map_err(|error| format!("{text:?}: {error}; parties are {FORMS}"))
    };
    let labels: Vec<Label> = text.split(',').map(str::trim).map(parse).collect::<Result<_, _>>()?;
    let mut labels: Labels = labels.into_iter().collect();
    let pod = labels.iter().any(|label| label.source() == Label::K8S);
    if pod && labels.cluster().is_none() {
        // A pod is one of some cluster: ours, unless the labels say otherwise.
        let own = Label::k8s(model::keys::POLICY_CLUSTER, &shared.policy.cluster).map_err(|error| error.to_string())?;
        labels = labels.iter().cloned().chain([own]).collect();
    }
    let identities = shared.tables.identities.read.snapshot();
    let exact = identities.iter().find(|row| row.labels == labels).map(|row| row.id);
    let reserved = model::ReservedIdentity::ALL.into_iter().find(|reserved| reserved.labels() == labels);
    let identity = exact.or(reserved.map(|reserved| reserved.number())).unwrap_or(NumericIdentity::UNKNOWN);
    Ok(Found { name: text.to_owned(), endpoint: None, ip: None, party: Party { identity, labels } })
}
