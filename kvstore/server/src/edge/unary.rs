//! Methods with one answer, and keep-alives, which are the same many times over.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use prost::Message as _;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::{
    Served, concurrency,
    grpc::{decode, status},
    health, maintenance,
};
use crate::{
    core::{Failure, Request as Ask},
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
    AuthStatus,
    Authenticate,
    /// What is not built yet.
    Missing,
    Health,
    Concurrency(concurrency::Method),
}

/// A unary call.
pub(super) struct Asking {
    pub(super) served: Served,
    pub(super) method: Method,
}

/// A keep-alive stream.
pub(super) struct KeepingAlive(pub(super) Served);

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
            ("Auth", "AuthStatus") => Self::AuthStatus,
            ("Auth", "Authenticate") => Self::Authenticate,
            ("Auth", "AuthEnable" | "AuthDisable" | "UserAdd" | "UserGet" | "UserList" | "UserDelete") => Self::Missing,
            ("Auth", "UserChangePassword" | "UserGrantRole" | "UserRevokeRole" | "RoleAdd" | "RoleGet") => {
                Self::Missing
            }
            ("Auth", "RoleList" | "RoleDelete" | "RoleGrantPermission" | "RoleRevokePermission") => Self::Missing,
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
        let (served, method) = (self.served.clone(), self.method);
        Box::pin(async move {
            let answer = ask(&served, method, request.into_inner()).await?;
            Ok(Response::new(answer))
        })
    }
}

pub(super) async fn ask(served: &Served, method: Method, raw: Bytes) -> Result<Bytes, Status> {
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
        Method::Hash => return Box::pin(maintenance::hash(served)).await,
        Method::Status => Ask::Status,
        Method::Defragment => return Ok(maintenance::defragment()),
        Method::MemberList => return Box::pin(maintenance::members(served, decode(&raw)?)).await,
        Method::MoveLeader => return Err(status(Failure::BadLeaderTransferee)),
        Method::Members => return Err(status(Failure::NeedsSeveralMembers)),
        Method::Downgrade | Method::Missing => return Err(status(Failure::NotBuilt)),
        Method::Authenticate => return Err(status(Failure::AuthNotEnabled)),
        Method::AuthStatus => return Box::pin(maintenance::auth_status(served)).await,
        Method::Concurrency(method) => return Box::pin(concurrency::ask(served, method, raw)).await,
        Method::Health => return health::check(served, &decode(&raw)?),
    };
    served.handle.ask(ask).await.map_err(status)
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
        let handle = self.0.handle.clone();
        let answers = request.into_inner().then(move |raw| {
            let handle = handle.clone();
            async move {
                let asked: pb::LeaseKeepAliveRequest = decode(&raw?)?;
                handle.ask(Ask::LeaseKeepAlive(asked.id)).await.map_err(status)
            }
        });
        std::future::ready(Ok(Response::new(Box::pin(answers))))
    }
}
