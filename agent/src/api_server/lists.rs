//! Lists of everything else.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use model::{Direction, Node, NumericIdentity, RuleEntry};

use super::{Failure, Shared};

pub(super) async fn identities(State(shared): State<Arc<Shared>>) -> Json<Vec<api::Identity>> {
    Json(shared.tables.identities.read.snapshot().iter().map(|row| identity_of(row)).collect())
}

pub(super) async fn identity(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<api::Identity>, Failure> {
    let bad = |_| Failure::new(StatusCode::BAD_REQUEST, format!("{id:?} is not an identity number"));
    let number: NumericIdentity = id.parse().map_err(bad)?;
    let snapshot = shared.tables.identities.read.snapshot();
    let row = snapshot.get(&number).ok_or_else(|| Failure::not_found(format!("there is no identity {number}")))?;
    Ok(Json(identity_of(row)))
}

fn identity_of(row: &tables::Identity) -> api::Identity {
    api::Identity { id: row.id.get(), labels: row.labels.iter().map(ToString::to_string).collect() }
}

pub(super) async fn ips(State(shared): State<Arc<Shared>>) -> Json<Vec<api::IpEntry>> {
    let claims = shared.tables.ips.read.snapshot();
    let entry = |row: &tables::IpcacheRow| {
        let claim = claims.get(&(row.prefix, row.origin.clone()));
        api::IpEntry {
            cidr: format!("{}/{}", row.prefix.addr(), row.prefix.bits()),
            identity: row.identity.get(),
            host_ip: row.tunnel_endpoint.map(|ip| ip.to_string()),
            encrypt_key: row.encrypt_key,
            metadata: api::IpMetadata {
                source: row.origin.source.to_string(),
                namespace: claim.and_then(|claim| claim.entry.texts.namespace().map(str::to_owned)),
                name: claim.and_then(|claim| claim.entry.texts.pod_name().map(str::to_owned)),
            },
        }
    };
    Json(shared.tables.ipcache.read.snapshot().iter().map(|row| entry(row)).collect())
}

pub(super) async fn nodes(State(shared): State<Arc<Shared>>) -> Json<Vec<api::Node>> {
    Json(shared.tables.nodes.read.snapshot().iter().map(|row| node_of(&row.node)).collect())
}

fn node_of(node: &Node) -> api::Node {
    let family = |ip: Option<String>, range: Option<model::Prefix>| {
        Some(api::FamilyAddress {
            enabled: ip.is_some(),
            ip: ip?,
            alloc_range: range.map(|range| range.to_string()).unwrap_or_default(),
        })
    };
    api::Node {
        name: format!("{}/{}", node.cluster, node.name),
        primary_address: api::Addressing {
            ipv4: family(node.internal_ipv4().map(|ip| ip.to_string()), node.ipv4_alloc_cidr),
            ipv6: family(node.internal_ipv6().map(|ip| ip.to_string()), node.ipv6_alloc_cidr),
        },
        source: node.source.to_string(),
    }
}

pub(super) async fn services(State(shared): State<Arc<Shared>>) -> Json<Vec<api::Service>> {
    // Numbers are the kernel's; without its maps a service has none yet.
    let mut kernel = datapath::kernel::Pinned::new(&shared.bpf_root);
    let numbers: BTreeMap<_, _> = datapath::dump::services(&mut kernel)
        .unwrap_or_default()
        .into_iter()
        .map(|service| (service.frontend, service.number))
        .collect();
    let service = |row: &tables::Frontend| api::Service {
        id: numbers.get(&row.addr).copied(),
        namespace: row.service.namespace().to_owned(),
        name: row.service.name().to_owned(),
        service_type: "ClusterIP".to_owned(),
        frontend_address: api::FrontendAddress {
            ip: row.addr.ip.to_string(),
            port: row.addr.port,
            protocol: row.addr.proto.to_string(),
        },
        backend_addresses: row.backends.iter().chain(&row.draining).map(backend_of).collect(),
    };
    Json(shared.tables.frontends.read.snapshot().iter().map(|row| service(row)).collect())
}

fn backend_of(backend: &model::Backend) -> api::Backend {
    api::Backend {
        ip: backend.addr.ip.to_string(),
        port: backend.addr.port,
        protocol: backend.addr.proto.to_string(),
        state: backend.state.to_string(),
        cluster_id: backend.cluster_id.get(),
    }
}

pub(super) async fn policy(State(shared): State<Arc<Shared>>) -> Json<Vec<api::PolicyEntry>> {
    let entry = |row: &tables::PolicyRule| {
        let resource = &row.rule.resource;
        let line = |file: &Arc<str>| format!("{file}:{}", resource.line.unwrap_or(1));
        api::PolicyEntry {
            policy: format!("{}/{}", resource.namespace, resource.name),
            place: resource.file.as_ref().map(line),
            subject: row.rule.subject.to_string(),
            ingress: row.rule.entries(Direction::Ingress).iter().map(line_of).collect(),
            egress: row.rule.entries(Direction::Egress).iter().map(line_of).collect(),
        }
    };
    Json(shared.tables.rules.read.snapshot().iter().map(|row| entry(row)).collect())
}

/// `from or to WHOM on PORTS`.
fn line_of(entry: &RuleEntry) -> String {
    let peer = |peer: &model::Peer| match peer {
        model::Peer::Endpoints(selector) => selector.to_string(),
        model::Peer::Entity(entity) => format!("entity {entity}"),
        model::Peer::Cidr(cidr) => cidr.to_string(),
    };
    let peers = match &entry.peers {
        None => "any".to_owned(),
        Some(peers) if peers.is_empty() => "nobody".to_owned(),
        Some(peers) => peers.iter().map(peer).collect::<Vec<_>>().join(" or "),
    };
    match entry.ports.is_empty() {
        true => peers,
        false => {
            let ports = entry.ports.iter().map(ToString::to_string).collect::<Vec<_>>();
            format!("{peers} on {}", ports.join(", "))
        }
    }
}

pub(super) async fn selectors(State(shared): State<Arc<Shared>>) -> Json<Vec<api::Selector>> {
    let selector = |row: &policy::SelectorRow| api::Selector {
        selector: row.selector.to_string(),
        users: row.users,
        identities: row.identities.iter().map(|identity| identity.get()).collect(),
    };
    Json(shared.tables.selectors.read.snapshot().iter().map(|row| selector(row)).collect())
}
