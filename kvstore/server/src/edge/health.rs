//! gRPC's health service: the store serves as long as it has a leader.
//!
//! Source: grpc/health/v1/health.proto.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::{Served, grpc::decode, unary::SERVICES};

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;
/// How often a watcher's answer is looked at again.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

pub(super) struct Watching(pub(super) Served);

pub(super) fn check(served: &Served, request: &HealthRequest) -> Result<Bytes, Status> {
    if !request.service.is_empty() && !SERVICES.contains(&request.service.as_str()) {
        return Err(Status::not_found("unknown service"));
    }
    let status = if served.shared.has_leader() { SERVING } else { NOT_SERVING };
    Ok(HealthResponse { status }.encode_to_vec().into())
}

impl tower_service::Service<Request<Bytes>> for Watching {
    type Response = Response<Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>>;
    type Error = Status;
    type Future = std::future::Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let served = self.0.clone();
        let begun = decode::<HealthRequest>(request.get_ref()).map(|asked| {
            let mut last = None;
            let ticks = tokio_stream::wrappers::IntervalStream::new(tokio::time::interval(LOOK));
            let changes = ticks.filter_map(move |_| {
                let now = check(&served, &asked);
                let text = format!("{now:?}");
                (last.as_ref() != Some(&text)).then(|| {
                    last = Some(text);
                    now
                })
            });
            Response::new(Box::pin(changes) as Pin<Box<dyn Stream<Item = _> + Send>>)
        });
        std::future::ready(begun)
    }
}
