//! Methods with one answer, and keep-alives, which are the same many times over.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderValue;
use prost::Message as _;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::{
    Served, auth, concurrency,
    grpc::{decode, status},
    health, maintenance,
};
use crate::{
    core::{Caller, Failure, Request as Ask, auth::Need},
    pb::etcdserverpb as pb,
};

type Answering<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

/// The services that are served, for naming what is unknown.
pub(super) const SERVICES: [&str; 11] = [
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
    "grpc.health.v1.Health",
    "v3lockpb.Lock",
    "v3electionpb.Election",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Range,
    Put,
    DeleteRange,
    Txn,
    Compact,
    LeaseGrant,
    LeaseRevoke,
    LeaseTimeToLive,
    LeaseLeases,
    MemberList,
    /// What changes members.
    Members,
    Alarm,
    Status,
    Defragment,
    Hash,
    HashKv,
    MoveLeader,
    Downgrade,
    Auth(auth::Method),
    Health,
    Concurrency(concurrency::Method),
}

/// A unary call.
pub(super) struct Asking {
    pub(super) served: Served,
    pub(super) caller: Caller,
    pub(super) method: Method,
}

/// A keep-alive stream.
pub(super) struct KeepingAlive(pub(super) Served, pub(super) Option<HeaderValue>);

// === impl Method ===

impl Method {
    pub(super) fn find(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        Some(match (service.strip_prefix("etcdserverpb.").unwrap_or(service), method) {
            ("KV", "Range") => Self::Range,
            ("KV", "Put") => Self::Put,
            ("KV", "DeleteRange") => Self::DeleteRange,
            ("KV", "Txn") => Self::Txn,
            ("KV", "Compact") => Self::Compact,
            ("Lease", "LeaseGrant") => Self::LeaseGrant,
            ("Lease", "LeaseRevoke") => Self::LeaseRevoke,
            ("Lease", "LeaseTimeToLive") => Self::LeaseTimeToLive,
            ("Lease", "LeaseLeases") => Self::LeaseLeases,
            ("Cluster", "MemberList") => Self::MemberList,
            ("Cluster", "MemberAdd" | "MemberRemove" | "MemberUpdate" | "MemberPromote") => Self::Members,
            ("Maintenance", "Alarm") => Self::Alarm,
            ("Maintenance", "Status") => Self::Status,
            ("Maintenance", "Defragment") => Self::Defragment,
            ("Maintenance", "Hash") => Self::Hash,
            ("Maintenance", "HashKV") => Self::HashKv,
            ("Maintenance", "MoveLeader") => Self::MoveLeader,
            ("Maintenance", "Downgrade") => Self::Downgrade,
            ("Auth", method) => Self::Auth(auth::Method::find(method)?),
            ("grpc.health.v1.Health", "Check") => Self::Health,
            _ => Self::Concurrency(concurrency::Method::find(service, method)?),
        })
    }
}

// === impl Asking ===

impl tower_service::Service<Request<Bytes>> for Asking {
    type Response = Response<Bytes>;
    type Error = Status;
    type Future = Answering<Bytes>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (served, caller, method) = (self.served.clone(), self.caller.clone(), self.method);
        Box::pin(async move {
            let answer = ask(&served, caller, method, request.into_inner()).await?;
            Ok(Response::new(answer))
        })
    }
}

pub(super) async fn ask(served: &Served, caller: Caller, method: Method, raw: Bytes) -> Result<Bytes, Status> {
    let ask = match method {
        Method::Range => Ask::Range(decode(&raw)?),
        Method::Put => Ask::Put(decode(&raw)?, raw),
        Method::DeleteRange => Ask::DeleteRange(decode(&raw)?, raw),
        Method::Txn => Ask::Txn(decode(&raw).map_err(too_deep)?, raw),
        Method::Compact => Ask::Compact(decode(&raw)?, raw),
        Method::LeaseGrant => grant(&decode(&raw)?),
        Method::LeaseRevoke => Ask::LeaseRevoke(decode::<pb::LeaseRevokeRequest>(&raw)?.id, raw),
        Method::LeaseTimeToLive => Ask::LeaseTimeToLive(decode(&raw)?),
        Method::LeaseLeases => Ask::LeaseLeases,
        Method::Alarm => Ask::Alarm(decode(&raw)?, raw),
        Method::HashKv => Ask::HashKv { revision: decode::<pb::HashKvRequest>(&raw)?.revision },
        Method::Hash => return Box::pin(maintenance::hash(served, caller)).await,
        Method::Status => Ask::Status,
        Method::Defragment | Method::MoveLeader | Method::Members => Ask::Header(Need::Root),
        Method::Downgrade => return Box::pin(maintenance::downgrade(served, caller, decode(&raw)?)).await,
        Method::MemberList => return Box::pin(maintenance::members(served, caller, decode(&raw)?)).await,
        Method::Auth(method) => return Box::pin(auth::ask(served, caller, method, raw)).await,
        Method::Concurrency(method) => return Box::pin(concurrency::ask(served, caller, method, raw)).await,
        Method::Health => return health::check(served, &decode(&raw)?),
    };
    let answer = recorded(served, caller, || format!("{method:?}"), ask).await?;
    // What one member cannot do is for root to hear.
    match method {
        Method::Defragment => Ok(maintenance::defragment()),
        Method::MoveLeader => Err(status(Failure::BadLeaderTransferee)),
        Method::Members => Err(status(Failure::NeedsSeveralMembers)),
        _ => Ok(answer),
    }
}

/// Asks, and keeps a record of what was refused for who asked.
pub(super) async fn recorded(
    served: &Served,
    caller: Caller,
    what: impl FnOnce() -> String,
    ask: Ask,
) -> Result<Bytes, Status> {
    let asked_by = caller.clone();
    served.handle.ask(caller, ask).await.map_err(|failure| {
        served.shared.refused(&asked_by, &what(), failure);
        status(failure)
    })
}

/// Messages nest up to a bound, about 48 transactions deep. etcd's bound is the number of operations: so is our refusal.
fn too_deep(malformed: Status) -> Status {
    if malformed.message().contains("recursion limit reached") { status(Failure::TooManyOps) } else { malformed }
}

/// A lease's id is chosen here, before anything is proposed.
fn grant(request: &pb::LeaseGrantRequest) -> Ask {
    let id = if request.id == 0 { rand::random::<i64>() & i64::MAX } else { request.id };
    let raw = pb::LeaseGrantRequest { ttl: request.ttl, id }.encode_to_vec().into();
    Ask::LeaseGrant { id, ttl_secs: request.ttl, raw }
}

// === impl KeepingAlive ===

impl tower_service::Service<Request<Streaming<Bytes>>> for KeepingAlive {
    type Response = Response<Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>>;
    type Error = Status;
    type Future = std::future::Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (served, token) = (self.0.clone(), self.1.clone());
        let answers = request.into_inner().then(move |raw| {
            // A token may be over by the next message.
            let (served, caller) = (served.clone(), served.caller(token.as_ref()));
            async move {
                let asked: pb::LeaseKeepAliveRequest = decode(&raw?)?;
                let ask = Ask::LeaseKeepAlive(asked.id);
                recorded(&served, caller, || "LeaseKeepAlive".to_owned(), ask).await
            }
        });
        std::future::ready(Ok(Response::new(Box::pin(answers))))
    }
}
