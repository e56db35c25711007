//! Which method is asked for, and how its messages travel.

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::{Code, Status, Streaming, body::Body, server::Grpc};

use super::{Served, codec::Raw, concurrency, health, lean, maintenance, principal, reflection, unary, watch};
use crate::core::Failure;

/// gRPC's own bytes beside a request, as etcd allows for.
pub(super) const OVERHEAD_BYTES: usize = 512 << 10;

const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// Most calls are one message each way; only those that are not carry a stream's state about.
pub(super) async fn answer(served: &Served, request: Request<Incoming>) -> Response<lean::Body> {
    if request.headers().get("hasleader").is_some() && !served.shared.has_leader() {
        return status(Failure::NoLeader).into_http().map(lean::Body::Other);
    }
    match unary::Method::find(request.uri().path()) {
        Some(method) if lean::is_plain(&request) => lean::answer(served, method, request).await,
        None if request.uri().path() == WATCH && lean::is_plain(&request) => {
            let limit = Some(served.shared.max_request_bytes + OVERHEAD_BYTES);
            let token = principal::token(request.headers()).cloned();
            let requests = Streaming::new_request(Raw, request.into_body(), None, limit);
            lean::watch(watch::begin(served, token, requests))
        }
        _ => Box::pin(general(served, request)).await.map(lean::Body::Other),
    }
}

async fn general(served: &Served, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let token = principal::token(request.headers()).cloned();
    let limit = served.shared.max_request_bytes + OVERHEAD_BYTES;
    let mut grpc = Grpc::new(Raw)
        .max_decoding_message_size(limit)
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
        .send_compressed(tonic::codec::CompressionEncoding::Gzip);
    let response = match path.as_str() {
        WATCH => grpc.streaming(watch::Watching(served.clone(), token), request).await,
        "/etcdserverpb.Lease/LeaseKeepAlive" => {
            grpc.streaming(unary::KeepingAlive(served.clone(), token), request).await
        }
        "/etcdserverpb.Maintenance/Snapshot" => {
            grpc.server_streaming(maintenance::Snapshotting(served.clone(), served.caller(token.as_ref())), request)
                .await
        }
        "/grpc.health.v1.Health/Watch" => grpc.server_streaming(health::Watching(served.clone()), request).await,
        _ if reflection::METHODS.contains(&path.as_str()) => grpc.streaming(reflection::Reflecting, request).await,
        concurrency::OBSERVE => {
            grpc.server_streaming(concurrency::Observing(served.clone(), served.caller(token.as_ref())), request).await
        }
        _ => match unary::Method::find(&path) {
            Some(method) => {
                let caller = served.caller(token.as_ref());
                grpc.unary(unary::Asking { served: served.clone(), caller, method }, request).await
            }
            None => unknown(&path).into_http(),
        },
    };
    too_large(response)
}

fn unknown(path: &str) -> Status {
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (service, method) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if unary::SERVICES.contains(&service) {
        Status::unimplemented(format!("unknown method {method} for service {service}"))
    } else {
        Status::unimplemented(format!("unknown service {service}"))
    }
}

/// A message beyond the limit is refused with the code and text that Go's gRPC has for it.
fn too_large(mut response: Response<Body>) -> Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    let numbers: Vec<&str> = status.message().split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).collect();
    if status.code() == Code::OutOfRange && status.message().contains("message length too large") && numbers.len() == 2
    {
        let text = format!("grpc: received message larger than max ({} vs. {})", numbers[0], numbers[1]);
        response = Status::resource_exhausted(text).into_http();
    }
    response
}

pub(super) fn status(failure: Failure) -> Status {
    Status::new(Code::from_i32(failure.code() as i32), failure.to_string())
}

pub(super) fn decode<M: prost::Message + Default>(raw: &Bytes) -> Result<M, Status> {
    M::decode(raw.clone()).map_err(|error| Status::internal(format!("grpc: error unmarshalling request: {error}")))
}
