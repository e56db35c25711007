//! The local API: HTTP/1.1 over a Unix socket that only root may open.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use statedb::Database;

use crate::database::Tables;

mod endpoint;
mod explain;
mod ipam;
mod lists;
mod map;
mod metrics;
mod state;

pub(crate) use endpoint::enforced;

/// What the handlers need.
pub(crate) struct Shared {
    pub(crate) config: api::Config,
    pub(crate) policy: policy::Options,
    pub(crate) journal: datapath::Journal,
    pub(crate) registry: prometheus::Registry,
    pub(crate) history: crate::history::History,
    pub(crate) bpf_root: PathBuf,
    pub(crate) database: Database,
    pub(crate) ipam: Arc<Mutex<::ipam::Ipam>>,
    /// Pods may name pools, and ranges come as they are needed.
    pub(crate) of_pools: bool,
    pub(crate) endpoints: ::endpoint::Manager,
    pub(crate) tables: Tables,
    pub(crate) health: Arc<crate::status::Health>,
}

/// A failed call: a status and one sentence.
pub(crate) struct Failure(StatusCode, String);

/// Binds the socket, readable by its owner alone, replacing one that an earlier run left.
///
/// # Errors
///
/// When the folder cannot be made or the socket cannot be bound.
pub(crate) fn bind(path: &Path) -> io::Result<tokio::net::UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = tokio::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: tokio::net::UnixListener, shared: Arc<Shared>) {
    use api::paths;
    let by = |path: &str, parameter: &str| format!("{path}/{{{parameter}}}");
    let router = Router::new()
        .route(paths::HEALTHZ, get(state::healthz))
        .route(paths::CONFIG, get(state::config))
        .route(paths::STATEDB, get(state::tables))
        .route(&by(paths::STATEDB, "table"), get(state::table))
        .route(paths::IPAM, post(ipam::allocate))
        .route(&by(paths::IPAM, "ip"), delete(ipam::release))
        .route(paths::ENDPOINT, get(endpoint::list))
        .route(&by(paths::ENDPOINT, "id"), get(endpoint::one).put(endpoint::create).delete(endpoint::remove))
        .route(&format!("{}/{{id}}/{}", paths::ENDPOINT, paths::LOG), get(endpoint::log))
        .route(&format!("{}/{{id}}/{}", paths::ENDPOINT, paths::ENDPOINT_HEALTH), get(endpoint::health))
        .route(paths::MAP, get(map::list))
        .route(&by(paths::MAP, "name"), get(map::rows))
        .route(&format!("{}/{{name}}/events", paths::MAP), get(map::events))
        .route(paths::IDENTITY, get(lists::identities))
        .route(&by(paths::IDENTITY, "id"), get(lists::identity))
        .route(paths::IP, get(lists::ips))
        .route(paths::NODES, get(lists::nodes))
        .route(paths::SERVICE, get(lists::services))
        .route(paths::POLICY, get(lists::policy))
        .route(paths::POLICY_EXPLAIN, get(explain::trace))
        .route(paths::METRICS, get(metrics::list))
        .route(paths::SELECTORS, get(lists::selectors))
        .with_state(shared);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "serve the local API");
    }
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl ToString) -> Self {
        Self(status, message.to_string())
    }

    pub(crate) fn not_found(what: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, what)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(api::Error { message: self.1 })).into_response()
    }
}
