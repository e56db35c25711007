//! `/endpoint`: the pods of this node.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use endpoint::{CreateError, CreateRequest};
use model::{Direction, EndpointId, NumericIdentity, PortProto, Protocol};
use tables::{Endpoint, EndpointState, MacAddr, PolicyKey};

use super::{Failure, Shared};
use crate::database::Tables;

/// How long a delete waits for the datapath to let go before the addresses stay reserved.
const LET_GO: Duration = Duration::from_secs(5);

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<Vec<api::Endpoint>> {
    Json(shared.tables.endpoints.read.snapshot().iter().map(|row| show(&shared, row)).collect())
}

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<api::Endpoint>, Failure> {
    let row = find(&shared, &id)?;
    Ok(Json(show(&shared, &row)))
}

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    Path(_id): Path<String>,
    Json(request): Json<api::EndpointChangeRequest>,
) -> Result<(StatusCode, Json<api::Endpoint>), Failure> {
    let mac = |text: &str| text.parse::<MacAddr>().map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error));
    let request = CreateRequest {
        container_id: request.container_id.into(),
        netns: request.container_netns_path.into(),
        container_ifname: request.container_interface_name.into(),
        host_ifname: request.interface_name.into(),
        host_ifindex: request.interface_index,
        mac: mac(&request.mac)?,
        host_mac: mac(&request.host_mac)?,
        ipv4: request.addressing.ipv4,
        ipv6: request.addressing.ipv6,
        namespace: request.k8s_namespace.into(),
        pod_name: request.k8s_pod_name.into(),
    };
    let id = shared.endpoints.create(request).await.map_err(|error| {
        let status = match error {
            CreateError::AddressInUse { .. } => StatusCode::CONFLICT,
            CreateError::TooMany(_) => StatusCode::INSUFFICIENT_STORAGE,
            // The runtime shall try again: the CNI plugin answers these with code 11.
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Failure::new(status, error)
    })?;
    let row = shared.tables.endpoints.read.snapshot().get(&id).cloned();
    let row = row.ok_or_else(|| Failure::not_found(format!("endpoint {id} was deleted at once")))?;
    Ok((StatusCode::CREATED, Json(show(&shared, &row))))
}

pub(super) async fn remove(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    let row = find(&shared, &id)?;
    shared.endpoints.delete(row.id).await;
    let gone = shared.tables.realized.read.wait_for(|realized| realized.get(&row.id).is_none());
    if tokio::time::timeout(LET_GO, gone).await.is_err() {
        tracing::error!(endpoint = %row.id, "the datapath does not let go: the addresses stay reserved");
        return Err(Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("endpoint {} is still in the datapath", row.id),
        ));
    }
    for ip in row.ips() {
        if let Err(error) = shared.ipam.lock().release(ip) {
            tracing::error!(%ip, %error, "address stays reserved");
        }
    }
    Ok(StatusCode::OK)
}

/// The endpoint's changes; of a deleted one too, by its number, for as long as they are kept.
pub(super) async fn log(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Vec<api::EndpointChange>>, Failure> {
    let number = match id.trim_start_matches("cilium-local:").parse::<EndpointId>() {
        Ok(number) => number,
        Err(_) => find(&shared, &id)?.id,
    };
    let log = shared.history.log(number).ok_or_else(|| Failure::not_found(format!("there is no endpoint {id}")))?;
    Ok(Json(log))
}

/// The endpoint's parts: its state, its rows in the kernel, its policy.
pub(super) async fn health(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<api::EndpointHealth>, Failure> {
    let row = find(&shared, &id)?;
    let mut problems = Vec::new();
    if row.state != EndpointState::Ready {
        problems.push(format!("its state is {}", row.state));
    }
    let realized = shared.tables.realized.read.snapshot().get(&row.id).map(|realized| realized.identity);
    let enforced = realized.is_some() && realized == row.identity;
    if !enforced {
        let is = realized.map_or_else(|| "none".to_owned(), |identity| identity.to_string());
        let shall = row.identity.map_or_else(|| "none yet".to_owned(), |identity| identity.to_string());
        problems.push(format!("the kernel enforces identity {is}, and it shall be {shall}"));
    }
    let mut kernel = datapath::kernel::Pinned::new(&shared.bpf_root);
    let rows = match datapath::dump::endpoints(&mut kernel) {
        Ok(rows) => rows.into_iter().filter(|there| there.id == row.id.0).collect(),
        Err(error) => {
            problems.push(format!("{error}: the kernel's maps cannot be read"));
            Vec::new()
        }
    };
    let there = row.ips().all(|ip| rows.iter().any(|there| there.ip == ip && there.ifindex == row.host_ifindex));
    if !there {
        problems.push("its addresses are not in the kernel, or lead to another interface".to_owned());
    }
    let locked = rows.iter().any(|there| there.locked_down);
    if locked {
        problems.push("it is locked down: its policy does not fit the kernel's map".to_owned());
    }
    let word = |good: bool, failed: bool| match (good, failed) {
        (_, true) => "Failure",
        (true, false) => "OK",
        (false, false) => "Pending",
    };
    let pending = row.state == EndpointState::Ready;
    Ok(Json(api::EndpointHealth {
        overall_health: word(problems.is_empty(), locked || pending && !(there && enforced)).to_owned(),
        bpf: word(there, pending && !there).to_owned(),
        policy: word(enforced && !locked, locked).to_owned(),
        connected: there && enforced && !locked,
        problems,
    }))
}

/// An endpoint by `7`, `cilium-local:7`, `container-id:<id>`, `cni-attachment-id:<id>:<interface>` or
/// `pod-name:<namespace>:<name>`.
fn find(shared: &Shared, id: &str) -> Result<statedb::RowRef<Endpoint>, Failure> {
    let snapshot = shared.tables.endpoints.read.snapshot();
    let (kind, rest) = id.split_once(':').unwrap_or(("cilium-local", id));
    let found = match kind {
        "cilium-local" => {
            let bad = |_| Failure::new(StatusCode::BAD_REQUEST, format!("{rest:?} is not an endpoint number"));
            snapshot.get(&rest.parse::<EndpointId>().map_err(bad)?).cloned()
        }
        "container-id" => snapshot.by("container", rest).next().cloned(),
        "cni-attachment-id" => {
            let (container, interface) = rest.split_once(':').unwrap_or((rest, "eth0"));
            snapshot.by("container", container).find(|row| &*row.container_ifname == interface).cloned()
        }
        "pod-name" => snapshot.by("pod", rest.replacen(':', "/", 1).as_str()).next().cloned(),
        other => {
            let known = "cilium-local, container-id, cni-attachment-id, pod-name";
            return Err(Failure::new(StatusCode::BAD_REQUEST, format!("{other:?} is none of {known}")));
        }
    };
    found.ok_or_else(|| Failure::not_found(format!("there is no endpoint {id}")))
}

fn show(shared: &Shared, row: &Endpoint) -> api::Endpoint {
    let identity = row.identity.map(|identity| api::Identity {
        id: identity.get(),
        labels: row.labels.iter().map(ToString::to_string).collect(),
    });
    let enforced = |direction| row.identity.is_some_and(|identity| enforced(&shared.tables, identity, direction));
    api::Endpoint {
        id: row.id.0,
        status: api::EndpointStatus {
            identity,
            external_identifiers: api::ExternalIdentifiers {
                container_id: row.container_id.to_string(),
                k8s_namespace: row.namespace.to_string(),
                k8s_pod_name: row.pod_name.to_string(),
                pod_name: format!("{}/{}", row.namespace, row.pod_name),
            },
            networking: api::EndpointNetworking {
                addressing: vec![api::AddressPair { ipv4: row.ipv4, ipv6: row.ipv6 }],
                container_interface_name: row.container_ifname.to_string(),
                interface_name: row.host_ifname.to_string(),
                interface_index: row.host_ifindex,
                mac: row.mac.to_string(),
                host_mac: row.host_mac.to_string(),
            },
            policy: api::EndpointPolicy {
                ingress_enforced: enforced(Direction::Ingress),
                egress_enforced: enforced(Direction::Egress),
            },
            state: row.state.to_string(),
        },
    }
}

/// A direction is enforced when nothing allows every packet of every peer.
pub(crate) fn enforced(tables: &Tables, set: NumericIdentity, direction: Direction) -> bool {
    let port = PortProto::new(0, Protocol::Any);
    let key = PolicyKey { set, direction, remote: NumericIdentity::UNKNOWN, port };
    tables.policy_map.read.snapshot().get(&key).is_none()
}
