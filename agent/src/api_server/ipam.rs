//! `/ipam`: addresses of pods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use ipam::{IpamError, PoolNames};

use super::{Failure, Shared};

pub(super) async fn allocate(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<(StatusCode, Json<api::IpamResponse>), Failure> {
    let owner = query.get("owner").filter(|owner| !owner.is_empty());
    let owner = owner.ok_or_else(|| Failure::new(StatusCode::BAD_REQUEST, "query parameter owner is required"))?;
    let lease = shared.ipam.lock().allocate(owner, &PoolNames::default()).map_err(|error| failure(&error))?;
    let mut address = api::AddressPair::default();
    for ip in lease.ips {
        match ip {
            IpAddr::V4(ip) => address.ipv4 = Some(ip),
            IpAddr::V6(ip) => address.ipv6 = Some(ip),
        }
    }
    let host_addressing = shared.config.addressing.clone();
    Ok((StatusCode::CREATED, Json(api::IpamResponse { address, host_addressing })))
}

pub(super) async fn release(State(shared): State<Arc<Shared>>, Path(ip): Path<String>) -> Result<StatusCode, Failure> {
    let bad = |_| Failure::new(StatusCode::BAD_REQUEST, format!("{ip:?} is not an address"));
    let ip: IpAddr = ip.parse().map_err(bad)?;
    // An address of a living endpoint goes with it, never before: its traffic would reach the next owner.
    if let Some(holder) = shared.tables.endpoints.read.snapshot().iter().find(|row| row.ips().any(|held| held == ip)) {
        return Err(Failure::new(StatusCode::CONFLICT, format!("{ip} is in use by endpoint {}", holder.id)));
    }
    match shared.ipam.lock().release(ip).map_err(|error| failure(&error))? {
        Some(_) => Ok(StatusCode::OK),
        None => Err(Failure::not_found(format!("{ip} is not in use"))),
    }
}

fn failure(error: &IpamError) -> Failure {
    let cause = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    let status = match error {
        IpamError::Exhausted(_) | IpamError::NoRange { .. } => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Failure::new(status, format!("{error}{cause}"))
}
