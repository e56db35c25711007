//! The small pages on the client port: health, version, metrics.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tonic::body::Body;

use super::{Served, probes};
use crate::{
    core::{Caller, Request as Ask, auth::Need},
    status,
};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

const NO_GATEWAY: &str = "this store has no JSON gateway: ask by gRPC at the same address, as etcdctl, `causeway kvstore` or \
                          grpcurl do (reflection is on); or put a grpc-gateway of etcd's in front\n";

fn is_gateway(path: &str) -> bool {
    ["/v3/", "/v3beta/", "/v3alpha/"].iter().any(|prefix| path.starts_with(prefix))
}

pub(super) async fn answer(served: &Served, request: &Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    if is_gateway(path) {
        // Its calls are POST, and are told the same.
        return page(StatusCode::NOT_FOUND, TEXT, NO_GATEWAY.to_owned());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "this page is only for GET\n".to_owned());
    }
    let query = request.uri().query().unwrap_or_default();
    if (path.starts_with("/livez") || path.starts_with("/readyz"))
        && let Some((code, text)) = probes::answer(served, path, query).await
    {
        return page(code, TEXT, text);
    }
    match path {
        "/health" => health(served, query).await,
        "/version" => page(StatusCode::OK, JSON, status::version_json()),
        "/metrics" => page(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", served.shared.metrics.text()),
        _ => page(StatusCode::NOT_FOUND, TEXT, "404 page not found\n".to_owned()),
    }
}

/// etcd's health: no alarm but those excluded, a leader, and a read that goes through.
async fn health(served: &Served, query: &str) -> Response<Body> {
    let excluded = |alarm: &str| query.split('&').any(|part| part == format!("exclude={alarm}"));
    let serializable = query.split('&').any(|part| part == "serializable=true");
    let unhealthy = |reason: &str| {
        page(StatusCode::SERVICE_UNAVAILABLE, JSON, format!(r#"{{"health":"false","reason":"{reason}"}}"#))
    };
    if served.shared.is_full() && !excluded("NOSPACE") {
        return unhealthy("ALARM NOSPACE");
    }
    if served.shared.is_corrupt() && !excluded("CORRUPT") {
        return unhealthy("ALARM CORRUPT");
    }
    if !served.shared.has_leader() {
        return unhealthy("RAFT NO LEADER");
    }
    if !serializable && let Err(reason) = serves(served).await {
        return unhealthy(&format!("RANGE ERROR:{reason}"));
    }
    page(StatusCode::OK, JSON, r#"{"health":"true","reason":""}"#.to_owned())
}

pub(super) async fn serves(served: &Served) -> Result<(), String> {
    match tokio::time::timeout(status::READ_TIMEOUT, served.handle.ask(Caller::Nobody, Ask::Barrier(Need::Nothing)))
        .await
    {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(failure)) => Err(failure.to_string()),
        Err(_) => Err("a read took too long".to_owned()),
    }
}

fn page(code: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(text))));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
