//! The admin server: `/healthz`, `/readyz`, `/metrics`.
//!
//! Liveness means that this process's own loop runs, never that a store answers.

use std::net::SocketAddr;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Router, routing::get};
use prometheus::Registry;
use tokio::net::TcpListener;

use crate::{Readiness, Tasks, metrics};

/// Why the admin server does not run.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address could not be bound.
    #[error("listen on {address} for health and metrics")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Serves on `address` until the tasks stop; returns the bound address.
///
/// # Errors
///
/// [`AdminError::Listen`].
pub async fn serve(
    tasks: &Tasks,
    address: SocketAddr,
    readiness: Readiness,
    registry: Registry,
) -> Result<SocketAddr, AdminError> {
    let listen = |source| AdminError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || {
                let waiting = readiness.waiting();
                std::future::ready(match waiting.as_slice() {
                    [] => (StatusCode::OK, "ready\n".to_owned()),
                    waiting => (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", waiting.join(", "))),
                })
            }),
        )
        .route(
            "/metrics",
            get(move || {
                std::future::ready(match metrics::text(&registry) {
                    Ok(text) => text.into_response(),
                    Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
                })
            }),
        );
    tasks.spawn("admin-http", async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "serve health and metrics");
        }
    });
    Ok(bound)
}
