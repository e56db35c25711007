//! `/map`: the kernel's maps and what was written to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Map, MapEvent, MapRow};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;

use super::{Failure, Shared};

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<Vec<Map>> {
    let written: BTreeMap<_, _> = shared.journal.counts().into_iter().collect();
    let map = |used: api::MapUse| {
        let written = written.get(used.name.as_str()).cloned().unwrap_or_default();
        Map {
            name: used.name,
            entries: used.entries,
            capacity: used.capacity,
            updates: written.updates,
            deletes: written.deletes,
            errors: written.failed_updates + written.failed_deletes,
            last_error: written.last_error,
        }
    };
    Json(shared.health.maps.get().into_iter().map(map).collect())
}

pub(super) async fn rows(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Result<Json<Vec<MapRow>>, Failure> {
    let mut kernel = datapath::kernel::Pinned::new(&shared.bpf_root);
    let failed = |error: datapath::kernel::KernelError| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error);
    let rows = datapath::dump::rows(&mut kernel, &name).map_err(failed)?.ok_or_else(|| absent(&shared, &name))?;
    Ok(Json(rows.into_iter().map(|(key, value)| MapRow { key, value }).collect()))
}

pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Vec<MapEvent>>, Failure> {
    let since = query.get("since").map_or(Ok(0), |since| since.parse());
    let since = since.map_err(|_| Failure::new(StatusCode::BAD_REQUEST, "since is not the number of an event"))?;
    let Some(written) = shared.journal.written(&name) else {
        let known = shared.health.maps.get().iter().any(|map| map.name == name);
        return if known { Ok(Json(Vec::new())) } else { Err(absent(&shared, &name)) };
    };
    let event = |event: &datapath::MapEvent| {
        let (key, value) = event.describe();
        let time = event.at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
        let action = if event.value.is_some() { "update" } else { "delete" };
        MapEvent {
            number: event.number,
            time: u64::try_from(time).unwrap_or(u64::MAX),
            action: action.to_owned(),
            key,
            value,
            error: event.error.clone(),
        }
    };
    Ok(Json(written.since(since).map(event).collect()))
}

fn absent(shared: &Shared, name: &str) -> Failure {
    let known: Vec<String> = shared.health.maps.get().into_iter().map(|map| map.name).collect();
    Failure::not_found(format!("there is no map {name:?}; there are {}", known.join(", ")))
}
