//! `/healthz`, `/config` and `/statedb`.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Healthz;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};

use super::{Failure, Shared};

pub(super) async fn healthz(State(shared): State<Arc<Shared>>) -> Json<Healthz> {
    Json(shared.health.healthz().await)
}

pub(super) async fn config(State(shared): State<Arc<Shared>>) -> Json<api::Config> {
    Json(shared.config.clone())
}

pub(super) async fn tables(State(shared): State<Arc<Shared>>) -> Json<Vec<api::Table>> {
    let table = |info: statedb::TableInfo| api::Table {
        name: info.name.to_owned(),
        rows: info.rows,
        revision: info.revision,
        pending: info.pending,
    };
    Json(shared.database.tables().into_iter().map(table).collect())
}

pub(super) async fn table(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Response, Failure> {
    let absent = || {
        let known: Vec<_> = shared.database.tables().iter().map(|info| info.name).collect();
        Failure::not_found(format!("there is no table {name:?}; there are {}", known.join(", ")))
    };
    if query.get("format").is_some_and(|format| format == "text") {
        return Ok(shared.database.text(&name).ok_or_else(absent)?.into_response());
    }
    Ok(Json(shared.database.json(&name).ok_or_else(absent)?).into_response())
}
