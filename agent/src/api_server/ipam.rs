//! `/ipam`: addresses of pods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use ipam::{IpamError, PoolNames};

use super::{Failure, Shared};

/// How long a pod waits for a range of its pool: the operator looks every two seconds.
const RANGES: Duration = Duration::from_secs(10);

/// Between two looks for it.
const AGAIN: Duration = Duration::from_millis(100);

/// How long the object of a pod is waited for, as for its identity.
const POD: Duration = Duration::from_secs(5);

pub(super) async fn allocate(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<(StatusCode, Json<api::IpamResponse>), Failure> {
    let owner = query.get("owner").filter(|owner| !owner.is_empty());
    let owner = owner.ok_or_else(|| Failure::new(StatusCode::BAD_REQUEST, "query parameter owner is required"))?;
    let pools = pools(&shared, owner).await;
    let _asking = Asking { shared: &shared, owner };
    let deadline = runtime::now() + RANGES;
    let lease = loop {
        let answer = shared.ipam.lock().allocate(owner, &pools);
        match answer {
            Ok(lease) => break lease,
            // A further range is on its way, when there is one.
            Err(IpamError::Exhausted(_) | IpamError::NoRange { .. })
                if shared.of_pools && runtime::now() < deadline =>
            {
                runtime::sleep(AGAIN).await;
            }
            Err(error) => return Err(failure(&error)),
        }
    };
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

/// A pod that waits for a range. Whoever gives up, or is not listened to any more, needs none.
struct Asking<'a> {
    shared: &'a Shared,
    owner: &'a str,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.shared.ipam.lock().forget_lacking(self.owner);
    }
}

/// The pools that the Pod or its Namespace names.
async fn pools(shared: &Shared, owner: &str) -> PoolNames {
    let mut names = PoolNames::default();
    let pod = owner.split(':').next().and_then(|pod| pod.split_once('/'));
    let Some((namespace, name)) = pod.filter(|_| shared.of_pools) else { return names };
    let key = (namespace.into(), name.into());
    let pods = &shared.tables.pods.read;
    // Its object may be on its way.
    tokio::time::timeout(POD, pods.wait_for(|pods| pods.get(&key).is_some())).await.ok();
    let of_pod = pods.snapshot().get(&key).map(|pod| pod.pools.clone()).unwrap_or_default();
    let namespaces = shared.tables.namespaces.read.snapshot();
    let of_namespace = namespaces.get(&key.0).map(|namespace| namespace.pools.clone()).unwrap_or_default();
    if let Some(pool) = of_pod.ipv4.or(of_namespace.ipv4) {
        names.ipv4 = pool;
    }
    if let Some(pool) = of_pod.ipv6.or(of_namespace.ipv6) {
        names.ipv6 = pool;
    }
    names
}

fn failure(error: &IpamError) -> Failure {
    let cause = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    let status = match error {
        IpamError::Exhausted(_) | IpamError::NoRange { .. } => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Failure::new(status, format!("{error}{cause}"))
}
